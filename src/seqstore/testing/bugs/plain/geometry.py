"""How big everything is: small enough that fifty calls take the log round the medium."""

from __future__ import annotations

BLOCK_BYTES = 512
# A segment is what the cleaner empties at once, and what the log takes next.
SEGMENT_BLOCKS = 4
SEGMENTS = 16
SLOTS = SEGMENTS * SEGMENT_BLOCKS
# Segments that users may not fill, so that the cleaner always has where to move things.
RESERVED_SEGMENTS = 2
# Blocks that may be live: beside the reserve, the open segment may be closed half empty by a crash.
USABLE_BLOCKS = (SEGMENTS - RESERVED_SEGMENTS - 1) * SEGMENT_BLOCKS
# Blocks that one node of a map covers.
NODE_BLOCKS = 16
# Blocks that wait in memory before they make a record.
BUFFER_BLOCKS = 6


def slots_of(segment: int) -> range:
    """Return the places of one segment."""
    return range(segment * SEGMENT_BLOCKS, (segment + 1) * SEGMENT_BLOCKS)


def segment_of(slot: int) -> int:
    """Return the segment that a place belongs to."""
    return slot // SEGMENT_BLOCKS
