"""All figures of some runs, as Figures, as SVG for a page, and as PNG files."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from seqstore.errors import ConfigError
from seqstore.report import figures
from seqstore.report.amplification_figure import MOST_BARS, draw_amplification
from seqstore.report.map_figure import draw_segments
from seqstore.report.runs import Run
from seqstore.report.segment_map import SegmentMap
from seqstore.report.trend_figure import draw_trend, find_trend

_PIXELS_PER_INCH = 160

_TOO_MANY = f"Shown are the first {figures.MOST_LINES} runs; the table has all. "
_TOO_MANY_BARS = f" Shown are the {MOST_BARS} least; the table has all."
_AMPLIFICATION = """
Blocks written to the drive for each block that was asked for, from the first write on; the diamond leaves
out the first half, in which the drive fills. Zeros that a bound on deletion asks for count as written."""
_REMANENCE = """
What was deleted or overwritten stays on the medium until its segment has been cleaned and written anew.
The share says how much lies there, the age how long the oldest of it has: where it grows on, somebody's
deleted blocks are never reached."""
_LATENCY = """
From a block's death to the moment when it is written over, in laps: blocks put on the medium / blocks of
the drive. Copies that the cleaner leaves behind count like any other dead block. The dotted line is one
lap, the bound of a circular log; under a deadline a curve ends at its bound or before. What still lay there
at the end of the run is not in it; the table says how much that is, and how old."""
_VICTIMS = """
Each row is scaled to its own peak; the line is the mean. The emptier a segment is when it is cleaned, the
less has to be moved; two peaks are what a placement gains by keeping hot and cold blocks apart."""
_MAP = """
The drive at the end of the run, segment by segment in the order in which they lie, row by row: what is
live, and how long the oldest dead block of each segment has lain there. A circle marks a segment that takes
appends."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """A figure and what is said about it.

    Attributes
    ----------
    name : str
        For a file or a link: letters, digits and hyphens.
    title, caption : str
        What it shows, and how to read it.
    figure : Figure
    """

    name: str
    title: str
    caption: str
    figure: Figure

    def to_svg(self) -> str:
        """Return an ``<svg>`` element that is as wide as there is room; the same for the same figure."""
        buffer = io.StringIO()
        with mpl.rc_context({**figures.STYLE, "svg.hashsalt": self.name, "svg.fonttype": "path"}):
            self.figure.savefig(buffer, format="svg", dpi=144, facecolor="none", metadata={"Date": None})
        svg = buffer.getvalue()
        svg = svg[svg.index("<svg") :]
        svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        return re.sub(
            r'^<svg ([^>]*?)(?:width|height)="[^"]*" ?(?:([^>]*?)(?:width|height)="[^"]*")?',
            r"<svg \1\2",
            svg,
        )

    def save(self, directory: Path) -> Path:
        """Write a PNG file of 1600 pixels' width; return its path."""
        path = directory / f"{self.name}.png"
        with mpl.rc_context(figures.STYLE):
            self.figure.savefig(path, dpi=_PIXELS_PER_INCH)
        return path


def draw_all(runs: Sequence[Run], maps: Mapping[int, SegmentMap] | None = None) -> list[Picture]:
    """Draw everything that there is to see of some runs.

    Parameters
    ----------
    runs : sequence of Run
        As `seqstore.report.runs.name_runs` gives them.
    maps : mapping of int to SegmentMap, optional
        What lay where at the end, by the place of the run among `runs`.
    """
    note = _TOO_MANY if len(runs) > figures.MOST_LINES else ""
    with mpl.rc_context(figures.STYLE):
        pictures = [_amplification(runs), *_trend(runs)]
        pictures.append(
            Picture(
                name="remanence",
                title="Remanence over time",
                caption=note + _joined(_REMANENCE),
                figure=figures.draw_remanence(runs),
            )
        )
        if any(run.result.latencies.blocks for run in runs):
            pictures.append(
                Picture(
                    name="deletion-latency",
                    title="Deletion latency",
                    caption=note + _joined(_LATENCY),
                    figure=figures.draw_latency(runs),
                )
            )
        pictures.append(
            Picture(
                name="victims",
                title="Utilization of cleaned segments",
                caption=note + _joined(_VICTIMS),
                figure=figures.draw_victims(runs),
            )
        )
        pictures += _maps(runs, maps or {})
    return pictures


def save_all(pictures: Sequence[Picture], directory: Path) -> list[Path]:
    """Write all pictures as PNG files into a directory, which is made if there is none.

    Raises
    ------
    ConfigError
        If they cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return [picture.save(directory) for picture in pictures]
    except OSError as error:
        raise ConfigError(f"the pictures cannot be written to {directory}: {error}") from error


def _amplification(runs: Sequence[Run]) -> Picture:
    note = _TOO_MANY_BARS if len(runs) > MOST_BARS else ""
    return Picture(
        name="write-amplification",
        title="Write amplification",
        caption=_joined(_AMPLIFICATION) + note,
        figure=draw_amplification(runs),
    )


def _trend(runs: Sequence[Run]) -> list[Picture]:
    trend = find_trend(runs)
    if trend is None:
        return []
    words = trend[0].rpartition(".")[2].replace("_", " ")
    return [
        Picture(
            name="trend",
            title=f"Write amplification by {words}",
            caption="The same figures, over the one number in which the runs differ.",
            figure=draw_trend(runs, *trend),
        )
    ]


def _maps(runs: Sequence[Run], maps: Mapping[int, SegmentMap]) -> list[Picture]:
    """Draw maps with one scale of ages, so that they can be compared."""
    several = len(runs) > 1
    oldest = max((segments.oldest for segments in maps.values()), default=0.0)
    return [
        Picture(
            name=f"drive-map-{place + 1}" if several else "drive-map",
            title="Drive maps" if several else "Drive map",
            caption=_joined(_MAP),
            figure=draw_segments(segments, title=runs[place].label if several else "", oldest_laps=oldest),
        )
        for place, segments in sorted(maps.items())
    ]


def _joined(text: str) -> str:
    return " ".join(text.split())
