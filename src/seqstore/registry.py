"""What lives in a store: keeps names, catalog and log in step.

A new number gets its row in the catalog first, then its entry in the log; one that ends leaves the log first,
durably, and then the catalog. Whatever is cut off in between, by a crash or an exception, is put right by
`seqstore.recovery` when the store is opened.

The calls into the core whose names begin with an underscore are those of volumes and snapshots; this module
is the one that makes them durable, and so the one that makes them.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from seqstore.catalog import VolumeRow
from seqstore.directory import Directory
from seqstore.errors import AccessError, ClosedError, ConfigError, NotFoundError, SeqstoreError
from seqstore.snapshot import Snapshot
from seqstore.tenants import Tenant
from seqstore.volume import Volume

if TYPE_CHECKING:
    from seqstore.catalog import Catalog
    from seqstore.engine import Engine
    from seqstore.view import Unwritten

_MOST_BLOCKS = 1 << 38  # of a volume


class Registry:
    """The living tenants, volumes and snapshots of a store.

    Parameters
    ----------
    engine : Engine
    catalog : Catalog
    read_only : bool
        Whether nothing may change.

    Attributes
    ----------
    lock : RLock
        Held while anything comes or goes; directories of names share it.
    tenants : Directory of Tenant
    """

    def __init__(self, engine: Engine, catalog: Catalog, *, read_only: bool = False) -> None:
        self.engine = engine
        self.catalog = catalog
        self.read_only = read_only
        self.lock = threading.RLock()
        self.tenants: Directory[Tenant] = Directory("tenant", self.lock)
        self._views: dict[int, Volume | Snapshot] = {}
        self._unfinished: set[int] = set()  # numbers of what failed half-way
        self._snapshots: defaultdict[int, Directory[Snapshot]] = defaultdict(
            lambda: Directory("snapshot", self.lock)
        )

    def require_writable(self) -> None:
        """Raise `ClosedError` or `AccessError` if nothing may change."""
        self.engine.require_open()
        if self.engine.disowned:
            raise ClosedError(
                "this process was forked from the one that opened the store, which alone may change it;"
                " open it anew after that one has closed it"
            )
        if self.read_only:
            raise AccessError("the store was opened with read_only=True; open it for writing to change it")

    # ---- looking up ---------------------------------------------------------------------------

    def find(self, number: int) -> Volume | Snapshot | None:
        """Return the living volume or snapshot of a number."""
        self.engine.require_open()
        return self._views.get(number)

    def snapshots(self) -> list[Snapshot]:
        """Return the living snapshots in order of creation."""
        self.engine.require_open()
        with self.lock:
            return [view for _, view in sorted(self._views.items()) if isinstance(view, Snapshot)]

    def find_snapshot(self, volume: Volume, name: str) -> Snapshot:
        """Return a volume's snapshot of a name, or raise `NotFoundError`."""
        self.engine.require_open()
        with self.lock:
            return self._snapshots[volume.number].find(name)

    def reach(self, volume: Volume, start: int, end: int | None) -> list[tuple[Volume | Snapshot, int]]:
        """Say who else shows blocks written through a volume in a range of bytes, and how many blocks."""
        first = min(start // volume.block_size, _MOST_BLOCKS)
        behind = _MOST_BLOCKS if end is None else min(-(-end // volume.block_size), _MOST_BLOCKS)
        with self.lock:
            rows = self.engine.reach(volume.number, first, max(behind - first, 0))
            holders = [(self._views.get(int(row["number"])), int(row["blocks"])) for row in rows]
        return [(holder, blocks) for holder, blocks in holders if holder is not None]

    # ---- coming -------------------------------------------------------------------------------

    def load(self, row: VolumeRow, handle: int, tenant: Tenant) -> None:
        """Take in a volume or snapshot that the catalog and the log know already."""
        if row.kind == "snapshot":
            self._snapshots[row.origin].add(row.name, lambda: self._new_snapshot(row, handle, tenant))
        else:
            tenant._directory.add(row.name, lambda: self._new_volume(row, handle, tenant))

    def create_volume(self, tenant: Tenant, name: str, size_bytes: int, unwritten: Unwritten) -> Volume:
        """Make a volume of a tenant, durably."""
        row = VolumeRow(
            number=0, tenant=tenant.number, kind="volume", name=name, unwritten=unwritten, origin=0
        )

        def enter(number: int) -> int:
            is_error = unwritten == "error"
            return self.engine.create_volume(number, tenant.number, size_bytes, unwritten_error=is_error)

        return tenant._directory.add(name, lambda: self._new_volume(*self._enter(row, tenant, enter), tenant))

    def create_clone(self, snapshot: Snapshot, name: str, tenant: Tenant) -> Volume:
        """Make a volume of a tenant that begins as a snapshot is, durably."""
        if not isinstance(tenant, Tenant):
            raise ConfigError(
                f"tenant is of type {type(tenant).__name__}; a Tenant is expected, or None for its owner"
            )
        if tenant._registry is not self:
            raise ConfigError(f"{tenant!r} is of another store; a clone stays in the store of its snapshot")
        row = VolumeRow(
            number=0,
            tenant=tenant.number,
            kind="volume",
            name=name,
            unwritten=snapshot.unwritten,
            origin=snapshot.number,
        )

        def enter(number: int) -> int:
            return snapshot._clone(number, tenant.number, unwritten_error=snapshot.unwritten == "error")

        return tenant._directory.add(name, lambda: self._new_volume(*self._enter(row, tenant, enter), tenant))

    def create_snapshot(self, volume: Volume, name: str) -> Snapshot:
        """Make a snapshot of a volume, durably."""
        tenant = volume.tenant
        row = VolumeRow(
            number=0,
            tenant=tenant.number,
            kind="snapshot",
            name=name,
            unwritten=volume.unwritten,
            origin=volume.number,
        )

        def make() -> Snapshot:
            return self._new_snapshot(*self._enter(row, tenant, volume._snapshot), tenant)

        with self.lock:
            volume._require()
            return self._snapshots[volume.number].add(name, make)

    def roll_back(self, volume: Volume, snapshot: Snapshot) -> None:
        """Let a volume show what a snapshot shows, durably."""
        with self.lock:
            self.require_writable()
            volume._require()
            snapshot._require()
            self.undo_unfinished()
            volume._rollback(snapshot, self.catalog.draw_number())
            self.engine.commit()

    def _enter(self, row: VolumeRow, tenant: Tenant, enter: Callable[[int], int]) -> tuple[VolumeRow, int]:
        """Give a row a number, and let `enter` tell the log of it, which returns a handle."""
        self.require_writable()
        tenant._require_living()
        self.undo_unfinished()
        row = self.catalog.add_volume(row)
        self._unfinished.add(row.number)
        try:
            handle = enter(row.number)
            self.engine.commit()
        except BaseException:
            with suppress(SeqstoreError):  # then before the next change, or when the store is closed
                self.undo_unfinished()
            raise
        self._unfinished.discard(row.number)
        return row, handle

    def undo_unfinished(self) -> None:
        """Take back what could not be made durable, and was reported as failed."""
        for number in sorted(self._unfinished):
            self._undo(number)
            self._unfinished.discard(number)

    def _undo(self, number: int) -> None:
        for entry in self.engine.volumes():
            if entry["number"] == number:
                self.engine.delete(int(entry["handle"]), "giving up what was not finished")
                self.engine.commit()
        self.catalog.remove_volume(number)

    def _new_volume(self, row: VolumeRow, handle: int, tenant: Tenant) -> Volume:
        volume = Volume(self, row, handle, tenant)
        self._views[row.number] = volume
        return volume

    def _new_snapshot(self, row: VolumeRow, handle: int, tenant: Tenant) -> Snapshot:
        snapshot = Snapshot(self, row, handle, tenant)
        self._views[row.number] = snapshot
        return snapshot

    # ---- going --------------------------------------------------------------------------------

    def delete(self, view: Volume | Snapshot) -> None:
        """End a volume or snapshot, durably."""
        with self.lock:
            self.require_writable()
            self.undo_unfinished()
            self._leave(view)
            self.engine.commit()
            self.catalog.remove_volume(view.number)
            self._forget(view)

    def delete_tenant(self, tenant: Tenant) -> None:
        """End a tenant with all that it owns, durably."""
        with self.lock:
            self.require_writable()
            self.undo_unfinished()
            owned = [view for view in self._views.values() if view.tenant is tenant]
            # The catalog remembers at once: all that came before has to be safe by then.
            self.engine.commit()
            self.catalog.mark_deleting(tenant.number)
            tenant._deleting = True
            # By what the log knows: a signal may have come between the log and this side.
            for entry in self.engine.volumes():
                if entry["tenant"] == tenant.number:
                    self.engine.delete(int(entry["handle"]), f"deletion of tenant {tenant.name!r}")
            self.engine.commit()
            self.catalog.remove_tenant(tenant.number)
            for view in owned:
                self._forget(view)
            self.tenants.forget(tenant)
            tenant.deleted = True

    @staticmethod
    def _leave(view: Volume | Snapshot) -> None:
        try:
            view._delete()
        except NotFoundError:
            if view.deleted:
                raise
            # Deleted in the core, but a signal or a failure came before this side knew.

    def _forget(self, view: Volume | Snapshot) -> None:
        self._views.pop(view.number, None)
        if isinstance(view, Volume):
            view.tenant._directory.forget(view)
        else:
            self._snapshots[view.volume_number].forget(view)
        view.deleted = True  # last: until then a deletion that a signal cut short can be repeated
