"""How fast is replay, what does choosing a victim cost, and how fast are traces read?

Drives of 2^20 blocks that are 80 % full, on the tags medium, steady; the figures to reach are rates. Victims
are chosen among up to a million segments of 64 blocks.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest
from numpy.typing import NDArray

from benchmarks.side_by_side import Result, Session, Table
from seqstore import sim
from seqstore.cleaning import Policy
from seqstore.engine_volume import EngineVolume
from seqstore.sim import traces, workloads
from seqstore.sim.simulation import Simulation

BLOCKS = 1 << 20
ROUNDS = 7


class Drive:
    """A simulated drive with one volume, 80 % full."""

    def __init__(self, policy: Policy, blocks: int, segment_blocks: int) -> None:
        space = sim.FixedDrive(utilization=0.8)
        self.simulation = Simulation(
            policy, space, blocks=blocks, segment_blocks=segment_blocks, block_size=4096
        )
        self.simulation.create(1, 1, blocks)
        self.volume: EngineVolume = self.simulation.only_volume()
        self.write(np.arange(blocks, dtype=np.uint64))

    def write(self, lbas: NDArray[np.uint64]) -> float:
        """Write blocks of tags; return the seconds that it took."""
        start = time.perf_counter()
        for first in range(0, len(lbas), BLOCKS):
            part = lbas[first : first + BLOCKS]
            self.volume._write_blocks(part, len(part), None)
        return time.perf_counter() - start


def writes_of(law: str, rounds: int, small: bool) -> list[NDArray[np.uint64]]:
    """Make as many arrays of writes as rounds, a drive full each."""
    blocks = BLOCKS >> 6 if small else BLOCKS
    make = workloads.uniform if law == "uniform" else workloads.zipf
    source = make(blocks, rounds * blocks, seed=1, fill=False)
    return [*np.split(np.concatenate(list(source.writes())), rounds)]


@pytest.mark.parametrize("law", ["uniform", "Zipf"])
@pytest.mark.parametrize(
    ("policy", "to_reach"),
    [(Policy(selection="greedy"), 15.0), (Policy(selection="cost_benefit", placement="sepbit"), 8.0)],
    ids=["greedy", "cost_benefit-sepbit"],
)
def test_rate(side_by_side: Session, small: bool, law: str, policy: Policy, to_reach: float) -> None:
    rounds = 2 if small else ROUNDS
    arrays = writes_of(law, 3 + rounds, small)
    drives = {size: Drive(policy, len(arrays[0]), size >> 3 * small) for size in (512, 2048)}
    rates: dict[int, list[float]] = {size: [] for size in drives}
    for lbas in arrays:  # what slows this machine down for a while then slows down both
        for size, drive in drives.items():
            rates[size].append(len(lbas) / drive.write(lbas) / 1e6)
    for size, drive in drives.items():
        drive.simulation.close()
        result = Result(
            question=f"replay, {law}, {policy.selection} and {policy.placement}, segments of {size}",
            unit="M writes/s", ours="seqstore", against=f"{to_reach:g} M/s", to_reach=1.0,
            rates={"seqstore": rates[size][3:], f"{to_reach:g} M/s": [to_reach] * rounds},
        )  # fmt: skip
        side_by_side.results.append(result)
        assert result.ratio > 0


def test_choosing_a_victim(side_by_side: Session, small: bool) -> None:
    rows = []
    counts = (1_000, 2_000) if small else (10_000, 100_000, 1_000_000)
    for selection in ("fifo", "greedy", "cost_benefit", "d_choices", "windowed_greedy", "random_greedy"):
        cells = [selection]
        for segments in counts:
            cells += cost_of_a_victim(selection, segments)
        rows.append(cells)
    heads = (
        "selection",
        *(f"{name}, {n:,} segments" for n in counts for name in ("us a victim", "ns a block")),
    )
    side_by_side.tables.append(
        Table(
            title="Cleaning a segment of 64 blocks: time for each, and for each block put",
            header=heads,
            rows=rows,
        )
    )
    assert len(rows) == 6


def cost_of_a_victim(selection: str, segments: int) -> list[str]:
    """Return microseconds for each segment that is cleaned, and nanoseconds for each block that is put."""
    blocks = int(segments * 64 * 0.8)
    drive = Drive(Policy(selection=selection), blocks, 64)
    generator = np.random.default_rng(1)
    drive.write(generator.integers(0, blocks, blocks // 2).astype(np.uint64))
    before = drive.simulation.engine.counters()
    seconds = drive.write(generator.integers(0, blocks, blocks // 2).astype(np.uint64))
    after = drive.simulation.engine.counters()
    drive.simulation.close()
    done = {name: after[name] - before[name] for name in after}
    put = done["user_blocks"] + done["relocated_blocks"]
    return [f"{seconds / done['cleaned_segments'] * 1e6:.2f}", f"{seconds / put * 1e9:.0f}"]


def test_reading_a_trace(side_by_side: Session, scratch: Path, small: bool) -> None:
    """CloudPhysics' form; beside it the reader of CSV alone, which makes columns and no operations."""
    requests = 20_000 if small else 2_000_000
    path = scratch / "trace.csv"
    generator = np.random.default_rng(2)
    lbns, sizes = generator.integers(0, 1 << 30, requests), generator.integers(1, 256, requests) * 512
    with path.open("w", encoding="ascii") as file:
        file.write("version,time,op,size,lbn\n")
        for i, (lbn, size) in enumerate(zip(lbns.tolist(), sizes.tolist(), strict=True)):
            file.write(f"1,{i},{'2a' if i % 3 else '28'},{size},{lbn}\n")

    def ours() -> float:
        return float(sum(len(part) for part in traces.open_trace(path, "cloudphysics").batches()))

    def arrow() -> float:
        return float(len(pyarrow.csv.read_csv(path)))

    result = Result(
        question="reading a trace in CloudPhysics' form", unit="M requests/s", ours="seqstore",
        against="pyarrow.csv alone", to_reach=0,
    )  # fmt: skip
    side_by_side.compare(result, {"seqstore": ours, "pyarrow.csv alone": arrow}, rounds=2 if small else 5)
    side_by_side.scaled(result, 1e6)
    assert result.ratio > 0
