"""Reads record summaries off a raw medium, in Python alone: the engine's second opinion.

A summary block is, little-endian:

======  =====  ==============================================================
offset  size   meaning
======  =====  ==============================================================
0       8      magic ``SEQSREC1``
8       4      version, 1
12      4      CRC-32C of the whole block with this field zero
16      8      drive
24      8      sequence number of the record, from 1, one more each
32      8      media block address of this block
40      4      entries
44      4      data blocks that follow
48      8      position of this block
56      8      reserved, zero
64      24 n   entries: u64 lba, u64 volume, u32 checksum, u8 kind, u8[3] zero
======  =====  ==============================================================

The checksum of a data entry is the CRC-32C of volume and lba (16 bytes) followed by the block; a
trim entry has the number of blocks in its place. All behind the last entry is zero.
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
HEADER = struct.Struct("<8sIIQQQIIQQ")
ENTRY = struct.Struct("<QQIB3s")
CHECKSUM_OFFSET = 12

_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), bits reversed


class Kind(IntEnum):
    """What an entry of a summary reports."""

    DATA = 1
    TRIM = 2
    VOLUME_DELETED = 3


class LayoutError(AssertionError):
    """A block that bears the magic of a summary is not one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; ``checksum`` is a count of blocks where the kind is TRIM."""

    lba: int
    volume: int
    checksum: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Record:
    """One parsed summary."""

    drive: int
    sequence: int
    mba: int
    data_blocks: int
    position: int
    entries: tuple[Entry, ...]

    @property
    def data(self) -> tuple[Entry, ...]:
        """The entries of the blocks that follow the summary, in their order."""
        return tuple(entry for entry in self.entries if entry.kind is Kind.DATA)


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
    _, version, checksum, drive, sequence, mba, entry_count, data_blocks, position, reserved = (
        HEADER.unpack_from(block)
    )
    expect(version == 1, f"version {version}")
    unsigned = block[:CHECKSUM_OFFSET] + bytes(4) + block[CHECKSUM_OFFSET + 4 :]
    expect(checksum == crc32c(unsigned), f"checksum 0x{checksum:08x}")
    expect(reserved == 0, f"reserved field {reserved}")
    end = HEADER.size + entry_count * ENTRY.size
    expect(end <= len(block), f"{entry_count} entries do not fit {len(block)} bytes")
    expect(not any(block[end:]), "bytes behind the last entry are not zero")
    entries = []
    for lba, volume, value, kind, padding in ENTRY.iter_unpack(block[HEADER.size : end]):
        expect(not any(padding), "reserved bytes of an entry are not zero")
        entries.append(Entry(lba, volume, value, Kind(kind)))
    record = Record(drive, sequence, mba, data_blocks, position, tuple(entries))
    expect(len(record.data) == data_blocks, f"{len(record.data)} data entries, {data_blocks} data blocks")
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
                for lba in range(entry.lba, entry.lba + entry.checksum):
                    places.pop((entry.volume, lba), None)
            else:
                places = {owner: at for owner, at in places.items() if owner[0] != entry.volume}
    return places


def expect(holds: bool, what: str) -> None:
    """Raise `LayoutError` saying ``what`` was found unless the rule holds."""
    if not holds:
        raise LayoutError(f"summary: {what}")
