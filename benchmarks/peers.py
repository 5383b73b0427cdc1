"""Peers that store one block a call under a number: what a prototype would use today."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Protocol

import lmdb
import numpy as np
import rocksdict

from benchmarks.workloads import BLOCK

TRANSACTION = 1000
"""Puts of a transaction, of the peers that have them, unless they are told otherwise."""


class Peer(Protocol):
    def put_all(self, keys: list[int], block: bytes) -> None: ...
    def get_all(self, keys: list[int]) -> None: ...
    def close(self) -> None: ...


class NumpyRows:
    """Rows of one array in memory: no map, no checksum, no isolation."""

    def __init__(self, blocks: int) -> None:
        self.array = np.ones((blocks, BLOCK), np.uint8)
        self.row = np.ones(BLOCK, np.uint8)

    def put_all(self, keys: list[int], block: bytes) -> None:
        array, row = self.array, np.frombuffer(block, np.uint8)
        for key in keys:
            array[key] = row

    def get_all(self, keys: list[int]) -> None:
        array, row = self.array, self.row
        for key in keys:
            row[:] = array[key]

    def close(self) -> None:
        del self.array


class Lmdb:
    """LMDB, values copied out.

    Parameters
    ----------
    folder : Path
    blocks : int
        Number of keys, all of which are put at first.
    synced : bool
        Whether a transaction is on the medium, safe, when it is done.
    writemap : bool
        Whether LMDB writes through its memory map.
    transaction : int
        Puts of a transaction.
    block : bytes
        What is put at first.
    """

    def __init__(
        self,
        folder: Path,
        blocks: int,
        *,
        synced: bool = False,
        writemap: bool = True,
        transaction: int = TRANSACTION,
        block: bytes = bytes(BLOCK),
    ) -> None:
        self.env = lmdb.open(
            str(folder / "lmdb"),
            map_size=16 * blocks * BLOCK,
            sync=synced,
            metasync=synced,
            writemap=writemap,
        )
        self.keys = [key.to_bytes(4, "big") for key in range(blocks)]
        self.transaction = TRANSACTION
        self.put_all(list(range(blocks)), block)
        self.transaction = transaction

    def put_all(self, keys: list[int], block: bytes) -> None:
        names, puts = self.keys, self.transaction
        for start in range(0, len(keys), puts):
            with self.env.begin(write=True) as transaction:
                put = transaction.put
                for key in keys[start : start + puts]:
                    put(names[key], block)

    def get_all(self, keys: list[int]) -> None:
        names = self.keys
        with self.env.begin() as transaction:
            get = transaction.get
            for key in keys:
                get(names[key])

    def close(self) -> None:
        self.env.close()


class Rocks:
    """RocksDB with its defaults, raw keys and values, write-ahead log off."""

    def __init__(self, folder: Path, blocks: int) -> None:
        self.database = rocksdict.Rdict(str(folder / "rocks"), rocksdict.Options(raw_mode=True))
        options = rocksdict.WriteOptions()
        # A property, whatever the stubs say.
        options.disable_wal = True  # type: ignore[method-assign, assignment]
        self.database.set_write_options(options)
        self.keys = [key.to_bytes(4, "big") for key in range(blocks)]
        self.put_all(list(range(blocks)), bytes(BLOCK))

    def put_all(self, keys: list[int], block: bytes) -> None:
        database, names = self.database, self.keys
        for key in keys:
            database[names[key]] = block

    def get_all(self, keys: list[int]) -> None:
        database, names = self.database, self.keys
        for key in keys:
            database[names[key]]

    def close(self) -> None:
        self.database.close()


class Sqlite:
    """Blobs in SQLite with a write-ahead log. Parameters as of `Lmdb`; synced is ``synchronous = FULL``."""

    def __init__(
        self,
        folder: Path,
        blocks: int,
        *,
        synced: bool = False,
        transaction: int = TRANSACTION,
        block: bytes = bytes(BLOCK),
    ) -> None:
        self.connection = sqlite3.connect(folder / "blobs.db", isolation_level=None)
        self.connection.execute(f"PRAGMA synchronous = {'FULL' if synced else 'OFF'}")
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("CREATE TABLE block (key INTEGER PRIMARY KEY, data BLOB)")
        self.transaction = TRANSACTION
        self.put_all(list(range(blocks)), block)
        self.transaction = transaction

    def put_all(self, keys: list[int], block: bytes) -> None:
        execute, puts = self.connection.execute, self.transaction
        for start in range(0, len(keys), puts):
            execute("BEGIN")
            for key in keys[start : start + puts]:
                execute("INSERT OR REPLACE INTO block VALUES (?, ?)", (key, block))
            execute("COMMIT")

    def get_all(self, keys: list[int]) -> None:
        execute = self.connection.execute
        for key in keys:
            execute("SELECT data FROM block WHERE key = ?", (key,)).fetchone()

    def close(self) -> None:
        self.connection.close()


class PlainFile:
    """pwrite and pread on a file in the page cache.

    Parameters
    ----------
    folder : Path
    blocks : int
    flush_every : int
        Writes between two calls of fdatasync; 0 for none.
    """

    def __init__(self, folder: Path, blocks: int, *, flush_every: int = 0) -> None:
        self.descriptor = os.open(folder / "plain", os.O_RDWR | os.O_CREAT)
        self.flush_every = flush_every
        for start in range(0, blocks, 256):
            os.pwrite(self.descriptor, bytes(256 * BLOCK), start * BLOCK)

    def put_all(self, keys: list[int], block: bytes) -> None:
        descriptor, pwrite = self.descriptor, os.pwrite
        batch = self.flush_every or max(len(keys), 1)
        for start in range(0, len(keys), batch):
            for key in keys[start : start + batch]:
                pwrite(descriptor, block, key * BLOCK)
            if self.flush_every:
                os.fdatasync(descriptor)

    def get_all(self, keys: list[int]) -> None:
        descriptor, pread = self.descriptor, os.pread
        for key in keys:
            pread(descriptor, BLOCK, key * BLOCK)

    def close(self) -> None:
        os.close(self.descriptor)
