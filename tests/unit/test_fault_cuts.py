"""Power cuts on the faulty drive: what they may leave, and what chance makes of them."""

from __future__ import annotations

import errno
from collections import Counter
from contextlib import suppress
from random import Random

import pytest

from seqstore import ConfigError
from seqstore.media.faults import KEPT, LOST, FaultPlan, FaultyDrive
from seqstore.media.faults.orders import BadBlocks
from tests.faulty import LARGE_BLOCK, LARGE_SECTORS, blocks, large_drive, marks, read, refused, small_drive
from tests.small import BLOCK_COUNT

OLD, NEW = 1, 2


@pytest.fixture
def drive() -> FaultyDrive:
    return small_drive()


@pytest.fixture
def large() -> FaultyDrive:
    return large_drive()


class TestPowerCuts:
    def test_without_power_nothing_works(self, drive: FaultyDrive) -> None:
        drive.append(0, blocks(7))
        drive.power_cut(lambda _: KEPT)
        assert drive.off
        for call in (
            lambda: drive.append(1, blocks(8)),
            lambda: drive.overwrite(0, blocks(8)),
            lambda: read(drive, 0),
            drive.sync,
            lambda: drive.reset(0),
        ):
            refused(errno.EIO, call)
        assert drive.counts.refused == 5
        drive.reboot()
        assert not drive.off
        assert read(drive, 0, 2) == blocks(7) + blocks(0)

    def test_what_a_sync_covers_stays(self, drive: FaultyDrive) -> None:
        drive.append(0, blocks(OLD, 4))
        drive.sync()
        drive.append(4, blocks(NEW, 4))
        drive.power_cut(lambda _: LOST)
        assert marks(drive, 0, 8) == [OLD] * 4 + [0] * 4

    def test_any_sector_may_be_lost(self, large: FaultyDrive) -> None:
        large.append(0, blocks(OLD, 2, LARGE_BLOCK))
        large.sync()
        large.overwrite(0, blocks(NEW, 2, LARGE_BLOCK))
        large.power_cut(lambda _: 0b1000_0000_0000_0101)
        assert marks(large, 0, 2) == [NEW, OLD, NEW, *[OLD] * 12, NEW]
        assert (large.counts.kept_sectors, large.counts.lost_sectors, large.counts.torn_writes) == (3, 13, 1)

    def test_writes_are_lost_in_any_order(self, drive: FaultyDrive) -> None:
        for number in range(1, 5):
            drive.append(number, blocks(number))
        drive.power_cut(lambda write: KEPT if write.number in {2, 4} else LOST)
        assert marks(drive, 1, 4) == [0, 2, 0, 4]

    @pytest.mark.parametrize(
        ("kept", "left"), [("", 1), ("a", 2), ("b", 3), ("ab", 3), ("ac", 4), ("abc", 4)]
    )
    def test_writes_to_one_sector_leave_one_of_them(self, drive: FaultyDrive, kept: str, left: int) -> None:
        drive.append(0, blocks(1))
        drive.sync()
        for mark in (2, 3, 4):
            drive.append(0, blocks(mark))
        names = {2: "a", 3: "b", 4: "c"}
        drive.power_cut(lambda write: KEPT if names[write.number] in kept else LOST)
        assert marks(drive) == [left]

    def test_what_a_cut_left_is_there_for_good(self, drive: FaultyDrive) -> None:
        drive.append(0, blocks(7))
        drive.power_cut(lambda _: KEPT)
        drive.reboot()
        assert drive.unsynced == ()
        drive.power_cut(lambda _: LOST)
        assert marks(drive) == [7]

    def test_chance_needs_a_generator(self, drive: FaultyDrive) -> None:
        drive.append(0, blocks(7))
        with pytest.raises(ConfigError, match="generator"):
            drive.power_cut()
        assert not drive.off


class TestCutsToCome:
    @pytest.mark.parametrize("sectors", [0, 1, 7, 8, 16])
    def test_the_write_is_torn_where_it_was_asked_for(self, large: FaultyDrive, sectors: int) -> None:
        large.append(0, blocks(OLD, 1, LARGE_BLOCK))
        large.cut_after(3, sectors=sectors)
        large.append(1, blocks(OLD, 1, LARGE_BLOCK))
        refused(errno.EIO, lambda: large.append(2, blocks(NEW, 2, LARGE_BLOCK)))
        assert large.off
        assert marks(large, 0, 4) == [OLD] * 16 + [NEW] * sectors + [0] * (16 - sectors)

    def test_the_writes_before_it_have_fates_too(self, drive: FaultyDrive) -> None:
        drive.cut_after(3, sectors=1, fates=lambda write: KEPT if write.number == 1 else LOST)
        drive.append(0, blocks(7))
        drive.append(1, blocks(8))
        refused(errno.EIO, lambda: drive.append(2, blocks(9)))
        assert marks(drive, 0, 3) == [7, 0, 9]

    def test_only_writes_to_come_can_be_cut(self, drive: FaultyDrive) -> None:
        drive.append(0, blocks(7))
        with pytest.raises(ConfigError, match="write 1 is over"):
            drive.cut_after(1)

    def test_after_a_reboot_the_drive_goes_on(self, drive: FaultyDrive) -> None:
        drive.cut_after(1, sectors=0)
        refused(errno.EIO, lambda: drive.append(0, blocks(7)))
        drive.reboot()
        drive.append(0, blocks(8))
        assert marks(drive) == [8]


def outcomes(plan: FaultPlan, writes: int, cuts: int) -> Counter[tuple[int, ...]]:
    """Cut the power many times after so many writes of one block, and count the marks of their sectors."""
    found: Counter[tuple[int, ...]] = Counter()
    drive = large_drive(plan=plan, generator=Random(3))
    for _ in range(cuts):
        drive.overwrite(0, blocks(0, writes, LARGE_BLOCK))
        drive.sync()
        for number in range(writes):
            drive.overwrite(number, blocks(NEW, 1, LARGE_BLOCK))
        drive.power_cut()
        drive.reboot()
        found[tuple(marks(drive, 0, writes))] += 1
    return found


class TestChance:
    def test_writes_are_kept_lost_and_torn_as_the_plan_says(self) -> None:
        found = outcomes(FaultPlan(in_order=0.0, keep=0.5, lose=0.3), writes=1, cuts=4000)
        kept, lost = found[(NEW,) * LARGE_SECTORS], found[(0,) * LARGE_SECTORS]
        # A fifth decides block by block, and of it a fifth sector by sector: 0.6 and 0.36 in all.
        assert 0.57 < kept / 4000 < 0.63
        assert 0.33 < lost / 4000 < 0.39
        assert sum(found.values()) - kept - lost > 100

    def test_torn_blocks_are_torn_in_every_way(self) -> None:
        found = outcomes(FaultPlan(in_order=0.0, keep=0.0, lose=0.0), writes=1, cuts=6000)
        assert len(found) == 2**LARGE_SECTORS
        assert max(found.values()) < 60
        for sector in range(LARGE_SECTORS):
            kept = sum(number for marks, number in found.items() if marks[sector] == NEW)
            assert 0.46 < kept / 6000 < 0.54

    def test_writes_have_fates_of_their_own(self) -> None:
        found = outcomes(FaultPlan(in_order=0.0, keep=0.5, lose=0.5), writes=3, cuts=1600)
        assert len(found) == 8
        assert all(140 < number < 260 for number in found.values())

    def test_cuts_in_order_leave_no_gap(self) -> None:
        found = outcomes(FaultPlan(in_order=1.0), writes=3, cuts=1000)
        assert set(found) == {
            (NEW,) * kept + (0,) * (3 * LARGE_SECTORS - kept) for kept in range(3 * LARGE_SECTORS + 1)
        }

    def test_a_seed_decides_everything(self) -> None:
        plan = FaultPlan(rot=0.1, rot_bits=3, misdirect=0.1, lose_write=0.1, lie=0.2)
        assert run_at_random(plan, seed=1) == run_at_random(plan, seed=1)
        assert run_at_random(plan, seed=1) != run_at_random(plan, seed=2)

    def test_a_plan_brings_each_fault_at_its_rate(self) -> None:
        plan = FaultPlan(
            rot=0.1, misdirect=0.2, lose_write=0.1, lie=0.3, bad_on_write=0.02, bad_on_read=0.05, stall=0.25
        )
        drive = small_drive(plan=plan, generator=Random(5))
        for number in range(2000):
            with suppress(OSError):
                drive.append(number % BLOCK_COUNT, blocks(7))
            with suppress(OSError):
                drive.sync()
            with suppress(OSError):
                read(drive, number % BLOCK_COUNT)
            drive._bad = BadBlocks()  # or soon every block would be bad
        counts = drive.counts
        assert 340 < counts.misdirected_writes < 460
        assert 150 < counts.lost_writes < 250
        assert 140 < counts.rotted_bits < 220
        assert 520 < counts.lying_syncs < 680
        assert 20 < counts.write_errors < 60
        assert 60 < counts.read_errors < 140
        assert 1400 < counts.stalls < 1600

    @pytest.mark.parametrize(
        "options",
        [{"keep": 1.5}, {"lie": -0.1}, {"keep": 0.6, "lose": 0.6}, {"rot_bits": 0}, {"latency_ns": -1}],
    )
    def test_chances_that_are_none(self, options: dict[str, float]) -> None:
        with pytest.raises(ConfigError):
            FaultPlan(**options)  # type: ignore[arg-type]


def run_at_random(plan: FaultPlan, seed: int) -> tuple[bytes, object]:
    drive = small_drive(plan=plan, generator=Random(seed))
    for number in range(200):
        drive.append(number % BLOCK_COUNT, blocks(number % 250 + 1))
        if number % 7 == 0:
            drive.sync()
        if number % 50 == 49:
            drive.power_cut()
            drive.reboot()
    return drive.image(), drive.counts
