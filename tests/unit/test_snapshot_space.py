"""Room on a full drive: what snapshots and clones hold, and what becomes free when they go."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seqstore import OutOfSpaceError, Snapshot, Store, Volume
from tests.small import BLOCK_SIZE, CAPACITY, SEGMENT_SIZE, unchanged, write_tagged


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.memory(CAPACITY, block_size=BLOCK_SIZE, segment_size=SEGMENT_SIZE) as store:
        store.create_tenant("contoso")
        yield store


def fill(store: Store) -> Volume:
    """Fill the drive to the last block with one volume."""
    usable = store.drives[0].usable_blocks
    volume = store.tenant("contoso").create_volume("disk", CAPACITY)
    write_tagged(volume, range(usable))
    assert store.stats().live_blocks == usable
    return volume


def filled_and_frozen(store: Store) -> tuple[Volume, Snapshot]:
    """The same, with a snapshot of it."""
    volume = fill(store)
    return volume, volume.snapshot("monday")


class TestHeldBySnapshot:
    def test_overwriting_needs_room_of_its_own(self, store: Store) -> None:
        volume, _ = filled_and_frozen(store)
        with unchanged(store), pytest.raises(OutOfSpaceError) as caught:
            write_tagged(volume, [3, 5, 3], 2)
        assert (caught.value.needed, caught.value.available) == (2, 0)

    def test_so_does_zeroing_part_of_a_block(self, store: Store) -> None:
        volume, snapshot = filled_and_frozen(store)
        before = snapshot.read(0, 2 * BLOCK_SIZE)
        for offset, length in ((1, BLOCK_SIZE - 1), (0, BLOCK_SIZE + 1), (5, 7)):
            with unchanged(store), pytest.raises(OutOfSpaceError) as caught:
                volume.trim(offset, length)
            assert (caught.value.needed, caught.value.available) == (1, 0)
        with unchanged(store), pytest.raises(OutOfSpaceError):
            volume.resize(BLOCK_SIZE + 1)
        assert volume.read(0, 2 * BLOCK_SIZE) == before

    def test_zeroing_takes_the_room_that_whole_blocks_leave(self, store: Store) -> None:
        volume = store.tenant("contoso").create_volume("disk", CAPACITY)
        rows = write_tagged(volume, range(store.drives[0].usable_blocks - 1))
        volume.snapshot("monday")
        write_tagged(volume, [5], 2)
        with unchanged(store), pytest.raises(OutOfSpaceError):
            volume.trim(6 * BLOCK_SIZE, BLOCK_SIZE + 1)
        volume.trim(4 * BLOCK_SIZE + 1, 2 * BLOCK_SIZE - 1)
        store.check()
        wanted = rows[4, :1].tobytes() + bytes(2 * BLOCK_SIZE - 1)
        assert volume.read(4 * BLOCK_SIZE, 2 * BLOCK_SIZE) == wanted
        assert store.stats().live_blocks == store.drives[0].usable_blocks

    def test_trimming_whole_blocks_needs_none_and_frees_none(self, store: Store) -> None:
        volume, snapshot = filled_and_frozen(store)
        before = snapshot.read(0, CAPACITY)
        volume.trim(0, CAPACITY)
        store.check()
        assert volume.read(0, CAPACITY) == bytes(CAPACITY)
        assert snapshot.read(0, CAPACITY) == before
        assert store.stats().live_blocks == store.drives[0].usable_blocks


class TestFreedWithSnapshot:
    def test_overwriting_needs_no_room_when_the_snapshot_is_gone(self, store: Store) -> None:
        volume, snapshot = filled_and_frozen(store)
        snapshot.delete()
        rows = write_tagged(volume, range(volume.blocks // 2), 2)
        write_tagged(volume, [7, 7, 9], 2)
        store.check()
        assert volume.read(0, rows.size) == rows.tobytes()
        assert store.stats().live_blocks == store.drives[0].usable_blocks

    def test_what_only_the_snapshot_held_dies_with_it(self, store: Store) -> None:
        volume, snapshot = filled_and_frozen(store)
        volume.trim(0, 10 * BLOCK_SIZE)
        snapshot.delete()
        store.check()
        assert store.stats().live_blocks == store.drives[0].usable_blocks - 10

    def test_rolling_back_frees_what_came_after(self, store: Store) -> None:
        volume = store.tenant("contoso").create_volume("disk", CAPACITY)
        write_tagged(volume, range(20))
        snapshot = volume.snapshot("monday")
        write_tagged(volume, range(10, 40), 2)
        assert store.stats().live_blocks == 50
        volume.rollback(snapshot)
        store.check()
        assert store.stats().live_blocks == 20

    def test_a_clone_keeps_what_it_shows(self, store: Store) -> None:
        volume = store.tenant("contoso").create_volume("disk", CAPACITY)
        rows = write_tagged(volume, range(20))
        snapshot = volume.snapshot("monday")
        clone = snapshot.clone("copy")
        write_tagged(clone, range(5), 2)
        volume.delete()
        snapshot.delete()
        store.check()
        assert store.stats().live_blocks == 20
        assert clone.read(5 * BLOCK_SIZE, 15 * BLOCK_SIZE) == rows[5:].tobytes()
        clone.delete()
        store.check()
        assert store.stats().live_blocks == 0


class TestTables:
    """What a drive knows of volumes and snapshots has to fit into a small part of it."""

    @pytest.fixture
    def tiny(self, tmp_path: Path) -> Iterator[Store]:
        with Store.create(tmp_path / "tiny.store", "44KiB", block_size=512, segment_size="2KiB") as store:
            store.create_tenant("contoso").create_volume("disk", "4KiB").write(0, b"monday")
            yield store

    @staticmethod
    def refused(call: Callable[[], object]) -> str:
        with pytest.raises(OutOfSpaceError, match="tables have no room") as caught:
            call()
        assert (caught.value.errno, caught.value.needed, caught.value.available) == (errno.ENOSPC, 1, 0)
        return str(caught.value)

    def test_each_call_that_needs_an_entry_says_the_same(self, tiny: Store) -> None:
        volume = tiny.tenants[0].volumes[0]
        monday = volume.snapshot("monday")

        def roll_back_changes() -> None:
            for number in range(10):
                volume.write(0, b"%6d" % number)  # whose layer stays as long as its bytes
                volume.rollback(monday)

        message = self.refused(lambda: [volume.snapshot(f"{number}") for number in range(1000)])
        taken = volume.snapshots
        for call in (
            lambda: volume.snapshot("one more"),
            lambda: monday.clone("copy"),
            lambda: volume.tenant.create_volume("other", "4KiB"),
            roll_back_changes,
        ):
            assert self.refused(call).partition(": ")[2] == message.partition(": ")[2]
        assert (volume.snapshots, volume.tenant.volumes) == (taken, (volume,))
        assert monday.read(0, 6) == b"monday"
        for snapshot in taken[-3:]:
            snapshot.delete()
        volume.rollback(monday)
        assert volume.read(0, 6) == b"monday"
        monday.clone("copy")
        tiny.check()
