"""Sweeps: the same results whoever computes them, none lost and none twice, and none computed again."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from seqstore.errors import ConfigError, NotFoundError, OutOfSpaceError, SeqstoreError, SweepError
from seqstore.sim import FixedDrive, GarbageProportion, RunResult, replay, workloads
from seqstore.sim.kept import run_key
from seqstore.sim.sweep import sweep
from seqstore.sim.traces import Trace, TraceInfo, info, write_alibaba

BLOCKS = 2048
LBAS = np.random.default_rng(3).integers(0, BLOCKS, 20_000)
GRID = {
    "source": LBAS,
    "selection": ["greedy", "cost_benefit"],
    "placement": ["single", "sepbit"],
    "space": [FixedDrive(utilization=0.7), GarbageProportion(0.2)],
    "segment_blocks": 64,
}


def greedy(segments: NDArray[np.void]) -> int:
    return int(np.argmin(segments["live_blocks"]))


def one_by_one(grid: dict[str, Any]) -> list[RunResult]:
    """Do the runs of `GRID` in this process, in the order that its last names change fastest."""
    return [
        replay(LBAS, selection=selection, placement=placement, space=space, segment_blocks=64)
        for selection in grid["selection"]
        for placement in grid["placement"]
        for space in grid["space"]
    ]


@dataclass(frozen=True)
class Noted:
    """Writes that leave a line in a file whenever they are replayed; some wait, fail or kill the process."""

    marks: Path
    number: int
    writes_count: int = 4000
    trouble: str = ""
    name = "noted"

    @property
    def parameters(self) -> dict[str, Any]:
        return {"number": self.number, "writes": self.writes_count}

    @property
    def blocks(self) -> int:
        return 64 if self.trouble == "full" else BLOCKS

    @property
    def volumes(self) -> dict[tuple[int, int], int]:
        return {(1, 1): BLOCKS}

    def writes(self) -> Iterator[NDArray[np.uint64]]:
        with self.marks.open("a") as file:
            file.write(f"{self.number}\n")
        if self.trouble == "dies" or (self.trouble == "dies once" and not self._died()):
            os.kill(os.getpid(), signal.SIGKILL)
        while self.trouble == "waits" and not self.marks.with_name("go").exists():
            time.sleep(0.01)
        draws = np.random.default_rng(self.number)
        yield np.arange(BLOCKS, dtype=np.uint64)
        for _ in range(0, self.writes_count, 1000):
            yield draws.integers(0, BLOCKS, 1000, dtype=np.uint64)

    def _died(self) -> bool:
        return marked(self.marks).count(self.number) > 1

    def batches(self) -> Iterator[NDArray[np.void]]:
        raise NotImplementedError


def marked(marks: Path) -> list[int]:
    """Read the numbers of the runs that were begun."""
    return [int(line) for line in marks.read_text().split()] if marks.exists() else []


class TestTheSameResults:
    def test_in_processes_by_default(self) -> None:
        table = sweep(GRID)
        assert list(table) == one_by_one(GRID)
        assert list(table.runs) == list(range(8))

    def test_in_threads(self) -> None:
        with ThreadPoolExecutor(3) as executor:
            assert list(sweep(GRID, executor=executor)) == one_by_one(GRID)
            assert executor.submit(int, "5").result() == 5  # it is the caller's, and still open

    def test_in_a_pool_of_the_callers(self) -> None:
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
            assert list(sweep(GRID, executor=executor)) == one_by_one(GRID)

    def test_whatever_ends_first(self, tmp_path: Path) -> None:
        sources = [Noted(tmp_path / "marks", n, 400_000 if n == 0 else 1000) for n in range(6)]
        ended = []
        with ThreadPoolExecutor(2) as executor:
            table = sweep(
                {"source": sources}, executor=executor, progress=lambda done, of: ended.append((done, of))
            )
        assert [result.parameters["source"]["number"] for result in table] == list(range(6))
        assert ended == [(done, 6) for done in range(7)]

    def test_a_selection_of_ones_own(self) -> None:
        (own,) = sweep({"source": LBAS, "selection": greedy, "segment_blocks": 64})
        assert own == replay(LBAS, selection=greedy, segment_blocks=64)
        assert own.relocated_blocks > 0

    def test_in_a_script(self, tmp_path: Path) -> None:
        script = tmp_path / "script.py"
        script.write_text(
            "import numpy\nfrom seqstore.sim.sweep import sweep\n"
            "if __name__ == '__main__':\n"
            "    lbas = numpy.arange(3000) % 1000\n"
            "    print(len(sweep({'source': lbas, 'seed': range(3)})))\n"
        )
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
        assert done.stdout == "3\n"

    def test_a_script_without_its_guard_ends_with_an_error(self, tmp_path: Path) -> None:
        script = tmp_path / "script.py"
        script.write_text(
            "import numpy\nfrom seqstore.sim.sweep import sweep\n"
            "sweep({'source': numpy.arange(3000) % 1000, 'seed': range(400)})\n"
        )
        done = subprocess.run(
            [sys.executable, script], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode != 0
        assert "SweepError: 400 of 400 runs failed" in done.stderr


class TestTheGrid:
    def test_the_last_name_changes_fastest(self) -> None:
        with ThreadPoolExecutor(2) as executor:
            grid = {"seed": [5, 6], "source": LBAS[:3000], "choices": range(1, 3), "window": np.array([0.5])}
            table = sweep(grid, executor=executor)
        got = [(r.parameters["seed"], r.parameters["choices"], r.parameters["window"]) for r in table]
        assert got == [(5, 1, 0.5), (5, 2, 0.5), (6, 1, 0.5), (6, 2, 0.5)]

    def test_a_list_of_runs(self) -> None:
        runs = [{"source": LBAS, "selection": "fifo"}, {"source": LBAS[:5000], "placement": "dac"}]
        with ThreadPoolExecutor(2) as executor:
            assert list(sweep(runs, executor=executor)) == [
                replay(LBAS, selection="fifo"),
                replay(LBAS[:5000], placement="dac"),
            ]

    @pytest.mark.parametrize(
        ("grid", "message"),
        [
            ([], "holds no run"),
            ({"source": LBAS, "seed": []}, "holds no run"),
            ({"selection": ["greedy"]}, "run 0 has no source"),
            (
                {"source": LBAS, "selecton": ["greedy"]},
                "run 0 has selecton; a run has source and, of selection",
            ),
            ({"source": LBAS, "progress": print}, "run 0 has progress"),
            ({"source": LBAS, "selection": ["greedy", "greedily"]}, "run 1: selection is 'greedily'"),
            ({"source": [LBAS, 7]}, "run 1: 7 is no array, workload, trace or path"),
        ],
    )
    def test_what_cannot_be_run_is_refused_before_anything_is(
        self, grid: Any, message: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            sweep(grid, path=tmp_path / "kept")
        assert not (tmp_path / "kept").exists()

    def test_a_trace_by_its_path_is_surveyed_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "trace.csv"
        write_alibaba(path, workloads.uniform(blocks=500, writes=3000, seed=2))
        expected = [replay(path, selection=selection) for selection in ("greedy", "fifo")]
        surveyed: list[Trace] = []

        def survey(trace: Trace) -> TraceInfo:
            surveyed.append(trace)
            return info(trace)

        monkeypatch.setattr("seqstore.sim.traces.trace.info", survey)
        grid = {"source": [str(path), path], "selection": ["greedy", "fifo"], "format": "alibaba"}
        with ThreadPoolExecutor(2) as executor:
            assert list(sweep(grid, executor=executor)) == [*expected, *expected]
        assert len(surveyed) == 1
        assert list(sweep({**grid, "source": path})) == expected  # in other processes

    def test_a_trace_that_is_not_there(self) -> None:
        with pytest.raises(NotFoundError):
            sweep({"source": ["no-such-trace.csv"]})


class TestFailures:
    def test_the_others_are_run(self, tmp_path: Path) -> None:
        marks = tmp_path / "marks"
        sources = [Noted(marks, n, trouble="full" if n in {1, 4} else "") for n in range(6)]
        with ThreadPoolExecutor(2) as executor, pytest.raises(SweepError) as caught:
            sweep({"source": sources}, executor=executor, path=tmp_path / "kept")
        assert list(caught.value.failures) == [1, 4]
        assert all(isinstance(error, OutOfSpaceError) for error in caught.value.failures.values())
        assert list(caught.value.table.runs) == [0, 2, 3, 5]
        assert str(caught.value).startswith("2 of 6 runs failed; run 1 by OutOfSpaceError: ")
        assert len([*(tmp_path / "kept").iterdir()]) == 4
        copy = pickle.loads(pickle.dumps(caught.value))
        assert list(copy.failures) == [1, 4]
        assert copy.table == caught.value.table

    def test_what_cannot_be_sent(self) -> None:
        local: Any = lambda segments: 0  # noqa: E731 (no pickle knows it)
        with pytest.raises(SweepError, match=r"1 of 2 runs failed; run 0 by .*pickle"):
            sweep({"source": LBAS, "selection": [local, "greedy"]})

    def test_a_run_whose_process_died_is_run_again(self, tmp_path: Path) -> None:
        marks = tmp_path / "marks"
        sources = [Noted(marks, n, trouble="dies once" if n == 2 else "") for n in range(6)]
        ended: list[int] = []
        table = sweep({"source": sources}, progress=lambda done, of: ended.append(done))
        assert [result.parameters["source"]["number"] for result in table] == list(range(6))
        assert marked(marks).count(2) == 2
        assert ended == list(range(7))

    def test_a_run_that_kills_its_process_costs_no_other(self, tmp_path: Path) -> None:
        marks = tmp_path / "marks"
        sources = [Noted(marks, n, trouble="dies" if n == 0 else "") for n in range(8)]
        with pytest.raises(SweepError, match="1 of 8 runs failed; run 0 by BrokenProcessPool") as caught:
            sweep({"source": sources})
        assert list(caught.value.table.runs) == list(range(1, 8))
        assert marked(marks).count(0) == 2

    def test_a_broken_pool_of_the_callers(self, tmp_path: Path) -> None:
        sources = [Noted(tmp_path / "marks", n, trouble="dies") for n in range(3)]
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
            for _ in range(2):  # breaking, and broken
                with pytest.raises(SweepError, match="3 of 3 runs failed"):
                    sweep({"source": sources}, executor=executor)


class TestResuming:
    def run(self, sources: list[Noted], path: Path, **options: Any) -> list[RunResult]:
        with ThreadPoolExecutor(1) as executor:
            return list(sweep({"source": sources, **options}, executor=executor, path=path))

    def test_only_what_is_missing_is_run(self, tmp_path: Path) -> None:
        marks, kept = tmp_path / "marks", tmp_path / "deep" / "kept"
        sources = [Noted(marks, n) for n in range(5)]
        before = self.run(sources[1:4], kept)
        assert self.run(sources, kept) == [replay(s) for s in sources]
        assert self.run(sources, kept)[1:4] == before
        assert sorted(marked(marks)) == sorted([1, 2, 3, 0, 4, *range(5)])  # range(5): the replays above

    def test_an_interrupted_sweep_goes_on(self, tmp_path: Path) -> None:
        marks, kept, go = tmp_path / "marks", tmp_path / "kept", tmp_path / "go"
        grid = {"source": [Noted(marks, n, trouble="waits" if n == 2 else "") for n in range(6)]}

        def interrupt(done: int, of: int) -> None:
            if done == 2:
                raise KeyboardInterrupt

        with ThreadPoolExecutor(1) as executor:
            with pytest.raises(KeyboardInterrupt):
                sweep(grid, executor=executor, path=kept, progress=interrupt)
            go.touch()
        assert marked(marks) == [0, 1, 2]  # the others were cancelled
        ended: list[int] = []
        with ThreadPoolExecutor(1) as executor:
            table = sweep(grid, executor=executor, path=kept, progress=lambda done, of: ended.append(done))
        assert ended == [2, 3, 4, 5, 6]
        assert marked(marks) == [0, 1, 2, 2, 3, 4, 5]
        assert list(table) == [replay(source) for source in grid["source"]]

    def test_each_file_is_a_result(self, tmp_path: Path) -> None:
        (result,) = self.run([Noted(tmp_path / "marks", 0)], tmp_path / "kept")
        (file,) = (tmp_path / "kept").iterdir()
        assert file.suffix == ".json"
        assert RunResult.from_json(file.read_text()) == result

    def test_something_else_in_its_place(self, tmp_path: Path) -> None:
        source = Noted(tmp_path / "marks", 0)
        self.run([source], tmp_path / "kept")
        (file,) = (tmp_path / "kept").iterdir()
        file.write_text("{}")
        with pytest.raises(ConfigError, match=rf"{file.name}: .* remove the file"):
            self.run([source], tmp_path / "kept")

    def test_a_crash_leaves_no_half_result(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(descriptor: int) -> None:
            raise OSError(5, "no such luck")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="no such luck"):
            self.run([Noted(tmp_path / "marks", 0)], tmp_path / "kept")
        assert [*(tmp_path / "kept").iterdir()] == []


class TestKeys:
    def test_change_with_what_changes_a_result(self) -> None:
        policies = [
            {"selection": "greedy", "seed": 0, "space": FixedDrive(utilization=0.8)},
            {"selection": "greedy", "seed": 1, "space": FixedDrive(utilization=0.8)},
            {"selection": "fifo", "seed": 0, "space": FixedDrive(utilization=0.8)},
            {"selection": "fifo", "seed": 0, "space": FixedDrive(utilization=0.81)},
            {"selection": "fifo", "seed": 0, "space": GarbageProportion(0.8)},
            {"selection": greedy, "seed": 0, "space": GarbageProportion(0.8)},
        ]
        other = LBAS.copy()
        other[-1] ^= 1
        keys = [run_key(source, policy) for policy in policies for source in (LBAS, other, LBAS[:-1])]
        assert len({*keys}) == len(keys)

    def test_do_not_change_with_what_changes_none(self, tmp_path: Path) -> None:
        assert run_key(LBAS, {"seed": 1}) == run_key(LBAS.astype(np.uint32), {"seed": np.int32(1)})
        grid = {"source": Noted(tmp_path / "marks", 0)}
        with ThreadPoolExecutor(1) as executor:
            sweep(grid, executor=executor, path=tmp_path / "kept")
            sweep({**grid, "seed": 0, "selection": "greedy"}, executor=executor, path=tmp_path / "kept")
        assert len(marked(tmp_path / "marks")) == 1

    def test_a_file_goes_in_by_its_content(self, tmp_path: Path) -> None:
        @dataclass(frozen=True)
        class Filed:
            path: Path
            name = "filed"
            blocks = 5
            volumes = None

            @property
            def parameters(self) -> dict[str, Any]:
                return {"path": str(self.path), "block_size": 512}

            def batches(self) -> Iterator[NDArray[np.void]]:
                raise NotImplementedError

        here, there = Filed(tmp_path / "here"), Filed(tmp_path / "there")
        here.path.write_text("content")
        there.path.write_text("content")
        assert run_key(here, {}) == run_key(there, {})
        there.path.write_text("other content")
        assert run_key(here, {}) != run_key(there, {})

    def test_are_the_same_in_every_process(self) -> None:
        script = (
            "import numpy; from seqstore.sim import FixedDrive; from seqstore.sim.kept import run_key;"
            "from tests.simulation.test_sweep import greedy;"
            "print(run_key(numpy.arange(9), {'space': FixedDrive(utilization=0.5), 'selection': greedy}))"
        )
        environment = {**os.environ, "PYTHONHASHSEED": "5", "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        here = run_key(np.arange(9), {"space": FixedDrive(utilization=0.5), "selection": greedy})
        assert done.stdout.strip() == here, done.stderr

    def test_what_may_change_unseen_is_refused(self) -> None:
        held = [1]

        def closure(segments: NDArray[np.void]) -> int:
            return held[0]

        for selection in (closure, partial(greedy), eval("lambda segments: 0"), object()):
            with pytest.raises(ConfigError, match="cannot be known again"):
                run_key(LBAS, {"selection": selection})


def test_the_error_is_one_of_ours() -> None:
    assert issubclass(SweepError, SeqstoreError)


def test_results_are_plain_json(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as executor:
        (result,) = sweep({"source": LBAS, "seed": np.array([4])}, executor=executor)
    assert json.loads(result.to_json())["parameters"]["seed"] == 4
