"""Tagged test blocks: bytes that say whose they are, wherever they turn up.

A block is a row of cells of 64 bytes, so that every 512 bytes carry eight of them. Each cell is a
complete tag: whoever finds one on a medium, in a buffer or in a file knows the tenant, the volume,
the lba, the version and the nonce it was written under, and by the checksum that it is whole.

==========  ====  =====================================================
offset      size  meaning (all little-endian u64)
==========  ====  =====================================================
0           8     magic
8           8     tenant number
16          8     volume number
24          8     lba
32          8     version of this lba, or of the whole store
40          8     nonce: different for blocks that agree in the rest
48          8     index of the cell in its block
56          8     checksum over the seven words before
==========  ====  =====================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAGIC = b"SQTAGCEL"
CELL_BYTES = 64
SECTOR_BYTES = 512
CELLS_PER_SECTOR = SECTOR_BYTES // CELL_BYTES

_MAGIC_WORD = int.from_bytes(MAGIC, "little")
_WORDS = CELL_BYTES // 8
# Odd multipliers: each word takes part with a weight of its own, so swapped words show.
_WEIGHTS = np.array(
    [
        0x9E3779B97F4A7C15,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0x27D4EB2F165667C5,
        0xD6E8FEB86659FD93,
        0xA0761D6478BD642F,
        0xE7037ED1A0B428DB,
    ],
    dtype=np.uint64,
)

# A cell that was found: its index in the image, its block, whether it is where it says, and its tag.
CELL_DTYPE = np.dtype(
    [("at", "u8"), ("block", "u8"), ("in_place", "?")]
    + [(name, "u8") for name in ("tenant", "volume", "lba", "version", "nonce")]
)

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, order=True)
class Tag:
    """What a cell says about the block it was written in."""

    tenant: int
    volume: int
    lba: int
    version: int
    nonce: int = 0


@dataclass(frozen=True, slots=True)
class Sighting:
    """A tag met in a sector of a raw image; whole if all cells of the sector carry it, in order."""

    block: int
    sector: int
    tag: Tag
    cells: int
    whole: bool


def _checksum(words: Words) -> Words:
    """Return the checksum of the first seven words of each cell, ``words`` being [..., 8]."""
    mixed = words[..., : _WORDS - 1] * _WEIGHTS
    mixed ^= mixed >> np.uint64(29)
    folded: Words = np.add.reduce(mixed * _WEIGHTS[::-1], axis=-1, dtype=np.uint64)
    return folded


def make_blocks(
    tenant: int,
    volume: int,
    lbas: Sequence[int] | npt.NDArray[np.integer],
    versions: int | Sequence[int] | npt.NDArray[np.integer],
    block_size: int,
    *,
    nonce: int = 0,
) -> Bytes:
    """Make one tagged block for each lba, as uint8[n, block_size]."""
    cells = block_size // CELL_BYTES
    addresses = np.asarray(lbas, dtype=np.uint64)
    words = np.empty((len(addresses), cells, _WORDS), dtype=np.uint64)
    words[..., 0] = _MAGIC_WORD
    words[..., 1] = tenant
    words[..., 2] = volume
    words[..., 3] = addresses[:, None]
    words[..., 4] = np.asarray(versions, dtype=np.uint64).reshape(-1, 1)
    words[..., 5] = nonce
    words[..., 6] = np.arange(cells, dtype=np.uint64)
    words[..., 7] = _checksum(words)
    return words.astype("<u8", copy=False).view(np.uint8).reshape(len(addresses), block_size)


def make_bytes(
    tenant: int, volume: int, offset: int, length: int, version: int, block_size: int, *, nonce: int = 0
) -> bytes:
    """Cut ``length`` bytes at ``offset`` out of a volume whose blocks all have this version."""
    if length == 0:
        return b""
    first, last = offset // block_size, (offset + length - 1) // block_size
    image = make_blocks(tenant, volume, range(first, last + 1), version, block_size, nonce=nonce)
    start = offset - first * block_size
    return image.tobytes()[start : start + length]


def tag_of(block: bytes | Bytes) -> Tag | None:
    """Return the tag of a block that is whole and of one piece, else None."""
    sightings = list(scan(block, len(block)))
    if len(sightings) != len(block) // SECTOR_BYTES or len({s.tag for s in sightings}) != 1:
        return None
    return sightings[0].tag if all(s.whole for s in sightings) else None


def find_cells(raw: bytes | Bytes, block_size: int) -> npt.NDArray[np.void]:
    """Find every whole cell in a raw image, at cell boundaries; `count_magic` finds stray ones.

    Parameters
    ----------
    raw : bytes or uint8[n * block_size] or uint8[n, block_size]
        The image.
    block_size : int
        Bytes of a block.

    Returns
    -------
    CELL_DTYPE[m]
        One entry for each cell whose checksum agrees, in the order of the image.
    """
    image = np.frombuffer(raw, dtype=np.uint8) if isinstance(raw, bytes) else np.ascontiguousarray(raw)
    words = image.reshape(-1).view("<u8").reshape(-1, _WORDS)
    candidates = np.flatnonzero(words[:, 0] == _MAGIC_WORD)
    good = candidates[_checksum(words[candidates]) == words[candidates, 7]]
    cells = np.zeros(len(good), dtype=CELL_DTYPE)
    cells["at"] = good
    cells["block"] = good // (block_size // CELL_BYTES)
    cells["in_place"] = words[good, 6] == good % (block_size // CELL_BYTES)
    for column, name in enumerate(("tenant", "volume", "lba", "version", "nonce"), start=1):
        cells[name] = words[good, column]
    return cells


def scan(raw: bytes | Bytes, block_size: int) -> Iterator[Sighting]:
    """Find every tag in a raw image by sectors, also where an overwrite has left only some cells."""
    sectors: dict[tuple[int, Tag], list[bool]] = {}
    for at, _, in_place, *tag in find_cells(raw, block_size).tolist():
        sectors.setdefault((at // CELLS_PER_SECTOR, Tag(*tag)), []).append(in_place)
    per_block = block_size // SECTOR_BYTES
    for (sector, found), in_place_cells in sectors.items():
        whole = len(in_place_cells) == CELLS_PER_SECTOR and all(in_place_cells)
        yield Sighting(sector // per_block, sector % per_block, found, len(in_place_cells), whole)


def tagged_blocks(raw: bytes | Bytes, block_size: int) -> npt.NDArray[np.bool_]:
    """Tell for each block of a raw image whether any cell of it begins like a tag."""
    image = np.frombuffer(raw, dtype=np.uint8) if isinstance(raw, bytes) else np.ascontiguousarray(raw)
    words = image.reshape(-1).view("<u8").reshape(-1, block_size // 8)
    found: npt.NDArray[np.bool_] = (words[:, ::_WORDS] == _MAGIC_WORD).any(axis=1)
    return found


def count_magic(raw: bytes) -> tuple[int, int]:
    """Count the tags' beginnings in an image: at cell boundaries, and at any byte."""
    words = np.frombuffer(raw, dtype="<u8")
    return int((words[::_WORDS] == _MAGIC_WORD).sum()), raw.count(MAGIC)
