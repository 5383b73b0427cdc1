"""Drives whose calls fail when they are told to, and what a store may show afterwards."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal

from seqstore import MediumError, Store
from seqstore.media.faults import LOST, FaultMedium, FaultyDrive
from seqstore.media.faults.plate import MemoryPlate
from tests.crash.file_store import FLUSHING, FileStore, Leave, StoreOp, next_world
from tests.crash.history import Author, Limits
from tests.crash.ops import Clone, Create, Snapshot, Write, WriteBlocks, steps
from tests.crash.world import Shown, World, difference
from tests.small import BLOCK_SIZE

SEGMENT_BLOCKS = 16
BLOCKS = 24 * SEGMENT_BLOCKS
Call = Literal["append", "read", "sync"]


class FailingDrive(FaultyDrive):
    """A drive of which some calls fail: the `first` of a kind that are to, and `count` from there on.

    Of a write that fails some blocks are written before it does.
    """

    def __init__(self, image: bytes | None = None) -> None:
        super().__init__(
            BLOCKS * BLOCK_SIZE,
            block_size=BLOCK_SIZE,
            zone_size=SEGMENT_BLOCKS * BLOCK_SIZE,
            plate=None if image is None else MemoryPlate(image, BLOCK_SIZE),
            generator=Random(1),
        )
        self.calls = {"append": 0, "read": 0, "sync": 0}
        self.failed = 0
        self._failing: Call | None = None
        self._number = errno.EIO
        self._first = self._behind = 0

    def fail(self, call: Call, first: int, count: int = 1, number: int = errno.EIO) -> None:
        """Let a call fail: the one that is `first` more away, 0 for the next, and so many from there."""
        self._failing, self._number = call, number
        self._first = self.calls[call] + first
        self._behind = self._first + count

    def mend(self) -> None:
        self._failing = None

    def _fails(self, call: Call) -> bool:
        self.calls[call] += 1
        fails = self._failing == call and self._first < self.calls[call] <= self._behind
        self.failed += fails
        return fails

    def _error(self) -> OSError:
        return OSError(self._number, os.strerror(self._number))

    def append(self, mba: int, data: bytes | memoryview) -> None:
        if not self._fails("append"):
            super().append(mba, data)
            return
        whole = bytes(data)[: len(data) // BLOCK_SIZE // 2 * BLOCK_SIZE]
        if whole:
            super().append(mba, whole)
        raise self._error()

    def read(self, mba: int, count: int, out: memoryview | bytearray) -> None:
        if self._fails("read"):
            raise self._error()
        super().read(mba, count, out)

    def sync(self) -> None:
        if self._fails("sync"):
            raise self._error()
        super().sync()


def failure_of(call: Callable[[], object], number: int = errno.EIO) -> MediumError | None:
    """Return what a call failed with: of all errors only one of the medium, of this number."""
    try:
        call()
    except MediumError as error:
        failure = error
    else:
        return None
    assert failure.errno in {number, None}
    return failure


def create(drive: FaultyDrive) -> FileStore:
    store = Store.create_on(FaultMedium(drive), checkpoint_interval="32KiB")
    return FileStore(store)


def reopen(drive: FaultyDrive) -> FileStore:
    return FileStore(Store.open_on(FaultMedium(drive), checkpoint_interval="32KiB"))


def may_leave(op: StoreOp, before: World, shown: World, atomic_blocks: int) -> bool:
    """Whether an operation that failed may leave this: of a write the first blocks, of others any part."""
    if isinstance(op, Write | WriteBlocks):
        return shown in (before, *steps(before, op, 0))
    after = next_world(before, op, atomic_blocks)
    numbers = shown.keys() | before.keys() | after.keys()
    return all(_is_between(shown.get(n), before.get(n), after.get(n)) for n in numbers)


def is_whole(op: StoreOp, before: World, shown: World, atomic_blocks: int) -> bool:
    """Whether an operation that failed left all of itself or nothing, or any part of a tenant's end."""
    if isinstance(op, Leave):
        return may_leave(op, before, shown, atomic_blocks)
    return shown in (before, next_world(before, op, atomic_blocks))


def _is_between(here: Shown | None, old: Shown | None, new: Shown | None) -> bool:
    if here in (old, new):
        return True
    if here is None or old is None or new is None or here.size not in (old.size, new.size):
        return False
    lbas = here.blocks.keys() | old.blocks.keys() | new.blocks.keys()
    return replace(here, size=old.size, blocks=old.blocks) == old and all(
        here.blocks.get(lba) in (old.blocks.get(lba), new.blocks.get(lba)) for lba in lbas
    )


@dataclass(slots=True)
class Run:
    """Operations on a store whose drive fails, and what may be there afterwards.

    Attributes
    ----------
    worlds : list of World
        After each operation that succeeded, and whatever was shown after one that failed.
    attempts : list of (int, World, operation)
        Operations that failed: how many worlds there were, and the last of them.
    lowest : int
        The world at the last flush that succeeded.
    cut_short : bool
        Whether an operation failed in its middle. Half of it shows until the store is opened again, and no
        change is accepted.
    """

    subject: FileStore
    seed: int
    world: World = field(default_factory=dict)
    worlds: list[World] = field(default_factory=list)
    attempts: list[tuple[int, World, StoreOp]] = field(default_factory=list)
    errors: list[MediumError] = field(default_factory=list)
    lowest: int = 0
    cut_short: bool = False

    def __post_init__(self) -> None:
        self.worlds.append(self.world)

    def author(self) -> Author:
        # One, so that it stays: of a tenant whose deletion has failed nothing can be asked any more.
        tenants = [self.subject.store.tenants[0].number]
        limits = Limits(request_blocks=10, volume_blocks=20, live_blocks=100)
        last = self.subject.store._parts.catalog.draw_number()
        generator = Random(self.seed)
        version = self.seed * 1000
        return Author(
            generator, self.world, last_number=last, tenants=tenants, version=version, limits=limits
        )

    def do(self, operations: int) -> None:
        """Do so many operations, and look at the store after each that failed."""
        author = self.author()
        for _ in range(operations):
            self.attempt(author.choose(self.world))

    def attempt(self, op: StoreOp) -> None:
        before, atomic_blocks = self.world, self.subject.atomic_blocks
        try:
            self.subject.apply(op)
        except MediumError as error:
            self.errors.append(error)
            self.attempts.append((len(self.worlds), before, op))
            self.world = self.subject.show()
            if self.cut_short:
                assert self.world == before, difference(self.world, before)
            elif not is_whole(op, before, self.world, atomic_blocks):
                self.cut_short = True
        else:
            assert not self.cut_short, f"{type(op).__name__} was accepted after another had failed half-way"
            self.world = next_world(before, op, atomic_blocks)
            if isinstance(op, FLUSHING):
                self.lowest = len(self.worlds)
        if not self.cut_short:
            self.worlds.append(self.world)
        assert may_leave(op, before, self.world, atomic_blocks), (
            f"{type(op).__name__} failed, {self.errors[-1]}, and changed: {difference(self.world, before)}"
        )

    def may_show(self, shown: World) -> bool:
        """Whether a store that is opened again may show a world.

        A volume or snapshot whose making failed is taken back with the next change of that kind, and may be
        there until then.
        """
        made = [op.number for _, _, op in self.attempts if isinstance(op, Create | Snapshot | Clone)]
        for left in ((), made):
            shown = {number: view for number, view in shown.items() if number not in left}
            if shown in self.worlds[self.lowest :] or any(
                is_whole(op, before, shown, self.subject.atomic_blocks)
                for index, before, op in self.attempts
                if index > self.lowest
            ):
                return True
        return False


def expect_back(run: Run, drive: FaultyDrive) -> None:
    """Open the store again, with the unsynced writes kept, lost, or some of each; and go on with it."""
    for fates in ("kept", "lost", "mixed", "mixed"):
        copy = drive.clone()
        copy.reboot()
        if fates == "lost":
            copy.power_cut(lambda _: LOST)
        elif fates == "mixed":
            copy.power_cut()
        copy.reboot()
        subject = reopen(copy)
        subject.check()
        shown = subject.show()
        assert run.may_show(shown), (
            f"unsynced writes {fates}: {difference(shown, run.worlds[run.lowest])}; against the newest:"
            f" {difference(shown, run.world)}; {len(run.worlds) - run.lowest} worlds since the flush"
        )
        go_on(subject, shown, copy)


def go_on(subject: FileStore, world: World, drive: FaultyDrive) -> None:
    """Work on with a store that was opened, close it, and find everything there."""
    again = Run(subject, 99, world)
    again.do(3)
    assert not again.errors
    subject.store.close()
    third = reopen(drive)
    assert third.show() == again.world
    third.abandon()
