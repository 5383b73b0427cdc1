"""What a read may return while others write: each write of a block, and when it took place.

Moments are numbers of one counter. A write takes effect at once, at some moment between its beginning and
its end. So a read may return what was written by any write that began before the read ended, unless another
one lies wholly between that write and the read. A value that was seen had taken effect by then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Change:
    """A write or trim of blocks that several threads use.

    Attributes
    ----------
    thread : int
        Whose it is.
    what : str
        The call, for people.
    begun, ended : int, float
        When; it ends at infinity while it is under way.
    refused : bool
        Whether it failed, so that each block is old or new.
    """

    thread: int
    what: str
    begun: int
    ended: float = math.inf
    refused: bool = False

    def __str__(self) -> str:
        end = "still under way" if self.ended == math.inf else f"until {self.ended}"
        return f"From {self.begun}, {end}, thread {self.thread}: {self.what}{', refused' * self.refused}."


@dataclass(slots=True, eq=False)
class Entry:
    """What a change writes into one block.

    Attributes
    ----------
    block : bytes
        The block; zeros for a trim.
    ended : float
        By when it had taken effect, if it ever did.
    sure : bool
        Whether it did.
    """

    change: Change
    block: bytes
    ended: float = math.inf
    sure: bool = False


class Timeline:
    """The blocks of one volume, and all that was written to them.

    Parameters
    ----------
    blocks : int
        Size of the volume, which is unwritten.
    zero : bytes
        An unwritten block.
    """

    def __init__(self, blocks: int, zero: bytes) -> None:
        made = Change(0, "the volume is made", 0, 0)
        self.entries = [[Entry(made, zero, 0, True)] for _ in range(blocks)]

    def begin(self, change: Change, lba: int, blocks: Sequence[bytes]) -> list[Entry]:
        """Take note of a change before it is made."""
        begun = [Entry(change, block) for block in blocks]
        for history, entry in zip(self.entries[lba : lba + len(blocks)], begun, strict=True):
            history.append(entry)
        return begun

    @staticmethod
    def finish(entries: Sequence[Entry], now: int, *, refused: bool = False) -> None:
        """Take note of the end of a change."""
        for entry in entries:
            entry.change.ended = now
            entry.change.refused = refused
            entry.ended = min(entry.ended, now)
            entry.sure |= not refused

    def admissible(self, lba: int, start: int, end: int) -> list[Entry]:
        """Return what a read between two moments may have met."""
        history = self.entries[lba]
        covered = max((e.change.begun for e in history if e.sure and e.ended < start), default=0)
        return [e for e in history if e.change.begun < end and e.ended >= covered]

    def accepts(self, lba: int, block: bytes, start: int, end: int) -> bool:
        """Say whether a read between two moments may have returned a block, and learn from it."""
        met = [entry for entry in self.admissible(lba, start, end) if entry.block == block]
        if len(met) == 1:
            met[0].ended = min(met[0].ended, end)
            met[0].sure = True
        return bool(met)
