"""Verified reads: damage on the medium is found by the read that meets it, and never handed out.

Damage is done by ``medium.overwrite``, which is there for sanitization and knows no write pointers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from seqstore import CorruptionError, Store, Volume
from tests.small import BLOCK_SIZE, CAPACITY, SEGMENT_SIZE, mba_of, overwrite, unchanged, write_tagged

READS: list[Callable[[Volume, int], object]] = [
    lambda volume, lba: volume.read(lba * BLOCK_SIZE + 7, 9),
    lambda volume, lba: volume.read(lba * BLOCK_SIZE, BLOCK_SIZE),
    lambda volume, lba: volume.readinto(lba * BLOCK_SIZE, bytearray(3)),
    lambda volume, lba: volume.read_blocks(lba, 1),
    lambda volume, lba: volume.read_blocks(np.array([0, lba])),
    lambda volume, lba: volume.read(0, volume.size),
]


def damage(volume: Volume, lba: int, *, byte: int = 100, bit: int = 3) -> int:
    """Flip one bit of a block on the medium, and say where."""
    store = volume.tenant.store
    mba = mba_of(volume, lba)
    content = bytearray(store.drives[0].raw(mba, 1))
    content[byte] ^= 1 << bit
    overwrite(store, mba, bytes(content))
    return mba


def swap(one: tuple[Volume, int], two: tuple[Volume, int]) -> tuple[int, int]:
    """Exchange two blocks on the medium."""
    store = one[0].tenant.store
    places = mba_of(*one), mba_of(*two)
    contents = [store.drives[0].raw(mba, 1) for mba in places]
    overwrite(store, places[0], contents[1])
    overwrite(store, places[1], contents[0])
    return places


@pytest.fixture(params=[False, True], ids=["open-record", "sealed-record"])
def filled(request: pytest.FixtureRequest, volume: Volume) -> Volume:
    write_tagged(volume, range(5))
    if request.param:
        write_tagged(volume, range(10, 80))
    return volume


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(("byte", "bit"), [(0, 0), (511, 7), (100, 3)])
def test_a_flipped_bit_is_found(
    filled: Volume, read: Callable[[Volume, int], object], byte: int, bit: int
) -> None:
    mba = damage(filled, 3, byte=byte, bit=bit)
    with pytest.raises(CorruptionError) as caught:
        read(filled, 3)
    assert (caught.value.volume, caught.value.lba, caught.value.mba) == (filled.number, 3, mba)
    assert all(str(number) in str(caught.value) for number in (3, mba))


def test_other_blocks_stay_readable(filled: Volume) -> None:
    expected = filled.read_blocks(np.array([0, 1, 2, 4]))
    damage(filled, 3)
    assert (filled.read_blocks(np.array([0, 1, 2, 4])) == expected).all()
    with pytest.raises(CorruptionError):
        filled.read_blocks(0, 5)


def test_damaged_bytes_never_reach_the_buffer(filled: Volume) -> None:
    damage(filled, 3)
    buffer = bytearray(BLOCK_SIZE)
    with pytest.raises(CorruptionError):
        filled.readinto(3 * BLOCK_SIZE, buffer)
    assert not any(buffer)


@pytest.mark.parametrize("read", READS)
def test_two_tenants_blocks_swapped_are_found(filled: Volume, read: Callable[[Volume, int], object]) -> None:
    other = filled.tenant.store.create_tenant("fabrikam").create_volume("vm-disk", filled.size)
    write_tagged(other, range(5), version=9)
    mine, theirs = swap((filled, 3), (other, 3))
    for volume, mba in ((filled, mine), (other, theirs)):
        with pytest.raises(CorruptionError) as caught:
            read(volume, 3)
        assert (caught.value.volume, caught.value.lba, caught.value.mba) == (volume.number, 3, mba)


def test_two_blocks_of_one_volume_swapped_are_found(filled: Volume) -> None:
    swap((filled, 1), (filled, 3))
    for lba in (1, 3):
        with pytest.raises(CorruptionError):
            filled.read_blocks(lba, 1)


def test_an_older_version_put_back_is_found(store: Store, filled: Volume) -> None:
    old = store.drives[0].raw(mba_of(filled, 2), 1)
    write_tagged(filled, [2], version=2)
    overwrite(store, mba_of(filled, 2), old)
    with pytest.raises(CorruptionError):
        filled.read_blocks(2, 1)


def test_a_partial_write_over_a_damaged_block_changes_nothing(store: Store, filled: Volume) -> None:
    damage(filled, 3)
    with unchanged(store), pytest.raises(CorruptionError):
        filled.write(3 * BLOCK_SIZE + 1, b"x")
    with unchanged(store), pytest.raises(CorruptionError):
        filled.write(2 * BLOCK_SIZE, b"x" * (BLOCK_SIZE + 100))
    with unchanged(store), pytest.raises(CorruptionError):
        filled.write(2 * BLOCK_SIZE + 1, b"x" * BLOCK_SIZE)
    with unchanged(store), pytest.raises(CorruptionError):
        filled.trim(3 * BLOCK_SIZE + 1, 5)
    with unchanged(store), pytest.raises(CorruptionError):
        filled.trim(1 * BLOCK_SIZE + 1, 2 * BLOCK_SIZE)
    with unchanged(store), pytest.raises(CorruptionError):
        filled.resize(3 * BLOCK_SIZE + 1)


def test_a_full_write_heals_a_damaged_block(store: Store, filled: Volume) -> None:
    damage(filled, 3)
    rows = write_tagged(filled, [3], version=2)
    assert (filled.read_blocks(3, 1) == rows).all()
    store.check()


def test_the_cleaner_does_not_make_damage_look_whole(store: Store, filled: Volume) -> None:
    """A damaged block that the cleaner moves keeps its old checksum, and is still found."""
    damage(filled, 3)
    for version in range(2, 20):
        write_tagged(filled, range(20, 60), version)
    with pytest.raises(CorruptionError) as caught:
        filled.read_blocks(3, 1)
    assert caught.value.mba == mba_of(filled, 3)
    assert filled.read(4 * BLOCK_SIZE, 1)
    store.check()


class TestWithoutChecksums:
    @pytest.fixture
    def trusting(self) -> Iterator[Store]:
        with Store.memory(CAPACITY, block_size=BLOCK_SIZE, segment_size=SEGMENT_SIZE, verify=False) as store:
            yield store

    def test_damage_is_handed_out(self, trusting: Store) -> None:
        volume = trusting.create_tenant("contoso").create_volume("disk", "64KiB")
        rows = write_tagged(volume, range(5))
        damage(volume, 3, byte=0, bit=0)
        rows[3][0] ^= 1
        assert (volume.read_blocks(0, 5) == rows).all()
