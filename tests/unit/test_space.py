"""Space: full means full to the last block, refused means nothing changed, and trimming makes room."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from seqstore import OutOfSpaceError, Store, Tenant, Volume
from tests.blocks import make_blocks
from tests.small import BLOCK_SIZE, CAPACITY, unchanged, write_tagged


@pytest.fixture
def thin(tenant: Tenant) -> Volume:
    return tenant.create_volume("thin", 2 * CAPACITY)


@pytest.fixture
def usable(store: Store) -> int:
    return store.drives[0].usable_blocks


def test_the_last_usable_block_can_be_written(store: Store, thin: Volume, usable: int) -> None:
    rows = write_tagged(thin, range(usable))
    assert store.stats().live_blocks == usable == store.stats().usable_blocks
    assert (thin.read_blocks(0, usable) == rows).all()
    store.check()


def test_one_block_more_is_refused(store: Store, thin: Volume, usable: int) -> None:
    write_tagged(thin, range(usable))
    with unchanged(store), pytest.raises(OutOfSpaceError) as caught:
        write_tagged(thin, [usable])
    assert (caught.value.needed, caught.value.available) == (1, 0)
    with unchanged(store), pytest.raises(OutOfSpaceError):
        thin.write(usable * BLOCK_SIZE, b"x")


def test_a_batch_is_refused_as_a_whole(store: Store, thin: Volume, usable: int) -> None:
    write_tagged(thin, range(usable - 10))
    with unchanged(store), pytest.raises(OutOfSpaceError) as caught:
        write_tagged(thin, range(usable - 20, usable + 1))
    assert (caught.value.needed, caught.value.available) == (11, 10)
    with unchanged(store), pytest.raises(OutOfSpaceError):
        thin.write((usable - 20) * BLOCK_SIZE - 1, bytes(21 * BLOCK_SIZE))
    with unchanged(store), pytest.raises(OutOfSpaceError):
        thin.write_blocks(usable - 20, bytes(21 * BLOCK_SIZE))


@pytest.mark.parametrize("offset", [0, 5, BLOCK_SIZE, 2 * CAPACITY - 1, 2 * CAPACITY])
def test_writing_nothing_needs_no_room(store: Store, thin: Volume, usable: int, offset: int) -> None:
    write_tagged(thin, range(1, usable + 1))
    with unchanged(store):
        assert thin.write(offset, b"") == 0


def test_duplicates_need_their_room_once(store: Store, thin: Volume, usable: int) -> None:
    write_tagged(thin, range(usable - 1))
    lbas = [usable] * 50
    rows = make_blocks(1, thin.number, lbas, range(1, 51), BLOCK_SIZE)
    thin.write_blocks(np.array(lbas, dtype=np.uint64), rows)
    assert (thin.read_blocks(usable, 1) == rows[-1:]).all()
    store.check()


def test_a_full_drive_takes_overwrites_for_ever(store: Store, thin: Volume, usable: int) -> None:
    write_tagged(thin, range(usable))
    rng = np.random.default_rng(1)
    for version in range(2, 60):
        lbas = [int(lba) for lba in rng.integers(0, usable, 100)]
        write_tagged(thin, lbas, version)
        thin.write(int(rng.integers(0, (usable - 3) * BLOCK_SIZE)), b"p" * 700)
    assert store.stats().live_blocks == usable
    assert store.stats().laps > 10
    store.check()


def test_a_batch_larger_than_the_drive_goes_through(store: Store, thin: Volume, usable: int) -> None:
    write_tagged(thin, range(usable))
    lbas = list(range(usable)) * 3
    rows = make_blocks(1, thin.number, lbas, range(len(lbas)), BLOCK_SIZE)
    thin.write_blocks(np.array(lbas, dtype=np.uint64), rows)
    assert (thin.read_blocks(0, usable) == rows[2 * usable :]).all()
    store.check()


def test_trimming_makes_room(store: Store, thin: Volume, usable: int) -> None:
    write_tagged(thin, range(usable))
    thin.trim(10 * BLOCK_SIZE, 5 * BLOCK_SIZE)
    write_tagged(thin, range(usable, usable + 5))
    with pytest.raises(OutOfSpaceError):
        write_tagged(thin, [usable + 5])
    store.check()


@pytest.mark.parametrize("way", ["delete volume", "delete tenant", "shrink"])
def test_so_do_deleting_and_shrinking(store: Store, thin: Volume, usable: int, way: str) -> None:
    other = store.create_tenant("fabrikam").create_volume("disk", CAPACITY)
    write_tagged(other, range(usable // 2))
    write_tagged(thin, range(usable - usable // 2))
    with pytest.raises(OutOfSpaceError):
        write_tagged(thin, [usable])
    ways: dict[str, Callable[[], object]] = {
        "delete volume": other.delete,
        "delete tenant": other.tenant.delete,
        "shrink": lambda: other.resize(BLOCK_SIZE),
    }
    ways[way]()
    write_tagged(thin, range(usable - (way == "shrink")))
    store.check()


def test_trimming_and_reading_work_when_full(store: Store, thin: Volume, usable: int) -> None:
    rows = write_tagged(thin, range(usable))
    assert (thin.read_blocks(0, usable) == rows).all()
    thin.trim(100, 200)
    thin.resize(thin.size - 1)
    assert thin.mapped_blocks == usable
    store.check()


def test_filling_and_emptying_again_and_again(store: Store, thin: Volume, usable: int) -> None:
    for version in range(1, 20):
        rows = write_tagged(thin, range(usable), version)
        assert (thin.read_blocks(0, usable) == rows).all()
        thin.trim(0, thin.size)
        assert store.stats().live_blocks == 0
    store.check()


def test_one_by_one_until_full(store: Store, thin: Volume, usable: int) -> None:
    for lba in range(usable):
        thin.write(lba * BLOCK_SIZE, bytes([lba % 251 + 1]) * 10)
    with pytest.raises(OutOfSpaceError):
        thin.write(usable * BLOCK_SIZE, b"x")
    assert all(thin.read(lba * BLOCK_SIZE, 1) == bytes([lba % 251 + 1]) for lba in range(usable))


@pytest.mark.parametrize(("segments", "segment_blocks"), [(4, 4), (4, 64), (64, 4), (5, 16)])
@pytest.mark.parametrize("reserve", [0.0, 0.07, 0.5])
def test_any_shape_of_drive_can_be_filled_and_churned(
    segments: int, segment_blocks: int, reserve: float
) -> None:
    size = segment_blocks * BLOCK_SIZE
    with Store.memory(segments * size, block_size=BLOCK_SIZE, segment_size=size, reserve=reserve) as store:
        volume = store.create_tenant("contoso").create_volume("thin", segments * size)
        usable = store.drives[0].usable_blocks
        rng = np.random.default_rng(segments)
        for version in range(1, 40):
            write_tagged(volume, [int(lba) for lba in rng.permutation(usable)], version)
            store.check()
        rows = make_blocks(1, volume.number, range(usable), 39, BLOCK_SIZE)
        assert (volume.read_blocks(0, usable) == rows).all()
