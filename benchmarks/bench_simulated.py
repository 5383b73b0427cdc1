"""How fast is the tags medium, and what does a write cost as the drive grows to 1 TiB?

Uniform overwrites, 80 % full, through the array interface. The large drives run in processes of their own,
whose peak of resident memory is the figure for memory.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

import seqstore
from benchmarks.ceiling import touch
from benchmarks.side_by_side import Result, Session
from benchmarks.workloads import BLOCK, filled_volume, random_lbas, settle

BATCH = 1 << 16


def scrambled(blocks: int, bits: int) -> Iterator[NDArray[np.uint64]]:
    """Give each lba once, in a scrambled order and in batches, without keeping a list of all of them.

    Multiplying by an odd number and adding the upper half of the bits to the lower are one-to-one.
    """
    mask = np.uint64((1 << bits) - 1)
    for start in range(0, 1 << bits, BATCH):
        lbas = np.arange(start, start + BATCH, dtype=np.uint64)
        for factor in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9):
            lbas = lbas * np.uint64(factor) & mask
            lbas ^= lbas >> np.uint64(bits // 2)
        inside = lbas[lbas < blocks]
        if len(inside):
            yield inside


def measure(exponent: int, *, rounds: int = 7, writes: int = 1 << 22, laps: float = 2.5) -> dict[str, float]:
    """Fill a drive of 2**exponent blocks to 80 %, at random, and overwrite it; medians."""
    with seqstore.Store.simulated(BLOCK << exponent) as store:
        blocks = int(store.stats().data_capacity_blocks * 0.8)
        volume = store.create_tenant("bench").create_volume("volume", blocks * BLOCK)
        for batch in scrambled(blocks, exponent):
            volume.write_blocks(batch, None)
        settle(volume, store, laps, batch=BATCH)
        seconds = []
        for turn in range(rounds):
            lbas = random_lbas(turn, blocks, (writes // BATCH, BATCH))
            start_time = time.perf_counter()
            for batch in lbas:
                volume.write_blocks(batch, None)
            seconds.append((time.perf_counter() - start_time) / writes)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": statistics.median(seconds), "peak_kib": peak}


def measure_apart(exponent: int) -> dict[str, float]:
    code = (
        f"import json; from benchmarks.bench_simulated import measure; print(json.dumps(measure({exponent})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def test_ten_million_writes_a_second(side_by_side: Session) -> None:
    with seqstore.Store.simulated(BLOCK << 22) as store:
        volume = filled_volume(store, 0.8)
        settle(volume, store, 2, batch=BATCH)
        lbas = random_lbas(7, volume.blocks, (64, BATCH))

        def ours() -> float:
            for batch in lbas:
                volume.write_blocks(batch, None)
            return lbas.size

        result = Result(
            question="tags medium, 2^22 blocks, 80 % full", unit="M/s", ours="seqstore",
            against="10 M/s", to_reach=1.0,
        )  # fmt: skip
        side_by_side.compare(result, {"seqstore": ours}, rounds=9)
        result.rates["10 M/s"] = [1e7] * 9
        side_by_side.scaled(result, 1e6)
        assert result.ratio > 0


def test_growth_to_a_tebibyte(side_by_side: Session) -> None:
    costs = {}
    for exponent in (20, 22, 24, 26, 28):
        found = measure_apart(exponent)
        found["floor"] = touch(int(0.8 * 2**exponent), 2**exponent, 1 << 24)
        costs[exponent] = found
        name = f"2^{exponent} blocks"
        result = Result(
            question=f"a write on a drive of {name}", unit="ns (less is better)", ours=name,
            against="2^20 blocks", to_reach=2.0, note="ratio of costs: at most 2",
        )  # fmt: skip
        result.rates = {name: [found["seconds"] * 1e9], "2^20 blocks": [costs[20]["seconds"] * 1e9]}
        side_by_side.results.append(result)
        floor = Result(
            question=f"its random accesses alone, {name}", unit="ns (less is better)", ours="C loop",
            against="2^20 blocks", to_reach=0,
        )  # fmt: skip
        floor.rates = {"C loop": [found["floor"] * 1e9], "2^20 blocks": [costs[20]["floor"] * 1e9]}
        side_by_side.results.append(floor)
    memory = Result(
        question="resident memory of the drive of 1 TiB", unit="GiB (less is better)", ours="seqstore",
        against="5 GiB", to_reach=1.0,
    )  # fmt: skip
    memory.rates = {"seqstore": [costs[28]["peak_kib"] / 2**20], "5 GiB": [5.0]}
    side_by_side.results.append(memory)
    assert costs[28]["peak_kib"] > costs[20]["peak_kib"]
