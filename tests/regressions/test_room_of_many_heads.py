"""A cleaner that fills several heads had taken its spare segments, and users the room that this left it."""

from __future__ import annotations

import numpy as np
import pytest

from seqstore import Store
from tests.property.test_policies_machine import fullest, scatter
from tests.small import BLOCK_SIZE, SEGMENT_BLOCKS, SEGMENT_SIZE

SEGMENTS = 24


@pytest.mark.parametrize("seed", [19, 23, 35, 59])
def test_the_cleaner_has_a_segment_for_each_head(seed: int) -> None:
    """The next victim overflowed all heads at once, and there was no free segment for the last of them."""
    with Store.memory(
        SEGMENTS * SEGMENT_SIZE,
        block_size=BLOCK_SIZE,
        segment_size=SEGMENT_SIZE,
        selection=fullest,
        placement=scatter,
        classes=4,
        reserve=0.0,
    ) as store:
        usable = store.drives[0].usable_blocks
        volume = store.create_tenant("contoso").create_volume("disk", SEGMENTS * SEGMENT_BLOCKS * BLOCK_SIZE)
        rng = np.random.default_rng(seed)
        volume.write_blocks(0, np.zeros((usable, BLOCK_SIZE), np.uint8))
        for _ in range(60):
            lbas = rng.integers(0, usable, 20).astype(np.uint64)
            volume.write_blocks(lbas, np.zeros((20, BLOCK_SIZE), np.uint8))
        store.check()
