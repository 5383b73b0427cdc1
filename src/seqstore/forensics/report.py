"""What a search found: of each file which fragments, and how much of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seqstore.forensics.patterns import PIECE_BYTES, Pattern

if TYPE_CHECKING:
    from seqstore.forensics.source import Source

FRAGMENT_DTYPE = np.dtype([("offset", "u8"), ("length", "u8"), ("start", "u8")])
"""A fragment: where it lies on the medium, its bytes, and where they stand in the file."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FileReport:
    """What was found of one file.

    Attributes
    ----------
    name : str
        As given.
    size_bytes : int
        Of the file.
    searched_bytes : int
        Of its pieces of 512 bytes that are more than one byte over and over, which nothing proves.
    found_bytes : int
        Those among them that lie somewhere on the medium, each counted once. Content that repeats itself
        otherwise than by whole pieces may be more than is counted; its fragments are all there.
    fragments : FRAGMENT_DTYPE[n]
        In order of offset.
    reason : str or None
        Why the file was not looked for.
    """

    name: str
    size_bytes: int
    searched_bytes: int
    found_bytes: int
    fragments: NDArray[np.void] = field(repr=False)
    reason: str | None = None

    @property
    def share(self) -> float:
        """Found of the searched bytes; 0.0 if the file was not looked for."""
        return self.found_bytes / self.searched_bytes if self.searched_bytes else 0.0

    @property
    def runs(self) -> list[tuple[int, int]]:
        """Offset and length of the stretches of the medium that hold fragments, in order."""
        runs: list[tuple[int, int]] = []
        for offset, length, _ in self.fragments.tolist():
            if runs and offset <= sum(runs[-1]):
                first, before = runs.pop()
                runs.append((first, max(before, offset + length - first)))
            else:
                runs.append((offset, length))
        return runs

    def values(self) -> dict[str, Any]:
        """Return everything in values that JSON can hold."""
        return {
            "name": self.name,
            "size_bytes": self.size_bytes,
            "searched_bytes": self.searched_bytes,
            "found_bytes": self.found_bytes,
            "share": round(self.share, 6),
            "fragment_count": len(self.fragments),
            "runs": [{"offset": offset, "length": length} for offset, length in self.runs],
            "fragments": [
                dict(zip(("offset", "length", "start"), row, strict=True)) for row in self.fragments.tolist()
            ],
            "not_searched": self.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a search found on a medium.

    Attributes
    ----------
    medium : str
        What was searched.
    medium_bytes : int
        Its size.
    files : tuple of FileReport
        In the order of the patterns.
    minimum_bytes : int
        Shortest fragment that counted.
    certain_bytes : int
        Fragments of so many bytes were all found, at any alignment; shorter ones where they lie at a multiple
        of 64 bytes from where they stand in their file.
    unreadable : tuple of (int, int)
        Offset and length of what could not be read of the medium.
    """

    medium: str
    medium_bytes: int
    files: tuple[FileReport, ...]
    minimum_bytes: int
    certain_bytes: int
    unreadable: tuple[tuple[int, int], ...] = ()

    @property
    def found(self) -> bool:
        """Whether there is anything of any file."""
        return any(len(file.fragments) for file in self.files)

    @property
    def complete(self) -> bool:
        """Whether all of the medium was read, and every file looked for."""
        return not self.unreadable and all(file.reason is None for file in self.files)

    def file(self, name: str) -> FileReport:
        """Return what was found of the file of a name.

        Raises
        ------
        KeyError
            If there was no such pattern.
        """
        for one in self.files:
            if one.name == name:
                return one
        raise KeyError(name)

    def values(self) -> dict[str, Any]:
        """Return everything in values that JSON can hold."""
        return {
            "medium": self.medium,
            "medium_bytes": self.medium_bytes,
            "minimum_bytes": self.minimum_bytes,
            "certain_bytes": self.certain_bytes,
            "unreadable": [{"offset": offset, "length": length} for offset, length in self.unreadable],
            "found": self.found,
            "complete": self.complete,
            "files": [file.values() for file in self.files],
        }


def make_report(
    source: Source,
    found: Iterable[tuple[Pattern, list[tuple[int, int, int]]]],
    *,
    minimum: int,
    certain_bytes: int,
) -> Report:
    """Make the report of a search that has come to its end."""
    return Report(
        medium=source.name,
        medium_bytes=source.size,
        files=tuple(_make_file(pattern, fragments) for pattern, fragments in found),
        minimum_bytes=minimum,
        certain_bytes=certain_bytes,
        unreadable=tuple(source.unreadable),
    )


def _make_file(pattern: Pattern, fragments: list[tuple[int, int, int]]) -> FileReport:
    rows = np.array(sorted(fragments), FRAGMENT_DTYPE)
    return FileReport(
        name=pattern.name,
        size_bytes=len(pattern.data),
        searched_bytes=pattern.searched_bytes,
        found_bytes=_found_bytes(pattern, rows),
        fragments=rows,
        reason=pattern.reason,
    )


def _found_bytes(pattern: Pattern, fragments: NDArray[np.void]) -> int:
    """Count the bytes that were found. Of equal pieces of a file the search finds one; the others count."""
    if not len(fragments):
        return 0
    covered = _covered(pattern, fragments)
    sizes = pattern.piece_sizes()
    whole = covered == sizes
    prints = pattern.fingerprints()
    equal = np.isin(prints, prints[whole & (sizes == PIECE_BYTES)]) & (sizes == PIECE_BYTES)
    covered[equal] = PIECE_BYTES
    return int(covered[pattern.tells].sum())


def _covered(pattern: Pattern, fragments: NDArray[np.void]) -> NDArray[np.int64]:
    """Count for each piece of 512 bytes how many of them some fragment holds."""
    order = np.argsort(fragments["start"], kind="stable")
    begin = fragments["start"][order].astype(np.int64)
    # What an earlier fragment holds already is taken off, so that nothing counts twice.
    end = np.maximum.accumulate(begin + fragments["length"][order].astype(np.int64))
    begin[1:] = np.maximum(begin[1:], end[:-1])
    # Bytes before each border of pieces, by the bytes that begin and end before it.
    borders = np.minimum(np.arange(len(pattern.tells) + 1) * PIECE_BYTES, len(pattern.data))
    return np.diff(_bytes_before(borders, begin) - _bytes_before(borders, end))


def _bytes_before(borders: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum up, for each border, how far the places before it lie before it."""
    totals = np.concatenate([[0], np.cumsum(places)])
    number = np.searchsorted(places, borders)
    before: NDArray[np.int64] = borders * number - totals[number]
    return before
