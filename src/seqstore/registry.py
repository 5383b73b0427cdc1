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
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from seqstore._native.records import Scope
from seqstore.audit_records import Act, Subject
from seqstore.bookkeeping import act_of_deletion, scope_of, subject_of, subject_of_row, undo_creation
from seqstore.catalog import VolumeRow
from seqstore.deletion import Bounds
from seqstore.directory import Directory
from seqstore.errors import AccessError, ClosedError, ConfigError, NotFoundError, SeqstoreError
from seqstore.shared import MOST_BLOCKS, NOTHING, Shared, find_shared
from seqstore.snapshot import Snapshot
from seqstore.tenants import Tenant
from seqstore.volume import Volume

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.catalog import Catalog
    from seqstore.engine import Engine
    from seqstore.erasing import Eraser
    from seqstore.evidence import Evidence
    from seqstore.key_keeper import KeyKeeper
    from seqstore.promise import Erasure
    from seqstore.view import Unwritten

Due = tuple[tuple[Scope, int], Bounds]  # what is asked for of the residue of a tenant or volume


class Registry:
    """The living tenants, volumes and snapshots of a store.

    Parameters
    ----------
    engine : Engine
    catalog : Catalog
    audit : AuditLog
        Gets a record of whatever comes or goes, in the transaction in which the catalog learns of it.
    read_only : bool
        Whether nothing may change.

    Attributes
    ----------
    evidence : Evidence or None
        Follows the copies of what is deleted; None follows nothing.
    eraser : Eraser or None
        Does what strategies of deletion ask for; None does nothing.
    keeper : KeyKeeper or None
        Keeps the keys of volumes; None where blocks are not encrypted.
    lock : RLock
        Held while anything comes or goes; directories of names share it.
    tenants : Directory of Tenant
    """

    def __init__(self, engine: Engine, catalog: Catalog, audit: AuditLog, *, read_only: bool = False) -> None:
        self.engine = engine
        self.catalog = catalog
        self.audit = audit
        self.evidence: Evidence | None = None
        self.eraser: Eraser | None = None
        self.keeper: KeyKeeper | None = None
        self.read_only = read_only
        self.lock = threading.RLock()
        self.tenants: Directory[Tenant] = Directory("tenant", self.lock)
        self._views: dict[int, Volume | Snapshot] = {}
        self._unfinished: set[int] = set()  # numbers of what failed half-way
        self._asked: dict[Subject, Erasure | None] = {}  # what is being deleted
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
        first = min(start // volume.block_size, MOST_BLOCKS)
        behind = MOST_BLOCKS if end is None else min(-(-end // volume.block_size), MOST_BLOCKS)
        with self.lock:
            rows = self.engine.reach(volume.number, first, max(behind - first, 0))
            holders = [(self._views.get(int(row["number"])), int(row["blocks"])) for row in rows]
        return [(holder, blocks) for holder, blocks in holders if holder is not None]

    def is_living(self, subject: Subject) -> bool:
        """Tell whether the tenant, volume or snapshot of a record is there."""
        with self.lock:
            if subject.kind == "tenant":
                return any(tenant.number == subject.number for tenant in self.tenants.items())
            return subject.number in self._views

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

        details = {"size": size_bytes, "unwritten": unwritten}

        def enter(number: int) -> int:
            is_error = unwritten == "error"
            return self.engine.create_volume(number, tenant.number, size_bytes, unwritten_error=is_error)

        def make() -> Volume:
            return self._new_volume(*self._enter(row, tenant, enter, Act.VOLUME_CREATED, details), tenant)

        return tenant._directory.add(name, make)

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

        details = {"owner": snapshot.tenant.number}  # who let the tenant read what is in the snapshot

        def make() -> Volume:
            return self._new_volume(*self._enter(row, tenant, enter, Act.CLONE_CREATED, details), tenant)

        return tenant._directory.add(name, make)

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
            entered = self._enter(row, tenant, volume._snapshot, Act.SNAPSHOT_CREATED, {})
            return self._new_snapshot(*entered, tenant)

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
            with self.catalog.atomic():
                number = self.catalog.draw_number()
                subject = subject_of(volume)
                self.audit.append(Act.VOLUME_ROLLED_BACK, subject, {"snapshot": snapshot.number})
            volume._rollback(snapshot, number)
            self.engine.commit()

    def resize(self, volume: Volume, size_bytes: int) -> None:
        """Change the size of a volume; durable with the next flush."""
        with self.lock:
            self.require_writable()
            before = volume.size
            volume._resize(size_bytes)
            details = {"before": before, "after": size_bytes}
            self.audit.append(Act.VOLUME_RESIZED, subject_of(volume), details)

    def create_tenant(self, name: str) -> int:
        """Give a tenant a number, durably."""
        with self.catalog.atomic():
            number = self.catalog.add_tenant(name)
            self.audit.append(Act.TENANT_CREATED, Subject(kind="tenant", number=number, name=name))
        return number

    def _enter(
        self,
        row: VolumeRow,
        tenant: Tenant,
        enter: Callable[[int], int],
        act: Act,
        details: Mapping[str, object],
    ) -> tuple[VolumeRow, int]:
        """Give a row a number, and let `enter` tell the log of it, which returns a handle."""
        self.require_writable()
        tenant._require_living()
        self.undo_unfinished()
        with self.catalog.atomic():
            row = self.catalog.add_volume(row)
            self.audit.append(act, subject_of_row(row), details)
        self._unfinished.add(row.number)
        try:
            if self.keeper is not None and row.kind == "volume":
                by_leaf = (
                    self.eraser is not None and self.eraser.epoch_of(tenant.number, row.number) is not None
                )
                self.keeper.make(tenant.number, row.number, by_leaf=by_leaf)
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
        undo_creation(self.catalog, self.audit, number)
        if self.keeper is not None:
            self.keeper.bury()

    def _new_volume(self, row: VolumeRow, handle: int, tenant: Tenant) -> Volume:
        volume = Volume(self, row, handle, tenant)
        if self.keeper is not None:
            self.keeper.hand_over(volume)
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
            if view.deleted:
                view._require()
            self.undo_unfinished()
            subject = subject_of(view)
            shared = self._find_shared(subject)
            erasure, due = self._request(subject, shared), self._intend(subject, shared)
            self._leave(view)
            self.engine.commit()
            with self.catalog.atomic():
                self.catalog.remove_volume(view.number)
                self.audit.append(act_of_deletion(subject), subject)
            self._forget(view)
            self._list(subject, erasure)
            self._erase(subject, due)

    def delete_tenant(self, tenant: Tenant) -> None:
        """End a tenant with all that it owns, durably."""
        with self.lock:
            self.require_writable()
            self.undo_unfinished()
            owned = [view for view in self._views.values() if view.tenant is tenant]
            subject = Subject(kind="tenant", number=tenant.number, name=tenant.name)
            shared = self._find_shared(subject)
            due = self._intend(subject, shared)
            # The catalog remembers at once: all that came before has to be safe by then.
            self.engine.commit()
            with self.catalog.atomic():
                erasure = self._request(subject, shared)
                self.catalog.mark_deleting(tenant.number)
            tenant._deleting = True
            # By what the log knows: a signal may have come between the log and this side.
            for entry in self.engine.volumes():
                if entry["tenant"] == tenant.number:
                    self.engine.delete(int(entry["handle"]), f"deletion of tenant {tenant.name!r}")
            self.engine.commit()
            with self.catalog.atomic():
                self.catalog.remove_tenant(tenant.number)
                self.audit.append(Act.TENANT_DELETED, subject)
            for view in owned:
                self._forget(view)
            self.tenants.forget(tenant)
            tenant.deleted = True
            self._list(subject, erasure)
            self._erase(subject, due)

    def trim(self, volume: Volume, offset: int, length: int) -> None:
        """Give up a range, and do what the strategy of deletion asks for."""
        if self.eraser is None or self.eraser.is_lap:
            volume._trim(offset, length)
            return
        subject = Subject(
            kind="range", number=volume.number, tenant=volume.tenant.number, offset=offset, length=length
        )
        if not self.eraser.acts_at_once:
            due = self._intend(subject, NOTHING)
            volume._trim(offset, length)
            self._erase(subject, due)
            return
        with self.lock:
            self.require_writable()
            shared = self._find_shared(subject)
            due = self._intend(subject, shared)
            if not due[0][1].now or not length:
                volume._trim(offset, length)
                if any(bounds.now for _, bounds in due):
                    self.engine.commit()
                self._erase(subject, due)
                return
            erasure = self._request(subject, shared)
            try:
                volume._trim(offset, length)
                self.engine.commit()
            except BaseException:
                # What was asked for stays noted, and the next opening finds that it did not happen.
                del self._asked[subject]
                raise
            self._list(subject, erasure)
            self._erase(subject, due)

    def _find_shared(self, subject: Subject) -> Shared:
        """Say what something that is to be deleted shares with others, if anybody needs to know."""
        is_lap = self.eraser is None or self.eraser.is_lap
        return NOTHING if is_lap and self.evidence is None else find_shared(self.engine, subject)

    def _intend(self, subject: Subject, shared: Shared) -> list[Due]:
        """Say what the strategies ask for that apply to something which is to be deleted, and prepare it.

        First of all to itself, then to volumes of which blocks die with it that were written through them.
        """
        scope, number = scope_of(subject)
        if self.eraser is None or self.eraser.is_lap:
            return [((scope, number), Bounds())]
        asked = self.eraser.bounds(scope, number)
        due: list[Due] = [((scope, number), asked)]
        for tenant, volume in sorted(shared.owners()):
            bounds = asked | self.eraser.bounds(Scope.VOLUME, volume, tenant)
            is_covered = number == (tenant if scope is Scope.TENANT else volume) and bounds == asked
            if not is_covered:
                due.append(((Scope.VOLUME, volume), bounds))
        for key, bounds in due:
            self.eraser.intend(*key, bounds)
        return due

    def _erase(self, subject: Subject, due: list[Due]) -> None:
        try:
            for key, bounds in due:
                if self.eraser is not None and bounds != Bounds():
                    self.eraser.deleted(*key, bounds)
        finally:
            # Last: what could be written over at once is said to be that, and not merely unreadable.
            if self.keeper is not None and subject.kind != "range":
                self.keeper.bury()

    def _request(self, subject: Subject, shared: Shared) -> Erasure | None:
        """Note that something is to be deleted, once, however often it is tried."""
        if subject not in self._asked:
            if self.evidence is None:
                self.audit.append(Act.DELETION_REQUESTED, subject)
                self._asked[subject] = None
            else:
                self._asked[subject] = self.evidence.request(subject, shared=shared)
        asked = self._asked[subject]
        if asked is not None and self.evidence is not None:
            self._asked[subject] = asked = self.evidence.request_again(asked, shared)
        return asked

    def _list(self, subject: Subject, erasure: Erasure | None) -> None:
        """List the copies that a deletion left behind."""
        del self._asked[subject]
        if erasure is not None and self.evidence is not None:
            self.evidence.deleted(erasure)

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
