"""Summaries: the first block of a record, and the entries in it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache

from seqstore.errors import FormatError, VersionError
from seqstore.format.crc32c import crc32c
from seqstore.format.layout import (
    ENTRY,
    FORMAT_VERSION,
    HEAD,
    MAX_BLOCK_SHIFT,
    MAX_CLASSES,
    MAX_LBA,
    MAX_NUMBER,
    MAX_SEQUENCE,
    MIN_BLOCK_SHIFT,
    RECORD_MAGIC,
    SEAL,
    SEALED_VERSION,
    Geometry,
)
from seqstore.format.seals import Seal, check_seal, entry_bytes, parse_seal, split_entries

_ENTRY = struct.Struct("<QQIBBH")  # with the reserved bytes, which are checked in place
_TAG = struct.Struct("<QQ")
_CHECKSUM_END = HEAD.offsets["checksum"] + HEAD.sizes["checksum"]


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
    FREED = 13


KINDS_WITH_BLOCK = frozenset({Kind.DATA, Kind.CHECKPOINT, Kind.PAD})
FLAG_RELOCATED = 1  # DATA: written by the cleaner
FLAG_DAMAGED = 2  # DATA, with the one before: was damaged when it was moved
FLAG_UNWRITTEN_ERROR = 1  # CREATE, CLONE: reads of unwritten addresses fail
FLAG_CLEAN = 1  # CHECKPOINT_END: written by the closing of the store

_OF_THE_LOG = frozenset({Kind.CHECKPOINT, Kind.CHECKPOINT_END, Kind.PAD, Kind.OPENED, Kind.FREED})
# Flags that an entry may have; other kinds have none.
_FLAGS = {
    Kind.DATA: (0, FLAG_RELOCATED, FLAG_RELOCATED | FLAG_DAMAGED),
    Kind.CREATE: (0, FLAG_UNWRITTEN_ERROR),
    Kind.CLONE: (0, FLAG_UNWRITTEN_ERROR),
    Kind.CHECKPOINT_END: (0, FLAG_CLEAN),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; what `lba`, `volume` and `value` mean depends on the kind."""

    kind: Kind
    lba: int
    volume: int
    value: int
    flags: int

    @property
    def has_block(self) -> bool:
        """Whether a data block of the record belongs to the entry."""
        return self.kind in KINDS_WITH_BLOCK

    @property
    def of_request(self) -> bool:
        """Whether the entry is void if its request was not finished."""
        if self.kind is Kind.DATA:
            return not self.flags & FLAG_RELOCATED
        return self.kind not in _OF_THE_LOG


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The head of one record, checked.

    Attributes
    ----------
    mba, blocks : int
        Address of the summary; data blocks behind it.
    sequence, checksum, previous : int
        Place in the chain of records: its number, its own checksum, and that of the record before.
    class_id : int
        The head whose segment it lies in.
    drive, position, flushed, checkpoint, checkpoint_mba, open, window : int
        As in the specification.
    version : int
        2 where blocks are encrypted, else 1.
    geometry : Geometry
        Sizes of the drive.
    """

    mba: int
    blocks: int
    sequence: int
    checksum: int
    previous: int
    drive: int
    position: int
    flushed: int
    checkpoint: int
    checkpoint_mba: int
    open: int
    class_id: int
    window: int
    version: int
    geometry: Geometry
    _packed: bytes = field(repr=False)
    _seals: bytes = field(repr=False)

    @property
    def end(self) -> int:
        """Address behind the record."""
        return self.mba + 1 + self.blocks

    @property
    def end_position(self) -> int:
        """The log's time behind the record."""
        return self.position + 1 + self.blocks

    @property
    def segment(self) -> int:
        """Number of the segment that holds the record."""
        return self.mba // self.geometry.segment_blocks

    @property
    def ends_request(self) -> bool:
        """Whether a request that goes on in this record ends in it."""
        return self.open < max(self.entry_count, 1)

    @property
    def entry_count(self) -> int:
        """Number of entries."""
        return len(self._packed) // ENTRY.size

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The entries in their order, taken apart anew each time: drives hold millions."""
        return tuple(
            Entry(Kind(kind), lba, volume, value, flags)
            for lba, volume, value, kind, flags, _ in _ENTRY.iter_unpack(self._packed)
        )

    @property
    def seals(self) -> tuple[Seal | None, ...]:
        """The seal of each entry's block, where it has one."""
        data = self._seals
        if not data:
            return (None,) * self.entry_count
        return tuple(parse_seal(data[at : at + SEAL.size]) for at in range(0, len(data), SEAL.size))

    def placed(self) -> Iterator[tuple[Entry, int]]:
        """Yield each entry with the address of its block, or of the next one's if it has none."""
        mba = self.mba + 1
        for entry in self.entries:
            yield entry, mba
            mba += entry.has_block


def tagged_checksum(volume: int, lba: int, block: bytes) -> int:
    """Compute the checksum of a data block, which covers its owner's layer and address too."""
    return crc32c(_TAG.pack(volume, lba) + block)


def read_block_shift(block: bytes) -> int | None:
    """Say how large the blocks are of which this may be a summary; None if it cannot be one."""
    if not block.startswith(RECORD_MAGIC) or len(block) < HEAD.size:
        return None
    shift = block[HEAD.offsets["block_shift"]]
    return shift if MIN_BLOCK_SHIFT <= shift <= MAX_BLOCK_SHIFT else None


def parse_summary(block: bytes, mba: int) -> Summary:
    """Take a summary block apart and check what it says of itself.

    Parameters
    ----------
    block : bytes
        One whole block.
    mba : int
        Where it lies.

    Returns
    -------
    Summary

    Raises
    ------
    FormatError
        If it is no summary, or breaks a rule of the specification.
    VersionError
        If it is a summary of another version of the format.
    """
    try:
        return _parse(block, mba)
    except VersionError:
        raise
    except FormatError as error:
        raise FormatError(f"block {mba}: {error}") from None


def _parse(block: bytes, mba: int) -> Summary:
    if not block.startswith(RECORD_MAGIC):
        raise FormatError(f"begins with {block[:8].hex()}; a summary begins with {RECORD_MAGIC.hex()}")
    head_checksum = int.from_bytes(block[_CHECKSUM_END - 4 : _CHECKSUM_END], "little")
    computed = crc32c(block[: _CHECKSUM_END - 4] + bytes(4) + block[_CHECKSUM_END:])
    if computed != head_checksum:
        raise FormatError(
            f"the summary's checksum is {head_checksum:#010x}, its content gives {computed:#010x}; "
            "it is torn or damaged"
        )
    version = int.from_bytes(block[8:10], "little")
    if version not in (FORMAT_VERSION, SEALED_VERSION):
        raise VersionError(
            f"block {mba}: the drive's format is of version {version}; this reader knows versions up to "
            f"{SEALED_VERSION}. Use the seqstore that wrote it, or a newer one",
            found=version,
            expected=SEALED_VERSION,
        )
    head = HEAD.read(block)
    if 1 << head["block_shift"] != len(block):
        raise FormatError(f"block_shift is {head['block_shift']} in a block of {len(block)} bytes")
    geometry = Geometry(
        block_size=len(block), segment_blocks=head["segment_blocks"], block_count=head["block_count"]
    )
    packed, seals = _check_entries(block, head["entries"], head["blocks"], geometry)
    summary = Summary(
        geometry=geometry,
        class_id=head["class"],
        _packed=packed,
        _seals=seals,
        **{name: head[name] for name in _KEPT},
    )
    _check_head(summary, mba)
    return summary


_KEPT = (
    "mba",
    "blocks",
    "sequence",
    "checksum",
    "previous",
    "drive",
    "position",
    "flushed",
    "checkpoint",
    "checkpoint_mba",
    "open",
    "window",
    "version",
)


def _check_head(summary: Summary, mba: int) -> None:
    geometry = summary.geometry
    sequence, of_drive = summary.sequence, geometry.block_count
    checkpoint_mba_end = of_drive if summary.checkpoint else 1
    rules = (
        (summary.mba == mba, "it names block {mba} as its own"),
        (mba < of_drive, "it lies beyond the {geometry.block_count} blocks of its drive"),
        (
            mba % geometry.segment_blocks + 1 + summary.blocks <= geometry.segment_blocks,
            "its {blocks} data blocks reach beyond the segment",
        ),
        (sequence > 0, "its sequence is 0; records count from 1"),
        (sequence <= MAX_SEQUENCE[summary.version], "record {sequence} is more than any log can write"),
        (sequence > 1 or summary.previous == 0, "it is the first record and names one before it"),
        # A record that had room for no entry lies in the middle of a request all the same.
        (summary.open <= max(summary.entry_count, 1), "{open} of {entry_count} entries are open"),
        (summary.class_id < MAX_CLASSES, "it is of class {class_id}"),
        (summary.flushed < sequence, "record {sequence} says that record {flushed} is flushed"),
        (summary.checkpoint < sequence, "record {sequence} names a checkpoint at record {checkpoint}"),
        (summary.checkpoint_mba < checkpoint_mba_end, "it names a checkpoint at block {checkpoint_mba}"),
    )
    for holds, fault in rules:
        if not holds:
            fields = {
                name: getattr(summary, name) for name in (*_KEPT, "class_id", "entry_count", "geometry")
            }
            raise FormatError(f"summary: {fault.format(**fields)}")


def _check_entries(
    block: bytes, entry_count: int, block_count: int, geometry: Geometry
) -> tuple[bytes, bytes]:
    """Check the entries one by one, and that the rest of the block is zero; return their bytes, and seals."""
    version = int.from_bytes(block[8:10], "little")
    most = geometry.max_sealed_entries if version == SEALED_VERSION else geometry.max_entries
    if entry_count > most:
        raise FormatError(f"summary: {entry_count} entries; {most} have room")
    end = HEAD.size + entry_count * entry_bytes(version)
    if block.count(0, end) != len(block) - end:
        raise FormatError(f"summary: bytes behind its {entry_count} entries are not zero")
    packed, seals = split_entries(block, entry_count, version)
    ranges, blocks = _ranges(geometry), 0
    for number, (lba, volume, value, kind, flags, reserved) in enumerate(_ENTRY.iter_unpack(packed)):
        if kind not in ranges:
            raise FormatError(f"summary: entry {number} is of kind {kind}, which is unknown")
        lbas, volumes, values = ranges[kind]
        if not (lba in lbas and volume in volumes and value in values):
            raise FormatError(
                f"summary: entry {number} is {Kind(kind).name} with lba {lba}, volume {volume}, "
                f"value {value}; expected are {_span(lbas)}, {_span(volumes)}, {_span(values)}"
            )
        if reserved or flags not in _FLAGS.get(kind, (0,)):
            raise FormatError(f"summary: entry {number} has flags {flags:#x}, reserved bytes {reserved:#x}")
        if kind == Kind.TRIM and lba + value > MAX_LBA + 1:
            raise FormatError(
                f"summary: entry {number} trims {value} blocks from lba {lba} on, beyond any volume"
            )
        if kind == Kind.OPENED and number:
            raise FormatError(f"summary: entry {number} is OPENED, which can only be the first one")
        blocks += kind in KINDS_WITH_BLOCK
    if blocks != block_count:
        raise FormatError(f"summary: {blocks} entries have a block, {block_count} data blocks are announced")
    _check_seals(packed, seals)
    return packed, seals


def _check_seals(packed: bytes, seals: bytes) -> None:
    for number, at in enumerate(range(0, len(seals), SEAL.size)):
        _, _, _, kind, flags, _ = _ENTRY.unpack_from(packed, number * ENTRY.size)
        is_damaged = bool(flags & FLAG_DAMAGED)
        check_seal(seals[at : at + SEAL.size], number, is_data=kind == Kind.DATA, is_damaged=is_damaged)


@lru_cache(maxsize=8)
def _ranges(geometry: Geometry) -> dict[int, tuple[range, range, range]]:
    """Say for each kind what `lba`, `volume` and `value` may be."""
    zero, word, number = range(1), range(2**32), range(1, MAX_NUMBER + 1)
    lba, mba = range(MAX_LBA + 1), range(geometry.block_count)
    size = range(1, (MAX_LBA + 1) * geometry.block_size + 1)
    return {
        Kind.DATA: (lba, number, word),
        Kind.TRIM: (lba, number, number),
        Kind.DELETE: (zero, number, zero),
        Kind.CREATE: (size, number, number),
        Kind.RESIZE: (size, number, zero),
        Kind.SNAPSHOT: (number, number, zero),
        Kind.CLONE: (number, number, number),
        Kind.ROLLBACK: (number, number, number),
        Kind.CHECKPOINT: (mba, zero, word),
        Kind.CHECKPOINT_END: (range(1, 2**64), mba, range(1, geometry.block_count)),
        Kind.PAD: (zero, zero, word),
        Kind.OPENED: (range(2**64), zero, zero),
        Kind.FREED: (range(geometry.segment_count), zero, zero),
    }


def _span(values: range) -> str:
    return str(values.start) if values.stop == values.start + 1 else f"{values.start} to {values.stop - 1}"
