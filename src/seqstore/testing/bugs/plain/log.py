"""Which segment is written next, and the appending itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from seqstore.testing.bugs.plain.geometry import (
    BLOCK_BYTES,
    RESERVED_SEGMENTS,
    SEGMENT_BLOCKS,
    SEGMENTS,
    segment_of,
    slots_of,
)
from seqstore.testing.bugs.plain.record import Header, Kind, Part

if TYPE_CHECKING:
    from seqstore.testing.bugs.plain.store import PlainStore


class Entry(NamedTuple):
    """One slot of a record to be."""

    kind: Kind
    layer: int
    lba: int
    block: bytes


class Log(Part):
    """The segments: free ones in the order in which the head takes them, closed ones by age.

    A segment is free, open or closed. The head fills the open one, closes it and takes the free one that
    has waited longest, so that it goes round the medium. The cleaner empties closed ones.
    """

    def __init__(self, store: PlainStore) -> None:
        super().__init__(store)
        self.free = deque(range(SEGMENTS))
        self.closed: deque[int] = deque()
        self.open: int | None = None
        self.position = 0  # slots of the open segment that are taken
        self.mount = 0
        self.sequence = 0

    def room(self) -> int:
        """Return the slots that users may fill before the cleaner has to work."""
        rest = 0 if self.open is None else SEGMENT_BLOCKS - self.position
        return rest + (len(self.free) - RESERVED_SEGMENTS) * SEGMENT_BLOCKS

    def append(self, entries: Sequence[Entry]) -> list[int]:
        """Write one record; it counts as a whole or not at all.

        Returns
        -------
        list of int
            The slot of each entry.
        """
        slots = [self.take() for _ in entries]
        for part, (entry, slot) in enumerate(zip(entries, slots, strict=True)):
            header = Header(entry.kind, self.mount, self.sequence, entry.layer, entry.lba, part, len(entries))
            block = entry.block.ljust(BLOCK_BYTES, b"\0")
            self.store.medium.put(slot, self.store.codec.encode(header, block))
            self.sequence += 1
        return slots

    def take(self) -> int:
        """Return the next slot at the head."""
        if self.open is None or self.position == SEGMENT_BLOCKS:
            self.seal()
            self.open = self.free.popleft()
            self.position = 0
        self.position += 1
        return slots_of(self.open)[self.position - 1]

    def seal(self) -> None:
        """Close the open segment, full or not."""
        if self.open is not None:
            self.closed.append(self.open)
            self.open = None

    def release(self, segment: int) -> None:
        """Make a closed segment free, once a checkpoint is there that does not need it."""
        self.closed.remove(segment)
        self.store.cache.forget(slots_of(segment))
        self.free.append(segment)

    def rebuild(self, closed: Sequence[int], live: Collection[int]) -> None:
        """Find out after opening which segments are free; those that were closed keep their order."""
        used = {segment_of(slot) for slot in live}
        known = [segment for segment in closed if segment in used]
        self.closed = deque([*known, *sorted(used - set(known))])
        self.free = deque(segment for segment in range(SEGMENTS) if segment not in used)
