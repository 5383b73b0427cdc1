"""Blocks of what was deleted that others still showed then, and until when they were followed."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from seqstore import canonical
from seqstore._native.records import SHOWN_DTYPE
from seqstore.audit_records import Act
from seqstore.errors import AuditError, StatementError

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.database import Database
    from seqstore.promise import Erasure

KEPT_DTYPE = np.dtype([("erasure", "u8"), *SHOWN_DTYPE.descr])
"""Blocks of a layer that an erasure concerns, and which others showed when it was asked for."""

_COLUMNS = ", ".join(KEPT_DTYPE.names or ())
_SHOWN = list(SHOWN_DTYPE.names or ())


def describe(kept: NDArray[np.void]) -> dict[str, object]:
    """Return what a record says of kept blocks: how many, through which volumes, and their digest."""
    return {
        "blocks": int(kept["count"].sum()),
        "volumes": sorted(set(kept["volume"].tolist())),
        "digest": canonical.digest(canonical.encode(kept[_SHOWN].tolist())),
    }


class KeptTable:
    """The table of kept blocks; those that are still followed are in memory.

    Whoever calls holds a lock, and a transaction around what changes; after one that failed, `forget`.

    Parameters
    ----------
    database : Database
    audit : AuditLog
        Knows of which erasures the keepers are gone.
    drive : int
        The one on which the blocks lie: layers have the numbers of its log.
    """

    def __init__(self, database: Database, audit: AuditLog, drive: int = 0) -> None:
        self._database = database
        self._audit = audit
        self._drive = drive
        self._open: NDArray[np.void] | None = None
        self._let_go: dict[int, int] = {}  # positions at which the last of the keepers was gone

    def enter(self, erasure: int, kept: NDArray[np.void]) -> None:
        """Add what others keep of something that is to be deleted."""
        followed = self.open
        rows = np.empty(len(kept), KEPT_DTYPE)
        rows["erasure"] = erasure
        for name in _SHOWN:
            rows[name] = kept[name]
        marks = ", ".join("?" * (1 + len(_SHOWN)))
        self._database.run_many(f"INSERT INTO kept ({_COLUMNS}) VALUES ({marks})", rows.tolist())
        self._open = np.concatenate([followed, rows])

    @property
    def open(self) -> NDArray[np.void]:
        """What is followed, as KEPT_DTYPE[n]: of erasures that happened or may happen."""
        if self._open is None:
            rows = self._load(
                "erasure IN (SELECT id FROM erasures LEFT JOIN erasure_drives ON erasure = id"
                " WHERE state <> 'abandoned' AND COALESCE(drive, 0) = ?)",
                self._drive,
            )
            if len(rows):
                self._find_ends(int(rows["erasure"].min()))
            self._open = rows[~np.isin(rows["erasure"], list(self._let_go))]
        return self._open

    def of(self, erasure: Erasure) -> NDArray[np.void]:
        """Return all that others kept of an erasure.

        Returns
        -------
        KEPT_DTYPE[n]

        Raises
        ------
        StatementError
            If it is not what the request's record says.
        """
        rows = self._load("erasure = ?", erasure.id)
        said = erasure.request.details.get("kept")
        if (None if said is None and not len(rows) else describe(rows)) != said:
            raise StatementError(
                f"what others kept of erasure {erasure.id} is not what record {erasure.request.number} says:"
                " the catalog was changed; do not rely on it",
                problems=("kept",),
            )
        return rows

    def let_go(self, erasure: int) -> int | None:
        """Return the position at which nobody kept anything of an erasure any more; None before that."""
        assert self.open is not None
        return self._let_go.get(erasure)

    def end(self, erasure: int, position: int | None) -> None:
        """Follow an erasure no longer: nobody keeps anything of it, or it did not happen."""
        followed = self.open
        self._open = followed[followed["erasure"] != erasure]
        if position is not None:
            self._let_go[erasure] = position

    def forget(self) -> None:
        """Read anew what is in memory."""
        self._open = None
        self._let_go = {}

    def _find_ends(self, first_erasure: int) -> None:
        """Look up in the audit log when keepers were gone."""
        ((first,),) = self._database.run("SELECT record FROM erasures WHERE id = ?", first_erasure)
        # A log that was broken keeps nobody from deleting; what it does not say is followed on.
        with suppress(AuditError):
            for record in self._audit.records(first):
                if record.act == Act.COPIES_FOUND.value and record.details.get("kept_ended"):
                    self._let_go[record.details["erasure"]] = record.details["position"]

    def _load(self, condition: str, *values: object) -> NDArray[np.void]:
        rows = self._database.run(f"SELECT {_COLUMNS} FROM kept WHERE {condition} ORDER BY id", *values)
        return np.array(rows, KEPT_DTYPE)
