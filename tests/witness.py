"""Reads record summaries off a raw medium, in Python alone: the engine's second opinion.

A summary block is, little-endian:

======  ====  ==================================================================
offset  size  meaning
======  ====  ==================================================================
0       8     magic ``SEQSREC1``
8       2     version, 1
10      1     power of two of the bytes of a block; then a zero
12      4     CRC-32C of the whole block with this field zero
16      8     drive
24      8     sequence number of the record, from 1, one more each
32      4     media block address of this block
36      4     checksum of the record before
40      2     entries
42      2     blocks that follow
44      2     entries whose request goes on in the next record
46      2     class of the head that wrote it
48      8     position of this block
56      8     sequence of the newest record known to be on the medium
64      12    sequence (8) and address (4) of the newest checkpoint
76      4     blocks of a segment
80      4     blocks of the drive
84      4     segments of the unsynced window
88      8     reserved, zero
96      24 n  entries: u64 lba, u64 volume, u32 value, u8 kind, u8 flags, u16 zero
======  ====  ==================================================================

The value of an entry with a block is the CRC-32C of volume and lba (16 bytes) followed by the block;
that of a trim is the number of blocks. All behind the last entry is zero. It knows what the log of a drive in
memory holds, where a volume has one layer; snapshots and clones are left to ``seqstore.format``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np
import numpy.typing as npt

MAGIC = b"SEQSREC1"
HEADER = struct.Struct("<8sHBBIQQIIHHHHQQQIIII8s")
ENTRY = struct.Struct("<QQIBBH")
CHECKSUM_OFFSET = 12
MOST_CLASSES = 64

_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), bits reversed


class Kind(IntEnum):
    """What an entry of a summary reports."""

    DATA = 1
    TRIM = 2
    DELETE = 3
    CREATE = 4
    RESIZE = 5
    SNAPSHOT = 6
    CLONE = 7
    ROLLBACK = 8
    CHECKPOINT = 9
    CHECKPOINT_END = 10
    PAD = 11
    OPENED = 12


WITH_BLOCK = (Kind.DATA, Kind.CHECKPOINT, Kind.PAD)
# The highest flags of each kind that has some.
MOST_FLAGS = {Kind.DATA: 3, Kind.CREATE: 1, Kind.CLONE: 1, Kind.CHECKPOINT_END: 1}


class LayoutError(AssertionError):
    """A block that bears the magic of a summary is not one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; ``value`` is a checksum where the kind has a block."""

    lba: int
    volume: int
    value: int
    kind: Kind
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """One parsed summary."""

    drive: int
    sequence: int
    mba: int
    checksum: int
    previous: int
    data_blocks: int
    position: int
    entries: tuple[Entry, ...]

    @property
    def data(self) -> tuple[Entry, ...]:
        """The entries of the blocks that follow the summary, in their order."""
        return tuple(entry for entry in self.entries if entry.kind in WITH_BLOCK)


def _byte_table() -> npt.NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ np.where(table & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    return table


_TABLE = _byte_table()


@lru_cache(maxsize=8)
def _place_table(length: int) -> tuple[npt.NDArray[np.uint32], int]:
    """What each byte value adds to the CRC of a message of this length, by its place.

    A CRC is linear: that of a message is the exclusive or of that of its bytes alone. The second
    value is the CRC of as many zero bytes.
    """
    places = np.empty((length, 256), dtype=np.uint32)
    places[length - 1] = _TABLE
    for place in range(length - 2, -1, -1):
        behind = places[place + 1]
        places[place] = (behind >> np.uint32(8)) ^ _TABLE[behind & np.uint32(0xFF)]
    register = 0xFFFFFFFF
    for _ in range(length):
        register = (register >> 8) ^ int(_TABLE[register & 0xFF])
    return places, register ^ 0xFFFFFFFF


def crc32c_rows(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """CRC-32C of each row of uint8[n, length]."""
    places, of_zeros = _place_table(rows.shape[1])
    parts = places[np.arange(rows.shape[1]), rows]
    return np.asarray(np.bitwise_xor.reduce(parts, axis=1) ^ np.uint32(of_zeros), dtype=np.uint32)


def crc32c(data: bytes) -> int:
    """CRC-32C of some bytes."""
    return int(crc32c_rows(np.frombuffer(data, dtype=np.uint8)[None, :])[0])


def data_checksums(entries: tuple[Entry, ...], blocks: npt.NDArray[np.uint8]) -> list[int]:
    """Compute what the data entries' checksums must be, from the blocks uint8[n, block_size] behind them."""
    owners = np.array([(entry.volume, entry.lba) for entry in entries], dtype="<u8").reshape(-1, 2)
    rows = np.hstack([owners.view(np.uint8), blocks])
    return [int(value) for value in crc32c_rows(rows)]


def parse_summary(block: bytes) -> Record | None:
    """Parse one block; None if it does not begin like a summary.

    Raises
    ------
    LayoutError
        If it begins like one and breaks a rule of the layout.
    """
    if not block.startswith(MAGIC):
        return None
    (
        _, version, shift, gap, checksum, drive, sequence, mba, previous,
        entry_count, data_blocks, open_entries, head, position, flushed,
        checkpoint, checkpoint_mba, segment_blocks, block_count, window, reserved,
    ) = HEADER.unpack_from(block)  # fmt: skip
    expect(version == 1, f"version {version}")
    unsigned = block[:CHECKSUM_OFFSET] + bytes(4) + block[CHECKSUM_OFFSET + 4 :]
    expect(checksum == crc32c(unsigned), f"checksum 0x{checksum:08x}")
    expect(gap == 0 and not any(reserved), "reserved bytes of the head are not zero")
    expect(head < MOST_CLASSES, f"class {head}")
    expect(1 << shift == len(block), f"blocks of 2^{shift} bytes")
    place = mba % segment_blocks if segment_blocks else 0
    expect(mba < block_count, f"address {mba} of {block_count} blocks")
    expect(place + data_blocks < segment_blocks, f"{data_blocks} blocks from {place} of {segment_blocks}")
    # In memory every head may have a record open, which gets its number at its end.
    most = sequence + (MOST_CLASSES - 1 if drive == 0 else 0)
    expect(position < most * segment_blocks, f"record {sequence} at position {position}")
    expect(open_entries <= max(entry_count, 1), f"{open_entries} open entries of {entry_count}")
    expect(flushed < sequence, f"record {sequence} says that {flushed} is flushed")
    expect(checkpoint <= flushed and checkpoint_mba < block_count, f"checkpoint {checkpoint}")
    expect(drive != 0 or not (flushed or checkpoint or window), "a drive in memory that outlives a crash")
    expect((previous == 0) == (sequence == 1), f"record {sequence} follows one of checksum {previous}")
    end = HEADER.size + entry_count * ENTRY.size
    expect(end <= len(block), f"{entry_count} entries do not fit {len(block)} bytes")
    expect(not any(block[end:]), "bytes behind the last entry are not zero")
    entries = []
    for lba, volume, value, kind, flags, padding in ENTRY.iter_unpack(block[HEADER.size : end]):
        expect(padding == 0, "reserved bytes of an entry are not zero")
        expect(flags <= MOST_FLAGS.get(Kind(kind), 0), f"flags {flags} of an entry of kind {kind}")
        entries.append(Entry(lba, volume, value, Kind(kind), flags))
    record = Record(drive, sequence, mba, checksum, previous, data_blocks, position, tuple(entries))
    expect(len(record.data) == data_blocks, f"{len(record.data)} entries with blocks, {data_blocks} blocks")
    return record


def replay(records: Iterable[Record]) -> dict[tuple[int, int], int]:
    """Follow records in their order, and return where each (volume, lba) lies at their end."""
    places: dict[tuple[int, int], int] = {}
    for record in records:
        mba = record.mba
        for entry in record.entries:
            if entry.kind is Kind.DATA:
                mba += 1
                places[entry.volume, entry.lba] = mba
            elif entry.kind is Kind.TRIM:
                for lba in range(entry.lba, entry.lba + entry.value):
                    places.pop((entry.volume, lba), None)
            elif entry.kind is Kind.DELETE:
                places = {owner: at for owner, at in places.items() if owner[0] != entry.volume}
            else:
                # Shrinking a volume trims it first, so that its new size says nothing about places.
                expect(entry.kind in {Kind.CREATE, Kind.RESIZE}, f"a {entry.kind.name} on a drive in memory")
    return places


def expect(holds: bool, what: str) -> None:
    """Raise `LayoutError` saying ``what`` was found unless the rule holds."""
    if not holds:
        raise LayoutError(f"summary: {what}")
