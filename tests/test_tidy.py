"""The rules of the house that a machine can check, over every text file of the repository."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

FOLDERS = (".ci", "benchmarks", "docs", "scripts", "src", "tests")
NAMES = {".editorconfig", ".gitignore", "Makefile", "run"}
C_SUFFIXES = (".c", ".h")
CODE_SUFFIXES = (*C_SUFFIXES, ".py", ".pyi", ".sh", ".toml")
SUFFIXES = (*CODE_SUFFIXES, ".in", ".json", ".md")
GENERATED = {"_core.c"}

MAX_LINES = {".c": 500, ".h": 500, ".py": 450}
MAX_COLUMNS = 110
MAX_HEAD_LINES = 15

# Looked for in every file but this one, which has to name them.
FORBIDDEN = {
    "a path of somebody's machine": re.compile(r"(?<![\w.])/(work|home|root|Users)/"),
    "a note to oneself": re.compile(r"\b(TODO|FIXME|XXX)\b"),
    "the host of a package registry": re.compile(r"\b(pypi|pythonhosted)\.org\b"),
    "what is left of a merge": re.compile(r"^(<{7}|>{7}) ", re.MULTILINE),
    "a tab": re.compile(r"\t"),
    "white space at the end of a line": re.compile(r"[ \t\r]+$", re.MULTILINE),
    "an empty line at the end": re.compile(r"\n\n\Z"),
    "a last line without its end": re.compile(r"[^\n]\Z"),
}
MAY_HOLD = {"a tab": {"Makefile"}}

# The core reports; it never prints, ends the process or relies on what -DNDEBUG removes.
FORBIDDEN_IN_C = re.compile(r"\b(v?f?printf|puts|fputs|putchar|perror|abort|exit|_exit|assert)\s*\(")
C_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


def read_repository() -> dict[str, str]:
    """Read the files that people write, at the top and under the known folders, by their paths."""
    candidates = [*ROOT.iterdir(), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    return {
        str(path.relative_to(ROOT)): path.read_bytes().decode("utf-8")
        for path in sorted(candidates)
        if (path.suffix in SUFFIXES or path.name in NAMES) and path.name not in GENERATED and path.is_file()
    }


TEXTS = read_repository()


def texts(*suffixes: str) -> Iterator[tuple[str, str]]:
    return ((path, text) for path, text in TEXTS.items() if path.endswith(suffixes))


def find(pattern: re.Pattern[str], path: str, text: str) -> Iterator[str]:
    """Say where a pattern occurs in the text of a file, as ``path:line: what``."""
    for match in pattern.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield f"{path}:{line}: {match[0]!r}"


def expect_none(offences: Iterable[str]) -> None:
    found = list(offences)
    assert not found, "\n" + "\n".join(found)


def test_the_walk_finds_the_repository() -> None:
    assert {"pyproject.toml", "Makefile", ".ci/run", "src/seqstore/__init__.py"} <= TEXTS.keys()
    assert any(path.startswith("src/seqstore/_native/") for path, _ in texts(".c"))


@pytest.mark.parametrize("suffix", MAX_LINES)
def test_files_are_short_enough_to_read(suffix: str) -> None:
    lengths = {path: len(text.splitlines()) for path, text in texts(suffix)}
    expect_none(f"{path}: {lines} lines" for path, lines in lengths.items() if lines > MAX_LINES[suffix])


def test_lines_are_short_enough_to_read() -> None:
    too_long = re.compile(rf"^.{{{MAX_COLUMNS + 1},}}$", re.MULTILINE)
    expect_none(offence for path, text in texts(*CODE_SUFFIXES) for offence in find(too_long, path, text))


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what: str) -> None:
    exempt = {Path(__file__).name, *MAY_HOLD.get(what, ())}
    searched = [(path, text) for path, text in TEXTS.items() if Path(path).name not in exempt]
    expect_none(offence for path, text in searched for offence in find(FORBIDDEN[what], path, text))


def test_c_neither_prints_nor_aborts() -> None:
    # Comments go, their lines stay, so that the numbers are right.
    code = {path: C_COMMENT.sub(lambda c: "\n" * c[0].count("\n"), text) for path, text in texts(*C_SUFFIXES)}
    expect_none(offence for path, text in code.items() for offence in find(FORBIDDEN_IN_C, path, text))


def test_c_files_say_at_their_head_what_they_hold() -> None:
    for path, text in texts(*C_SUFFIXES):
        head = re.match(rf"/\* {re.escape(Path(path).name)}: .*?\*/\n", text, re.DOTALL)
        assert head, f"{path} does not begin with '/* {Path(path).name}: what it holds'"
        assert head[0].count("\n") <= MAX_HEAD_LINES, (
            f"the head of {path} is longer than {MAX_HEAD_LINES} lines"
        )
