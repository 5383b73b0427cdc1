"""Tables of results: arrays, comma-separated values, Parquet, and what is printed."""

from __future__ import annotations

import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from seqstore.sim import FixedDrive, GarbageProportion
from seqstore.sim.sweep import sweep
from seqstore.sim.table import Table

LBAS = np.random.default_rng(3).integers(0, 1024, 9000)


@pytest.fixture(scope="module")
def table() -> Table:
    grid = {
        "source": LBAS,
        "placement": ["single", "separate"],
        "space": [FixedDrive(utilization=0.7), GarbageProportion(0.2)],
        "segment_blocks": 32,
    }
    with ThreadPoolExecutor(2) as executor:
        return sweep(grid, executor=executor)


def test_rows_have_all_columns(table: Table) -> None:
    rows = table.rows
    assert all(tuple(row) == table.columns for row in rows)
    assert [row["run"] for row in rows] == [0, 1, 2, 3]
    assert [row["placement"] for row in rows] == ["single", "single", "separate", "separate"]
    assert [row["space.utilization"] for row in rows] == [0.7, None, 0.7, None]
    assert [row["space.garbage_proportion"] for row in rows] == [None, 0.2, None, 0.2]
    assert [row["write_amplification"] for row in rows] == [result.write_amplification for result in table]
    assert [row["latency_p99_laps"] for row in rows] == [r.latencies.quantile_laps(0.99) for r in table]


def test_results_by_number(table: Table) -> None:
    assert len(table) == 4
    assert table[2].placement == "separate"
    part = Table({3: table[3], 7: table[0]})
    assert [row["run"] for row in part.rows] == [3, 7]


def test_all_runs_together(table: Table) -> None:
    user = 4 * len(LBAS)
    assert table.write_amplification == (user + sum(result.relocated_blocks for result in table)) / user
    assert np.isnan(Table({}).write_amplification)


def test_an_array(table: Table) -> None:
    array = table.to_array()
    assert array.dtype.names == table.columns
    assert array["user_blocks"].dtype.kind == "i"
    assert array["user_blocks"].tolist() == [9000] * 4
    assert array["placement"].tolist() == ["single", "single", "separate", "separate"]
    assert array["space.utilization"].dtype == np.float64
    assert np.isnan(array["space.utilization"]).tolist() == [False, True, False, True]


def test_of_no_runs(tmp_path: Path) -> None:
    empty = Table({})
    assert empty.rows == []
    assert len(empty.to_array()) == 0
    empty.to_csv(tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text() == "\n"


def test_comma_separated_values(table: Table, tmp_path: Path) -> None:
    table.to_csv(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [float(row["write_amplification"]) for row in rows] == [r.write_amplification for r in table]
    assert [row["space.utilization"] for row in rows] == ["0.7", "", "0.7", ""]


def test_parquet(table: Table, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table.to_parquet(tmp_path / "table.parquet")
    assert parquet.read_table(tmp_path / "table.parquet").to_pylist() == table.rows


def test_lists_and_large_numbers(table: Table) -> None:
    result = table[0]
    result.parameters["seed"] = 2**63
    result.parameters["sizes"] = [1, 2]
    array = Table({0: result, 1: table[1]}).to_array()
    assert array["seed"].tolist() == [2**63, 0]
    assert array["sizes"].tolist() == ["[1, 2]", ""]
    result.parameters["seed"] = -(2**70)
    assert Table({0: result}).to_array()["seed"].tolist() == [str(-(2**70))]


def test_printed_it_shows_what_differs(table: Table) -> None:
    part = Table({1: table[1], 2: table[2]})
    lines = str(part).splitlines()
    assert lines[0].split() == [
        "run", "placement", "classes", "space.garbage_proportion", "space.utilization", "space.free_segments",
        "write_amplification", "latency_p99_laps",
    ]  # fmt: skip
    assert lines[1].split()[:4] == ["1", "single", "1", "0.2"]
    assert lines[2].split()[:5] == ["2", "separate", "2", "-", "0.7"]
    assert len(lines) == 3
