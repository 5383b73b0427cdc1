"""A sweep on a cluster of Dask workers, one of which is killed in the middle."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from seqstore.errors import SweepError
from seqstore.sim import replay
from seqstore.sim.sweep import sweep
from tests.simulation.test_sweep import LBAS, Noted, greedy, marked

distributed = pytest.importorskip("distributed", reason="dask[distributed] is not installed")
# What the cluster leaves open when it closes is its own affair.
pytestmark = pytest.mark.filterwarnings("default")

RUNS = 12


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    cluster = distributed.LocalCluster(
        n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    )
    with cluster, distributed.Client(cluster) as client:
        yield client


def test_a_worker_is_killed_in_the_middle(client: Any, tmp_path: Path) -> None:
    marks, kept = tmp_path / "marks", tmp_path / "kept"
    sources = [Noted(marks, number, 1_000_000) for number in range(RUNS)]
    workers = client.run(os.getpid)
    ended: list[int] = []

    def kill(done: int, of: int) -> None:
        ended.append(done)
        if done == 2:
            os.kill(min(workers.values()), signal.SIGKILL)

    table = sweep({"source": sources}, executor=client, path=kept, progress=kill)
    assert [result.parameters["source"]["number"] for result in table] == list(range(RUNS))
    assert list(table) == [replay(source) for source in sources]
    assert ended == list(range(RUNS + 1))
    assert len([*kept.iterdir()]) == RUNS
    # The worker was amid a run, which was begun again elsewhere; the test itself replayed each of them once.
    assert len(marked(marks)) > 2 * RUNS
    assert min(workers.values()) not in client.run(os.getpid).values()


def test_the_same_results_as_here(client: Any) -> None:
    grid = {"source": LBAS, "placement": ["separate", "dac"], "classes": [3, 5]}
    expected = [replay(LBAS, placement=name, classes=n) for name in ("separate", "dac") for n in (3, 5)]
    assert list(sweep(grid, executor=client)) == expected


def test_a_function_that_only_this_process_knows(client: Any) -> None:
    def own(segments: NDArray[np.void]) -> int:
        return greedy(segments)

    (result,) = sweep({"source": LBAS, "selection": own}, executor=client)
    assert result.selection == "own"


def test_a_run_that_fails(client: Any, tmp_path: Path) -> None:
    sources = [Noted(tmp_path / "marks", n, trouble="full" if n == 1 else "") for n in range(3)]
    with pytest.raises(SweepError, match="1 of 3 runs failed; run 1 by OutOfSpaceError") as caught:
        sweep({"source": sources}, executor=client)
    assert list(caught.value.table.runs) == [0, 2]
