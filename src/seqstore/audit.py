"""The audit log: who did what to a store, when and why, in a chain that shows where it was changed.

A record holds the hash of the one before it, so that a record that is changed, taken out or put in breaks
every one that follows. What the chain alone cannot show is that its end was cut off: for that its head, the
number and hash of the last record, is exported, signed and kept elsewhere.

Records stand in the catalog and are written in the transaction of the change that they tell of.

References
----------
Haber and Stornetta, "How to time-stamp a digital document", 1991, for chains of hashes; Schneier and Kelsey,
"Secure audit logs to support computer forensics", 1999, for what somebody can do who owns the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from seqstore import canonical
from seqstore.arguments import optional
from seqstore.audit_records import Act, AuditHead, AuditRecord, Subject, check_text, parse_row
from seqstore.errors import AuditError, ClosedError
from seqstore.units import integer

if TYPE_CHECKING:
    from seqstore.catalog import Catalog
    from seqstore.database import Database

SYSTEM = "seqstore"
"""The actor of what the store does by itself, such as going on with a purge after a crash."""

_FIRST_WITH_END = 3  # format of a catalog that says a second time where the log ends
_MOST_NUMBER = (1 << 63) - 1  # that the catalog can hold
_AT_ONCE = 1024  # records that are read in one go

# Who acts in this thread or task, for each log that it acts on, innermost last.
_acting: ContextVar[tuple[tuple[AuditLog, str | None, str | None], ...]] = ContextVar("_acting", default=())


class AuditLog:
    """The audit log of a store. Records are added by what happens, and by nobody removed.

    Parameters
    ----------
    catalog : Catalog
        Where the records stand.
    now_ns : callable
        Tells the time.
    actor : str
        Who acts where nobody else is named.
    is_kept : bool
        Whether records are kept; those that are not have the number 0.
    """

    def __init__(
        self, catalog: Catalog, now_ns: Callable[[], int], actor: str, *, is_kept: bool = True
    ) -> None:
        self._database = catalog.database
        self._is_kept = is_kept
        self._now_ns = now_ns
        self._actor = check_text(actor, "actor")

    def __repr__(self) -> str:
        try:
            return f"<AuditLog, {len(self)} records>"
        except ClosedError:
            return "<AuditLog, closed>"

    def __len__(self) -> int:
        return int(self._database.run("SELECT COUNT(*) FROM audit")[0][0])

    @property
    def head(self) -> AuditHead | None:
        """Number and hash of the last record; None if there is none."""
        return _find_head(self._database)

    # ---- reading ------------------------------------------------------------------------------

    def records(self, first: int = 1) -> Iterator[AuditRecord]:
        """Yield the records in order, each checked against the one before it.

        Raises
        ------
        AuditError
            At the first record that is not what was written. A log whose end is missing looks like a shorter
            one; see `verify`.
        """
        return read_records(self._database, min(integer(first, "first"), _MOST_NUMBER))

    def __iter__(self) -> Iterator[AuditRecord]:
        return self.records()

    def __getitem__(self, number: int) -> AuditRecord:
        """Return the record of a number, without looking at the others.

        Raises
        ------
        AuditError
            If there is none, or it is not what was written.
        """
        number = integer(number, "number")
        rows = []
        if 0 < number <= _MOST_NUMBER:
            rows = self._database.run("SELECT number, content, hash FROM audit WHERE number = ?", number)
        if not rows:
            raise AuditError(f"there is no record {number} in the audit log, of {len(self)}", number=number)
        return parse_row(number, None, *rows[0])

    def verify(self, head: AuditHead | None = None) -> AuditHead | None:
        """Check every record, and that the log holds what a head says that was exported earlier.

        Parameters
        ----------
        head : AuditHead, optional
            Without one nobody notices that everything was made anew, or that the catalog is an older one, or
            that somebody cut off the end and changed what `verify_end` looks at.

        Returns
        -------
        AuditHead or None
            Where the log ends now; None for one without records.

        Raises
        ------
        AuditError
            If something does not hold.
        """
        optional(head, AuditHead, "head")
        now, met = None, None
        for record in self.records():
            now = AuditHead(
                chain=record.hash if now is None else now.chain, number=record.number, hash=record.hash
            )
            if head is not None and record.number == head.number:
                met = record.hash
        self.verify_end()
        if head is None:
            return now
        last = 0 if now is None else now.number
        if now is not None and now.chain != head.chain:
            raise AuditError(
                "the head is of another audit log: the first records differ; verify the log that it was"
                " exported from",
                number=1,
            )
        if met is None:
            raise AuditError(
                f"the audit log ends with record {last}, and had {head.number} when its head was exported:"
                " the end was cut off; look for a copy of the catalog that has it",
                number=last + 1,
            )
        if met != head.hash:
            raise AuditError(
                f"record {head.number} is not the one of the exported head: the log was written anew behind"
                " some record before it",
                number=head.number,
            )
        return now

    def verify_end(self) -> None:
        """Return if the last record is the one that the catalog says a second time is the last.

        Raises
        ------
        AuditError
            If records are missing at the end, or all of them, or the end was written anew.
        """
        if self._is_kept:
            check_end(self._database)

    # ---- writing ------------------------------------------------------------------------------

    def append(
        self,
        act: Act,
        subject: Subject,
        details: Mapping[str, Any] | None = None,
        *,
        actor: str | None = None,
        reason: str | None = None,
    ) -> AuditRecord:
        """Add a record, in the catalog's present transaction if there is one.

        Parameters
        ----------
        act : Act
        subject : Subject
        details : mapping, optional
            Strings, integers, booleans, None, lists and dictionaries.
        actor, reason : str, optional
            By default those of `acting`, or the log's own actor and none.

        Raises
        ------
        ConfigError
            If something cannot be written.
        MediumError, AccessError, ClosedError
            If the catalog cannot be written to.
        """
        acting, why = self.who()
        if not self._is_kept:
            return AuditRecord(
                number=0,
                time_ns=self._now_ns(),
                actor=acting if actor is None else actor,
                reason=why if reason is None else reason,
                act=Act(act).value,
                subject=subject.to_dict(),
                details=details or {},
                previous=canonical.NO_DIGEST,
                hash=canonical.NO_DIGEST,
            )
        with self._database.atomic():
            head = self.head
            content = {
                "number": 1 if head is None else head.number + 1,
                "time_ns": self._now_ns(),
                "actor": acting if actor is None else check_text(actor, "actor"),
                "reason": why if reason is None else check_text(reason, "reason", empty=True),
                "act": Act(act).value,
                "subject": subject.to_dict(),
                "details": dict(details or {}),
                "previous": canonical.NO_DIGEST if head is None else head.hash,
            }
            data = canonical.encode(content)
            record = AuditRecord(**canonical.decode(data), hash=canonical.digest(data))
            self._database.run(
                "INSERT INTO audit VALUES (?, ?, ?)", record.number, data.decode(), record.hash
            )
            self._move_end(head, record)
        return record

    def _move_end(self, before: AuditHead | None, record: AuditRecord) -> None:
        """Say a second time where the log ends. One that was cut off goes on, and stays one that was."""
        if before is None:
            self._database.run("INSERT OR IGNORE INTO audit_end VALUES (1, ?, ?)", record.number, record.hash)
            return
        self._database.run(
            "UPDATE audit_end SET number = ?, hash = ? WHERE number = ? AND hash = ?",
            record.number,
            record.hash,
            before.number,
            before.hash,
        )

    @contextmanager
    def acting(self, *, actor: str | None = None, reason: str | None = None) -> Iterator[None]:
        """Name who acts in a block, and why, for what this thread or task does in it.

        Raises
        ------
        ConfigError
            If it is no text.
        """
        if actor is not None:
            check_text(actor, "actor")
        if reason is not None:
            check_text(reason, "reason", empty=True)
        token = _acting.set((*_acting.get(), (self, actor, reason)))
        try:
            yield
        finally:
            _acting.reset(token)

    def who(self) -> tuple[str, str]:
        """Return the actor and the reason of what is done now."""
        actor, reason = self._actor, ""
        for log, named, why in _acting.get():
            if log is self:
                actor = actor if named is None else named
                reason = reason if why is None else why
        return actor, reason


def _find_head(database: Database) -> AuditHead | None:
    rows = database.run(
        "SELECT number, hash, (SELECT hash FROM audit WHERE number = 1) FROM audit ORDER BY number DESC"
        " LIMIT 1"
    )
    if not rows:
        return None
    number, last, chain = rows[0]
    if [type(value) for value in rows[0]] != [int, str, str]:
        raise AuditError("the audit log is damaged at its ends; verify() says where", number=1)
    return AuditHead(chain=chain, number=number, hash=last)


def check_end(database: Database) -> None:
    """Compare the last record of a database with what it says elsewhere is the last; see `verify_end`."""
    if database.run("PRAGMA user_version")[0][0] < _FIRST_WITH_END:
        return
    with database.lock:  # no record comes in between
        head, rows = _find_head(database), database.run("SELECT number, hash FROM audit_end")
    found = (0, canonical.NO_DIGEST) if head is None else (head.number, head.hash)
    number, digest = rows[0] if rows else found
    if (number, digest) != found:
        what = "the end was cut off" if found[0] < number else "the end was written anew"
        raise AuditError(
            f"the audit log ends with record {found[0]}, and by the catalog with another one, {number}:"
            f" {what}; look for a copy of the catalog that has it",
            number=min(found[0] + 1, number),
        )
    tables = ("audit", "tenants", "volumes", "erasures", "strategies")
    is_used = any(database.run(f"SELECT 1 FROM {name} LIMIT 1") for name in tables)
    if is_used and (head is None or not rows):
        raise AuditError(
            "the catalog does not say where the audit log ends, and things are in it that have records:"
            " somebody changed it; look for a copy of the catalog that has them",
            number=found[0] + 1,
        )


def read_records(database: Database, first: int = 1) -> Iterator[AuditRecord]:
    """Yield the records of a database in order; see `AuditLog.records`."""
    expected, previous = first, None
    if first <= 1:
        expected, previous = 1, canonical.NO_DIGEST
    while True:
        rows = database.run(
            "SELECT number, content, hash FROM audit WHERE number >= ? ORDER BY number LIMIT ?",
            expected,
            _AT_ONCE,
        )
        for row in rows:
            record = parse_row(expected, previous, *row)
            yield record
            expected, previous = record.number + 1, record.hash
        if len(rows) < _AT_ONCE:
            return


def write_records(database: Database, records: Iterable[AuditRecord]) -> None:
    """Put the records of another database into one that has none."""
    for record in records:
        content = canonical.encode(record.to_dict()).decode()
        database.run("INSERT INTO audit VALUES (?, ?, ?)", record.number, content, record.hash)
    database.run("INSERT INTO audit_end SELECT 1, number, hash FROM audit ORDER BY number DESC LIMIT 1")
