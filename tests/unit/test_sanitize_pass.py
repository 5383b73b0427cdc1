"""The pass itself: what it writes, to which media, and that it can be taken up again wherever it was left."""

from __future__ import annotations

import itertools
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from seqstore import ClosedError, ConfigError, FormatError, MediumError, VersionError, canonical
from seqstore._native.sweep import Fill, Sweep
from seqstore.clock import ManualClock
from seqstore.media import CallsMedium, FileMedium, MemoryMedium, TagsMedium
from seqstore.media.faults import LOST
from seqstore.sanitize import (
    Effort,
    Fault,
    FileTarget,
    Journal,
    MemoryTarget,
    Options,
    Position,
    Progress,
    Technique,
)
from seqstore.sanitize.pace import Walk
from tests.sanitizing import BLOCK, BLOCKS, RANDOM_SEED, SEED, faults, full_drive, plain_drive, sanitize

TECHNIQUES = {
    "zero": Technique.zero(),
    "ones": Technique.ones(),
    "pattern": Technique.pattern(b"abc"),
    "long pattern": Technique.pattern(random.Random(1).randbytes(4095)),
    "random": Technique.random(RANDOM_SEED),
    "three_pass": Technique.three_pass(RANDOM_SEED),
    "combined": Technique.zero() + Technique.pattern(b"\xaa\x55"),
}


def expected(technique: Technique, size: int) -> bytes:
    """What a technique leaves, by Python and by openssl."""
    step = technique.steps[-1]
    if step.seed:
        program = shutil.which("openssl")
        if program is None:
            pytest.skip("there is no openssl command")
        command = [program, "enc", "-aes-256-ctr", "-K", step.seed.hex(), "-iv", "00" * 16]
        return subprocess.run(command, input=bytes(size), capture_output=True, check=True).stdout
    pattern = {"zero": b"\0", "ones": b"\xff"}.get(step.method.value, step.pattern)
    return (pattern * (size // len(pattern) + 1))[:size]


# ---- what is written -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TECHNIQUES)
def test_memory_holds_what_the_technique_leaves(name: str) -> None:
    medium = MemoryMedium("3MiB", block_size=BLOCK)
    medium.append(0, random.Random(2).randbytes(medium.zone_blocks * BLOCK))
    outcome = sanitize(MemoryTarget(medium, "m"), TECHNIQUES[name])
    assert outcome.succeeded
    assert medium.read(0, medium.blocks) == expected(TECHNIQUES[name], 3 << 20)
    assert [part.overwritten for part in outcome.passes] == [medium.blocks] * len(TECHNIQUES[name].steps)
    assert medium.write_pointer(0) == 0  # as new


@pytest.mark.parametrize("name", ["zero", "long pattern", "random"])
def test_a_file_holds_what_the_technique_leaves(name: str, tmp_path: Path) -> None:
    file = tmp_path / "drive"
    file.write_bytes(random.Random(2).randbytes(2_500 * BLOCK))  # not of whole megabytes, nor of whole zones
    target = FileTarget(file)
    with target.medium:
        outcome = sanitize(target, TECHNIQUES[name], options=Options(second_verifier=True))
    assert outcome.succeeded, outcome.problems
    assert file.read_bytes() == expected(TECHNIQUES[name], 2_500 * BLOCK)


@pytest.mark.parametrize("name", ["ones", "pattern", "random"])
def test_a_medium_written_in_python_holds_what_the_technique_leaves(name: str) -> None:
    drive = plain_drive()
    outcome = sanitize(drive, TECHNIQUES[name], options=Options(second_verifier=True))
    assert outcome.succeeded
    assert drive.image() == expected(TECHNIQUES[name], BLOCKS * BLOCK)


def test_a_file_that_cannot_be_reached_past_the_cache_is_read_past_it_nonetheless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ConfigError("no direct transfers here")

    monkeypatch.setattr(FileMedium, "_make_direct", refuse)
    file = tmp_path / "drive"
    file.write_bytes(b"x" * (1 << 20))
    target = FileTarget(file)
    with target.medium:
        outcome = sanitize(target)
    assert target.medium.access == "cached"
    assert outcome.has_cache
    # A file system in memory has nothing but the cache, and then it is not known.
    assert (outcome.verifications[0].past_caches, outcome.succeeded) in {("dropped", True), ("", False)}


@pytest.mark.parametrize("size", [0, 511, 1000, BLOCK * 3])
def test_what_is_no_drive_is_refused(size: int, tmp_path: Path) -> None:
    file = tmp_path / "drive"
    file.write_bytes(bytes(size))
    with pytest.raises(ConfigError, match="is it a drive"):
        FileTarget(file)


def test_all_of_it_is_overwritten_whatever_its_size(tmp_path: Path) -> None:
    file = tmp_path / "drive"
    for blocks in (4, 5, 7, 8, 1009):
        file.write_bytes(b"x" * blocks * BLOCK)
        target = FileTarget(file)
        with target.medium:
            assert sanitize(target).succeeded
        assert file.read_bytes() == bytes(blocks * BLOCK)


def test_a_sweep_is_refused_what_it_cannot_do() -> None:
    fill = Fill(pattern=b"x")
    with pytest.raises(MediumError, match="keeps no bytes"):
        Sweep(TagsMedium("16MiB").handle, fill)
    with pytest.raises(ConfigError, match="a pattern of 0 bytes"):
        Fill()
    with pytest.raises(ConfigError, match="the seed has 3 bytes"):
        Fill(seed=b"abc")
    medium = MemoryMedium("1MiB")
    with Sweep(medium.handle, fill) as sweep:
        with pytest.raises(MediumError, match="belongs to a store"):
            Sweep(medium.handle, fill)
        with pytest.raises(ConfigError, match="beyond the end"):
            sweep.write([(0, medium.blocks + 1)])
    with pytest.raises(ClosedError):
        sweep.write([(0, 1)])


def test_a_medium_without_overwriting_is_refused() -> None:
    class Calls:
        def append(self, mba: int, data: memoryview) -> None: ...
        def read(self, mba: int, count: int, out: memoryview) -> None: ...
        def sync(self) -> None: ...
        def reset(self, zone: int) -> None: ...

    medium = CallsMedium(Calls(), "1MiB")
    with Sweep(medium.handle, Fill(pattern=b"x")) as sweep, pytest.raises(ConfigError):
        sweep.write([(0, 4)])


def test_an_interruption_of_a_medium_in_python_comes_out_as_itself() -> None:
    drive = plain_drive()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    drive.overwrite = interrupt  # type: ignore[assignment, method-assign]
    with pytest.raises(KeyboardInterrupt):
        sanitize(drive)


# ---- bad blocks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_unreachable_ranges_are_exact(seed: int) -> None:
    """Whatever blocks are bad: all others are overwritten, and exactly these are told."""
    generator = random.Random(seed)
    drive = plain_drive()
    runs = [(generator.randrange(BLOCKS), generator.choice([1, 1, 2, 40])) for _ in range(8)]
    bad = {block for first, count in runs for block in range(first, min(first + count, BLOCKS))}
    before = drive.image()
    for block in bad:
        drive.bad_on_write(block)
    effort = Effort(piece_blocks=generator.choice([1, 7, 64]), retries=generator.choice([0, 2]))
    outcome = sanitize(drive, options=Options(effort=effort))
    told = [
        block
        for part in outcome.passes[0].unreachable
        for block in range(part.first, part.first + part.count)
    ]
    assert told == sorted(bad)
    for block in range(BLOCKS):
        held = drive.peek(block, 1)
        assert held == (before[block * BLOCK : (block + 1) * BLOCK] if block in bad else bytes(BLOCK))
    assert outcome.verifications[0].mismatches == len(bad)


def test_retries_help_where_a_block_fails_now_and_then() -> None:
    drive = plain_drive()
    fails = itertools.cycle([True, True, False])  # in a piece, alone, and not again
    write = drive.overwrite

    def now_and_then(mba: int, data: bytes | memoryview) -> None:
        if mba <= 10 < mba + len(data) // BLOCK and next(fails):
            raise OSError(5, "now and then")
        write(mba, data)

    drive.overwrite = now_and_then  # type: ignore[method-assign]
    outcome = sanitize(drive, options=Options(effort=Effort(retries=1)))
    assert outcome.succeeded
    assert outcome.passes[0].retries == 2


def test_a_large_bad_region_is_not_taken_for_a_dead_drive() -> None:
    drive = plain_drive()
    for block in range(200, 600):
        drive.bad_on_write(block)
    effort = Effort(piece_blocks=8, failures_in_row=3, retries=0)
    outcome = sanitize(drive, options=Options(effort=effort))
    assert faults(outcome) == {Fault.BAD_BLOCKS, Fault.MISMATCH}
    assert [(part.first, part.count) for part in outcome.unreachable] == [(200, 400)]


def test_a_sync_that_fails_once_is_not_believed_later() -> None:
    """All since the last good one is written again."""
    drive = plain_drive()
    sync, lost = drive.sync, list[bool]()

    def fail_once() -> None:
        if not lost:
            lost.append(True)
            drive.power_cut(lambda _: LOST)
            drive.reboot()
            raise OSError(5, "it failed")
        sync()

    drive.sync = fail_once  # type: ignore[method-assign]
    outcome = sanitize(drive)
    assert outcome.succeeded
    assert outcome.passes[0].retries == 1


def test_a_sync_that_always_fails_ends_the_pass() -> None:
    drive = plain_drive()

    def fail() -> None:
        raise OSError(5, "it failed")

    drive.sync = fail  # type: ignore[method-assign]
    outcome = sanitize(drive)
    assert faults(outcome) == {Fault.NOT_STARTED}
    assert outcome.passes[0].overwritten == 0
    assert outcome.passes[0].unreachable_blocks == BLOCKS


# ---- pace ------------------------------------------------------------------------------------------


def test_a_limit_of_the_rate_is_kept() -> None:
    clock, seen = ManualClock(1_000), list[Progress]()
    rate = 100 * BLOCK
    effort = Effort(rate=rate, checkpoint_bytes=50 * BLOCK)
    outcome = sanitize(plain_drive(), clock=clock, options=Options(effort=effort), report=seen.append)
    assert outcome.succeeded
    written = [progress for progress in seen if progress.doing == "pass 1 of 1: zero"]
    assert 0.99 * rate < outcome.passes[0].rate <= rate
    assert outcome.passes[0].active_ns == BLOCKS * BLOCK * 1_000_000_000 // rate
    half = min(written, key=lambda progress: abs(progress.done - progress.total // 2))
    assert half.left_ns is not None
    assert half.left_ns == pytest.approx((half.total - half.done) * 1e9 / rate, rel=0.01)
    assert [progress.done for progress in written] == sorted(progress.done for progress in written)
    assert written[-1].done == written[-1].total


def test_a_walk_hands_out_each_block_once() -> None:
    generator = random.Random(3)
    spans = [(0, 5), (9, 1), (20, 100)]
    walk, seen = Walk(spans), []
    while not walk.is_over():
        ahead = walk.ahead(generator.randrange(12))
        span = generator.randrange(len(ahead) + 1)
        block = 0 if span == len(ahead) else generator.randrange(ahead[span][1])
        done = [*ahead[:span], *([(ahead[span][0], block)] if block else [])]
        seen += [first + i for first, count in done for i in range(count)]
        assert walk.go(ahead, span, block) == sum(count for _, count in done)
    assert seen == [first + i for first, count in spans for i in range(count)]


# ---- the journal, and power cuts -------------------------------------------------------------------

SMALL_STEPS = Options(effort=Effort(piece_blocks=64, checkpoint_bytes=256 * BLOCK, failures_in_row=2))


def cut_points() -> Iterator[tuple[int, int]]:
    """Numbers of writes in which the power goes, and seeds for what is left of the unsynced ones."""
    yield from ((write, seed) for write in range(1, 40) for seed in (1,))


def test_power_cuts_at_every_write_cost_no_block_and_hide_nothing(tmp_path: Path) -> None:
    """With bad blocks on the way: taken up again, it ends with the same exact list and the same bytes."""
    cuts, resumed = 0, 0
    for write, seed in cut_points():
        drive = plain_drive(generator=random.Random(seed))
        drive.bad_on_write(70)
        drive.bad_on_write(400)
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
            done = Fill(seed=RANDOM_SEED).bytes_at(0, BLOCKS * BLOCK)
            out = {
                b
                for p in (*position.left_out, *position.unreachable)
                for b in range(p.first, p.first + p.count)
            }
            for block in set(range(position.covered)) - out:
                assert drive.peek(block, 1) == done[block * BLOCK : (block + 1) * BLOCK]
        second = sanitize(drive, TECHNIQUES["random"], journal=journal, options=SMALL_STEPS)
        assert faults(second) == {Fault.BAD_BLOCKS, Fault.MISMATCH}
        assert [(part.first, part.count) for part in second.unreachable] == [(70, 1), (400, 1)]
        assert second.resumptions == (1 if position else 0)
        assert second.passes[0].overwritten == BLOCKS - 2
        assert journal.read() is None
    assert cuts > 20
    assert resumed > 10


def test_death_at_every_operation_is_never_taken_for_success(tmp_path: Path) -> None:
    """Writes, syncs and reads; the drive comes back, and what was begun ends well."""
    technique = TECHNIQUES["combined"]
    for operation in itertools.count():
        drive = plain_drive()
        journal = Journal(tmp_path / f"journal-{operation}")
        drive.die(after=operation)
        first = sanitize(drive, technique, journal=journal, options=SMALL_STEPS)
        if first.succeeded:
            break
        drive.die(after=1_000_000)
        second = sanitize(drive, technique, journal=journal, options=SMALL_STEPS)
        assert second.succeeded, (operation, second.problems)
        assert drive.image() == expected(technique, BLOCKS * BLOCK)
    assert operation > 40


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    drive = plain_drive()
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
    assert drive.counts.written_blocks - written == BLOCKS - covered


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
