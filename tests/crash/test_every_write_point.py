"""Every write point: the power goes at each write of the workloads, with each fate of what is unsynced."""

from __future__ import annotations

import pytest

from tests.crash.explore import CrashError, Effort, Explorer, format_path
from tests.crash.workloads import NAMES, workload

SAMPLE = Effort(subsets=3, tears=3, sectors=1, again=1, moments=16)
THOROUGH = Effort(subsets=6, sectors=8, again=8, depth=3)


def explore(name: str, effort: Effort, seed: int) -> None:
    chosen = workload(name)
    explorer = Explorer(chosen.core, chosen.shape, chosen.script.ops)
    try:
        tally = explorer.explore(effort, seed)
    except CrashError as error:
        command = f"python -m tests.crash {name} {format_path(error.path)}"
        pytest.fail(f"{error}\nrepeat with: {command}", pytrace=False)
    assert tally.cuts > 2 * min(tally.writes, effort.moments)
    print(f"{name}: {tally}")  # noqa: T201 (pytest -rP shows it)


@pytest.mark.invariant("I2")
@pytest.mark.parametrize("name", NAMES)
def test_the_store_comes_back(name: str) -> None:
    explore(name, SAMPLE, seed=1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", NAMES)
def test_the_store_comes_back_from_many_cuts(name: str, seed: int) -> None:
    explore(name, THOROUGH, seed)
