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
from typing import TYPE_CHECKING, TypeVar

from seqstore.audit_records import Act, Subject
from seqstore.bookkeeping import subject_of, subject_of_row, undo_creation
from seqstore.catalog import VolumeRow
from seqstore.departures import Departures
from seqstore.directory import Directory
from seqstore.engine_volume import EngineVolume
from seqstore.errors import (
    AccessError,
    ClosedError,
    ConfigError,
    MediumError,
    SeqstoreError,
)
from seqstore.placing import Placer
from seqstore.shared import MOST_BLOCKS
from seqstore.snapshot import Snapshot
from seqstore.tenants import Tenant
from seqstore.volume import Volume

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.catalog import Catalog
    from seqstore.drive_facts import FactTable
    from seqstore.engine_mirror import Leg
    from seqstore.erasing import Eraser
    from seqstore.evidence_book import Asked, EvidenceBook
    from seqstore.fleet import Fleet
    from seqstore.key_keeper import KeyKeeper
    from seqstore.view import Unwritten, View

T = TypeVar("T")


class Registry(Departures):
    """The living tenants, volumes and snapshots of a store.

    Parameters
    ----------
    fleet : Fleet
    catalog : Catalog
    audit : AuditLog
        Gets a record of whatever comes or goes, in the transaction in which the catalog learns of it.
    facts : FactTable
        What is known of drives.
    read_only : bool
        Whether nothing may change.

    Attributes
    ----------
    alarms : set of int
        Drives whose errors have become more since their health was looked at.
    look_at_health : callable
        Looks at it; to be called with no lock of a volume's copies.
    evidence : EvidenceBook or None
        Follows the copies of what is deleted; None follows nothing.
    eraser : Eraser or None
        Does what strategies of deletion ask for; None does nothing.
    keeper : KeyKeeper or None
        Keeps the keys of volumes; None where blocks are not encrypted.
    lock : RLock
        Held while anything comes or goes; directories of names share it.
    placer : Placer
        Knows the ways to volumes.
    tenants : Directory of Tenant
    """

    def __init__(
        self,
        fleet: Fleet,
        catalog: Catalog,
        audit: AuditLog,
        facts: FactTable,
        *,
        read_only: bool = False,
    ) -> None:
        self.fleet = fleet
        self.catalog = catalog
        self.audit = audit
        self.evidence: EvidenceBook | None = None
        self.eraser: Eraser | None = None
        self.keeper: KeyKeeper | None = None
        self.read_only = read_only
        self.lock = threading.RLock()
        self.alarms: set[int] = set()
        self.look_at_health: Callable[[], None] = lambda: None
        self.placer = Placer(fleet, catalog, facts, self.lock)
        self.tenants: Directory[Tenant] = Directory("tenant", self.lock)
        self._views: dict[int, Volume | Snapshot] = {}
        self._lost: dict[int, Volume | Snapshot] = {}  # of which no copy is there
        self._unfinished: set[int] = set()  # numbers of what failed half-way
        self._asked: dict[Subject, Asked | None] = {}  # what is being deleted
        self._snapshots: defaultdict[int, Directory[Snapshot]] = defaultdict(
            lambda: Directory("snapshot", self.lock)
        )

    def require_writable(self) -> None:
        """Raise `ClosedError` or `AccessError` if nothing may change."""
        self.fleet.require_open()
        if self.fleet.disowned:
            raise ClosedError(
                "this process was forked from the one that opened the store, which alone may change it;"
                " open it anew after that one has closed it"
            )
        if self.read_only:
            raise AccessError("the store was opened with read_only=True; open it for writing to change it")

    # ---- looking up ---------------------------------------------------------------------------

    def find(self, number: int) -> Volume | Snapshot | None:
        """Return the living volume or snapshot of a number."""
        self.fleet.require_open()
        return self._views.get(number)

    def snapshots(self) -> list[Snapshot]:
        """Return the living snapshots in order of creation."""
        self.fleet.require_open()
        with self.lock:
            return [view for _, view in sorted(self._views.items()) if isinstance(view, Snapshot)]

    def find_snapshot(self, volume: Volume, name: str) -> Snapshot:
        """Return a volume's snapshot of a name, or raise `NotFoundError`."""
        self.fleet.require_open()
        with self.lock:
            return self._snapshots[volume.number].find(name)

    def reach(self, volume: Volume, start: int, end: int | None) -> list[tuple[Volume | Snapshot, int]]:
        """Say who else shows blocks written through a volume in a range of bytes, and how many blocks."""
        first = min(start // volume.block_size, MOST_BLOCKS)
        behind = MOST_BLOCKS if end is None else min(-(-end // volume.block_size), MOST_BLOCKS)
        with self.lock:
            found = self.fleet.reach(volume.number, first, max(behind - first, 0))
            holders = [(self._views.get(number), blocks) for number, blocks in sorted(found.items())]
        return [(holder, blocks) for holder, blocks in holders if holder is not None]

    def is_living(self, subject: Subject) -> bool:
        """Tell whether the tenant, volume or snapshot of a record is there."""
        with self.lock:
            if subject.kind == "tenant":
                return any(tenant.number == subject.number for tenant in self.tenants.items())
            return subject.number in self._views

    def views(self) -> list[Volume | Snapshot]:
        """Return the living volumes and snapshots in order of creation."""
        with self.lock:
            return [view for _, view in sorted(self._views.items())]

    def lost(self) -> list[Volume | Snapshot]:
        """Return the volumes and snapshots of which no copy is there, in order of creation."""
        self.fleet.require_open()
        with self.lock:
            return [view for _, view in sorted(self._lost.items())]

    def has_uncopied(self, drive: int) -> bool:
        """Tell whether something lies on a drive and nowhere else, or all its other copies are damaged."""
        return any(
            drive in drives and drives <= {drive} | set(self.placer.damaged.get(number, ()))
            for number, drives in (
                (view.number, {leg.drive for leg in view._route.legs}) for view in self.views()
            )
        )

    def has_moved(self, view: View, moves: int) -> bool:
        """Wait for a volume that is being moved, and tell whether a call that failed is to be repeated."""
        return self.placer.has_moved(view, moves)

    def volume_of(self, number: int) -> int:
        """Return the volume or snapshot that a number on a drive stands for."""
        return self.catalog.placements.volume_of(number)

    # ---- coming -------------------------------------------------------------------------------

    def load(self, row: VolumeRow, handles: Mapping[int, int], tenant: Tenant) -> None:
        """Take in a volume or snapshot that the catalog and the logs know already; handles: by drive."""
        if row.kind == "snapshot":
            self._snapshots[row.origin].add(row.name, lambda: self._new_snapshot(row, handles, tenant))
        else:
            tenant._directory.add(row.name, lambda: self._new_volume(row, handles, tenant))

    def load_lost(self, row: VolumeRow, tenant: Tenant) -> None:
        """Take in what the catalog knows and no drive that is there: it can be deleted, and that is all."""
        kind = Snapshot if row.kind == "snapshot" else Volume
        self._lost[row.number] = kind(self, row, self.placer.nowhere(row.number), tenant)

    def create_volume(
        self,
        tenant: Tenant,
        name: str,
        size_bytes: int,
        unwritten: Unwritten,
        *,
        copies: int = 1,
        region: str | None = None,
        drive: int | None = None,
    ) -> Volume:
        """Make a volume of a tenant, durably."""
        row = VolumeRow(
            number=0, tenant=tenant.number, kind="volume", name=name, unwritten=unwritten, origin=0
        )

        details: dict[str, object] = {"size": size_bytes, "unwritten": unwritten}
        if copies != 1:
            details["copies"] = copies

        def enter(numbers: dict[int, int]) -> dict[int, int]:
            is_error = unwritten == "error"
            return {
                number: self.fleet.member(number).engine.create_volume(
                    own, tenant.number, size_bytes, unwritten_error=is_error
                )
                for number, own in numbers.items()
            }

        def make() -> Volume:
            self.require_writable()
            drives = self.placer.choose(copies, region, drive)
            wish = (copies, region)
            entered = self._enter(row, tenant, enter, Act.VOLUME_CREATED, details, drives, wish)
            return self._new_volume(*entered, tenant)

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

        def enter(numbers: dict[int, int]) -> dict[int, int]:
            is_error = snapshot.unwritten == "error"
            return each_leg(
                snapshot,
                lambda leg: leg.view._clone(numbers[leg.drive], tenant.number, unwritten_error=is_error),
            )

        details = {"owner": snapshot.tenant.number}  # who let the tenant read what is in the snapshot

        def make() -> Volume:
            self.placer.wait_for([snapshot.number])
            entered = self._enter(row, tenant, enter, Act.CLONE_CREATED, details, *self._beside(snapshot))
            return self._new_volume(*entered, tenant)

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

        def enter(numbers: dict[int, int]) -> dict[int, int]:
            return each_leg(volume, lambda leg: as_volume(leg)._snapshot(numbers[leg.drive]))

        def make() -> Snapshot:
            entered = self._enter(row, tenant, enter, Act.SNAPSHOT_CREATED, {}, *self._beside(volume))
            return self._new_snapshot(*entered, tenant)

        with self.lock:
            self.placer.wait_for([volume.number])
            volume._require()
            return self._snapshots[volume.number].add(name, make)

    def _beside(self, view: Volume | Snapshot) -> tuple[list[int], tuple[int, str | None]]:
        """Say where what shares blocks with something goes, and how many copies it has."""
        drives = [leg.drive for leg in view._route.legs]
        return drives, (self.placer.copies_of(view.number), self.placer.region_of(view.number))

    def roll_back(self, volume: Volume, snapshot: Snapshot) -> None:
        """Let a volume show what a snapshot shows, durably."""
        with self.lock:
            self.placer.wait_for([volume.number])
            self.require_writable()
            volume._require()
            snapshot._require()
            self.undo_unfinished()
            with self.catalog.atomic():
                number = self.catalog.draw_number()
                subject = subject_of(volume)
                self.audit.append(Act.VOLUME_ROLLED_BACK, subject, {"snapshot": snapshot.number})

            def work(leg: Leg) -> None:
                frozen = snapshot._route.leg_on(leg.drive)
                if frozen is None:
                    raise MediumError(f"drive {leg.drive} has no copy of {snapshot!r}; rebuild its copies")
                as_volume(leg)._rollback(frozen.view, number)

            each_leg(volume, work, is_content=True)
            self.placer.commit([leg.drive for leg in volume._route.legs])

    def resize(self, volume: Volume, size_bytes: int) -> None:
        """Change the size of a volume; durable with the next flush."""
        with self.lock:
            self.placer.wait_for([volume.number])
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

    def _enter(  # noqa: PLR0917 (what its three callers have)
        self,
        row: VolumeRow,
        tenant: Tenant,
        enter: Callable[[dict[int, int]], dict[int, int]],
        act: Act,
        details: Mapping[str, object],
        drives: list[int],
        wish: tuple[int, str | None],
    ) -> tuple[VolumeRow, dict[int, int]]:
        """Give a row a number on each drive, and let `enter` tell their logs of it, which return handles."""
        self.require_writable()
        tenant._require_living()
        self.undo_unfinished()
        if self.catalog.has_name_of(row):  # and the directory does not, or it would not have come here
            raise ConfigError(
                f"there is a {row.kind} named {row.name!r} already, of which no copy is there: see"
                " Store.losses; delete it with Store.delete_lost, or choose another name"
            )
        with self.catalog.atomic():
            row = self.catalog.add_volume(row)
            numbers = self.placer.enter(row.number, drives)
            self.placer.wish(row.number, *wish)
            self.audit.append(act, subject_of_row(row), details)
        self._unfinished.add(row.number)
        try:
            if self.keeper is not None and row.kind == "volume":
                by_leaf = (
                    self.eraser is not None and self.eraser.epoch_of(tenant.number, row.number) is not None
                )
                self.keeper.make(tenant.number, row.number, by_leaf=by_leaf)
            handles = enter(numbers)
            for drive in numbers.keys() - handles.keys():  # which failed meanwhile
                self.catalog.placements.put(numbers[drive], "left")
            self.placer.commit(handles)
        except BaseException:
            with suppress(SeqstoreError):  # then before the next change, or when the store is closed
                self.undo_unfinished()
            raise
        self._unfinished.discard(row.number)
        return row, handles

    def undo_unfinished(self) -> None:
        """Take back what could not be made durable, and was reported as failed."""
        for number in sorted(self._unfinished):
            self._undo(number)
            self._unfinished.discard(number)

    def _undo(self, number: int) -> None:
        for member in self.fleet:
            own = self.catalog.placements.numbers_on(member.number, number)
            for entry in member.engine.volumes() if own else ():
                if entry["number"] in own:
                    member.engine.delete(int(entry["handle"]), "giving up what was not finished")
                    member.engine.commit()
        undo_creation(self.catalog, self.audit, number)
        self.placer.forget(number)
        if self.keeper is not None:
            self.keeper.bury()

    def _new_volume(self, row: VolumeRow, handles: Mapping[int, int], tenant: Tenant) -> Volume:
        volume = Volume(self, row, self.placer.route(row, handles), tenant)
        if self.keeper is not None:
            self.keeper.hand_over(row.number, volume._route.legs)
        self._views[row.number] = volume
        return volume

    def _new_snapshot(self, row: VolumeRow, handles: Mapping[int, int], tenant: Tenant) -> Snapshot:
        snapshot = Snapshot(self, row, self.placer.route(row, handles), tenant)
        self._views[row.number] = snapshot
        return snapshot


def as_volume(leg: Leg) -> EngineVolume:
    """Return the handle on a copy of a volume."""
    assert isinstance(leg.view, EngineVolume)
    return leg.view


def each_leg(view: View, work: Callable[[Leg], T], *, is_content: bool = False) -> dict[int, T]:
    """Do something to all copies of something, and return what it gave, by drive."""
    mirror = view._route.mirror
    if mirror is not None:
        return mirror.each(work, is_content=is_content)
    return {leg.drive: work(leg) for leg in view._route.legs}
