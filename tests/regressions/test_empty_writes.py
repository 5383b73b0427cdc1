"""Writes of nothing let the cleaner run again and again, until it had no free segment left to move to."""

from __future__ import annotations

import numpy as np

from seqstore import sim
from seqstore.cleaning import Policy
from seqstore.sim.simulation import Simulation


def test_under_a_bound_on_garbage() -> None:
    policy = Policy(selection="greedy", placement="dac", classes=4)
    space = sim.GarbageProportion(0.05)
    with Simulation(policy, space, blocks=2000, segment_blocks=16, block_size=4096) as simulation:
        simulation.create(1, 1, 2000)
        volume = simulation.only_volume()
        volume._write_blocks(np.arange(2000, dtype=np.uint64), 2000, None)
        rng = np.random.default_rng(1)
        for _ in range(40):
            volume._write_blocks(int(rng.integers(0, 1500)), 500, None)  # the cleaner is far behind now
            before = simulation.engine.counters()["cleaned_segments"]
            for _ in range(20):
                volume._write_blocks(0, 0, None)
            assert simulation.engine.counters()["cleaned_segments"] == before
        simulation.engine.check()
