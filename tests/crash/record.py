"""Runs operations and keeps, for each write that they make, what the drive was at that moment.

A `Moment` stands between one write and whatever comes next: the power could have gone there. It knows what
the last sync covers, the writes since then, and which worlds a store that comes back may show: none older
than the last completed flush, none newer than the operation under way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from seqstore import OutOfSpaceError
from seqstore.media.faults import KEPT, FaultyDrive, UnsyncedWrite
from seqstore.media.faults.plate import MemoryPlate
from tests.crash.ops import BLOCK, Flush, Op, steps
from tests.crash.script import Shape
from tests.crash.subject import Subject
from tests.crash.world import World

OPENING = -1
"""Stands for the operation under way while a store is made or opened."""


@dataclass(frozen=True, slots=True)
class Moment:
    """After a write, before anything else."""

    index: int
    safe: bytes  # the whole drive, as the last sync left it
    unsynced: tuple[UnsyncedWrite, ...]
    lowest: int  # the oldest world that may be shown
    op: int  # the operation under way

    def image(self, fates: Sequence[int]) -> bytes:
        """Return what lies on the drive if the power goes now and the unsynced writes have these fates."""
        image = bytearray(self.safe)
        for write, fate in zip(self.unsynced, fates, strict=True):
            if fate:
                start = write.mba * BLOCK
                place = slice(start, start + len(write.data))
                image[place] = write.data if fate == KEPT else write.mix(bytes(image[place]), fate)
        return bytes(image)


class RecordingDrive(FaultyDrive):
    """A drive without faults that notes a moment after each write."""

    def __init__(self, shape: Shape, image: bytes | None = None) -> None:
        first = bytes(shape.blocks * BLOCK) if image is None else image
        zone_size, plate = shape.segment_blocks * BLOCK, MemoryPlate(first, BLOCK)
        super().__init__(shape.blocks * BLOCK, block_size=BLOCK, zone_size=zone_size, plate=plate)
        self.safe = first
        self.lowest = 0
        self.op = OPENING
        self.moments: list[Moment] = []

    def append(self, mba: int, data: bytes | memoryview) -> None:
        super().append(mba, data)
        self._note()

    def overwrite(self, mba: int, data: bytes | memoryview) -> None:
        super().overwrite(mba, data)
        self._note()

    def sync(self) -> None:
        super().sync()
        self.safe = self.image()

    def _note(self) -> None:
        self.moments.append(Moment(len(self.moments), self.safe, self.unsynced, self.lowest, self.op))


@dataclass(slots=True)
class Recording:
    """What a run of operations left for those who cut the power."""

    drive: RecordingDrive
    subject: Subject
    worlds: list[World]
    ends: list[int] = field(default_factory=list)  # for each operation, the world after it
    refused: int = 0

    def candidates(self, moment: Moment) -> Sequence[World]:
        """Return the worlds that may be shown if the power goes at a moment, the oldest first."""
        highest = 0 if moment.op == OPENING else self.ends[moment.op]
        return self.worlds[moment.lowest : highest + 1]

    def run(self, ops: Iterable[Op]) -> None:
        """Do the operations. One that is refused for want of room has no effect."""
        for op in ops:
            self.drive.op = len(self.ends)
            after = steps(self.worlds[-1], op, self.subject.atomic_blocks)
            try:
                self.subject.apply(op)
            except OutOfSpaceError:
                after = []
                self.refused += 1
            self.worlds += after
            self.ends.append(len(self.worlds) - 1)
            if isinstance(op, Flush):
                self.drive.lowest = len(self.worlds) - 1


def start(
    shape: Shape, image: bytes | None, world: World, make: Callable[[FaultyDrive], Subject]
) -> Recording:
    """Make or open a store on a recording drive, which shows a world from the first.

    Parameters
    ----------
    shape : Shape
    image : bytes or None
        What lies on the drive; None for zeros.
    world : World
    make : callable
        The `create` or `open` of a kind of store.
    """
    drive = RecordingDrive(shape, image)
    return Recording(drive, make(drive), [world])
