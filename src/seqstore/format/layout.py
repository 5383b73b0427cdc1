"""Where the fields of each structure lie, and the limits that follow from their widths.

The one place of the package that knows offsets. ``docs/reference/on-media-format.md`` is the specification;
a test compares its tables with the layouts here.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from seqstore.errors import FormatError

FORMAT_VERSION = 1
SEALED_VERSION = 2  # of drives whose blocks are encrypted

RECORD_MAGIC = b"SEQSREC1"
CHECKPOINT_MAGIC = b"SEQSCKP1"

MIN_BLOCK_SHIFT = 9
MAX_BLOCK_SHIFT = 16
MIN_BLOCK_SIZE = 1 << MIN_BLOCK_SHIFT
MIN_SEGMENT_BLOCKS = 4
# The highest values of 32 bits mean "no block" in maps.
MAX_BLOCK_COUNT = 2**32 - 16
MAX_NUMBER = 2**32 - 1
MAX_CLASSES = 64
# Far from where numbers wrap; those of seals have 48 bits.
MAX_SEQUENCE = {FORMAT_VERSION: 2**62, SEALED_VERSION: 2**48 - 2**40}

LEAF_BLOCKS = 512

# The word of a block in a checkpoint's table: state, index of a layer, value.
VALUE_BITS = 38
LAYER_BITS = 23
STATE_SHIFT = VALUE_BITS + LAYER_BITS
VALUE_MASK = (1 << VALUE_BITS) - 1
LAYER_MASK = (1 << LAYER_BITS) - 1
MAX_LAYERS = 1 << LAYER_BITS
MAX_LBA = VALUE_MASK


class Layout:
    """Fields of a structure in their order, little-endian and without gaps.

    Parameters
    ----------
    what : str
        Name of the structure, for messages.
    **fields : str
        Code of `struct` for each field. Fields whose names begin with ``reserved`` are runs of bytes
        that must be zero; the others are unsigned integers.
    """

    def __init__(self, what: str, **fields: str) -> None:
        self.what = what
        self.offsets: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        at = 0
        for name, code in fields.items():
            self.offsets[name] = at
            self.sizes[name] = struct.calcsize("<" + code)
            at += self.sizes[name]
        self.size = at
        self.struct = struct.Struct("<" + "".join(fields.values()))
        self._names = tuple(name for name in fields if not name.startswith("reserved"))
        self._reserved = tuple(
            (start, start + self.sizes[name])
            for name, start in self.offsets.items()
            if name.startswith("reserved")
        )

    def read(self, data: bytes, at: int = 0) -> Mapping[str, int]:
        """Take the structure apart.

        Parameters
        ----------
        data : bytes
            What holds the structure, all of it.
        at : int
            Where it begins.

        Returns
        -------
        mapping of str to int
            Value of each field that is not reserved.

        Raises
        ------
        FormatError
            If a reserved byte is not zero.
        """
        for start, end in self._reserved:
            if any(data[at + start : at + end]):
                raise FormatError(
                    f"{self.what}: the reserved bytes {start} to {end - 1} are "
                    f"{data[at + start : at + end].hex()}; zeros are expected"
                )
        return dict(zip(self._names, self.struct.unpack_from(data, at), strict=True))


HEAD = Layout(
    "summary",
    magic="Q",
    version="H",
    block_shift="B",
    reserved_11="1x",
    checksum="I",
    drive="Q",
    sequence="Q",
    mba="I",
    previous="I",
    entries="H",
    blocks="H",
    open="H",
    **{"class": "H"},
    position="Q",
    flushed="Q",
    checkpoint="Q",
    checkpoint_mba="I",
    segment_blocks="I",
    block_count="I",
    window="I",
    reserved_88="8x",
)
ENTRY = Layout("entry", lba="Q", volume="Q", value="I", kind="B", flags="B", reserved_22="2x")
# In version 2 it follows each entry; offsets count from its own beginning.
SEAL = Layout("seal", tag="16s", opening="Q", number="Q", key="I", leaf="I")
SEALED_ENTRY_BYTES = ENTRY.size + SEAL.size

CHECKPOINT_HEADER = Layout(
    "checkpoint",
    magic="Q",
    version="I",
    heads="I",
    drive="Q",
    sequence="Q",
    position="Q",
    last_number="Q",
    volumes="I",
    layers="I",
    hole_leaves="I",
    free_runs="I",
    sealed_runs="I",
    tables="I",
    open_segment="I",
    open_blocks="I",
    stream_bytes="Q",
    opening="Q",
)
VOLUME = Layout(
    "volume", number="Q", tenant="Q", size_bytes="Q", layer="Q", origin="Q", flags="I", reserved_44="4x"
)
LAYER = Layout("layer", number="Q", tenant="Q", volume="Q", parent="Q", flags="I", reserved_36="4x")
HOLE_LEAF = Layout("hole leaf", layer="Q", leaf="Q", bitmap="64s")
OPEN_HEAD = Layout("head", **{"class": "I"}, segment="I", open_blocks="I", reserved_12="4x")
RUN = Layout("run", first="I", count="I")
TABLE_HEAD = Layout("table", segment="I", reserved_4="4x")
TABLE_WORD = Layout("table word", entry="Q", checksum="I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Sizes of a drive.

    Attributes
    ----------
    block_size : int
        Bytes of a block.
    segment_blocks : int
        Blocks of a segment.
    block_count : int
        Blocks of the drive.
    """

    block_size: int
    segment_blocks: int
    block_count: int

    def __post_init__(self) -> None:
        size = self.block_size
        if size & (size - 1) or not MIN_BLOCK_SIZE <= size <= 1 << MAX_BLOCK_SHIFT:
            raise FormatError(f"a block of {size} bytes; a power of two from 512 to 65536 is expected")
        if not MIN_SEGMENT_BLOCKS <= self.segment_blocks <= self.block_count:
            raise FormatError(
                f"segments of {self.segment_blocks} blocks on a drive of {self.block_count}; at least "
                f"{MIN_SEGMENT_BLOCKS} and at most the drive's are expected"
            )
        if self.block_count % self.segment_blocks or self.block_count >= MAX_BLOCK_COUNT:
            raise FormatError(
                f"a drive of {self.block_count} blocks; a multiple of its segments' {self.segment_blocks} "
                f"below 2**32 - 16 is expected"
            )

    @property
    def segment_count(self) -> int:
        """Segments of the drive."""
        return self.block_count // self.segment_blocks

    @property
    def capacity(self) -> int:
        """Bytes of the drive."""
        return self.block_count * self.block_size

    @property
    def max_entries(self) -> int:
        """Entries that a summary has room for where blocks are not encrypted."""
        return (self.block_size - HEAD.size) // ENTRY.size

    @property
    def max_sealed_entries(self) -> int:
        """Entries that a summary has room for where they are."""
        return (self.block_size - HEAD.size) // SEALED_ENTRY_BYTES
