"""Bad input: an error of the right class that says what was found, and nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from seqstore import ConfigError, SeqstoreError, Store, Tenant, Volume
from tests.small import BLOCK_SIZE, CAPACITY, SEGMENT_SIZE, unchanged, write_tagged

ONE = np.zeros((1, BLOCK_SIZE), dtype=np.uint8)
TWO = np.zeros((2, BLOCK_SIZE), dtype=np.uint8)
BEYOND_64_BITS = [2**64, 2**64 - 1, 2**63, 2**63 - 1, 2**100, -1, -(2**63), -(2**100)]
NO_INTEGERS: list[Any] = [None, 1.0, "1", b"1", [], np.float32(0)]


@pytest.fixture
def filled(volume: Volume) -> Volume:
    write_tagged(volume, range(8))
    return volume


def refuse(volume: Volume, call: Callable[[], object]) -> ConfigError:
    with unchanged(volume.tenant.store), pytest.raises(ConfigError) as caught:
        call()
    assert len(str(caught.value)) > 10
    return caught.value


class TestOffsetsAndLengths:
    @pytest.mark.parametrize("offset", [*BEYOND_64_BITS, *NO_INTEGERS, 65536, 65537])
    def test_offsets(self, filled: Volume, offset: Any) -> None:
        refuse(filled, lambda: filled.read(offset, 1))
        refuse(filled, lambda: filled.readinto(offset, bytearray(1)))
        refuse(filled, lambda: filled.write(offset, b"x"))
        refuse(filled, lambda: filled.trim(offset, 1))

    @pytest.mark.parametrize("length", [*BEYOND_64_BITS, *NO_INTEGERS, 65537])
    def test_lengths(self, filled: Volume, length: Any) -> None:
        refuse(filled, lambda: filled.read(0, length))
        refuse(filled, lambda: filled.trim(0, length))

    @pytest.mark.parametrize("offset", [65536 - 512, 65535])
    def test_ranges_that_end_behind_the_volume(self, filled: Volume, offset: int) -> None:
        refuse(filled, lambda: filled.read(offset, 513))
        refuse(filled, lambda: filled.write(offset, bytes(513)))
        refuse(filled, lambda: filled.readinto(offset, bytearray(513)))
        refuse(filled, lambda: filled.trim(offset, 2**64 - offset))

    @pytest.mark.parametrize("offset", [2**64 - 1, 2**64 - 512, 2**63])
    def test_sums_that_overflow(self, filled: Volume, offset: int) -> None:
        refuse(filled, lambda: filled.read(offset, 512))
        refuse(filled, lambda: filled.write(offset, bytes(1024)))
        refuse(filled, lambda: filled.trim(offset, offset))

    def test_nothing_at_the_very_end_is_fine_and_behind_it_is_not(self, filled: Volume) -> None:
        assert filled.read(65536, 0) == b""
        assert filled.write(65536, b"") == 0
        filled.trim(65536, 0)
        refuse(filled, lambda: filled.read(65537, 0))
        refuse(filled, lambda: filled.write(65537, b""))
        refuse(filled, lambda: filled.trim(65537, 0))

    def test_the_message_says_what_was_found_and_expected(self, filled: Volume) -> None:
        message = str(refuse(filled, lambda: filled.read(65000, 1000)))
        assert "65536" in message
        assert any(number in message for number in ("65000", "66000"))


class TestBlockCalls:
    @pytest.mark.parametrize("lba", [*BEYOND_64_BITS, None, 1.0, "1", b"1", 128])
    def test_single_lbas(self, filled: Volume, lba: Any) -> None:
        refuse(filled, lambda: filled.write_blocks(lba, ONE))
        refuse(filled, lambda: filled.read_blocks(lba, 1))

    @pytest.mark.parametrize(
        "lbas",
        [
            np.array([0, 128], dtype=np.uint64),
            np.array([0, 2**64 - 1], dtype=np.uint64),
            np.array([0, -1]),
            np.array([0.0, 1.0]),
            np.array([True, False]),
            np.array([0, 1], dtype=object),
            np.array(["0", "1"]),
            np.array([[0, 1]]),
            np.array([[0], [1]]),
            np.array([0, 2**63], dtype=np.uint64),
            np.array([1, 2], dtype=complex),
            np.array([1, 2], dtype="m8[s]"),
        ],
    )
    def test_arrays_of_lbas(self, filled: Volume, lbas: Any) -> None:
        refuse(filled, lambda: filled.write_blocks(lbas, TWO))
        out = TWO.copy()
        refuse(filled, lambda: filled.read_blocks(lbas, out))
        assert not out.any()

    @pytest.mark.parametrize(
        "data",
        [
            None,
            5,
            "text",
            b"x",
            bytes(511),
            bytes(513),
            [b"x"],
            np.zeros((2, BLOCK_SIZE - 1), dtype=np.uint8),
            np.zeros((2, BLOCK_SIZE), dtype=np.float32),
            np.zeros((2, BLOCK_SIZE // 2), dtype=np.uint16),
            np.zeros((2, BLOCK_SIZE), dtype=object),
            np.zeros((2, BLOCK_SIZE), dtype=bool),
            np.zeros((3, BLOCK_SIZE), dtype=np.uint8),
            np.zeros((BLOCK_SIZE, 2), dtype=np.uint8),
            np.zeros((1, 2, BLOCK_SIZE), dtype=np.uint8),
            np.zeros((2, BLOCK_SIZE), dtype=np.int8),
        ],
    )
    def test_data(self, filled: Volume, data: Any) -> None:
        refuse(filled, lambda: filled.write_blocks(np.array([1, 2]), data))

    def test_a_run_that_ends_behind_the_volume(self, filled: Volume) -> None:
        refuse(filled, lambda: filled.write_blocks(127, TWO))
        refuse(filled, lambda: filled.read_blocks(127, 2))
        refuse(filled, lambda: filled.read_blocks(0, 129))

    @pytest.mark.parametrize("count", [*BEYOND_64_BITS, 1.0, "1", 2**40])
    def test_counts(self, filled: Volume, count: Any) -> None:
        refuse(filled, lambda: filled.read_blocks(0, count))

    def test_a_count_that_is_not_that_of_the_data(self, filled: Volume) -> None:
        refuse(filled, lambda: filled.write_blocks(0, TWO, count=3))

    @pytest.mark.parametrize(
        "out",
        [
            np.zeros((3, BLOCK_SIZE), dtype=np.uint8),
            np.zeros((2, BLOCK_SIZE), dtype=np.float32),
            np.zeros((2, BLOCK_SIZE), dtype=bool),
            np.zeros((2, BLOCK_SIZE), dtype=np.int8),
            np.zeros((2, BLOCK_SIZE // 2), dtype=np.uint8),
            np.zeros((2, BLOCK_SIZE), dtype=object),
            "text",
        ],
    )
    def test_targets(self, filled: Volume, out: Any) -> None:
        refuse(filled, lambda: filled.read_blocks(np.array([0, 1]), out))

    def test_read_only_targets(self, filled: Volume) -> None:
        out = TWO.copy()
        out.flags.writeable = False
        refuse(filled, lambda: filled.read_blocks(0, out))
        refuse(filled, lambda: filled.read_blocks(np.array([0, 1]), out))
        refuse(filled, lambda: filled.readinto(0, b"immutable"))
        refuse(filled, lambda: filled.readinto(0, memoryview(b"immutable")))
        refuse(filled, lambda: filled.readinto(0, out))
        assert not out.any()

    @pytest.mark.parametrize("data", [None, "text", 5, 1.5, [1, 2], object()])
    def test_no_bytes(self, filled: Volume, data: Any) -> None:
        refuse(filled, lambda: filled.write(0, data))
        refuse(filled, lambda: filled.readinto(0, data))

    def test_arrays_of_objects_are_no_bytes(self, filled: Volume) -> None:
        objects = np.array([object()] * 4)
        refuse(filled, lambda: filled.readinto(0, objects))
        refuse(filled, lambda: filled.write(0, objects))

    def test_data_is_needed_where_there_is_a_payload(self, filled: Volume) -> None:
        refuse(filled, lambda: filled.write_blocks(0, None))
        refuse(filled, lambda: filled.write_blocks(0, None, count=2))


class TestSizesAndNames:
    @pytest.mark.parametrize(
        "size", [0, "0MiB", "12XB", "", "-1", -1, 2**64, 1.5, None, b"1MiB", "1.5B", [], "99999999TiB"]
    )
    def test_sizes(self, tenant: Tenant, volume: Volume, size: Any) -> None:
        refuse(volume, lambda: tenant.create_volume("x", size))
        refuse(volume, lambda: volume.resize(size))

    @pytest.mark.parametrize(
        "name",
        ["", "x" * 256, "ü" * 128, "a/b", "a\nb", "a\0b", "\x7f", "\x85", "\ud800", None, 5, b"bytes", ["a"]],
    )
    def test_names(self, store: Store, tenant: Tenant, volume: Volume, name: Any) -> None:
        refuse(volume, lambda: store.create_tenant(name))
        refuse(volume, lambda: tenant.create_volume(name, 512))

    def test_names_that_are_taken(self, store: Store, tenant: Tenant, volume: Volume) -> None:
        assert "contoso" in str(refuse(volume, lambda: store.create_tenant("contoso")))
        assert "vm-disk" in str(refuse(volume, lambda: tenant.create_volume("vm-disk", 512)))

    @pytest.mark.parametrize("unwritten", ["", "zeros", None, 0, True, b"zero"])
    def test_unwritten(self, tenant: Tenant, volume: Volume, unwritten: Any) -> None:
        refuse(volume, lambda: tenant.create_volume("x", 512, unwritten=unwritten))


class TestStoreOptions:
    @pytest.mark.parametrize("make", [Store.memory, Store.simulated])
    @pytest.mark.parametrize(
        "options",
        [
            {"capacity": 0},
            {"capacity": -1},
            {"capacity": "12XB"},
            {"capacity": None},
            {"capacity": 1.5},
            {"capacity": 2**64},
            {"capacity": "16000000TiB"},
            {"capacity": CAPACITY + 1},
            {"capacity": CAPACITY + BLOCK_SIZE},
            {"capacity": SEGMENT_SIZE},
            {"capacity": 3 * SEGMENT_SIZE},
            {"block_size": 0},
            {"block_size": 256},
            {"block_size": 513},
            {"block_size": 1000},
            {"block_size": 131072},
            {"block_size": -512},
            {"block_size": None},
            {"block_size": 512.0},
            {"segment_size": 0},
            {"segment_size": 512},
            {"segment_size": 3 * 512},
            {"segment_size": 4 * 512 + 1},
            {"segment_size": "x"},
            {"segment_size": CAPACITY},
            {"segment_size": -1},
            {"reserve": -0.01},
            {"reserve": 1.0},
            {"reserve": 2},
            {"reserve": float("nan")},
            {"reserve": float("inf")},
            {"reserve": "0.07"},
            {"reserve": None},
            {"selection": "best"},
            {"selection": ""},
            {"selection": None},
            {"placement": "best"},
            {"placement": "oracle"},
            {"placement": 5},
            {"placement": "dac", "classes": 0},
            {"placement": "sepbit", "classes": 3},
        ],
        ids=str,
    )
    def test_options(self, make: Callable[..., Store], options: dict[str, Any]) -> None:
        arguments = {"capacity": CAPACITY, "block_size": BLOCK_SIZE, "segment_size": SEGMENT_SIZE, **options}
        with pytest.raises(ConfigError) as caught:
            make(**arguments)
        assert len(str(caught.value)) > 10

    def test_the_nearest_capacities_are_named(self) -> None:
        with pytest.raises(ConfigError) as caught:
            Store.memory(CAPACITY + 1, block_size=BLOCK_SIZE, segment_size=SEGMENT_SIZE)
        message = str(caught.value)
        assert any(text in message for text in (str(CAPACITY), "128 KiB", "128KiB"))
        assert any(text in message for text in (str(CAPACITY + SEGMENT_SIZE), "136 KiB", "136KiB"))

    def test_policies_that_exist_are_named(self) -> None:
        with pytest.raises(ConfigError, match="fifo"):
            Store.memory("1MiB", selection="best")
        with pytest.raises(ConfigError, match="single"):
            Store.memory("1MiB", placement="best")

    def test_more_memory_than_there_is(self) -> None:
        with pytest.raises((MemoryError, SeqstoreError)):
            Store.memory("4000TiB", block_size=65536, segment_size="1GiB")


class TestStrangers:
    def test_a_volume_or_tenant_of_another_store(self, store: Store, volume: Volume) -> None:
        with Store.memory("1MiB") as other:
            stranger = other.create_tenant("contoso")
            foreign = stranger.create_volume("vm-disk", 512)
            for scope in (stranger, foreign):
                with unchanged(store), pytest.raises(ConfigError):
                    store.remanence(scope)

    @pytest.mark.parametrize("scope", [0, -1, 2**64, True, False, b"contoso", 1.5, []])
    def test_scopes_that_are_none(self, store: Store, volume: Volume, scope: Any) -> None:
        with unchanged(store), pytest.raises(ConfigError):
            store.remanence(scope)

    @pytest.mark.parametrize(
        ("mba", "count"), [(-1, 1), (0, 257), (256, 1), (2**64 - 1, 2), (0, 2**64), (1.0, 1)]
    )
    def test_media_addresses(self, store: Store, mba: Any, count: Any) -> None:
        drive = store.drives[0]
        with unchanged(store), pytest.raises(SeqstoreError):
            drive.raw(mba, count)
        with unchanged(store), pytest.raises(SeqstoreError):
            drive.ledger(mba, count)

    def test_payload_of_a_simulated_store(self, simulated: Store) -> None:
        volume = simulated.create_tenant("contoso").create_volume("disk", "64KiB")
        volume.write_blocks(0, None, count=4)
        before = simulated.drives[0].ledger(), simulated.stats()
        for call in (
            lambda: volume.read(0, 1),
            lambda: volume.readinto(0, bytearray(5)),
            lambda: volume.read_blocks(0, 1),
            lambda: simulated.drives[0].raw(0, 1),
        ):
            with pytest.raises(SeqstoreError):
                call()
        assert (simulated.drives[0].ledger() == before[0]).all()
        assert simulated.stats() == before[1]
        simulated.check()
