"""The commands of the simulator: replay, sweep, report and trace info."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from seqstore import ConfigError, sim
from seqstore.cli import main
from seqstore.report.runs import read_results
from seqstore.sim import traces, workloads

pytest.importorskip("rich")
pytest.importorskip("matplotlib")

Capture = pytest.CaptureFixture[str]

ZIPF = "zipf:blocks=2^10,writes=2^12,alpha=1.0,seed=1"
SMALL = ["--segment-blocks", "16"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(capsys: Capture, *arguments: str) -> str:
    """Run a command that cannot be used; return what it says."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("seqstore: ")
    return captured.err


class TestReplay:
    @pytest.mark.parametrize(
        ("option", "value"),
        [("deletion", "lap;laps=3;lap"), ("selection", "fifo,fifo"), ("placement", "dac,dac")],
    )
    def test_the_same_twice_is_refused(self, capsys: Capture, option: str, value: str) -> None:
        assert "twice" in refusal(capsys, "replay", ZIPF, *SMALL, f"--{option}", value)

    def test_prints_what_python_gives(self, capsys: Capture) -> None:
        assert main(["replay", ZIPF, *SMALL, "--selection", "cost_benefit", "--placement", "dac"]) == 0
        captured = capsys.readouterr()
        source = workloads.zipf(1 << 10, 1 << 12, alpha=1.0, seed=1)
        result = sim.replay(
            source, selection="cost_benefit", placement="dac", segment_blocks=16, sample_writes=128
        )
        assert "one run of zipf(blocks=1024, writes=2^12" in captured.out
        assert "cost_benefit + dac" in captured.out
        assert f"{result.write_amplification:.4f}" in captured.out
        assert f"{result.steady_amplification():.4f}" in captured.out
        assert "\x1b" not in captured.out + captured.err

    def test_replays_every_combination(self, capsys: Capture) -> None:
        policies = ["--selection", "fifo, greedy", "--placement", "single,separate"]
        assert main(["replay", ZIPF, *SMALL, *policies, "--json", "runs.json", "--quiet"]) == 0
        assert capsys.readouterr().out == ""
        found = [(result.selection, result.placement) for result in read_results("runs.json")]
        assert found == [
            ("fifo", "single"),
            ("fifo", "separate"),
            ("greedy", "single"),
            ("greedy", "separate"),
        ]

    def test_hands_all_options_on(self) -> None:
        options = ["--placement", "multilog", "--classes", "3", "--selection", "d_choices", "--choices", "4"]
        options += ["--window", "0.5", "--seed", "7", "--space", "garbage=0.2", "--block-size", "8KiB"]
        assert main(["replay", ZIPF, *SMALL, *options, "--sample-writes", "500", "--json", "run.json"]) == 0
        (result,) = read_results("run.json")
        wanted = {
            "classes": 3,
            "choices": 4,
            "window": 0.5,
            "seed": 7,
            "block_size": 8192,
            "segment_blocks": 16,
        }
        assert {name: result.parameters[name] for name in wanted} == wanted
        assert result.parameters["space"] == {"garbage_proportion": 0.2}
        assert len(result.series) > 5

    def test_makes_a_page_and_pictures_with_the_map(self, capsys: Capture) -> None:
        assert main(["replay", ZIPF, *SMALL, "--html", "page.html", "--png", "figures"]) == 0
        assert "page: page.html" in capsys.readouterr().out
        assert 'id="drive-map"' in Path("page.html").read_text("utf-8")
        assert {path.name for path in Path("figures").iterdir()} == {
            "write-amplification.png", "remanence.png", "deletion-latency.png", "victims.png",
            "drive-map.png",
        }  # fmt: skip

    def test_makes_a_page_without_the_map(self) -> None:
        assert main(["replay", ZIPF, *SMALL, "--html", "page.html", "--no-map", "--title", "Mine"]) == 0
        text = Path("page.html").read_text("utf-8")
        assert "drive-map" not in text
        assert "<h1>Mine</h1>" in text

    def test_maps_are_of_the_same_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The oracle looks ahead, and cannot be repeated for its map."""
        monkeypatch.setattr("seqstore.report.running.map_run", None)
        policies = ["--placement", "oracle,single"]
        assert main(["replay", ZIPF, *SMALL, *policies, "--html", "page.html"]) == 0
        text = Path("page.html").read_text("utf-8")
        assert 'id="drive-map-1"' in text
        assert 'id="drive-map-2"' in text

    def test_maps_are_of_the_first_six_runs(self, capsys: Capture) -> None:
        policies = ["--selection", "fifo,greedy,cost_benefit,d_choices", "--placement", "single,separate"]
        assert main(["replay", ZIPF, *SMALL, *policies, "--html", "page.html"]) == 0
        assert "maps of the first 6 runs only" in capsys.readouterr().out
        text = Path("page.html").read_text("utf-8")
        assert 'id="drive-map-6"' in text
        assert 'id="drive-map-7"' not in text

    def test_replays_a_trace(self, capsys: Capture) -> None:
        traces.write_alibaba("trace.csv", workloads.uniform(256, 2000, seed=1))
        assert main(["replay", "trace.csv", "--format", "alibaba", *SMALL, "--json", "run.json"]) == 0
        (result,) = read_results("run.json")
        assert result.user_blocks == 2256
        assert result.source == "trace"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["zapf:blocks=1"], "'zapf' is no workload"),
            (["zipf:blocks=8"], "to be given 'writes'"),
            (["missing.csv"], "missing.csv"),
            ([ZIPF, "--selection", "best"], "best"),
            ([ZIPF, "--space", "full"], "space is 'full'"),
            ([ZIPF, "--segment-blocks", "2"], "segment_blocks is 2"),
            ([ZIPF, "--block-size", "some"], "block size is 'some'"),
            ([ZIPF, "--html", "no/such/page.html"], "--html: no/such/page.html cannot be written"),
            ([ZIPF, "--selection", ","], "no policy"),
        ],
    )
    def test_what_makes_no_sense_is_told(self, capsys: Capture, arguments: list[str], message: str) -> None:
        assert message in refusal(capsys, "replay", *arguments)

    def test_without_the_packages_says_what_to_install(
        self, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        find_spec = importlib.util.find_spec

        def find(name: str) -> ModuleSpec | None:
            return None if name == "matplotlib" else find_spec(name)

        monkeypatch.setattr(importlib.util, "find_spec", find)
        assert "pip install seqstore[cli]" in refusal(capsys, "replay", ZIPF, "--html", "page.html")
        assert main(["replay", ZIPF, *SMALL]) == 0


class TestSweep:
    GRID = (
        '{"source": ["zipf:blocks=512,writes=2048,alpha=0.5,seed=1",'
        ' "zipf:blocks=512,writes=2048,alpha=1.0,seed=1"],'
        ' "selection": ["fifo", "greedy"], "segment_blocks": 16}'
    )

    def test_runs_the_grid_on_processes(self, capsys: Capture) -> None:
        Path("grid.json").write_text(self.GRID, "utf-8")
        files = ["--csv", "table.csv", "--json", "runs.json", "--html", "page.html"]
        assert main(["sweep", "grid.json", "--workers", "1", "--keep", "kept", *files]) == 0
        out = capsys.readouterr().out
        assert "greedy + single, alpha=0.5" in out
        assert out.endswith("results: runs.json\npage: page.html\n")
        results = read_results("runs.json")
        assert [result.selection for result in results] == ["fifo", "greedy"] * 2
        assert len(Path("table.csv").read_text("utf-8").splitlines()) == 5
        assert "drive-map" not in Path("page.html").read_text("utf-8")
        assert len(list(Path("kept").iterdir())) >= 4
        # All is there already, and comes out the same.
        assert main(["sweep", "grid.json", "--workers", "1", "--keep", "kept", "--json", "again.json"]) == 0
        assert read_results("again.json") == results

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="reads no TOML")
    def test_takes_toml(self) -> None:
        Path("grid.toml").write_text(
            'source = "uniform:blocks=256,writes=512,seed=1"\nsegment_blocks = 16\n', "utf-8"
        )
        assert main(["sweep", "grid.toml", "--workers", "1", "--json", "runs.json"]) == 0
        assert len(read_results("runs.json")) == 1

    def test_what_makes_no_sense_is_told(self, capsys: Capture) -> None:
        assert "grid 'grid.json' cannot be read" in refusal(capsys, "sweep", "grid.json")
        Path("grid.json").write_text(self.GRID.replace("fifo", "best"), "utf-8")
        assert "best" in refusal(capsys, "sweep", "grid.json")
        assert "workers is 0" in refusal(capsys, "sweep", "grid.json", "--workers", "0")


class TestReport:
    def test_compares_results_of_several_files(self, capsys: Capture) -> None:
        for selection in ("fifo", "greedy"):
            main(["replay", ZIPF, *SMALL, "--selection", selection, "--json", f"{selection}.json", "--quiet"])
        assert main(["report", "fifo.json", "greedy.json", "-o", "page.html", "--map"]) == 0
        text = Path("page.html").read_text("utf-8")
        assert 'id="drive-map-2"' in text
        assert "least write amplification" in text
        assert "page: page.html" in capsys.readouterr().out

    def test_says_of_which_run_there_is_no_map(self, capsys: Capture) -> None:
        main(["replay", ZIPF, *SMALL, "--placement", "oracle,single", "--json", "runs.json", "--quiet"])
        assert main(["report", "runs.json", "-o", "page.html", "--map"]) == 0
        assert "no map of greedy + oracle" in capsys.readouterr().out
        text = Path("page.html").read_text("utf-8")
        assert 'id="drive-map-2"' in text
        assert 'id="drive-map-1"' not in text

    def test_what_makes_no_sense_is_told(self, capsys: Capture) -> None:
        assert "say what to make" in refusal(capsys, "report", "run.json")
        assert "'run.json' cannot be read" in refusal(capsys, "report", "run.json", "-o", "page.html")
        Path("run.json").write_text("[]", "utf-8")
        assert "run.json: this is no result" in refusal(capsys, "report", "run.json", "-o", "page.html")


class TestTraceInfo:
    @pytest.fixture(autouse=True)
    def trace(self) -> None:
        traces.write_alibaba("trace.csv", workloads.uniform(256, 2000, seed=1))

    def test_says_what_is_in_it(self, capsys: Capture) -> None:
        assert main(["trace", "info", "trace.csv", "--format", "alibaba"]) == 0
        out = capsys.readouterr().out
        assert "2,256: 0 reads, 2,256 writes, 0 trims" in out
        assert "(256 blocks)" in out
        assert "88.7 %" in out
        assert not [line for line in out.splitlines() if line.endswith(" ")]
        assert "All requests are aligned to 4096 bytes" in out

    def test_prints_json_for_programs(self, capsys: Capture) -> None:
        assert (
            main(["trace", "info", "trace.csv", "--format", "alibaba", "--json", "--block-size", "8KiB"]) == 0
        )
        found = json.loads(capsys.readouterr().out)
        assert (found["writes"], found["block_size"], found["working_set_blocks"]) == (2256, 8192, 128)

    def test_a_bad_line_is_told_with_its_place(self, capsys: Capture) -> None:
        Path("bad.csv").write_text("1,W,0,4096,1\n1,W,zero,4096,1\n", "utf-8")
        message = refusal(capsys, "trace", "info", "bad.csv", "--format", "alibaba")
        assert "bad.csv" in message

    def test_needs_a_verb(self, capsys: Capture) -> None:
        with pytest.raises(SystemExit) as caught:
            main(["trace"])
        assert caught.value.code == 2


class TestHelp:
    @pytest.mark.parametrize("verb", ["replay", "sweep", "report", "trace"])
    def test_of_each_verb_is_there(self, verb: str, capsys: Capture) -> None:
        with pytest.raises(SystemExit) as caught:
            main([verb, "--help"])
        assert caught.value.code == 0
        assert f"usage: seqstore {verb}" in capsys.readouterr().out

    def test_needs_no_simulator(self) -> None:
        code = (
            "import sys, contextlib, io\nfrom seqstore.cli import main\n"
            "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
            "    main(['--help'])\n"
            "print([name for name in sys.modules if name.startswith(('seqstore.sim', 'rich', 'matplotlib'))])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"


def test_errors_of_the_simulation_are_no_tracebacks(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConfigError("no")

    monkeypatch.setattr(sim, "replay", fail)
    assert refusal(capsys, "replay", ZIPF) == "seqstore: no\n"
