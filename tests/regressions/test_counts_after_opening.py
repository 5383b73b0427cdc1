"""What lay behind a head, from a lap ago, was taken for what the head had written."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seqstore import BlockState, SegmentState, Store, Volume
from tests.small import BLOCK_SIZE

SEGMENT_BLOCKS = 64
BLOCKS = 600


def count_garbage(store: Store) -> int:
    """Count dead blocks of tenants in sealed segments, by what the ledger says."""
    ledger = store.drives[0].ledger().reshape(-1, SEGMENT_BLOCKS)
    sealed = store._engine.segments()["state"] == SegmentState.SEALED
    dead = np.isin(ledger["state"], [BlockState.DEAD, BlockState.MOVED]) & (ledger["tenant"] != 0)
    return int(dead[sealed].sum())


def overwrite(volume: Volume, rng: np.random.Generator) -> None:
    lbas = rng.integers(0, BLOCKS, 8).astype(np.uint64)
    volume.write_blocks(lbas, np.zeros((8, BLOCK_SIZE), np.uint8))


def test_garbage_is_that_of_the_ledger(tmp_path: Path) -> None:
    path, size = tmp_path / "lab.store", SEGMENT_BLOCKS * BLOCK_SIZE
    rng = np.random.default_rng(1)
    with Store.create(path, 40 * size, block_size=BLOCK_SIZE, segment_size=size, selection="greedy") as store:
        volume = store.create_tenant("contoso").create_volume("disk", BLOCKS * BLOCK_SIZE)
        for _ in range(700):
            overwrite(volume, rng)
    for _ in range(5):
        with Store.open(path) as store:
            (volume,) = store.tenants[0].volumes
            for _ in range(15):
                overwrite(volume, rng)
                store.flush()
                assert store._engine.counters()["garbage_blocks"] == count_garbage(store)
            store.check()
