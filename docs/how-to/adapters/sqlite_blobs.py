"""Blocks as blobs in a SQLite file: what was not committed is lost in a crash, `purge` rewrites the file."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

_TABLES = """
CREATE TABLE volumes (number INTEGER PRIMARY KEY, tenant TEXT, size INTEGER);
CREATE TABLE blocks (volume INTEGER, lba INTEGER, data BLOB, PRIMARY KEY (volume, lba)) WITHOUT ROWID;
CREATE TRIGGER ended AFTER DELETE ON volumes BEGIN DELETE FROM blocks WHERE volume = old.number; END;
"""


class SqliteStore:
    """One file, one connection, one transaction from each flush to the next."""

    block_size = 512

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._open()
        self._database.executescript(_TABLES)

    def _open(self) -> None:
        self._database = sqlite3.connect(self._path, check_same_thread=False)
        self._database.execute("PRAGMA secure_delete = ON")

    def create_volume(self, tenant: str, blocks: int) -> int:
        # Not SQLite's own counter: a crash turns it back, and a handle of a lost volume would name a new one.
        number = next(self._numbers)
        self._run("INSERT INTO volumes VALUES (?, ?, ?)", number, tenant, blocks)
        return number

    def delete_volume(self, volume: int) -> None:
        with self._lock:
            self._find(volume)
            self._run("DELETE FROM volumes WHERE number = ?", volume)

    delete_snapshot = delete_volume

    def delete_tenant(self, tenant: str) -> None:
        self._run("DELETE FROM volumes WHERE tenant = ?", tenant)

    def write(self, volume: int, lba: int, data: bytes) -> None:
        with self._lock:
            self._check(volume, lba + len(data) // 512)
            rows = [(volume, lba + i // 512, data[i : i + 512]) for i in range(0, len(data), 512)]
            self._database.executemany("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?)", rows)

    def read(self, volume: int, lba: int, count: int) -> bytes:
        with self._lock:
            self._check(volume, lba + count)
            query = "SELECT lba, data FROM blocks WHERE volume = ? AND lba BETWEEN ? AND ?"
            blocks = dict(self._run(query, volume, lba, lba + count - 1).fetchall())
        return b"".join(blocks.get(place, bytes(512)) for place in range(lba, lba + count))

    def trim(self, volume: int, lba: int, count: int) -> None:
        with self._lock:
            self._check(volume, lba + count)
            self._run(
                "DELETE FROM blocks WHERE volume = ? AND lba BETWEEN ? AND ?", volume, lba, lba + count - 1
            )

    def resize(self, volume: int, blocks: int) -> None:
        with self._lock:
            self._find(volume)
            self._run("UPDATE volumes SET size = ? WHERE number = ?", blocks, volume)
            self._run("DELETE FROM blocks WHERE volume = ? AND lba >= ?", volume, blocks)

    def snapshot(self, volume: int) -> int:
        return self.clone(volume, self._find(volume)[0])

    def clone(self, snapshot: int, tenant: str) -> int:
        with self._lock:
            number = self.create_volume(tenant, self._find(snapshot)[1])
            self._run("INSERT INTO blocks SELECT ?, lba, data FROM blocks WHERE volume = ?", number, snapshot)
            return number

    def flush(self) -> None:
        with self._lock:
            self._database.commit()

    def crash(self) -> None:
        self._database.rollback()
        self._database.close()
        self._open()

    def purge(self) -> None:
        with self._lock:
            self.flush()
            self._database.execute("VACUUM")

    def media(self) -> Iterator[bytes]:
        yield self._path.read_bytes()

    def close(self) -> None:
        self._database.close()

    def _run(self, query: str, *values: object) -> sqlite3.Cursor:
        with self._lock:
            return self._database.execute(query, values)

    def _find(self, volume: int) -> tuple[str, int]:
        for tenant, size in self._run("SELECT tenant, size FROM volumes WHERE number = ?", volume):
            return tenant, size
        raise LookupError(f"there is no volume {volume}")

    def _check(self, volume: int, end: int) -> None:
        size = self._find(volume)[1]
        if end > size:
            raise ValueError(f"block {end} of a volume of {size}")
