"""Media by themselves: zones, write pointers, and bytes that change only by being written over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from seqstore import (
    NO_ADDRESS,
    TAG_DTYPE,
    BlockState,
    ClosedError,
    ConfigError,
    MediumError,
    MemoryMedium,
    TagsMedium,
)
from tests.small import BLOCK_COUNT, BLOCK_SIZE, CAPACITY, SEGMENT_BLOCKS, SEGMENT_SIZE, SEGMENTS

Medium = MemoryMedium | TagsMedium


@pytest.fixture
def memory() -> Iterator[MemoryMedium]:
    with MemoryMedium(CAPACITY, block_size=BLOCK_SIZE, zone_size=SEGMENT_SIZE) as medium:
        yield medium


@pytest.fixture
def tags() -> Iterator[TagsMedium]:
    with TagsMedium(CAPACITY, block_size=BLOCK_SIZE, zone_size=SEGMENT_SIZE) as medium:
        yield medium


@pytest.fixture(params=["memory", "tags"])
def medium(request: pytest.FixtureRequest) -> Medium:
    medium: Medium = request.getfixturevalue(request.param)
    return medium


def append(medium: Medium, mba: int, count: int, mark: int = 1) -> None:
    """Append blocks that bear a mark."""
    if isinstance(medium, MemoryMedium):
        medium.append(mba, bytes([mark]) * (count * BLOCK_SIZE))
    else:
        rows = [(mark, mba + step, BlockState.LIVE) for step in range(count)]
        medium.append(mba, np.array(rows, dtype=TAG_DTYPE))


def marks(medium: Medium, mba: int = 0, count: int = BLOCK_COUNT) -> list[int]:
    """Read the marks of some blocks, 0 where nothing was written."""
    if isinstance(medium, MemoryMedium):
        return list(medium.read(mba, count)[::BLOCK_SIZE])
    return [int(volume) for volume in medium.read_tags(mba, count)["volume"]]


def test_geometry(medium: Medium) -> None:
    assert (medium.capacity, medium.blocks, medium.block_size) == (CAPACITY, BLOCK_COUNT, BLOCK_SIZE)
    assert (medium.zones, medium.zone_blocks) == (SEGMENTS, SEGMENT_BLOCKS)


def test_a_new_medium_is_blank(medium: Medium) -> None:
    assert marks(medium) == [0] * BLOCK_COUNT
    assert [medium.write_pointer(zone) for zone in range(SEGMENTS)] == list(
        range(0, BLOCK_COUNT, SEGMENT_BLOCKS)
    )


def test_appends_move_their_zones_write_pointer(medium: Medium) -> None:
    append(medium, 32, 3, mark=7)
    append(medium, 35, 13, mark=8)
    append(medium, 0, 1, mark=9)
    assert medium.write_pointer(2) == 48
    assert medium.write_pointer(0) == 1
    assert medium.write_pointer(1) == 16
    assert marks(medium, 32, 16) == [7] * 3 + [8] * 13


def test_reset_moves_the_pointer_and_leaves_the_bytes(medium: Medium) -> None:
    append(medium, 0, 16, mark=7)
    append(medium, 16, 16, mark=8)
    medium.reset(0)
    assert medium.write_pointer(0) == 0
    assert marks(medium, 0, 32) == [7] * 16 + [8] * 16
    append(medium, 0, 3, mark=9)
    assert marks(medium, 0, 16) == [9] * 3 + [7] * 13


@pytest.mark.parametrize("zone", [-1, SEGMENTS, 2**64, None, 0.0, "0"])
def test_zones_that_are_none(medium: Medium, zone: Any) -> None:
    with pytest.raises(ConfigError):
        medium.reset(zone)
    with pytest.raises(ConfigError):
        medium.write_pointer(zone)


@pytest.mark.parametrize(
    "data", [None, "text", b"", b"x", bytes(BLOCK_SIZE - 1), bytes(BLOCK_SIZE + 1), 5, [0]]
)
def test_data_that_are_no_blocks(memory: MemoryMedium, data: Any) -> None:
    with pytest.raises(ConfigError):
        memory.append(0, data)
    assert memory.write_pointer(0) == 0


@pytest.mark.parametrize(
    "rows",
    [
        None,
        b"x",
        np.zeros(2, dtype=np.uint64),
        np.zeros((1, 1), dtype=TAG_DTYPE),
        np.zeros(0, dtype=TAG_DTYPE),
        np.array([(1, 1, 77)], dtype=TAG_DTYPE),
        np.array([(2**60, 1, BlockState.LIVE)], dtype=TAG_DTYPE),
        np.array([(1, 2**60, BlockState.LIVE)], dtype=TAG_DTYPE),
        np.array([(1, 1, BlockState.DEAD)], dtype=TAG_DTYPE),
    ],
)
def test_tags_that_are_none(tags: TagsMedium, rows: Any) -> None:
    with pytest.raises(ConfigError):
        tags.append(0, rows)
    assert tags.write_pointer(0) == 0
    assert not tags.read_tags(0, 1)["volume"].any()


def test_tags_are_read_as_written(tags: TagsMedium) -> None:
    rows = np.array(
        [
            (1, 0, BlockState.LIVE),
            (2**24 - 1, 2**38 - 1, BlockState.LIVE),
            (0, NO_ADDRESS, BlockState.SUMMARY),
        ],
        dtype=TAG_DTYPE,
    )
    tags.append(0, rows)
    assert (tags.read_tags(0, 3) == rows).all()
    assert tags.read_tags(3, 1)[0].tolist() == (0, NO_ADDRESS, BlockState.FREE)


def test_a_tags_medium_has_no_bytes(tags: TagsMedium) -> None:
    with pytest.raises(MediumError):
        tags.read(0, 1)
    assert not hasattr(tags, "overwrite")


def test_overwriting_knows_no_write_pointers(memory: MemoryMedium) -> None:
    append(memory, 0, 5, mark=7)
    memory.overwrite(3, b"\x09" * (20 * BLOCK_SIZE))
    assert marks(memory, 0, 24) == [7] * 3 + [9] * 20 + [0]
    assert (memory.write_pointer(0), memory.write_pointer(1)) == (5, 16)
    with pytest.raises(ConfigError):
        memory.overwrite(BLOCK_COUNT - 1, bytes(2 * BLOCK_SIZE))


def test_reading_beyond_the_end(medium: Medium) -> None:
    read: Callable[..., object] = medium.read if isinstance(medium, MemoryMedium) else medium.read_tags
    assert len(read(BLOCK_COUNT, 0)) == 0  # type: ignore[arg-type]
    for mba, count in [(BLOCK_COUNT, 1), (0, BLOCK_COUNT + 1), (2**64 - 1, 2), (-1, 1), (0, -1), (1.0, 1)]:
        with pytest.raises(ConfigError):
            read(mba, count)


def test_use_after_close(medium: Medium) -> None:
    medium.close()
    medium.close()
    assert medium.closed
    assert "closed" in repr(medium)
    uses = (
        lambda: append(medium, 0, 1),
        lambda: marks(medium),
        lambda: medium.reset(0),
        lambda: medium.write_pointer(0),
        medium.__enter__,
    )
    for use in uses:
        with pytest.raises(ClosedError):
            use()


@pytest.mark.parametrize("kind", [MemoryMedium, TagsMedium])
@pytest.mark.parametrize(
    ("capacity", "options"),
    [
        (0, {}),
        (-1, {}),
        ("12XB", {}),
        (CAPACITY + 1, {}),
        (CAPACITY, {"block_size": 1000}),
        (CAPACITY, {"block_size": 256}),
        (CAPACITY, {"block_size": 2**17}),
        (CAPACITY, {"zone_size": 100}),
        (CAPACITY, {"zone_size": CAPACITY}),
        (CAPACITY, {"zone_size": 0}),
        (2**63, {"block_size": 512}),
    ],
)
def test_sizes_that_do_not_fit(kind: type[Medium], capacity: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        kind(capacity, **options)
