"""The fault medium and its drive: each fault that it can be told to have."""

from __future__ import annotations

import errno
import threading
from random import Random

import pytest

from seqstore import MemoryMedium, SequentialWriteError
from seqstore.media.faults import (
    KEPT,
    LOST,
    FaultMedium,
    FaultPlan,
    FaultyDrive,
    UnsyncedWrite,
    first_sectors,
)
from tests.faulty import LARGE_BLOCK, blocks, large_drive, marks, read, refused, small_drive
from tests.small import BLOCK_COUNT, BLOCK_SIZE, CAPACITY, SEGMENT_BLOCKS, SEGMENT_SIZE, SEGMENTS


@pytest.fixture
def drive() -> FaultyDrive:
    return small_drive()


class TestWithoutFaults:
    def test_what_is_written_is_read(self, drive: FaultyDrive) -> None:
        drive.append(3, blocks(7) + blocks(8))
        drive.overwrite(4, blocks(9))
        assert read(drive, 2, 4) == blocks(0) + blocks(7) + blocks(9) + blocks(0)
        assert drive.peek(2, 4) == read(drive, 2, 4)
        assert drive.image() == blocks(0, 3) + blocks(7) + blocks(9) + blocks(0, BLOCK_COUNT - 5)

    def test_everything_is_counted(self, drive: FaultyDrive) -> None:
        drive.append(0, blocks(7, 3))
        drive.append(3, blocks(7))
        drive.overwrite(0, blocks(8))
        read(drive, 0, 5)
        drive.sync()
        drive.reset(0)
        counts = drive.counts
        assert (counts.appends, counts.overwrites, counts.reads, counts.syncs, counts.resets) == (
            2,
            1,
            1,
            1,
            1,
        )
        assert (counts.operations, counts.written_blocks, counts.read_blocks) == (6, 5, 5)
        assert drive.writes == 3
        counts.appends = 99
        assert drive.counts.appends == 2

    def test_a_sync_covers_what_came_before_it(self, drive: FaultyDrive) -> None:
        drive.append(0, blocks(7, 2))
        drive.sync()
        assert len(drive.unsynced) == 0
        drive.append(2, blocks(8))
        assert list(drive.unsynced) == [UnsyncedWrite(number=2, mba=2, data=blocks(8), old=blocks(0))]


class TestFaultsNobodyIsToldOf:
    def test_rot_flips_a_bit(self, drive: FaultyDrive) -> None:
        drive.append(5, blocks(0))
        drive.sync()
        drive.rot(5, 8 * 100 + 3)
        assert read(drive, 5) == bytes(100) + b"\x08" + bytes(BLOCK_SIZE - 101)
        drive.rot(5, 8 * 100 + 3)
        assert read(drive, 5) == blocks(0)
        assert drive.counts.rotted_bits == 2

    def test_a_misdirected_write_lands_elsewhere(self, drive: FaultyDrive) -> None:
        drive.append(0, blocks(1, 8))
        drive.misdirect(6)
        drive.append(2, blocks(2, 2))
        drive.append(4, blocks(3))
        assert marks(drive, 0, 9) == [1, 1, 1, 1, 3, 1, 2, 2, 0]
        assert drive.counts.misdirected_writes == 1

    def test_a_misdirected_write_stays_on_the_drive(self, drive: FaultyDrive) -> None:
        drive.misdirect(BLOCK_COUNT - 1)
        drive.append(0, blocks(2, 3))
        assert marks(drive, BLOCK_COUNT - 4, 4) == [0, 2, 2, 2]

    def test_lost_writes_are_never_there(self, drive: FaultyDrive) -> None:
        drive.lose_next_write(2)
        for mba in range(3):
            drive.append(mba, blocks(7))
        drive.sync()
        assert marks(drive, 0, 3) == [0, 0, 7]
        assert drive.counts.lost_writes == 2
        assert drive.writes == 3

    def test_a_lying_sync_covers_nothing(self, drive: FaultyDrive) -> None:
        drive.append(0, blocks(7))
        drive.lie_on_sync(2)
        drive.sync()
        drive.sync()
        assert [write.number for write in drive.unsynced] == [1]
        other = drive.clone()
        drive.power_cut(lambda _: LOST)
        assert marks(drive) == [0]
        other.sync()
        other.power_cut(lambda _: LOST)
        assert marks(other) == [7]
        assert (drive.counts.lying_syncs, other.counts.syncs) == (2, 3)


class TestFaultsThatAreReported:
    def test_a_block_that_is_bad_on_reading(self, drive: FaultyDrive) -> None:
        drive.append(0, blocks(7, 4))
        drive.bad_on_read(2)
        refused(errno.EIO, lambda: read(drive, 0, 4))
        assert read(drive, 0, 2) == blocks(7, 2)
        assert drive.counts.read_errors == 1
        drive.overwrite(2, blocks(8))
        assert read(drive, 1, 2) == blocks(7) + blocks(8)

    def test_a_block_that_turns_bad_later(self, drive: FaultyDrive) -> None:
        drive.append(0, blocks(7, 4))
        drive.bad_on_read(2, after=2)
        assert read(drive, 2) == blocks(7)
        drive.sync()
        refused(errno.EIO, lambda: read(drive, 2))

    def test_a_block_that_is_bad_on_writing(self, drive: FaultyDrive) -> None:
        drive.bad_on_write(2)
        refused(errno.EIO, lambda: drive.append(0, blocks(7, 4)))
        assert marks(drive, 0, 4) == [7, 7, 0, 0]
        refused(errno.EIO, lambda: drive.overwrite(2, blocks(7)))
        drive.append(3, blocks(8))
        assert drive.counts.write_errors == 2
        drive.power_cut(lambda write: KEPT if write.mba == 3 else LOST)
        assert marks(drive, 0, 4) == [0, 0, 0, 8]

    def test_no_room(self, drive: FaultyDrive) -> None:
        drive.fill(3)
        drive.append(0, blocks(7, 2))
        refused(errno.ENOSPC, lambda: drive.append(2, blocks(7, 2)))
        refused(errno.ENOSPC, lambda: drive.append(3, blocks(7)))
        assert marks(drive, 0, 4) == [7, 7, 7, 0]
        assert drive.counts.out_of_space == 2
        drive.make_room()
        drive.append(3, blocks(7))
        assert marks(drive, 3) == [7]

    def test_a_dead_drive(self, drive: FaultyDrive) -> None:
        drive.append(0, blocks(7))
        drive.die(after=2)
        drive.append(1, blocks(7))
        drive.sync()
        for _ in range(2):
            refused(errno.EIO, drive.sync)
            refused(errno.EIO, lambda: read(drive, 0))
            refused(errno.EIO, lambda: drive.append(2, blocks(7)))
            drive.reboot()
        assert marks(drive, 0, 3) == [7, 7, 0]
        assert (drive.counts.refused, drive.counts.operations) == (6, 3)


class Stopwatch:
    """A clock that adds up what it was slept by."""

    def __init__(self) -> None:
        self.slept_ns = 0

    def sleep_ns(self, duration_ns: int, /) -> None:
        self.slept_ns += duration_ns


class TestTime:
    def test_operations_take_their_time(self) -> None:
        clock = Stopwatch()
        drive = small_drive(plan=FaultPlan(latency_ns=100), clock=clock)
        drive.append(0, blocks(7))
        read(drive, 0)
        drive.sync()
        assert clock.slept_ns == drive.counts.busy_ns == 300

    def test_some_take_longer(self) -> None:
        clock = Stopwatch()
        plan = FaultPlan(latency_ns=1, stall=0.5, stall_ns=10_000)
        drive = small_drive(plan=plan, clock=clock, generator=Random(1))
        for _ in range(100):
            drive.sync()
        assert 30 < drive.counts.stalls < 70
        assert clock.slept_ns == 100 + drive.counts.stalls * 10_000


class TestVersions:
    def test_what_a_block_held_before(self) -> None:
        drive = small_drive(versions=2)
        for mark in (1, 2, 3, 4):
            drive.append(3, blocks(9) + blocks(mark))
        assert drive.old_versions(4) == (blocks(2), blocks(3))
        assert drive.old_versions(3) == (blocks(9), blocks(9))
        assert drive.old_versions(5) == ()

    def test_nothing_is_kept_unless_asked_for(self, drive: FaultyDrive) -> None:
        drive.append(0, blocks(1))
        drive.append(0, blocks(2))
        assert drive.old_versions(0) == ()


class TestClones:
    def test_a_clone_goes_its_own_way(self) -> None:
        drive = small_drive(versions=4, generator=Random(1))
        drive.append(0, blocks(1, 3))
        drive.sync()
        drive.append(0, blocks(2))
        drive.bad_on_read(2)
        drive.lose_next_write()
        clone = drive.clone()
        clone.append(1, blocks(3))
        clone.append(1, blocks(4))
        clone.power_cut(lambda write: LOST if write.number == 2 else KEPT)
        assert marks(clone, 0, 3) == [1, 4, 1]
        assert marks(drive, 0, 3) == [2, 1, 1]
        assert (clone.off, drive.off) == (True, False)
        clone.reboot()
        for twin in (clone, drive):
            refused(errno.EIO, lambda twin=twin: read(twin, 2))  # type: ignore[misc]
        assert clone.old_versions(1) == (blocks(0), blocks(1))
        assert drive.old_versions(1) == (blocks(0),)
        assert (clone.counts.lost_writes, drive.counts.lost_writes) == (1, 0)
        drive.append(1, blocks(5))
        assert (marks(drive, 1), drive.counts.lost_writes) == ([1], 1)

    def test_a_clone_draws_the_same(self) -> None:
        drive = large_drive(generator=Random(1))
        for mba in range(16):
            drive.append(mba, blocks(7, 1, 4096))
        images = set()
        for twin in (drive.clone(), drive.clone(), drive):
            twin.power_cut()
            images.add(twin.image())
        assert len(images) == 1


def test_the_bytes_may_lie_on_another_medium() -> None:
    with MemoryMedium(CAPACITY, block_size=BLOCK_SIZE, zone_size=SEGMENT_SIZE) as medium:
        drive = FaultyDrive.around(medium)
        drive.append(2, blocks(7, 2))
        assert medium.read(1, 4) == blocks(0) + blocks(7, 2) + blocks(0)
        drive.sync()
        drive.append(4, blocks(8, 2))
        drive.power_cut(lambda _: first_sectors(1))
        assert medium.read(2, 4) == blocks(7, 2) + blocks(8) + blocks(0)


class TestMedium:
    def test_it_is_a_medium_like_others(self, drive: FaultyDrive) -> None:
        with FaultMedium(drive) as medium:
            assert medium.drive is drive
            assert (medium.blocks, medium.block_size) == (BLOCK_COUNT, BLOCK_SIZE)
            assert (medium.zones, medium.zone_blocks) == (SEGMENTS, SEGMENT_BLOCKS)
            medium.append(16, blocks(7, 3))
            assert medium.read(15, 5) == blocks(0) + blocks(7, 3) + blocks(0) == drive.peek(15, 5)
            assert medium.write_pointer(1) == 19
            with pytest.raises(SequentialWriteError):
                medium.append(20, blocks(7))
            medium.reset(1)
            assert (drive.counts.appends, drive.counts.resets) == (1, 1)

    def test_faults_come_out_of_the_call_that_meets_them(self, drive: FaultyDrive) -> None:
        with FaultMedium(drive) as medium:
            medium.append(0, blocks(7, 2))
            drive.bad_on_read(1)
            refused(errno.EIO, lambda: medium.read(0, 2))
            drive.fill(1)
            refused(errno.ENOSPC, lambda: medium.append(2, blocks(7, 2)))
            assert medium.write_pointer(0) == 2
            drive.make_room()
            drive.cut_after(drive.writes + 1, sectors=1)
            refused(errno.EIO, lambda: medium.append(2, blocks(8, 2)))
            refused(errno.EIO, lambda: medium.read(0, 1))
            drive.reboot()
            assert medium.read(2, 2) == blocks(8) + blocks(0)

    def test_the_drive_outlives_the_medium(self, drive: FaultyDrive) -> None:
        with FaultMedium(drive) as medium:
            medium.append(0, blocks(7))
        with FaultMedium(drive) as medium:
            assert medium.read(0, 1) == blocks(7)

    def test_threads_share_a_drive(self) -> None:
        drive = large_drive(plan=FaultPlan(stall=0.1), generator=Random(1))
        with FaultMedium(drive) as medium:

            def fill(zone: int) -> None:
                for step in range(16):
                    medium.append(zone * 16 + step, blocks(zone + 1, 1, LARGE_BLOCK))
                    medium.read(zone * 16, step + 1)

            threads = [threading.Thread(target=fill, args=(zone,)) for zone in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert marks(drive, 0, 128) == [zone + 1 for zone in range(8) for _ in range(128)]
        assert (drive.counts.appends, drive.counts.reads, drive.writes) == (128, 128, 128)


def test_fates_are_of_sectors() -> None:
    write = UnsyncedWrite(number=1, mba=0, data=blocks(2, 3), old=blocks(0, 3))
    assert write.sectors == 3
    assert write.mix(blocks(1, 3), 0b101) == blocks(2) + blocks(1) + blocks(2)
    assert write.mix(blocks(1, 3), KEPT) == blocks(2, 3)
    assert write.mix(blocks(1, 3), LOST) == blocks(1, 3)
    assert [first_sectors(count) for count in (0, 1, 3)] == [0b0, 0b1, 0b111]
