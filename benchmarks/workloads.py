"""What the benchmarks have in common: sizes, addresses, filled stores."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import seqstore

BLOCK = 4096
MIB = 1 << 20
GIB = 1 << 30


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that a piece of work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def make_blocks(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (count, BLOCK), np.uint8)


def random_lbas(seed: int, high: int, shape: int | tuple[int, int]) -> NDArray[np.uint64]:
    return np.random.default_rng(seed).integers(0, high, shape, np.uint64)


def filled_volume(store: seqstore.Store, utilization: float) -> seqstore.Volume:
    """Make a volume that fills the store to a utilization of its data capacity, and write all of it."""
    blocks = int(store.stats().data_capacity_blocks * utilization)
    volume = store.create_tenant("bench").create_volume("volume", blocks * BLOCK)
    data = make_blocks(256) if store.drives[0].medium.keeps_bytes else None
    for lba in range(0, blocks, 256):
        count = min(256, blocks - lba)
        volume.write_blocks(lba, None if data is None else data[:count], count=count)
    return volume


def settle(volume: seqstore.Volume, store: seqstore.Store, laps: float, *, batch: int = 4096) -> None:
    """Overwrite at random until the log is in its steady state: so many laps of the head."""
    rng = np.random.default_rng(99)
    data = make_blocks(batch) if store.drives[0].medium.keeps_bytes else None
    before = store.stats()
    while (store.stats() - before).laps < laps:
        volume.write_blocks(rng.integers(0, volume.blocks, batch, np.uint64), data)


def file_system_of(folder: Path) -> str:
    """Name the file system that a folder lies on, as the kernel lists it."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    mounts = [line.split()[1:4] for line in lines]
    above = [mount for mount in mounts if folder.resolve().is_relative_to(mount[0])]
    _, kind, options = max(above, key=lambda mount: len(mount[0]))
    return f"{kind} ({options})"
