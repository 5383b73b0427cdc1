"""What ``seqstore sanitize`` shows: a bar for each drive while it works, and what became of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column, Table
from rich.text import Text

if TYPE_CHECKING:
    from typing_extensions import Self

    from seqstore.sanitize.pace import Progress as Done
    from seqstore.sanitize.result import SanitizationOutcome, Verification

_NS = 1_000_000_000
_WIDTH_WITHOUT_TERMINAL = 120
_STRAY = (1, 10, 100)  # blocks for which the probability of finding them is told
_SHOWN_RANGES = 8


class Screen:
    """Writes to standard output, and bars to standard error where that is a terminal.

    Parameters
    ----------
    quiet : bool
        Leaves out the bars.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._out = _console(stderr=False)
        err = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._bars = Progress(
            TextColumn("{task.fields[drive]}", table_column=Column(max_width=28, no_wrap=True), markup=False),
            TextColumn("{task.description}", table_column=Column(no_wrap=True), markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[rate]}", style="cyan", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[left]}", table_column=Column(no_wrap=True)),
            console=err,
            disable=quiet or not err.is_terminal,
            expand=True,
        )
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def drive(self, path: str) -> Callable[[Done], None]:
        """Add a bar; return what takes the progress of its drive."""
        task = self._bars.add_task("waits", total=1, drive=path, rate="", left="")

        def report(done: Done) -> None:
            left = "" if done.left_ns is None else f"{timedelta(seconds=round(done.left_ns / _NS))} left"
            with self._lock:
                self._bars.update(
                    task,
                    description=done.doing,
                    completed=done.done,
                    total=done.total,
                    rate=f"{_size(done.rate)}/s" if done.rate else "",
                    left=left,
                )

        return report

    def tell(self, path: str, serial: str, outcome: SanitizationOutcome | Exception) -> None:
        """Write what became of a drive."""
        if isinstance(outcome, Exception):
            self._out.print(Text(f"{path} ({serial}): sanitize-failed", style="bold red"))
            self._out.print(f"  {outcome}")
            return
        style = "bold green" if outcome.succeeded else "bold red"
        self._out.print(Text(f"{path} ({serial}): {outcome.state}", style=style))
        for part in outcome.passes:
            share = f"{part.overwritten} of {part.blocks} blocks" if part.blocks else part.detail
            times = "once" if part.resumptions == 1 else f"{part.resumptions} times"
            again = f", taken up again {times}" if part.resumptions else ""
            state = "" if part.complete else ", not complete"
            method = part.step.method.value
            self._out.print(f"  pass {part.number}, {method}: {share}, {_size(part.rate)}/s{again}{state}")
        for seen in outcome.verifications:
            self._verification(seen)
        for area in outcome.areas:
            proof = "read back" if area.proven else f"{area.read_back} of {area.blocks} blocks read back"
            self._out.print(
                f"  {area.area.value}: {area.blocks} blocks, reached by {area.reached_by}, {proof}"
            )
        for problem in outcome.problems:
            self._out.print(Text(f"  {problem.fault.value}: {problem.text}", style="red"))
        for part_of in outcome.unreachable[:_SHOWN_RANGES]:
            last = part_of.first + part_of.count - 1
            self._out.print(f"    {part_of.area.value} blocks {part_of.first} to {last}: {part_of.reason}")
        if len(outcome.unreachable) > _SHOWN_RANGES:
            self._out.print(f"    and {len(outcome.unreachable) - _SHOWN_RANGES} ranges more: --outcome")

    def _verification(self, seen: Verification) -> None:
        who = "" if seen.verifier == "core" else ", by the independent verifier"
        share = f"{seen.read} of {seen.blocks} blocks, {100 * seen.coverage:.3g} %"
        found = "nothing else found" if seen.clean else f"{seen.mismatches} blocks hold something else"
        self._out.print(f"  verification, {seen.method}{who}: {share}, {_size(seen.rate)}/s, {found}")
        if seen.method == "sampling":
            chances = ", ".join(f"{k}: {seen.detection_probability(k):.4f}" for k in _STRAY)
            self._out.print(f"    probability of finding so many stray blocks: {chances}")

    def summary(self, outcomes: Sequence[tuple[str, SanitizationOutcome | Exception]]) -> None:
        """Write how many drives are sanitized, and which are not, by their paths."""
        bad = [path for path, each in outcomes if isinstance(each, Exception) or not each.succeeded]
        names = f": {', '.join(bad)}" if bad else ""
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_row("drives", str(len(outcomes)))
        table.add_row("sanitized", Text(str(len(outcomes) - len(bad)), style="green"))
        table.add_row("failed", Text(f"{len(bad)}{names}", style="red" if bad else ""))
        self._out.print(table)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)
    if console.is_terminal:
        return console
    return Console(
        stderr=stderr,
        highlight=False,
        markup=False,
        emoji=False,
        width=_WIDTH_WITHOUT_TERMINAL,
        soft_wrap=True,
    )


def _size(number: float) -> str:
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= factor:
            return f"{number / factor:.3g} {unit}"
    return f"{number:.0f} B"
