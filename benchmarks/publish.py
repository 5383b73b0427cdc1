"""Puts the tables of the last runs into the documents: ``python -m benchmarks.publish``."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from benchmarks.side_by_side import Result, Session

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / "build" / "benchmarks"
README, PAGE = ROOT / "README.md", ROOT / "docs" / "reference" / "benchmarks.md"

SECTIONS = {
    "benchmarks": ("bench_batches", "bench_calls", "bench_import", "bench_simulated"),
    "durable": ("bench_durable", "bench_recovery", "bench_snapshots"),
    "simulator": ("bench_replay", "bench_sweep"),
    "deletion": ("bench_deletion", "bench_ledger"),
    "keys": ("bench_keys", "bench_encryption", "bench_epochs"),
    "drives": ("bench_drives",),
    "sanitization": ("bench_sanitize",),
}
"""Markers in the documents, and the files of benchmarks whose results stand between them.

A document without a marker is left as it is."""


MISSED = ", **missed**"
"""Stands behind what was to be reached, and was not."""


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def is_missed(ratio: float, to_reach: float, *, is_most: bool) -> bool:
    """Whether a ratio, as it is printed, does not come to what it is to reach."""
    printed = round(ratio, 2)
    return printed > to_reach if is_most else printed < round(to_reach, 2)


def short_table(results: list[Result]) -> str:
    """The rows of our own that have a figure to reach."""
    lines = ["| what | measured | compared with | ratio | to reach |", "|---|---|---|---|---|"]
    for result in results:
        if not result.to_reach or result.ours == result.against:
            continue
        median = f"{result.median(result.ours):.3g} {result.unit}"
        is_most = "less is better" in result.unit
        sign = "at most" if is_most else "at least"
        lines.append(
            f"| {result.question} | {median.replace(' (less is better)', '')} | {result.against}"
            f" | {result.ratio:.2f} | {sign} {result.to_reach:g}"
            f"{MISSED if is_missed(result.ratio, result.to_reach, is_most=is_most) else ''} |"
        )
    return "\n".join(lines)


def replace(path: Path, marker: str, text: str) -> None:
    page = path.read_text(encoding="utf-8")
    pattern = rf"(<!-- {marker}: begin -->\n).*?(<!-- {marker}: end -->)"
    path.write_text(
        re.sub(pattern, lambda found: f"{found[1]}{text}\n{found[2]}", page, flags=re.DOTALL),
        encoding="utf-8",
    )


def main() -> None:
    machine = f"Measured on {processor()}, Python {platform.python_version()}, {platform.system()}.\n\n"
    for marker, modules in SECTIONS.items():
        missing = [module for module in modules if not (RUN / f"{module}.json").exists()]
        if missing:
            print(f"{marker}: left as it was, since there is no run of {', '.join(missing)}")
            continue
        session = Session()
        for module in modules:
            session.load(RUN / f"{module}.json")
        replace(README, marker, short_table(session.results))
        replace(PAGE, marker, machine + session.markdown().rstrip())


if __name__ == "__main__":
    main()
