"""A drive that was written with several heads, opened by a log that knows of fewer."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqstore import SegmentState, Store, Volume
from seqstore.media.faults import FaultMedium, FaultyDrive
from tests.small import BLOCK_SIZE

SEGMENT_BLOCKS = 32
SEGMENTS = 64
VOLUMES = 4
CHECKPOINT = "32KiB"


def churn(volumes: list[Volume], blocks: int, rounds: int, seed: int = 1) -> None:
    """Fill the volumes, and overwrite a dozen blocks at a time."""
    rng = np.random.default_rng(seed)
    for volume in volumes:
        for lba in range(0, blocks, 16):
            volume.write(lba * BLOCK_SIZE, bytes(min(16, blocks - lba) * BLOCK_SIZE))
    for _ in range(rounds):
        lbas = rng.integers(0, blocks, 12).astype(np.uint64)
        volumes[rng.integers(len(volumes))].write_blocks(lbas, np.zeros((12, BLOCK_SIZE), np.uint8))


def volumes_of(store: Store) -> list[Volume]:
    return [volume for tenant in store.tenants for volume in tenant.volumes]


def open_segments(store: Store) -> int:
    return int((store._engine.segments()["state"] == SegmentState.OPEN).sum())


@pytest.mark.parametrize("end", ["close", "crash"])
@pytest.mark.parametrize("placement", ["dac", "by_volume", "multilog"])
def test_their_segments_are_cleaned_like_others(placement: str, end: str) -> None:
    """They stayed open for ever, and the log had less room than it promised."""
    size: dict[str, Any] = {"block_size": BLOCK_SIZE, "zone_size": SEGMENT_BLOCKS * BLOCK_SIZE}
    drive = FaultyDrive(SEGMENTS * SEGMENT_BLOCKS * BLOCK_SIZE, **size, generator=random.Random(1))
    with FaultMedium(drive) as medium:
        store = Store.create_on(
            medium, selection="greedy", placement=placement, classes=6, reserve=0.0,
            checkpoint_interval=CHECKPOINT,
        )  # fmt: skip
        tenant = store.create_tenant("contoso")
        volumes = [
            tenant.create_volume(f"disk-{number}", SEGMENTS * SEGMENT_BLOCKS * BLOCK_SIZE)
            for number in range(VOLUMES)
        ]
        churn(volumes, store.drives[0].usable_blocks // VOLUMES, 100)
        assert open_segments(store) > 1
        if end == "close":
            store.close()
        else:
            drive.power_cut()
            store._parts.close(finish=False)
    for _ in range(2):  # without its catalog: one head, the circular log
        drive.reboot()
        with FaultMedium(drive) as medium:
            store = Store.open_on(medium, checkpoint_interval=CHECKPOINT)
            store.check()
            assert open_segments(store) == 1
            churn(volumes_of(store), store.drives[0].usable_blocks // VOLUMES, 100)
            store.check()
            drive.power_cut()
            store._parts.close(finish=False)


@pytest.mark.parametrize("placement", ["dac", "multilog"])
def test_their_blocks_go_to_heads_that_there_are(placement: str, tmp_path: Path) -> None:
    """The cleaner left them where they were, and then found its victim not empty."""
    path = tmp_path / "lab.store"
    store = Store.create(
        path, SEGMENTS * SEGMENT_BLOCKS * BLOCK_SIZE, block_size=BLOCK_SIZE,
        segment_size=SEGMENT_BLOCKS * BLOCK_SIZE, selection="greedy", placement=placement, classes=6,
        reserve=0.0,
    )  # fmt: skip
    volume = store.create_tenant("contoso").create_volume("disk", "256KiB")
    churn([volume], 300, 300)
    store.flush()
    store._parts.close(finish=False)
    with closing(sqlite3.connect(path / "catalog.db")) as catalog:
        catalog.execute("UPDATE store SET classes = 2")
        catalog.commit()
    with Store.open(path) as store:
        churn(volumes_of(store), 300, 300, seed=2)
        store.check()
        assert open_segments(store) <= 2
