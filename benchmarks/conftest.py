"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.side_by_side import Session

_SESSION = Session()


@pytest.fixture(scope="session")
def side_by_side() -> Iterator[Session]:
    """Collects the comparisons of this run."""
    yield _SESSION
    _SESSION.save(Path("build/benchmarks"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _SESSION.results:
        terminalreporter.section("side by side (ratio of medians to the contestant named last)")
        rows = [row for result in _SESSION.results for row in result.rows()]
        widths = [max(len(row[i]) for row in [list(Session.header), *rows]) for i in range(6)]
        for row in [list(Session.header), *rows]:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            terminalreporter.write_line(line.rstrip())
        terminalreporter.write_line("kept in build/benchmarks/table.md and results.json")
