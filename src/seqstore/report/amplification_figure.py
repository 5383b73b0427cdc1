"""Write amplification of runs, compared as bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory

from seqstore.report.figures import INK, SMALL, new_figure
from seqstore.report.runs import STEADY_SHARE, Run

MOST_BARS = 48

_USER = "#d8d8d4"
_COLUMNS = 1.075, 1.185  # of the numbers beside the bars, as shares of the axes
_HEADS = "whole run", "\N{WHITE DIAMOND} last half"
_DIAMOND: dict[str, Any] = {
    "marker": "D",
    "linestyle": "none",
    "color": "white",
    "markeredgecolor": INK,
    "markersize": 5.5,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A bar, or the head of a group if there is no run; `at` is its place from above."""

    at: float
    label: str
    colour: str = INK
    run: Run | None = None


def draw_amplification(runs: Sequence[Run]) -> Figure:
    """Draw write amplification by policy: bars, grouped by what else tells the runs apart."""
    rows = _lay_out(runs)
    bars = [(row, row.run) for row in rows if row.run is not None]
    last = rows[-1].at
    figure = new_figure(1.7 + 0.33 * last)
    axes = figure.add_subplot()
    beside = blended_transform_factory(axes.transAxes, axes.transData)
    for column, head in zip(_COLUMNS, _HEADS, strict=True):
        axes.text(
            column, -0.8, head, transform=beside, ha="right", va="center", fontsize=SMALL, color="#666666"
        )
    for row, run in bars:
        whole = run.result.write_amplification
        axes.barh(row.at, 1, height=0.72, color=_USER)
        axes.barh(row.at, whole - 1, left=1, height=0.72, color=row.colour)
        axes.plot([run.steady], [row.at], **_DIAMOND)
        for column, value in zip(_COLUMNS, (whole, run.steady), strict=True):
            said = f"{value:.3f}" if np.isfinite(value) else "-"
            axes.text(column, row.at, said, transform=beside, ha="right", va="center", fontsize=SMALL)
    for row in rows:
        if row.run is None:
            axes.annotate(
                row.label,
                (0, row.at + 0.1),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize=SMALL,
                fontweight="bold",
            )
    axes.set_yticks([row.at for row, _ in bars], [row.label for row, _ in bars])
    figures = [value for _, run in bars for value in (run.result.write_amplification, run.steady)]
    axes.set(xlim=(0, 1.04 * max([1, *filter(np.isfinite, figures)])), ylim=(last + 0.9, -1))
    _dress(axes)
    relocated = bars[0][0].colour if len(bars) == 1 else "#777777"
    figure.legend(
        handles=[
            Patch(color=_USER, label="on request"),
            Patch(color=relocated, label="relocated by the cleaner"),
            axes.plot([], [], **_DIAMOND, label=f"the last {100 * STEADY_SHARE:.0f} % of the run alone")[0],
        ],
        loc="outside upper right",
        ncols=3,
    )
    return figure


def _lay_out(runs: Sequence[Run]) -> list[_Row]:
    """Choose the runs that are shown, least first, and put them under the heads of their settings."""
    several = len({run.policy for run in runs}) > 1
    shown = sorted(runs, key=lambda run: run.result.write_amplification)[:MOST_BARS]
    groups: dict[str, list[Run]] = {run.setting if several else "": [] for run in runs}
    for run in shown:
        groups[run.setting if several else ""].append(run)
    # Where there are more runs than looks, those of a policy would differ from group to group.
    colours = {run.policy: run.colour for run in reversed(runs)}
    rows: list[_Row] = []
    place = 0.0
    for setting, group in groups.items():
        if not group:
            continue
        if setting:
            rows.append(_Row(at=place, label=setting))
            place += 0.9
        for run in group:
            label, colour = (run.policy, colours[run.policy]) if several else (run.label, run.colour)
            rows.append(_Row(at=place, label=label, colour=colour, run=run))
            place += 1
        place += 0.5
    return rows


def _dress(axes: Axes) -> None:
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("blocks written to the drive for each block that was asked for")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=9, steps=[1, 2, 2.5, 5, 10]))
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
