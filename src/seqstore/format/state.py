"""The state of a log at one of its records: volumes, layers and ledger.

A layer is a sheet that lies on its parent. Where it holds a block, that block shows; where it has a hole,
nothing does; elsewhere the parent shows. Volumes and snapshots look at the stack from above, each through
the layer that it names, its head. A block is live as long as somebody sees it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from seqstore.format.checkpoint import FLAG_LAYER_DROPPED, FLAG_VOLUME_SNAPSHOT, Checkpoint, VolumeRow
from seqstore.format.layout import (
    LAYER_MASK,
    LEAF_BLOCKS,
    STATE_SHIFT,
    VALUE_BITS,
    VALUE_MASK,
    Geometry,
)
from seqstore.format.ledger import BlockState, Ledger

Report = Callable[[int | None, str], None]


@dataclass(slots=True, eq=False)
class Layer:
    """One layer; `index` is its place in the words of the ledger."""

    index: int
    number: int
    tenant: int
    volume: int
    parent: Layer | None = None
    named: bool = False
    dropped: bool = False
    blocks: dict[int, int] = field(default_factory=dict)
    holes: dict[int, int] = field(default_factory=dict)
    children: list[Layer] = field(default_factory=list)

    def has_hole(self, lba: int) -> bool:
        """Say whether nothing shows at an address, whatever lies below."""
        return bool(self.holes.get(lba // LEAF_BLOCKS, 0) >> lba % LEAF_BLOCKS & 1)

    def dig(self, lba: int) -> None:
        """Make a hole."""
        self.holes[lba // LEAF_BLOCKS] = self.holes.get(lba // LEAF_BLOCKS, 0) | 1 << lba % LEAF_BLOCKS

    def fill(self, lba: int) -> None:
        """Close a hole, if there is one."""
        leaf = lba // LEAF_BLOCKS
        if leaf in self.holes:
            self.holes[leaf] &= ~(1 << lba % LEAF_BLOCKS)

    def find(self, lba: int) -> tuple[Layer, int] | None:
        """Look down at an address: the layer whose block shows, and where that block lies."""
        layer: Layer | None = self
        while layer is not None:
            mba = layer.blocks.get(lba)
            if mba is not None:
                return layer, mba
            if layer.has_hole(lba):
                return None
            layer = layer.parent
        return None

    def is_seen(self, lba: int) -> bool:
        """Say whether anybody sees what this layer itself holds at an address."""
        above = [self]
        while above:
            layer = above.pop()
            if layer.named:
                return True
            above.extend(
                child for child in layer.children if lba not in child.blocks and not child.has_hole(lba)
            )
        return False

    def addresses(self, start: int, end: int) -> list[int]:
        """List the addresses of a range at which the layer holds blocks."""
        if end - start < len(self.blocks):
            return [lba for lba in range(start, end) if lba in self.blocks]
        return sorted(lba for lba in self.blocks if start <= lba < end)

    def ancestors(self) -> Iterator[Layer]:
        """Yield the layers below, from the next one down."""
        layer = self.parent
        while layer is not None:
            yield layer
            layer = layer.parent


@dataclass(slots=True, kw_only=True)
class VolumeState:
    """A volume or snapshot."""

    number: int
    tenant: int
    size_bytes: int
    head: Layer
    origin: int
    flags: int

    @property
    def is_snapshot(self) -> bool:
        """Whether it is frozen."""
        return bool(self.flags & FLAG_VOLUME_SNAPSHOT)


@dataclass(slots=True)
class Head:
    """Where blocks of a class go: a segment, and how many blocks of it records take."""

    segment: int
    blocks: int


class State:
    """Volumes, layers and ledger, and the few steps that change them together.

    Parameters
    ----------
    geometry : Geometry
        Sizes of the drive.
    report : callable
        Takes address (or None) and text of whatever contradicts itself.
    """

    def __init__(self, geometry: Geometry, report: Report) -> None:
        self.geometry = geometry
        self.report = report
        self.ledger = Ledger(geometry)
        self.volumes: dict[int, VolumeState] = {}
        self.layers = [Layer(0, 0, 0, 0)]
        self.by_number: dict[int, Layer] = {}
        self.heads: dict[int, VolumeState] = {}
        self.last_number = 0
        self.position = 0
        self.opening = 0
        self.write_heads = {0: Head(0, 0)}
        self.free = deque(range(1, geometry.segment_count))
        self.sealed: deque[int] = deque()

    def blocks_of(self, size_bytes: int) -> int:
        """Count the blocks of a volume, the last one whole."""
        return -(-size_bytes // self.geometry.block_size)

    def add_layer(self, number: int, tenant: int, volume: int, parent: Layer | None) -> Layer:
        """Put a new layer onto its parent."""
        layer = Layer(len(self.layers), number, tenant, volume, parent)
        self.layers.append(layer)
        self.by_number[number] = layer
        if parent is not None:
            parent.children.append(layer)
        self.last_number = max(self.last_number, number)
        return layer

    def add_volume(self, volume: VolumeState) -> None:
        """Let a new volume or snapshot look through its head."""
        self.volumes[volume.number] = volume
        self.last_number = max(self.last_number, volume.number)
        self.look_through(volume, volume.head)

    def look_through(self, volume: VolumeState, head: Layer) -> None:
        """Make a layer the head of a volume that has let go of its old one."""
        volume.head = head
        head.named = True
        self.heads[head.number] = volume

    def remove_volume(self, volume: VolumeState, position: int) -> None:
        """Forget a volume or snapshot; what only it saw dies."""
        del self.volumes[volume.number]
        self.let_go(volume.head, position)

    def let_go(self, head: Layer, position: int) -> None:
        """Take away the name from a layer; what nobody sees any more dies, here and below."""
        head.named = False
        self.heads.pop(head.number, None)
        layer: Layer | None = head
        while layer is not None and not layer.named:
            for lba in [lba for lba in layer.blocks if not layer.is_seen(lba)]:
                self.kill(layer, lba, position)
            parent = layer.parent
            if not layer.children:
                layer.dropped = True
                layer.holes.clear()
                if parent is not None:
                    parent.children.remove(layer)
            layer = parent

    def kill(self, layer: Layer, lba: int, position: int, state: BlockState = BlockState.DEAD) -> None:
        """Take a block out of its layer; its bytes stay."""
        self.ledger.put(layer.blocks.pop(lba), state, layer.index, position)

    def kill_unseen(self, below: tuple[Layer, int] | None, lba: int, position: int) -> None:
        """Kill what showed from below until just now, unless somebody else sees it."""
        if below is not None and not below[0].is_seen(lba):
            self.kill(below[0], lba, position)

    def write(self, layer: Layer, lba: int, mba: int, checksum: int, position: int) -> None:
        """Let a layer hold the block at `mba` from now on."""
        if lba in layer.blocks:
            self.kill(layer, lba, position)
            below = None
        else:
            below = layer.find(lba)
        layer.fill(lba)
        layer.blocks[lba] = mba
        self.ledger.put(mba, BlockState.LIVE, layer.index, lba, checksum=checksum)
        self.kill_unseen(below, lba, position)

    def move(self, layer: Layer, lba: int, mba: int, checksum: int, position: int) -> None:
        """Let the copy at `mba` take the place of a block; the old copy stays behind."""
        self.kill(layer, lba, position, BlockState.MOVED)
        layer.blocks[lba] = mba
        self.ledger.put(mba, BlockState.LIVE, layer.index, lba, checksum=checksum)

    def trim(self, layer: Layer, start: int, end: int, position: int) -> None:
        """Let nothing show at a range of addresses."""
        for lba in layer.addresses(start, end):
            self.kill(layer, lba, position)
        below = {lba for ancestor in layer.ancestors() for lba in ancestor.addresses(start, end)}
        for lba in below:
            shown = layer.find(lba)
            if shown is not None:
                layer.dig(lba)
                self.kill_unseen(shown, lba, position)

    def open_next(self, class_id: int, segment: int, mba: int) -> Head:
        """Seal the segment of a head and go on in another one, which ought to be the next free one."""
        left = self.write_heads.get(class_id)
        if left is not None:
            if left.blocks != self.geometry.segment_blocks:
                self.report(mba, f"segment {left.segment} was left with {left.blocks} blocks written")
            self.sealed.append(left.segment)
        if self.free and self.free[0] == segment:
            self.free.popleft()
        else:
            self.report(mba, f"the log went on in segment {segment}; {[*self.free][:1]} is the next free one")
            if segment in self.free:
                self.free.remove(segment)
            self.retire(segment, self.position)
            self.free.remove(segment)
        self.write_heads[class_id] = head = Head(segment, 0)
        return head

    def is_empty(self, segment: int) -> bool:
        """Say whether nothing in a segment is live."""
        size = self.geometry.segment_blocks
        mbas = range(segment * size, (segment + 1) * size)
        return all(self.ledger.state(mba) is not BlockState.LIVE for mba in mbas)

    def retire(self, segment: int, position: int) -> None:
        """Free a segment: give up what the log itself still has there."""
        size = self.geometry.segment_blocks
        for mba in range(segment * size, (segment + 1) * size):
            if self.ledger.state(mba) is BlockState.SUMMARY:
                self.ledger.put(mba, BlockState.DEAD, 0, position)
        if segment in self.sealed:
            self.sealed.remove(segment)
        self.free.append(segment)

    def claim(self, mba: int, state: BlockState, layer: int = 0, value: int = 0) -> None:
        """Note that the log has written over a block; what it held is gone."""
        old, owner, lba = self.ledger.get(mba)
        if old is BlockState.LIVE:
            self.report(
                mba, f"the log wrote over a live block of layer {self.layers[owner].number}, lba {lba}"
            )
            self.layers[owner].blocks.pop(lba, None)
        self.ledger.put(mba, state, layer, value)


def state_of(checkpoint: Checkpoint, geometry: Geometry, report: Report) -> State:
    """Make the state that a checkpoint describes.

    Raises
    ------
    FormatError
        If the checkpoint's tables break a rule.
    """
    state = State(geometry, report)
    for row in checkpoint.layers[1:]:
        # Rows come in the order of their numbers, and a parent's number is lower.
        parent = None if row.flags & FLAG_LAYER_DROPPED else state.by_number.get(row.parent)
        layer = state.add_layer(row.number, row.tenant, row.volume, parent)
        layer.dropped = bool(row.flags & FLAG_LAYER_DROPPED)
    for number, leaf, bits in checkpoint.holes:
        state.by_number[number].holes[leaf] = bits
    for volume in checkpoint.volumes:
        state.add_volume(_volume_of(volume, state))
    for table in checkpoint.tables():
        state.ledger.put_segment(table.segment, table.words)
        first = table.segment * geometry.segment_blocks
        for mba, (word, _) in enumerate(table.words, first):
            if word >> STATE_SHIFT == BlockState.LIVE:
                layer, lba = state.layers[word >> VALUE_BITS & LAYER_MASK], word & VALUE_MASK
                if layer.dropped:
                    report(mba, f"a live block of layer {layer.number}, which was dropped")
                if layer.blocks.setdefault(lba, mba) != mba:
                    report(mba, f"layer {layer.number}, lba {lba} lies at block {layer.blocks[lba]} as well")
    state.last_number, state.position = checkpoint.last_number, checkpoint.position
    state.opening = checkpoint.opening
    state.write_heads = {head.class_id: Head(head.segment, head.open_blocks) for head in checkpoint.heads}
    state.free = deque(segment for first, count in checkpoint.free for segment in range(first, first + count))
    state.sealed = deque(
        segment for first, count in checkpoint.sealed for segment in range(first, first + count)
    )
    return state


def _volume_of(row: VolumeRow, state: State) -> VolumeState:
    return VolumeState(
        number=row.number,
        tenant=row.tenant,
        size_bytes=row.size_bytes,
        head=state.by_number[row.layer],
        origin=row.origin,
        flags=row.flags,
    )
