"""`seqstore sanitize` killed at several moments, as ``kill -9`` does, and taken up again."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from seqstore.cli import main
from seqstore.sanitize import Journal, SanitizationOutcome, spots
from seqstore.sanitize.journal import DONE, Position
from seqstore.values import from_values

pytest.importorskip("rich")

MIB = 1 << 20
SIZE = 4 * MIB
BLOCK = 4096
COMMAND = ("sanitize", "old.img", "--yes-destroy-all-data", "old.img", "--outcome", "outcome.json", "--quiet")
SLOWLY = ("--rate", "10MiB", "--checkpoint", "256KiB")


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "old.img"
    file.write_bytes(random.Random(1).randbytes(SIZE))
    return file


def position() -> Position | None:
    return Journal("old.img.sanitize").read()


def kill_when(is_time: Callable[[Position], bool], *more: str) -> Position:
    """Run the command until its journal is so far, kill it, and return what the journal says then."""
    process = subprocess.Popen([sys.executable, "-m", "seqstore", *COMMAND, *SLOWLY, *more])
    try:
        deadline = time.monotonic() + 60
        while (now := position()) is None or not is_time(now):
            assert process.poll() is None, "it came to its end before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    left = position()
    assert left is not None
    return left


def outcome() -> SanitizationOutcome:
    (values,) = json.loads(Path("outcome.json").read_text())
    return from_values(SanitizationOutcome, values)


def is_zero(file: Path) -> bool:
    """Ask cmp, which knows nothing of us."""
    program = shutil.which("cmp")
    assert program is not None
    command = [program, "-n", str(SIZE), str(file), "/dev/zero"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(shutil.which("cmp") is None, reason="there is no cmp command")
def test_it_goes_on_where_it_was_whenever_it_is_killed(drive: Path) -> None:
    first = kill_when(lambda now: now.covered >= 64)  # near the beginning of the pass
    assert 64 <= first.covered < SIZE // BLOCK
    assert not is_zero(drive)
    seen: list[int] = []

    def in_the_middle(now: Position) -> bool:
        seen.append(now.covered)
        return now.covered >= SIZE // BLOCK // 2

    second = kill_when(in_the_middle)
    assert min(seen) >= first.covered  # nothing is done again that was durable
    assert second.resumptions == 1
    assert not is_zero(drive)
    third = kill_when(lambda now: now.stage == DONE)  # while it is read back
    assert third.stage == DONE
    assert not Path("outcome.json").exists()  # nobody has said that it is finished
    assert main([*COMMAND]) == 0
    said = outcome()
    assert said.succeeded
    assert said.resumptions == 3
    assert [part.overwritten for part in said.passes] == [SIZE // BLOCK]
    assert [reading.read for reading in said.verifications] == [SIZE // BLOCK]
    assert is_zero(drive)
    assert position() is None


@pytest.mark.skipif(shutil.which("cmp") is None, reason="there is no cmp command")
def test_what_was_done_is_not_done_again_and_is_looked_at_all_the_same(
    drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something comes to lie where the killed pass had been: the resumed one leaves it, and finds it."""
    # Whoever goes on looks at blocks left to chance first, and would begin anew if this one were among them.
    monkeypatch.setattr(spots, "COUNT", 0)
    left = kill_when(lambda now: len(now.passes) == 1 and now.covered >= 64, "--technique", "ones+zero")
    assert len(left.passes) == 1
    with drive.open("r+b") as file:
        file.seek(7 * BLOCK)
        file.write(b"where did this come from?")
    assert main([*COMMAND, "--technique", "ones+zero"]) == 1
    said = outcome()
    assert not said.succeeded
    assert [part.complete for part in said.passes] == [True, True]
    assert [(part.first, part.count) for part in said.verifications[0].first_mismatches] == [(7, 1)]
    assert drive.read_bytes().strip(b"\0") == b"where did this come from?"
    Path("outcome.json").unlink()  # nothing is written over what was said of a pass that failed
    assert main([*COMMAND]) == 0
    assert is_zero(drive)
