"""What one slot looks like: a header, then one block.

======  ====  ==========================================================================
offset  size  meaning
======  ====  ==========================================================================
0       4     ``SLOT``
4       1     kind: a block that a volume wrote, one that the cleaner moved, or a note
8       4     mount: how often the store had been opened when this was written
12      8     sequence: place in the log, one more with each slot
20      4     layer that owns the block (zero for a note)
24      4     lba
28      4     part: place within the record
32      4     parts: slots of the record, which counts only if all are there
36      4     checksum over all other bytes of the slot
40      8     zeros
48      512   the block, or the note as JSON
======  ====  ==========================================================================
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from seqstore.testing.bugs.plain.geometry import BLOCK_BYTES

if TYPE_CHECKING:
    from seqstore.testing.bugs.plain.store import PlainStore

_LAYOUT = struct.Struct("<4sB3xIQIIIII8x")
_MAGIC = b"SLOT"
HEADER_BYTES = _LAYOUT.size
SLOT_BYTES = HEADER_BYTES + BLOCK_BYTES


class Kind(IntEnum):
    """What a slot holds."""

    WRITE = 1
    MOVE = 2
    NOTE = 3


class Header(NamedTuple):
    """What a slot says about itself; see the table at the head of this module."""

    kind: int
    mount: int
    sequence: int
    layer: int
    lba: int
    part: int
    parts: int


class Part:
    """What the store is put together from: it knows the store, and through it the other parts.

    Parameters
    ----------
    store : PlainStore
        The store that the part belongs to.
    """

    def __init__(self, store: PlainStore) -> None:
        self.store = store


class Codec(Part):
    """Headers and blocks to the bytes of a slot, and back."""

    def encode(self, header: Header, block: bytes) -> bytes:
        """Return the bytes of a slot."""
        checksum = crc32(block, crc32(_LAYOUT.pack(_MAGIC, *header, 0)))
        return _LAYOUT.pack(_MAGIC, *header, checksum) + block

    def decode(self, image: bytes) -> Header | None:
        """Return the header of a slot, or None if it holds no whole record part."""
        magic, *fields, checksum = _LAYOUT.unpack_from(image)
        if magic != _MAGIC or not self.is_whole(fields, checksum, image[HEADER_BYTES:]):
            return None
        return Header(*fields)

    def is_whole(self, fields: list[int], checksum: int, block: bytes) -> bool:
        """Say whether header and block are those that were written together."""
        return checksum == crc32(block, crc32(_LAYOUT.pack(_MAGIC, *fields, 0)))

    def block(self, image: bytes) -> bytes:
        """Return the block in a slot."""
        return image[HEADER_BYTES:]
