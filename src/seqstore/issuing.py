"""Issuing erasure statements: by what the ledger says, or by what is written down of drives out of use."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from seqstore.account import Account, describe_keepers
from seqstore.audit_records import Act
from seqstore.copies import digest_copies
from seqstore.erasures import Erasures
from seqstore.errors import ConfigError, StatementError
from seqstore.runs import NEVER
from seqstore.standing import Standing
from seqstore.statement import Statement

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.catalog import Catalog
    from seqstore.evidence import Evidence
    from seqstore.promise import Erasure
    from seqstore.signing import SigningKey

_LISTS = (Act.COPIES_LISTED.value, Act.COPIES_FOUND.value)


class Issuer:
    """Issues the statements of a store.

    Parameters
    ----------
    catalog : Catalog
    audit : AuditLog
    now_ns : callable
        Tells the time.
    evidence_of : callable
        Who follows what was deleted from a drive; None for a drive that is not in use.
    """

    def __init__(
        self,
        catalog: Catalog,
        audit: AuditLog,
        now_ns: Callable[[], int],
        evidence_of: Callable[[int], Evidence | None],
    ) -> None:
        self._catalog = catalog
        self._audit = audit
        self._now_ns = now_ns
        self._evidence_of = evidence_of
        self._standing = Standing(catalog, audit)

    def issue(self, drive: int, number: int, key: SigningKey | None) -> Statement:
        """Say what became of a deletion, by what is known now, and note that it was said.

        Parameters
        ----------
        drive : int
            The one that the erasure is of.
        number : int
            Its id.
        key : SigningKey, optional
            Without one the statement is not signed, and convinces nobody.

        Raises
        ------
        ConfigError
            If the deletion did not happen, or has not yet.
        StatementError
            If what is known of it contradicts itself, since the catalog was changed; nothing is issued.
        """
        evidence = self._evidence_of(drive)
        erasures = self._erasures(drive) if evidence is None else evidence.erasures
        erasure = erasures.get(number)
        if erasure.state == "abandoned" or (erasure.state == "requested" and evidence is not None):
            raise ConfigError(
                f"erasure {erasure.id} is {erasure.state}; a statement is made of one that was done"
            )
        self._audit.verify_end()
        erasures.kept.of(erasure)
        keepers = {} if evidence is None else evidence.look(erasure)
        copies = erasures.copies(erasure.id)
        lists = [
            record
            for record in self._audit.records(erasure.request.number)
            if record.act in _LISTS and record.details["erasure"] == erasure.id
        ]
        account = Account(
            self._catalog,
            self._audit,
            erasure,
            copies,
            lists,
            position=erasures.last_position() if evidence is None else evidence.position,
            drive=self._standing.tell(
                drive, erasure, [record.details for record in lists], in_use=evidence is not None
            ),
            keepers=keepers,
            elsewhere=self._elsewhere(drive, erasure),
            shown_blocks=0 if evidence is not None else _open_blocks(erasures, erasure),
        )
        statement = Statement.make(account.document(self._now_ns()), key)
        details = {
            "erasure": erasure.id,
            "digest": statement.digest,
            "complete": statement.complete,
            "pending": statement.document["totals"]["pending"],
            "key": None if key is None else key.public.fingerprint,
        }
        self._audit.append(Act.STATEMENT_ISSUED, erasure.subject, details)
        return statement

    def _elsewhere(self, own: int, erasure: Erasure) -> list[dict[str, Any]]:
        """Say what became of blocks that came to other drives with those who kept them, and from there on."""
        drives = self._catalog.drives
        if len(drives) == 1:
            return []
        following = self._following()
        found: list[dict[str, Any]] = []
        met = {erasure.id}
        for drive, each in sorted(following, key=lambda pair: pair[1].id):
            # What follows has a larger id; what came back here from another drive later concerns it, too.
            is_back = drive == own and each.id > erasure.id and each.subject == erasure.subject
            if is_back or each.request.details["follows"] in met:
                met.add(each.id)
                found.append(self._tell_other(drive, each))
        return found

    def _following(self) -> list[tuple[int, Erasure]]:
        """Return what follows others, by drive, as the audit log tells it too."""
        known = {
            each.request.number: (row.number, each)
            for row in self._catalog.drives
            for each in self._erasures(row.number).all()
        }
        asked, abandoned = list[int](), set[int]()
        for record in self._audit.records():
            if record.act == Act.DELETION_REQUESTED.value and "follows" in record.details:
                asked.append(record.number)
            elif record.act == Act.DELETION_ABANDONED.value:
                abandoned.add(record.details["erasure"])
        for number in asked:
            if number not in known:
                raise _changed(f"of the erasure that record {number} asks for it says nothing")
            erasure = known[number][1]
            if (erasure.state == "abandoned") != (erasure.id in abandoned):
                raise _changed(f"erasure {erasure.id} is {erasure.state}, and the audit log says otherwise")
        return [known[number] for number in asked if known[number][1].state != "abandoned"]

    def _open_copies(self, erasures: Erasures, erasure: Erasure) -> int:
        """Count what is pending of an erasure on another drive, by lists that were not changed."""
        copies, listed = erasures.copies(erasure.id), False
        for record in self._audit.records(erasure.request.number):
            if record.act not in _LISTS or record.details["erasure"] != erasure.id:
                continue
            listed, said = True, record.details["digest"]
            if digest_copies(copies[copies["record"] == record.number], said) != said:
                raise _changed(f"the copies of erasure {erasure.id} are not those that were listed")
        if erasure.state == "listed" and not listed:
            raise _changed(f"the copies of erasure {erasure.id} were never listed")
        erasures.kept.of(erasure)
        return int(copies["count"][copies["gone_position"] == NEVER].sum())

    def _tell_other(self, drive: int, erasure: Erasure) -> dict[str, Any]:
        """Say how far an erasure is on another drive."""
        evidence, end = self._evidence_of(drive), None
        keepers: dict[int, int] = {}
        if evidence is None:
            erasures, end = self._erasures(drive), self._standing.end_of(drive, erasure.request.number)
        else:
            erasures = evidence.erasures
            keepers = evidence.look(erasure) if erasure.state == "listed" else {}
        erasure = erasures.get(erasure.id)
        pending = self._open_copies(erasures, erasure)
        is_open = erasure.state != "listed" or _open_blocks(erasures, erasure) > 0
        is_known = evidence is not None or (end is not None and bool(end["stands"]))
        return {
            "erasure": erasure.id,
            "record": erasure.request.number,
            "hash": erasure.request.hash,
            "drive": drive,
            "kept": describe_keepers(keepers, self._catalog.volumes()),
            "pending": pending,
            "finished": is_known and not pending and not is_open,
        }

    def _erasures(self, drive: int) -> Erasures:
        return Erasures(self._catalog, self._audit, self._now_ns, drive)


def _open_blocks(erasures: Erasures, erasure: Erasure) -> int:
    """Count the blocks of an erasure that others showed when the store last looked."""
    followed = erasures.kept.open
    return int(followed["count"][followed["erasure"] == erasure.id].sum())


def _changed(how: str) -> StatementError:
    return StatementError(f"the catalog was changed: {how}; do not rely on it", problems=(how,))
