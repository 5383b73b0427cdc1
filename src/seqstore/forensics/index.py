"""Where in the patterns the bytes of a medium may come from.

A window is 32 bytes. The medium is looked at every 64 bytes; the windows of the patterns are entered at the
multiples of 64, and at those of a small odd number. A fragment that lies at a multiple of 64 from where it
lies in its file thus has a window in common with the index from 95 bytes on; any other one from ``64 * step +
31`` bytes on, since ``step`` and 64 have no common divisor. With ``step`` 1, up to 1 MiB of patterns, that is
the same; with 63, from 62 MiB on, each block of 4 KiB is still found at any alignment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from seqstore.errors import ConfigError
from seqstore.forensics.patterns import Bytes, Pattern

U64 = NDArray[np.uint64]

WINDOW_BYTES = 32
STRIDE_BYTES = 64
FRAGMENT_BYTES = STRIDE_BYTES + WINDOW_BYTES
"""Shortest fragment that counts, and shortest pattern that is looked for by its windows."""

_WORDS = WINDOW_BYTES // 8
_ENTRIES = 2**20
_MOST_STEP = STRIDE_BYTES - 1
_MOST_OF_A_KIND = 4  # entries of one window in one file: content that repeats itself needs no more
_WINDOWS_AT_ONCE = 2**20
_SLOTS_A_KEY = 8  # and up to 16
_OFFSET_BITS = np.uint64(40)
_OFFSET_MASK = np.uint64(2**40 - 1)
# Odd 64-bit constants: the fractions of the square roots of 2, 3, 5 and 7.
_MULTIPLIERS = [
    np.uint64(number) for number in
    (0x6A09E667F3BCC909, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1)
]  # fmt: skip
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Index:
    """The windows of patterns.

    Parameters
    ----------
    patterns : sequence of Pattern
        Those that are to be found by windows: each at least `FRAGMENT_BYTES` long.

    Attributes
    ----------
    certain_bytes : int
        A fragment of so many bytes has a window here, however it lies.
    """

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        total = sum(len(pattern.data) for pattern in patterns)
        step = min(-(-total // _ENTRIES) | 1, _MOST_STEP)
        self.certain_bytes = STRIDE_BYTES * step + WINDOW_BYTES - 1
        pieces = [
            (keys, offsets | np.uint64(number) << _OFFSET_BITS)
            for number, pattern in enumerate(patterns)
            for keys, offsets in _windows(pattern, step)
        ]
        keys = np.concatenate([np.empty(0, np.uint64), *(keys for keys, _ in pieces)])
        self._places = np.concatenate([np.empty(0, np.uint64), *(places for _, places in pieces)])
        del pieces
        order = np.argsort(keys, kind="stable")
        keys, self._places = keys[order], self._places[order]
        keep = _first_of_a_kind(keys, self._places >> _OFFSET_BITS)
        keys, self._places = keys[keep], self._places[keep]
        starts = np.flatnonzero(_changes(keys))
        self._keys, self._starts = keys[starts], np.append(starts, len(keys))
        # Two filters leave so little to the search among the keys, which is slow, that it hardly counts.
        bits = max(len(starts) * _SLOTS_A_KEY, 2**12).bit_length()
        self._shift = np.uint64(64 - bits)
        self._filter, self._second = np.zeros(2**bits, bool), np.zeros(2**bits, bool)
        self._filter[self._slots(self._keys)] = True
        self._second[self._slots(self._keys * _MIX)] = True

    def look_up(self, data: Bytes) -> tuple[NDArray[np.intp], U64, U64]:
        """Find the windows of a piece of the medium that a pattern has too, but for chance.

        Parameters
        ----------
        data : uint8[n]
            Beginning at a multiple of 64 of the medium; n is a multiple of 64.

        Returns
        -------
        intp[m], uint64[m], uint64[m]
            Offset in the data, number of the pattern, offset in the pattern, in the order of the first.
        """
        words = data.view("<u8").reshape(-1, STRIDE_BYTES // 8)[:, :_WORDS]
        keys = _key(*words.T)
        at = np.flatnonzero(self._filter[self._slots(keys)])
        at = at[self._second[self._slots(keys[at] * _MIX)]]
        found = np.searchsorted(self._keys, keys[at])
        at, found = at[found < len(self._keys)], found[found < len(self._keys)]
        real = self._keys[found] == keys[at]
        at, found = at[real], found[real]
        counts = self._starts[found + 1] - self._starts[found]
        # The entries of each, one behind the other.
        rows = np.repeat(self._starts[found] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        places = self._places[rows]
        return np.repeat(at * STRIDE_BYTES, counts), places >> _OFFSET_BITS, places & _OFFSET_MASK

    def _slots(self, keys: U64) -> NDArray[np.int64]:
        return (keys >> self._shift).view(np.int64)  # numpy takes no other indices without copying them


def _windows(pattern: Pattern, step: int) -> Iterator[tuple[U64, U64]]:
    """Yield keys and offsets of the windows that tell anything."""
    size = len(pattern.data)
    if size > int(_OFFSET_MASK):
        raise ConfigError(f"pattern {pattern.name!r} has {size} bytes; the most is 2**40 - 1, split it")
    for every in {step, STRIDE_BYTES} if step > 1 else {1}:
        for first in range(0, size - WINDOW_BYTES + 1, _WINDOWS_AT_ONCE * every):
            count = min(_WINDOWS_AT_ONCE, (size - WINDOW_BYTES - first) // every + 1)
            words = [
                np.ndarray((count,), "<u8", pattern.data, first + 8 * place, (every,))
                for place in range(_WORDS)
            ]
            tells = (words[0] != words[1]) | (words[1] != words[2]) | (words[2] != words[3])
            offsets = np.arange(first, first + count * every, every, dtype=np.uint64)
            if every == step != 1:
                tells &= offsets % np.uint64(STRIDE_BYTES) != 0  # these are entered in any case
            yield _key(*words)[tells], offsets[tells]


def _key(*words: NDArray[np.uint64]) -> U64:
    key = words[0] * _MULTIPLIERS[0]
    for word, multiplier in zip(words[1:], _MULTIPLIERS[1:], strict=True):
        key += word * multiplier
    return key


def _first_of_a_kind(keys: U64, files: U64) -> NDArray[np.bool_]:
    """Say which entries, in order of key and then of file, are among the first with both."""
    rank = np.arange(len(keys))
    rank -= np.maximum.accumulate(np.where(_changes(keys) | _changes(files), rank, 0))
    return rank < _MOST_OF_A_KIND


def _changes(values: U64) -> NDArray[np.bool_]:
    """Say which values are not the one before."""
    changes = np.ones(len(values), bool)
    changes[1:] = values[1:] != values[:-1]
    return changes
