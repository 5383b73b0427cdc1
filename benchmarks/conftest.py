"""Options of the benchmarks, and the table at the end of a run.

``--scratch FOLDER`` says on which file system the durable benchmarks work; ``--small`` makes them small, to
see that they run.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.side_by_side import Session

_SESSION = Session()
_BUILD = Path(__file__).resolve().parents[1] / "build" / "benchmarks"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("benchmarks of seqstore")
    group.addoption("--scratch", metavar="FOLDER", help="where files are made; the checkout's build folder")
    group.addoption("--small", action="store_true", help="small files; the figures are not kept")


@pytest.fixture
def side_by_side(request: pytest.FixtureRequest) -> Iterator[Session]:
    """Collects the comparisons of this run."""
    yield _SESSION
    _SESSION.label(request.module.__name__.rpartition(".")[2])


@pytest.fixture(scope="session")
def small(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--small"))


@pytest.fixture(scope="module")
def scratch(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder that is gone when the file of benchmarks is done."""
    option = request.config.getoption("--scratch")
    parent = Path(option) if option else _BUILD
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="scratch-", dir=parent))
    yield folder
    shutil.rmtree(folder)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _is_kept(session.config):
        _SESSION.save(_BUILD)


def _is_kept(config: pytest.Config) -> bool:
    """Figures of a small run are never published."""
    return bool(_SESSION.parts) and not config.getoption("--small")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _SESSION.parts:
        return
    terminalreporter.section("side by side (ratio of medians to the contestant named last)")
    rows = [row for result in _SESSION.results for row in result.rows()]
    if rows:
        _write_table(terminalreporter, Session.header, rows)
    for table in _SESSION.tables:
        terminalreporter.write_line("")
        terminalreporter.write_line(table.title)
        _write_table(terminalreporter, table.header, table.rows)
    for remark in _SESSION.remarks:
        terminalreporter.write_line(remark.text)
    if _is_kept(terminalreporter.config):
        terminalreporter.write_line(f"kept in {os.path.relpath(_BUILD)}")


def _write_table(reporter: pytest.TerminalReporter, header: tuple[str, ...], rows: list[list[str]]) -> None:
    widths = [max(len(row[i]) for row in [list(header), *rows]) for i in range(len(header))]
    for row in [list(header), *rows]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        reporter.write_line(line.rstrip())
