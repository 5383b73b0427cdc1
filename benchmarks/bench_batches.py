"""How near do batches of blocks come to memcpy?

Random overwrites in batches of 256 blocks on a memory medium of 1 GiB, with checksums, half full and 80 %
full, against memcpy of blocks to random places of an array of 1 GiB. Counted are the bytes put on the medium:
what the cleaner moves and the summaries included.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import seqstore
from benchmarks.ceiling import copy_blocks
from benchmarks.side_by_side import Result, Round, Session
from benchmarks.workloads import BLOCK, GIB, filled_volume, make_blocks, random_lbas, settle

BATCH = 256
BATCHES = 512


def overwrite_round(store: seqstore.Store, utilization: float) -> Round:
    volume = filled_volume(store, utilization)
    settle(volume, store, 1.5, batch=BATCH)
    data = make_blocks(BATCH)
    lbas = random_lbas(2, volume.blocks, (BATCHES, BATCH))

    def work() -> float:
        before = store.stats()
        for batch in lbas:
            volume.write_blocks(batch, data)
        return (store.stats() - before).device_blocks * BLOCK

    return work


def memcpy_round() -> Round:
    array = np.ones((GIB // BLOCK, BLOCK), np.uint8)
    data = make_blocks(BATCH)
    blocks = random_lbas(3, GIB // BLOCK, (BATCHES, BATCH))

    def work() -> float:
        for batch in blocks:
            copy_blocks(array, batch, data)
        return BATCHES * BATCH * BLOCK

    return work


@pytest.fixture
def stores() -> Iterator[list[seqstore.Store]]:
    made = [seqstore.Store.memory(GIB), seqstore.Store.memory(GIB)]
    yield made
    for store in made:
        store.close()


def test_random_overwrites_against_memcpy(side_by_side: Session, stores: list[seqstore.Store]) -> None:
    half, full = overwrite_round(stores[0], 0.5), overwrite_round(stores[1], 0.8)
    contestants = {"half full": half, "80 % full": full, "memcpy": memcpy_round()}
    result = Result(
        question="random overwrites, batches of 256", unit="GB/s", ours="half full", against="memcpy",
        to_reach=0.75,
    )  # fmt: skip
    side_by_side.compare(result, contestants, rounds=9)
    side_by_side.scaled(result, 1e9)
    fuller = Result(
        question="the same, 80 % full", unit="GB/s", ours="80 % full", against="half full", to_reach=0.9,
        rates={name: result.rates[name] for name in ("80 % full", "half full")},
    )  # fmt: skip
    side_by_side.results.append(fuller)
    assert result.ratio > 0
    assert fuller.ratio > 0


def test_sequential_writes_against_memcpy(side_by_side: Session) -> None:
    """Writes of 1 MiB one after the other, against memcpy of as much to the same places of an array."""
    with seqstore.Store.memory(GIB) as store:
        volume = filled_volume(store, 0.5)
        data = make_blocks(BATCH)
        flat = data.tobytes()
        steps = volume.size // len(flat)
        array = np.ones((GIB // BLOCK, BLOCK), np.uint8)
        whole_mib = np.zeros(1, np.uint64)

        def ours() -> float:
            for step in range(steps):
                volume.write(step * len(flat), flat)
            return steps * len(flat)

        def memcpy() -> float:
            for step in range(steps):
                copy_blocks(array[step * BATCH :], whole_mib, data.reshape(1, -1))
            return steps * len(flat)

        result = Result(
            question="sequential writes of 1 MiB",
            unit="GB/s",
            ours="seqstore",
            against="memcpy",
            to_reach=0.9,
        )
        side_by_side.compare(result, {"seqstore": ours, "memcpy": memcpy}, rounds=9)
        side_by_side.scaled(result, 1e9)
        assert result.ratio > 0
