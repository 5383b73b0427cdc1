"""Extents compared: which blocks of two views differ, and how many media blocks several views share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seqstore._native.records import EXTENT_DTYPE
from seqstore.engine_volume import EngineView

if TYPE_CHECKING:
    Run = tuple[int, int]

_WINDOW = 1 << 20  # blocks that are compared at once
_NOWHERE = np.uint64(0xFFFFFFFFFFFFFFFF)


def extents_of(view: EngineView) -> NDArray[np.void]:
    """Return the extents of a view of one log, as EXTENT_DTYPE[n]."""
    parts = [EngineView._extents(view, 0)]
    while len(parts[-1]):
        last = parts[-1][-1]
        parts.append(EngineView._extents(view, int(last["lba"]) + int(last["count"])))
    return np.concatenate(parts)


def covered(extents: Sequence[NDArray[np.void]]) -> int:
    """Count the media blocks that some of the lists of extents name."""
    runs = np.concatenate([np.empty(0, EXTENT_DTYPE), *extents])
    runs = runs[np.argsort(runs["mba"])]
    starts, ends = runs["mba"].astype(np.int64), (runs["mba"] + runs["count"]).astype(np.int64)
    if not len(runs):
        return 0
    before = np.concatenate([[0], np.maximum.accumulate(ends)[:-1]])
    return int(np.maximum(ends - np.maximum(starts, before), 0).sum())


def differences(
    old: Sequence[NDArray[np.void]], new: NDArray[np.void]
) -> Iterator[tuple[list[Run], list[Run]]]:
    """Say where a view shows other media blocks than an older one does.

    Parameters
    ----------
    old : sequence of EXTENT_DTYPE[n]
        The older one's, fetched several times. Only what is the same in all of them can be the same in the
        new one: the cleaner may have moved a block, and something else may lie in its place by now.
    new : EXTENT_DTYPE[m]

    Yields
    ------
    written, trimmed : list of (int, int)
        Runs of lbas, first and count, of a part of the volume.
    """
    for first in _windows([*old, new]):
        now = _window(new, first)
        same = np.ones(_WINDOW, bool)
        for extents in old:
            same &= _window(extents, first) == now
        before = _window(old[0], first) if len(old) else np.full(_WINDOW, _NOWHERE)
        is_there = now != _NOWHERE
        trimmed = ~is_there & (before != _NOWHERE)
        if not len(old):
            same[:] = False
        yield _runs(is_there & ~same, first), _runs(trimmed, first)


def mapped(extents: NDArray[np.void]) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Yield the parts of a volume that hold anything: the first lba, and which blocks are written."""
    for first in _windows([extents]):
        yield first, _window(extents, first) != _NOWHERE


def _windows(lists: Sequence[NDArray[np.void]]) -> list[int]:
    numbers: set[int] = set()
    for extents in lists:
        starts = extents["lba"] // _WINDOW
        ends = (extents["lba"] + extents["count"] - 1) // _WINDOW
        numbers.update(np.unique(starts).tolist())
        for start, end in zip(starts[starts != ends].tolist(), ends[starts != ends].tolist(), strict=True):
            numbers.update(range(start, end + 1))
    return [number * _WINDOW for number in sorted(numbers)]


def _window(extents: NDArray[np.void], first: int) -> NDArray[np.uint64]:
    """Return where each block of a window lies."""
    places = np.full(_WINDOW, _NOWHERE)
    ends = extents["lba"] + extents["count"]
    inside = extents[(ends > first) & (extents["lba"] < first + _WINDOW)]
    if len(inside):
        starts = np.maximum(inside["lba"], np.uint64(first))
        counts = np.minimum(inside["lba"] + inside["count"], np.uint64(first + _WINDOW)) - starts
        steps = np.arange(int(counts.sum()), dtype=np.uint64)
        times = counts.astype(np.int64)
        steps -= np.repeat(np.cumsum(counts) - counts, times)
        at = (np.repeat(starts, times) + steps).astype(np.int64) - first
        places[at] = np.repeat(inside["mba"] + (starts - inside["lba"]), times) + steps
    return places


def _runs(flags: NDArray[np.bool_], first: int) -> list[Run]:
    """Return the runs of true flags."""
    edges: NDArray[Any] = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(first + start, end - start) for start, end in zip(*[iter(edges.tolist())] * 2, strict=True)]
