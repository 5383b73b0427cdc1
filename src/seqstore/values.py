"""Frozen dataclasses as the values that canonical JSON takes, and back, strictly.

What is read has each field that the class has, no other, each of its own type, and passes the checks that the
class makes of itself. So a document that was read is a value that could have been made.

Bytes become hexadecimal digits, enumerations their values, tuples lists. Fractions have no place.
"""

from __future__ import annotations

import dataclasses
import types
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from seqstore.errors import ConfigError, FormatError

T = TypeVar("T")

MOST = (1 << 63) - 1
"""The largest integer that is read; whatever is counted or timed stays below."""


def to_values(value: Any) -> Any:
    """Return a dataclass, or what may stand in one, as values for canonical JSON.

    Raises
    ------
    ConfigError
        If it holds something that has no such form.
    """
    if isinstance(value, Enum):
        return value.value
    if value is None or type(value) in {str, int, bool}:
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [to_values(inner) for inner in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: to_values(getattr(value, name)) for name in _hints(type(value))}
    raise ConfigError(
        f"{value!r} is of type {type(value).__name__}; a dataclass, tuple, text, integer or bytes is expected"
    )


def from_values(kind: type[T], values: Any, where: str = "the document") -> T:
    """Read a dataclass from what `to_values` made of one.

    Parameters
    ----------
    kind : type
        The dataclass.
    values : object
        What was read from JSON.
    where : str
        What it is called in messages.

    Raises
    ------
    FormatError
        If something is missing, more than that is there, or a value cannot be what it stands for.
    """
    read: T = _read(kind, values, where)
    return read


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _read(kind: Any, value: Any, where: str) -> Any:
    if get_origin(kind) in {Union, types.UnionType}:
        return _read_optional(kind, value, where)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise FormatError(f"{where} is {_short(value)}; a list is expected")
        inner = get_args(kind)[0]
        return tuple(_read(inner, entry, f"{where}[{number}]") for number, entry in enumerate(value))
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, value, where)
    return _read_plain(kind, value, where)


def _read_optional(kind: Any, value: Any, where: str) -> Any:
    if value is None:
        return None
    (inner,) = (part for part in get_args(kind) if part is not type(None))
    return _read(inner, value, where)


def _read_dataclass(kind: Any, value: Any, where: str) -> Any:
    hints = _hints(kind)
    if not isinstance(value, dict) or value.keys() != hints.keys():
        found = sorted(value) if isinstance(value, dict) else _short(value)
        raise FormatError(f"{where} holds {found}; {sorted(hints)} are expected")
    fields = {name: _read(hint, value[name], f"{where}.{name}") for name, hint in hints.items()}
    try:
        return kind(**fields)
    except ConfigError as error:
        raise FormatError(f"{where} cannot be: {error}") from error


def _read_plain(kind: Any, value: Any, where: str) -> Any:
    if kind is bytes:
        return _read_bytes(value, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        known = {member.value: member for member in kind}
        if not isinstance(value, str) or value not in known:
            raise FormatError(f"{where} is {_short(value)}; one of {', '.join(known)} is expected")
        return known[value]
    if type(value) is not kind:
        raise FormatError(f"{where} is {_short(value)}; {kind.__name__} is expected")
    if kind is int and not -MOST <= value <= MOST:
        raise FormatError(f"{where} is {value}, which is beyond all that is counted")
    return value


def _read_bytes(value: Any, where: str) -> bytes:
    """Read digits of one case alone, without spaces, so that one value has one form."""
    try:
        read = bytes.fromhex(value)
    except (TypeError, ValueError):
        read = None
    if read is None or read.hex() != value:
        raise FormatError(f"{where} is {_short(value)}; pairs of lower hexadecimal digits are expected")
    return read


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
