"""The faults that a drive was told to have, and has not had yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from seqstore.media.faults.plan import UnsyncedWrite

NEVER = 1 << 62


@dataclass(slots=True, kw_only=True)
class Orders:
    """What is still to go wrong, as numbers that count down or are met.

    Attributes
    ----------
    dies_at : int
        Count of operations after which the drive is dead.
    room_blocks : int
        Blocks that can still be written.
    lies : int
        Syncs that will do nothing.
    writes_to_lose : int
        Writes that will not be done.
    lands_at : int or None
        Where the next write goes instead.
    cut_at : int
        Number of the write in which the power goes.
    cut_fates : callable or None
        What then becomes of the unsynced writes.
    """

    dies_at: int = NEVER
    room_blocks: int = NEVER
    lies: int = 0
    writes_to_lose: int = 0
    lands_at: int | None = None
    cut_at: int = NEVER
    cut_fates: Callable[[UnsyncedWrite], int] | None = None


class BadBlocks:
    """Blocks that fail.

    Attributes
    ----------
    on_read : dict
        Block to the count of operations after which it cannot be read.
    on_write : set
        Blocks that cannot be written.
    """

    def __init__(self) -> None:
        self.on_read: dict[int, int] = {}
        self.on_write: set[int] = set()

    def unreadable(self, mba: int, count: int, operations: int) -> int | None:
        """Return the first block that cannot be read at this count of operations."""
        if not self.on_read:
            return None
        bad = (block for block in range(mba, mba + count) if block in self.on_read)
        return next((block for block in bad if self.on_read[block] < operations), None)

    def writable(self, mba: int, count: int) -> int:
        """Return how many blocks come before the first that cannot be written."""
        if not self.on_write:
            return count
        return next((step for step in range(count) if mba + step in self.on_write), count)

    def heal(self, mba: int, count: int) -> None:
        """Let blocks be readable, as they are on a drive when they are written again."""
        for block in range(mba, mba + count) if self.on_read else ():
            self.on_read.pop(block, None)

    def copy(self) -> BadBlocks:
        """Return an independent copy."""
        copy = BadBlocks()
        copy.on_read, copy.on_write = dict(self.on_read), set(self.on_write)
        return copy
