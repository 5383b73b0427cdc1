"""Physical copies of what was deleted: where they lie, and how and when each was gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqstore import canonical
from seqstore._native.records import BlockState
from seqstore.errors import ConfigError, FormatError
from seqstore.runs import NEVER, Pieces, among, distinct, merge

if TYPE_CHECKING:
    from seqstore.database import Database

How = Literal["overwritten", "zeroed", "key", "drive"]

COPY_DTYPE = np.dtype(
    [
        ("id", "i8"), ("erasure", "i8"), ("record", "i8"), ("drive", "i8"), ("mba", "u8"), ("count", "u8"),
        ("died", "i8"), ("moved", "?"), ("seen", "i8"), ("gone_position", "i8"), ("gone_ns", "i8"),
        ("how", "U11"), ("observed", "?"),
    ]
)  # fmt: skip
"""Copies of an erasure: the record that lists them, where they lie, position of death, whether the cleaner
left them behind, position at which they were there, position and time at which they were gone (-1: they are
not), how, and whether that was only observed afterwards. How ``"drive"`` is: with all that was on it."""

# The table's own check knows three words; no word beside a position stands for the fourth.
_HOW = "CASE WHEN gone_position IS NULL THEN '' ELSE COALESCE(how, 'drive') END"
_AS_HOW = "NULLIF(NULLIF(?, ''), 'drive')"
_COLUMNS = ", ".join(COPY_DTYPE.names or ())
_AS_LISTED = ["drive", "mba", "count", "died", "moved"]
_FATE = ["gone_position", "gone_ns", "how", "observed"]


def as_copies(residue: NDArray[np.void]) -> NDArray[np.void]:
    """Bring runs of residue into the form of copies: by address, neighbours of one fate together.

    Parameters
    ----------
    residue : RESIDUE_DTYPE[n]
        ``mba``, ``count``, ``died``, ``state``, in any order.

    Returns
    -------
    COPY_DTYPE[m]

    Raises
    ------
    ConfigError
        If runs overlap, which no two copies can.
    """
    runs = residue[residue["count"] > 0]
    runs = runs[np.argsort(runs["mba"], kind="stable")]
    if np.any(runs["mba"][1:] < runs["mba"][:-1] + runs["count"][:-1]):
        raise ConfigError("runs of residue overlap; a media block holds one copy at a time")
    starts = merge(runs["died"], runs["state"], mba=runs["mba"], count=runs["count"])
    copies = np.zeros(len(starts), COPY_DTYPE)
    for name in ("mba", "died"):
        copies[name] = runs[name][starts]
    copies["moved"] = runs["state"][starts] == BlockState.MOVED
    if len(starts):
        copies["count"] = np.add.reduceat(runs["count"], starts)
    copies["gone_position"] = copies["gone_ns"] = NEVER
    return copies


def digest_copies(copies: NDArray[np.void]) -> str:
    """Return the SHA-256 of a list of copies, the same however they were cut into pieces since."""
    ordered = copies[np.lexsort((copies["mba"], copies["drive"]))]
    keys = [ordered[name] for name in ("drive", "died", "moved")]
    starts = merge(*keys, mba=ordered["mba"], count=ordered["count"])
    listed = ordered[_AS_LISTED][starts]
    if len(starts):
        listed["count"] = np.add.reduceat(ordered["count"], starts)
    return canonical.digest(canonical.encode(listed.tolist()))


def digest_fates(copies: NDArray[np.void]) -> str:
    """Return the SHA-256 of copies with how and when each was gone."""
    ordered = copies[np.lexsort((copies["mba"], copies["drive"], copies["record"]))]
    return canonical.digest(canonical.encode(ordered[["record", *_AS_LISTED, *_FATE]].tolist()))


class CopyTable:
    """The table of copies; those that are still there are in memory, since each event is compared with them.

    Whoever calls holds a lock, and a transaction around what changes; after one that failed, `forget`.

    Parameters
    ----------
    database : Database
    now_ns : callable
        Tells the time.
    drive : int
        The one on which the copies lie.
    """

    def __init__(self, database: Database, now_ns: Callable[[], int], drive: int = 0) -> None:
        self._database = database
        self._now_ns = now_ns
        self._drive = drive
        self._pending: NDArray[np.void] | None = None
        self._latest_ns = 0

    def of(self, erasure: int) -> NDArray[np.void]:
        """Return all copies of an erasure, in the order of records and addresses."""
        return self._load("erasure = ?", erasure)

    @property
    def pending(self) -> NDArray[np.void]:
        """The copies that are still there, of all erasures."""
        if self._pending is None:
            self._pending = self._load("gone_position IS NULL AND drive = ?", self._drive)
            latest = self._database.run("SELECT MAX(gone_ns) FROM copies")[0][0]
            self._latest_ns = max(latest or 0, self._latest_ns)
        return self._pending

    def forget(self) -> None:
        """Read anew what is in memory."""
        self._pending = None

    def enter(self, copies: NDArray[np.void]) -> None:
        """Add copies, to which ids are given."""
        pending = self.pending
        copies["id"] = self._draw_ids(len(copies))
        self._insert(copies)
        self._pending = np.concatenate([pending, copies])

    def split(self, pieces: Pieces, *, how: How, observed: bool) -> tuple[int, dict[int, int]]:
        """Cut pending copies into pieces; those that have a position are gone.

        Parameters
        ----------
        pieces : Pieces
            Their runs are the ids of copies. A copy of which no piece is gone need not be among them.
        how : {"overwritten", "zeroed", "key", "drive"}
        observed : bool
            Whether they were found to be gone, rather than seen to go.

        Returns
        -------
        int
            Blocks that are gone.
        dict of int to int
            The erasures of which nothing is pending any more, and the latest position at which a piece went.
        """
        pending = self.pending
        touched = distinct(pieces.run[pieces.position != NEVER])
        if not len(touched):
            return 0, {}
        chosen = np.flatnonzero(among(pieces.run, touched))
        by_id = np.argsort(pending["id"])
        cut = pending[by_id[np.searchsorted(pending["id"], pieces.run[chosen], sorter=by_id)]]
        cut["mba"], cut["count"] = pieces.mba[chosen], pieces.count[chosen]
        cut["gone_position"] = pieces.position[chosen]
        gone = cut["gone_position"] != NEVER
        cut["gone_ns"][gone], cut["how"][gone], cut["observed"][gone] = self._tell_time(), how, observed

        is_first = np.ones(len(cut), bool)
        is_first[1:] = cut["id"][1:] != cut["id"][:-1]
        cut["id"][~is_first] = self._draw_ids(int(np.count_nonzero(~is_first)))
        self._update(cut[is_first])
        self._insert(cut[~is_first])
        self._pending = np.concatenate([pending[~among(pending["id"], touched)], cut[~gone]])
        struck = cut[gone]
        ended = distinct(struck["erasure"])
        ended = ended[~among(ended, distinct(self._pending["erasure"]))]
        last = {
            number: int(struck["gone_position"][struck["erasure"] == number].max())
            for number in ended.tolist()
        }
        return int(struck["count"].sum()), last

    def _tell_time(self) -> int:
        """Return the time, but none before what happened earlier: clocks are set back, and events are not."""
        latest = self._database.run("SELECT MAX(requested_ns) FROM erasures")[0][0]
        self._latest_ns = max(self._now_ns(), self._latest_ns, latest or 0)
        return self._latest_ns

    def _draw_ids(self, count: int) -> NDArray[np.int64]:
        # Within the transaction that uses them: the tables of other drives draw from the same row.
        first = (self._database.run("SELECT MAX(id) FROM copies")[0][0] or 0) + 1
        return np.arange(first, first + count)

    def _load(self, condition: str, *values: object) -> NDArray[np.void]:
        rows: list[tuple[Any, ...]] = self._database.run(
            "SELECT id, erasure, record, drive, mba, count, died, moved, seen,"
            f" COALESCE(gone_position, {NEVER}), COALESCE(gone_ns, {NEVER}), {_HOW}, observed"
            f" FROM copies WHERE {condition} ORDER BY record, mba, id",
            *values,
        )
        try:
            return np.array(rows, COPY_DTYPE)
        except (TypeError, ValueError, OverflowError) as error:
            raise FormatError(
                f"{self._database.name} is damaged: table copies: {error}; restore an older one"
            ) from error

    def _insert(self, copies: NDArray[np.void]) -> None:
        values = f"?, ?, ?, ?, ?, ?, ?, ?, ?, NULLIF(?, {NEVER}), NULLIF(?, {NEVER}), {_AS_HOW}, ?"
        self._database.run_many(f"INSERT INTO copies ({_COLUMNS}) VALUES ({values})", copies.tolist())

    def _update(self, copies: NDArray[np.void]) -> None:
        fields = copies[["count", *_FATE, "id"]]
        self._database.run_many(
            f"UPDATE copies SET count = ?, gone_position = NULLIF(?, {NEVER}), gone_ns = NULLIF(?, {NEVER}),"
            f" how = {_AS_HOW}, observed = ? WHERE id = ?",
            fields.tolist(),
        )
