"""Counters: what they count, that they subtract, and what they say of space and memory."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from seqstore import Store, Tenant, Volume
from tests.blocks import MAGIC
from tests.small import BLOCK_COUNT, BLOCK_SIZE, SEGMENTS, run_lap, write_tagged


def test_a_new_store_has_done_nothing(store: Store) -> None:
    stats = store.stats()
    assert (stats.user_blocks, stats.relocated_blocks, stats.trimmed_blocks, stats.cleaned_segments) == (
        0,
        0,
        0,
        0,
    )
    assert (stats.live_blocks, stats.block_count) == (0, BLOCK_COUNT)
    assert stats.utilization == 0
    assert math.isnan(stats.write_amplification)
    assert math.isnan(stats.device_amplification)


def test_user_blocks_count_what_was_asked_for(store: Store, volume: Volume) -> None:
    write_tagged(volume, [1, 2, 2, 3])
    assert store.stats().user_blocks == 4
    volume.write(5 * BLOCK_SIZE + 10, b"a" * BLOCK_SIZE)
    assert store.stats().user_blocks == 6
    assert store.stats().live_blocks == 5


def test_trimmed_blocks_count_what_was_unmapped(store: Store, tenant: Tenant, volume: Volume) -> None:
    write_tagged(volume, range(20))
    volume.trim(0, 5 * BLOCK_SIZE)
    volume.trim(0, 5 * BLOCK_SIZE)
    assert store.stats().trimmed_blocks == 5
    volume.resize(15 * BLOCK_SIZE)
    assert store.stats().trimmed_blocks == 10
    tenant.delete()
    assert (store.stats().trimmed_blocks, store.stats().live_blocks) == (20, 0)


def test_device_blocks_are_the_sum_and_the_time(store: Store, tenant: Tenant, volume: Volume) -> None:
    write_tagged(volume, range(100))
    run_lap(store, tenant, 3)
    stats = store.stats()
    assert stats.relocated_blocks >= 3 * 100
    assert stats.cleaned_segments >= 2 * SEGMENTS
    assert stats.device_blocks == stats.user_blocks + stats.relocated_blocks + stats.summary_blocks
    assert stats.device_blocks == stats.position
    assert stats.write_amplification == (stats.user_blocks + stats.relocated_blocks) / stats.user_blocks
    assert stats.device_amplification == stats.device_blocks / stats.user_blocks
    assert stats.laps == stats.position / BLOCK_COUNT
    assert stats.utilization == stats.live_blocks / stats.data_capacity_blocks


def test_reading_counts_nothing(store: Store, volume: Volume) -> None:
    write_tagged(volume, range(10))
    before = store.stats()
    volume.read(3, 4000)
    volume.read_blocks(0, 10)
    volume.extents()
    store.remanence()
    store.check()
    assert store.stats() == before


def test_stats_subtract(store: Store, tenant: Tenant, volume: Volume) -> None:
    write_tagged(volume, range(50))
    before = store.stats()
    write_tagged(volume, range(30, 60), version=2)
    run_lap(store, tenant, 2)
    after = store.stats()
    between = after - before
    assert between.user_blocks == after.user_blocks - 50
    assert between.position == after.position - before.position
    assert between.laps == pytest.approx(after.laps - before.laps)
    assert between.live_blocks == after.live_blocks == 60
    assert between.usable_blocks == after.usable_blocks
    assert between.block_count == BLOCK_COUNT
    assert (
        between.write_amplification == (between.user_blocks + between.relocated_blocks) / between.user_blocks
    )
    with pytest.raises(TypeError):
        after - 5  # type: ignore[operator]


def test_stats_are_values(store: Store) -> None:
    stats = store.stats()
    assert stats == store.stats()
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.user_blocks = 1  # type: ignore[misc]


def test_sequential_writing_needs_no_relocation(store: Store, volume: Volume) -> None:
    for version in range(1, 12):
        write_tagged(volume, range(volume.blocks), version)
    assert store.stats().relocated_blocks <= volume.blocks
    assert store.stats().write_amplification < 1.1


class TestMapMemory:
    """Memory of the extent maps follows the data; leaves come in slabs, so a little more may be taken."""

    BLOCKS = 2**21
    SLABS = 2**21

    @pytest.fixture
    def disk(self) -> Iterator[Volume]:
        with Store.simulated("32GiB") as store:
            yield store.create_tenant("contoso").create_volume("disk", self.BLOCKS * 4096)

    def map_bytes(self, volume: Volume) -> int:
        return volume.tenant.store.stats().map_bytes

    def test_a_sequential_volume_costs_bytes_an_extent(self, disk: Volume) -> None:
        disk.write_blocks(0, None, count=self.BLOCKS)
        extents = len(disk.extents())
        assert extents < self.BLOCKS / 100
        assert self.map_bytes(disk) < 32 * extents + self.SLABS

    def test_a_random_volume_costs_about_four_bytes_a_block(self, disk: Volume) -> None:
        disk.write_blocks(permutation(self.BLOCKS), None)
        assert self.map_bytes(disk) < 4.1 * self.BLOCKS + self.SLABS

    def test_so_does_a_volume_that_is_written_in_part(self, disk: Volume) -> None:
        written = permutation(self.BLOCKS)[: self.BLOCKS // 4]
        disk.write_blocks(written, None)
        assert self.map_bytes(disk) < 4.5 * len(written) + self.SLABS

    def test_trimming_gives_memory_back(self, disk: Volume) -> None:
        disk.write_blocks(permutation(self.BLOCKS), None)
        disk.trim(0, disk.size)
        assert self.map_bytes(disk) < self.SLABS

    def test_a_huge_empty_volume_costs_a_byte_for_many_blocks(self, tenant: Tenant) -> None:
        sparse = tenant.create_volume("sparse", "1TiB")
        write_tagged(sparse, [0, sparse.blocks // 2, sparse.blocks - 1])
        assert sparse.read((sparse.blocks - 1) * BLOCK_SIZE, len(MAGIC)) == MAGIC
        assert self.map_bytes(sparse) < sparse.blocks / 50


def permutation(count: int) -> npt.NDArray[np.uint64]:
    """All numbers below count, in random order."""
    return np.random.default_rng(1).permutation(count).astype(np.uint64)
