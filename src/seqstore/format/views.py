"""What `image.DriveImage` hands out: single facts as frozen values, and a volume to read from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqstore.format.checkpoint import FLAG_VOLUME_ERROR
from seqstore.format.ledger import BlockState
from seqstore.format.state import VolumeState
from seqstore.format.summary import Summary

if TYPE_CHECKING:
    from seqstore.format.image import DriveImage


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Something on the drive that is not what should be there.

    Attributes
    ----------
    mba : int or None
        Block that it is about; None if it is the drive as a whole.
    what : str
        What was found and what was expected.
    """

    mba: int | None
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockInfo:
    """What one media block is. `lba` of live blocks, `died` (a position) of dead ones; None otherwise."""

    mba: int
    state: BlockState
    layer: int
    volume: int
    tenant: int
    lba: int | None
    died: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordInfo:
    """A record that lies on the drive.

    Attributes
    ----------
    summary : Summary
        Its head.
    status : str
        ``"valid"``: part of the log. ``"stale"``: of an earlier lap, in a place that is free again.
        ``"torn"``: ends the log, since its data are not what it says. ``"discarded"``: behind the end.
        ``"unknown"``: there is no checkpoint to tell.
    rolled_forward : bool
        Whether recovery applies it.
    """

    summary: Summary
    status: str
    rolled_forward: bool


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of a volume's blocks that lies in one piece."""

    lba: int
    count: int
    mba: int


class VolumeImage:
    """A volume or snapshot, readable.

    Attributes
    ----------
    number, tenant, size_bytes, origin, layer : int
        As in the specification; `layer` is the head.
    snapshot, unwritten_error : bool
        What its flags say.
    """

    def __init__(self, image: DriveImage, volume: VolumeState) -> None:
        self._image = image
        self._head = volume.head
        self.number = volume.number
        self.tenant = volume.tenant
        self.size_bytes = volume.size_bytes
        self.origin = volume.origin
        self.layer = volume.head.number
        self.snapshot = volume.is_snapshot
        self.unwritten_error = bool(volume.flags & FLAG_VOLUME_ERROR)

    def __repr__(self) -> str:
        return f"<VolumeImage {self.number} of tenant {self.tenant}>"

    @property
    def blocks(self) -> int:
        """Size in blocks, the last one counted whole."""
        return -(-self.size_bytes // self._image.geometry.block_size)

    def lookup(self, lba: int) -> int | None:
        """Return where a block lies on the drive; None if nothing shows there."""
        shown = self._head.find(lba) if 0 <= lba < self.blocks else None
        return None if shown is None else shown[1]

    def read(self, lba: int) -> bytes:
        """Return one block, checked; zeros if nothing shows there.

        Raises
        ------
        CorruptionError
            If the block on the drive is not the one that was written, or cannot be read.
        """
        shown = self._head.find(lba) if 0 <= lba < self.blocks else None
        if shown is None:
            return bytes(self._image.geometry.block_size)
        return self._image.read_live(shown[0], lba, shown[1], volume=self.number)

    def mapped(self) -> dict[int, int]:
        """Return where each block that shows lies: lba to media block address, by rising lba."""
        addresses: set[int] = set(self._head.blocks)
        for layer in self._head.ancestors():
            addresses.update(layer.blocks)
        found = ((lba, self.lookup(lba)) for lba in sorted(addresses))
        return {lba: mba for lba, mba in found if mba is not None}

    def extents(self) -> tuple[Extent, ...]:
        """Return the runs of blocks that show."""
        runs: list[Extent] = []
        for lba, mba in self.mapped().items():
            last = runs[-1] if runs else None
            if last is not None and (lba - last.lba, mba - last.mba) == (last.count, last.count):
                runs[-1] = Extent(last.lba, last.count + 1, last.mba)
            else:
                runs.append(Extent(lba, 1, mba))
        return tuple(runs)
