"""What went with drives that are lost: volumes and snapshots of which no copy is left."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqstore.errors import FormatError

if TYPE_CHECKING:
    from seqstore.audit_records import SubjectKind
    from seqstore.database import Database

Runs = tuple[tuple[int, int], ...]
"""First lba and number of blocks of each run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A volume or snapshot that cannot be read any more.

    Attributes
    ----------
    kind : {"volume", "snapshot"}
    number : int
    name, tenant : str
        Its name, and its owner's.
    drives : tuple of int
        Where it lay.
    why : str
        What happened to these drives.
    runs : tuple of (int, int), or None
        First lba and number of the blocks that were written: what was lost. None where that is not known,
        since the drive was away already when it was said to have failed: then it is all that was written.
    """

    kind: SubjectKind
    number: int
    name: str
    tenant: str
    drives: tuple[int, ...]
    why: str
    runs: Runs | None

    @property
    def blocks(self) -> int | None:
        """How many blocks; None where that is not known."""
        return None if self.runs is None else sum(count for _, count in self.runs)


def merge(runs: Iterable[tuple[int, int]] | None) -> Runs | None:
    """Make one run of those that follow each other."""
    if runs is None:
        return None
    merged: list[tuple[int, int]] = []
    for first, count in runs:
        if merged and sum(merged[-1]) == first:
            merged[-1] = (merged[-1][0], merged[-1][1] + count)
        else:
            merged.append((first, count))
    return tuple(merged)


class LossTable:
    """The table ``lost_runs`` of a catalog.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, volume: int, runs: Runs | None) -> None:
        """Write down which blocks of a volume or snapshot are lost; None: that is not known."""
        if runs is None:
            self._database.run("DELETE FROM lost_runs WHERE volume = ?", volume)
        else:
            self._database.run("INSERT OR REPLACE INTO lost_runs VALUES (?, ?)", volume, json.dumps(runs))

    def runs(self, volume: int) -> Runs | None:
        """Return which blocks of a volume or snapshot were lost; None if that is not known.

        Raises
        ------
        FormatError
            If the row holds what it cannot hold.
        """
        rows = self._database.run("SELECT runs FROM lost_runs WHERE volume = ?", volume)
        if not rows:
            return None
        try:
            return tuple((int(first), int(count)) for first, count in json.loads(rows[0][0]))
        except (TypeError, ValueError) as error:
            raise FormatError(
                f"{self._database.name} is damaged: which blocks of volume number {volume} were lost cannot"
                f" be read: {error}; put an older catalog in its place, or open the store with"
                " rebuild_catalog=True"
            ) from error
