"""What a store does with its drives, for its callers. `seqstore.drive_keeper` does it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, SupportsIndex, cast

from seqstore.arguments import instance
from seqstore.bookkeeping import subject_of
from seqstore.drive import Drive
from seqstore.errors import ConfigError, NotFoundError
from seqstore.evidence import Evidence
from seqstore.folder import StrPath, parse_path
from seqstore.losses import Loss, LossTable
from seqstore.making import make_drive_file
from seqstore.media import MemoryMedium, TagsMedium
from seqstore.options import check_medium, draw_identity
from seqstore.recovery import Recovery, make_recovery
from seqstore.units import parse_size

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.audit_records import Subject
    from seqstore.clock import Clock
    from seqstore.drive_facts import FactTable
    from seqstore.drive_health import Thresholds
    from seqstore.drive_keeper import DriveKeeper
    from seqstore.drive_sanitizer import DriveSanitizer
    from seqstore.engine import Engine
    from seqstore.erasing import Eraser
    from seqstore.evidence_book import EvidenceBook
    from seqstore.fleet import Fleet, Member
    from seqstore.folder import Folder
    from seqstore.media.native import NativeMedium
    from seqstore.moving import Progress
    from seqstore.open_store import OpenStore
    from seqstore.parts import Parts
    from seqstore.promise import Promise
    from seqstore.registry import Registry
    from seqstore.snapshot import Snapshot
    from seqstore.volume import Volume


class DrivesStore:
    """Drives of an `OpenStore`: more of them, new copies, and what was lost."""

    _parts: Parts
    _fleet: Fleet
    _clock: Clock
    _audit: AuditLog
    _eraser: Eraser
    _book: EvidenceBook
    _drives: dict[int, Drive]
    _facts: FactTable
    _registry: Registry
    _drive_keeper: DriveKeeper
    _losses: dict[int, Loss]
    _folder: Folder | None
    thresholds: Thresholds
    """From which counts of errors on a drive is degraded, or fails, by itself. It is not remembered."""

    def add_drive(
        self,
        capacity: SupportsIndex | str | None = None,
        *,
        path: StrPath | None = None,
        device: StrPath | None = None,
        medium: NativeMedium | None = None,
        overwrite_device: bool = False,
        segment_size: SupportsIndex | str | None = None,
        region: str = "",
        vendor: str = "",
        model: str = "",
        serial: str = "",
        media_type: str = "",
    ) -> Drive:
        """Take one more drive into use. From then on volumes are placed where there is most room.

        Parameters
        ----------
        capacity : int or str, optional
            Size of the drive; see `Store.memory`. Needed unless a medium is given.
        path : path-like, optional
            A file that is made for it, instead of one in the store's directory.
        device : path-like, optional
            A block device or existing file, as in `Store.create`.
        medium : NativeMedium, optional
            A new medium of the caller's, who also closes it, for a store that was made with
            `Store.create_on`, or one in memory; when the store is opened again, it is passed to
            `Store.open_on`.
        overwrite_device : bool
            As in `Store.create`.
        segment_size : int or str, optional
            As in `Store.memory`; by default that of the first drive, if the capacity is a multiple of it.
        region : str
            Where it stands: copies of a volume go to different regions, where there are such.
        vendor, model, serial, media_type : str
            As its label says.

        Raises
        ------
        ConfigError
            If an option cannot be used, something is in the way, or the device is too small or not empty.
        BoundError
            If a bound on residue that was promised cannot be kept on such a drive.
        MediumError, AccessError, MemoryError
            As `Store.create`.
        ClosedError
            If the store was closed.
        """
        self._registry.require_writable()
        keeper, first = self._drive_keeper, self._parts.fleet.first.medium
        facts = keeper.facts_of_new(
            region=region, vendor=vendor, model=model, serial=serial, media_type=media_type
        )
        if medium is not None:
            self._check_medium_alone(capacity, path, device)
            return keeper.add(check_medium(medium), draw_identity(), facts, is_own_medium=False)
        if capacity is None:
            raise ConfigError("capacity is missing; the size of the drive is expected, or medium=")
        zone_bytes = first.zone_blocks * first.block_size
        if segment_size is None and parse_size(capacity, "capacity") % zone_bytes == 0:
            segment_size = zone_bytes
        geometry = {"block_size": first.block_size, "zone_size": segment_size}
        if self._folder is None:
            if path is not None or device is not None or overwrite_device:
                raise ConfigError("path and device are for stores in a directory; give medium= for this one")
            if not isinstance(first, (MemoryMedium, TagsMedium)):
                raise ConfigError(
                    f"the store lies on a medium of the caller's, {first!r}; give medium= for another"
                )
            made = type(first)(capacity, block_size=first.block_size, zone_size=segment_size)
            return keeper.add(made, 0, facts, is_own_medium=True)
        if path is not None and device is not None:
            raise ConfigError("path makes a file and device uses one; give one of them")
        with self._registry.lock:
            file = make_drive_file(
                self._folder,
                keeper.next_number(),
                capacity,
                path=None if path is None else parse_path(path, "path"),
                device=None if device is None else parse_path(device, "device"),
                overwrite_device=overwrite_device,
                settings=self._parts.catalog.settings,
                geometry=geometry,
            )
            try:
                return keeper.add(file.medium, draw_identity(), facts, is_own_medium=True)
            except BaseException:
                file.medium.close()
                with suppress(OSError):
                    file.remove()
                raise

    @property
    def read_only(self) -> bool:
        """Whether it was opened for reading alone."""
        return self._registry.read_only

    def _promise(self, subject: Subject, drive: int) -> Promise:
        raise NotImplementedError

    def _check_medium_alone(self, *others: object) -> None:
        if any(other is not None for other in others):
            raise ConfigError("medium= stands alone; it has a capacity and a place")
        if self._folder is not None:
            raise ConfigError(
                "a store in a directory finds its drives there when it is opened again; give a capacity,"
                " and path= or device= for another place"
            )

    def rebuild(self, *, progress: Callable[[Progress], None] | None = None) -> int:
        """Make new copies of volumes of which copies were lost or are out of date.

        Programs go on reading and writing. If it is cut off, calling it again goes on with what is left. A
        copy with a damaged block of a snapshot, that a read has met, is made anew as well: nothing is written
        into snapshots.

        Parameters
        ----------
        progress : callable, optional
            Is told how far it is.

        Returns
        -------
        int
            How many families of volumes, snapshots and clones got a new copy.

        Raises
        ------
        OutOfSpaceError
            If no drive is there that can take a copy.
        MediumError, AccessError, ClosedError
            As `Drive.decommission`.
        """
        return self._drive_keeper.rebuild(progress)

    def rebalance(self, *, progress: Callable[[Progress], None] | None = None) -> int:
        """Move volumes from full drives to empty ones, until that would not even them out any more.

        Parameters and errors are those of `rebuild`.

        Returns
        -------
        int
            How many families were moved.
        """
        return self._drive_keeper.rebalance(progress)

    @property
    def _sanitizer(self) -> DriveSanitizer:
        # Few stores ever ask for it, and its parts take their time to be loaded.
        from seqstore.drive_sanitizer import DriveSanitizer  # noqa: PLC0415

        return DriveSanitizer(cast("OpenStore", self))

    def losses(self) -> tuple[Loss, ...]:
        """Say which volumes and snapshots cannot be read, since no drive with a copy is there.

        Returns
        -------
        tuple of Loss
            In order of creation. What lies on a drive that is only missing is there again with the drive.
        """
        return tuple(self._loss_of(view) for view in self._registry.lost())

    def _loss_of(self, view: Volume | Snapshot) -> Loss:
        if view.number in self._losses:  # of this session
            return self._losses[view.number]
        catalog = self._parts.catalog
        places = catalog.placements.of(view.number)
        drives = tuple(place.drive for place in places if place.is_there)
        return Loss(
            kind=subject_of(view).kind,
            number=view.number,
            name=view.name,
            tenant=view.tenant.name,
            drives=drives,
            why="; ".join(self._drive_keeper.why_not(drive) for drive in drives),
            runs=LossTable(catalog.database).runs(view.number),
        )

    def delete_lost(self, loss: Loss) -> None:
        """Delete a volume or snapshot of which no copy is there, so that its name can be used again.

        What still lies on the lost drives has ended when these were sanitized or destroyed, and where blocks
        are encrypted nobody can read it from now on. From a drive that was only missing and comes back it is
        deleted then.

        Parameters
        ----------
        loss : Loss
            Of `losses`.

        Raises
        ------
        ConfigError
            If it is no `Loss`.
        NotFoundError
            If it is not lost: a drive with a copy is back, or it was deleted.
        AccessError, ClosedError
            If the store was opened for reading alone, or closed.
        """
        with self._registry.lock:
            number = instance(loss, Loss, "loss").number
            for view in self._registry.lost():
                if view.number == number:
                    self._registry.delete(view)
                    self._losses.pop(number, None)
                    return
        self._registry.require_writable()
        raise NotFoundError(f"{loss.kind} {loss.name!r} (number {number}) is not lost; see Store.losses")

    # ---- what the rest of the store builds on -----------------------------------------------------

    def _join(self, member: Member) -> None:
        """Take a drive into use that has a log."""
        deletion = member.deletion()
        member.evidence = Evidence(
            member,
            deletion,
            self._parts.catalog,
            self._audit,
            now_ns=self._clock.now_ns,
            promise=partial(self._promise, drive=member.number),
            owners=self._book.owners,
            renewals=self._book.renewals,
        )
        self._eraser.add(member.number, member.engine, deletion)
        member.engine.alarm = partial(self._registry.alarms.add, member.number)
        row = next(row for row in self._parts.catalog.drives if row.number == member.number)
        self._drives[member.number] = Drive(cast("OpenStore", self), row, member)

    @staticmethod
    def _recovery_of(member: Member) -> Recovery | None:
        return None if member.recovery is None else make_recovery(member.recovery)

    @property
    def _engine(self) -> Engine:
        return self._fleet.first.engine

    @property
    def _drive(self) -> Drive:
        return self._drives[self._fleet.first.number]

    @property
    def _evidence(self) -> Evidence:
        evidence = self._fleet.first.evidence
        assert evidence is not None
        return evidence

    def _flush(self) -> None:
        failed = self._fleet.flush()
        for drive, error in failed.items():
            if len(self._fleet) == 1 or self._registry.has_uncopied(drive):
                raise error
        for drive, error in failed.items():
            self._registry.placer.give_up_drive(drive, error)
        # Whoever calls may hold the locks of mirrors, so that nobody looks at health here.

    def _note_errors(self) -> None:
        """Write down how often drives have failed since the last time."""
        for member in self._fleet:
            engine = member.engine
            reads, writes = engine.read_errors, engine.write_errors
            if reads or writes:
                self._facts.count(member.number, reads=reads, writes=writes)
                engine.read_errors -= reads
                engine.write_errors -= writes

    def _note_findings(self, drive: int, found: int) -> None:
        if not self.read_only:
            self._facts.count(drive, findings=found)
            self._registry.alarms.add(drive)
