"""Catalogs as earlier versions left them: the tables that came later are taken away again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqstore import Store
from seqstore.copies import COPY_DTYPE

_SINCE = {
    2: ["audit", "erasures", "strategies", "purges", "moments"],
    3: ["kept", "audit_end"],
    4: ["drive_facts", "placements", "wishes", "left_residue", "erasure_drives", "drive_moments"],
    5: ["copy_ends", "copy_lists", "loosened", "key_area"],
    6: ["lost_runs"],
}
_COPIES_SINCE, _COPIES_UNTIL = 2, 4


def copies_of(store: Store, erasure: int) -> NDArray[np.void]:
    """All copies of an erasure, with how each ended."""
    copies: NDArray[np.void] = store._evidence.erasures.copies(erasure)
    return copies


def make_older(path: Path, version: int) -> None:
    """Make a catalog one of an earlier format, with what that had room for."""
    with Store.open(path.parent, read_only=True) as store:
        rows = [row for erasure in store.erasures for row in copies_of(store, erasure.id).tolist()]
    with closing(sqlite3.connect(path)) as database, database:
        for since, tables in sorted(_SINCE.items(), reverse=True):
            for table in tables if version < since else ():
                database.execute(f"DROP TABLE {table}")
        if _COPIES_SINCE <= version <= _COPIES_UNTIL:
            names = COPY_DTYPE.names or ()
            database.execute(f"CREATE TABLE copies ({', '.join(names)})")
            marks = ", ".join("NULLIF(?, -1)" if name.startswith("gone") else "?" for name in names)
            database.executemany(f"INSERT INTO copies VALUES ({marks})", rows)
            database.execute("UPDATE copies SET id = rowid, how = NULLIF(how, '')")
        database.execute(f"PRAGMA user_version = {version}")
