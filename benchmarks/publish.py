"""Puts the table of the last run into the documents: ``python -m benchmarks.publish``."""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / "build" / "benchmarks"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def short_table(results: list[dict[str, Any]]) -> str:
    """The rows of our own that have a figure to reach."""
    lines = ["| what | measured | compared with | ratio | to reach |", "|---|---|---|---|---|"]
    for result in results:
        if not result["to_reach"] or result["ours"] == result["against"]:
            continue
        rates = sorted(result["rates"][result["ours"]])
        median = f"{rates[len(rates) // 2]:.3g} {result['unit']}"
        sign = "at most" if "less is better" in result["unit"] else "at least"
        lines.append(
            f"| {result['question']} | {median.replace(' (less is better)', '')} | {result['against']}"
            f" | {result['ratio']:.2f} | {sign} {result['to_reach']:g} |"
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
    results = json.loads((RUN / "results.json").read_text(encoding="utf-8"))
    machine = f"Measured on {processor()}, Python {platform.python_version()}, {platform.system()}.\n\n"
    replace(ROOT / "README.md", "benchmarks", short_table(results))
    replace(
        ROOT / "docs/reference/benchmarks.md",
        "results",
        machine + (RUN / "table.md").read_text("utf-8").rstrip(),
    )


if __name__ == "__main__":
    main()
