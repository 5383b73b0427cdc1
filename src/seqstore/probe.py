"""Looks at a drive of which no catalog tells: whose it is, and how it is divided.

Each segment that was ever written begins with a record's summary, which says both. What is found here is a
guess for the core to check: it verifies checksums and the chain of records.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqstore.folder import os_errors
from seqstore.media.geometry import MAX_BLOCKS, MIN_ZONE_BLOCKS, MIN_ZONES

if TYPE_CHECKING:
    from pathlib import Path

# Of a summary's head: magic, version, block_shift; drive, mba, segment_blocks and block_count.
_MAGIC = b"SEQSREC1"
_HEAD = struct.Struct("<8sHB5xQ8xI40xII")
_SHORTEST_BLOCK, _LONGEST_BLOCK = 9, 16  # powers of two
_SEARCHED_BYTES = 1 << 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What the summary of a record says of its drive.

    Attributes
    ----------
    version : int
        Of the format.
    identity : int
        Random number that stands in every record of the drive.
    block_size, zone_blocks, blocks : int
        Bytes of a block, blocks of a segment, blocks of the drive.
    """

    version: int
    identity: int
    block_size: int
    zone_blocks: int
    blocks: int


def parse_label(block: bytes, offset: int) -> Label | None:
    """Read what a block says if it is the first of a segment; None if it is not.

    Parameters
    ----------
    block : bytes
        Its first 84 at least.
    offset : int
        Where it lies on the drive, in bytes.
    """
    magic, version, shift, identity, mba, zone_blocks, blocks = _HEAD.unpack_from(block)
    if magic != _MAGIC or not _SHORTEST_BLOCK <= shift <= _LONGEST_BLOCK:
        return None
    is_divided = zone_blocks >= MIN_ZONE_BLOCKS and blocks % zone_blocks == 0
    if not is_divided or not MIN_ZONES * zone_blocks <= blocks <= MAX_BLOCKS:
        return None
    if mba << shift != offset or mba % zone_blocks:
        return None
    return Label(
        version=version, identity=identity, block_size=1 << shift, zone_blocks=zone_blocks, blocks=blocks
    )


def find_label(path: Path) -> Label | None:
    """Read the label of a drive: the first that there is, which is that of segment 0 if that was written.

    Parameters
    ----------
    path : Path
        A file or block device; only its beginning is searched.

    Raises
    ------
    MediumError, AccessError
        If it cannot be read.
    """
    with os_errors(f"reading the drive {str(path)!r}"), path.open("rb", buffering=0) as file:
        descriptor, size = file.fileno(), file.seek(0, os.SEEK_END)
        step = 1 << 20
        for start in range(0, min(size, _SEARCHED_BYTES), step):
            data = os.pread(descriptor, step + _HEAD.size, start)
            at = data.find(_MAGIC)
            while 0 <= at < step and len(data) - at >= _HEAD.size:
                label = parse_label(data[at : at + _HEAD.size], start + at)
                if label is not None:
                    return label
                at = data.find(_MAGIC, at + 1)
    return None
