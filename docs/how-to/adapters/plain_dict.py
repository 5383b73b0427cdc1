"""A block store in a plain dict, with snapshots and clones: the smallest thing that the kit can be shown."""

from __future__ import annotations

import itertools


class DictStore:
    """Volumes as dicts from lba to block."""

    block_size = 512

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._owners: dict[int, str] = {}
        self._sizes: dict[int, int] = {}
        self._blocks: dict[int, dict[int, bytes]] = {}

    def create_volume(self, tenant: str, blocks: int) -> int:
        return self._add(tenant, blocks, {})

    def delete_volume(self, volume: int) -> None:
        del self._owners[volume], self._sizes[volume], self._blocks[volume]

    delete_snapshot = delete_volume

    def write(self, volume: int, lba: int, data: bytes) -> None:
        pieces = [data[start : start + 512] for start in range(0, len(data), 512)]
        self._blocks[volume].update(zip(self._range(volume, lba, len(pieces)), pieces, strict=True))

    def read(self, volume: int, lba: int, count: int) -> bytes:
        blocks = self._blocks[volume]
        return b"".join(blocks.get(place, bytes(512)) for place in self._range(volume, lba, count))

    def trim(self, volume: int, lba: int, count: int) -> None:
        for place in self._range(volume, lba, count):
            self._blocks[volume].pop(place, None)

    def resize(self, volume: int, blocks: int) -> None:
        self._sizes[volume] = blocks
        self._blocks[volume] = {lba: data for lba, data in self._blocks[volume].items() if lba < blocks}

    def snapshot(self, volume: int) -> int:
        return self._add(self._owners[volume], self._sizes[volume], dict(self._blocks[volume]))

    def clone(self, snapshot: int, tenant: str) -> int:
        return self._add(tenant, self._sizes[snapshot], dict(self._blocks[snapshot]))

    def delete_tenant(self, tenant: str) -> None:
        for volume in [volume for volume, owner in self._owners.items() if owner == tenant]:
            self.delete_volume(volume)

    def _add(self, tenant: str, blocks: int, content: dict[int, bytes]) -> int:
        number = next(self._numbers)
        self._owners[number], self._sizes[number], self._blocks[number] = tenant, blocks, content
        return number

    def _range(self, volume: int, lba: int, count: int) -> range:
        if lba + count > self._sizes[volume]:
            raise ValueError(f"blocks {lba} to {lba + count} of a volume of {self._sizes[volume]}")
        return range(lba, lba + count)
