"""The page: results of runs in one HTML file that needs nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

import seqstore
from seqstore.errors import ConfigError
from seqstore.html_page import make_page
from seqstore.report.columns import COLUMNS, best_of
from seqstore.report.gallery import Picture, draw_all
from seqstore.report.runs import Run, describe_runs, name_runs
from seqstore.report.segment_map import SegmentMap
from seqstore.report.style import CSS, SCRIPT
from seqstore.sim.result import RunResult

_MOST_TENANTS = 20
_TITLE = "Cleaning policies compared"
_ABOUT_RUNS = (
    "A click on a head sorts. A lap is as many blocks put on the medium as the drive has. Latencies are of"
    " dead blocks that were written over; residue and its age, of those that lay there at the end."
)


def write_page(
    results: Iterable[RunResult],
    path: str | Path,
    *,
    title: str | None = None,
    maps: Mapping[int, SegmentMap] | None = None,
) -> None:
    """Write results as a page with figures and tables.

    Parameters
    ----------
    results : iterable of RunResult
        At least one.
    path : str or Path
        The HTML file.
    title : str, optional
        Stands at its head.
    maps : mapping of int to SegmentMap, optional
        What lay where at the end, by the place of the run among `results`.

    Raises
    ------
    ConfigError
        If there are no results, or the file cannot be written.
    """
    runs = name_runs(results)
    save_page(path, runs, draw_all(runs, maps), title=title)


def save_page(
    path: str | Path, runs: Sequence[Run], pictures: Sequence[Picture], *, title: str | None = None
) -> None:
    """Write runs and their pictures, as `seqstore.report.gallery.draw_all` gives them, as a page.

    Raises
    ------
    ConfigError
        If the file cannot be written.
    """
    try:
        Path(path).write_text(render_page(runs, pictures, title=title), "utf-8")
    except OSError as error:
        raise ConfigError(f"the page cannot be written: {error}") from error


def render_page(runs: Sequence[Run], pictures: Sequence[Picture], *, title: str | None = None) -> str:
    """Return the HTML of a page; the same for the same runs."""
    heading = title or (_TITLE if len(runs) > 1 else runs[0].policy)
    groups = [list(group) for _, group in groupby(pictures, lambda picture: picture.title)]
    links = "".join(f'<a href="#{group[0].name}">{escape(group[0].title)}</a>' for group in groups)
    sections = "\n".join(map(_section, groups))
    content = f"""\
<h1>{escape(heading)}</h1>
<p class="soft">{escape(describe_runs(runs))}</p>
<div class="tiles">{"".join(_tiles(runs))}</div>
<nav>{links}<a href="#runs">All runs</a><a href="#parameters">Parameters</a></nav>
{sections}
{_runs(runs)}
{_tenants(runs)}
{_parameters(runs)}
<footer>Made by seqstore {seqstore.__version__}. Equal inputs give equal results, to the block.</footer>"""
    return make_page(heading, content, css=CSS, script=SCRIPT)


def _tiles(runs: Sequence[Run]) -> Iterable[str]:
    """Say the most important figures: of the only run, or the best of several."""
    for column in COLUMNS:
        if not column.least:
            continue
        best = best_of(column, runs)
        if best is None:
            continue
        note = escape(best.label) if len(runs) > 1 else ""
        unit = f" {escape(column.unit)}" if column.unit else ""
        name = column.least if len(runs) > 1 else column.title
        figure = f"<b>{escape(column.text(best))}{unit}</b>"
        yield f'<div class="tile"><span>{escape(name)}</span>{figure}<span>{note}</span></div>'


def _section(pictures: Sequence[Picture]) -> str:
    """Put the pictures of a title together; the first lends its name to the section."""
    first = pictures[0]
    title = escape(first.title)
    parts = [first.to_svg()]
    parts += [f'<div id="{picture.name}">{picture.to_svg()}</div>' for picture in pictures[1:]]
    return (
        f'<section id="{first.name}" role="figure" aria-label="{title}">\n<h2>{title}</h2>\n'
        f"<p>{escape(first.caption)}</p>\n" + "\n".join(parts) + "\n</section>"
    )


def _runs(runs: Sequence[Run]) -> str:
    columns = [column for column in COLUMNS if any(math.isfinite(column.value(run)) for run in runs)]
    best = {column: best_of(column, runs) for column in columns if column.least and len(runs) > 1}
    rows = []
    for run in runs:
        cells = []
        for column in columns:
            emphasis = ' class="best"' if best.get(column) is run else ""
            cells.append(
                f'<td data-value="{column.value(run):.9g}"{emphasis}>{escape(column.text(run))}</td>'
            )
        swatch = f'<span class="swatch" style="background:{run.colour}"></span>'
        name = f'<td data-value="{escape(run.label)}">{swatch}{escape(run.label)}</td>'
        rows.append(name + "".join(cells))
    table = _table([("run", ""), *((column.title, column.unit) for column in columns)], rows, " data-sort")
    return f'<section id="runs"><h2>All runs</h2><p>{_ABOUT_RUNS}</p>{table}</section>'


def _tenants(runs: Sequence[Run]) -> str:
    """Say what was written for whom, where there are several tenants."""
    parts = []
    for run in runs:
        tenants = run.result.tenants
        if len(tenants) < 2:
            continue
        most = sorted(tenants.items(), key=lambda entry: (-entry[1].user_blocks, entry[0]))
        rows = []
        for number, one in most[:_MOST_TENANTS]:
            amplification = f"{one.write_amplification:.3f}" if one.user_blocks else ""
            cells = (f"tenant {number}", f"{one.user_blocks:,}", f"{one.relocated_blocks:,}", amplification)
            rows.append("".join(f"<td>{cell}</td>" for cell in cells))
        heads = [
            ("tenant", ""),
            ("on request", "blocks"),
            ("relocated", "blocks"),
            ("write amplification", ""),
        ]
        left = f", the {_MOST_TENANTS} that wrote most" if len(most) > _MOST_TENANTS else ""
        summary = f"<summary>{escape(run.label)}: {len(most)} tenants{left}</summary>"
        opened = " open" if len(runs) == 1 else ""
        parts.append(f"<details{opened}>{summary}{_table(heads, rows)}</details>")
    return f'<section id="tenants"><h2>Tenants</h2>{"".join(parts)}</section>' if parts else ""


def _table(heads: Sequence[tuple[str, str]], rows: Sequence[str], attribute: str = "") -> str:
    """Put a table together: heads with their units, and rows of cells."""
    head = "".join(f"<th>{escape(name)}<small>{escape(unit)}</small></th>" for name, unit in heads)
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="wide"><table{attribute}><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _parameters(runs: Sequence[Run]) -> str:
    """Say what repeats each run."""
    parts = "".join(
        f"<details><summary>{escape(run.label)}</summary><pre>{escape(_repeat(run.result))}</pre></details>"
        for run in runs
    )
    return f'<section id="parameters"><h2>Parameters</h2><p>What repeats each run.</p>{parts}</section>'


def _repeat(result: RunResult) -> str:
    values = {
        "source": result.source,
        "selection": result.selection,
        "placement": result.placement,
        "parameters": result.parameters,
    }
    return json.dumps(values, indent=2)
