"""Faulty drives for tests, a medium written in Python, and blocks that say where a power cut tore them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from seqstore.media.faults import FaultyDrive
from tests.small import BLOCK_SIZE, CAPACITY, SEGMENT_SIZE

LARGE_BLOCK = 4096
LARGE_SECTORS = 8  # of a block of a large drive


def small_drive(**options: Any) -> FaultyDrive:
    """Make a drive with blocks of one sector."""
    return FaultyDrive(CAPACITY, block_size=BLOCK_SIZE, zone_size=SEGMENT_SIZE, **options)


def large_drive(**options: Any) -> FaultyDrive:
    """Make a drive with blocks of eight sectors."""
    return FaultyDrive("512KiB", block_size=LARGE_BLOCK, zone_size="64KiB", **options)


def blocks(mark: int, count: int = 1, size: int = BLOCK_SIZE) -> bytes:
    """Make blocks of which every sector bears a mark."""
    return bytes([mark]) * (count * size)


def marks(drive: FaultyDrive, mba: int = 0, count: int = 1) -> list[int]:
    """Return the marks of the sectors of some blocks, each of which has to be of one piece."""
    data = drive.peek(mba, count)
    sectors = [data[first : first + 512] for first in range(0, len(data), 512)]
    assert all(len(set(sector)) == 1 for sector in sectors)
    return [sector[0] for sector in sectors]


def read(drive: FaultyDrive, mba: int, count: int = 1) -> bytes:
    out = bytearray(count * drive.geometry.block_size)
    drive.read(mba, count, out)
    return bytes(out)


def refused(number: int, call: Callable[[], object]) -> None:
    """Expect the error that an operating system would report."""
    with pytest.raises(OSError, match=r".") as caught:
        call()
    assert caught.value.errno == number


class Shelf:
    """Keeps the bytes, and notes the calls; each call begins with `hook`."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.data = bytearray(capacity)
        self.noted: list[tuple[Any, ...]] = []
        self.hook: Callable[[str, Any], None] = lambda name, view: None

    def append(self, mba: int, data: memoryview) -> None:
        assert data.readonly
        assert data.format == "B"
        self.noted.append(("append", mba, len(data)))
        self.hook("append", data)
        self.data[mba * BLOCK_SIZE : mba * BLOCK_SIZE + len(data)] = data

    def read(self, mba: int, count: int, out: memoryview) -> None:
        assert not any(out)
        self.noted.append(("read", mba, count))
        self.hook("read", out)
        out[:] = self.data[mba * BLOCK_SIZE : (mba + count) * BLOCK_SIZE]

    def sync(self) -> None:
        self.noted.append(("sync",))
        self.hook("sync", None)

    def reset(self, zone: int) -> None:
        self.noted.append(("reset", zone))
        self.hook("reset", None)
