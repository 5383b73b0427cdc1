"""How long does opening take, after a crash and after a clean end, and what does it read?

Recovery is timed for the log alone. It is opened for reading, which changes nothing on the medium and so can
be repeated; the tables also say how long it takes with what it puts right on the medium.
"""

from __future__ import annotations

import mmap
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

import seqstore
from benchmarks.ceiling import read_steps
from benchmarks.crashes import CrashingLog
from benchmarks.side_by_side import Result, Session, Table, Timed
from benchmarks.workloads import BLOCK, GIB, MIB, make_blocks, timed

LOOKS = 5


def drop_cache(file: Path) -> None:
    """Make the page cache forget a file, or do nothing to what it has not yet written."""
    descriptor = os.open(file, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def nothing(file: Path) -> None:
    """Leave the page cache as it is."""


CACHES = (("in the page cache", nothing), ("cache dropped", drop_cache))


@contextmanager
def open_file(file: Path) -> Iterator[int]:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


# ---- a tail that must be read -------------------------------------------------------------------------


class Tail:
    """What was written since a checkpoint and never flushed: all of it has to be read and verified."""

    def __init__(self, file: Path, capacity: int) -> None:
        self.log = CrashingLog(
            file, capacity, fill=0.5, checkpoint_bytes=capacity, window_bytes=capacity // 8
        )
        before = self.log.engine.counters()["checkpoint_blocks"]
        self.log.engine.checkpoint()
        counters = self.log.engine.counters()
        self.pages = counters["checkpoint_blocks"] - before
        self.start = counters["head_mba"]
        self.log.write(capacity // 8 - 16 * MIB)
        self.log.crash()
        # What the log still gathered in memory when it crashed is not there.
        self.blocks = self.log.look()[1]["position"] - counters["position"]

    @property
    def needed(self) -> int:
        """Blocks that recovery cannot do without: a header of each segment, the checkpoint, the tail."""
        return self.log.capacity // MIB + self.pages + self.blocks

    def recover(self, prepare: Callable[[Path], None]) -> Timed:
        prepare(self.log.file)
        seconds, report = self.log.look()
        assert report["verified_blocks"] + report["records"] > 0.98 * self.blocks
        return Timed(amount=self.blocks * BLOCK, seconds=seconds)

    def read(self, prepare: Callable[[Path], None], buffer: mmap.mmap) -> Timed:
        """Read the same blocks, 1 MiB at a time."""
        prepare(self.log.file)
        start, length = self.start * BLOCK, self.blocks * BLOCK
        with open_file(self.log.file) as descriptor:
            seconds = timed(partial(read_steps, descriptor, start, length, buffer))
        return Timed(amount=length, seconds=seconds)


@pytest.fixture(scope="module")
def tail(scratch: Path, small: bool) -> Iterator[Tail]:
    made = Tail(scratch / "tail", 256 * MIB if small else 4 * GIB)
    yield made
    made.log.file.unlink()


@pytest.mark.parametrize(("cache", "prepare"), CACHES)
def test_speed(side_by_side: Session, tail: Tail, cache: str, prepare: Callable[[Path], None]) -> None:
    """The tail is counted; what else recovery reads and does is in its time."""
    buffer = mmap.mmap(-1, MIB)  # aligned: the system copies twice as fast than to where a bytearray begins
    tail_mib = tail.blocks * BLOCK // MIB
    result = Result(
        question=f"recovery, {tail_mib} MiB not flushed, {cache}", unit="GB/s", ours="recovery",
        against="read of the same blocks", to_reach=0.8,
    )  # fmt: skip
    side_by_side.compare(
        result,
        {"recovery": lambda: tail.recover(prepare), result.against: lambda: tail.read(prepare, buffer)},
        rounds=9,
    )
    side_by_side.scaled(result, 1e9)
    assert result.ratio > 0


def reading_row(what: str, blocks: int, needed: int, read: int) -> list[str]:
    return [what, f"{blocks:,}", f"{needed:,}", f"{read:,}", f"{read / needed:.3f}"]


def test_what_is_read(side_by_side: Session, scratch: Path, tail: Tail, small: bool) -> None:
    """Of what was flushed recovery needs the summaries alone."""
    table = Table(
        title="What recovery reads, in blocks",
        header=("since the checkpoint", "put on the medium", "needed", "read", "read / needed"),
    )
    _, report = tail.log.look()
    table.rows.append(reading_row("nothing flushed", tail.blocks, tail.needed, report["read_blocks"]))
    flushed = CrashingLog(scratch / "flushed", 256 * MIB if small else GIB, checkpoint_bytes=GIB)
    pages = -flushed.engine.counters()["checkpoint_blocks"]
    flushed.engine.checkpoint()
    pages += flushed.engine.counters()["checkpoint_blocks"]
    start = flushed.position
    flushed.write(flushed.capacity // 8)
    flushed.engine.flush()
    blocks = flushed.position - start
    # Only a summary that comes later tells that all before it are safe.
    flushed.write(MIB)
    flushed.engine.flush()
    flushed.crash()
    _, report = flushed.look()
    needed = flushed.capacity // MIB + pages + report["records"] + report["verified_blocks"]
    read = report["read_blocks"]
    table.rows.append(reading_row("all but 1 MiB flushed", blocks, needed, read))
    side_by_side.tables.append(table)
    flushed.file.unlink()
    assert report["verified_blocks"] < blocks / 4
    assert read < blocks / 2


# ---- how long it takes --------------------------------------------------------------------------------


def test_time_grows_with_what_was_written(side_by_side: Session, scratch: Path, small: bool) -> None:
    """A flush per 64 MiB and one at the end, as a careful program does it."""
    largest = 64 * MIB if small else GIB
    log = CrashingLog(scratch / "growth", 4 * largest, checkpoint_bytes=4 * largest)
    table = Table(
        title=f"Opening a drive of {log.capacity // MIB} MiB after a crash, by what came since a checkpoint",
        header=("written", "as", "put on the medium", "records", "blocks read", "for reading", "for writing"),
    )
    for amount in (0, largest // 64, largest // 16, largest // 4, largest):
        for random in (False, True) if amount else (False,):
            log.engine.checkpoint()
            start = log.position
            log.write(amount, random=random, flush_every=64 * MIB)
            log.engine.flush()
            blocks = log.position - start
            log.crash()
            looks = [log.look() for _ in range(LOOKS)]
            seconds, _ = log.reopen()
            report = looks[0][1]
            table.rows.append(
                [
                    f"{amount // MIB} MiB",
                    ("blocks of 4 KiB, random" if random else "1 MiB, sequential") if amount else "",
                    f"{blocks * BLOCK / MIB:.0f} MiB",
                    f"{report['records']:,}",
                    f"{report['read_blocks']:,}",
                    f"{statistics.median(look[0] for look in looks) * 1e3:.1f} ms",
                    f"{seconds * 1e3:.1f} ms",
                ]
            )
    side_by_side.tables.append(table)
    log.remove()


def test_what_a_checkpoint_costs(side_by_side: Session, scratch: Path, small: bool) -> None:
    """Random overwrites of a half full drive, a flush per 256 blocks; then a crash at the worst moment."""
    capacity = 128 * MIB if small else GIB
    table = Table(
        title=f"checkpoint_interval, random writes to a drive of {capacity // MIB} MiB",
        header=("interval", "device amplification", "of it checkpoints", "checkpoints", "recovery at worst"),
    )
    for interval in (0, *(capacity // share for share in (64, 16, 8, 4))):
        log = CrashingLog(scratch / "interval", capacity, checkpoint_bytes=interval)
        log.write(capacity // 2, random=True, flush_every=256 * BLOCK)
        before = log.engine.counters()
        log.write(capacity, random=True, flush_every=256 * BLOCK)
        done = {name: value - before[name] for name, value in log.engine.counters().items()}
        seconds = worst_recovery(log)
        table.rows.append(
            [
                f"{interval // MIB} MiB" if interval else "automatic",
                f"{done['position'] / done['user_blocks']:.2f}",
                f"{done['checkpoint_blocks'] / done['user_blocks']:.3f}",
                f"{done['checkpoints']}",
                f"{seconds * 1e3:.1f} ms",
            ]
        )
        log.file.unlink()
    side_by_side.tables.append(table)


def worst_recovery(log: CrashingLog) -> float:
    """Crash shortly before the next checkpoint, and return the seconds of opening for reading.

    Where checkpoints come is found by watching one interval go by.
    """
    turns: list[int] = []
    last = log.engine.counters()["checkpoints"]
    while len(turns) < 2:
        log.write(64 * BLOCK, random=True, flush_every=64 * BLOCK)
        counters = log.engine.counters()
        if counters["checkpoints"] > last:
            last = counters["checkpoints"]
            turns.append(counters["position"])
    while log.position < turns[1] + 0.95 * (turns[1] - turns[0]):
        log.write(64 * BLOCK, random=True, flush_every=64 * BLOCK)
    log.crash()
    return statistics.median(log.look()[0] for _ in range(LOOKS))


def test_clean_opening(side_by_side: Session, scratch: Path) -> None:
    """A drive of 64 GiB in a sparse file, closed cleanly: the store, its catalog included."""
    path = scratch / "large.store"
    data = make_blocks(256)
    with seqstore.Store.create(path, 64 * GIB, preallocate=False) as store:
        volume = store.create_tenant("bench").create_volume("volume", 32 * GIB)
        for lba in range(0, 64 * 256, 256):
            volume.write_blocks(lba, data)
    for cache, prepare in CACHES:
        seconds = []
        for _ in range(7):
            prepare(path / "drives" / "0.img")
            start = time.perf_counter()
            with seqstore.Store.open(path) as store:
                seconds.append(time.perf_counter() - start)
                assert store.recovery is not None
                assert store.recovery.clean
        result = Result(
            question=f"opening a clean drive of 64 GiB, sparse, {cache}", unit="ms (less is better)",
            ours="seqstore", against="1 s", to_reach=1.0,
        )  # fmt: skip
        result.rates = {"seqstore": [second * 1e3 for second in seconds], "1 s": [1e3]}
        side_by_side.results.append(result)
        assert result.ratio > 0
    (path / "drives" / "0.img").unlink()
