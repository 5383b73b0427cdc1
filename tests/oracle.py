"""What a store must show, in plain Python: a dict of blocks for each volume, and nothing else.

The oracle knows no log, no cleaner and no medium. Besides the current content it remembers every
content that a volume's blocks ever had, so that what lies dead on a medium can be traced to its owner.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class OracleVolume:
    """One volume: the blocks that are written, by lba; a missing one is unwritten."""

    name: str
    number: int
    tenant: int
    size: int
    unwritten: str
    block_size: int
    blocks: dict[int, bytes] = field(default_factory=dict)
    past: set[bytes] = field(default_factory=set)
    rewritten: set[int] = field(default_factory=set)  # lbas written since the last look at the medium

    def pieces(self, offset: int, length: int) -> Iterable[tuple[int, int, int]]:
        """Cut a byte range at block boundaries: (lba, first byte in the block, end in the block)."""
        position, end = offset, offset + length
        while position < end:
            lba, first = divmod(position, self.block_size)
            last = min(self.block_size, first + end - position)
            yield lba, first, last
            position += last - first

    def new_blocks(self, lbas: Iterable[int]) -> int:
        """How many of these lbas are unwritten now; one that comes twice counts once."""
        return len(set(lbas) - self.blocks.keys())

    def touched(self, offset: int, length: int) -> list[int]:
        """List the lbas that a byte range touches."""
        return [lba for lba, _, _ in self.pieces(offset, length)]

    def put(self, lba: int, content: bytes) -> None:
        """Make this the content of a block."""
        assert len(content) == self.block_size
        self.blocks[lba] = content
        self.past.add(content)
        self.rewritten.add(lba)

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes; what a block holds besides them stays, zeros if it was unwritten."""
        taken = 0
        for lba, first, last in self.pieces(offset, len(data)):
            old = self.blocks.get(lba, bytes(self.block_size))
            self.put(lba, old[:first] + data[taken : taken + last - first] + old[last:])
            taken += last - first

    def write_blocks(self, lbas: Sequence[int], rows: Sequence[bytes]) -> None:
        """Write whole blocks in their order."""
        for lba, row in zip(lbas, rows, strict=True):
            self.put(lba, row)

    def content(self, lba: int) -> bytes:
        """The block's bytes, zeros if it is unwritten."""
        return self.blocks.get(lba, bytes(self.block_size))

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes, zeros where the volume is unwritten."""
        return b"".join(self.content(lba)[first:last] for lba, first, last in self.pieces(offset, length))

    def first_unwritten(self, lbas: Sequence[int]) -> tuple[int, int] | None:
        """Return the first run of unwritten lbas, as lba and count, if the volume minds."""
        missing = [index for index, lba in enumerate(lbas) if lba not in self.blocks]
        if self.unwritten == "zero" or not missing:
            return None
        index, count = missing[0], 1
        while index + count in missing and lbas[index + count] == lbas[index] + count:
            count += 1
        return lbas[index], count

    def trim(self, offset: int, length: int) -> None:
        """Forget whole blocks; zero the bytes of those that are only partly inside."""
        end_of_volume = -(-self.size // self.block_size) * self.block_size
        if offset + length == self.size:
            length = end_of_volume - offset  # nothing of the last block lies outside the range
        for lba, first, last in self.pieces(offset, length):
            if lba not in self.blocks:
                continue
            if last - first == self.block_size:
                del self.blocks[lba]
            else:
                old = self.blocks[lba]
                self.put(lba, old[:first] + bytes(last - first) + old[last:])

    def resize(self, size: int) -> None:
        """Change the size; what lies beyond is forgotten, the rest of a block that is cut is zeroed."""
        if size < self.size:
            self.trim(size, self.size - size)
        self.size = size


@dataclass(slots=True)
class Oracle:
    """All volumes, living and deleted, and the rule of space."""

    block_size: int
    usable_blocks: int
    volumes: dict[int, OracleVolume] = field(default_factory=dict)
    ended: dict[int, OracleVolume] = field(default_factory=dict)

    @property
    def live_blocks(self) -> int:
        """Blocks that some volume holds."""
        return sum(len(volume.blocks) for volume in self.volumes.values())

    def fits(self, volume: OracleVolume, lbas: Iterable[int]) -> bool:
        """Whether a write of these lbas can be placed."""
        return self.live_blocks + volume.new_blocks(lbas) <= self.usable_blocks

    def create(self, volume: OracleVolume) -> None:
        """Take up a new volume."""
        assert volume.number not in self.volumes
        assert volume.number not in self.ended
        self.volumes[volume.number] = volume

    def delete(self, number: int) -> None:
        """Forget a volume's blocks; its past stays known."""
        volume = self.volumes.pop(number)
        volume.blocks.clear()
        self.ended[number] = volume

    def looked(self) -> None:
        """Start anew to note which blocks are written: the medium has been looked at."""
        for volume in self.volumes.values():
            volume.rewritten.clear()

    def mapping(self) -> dict[tuple[int, int, int], bytes]:
        """All live blocks: (tenant, volume, lba) to content."""
        return {
            (volume.tenant, volume.number, lba): content
            for volume in self.volumes.values()
            for lba, content in volume.blocks.items()
        }

    def by_number(self, number: int) -> OracleVolume:
        """Any volume that ever was."""
        return self.volumes.get(number) or self.ended[number]
