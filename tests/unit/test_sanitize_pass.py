"""The pass itself: what it writes, to which media, and that it can be taken up again wherever it was left."""

from __future__ import annotations

import itertools
import mmap
import os
import random
from pathlib import Path

import pytest

from seqstore import ClosedError, ConfigError, MediumError
from seqstore._native.sweep import Fill, Sweep, cached_bytes
from seqstore.clock import ManualClock
from seqstore.media import CallsMedium, FileMedium, MemoryMedium, TagsMedium
from seqstore.media.faults import LOST
from seqstore.sanitize import (
    Effort,
    Fault,
    FileTarget,
    MemoryTarget,
    Options,
    Progress,
)
from seqstore.sanitize.pace import Walk
from tests.sanitizing import BLOCK, BLOCKS, TECHNIQUES, expected, faults, plain_drive, sanitize

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


@pytest.fixture
def cached_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file on a file system that seems to have no direct transfers."""

    def refuse(*_: object) -> None:
        raise ConfigError("no direct transfers here")

    monkeypatch.setattr(FileMedium, "_make_direct", refuse)
    file = tmp_path / "drive"
    file.write_bytes(b"x" * (1 << 20))
    return file


def test_where_the_cache_cannot_be_passed_it_is_dropped(cached_file: Path) -> None:
    with cached_file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if cached_bytes(opened.fileno(), 1 << 20):
            pytest.skip("this file system keeps its files in memory alone")
    target = FileTarget(cached_file)
    with target.medium:
        outcome = sanitize(target)
    assert target.medium.access == "cached"
    assert outcome.has_cache
    assert outcome.verifications[0].past_caches == "dropped"
    assert outcome.succeeded


def test_a_cache_that_cannot_be_dropped_is_noticed(cached_file: Path) -> None:
    """Pages that somebody has mapped stay."""
    target = FileTarget(cached_file)
    with target.medium, cached_file.open("rb") as opened:
        size = cached_file.stat().st_size
        with mmap.mmap(opened.fileno(), size, access=mmap.ACCESS_READ) as mapped:
            held = sum(mapped[at] for at in range(0, size, mmap.PAGESIZE))
            outcome = sanitize(target)
    assert held > 0
    assert outcome.verifications[0].past_caches == ""
    assert faults(outcome) == {Fault.CACHE}


@pytest.mark.parametrize("size", [0, 511, 1000, BLOCK * 3])
def test_what_is_no_drive_is_refused(size: int, tmp_path: Path) -> None:
    file = tmp_path / "drive"
    file.write_bytes(bytes(size))
    with pytest.raises(ConfigError, match=r"is it a drive|is empty"):
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
