"""The ledger as the medium tells it: what each block is, and whose."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from enum import IntEnum

from seqstore.format.layout import LAYER_MASK, STATE_SHIFT, VALUE_BITS, VALUE_MASK, Geometry


class BlockState(IntEnum):
    """What a block is, in the numbers of a checkpoint's table."""

    FREE = 0
    LIVE = 1
    DEAD = 2
    MOVED = 3
    SUMMARY = 4


class Ledger:
    """One word and one checksum for each block; memory is taken for segments that hold something.

    A word is state, index of a layer, and value: the lba of a live block, the time of death of a dead one.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._blocks = geometry.segment_blocks
        self._words: dict[int, array[int]] = {}
        self._checksums: dict[int, array[int]] = {}

    def put(self, mba: int, state: BlockState, layer: int = 0, value: int = 0, *, checksum: int = 0) -> None:
        """Say what a block is from now on."""
        segment, at = divmod(mba, self._blocks)
        if segment not in self._words:
            self.put_segment(segment, ())
        self._words[segment][at] = state << STATE_SHIFT | layer << VALUE_BITS | value & VALUE_MASK
        self._checksums[segment][at] = checksum

    def put_segment(self, segment: int, words: Iterable[tuple[int, int]]) -> None:
        """Say what all blocks of a segment are: (word, checksum) of each, or nothing for all free."""
        pairs = list(words) or [(0, 0)] * self._blocks
        self._words[segment] = array("Q", [word for word, _ in pairs])
        self._checksums[segment] = array("I", [checksum for _, checksum in pairs])

    def get(self, mba: int) -> tuple[BlockState, int, int]:
        """Return state, index of the layer, and value of a block."""
        segment, at = divmod(mba, self._blocks)
        words = self._words.get(segment)
        word = words[at] if words is not None else 0
        return BlockState(word >> STATE_SHIFT), word >> VALUE_BITS & LAYER_MASK, word & VALUE_MASK

    def state(self, mba: int) -> BlockState:
        """Return the state of a block."""
        return self.get(mba)[0]

    def checksum(self, mba: int) -> int:
        """Return the checksum of a live block."""
        segment, at = divmod(mba, self._blocks)
        return self._checksums[segment][at]

    def segments(self) -> Iterator[int]:
        """Yield the segments that hold anything, in their order."""
        yield from sorted(self._words)
