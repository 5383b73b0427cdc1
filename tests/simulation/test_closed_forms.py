"""Write amplification that mathematics knows, against that of replays in their steady state.

The formulas are solved here and compared with published values before they are compared with the simulator,
so that neither a slip in a formula nor one in the engine goes unnoticed.

References
----------
Robinson, "Analysis of steady-state segment storage utilizations in a log-structured file system with
least-utilized segment cleaning", ACM SIGOPS Operating Systems Review 30 (1996).

Desnoyers, "Analytic modeling of SSD write performance", SYSTOR 2012: circular, greedy, uniform, hot and cold.

Van Houdt, "A mean field model for a class of garbage collection algorithms in flash-based solid state
drives", SIGMETRICS 2013: greedy for a finite number of blocks a segment.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from seqstore import sim
from seqstore.sim import workloads

HOT, RATE = 0.2, 0.8
UTILIZATIONS = (0.7, 0.8, 0.9)
UNIFORM = ((1.0, 1.0),)
MIXED = ((HOT, RATE), (1 - HOT, 1 - RATE))

CIRCULAR = {0.7: 1.8762, 0.8: 2.6927, 0.9: 5.1787}
HOT_COLD = {0.7: 2.1974, 0.8: 3.0345, 0.9: 5.5378}
GREEDY = {
    (64, 0.7): 1.8333,
    (64, 0.8): 2.5993,
    (64, 0.9): 4.8213,
    (256, 0.7): 1.8652,
    (256, 0.8): 2.6684,
    (256, 0.9): 5.0832,
}
SEPARATE_LOGS = 1.9975


# ---- formulas ---------------------------------------------------------------------------------------


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where an ascending function is 0."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if function(middle) > 0 else (middle, high)
    return low


def circular(utilization: float, classes: tuple[tuple[float, float], ...] = UNIFORM) -> float:
    """Write amplification of a circular log.

    A block that is written at a rate is put into the log again when it is written, or after a lap: every
    (1 - exp(-rate lap)) / rate on average. All blocks together fill the drive in a lap.

    Parameters
    ----------
    utilization : float
    classes : tuple of (share of the blocks, share of the writes)
    """
    ratio = 1 / utilization

    def surplus(lap: float) -> float:
        return sum(rate * lap / -math.expm1(-lap * rate / share) for share, rate in classes) - ratio

    return ratio / root(surplus, 1e-9, ratio)


def lambert(argument: float) -> float:
    """The principal branch of Lambert's W, between -1/e and 0."""
    return root(lambda w: w * math.exp(w) - argument, -1, 0)


def greedy(blocks: int, utilization: float) -> float:
    """Write amplification of greedy cleaning in the limit of many segments of that many blocks.

    Segments lose their live blocks one after the other, at a rate in proportion to how many they still have,
    down to a number at which they are taken; at that number some wait, and those that lose one more
    meanwhile are taken at once. ``flow`` are the segments that pass each step, for a lap of user writes.
    """
    live = utilization * blocks
    harmonic = 0.0  # of the steps from `lowest` + 1 to `blocks`
    for lowest in range(blocks - 1, -1, -1):
        harmonic += 1 / (lowest + 1)
        flow = (live - lowest) / ((blocks - lowest) - lowest * harmonic)
        waiting = 1 - flow * harmonic
        if flow > 0 and -1e-9 <= waiting <= flow / max(lowest, 1e-9) + 1e-9:
            return flow / utilization
    raise AssertionError("no segment can be filled so far")


def split(utilization: float) -> tuple[float, tuple[float, float]]:
    """Find the best split of the spare space among a hot log and a cold one.

    Returns
    -------
    write_amplification : float
    utilizations : (float, float)
        Of the hot log and of the cold one.
    """
    spare = 1 / utilization - 1
    candidates = []
    for step in range(1, 2000):
        part = step / 2000
        utilizations = HOT / (HOT + part * spare), (1 - HOT) / (1 - HOT + (1 - part) * spare)
        both = RATE * circular(utilizations[0]) + (1 - RATE) * circular(utilizations[1])
        candidates.append((both, utilizations))
    return min(candidates)


@pytest.mark.parametrize("utilization", UTILIZATIONS)
def test_the_formulas_give_what_is_published(utilization: float) -> None:
    ratio = 1 / utilization
    closed = ratio / (ratio + lambert(-ratio * math.exp(-ratio)))
    assert circular(utilization) == pytest.approx(closed, rel=1e-9)
    assert circular(utilization) == pytest.approx(CIRCULAR[utilization], abs=5e-5)
    assert circular(utilization, MIXED) == pytest.approx(HOT_COLD[utilization], abs=5e-5)
    for blocks in (64, 256):
        assert greedy(blocks, utilization) == pytest.approx(GREEDY[blocks, utilization], abs=5e-5)


def test_the_best_split_is_known() -> None:
    assert split(0.8)[0] == pytest.approx(SEPARATE_LOGS, abs=5e-5)


# ---- the simulator ----------------------------------------------------------------------------------


def steady(
    source: sim.Source, utilization: float, segment_blocks: int, selection: str, share: float = 0.5
) -> float:
    """Write amplification of the last part of a replay."""
    result = sim.replay(
        source,
        selection=selection,
        space=sim.FixedDrive(utilization=utilization),
        segment_blocks=segment_blocks,
    )
    return result.steady_amplification(share)


def uniform_writes(blocks: int, laps: int, seed: int = 7) -> sim.Source:
    return workloads.uniform(blocks, laps * blocks, seed=seed)


def hot_cold_writes(blocks: int, laps: int, seed: int = 7) -> sim.Source:
    return workloads.hot_cold(blocks, laps * blocks, hot=HOT, rate=RATE, seed=seed)


@pytest.mark.parametrize("utilization", UTILIZATIONS)
def test_circular_uniform(utilization: float) -> None:
    found = steady(uniform_writes(1 << 19, 12), utilization, 16, "fifo")
    assert found == pytest.approx(CIRCULAR[utilization], rel=0.002)


@pytest.mark.parametrize("utilization", UTILIZATIONS)
def test_circular_hot_cold(utilization: float) -> None:
    found = steady(hot_cold_writes(1 << 18, 16), utilization, 64, "fifo")
    assert found == pytest.approx(HOT_COLD[utilization], rel=0.005)


@pytest.mark.parametrize(("segment_blocks", "utilization"), GREEDY)
def test_greedy_uniform(segment_blocks: int, utilization: float) -> None:
    """The formula is for many segments: with few of them greedy cleaning does better than that."""
    blocks = 1 << 20 if (segment_blocks, utilization) == (256, 0.9) else 1 << 19
    found = steady(uniform_writes(blocks, 8), utilization, segment_blocks, "greedy")
    assert found == pytest.approx(GREEDY[segment_blocks, utilization], rel=0.005)


def test_hot_and_cold_in_logs_of_their_own() -> None:
    """Each takes its part of the spare space; the writes that both take together count."""
    _, (hot, cold) = split(0.8)
    blocks = 1 << 18
    both = RATE * steady(uniform_writes(round(HOT * blocks), 40), hot, 16, "fifo")
    both += (1 - RATE) * steady(uniform_writes(round((1 - HOT) * blocks), 12), cold, 64, "fifo")
    assert both == pytest.approx(SEPARATE_LOGS, rel=0.005)


@pytest.mark.parametrize(("selection", "placement"), [("greedy", "single"), ("fifo", "separate")])
def test_what_is_never_overwritten_is_never_moved_needlessly(selection: str, placement: str) -> None:
    """Written in order again and again, segments are dead as a whole when their turn comes."""
    result = sim.replay(
        workloads.sequential(1 << 14, 8 << 14), selection=selection, placement=placement, segment_blocks=64
    )
    assert result.write_amplification == 1
    assert result.victims[0] == sum(result.victims) > 1000


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("utilization", UTILIZATIONS)
def test_the_whole_table_on_large_drives(utilization: float, seed: int) -> None:
    """Noise and the effect of few segments go down with the size of the drive, so that less is allowed."""
    blocks = 1 << 22
    for segment_blocks in (16, 64):
        found = steady(uniform_writes(blocks, 12, seed), utilization, segment_blocks, "fifo")
        assert found == pytest.approx(CIRCULAR[utilization], rel=0.001)
    found = steady(hot_cold_writes(blocks, 16, seed), utilization, 64, "fifo")
    assert found == pytest.approx(HOT_COLD[utilization], rel=0.001)
    for segment_blocks in (64, 256):
        found = steady(uniform_writes(blocks, 10, seed), utilization, segment_blocks, "greedy")
        assert found == pytest.approx(GREEDY[segment_blocks, utilization], rel=0.002)
