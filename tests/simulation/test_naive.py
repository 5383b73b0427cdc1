"""Replay against a drive written down in a hundred lines of Python, which shares nothing with the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from seqstore.sim import FixedDrive, GarbageProportion, RunResult, replay
from seqstore.sim.space import Space
from tests.simulation import naive
from tests.simulation.naive import SIZE

BLOCKS, STEP = 2048, 1500
SPACES: list[Space] = [FixedDrive(utilization=0.8), GarbageProportion(0.2)]


def writes(seed: int) -> NDArray[np.int64]:
    """Each block once, and then most of them to a fifth of the blocks."""
    rng = np.random.default_rng(seed)
    count = 6 * BLOCKS
    ends = np.where(rng.random(count) < 0.7, BLOCKS // 5, BLOCKS)
    return np.concatenate([rng.permutation(BLOCKS), (rng.random(count) * ends).astype(np.int64)])


def oldest_of_emptiest(table: NDArray[np.void]) -> int:
    """Greedy as the naive drive does it, which takes the one sealed first of segments equally full."""
    return int(np.lexsort((-table["age"].astype(np.int64), table["live_blocks"]))[0])


def both(
    selection: Any, choose: naive.Choose, placement: str, space: Space, seed: int
) -> tuple[RunResult, naive.Naive, list[list[int]]]:
    """Replay here and there; the naive drive also gives its residue at the moments of the series."""
    lbas = writes(seed)
    result = replay(
        lbas, selection=selection, placement=placement, space=space, segment_blocks=SIZE, sample_writes=STEP
    )
    drive = naive.Naive(
        segments=result.block_count // SIZE,
        choose=choose,
        apart=placement == "separate",
        garbage=space.share if isinstance(space, GarbageProportion) else 0.0,
        seed=seed,
    )
    residues = []
    for number, lba in enumerate(lbas.tolist(), 1):
        drive.write(lba)
        if number % STEP == 0:
            residues.append(drive.residue())
    return result, drive, [*residues, drive.residue()]


def histogram(drive: naive.Naive, blocks: int, by_move: bool) -> NDArray[np.intp]:
    """Count how long what was written over had been dead, in 32nds of a lap."""
    ages = np.array([age for age, moved in drive.events if moved == by_move])
    return np.bincount(ages * 32 // blocks)


@pytest.mark.parametrize("space", SPACES, ids=["drive", "garbage"])
@pytest.mark.parametrize(
    ("selection", "choose", "placement"),
    [
        ("fifo", naive.fifo, "single"),
        ("fifo", naive.fifo, "separate"),
        ("cost_benefit_sqrt", naive.cost_benefit_sqrt, "single"),
        (oldest_of_emptiest, naive.greedy, "single"),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_to_the_block(
    selection: Any, choose: naive.Choose, placement: str, space: Space, seed: int
) -> None:
    result, drive, residues = both(selection, choose, placement, space, seed)
    assert result.relocated_blocks == drive.relocated > BLOCKS
    assert result.laps == drive.position / result.block_count
    assert result.residue_blocks == len(residues[-1])
    for found, by_move in ((result.latencies, False), (result.moved_latencies, True)):
        assert [*found.counts] == histogram(drive, result.block_count, by_move).tolist()
    assert result.remanence["residue_blocks"].tolist() == [len(ages) for ages in residues]
    assert result.remanence["oldest_writes"].tolist() == [max(ages, default=0) for ages in residues]


CHOICES: dict[str, Callable[..., naive.Segment]] = {
    "greedy": naive.greedy,
    "d_choices": naive.d_choices,
    "cost_benefit": naive.cost_benefit,
    "cost_benefit_sqrt": naive.cost_benefit_sqrt,
}


@pytest.mark.parametrize("space", SPACES, ids=["drive", "garbage"])
@pytest.mark.parametrize("placement", ["single", "separate"])
@pytest.mark.parametrize("selection", CHOICES)
def test_about_the_same_where_lots_or_ties_decide(selection: str, placement: str, space: Space) -> None:
    runs = [both(selection, CHOICES[selection], placement, space, seed) for seed in (3, 4)]
    ours = sum(result.relocated_blocks for result, _, _ in runs)
    theirs = sum(drive.relocated for _, drive, _ in runs)
    assert ours == pytest.approx(theirs, rel=0.04)
    for result, drive, _ in runs:
        middle = np.median([age for age, moved in drive.events if not moved]) / result.block_count
        assert result.latencies.quantile_laps(0.5) == pytest.approx(middle, abs=0.08)
