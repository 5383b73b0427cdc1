"""What lies under the rest of a head is written over in time, also while a policy cleans a lap at once."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

from seqstore import Store
from seqstore.deletion import Deadline
from tests.small import BLOCK_SIZE


@pytest.mark.parametrize("seed", [3, 8])
def test_a_nearly_full_drive_whose_oldest_segments_are_all_alive(tmp_path: Path, seed: int) -> None:
    """The head of what users write waits while that of what is moved goes round the drive."""
    segment = 32 * BLOCK_SIZE
    with Store.create(
        tmp_path / "lab.store",
        64 * segment,
        block_size=BLOCK_SIZE,
        segment_size=segment,
        selection="fifo",
        placement="separate",
        checkpoint_interval="16MiB",
    ) as store:
        bound = store._eraser.core.smallest_bound() + 384
        store.set_deletion(Deadline(writes=bound))
        blocks = store.drives[0].usable_blocks * 19 // 20
        volume = store.create_tenant("contoso").create_volume("disk", blocks * BLOCK_SIZE)
        volume.write_blocks(0, np.zeros((blocks, BLOCK_SIZE), np.uint8))
        random, relocated, most = Random(seed), 0, 0
        for _ in range(250):
            lbas = [random.randrange(blocks // 8) for _ in range(random.choice([1, 4, 16, 32]))]
            volume.write_blocks(np.array(lbas, np.uint64), np.zeros((len(lbas), BLOCK_SIZE), np.uint8))
            assert (store.remanence().oldest_writes or 0) <= bound
            burst = store.stats().relocated_blocks - relocated
            relocated, most = relocated + burst, max(most, burst)
        assert most > store.drives[0].blocks // 4
        store.check()
