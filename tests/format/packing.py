"""Packs single structures by the specification alone, with struct and literal offsets.

Any field can be set to something wrong, so that a test can break any rule.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

DATA, TRIM, DELETE, CREATE, RESIZE, SNAPSHOT, CLONE, ROLLBACK, CHECKPOINT, END, PAD, OPENED, FREED = range(
    1, 14
)
WITH_BLOCK = {DATA, CHECKPOINT, PAD}
FREE, LIVE, DEAD, MOVED, SUMMARY = range(5)


def _table() -> list[int]:
    table = []
    for value in range(256):
        register = value
        for _ in range(8):
            register = register >> 1 ^ 0x82F63B78 * (register & 1)
        table.append(register)
    return table


_TABLE = _table()


def crc(data: bytes) -> int:
    """CRC-32C, a byte at a time."""
    register = 0xFFFFFFFF
    for byte in data:
        register = register >> 8 ^ _TABLE[(register ^ byte) & 255]
    return register ^ 0xFFFFFFFF


def tagged(volume: int, lba: int, block: bytes) -> int:
    """Checksum of a data block with its owner."""
    return crc(struct.pack("<QQ", volume, lba) + block)


class Entry(NamedTuple):
    """An entry of a summary."""

    kind: int
    lba: int = 0
    volume: int = 0
    value: int = 0
    flags: int = 0
    reserved: int = 0


@dataclass
class Head:
    """The head of a summary; any field may be set to something wrong."""

    drive: int
    sequence: int
    mba: int
    segment_blocks: int
    block_count: int
    previous: int = 0
    open: int = 0
    position: int = 0
    flushed: int = 0
    checkpoint: int = 0
    checkpoint_mba: int = 0
    block_shift: int = 9
    magic: bytes = b"SEQSREC1"
    version: int = 1
    entries: int | None = None
    blocks: int | None = None
    checksum: int | None = None
    reserved_11: int = 0
    class_id: int = 0
    window: int = 1
    reserved_88: bytes = bytes(8)


def put_summary(head: Head, entries: list[Entry], *, block_size: int = 512, tail: bytes = b"") -> bytes:
    """Pack a summary block; what is None in the head is computed."""
    count = len(entries) if head.entries is None else head.entries
    blocks = sum(entry.kind in WITH_BLOCK for entry in entries) if head.blocks is None else head.blocks
    packed = struct.pack(
        "<8sHBBIQQIIHHHHQQQIIII8s",
        head.magic,
        head.version,
        head.block_shift,
        head.reserved_11,
        0,
        head.drive,
        head.sequence,
        head.mba,
        head.previous,
        count,
        blocks,
        head.open,
        head.class_id,
        head.position,
        head.flushed,
        head.checkpoint,
        head.checkpoint_mba,
        head.segment_blocks,
        head.block_count,
        head.window,
        head.reserved_88,
    )
    for entry in entries:
        packed += struct.pack(
            "<QQIBBH", entry.lba, entry.volume, entry.value, entry.kind, entry.flags, entry.reserved
        )
    packed = (packed + tail).ljust(block_size, b"\0")
    return with_checksum(packed, head.checksum)


def with_checksum(block: bytes, checksum: int | None = None) -> bytes:
    """Put the right checksum, or a given one, into a summary."""
    if checksum is None:
        checksum = crc(block[:12] + bytes(4) + block[16:])
    return block[:12] + struct.pack("<I", checksum) + block[16:]


@dataclass
class Stream:
    """The parts of a checkpoint; any may be set to something wrong."""

    drive: int
    sequence: int
    position: int
    last_number: int
    open_segment: int
    open_blocks: int
    volumes: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)
    layers: list[tuple[int, int, int, int, int]] = field(default_factory=lambda: [(0, 0, 0, 0, 0)])
    holes: list[tuple[int, int, bytes]] = field(default_factory=list)
    heads: list[tuple[int, int, int, int]] = field(default_factory=list)
    free: list[tuple[int, int]] = field(default_factory=list)
    sealed: list[tuple[int, int]] = field(default_factory=list)
    tables: list[tuple[int, list[tuple[int, int]]]] = field(default_factory=list)
    magic: bytes = b"SEQSCKP1"
    version: int = 1
    opening: int = 0
    heads_count: int | None = None
    counts: tuple[int, ...] | None = None
    stream_bytes: int | None = None


def put_stream(stream: Stream) -> bytes:
    """Pack the stream of a checkpoint, without padding."""
    body = b"".join(struct.pack("<QQQQQI4x", *row) for row in stream.volumes)
    body += b"".join(struct.pack("<QQQQI4x", *row) for row in stream.layers)
    body += b"".join(struct.pack("<QQ64s", *row) for row in stream.holes)
    body += b"".join(struct.pack("<IIII", *row) for row in stream.heads)
    body += b"".join(struct.pack("<II", *row) for row in (*stream.free, *stream.sealed))
    for segment, words in stream.tables:
        body += struct.pack("<I4x", segment) + b"".join(struct.pack("<QI", *word) for word in words)
    lists = (stream.volumes, stream.layers, stream.holes, stream.free, stream.sealed, stream.tables)
    counts = tuple(len(part) for part in lists) if stream.counts is None else stream.counts
    head = struct.pack(
        "<8sIIQQQQ6IIIQQ",
        stream.magic,
        stream.version,
        len(stream.heads) if stream.heads_count is None else stream.heads_count,
        stream.drive,
        stream.sequence,
        stream.position,
        stream.last_number,
        *counts,
        stream.open_segment,
        stream.open_blocks,
        96 + len(body) if stream.stream_bytes is None else stream.stream_bytes,
        stream.opening,
    )
    assert len(head) == 96
    return head + body


def word(state: int, layer: int = 0, value: int = 0) -> int:
    """One word of a checkpoint's table."""
    return state << 61 | layer << 38 | value % 2**38
