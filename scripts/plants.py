"""Plants bugs in the C core, one build each, and lets the isolation kit find them.

    python scripts/plants.py [--seeds 5] [--plant NAME] [--write docs/reference/seeded-bugs.md]

The names stand in src/seqstore/_native/plant.h; the builds, apart from the core in use, in build/plants.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from seqstore.testing.bugs.table import write_between

ROOT = Path(__file__).resolve().parents[1]
HEADER = ROOT / "src" / "seqstore" / "_native" / "plant.h"
BEGIN = "<!-- planted bugs: begin -->"
END = "<!-- planted bugs: end -->"
MEDIA = ("memory", "faulty")
# Nothing of these happens on a drive that no crash leaves.
NEEDS_A_CRASH = "crash and recovery"
TIMEOUT_SECONDS = 600.0

_FAMILY = re.compile(r"/\* ---- (.+) ---- \*/")
_PLANT = re.compile(r"/\* ([^\n]+) \*/\n    SQ_PLANT_(\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """A bug that can be planted: its name, its family, and the sentence that says what goes wrong."""

    name: str
    family: str
    sentence: str

    @property
    def media(self) -> tuple[str, ...]:
        """On which media the kit is run."""
        return ("faulty",) if self.family == NEEDS_A_CRASH else MEDIA


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunt:
    """One seed on one medium; the kind is None if nothing was found."""

    medium: str
    seed: int
    kind: str | None
    steps: int = 0
    seconds: float = 0.0
    story: Sequence[str] = ()


def read_plants() -> tuple[Plant, ...]:
    """Read the table of plant.h."""
    _, *families = _FAMILY.split(HEADER.read_text(encoding="utf-8"))
    return tuple(
        Plant(name=name, family=family, sentence=sentence)
        for family, text in zip(families[::2], families[1::2], strict=True)
        for sentence, name in _PLANT.findall(text)
    )


def build(name: str, folder: Path) -> None:
    """Build a copy of the package with one bug.

    Raises
    ------
    subprocess.CalledProcessError
        If the compiler refuses.
    """
    subprocess.run(
        ["scripts/build_variant.sh", sys.executable, str(folder)],
        cwd=ROOT,
        env={**_environment(), "SEQSTORE_PLANT": name},
        check=True,
        stdout=subprocess.DEVNULL,
    )


def hunt(name: str, folder: Path, medium: str, seeds: Sequence[int]) -> list[Hunt]:
    """Run the kit on the copy, with each seed. What ends the process is found too."""
    found: list[Hunt] = []
    while len(found) < len(seeds):
        left = seeds[len(found) :]
        lines, end = _run(name, folder, medium, left)
        found += [Hunt(medium=medium, **json.loads(line)) for line in lines]
        if end is not None:
            found.append(Hunt(medium=medium, seed=left[len(lines)], kind=end))
    return found


def _run(name: str, folder: Path, medium: str, seeds: Sequence[int]) -> tuple[list[str], str | None]:
    """Return what the process printed, and what ended it early."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "hunt_plant.py"), name, medium, *map(str, seeds)],
        env={**_environment(), "PYTHONPATH": str(folder / "lib")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        output, complaints = process.communicate(timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        return output.splitlines(), "hang"
    if process.returncode > 0:
        raise RuntimeError(f"the hunt for {name} on {medium} failed:\n{complaints}")
    return output.splitlines(), f"signal {-process.returncode}" if process.returncode else None


def _environment() -> dict[str, str]:
    """Return the environment without what other variants of the core ask for."""
    others = {"LD_PRELOAD", "SEQSTORE_SANITIZE", "SEQSTORE_COVERAGE", "SEQSTORE_PLANT"}
    return {name: value for name, value in os.environ.items() if name not in others}


def build_and_hunt(plant: Plant, seeds: Sequence[int]) -> list[Hunt]:
    """Build one copy and run the kit on it, on each medium."""
    folder = ROOT / "build" / "plants" / plant.name
    build(plant.name, folder)
    return [one for medium in plant.media for one in hunt(plant.name, folder, medium, seeds)]


# ---- what comes out ---------------------------------------------------------------------------------


def caught(hunts: Sequence[Hunt], medium: str | None = None) -> list[Hunt]:
    """Return those that found something, on one medium or on any."""
    return [one for one in hunts if one.kind is not None and medium in {None, one.medium}]


def shortest(hunts: Sequence[Hunt]) -> Hunt | None:
    """Return the one with the shortest story."""
    return min((one for one in caught(hunts) if one.story), key=lambda one: len(one.story), default=None)


def is_caught(hunts: Sequence[Hunt]) -> bool:
    """Say whether every seed found it, on one medium at least."""
    media = {one.medium for one in hunts}
    return any(all(one.kind is not None for one in hunts if one.medium == medium) for medium in media)


def row(plant: Plant, hunts: Sequence[Hunt]) -> str:
    """Return one line of the table."""
    counts = []
    for medium in MEDIA:
        tried = [one for one in hunts if one.medium == medium]
        counts.append(f"{len(caught(tried))} of {len(tried)}" if tried else "")
    first = next((found for medium in MEDIA if (found := caught(hunts, medium))), [])
    best = shortest(hunts)
    cells = [f"`{plant.name}`", plant.sentence, *counts]
    told = [one.steps for one in first if one.story]  # what died did not say
    cells.append(f"{median(told):,.0f}" if told else "")
    cells.append(str(len(best.story) - 1) if best else "")  # its last sentence is what was found
    cells.append(", ".join(sorted({one.kind for one in caught(hunts) if one.kind is not None})))
    return "| " + " | ".join(cells) + " |"


HEAD = (
    "| bug | what is wrong | in memory | faulty drive | steps | story | kinds |\n"
    "|---|---|---:|---:|---:|---:|---|"
)


def as_markdown(results: Mapping[Plant, Sequence[Hunt]]) -> str:
    """Return the table as it stands in the reference, family by family."""
    lines = []
    for family in dict.fromkeys(plant.family for plant in results):
        rows = [row(plant, hunts) for plant, hunts in results.items() if plant.family == family]
        lines += [f"### {family[0].upper()}{family[1:]}, in the engine", "", HEAD, *rows, ""]
    enough = sum(map(is_caught, results.values()))
    stories = [len(best.story) - 1 for hunts in results.values() if (best := shortest(hunts))]
    lines.append(
        f"{enough} of {len(results)} planted bugs were caught by every seed, on one medium at least; "
        f"the median of the shortest stories is {median(stories or [0]):g} steps."
    )
    return "\n".join(lines)


def tell(plant: Plant, hunts: Sequence[Hunt]) -> str:
    """Return the progress of one plant: which seeds caught it, and the shortest story."""
    lines = [plant.name]
    for medium in plant.media:
        seeds = [str(one.seed) for one in caught(hunts, medium)]
        lines.append(f"  {medium}: caught by {'seeds ' + ', '.join(seeds) if seeds else 'no seed'}")
    best = shortest(hunts)
    if best is not None:
        lines.append(f"  {best.kind}, seed {best.seed} on {best.medium}:")
        lines += [f"    {number}. {sentence}" for number, sentence in enumerate(best.story, 1)]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant, hunt, and print the table; 0 if everything was caught."""
    plants = {plant.name: plant for plant in read_plants()}
    options = _parser(list(plants)).parse_args(arguments)
    chosen = [plants[name] for name in options.plant or plants]
    seeds = range(options.seeds)
    results: dict[Plant, Sequence[Hunt]] = {}
    with ThreadPoolExecutor(options.jobs) as pool:
        for plant, hunts in zip(chosen, pool.map(lambda p: build_and_hunt(p, seeds), chosen), strict=True):
            results[plant] = hunts
            print(tell(plant, hunts), file=sys.stderr, flush=True)
    table = as_markdown(results)
    print(table)
    if options.write is not None:
        write_between(options.write, table, begin=BEGIN, end=END)
    return 0 if all(map(is_caught, results.values())) else 1


def _parser(names: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/plants.py", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="for each bug and medium")
    parser.add_argument("--plant", action="append", choices=names, metavar="NAME", help="this one alone")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="builds and hunts at once")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between the markers there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
