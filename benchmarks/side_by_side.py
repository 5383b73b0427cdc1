"""Contestants take turns, round by round, so that a slow moment of the machine meets all of them.

What is quoted is the ratio of medians. The results of a session are printed as a table and kept as JSON and
Markdown under ``build/benchmarks``.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

Round = Callable[[], float]
"""Does one round's work and returns how much it was: bytes, calls, blocks."""


@dataclass(kw_only=True)
class Result:
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


class Session:
    """The results of one run of the benchmarks."""

    header = ("what", "who", "median", "range", "ratio", "to reach")

    def __init__(self) -> None:
        self.results: list[Result] = []

    def compare(self, result: Result, contestants: dict[str, Round], *, rounds: int = 7) -> Result:
        """Run every contestant once to warm up, then in turn; `contestants` names `ours` first."""
        for work in contestants.values():
            work()
        for _ in range(rounds):
            for name, work in contestants.items():
                start = time.perf_counter()
                amount = work()
                result.rates.setdefault(name, []).append(amount / (time.perf_counter() - start))
        self.results.append(result)
        return result

    def scaled(self, result: Result, factor: float) -> None:
        """Divide all rates by `factor`: from bytes to GB, from calls to millions."""
        result.rates = {name: [rate / factor for rate in rates] for name, rates in result.rates.items()}

    def markdown(self) -> str:
        lines = ["| " + " | ".join(self.header) + " |", "|" + "---|" * len(self.header)]
        for result in self.results:
            lines += ["| " + " | ".join(row) + " |" for row in result.rows()]
        return "\n".join(lines) + "\n"

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "table.md").write_text(self.markdown(), encoding="utf-8")
        data = [asdict(result) | {"ratio": result.ratio} for result in self.results]
        (folder / "results.json").write_text(json.dumps(data, indent=1), encoding="utf-8")
