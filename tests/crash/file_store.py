"""A whole store, catalog and all, as the crash tests drive it: operations in, worlds out."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pytest

import seqstore
from seqstore import NotFoundError, Store, Tenant, UnwrittenError, Volume
from tests import durable
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
    steps,
)
from tests.crash.world import Shown, World

Frozen = seqstore.Snapshot
View = Volume | Frozen


@dataclass(frozen=True, slots=True)
class Leave:
    """A tenant is deleted with all that it owns."""

    tenant: int

    def after(self, world: World) -> World:
        return {number: shown for number, shown in world.items() if shown.tenant != self.tenant}


StoreOp = Op | Leave
FLUSHING = (Create, Snapshot, Clone, Rollback, Delete, Leave, Flush, Checkpoint)
"""Operations that return when they, and all before them, are on the medium."""


def next_world(world: World, op: StoreOp, atomic_blocks: int) -> World:
    """Return the world after an operation, which is a single request to the store."""
    if isinstance(op, Leave):
        return op.after(world)
    worlds = steps(world, op, atomic_blocks)
    assert len(worlds) <= 1, f"{type(op).__name__} is larger than what a crash leaves whole"
    return worlds[0] if worlds else world


Manage: TypeAlias = Create | Snapshot | Clone | Rollback | Delete | Leave
Keep: TypeAlias = Flush | Checkpoint | Purge | Bind


class FileStore:
    """A store that was made or opened, its parts by their numbers; see `tests.crash.subject`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.atomic_blocks = store._engine.counters()["atomic_blocks"]

    # ---- changes --------------------------------------------------------------------------------

    def apply(self, op: StoreOp) -> None:
        if isinstance(op, Write | WriteBlocks | Trim | Resize):
            self._write(op)
        elif isinstance(op, Flush | Checkpoint | Purge | Bind):
            self._keep(op)
        else:
            self._manage(op)

    def _write(self, op: Write | WriteBlocks | Trim | Resize) -> None:
        volume = self._volume(op.number)
        match op:
            case Write(_, offset, data):
                volume.write(offset, data)
            case WriteBlocks(_, lbas, data):
                rows = np.frombuffer(data, np.uint8).reshape(len(lbas), BLOCK)
                volume.write_blocks(np.array(lbas, np.uint64), rows)
            case Trim(_, offset, length):
                volume.trim(offset, length)
            case Resize(_, size):
                volume.resize(size)

    def _manage(self, op: Manage) -> None:
        made: View | None = None
        match op:
            case Create(number, tenant, size, strict):
                unwritten: Literal["zero", "error"] = "error" if strict else "zero"
                made = self._tenant(tenant).create_volume(f"volume {number}", size, unwritten=unwritten)
            case Snapshot(volume, number):
                made = self._volume(volume).snapshot(f"snapshot {number}")
            case Clone(snapshot, number, tenant, _):
                made = self._frozen(snapshot).clone(f"clone {number}", tenant=self._tenant(tenant))
            case Rollback(volume, snapshot, number):
                self._volume(volume).rollback(self._frozen(snapshot))
            case Delete(number):
                self._view(number).delete()
            case Leave(tenant):
                self._tenant(tenant).delete()
        assert made is None or made.number == number, f"{made!r} has number {made.number}, not {number}"

    def _keep(self, op: Keep) -> None:
        match op:
            case Flush():
                self.store.flush()
            case Checkpoint():
                self.store.checkpoint()
            case Purge(tenant):
                self.store.purge(tenant or None)
            case Bind():
                self.store.set_deletion(seqstore.Now())

    def abandon(self) -> None:
        durable.crash(self.store)

    # ---- looking --------------------------------------------------------------------------------

    def check(self) -> None:
        self.store.check()

    def show(self) -> World:
        world = {}
        for view in sorted(self._views(), key=lambda view: view.number):
            with suppress(NotFoundError):  # its deletion failed after the core had done its part
                world[view.number] = _show(view)
        return world

    def _views(self) -> list[View]:
        views: list[View] = []
        for tenant in self.store.tenants:
            views += [*tenant.volumes, *tenant.snapshots]
        return views

    def _tenant(self, number: int) -> Tenant:
        (found,) = (tenant for tenant in self.store.tenants if tenant.number == number)
        return found

    def _view(self, number: int) -> View:
        found = self.store._registry.find(number)
        assert found is not None, f"number {number} is not in the store"
        return found

    def _volume(self, number: int) -> Volume:
        found = self._view(number)
        assert isinstance(found, Volume)
        return found

    def _frozen(self, number: int) -> Frozen:
        found = self._view(number)
        assert isinstance(found, Frozen)
        return found


def _show(view: View) -> Shown:
    blocks: dict[int, bytes] = {}
    for extent in view.extents():
        lba, count = int(extent["lba"]), int(extent["count"])
        inside = min(count * BLOCK, view.size - lba * BLOCK)
        data = view.read(lba * BLOCK, inside).ljust(count * BLOCK, b"\0")
        blocks.update((lba + i, data[i * BLOCK : (i + 1) * BLOCK]) for i in range(count))
    _expect_nothing_else(view, blocks)
    strict, is_snapshot = view.unwritten == "error", isinstance(view, Frozen)
    return Shown(view.tenant.number, view.size, strict, view._origin, is_snapshot, blocks)


def _expect_nothing_else(view: View, blocks: dict[int, bytes]) -> None:
    """See that nothing but its blocks is to be read: zeros around them, or an error."""
    image = b"".join(blocks.get(lba, bytes(BLOCK)) for lba in range(view.blocks))[: view.size]
    hole = next((lba for lba in range(view.blocks) if lba not in blocks), None)
    if view.unwritten == "zero" or hole is None:
        assert view.read(0, view.size) == image
        return
    with pytest.raises(UnwrittenError) as caught:
        view.read(0, view.size)
    assert caught.value.offset == hole * BLOCK
