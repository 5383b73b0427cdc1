"""Memory: writes that wait, translations and blocks that are remembered, room for what a read returns."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING

from seqstore.testing.bugs.plain.geometry import BUFFER_BLOCKS
from seqstore.testing.bugs.plain.log import Entry
from seqstore.testing.bugs.plain.record import Kind, Part

if TYPE_CHECKING:
    from seqstore.testing.bugs.plain.store import PlainStore


class WriteBuffer(Part):
    """Acknowledged blocks that make one record together; whatever is no write drains it first."""

    def __init__(self, store: PlainStore) -> None:
        super().__init__(store)
        self.blocks: dict[Hashable, tuple[int, int, bytes]] = {}

    def key(self, layer: int, lba: int) -> Hashable:
        """Return what tells one block from another."""
        return layer, lba

    def put(self, layer: int, lba: int, blocks: Sequence[bytes]) -> None:
        """Take over blocks that follow each other in a layer."""
        for place, block in enumerate(blocks, lba):
            self.blocks[self.key(layer, place)] = (layer, place, block)
        if len(self.blocks) >= BUFFER_BLOCKS:
            self.drain()

    def find(self, layer: int, lba: int) -> bytes | None:
        """Return a block that waits."""
        waiting = self.blocks.get(self.key(layer, lba))
        return None if waiting is None else waiting[2]

    def drain(self) -> None:
        """Append what waits to the log, and let the maps point to it."""
        if not self.blocks:
            return
        entries = [Entry(Kind.WRITE, layer, lba, block) for layer, lba, block in self.blocks.values()]
        self.blocks.clear()
        slots = self.store.log.append(entries)
        for entry, slot in zip(entries, slots, strict=True):
            self.settle(entry.layer, entry.lba, slot)

    def settle(self, layer: int, lba: int, slot: int) -> None:
        """Let readers find a block where it was written."""
        self.store.state.place(layer, lba, slot)
        self.store.leases.revoke(layer, lba, 1)


class Leases(Part):
    """Translations that readers used lately: layer and lba to slot, without a walk through the layers.

    A lease ends when its block is written or trimmed, and all end when the cleaner moves blocks: it does
    not know from which layers they were seen.
    """

    def __init__(self, store: PlainStore) -> None:
        super().__init__(store)
        self.slots: dict[Hashable, int] = {}

    def key(self, layer: int, lba: int) -> Hashable:
        """Return what tells one block from another."""
        return layer, lba

    def find(self, layer: int, lba: int) -> int | None:
        """Return where a block lies, if a reader asked before."""
        return self.slots.get(self.key(layer, lba))

    def grant(self, layer: int, lba: int, slot: int) -> None:
        """Remember where a block lies."""
        self.slots[self.key(layer, lba)] = slot

    def revoke(self, layer: int, lba: int, count: int) -> None:
        """End the leases of a range."""
        for place in range(lba, lba + count):
            self.slots.pop(self.key(layer, place), None)

    def revoke_all(self) -> None:
        """End all leases."""
        self.slots.clear()


class Cache(Part):
    """Blocks by slot, as they were read last."""

    def __init__(self, store: PlainStore) -> None:
        super().__init__(store)
        self.blocks: dict[int, bytes] = {}

    def read(self, slot: int) -> bytes:
        """Return the block in a slot, from memory if it was read before."""
        block = self.blocks.get(slot)
        if block is None:
            block = self.blocks[slot] = self.store.codec.block(self.store.medium.get(slot))
        return block

    def forget(self, slots: Iterable[int]) -> None:
        """Drop slots that will be written again."""
        for slot in slots:
            self.blocks.pop(slot, None)


class Pool:
    """One piece of memory that reads and unaligned writes put their blocks together in."""

    def __init__(self) -> None:
        self._memory = bytearray()

    def take(self, length: int) -> memoryview:
        """Return zeroed memory, good until the next call."""
        memory = self.uncleared(length)
        memory[:] = bytes(length)
        return memory

    def uncleared(self, length: int) -> memoryview:
        """Return memory that still holds what it was used for last."""
        if length > len(self._memory):
            self._memory = bytearray(self._memory.ljust(length, b"\0"))
        return memoryview(self._memory)[:length]
