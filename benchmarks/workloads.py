"""What the benchmarks have in common: sizes, addresses, filled stores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import seqstore

BLOCK = 4096
GIB = 1 << 30


def make_blocks(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (count, BLOCK), np.uint8)


def random_lbas(seed: int, high: int, shape: int | tuple[int, int]) -> NDArray[np.uint64]:
    return np.random.default_rng(seed).integers(0, high, shape, np.uint64)


def filled_volume(store: seqstore.Store, utilization: float) -> seqstore.Volume:
    """Make a volume that fills the store to a utilization of its data capacity, and write all of it."""
    blocks = int(store.stats().data_capacity_blocks * utilization)
    volume = store.create_tenant("bench").create_volume("volume", blocks * BLOCK)
    simulated = not isinstance(store.drives[0].medium, seqstore.MemoryMedium)
    data = None if simulated else make_blocks(256)
    for lba in range(0, blocks, 256):
        count = min(256, blocks - lba)
        volume.write_blocks(lba, None if data is None else data[:count], count=count)
    return volume


def settle(volume: seqstore.Volume, store: seqstore.Store, laps: float, *, batch: int = 4096) -> None:
    """Overwrite at random until the log is in its steady state: so many laps of the head."""
    rng = np.random.default_rng(99)
    data = None if not isinstance(store.drives[0].medium, seqstore.MemoryMedium) else make_blocks(batch)
    before = store.stats()
    while (store.stats() - before).laps < laps:
        volume.write_blocks(rng.integers(0, volume.blocks, batch, np.uint64), data)
