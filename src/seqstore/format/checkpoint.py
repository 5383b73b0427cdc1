"""Checkpoints: the state of the log before one of its records, as a stream of bytes cut into pages.

Every count is compared with the length of the stream before anything is allocated for it, and every
number with what the drive can hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from seqstore.errors import FormatError, VersionError
from seqstore.format.layout import (
    CHECKPOINT_HEADER,
    CHECKPOINT_MAGIC,
    FORMAT_VERSION,
    HOLE_LEAF,
    LAYER,
    LAYER_MASK,
    LEAF_BLOCKS,
    MAX_CLASSES,
    MAX_LAYERS,
    MAX_LBA,
    MAX_NUMBER,
    OPEN_HEAD,
    RUN,
    STATE_SHIFT,
    TABLE_HEAD,
    TABLE_WORD,
    VALUE_BITS,
    VALUE_MASK,
    VOLUME,
    Geometry,
)
from seqstore.format.ledger import BlockState

FLAG_VOLUME_ERROR = 1  # reads of unwritten addresses fail
FLAG_VOLUME_SNAPSHOT = 2
FLAG_LAYER_DROPPED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRow:
    """A volume or snapshot as a checkpoint has it; fields as in the specification."""

    number: int
    tenant: int
    size_bytes: int
    layer: int
    origin: int
    flags: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRow:
    """A layer as a checkpoint has it; fields as in the specification."""

    number: int
    tenant: int
    volume: int
    parent: int
    flags: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRow:
    """A head: its class, the segment that it is in, and blocks of that segment that records take."""

    class_id: int
    segment: int
    open_blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What a checkpoint says of the blocks of one segment: a word and a checksum for each."""

    segment: int
    words: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint, checked by itself and against the sizes of its drive.

    Attributes
    ----------
    drive, sequence, position, last_number, stream_bytes, opening : int
        As in the specification.
    heads : tuple of HeadRow
        All heads; the first one, of class 0, is the one that the checkpoint's own records follow.
    volumes : tuple of VolumeRow
        Volumes and snapshots.
    layers : tuple of LayerRow
        Layers; the first one is the log itself.
    holes : tuple of (int, int, int)
        Layer, leaf, and the bits of the holes in it, from bit 0 up.
    free, sealed : tuple of (int, int)
        Runs of segments, first and count: free ones as the head takes them, sealed ones as they were sealed.
    """

    drive: int
    sequence: int
    position: int
    last_number: int
    stream_bytes: int
    opening: int
    heads: tuple[HeadRow, ...]
    volumes: tuple[VolumeRow, ...]
    layers: tuple[LayerRow, ...]
    holes: tuple[tuple[int, int, int], ...]
    free: tuple[tuple[int, int], ...]
    sealed: tuple[tuple[int, int], ...]
    _tables: bytes = field(repr=False)
    _geometry: Geometry = field(repr=False)

    def tables(self) -> Iterator[Table]:
        """Yield what is known of each segment that is not all free, one after the other.

        Raises
        ------
        FormatError
            If a word is none of the specification.
        """
        size = TABLE_HEAD.size + self._geometry.segment_blocks * TABLE_WORD.size
        after = 0
        free = {segment for first, count in self.free for segment in range(first, first + count)}
        for at in range(0, len(self._tables), size):
            segment = TABLE_HEAD.read(self._tables, at)["segment"]
            _require(segment < self._geometry.segment_count, f"a table of segment {segment}")
            _require(after <= segment, f"a table of segment {segment} behind one of segment {after - 1}")
            after = segment + 1
            words = tuple(TABLE_WORD.struct.iter_unpack(self._tables[at + TABLE_HEAD.size : at + size]))
            for word, checksum in words:
                _check_word(word, checksum, len(self.layers), in_free=segment in free)
            yield Table(segment=segment, words=words)


def parse_checkpoint(stream: bytes, geometry: Geometry) -> Checkpoint:
    """Take the stream of a checkpoint apart and check it.

    Parameters
    ----------
    stream : bytes
        Its pages, one behind the other; the last one with its padding.
    geometry : Geometry
        Sizes of the drive.

    Returns
    -------
    Checkpoint

    Raises
    ------
    FormatError
        If it is no checkpoint, or breaks a rule of the specification.
    VersionError
        If it is one of another version of the format.
    """
    header_size = CHECKPOINT_HEADER.size
    _require(len(stream) >= header_size, f"{len(stream)} bytes; the header alone has {header_size}")
    _require(stream.startswith(CHECKPOINT_MAGIC), f"it begins with {stream[:8].hex()}")
    version = int.from_bytes(stream[8:12], "little")
    if version != FORMAT_VERSION:
        raise VersionError(
            f"the checkpoint is of version {version}; this reader knows version {FORMAT_VERSION}. "
            "Use the seqstore that wrote it, or a newer one",
            found=version,
            expected=FORMAT_VERSION,
        )
    head = CHECKPOINT_HEADER.read(stream)
    sections = _cut(stream, head, geometry)
    follows = HeadRow(class_id=0, segment=head["open_segment"], open_blocks=head["open_blocks"])
    checkpoint = Checkpoint(
        heads=(follows, *(_read_head(row) for row in sections["heads"])),
        volumes=tuple(VolumeRow(**VOLUME.read(row)) for row in sections["volumes"]),
        layers=tuple(LayerRow(**LAYER.read(row)) for row in sections["layers"]),
        holes=tuple(_read_hole_leaf(row) for row in sections["hole_leaves"]),
        free=tuple(_read_run(row) for row in sections["free_runs"]),
        sealed=tuple(_read_run(row) for row in sections["sealed_runs"]),
        _tables=b"".join(sections["tables"]),
        _geometry=geometry,
        **{name: head[name] for name in _KEPT},
    )
    _check_layers(checkpoint)
    _check_volumes(checkpoint, geometry)
    _check_segments(checkpoint, geometry)
    return checkpoint


_KEPT = (
    "drive",
    "sequence",
    "position",
    "last_number",
    "stream_bytes",
    "opening",
)


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise FormatError(f"checkpoint: {fault}")


def _cut(stream: bytes, head: Mapping[str, int], geometry: Geometry) -> dict[str, list[bytes]]:
    """Cut the stream into the rows of its sections, once their counts are known to fit."""
    sizes = {
        "volumes": VOLUME.size,
        "layers": LAYER.size,
        "hole_leaves": HOLE_LEAF.size,
        "heads": OPEN_HEAD.size,
        "free_runs": RUN.size,
        "sealed_runs": RUN.size,
        "tables": TABLE_HEAD.size + geometry.segment_blocks * TABLE_WORD.size,
    }
    needed = CHECKPOINT_HEADER.size + sum(head[name] * size for name, size in sizes.items())
    said = head["stream_bytes"]
    _require(needed == said, f"its parts take {needed} bytes, the header says {said}")
    pages = -(-said // geometry.block_size)
    _require(
        pages * geometry.block_size == len(stream),
        f"{said} bytes take {pages} pages, {len(stream) // geometry.block_size} were found",
    )
    _require(not any(stream[said:]), "its last page is not padded with zeros")
    sections, at = {}, CHECKPOINT_HEADER.size
    for name, size in sizes.items():
        end = at + head[name] * size
        sections[name] = [stream[start : start + size] for start in range(at, end, size)]
        at = end
    return sections


def _read_hole_leaf(row: bytes) -> tuple[int, int, int]:
    layer, leaf, bitmap = HOLE_LEAF.struct.unpack(row)
    _require(leaf <= MAX_LBA // LEAF_BLOCKS, f"holes in leaf {leaf}, beyond any volume")
    return layer, leaf, int.from_bytes(bitmap, "little")


def _read_head(row: bytes) -> HeadRow:
    head = OPEN_HEAD.read(row)
    return HeadRow(class_id=head["class"], segment=head["segment"], open_blocks=head["open_blocks"])


def _read_run(row: bytes) -> tuple[int, int]:
    first, count = RUN.struct.unpack(row)
    return first, count


def _check_layers(checkpoint: Checkpoint) -> None:
    layers = checkpoint.layers
    _require(0 < len(layers) <= MAX_LAYERS, f"{len(layers)} layers")
    log = layers[0]
    _require(
        not (log.number or log.tenant or log.volume or log.parent or log.flags), "its first layer is used"
    )
    numbers = {layer.number for layer in layers if not layer.flags}
    last = 0
    for layer in layers[1:]:
        what = f"layer {layer.number}"
        _require(last < layer.number <= MAX_NUMBER, f"{what} behind layer {last}")
        last = layer.number
        _require(layer.flags <= FLAG_LAYER_DROPPED, f"{what} has flags {layer.flags}")
        _require(1 <= layer.tenant <= MAX_NUMBER, f"{what} is of tenant {layer.tenant}")
        _require(1 <= layer.volume <= MAX_NUMBER, f"{what} is of volume {layer.volume}")
        known = layer.parent == 0 or (layer.parent in numbers and not layer.flags)
        _require(layer.parent < layer.number and known, f"{what} lies on layer {layer.parent}")
    _require(
        last <= checkpoint.last_number <= MAX_NUMBER, f"last number {checkpoint.last_number}, layer {last}"
    )
    for number, leaf, bits in checkpoint.holes:
        _require(number in numbers and number > 0, f"holes in layer {number}, which is not there")
        _require(bits != 0, f"a leaf {leaf} of layer {number} without a hole")
    leaves = {(number, leaf) for number, leaf, _ in checkpoint.holes}
    _require(len(leaves) == len(checkpoint.holes), "the holes of a leaf are there twice")


def _check_volumes(checkpoint: Checkpoint, geometry: Geometry) -> None:
    layers = {layer.number for layer in checkpoint.layers if not layer.flags}
    numbers: set[int] = set()
    heads: set[int] = set()
    for volume in checkpoint.volumes:
        number, layer = volume.number, volume.layer
        _require(1 <= number <= checkpoint.last_number, f"a volume of number {number}")
        _require(number not in numbers, f"volume {number} is there twice")
        _require(1 <= volume.tenant <= MAX_NUMBER, f"volume {number} is of tenant {volume.tenant}")
        most = (MAX_LBA + 1) * geometry.block_size
        _require(1 <= volume.size_bytes <= most, f"volume {number} has {volume.size_bytes} bytes")
        _require(
            volume.flags <= FLAG_VOLUME_ERROR + FLAG_VOLUME_SNAPSHOT,
            f"volume {number} has flags {volume.flags}",
        )
        _require(layer > 0 and layer in layers, f"volume {number} names layer {layer}, which is not there")
        _require(layer not in heads, f"layer {layer} is named by volume {number} and another one")
        _require(volume.origin <= MAX_NUMBER, f"volume {number} comes from {volume.origin}")
        numbers.add(number)
        heads.add(layer)


def _check_segments(checkpoint: Checkpoint, geometry: Geometry) -> None:
    """Check that each segment is free, sealed or open, and no segment two of that."""
    count, heads = geometry.segment_count, checkpoint.heads
    for head in heads:
        blocks = head.open_blocks
        _require(head.class_id < MAX_CLASSES, f"a head of class {head.class_id}")
        _require(head.segment < count, f"segment {head.segment} is open")
        _require(blocks <= geometry.segment_blocks, f"{blocks} blocks of the open segment are written")
    _require(len({head.class_id for head in heads}) == len(heads), "two heads are of one class")
    seen = {head.segment for head in heads}
    _require(len(seen) == len(heads), "a segment is open twice")
    for first, length in (*checkpoint.free, *checkpoint.sealed):
        _require(1 <= length <= count - first, f"a run of {length} segments from {first} on")
        _require(len(seen) + length <= count, "its runs are longer than the drive")
        seen.update(range(first, first + length))
    total = len(heads) + sum(length for _, length in (*checkpoint.free, *checkpoint.sealed))
    _require(len(seen) == total, "a segment is in two runs")
    _require(total == count, f"it knows {total} of the drive's {count} segments")


def _check_word(word: int, checksum: int, layer_count: int, *, in_free: bool) -> None:
    state, layer = word >> STATE_SHIFT, word >> VALUE_BITS & LAYER_MASK
    _require(state <= max(BlockState), f"a block in state {state}")
    _require(layer < layer_count, f"a block of layer index {layer}; there are {layer_count} layers")
    _require(state == BlockState.LIVE or checksum == 0, "a checksum of a block that is not live")
    in_use = state in {BlockState.LIVE, BlockState.SUMMARY}
    _require(not (in_free and in_use), "a block in use in a free segment")
    if state == BlockState.LIVE:
        _require(layer > 0, "a live block of the log itself")
    elif state == BlockState.FREE:
        _require(word == 0, "a free block that belongs to somebody")
    elif state == BlockState.SUMMARY:
        _require(layer == 0 and word & VALUE_MASK == 0, "a summary that belongs to somebody")
