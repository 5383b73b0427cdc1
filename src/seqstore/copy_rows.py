"""How copies of what was deleted stand in the rows of the catalog, and how they once did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from seqstore.runs import NEVER

if TYPE_CHECKING:
    from seqstore.database import Database

LISTED_DTYPE = np.dtype([("mba", "<u8"), ("count", "<u8"), ("died", "<i8"), ("moved", "?")])
"""Runs of a list: where they lie, position of death, whether the cleaner left them behind."""

ENDED_DTYPE = np.dtype([("mba", "<u8"), ("count", "<u8"), ("position", "<i8")])
"""Runs that ended, and the position at which each was gone."""


def convert(database: Database) -> None:
    """Take over the copies of a catalog of an earlier format, which had a row for each piece of one."""
    rows = database.run(
        "SELECT record, erasure, drive, seen, mba, count, died, moved, COALESCE(gone_position, -1), gone_ns,"
        " how, observed FROM copies ORDER BY record, mba"
    )
    lists: dict[int, list[Any]] = {}
    for row in rows:
        lists.setdefault(row[0], []).append(row)
    for record, pieces in lists.items():
        _, erasure, drive, seen = pieces[0][:4]
        runs = np.array([row[4:8] for row in pieces], LISTED_DTYPE)
        is_through = all(row[8] != NEVER for row in pieces)
        database.run(
            "INSERT INTO copy_lists VALUES (?, ?, ?, ?, ?, ?)",
            record, erasure, drive, seen, is_through, runs.tobytes(),
        )  # fmt: skip
        ends: dict[tuple[Any, ...], list[Any]] = {}
        for row in pieces:
            if row[8] != NEVER:
                ends.setdefault(row[9:12], []).append((row[4], row[5], row[8]))
        for (gone_ns, how, observed), ended in ends.items():
            blob = np.array(ended, ENDED_DTYPE).tobytes()
            database.run(
                "INSERT INTO copy_ends VALUES (NULL, ?, ?, ?, ?, ?, ?)",
                record, max(end[2] for end in ended), gone_ns, how, observed, blob,
            )  # fmt: skip
