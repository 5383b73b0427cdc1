"""Sizes and numbers that callers pass in, checked once and in one place."""

from __future__ import annotations

import operator
import re
from typing import SupportsFloat, SupportsIndex

from seqstore.errors import ConfigError

MAX_UNSIGNED = 2**64 - 1

_UNITS = {
    "": 1,
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", start=1)},
    **{f"{prefix}IB": 1024**power for power, prefix in enumerate("KMGT", start=1)},
}
_SIZE = re.compile(r"\s*([0-9]{1,30})(?:\.([0-9]{1,30}))?\s*([A-Za-z]*)\s*", re.ASCII)
_UNIT_NAMES = "B, KB, MB, GB, TB, KiB, MiB, GiB or TiB"


def integer(value: SupportsIndex, what: str) -> int:
    """Check a number that has to be whole, of any sign and size.

    Raises
    ------
    ConfigError
        If it is no integer.
    """
    try:
        return operator.index(value)
    except TypeError:
        # Not the value, which is data where arguments were swapped.
        raise ConfigError(f"{what} is of type {type(value).__name__}; an integer is expected") from None


def real(value: SupportsFloat, what: str) -> float:
    """Check a number that need not be whole.

    Raises
    ------
    ConfigError
        If it is none; text is none, whatever stands in it.
    """
    if isinstance(value, str | bytes | bytearray) or not isinstance(value, SupportsFloat):
        raise ConfigError(f"{what} is of type {type(value).__name__}; a number is expected")
    return float(value)


def unsigned(value: SupportsIndex, what: str) -> int:
    """Check a number that the C core takes as ``uint64_t``.

    Parameters
    ----------
    value : int or any type with ``__index__``
        The number as the caller gave it.
    what : str
        What the number is, for the message.

    Returns
    -------
    int

    Raises
    ------
    ConfigError
        If it is no integer, negative, or beyond 64 bits.
    """
    number = integer(value, what)
    if not 0 <= number <= MAX_UNSIGNED:
        raise ConfigError(f"{what} is {shorten(number)}; it must lie between 0 and 2**64 - 1")
    return number


def parse_size(size: SupportsIndex | str, what: str = "size") -> int:
    """Turn a size as people write it into bytes.

    Parameters
    ----------
    size : int or str
        Bytes, or a number and a unit such as ``"64MiB"`` or ``"1.5 GB"``. Units are those of IEC 80000-13
        (KiB = 1024 B, KB = 1000 B) up to tera, in upper or lower case; without a unit it is bytes.
    what : str
        What the size is of, for the message.

    Returns
    -------
    int
        Bytes, below 2**64.

    Raises
    ------
    ConfigError
        If it is negative, no size, or no whole number of bytes.
    """
    if not isinstance(size, str):
        return unsigned(size, what)
    match = _SIZE.fullmatch(size)
    if match is None:
        raise ConfigError(f"{what} is {size[:40]!r}; an int or a string such as '64MiB' is expected")
    whole, fraction, unit = match[1], match[2] or "", match[3].upper()
    if unit not in _UNITS:
        raise ConfigError(f"{what} is {size!r}; the unit must be {_UNIT_NAMES}")
    size_bytes, rest = divmod(int(whole + fraction) * _UNITS[unit], 10 ** len(fraction))
    if rest:
        raise ConfigError(f"{what} is {size!r}, which is no whole number of bytes; use fewer decimals")
    return unsigned(size_bytes, what)


def format_size(size_bytes: int) -> str:
    """Write a size so that `parse_size` reads it back exactly: in the largest binary unit that divides it."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        factor = _UNITS[unit.upper()]
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor} {unit}"
    return f"{size_bytes} B"


def shorten(number: int) -> str:
    """Write a number of any length for a message."""
    if abs(number) < 10**24:
        return str(number)
    return f"about {'-' if number < 0 else ''}2**{abs(number).bit_length() - 1}"
