"""Contestants take turns, round by round, so that a slow moment of the machine meets all of them.

What is quoted is the ratio of medians. The results of a session are printed and kept under
``build/benchmarks``: all of them as Markdown, and those of each file of benchmarks as JSON, for `publish`.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Work of a contestant that takes the time itself, since not all that it does counts."""

    amount: float
    seconds: float


Round = Callable[[], "float | Timed"]
"""Does one round's work and returns how much it was: bytes, calls, blocks."""


@dataclass(kw_only=True)
class Part:
    """What a run yields.

    Attributes
    ----------
    module : str
        The file of benchmarks that it comes from; filled in when the test is over.
    """

    module: str = ""


@dataclass(kw_only=True)
class Result(Part):
    """What a question was answered with.

    Attributes
    ----------
    rates : dict of str to list of float
        Amount of work a second, in units of `unit`, of each contestant and round.
    """

    question: str
    unit: str
    ours: str
    against: str
    to_reach: float
    note: str = ""
    rates: dict[str, list[float]] = field(default_factory=dict)

    def median(self, contestant: str) -> float:
        return statistics.median(self.rates[contestant])

    @property
    def ratio(self) -> float:
        return self.median(self.ours) / self.median(self.against)

    def rows(self) -> list[list[str]]:
        """Return a row for each contestant: question, who, rate, range, ratio, figure to reach."""
        table = []
        for name, rates in self.rates.items():
            spread = f"{min(rates):.3g} to {max(rates):.3g}"
            share = self.median(name) / self.median(self.against)
            figure = f"{self.to_reach:g} x {self.against}" if name == self.ours and self.to_reach else ""
            table.append(
                [self.question if name == self.ours else "", name, f"{self.median(name):.3g} {self.unit}",
                 spread, f"{share:.2f}", figure]
            )  # fmt: skip
        return table


@dataclass(kw_only=True)
class Table(Part):
    """Figures that have no peer, under a title."""

    title: str
    header: tuple[str, ...]
    rows: list[list[str]] = field(default_factory=list)

    def lines(self) -> list[str]:
        return ["", f"**{self.title}**", "", *table_lines(self.header, self.rows)]


@dataclass(kw_only=True)
class Remark(Part):
    """What a reader has to know about the run: versions, the file system, what was missing."""

    text: str


def table_lines(header: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)] + [
        "| " + " | ".join(row) + " |" for row in rows
    ]


class Session:
    """The results of one run of the benchmarks, or those that were kept of earlier ones."""

    header = ("what", "who", "median", "range", "ratio", "to reach")

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.tables: list[Table] = []
        self.remarks: list[Remark] = []

    def compare(self, result: Result, contestants: dict[str, Round], *, rounds: int = 7) -> Result:
        """Run every contestant once to warm up, then in turn; `contestants` names `ours` first."""
        for work in contestants.values():
            work()
        for _ in range(rounds):
            for name, work in contestants.items():
                start = time.perf_counter()
                done = work()
                seconds = time.perf_counter() - start
                rate = done.amount / done.seconds if isinstance(done, Timed) else done / seconds
                result.rates.setdefault(name, []).append(rate)
        self.results.append(result)
        return result

    def scaled(self, result: Result, factor: float) -> None:
        """Divide all rates by `factor`: from bytes to GB, from calls to millions."""
        result.rates = {name: [rate / factor for rate in rates] for name, rates in result.rates.items()}

    @property
    def parts(self) -> list[Part]:
        return [*self.results, *self.tables, *self.remarks]

    def remark(self, text: str) -> None:
        if text not in [remark.text for remark in self.remarks]:
            self.remarks.append(Remark(text=text))

    def label(self, module: str) -> None:
        """Say which file of benchmarks everything comes from that came since the last call."""
        for part in self.parts:
            part.module = part.module or module

    def of(self, modules: tuple[str, ...]) -> Session:
        """Return what comes from some of the files of benchmarks."""
        chosen = Session()
        chosen.results = [result for result in self.results if result.module in modules]
        chosen.tables = [table for table in self.tables if table.module in modules]
        chosen.remarks = [remark for remark in self.remarks if remark.module in modules]
        return chosen

    def markdown(self) -> str:
        lines = [f"{remark.text}\n" for remark in self.remarks]
        lines += table_lines(self.header, [row for result in self.results for row in result.rows()])
        for table in self.tables:
            lines += table.lines()
        return "\n".join(lines) + "\n"

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "table.md").write_text(self.markdown(), encoding="utf-8")
        for module in {part.module for part in self.parts}:
            chosen = self.of((module,))
            data = {
                "results": [asdict(result) for result in chosen.results],
                "tables": [asdict(table) for table in chosen.tables],
                "remarks": [asdict(remark) for remark in chosen.remarks],
            }
            (folder / f"{module}.json").write_text(json.dumps(data, indent=1), encoding="utf-8")

    def load(self, path: Path) -> None:
        """Add what `save` kept of a file of benchmarks."""
        data = json.loads(path.read_text(encoding="utf-8"))
        self.results += [Result(**fields) for fields in data["results"]]
        self.tables += [Table(**fields) for fields in data["tables"]]
        self.remarks += [Remark(**fields) for fields in data["remarks"]]
