"""Each call to a drive fails in turn: the store says so, and opened again it has all that was flushed."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from seqstore import MediumError, Store
from seqstore.media.faults import FaultMedium
from tests.crash.failing import Call, FailingDrive, Run, create, expect_back, failure_of, reopen
from tests.crash.world import World, difference
from tests.small import BLOCK_SIZE

OPERATIONS = 40
TENANTS = ("contoso", "fabrikam")

# A kind of call, how many of them fail, and what the system says.
Fault = tuple[Call, int, int]
ALL = 10**9
FAULTS: dict[str, Fault] = {
    "a write": ("append", 1, errno.EIO),
    "several writes": ("append", 5, errno.EIO),
    "all writes": ("append", ALL, errno.EIO),
    "no room": ("append", 3, errno.ENOSPC),
    "a sync": ("sync", 1, errno.EIO),
    "all syncs": ("sync", ALL, errno.EIO),
    "a read, twice": ("read", 2, errno.EIO),  # the first time it may be tried again
}
faults = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())


def start(seed: int, operations: int = 12) -> tuple[FailingDrive, Run]:
    """Make a store with a history of its own on a drive that does not fail yet."""
    drive = FailingDrive()
    subject = create(drive)
    for name in TENANTS:
        subject.store.create_tenant(name)
    run = Run(subject, seed)
    run.do(operations)
    return drive, run


def until_nothing_fails(
    fault: Fault, step: int, seed: int, work: Callable[[FailingDrive, Run], object]
) -> Iterator[tuple[FailingDrive, Run]]:
    """Work on a store, letting each call of the kind fail in turn, or every so many of them."""
    call, count, number = fault
    for first in range(seed % step, 10_000, step):
        drive, run = start(seed)
        drive.fail(call, first, count, number)
        work(drive, run)
        if not drive.failed:
            return
        drive.mend()
        yield drive, run


@pytest.mark.invariant("I2")
class TestAtWork:
    def look_at_each(self, fault: Fault, step: int, seed: int) -> None:
        failed = 0
        for drive, run in until_nothing_fails(fault, step, seed, lambda _, run: run.do(OPERATIONS)):
            failed += bool(run.errors)
            assert {error.errno for error in run.errors} <= {fault[2], None}
            shown = run.subject.show()
            assert shown == run.world, difference(shown, run.world)
            run.subject.check()
            run.subject.abandon()
            expect_back(run, drive)
        assert failed > 0

    @faults
    def test_some_calls_fail(self, fault: Fault) -> None:
        self.look_at_each(fault, 1 if fault[0] == "read" else 9, seed=5)

    @pytest.mark.soak
    @pytest.mark.parametrize("seed", range(10))
    @faults
    def test_each_call_fails(self, fault: Fault, seed: int) -> None:
        self.look_at_each(fault, 1, seed)


@pytest.mark.invariant("I2")
class TestEnds:
    """Making, opening and closing."""

    @pytest.mark.parametrize("call", ["append", "sync"])
    def test_each_call_of_making_fails(self, tmp_path: Path, call: Call) -> None:
        for first in range(100):
            drive, catalog = FailingDrive(), tmp_path / f"{first}.db"
            drive.fail(call, first)
            failure = failure_of(partial(Store.create_on, FaultMedium(drive), catalog=catalog))
            if failure is None:
                break
            assert not catalog.exists()
            drive.mend()
            create(drive).store.close()
        assert first > 0

    @faults
    def test_each_call_of_closing_fails(self, fault: Fault) -> None:
        failures: list[MediumError | None] = []

        def close(_: FailingDrive, run: Run) -> None:
            failures.append(failure_of(run.subject.store.close, fault[2]))

        for drive, run in until_nothing_fails(fault, 1, 8, close):
            assert run.subject.store.closed
            expect_back(run, drive)
        assert any(failures) or fault[0] == "read"

    @pytest.mark.parametrize("call", ["append", "read", "sync"])
    @pytest.mark.parametrize("count", [1, ALL])
    def test_each_call_of_opening_fails(self, call: Call, count: int) -> None:
        """The next opening finds what this one should have found."""
        image, world = crashed()
        for first in range(0, 1000, 2 if call == "read" else 1):
            drive = FailingDrive(image)
            drive.fail(call, first, count)
            if failure_of(partial(expect_world, drive, world)) is None and not drive.failed:
                break
            drive.mend()
            expect_world(drive, world)
        assert first > 0

    @pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.soak)])
    def test_opening_with_each_block_unreadable(self, step: int) -> None:
        """What is needed and cannot be read is an error of the medium: the drive is not taken for another."""
        image, world = crashed()
        outcomes: Counter[str] = Counter()
        for mba in range(0, len(image) // BLOCK_SIZE, step):
            drive = FailingDrive(image)
            drive.bad_on_read(mba)
            failure = failure_of(partial(expect_world, drive, world))
            outcomes["failed" if failure else "fine"] += 1
            named = (f"media block {mba}:", f"from mba {mba}:")
            assert failure is None or any(name in str(failure) for name in named), failure
            drive.overwrite(mba, image[mba * BLOCK_SIZE :][:BLOCK_SIZE])
            expect_world(drive, world)
        assert outcomes["failed"] > 20 / step
        assert outcomes["fine"] > 20 / step


def expect_world(drive: FailingDrive, world: World) -> None:
    """Open the store and read all of it."""
    subject = reopen(drive)
    try:
        shown = subject.show()
        subject.check()
    finally:
        subject.abandon()
    assert shown == world, difference(shown, world)


def crashed() -> tuple[bytes, World]:
    """Return a drive as a crash left it, everything kept, and what it shows."""
    drive, run = start(8, operations=60)
    run.subject.store.flush()
    run.subject.abandon()
    return drive.image(), run.world
