"""Blocks in LMDB, one key each: the volume's number and the lba. A crash is the end of the process."""

from __future__ import annotations

import struct
from pathlib import Path

import lmdb

_NEXT = b"next"
_KEY = struct.Struct(">QQ")
_VOLUME = struct.Struct(">Q")  # the size is kept under the number alone, and the tenant behind it


class LmdbStore:
    """One environment in a folder of its own."""

    block_size = 512

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._open()

    def _open(self) -> None:
        self._lmdb = lmdb.open(self._path, map_size=1 << 26, sync=False)

    def create_volume(self, tenant: str, blocks: int) -> int:
        with self._lmdb.begin(write=True) as transaction:
            return self._add(transaction, tenant, blocks)

    def delete_volume(self, volume: int) -> None:
        with self._lmdb.begin(write=True) as transaction:
            self._cut(transaction, volume, 0, self._find(transaction, volume)[1])
            transaction.delete(_VOLUME.pack(volume))

    delete_snapshot = delete_volume

    def write(self, volume: int, lba: int, data: bytes) -> None:
        with self._lmdb.begin(write=True) as transaction:
            for place in self._range(transaction, volume, lba, len(data) // 512):
                start = (place - lba) * 512
                transaction.put(_KEY.pack(volume, place), data[start : start + 512])

    def read(self, volume: int, lba: int, count: int) -> bytes:
        with self._lmdb.begin() as transaction:
            places = self._range(transaction, volume, lba, count)
            return b"".join(transaction.get(_KEY.pack(volume, place), bytes(512)) for place in places)

    def trim(self, volume: int, lba: int, count: int) -> None:
        with self._lmdb.begin(write=True) as transaction:
            self._range(transaction, volume, lba, count)
            self._cut(transaction, volume, lba, count)

    def resize(self, volume: int, blocks: int) -> None:
        with self._lmdb.begin(write=True) as transaction:
            tenant, size = self._find(transaction, volume)
            self._cut(transaction, volume, blocks, size - blocks)
            transaction.put(_VOLUME.pack(volume), _VOLUME.pack(blocks) + tenant.encode())

    def snapshot(self, volume: int) -> int:
        return self.clone(volume)

    def clone(self, snapshot: int, tenant: str | None = None) -> int:
        with self._lmdb.begin(write=True) as transaction:
            owner, size = self._find(transaction, snapshot)
            copy = self._add(transaction, tenant or owner, size)
            for place in range(size):
                data = transaction.get(_KEY.pack(snapshot, place))
                if data is not None:
                    transaction.put(_KEY.pack(copy, place), data)
            return copy

    def flush(self) -> None:
        self._lmdb.sync(True)

    def crash(self) -> None:
        self._lmdb.close()
        self._open()

    def close(self) -> None:
        self._lmdb.close()

    @staticmethod
    def _add(transaction: lmdb.Transaction, tenant: str, blocks: int) -> int:
        number = int(transaction.get(_NEXT, b"1"))
        transaction.put(_NEXT, str(number + 1).encode())
        transaction.put(_VOLUME.pack(number), _VOLUME.pack(blocks) + tenant.encode())
        return number

    @staticmethod
    def _cut(transaction: lmdb.Transaction, volume: int, lba: int, count: int) -> None:
        for place in range(lba, lba + count):
            transaction.delete(_KEY.pack(volume, place))

    @staticmethod
    def _find(transaction: lmdb.Transaction, volume: int) -> tuple[str, int]:
        entry = transaction.get(_VOLUME.pack(volume))
        if entry is None:
            raise LookupError(f"there is no volume {volume}")
        return str(entry[8:], "utf-8"), _VOLUME.unpack(entry[:8])[0]

    def _range(self, transaction: lmdb.Transaction, volume: int, lba: int, count: int) -> range:
        size = self._find(transaction, volume)[1]
        if lba + count > size:
            raise ValueError(f"blocks {lba} to {lba + count} of a volume of {size}")
        return range(lba, lba + count)
