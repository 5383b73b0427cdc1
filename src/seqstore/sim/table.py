"""The results of a sweep as a table."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqstore.errors import ConfigError
from seqstore.sim.result import RunResult, TenantResult
from seqstore.sim.timing import Performance

_COUNTERS = (
    "user_blocks",
    "relocated_blocks",
    "summary_blocks",
    "overwritten_blocks",
    "trimmed_blocks",
    "read_blocks",
    "cleaned_segments",
    "requests",
    "misaligned",
    "block_count",
    "live_blocks",
    "residue_blocks",
    "laps",
    "oldest_laps",
)
# What is shown of each run, beside its number and what differs between runs.
_SHOWN = ("write_amplification", "latency_p99_laps")


@dataclass(frozen=True, slots=True)
class Table:
    """Results of runs, in the order of their grid.

    Parameters
    ----------
    runs : mapping of int to RunResult
        By their number in the grid, from 0.
    """

    runs: Mapping[int, RunResult]

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[RunResult]:
        return iter(self.runs.values())

    def __getitem__(self, number: int) -> RunResult:
        """Return the result of a run by its number in the grid."""
        return self.runs[number]

    @property
    def write_amplification(self) -> float:
        """(user + relocated) / user blocks of all runs together; nan without writes."""
        return TenantResult(
            user_blocks=sum(result.user_blocks for result in self),
            relocated_blocks=sum(result.relocated_blocks for result in self),
        ).write_amplification

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns: ``run``, policy, parameters (``space.utilization``), and what was found."""
        return tuple(dict.fromkeys(name for row in self._sparse() for name in row))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One dictionary a run, all with the same columns; None where a run has no such parameter."""
        columns = self.columns
        return [{name: row.get(name) for name in columns} for row in self._sparse()]

    @property
    def differing(self) -> tuple[str, ...]:
        """Columns of policy and parameters that are not the same in all runs."""
        rows = self.rows
        found = ("run", "write_amplification", "steady_amplification", "seconds", *_COUNTERS)
        return tuple(
            name
            for name in self.columns
            if name not in found
            and not name.startswith(("latency_", "drive_", "control_"))
            and any(row[name] != rows[0][name] for row in rows)
        )

    def _sparse(self) -> list[dict[str, Any]]:
        return [_row(number, result) for number, result in self.runs.items()]

    def to_array(self) -> NDArray[np.void]:
        """Return the table as a structured array, a field a column.

        Returns
        -------
        structured array of shape (runs,)
            Integers and booleans where all runs have one, otherwise floats with nan for what is missing;
            strings, "" for what is missing, where a run has one.
        """
        columns = {name: _column([row[name] for row in self.rows]) for name in self.columns}
        table = np.empty(len(self), [(name, values.dtype) for name, values in columns.items()])
        for name, values in columns.items():
            table[name] = values
        return table

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write comma-separated values: a line of names, then one a run; empty where a value is missing."""
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)

    def to_parquet(self, path: str | PathLike[str]) -> None:
        """Write the table as a Parquet file; needs pyarrow.

        Raises
        ------
        ConfigError
            If pyarrow is not there.
        """
        try:
            import pyarrow as pa  # noqa: PLC0415  only where it is used
            from pyarrow import parquet  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError("writing Parquet needs pyarrow: pip install 'seqstore[sim]'") from error
        rows = self.rows
        arrays = {}
        for name in self.columns:
            values = [row[name] for row in rows]
            missing = np.array([value is None for value in values])
            arrays[name] = pa.array(_column(values), mask=missing)
        parquet.write_table(pa.table(arrays), path)

    def __str__(self) -> str:
        """Return the runs as lines of text: what differs between them, and what they found."""
        names = ("run", *self.differing, *_SHOWN)
        lines = [names, *(tuple(_text(row[name]) for name in names) for row in self.rows)]
        widths = [max(len(line[at]) for line in lines) for at in range(len(names))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )


def _row(number: int, result: RunResult) -> dict[str, Any]:
    return {
        "run": number,
        "source": result.source,
        "selection": result.selection,
        "placement": result.placement,
        **_flatten(result.parameters, ""),
        "write_amplification": result.write_amplification,
        "steady_amplification": result.steady_amplification(),
        "latency_p50_laps": result.latencies.quantile_laps(0.5),
        "latency_p99_laps": result.latencies.quantile_laps(0.99),
        **{name: getattr(result, name) for name in _COUNTERS},
        **_speeds("drive_", result.performance),
        **_speeds("control_", result.control),
        "seconds": result.seconds,
    }


def _speeds(prefix: str, performance: Performance | None) -> dict[str, float]:
    """Return what a timed drive did, where there was one."""
    if performance is None:
        return {}
    return {
        f"{prefix}requests_per_second": performance.requests_per_second,
        f"{prefix}read_p99_ns": performance.reads.p99_ns,
        f"{prefix}write_p99_ns": performance.writes.p99_ns,
    }


def _flatten(parameters: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Bring nested parameters into one row: ``space.utilization``."""
    row: dict[str, Any] = {}
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            row.update(_flatten(value, f"{prefix}{name}."))
        elif value is None or isinstance(value, str | bool | int | float):
            row[prefix + name] = value
        else:
            row[prefix + name] = json.dumps(value, default=str)
    return row


def _column(values: Sequence[Any]) -> NDArray[Any]:
    """Make an array of one type of the values of a column."""
    if any(isinstance(value, str) for value in values):
        return np.array(["" if value is None else str(value) for value in values])
    if any(value is None for value in values):
        return np.array([np.nan if value is None else float(value) for value in values])
    array = np.array(values)
    return array if array.dtype.kind in "biuf" else np.array([str(value) for value in values])


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
