"""The picture of a drive at the end of a run."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from seqstore.report.figures import drawable, new_figure, percent_ticks
from seqstore.report.palette import FREE_COLOUR, HUES, tint
from seqstore.report.segment_map import SegmentMap

_COLUMNS, _ROWS = 96, 36
_MOST_MARKS = 64
_OTHERS = "#c4c4be"

_LIVE = LinearSegmentedColormap.from_list("live", [HUES[0], tint(HUES[0]), "#f4f1e6", tint(HUES[1]), HUES[1]])
_AGE = LinearSegmentedColormap.from_list("age", ["#fbf3e4", "#f2b27a", HUES[0], "#6b1f00", "#2d0d00"])


def draw_segments(segments: SegmentMap, *, title: str = "", oldest_laps: float | None = None) -> Figure:
    """Draw the segments of a drive in the order in which they lie, row by row.

    Parameters
    ----------
    segments : SegmentMap
    title : str
        Stands above the figure.
    oldest_laps : float, optional
        Where the scale of ages ends, so that figures can be compared; at the oldest residue by default.
    """
    owned = len(segments.tenants) > 1
    columns, rows, each = _grid(len(segments.live))
    panels = 3 if owned else 2
    height = max(0.9, (7.2 if rows > 1 else 6) * rows / columns)
    figure = new_figure(0.6 + 0.3 * bool(title) + panels * (height + 0.55))
    if title:
        figure.suptitle(drawable(title), fontsize=13, fontweight="bold", x=0.005, ha="left")
    axes = figure.subplots(panels, 1, squeeze=False)[:, 0]
    free = (segments.live == 0) & (segments.residue == 0)
    unit = "is a segment" if each == 1 else f"stands for {each} neighbouring segments"
    _paint(
        axes[0],
        _mean(np.where(free, np.nan, segments.live), each),
        columns,
        colours=_LIVE,
        unit="live",
        form=percent_ticks(),
        top=1.0,
    )
    axes[0].set_title(f"Utilization: each cell {unit} of {segments.segment_blocks:,} blocks")
    ages = _reduce(segments.oldest_laps, each, np.nanmax)
    top = segments.oldest if oldest_laps is None else oldest_laps
    _paint(axes[1], ages, columns, colours=_AGE, unit="laps", form=None, top=top)
    axes[1].set_title("Age of the oldest residue" + ("" if each == 1 else " in the cell"))
    if owned:
        _paint_owners(axes[2], segments, each, columns)
    marks = np.unique(np.flatnonzero(segments.open) // each)
    for panel in axes:
        if len(marks) <= _MOST_MARKS:
            panel.plot(
                marks % columns, marks // columns, "o", color="white", markeredgecolor="black", markersize=4
            )
    handles: list[Any] = [
        Patch(facecolor=FREE_COLOUR, edgecolor="#888888", label="free, or without residue"),
        axes[0].plot(
            [], [], "o", color="white", markeredgecolor="black", markersize=4, label="takes appends"
        )[0],
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=2)
    return figure


def _grid(segments: int) -> tuple[int, int, int]:
    """Choose columns, rows and the segments of a cell, so that the figure is wide and not high."""
    each = -(-segments // (_COLUMNS * _ROWS))
    cells = -(-segments // each)
    columns = min(_COLUMNS, max(16, int(np.ceil(np.sqrt(cells * 4.5)))))
    return columns, -(-cells // columns), each


def _paint(
    axes: Axes, values: NDArray[np.float64], columns: int, *, colours: Any, unit: str, form: Any, top: float
) -> None:
    image = axes.imshow(
        _folded(values, columns),
        cmap=colours,
        vmin=0,
        vmax=top or 1.0,
        interpolation="nearest",
        aspect="auto",
    )
    _frame(axes, len(values), columns)
    bar = axes.figure.colorbar(image, ax=axes, pad=0.01, fraction=0.03, aspect=14, format=form)
    bar.set_label(unit)
    bar.outline.set_visible(False)


def _paint_owners(axes: Axes, segments: SegmentMap, each: int, columns: int) -> None:
    often = Counter(segments.owners[segments.owners > 0].tolist())
    shown = sorted(number for number, _ in often.most_common(len(HUES)))
    colours = [FREE_COLOUR, *HUES[: len(shown)], _OTHERS]
    codes = np.array(
        [
            shown.index(owner) + 1 if owner in shown else (len(shown) + 1 if owner else 0)
            for owner in segments.owners[::each].tolist()
        ],
        float,
    )
    axes.imshow(
        _folded(codes, columns, 0),
        cmap=ListedColormap(colours),
        vmin=-0.5,
        vmax=len(colours) - 0.5,
        interpolation="nearest",
        aspect="auto",
    )
    _frame(axes, len(codes), columns)
    axes.set_title("Tenant that owns, or owned, most of its blocks")
    handles = [
        Patch(color=colour, label=f"tenant {number}") for number, colour in zip(shown, HUES, strict=False)
    ]
    if len(often) > len(shown):
        handles.append(Patch(color=_OTHERS, label=f"{len(often) - len(shown)} others"))
    axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0, 0), ncols=len(handles), columnspacing=1.2
    )


def _frame(axes: Axes, cells: int, columns: int) -> None:
    axes.set(xticks=[], yticks=[], facecolor=FREE_COLOUR)
    axes.grid(visible=False)
    last = cells % columns
    if last and cells > columns:  # behind the drive's end there is nothing, not even free blocks
        row = cells // columns
        axes.fill_between([last - 0.5, columns - 0.5], row - 0.5, row + 0.5, color="white", linewidth=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _folded(values: NDArray[np.float64], columns: int, fill: float = np.nan) -> NDArray[np.float64]:
    padded = np.full(-(-len(values) // columns) * columns, fill)
    padded[: len(values)] = values
    return padded.reshape(-1, columns)


def _mean(values: NDArray[np.float64], each: int) -> NDArray[np.float64]:
    return _reduce(values, each, np.nanmean)


def _reduce(values: NDArray[np.float64], each: int, function: Any) -> NDArray[np.float64]:
    """Reduce each cell's values; nan where it has none."""
    cells = _folded(values, each)
    found = np.full(len(cells), np.nan)
    some = np.isfinite(cells).any(axis=1)
    if some.any():
        found[some] = function(cells[some], axis=1)
    return found
