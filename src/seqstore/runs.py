"""Arithmetic with runs of media blocks: what is left of some when others are taken away.

A run is ``mba`` and ``count``. Everything here works on whole arrays, in time that goes with the number of
runs and of the pieces that they are cut into, and not with that of blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

NEVER = -1
"""Stands for the position of what has not happened."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """What runs fall into, run by run and in order of address.

    Attributes
    ----------
    run : int64[n]
        Which of the runs each is a piece of; they go up.
    mba, count : uint64[n]
        Where it lies.
    position : int64[n]
        Of the event that hit it, `NEVER` for one that none did.
    """

    run: I64
    mba: U64
    count: U64
    position: I64


def merge(*keys: NDArray[Any], mba: NDArray[Any], count: NDArray[Any]) -> NDArray[np.intp]:
    """Say where runs begin that cannot be merged with the one before, of runs in order of address.

    Parameters
    ----------
    *keys : array[n]
        What has to be equal as well for two runs to become one.
    mba, count : uint64[n]

    Returns
    -------
    intp[m]
        Indices of the first run of each group.
    """
    if not len(mba):
        return np.empty(0, np.intp)
    breaks = np.ones(len(mba), bool)
    breaks[1:] = mba[1:] != mba[:-1] + count[:-1]
    for key in keys:
        breaks[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(breaks)


def distinct(values: NDArray[Any]) -> NDArray[Any]:
    """Return what occurs in an array, in order.

    `numpy.unique` hashes first, which takes longer here; and like `numpy.isin` and `numpy.setdiff1d` it
    imports masked arrays at its first call, which takes longer than the deletion of a tenant.
    """
    ordered = np.sort(values)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered


def among(values: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.bool_]:
    """Say of each value whether it is among others, which ascend."""
    if not len(wanted):
        return np.zeros(len(values), bool)
    places = np.minimum(np.searchsorted(wanted, values), len(wanted) - 1)
    found: NDArray[np.bool_] = wanted[places] == values
    return found


def strike(
    mba: U64, count: U64, since: I64, *, event_mba: U64, event_count: U64, event_position: I64
) -> Pieces:
    """Cut runs where events hit them, and say which event hit each piece first.

    Parameters
    ----------
    mba, count : uint64[n]
        The runs.
    since : int64[n]
        Events at earlier positions were before the run was there.
    event_mba, event_count : uint64[m]
        The events, in any order; they may overlap.
    event_position : int64[m]

    Returns
    -------
    Pieces
    """
    end, event_end = mba + count, event_mba + event_count
    bounds = distinct(np.concatenate([mba, end, event_mba, event_end]))
    first, behind = np.searchsorted(bounds, mba), np.searchsorted(bounds, end)
    run, cell = _spread(first, behind)
    event_first, event_behind = np.searchsorted(bounds, event_mba), np.searchsorted(bounds, event_end)
    # Most events hit nothing; only the others are looked at cell by cell.
    covered = np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=len(bounds)) > 0)])
    relevant = covered[event_behind] > covered[event_first]
    event, hit_cell = _spread(event_first[relevant], event_behind[relevant])
    event = np.flatnonzero(relevant)[event]
    positions = distinct(event_position)
    rank = np.searchsorted(positions, event_position)
    # One number a hit, so that a search finds the first event of a cell that is not too early.
    width = len(positions) + 1
    hits = distinct(hit_cell * width + rank[event])
    wanted = cell * width + np.searchsorted(positions, since)[run]
    found = np.searchsorted(hits, wanted)
    position = np.full(len(run), NEVER, np.int64)
    if len(hits):
        candidate = hits[np.minimum(found, len(hits) - 1)]
        is_hit = (found < len(hits)) & (candidate // width == cell)
        position[is_hit] = positions[candidate[is_hit] % width]
    starts, sizes = bounds[cell], bounds[cell + 1] - bounds[cell] if len(cell) else bounds[cell]
    return _join(run, starts, sizes, position)


def _spread(first: NDArray[np.intp], behind: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """List the cells of ranges of cells: whose each is, and which it is."""
    sizes = behind - first
    owner = np.repeat(np.arange(len(first)), sizes)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return owner, first[owner] + within


def _join(run: I64, mba: U64, count: U64, position: I64) -> Pieces:
    """Make neighbours of one run with one fate one piece."""
    starts = merge(run, position, mba=mba, count=count)
    sums = np.add.reduceat(count, starts) if len(starts) else count[:0]
    return Pieces(run[starts], mba[starts], sums, position[starts])
