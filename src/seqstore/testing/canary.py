"""Canaries: blocks that say whose they are, in every part of them.

A block is made of cells of 512 bytes, and a cell of one header of 32 bytes, repeated. So any fragment of 63
bytes within a cell holds a whole header, and names its owner. A header, little-endian:

    OFFSET SIZE MEANING
       0    4   magic
       4    2   tenant number       (combined with a constant, as are the next three: so that a small
       6    2   volume number        number is not mostly zero bytes, and a leaked byte is not mistaken
       8    4   lba                  for one of an unwritten block)
      12    4   version             number of the write, from 1 for each store
      16    8   nonce of the run
      24    2   cell: index of the 512 bytes within the block
      26    2   0xFFFF
      28    4   CRC-32 of the 28 bytes before, times an odd number

Without that factor every header would have the same CRC-32, and so every canary: a CRC over a text and its
own CRC is a constant. A store that finds torn blocks by a CRC would then find none among canaries.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

CELL_BYTES = 512
HEADER_BYTES = 32
MAGIC = b"\xd7iK\xb2"
_REPEATS = CELL_BYTES // HEADER_BYTES

_HEAD = struct.Struct("<4sHHIIQ")
_WHOLE = struct.Struct("<4sHHIIQHHI")
_CHECKSUM = struct.Struct("<I")
_MASK_16 = 0xA5A5
_MASK_32 = 0xA5C3A5C3
_FACTOR = 0x9E3779B1
_ALL_ONES = 0xFFFFFFFF
_FIELDS = np.dtype(
    [
        ("magic", "<u4"),
        ("tenant", "<u2"),
        ("volume", "<u2"),
        ("lba", "<u4"),
        ("version", "<u4"),
        ("nonce", "<u8"),
        ("cell", "<u2"),
        ("ones", "<u2"),
        ("checksum", "<u4"),
    ]
)
_MAGIC_NUMBER = int.from_bytes(MAGIC, "little")
# Raw media come in pieces of any size; they are looked at in pieces of about this one.
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Canary:
    """What a header says.

    Attributes
    ----------
    tenant, volume : int
        Numbers that the kit gave, from 1, never twice.
    lba, version : int
        Where it was written, and by the how manieth write.
    cell : int
        Which 512 bytes of the block.
    nonce : int
        Which run of the kit wrote it.
    """

    tenant: int
    volume: int
    lba: int
    version: int
    cell: int
    nonce: int


@lru_cache(maxsize=64)
def _tails(cells: int) -> tuple[bytes, ...]:
    return tuple(struct.pack("<HH", cell, 0xFFFF) for cell in range(cells))


def stamp_block(block_size: int, *, tenant: int, volume: int, lba: int, version: int, nonce: int) -> bytes:
    """Return one block that says whose it is."""
    head = _HEAD.pack(MAGIC, tenant ^ _MASK_16, volume ^ _MASK_16, lba ^ _MASK_32, version ^ _MASK_32, nonce)
    begun = zlib.crc32(head)
    crc32 = zlib.crc32
    pack = _CHECKSUM.pack
    cells = [
        (head + tail + pack(crc32(tail, begun) * _FACTOR & _ALL_ONES)) * _REPEATS
        for tail in _tails(-(-block_size // CELL_BYTES))
    ]
    block = b"".join(cells)
    return block if len(block) == block_size else block[:block_size]


def stamp(
    block_size: int, *, tenant: int, volume: int, lba: int, count: int, version: int, nonce: int
) -> bytes:
    """Return the bytes of `count` blocks from `lba` on."""
    return b"".join(
        stamp_block(block_size, tenant=tenant, volume=volume, lba=at, version=version, nonce=nonce)
        for at in range(lba, lba + count)
    )


def parse(data: bytes | memoryview, offset: int = 0) -> Canary | None:
    """Read the header at an offset; None if there is none."""
    if offset < 0 or offset + HEADER_BYTES > len(data):
        return None
    header = bytes(data[offset : offset + HEADER_BYTES])
    magic, tenant, volume, lba, version, nonce, cell, _, checksum = _WHOLE.unpack(header)
    if magic != MAGIC or zlib.crc32(header[:28]) * _FACTOR & _ALL_ONES != checksum:
        return None
    return Canary(tenant ^ _MASK_16, volume ^ _MASK_16, lba ^ _MASK_32, version ^ _MASK_32, cell, nonce)


def find(data: bytes) -> Iterator[tuple[int, Canary]]:
    """Yield each whole header in some bytes, at whatever offset, with that offset."""
    at = data.find(MAGIC)
    while at >= 0:
        canary = parse(data, at)
        if canary is not None:
            yield at, canary
        at = data.find(MAGIC, at + (1 if canary is None else HEADER_BYTES))


def find_once(media: Iterable[bytes | memoryview], *, nonce: int) -> dict[Canary, int]:
    """Find the headers of a run on raw media.

    Parameters
    ----------
    media : iterable of bytes-like
        Pieces of any size, in their order.
    nonce : int
        Headers of other runs are passed over.

    Returns
    -------
    dict of Canary to int
        Each different header, and the first offset at which it stands.
    """
    found: dict[Canary, int] = {}
    for start, piece in _pieces(media):
        for at, canary in _find_once(piece):
            if canary.nonce == nonce:
                found.setdefault(canary, start + at)
    return found


def _pieces(media: Iterable[bytes | memoryview]) -> Iterator[tuple[int, bytes]]:
    """Join pieces to larger ones, each beginning with the last bytes of the one before."""
    start, gathered, kept = 0, 0, list[bytes]()
    for piece in media:
        kept.append(bytes(piece))
        gathered += len(piece)
        if gathered >= _PIECE_BYTES:
            joined = b"".join(kept)
            yield start, joined
            tail = joined[1 - HEADER_BYTES :]
            start, gathered, kept = start + len(joined) - len(tail), len(tail), [tail]
    if gathered:
        yield start, b"".join(kept)


def _find_once(data: bytes) -> Iterator[tuple[int, Canary]]:
    whole = len(data) // HEADER_BYTES
    headers: NDArray[np.void] = np.frombuffer(data, _FIELDS, whole)
    places: NDArray[np.intp] = np.flatnonzero(headers["magic"] == _MAGIC_NUMBER)
    if len(places) < data.count(MAGIC):
        yield from find(data)
        return
    if len(places):
        _, first = np.unique(headers[places].view(f"V{HEADER_BYTES}"), return_index=True)
        for place in places[first].tolist():
            canary = parse(data, place * HEADER_BYTES)
            if canary is not None:
                yield place * HEADER_BYTES, canary
