"""The search: what an index of windows points at is compared byte by byte, as far as it is the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

from seqstore.errors import ConfigError
from seqstore.forensics.index import FRAGMENT_BYTES, WINDOW_BYTES, Index
from seqstore.forensics.patterns import PIECE_BYTES, Bytes, Pattern, Patterns, load
from seqstore.forensics.report import Report, make_report
from seqstore.forensics.source import Searchable, Source, open_source
from seqstore.units import unsigned

_FIRST_STEP = 256
_MOST_STEP = 1 << 20

Fragment = tuple[int, int, int]
"""Offset on the medium, length, offset in the file."""


def search(
    medium: Searchable,
    patterns: Patterns,
    *,
    minimum: SupportsIndex = FRAGMENT_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Look for fragments of files on a raw medium, wherever they lie and whatever is left of them.

    The medium is only read, once, from its first byte to its last. It needs not be sound, nor a drive of
    seqstore. Memory is needed for what is found, and for an index of the patterns: at most about 150 MB for
    files of up to 63 MiB together, and 2 bytes for each byte more.

    Parameters
    ----------
    medium : path-like, NativeMedium or Drive
        A drive's file, a device, or a medium that is open. While somebody writes to it, what is read of
        different parts is of different moments.
    patterns : iterable of path-like, or mapping of str to bytes
        The files that are looked for, or what they hold by name.
    minimum : int
        Bytes that a fragment has at least, 96 or more. What other files have in common with the patterns,
        such as the tables at the head of pictures, is found too; a larger number leaves it out. The last
        piece of a file, behind a multiple of 512, counts from 32 bytes on where `minimum` is 512 or less. A
        pattern shorter than 96 bytes is found as a whole only.
    progress : callable, optional
        Told after each chunk how many bytes were searched, and how many there are.

    Returns
    -------
    Report

    Raises
    ------
    ConfigError
        If an argument cannot be used, or no pattern can be looked for.
    NotFoundError
        If there is no such pattern.
    MediumError, AccessError
        If the medium or a pattern cannot be opened. What cannot be read of the medium is in the report.
    """
    least = unsigned(minimum, "minimum")
    if least < FRAGMENT_BYTES:
        raise ConfigError(f"minimum is {least}; what is shorter than {FRAGMENT_BYTES} bytes may be missed")
    loaded = load(patterns)
    wanted = [pattern for pattern in loaded if pattern.reason is None]
    with open_source(medium) as source:
        if not source.size:
            raise ConfigError(f"{source.name!r} is empty; a drive's file or a device is expected")
        matchers = [pattern for pattern in wanted if len(pattern.data) >= FRAGMENT_BYTES]
        index = Index(matchers)
        found = _Findings(matchers, index, least)
        whole = [_Whole(pattern) for pattern in wanted if len(pattern.data) < FRAGMENT_BYTES]
        _scan(source, found, whole, progress)
        fragments = dict(zip(map(id, matchers), found.fragments, strict=True))
        fragments |= {id(one.pattern): one.fragments for one in whole}
        return make_report(
            source,
            [(pattern, fragments.get(id(pattern), [])) for pattern in loaded],
            minimum=least,
            certain_bytes=max(index.certain_bytes, least),
        )


def _scan(
    source: Source,
    found: _Findings,
    whole: Sequence[_Whole],
    progress: Callable[[int, int], None] | None,
) -> None:
    for offset, shown, data in source.chunks():
        size = min(len(data), source.size - offset)  # without what fills it up to a multiple of 64
        if found.patterns:
            found.take(offset, shown, data, size)
        for one in whole:
            one.take(offset, shown, data[:size])
        if progress is not None:
            progress(offset + size, source.size)


class _Findings:
    """Fragments of patterns, chunk by chunk."""

    def __init__(self, patterns: Sequence[Pattern], index: Index, minimum: int) -> None:
        self.patterns = patterns
        self.fragments: list[list[Fragment]] = [[] for _ in patterns]
        self._index = index
        self._minimum = minimum
        # Fragments, by file and by the distance of their places, that reached the end of the chunk before.
        self._open: dict[tuple[int, int], int] = {}

    def take(self, offset: int, shown: int, data: Bytes, size: int) -> None:
        """Look at a chunk of `size` bytes, the first `shown` of which ended the one before."""
        at, files, starts = self._index.look_up(data)
        data = data[:size]
        still_open: dict[tuple[int, int], int] = {}
        for number in np.unique(files).tolist():
            mine = files == number
            for place, length, start in self._runs(self.patterns[number], data, at[mine], starts[mine]):
                if place + length <= shown:
                    continue  # found already
                row = self._add(number, (offset + place, length, start))
                if place + length == size:
                    still_open[number, offset + place - start] = row
        self._open = still_open

    def _add(self, number: int, fragment: Fragment) -> int:
        """Note a fragment, or the rest of one that the chunk before cut off; say where it stands."""
        place, length, start = fragment
        rows = self.fragments[number]
        row = self._open.get((number, place - start))
        if row is None or place > rows[row][0] + rows[row][1]:
            rows.append(fragment)
            return len(rows) - 1
        first, _, begin = rows[row]
        rows[row] = (first, place + length - first, begin)
        return row

    def _runs(
        self, pattern: Pattern, data: Bytes, at: NDArray[np.intp], starts: NDArray[np.uint64]
    ) -> list[Fragment]:
        """Compare from each window in both directions; where there is a choice the longest is taken."""
        runs: list[Fragment] = []
        row = 0
        while row < len(at):
            end = int(np.searchsorted(at, at[row], "right"))
            place = int(at[row])
            best = max(
                (_extend(data, place, pattern.data, start) for start in starts[row:end].tolist()),
                key=lambda run: run[1],
            )
            row = end
            if self._counts(pattern, best):
                while runs and runs[-1][0] >= best[0]:
                    runs.pop()  # a part of this one, taken for another place
                runs.append(best)
                row = int(np.searchsorted(at, best[0] + best[1]))
        return runs

    def _counts(self, pattern: Pattern, run: Fragment) -> bool:
        _, length, start = run
        if length >= self._minimum:
            return True
        size = len(pattern.data)
        last = (size - 1) // PIECE_BYTES * PIECE_BYTES
        is_last = start <= last and start + length == size
        return is_last and length >= WINDOW_BYTES and self._minimum <= PIECE_BYTES


class _Whole:
    """A pattern too short for windows, which is found as a whole."""

    def __init__(self, pattern: Pattern) -> None:
        self.pattern = pattern
        self.fragments: list[Fragment] = []
        self._needle = pattern.data.tobytes()

    def take(self, offset: int, shown: int, data: Bytes) -> None:
        """Look at a chunk."""
        hay = data.tobytes()
        size = len(self._needle)
        at = hay.find(self._needle, max(shown - size + 1, 0))
        while at >= 0:
            self.fragments.append((offset + at, size, 0))
            at = hay.find(self._needle, at + size)


def _extend(data: Bytes, place: int, pattern: Bytes, start: int) -> Fragment:
    """Say how far a medium and a pattern are the same around one place of each."""
    before = _same(data[:place][::-1], pattern[:start][::-1])
    behind = _same(data[place:], pattern[start:])
    if behind < WINDOW_BYTES:
        return place, 0, start  # the windows had the same key by chance
    return place - before, before + behind, start - before


def _same(one: Bytes, other: Bytes) -> int:
    """Count the equal bytes at the beginning."""
    size, done, step = min(len(one), len(other)), 0, _FIRST_STEP
    while done < size:
        end = min(done + step, size)
        differs = one[done:end] != other[done:end]
        first = int(differs.argmax())
        if differs[first]:
            return done + first
        done, step = end, min(step * 4, _MOST_STEP)
    return done
