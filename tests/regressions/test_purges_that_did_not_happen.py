"""A drive that does not write what it is told: a purge says so, and takes no old record for a new one."""

from __future__ import annotations

import random

import numpy as np
import pytest

from seqstore import CallsMedium, CorruptionError, MediumError, Store
from tests.blocks import find_cells
from tests.faulty import Shelf
from tests.small import BLOCK_SIZE, SEGMENT_SIZE, write_tagged

CAPACITY = 48 * SEGMENT_SIZE


class LosingShelf(Shelf):
    """Loses some appends, whole or but for a block, and says nothing."""

    def __init__(self) -> None:
        super().__init__(CAPACITY)
        self.share, self.whole, self.rng = 0.0, True, random.Random(1)

    def append(self, mba: int, data: memoryview) -> None:
        if self.rng.random() >= self.share:
            super().append(mba, data)
        elif not self.whole:
            lost = self.rng.randrange(len(data) // BLOCK_SIZE) * BLOCK_SIZE
            old = self.data[mba * BLOCK_SIZE + lost : mba * BLOCK_SIZE + lost + BLOCK_SIZE]
            super().append(mba, data)
            self.data[mba * BLOCK_SIZE + lost : mba * BLOCK_SIZE + lost + BLOCK_SIZE] = old


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_lost_writes_are_found(share: float, whole: bool) -> None:
    shelf = LosingShelf()
    with CallsMedium(shelf, CAPACITY, block_size=BLOCK_SIZE, zone_size=SEGMENT_SIZE) as medium:
        store = Store.create_on(medium, selection="greedy")
        volumes = [store.create_tenant(name).create_volume("disk", 100 * BLOCK_SIZE) for name in "ab"]
        rng = np.random.default_rng(1)
        for version in range(1, 60):
            for volume in volumes:
                write_tagged(volume, rng.integers(0, 100, 7).tolist(), version)
        gone = volumes[1].tenant.number
        volumes[1].tenant.delete()
        store.flush()
        shelf.share, shelf.whole = share, whole
        with pytest.raises((CorruptionError, MediumError)):
            store.purge(gone)
        shelf.share = 0.0
        store._engine.close()
        store._parts.catalog.close()


def test_and_without_them_nothing_is_left() -> None:
    shelf = LosingShelf()
    with (
        CallsMedium(shelf, CAPACITY, block_size=BLOCK_SIZE, zone_size=SEGMENT_SIZE) as medium,
        Store.create_on(medium, selection="greedy") as store,
    ):
        volumes = [store.create_tenant(name).create_volume("disk", 100 * BLOCK_SIZE) for name in "ab"]
        for version in range(1, 30):
            for volume in volumes:
                write_tagged(volume, range(version, version + 20), version)
        gone = volumes[1].tenant.number
        volumes[1].tenant.delete()
        assert gone in find_cells(bytes(shelf.data), BLOCK_SIZE)["tenant"]
        store.purge(gone)
        assert gone not in find_cells(bytes(shelf.data), BLOCK_SIZE)["tenant"]
