"""Runs the code of the documents: what a reader copies from them has to work.

Each page is one test. Its ``python`` blocks run in order and share their names, in an empty folder of
their own; a block of ``>>>`` examples has its output compared. In ``console`` blocks every line that starts
with ``$ seqstore`` is run and must succeed, and what the block shows below it must be what it prints,
where ``...`` stands for anything.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OUTPUT = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run_console(example: Example) -> str | None:
    """Run the commands of a console block that are ours; others, such as ``$ make test``, are left alone."""
    for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n?)*)", example.parsed, re.MULTILINE):
        if command.split()[0] != "seqstore":
            continue
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env={**os.environ, "COLUMNS": "100"},
        )
        if done.returncode != 0:
            return f"$ {command}\nended with status {done.returncode}:\n{done.stdout}"
        shown = expected.strip("\n") + "\n"
        if expected.strip() and not doctest.OutputChecker().check_output(shown, done.stdout, OUTPUT):
            return f"$ {command}\nshows\n{shown}\nbut printed\n{done.stdout}"
    return None


PARSERS = (
    PythonCodeBlockParser(doctest_optionflags=OUTPUT),
    CodeBlockParser(language="console", evaluator=run_console),
)


def examples(page: Path) -> list[Example]:
    return [*Document.parse(str(page), *PARSERS).examples()]


def run(page: Path) -> None:
    for example in examples(page):
        example.evaluate()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_works(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run(page)
    assert re.findall(r".*\d\.\d{9,}.*", capsys.readouterr().out) == []  # numbers are for people


def test_code_was_found() -> None:
    assert examples(ROOT / "README.md") != []


def test_no_code_hides_under_another_language() -> None:
    """Only ``python`` and ``console`` blocks are run, so ours must not stand in others."""
    fence = re.compile(r"^ *(```+|~~~+)(\w[\w-]*)\n(.*?)^ *\1", re.MULTILINE | re.DOTALL)
    ours = re.compile(r"^((\$ )?seqstore |(>>> )?(import|from) seqstore)", re.MULTILINE)
    hidden = [
        f"{page.name}: {language}: {code}"
        for page in PAGES
        for _, language, code in fence.findall(page.read_text("utf-8"))
        if language not in {"python", "console"} and ours.search(code)
    ]
    assert hidden == []


def test_a_wrong_output_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ seqstore --help\nno such text\n```\n", "utf-8")
    with pytest.raises(AssertionError, match="but printed"):
        run(page)
