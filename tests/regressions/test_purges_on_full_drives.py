"""A purge may move again what it wrote itself: nothing is left of that, and nothing looks lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.durable import CAPACITY, create
from tests.small import BLOCK_SIZE, SEGMENT_SIZE


@pytest.mark.parametrize(("selection", "seed"), [("random_greedy", 0), ("fifo", 2), ("fifo", 5), ("fifo", 8)])
def test_again_and_again(tmp_path: Path, selection: Any, seed: int) -> None:
    assert CAPACITY == 64 * SEGMENT_SIZE
    rng = np.random.default_rng(seed)
    with create(tmp_path / "lab.store", selection=selection, placement="single") as store:
        blocks = int(0.9 * store.drives[0].usable_blocks)
        volume = store.create_tenant("contoso").create_volume("disk", blocks * BLOCK_SIZE)
        volume.write_blocks(
            np.arange(blocks, dtype=np.uint64), rng.integers(1, 255, (blocks, BLOCK_SIZE), np.uint8)
        )
        for count in (20, 200, 1, 20, 200, 200):
            lbas = rng.integers(0, blocks, count, np.uint64)
            volume.write_blocks(lbas, rng.integers(1, 255, (count, BLOCK_SIZE), np.uint8))
            store.purge(volume)
            assert store.remanence(volume).blocks == 0
        store.check()
