"""The files that are looked for: their bytes, and which of them tell anything."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from seqstore.errors import ConfigError, NotFoundError
from seqstore.folder import StrPath, os_errors, parse_path

Bytes: TypeAlias = NDArray[np.uint8]
Patterns: TypeAlias = "Iterable[StrPath] | Mapping[str, bytes]"

PIECE_BYTES = 512
"""The unit in which it is counted how much of a file was found."""

SHORTEST = 8
"""Bytes of the shortest pattern that is looked for: what is shorter turns up by chance."""

_WEIGHTS_SEED = 0x5E9  # fingerprints of pieces of one file are compared with each other alone
_PIECES_AT_ONCE = 2**14


class Pattern:
    """A file that is looked for.

    Parameters
    ----------
    name : str
        What it is called in reports.
    data : uint8[n]
        Its bytes.

    Attributes
    ----------
    tells : bool[pieces]
        Which of the pieces of 512 bytes are more than one byte over and over; the last may be shorter.
    searched_bytes : int
        Bytes of those pieces.
    """

    def __init__(self, name: str, data: Bytes) -> None:
        self.name = name
        self.data = data
        self.tells = _telling(data)
        self.searched_bytes = int(self.piece_sizes()[self.tells].sum())

    @property
    def reason(self) -> str | None:
        """Why it cannot be looked for; None if it can."""
        if not len(self.data):
            return "it is empty"
        if len(self.data) < SHORTEST:
            return f"it has {len(self.data)} bytes; {SHORTEST} are the least that tell anything"
        if not self.tells.any():
            return "each piece of it is one byte over and over"
        return None

    def piece_sizes(self) -> NDArray[np.int64]:
        """Return the bytes of each piece: 512, and what is left for the last."""
        sizes = np.full(len(self.tells), PIECE_BYTES, np.int64)
        rest = len(self.data) % PIECE_BYTES
        if rest:
            sizes[-1] = rest
        return sizes

    def fingerprints(self) -> NDArray[np.uint64]:
        """Return 64 bits for each piece, equal where pieces are; the last one's is that of it with zeros."""
        rng = np.random.default_rng(_WEIGHTS_SEED)
        weights = rng.integers(0, 2**64, PIECE_BYTES // 8, np.uint64) | np.uint64(1)
        prints = np.empty(len(self.tells), np.uint64)
        for first in range(0, len(prints), _PIECES_AT_ONCE):
            piece = _padded(self.data, first * PIECE_BYTES, _PIECES_AT_ONCE * PIECE_BYTES)
            words = piece.view("<u8").reshape(-1, PIECE_BYTES // 8)
            # Without the shift the upper bits of a word would hardly count.
            prints[first : first + _PIECES_AT_ONCE] = (words * weights ^ (words >> np.uint64(29))).sum(axis=1)
        return prints


def load(patterns: Patterns) -> list[Pattern]:
    """Make the patterns of files, which are mapped into memory and not read at once, or of bytes by name.

    Raises
    ------
    ConfigError
        If there is none, or none that can be looked for.
    NotFoundError, AccessError, MediumError
        If a file is not there, or cannot be read.
    """
    if isinstance(patterns, Mapping):
        made = [_of_bytes(name, data) for name, data in patterns.items()]
    elif isinstance(patterns, str | bytes | os.PathLike):
        raise ConfigError(f"patterns is one path, {os.fspath(patterns)!r}; give a list of them, [path]")
    else:
        made = [_of_file(path) for path in patterns]
    if not made:
        raise ConfigError("there are no patterns; name at least one file to look for")
    if all(pattern.reason for pattern in made):
        raise ConfigError(f"no pattern can be looked for: {made[0].name!r}: {made[0].reason}; give others")
    return made


def _of_bytes(name: str, data: bytes) -> Pattern:
    try:
        return Pattern(name, np.frombuffer(data, np.uint8))
    except (TypeError, ValueError):
        raise ConfigError(f"pattern {name!r} is of type {type(data).__name__}; bytes are expected") from None


def _of_file(given: StrPath) -> Pattern:
    path = parse_path(given, "pattern")
    name = os.fsdecode(given)
    with os_errors(f"reading the pattern {name!r}"):
        try:
            is_file, size = path.is_file(), path.stat().st_size
        except FileNotFoundError:
            raise NotFoundError(f"there is no file {name!r}; give one that is to be looked for") from None
        if not is_file:
            raise ConfigError(f"{name!r} is no regular file; patterns are files, name each of them")
        return Pattern(name, _map(path) if size else np.empty(0, np.uint8))


def _map(path: Path) -> Bytes:
    return np.memmap(path, np.uint8, mode="r").view(np.ndarray)


def _telling(data: Bytes) -> NDArray[np.bool_]:
    tells = np.zeros(-(-len(data) // PIECE_BYTES), bool)
    for first in range(0, len(tells), _PIECES_AT_ONCE):
        part = data[first * PIECE_BYTES : (first + _PIECES_AT_ONCE) * PIECE_BYTES]
        whole = part[: len(part) // PIECE_BYTES * PIECE_BYTES].reshape(-1, PIECE_BYTES)
        tells[first : first + len(whole)] = (whole != whole[:, :1]).any(axis=1)
        rest = part[whole.size :]
        if len(rest):
            tells[-1] = bool((rest != rest[0]).any())
    return tells


def _padded(data: Bytes, start: int, size: int) -> Bytes:
    part = data[start : start + size]
    padded = np.zeros(-(-len(part) // PIECE_BYTES) * PIECE_BYTES, np.uint8)
    padded[: len(part)] = part
    return padded
