"""What opening a store finds and puts right: the log's own report, and the catalog beside the log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seqstore._native.records import VOLUME_IS_SNAPSHOT, VOLUME_UNWRITTEN_ERROR
from seqstore.audit_records import Act, Subject
from seqstore.bookkeeping import adopt
from seqstore.catalog import Catalog, DriveRow, Kind, Settings, VolumeRow
from seqstore.placements import Placement

if TYPE_CHECKING:
    from pathlib import Path

    from seqstore.audit import AuditLog
    from seqstore.engine import Engine
    from seqstore.parts import Parts

_LEDGER_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What opening a drive found and did.

    Attributes
    ----------
    clean : bool
        Whether the store had been closed; otherwise a crash ended it.
    checkpoint_sequence, last_sequence : int
        Record at which the checkpoint begins that was loaded; last record of the log.
    records : int
        Records behind the checkpoint that were read.
    verified_blocks : int
        Blocks of data that were read, because nobody knew whether they had reached the medium.
    read_blocks, zeroed_blocks : int
        All blocks that were read; blocks overwritten because a write that was cut off may lie there.
    void_entries : int
        Entries of a last request that was cut off, and has no effect.
    lost_records : int
        Flushed records that are missing; above 0 only where the loss was accepted.
    position : int
        The log's time at its end.
    """

    clean: bool
    checkpoint_sequence: int
    last_sequence: int
    records: int
    verified_blocks: int
    read_blocks: int
    zeroed_blocks: int
    void_entries: int
    lost_records: int
    position: int


def make_recovery(fields: dict[str, int]) -> Recovery:
    """Make a `Recovery` of the fields of ``struct sq_recovery``."""
    values: dict[str, Any] = {name: fields[name] for name in Recovery.__slots__}
    return Recovery(**{**values, "clean": bool(fields["clean"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """A volume or snapshot as the log knows it."""

    number: int
    tenant: int
    handle: int
    origin: int
    unwritten_error: bool
    is_snapshot: bool

    @property
    def scope(self) -> int:
        """Within which its name is unique: a volume's tenant, or the volume that a snapshot is of."""
        return self.origin if self.is_snapshot else self.tenant

    def agrees_with(self, row: VolumeRow) -> bool:
        """Tell whether a row of the catalog stands for the same thing."""
        of_row = (row.tenant, row.origin, row.unwritten == "error", row.kind == "snapshot")
        return of_row == (self.tenant, self.origin, self.unwritten_error, self.is_snapshot)


def log_entries(engine: Engine) -> dict[int, LogEntry]:
    """List what the log knows, by number and in order of creation."""
    entries = {}
    for row in sorted(engine.volumes(), key=lambda row: int(row["number"])):
        flags = int(row["flags"])
        entries[int(row["number"])] = LogEntry(
            number=int(row["number"]),
            tenant=int(row["tenant"]),
            handle=int(row["handle"]),
            origin=int(row["origin"]),
            unwritten_error=bool(flags & VOLUME_UNWRITTEN_ERROR),
            is_snapshot=bool(flags & VOLUME_IS_SNAPSHOT),
        )
    return entries


def note_opening(audit: AuditLog, parts: Parts, *, is_new: bool) -> None:
    """Note that the store was made, or was opened after something went wrong.

    `is_new` says that the audit log was empty when the opening began.
    """
    store, recovery, drive = Subject(kind="store"), parts.recovery, parts.catalog.drive
    about = {"identity": f"{drive.identity:016x}", "blocks": drive.blocks, "block_size": drive.block_size}
    if recovery is None:
        audit.append(Act.STORE_CREATED, store, about)
        return
    if parts.rebuilt:
        audit.append(Act.CATALOG_REBUILT, store, {**about, "is_audit_new": is_new})
    elif is_new:
        audit.append(Act.AUDIT_BEGUN, store, about)
    if not recovery.clean:
        details = {name: getattr(recovery, name) for name in ("position", "last_sequence", "lost_records")}
        audit.append(Act.STORE_RECOVERED, store, details)


def rebuild(
    path: Path | None,
    old: Catalog | None,
    logs: list[tuple[DriveRow, Engine | None]],
    settings: Settings,
) -> Catalog:
    """Make a catalog anew from what the logs know.

    Parameters
    ----------
    path : Path or None
        Of the new catalog, where nothing is yet; None for memory.
    old : Catalog, optional
        Gives the names of what it knows, which numbers stand for copies, and the audit log with the erasures,
        if the log holds. Others get names from their numbers, such as ``volume-7``; copies that it does not
        know are volumes of their own then.
    logs : list of (DriveRow, Engine or None)
        The drives by number, and their logs; None for those that are not there.
    settings : Settings
    """
    places = (
        {}
        if old is None
        else {place.number: place for row, _ in logs for place in old.placements.on(row.number)}
    )
    entries: dict[int, LogEntry] = {}
    where: list[Placement] = []
    for drive, engine in logs:
        for number, entry in log_entries(engine).items() if engine is not None else ():
            place = places.get(number)
            if place is not None and place.number != place.volume and place.is_there:
                continue  # a copy of something that has another number
            entries[number] = entry
            if place is None:
                where.append(Placement(number=number, volume=number, drive=drive.number, state="in_sync"))
    catalog = Catalog.create(path, settings, logs[0][0])
    try:
        with catalog.atomic():
            _copy_tenants(catalog, old, {entry.tenant for entry in entries.values()})
            known = {row.number: row for row in old.volumes()} if old else {}
            rows = list(_rows(entries.values(), known))
            copied = {place.volume for place in places.values() if place.is_there} & known.keys()
            rows += [known[number] for number in sorted(copied - entries.keys())]
            for row in sorted(rows, key=lambda row: row.number):
                catalog.add_volume(row)
            for drive, _ in logs[1:]:
                catalog.add_drive(drive)
            for place in [*places.values(), *where] if len(logs) > 1 or places else ():
                catalog.placements.forget(place.number)
                catalog.placements.add(place)
            if old is not None:
                adopt(catalog, old)
            engines = [engine for _, engine in logs if engine is not None]
            catalog.skip_numbers(
                tenants=max(_highest_tenant(engine) for engine in engines),
                volumes=max(engine.counters()["last_number"] for engine in engines),
            )
    except BaseException:
        catalog.close()
        raise
    return catalog


def _copy_tenants(catalog: Catalog, old: Catalog | None, owners: set[int]) -> None:
    """Add the tenants of the old catalog, and the owners that it does not know."""
    rows = old.tenants() if old else []
    names = {row.number: row.name for row in rows}
    for number in sorted(names.keys() | owners):
        catalog.add_tenant(names.get(number) or _free_name(f"tenant-{number}", set(names.values())), number)
    for row in rows:
        if row.deleting:
            catalog.mark_deleting(row.number)


def _rows(entries: Iterable[LogEntry], known: dict[int, VolumeRow]) -> Iterator[VolumeRow]:
    """Find a name for each entry of the log, first for those that had one."""
    taken: defaultdict[tuple[bool, int], set[str]] = defaultdict(set)
    unknown = []
    for entry in entries:
        row = known.get(entry.number)
        if row is not None and entry.agrees_with(row):
            taken[entry.is_snapshot, entry.scope].add(row.name)
            yield row
        else:
            unknown.append(entry)
    for entry in unknown:
        kind: Kind = "snapshot" if entry.is_snapshot else "volume"
        names = taken[entry.is_snapshot, entry.scope]
        name = _free_name(f"{kind}-{entry.number}", names)
        names.add(name)
        yield VolumeRow(
            number=entry.number,
            tenant=entry.tenant,
            kind=kind,
            name=name,
            unwritten="error" if entry.unwritten_error else "zero",
            origin=entry.origin,
        )


def _free_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "'"
    return name


def _highest_tenant(engine: Engine) -> int:
    """Return the highest number of a tenant of whom anything is left on the drive."""
    medium, highest = engine.medium, 0
    for first in range(0, medium.blocks, _LEDGER_AT_ONCE):
        count = min(_LEDGER_AT_ONCE, medium.blocks - first)
        highest = max(highest, int(engine.ledger(first, count)["tenant"].max()))
    return highest
