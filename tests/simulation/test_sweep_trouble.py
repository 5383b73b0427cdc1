"""Sweeps in bad company: executors that refuse, parents that are killed, folders that hold something else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from seqstore.errors import ConfigError, SweepError
from seqstore.sim import replay, workloads
from seqstore.sim.kept import run_key
from seqstore.sim.sweep import sweep, sweep_volumes
from seqstore.sim.traces import open_trace
from tests.simulation.test_sweep import LBAS, Noted, greedy, marked

ROOT = Path(__file__).resolve().parents[2]

Choose = Callable[[NDArray[np.void]], int]


def with_default(rank: int) -> Choose:
    """Two functions of the same text that choose differently."""

    def choose(segments: NDArray[np.void], rank: int = rank) -> int:
        return min(rank, len(segments) - 1)

    return choose


def misaligned_trace(path: Path, requests: int = 3000) -> Path:
    """Of two volumes; every request of the first is misaligned, and none of the second."""
    lines = [f"{n % 2},W,{n % 500 * 4096 + 512 * (1 - n % 2)},4096,{n}" for n in range(requests)]
    path.write_text("\n".join(lines))
    return path


class TestExecutors:
    def test_one_that_was_shut_down(self) -> None:
        executor = ThreadPoolExecutor(1)
        executor.shutdown()
        with pytest.raises(SweepError, match=r"2 of 2 runs failed; run 0 by RuntimeError: .*shutdown"):
            sweep({"source": LBAS, "seed": [1, 2]}, executor=executor)

    def test_one_that_cannot_send_a_run(self) -> None:
        class Picky(ThreadPoolExecutor):
            def submit(self, call: Any, /, *arguments: Any, **options: Any) -> Any:
                if arguments[0].options["seed"] == 1:
                    raise TypeError("cannot be sent")
                return super().submit(call, *arguments, **options)

        with Picky(2) as executor, pytest.raises(SweepError, match="1 of 3 runs failed; run 1") as caught:
            sweep({"source": LBAS, "seed": [0, 1, 2]}, executor=executor)
        assert list(caught.value.table.runs) == [0, 2]

    def test_threads_do_not_share_what_a_trace_has_counted(self, tmp_path: Path) -> None:
        path = misaligned_trace(tmp_path / "trace.csv", 20_000)
        trace = open_trace(path)
        with ThreadPoolExecutor(4) as executor:
            table = sweep({"source": trace, "seed": range(12)}, executor=executor)
        assert [result.misaligned for result in table] == [10_000] * 12
        assert list(table)[5] == replay(path, seed=5)

    def test_runs_that_are_equal(self, tmp_path: Path) -> None:
        with ThreadPoolExecutor(2) as executor:
            grid = {"source": LBAS, "seed": [1, 1, 2, 1]}
            first, second = (sweep(grid, executor=executor, path=tmp_path) for _ in range(2))
        assert list(first.runs) == [0, 1, 2, 3]
        assert list(first) == list(second) == [replay(LBAS, seed=seed) for seed in (1, 1, 2, 1)]
        assert len([*tmp_path.iterdir()]) == 2


SCRIPT = """
import sys
from pathlib import Path
from seqstore.sim import sweep
from tests.simulation.test_sweep import Noted

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    sources = [Noted(folder / "marks", n, trouble="waits" if n > 2 else "") for n in range(6)]
    sweep({"source": sources}, path=folder / "kept", progress=lambda done, of: print(done, flush=True))
"""


def test_a_sweep_that_is_killed_leaves_no_process_and_goes_on(tmp_path: Path) -> None:
    script, marks = tmp_path / "script.py", tmp_path / "marks"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    with subprocess.Popen(
        [sys.executable, script, tmp_path], stdout=subprocess.PIPE, env=environment, start_new_session=True
    ) as parent:
        assert parent.stdout is not None
        while parent.stdout.readline() != b"3\n":
            assert parent.poll() is None
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    for _ in range(1000):
        try:
            os.killpg(parent.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.01)
    else:
        os.killpg(parent.pid, signal.SIGKILL)
        pytest.fail("workers outlived the process that waited for them")
    marks.with_name("go").touch()
    before = marked(marks)
    sources = [Noted(marks, n, trouble="waits" if n > 2 else "") for n in range(6)]
    with ThreadPoolExecutor(1) as executor:
        table = sweep({"source": sources}, executor=executor, path=tmp_path / "kept")
    assert marked(marks)[len(before) :] == [3, 4, 5]
    assert list(table) == [replay(source) for source in sources]


class TestFolders:
    def test_two_sweeps_at_once(self, tmp_path: Path) -> None:
        grid = {"source": LBAS, "seed": range(8), "selection": "d_choices"}
        tables: list[Any] = []

        def run() -> None:
            with ThreadPoolExecutor(2) as executor:
                tables.append(sweep(grid, executor=executor, path=tmp_path))

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert list(tables[0]) == list(tables[1])
        assert [file.suffix for file in tmp_path.iterdir()] == [".json"] * 8

    @pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"", b"[" * 200_000, b"null", b"{", None])
    def test_something_else_in_place_of_a_result(self, tmp_path: Path, content: bytes | None) -> None:
        with ThreadPoolExecutor(1) as executor:
            sweep({"source": LBAS}, executor=executor, path=tmp_path)
            (file,) = tmp_path.iterdir()
            if content is None:
                file.unlink()
                file.mkdir()
            else:
                file.write_bytes(content)
            with pytest.raises(ConfigError, match=rf"{file.name}: .* remove the file"):
                sweep({"source": LBAS}, executor=executor, path=tmp_path)

    def test_a_file_in_place_of_the_folder(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.touch()
        with pytest.raises(ConfigError, match="is no folder"):
            sweep({"source": LBAS}, path=path)

    def test_a_run_that_cannot_be_known_again_makes_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be known again"):
            sweep({"source": LBAS, "selection": lambda segments: 0}, path=tmp_path / "kept")
        assert not (tmp_path / "kept").exists()


class TestKeys:
    def test_functions_that_share_a_line_are_refused(self) -> None:
        several = [lambda segments: 0, lambda segments: len(segments) - 1]
        for selection in several:
            with pytest.raises(ConfigError, match="that has a name"):
                run_key(LBAS, {"selection": selection})

    def test_defaults_of_a_function_go_in(self) -> None:
        keys = [run_key(LBAS, {"selection": with_default(rank)}) for rank in (0, 5, 0)]
        assert keys[0] == keys[2] != keys[1]
        with pytest.raises(ConfigError, match="cannot be known again"):
            run_key(LBAS, {"selection": with_default(object())})  # type: ignore[arg-type]
        assert run_key(LBAS, {"selection": greedy}) == run_key(LBAS, {"selection": greedy})


@pytest.mark.parametrize("grid", ["greedy", [("source", LBAS)], ["greedy"], None, 7, {"source": LBAS, 5: 6}])
def test_what_is_no_grid(grid: Any) -> None:
    with pytest.raises(ConfigError, match=r"grid is of type|run 0 has 5"):
        sweep(grid)


def test_numbers_of_numpy_in_a_grid(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as executor:
        grid = {"source": LBAS, "seed": list(np.arange(2)), "segment_blocks": [np.int32(64)]}
        table = sweep(grid, executor=executor, path=tmp_path)
    assert list(table) == [replay(LBAS, seed=seed, segment_blocks=64) for seed in (0, 1)]


def test_each_volume_has_its_own_misaligned_requests(tmp_path: Path) -> None:
    path = misaligned_trace(tmp_path / "trace.csv")
    with ThreadPoolExecutor(1) as executor:
        table = sweep_volumes(path, executor=executor)
        churned = sweep_volumes(workloads.tenant_churn(4096, 3000, seed=1), executor=executor)
    assert [result.misaligned for result in table] == [1500, 0]
    assert {result.misaligned for result in churned} == {0}
    assert sum(result.misaligned for result in table) == replay(path).misaligned
