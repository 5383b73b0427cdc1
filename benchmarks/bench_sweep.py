"""How much sooner is a sweep over on two processes than on one core?

Eight replays of Zipf's law by different policies. On one core they are done one after the other in this
process; the two processes of the sweep are started anew in each round, and their start counts.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from benchmarks.side_by_side import Result, Session
from seqstore import sim
from seqstore.sim import workloads
from seqstore.sim.fan_out import cores

PROCESSES = 2


def test_eight_runs_on_two_processes(side_by_side: Session, small: bool) -> None:
    bits = 12 if small else 18
    grid: dict[str, Any] = {
        "source": workloads.zipf(blocks=1 << bits, writes=1 << (bits + 6), alpha=1.0, seed=1),
        "selection": ["greedy", "cost_benefit"],
        "placement": ["single", "separate", "dac", "sepbit"],
    }
    policies = [*itertools.product(grid["selection"], grid["placement"])]
    found: dict[str, list[sim.RunResult]] = {}

    def one_core() -> float:
        found["one core"] = [
            sim.replay(grid["source"], selection=selection, placement=placement)
            for selection, placement in policies
        ]
        return len(policies)

    def two_processes() -> float:
        with ProcessPoolExecutor(PROCESSES, mp_context=get_context("forkserver")) as executor:
            found["two processes"] = list(sim.sweep(grid, executor=executor))
        return len(policies)

    result = Result(
        question="a sweep of 8 runs of 17 million writes", unit="runs/s", ours="two processes",
        against="one core", to_reach=1 / 0.6, note="at most 0.6 of the time",
    )  # fmt: skip
    rounds = 1 if small else 3
    side_by_side.compare(result, {"two processes": two_processes, "one core": one_core}, rounds=rounds)
    if cores() < PROCESSES:
        side_by_side.remark(f"The sweep had {cores()} core alone; its ratio says nothing.")
    assert found["two processes"] == found["one core"]
