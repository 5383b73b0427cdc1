"""The small store that most tests use, and what they do with it again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from seqstore import BlockState, MemoryMedium, Store, Tenant, Volume
from tests.blocks import make_blocks

BLOCK_SIZE = 512
SEGMENT_BLOCKS = 16
SEGMENT_SIZE = SEGMENT_BLOCKS * BLOCK_SIZE
SEGMENTS = 16
BLOCK_COUNT = SEGMENTS * SEGMENT_BLOCKS
CAPACITY = BLOCK_COUNT * BLOCK_SIZE


def write_tagged(volume: Volume, lbas: range | list[int], version: int = 1) -> npt.NDArray[np.uint8]:
    """Write one tagged block at each lba, and return them as uint8[n, block_size]."""
    rows = make_blocks(volume.tenant.number, volume.number, lbas, version, volume.block_size)
    volume.write_blocks(np.array(lbas, dtype=np.uint64), rows)
    return rows


def mba_of(volume: Volume, lba: int) -> int:
    """Where a written block of a volume lies on the drive."""
    for extent in volume.extents():
        if 0 <= lba - int(extent["lba"]) < int(extent["count"]):
            return int(extent["mba"]) + lba - int(extent["lba"])
    raise AssertionError(f"lba {lba} is unwritten")


def overwrite(store: Store, mba: int, data: bytes) -> None:
    """Write behind the engine's back, as a failing medium would."""
    medium = store.drives[0].medium
    assert isinstance(medium, MemoryMedium)
    medium.overwrite(mba, data)


def run_lap(store: Store, tenant: Tenant, laps: float = 1) -> None:
    """Put at least this many laps on the drive, with data of a short-lived volume of the tenant."""
    size = store.drives[0].segment_size // 2
    scratch = tenant.create_volume("scratch", size)
    end = store.stats().position + laps * store.drives[0].blocks
    while store.stats().position <= end:
        write_tagged(scratch, range(scratch.blocks))
    scratch.delete()


def states(store: Store) -> dict[BlockState, int]:
    """Count the drive's blocks by their state."""
    values, counts = np.unique(store.drives[0].ledger()["state"], return_counts=True)
    return {BlockState(int(value)): int(count) for value, count in zip(values, counts, strict=True)}


@contextmanager
def unchanged(store: Store) -> Iterator[None]:
    """Check that the drive, the figures, the names and the sizes are afterwards what they were before."""
    before = picture(store)
    yield
    assert picture(store) == before
    store.check()


def picture(store: Store) -> tuple[object, ...]:
    """Everything of a memory store that an outsider can see."""
    drive = store.drives[0]
    names = tuple(
        (tenant.name, tuple((volume.name, volume.size) for volume in tenant.volumes))
        for tenant in store.tenants
    )
    return drive.raw(0, drive.blocks), drive.ledger().tobytes(), store.stats(), names
