"""What does the end of an epoch of keys take, and what do keys of single blocks cost in between?

A volume of 0.8 GiB on a drive of 1 GiB, in a file system in memory where there is one. In each epoch 1 % of
the blocks are overwritten at random, which is the worst case for the tree. The end is timed as a whole and in
its parts; the syncs of a real drive, eight of them, come on top. Reading and writing are compared with the
store without epochs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seqstore
from benchmarks.bench_encryption import folder, root
from benchmarks.side_by_side import Result, Session, Table
from benchmarks.workloads import BLOCK, GIB, MIB
from seqstore import CryptographicErase, Store
from seqstore.clock import ManualClock
from seqstore.encryption import Encryption
from seqstore.engine import Engine
from seqstore.engine_deletion import EngineDeletion
from seqstore.keys import FileKey
from seqstore.keys.nodes import NodesFile

__all__ = ["folder", "root"]

BATCH = 256
EPOCH = 3600.0
SHARE = 0.01
EPOCHS = 8
ROUNDS = 7


def make(path: Path, root: FileKey, size: int, **options: Any) -> seqstore.Volume:
    store = Store.create(path, size, encryption=root, clock=ManualClock(), preallocate=False, **options)
    return store.create_tenant("contoso").create_volume("disk", size * 4 // 5)


def fill(volume: seqstore.Volume) -> int:
    """Write all of it, in order."""
    data = np.random.default_rng(1).integers(0, 256, (BATCH, BLOCK), dtype=np.uint8)
    blocks = volume.size // BLOCK
    for lba in range(0, blocks - BATCH + 1, BATCH):
        volume.write_blocks(lba, data)
    volume.flush()
    return blocks


class Stopwatch:
    """Adds up the time that is spent in methods."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.spent: dict[str, float] = {}
        self._patch = patch

    def watch(self, name: str, owner: type, method: str) -> None:
        real: Callable[..., Any] = getattr(owner, method)

        def timed(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return real(*arguments, **named)
            finally:
                self.spent[name] = self.spent.get(name, 0) + time.perf_counter() - start

        self._patch.setattr(owner, method, timed)


def test_the_end_of_an_epoch(
    side_by_side: Session, small: bool, folder: Path, root: FileKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, epochs = (64 * MIB, 3) if small else (GIB, EPOCHS)
    volume = make(folder / "store", root, size, deletion=CryptographicErase(epoch=EPOCH))
    store, blocks = volume.tenant.store, fill(volume)
    watch = Stopwatch(monkeypatch)
    watch.watch("list what lives", EngineDeletion, "live_seals")
    watch.watch("flush the log", Engine, "flush")
    watch.watch("nodes: derive, seal, write", Encryption, "end_epoch")
    watch.watch("of it: write and sync the file", NodesFile, "write")
    watch.watch("new keys", Encryption, "begin_epoch")
    rng, data, rows = np.random.default_rng(2), np.zeros((1, BLOCK), np.uint8), []
    names = ("new keys", "list what lives", "flush the log", "nodes: derive, seal, write")
    for epoch in range(epochs):
        dead = rng.choice(blocks, int(SHARE * blocks), replace=False)
        for lba in dead.tolist():
            volume.write_blocks(lba, data)
        store.flush()
        watch.spent.clear()
        start = time.perf_counter()
        store.idle(EPOCH)
        taken = time.perf_counter() - start
        nodes = (folder / "store/keys.nodes").stat().st_size
        parts = [f"{watch.spent[name] * 1e3:.1f} ms" for name in names]
        rows.append([str(epoch + 1), f"{taken * 1e3:.1f} ms", *parts, f"{nodes / MIB:.2f} MiB"])
    header = ("epoch", "the whole end", *names, "nodes")
    title = f"The end of an epoch in which 1 % of {blocks} blocks were overwritten at random"
    side_by_side.tables.append(Table(title=title, header=header, rows=rows))
    store.close()
    assert len(rows) == epochs


def works(blocks: int, count: int) -> dict[str, Callable[[seqstore.Volume], None]]:
    """What is compared, on volumes of so many blocks: calls that each take a batch."""
    rng = np.random.default_rng(3)
    data, out = np.zeros((BATCH, BLOCK), np.uint8), np.zeros((BATCH, BLOCK), np.uint8)
    starts = rng.integers(0, blocks - BATCH, count).tolist()
    scattered = rng.integers(0, blocks, (count, BATCH)).astype(np.uint64)

    def write(volume: seqstore.Volume) -> None:
        for lba in starts:
            volume.write_blocks(lba, data)

    def read_runs(volume: seqstore.Volume) -> None:
        for lba in starts:
            volume.read_blocks(lba, out)

    def read_scattered(volume: seqstore.Volume) -> None:
        for lbas in scattered:
            volume.read_blocks(lbas, out)

    return {"reading runs": read_runs, "reading scattered blocks": read_scattered, "writing runs": write}


def test_keys_of_single_blocks(side_by_side: Session, small: bool, folder: Path, root: FileKey) -> None:
    """Processor time, after an epoch in which 1 % died."""
    size = 64 * MIB if small else 256 * MIB
    shared = make(folder / "shared", root, size)
    single = make(folder / "single", root, size, deletion=CryptographicErase(epoch=EPOCH))
    blocks = min(map(fill, (shared, single)))
    rng, block = np.random.default_rng(4), np.zeros((1, BLOCK), np.uint8)
    for lba in rng.choice(blocks, int(SHARE * blocks), replace=False).tolist():
        single.write_blocks(lba, block)
    single.tenant.store.idle(EPOCH)
    count, rounds = (64, 2) if small else (400, ROUNDS)
    for what, work in works(blocks, count).items():
        rates: dict[str, list[float]] = {"a key each": [], "one key": []}
        for volume, name in rounds * [(single, "a key each"), (shared, "one key")]:
            start = time.thread_time()
            work(volume)
            rates[name].append(count * BATCH * BLOCK / (time.thread_time() - start) / 1e9)
        result = Result(
            question=f"{what}, {BATCH} blocks a call, a key for each block", unit="GB/s of a core",
            ours="a key each", against="one key", to_reach=0.8, rates=rates,
        )  # fmt: skip
        side_by_side.results.append(result)
        assert result.ratio > 0
    for volume in (shared, single):
        volume.tenant.store.close()
