"""How the drive stands that an erasure statement speaks of: in use, out of reach, or at its end.

A drive whose end has a record, of a sanitization that succeeded or of its destruction, holds no copy of
anything. Until then nobody can say so of a drive that is not in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seqstore.audit_records import Act
from seqstore.drive_facts import HOLDS_NOTHING, FactTable, serial_of
from seqstore.drive_life import DriveState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from seqstore.audit import AuditLog
    from seqstore.audit_records import AuditRecord
    from seqstore.catalog import Catalog
    from seqstore.promise import Erasure

ENDS = (Act.SANITIZATION_FINISHED.value, Act.DRIVE_DESTROYED.value)

# In words that claim no category of media sanitization; the records of the audit log have the acts.
_WHY = {
    DriveState.FAILED: "it has failed",
    DriveState.EVACUATED: "it was emptied, and what was dead on it lies there still",
    DriveState.SANITIZING: "a pass over all of it has begun, and has not ended",
    DriveState.SANITIZE_FAILED: "the pass over all of it failed, or its result was not accepted",
    DriveState.SANITIZED: "it was sanitized",
    DriveState.RELEASED: "it was sanitized, and has left the store",
    DriveState.DESTROYED: "it was made unusable as a whole",
}


class Standing:
    """Tells how drives stand.

    Parameters
    ----------
    catalog : Catalog
    audit : AuditLog
    """

    def __init__(self, catalog: Catalog, audit: AuditLog) -> None:
        self._catalog = catalog
        self._audit = audit
        self._facts = FactTable(catalog.database, catalog.settings.created_ns)

    def tell(
        self, drive: int, erasure: Erasure, lists: Sequence[Mapping[str, Any]], *, in_use: bool
    ) -> dict[str, Any]:
        """Return what a statement says of the drive of an erasure.

        Parameters
        ----------
        drive : int
        erasure : Erasure
        lists : sequence of mapping
            Details of the records that list its copies.
        in_use : bool
            Whether its ledger can be asked.
        """
        row = next(row for row in self._catalog.drives if row.number == drive)
        facts = self._facts.get(drive)
        was_counted = erasure.state == "listed" and not any(entry.get("uncounted") for entry in lists)
        return {
            "number": drive,
            "serial": serial_of(facts, drive, row.identity),
            "in_use": in_use,
            "why": "" if in_use else _WHY.get(facts.state, "it is missing"),
            "most_blocks": None if was_counted else row.blocks,
            "end": None if in_use else self.end_of(drive, erasure.request.number),
        }

    def end_of(self, drive: int, after: int) -> dict[str, Any] | None:
        """Return what the audit log says of the end of a drive, behind a record; None if there was none.

        It stands as long as the drive is what it was then: a result that was refused, or a further pass that
        has not ended well, puts it in doubt.
        """
        end: AuditRecord | None = None
        certificate: AuditRecord | None = None
        for record in self._audit.records(after):
            if (record.subject.get("kind"), record.subject.get("number")) != ("drive", drive):
                continue
            if record.act in ENDS:
                end, certificate = record, None
            elif record.act == Act.CERTIFICATE_ISSUED.value and end is not None:
                certificate = record
        if end is None:
            return None
        return {
            **_refer(end),
            "time_ns": end.time_ns,
            "technique": end.details.get("technique"),
            "stands": self._facts.get(drive).state in HOLDS_NOTHING,
            "certificate": None
            if certificate is None
            else {**_refer(certificate), "digest": certificate.details["digest"]},
        }


def is_through(drive: Mapping[str, Any]) -> bool:
    """Tell whether nobody need ask any more what lies on a drive that is not in use."""
    return drive["end"] is not None and bool(drive["end"]["stands"])


def tell_limits(drive: Mapping[str, Any], *, shown_blocks: int) -> list[str]:
    """Say in sentences what cannot be said of a drive that is not in use, or what its end rests on.

    Parameters
    ----------
    drive : mapping
        As `Standing.tell` returns it.
    shown_blocks : int
        Blocks of the subject that others showed there when the store last looked, and which were not listed.
    """
    name, end, limits = f"drive {drive['number']} (serial {drive['serial']})", drive["end"], []
    if drive["most_blocks"] is not None:
        limits.append(
            f"How many copies lay on {name} was never counted, since nobody could look there when this was"
            f" deleted: any number up to {drive['most_blocks']} blocks, which is all of it."
        )
    if shown_blocks and not drive["in_use"]:
        limits.append(
            f"Others showed {shown_blocks} blocks of it on {name} when it was last in use. They lay there"
            " too, and are not listed."
        )
    if not drive["in_use"] and not is_through(drive):
        limits.append(
            f"{name[0].upper()}{name[1:]} is not in use: {drive['why']}. Its ledger cannot be asked, and"
            " nothing is written over there: no bound holds on it, and no time is promised. The copies there"
            " are pending until all of the drive was overwritten and read back, or is no more, with a record"
            " of that."
        )
    if end is None:
        return limits
    if end["technique"] is None:
        how = (
            f"{name[0].upper()}{name[1:]} was made unusable as a whole. That rests on the word of the persons"
            f" whom record {end['record']} of the audit log names"
        )
    else:
        how = (
            f"All of {name} was overwritten, by the technique {end['technique']!r}, and read back: record"
            f" {end['record']} of the audit log"
        )
    paper = end["certificate"]
    how += "." if paper is None else f"; the certificate has the SHA-256 {paper['digest']}."
    return [*limits, how]


def _refer(record: AuditRecord) -> dict[str, Any]:
    return {"record": record.number, "hash": record.hash}
