"""What do bounds on deletion latency cost, and what does deletion at once?

Deadlines on simulated drives of 2^20 blocks with segments of 512, 80 % full, eight laps of writes on request,
of which the last four count. Deletion at once on a drive of 1 GiB in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import seqstore
from benchmarks.side_by_side import Result, Session, Table, Timed
from seqstore import sim
from seqstore.deletion import Deadline, Strategy
from seqstore.errors import BoundError
from seqstore.report.figures import new_figure
from seqstore.report.palette import HUES
from seqstore.sim import RunResult, workloads

BLOCKS = 1 << 20
SEGMENT_BLOCKS = 512
SEGMENT_BYTES = 1 << 20  # of the drive in memory
UTILIZATION = 0.8
LAPS = 8
PICTURES = Path(__file__).resolve().parents[1] / "docs" / "images"
BOUNDS = (None, 4.0, 3.0, 2.0, 1.5, 1.25, 1.1)

LAWS: dict[str, Callable[[int, int], sim.operations.Source]] = {
    "Zipf 1.0": lambda blocks, writes: workloads.zipf(blocks, writes, alpha=1.0, seed=1),
    "hot/cold 90:10": lambda blocks, writes: workloads.hot_cold(blocks, writes, hot=0.1, rate=0.9, seed=1),
    "uniform": lambda blocks, writes: workloads.uniform(blocks, writes, seed=1),
}


def run(
    law: str, deletion: Strategy | None, *, small: bool, selection: str = "greedy", placement: str = "single"
) -> RunResult:
    drive = BLOCKS >> 5 * small
    blocks = int(drive * UTILIZATION)
    return sim.replay(
        LAWS[law](blocks, LAPS * drive),
        selection=selection,
        placement=placement,
        space=sim.FixedDrive(utilization=UTILIZATION),
        segment_blocks=SEGMENT_BLOCKS >> 3 * small,
        deletion=deletion,
    )


def draw(lines: dict[str, list[tuple[float | None, float]]], placement: str) -> None:
    """Draw write amplification against the bound, for the documents."""
    figure = new_figure(4.2)
    axes = figure.add_subplot()
    for hue, (law, points) in zip(HUES, lines.items(), strict=False):
        bound = [(laps, steady) for laps, steady in points if laps is not None]
        axes.plot(*zip(*bound, strict=True), marker="o", color=hue, label=law)
        axes.axhline(points[0][1], color=hue, linestyle=":", linewidth=1)
    axes.set_xlabel("deadline, laps (dotted: none)")
    axes.set_ylabel("write amplification")
    axes.set_title(f"greedy, {placement}: what a bound on deletion latency costs", loc="left")
    axes.legend(frameon=False)
    figure.savefig(PICTURES / f"deadline-{placement}.png", dpi=110)


@pytest.mark.parametrize("placement", ["single", "separate"])
def test_deadlines(side_by_side: Session, small: bool, placement: str) -> None:
    """Write amplification against the bound; the oldest residue that there ever was."""
    rows: list[list[str]] = []
    lines: dict[str, list[tuple[float | None, float]]] = {}
    for law in LAWS:
        free = 0.0
        for laps in BOUNDS:
            found = run(law, None if laps is None else Deadline(laps=laps), small=small, placement=placement)
            steady = found.steady_amplification()
            free = steady if laps is None else free
            rows.append(
                [law, "none" if laps is None else f"{laps:g} laps", f"{steady:.3f}", f"{steady / free:.3f}",
                 f"{found.longest_laps:.3f}", f"{found.overwritten_blocks / found.user_blocks:.4f}"]
            )  # fmt: skip
            lines.setdefault(law, []).append((laps, steady))
            assert laps is None or found.longest_laps <= laps
    if not small:
        draw(lines, placement)
    side_by_side.tables.append(
        Table(
            title=f"greedy and {placement}: what a deadline costs",
            header=(
                "writes",
                "deadline",
                "write amplification",
                "against none",
                "oldest residue, laps",
                "zeros a write",
            ),
            rows=rows,
        )
    )


def test_smallest_bounds(side_by_side: Session, small: bool) -> None:
    """The smallest deadline that the drive takes, and whether it is kept under it."""
    rows = []
    for selection, placement in (
        ("fifo", "single"), ("greedy", "single"), ("cost_benefit", "separate"), ("cost_benefit", "sepbit"),
        ("greedy", "dac"), ("d_choices", "multilog"),
    ):  # fmt: skip
        try:
            run("Zipf 1.0", Deadline(laps=0.5), small=True, selection=selection, placement=placement)
            raise AssertionError("half a lap cannot be promised")
        except BoundError:
            pass
        smallest = 0.0
        for step in range(60):
            laps = 1 + step / 200
            try:
                found = run(
                    "Zipf 1.0", Deadline(laps=laps), small=small, selection=selection, placement=placement
                )
            except BoundError:
                continue
            smallest = laps
            break
        assert found.longest_laps <= smallest
        rows.append(
            [f"{selection}, {placement}", f"{smallest:.3f}", f"{found.longest_laps:.3f}",
             f"{found.steady_amplification():.3f}"]
        )  # fmt: skip
    side_by_side.tables.append(
        Table(
            title="The smallest deadline, Zipf 1.0",
            header=("policy", "smallest, laps", "oldest residue, laps", "write amplification"),
            rows=rows,
        )
    )


# ---- at once --------------------------------------------------------------------------------------------


def delete_and_purge(capacity: int) -> tuple[Timed, int, int]:
    """Trim 1 % of the blocks at random, and write over them; return the time, segments, blocks that moved."""
    with seqstore.Store.memory(capacity) as store:
        blocks = int(store.stats().data_capacity_blocks * UTILIZATION)
        volume = store.create_tenant("contoso").create_volume("disk", blocks * 4096)
        generator = np.random.default_rng(1)
        data = generator.integers(0, 256, (256, 4096)).astype(np.uint8)
        for first in range(0, blocks, 256):
            count = min(256, blocks - first)
            volume.write_blocks(first, data[:count])
        # The head has been everywhere: all of the drive's memory is there.
        for _ in range(blocks // 512):
            volume.write_blocks(generator.integers(0, blocks, 256).astype(np.uint64), data)
        store.purge()
        for lba in generator.choice(blocks, blocks // 100, replace=False).tolist():
            volume.trim(lba * 4096, 4096)
        start = time.perf_counter()
        done = store.purge()
        seconds = time.perf_counter() - start
        assert store.remanence().blocks == 0
        return Timed(amount=1, seconds=seconds), done.segments, done.relocated_blocks


def write_over(drive: NDArray[np.uint8], copy: NDArray[np.uint8], segments: int, live: int) -> Timed:
    """Do the least that has to be done: copy as many blocks as live, and write over the segments once."""
    start = time.perf_counter()
    np.copyto(copy[: live * 4096], drive[: live * 4096])
    drive[: segments * SEGMENT_BYTES] = 0
    return Timed(amount=1, seconds=time.perf_counter() - start)


def test_deletion_at_once(side_by_side: Session, small: bool) -> None:
    capacity = 1 << (26 if small else 30)
    drive, copy = np.ones(capacity, np.uint8), np.ones(capacity, np.uint8)
    _, segments, live = delete_and_purge(capacity)
    result = Result(
        question="deletion of 1 % at random, at once, 1 GiB in memory", unit="ms (less is better)",
        ours="purge", against="writing over once, and copying", to_reach=1.5,
        note=f"{segments} segments, {live} live blocks moved",
    )  # fmt: skip
    for _ in range(2 if small else 5):
        ours = delete_and_purge(capacity)[0]
        least = write_over(drive, copy, segments, live)
        result.rates.setdefault("purge", []).append(ours.seconds * 1e3)
        result.rates.setdefault("writing over once, and copying", []).append(least.seconds * 1e3)
    side_by_side.results.append(result)
    assert result.ratio > 0
