"""How fast is a drive emptied, beside copying the bytes that live on it?

A volume of 4 KiB blocks written at random, so that it lies in many extents, with a snapshot and a clone.
The drive is emptied to a new one, which is emptied in the next round. The copy takes batches of the same size
from an array or a file and writes them to a new one; files are synced on both sides.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

import seqstore
from benchmarks.side_by_side import Result, Round, Session, Timed
from benchmarks.workloads import BLOCK, MIB, timed

_BATCH = 8 * MIB


def furnish(store: seqstore.Store, live_bytes: int) -> None:
    """Write at random, so that there is something to be moved."""
    volume = store.create_tenant("contoso").create_volume("disk", live_bytes)
    lbas = np.random.default_rng(1).permutation(volume.blocks).astype(np.uint64)
    data = np.random.default_rng(2).integers(0, 256, (2048, BLOCK), np.uint8)
    for at in range(0, len(lbas), len(data)):
        part = lbas[at : at + len(data)]
        volume.write_blocks(part, data[: len(part)])
    clone = volume.snapshot("monday").clone("copy")
    clone.write_blocks(0, data[:64])
    store.flush()


def evacuation(
    store: seqstore.Store, capacity: int, after: Callable[[seqstore.Drive], None]
) -> Callable[[], Timed]:
    """Empty the only drive in use to a new one."""

    def run() -> Timed:
        (old,) = [drive for drive in store.drives if drive.in_use]
        live = store.stats().live_blocks * BLOCK
        store.add_drive(capacity)
        seconds = timed(old.decommission)
        after(old)
        return Timed(amount=live, seconds=seconds)

    return run


def test_memory(side_by_side: Session) -> None:
    capacity, live = 768 * MIB, 384 * MIB
    with seqstore.Store.memory(capacity) as store:
        furnish(store, live)
        source = np.random.default_rng(3).integers(0, 256, live, np.uint8)

        def copy() -> float:
            target = np.empty(live, np.uint8)
            for at in range(0, live, _BATCH):
                target[at : at + _BATCH] = source[at : at + _BATCH]
            return live

        def forget(drive: seqstore.Drive) -> None:
            store._parts.spare.clear()  # or a new drive stays for each round
            assert not drive.in_use

        result = Result(
            question="emptying a drive in memory",
            unit="GB/s",
            ours="decommission",
            against="memcpy to new memory",
            to_reach=0.7,
        )
        contestants: dict[str, Round] = {
            "decommission": evacuation(store, capacity, forget),
            "memcpy to new memory": copy,
        }
        side_by_side.compare(result, contestants, rounds=5)
        side_by_side.scaled(result, 1e9)
        assert result.ratio > 0


def test_files(side_by_side: Session, tmp_path: Path) -> None:
    capacity, live = 768 * MIB, 384 * MIB
    with seqstore.Store.create(tmp_path / "store", capacity) as store:
        furnish(store, live)
        source = tmp_path / "source"
        source.write_bytes(np.random.default_rng(3).integers(0, 256, live, np.uint8).tobytes())

        def copy() -> float:
            buffer = bytearray(_BATCH)
            with source.open("rb", buffering=0) as from_, (tmp_path / "target").open("wb", buffering=0) as to:
                os.posix_fallocate(to.fileno(), 0, live)
                while count := from_.readinto(buffer):
                    to.write(memoryview(buffer)[:count])
                os.fsync(to.fileno())
            (tmp_path / "target").unlink()
            return live

        def forget(drive: seqstore.Drive) -> None:
            medium = drive.require_idle()
            assert medium is not None
            medium.close()
            (tmp_path / "store" / "drives" / f"{drive.number}.img").unlink()

        result = Result(
            question="emptying a drive in a file",
            unit="MB/s",
            ours="decommission",
            against="copy",
            to_reach=0.7,
        )
        contestants: dict[str, Round] = {"decommission": evacuation(store, capacity, forget), "copy": copy}
        side_by_side.compare(result, contestants, rounds=3)
        side_by_side.scaled(result, 1e6)
        assert result.ratio > 0
