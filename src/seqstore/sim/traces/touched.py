"""A set of blocks of many volumes, with flags."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from seqstore.errors import ConfigError

READ, WRITTEN = 1, 2


_PAGE_BITS = 9
_PAGE_BLOCKS = 1 << _PAGE_BITS
_VOLUME_SHIFT = 43  # addresses below 2**61 bytes have 52 bits in blocks of 512, and 43 in pages of these
_MAX_VOLUMES = 1 << 20
_AT_ONCE = 1 << 21


class Touched:
    """Flags of blocks, in pages of 512 blocks that are made where they are needed."""

    def __init__(self) -> None:
        self._volumes: dict[tuple[int, int], int] = {}
        self._slots: dict[int, int] = {}
        self._flags = np.zeros(64 * _PAGE_BLOCKS, np.uint8)

    def volume(self, key: tuple[int, int]) -> int:
        """Give the number of a volume's own address space."""
        number = self._volumes.setdefault(key, len(self._volumes))
        if number >= _MAX_VOLUMES:
            raise ConfigError(f"the trace has more than {_MAX_VOLUMES} volumes; take a part of it")
        return number

    def count(self, flags: int) -> int:
        """Count the blocks that have one of the flags."""
        used = self._flags[: len(self._slots) * _PAGE_BLOCKS]
        parts = (used[at : at + _AT_ONCE] for at in range(0, len(used), _AT_ONCE))
        return sum(int(np.count_nonzero(part & flags)) for part in parts)

    def mark(
        self, space: NDArray[np.int64], lba: NDArray[np.int64], count: NDArray[np.int64], flag: int
    ) -> None:
        """Set a flag on all blocks of runs.

        Parameters
        ----------
        space : int64[n]
            Numbers of volumes, as `volume` gives them.
        lba, count : int64[n]
            First block, and how many; at least one.
        flag : int
            `READ` or `WRITTEN`.
        """
        pages = ((lba + count - 1) >> _PAGE_BITS) - (lba >> _PAGE_BITS) + 1
        for at in _batches(pages):
            self._mark_pages(space[at], lba[at], count[at], pages[at], flag)

    def _mark_pages(
        self,
        space: NDArray[np.int64],
        lba: NDArray[np.int64],
        count: NDArray[np.int64],
        pages: NDArray[np.int64],
        flag: int,
    ) -> None:
        """Cut runs at the borders of pages, of which each touches so many, and mark the parts."""
        first = lba >> _PAGE_BITS
        page = np.repeat(first, pages) + _nth(pages)
        start = np.maximum(np.repeat(lba, pages), page << _PAGE_BITS)
        end = np.minimum(np.repeat(lba + count, pages), (page + 1) << _PAGE_BITS)
        found, index = np.unique(np.repeat(space, pages) << _VOLUME_SHIFT | page, return_inverse=True)
        slots = np.array([self._slots.setdefault(key, len(self._slots)) for key in found.tolist()], np.int64)
        while len(self._slots) * _PAGE_BLOCKS > len(self._flags):
            self._flags = np.concatenate((self._flags, np.zeros_like(self._flags)))
        place = slots[index] * _PAGE_BLOCKS + (start & (_PAGE_BLOCKS - 1))
        size = end - start
        for at in _batches(size):
            self._flags[np.repeat(place[at], size[at]) + _nth(size[at])] |= np.uint8(flag)


def _batches(sizes: NDArray[np.int64]) -> Iterator[slice]:
    """Cut runs into slices of about `_AT_ONCE`, none of which runs is longer than that."""
    borders = np.searchsorted(np.cumsum(sizes), np.arange(0, int(sizes.sum()), _AT_ONCE)).tolist()
    for begin, end in pairwise([*borders, len(sizes)]):
        yield slice(begin, end)


def _nth(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count each run from 0 on, one run behind the other."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
