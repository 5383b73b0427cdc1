"""Every way in which a sanitization can go wrong: the outcome says that it failed, and why."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import seqstore
from seqstore import ConfigError
from seqstore.clock import ManualClock
from seqstore.media import MemoryMedium
from seqstore.sanitize import (
    Area,
    Effort,
    Fault,
    FileTarget,
    Journal,
    MemoryTarget,
    Options,
    Range,
    SimulatedTarget,
    Technique,
    outcome_of_journal,
)
from tests.sanitizing import (
    BLOCK,
    BLOCKS,
    COMMAND_AND_ZERO,
    RANDOM_SEED,
    SEED,
    faults,
    full_drive,
    plain_drive,
    sanitization,
    sanitize,
    stop_after,
)


def test_nothing_goes_wrong() -> None:
    """Else the others would say nothing."""
    outcome = sanitize(full_drive(), COMMAND_AND_ZERO)
    assert outcome.succeeded
    assert outcome.state == "sanitized"
    assert outcome.problems == ()


def test_start_fails_since_a_store_lies_on_it() -> None:
    with seqstore.Store.memory("4MiB") as store:
        medium = store.drives[0].medium
        assert isinstance(medium, MemoryMedium)
        outcome = sanitize(MemoryTarget(medium, "m"))
    assert faults(outcome) == {Fault.NOT_STARTED}
    assert "belongs to a store" in outcome.problems[0].text
    assert not outcome.succeeded


def test_start_fails_since_the_drive_is_dead() -> None:
    drive = plain_drive()
    drive.die()
    outcome = sanitize(drive)
    assert faults(outcome) == {Fault.NOT_STARTED}
    assert outcome.passes == ()
    assert not outcome.succeeded


def test_start_fails_since_the_command_does() -> None:
    drive = full_drive()
    drive.fails_on_sanitize = True
    before = drive.image()
    outcome = sanitize(drive, COMMAND_AND_ZERO)
    assert faults(outcome) == {Fault.NOT_STARTED}
    assert len(outcome.passes) == 0
    # Only the marks that were to show whether the command works.
    after = drive.image()
    changed = sum(before[at : at + BLOCK] != after[at : at + BLOCK] for at in range(0, len(before), BLOCK))
    assert changed <= 34


def test_interrupted_and_not_taken_up_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    drive = plain_drive()
    report, is_cancelled = stop_after(2)
    effort = Effort(piece_blocks=16, rate=64 * BLOCK, checkpoint_bytes=64 * BLOCK)
    sanitize(drive, journal=journal, options=Options(effort=effort), report=report, is_cancelled=is_cancelled)
    position = journal.read()
    assert position is not None
    assert 0 < position.covered < BLOCKS
    outcome = outcome_of_journal(position, now_ns=2_000, version="test")
    assert faults(outcome) == {Fault.INTERRUPTED}
    assert not outcome.succeeded


def test_cancelled() -> None:
    report, is_cancelled = stop_after(1)
    options = Options(effort=Effort(piece_blocks=16, rate=64 * BLOCK))
    outcome = sanitize(plain_drive(), options=options, report=report, is_cancelled=is_cancelled)
    assert Fault.CANCELLED in faults(outcome)
    assert not outcome.succeeded


def test_bad_blocks() -> None:
    drive = plain_drive()
    for block in (100, 101, 105, BLOCKS - 1):
        drive.bad_on_write(block)
    outcome = sanitize(drive)
    assert faults(outcome) == {Fault.BAD_BLOCKS, Fault.MISMATCH}
    reason = "Input/output error"
    assert outcome.passes[0].unreachable == (
        Range(first=100, count=2, reason=reason),
        Range(first=105, count=1, reason=reason),
        Range(first=BLOCKS - 1, count=1, reason=reason),
    )
    assert outcome.unreachable_bytes == 4 * BLOCK
    assert outcome.passes[0].complete
    assert outcome.passes[0].overwritten == BLOCKS - 4
    assert outcome.verifications[0].mismatches == 4
    assert not outcome.succeeded


def test_lying_drive_does_nothing() -> None:
    drive = full_drive(vendor_reads=False, protected=0)
    drive.lies_on_sanitize = True
    outcome = sanitize(drive, COMMAND_AND_ZERO)
    assert faults(outcome) == {Fault.LYING_DRIVE}
    assert len(outcome.lies) == 1  # the pass over all addresses would have hidden it
    assert outcome.verifications[0].clean
    assert not outcome.succeeded


def test_lying_drive_leaves_something_out() -> None:
    drive = full_drive()
    drive.leaves_out = frozenset({Area.SPARE})
    outcome = sanitize(drive, COMMAND_AND_ZERO)
    assert Fault.LYING_DRIVE in faults(outcome)
    assert [area.area for area in outcome.areas if not area.clean] == [Area.SPARE]
    assert not outcome.succeeded


def test_lying_drive_with_its_command_alone() -> None:
    drive = plain_drive()
    drive.leaves_out = frozenset({Area.USER})
    outcome = sanitize(drive, Technique.command())
    assert faults(outcome) == {Fault.LYING_DRIVE, Fault.MISMATCH}
    assert not outcome.succeeded


def test_swapped_drive_is_not_touched() -> None:
    drive, other = plain_drive(serial="A"), plain_drive(serial="B")
    before = other.image()
    outcome = sanitize(other, expect=drive.identity)
    assert faults(outcome) == {Fault.SWAPPED_DRIVE}
    assert other.image() == before
    assert not outcome.succeeded


def test_swapped_while_it_worked() -> None:
    drive = plain_drive(serial="A")

    def swap(_: object) -> None:
        drive.identity = dataclasses.replace(drive.identity, serial="B")

    outcome = sanitize(drive, report=swap)
    assert faults(outcome) == {Fault.SWAPPED_DRIVE}
    assert not outcome.succeeded


def test_swapped_between_interruption_and_resumption(tmp_path: Path) -> None:
    """The other drive says the same of itself, and does not hold what was written."""
    journal = Journal(tmp_path / "journal")
    effort = Effort(piece_blocks=16, rate=64 * BLOCK, checkpoint_bytes=64 * BLOCK)
    report, is_cancelled = stop_after(2)
    options = Options(effort=effort)
    sanitize(plain_drive(), journal=journal, options=options, report=report, is_cancelled=is_cancelled)
    other = plain_drive()
    outcome = sanitize(other, journal=journal)
    assert Fault.LYING_DRIVE in faults(outcome)
    assert "another one" in outcome.lies[0]
    assert set(other.image()) == {0}  # done all over, and still no success
    assert not outcome.succeeded


def test_another_drive_in_the_place_of_the_one_in_the_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    drive, other = plain_drive(serial="A"), plain_drive(serial="B")
    drive.die(after=12)
    effort = Effort(piece_blocks=16, checkpoint_bytes=64 * BLOCK)
    sanitize(drive, journal=journal, options=Options(effort=effort))
    before = other.image()
    outcome = sanitize(other, journal=journal)
    assert faults(outcome) == {Fault.SWAPPED_DRIVE}
    assert other.image() == before
    drive.die(after=1_000_000)
    assert sanitize(drive, journal=journal).succeeded  # the journal waited for it


def test_wrong_size() -> None:
    drive = plain_drive()
    before = drive.image()
    meant = dataclasses.replace(drive.identity, blocks=2 * BLOCKS)
    outcome = sanitize(drive, expect=meant)
    assert faults(outcome) == {Fault.WRONG_SIZE}
    assert drive.image() == before
    assert not outcome.succeeded


def test_size_that_grows_meanwhile(tmp_path: Path) -> None:
    """Part of the drive had been hidden: it was not overwritten."""
    file = tmp_path / "drive"
    file.write_bytes(b"x" * BLOCKS * BLOCK)
    target = FileTarget(file)

    def grow(_: object) -> None:
        with file.open("r+b") as opened:
            opened.truncate(2 * BLOCKS * BLOCK)

    outcome = sanitize(target, report=grow)
    target.medium.close()
    assert faults(outcome) == {Fault.WRONG_SIZE}
    assert not outcome.succeeded


def test_cache_hides_the_medium() -> None:
    """Syncs that do nothing: all that was read before the power cycle came from the cache."""
    drive = plain_drive()
    drive.lie_on_sync(1_000_000)
    outcome = sanitize(drive)
    assert faults(outcome) >= {Fault.CACHE, Fault.LYING_DRIVE, Fault.MISMATCH}
    assert not outcome.succeeded


def test_cache_that_cannot_be_passed() -> None:
    drive = plain_drive()
    drive.lie_on_sync(1_000_000)
    drive.cannot_power_cycle = True
    outcome = sanitize(drive)
    assert outcome.verifications[0].clean  # as far as it could be seen
    assert faults(outcome) == {Fault.CACHE}
    assert not outcome.succeeded


@pytest.mark.parametrize("seed", [SEED, bytes(32), RANDOM_SEED], ids=["used", "zeros", "that of the stream"])
def test_sampler_with_a_fixed_seed(seed: bytes) -> None:
    medium = MemoryMedium(64 * 1024 * BLOCK, block_size=BLOCK)
    outcome = sanitize(
        MemoryTarget(medium, "m"),
        Technique.random(RANDOM_SEED),
        seed=seed,
        used_seeds=[SEED],
        options=Options(verification="sampling"),
    )
    assert faults(outcome) == {Fault.FIXED_SEED}
    assert not outcome.succeeded


def test_clock_set_back_while_it_worked() -> None:
    class Falling(ManualClock):
        def now_ns(self) -> int:
            self._now_ns -= 1
            return self._now_ns

    outcome = sanitize(plain_drive(), clock=Falling(1_000_000))
    assert faults(outcome) == {Fault.CLOCK}
    assert not outcome.succeeded


def test_clock_set_back_between_interruption_and_resumption(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    drive = plain_drive()
    report, is_cancelled = stop_after(2)
    effort = Effort(piece_blocks=16, rate=64 * BLOCK, checkpoint_bytes=64 * BLOCK)
    options = Options(effort=effort)
    sanitize(drive, journal=journal, options=options, report=report, is_cancelled=is_cancelled)
    outcome = sanitize(drive, journal=journal, clock=ManualClock(2_000))  # behind the beginning
    assert faults(outcome) == {Fault.CLOCK}
    assert not outcome.succeeded


def test_drive_dies_in_the_middle(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    drive = plain_drive()
    drive.die(after=40)
    effort = Effort(piece_blocks=16, failures_in_row=4, checkpoint_bytes=BLOCKS // 2 * BLOCK, retries=0)
    outcome = sanitize(drive, journal=journal, options=Options(effort=effort))
    assert drive.counts.refused < 20  # it is not asked for each of its blocks
    assert Fault.DRIVE_DIED in faults(outcome)
    done = outcome.passes[0]
    assert not done.complete
    assert 0 < done.overwritten < BLOCKS
    assert done.overwritten + done.unreachable_blocks == BLOCKS
    assert journal.read() is not None
    assert not outcome.succeeded


def test_drive_that_dies_before_it_is_looked_at_again() -> None:
    drive = plain_drive()

    def die(progress: object) -> None:
        if getattr(progress, "doing", "") == "verification":
            drive.die()

    outcome = sanitize(drive, report=die)
    assert Fault.DRIVE_DIED in faults(outcome)
    assert not outcome.succeeded


def test_unreadable_blocks() -> None:
    drive = plain_drive()

    def rot(progress: object) -> None:
        if getattr(progress, "doing", "") == "verification":
            drive.bad_on_read(17)

    outcome = sanitize(drive, report=rot)
    assert faults(outcome) == {Fault.UNREADABLE}
    assert outcome.verifications[0].read_errors[0].first == 17
    assert not outcome.succeeded


def test_write_that_got_lost() -> None:
    drive = plain_drive()
    drive.lose_next_write()
    outcome = sanitize(drive, options=Options(effort=Effort(piece_blocks=1), second_verifier=True))
    assert faults(outcome) == {Fault.MISMATCH}
    assert [seen.verifier for seen in outcome.verifications] == ["core", "python"]
    assert [seen.mismatches for seen in outcome.verifications] == [1, 1]


def test_hidden_places_that_the_technique_does_not_reach() -> None:
    outcome = sanitize(full_drive(), Technique.zero())
    assert faults(outcome) == {Fault.HIDDEN}
    left = {area.area for area in outcome.areas if area.reached_by == "nothing"}
    assert left == {Area.SPARE, Area.REPLACED, Area.OVER_PROVISIONED, Area.CACHE}
    assert not outcome.succeeded


def test_verification_left_out() -> None:
    outcome = sanitize(plain_drive(), options=Options(verification="none"))
    assert faults(outcome) == {Fault.NOT_VERIFIED}
    assert not outcome.succeeded


class Keys:
    """Keys of a drive that may outlive their destruction."""

    def __init__(self, *, survive: bool) -> None:
        self.survive = survive
        self.count = 3

    def destroy(self) -> int:
        count, self.count = self.count, self.count if self.survive else 0
        return count

    def are_gone(self) -> bool:
        return self.count == 0


@pytest.mark.parametrize("survive", [False, True])
def test_keys_that_are_still_there(survive: bool) -> None:
    target = SimulatedTarget(full_drive())
    target.keys_of_drive = Keys(survive=survive)
    outcome = sanitize(target, Technique.cryptographic())
    assert faults(outcome) == ({Fault.KEYS} if survive else set())
    assert outcome.succeeded is not survive
    assert {area.reached_by for area in outcome.areas} == {"keys"}
    assert outcome.passes[0].detail == "3 keys destroyed"


def test_what_a_drive_says_of_itself_may_not_change() -> None:
    drive = plain_drive()

    def change(_: object) -> None:
        drive.identity = dataclasses.replace(drive.identity, media_type="hdd")

    outcome = sanitize(drive, report=change)
    assert faults(outcome) == {Fault.SWAPPED_DRIVE}
    assert not outcome.succeeded


def test_a_block_that_cannot_be_read_is_no_lie(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    drive = plain_drive()
    drive.die(after=12)
    effort = Effort(piece_blocks=16, checkpoint_bytes=64 * BLOCK)
    sanitize(drive, journal=journal, options=Options(effort=effort))
    drive.die(after=1_000_000)
    drive.bad_on_read(0)  # which is looked at, and not written again
    outcome = sanitize(drive, journal=journal)
    assert faults(outcome) == {Fault.UNREADABLE}
    assert outcome.lies == ()


def test_it_runs_once() -> None:
    once = sanitization(plain_drive())
    assert once.run().succeeded
    with pytest.raises(ConfigError, match="has run"):
        once.run()


def test_what_a_drive_cannot_do_is_said_before_it_begins() -> None:
    medium = MemoryTarget(MemoryMedium("1MiB"), "m")
    with pytest.raises(ConfigError, match="no sanitize command"):
        sanitization(medium, Technique.command())
    with pytest.raises(ConfigError, match="no keys are known"):
        sanitization(medium, Technique.cryptographic())
    with pytest.raises(ConfigError, match="the seed has 3 bytes"):
        sanitization(medium, seed=b"abc")
