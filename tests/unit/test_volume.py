"""Volumes: bytes and blocks in and out, what is unwritten, sizes, and extents."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from seqstore import ConfigError, NotFoundError, Store, Tenant, UnwrittenError, Volume
from tests.blocks import make_blocks, make_bytes
from tests.small import BLOCK_SIZE, CAPACITY, run_lap, write_tagged


class TestBytes:
    @pytest.mark.parametrize(
        ("offset", "length"),
        [
            (0, 0),
            (0, 1),
            (0, 512),
            (1, 510),
            (511, 2),
            (512, 512),
            (100, 5000),
            (65535, 1),
            (65536, 0),
            (0, 65536),
            (65024, 512),
        ],
    )
    def test_what_is_written_is_read(self, volume: Volume, offset: int, length: int) -> None:
        data = make_bytes(1, volume.number, offset, length, 1, BLOCK_SIZE)
        assert volume.write(offset, data) == length
        assert volume.read(offset, length) == data
        assert volume.read(0, volume.size) == bytes(offset) + data + bytes(volume.size - offset - length)

    def test_a_partial_write_keeps_the_rest_of_its_blocks(self, volume: Volume) -> None:
        volume.write(0, b"a" * 2048)
        volume.write(500, b"b" * 600)
        assert volume.read(0, 2048) == b"a" * 500 + b"b" * 600 + b"a" * 948

    def test_a_partial_write_into_the_void_is_surrounded_by_zeros(self, strict_volume: Volume) -> None:
        strict_volume.write(700, b"x")
        assert strict_volume.read(512, 512) == bytes(188) + b"x" + bytes(323)
        assert strict_volume.mapped_blocks == 1

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, np.array])
    def test_any_bytes_like_is_taken(self, volume: Volume, kind: type) -> None:
        data = b"0123456789" * 100
        source = np.frombuffer(data, dtype=np.uint8).copy() if kind is np.array else kind(data)
        assert volume.write(3, source) == 1000
        assert volume.read(3, 1000) == data

    def test_items_wider_than_a_byte_are_taken_as_bytes(self, volume: Volume) -> None:
        values = np.arange(100, dtype="<u4").reshape(10, 10)
        assert volume.write(0, values) == 400
        assert volume.read(0, 400) == values.tobytes()

    def test_every_second_byte_of_an_array_is_copied_first(self, volume: Volume) -> None:
        values = np.arange(200, dtype=np.uint8)
        volume.write(0, values[::2])
        assert volume.read(0, 100) == values[::2].tobytes()

    @pytest.mark.parametrize("make", [bytearray, lambda n: np.empty(n, dtype=np.uint8)])
    def test_readinto_fills_the_buffer(self, volume: Volume, make: type) -> None:
        volume.write(10, b"0123456789")
        target = make(8)
        assert volume.readinto(11, target) == 8
        assert bytes(target) == b"12345678"

    def test_readinto_fills_a_slice_and_nothing_beside_it(self, volume: Volume) -> None:
        volume.write(0, b"a" * 100)
        target = bytearray(30)
        assert volume.readinto(0, memoryview(target)[10:20]) == 10
        assert target == bytes(10) + b"a" * 10 + bytes(10)

    @pytest.mark.parametrize("offset", [0, 1, 511, 512, 700, 65535, 65536])
    @pytest.mark.parametrize("name", ["vm-disk", "strict"])
    def test_nothing_can_be_read_and_written_anywhere(
        self, tenant: Tenant, volume: Volume, strict_volume: Volume, name: str, offset: int
    ) -> None:
        subject = tenant.volume(name)
        assert subject.read(offset, 0) == b""
        assert subject.readinto(offset, bytearray()) == 0
        assert subject.write(offset, b"") == 0
        subject.trim(offset, 0)
        assert subject.mapped_blocks == 0

    def test_numbers_of_numpy_are_numbers(self, volume: Volume) -> None:
        volume.write(np.uint64(5), b"abc")
        assert volume.read(np.int32(5), np.uint8(3)) == b"abc"


class TestBlocks:
    def test_a_run(self, volume: Volume) -> None:
        rows = make_blocks(1, volume.number, range(10, 20), 1, BLOCK_SIZE)
        volume.write_blocks(10, rows)
        assert (volume.read_blocks(10, 10) == rows).all()
        assert volume.read(10 * BLOCK_SIZE, 10 * BLOCK_SIZE) == rows.tobytes()

    def test_scattered(self, volume: Volume) -> None:
        lbas = [7, 3, 100, 4, 99]
        rows = write_tagged(volume, lbas)
        assert (volume.read_blocks(np.array(lbas)) == rows).all()
        assert sorted(lbas) == [
            lba for e in volume.extents() for lba in range(int(e["lba"]), int(e["lba"] + e["count"]))
        ]

    def test_of_duplicates_the_last_one_wins(self, volume: Volume) -> None:
        rows = make_blocks(1, volume.number, [5, 5, 5], [1, 2, 3], BLOCK_SIZE)
        volume.write_blocks(np.array([5, 5, 5], dtype=np.uint64), rows)
        assert (volume.read_blocks(5, 1) == rows[2:]).all()
        assert volume.mapped_blocks == 1

    def test_reading_a_block_twice_in_one_call(self, volume: Volume) -> None:
        rows = write_tagged(volume, [1, 2])
        assert (volume.read_blocks(np.array([2, 1, 2])) == rows[[1, 0, 1]]).all()

    @pytest.mark.parametrize("dtype", ["<u8", ">u8", "<i8", "<i4", "u1", "<u2"])
    def test_lbas_of_any_integer_type(self, volume: Volume, dtype: str) -> None:
        rows = make_blocks(1, 1, [4, 9], 1, BLOCK_SIZE)
        volume.write_blocks(np.array([4, 9], dtype=dtype), rows)
        assert (volume.read_blocks(np.array([4, 9], dtype=dtype)) == rows).all()

    def test_every_second_lba_and_row_of_larger_arrays(self, volume: Volume) -> None:
        lbas = np.arange(20, dtype=np.uint64)
        rows = make_blocks(1, 1, lbas, 1, BLOCK_SIZE)
        volume.write_blocks(lbas[::2], rows[::2])
        assert (volume.read_blocks(lbas[::2]) == rows[::2]).all()
        assert volume.mapped_blocks == 10

    @pytest.mark.parametrize("shape", [(4, BLOCK_SIZE), (4 * BLOCK_SIZE,), (2, 2, BLOCK_SIZE)])
    def test_flat_and_shaped_data(self, volume: Volume, shape: tuple[int, ...]) -> None:
        rows = make_blocks(1, 1, range(4), 1, BLOCK_SIZE)
        if len(shape) == 3:
            with pytest.raises(ConfigError):
                volume.write_blocks(0, rows.reshape(shape))
            return
        volume.write_blocks(0, rows.reshape(shape))
        assert (volume.read_blocks(0, 4) == rows).all()

    def test_plain_bytes_as_data(self, volume: Volume) -> None:
        rows = make_blocks(1, 1, range(4), 1, BLOCK_SIZE)
        volume.write_blocks(2, rows.tobytes())
        assert (volume.read_blocks(2, 4) == rows).all()

    def test_out_is_filled_and_returned(self, volume: Volume) -> None:
        rows = write_tagged(volume, range(4))
        out = np.empty((4, BLOCK_SIZE), dtype=np.uint8)
        assert volume.read_blocks(0, out) is out
        assert (out == rows).all()

    def test_out_with_gaps_is_filled_and_nothing_beside_it(self, volume: Volume) -> None:
        rows = write_tagged(volume, range(4))
        frame = np.zeros((8, BLOCK_SIZE), dtype=np.uint8)
        volume.read_blocks(np.arange(4), frame[::2])
        assert (frame[::2] == rows).all()
        assert not frame[1::2].any()

    def test_empty_batches(self, volume: Volume) -> None:
        nothing = np.empty((0, BLOCK_SIZE), dtype=np.uint8)
        volume.write_blocks(np.array([], dtype=np.uint64), nothing)
        volume.write_blocks(0, nothing)
        assert volume.read_blocks(0, 0).shape == (0, BLOCK_SIZE)
        assert volume.mapped_blocks == 0

    def test_large_batches_are_not_copied(self) -> None:
        with Store.memory("64MiB") as store:
            volume = store.create_tenant("contoso").create_volume("large", "16MiB")
            rows = np.ones((4096, 4096), dtype=np.uint8)
            lbas = np.arange(4096, dtype=np.uint64)
            out = np.empty_like(rows)
            tracemalloc.start()
            try:
                volume.write_blocks(lbas, rows)
                volume.write_blocks(0, rows)
                volume.write(0, rows)
                volume.read_blocks(lbas, out)
                volume.readinto(0, out)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert (out == 1).all()
        assert peak < 64 * 1024


class TestUnwritten:
    def test_reads_as_zeros(self, volume: Volume) -> None:
        assert volume.read(0, volume.size) == bytes(volume.size)
        assert not volume.read_blocks(0, volume.blocks).any()

    def test_raises_where_the_volume_says_so(self, strict_volume: Volume) -> None:
        write_tagged(strict_volume, [0, 1, 2, 5])
        with pytest.raises(UnwrittenError) as caught:
            strict_volume.read(BLOCK_SIZE, 6 * BLOCK_SIZE)
        error = caught.value
        assert (error.volume, error.offset, error.length) == (
            strict_volume.number,
            3 * BLOCK_SIZE,
            2 * BLOCK_SIZE,
        )
        assert str(3 * BLOCK_SIZE) in str(error)

    def test_leaves_the_buffer_alone(self, strict_volume: Volume) -> None:
        write_tagged(strict_volume, range(7))
        buffer = bytearray(b"\xee" * 8 * BLOCK_SIZE)
        with pytest.raises(UnwrittenError):
            strict_volume.readinto(0, buffer)
        out = np.frombuffer(buffer, dtype=np.uint8).reshape(8, BLOCK_SIZE)
        with pytest.raises(UnwrittenError):
            strict_volume.read_blocks(0, out)
        with pytest.raises(UnwrittenError):
            strict_volume.read_blocks(np.arange(8)[::-1], out)
        assert bytes(buffer) == b"\xee" * 8 * BLOCK_SIZE

    @pytest.mark.parametrize("name", ["vm-disk", "strict"])
    def test_after_a_trim(self, tenant: Tenant, volume: Volume, strict_volume: Volume, name: str) -> None:
        subject = tenant.volume(name)
        write_tagged(subject, range(8))
        subject.trim(2 * BLOCK_SIZE, 3 * BLOCK_SIZE)
        assert_unwritten(subject, range(2, 5))
        assert subject.mapped_blocks == 5

    @pytest.mark.parametrize("name", ["vm-disk", "strict"])
    def test_after_shrinking_and_growing(
        self, tenant: Tenant, volume: Volume, strict_volume: Volume, name: str
    ) -> None:
        subject = tenant.volume(name)
        size = subject.size
        write_tagged(subject, range(8))
        subject.resize(4 * BLOCK_SIZE)
        subject.resize(size)
        assert_unwritten(subject, range(4, 8))
        assert subject.read(0, 4 * BLOCK_SIZE) == make_bytes(
            1, subject.number, 0, 4 * BLOCK_SIZE, 1, BLOCK_SIZE
        )

    def test_a_block_that_shrinking_cuts_is_zero_behind_the_cut(self, strict_volume: Volume) -> None:
        strict_volume.write(0, b"a" * 1024)
        strict_volume.resize(700)
        strict_volume.resize(1024)
        assert strict_volume.read(0, 1024) == b"a" * 700 + bytes(324)

    def test_after_deletion_and_creation_under_the_same_name(
        self, tenant: Tenant, strict_volume: Volume
    ) -> None:
        number = strict_volume.number
        write_tagged(strict_volume, range(8))
        strict_volume.delete()
        again = tenant.create_volume("strict", "64KiB", unwritten="error")
        assert again.number != number
        assert_unwritten(again, range(8))

    def test_a_trim_inside_a_block_zeroes_its_bytes_and_keeps_it(self, strict_volume: Volume) -> None:
        strict_volume.write(0, b"a" * 1536)
        strict_volume.trim(100, 1000)
        assert strict_volume.read(0, 512) == b"a" * 100 + bytes(412)
        assert strict_volume.read(1024, 512) == bytes(76) + b"a" * 436
        assert_unwritten(strict_volume, [1])

    def test_a_trim_inside_an_unwritten_block_writes_nothing(self, store: Store, volume: Volume) -> None:
        volume.trim(100, 100)
        assert volume.mapped_blocks == 0
        assert store.stats().user_blocks == 0


def assert_unwritten(volume: Volume, lbas: range | list[int]) -> None:
    for lba in lbas:
        if volume.unwritten == "zero":
            assert volume.read(lba * BLOCK_SIZE, BLOCK_SIZE) == bytes(BLOCK_SIZE)
        else:
            with pytest.raises(UnwrittenError):
                volume.read(lba * BLOCK_SIZE + 5, 1)


class TestSize:
    def test_any_number_of_bytes(self, tenant: Tenant) -> None:
        odd = tenant.create_volume("odd", 1000)
        assert odd.size == 1000
        assert odd.write(900, b"z" * 100) == 100
        assert odd.read(0, 1000) == bytes(900) + b"z" * 100
        with pytest.raises(ConfigError):
            odd.write(999, b"zz")
        with pytest.raises(ConfigError):
            odd.read(1000, 1)

    def test_volumes_are_thin(self, tenant: Tenant) -> None:
        disks = [tenant.create_volume(f"disk-{index}", 10 * CAPACITY) for index in range(3)]
        for disk in disks:
            write_tagged(disk, [disk.blocks - 1])
        assert [disk.mapped_blocks for disk in disks] == [1, 1, 1]

    def test_growing_keeps_the_content(self, volume: Volume) -> None:
        volume.write(0, b"a" * volume.size)
        volume.resize("128KiB")
        assert volume.size == 128 * 1024
        assert volume.read(0, volume.size) == b"a" * 65536 + bytes(65536)

    def test_to_one_byte_and_back(self, volume: Volume) -> None:
        volume.write(0, b"a" * 4096)
        volume.resize(1)
        assert (volume.size, volume.blocks, volume.mapped_blocks) == (1, 1, 1)
        volume.resize(4096)
        assert volume.read(0, 4096) == b"a" + bytes(4095)


class TestExtents:
    def test_describe_where_the_blocks_lie(self, store: Store, volume: Volume) -> None:
        write_tagged(volume, [3, 4, 5, 90])
        extents = volume.extents()
        assert [(int(e["lba"]), int(e["count"])) for e in extents] == [(3, 3), (90, 1)]
        for extent in extents:
            ledger = store.drives[0].ledger(int(extent["mba"]), int(extent["count"]))
            assert (ledger["volume"] == volume.number).all()
            assert ledger["lba"].tolist() == list(
                range(int(extent["lba"]), int(extent["lba"] + extent["count"]))
            )

    def test_are_none_where_nothing_is_written(self, volume: Volume) -> None:
        assert len(volume.extents()) == 0
        assert volume.extents().dtype.names == ("lba", "count", "drive", "mba")

    def test_follow_the_cleaner(self, store: Store, tenant: Tenant, volume: Volume) -> None:
        rows = write_tagged(volume, range(20))
        before = volume.extents()
        run_lap(store, tenant)
        after = volume.extents()
        assert after["mba"].tolist() != before["mba"].tolist()
        assert after["count"].sum() == 20
        raw = b"".join(store.drives[0].raw(int(e["mba"]), int(e["count"])) for e in after)
        assert raw == rows.tobytes()


class TestHandle:
    def test_says_what_it_is(self, tenant: Tenant, volume: Volume) -> None:
        assert (volume.name, volume.tenant, volume.size, volume.block_size) == ("vm-disk", tenant, 65536, 512)
        assert (volume.blocks, volume.unwritten, volume.deleted) == (128, "zero", False)
        assert "vm-disk" in repr(volume)

    def test_repr_shows_no_data(self, volume: Volume) -> None:
        volume.write(0, b"secret-payload")
        assert "secret" not in repr(volume)

    def test_flush_seals_nothing(self, store: Store, volume: Volume) -> None:
        volume.write(0, b"a")
        before = store.stats()
        volume.flush()
        assert store.stats() == before

    @pytest.mark.parametrize(
        "use",
        [
            lambda v: v.read(0, 1),
            lambda v: v.readinto(0, bytearray(1)),
            lambda v: v.write(0, b"x"),
            lambda v: v.read_blocks(0, 1),
            lambda v: v.write_blocks(0, bytes(512)),
            lambda v: v.trim(0, 512),
            lambda v: v.resize(512),
            lambda v: v.flush(),
            lambda v: v.extents(),
            lambda v: v.delete(),
            lambda v: v.open(),
            lambda v: v.read(0, 0),
            lambda v: v.mapped_blocks,
        ],
    )
    def test_is_of_no_use_after_deletion(self, tenant: Tenant, volume: Volume, use: object) -> None:
        """Not even when another one stands in its row of the core's table."""
        volume.delete()
        tenant.create_volume("next", 65536).write(0, b"not for the old handle")
        assert volume.deleted
        assert "deleted" in repr(volume)
        with pytest.raises(NotFoundError):
            use(volume)  # type: ignore[operator]

    def test_two_volumes_are_equal_only_if_they_are_one(self, tenant: Tenant, volume: Volume) -> None:
        assert tenant.volume("vm-disk") is volume
        other = tenant.create_volume("other", 512)
        assert other != volume
        assert len({volume, other, tenant.volume("other")}) == 2
