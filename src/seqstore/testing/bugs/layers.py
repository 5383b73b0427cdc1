"""Bugs in resize, snapshot and clone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from seqstore.testing.bugs.plain.blockmap import EMPTY, HOLE, BlockMap
from seqstore.testing.bugs.plain.state import Layer, State, View
from seqstore.testing.bugs.plain.store import PlainStore


class ShrinkKeepsTheBlocks(State):
    """A shrink changes the size alone, and a later grow brings the blocks back."""

    def resize(self, volume: int, blocks: int) -> None:
        self.volumes[volume].blocks = blocks


class ShrinkOffByOne(State):
    """A shrink leaves the first block of those that it cuts off."""

    def resize(self, volume: int, blocks: int) -> None:
        layer, kept = self.volumes[volume].layer, EMPTY
        if blocks < self.volumes[volume].blocks:
            kept = self.layers[layer].map.get(blocks)
        super().resize(volume, blocks)
        if kept >= 0:
            self.place(layer, blocks, kept)


class ShrinkUncoversTheSnapshot(State):
    """A shrink removes blocks from the topmost layer alone, and a later grow shows the layer below."""

    def resize(self, volume: int, blocks: int) -> None:
        view = self.volumes[volume]
        for lba in range(blocks, view.blocks):
            self.place(view.layer, lba, EMPTY)
        view.blocks = blocks


class GrowIsAShrink(State):
    """A grow removes the last block that was there before."""

    def resize(self, volume: int, blocks: int) -> None:
        before = self.volumes[volume].blocks
        super().resize(volume, blocks)
        if before and blocks > before:
            self.trim(volume, before - 1, 1)


class ClonePastTheEnd(State):
    """What a shrink cuts off is removed when the volume grows again, but not when a clone of it does."""

    def __init__(self, new_map: type[BlockMap] = BlockMap) -> None:
        super().__init__(new_map)
        self.clones: set[int] = set()

    def resize(self, volume: int, blocks: int) -> None:
        view = self.volumes[volume]
        if volume not in self.clones:
            self.trim(volume, view.blocks, max(0, blocks - view.blocks))
        view.blocks = blocks

    def clone(self, snapshot: int, volume: int, layer: int, tenant: str) -> None:
        super().clone(snapshot, volume, layer, tenant)
        self.clones.add(volume)


class SnapshotMissesAWriteInFlight(PlainStore):
    """A snapshot is taken without the writes that wait in the buffer, which then go to the volume alone."""

    def snapshot(self, volume: int) -> int:
        frozen = self.state.volume(volume).layer
        waiting = list(self.buffer.blocks.values())
        self.buffer.blocks.clear()
        snapshot = super().snapshot(volume)
        for layer, lba, block in waiting:
            self.buffer.put(self.state.volume(volume).layer if layer == frozen else layer, lba, [block])
        return snapshot


class SnapshotIsNotFrozen(State):
    """A volume goes on writing to the layer that its snapshot shows."""

    def snapshot(self, volume: int, snapshot: int, layer: int) -> None:  # noqa: ARG002
        view = self.volumes[volume]
        self.snapshots[snapshot] = View(view.tenant, view.blocks, view.layer)


class DeleteOfTheOriginFreesSharedBlocks(State):
    """The deletion of a volume frees all blocks that it showed, those of snapshots and clones too."""

    def __init__(self, new_map: type[BlockMap] = BlockMap) -> None:
        super().__init__(new_map)
        self.freed: set[int] = set()

    def delete(self, volume: int) -> None:
        self.freed.update(self.chain(self.volumes[volume].layer))
        super().delete(volume)

    def live(self) -> dict[int, tuple[int, int]]:
        return {slot: owner for slot, owner in super().live().items() if owner[0] not in self.freed}


class DeleteOfTheSnapshotEmptiesItsLayer(State):
    """The deletion of a snapshot empties its layer, though a volume or a clone lies over it."""

    def delete_snapshot(self, snapshot: int) -> None:
        self.layers[self.snapshots[snapshot].layer].map = self.new_map()
        super().delete_snapshot(snapshot)


class TrimInACloneUncoversTheParent(State):
    """A trimmed block is removed from the topmost layer alone, and the layer below shows."""

    def trimmed(self, layer: Layer) -> int:  # noqa: ARG002
        return EMPTY


class CloneWritesThrough(State):
    """A write to a block that a layer below holds changes that layer."""

    def place(self, layer: int, lba: int, slot: int) -> None:
        holders = (number for number in self.chain(layer) if self.layers[number].map.get(lba) != EMPTY)
        super().place(next(holders, layer), lba, slot)


class ClonesShareALayer(State):
    """The second clone of a snapshot gets the layer of the first."""

    def clone(self, snapshot: int, volume: int, layer: int, tenant: str) -> None:
        below = self.snapshots[snapshot].layer
        super().clone(snapshot, volume, layer, tenant)
        tops = {view.layer for view in self.volumes.values()}
        first = next(
            number for number, each in self.layers.items() if each.parent == below and number in tops
        )
        self.volumes[volume].layer = first


class CloneOfPresentSize(State):
    """A clone gets the size that the origin has now, not the one that it had when the snapshot was taken."""

    def __init__(self, new_map: type[BlockMap] = BlockMap) -> None:
        super().__init__(new_map)
        self.origins: dict[int, View] = {}

    def snapshot(self, volume: int, snapshot: int, layer: int) -> None:
        super().snapshot(volume, snapshot, layer)
        self.origins[snapshot] = self.volumes[volume]

    def clone(self, snapshot: int, volume: int, layer: int, tenant: str) -> None:
        super().clone(snapshot, volume, layer, tenant)
        if snapshot in self.origins:
            self.volumes[volume].blocks = self.origins[snapshot].blocks


class ThirdLayerForgotten(State):
    """A block is looked for in two layers, and no deeper."""

    def chain(self, layer: int) -> Iterator[int]:
        return islice(super().chain(layer), 2)


class WrittenBlockStaysAHole(State):
    """A block that was trimmed over a snapshot and is written again stays trimmed."""

    def place(self, layer: int, lba: int, slot: int) -> None:
        if self.layers[layer].map.get(lba) != HOLE:
            super().place(layer, lba, slot)


class CheckpointForgetsHoles(State):
    """A checkpoint leaves out which blocks were trimmed over a snapshot, and a crash uncovers them."""

    def to_json(self) -> dict[str, Any]:
        saved = super().to_json()
        for layer in saved["layers"]:
            layer[2] = [entry for entry in layer[2] if entry[1] != HOLE]
        return saved


BUGS = (
    ShrinkKeepsTheBlocks,
    ShrinkOffByOne,
    ShrinkUncoversTheSnapshot,
    GrowIsAShrink,
    ClonePastTheEnd,
    SnapshotMissesAWriteInFlight,
    SnapshotIsNotFrozen,
    DeleteOfTheOriginFreesSharedBlocks,
    DeleteOfTheSnapshotEmptiesItsLayer,
    TrimInACloneUncoversTheParent,
    CloneWritesThrough,
    ClonesShareALayer,
    CloneOfPresentSize,
    ThirdLayerForgotten,
    WrittenBlockStaysAHole,
    CheckpointForgetsHoles,
)
