"""I1 isolation: a read returns only what that volume wrote, or zeros, or `UnwrittenError`."""

from __future__ import annotations

import random

import numpy as np
import pytest

from seqstore import CorruptionError, NotFoundError, Store, Tenant, UnwrittenError, Volume
from tests.blocks import CELL_BYTES, MAGIC, tagged_blocks
from tests.small import BLOCK_COUNT, BLOCK_SIZE, CAPACITY, mba_of, overwrite, run_lap, write_tagged


def read_in_every_way(volume: Volume) -> list[bytes]:
    """The whole volume, once through each interface, from buffers that hold other bytes before."""
    flat = bytearray(b"\xee" * volume.size)
    volume.readinto(0, flat)
    run = np.full((volume.blocks, volume.block_size), 0xEE, dtype=np.uint8)
    volume.read_blocks(0, run)
    scattered = np.full_like(run, 0xEE)
    volume.read_blocks(np.arange(volume.blocks, dtype=np.uint64), scattered)
    with volume.open("rb") as file:
        through_file = file.read()
    odd = b"".join(volume.read(start, min(333, volume.size - start)) for start in range(0, volume.size, 333))
    return [
        volume.read(0, volume.size),
        bytes(flat),
        run.tobytes(),
        scattered.tobytes(),
        through_file,
        odd,
        volume.read_blocks(0, volume.blocks).tobytes(),
    ]


@pytest.mark.invariant("I1")
class TestI1Isolation:
    """A read returns only what that volume wrote, or zeros, or `UnwrittenError`."""

    @pytest.fixture
    def dirty(self, store: Store, tenant: Tenant) -> Store:
        """A drive on which every block but the summaries has been tagged by another tenant."""
        victim = tenant.create_volume("victim", CAPACITY)
        usable = store.drives[0].usable_blocks
        for version in range(1, 4):
            write_tagged(victim, range(usable), version)
        victim.delete()
        raw = store.drives[0].raw(0, BLOCK_COUNT)
        assert tagged_blocks(raw, BLOCK_SIZE).sum() > BLOCK_COUNT * 0.8
        return store

    def test_not_another_tenants_bytes(self, dirty: Store) -> None:
        volume = dirty.create_tenant("fabrikam").create_volume("disk", "64KiB")
        for content in read_in_every_way(volume):
            assert content == bytes(volume.size)

    def test_not_another_tenants_bytes_around_what_was_written(self, dirty: Store) -> None:
        volume = dirty.create_tenant("fabrikam").create_volume("disk", "64KiB")
        model = bytearray(volume.size)
        rng = random.Random(1)
        for _ in range(40):
            start, length = rng.randrange(volume.size - 700), rng.randrange(1, 700)
            volume.write(start, b"f" * length)
            model[start : start + length] = b"f" * length
        for content in read_in_every_way(volume):
            assert content == bytes(model)

    def test_not_under_the_same_names(self, store: Store, tenant: Tenant, volume: Volume) -> None:
        write_tagged(volume, range(volume.blocks))
        tenant.delete()
        again = store.create_tenant("contoso").create_volume("vm-disk", "64KiB")
        for content in read_in_every_way(again):
            assert content == bytes(again.size)

    def test_not_through_a_handle_of_the_deleted_volume(self, dirty: Store) -> None:
        tenant = dirty.create_tenant("fabrikam")
        volumes = [tenant.create_volume(f"disk-{index}", "64KiB") for index in range(3)]
        for volume in volumes:
            write_tagged(volume, range(4))
        volumes[1].delete()
        tenant.create_volume("disk-1", "64KiB").write(0, b"new")
        buffer = bytearray(8)
        with pytest.raises(NotFoundError):
            volumes[1].readinto(0, buffer)
        assert not any(buffer)

    def test_not_through_an_old_handle_after_every_trace_of_its_volume_is_gone(
        self, store: Store, tenant: Tenant, volume: Volume
    ) -> None:
        write_tagged(volume, range(8))
        volume.delete()
        run_lap(store, tenant)
        assert store.remanence(volume).blocks == 0
        for index in range(4):  # one of them may get what the engine kept for the old volume
            write_tagged(tenant.create_volume(f"new-{index}", "64KiB"), range(8))
        with pytest.raises(NotFoundError):
            volume.read(0, 8)
        with pytest.raises(NotFoundError):
            volume.write(0, b"x")

    def test_not_the_volumes_own_trimmed_bytes(self, volume: Volume) -> None:
        write_tagged(volume, range(volume.blocks))
        volume.trim(1000, 20000)
        kept = [start for start in range(0, volume.size, CELL_BYTES) if not 1000 - len(MAGIC) < start < 21000]
        for content in read_in_every_way(volume):
            assert content[1000:21000] == bytes(20000)
            assert content.count(MAGIC) == len(kept)

    def test_not_the_volumes_own_shrunk_bytes(self, volume: Volume) -> None:
        write_tagged(volume, range(volume.blocks))
        volume.resize(10_000)
        volume.resize(65_536)
        for content in read_in_every_way(volume):
            assert content[10_000:] == bytes(55_536)

    @pytest.mark.parametrize("size", [1, 511, 513, 1000, 5000])
    def test_not_what_lies_behind_the_end(self, dirty: Store, size: int) -> None:
        volume = dirty.create_tenant("fabrikam").create_volume("odd", size)
        volume.write(0, b"x" * size)
        volume.resize(size + 2000)
        assert volume.read(0, size + 2000) == b"x" * size + bytes(2000)

    def test_not_heap_memory(self, volume: Volume) -> None:
        for _ in range(20):
            scraps = [np.full((volume.blocks, BLOCK_SIZE), 0xAB, dtype=np.uint8) for _ in range(4)]
            del scraps  # freed memory that the next allocation of this size gets back
            assert not volume.read_blocks(0, volume.blocks).any()
            assert not any(volume.read(0, volume.size))

    def test_not_by_one_byte_in_the_interpreters_own_constants(self, volume: Volume) -> None:
        volume.write(0, bytes(range(256)))
        assert [volume.read(index, 1) for index in range(256)] == [bytes([index]) for index in range(256)]
        assert (b"\0", bytes(1), bytes([255])) == (b"\x00", b"\x00", b"\xff")
        assert volume.read(0, 0) == b""

    def test_unwritten_errors_give_nothing(self, dirty: Store) -> None:
        volume = dirty.create_tenant("fabrikam").create_volume("strict", "64KiB", unwritten="error")
        write_tagged(volume, range(0, volume.blocks, 2))
        buffer = bytearray(b"\xee" * volume.size)
        with pytest.raises(UnwrittenError):
            volume.readinto(0, buffer)
        assert buffer == b"\xee" * volume.size

    def test_not_when_blocks_are_swapped_behind_the_engines_back(self, store: Store, volume: Volume) -> None:
        other = store.create_tenant("fabrikam").create_volume("disk", "64KiB")
        write_tagged(volume, [0])
        rows = write_tagged(other, [0])
        overwrite(store, mba_of(volume, 0), rows.tobytes())
        buffer = bytearray(BLOCK_SIZE)
        with pytest.raises(CorruptionError):
            volume.readinto(0, buffer)
        assert not any(buffer)
