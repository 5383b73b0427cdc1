"""The picture of the demonstration: the drive at four moments, and the residue over the lap."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from seqstore.demo.plan import LEAVER
from seqstore.demo.story import Story
from seqstore.report import draw_drive_map, format_bytes
from seqstore.report.drive_map import legend_handles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE_NAME = "seqstore-demo.png"

_PIXELS_PER_INCH = 160
_COLUMNS, _ROWS = 160, 72


def draw_picture(story: Story, path: Path) -> None:
    """Draw a finished story, 1600 pixels wide.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    OSError
        The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  only needed to draw
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415

    figure = Figure(
        figsize=(10, 9.4), dpi=_PIXELS_PER_INCH, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08)
    )
    FigureCanvasAgg(figure)
    capacity = format_bytes(story.drive.capacity)
    figure.suptitle(
        f"{LEAVER} is deleted from a drive of {capacity}: what becomes of its bytes",
        fontsize=14,
        fontweight="bold",
    )
    panels = figure.subplot_mosaic(
        [[0, 1], [2, 3], ["legend", "legend"], ["curve", "curve"]], height_ratios=[3, 3, 0.8, 2]
    )
    for panel, (title, drive_map) in enumerate(story.maps):
        draw_drive_map(
            drive_map,
            panels[panel],
            title=f"{panel + 1}  {title}",
            columns=_COLUMNS,
            rows=_ROWS,
            residue_of=story.leaver.number,
            legend=False,
        )
    _draw_legend(panels["legend"], story)
    _draw_curve(panels["curve"], story)
    figure.savefig(path)


def _draw_legend(axes: Axes, story: Story) -> None:
    maps = [drive_map for _, drive_map in story.maps]
    _, per_cell = maps[0].cells(_COLUMNS * _ROWS, story.leaver.number)
    axes.set_axis_off()
    legend = axes.legend(
        handles=legend_handles(maps),
        title=f"Row by row in block order; {maps[0].explain_cell(per_cell, story.leaver.number)}",
        title_fontsize=9,
        fontsize=9,
        loc="center",
        ncols=5,
        columnspacing=1.4,
        frameon=False,
    )
    legend.set_in_layout(False)  # else its width would narrow the maps


def _draw_curve(axes: Axes, story: Story) -> None:
    """Plot the residue at each step, by ledger and by raw search."""
    mebibytes = story.drive.block_size / 2**20
    laps = [step.laps for step in story.steps]
    dead = next(kind for kind in story.maps[0][1].kinds if kind.tenant == story.leaver.number)
    by_ledger = [step.ledger_blocks * mebibytes for step in story.steps]
    by_search = [step.raw_blocks * mebibytes for step in story.steps]
    axes.fill_between(laps, by_ledger, color=dead.colour, label="by the ledger")
    axes.plot(laps, by_search, "o", color="black", markersize=5, label="found by a raw search of the medium")
    axes.plot(
        laps,
        [step.probe.leaked * mebibytes for step in story.steps],
        "x-",
        color="#0072b2",
        label="readable through any volume",
        clip_on=False,
        zorder=5,
    )
    axes.set_title(f"5  {LEAVER}'s bytes on the medium", loc="left", fontsize=11, fontweight="bold")
    axes.set(xlabel="laps of the head since the deletion", ylabel="MiB", xlim=(0, max(laps)), ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
