"""What is written down of deletions: strategies and purges in the catalog, acts in the audit log, copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from seqstore._native.records import Scope
from seqstore.audit_records import Act, Subject
from seqstore.deletion import Purge, Strategy, to_words
from seqstore.promise import left_through

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.deletion_table import DeletionTable, Key
    from seqstore.evidence_book import EvidenceBook
    from seqstore.promise import Erasure

_KINDS: dict[Scope, Any] = {Scope.ALL: "store", Scope.TENANT: "tenant", Scope.VOLUME: "volume"}


class Notebook:
    """Remembers what the store does about deleted data.

    Parameters
    ----------
    table : DeletionTable
    audit : AuditLog
    evidence : EvidenceBook or None
        None follows no copies.
    name_of : callable
        The name of a tenant or volume that lives, or nothing.
    """

    def __init__(
        self,
        table: DeletionTable,
        audit: AuditLog,
        evidence: EvidenceBook | None,
        name_of: Callable[[Scope, int], str],
    ) -> None:
        self.table = table
        self._audit = audit
        self._evidence = evidence
        self._name_of = name_of

    def changed(self, key: Key, strategy: Strategy) -> None:
        """Note a strategy that was set."""
        self.table.set_strategy(key, strategy)
        self._audit.append(Act.STRATEGY_CHANGED, self._subject(key), {"strategy": to_words(strategy)})

    def begun(self, key: Key, time_ns: int) -> None:
        """Note a purge, before anything of it is done."""
        if self._evidence is not None:
            self._evidence.update()
        self.table.begin_purge(key, time_ns)
        self._audit.append(Act.PURGE_BEGUN, self._subject(key), {})

    def finished(self, key: Key, purge: Purge) -> None:
        """Note a purge that is done, and what was seen when its segments were read back."""
        details = {
            "residue_blocks": purge.residue_blocks,
            "segments": purge.segments,
            "overwritten_blocks": purge.overwritten_blocks,
            "verified_blocks": purge.verified_blocks,
            "position": purge.position,
        }
        if self._evidence is not None:
            self._evidence.update()
        self._audit.append(Act.PURGE_FINISHED, self._subject(key), details)
        self.table.end_purge(key)
        if self._evidence is not None and purge.residue_blocks:
            self._note_verified(self._evidence, key, purge)

    def _note_verified(self, book: EvidenceBook, key: Key, purge: Purge) -> None:
        for _, evidence, erasure in book.listed():
            if _is_within(erasure, key):
                evidence.note_verified(
                    erasure,
                    "the segments that held the copies were read back after they had been written over",
                    passed=True,
                    blocks=purge.verified_blocks,
                )

    def _subject(self, key: Key) -> Subject:
        scope, number = key
        return Subject(kind=_KINDS[scope], number=number, name=self._name_of(scope, number))


def _is_within(erasure: Erasure, key: Key) -> bool:
    """Say whether all copies of an erasure are of a scope."""
    scope, number = key
    subject, details = erasure.request.subject, erasure.request.details
    if scope is Scope.ALL:
        return True
    kept = details.get("kept") or {"volumes": []}
    others = {*details.get("others", ()), *left_through(erasure), *kept["volumes"]}
    if not others <= {*details["volumes"]}:
        return False
    if scope is Scope.TENANT:
        owner = subject.get("number") if subject.get("kind") == "tenant" else subject.get("tenant")
        return owner == number
    return subject.get("kind") in {"volume", "range"} and subject.get("number") == number
