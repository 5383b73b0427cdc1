"""The tables of benchmarks in the README: rows that miss what they are to reach are marked, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.publish import MISSED, README, is_missed, short_table
from benchmarks.side_by_side import Result

ROW = re.compile(r"\| ([\d.]+) \| (at least|at most) ([\d.]+)(, \*\*missed\*\*)? \|$", re.MULTILINE)


def test_the_readme_marks_what_was_missed() -> None:
    rows = ROW.findall(Path(README).read_text("utf-8"))
    assert len(rows) > 30
    for ratio, sign, to_reach, mark in rows:
        missed = is_missed(float(ratio), float(to_reach), is_most=sign == "at most")
        assert bool(mark) == missed, (ratio, sign, to_reach)
    assert sum(bool(mark) for *_, mark in rows) > 0


@pytest.mark.parametrize(
    ("ratio", "to_reach", "is_most", "missed"),
    [(0.83, 0.9, False, True), (0.9, 0.9, False, False), (2.01, 2, True, True), (0.4, 1, True, False)],
)
def test_what_is_missed(ratio: float, to_reach: float, is_most: bool, missed: bool) -> None:
    assert is_missed(ratio, to_reach, is_most=is_most) is missed


def test_new_tables_are_marked_the_same_way() -> None:
    slow = Result(question="writes", unit="GB/s", ours="seqstore", against="memcpy", to_reach=0.9)
    slow.rates = {"seqstore": [1.0], "memcpy": [2.0]}
    fast = Result(question="opening", unit="ms (less is better)", ours="seqstore", against="1 s", to_reach=1)
    fast.rates = {"seqstore": [0.5], "1 s": [1.0]}
    rows = ROW.findall(short_table([slow, fast]))
    assert rows == [("0.50", "at least", "0.9", MISSED), ("0.50", "at most", "1", "")]
