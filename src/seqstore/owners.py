"""Through which volumes something was written, and where it is from: the audit log tells of earlier ones."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from seqstore.audit_records import Act, Subject
from seqstore.errors import AuditError

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.audit_records import AuditRecord
    from seqstore.catalog import Catalog

_MADE = {Act.VOLUME_CREATED.value, Act.CLONE_CREATED.value}
_BRANCHED = {Act.CLONE_CREATED.value, Act.SNAPSHOT_CREATED.value}


class Owners:
    """Knows the volumes of tenants, deleted ones included. Any number of threads may ask.

    Parameters
    ----------
    catalog : Catalog
    audit : AuditLog
    """

    def __init__(self, catalog: Catalog, audit: AuditLog) -> None:
        self._catalog = catalog
        self._audit = audit
        self._reading = catalog.database.lock
        self._read: AuditRecord | None = None  # the last record of the audit log that was looked at
        self._made: dict[int | None, set[int]] = {}  # volumes that those tell of, by tenant
        self._origins: dict[int, int] = {}

    @property
    def are_known(self) -> bool:
        """Whether the audit log can be asked: the store keeps one, and it holds."""
        try:
            self.volumes_of(Subject(kind="tenant"), strict=True)
        except AuditError:
            return False
        return self._read is not None

    def volumes_of(self, subject: Subject, *, strict: bool = False) -> set[int]:
        """List the volumes that blocks of something were written through, those of earlier times included.

        Parameters
        ----------
        subject : Subject
        strict : bool
            Whether an audit log that does not hold is an error. It keeps nobody from deleting; statements are
            made of one that holds.

        Raises
        ------
        AuditError
            If the log does not hold, and `strict` asks for that.
        """
        if subject.kind != "tenant":
            return {subject.number} if subject.kind in {"volume", "range"} else set()
        volumes = {row.number for row in self._catalog.volumes() if row.tenant == subject.number}
        with self._reading:
            if strict:
                self._read_on()
            else:
                with suppress(AuditError):
                    self._read_on()
        return volumes | self._made.get(subject.number, set())

    def ancestors_of(self, numbers: Iterable[int]) -> dict[int, list[int]]:
        """List the volumes and snapshots that some come from, the nearest first; deleted ones included.

        What they show was written through these, or through themselves.
        """
        origins = {row.number: row.origin for row in self._catalog.volumes()}
        with self._reading, suppress(AuditError):
            self._read_on()
            origins.update(self._origins)
        found: dict[int, list[int]] = {}
        for number in numbers:
            line, at = list[int](), number
            while (at := origins.get(at, 0)) and at not in line:
                line.append(at)
            found[number] = line
        return found

    def _read_on(self) -> None:
        """Read each record once: the log gets longer with every act, and a deletion should not."""
        if self._read is not None and (
            self._read.number > len(self._audit) or self._audit[self._read.number] != self._read
        ):
            self._read, self._made, self._origins = None, {}, {}
        for record in self._audit.records(1 if self._read is None else self._read.number + 1):
            self._read = record
            if record.act in _MADE:
                self._made.setdefault(record.subject.get("tenant"), set()).add(record.subject["number"])
            if record.act in _BRANCHED:
                self._origins[record.subject["number"]] = record.subject.get("origin") or 0
