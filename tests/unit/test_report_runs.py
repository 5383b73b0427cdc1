"""Runs that are compared: their names and looks, the words that commands take, the map of a drive."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from seqstore import ConfigError, sim
from seqstore.deletion import Deadline
from seqstore.report.columns import COLUMNS, best_of
from seqstore.report.runs import describe_runs, name_runs, read_results, write_results
from seqstore.report.segment_map import SegmentMap, map_run
from seqstore.report.specs import (
    expected_operations,
    make_space,
    parse_space,
    parse_workload,
    read_grid,
    remake_source,
)
from seqstore.sim import RunResult, traces, workloads


def result_of(selection: str = "greedy", placement: str = "single", **options: object) -> RunResult:
    """Make a result of 2^10 blocks."""
    alpha = float(str(options.pop("alpha", 1.0)))
    source = workloads.zipf(1 << 10, 1 << 13, alpha=alpha, seed=1)
    arguments = {"segment_blocks": 16, "sample_writes": 512, **options}
    return sim.replay(source, selection=selection, placement=placement, **arguments)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def results() -> list[RunResult]:
    return [
        result_of(selection, placement)
        for selection in ("fifo", "greedy")
        for placement in ("single", "sepbit")
    ]


class TestNames:
    def test_are_those_of_the_policies_where_nothing_else_differs(self, results: list[RunResult]) -> None:
        runs = name_runs(results)
        assert [run.label for run in runs] == [
            "fifo + single",
            "fifo + sepbit",
            "greedy + single",
            "greedy + sepbit",
        ]
        assert {run.setting for run in runs} == {""}
        assert len({run.colour for run in runs}) == 4

    def test_say_what_becomes_of_deleted_blocks(self) -> None:
        strategies = (None, Deadline(laps=3))
        runs = name_runs(result_of(name, deletion=each) for each in strategies for name in ("fifo", "greedy"))
        assert [run.setting for run in runs] == ["deletion lap"] * 2 + ["deletion laps=3"] * 2
        assert describe_runs(runs).endswith("; deletion lap, laps=3")
        assert "deletion" not in describe_runs(runs[:2])

    def test_say_what_differs_and_no_more(self) -> None:
        spaces = [sim.FixedDrive(utilization=0.7), sim.GarbageProportion(0.15)]
        runs = name_runs(
            result_of(selection, space=space) for space in spaces for selection in ("fifo", "greedy")
        )
        assert [run.label for run in runs][::2] == ["fifo + single, 70 % full", "fifo + single, 15 % garbage"]
        # A hue for a policy, a dash for a setting.
        assert runs[0].colour == runs[2].colour != runs[1].colour == runs[3].colour
        assert runs[0].dash == runs[1].dash != runs[2].dash == runs[3].dash

    def test_leave_the_policy_out_where_it_is_the_same(self) -> None:
        runs = name_runs([result_of(alpha=0.5), result_of(alpha=1.5)])
        assert [run.label for run in runs] == ["alpha=0.5", "alpha=1.5"]

    def test_name_classes_only_where_a_policy_has_several(self) -> None:
        runs = name_runs(
            [result_of(), result_of(placement="dac", classes=4), result_of(placement="dac", classes=5)]
        )
        assert [run.label for run in runs][1:] == [
            "greedy + dac, classes=4",
            "greedy + dac, classes=5",
        ]

    def test_are_numbered_where_nothing_differs(self, results: list[RunResult]) -> None:
        assert [run.label for run in name_runs([results[0], results[0]])] == [
            "fifo + single (1)",
            "fifo + single (2)",
        ]

    def test_of_nothing_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="no results"):
            name_runs([])


class TestFigures:
    def test_the_mean_victim_is_what_the_cleaner_had_to_move(self, results: list[RunResult]) -> None:
        run = name_runs([results[0]])[0]
        binned = (
            sum(percent * count for percent, count in enumerate(run.result.victims))
            / run.result.cleaned_segments
        )
        # Bins hold what was rounded down to hundredths.
        assert binned <= 100 * run.victims_mean < binned + 1

    def test_the_best_is_the_least(self, results: list[RunResult]) -> None:
        amplification = next(column for column in COLUMNS if column.title == "write amplification")
        best = best_of(amplification, name_runs(results))
        assert best is not None
        assert best.result.write_amplification == min(result.write_amplification for result in results)

    def test_a_figure_that_no_run_has_is_nobodys_best(self, results: list[RunResult]) -> None:
        untouched = dataclasses.replace(results[0], cleaned_segments=0)
        victim = next(column for column in COLUMNS if column.title == "mean victim")
        assert best_of(victim, name_runs([untouched])) is None


class TestFiles:
    def test_results_come_back_as_they_were(self, results: list[RunResult], tmp_path: Path) -> None:
        write_results(tmp_path / "runs.json", results)
        assert read_results(tmp_path / "runs.json") == results
        assert RunResult.from_json((tmp_path / "runs.json").read_text("utf-8").splitlines()[1]) == results[1]

    def test_a_result_over_many_lines_is_one(self, results: list[RunResult], tmp_path: Path) -> None:
        (tmp_path / "run.json").write_text(results[0].to_json(indent=2), "utf-8")
        assert read_results(tmp_path / "run.json") == results[:1]

    @pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"source": 1}\n'])
    def test_anything_else_is_refused_by_name(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(ConfigError, match=r"bad\.json"):
            read_results(tmp_path / "bad.json")

    def test_a_missing_file_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"none\.json' cannot be read"):
            read_results(tmp_path / "none.json")


class TestWorkloadWords:
    def test_call_the_function(self) -> None:
        found = parse_workload("zipf:blocks=2^10,writes=4_096,alpha=0.5,seed=3,fill=false")
        assert found == workloads.zipf(1024, 4096, alpha=0.5, seed=3, fill=False)

    def test_are_not_taken_for_paths_nor_paths_for_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert parse_workload("some/trace.csv") is None
        Path("zipf").touch()
        assert parse_workload("zipf") is None

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("zipf:", "to be given 'blocks'; it takes blocks, writes, alpha=1.0, seed"),
            ("zipf:blocks=8,writes=8,seed=1,beta=2", "zipf has no 'beta'"),
            ("zipf:blocks", "'blocks' in 'zipf:blocks' is not of the form"),
            ("zipf:blocks=8,blocks=9", "'blocks' stands twice"),
            ("zipf:blocks=0,writes=8,seed=1", "blocks is 0"),
            ("zipf:blocks=many,writes=8,seed=1", "blocks is of type str"),
            (
                "zapf:blocks=8",
                "'zapf' is no workload, and 'zapf:blocks=8' no file; workloads are file_system, hot_cold",
            ),
        ],
    )
    def test_that_make_no_sense_are_told(self, text: str, message: str) -> None:
        with pytest.raises(ConfigError) as caught:
            parse_workload(text)
        assert message in str(caught.value)

    @pytest.mark.parametrize(
        "text",
        [
            "uniform:blocks=256,writes=1000,seed=1",
            "uniform:blocks=256,writes=1000,seed=1,fill=false",
            "mixed:blocks=256,operations=1000,seed=1,request_blocks=4",
        ],
    )
    def test_tell_how_many_operations_there_will_be(self, text: str) -> None:
        source = parse_workload(text)
        assert source is not None
        assert expected_operations(source) == sum(map(len, source.batches()))


class TestSpaceWords:
    def test_make_a_bound_and_a_result_makes_it_again(self) -> None:
        for text, space in [
            ("utilization=0.8", sim.FixedDrive(utilization=0.8)),
            ("utilization=0.8,free_segments=9", sim.FixedDrive(utilization=0.8, free_segments=9)),
            ("garbage=0.15", sim.GarbageProportion(0.15)),
        ]:
            assert parse_space(text) == space
            assert make_space(result_of(space=space).parameters["space"]) == space

    @pytest.mark.parametrize("text", ["", "0.8", "garbage=0.1,utilization=0.8", "utilization=x", "garbage=1"])
    def test_that_make_no_sense_are_told(self, text: str) -> None:
        with pytest.raises(ConfigError):
            parse_space(text)


class TestGrid:
    def test_of_json_is_ready_for_a_sweep(self, tmp_path: Path) -> None:
        path = tmp_path / "grid.json"
        path.write_text(
            '{"source": ["uniform:blocks=256,writes=512,seed=1"], "selection": ["fifo", "greedy"],'
            ' "segment_blocks": 16, "space": "garbage=0.2"}',
            "utf-8",
        )
        assert read_grid(path) == {
            "source": [workloads.uniform(256, 512, seed=1)],
            "selection": ["fifo", "greedy"],
            "segment_blocks": [16],
            "space": [sim.GarbageProportion(0.2)],
        }

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "no grid of runs"),
            ("[]", "no entry 'source'"),
            ("{}", "no entry 'source'"),
            ('{"source": [], "selection": "fifo"}', "'source' has no values"),
            ('{"source": 1}', "source is 1"),
        ],
    )
    def test_that_makes_no_sense_is_told(self, content: str, message: str, tmp_path: Path) -> None:
        path = tmp_path / "grid.json"
        path.write_text(content, "utf-8")
        with pytest.raises(ConfigError) as caught:
            read_grid(path)
        assert message in str(caught.value)


class TestSegmentMap:
    @pytest.mark.parametrize("placement", ["single", "separate", "sepbit", "dac"])
    @pytest.mark.parametrize("space", [sim.FixedDrive(utilization=0.8), sim.GarbageProportion(0.2)])
    def test_agrees_with_the_result(self, placement: str, space: sim.FixedDrive) -> None:
        result = result_of("cost_benefit", placement, space=space)
        segments = map_run(result)
        assert len(segments.live) * 16 == result.block_count
        assert round(segments.live.sum() * 16) == result.live_blocks
        assert round(segments.residue.sum() * 16) == result.residue_blocks
        assert np.nanmax(segments.oldest_laps) == pytest.approx(result.oldest_laps)
        assert np.isnan(segments.oldest_laps[segments.residue == 0]).all()
        assert np.isfinite(segments.oldest_laps[segments.residue > 0]).all()
        assert np.count_nonzero(segments.open) <= result.parameters["classes"]
        assert segments.tenants == [1]

    def test_is_the_same_at_the_end_of_a_run_and_of_its_repetition(self) -> None:
        seen: list[SegmentMap] = []
        source = workloads.zipf(1 << 10, 1 << 13, seed=2)
        result = sim.replay(source, segment_blocks=16, at_end=lambda drive: seen.append(SegmentMap.of(drive)))
        again = map_run(result)
        assert seen[0].oldest == again.oldest == pytest.approx(result.oldest_laps)
        for name in ("live", "residue", "oldest_laps", "owners", "open"):
            np.testing.assert_array_equal(getattr(seen[0], name), getattr(again, name))

    def test_knows_the_owners(self) -> None:
        source = workloads.tenant_churn(1 << 12, 2000, seed=1, volume_blocks=64)
        result = sim.replay(source, placement="by_tenant", segment_blocks=32)
        segments = map_run(result)
        assert len(segments.tenants) > 1
        assert set(segments.tenants) <= result.tenants.keys()

    def test_is_of_the_run_of_the_result_and_no_other(self) -> None:
        other = workloads.zipf(1 << 10, 1 << 13, seed=2)
        with pytest.raises(ConfigError, match="not the same source"):
            map_run(result_of(), other)

    def test_of_a_trace_reads_it_again(self, tmp_path: Path) -> None:
        source = workloads.uniform(256, 2000, seed=1)
        traces.write_alibaba(tmp_path / "trace.csv", source)
        result = sim.replay(tmp_path / "trace.csv", format="alibaba", segment_blocks=16)
        assert round(map_run(result).live.sum() * 16) == 256

    def test_needs_a_run_that_can_be_repeated(self) -> None:
        with pytest.raises(ConfigError, match="neither a workload nor a trace"):
            remake_source(sim.replay(np.arange(1000) % 100, segment_blocks=16))
        with pytest.raises(ConfigError, match="oracle"):
            map_run(result_of(placement="oracle"))


class TestColumns:
    def test_a_latency_longer_than_was_measured_is_no_number(self) -> None:
        result = result_of()
        latencies = dataclasses.replace(result.latencies, counts=(0,) * 4095 + (1,))
        (run,) = name_runs([dataclasses.replace(result, latencies=latencies)])
        column = next(column for column in COLUMNS if column.title == "99 % gone after")
        assert column.text(run) == "beyond"
        assert best_of(column, [run]) is None
