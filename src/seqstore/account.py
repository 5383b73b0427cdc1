"""The account of one deletion, as a statement gives it: from audit log, copies, catalog and engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seqstore.audit_records import Act, Subject
from seqstore.runs import NEVER
from seqstore.statement import CLAIM, FORMAT, VERSION
from seqstore.statement_check import is_complete, sum_up

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.catalog import Catalog
    from seqstore.engine import Engine
    from seqstore.promise import Erasure

_LISTED = ("position", "blocks", "digest", "interrupted")
_MOST_BLOCKS = 1 << 38  # of a volume
_PART = (
    "Dead blocks carry no address of their volume. The list holds all dead blocks of the volume at that time,"
    " and those of the deleted part are among them."
)
_SNAPSHOT = "Blocks that the volume or its other snapshots show live on with them."
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
_KEPT = "Others still show blocks of what was deleted: {who}. These blocks live on with them."
_ONE_DRIVE = (
    "This speaks of drive {number} alone. What lies on other drives of the store has erasures and statements"
    " of its own."
)
_KEY = (
    "Copies that are unreadable because their key is gone still lie on the medium, encrypted, until they are"
    " written over."
)


class DriveLog(Protocol):
    """What is asked of a drive in use."""

    @property
    def number(self) -> int:
        """The drive's number."""

    @property
    def engine(self) -> Engine:
        """Its log."""

    def reach(self, volume: int, lba: int, count: int) -> dict[int, int]:
        """Say who else shows blocks that were written through a volume, and how many."""


class Account:
    """What is known of an erasure.

    Parameters
    ----------
    log : DriveLog
        The drive that the copies are on.
    catalog : Catalog
    audit : AuditLog
    erasure : Erasure
        One whose copies are listed.
    copies : COPY_DTYPE[n]
    """

    def __init__(
        self, log: DriveLog, catalog: Catalog, audit: AuditLog, erasure: Erasure, copies: NDArray[np.void]
    ) -> None:
        self._log = log
        self._catalog = catalog
        self._audit = audit
        self._erasure = erasure
        self._copies = copies

    def document(self, now_ns: int) -> dict[str, Any]:
        """Return the statement, to be signed."""
        erasure, copies, request, head = self._erasure, self._copies, self._erasure.request, self._audit.head
        assert head is not None  # it holds the request
        latest_ns = max(request.time_ns, int(copies["gone_ns"].max(initial=0)))
        issued = {
            "time_ns": max(now_ns, latest_ns),
            "position": self._log.engine.counters()["position"],
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
        totals, pending = sum_up(copies, asked, promise, issued)
        drives = self._catalog.drives
        drive = next(row for row in drives if row.number == self._log.number)
        kept, lists = list(find_keepers(self._log, self._catalog, erasure)), list(self._lists())
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
            "subject": dict(request.subject),
            "request": asked,
            "promise": promise,
            "lists": lists,
            "copies": [_describe(copy) for copy in copies],
            "kept": kept,
            "verifications": list(self._verifications()),
            "totals": totals,
            "pending": pending,
            "limits": [
                *_limits(erasure, lists, kept, totals),
                *([_ONE_DRIVE.format(number=drive.number)] if len(drives) > 1 else ()),
            ],
            "complete": False,
            "audit": {"number": head.number, "hash": head.hash},
        }
        document["complete"] = is_complete(document)
        return document

    def _lists(self) -> Iterator[dict[str, Any]]:
        for record in self._audit.records(self._erasure.request.number):
            is_list = record.act in {Act.COPIES_LISTED.value, Act.COPIES_FOUND.value}
            if is_list and record.details["erasure"] == self._erasure.id:
                about = {"record": record.number, "hash": record.hash, "time_ns": record.time_ns}
                yield {**about, **{name: record.details[name] for name in _LISTED}}

    def _verifications(self) -> Iterator[dict[str, Any]]:
        for record in self._audit.records(self._erasure.request.number):
            if record.act == Act.ERASURE_VERIFIED.value and record.details["erasure"] == self._erasure.id:
                details = {name: value for name, value in record.details.items() if name != "erasure"}
                yield {"record": record.number, "time_ns": record.time_ns, **details}


def find_keepers(log: DriveLog, catalog: Catalog, erasure: Erasure) -> Iterator[dict[str, Any]]:
    """Say who still shows blocks of what was deleted, and how many."""
    subject, size = erasure.subject, catalog.drive.block_size
    first, behind = 0, _MOST_BLOCKS
    if subject.offset is not None and subject.length is not None:
        first = min(subject.offset // size, _MOST_BLOCKS)
        behind = min(-(-(subject.offset + subject.length) // size), _MOST_BLOCKS)
    blocks: dict[int, int] = {}
    for volume in erasure.request.details["volumes"]:
        for holder, number in log.reach(volume, first, behind - first).items():
            blocks[holder] = blocks.get(holder, 0) + number
    rows = {row.number: row for row in catalog.volumes()}
    for number in sorted(blocks.keys() & rows.keys()):
        row = rows[number]
        about = {"kind": row.kind, "number": number, "name": row.name, "tenant": row.tenant}
        yield {**about, "blocks": blocks[number]}


def is_part(subject: Subject) -> bool:
    """Tell whether something shares its blocks' ownership with a volume that lives on."""
    return subject.kind in {"range", "snapshot"}


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
    if erasure.subject.kind == "snapshot":
        limits.append(_SNAPSHOT)
    if any(entry["interrupted"] for entry in lists):
        limits.append(_LATER.format(listed=erasure.listed_position, requested=erasure.requested_position))
    if totals["observed"]:
        limits.append(_OBSERVED.format(blocks=totals["observed"]))
    if kept:
        who = ", ".join(f"{entry['kind']} {entry['name']!r} ({entry['blocks']} blocks)" for entry in kept)
        limits.append(_KEPT.format(who=who))
    if totals["key"]:
        limits.append(_KEY)
    return limits
