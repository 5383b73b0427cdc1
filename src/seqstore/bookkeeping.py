"""What the audit log is told of changes of the catalog, when they are made and when a crash cut them off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seqstore._native.records import Scope
from seqstore.audit import SYSTEM, check_end, read_records, write_records
from seqstore.audit_records import Act, Subject
from seqstore.errors import AuditError, FormatError
from seqstore.snapshot import Snapshot

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.catalog import Catalog, TenantRow, VolumeRow
    from seqstore.volume import Volume

_AFTER_CRASH = "completing what was cut off"
_ADOPTED = (
    "erasures", "copy_lists", "copy_ends", "kept", "erasure_drives", "drive_facts", "wishes", "left_residue",
    "key_area",
)  # fmt: skip


def subject_of(view: Volume | Snapshot) -> Subject:
    """Return a volume or snapshot as the subject of a record."""
    return Subject(
        kind="snapshot" if isinstance(view, Snapshot) else "volume",
        number=view.number,
        name=view.name,
        tenant=view.tenant.number,
        origin=view._origin or None,
    )


def subject_of_row(row: VolumeRow) -> Subject:
    """Return a row of the catalog as the subject of a record."""
    return Subject(
        kind=row.kind, number=row.number, name=row.name, tenant=row.tenant, origin=row.origin or None
    )


def scope_of(subject: Subject) -> tuple[Scope, int]:
    """Return whose residue something leaves; what a snapshot leaves is of any volume of its tenant's."""
    if subject.kind == "snapshot":
        return Scope.TENANT, subject.tenant or 0
    return Scope.TENANT if subject.kind == "tenant" else Scope.VOLUME, subject.number


def act_of_deletion(subject: Subject) -> Act:
    """Say what has happened when a volume or snapshot is gone."""
    return Act.SNAPSHOT_DELETED if subject.kind == "snapshot" else Act.VOLUME_DELETED


def undo_creation(catalog: Catalog, audit: AuditLog, number: int) -> None:
    """Remove the row of something that was not made, and take back the record that it was."""
    rows = [row for row in catalog.volumes() if row.number == number]
    with catalog.atomic():
        catalog.remove_volume(number)
        for row in rows:
            audit.append(Act.CREATION_UNDONE, subject_of_row(row))


def drop_row(catalog: Catalog, audit: AuditLog, row: VolumeRow, *, is_doomed: bool) -> None:
    """Remove the row of something that the log does not know: its making or its deletion was cut off.

    `is_doomed` says that its tenant was being deleted.
    """
    subject = subject_of_row(row)
    was_deleted = is_doomed or was_asked_for(audit, subject)
    with catalog.atomic():
        catalog.remove_volume(row.number)
        act = act_of_deletion(subject) if was_deleted else Act.CREATION_UNDONE
        audit.append(act, subject, actor=SYSTEM, reason=_AFTER_CRASH)


def was_asked_for(audit: AuditLog, subject: Subject) -> bool:
    """Tell whether a deletion was asked for. A broken log cannot say so, and keeps no store from opening."""
    asked = Act.DELETION_REQUESTED.value
    try:
        return any(record.act == asked and record.subject == subject.to_dict() for record in audit.records())
    except AuditError:
        return False


def drop_tenant(catalog: Catalog, audit: AuditLog, tenant: TenantRow) -> None:
    """Remove a tenant whose deletion was cut off, and whose volumes are gone by now."""
    subject = Subject(kind="tenant", number=tenant.number, name=tenant.name)
    with catalog.atomic():
        catalog.remove_tenant(tenant.number)
        audit.append(Act.TENANT_DELETED, subject, actor=SYSTEM, reason=_AFTER_CRASH)


def adopt(catalog: Catalog, old: Catalog) -> bool:
    """Take over the audit log and the erasures of an older catalog, or nothing if they do not hold.

    A log that does not hold stays where it is; the new one begins anew, and says so.
    """
    try:
        check_end(old.database)
        records = list(read_records(old.database))
        tables = {name: old.database.run(f"SELECT * FROM {name} ORDER BY 1") for name in _ADOPTED}
    except (AuditError, FormatError):
        return False
    with catalog.atomic():
        write_records(catalog.database, records)
        for name, rows in tables.items():
            for row in rows[:1]:
                marks = ", ".join("?" * len(row))
                catalog.database.run_many(f"INSERT INTO {name} VALUES ({marks})", rows)
    return True
