"""The tables of erasures: what was deleted from a drive, its copies, and what others keep of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from seqstore.copy_table import CopyTable
from seqstore.errors import ConfigError, NotFoundError
from seqstore.kept import KeptTable
from seqstore.promise import Erasure, State

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.audit_records import AuditRecord
    from seqstore.catalog import Catalog


class ErasureTable:
    """What is written down of the erasures on a drive, for whoever reads it.

    Parameters
    ----------
    catalog : Catalog
        Where they stand.
    audit : AuditLog
        Has a record of each step.
    now_ns : callable
        Tells the time.
    drive : int
        The one whose copies are followed: positions are those of its log, so each drive has erasures of its
        own.

    Attributes
    ----------
    kept : KeptTable
        Blocks of what was deleted that others showed then.
    """

    def __init__(self, catalog: Catalog, audit: AuditLog, now_ns: Callable[[], int], drive: int = 0) -> None:
        self._database = catalog.database
        self._audit = audit
        self._drive = drive
        self._table = CopyTable(self._database, now_ns, drive)
        self.kept = KeptTable(self._database, audit, drive)
        self._lock = self._database.lock

    def __len__(self) -> int:
        return int(self._database.run("SELECT COUNT(*) FROM erasures")[0][0])

    def all(self) -> list[Erasure]:
        """Return the erasures in the order in which they were asked for."""
        return self._erasures("TRUE")

    def get(self, number: int) -> Erasure:
        """Return the erasure of an id.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        found = self._erasures("id = ?", number)
        if not found:
            raise NotFoundError(f"there is no erasure {number}; {len(self)} are known")
        return found[0]

    def has(self, number: int) -> bool:
        """Tell whether an erasure is one of the drive."""
        return bool(self._erasures("id = ?", number))

    def copies(self, erasure: int) -> NDArray[np.void]:
        """Return all copies of an erasure, in the order of lists and addresses.

        Returns
        -------
        COPY_DTYPE[n]
        """
        with self._lock:
            return self._table.of(erasure)

    def pending(self, erasure: int | None = None) -> NDArray[np.void]:
        """Return the copies that are still there, of one erasure or of all, by address.

        Returns
        -------
        COPY_DTYPE[n]
        """
        with self._lock:
            pending = self._table.pending
            return pending.copy() if erasure is None else pending[pending["erasure"] == erasure]

    def following(self) -> list[Erasure]:
        """Return those that follow others from another drive and are not through."""
        found = self._erasures(
            "state <> 'abandoned' AND record IN"
            " (SELECT record FROM erasures JOIN audit ON record = number WHERE content LIKE '%\"follows\"%')"
        )
        if not found:
            return []
        with self._lock:
            is_open = {*self._table.pending["erasure"].tolist(), *self.kept.open["erasure"].tolist()}
        return [
            each
            for each in found
            if "follows" in each.request.details and (each.state == "requested" or each.id in is_open)
        ]

    def trace(self, erasure: Erasure) -> list[AuditRecord]:
        """Return what was asked for of an erasure, and of those on other drives that it follows."""
        records = [erasure.request]
        while "follows" in records[-1].details:
            number = records[-1].details["follows"]
            rows = self._database.run("SELECT record FROM erasures WHERE id = ?", number)
            if not rows or rows[0][0] >= records[-1].number:
                break
            records.append(self._audit[rows[0][0]])
        return records

    def require(self, erasure: int, state: State) -> Erasure:
        """Return the erasure of an id, or raise `ConfigError` if it is in another state."""
        known = self.get(erasure)
        if known.state != state:
            raise ConfigError(f"erasure {erasure} is {known.state}; it has to be {state} for that")
        return known

    def _erasures(self, condition: str, *values: object) -> list[Erasure]:
        rows = self._database.run(
            "SELECT id, state, record, requested_position, listed_position FROM erasures"
            " LEFT JOIN erasure_drives ON erasure = id"
            f" WHERE COALESCE(drive, 0) = {self._drive} AND {condition} ORDER BY id",
            *values,
        )
        return [
            Erasure(
                id=number,
                state=state,
                request=self._audit[record],
                requested_position=requested,
                listed_position=listed,
            )
            for number, state, record, requested, listed in rows
        ]

    def last_position(self) -> int:
        """Return the last position of the drive's log that its erasures tell of."""
        position = 0
        for erasure in self.all():
            copies = self.copies(erasure.id)
            known = (erasure.requested_position, erasure.listed_position, self.kept.let_go(erasure.id))
            seen = (copies[name].max(initial=0) for name in ("seen", "gone_position"))
            position = max(position, *(each or 0 for each in known), *map(int, seen))
        return position

    def has_lost_key(self, erasure: int) -> bool:
        """Tell whether the key is gone that the copies of an erasure are encrypted under."""
        return self._table.has_lost_key(erasure)
