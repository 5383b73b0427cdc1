"""Scripts: operations as data, with contents that tell each version of each block apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.blocks import make_blocks, make_bytes
from tests.crash.ops import (
    BLOCK,
    Bind,
    Checkpoint,
    Clone,
    Create,
    Delete,
    Flush,
    Op,
    Purge,
    Resize,
    Rollback,
    Snapshot,
    Trim,
    Write,
    WriteBlocks,
)


@dataclass(frozen=True, slots=True)
class Shape:
    """A drive's segments, and blocks of each."""

    segments: int
    segment_blocks: int

    @property
    def blocks(self) -> int:
        return self.segments * self.segment_blocks


@dataclass(slots=True)
class Script:
    """A row of operations, made by calling what is to be done.

    Numbers are given out as a log gives them: ascending, to volumes, snapshots and what is written after a
    rollback alike.
    """

    last_number: int = 0
    version: int = 0
    ops: list[Op] = field(default_factory=list)
    tenants: dict[int, int] = field(default_factory=dict)

    def _next(self) -> int:
        self.last_number += 1
        return self.last_number

    def create(self, blocks: int, *, extra: int = 0, tenant: int = 1, strict: bool = False) -> int:
        number = self._next()
        self.tenants[number] = tenant
        self.ops.append(Create(number, tenant, blocks * BLOCK + extra, strict))
        return number

    def write_bytes(self, number: int, offset: int, length: int) -> None:
        self.version += 1
        data = make_bytes(self.tenants[number], number, offset, length, self.version, BLOCK)
        self.ops.append(Write(number, offset, data))

    def write(self, number: int, lba: int, count: int = 1) -> None:
        self.write_bytes(number, lba * BLOCK, count * BLOCK)

    def scatter(self, number: int, lbas: Sequence[int]) -> None:
        versions = range(self.version + 1, self.version + 1 + len(lbas))
        self.version += len(lbas)
        data = make_blocks(self.tenants[number], number, lbas, versions, BLOCK).tobytes()
        self.ops.append(WriteBlocks(number, tuple(lbas), data))

    def trim_bytes(self, number: int, offset: int, length: int) -> None:
        self.ops.append(Trim(number, offset, length))

    def trim(self, number: int, lba: int, count: int = 1) -> None:
        self.trim_bytes(number, lba * BLOCK, count * BLOCK)

    def resize(self, number: int, blocks: int, extra: int = 0) -> None:
        self.ops.append(Resize(number, blocks * BLOCK + extra))

    def snapshot(self, volume: int) -> int:
        number = self._next()
        self.tenants[number] = self.tenants[volume]
        self.ops.append(Snapshot(volume, number))
        return number

    def clone(self, snapshot: int, *, tenant: int = 1, strict: bool = False) -> int:
        number = self._next()
        self.tenants[number] = tenant
        self.ops.append(Clone(snapshot, number, tenant, strict))
        return number

    def rollback(self, volume: int, snapshot: int) -> None:
        self.ops.append(Rollback(volume, snapshot, self._next()))

    def delete(self, number: int) -> None:
        self.ops.append(Delete(number))

    def flush(self) -> None:
        self.ops.append(Flush())

    def checkpoint(self) -> None:
        self.ops.append(Checkpoint())

    def purge(self, tenant: int = 0) -> None:
        self.ops.append(Purge(tenant))

    def bind(self) -> None:
        self.ops.append(Bind())
