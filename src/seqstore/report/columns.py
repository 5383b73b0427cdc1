"""The figures that tables show of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from seqstore.report.runs import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A figure of a run.

    Attributes
    ----------
    title, unit : str
        For the head of a table.
    value : callable
        Takes a `Run` and gives a float; nan where it has no such figure, infinity where it is longer than was
        measured.
    form : str
        As `format` takes it.
    least : str
        What the least of it is called, if it is one of the few figures that matter most, and less is better.
    """

    title: str
    unit: str = ""
    value: Callable[[Run], float]
    form: str
    least: str = ""

    def text(self, run: Run) -> str:
        """Write the figure of a run; what is beyond all measure says so, and what there is not is empty."""
        value = self.value(run)
        if math.isinf(value):
            return "beyond"
        return format(value, self.form) if math.isfinite(value) else ""


def _latency(share: float) -> Callable[[Run], float]:
    return lambda run: run.result.latencies.quantile_laps(share)


def _latency_seconds(run: Run) -> float:
    latencies = run.result.latencies
    return latencies.quantile_seconds(0.99) if latencies.seconds_a_write else math.nan


def _gibibytes(blocks: int, run: Run) -> float:
    return blocks * int(run.result.parameters.get("block_size", 4096)) / 2**30


def _residue_share(run: Run) -> float:
    held = run.result.residue_blocks + run.result.live_blocks
    return 100 * run.result.residue_blocks / held if held else math.nan


def _speed(run: Run) -> float:
    return run.result.user_blocks / run.result.seconds / 1e6 if run.result.seconds else math.nan


COLUMNS: Final = (
    Column(
        title="write amplification",
        value=lambda run: run.result.write_amplification,
        form=".4f",
        least="least write amplification",
    ),
    Column(title="last half", value=lambda run: run.steady, form=".4f"),
    Column(title="mean victim", unit="% live", value=lambda run: 100 * run.victims_mean, form=".1f"),
    Column(title="half gone after", unit="laps", value=_latency(0.5), form=".2f"),
    Column(
        title="99 % gone after",
        unit="laps",
        value=_latency(0.99),
        form=".2f",
        least="99 % of deleted blocks are gone soonest after",
    ),
    Column(title="99 % gone after", unit="simulated s", value=_latency_seconds, form=",.3g"),
    Column(
        title="oldest residue",
        unit="laps",
        value=lambda run: run.result.oldest_laps,
        form=".2f",
        least="least age of the oldest residue at the end",
    ),
    Column(title="residue", unit="% of data", value=_residue_share, form=".1f"),
    Column(
        title="written on request",
        unit="GiB",
        value=lambda run: _gibibytes(run.result.user_blocks, run),
        form=",.2f",
    ),
    Column(
        title="relocated",
        unit="GiB",
        value=lambda run: _gibibytes(run.result.relocated_blocks, run),
        form=",.2f",
    ),
    Column(title="replayed at", unit="M writes/s", value=_speed, form=".1f"),
)


def best_of(column: Column, runs: Sequence[Run]) -> Run | None:
    """Return the run with the least of a figure, the first of several; None if none has it."""
    known = [run for run in runs if math.isfinite(column.value(run))]
    return min(known, key=column.value) if known else None
