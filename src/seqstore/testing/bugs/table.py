"""The table of the seeded bugs: runs the kit on each with many seeds, and says what it took to find it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median

from seqstore.testing import bugs
from seqstore.testing.checks import check_isolation
from seqstore.testing.report import IsolationViolation

BEGIN = "<!-- seeded bugs: begin -->"
END = "<!-- seeded bugs: end -->"
# Of twenty seeds one may miss a bug.
REQUIRED_SHARE = 0.95
MEDIAN_STORY = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunt:
    """One seed on one store.

    Attributes
    ----------
    name : str
        The bug, or the correct store.
    seed : int
        Of the stories.
    kind : str or None
        What the kit called it, or None if it found nothing.
    steps, seconds : int and float
        Until it was found, or at the end of the budget.
    story : int
        Length of the shortest story in steps, if one was found.
    """

    name: str
    seed: int
    kind: str | None
    steps: int
    seconds: float
    story: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """All seeds on one store."""

    name: str
    hunts: Sequence[Hunt]

    @property
    def caught(self) -> list[Hunt]:
        """The seeds that found something."""
        return [hunt for hunt in self.hunts if hunt.kind is not None]

    @property
    def is_caught(self) -> bool:
        """Whether enough seeds found it."""
        return len(self.caught) >= REQUIRED_SHARE * len(self.hunts)

    @property
    def shortest(self) -> int:
        """Steps of the shortest story."""
        return min((hunt.story for hunt in self.caught), default=0)

    def __str__(self) -> str:
        caught = self.caught
        what = f"| `{self.name}` | {bugs.describe(self.name)} | {len(caught)} of {len(self.hunts)} "
        if not caught:
            return what + "| | | | |"
        kinds = ", ".join(sorted({hunt.kind for hunt in caught if hunt.kind is not None}))
        steps = median(hunt.steps for hunt in caught)
        seconds = median(hunt.seconds for hunt in caught)
        return what + f"| {steps:,.0f} | {seconds:.2f} | {self.shortest} | {kinds} |"


def hunt(name: str, seed: int) -> Hunt:
    """Run the kit with its default budget on one store."""
    try:
        report = check_isolation(bugs.store(name), seed=seed)
    except IsolationViolation as found:
        return Hunt(
            name=name,
            seed=seed,
            kind=found.kind,
            steps=found.steps or 0,
            seconds=found.seconds or 0.0,
            story=len(found.story) - 1,  # its last sentence is what was found
        )
    return Hunt(name=name, seed=seed, kind=None, steps=report.steps, seconds=report.seconds)


def run(names: Sequence[str], seeds: int, jobs: int) -> Iterator[Row]:
    """Run the kit with seeds from 0 on each store, and yield a row as each is done."""
    with ProcessPoolExecutor(jobs) as pool:
        hunts = (
            pool.map(hunt, *zip(*product(names, range(seeds)), strict=True)) if names and seeds else iter(())
        )
        for name in names:
            yield Row(name=name, hunts=[next(hunts) for _ in range(seeds)] if seeds else [])


def as_markdown(rows: Sequence[Row], correct: Sequence[Row]) -> str:
    """Return the table as it stands in the reference, family by family."""
    by_name = {row.name: row for row in rows}
    lines = []
    for family, names in bugs.families().items():
        chosen = [by_name[name] for name in names if name in by_name]
        if chosen:
            lines += [f"### {family[0].upper()}{family[1:]}", "", HEAD, *map(str, chosen), ""]
    return "\n".join([*lines, *summary(rows, correct)])


HEAD = (
    "| bug | what is wrong | caught by | steps | seconds | story | kinds |\n|---|---|---:|---:|---:|---:|---|"
)


def summary(rows: Sequence[Row], correct: Sequence[Row]) -> list[str]:
    """Return what the table comes to, in sentences."""
    lines = []
    if rows:
        enough = sum(row.is_caught for row in rows)
        stories = median(row.shortest for row in rows)
        lines.append(
            f"{enough} of {len(rows)} bugs were caught by at least {REQUIRED_SHARE:.0%} of their seeds; "
            f"the median of the shortest stories is {stories:g} steps."
        )
    for row in correct:
        passed = [hunt for hunt in row.hunts if hunt.kind is None]
        steps = sum(hunt.steps for hunt in passed)
        seconds = sum(hunt.seconds for hunt in passed)
        speed = f", at {steps / seconds:,.0f} steps a second" if seconds else ""
        lines.append(f"The correct store `{row.name}` passed {len(passed)} of {len(row.hunts)} seeds{speed}.")
    return lines


def is_good(rows: Sequence[Row], correct: Sequence[Row]) -> bool:
    """Say whether the kit finds what it has to, nothing else, and tells it shortly."""
    short = not rows or median(row.shortest for row in rows) <= MEDIAN_STORY
    return short and all(row.is_caught for row in rows) and not any(row.caught for row in correct)


def write_between(path: Path, table: str, *, begin: str = BEGIN, end: str = END) -> None:
    """Put a table between two markers of a page.

    Raises
    ------
    ValueError
        If the page does not have both markers.
    """
    text = path.read_text(encoding="utf-8")
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"{path} must hold the lines {begin!r} and {end!r}")
    path.write_text(f"{before}{begin}\n\n{table}\n\n{end}{after}", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the table from the command line.

    Returns
    -------
    int
        0 if every bug was found often enough, and nothing in the correct stores.
    """
    options = _parser().parse_args(arguments)
    rows = []
    for row in run(options.bug or bugs.names(), options.seeds, options.jobs):
        rows.append(row)
        print(f"{row.name}: {len(row.caught)} of {len(row.hunts)}", file=sys.stderr)  # noqa: T201  progress
    correct = list(run(tuple(bugs.CORRECT), options.correct_seeds, options.jobs))
    table = as_markdown(rows, correct)
    print(table)  # noqa: T201  the output of a command
    if options.write is not None:
        write_between(options.write, table)
    return 0 if is_good(rows, correct) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m seqstore.testing.bugs", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="for each bug")
    parser.add_argument("--correct-seeds", type=int, default=200, help="for the correct stores")
    parser.add_argument("--bug", action="append", choices=bugs.names(), metavar="NAME", help="this one alone")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between the markers there")
    return parser
