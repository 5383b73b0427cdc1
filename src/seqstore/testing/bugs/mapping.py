"""Bugs in mapping and allocation."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from seqstore.testing.bugs.plain.blockmap import BlockMap
from seqstore.testing.bugs.plain.buffers import Leases
from seqstore.testing.bugs.plain.geometry import BLOCK_BYTES, NODE_BLOCKS, SEGMENT_BLOCKS, SLOTS, slots_of
from seqstore.testing.bugs.plain.log import Entry, Log
from seqstore.testing.bugs.plain.state import State
from seqstore.testing.bugs.plain.store import PlainStore

if TYPE_CHECKING:
    from seqstore.testing.bugs.plain.state import View


class StaleMapAfterTrim(PlainStore):
    """A translation that a reader remembers outlives the trim of its block."""

    def trim(self, volume: int, lba: int, count: int) -> None:
        leases = dict(self.leases.slots)
        super().trim(volume, lba, count)
        self.leases.slots = leases


class TrimRoundedOutward(State):
    """A trim is rounded outward to an even number of blocks, and takes neighbours along."""

    def trim(self, volume: int, lba: int, count: int) -> None:
        first, end = lba - lba % 2, lba + count + (lba + count) % 2
        super().trim(volume, first, end - first if count else 0)


class TrimRoundedInward(State):
    """A trim is rounded inward to an even number of blocks, and leaves its ends."""

    def trim(self, volume: int, lba: int, count: int) -> None:
        first, end = lba + lba % 2, lba + count - (lba + count) % 2
        super().trim(volume, first, max(0, end - first))


class TrimLengthOverflow(State):
    """The length of a trim is kept in three bits: of eight blocks none are trimmed, of nine one."""

    def trim(self, volume: int, lba: int, count: int) -> None:
        super().trim(volume, lba, count & 0b111)


class TrimStopsAtTheNode(State):
    """A trim ends with the map node that it begins in."""

    def trim(self, volume: int, lba: int, count: int) -> None:
        super().trim(volume, lba, min(count, NODE_BLOCKS - lba % NODE_BLOCKS))


class BlockReusedUnderAReader(Leases):
    """A reader keeps its translation when the cleaner moves the block, and reads what comes there next."""

    def revoke_all(self) -> None:
        pass


class TwoOwnersOfABlock(Log):
    """The first slot of a segment is handed out twice."""

    def take(self) -> int:
        fresh = self.open is None or self.position == SEGMENT_BLOCKS
        slot = super().take()
        self.position = 0 if fresh else self.position
        return slot


class SegmentFreedTwice(Log):
    """A segment that was cleaned is put among the free ones twice, and written again while it is full."""

    def release(self, segment: int) -> None:
        super().release(segment)
        self.free.append(segment)


class MapKeyedByLbaAlone(Leases):
    """Translations are remembered by lba alone, for all volumes together."""

    def key(self, layer: int, lba: int) -> Hashable:  # noqa: ARG002
        return lba


class RecycledVolumeNumber(State):
    """A new volume gets the number of a deleted one while the map under that number is still there."""

    deleted: int | None = None

    def delete(self, volume: int) -> None:
        self.deleted = self.volumes[volume].layer
        super().delete(volume)

    def create(self, volume: int, layer: int, tenant: str, blocks: int) -> None:
        number = layer if self.deleted is None else self.deleted
        left = self.layers.get(number)
        super().create(volume, number, tenant, blocks)
        if left is not None:
            self.layers[number] = left
        self.deleted = None


class RecycledTenantNumber(State):
    """A new tenant gets the number of a deleted one, and under that number finds its map."""

    left: BlockMap | None = None

    def delete_tenant(self, tenant: str) -> None:
        for view in self.volumes.values():
            if view.tenant == tenant:
                self.left = self.layers[view.layer].map
        super().delete_tenant(tenant)

    def create(self, volume: int, layer: int, tenant: str, blocks: int) -> None:
        is_new = all(view.tenant != tenant for view in self.views())
        super().create(volume, layer, tenant, blocks)
        if is_new and self.left is not None:
            self.layers[layer].map, self.left = self.left, None


class WrittenAfterAFailedWrite(PlainStore):
    """A write that finds the store full has marked its blocks as written where they were to go."""

    def put(self, view: View, lba: int, data: bytes) -> None:
        try:
            super().put(view, lba, data)
        except OSError:
            wanted = slots_of(self.log.free[0])
            for place in range(len(data) // BLOCK_BYTES):
                self.state.place(view.layer, lba + place, wanted[place % len(wanted)])
            raise


class NodeBeforeInstead(BlockMap):
    """A block whose map node was never made is looked up in the node before."""

    def node_of(self, lba: int) -> list[int] | None:
        return super().node_of(lba) or super().node_of(lba - NODE_BLOCKS)


class RecordTakenAsContiguous(Log):
    """The blocks of a record are looked for side by side, though the record goes on in another segment."""

    def append(self, entries: Sequence[Entry]) -> list[int]:
        first = super().append(entries)[0]
        return [(first + place) % SLOTS for place in range(len(entries))]


BUGS = (
    StaleMapAfterTrim,
    TrimRoundedOutward,
    TrimRoundedInward,
    TrimLengthOverflow,
    TrimStopsAtTheNode,
    BlockReusedUnderAReader,
    TwoOwnersOfABlock,
    SegmentFreedTwice,
    MapKeyedByLbaAlone,
    RecycledVolumeNumber,
    RecycledTenantNumber,
    WrittenAfterAFailedWrite,
    NodeBeforeInstead,
    RecordTakenAsContiguous,
)
