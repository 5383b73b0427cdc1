"""Operations as data, and what each makes of a world."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from tests.crash.world import Shown, World

BLOCK = 512
"""Bytes of a block, everywhere in the crash tests."""


@dataclass(frozen=True, slots=True)
class Create:
    number: int
    tenant: int
    size: int
    strict: bool = False

    def after(self, world: World) -> World:
        return {**world, self.number: Shown(self.tenant, self.size, self.strict, 0, False, {})}


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes at any offset."""

    number: int
    offset: int
    data: bytes

    def rows(self, world: World) -> Iterator[tuple[int, bytes]]:
        """Yield lba and content of the blocks that are written, in their order."""
        blocks, taken = world[self.number].blocks, 0
        for lba, first, last in _pieces(self.offset, len(self.data)):
            old = blocks.get(lba, bytes(BLOCK))
            yield lba, old[:first] + self.data[taken : taken + last - first] + old[last:]
            taken += last - first


@dataclass(frozen=True, slots=True)
class WriteBlocks:
    """Whole blocks in any order; a later one for the same lba wins."""

    number: int
    lbas: tuple[int, ...]
    data: bytes

    def rows(self, world: World) -> Iterator[tuple[int, bytes]]:
        """Yield lba and content of the blocks that are written, in their order."""
        for index, lba in enumerate(self.lbas):
            yield lba, self.data[index * BLOCK : (index + 1) * BLOCK]


@dataclass(frozen=True, slots=True)
class Trim:
    number: int
    offset: int
    length: int

    def after(self, world: World) -> World:
        shown = world[self.number]
        return {**world, self.number: replace(shown, blocks=_trimmed(shown, self.offset, self.length))}


@dataclass(frozen=True, slots=True)
class Resize:
    number: int
    size: int

    def after(self, world: World) -> World:
        shown = world[self.number]
        blocks = shown.blocks
        if self.size < shown.size:
            blocks = _trimmed(shown, self.size, shown.size - self.size)
        return {**world, self.number: replace(shown, size=self.size, blocks=blocks)}


@dataclass(frozen=True, slots=True)
class Snapshot:
    volume: int
    number: int

    def after(self, world: World) -> World:
        return {**world, self.number: replace(world[self.volume], is_snapshot=True, origin=self.volume)}


@dataclass(frozen=True, slots=True)
class Clone:
    snapshot: int
    number: int
    tenant: int
    strict: bool = False

    def after(self, world: World) -> World:
        frozen = world[self.snapshot]
        clone = Shown(self.tenant, frozen.size, self.strict, self.snapshot, False, frozen.blocks)
        return {**world, self.number: clone}


@dataclass(frozen=True, slots=True)
class Rollback:
    volume: int
    snapshot: int
    number: int  # of the layer that is written from then on

    def after(self, world: World) -> World:
        frozen = world[self.snapshot]
        return {**world, self.volume: replace(world[self.volume], size=frozen.size, blocks=frozen.blocks)}


@dataclass(frozen=True, slots=True)
class Delete:
    number: int

    def after(self, world: World) -> World:
        return {number: shown for number, shown in world.items() if number != self.number}


@dataclass(frozen=True, slots=True)
class Flush:
    def after(self, world: World) -> World:
        return world


@dataclass(frozen=True, slots=True)
class Checkpoint:
    def after(self, world: World) -> World:
        return world


@dataclass(frozen=True, slots=True)
class Purge:
    """Write over all residue of a tenant, or with 0 of everybody."""

    tenant: int = 0

    def after(self, world: World) -> World:
        return world


@dataclass(frozen=True, slots=True)
class Bind:
    """Bound residue by the smallest bound there is."""

    def after(self, world: World) -> World:
        return world


Op: TypeAlias = (
    Create
    | Write
    | WriteBlocks
    | Trim
    | Resize
    | Snapshot
    | Clone
    | Rollback
    | Delete
    | Flush
    | Checkpoint
    | Purge
    | Bind
)


def steps(world: World, op: Op, atomic_blocks: int) -> list[World]:
    """Return the worlds that a crash during the operation may leave besides the one before it.

    A request is all or nothing as long as it writes at most `atomic_blocks` blocks. Of a larger one the
    blocks come in their order, and a crash may leave any number of the first ones.
    """
    if not isinstance(op, Write | WriteBlocks):
        after = op.after(world)
        return [] if after is world else [after]
    rows = list(op.rows(world))
    least = len(rows) if len(rows) <= atomic_blocks else 1
    return [_written(world, op.number, rows[:done]) for done in range(least, len(rows) + 1) if done]


def _written(world: World, number: int, rows: Iterable[tuple[int, bytes]]) -> World:
    shown = world[number]
    return {**world, number: replace(shown, blocks={**shown.blocks, **dict(rows)})}


def _pieces(offset: int, length: int) -> Iterator[tuple[int, int, int]]:
    """Cut a byte range at block boundaries: lba, first byte in the block, end in the block."""
    position, end = offset, offset + length
    while position < end:
        lba, first = divmod(position, BLOCK)
        last = min(BLOCK, first + end - position)
        yield lba, first, last
        position += last - first


def _trimmed(shown: Shown, offset: int, length: int) -> dict[int, bytes]:
    """Return the blocks without those of a range; those that are only partly inside get zeros there."""
    if offset + length == shown.size:
        length = -(-shown.size // BLOCK) * BLOCK - offset  # nothing of the last block is outside the range
    blocks = dict(shown.blocks)
    for lba, first, last in _pieces(offset, length):
        old = blocks.get(lba)
        if old is None:
            continue
        if last - first == BLOCK:
            del blocks[lba]
        else:
            blocks[lba] = old[:first] + bytes(last - first) + old[last:]
    return blocks
