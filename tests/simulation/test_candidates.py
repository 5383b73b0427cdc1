"""What selections keep of the segments that may be cleaned, under writes, trims and deletions in any order.

The deep check compares it with the segments themselves: who is a candidate, how they are sorted, how far the
window reaches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqstore import OutOfSpaceError
from seqstore.cleaning import PLACEMENTS, SELECTIONS, Policy
from seqstore.sim import OPERATION_DTYPE, FixedDrive, GarbageProportion, Kind, replay
from seqstore.sim.simulation import Simulation

BLOCKS = 600
VOLUMES = [(1, 1), (1, 2), (2, 1)]

POLICIES = st.builds(
    Policy,
    selection=st.sampled_from(SELECTIONS),
    placement=st.sampled_from([name for name in PLACEMENTS if name != "oracle"]),
    classes=st.sampled_from([4, 6]),
    choices=st.sampled_from([1, 2, 10, 100]),
    window=st.sampled_from([0.001, 0.05, 0.3, 0.9, 1.0]),
    seed=st.integers(0, 3),
)
SPACES = st.sampled_from(
    [
        FixedDrive(utilization=0.5),
        FixedDrive(utilization=0.95),
        FixedDrive(utilization=0.8, free_segments=12),
        GarbageProportion(0.1),
        GarbageProportion(0.6),
    ]
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from([Kind.WRITE, Kind.WRITE, Kind.TRIM, Kind.DELETE]),
        st.sampled_from(VOLUMES),
        st.integers(0, BLOCKS // 3 - 1),
        st.sampled_from([1, 16, 50, BLOCKS // 3]),
        st.integers(0, 5),
    ),
    min_size=10,
    max_size=40,
)


def operation(kind: Kind, volume: tuple[int, int], lba: int, count: int) -> np.ndarray[Any, Any]:
    row = np.zeros(1, OPERATION_DTYPE)
    row["kind"], row["lba"], row["count"] = kind, lba, count
    row["tenant"], row["volume"] = volume
    return row


@given(policy=POLICIES, space=SPACES, steps=STEPS, segment_blocks=st.sampled_from([4, 16]))
def test_the_deep_check_finds_nothing(policy: Policy, space: Any, steps: Any, segment_blocks: int) -> None:
    size = BLOCKS // 3
    with Simulation(
        policy, space, blocks=BLOCKS, segment_blocks=segment_blocks, block_size=512
    ) as simulation:
        for volume in VOLUMES:
            simulation.create(*volume, size)
        for kind, volume, lba, count, repeats in steps:
            if kind == Kind.DELETE:
                simulation.run(operation(Kind.DELETE, volume, 0, 0))
                simulation.run(operation(Kind.CREATE, volume, size, 0))
                simulation.engine.check()
                continue
            count = min(count, size - lba)  # noqa: PLW2901
            for _ in range(1 + repeats * (kind == Kind.WRITE)):
                simulation.run(operation(kind, volume, lba, count))
                simulation.engine.check()


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("window", [0.01, 0.5, 1.0])
def test_cold_data_at_the_start_of_the_log_block_nobody(selection: str, window: float) -> None:
    """Segments in which nothing has died gain nothing; where a window shows no others, it moves on."""
    rng = np.random.default_rng(1)
    lbas = np.concatenate([np.arange(4096), rng.integers(3900, 4096, 20_000)])
    result = replay(lbas, selection=selection, window=window, segment_blocks=64)
    assert result.live_blocks == 4096
    if selection == "windowed_greedy":
        narrow = replay(lbas, selection="fifo", segment_blocks=64).write_amplification
        assert 1 <= result.write_amplification <= narrow
    elif selection != "fifo":
        assert result.write_amplification < 1.3


def test_a_window_of_everything_is_greedy_and_one_of_nothing_is_fifo() -> None:
    rng = np.random.default_rng(1)
    lbas = np.concatenate([np.arange(8192), rng.integers(0, 8192, 80_000)])

    def run(**options: Any) -> float:
        return replay(lbas, segment_blocks=64, **options).write_amplification

    assert run(selection="windowed_greedy", window=1.0) == pytest.approx(run(selection="greedy"), rel=0.01)
    assert run(selection="windowed_greedy", window=1e-6) == pytest.approx(run(selection="fifo"), rel=1e-3)
    between = run(selection="windowed_greedy", window=0.05)
    assert run(selection="greedy") < between < run(selection="fifo")


def test_one_choice_is_random_and_many_are_greedy() -> None:
    """Cleaning at random moves as much as the circular log, where all blocks are as hot as each other."""
    rng = np.random.default_rng(1)
    lbas = np.concatenate([np.arange(1 << 15), rng.integers(0, 1 << 15, 1 << 19)])

    def run(**options: Any) -> float:
        return replay(lbas, segment_blocks=64, **options).steady_amplification()

    few, many = (run(selection="d_choices", choices=choices) for choices in (2, 300))
    assert many == pytest.approx(run(selection="greedy"), rel=0.01)
    assert many < few < run(selection="d_choices", choices=1)


def test_a_segment_that_died_as_it_was_sealed_is_found() -> None:
    """Its age is 0, and it has no live block: its benefit is nothing, or without bound."""
    for selection in SELECTIONS:
        policy = Policy(selection=selection, placement="separate")
        with Simulation(
            policy, FixedDrive(utilization=0.9), blocks=64, segment_blocks=16, block_size=512
        ) as simulation:
            simulation.create(1, 1, 64)
            for _ in range(60):
                for first in range(0, 64, 16):
                    simulation.run(operation(Kind.WRITE, (1, 1), first, 16))
                simulation.run(operation(Kind.TRIM, (1, 1), 0, 64))
                simulation.engine.check()


def test_running_out_of_space_changes_nothing() -> None:
    with Simulation(
        Policy(selection="greedy", placement="dac"),
        FixedDrive(utilization=0.9),
        blocks=100,
        segment_blocks=16,
        block_size=512,
    ) as simulation:
        simulation.create(1, 1, 1000)
        simulation.run(operation(Kind.WRITE, (1, 1), 0, 100))
        before = simulation.engine.counters()
        with pytest.raises(OutOfSpaceError):
            simulation.run(operation(Kind.WRITE, (1, 1), 0, 1000))
        assert simulation.engine.counters() == before
        simulation.engine.check()
