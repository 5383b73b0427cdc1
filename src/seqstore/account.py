"""The account of one deletion, as a statement gives it: from audit log, copies, catalog and engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seqstore.audit_records import Act, Subject
from seqstore.catalog import VolumeRow
from seqstore.runs import NEVER
from seqstore.standing import tell_limits
from seqstore.statement import CLAIM, FORMAT, VERSION
from seqstore.statement_check import is_complete, sum_up

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.audit_records import AuditRecord
    from seqstore.catalog import Catalog
    from seqstore.promise import Erasure

_LISTED = ("position", "blocks", "digest", "interrupted")
_PART = (
    "Dead blocks carry no address of their volume. The list holds all dead blocks of the volume at that time,"
    " and those of the deleted part are among them."
)
_OTHERS = (
    "Some of its blocks were written through other volumes. The list holds what of these volumes died with"
    " it, or was left behind by moves."
)
_LATER = (
    "The copies were listed at position {listed}, and the deletion asked for at position {requested}: a crash"
    " came between. Copies that were written over meanwhile are not listed."
)
_OBSERVED = (
    "Of {blocks} blocks nobody saw when they died or when they were written over, only that they are gone: at"
    " the given position at the latest."
)
_BELOW = (
    "This speaks of the blocks of the drives as the store addresses them. Of copies that devices, file"
    " systems or backups made below or beside it, nothing is known."
)
_KEPT = (
    "Others still show blocks of what was deleted: they are kept by {who}. They live on with them, and are"
    " listed as copies when the last of them has let go."
)
_WAS_KEPT = (
    "When it was deleted, others showed {blocks} of its blocks. Copies of those that were written over before"
    " it was seen that the last of the others had let go are not listed."
)
_ONE_DRIVE = (
    "This speaks of drive {number} alone. What lies on other drives of the store has erasures and statements"
    " of its own."
)
_MOVED = (
    "Volumes have moved from this drive to others since. Blocks of what was deleted that they showed were"
    " copied with them, live on there as theirs, and are not listed here."
)
_FOLLOWS = (
    "It follows erasure {number}, and speaks of those blocks alone that others kept of that one, and that"
    " were copied with them or written anew for them. A statement of that one speaks of all of it."
)
_KEY = (
    "Copies that are unreadable because their key is gone still lie on the medium, encrypted, until they are"
    " written over."
)


class Account:
    """What is known of an erasure.

    Parameters
    ----------
    catalog : Catalog
    audit : AuditLog
    erasure : Erasure
    copies : COPY_DTYPE[n]
    lists : sequence of AuditRecord
        The records that list them.
    position : int
        The time of the drive's log, or the last one that is known.
    drive : mapping
        How the drive stands that they are on; see `Standing.tell`.
    keepers : mapping of int to int
        Numbers of the volumes and snapshots that still show blocks of it, and how many.
    elsewhere : list of dict
        How far those are that follow it on other drives.
    shown_blocks : int
        Blocks of it that others showed on a drive that is not in use, when it was.
    """

    def __init__(
        self,
        catalog: Catalog,
        audit: AuditLog,
        erasure: Erasure,
        copies: NDArray[np.void],
        lists: Sequence[AuditRecord],
        *,
        position: int,
        drive: Mapping[str, Any],
        keepers: Mapping[int, int],
        elsewhere: list[dict[str, Any]],
        shown_blocks: int = 0,
    ) -> None:
        self._lists = lists
        self._position = position
        self._drive = drive
        self._elsewhere = elsewhere
        self._shown_blocks = shown_blocks
        self._catalog = catalog
        self._audit = audit
        self._erasure = erasure
        self._copies = copies
        self._keepers = keepers

    def document(self, now_ns: int) -> dict[str, Any]:
        """Return the statement, to be signed."""
        erasure, copies, request, head = self._erasure, self._copies, self._erasure.request, self._audit.head
        assert head is not None  # it holds the request
        latest_ns = max(request.time_ns, int(copies["gone_ns"].max(initial=0)))
        issued = {
            "time_ns": max(now_ns, latest_ns),
            "position": self._position,
            "actor": self._audit.who()[0],
        }
        asked = {
            "record": request.number,
            "hash": request.hash,
            "time_ns": request.time_ns,
            "position": erasure.requested_position,
            "actor": request.actor,
            "reason": request.reason,
        }
        promise = {name: getattr(erasure.promise, name) for name in ("strategy", "bound_writes", "bound_ns")}
        totals, pending = sum_up(copies, asked, promise, issued, self._drive)
        drives = self._catalog.drives
        drive = next(row for row in drives if row.number == self._drive["number"])
        kept = describe_keepers(self._keepers, self._catalog.volumes())
        lists = [_describe_list(record) for record in self._lists]
        document = {
            "format": FORMAT,
            "version": VERSION,
            "claim": CLAIM,
            "issued": issued,
            "store": {
                "chain": head.chain,
                "drives": [
                    {
                        "number": drive.number,
                        "identity": f"{drive.identity:016x}",
                        "block_size": drive.block_size,
                        "blocks": drive.blocks,
                    }
                ],
            },
            "drive": dict(self._drive),
            "subject": dict(request.subject),
            "request": asked,
            "promise": promise,
            "lists": lists,
            "copies": [_describe(copy) for copy in copies],
            "kept": kept,
            "elsewhere": self._elsewhere,
            "verifications": list(self._verifications()),
            "totals": totals,
            "pending": pending,
            "limits": [
                *_limits(erasure, lists, kept, totals),
                *tell_limits(self._drive, shown_blocks=self._shown_blocks),
                *map(_tell_elsewhere, self._elsewhere),
                *([_MOVED] if request.details.get("kept") and self._has_moved() else ()),
                *([_ONE_DRIVE.format(number=drive.number)] if len(drives) > 1 else ()),
            ],
            "complete": False,
            "audit": {"number": head.number, "hash": head.hash},
        }
        document["complete"] = is_complete(document)
        return document

    def _has_moved(self) -> bool:
        """Tell whether volumes have moved away from the drive since the deletion, and nobody followed."""
        return any(
            record.act == Act.FAMILY_MOVED.value
            and "followed" not in record.details
            and self._drive["number"] in record.details["from"]
            for record in self._audit.records(self._erasure.request.number)
        )

    def _verifications(self) -> Iterator[dict[str, Any]]:
        for record in self._audit.records(self._erasure.request.number):
            if record.act == Act.ERASURE_VERIFIED.value and record.details["erasure"] == self._erasure.id:
                details = {name: value for name, value in record.details.items() if name != "erasure"}
                yield {"record": record.number, "time_ns": record.time_ns, **details}


def describe_keepers(keepers: Mapping[int, int], rows: Iterable[VolumeRow]) -> list[dict[str, Any]]:
    """Say who still shows blocks of what was deleted, of numbers with how many blocks each shows."""
    known = {row.number: row for row in rows}
    # What is deleted already is there a little longer while others move that share its blocks.
    gone = VolumeRow(number=0, tenant=0, kind="volume", name="", unwritten="zero", origin=0)
    found = [(number, known.get(number, gone)) for number in sorted(keepers)]
    return [
        {
            "kind": row.kind,
            "number": number,
            "name": row.name,
            "tenant": row.tenant,
            "blocks": keepers[number],
        }
        for number, row in found
    ]


def is_part(subject: Subject) -> bool:
    """Tell whether something shares its blocks' ownership with a volume that lives on."""
    return subject.kind in {"range", "snapshot"}


def _tell_elsewhere(entry: Mapping[str, Any]) -> str:
    """Say in a sentence what became of blocks on another drive."""
    text = (
        f"Blocks of it that others showed were copied to drive {entry['drive']} with them, or written anew"
        f" for them there, where erasure {entry['erasure']} follows them"
    )
    if entry["finished"]:
        return f"{text}: it is through."
    who = _name_keepers(entry["kept"])
    kept = f", and others show them there: {who}" if who else ""
    return f"{text}: {entry['pending']} blocks of copies that are listed are pending{kept}."


def _name_keepers(kept: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(f"{entry['kind']} {entry['name']!r} ({entry['blocks']} blocks)" for entry in kept)


def _describe_list(record: AuditRecord) -> dict[str, Any]:
    about = {"record": record.number, "hash": record.hash, "time_ns": record.time_ns}
    return {**about, **{name: record.details[name] for name in _LISTED}}


def _describe(copy: np.void) -> dict[str, Any]:
    gone = None
    if copy["gone_position"] != NEVER:
        gone = {
            "how": str(copy["how"]),
            "position": int(copy["gone_position"]),
            "time_ns": int(copy["gone_ns"]),
            "observed": bool(copy["observed"]),
        }
    return {
        "record": int(copy["record"]),
        "drive": int(copy["drive"]),
        "mba": int(copy["mba"]),
        "blocks": int(copy["count"]),
        "died": int(copy["died"]),
        "state": "MOVED" if copy["moved"] else "DEAD",
        "gone": gone,
    }


def _limits(
    erasure: Erasure, lists: list[dict[str, Any]], kept: list[dict[str, Any]], totals: dict[str, int]
) -> list[str]:
    """Say what was not done, and what is not known."""
    limits = [_BELOW]
    if is_part(erasure.subject):
        limits.append(_PART)
    details = erasure.request.details
    if details.get("others") or details.get("left"):
        limits.append(_OTHERS)
    if "follows" in details:
        limits.append(_FOLLOWS.format(number=details["follows"]))
    if any(entry["interrupted"] for entry in lists):
        limits.append(_LATER.format(listed=erasure.listed_position, requested=erasure.requested_position))
    if totals["observed"]:
        limits.append(_OBSERVED.format(blocks=totals["observed"]))
    if kept:
        limits.append(_KEPT.format(who=_name_keepers(kept)))
    elif details.get("kept"):
        limits.append(_WAS_KEPT.format(blocks=details["kept"]["blocks"]))
    if totals["key"]:
        limits.append(_KEY)
    return limits
