"""A small store with a cleaning policy, functions that are policies, and what is done to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from seqstore import Store, Volume
from tests.small import BLOCK_SIZE, write_tagged

SEGMENT_BLOCKS = 128
SEGMENT_SIZE = SEGMENT_BLOCKS * BLOCK_SIZE
CAPACITY = 40 * SEGMENT_SIZE
BLOCKS = 2400  # of the volume; the drive is half full

Table = npt.NDArray[np.void]


def emptiest(segments: Table) -> int:
    return int(segments["live_blocks"].argmin())


def apart(blocks: Table) -> npt.NDArray[np.uint8]:
    return blocks["relocated"].astype(np.uint8)


class Failing:
    """A function that raises once, when it was asked often enough, and else does what another does.

    A placement is asked when blocks are written, and when they are moved: what counts is ``moving``.
    """

    def __init__(self, inner: Callable[[Table], Any], at: int, *, moving: bool = False) -> None:
        self._inner, self._left, self._moving = inner, at, moving
        self.error = KeyError("a bug of the caller's")

    def __call__(self, table: Table) -> Any:
        self._left -= not self._moving or bool(table["relocated"].any())
        if self._left == 0:
            self._left = -1
            raise self.error
        return self._inner(table)


@contextmanager
def made(**options: Any) -> Iterator[tuple[Store, Volume]]:
    options = {"block_size": BLOCK_SIZE, "segment_size": SEGMENT_SIZE, **options}
    with Store.memory(CAPACITY, **options) as store:
        yield store, store.create_tenant("contoso").create_volume("disk", BLOCKS * BLOCK_SIZE)


def churn(volume: Volume, rounds: int, seed: int = 1) -> None:
    """Fill the volume and overwrite it at random, 300 blocks at a time."""
    rng = np.random.default_rng(seed)
    write_tagged(volume, range(BLOCKS))
    for version in range(2, rounds + 2):
        write_tagged(volume, rng.integers(0, BLOCKS, 300).tolist(), version)


def content(volume: Volume) -> bytes:
    return volume.read(0, volume.size)


def write_if(volume: Volume, lbas: list[int], caught: list[BaseException], *, again: bool = True) -> None:
    """Write a version that was never written, and if the policy fails write again."""
    version = volume.tenant.store.stats().user_blocks + 1000
    try:
        write_tagged(volume, lbas, version)
    except KeyError as error:
        caught.append(error)
        if again:
            write_tagged(volume, lbas, version)
