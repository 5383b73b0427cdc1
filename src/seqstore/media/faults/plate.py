"""Where the bytes of a faulty drive lie, and what lay there before."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol, TypedDict

if TYPE_CHECKING:
    from seqstore.media.geometry import Geometry
    from seqstore.media.native import NativeMedium


class Sizes(TypedDict):
    """The arguments that say how large a medium is, in bytes."""

    capacity: int
    block_size: int
    zone_size: int


def sizes(of: Geometry | NativeMedium) -> Sizes:
    """Return the arguments that make a medium of the same sizes."""
    size = of.block_size
    return {"capacity": of.blocks * size, "block_size": size, "zone_size": of.zone_blocks * size}


class Plate(Protocol):
    """A row of blocks that can be read and overwritten: a memory or file medium will do."""

    def read(self, mba: int, count: int, /) -> bytes:
        """Return `count` blocks."""
        ...

    def overwrite(self, mba: int, data: bytes, /) -> None:
        """Write whole blocks in place."""
        ...


class MemoryPlate:
    """Blocks in one bytearray, which is quick to copy.

    Parameters
    ----------
    image : bytes-like
        What lies there first; it is copied.
    block_size : int
    """

    def __init__(self, image: bytes | bytearray, block_size: int) -> None:
        self._bytes = bytearray(image)
        self._block_size = block_size

    def read(self, mba: int, count: int, /) -> bytes:
        """Return `count` blocks."""
        start = mba * self._block_size
        return bytes(memoryview(self._bytes)[start : start + count * self._block_size])

    def overwrite(self, mba: int, data: bytes, /) -> None:
        """Write whole blocks in place."""
        start = mba * self._block_size
        self._bytes[start : start + len(data)] = data


class Versions:
    """What lay in each block before, the last few contents of each.

    Parameters
    ----------
    limit : int
        Contents kept of a block; 0 keeps none.
    block_size : int
    """

    def __init__(self, limit: int, block_size: int) -> None:
        self._limit = limit
        self._block_size = block_size
        self._kept: dict[int, deque[bytes]] = {}

    def note(self, mba: int, old: bytes) -> None:
        """Take up what blocks held that are about to be written over."""
        if self._limit:
            for index in range(len(old) // self._block_size):
                kept = self._kept.setdefault(mba + index, deque(maxlen=self._limit))
                kept.append(old[index * self._block_size : (index + 1) * self._block_size])

    def of(self, mba: int) -> tuple[bytes, ...]:
        """Return the former contents of a block, the oldest first."""
        return tuple(self._kept.get(mba, ()))

    def copy(self) -> Versions:
        """Return an independent copy."""
        copy = Versions(self._limit, self._block_size)
        copy._kept = {mba: kept.copy() for mba, kept in self._kept.items()}
        return copy
