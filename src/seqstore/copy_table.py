"""The tables of the catalog that hold copies: a row for each list, and one for each time that some of it end.

What is written once stays. The runs of a row are one blob, so that a row costs the same for one copy and for
all those of a tenant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seqstore.copies import COPY_DTYPE, HOWS, How
from seqstore.copy_rows import ENDED_DTYPE, LISTED_DTYPE
from seqstore.errors import FormatError
from seqstore.runs import NEVER, Pieces, among, distinct, strike

if TYPE_CHECKING:
    from seqstore.database import Database


class CopyTable:
    """Copies of erasures; those that are still there are in memory, since each event is compared with them.

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
        self._next_id = 1
        self._latest_ns = 0

    def of(self, erasure: int) -> NDArray[np.void]:
        """Return all copies of an erasure, in the order of records and addresses.

        Raises
        ------
        FormatError
            If what stands in the tables can be none.
        """
        return self._load("erasure = ?", erasure)

    @property
    def pending(self) -> NDArray[np.void]:
        """The copies that are still there, of all erasures."""
        if self._pending is None:
            found = self._load("NOT is_through AND drive = ?", self._drive)
            self._pending = found[found["gone_position"] == NEVER]
            self._latest_ns = max(self._highest("gone_ns", "copy_ends"), self._latest_ns)
        return self._pending

    def forget(self) -> None:
        """Read anew what is in memory."""
        self._pending = None

    def has_lost_key(self, erasure: int) -> bool:
        """Tell whether the key is gone that the copies of an erasure are encrypted under."""
        tables = "copy_ends JOIN copy_lists USING (record)"
        return bool(
            self._database.run(f"SELECT 1 FROM {tables} WHERE erasure = ? AND how = 'key' LIMIT 1", erasure)
        )

    def enter(self, copies: NDArray[np.void]) -> None:
        """Add the copies of one record, to which ids are given; they do not overlap."""
        if not len(copies):
            return
        pending = self.pending
        copies["id"] = self._draw_ids(len(copies))
        runs = np.empty(len(copies), LISTED_DTYPE)
        for name in LISTED_DTYPE.names or ():
            runs[name] = copies[name]
        first = copies[0]
        self._database.run(
            "INSERT INTO copy_lists VALUES (?, ?, ?, ?, FALSE, ?)",
            *(int(first[name]) for name in ("record", "erasure", "drive", "seen")),
            runs.tobytes(),
        )
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
        cut["id"] = self._draw_ids(len(cut))
        gone = cut["gone_position"] != NEVER
        left = np.concatenate([pending[~among(pending["id"], touched)], cut[~gone]])
        struck = cut[gone]
        self._end(struck, how, observed, distinct(left["record"]))
        self._pending = left
        ended = distinct(struck["erasure"])
        ended = ended[~among(ended, distinct(left["erasure"]))]
        last = {
            number: int(struck["gone_position"][struck["erasure"] == number].max())
            for number in ended.tolist()
        }
        return int(struck["count"].sum()), last

    def _end(self, struck: NDArray[np.void], how: How, observed: bool, pending: NDArray[np.int64]) -> None:
        """Write down what is gone, list by list; pending: the records of which something is left."""
        now_ns = self._tell_time()
        by_record = struck[np.argsort(struck["record"], kind="stable")]
        records = distinct(by_record["record"])
        parts = np.split(by_record, np.searchsorted(by_record["record"], records[1:]))
        is_through = ~among(records, pending)
        for record, part, through in zip(records.tolist(), parts, is_through.tolist(), strict=True):
            position = int(part["gone_position"].max())
            runs = None  # all that was left
            if not through or part["gone_position"].min() != position:
                ended = np.empty(len(part), ENDED_DTYPE)
                ended["mba"], ended["count"] = part["mba"], part["count"]
                ended["position"] = part["gone_position"]
                runs = ended.tobytes()
            self._database.run(
                "INSERT INTO copy_ends VALUES (NULL, ?, ?, ?, ?, ?, ?)",
                record,
                position,
                now_ns,
                how,
                observed,
                runs,
            )
            if through:
                self._database.run("UPDATE copy_lists SET is_through = TRUE WHERE record = ?", record)

    def _tell_time(self) -> int:
        """Return the time, but none before what happened earlier: clocks are set back, and events are not."""
        self._latest_ns = max(self._now_ns(), self._latest_ns, self._highest("requested_ns", "erasures"))
        return self._latest_ns

    def _highest(self, column: str, table: str) -> int:
        found = self._database.run(f"SELECT MAX({column}) FROM {table}")[0][0] or 0
        if type(found) is not int:
            raise FormatError(
                f"{self._database.name} is damaged: {column} of table {table} is {found!r}; restore an older"
                " one"
            )
        return found

    def _draw_ids(self, count: int) -> NDArray[np.int64]:
        first, self._next_id = self._next_id, self._next_id + count
        return np.arange(first, first + count)

    def _load(self, condition: str, *values: object) -> NDArray[np.void]:
        lists = self._database.run(
            f"SELECT record, erasure, drive, seen, runs FROM copy_lists WHERE {condition} ORDER BY record",
            *values,
        )
        try:
            copies = [self._read(*row) for row in lists]
        except (TypeError, ValueError, OverflowError) as error:
            raise FormatError(
                f"{self._database.name} is damaged: table copy_lists or copy_ends: {error}; restore an older"
                " one"
            ) from error
        found = np.concatenate([np.empty(0, COPY_DTYPE), *copies])
        found["id"] = self._draw_ids(len(found))
        return found

    def _read(self, record: int, erasure: int, drive: int, seen: int, blob: bytes) -> NDArray[np.void]:
        """Return the copies of one list, cut as they ended."""
        runs = np.frombuffer(blob, LISTED_DTYPE)
        ends = self._database.run(
            "SELECT position, gone_ns, how, observed, runs FROM copy_ends WHERE record = ? ORDER BY id",
            record,
        )
        parts = [np.frombuffer(end[4], ENDED_DTYPE) for end in ends if end[4] is not None]
        ended = np.concatenate([np.empty(0, ENDED_DTYPE), *parts])
        sizes = [0 if end[4] is None else len(end[4]) // ENDED_DTYPE.itemsize for end in ends]
        pieces = strike(
            runs["mba"].astype(np.uint64),
            runs["count"].astype(np.uint64),
            np.zeros(len(runs), np.int64),
            event_mba=ended["mba"].astype(np.uint64),
            event_count=ended["count"].astype(np.uint64),
            event_position=np.arange(len(ended)),
        )
        copies = np.zeros(len(pieces.run), COPY_DTYPE)
        copies["record"], copies["erasure"], copies["drive"], copies["seen"] = record, erasure, drive, seen
        copies["mba"], copies["count"] = pieces.mba, pieces.count
        copies["died"], copies["moved"] = runs["died"][pieces.run], runs["moved"][pieces.run]
        copies["gone_position"] = copies["gone_ns"] = NEVER
        hit = np.flatnonzero(pieces.position != NEVER)
        event = pieces.position[hit]
        copies["gone_position"][hit] = ended["position"][event]
        owner = np.repeat(np.arange(len(ends)), sizes)[event]
        _note_ends(copies, hit, ends, owner)
        rest = np.flatnonzero(pieces.position == NEVER)
        for number, end in enumerate(ends):
            if end[4] is None:
                copies["gone_position"][rest] = end[0]
                _note_ends(copies, rest, ends, np.full(len(rest), number))
                rest = rest[:0]
        return copies


def _note_ends(
    copies: NDArray[np.void], places: NDArray[np.intp], ends: list[Any], owner: NDArray[np.intp]
) -> None:
    """Enter when and how copies ended; owner: by which of the ends each."""
    if not len(places):
        return
    if not all(end[2] in HOWS for end in ends):
        raise ValueError(f"copies ended {[end[2] for end in ends]}; {HOWS} are known")
    for name, column in (("gone_ns", 1), ("how", 2), ("observed", 3)):
        values = np.array([end[column] for end in ends], COPY_DTYPE[name])
        copies[name][places] = values[owner]
