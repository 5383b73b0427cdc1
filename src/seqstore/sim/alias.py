"""The alias method: draws from any discrete law at the price of one word and one look into a table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seqstore.sim.draws import Draws, exp, log

_LOW_HALF = 0xFFFFFFFF
_PART = 1 << 16


class AliasTable:
    """Draws numbers with given weights.

    Each number has a column of the same height. The part of its column that its own weight does not fill is
    filled by one other number, its alias. A draw chooses a column and a height in it: 8 bytes of the table
    for each number, and the same time for each draw, whatever the law.

    Heights are integers of 32 bits: a number's probability is off by at most 2**-32 of the mean probability;
    the likeliest takes what rounding leaves over.

    Parameters
    ----------
    weights : float64 array of shape (n,)
        Not negative, of any positive sum; `n` is 2**30 at most.

    References
    ----------
    Walker: An Efficient Method for Generating Discrete Random Variables with General Distributions. ACM
    TOMS 3(3), 1977. Columns are filled as in Hübschle-Schneider and Sanders: Parallel Weighted Random
    Sampling. ESA 2019, section 4: by prefix sums instead of work lists.
    """

    def __init__(self, weights: NDArray[np.float64]) -> None:
        self.count = len(weights)
        self._columns = _fill(_heights(weights))

    def draw(self, draws: Draws, count: int) -> NDArray[np.uint64]:
        """Return numbers from 0 to n - 1: shape (count,)."""
        # Column number above, height in the column below.
        drawn = draws.fixed_below(self.count, count)
        own = drawn >> np.uint64(32)
        columns: NDArray[np.uint64] = self._columns.take(own.view(np.int64))
        # The height goes above, all ones below it: less than a column only if its height is less.
        drawn <<= 32
        drawn |= _LOW_HALF
        is_own = drawn < columns
        columns &= _LOW_HALF
        np.copyto(columns, own, where=is_own)
        return columns


def zipf_weights(count: int, alpha: float) -> NDArray[np.float64]:
    """Return the weights of Zipf's law: 1 / rank**alpha for the ranks from 1 to `count`."""
    weights = np.arange(1, count + 1, dtype=np.float64)
    for first in range(0, count, _PART):
        ranks = weights[first : first + _PART]
        ranks[:] = 1.0 / ranks if alpha == 1.0 else exp(-alpha * log(ranks))
    return weights


def _heights(weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Scale weights to integers of mean 2**32."""
    # Summed from the last to the first: of laws that fall, the small ones first.
    total = np.cumsum(weights[::-1])[-1]
    whole = len(weights) << 32
    heights: NDArray[np.int64] = (weights / total * float(whole)).astype(np.int64)
    heights[np.argmax(weights)] += whole - int(heights.sum())
    return heights


def _fill(heights: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Distribute heights of mean 2**32 over columns of that height.

    Low numbers, in their order, are filled up from high ones, in theirs. A high number goes on filling until
    what it has left is a column at most; the missing part of its own column comes from the next high number.

    Returns
    -------
    uint64 array of shape (n,)
        How much of a column is its own number's in the upper half of a word, its alias in the lower half.
    """
    full = 1 << 32
    low, high = np.flatnonzero(heights < full), np.flatnonzero(heights >= full)
    missing = full - heights[low]
    np.cumsum(missing, out=missing)
    surplus = np.cumsum(heights[high] - full)
    columns = np.arange(len(heights), dtype=np.uint64)
    columns |= np.uint64((full - 1) << 32)
    # A low number is filled by the first high one whose surplus is not used up before it; part by part, so
    # that a large table does not need its size many times over.
    for first in range(0, len(low), _PART):
        part = low[first : first + _PART]
        before = missing[first : first + _PART] - (full - heights[part])
        alias = high[np.searchsorted(surplus, before, side="right")]
        columns[part] = _column(heights[part], alias)
    # The last low number that a high one fills takes away more than its surplus, or all of it.
    if len(low):
        taken = missing[np.searchsorted(missing, surplus[:-1], side="left")] - surplus[:-1]
        short = np.flatnonzero(taken > 0)
        columns[high[short]] = _column(full - taken[short], high[short + 1])
    return columns


def _column(own: NDArray[np.int64], alias: NDArray[np.int64]) -> NDArray[np.uint64]:
    column = own.astype(np.uint64)
    column <<= 32
    column |= alias.astype(np.uint64)
    return column
