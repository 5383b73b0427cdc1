"""I7 sequential: the medium takes appends at write pointers only, whoever asks."""

from __future__ import annotations

import random

import numpy as np
import pytest

from seqstore import TAG_DTYPE, BlockState, MemoryMedium, SequentialWriteError, Store, TagsMedium, Volume
from tests.raw_scan import Scan, records_of
from tests.small import BLOCK_COUNT, BLOCK_SIZE, CAPACITY, SEGMENT_BLOCKS, SEGMENT_SIZE, write_tagged

Medium = MemoryMedium | TagsMedium


@pytest.mark.invariant("I7")
class TestI7Sequential:
    """The medium takes appends at write pointers only, whoever asks; `reset` leaves the bytes."""

    @pytest.fixture(params=[MemoryMedium, TagsMedium])
    def medium(self, request: pytest.FixtureRequest) -> Medium:
        medium: Medium = request.param(CAPACITY, block_size=BLOCK_SIZE, zone_size=SEGMENT_SIZE)
        return medium

    @staticmethod
    def append(medium: Medium, mba: int, count: int = 1) -> None:
        if isinstance(medium, MemoryMedium):
            medium.append(mba, b"z" * (count * BLOCK_SIZE))
        else:
            medium.append(
                mba, np.array([(9, step, BlockState.LIVE) for step in range(count)], dtype=TAG_DTYPE)
            )

    @staticmethod
    def content(medium: Medium) -> bytes:
        if isinstance(medium, MemoryMedium):
            return medium.read(0, BLOCK_COUNT)
        return medium.read_tags(0, BLOCK_COUNT).tobytes()

    def refused(self, medium: Medium, mba: int, count: int = 1) -> None:
        """The append raises, and neither bytes nor write pointers move."""
        before = self.content(medium), [medium.write_pointer(zone) for zone in range(medium.zones)]
        with pytest.raises(SequentialWriteError) as caught:
            self.append(medium, mba, count)
        assert (caught.value.mba, caught.value.write_pointer) == (mba, before[1][mba // SEGMENT_BLOCKS])
        assert (self.content(medium), [medium.write_pointer(zone) for zone in range(medium.zones)]) == before

    def test_behind_the_write_pointer(self, medium: Medium) -> None:
        self.append(medium, 0, 5)
        for mba in range(5):
            self.refused(medium, mba)

    def test_beyond_the_write_pointer(self, medium: Medium) -> None:
        self.append(medium, 0, 5)
        for mba in range(6, SEGMENT_BLOCKS):
            self.refused(medium, mba)

    def test_past_the_end_of_the_zone(self, medium: Medium) -> None:
        self.append(medium, 0, 5)
        self.refused(medium, 5, SEGMENT_BLOCKS - 4)
        self.refused(medium, SEGMENT_BLOCKS, SEGMENT_BLOCKS + 1)
        self.append(medium, 5, SEGMENT_BLOCKS - 5)

    def test_into_a_full_zone(self, medium: Medium) -> None:
        self.append(medium, 0, SEGMENT_BLOCKS)
        for mba in range(SEGMENT_BLOCKS):
            self.refused(medium, mba)
        self.append(medium, SEGMENT_BLOCKS)

    def test_after_a_reset_only_at_the_start(self, medium: Medium) -> None:
        self.append(medium, 0, SEGMENT_BLOCKS)
        before = self.content(medium)
        medium.reset(0)
        assert self.content(medium) == before
        self.refused(medium, SEGMENT_BLOCKS - 1)
        self.refused(medium, 1)
        self.append(medium, 0)
        self.append(medium, 1)

    def test_random_appends_succeed_at_write_pointers_alone(self, medium: Medium) -> None:
        rng = random.Random(7)
        pointers = [zone * SEGMENT_BLOCKS for zone in range(medium.zones)]
        accepted = 0
        for _ in range(3000):
            mba, count = rng.randrange(BLOCK_COUNT), rng.randrange(1, 4)
            zone = mba // SEGMENT_BLOCKS
            fits = mba == pointers[zone] and mba + count <= (zone + 1) * SEGMENT_BLOCKS
            if mba + count > BLOCK_COUNT:
                continue
            if fits:
                self.append(medium, mba, count)
                pointers[zone] += count
                accepted += 1
            else:
                with pytest.raises(SequentialWriteError):
                    self.append(medium, mba, count)
        assert accepted > 50
        assert [medium.write_pointer(zone) for zone in range(medium.zones)] == pointers

    def test_a_drive_in_service_refuses_too(self, store: Store, volume: Volume) -> None:
        rows = write_tagged(volume, range(40))
        medium = store.drives[0].medium
        assert isinstance(medium, MemoryMedium)
        for zone in range(medium.zones):
            for mba in range(zone * SEGMENT_BLOCKS, (zone + 1) * SEGMENT_BLOCKS):
                if mba != medium.write_pointer(zone):
                    with pytest.raises(SequentialWriteError):
                        self.append(medium, mba)
        assert (volume.read_blocks(0, 40) == rows).all()
        store.check()

    def test_the_log_changes_bytes_only_at_its_head(self, store: Store, volume: Volume) -> None:
        """Over laps of overwrites, the bytes that change lie between the open record and the head."""
        drive = store.drives[0]
        write_tagged(volume, range(60))
        rng = random.Random(9)
        for version in range(2, 300):
            raw, start = drive.raw(0, BLOCK_COUNT), store.stats().position
            begin = start_of_open_record(store)
            write_tagged(volume, [rng.randrange(60) for _ in range(rng.randrange(1, 6))], version)
            if version % 10 == 0:
                volume.trim(rng.randrange(60) * BLOCK_SIZE, 700)
            steps = store.stats().position - start + (drive_head(start) - begin) % BLOCK_COUNT
            changed = changed_blocks(raw, drive.raw(0, BLOCK_COUNT))
            assert all((mba - begin) % BLOCK_COUNT < steps + 1 for mba in changed), (begin, steps, changed)
        assert store.stats().laps > 3


def drive_head(position: int) -> int:
    """Where the head of a circular log is at a position."""
    return position % BLOCK_COUNT


def start_of_open_record(store: Store) -> int:
    """The summary place of the record that is open, or the head if none is."""
    scan_now = Scan.take(store)
    sealed = records_of(scan_now)
    waiting = [mba for mba in scan_now.in_state(BlockState.SUMMARY) if mba not in sealed]
    assert len(waiting) <= 1
    return waiting[0] if waiting else store.drives[0].head


def changed_blocks(before: bytes, after: bytes) -> list[int]:
    """Media blocks whose bytes differ."""
    rows = [np.frombuffer(raw, dtype=np.uint8).reshape(BLOCK_COUNT, BLOCK_SIZE) for raw in (before, after)]
    return [int(mba) for mba in np.flatnonzero((rows[0] != rows[1]).any(axis=1))]
