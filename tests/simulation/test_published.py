"""Numbers of another simulator, for the same writes, byte for byte.

References
----------
Wang et al., "Separating data via block invalidation time inference for write amplification reduction in
log-structured storage", FAST 2022, and the simulator published with it: garbage proportion 15 %, segments of
2048 blocks, six classes, one segment a cleaning.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from seqstore import sim

BLOCKS = 1 << 18
WRITES = 10 * BLOCKS

Lbas = npt.NDArray[np.int64]


@cache
def uniform() -> Lbas:
    rng = np.random.default_rng(1)
    return np.concatenate([np.arange(BLOCKS), rng.integers(0, BLOCKS, size=WRITES, dtype=np.int64)])


@cache
def zipf() -> Lbas:
    rng = np.random.default_rng(1)
    permutation = rng.permutation(BLOCKS)
    law = np.cumsum(1 / np.arange(1, BLOCKS + 1))
    law /= law[-1]
    ranks = np.searchsorted(law, rng.random(WRITES), side="right")
    return np.concatenate([np.arange(BLOCKS), permutation[ranks]])


def replay(lbas: Lbas, selection: str, placement: str) -> sim.RunResult:
    return sim.replay(
        lbas,
        selection=selection,
        placement=placement,
        space=sim.GarbageProportion(0.15),
        segment_blocks=2048,
        classes=6,
    )


@pytest.mark.parametrize(
    ("writes", "selection", "placement", "published"),
    [
        (uniform, "greedy", "single", 3.2716),
        (zipf, "cost_benefit_sqrt", "sepbit", 2.0123),
        (zipf, "greedy", "dac", 2.1857),
    ],
)
def test_the_same_writes_give_the_same_write_amplification(
    writes: object, selection: str, placement: str, published: float
) -> None:
    assert callable(writes)
    result = replay(writes(), selection, placement)
    assert result.user_blocks == BLOCKS + WRITES
    assert result.live_blocks == BLOCKS
    assert result.write_amplification == pytest.approx(published, rel=0.005)


def test_garbage_stays_at_its_bound() -> None:
    """A segment at most is garbage beyond the share, and none is taken that has less than the share."""
    result = replay(zipf(), "greedy", "sepbit")
    share = 0.15
    steady = result.remanence[len(result.series) // 2 :]
    written = steady["live_blocks"] / (1 - share)
    assert (steady["residue_blocks"] > 0).all()
    segments = result.block_count // 2048
    in_use = (segments - steady["free_segments"]) * 2048
    assert (in_use <= written + (2 + 6) * 2048).all()
    assert sum(result.victims[86:]) == 0 < sum(result.victims)


def test_separating_pays_on_skewed_writes_and_costs_little_on_uniform_ones() -> None:
    skewed = {name: replay(zipf(), "greedy", name).write_amplification for name in ("single", "sepbit")}
    assert skewed["sepbit"] < 0.8 * skewed["single"]
    even = {name: replay(uniform(), "greedy", name).write_amplification for name in ("single", "sepbit")}
    assert even["sepbit"] == pytest.approx(even["single"], rel=0.05)


def test_knowing_the_future_pays_even_where_no_block_is_hot() -> None:
    """What will be written soon lies together, also after it was moved."""
    known, unknown = (replay(uniform(), "greedy", name).write_amplification for name in ("oracle", "single"))
    assert known < 0.87 * unknown
