"""Interruptions: wherever a pass was cut off, it goes on from what is safe; nothing is taken for done."""

from __future__ import annotations

import itertools
import os
import random
import stat
from pathlib import Path

import pytest

from seqstore import ConfigError, FormatError, VersionError, canonical
from seqstore._native.sweep import Fill
from seqstore.sanitize import Effort, Fault, Journal, Options, Position, Technique
from tests.sanitizing import (
    BLOCK,
    RANDOM_SEED,
    SEED,
    TECHNIQUES,
    expected,
    faults,
    full_drive,
    plain_drive,
    sanitize,
)

FEW = 256  # blocks
SMALL_STEPS = Options(effort=Effort(piece_blocks=16, checkpoint_bytes=64 * BLOCK, failures_in_row=2))


@pytest.fixture
def quick_journals(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests cut is the drive's power; that journals are synced has a test of its own."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.mark.usefixtures("quick_journals")
def test_power_cuts_at_every_write_cost_no_block_and_hide_nothing(tmp_path: Path) -> None:
    """With bad blocks on the way: taken up again, it ends with the same exact list and the same bytes."""
    cuts, resumed = 0, 0
    for write in itertools.count(1):
        drive = plain_drive(FEW, generator=random.Random(write))
        drive.bad_on_write(18)
        drive.bad_on_write(100)
        journal = Journal(tmp_path / f"journal-{write}")
        before = drive.writes
        drive.cut_after(before + write)
        first = sanitize(drive, TECHNIQUES["random"], journal=journal, options=SMALL_STEPS)
        if not drive.off:
            break
        cuts += 1
        assert not first.succeeded
        assert faults(first) & {Fault.DRIVE_DIED, Fault.NOT_STARTED}
        drive.reboot()
        position = journal.read()
        if position is not None:
            resumed += 1
            done = Fill(seed=RANDOM_SEED).bytes_at(0, FEW * BLOCK)
            out = {
                b
                for p in (*position.left_out, *position.unreachable)
                for b in range(p.first, p.first + p.count)
            }
            for block in set(range(position.covered)) - out:
                assert drive.peek(block, 1) == done[block * BLOCK : (block + 1) * BLOCK]
        second = sanitize(drive, TECHNIQUES["random"], journal=journal, options=SMALL_STEPS)
        assert faults(second) == {Fault.BAD_BLOCKS, Fault.MISMATCH}
        assert [(part.first, part.count) for part in second.unreachable] == [(18, 1), (100, 1)]
        assert second.resumptions == (1 if position else 0)
        assert second.passes[0].overwritten == FEW - 2
        assert journal.read() is None
    assert cuts > 20
    assert resumed > 10


@pytest.mark.usefixtures("quick_journals")
def test_death_at_every_operation_is_never_taken_for_success(tmp_path: Path) -> None:
    """Writes, syncs and reads; the drive comes back, and what was begun ends well."""
    technique = TECHNIQUES["combined"]
    for operation in itertools.count():
        drive = plain_drive(FEW)
        journal = Journal(tmp_path / f"journal-{operation}")
        drive.die(after=operation)
        first = sanitize(drive, technique, journal=journal, options=SMALL_STEPS)
        if first.succeeded:
            break
        drive.die(after=1_000_000)
        second = sanitize(drive, technique, journal=journal, options=SMALL_STEPS)
        assert second.succeeded, (operation, second.problems)
        assert drive.image() == expected(technique, FEW * BLOCK)
    assert operation > 40


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    drive = plain_drive(FEW)
    drive.die(after=12)
    first = sanitize(drive, journal=journal, options=SMALL_STEPS)
    drive.die(after=1_000_000)
    covered = first.passes[0].overwritten
    assert covered > 0
    written = drive.counts.written_blocks
    second = sanitize(drive, journal=journal, options=SMALL_STEPS)
    assert second.succeeded
    assert second.resumptions == second.passes[0].resumptions == 1
    assert second.started_ns == first.started_ns
    assert drive.counts.written_blocks - written == FEW - covered


def test_a_journal_is_safe_before_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Synced, moved, and the folder synced: whenever the power goes, one of the two is whole."""
    order: list[str] = []
    fsync, move, remove = os.fsync, Path.replace, Path.unlink

    def note_sync(descriptor: int) -> None:
        order.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def note_move(self: Path, target: Path) -> Path:
        order.append("move")
        return move(self, target)

    def note_removal(self: Path, *, missing_ok: bool) -> None:
        order.append("removal")
        remove(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", note_removal)
    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_move)
    Journal(tmp_path / "journal").write(a_position())
    assert order == ["file", "move", "folder"]
    Journal(tmp_path / "journal").remove()
    assert order[3:] == ["removal", "folder"]


def a_position() -> Position:
    drive = full_drive()
    return Position(identity=drive.identity, technique=TECHNIQUES["three_pass"], started_ns=1, last_ns=2)


def test_a_journal_says_what_was_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    assert journal.read() is None
    drive = plain_drive()
    drive.bad_on_write(3)
    drive.die(after=20)
    sanitize(drive, TECHNIQUES["three_pass"], journal=journal, options=SMALL_STEPS)
    position = journal.read()
    assert position is not None
    journal.write(position)
    assert journal.read() == position
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal"]


def test_a_damaged_journal_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.write(a_position())
    content = journal.path.read_bytes()
    for at in range(0, len(content), 7):
        journal.path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(FormatError, match="begin anew"):
            sanitize(plain_drive(), TECHNIQUES["three_pass"], journal=journal)
    journal.path.write_bytes(content[:-10])
    with pytest.raises(FormatError, match="begin anew"):
        journal.read()


def test_a_journal_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    text = canonical.encode({"version": 2, "position": {}})
    journal.path.write_bytes(text + b"\n" + canonical.digest(text).encode() + b"\n")
    with pytest.raises(VersionError, match="use a newer version"):
        journal.read()


def test_a_journal_of_another_technique_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.write(a_position())
    with pytest.raises(ConfigError, match="the journal is of a sanitization by 'three_pass'"):
        sanitize(full_drive(), Technique.three_pass(SEED), journal=journal)
