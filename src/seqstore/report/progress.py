"""What commands say on the terminal: bars with rate and time left, and a table of runs."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column, Table
from rich.text import Text

from seqstore.report.columns import COLUMNS, best_of
from seqstore.report.runs import Run

# Where the width is nobody's choice, a file or a pipe, a line has room for names and all columns.
_WIDTH_WITHOUT_TERMINAL, _WIDTH_OF_COLUMNS = 150, 80
_NAMES, _BARS = (28, 40), (5, 28)  # least and most widths
_WIDTH_OF_FIGURES = 46  # behind a bar: how much, the rate, the time left
_SHOWN = (
    "write amplification",
    "last half",
    "mean victim",
    "99 % gone after",
    "oldest residue",
    "replayed at",
)


class _Figure(ProgressColumn):
    """A figure behind a bar, which keeps to its line."""

    def __init__(self) -> None:
        super().__init__(table_column=Column(no_wrap=True))


class _Rate(_Figure):
    """How much is done in a second, or in another unit of time."""

    def __init__(self, unit: str = "/s", seconds: int = 1) -> None:
        super().__init__()
        self._unit, self._seconds = unit, seconds

    def render(self, task: Task) -> Text:
        """Write the rate of a task."""
        speed = task.finished_speed or task.speed
        done = "" if speed is None else f"{format_count(speed * self._seconds)}{self._unit}"
        return Text(done, style="cyan")


class _Time(_Figure):
    """The time that is left; in the end the time that it took."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """Write the time of a task."""
        if task.finished:
            return Text(f"in {timedelta(seconds=round(task.finished_time or 0))}", style="dim")
        left = task.time_remaining
        return Text("" if left is None else f"{timedelta(seconds=round(left))} left")


class _Done(_Figure):
    """How much is done, and of how much."""

    def __init__(self, unit: str = "") -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Write it."""
        total = "" if task.total is None else f" of {format_count(task.total)}"
        return Text(f"{format_count(task.completed)}{total}{self._unit}")


class Screen:
    """Writes to standard output, and bars to standard error where that is a terminal.

    Parameters
    ----------
    quiet : bool
        Leaves out the bars.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._out = Console(highlight=False, markup=False, emoji=False, soft_wrap=False)
        if not self._out.is_terminal:
            self._out = Console(highlight=False, markup=False, emoji=False, width=_WIDTH_WITHOUT_TERMINAL)
        self._err = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._quiet = quiet or not self._err.is_terminal

    def say(self, text: str = "") -> None:
        """Write a line."""
        self._out.print(text, soft_wrap=True)

    @contextmanager
    def operations(self, what: str, total: int | None) -> Iterator[Callable[[int], object]]:
        """Show a bar for so many operations, or one without an end; hand out what takes how many are done."""
        with self._bar(_Done(), _Rate()) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, completed=done)
            done = bar.tasks[task].completed
            bar.update(task, total=done, completed=done)

    @contextmanager
    def runs(self, what: str) -> Iterator[Callable[[int, int], object]]:
        """Show a bar for runs; hand out what takes how many are over, and of how many."""
        with self._bar(_Done(" runs"), _Rate(" a minute", 60)) as bar:
            task = bar.add_task(what, total=None)
            yield lambda over, total: bar.update(task, completed=over, total=total)

    def _bar(self, *figures: ProgressColumn) -> Progress:
        """Lay out a bar that fits into the terminal."""
        room = self._err.width - _WIDTH_OF_FIGURES
        width = min(max(room - _BARS[1], _NAMES[0]), _NAMES[1])
        name = TextColumn(
            f"{{task.description:<{width}}}", markup=False, table_column=Column(no_wrap=True, max_width=width)
        )
        bar = BarColumn(bar_width=min(max(room - width, _BARS[0]), _BARS[1]))
        return Progress(name, bar, *figures, _Time(), console=self._err, disable=self._quiet)

    def show(self, runs: Sequence[Run]) -> None:
        """Write a table of runs, the best of each column marked."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("run", overflow="fold")
        shown = [
            column
            for column in COLUMNS
            if column.title in _SHOWN
            and column.unit != "simulated s"
            and any(math.isfinite(column.value(run)) for run in runs)
        ]
        for column in shown:
            # Broken at its last space a head is as wide as its figures, and leaves names their room.
            head = "\n".join(filter(None, [*column.title.rsplit(" ", 1), column.unit]))
            table.add_column(head, justify="right", vertical="bottom", no_wrap=True)
        best = [best_of(column, runs) if column.least and len(runs) > 1 else None for column in shown]
        for run in runs:
            cells = [
                Text(column.text(run), style="bold green" if run is least else "")
                for column, least in zip(shown, best, strict=True)
            ]
            table.add_row(Text(run.label), *cells)
        longest = max(len(run.label) for run in runs)
        self._out.print(table, width=None if self._out.is_terminal else longest + _WIDTH_OF_COLUMNS)

    def facts(self, facts: Sequence[tuple[str, str]]) -> None:
        """Write names and values, one a line."""
        indent = max(len(name) for name, _ in facts) + 3
        for name, value in facts:
            lines = textwrap.wrap(value, max(self._out.width - indent, 20)) or [""]
            self._out.print(Text(f"{name:<{indent}}", style="dim"), lines[0], sep="", soft_wrap=True)
            for line in lines[1:]:
                self._out.print(" " * indent + line, soft_wrap=True)


def format_count(number: float) -> str:
    """Write a large number in three digits, such as ``"2.62 M"``."""
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor:
            return f"{number / factor:.3g} {letter}"
    return f"{number:.0f}"
