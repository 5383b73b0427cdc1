"""Figures of runs, compared: write amplification, remanence over time, victims, deletion latency."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from seqstore.report.palette import tint
from seqstore.report.runs import Run

WIDTH = 10.0
"""Of all figures, in inches."""

MOST_LINES = 12
"""Runs that a figure has room for."""

INK = "#222222"
SMALL = 9
_FEW_SAMPLES = 5  # that a line alone would not show
_NAME = 30  # characters of a line of a name beside a row
_UNITS = ("KiB", 2**10), ("MiB", 2**20), ("GiB", 2**30), ("TiB", 2**40)

STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "text.color": INK,
    "text.parse_math": False,
    "legend.frameon": False,
    "legend.fontsize": SMALL,
    "lines.linewidth": 1.8,
}
"""What matplotlib is set to while figures are drawn; no ``$`` in somebody's file name is mathematics."""


def new_figure(height: float) -> Figure:
    """Make an empty figure of a height in inches."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_remanence(runs: Sequence[Run]) -> Figure:
    """Draw over time: write amplification, the residue's share, and the age of the oldest residue."""
    figure = new_figure(7.6)
    panels = figure.subplots(3, 1, sharex=True)
    shown = runs[:MOST_LINES]
    unit, unit_bytes = _unit(max(run.result.user_blocks * _block_size(run) for run in shown))
    for run in shown:
        rows = run.result.remanence
        written = rows["user_blocks"].astype(float) * _block_size(run) / unit_bytes
        user, moved = (
            np.diff(rows[name].astype(float), prepend=0) for name in ("user_blocks", "relocated_blocks")
        )
        grown = user > 0
        style: dict[str, Any] = {"color": run.colour, "linestyle": run.dash, "label": drawable(run.label)}
        if len(rows) < _FEW_SAMPLES:
            style["marker"] = "o"
        panels[0].plot(written[grown], 1 + moved[grown] / user[grown], **style)
        written_over = rows["residue_blocks"] + rows["live_blocks"]
        share = rows["residue_blocks"] / np.maximum(written_over, 1)
        panels[1].plot(np.append(0, written), np.append(0, share), **style)
        ages = rows["oldest_writes"] / run.result.block_count
        panels[2].plot(np.append(0, written), np.append(0, ages), **style)
    panels[0].set_title("Write amplification since the sample before")
    panels[0].set_ylabel("blocks / block")
    panels[0].set_ylim(bottom=1)
    panels[1].set_title("Residue: dead blocks that still lie on the medium, of all that hold data")
    panels[1].set_ylabel("of data")
    panels[1].yaxis.set_major_formatter(percent_ticks())
    panels[1].set_ylim(bottom=0)
    panels[2].set_title("Age of the oldest residue")
    panels[2].set_ylabel("laps")
    panels[2].set_ylim(bottom=0)
    panels[2].set_xlabel(f"written on request ({unit})")
    panels[2].set_xlim(left=0)
    draw_legend(figure, panels[0])
    return figure


def draw_victims(runs: Sequence[Run]) -> Figure:
    """Draw histograms of the victims' utilization, one below the other."""
    shown = runs[:MOST_LINES]
    figure = new_figure(1.0 + 0.72 * len(shown))
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for axes, run in zip(panels, shown, strict=True):
        counts, edges = victim_bins(run)
        total = run.result.cleaned_segments
        axes.stairs(counts, edges, fill=True, color=tint(run.colour))
        axes.stairs(counts, edges, color=run.colour, linewidth=1.2)
        axes.set(yticks=[], ylim=(0, max(counts.max(initial=0), 1e-9) * 1.4), xlim=(-0.01, 1.03))
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False, axis="y")
        label = textwrap.fill(drawable(run.label), _NAME)
        axes.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=SMALL)
        if total:
            axes.axvline(run.victims_mean, color=INK, linewidth=1)
        said = f"mean {100 * run.victims_mean:.1f} %, {total:,} segments" if total else "nothing was cleaned"
        axes.annotate(
            said,
            (1, 1),
            (-2, -2),
            xycoords="axes fraction",
            textcoords="offset points",
            va="top",
            ha="right",
            fontsize=SMALL,
        )
    panels[-1].xaxis.set_major_formatter(percent_ticks())
    panels[-1].set_xlabel("live blocks of a segment at the moment when it was cleaned")
    return figure


def draw_latency(runs: Sequence[Run]) -> Figure:
    """Draw the distribution of the deletion latency, and its tail."""
    figure = new_figure(4.9)
    whole, tail = figure.subplots(1, 2)
    ends = [0.5]
    for run in runs[:MOST_LINES]:
        latencies = run.result.latencies
        if not latencies.blocks:
            continue
        laps = np.arange(len(latencies.counts) + 1) * latencies.bin_writes / latencies.lap_writes
        gone = np.append(0, np.cumsum(latencies.counts)) / latencies.blocks
        style: dict[str, Any] = {"color": run.colour, "linestyle": run.dash, "label": drawable(run.label)}
        whole.plot(laps, gone, **style)
        left = np.where(gone < 1, 1 - gone, np.nan)
        tail.plot(laps, left, **style)
        tail.plot(laps[-2:], [left[-2], 1e-9], **style)
        ends.append(latencies.quantile_laps(0.99))
    longest = max(
        (len(run.result.latencies.counts) * _bin_laps(run) for run in runs[:MOST_LINES]), default=1.0
    )
    whole.set_title("Share of deleted blocks that are gone")
    whole.set(xlim=(0, min(max(ends), longest) * 1.03), ylim=(0, 1.02))
    whole.yaxis.set_major_formatter(percent_ticks())
    tail.set_title("Share that still lies on the medium")
    tail.set(xlim=(0, longest * 1.03), yscale="log", ylim=(1e-5, 1))
    tail.yaxis.set_major_formatter(percent_ticks())
    for axes in (whole, tail):
        axes.set_xlabel("laps since the deletion")
        axes.axvline(1, color="#999999", linewidth=1, linestyle=(0, (2, 2)), zorder=0)
    draw_legend(figure, whole)
    return figure


def percent_ticks() -> FuncFormatter:
    """Return what writes shares as percents on an axis, with as many digits as they need."""
    return FuncFormatter(lambda share, _: f"{100 * share:.3g} %")


def drawable(label: str) -> str:
    """Make a label one that matplotlib does not hide: what begins with ``_`` is its own business to it."""
    return f" {label}" if label.startswith("_") else label


def draw_legend(figure: Figure, axes: Axes) -> None:
    """Draw the legend of a panel above the whole figure."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        longest = max(map(len, labels))
        columns = max(1, min(len(labels), 132 // (longest + 8)))
        figure.legend(handles, labels, loc="outside upper left", ncols=columns)


def victim_bins(run: Run) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give a histogram of victims, and its edges.

    A segment of few blocks has fewer utilizations than there are hundredths: bins are so wide that each holds
    one at least, and hold counts for each of theirs, so that no comb is seen where there is none.
    """
    counts = np.array(run.result.victims, float)
    blocks = int(run.result.parameters.get("segment_blocks", 4 * len(counts)))
    width = next((width for width in (1, 2, 4, 5, 10, 20) if (len(counts) - 1) / width <= blocks), 25)
    starts = np.arange(0, len(counts), width)
    levels = np.bincount(np.arange(blocks + 1) * (len(counts) - 1) // blocks // width, minlength=len(starts))
    edges = np.append(starts, starts[-1] + width) / max(len(counts) - 1, 1)
    return np.add.reduceat(counts, starts) / np.maximum(levels, 1), edges


def _unit(size: int) -> tuple[str, int]:
    """Choose a unit in which so many bytes are more than one."""
    return next((unit for unit in reversed(_UNITS) if size > unit[1]), _UNITS[0])


def _block_size(run: Run) -> int:
    return int(run.result.parameters.get("block_size", 4096))


def _bin_laps(run: Run) -> float:
    return run.result.latencies.bin_writes / run.result.latencies.lap_writes
