"""Catalog and logs say the same: what a crash, or a drive that was away, left different is put right.

A number that a log knows and the catalog has given up goes from the log; a row that no log knows goes from
the catalog. A copy that is missing on its drive, and was not deleted, is given up: it is made anew by a
rebuild.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from seqstore.bookkeeping import drop_row, drop_tenant, subject_of_row, was_asked_for
from seqstore.errors import FormatError
from seqstore.recovery import LogEntry, log_entries

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.catalog import Catalog, VolumeRow
    from seqstore.fleet import Fleet, Member


@dataclass(slots=True)
class Settled:
    """What there is.

    Attributes
    ----------
    views : list of (VolumeRow, dict of int to int)
        Volumes and snapshots in order of creation, and their handles by drive.
    lost : list of VolumeRow
        Those that lie on missing drives alone.
    """

    views: list[tuple[VolumeRow, dict[int, int]]] = field(default_factory=list)
    lost: list[VolumeRow] = field(default_factory=list)


def settle(catalog: Catalog, fleet: Fleet, audit: AuditLog, *, read_only: bool) -> Settled:
    """Bring catalog and logs to say the same.

    Rows that no log knows are dropped: their making was cut off, or they were deleted. Tenants whose deletion
    was cut off are deleted. With `read_only` both are left out and nothing is changed.

    Raises
    ------
    FormatError
        If a log knows volumes that the catalog does not, or knows them otherwise.
    """
    rows = {row.number: row for row in catalog.volumes()}
    doomed = {tenant.number: tenant for tenant in catalog.tenants() if tenant.deleting}
    found: dict[int, dict[int, int]] = {}
    for member in fleet:
        here = _look(catalog, member, rows, is_only=len(catalog.drives) == 1, read_only=read_only)
        for volume, handle in here.items():
            found.setdefault(volume, {})[member.number] = handle
    if doomed and not read_only:
        _finish_deletions(fleet, doomed)
    settled = Settled()
    for number, row in rows.items():
        handles = found.get(number, {})
        if row.tenant in doomed:
            if not read_only and not handles:
                drop_row(catalog, audit, row, is_doomed=True)
            continue
        handles, away = _settle_row(catalog, fleet, audit, row, handles, read_only=read_only)
        if handles:
            settled.views.append((row, handles))
        elif away:
            settled.lost.append(row)
    for tenant in () if read_only else doomed.values():
        drop_tenant(catalog, audit, tenant)
    return settled


def _look(
    catalog: Catalog, member: Member, rows: dict[int, VolumeRow], *, is_only: bool, read_only: bool
) -> dict[int, int]:
    """Return the handles of what is up to date on a drive, by volume; what is to go goes."""
    entries = log_entries(member.engine)
    handles: dict[int, int] = {}
    strange: list[int] = []
    going: list[LogEntry] = []
    for number, entry in entries.items():
        place = catalog.placements.find(number)
        volume = number if place is None else place.volume
        if place is not None and (place.state in ("left", "building") or volume not in rows):
            going.append(entry)
        elif (
            (place is None and not is_only and member.number)
            or volume not in rows
            or (number == volume and not _agrees(entry, rows[volume], catalog))
        ):
            strange.append(number)
        elif place is None or place.state == "in_sync":
            handles[volume] = entry.handle
    if strange:
        raise FormatError(
            f"the catalog is older than the drive, or another store's: the drive holds {len(entries)} volumes"
            f" and snapshots, and of number {strange[0]} the catalog says something else or nothing; put the"
            " right catalog in place, or open the store with rebuild_catalog=True"
        )
    if not read_only:
        for entry in going:
            member.engine.delete(entry.handle, "deleting what is not to be on the drive any more")
        if going:
            member.engine.commit()
    return handles


def _agrees(entry: LogEntry, row: VolumeRow, catalog: Catalog) -> bool:
    """Tell whether a row stands for what a log knows, where origins may have numbers of their own."""
    return replace(entry, origin=catalog.placements.volume_of(entry.origin)).agrees_with(row)


def _settle_row(
    catalog: Catalog,
    fleet: Fleet,
    audit: AuditLog,
    row: VolumeRow,
    handles: dict[int, int],
    *,
    read_only: bool,
) -> tuple[dict[int, int], bool]:
    """Return the handles of something, if it is to live, and whether copies of it are on missing drives."""
    places = catalog.placements
    legs = places.legs(row.number)
    away = [place for place in legs if place.drive not in fleet]
    gone = [place for place in legs if place.drive in fleet and place.drive not in handles]
    if read_only or (not gone and not away):
        return handles, bool(away)
    if (not handles and not away) or (gone and was_asked_for(audit, subject_of_row(row))):
        for drive, handle in handles.items():
            fleet.member(drive).engine.delete(handle, "completing a deletion")
            fleet.member(drive).engine.commit()
        drop_row(catalog, audit, row, is_doomed=False)
        return {}, False
    for place in gone:
        if places.find(place.number) is not None:
            places.put(place.number, "left")
    if handles:  # from now on it may change, and those that are away miss that
        for place in away:
            places.mark_stale(place.number)
    return handles, bool(away)


def _finish_deletions(fleet: Fleet, doomed: Container[int]) -> None:
    for member in fleet:
        for entry in log_entries(member.engine).values():
            if entry.tenant in doomed:
                member.engine.delete(entry.handle, "completing the deletion of a tenant")
        member.engine.commit()
