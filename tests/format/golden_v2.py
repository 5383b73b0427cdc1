"""The drive of version 2 that is kept, and how it was made.

::

    python -m tests.format.golden_v2 IMAGE     # writes it again

Nothing of it is left to chance: keys have the numbers of their volumes, openings are given, and nonces count
records. It holds what version 2 can have: keys of whole volumes and of single blocks, two openings, copies
that the cleaner made, layers, the residue of all that, and an end without closing.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqstore.media.faults import FaultyDrive
from tests.crash.core_store import Core
from tests.crash.ops import BLOCK, Clone, Create, Flush, Op, Purge, Snapshot, Trim, Write, steps
from tests.crash.world import World

SEGMENT_BLOCKS, SEGMENTS = 8, 16
DRIVE = 0x0123456789ABCDEF
OPENINGS = (0xFEDCBA9876543210, 0x1032547698BADCFE)
"""As the log names its openings."""

SEALINGS = (0xA1A2A3A4A5A6A7A8, 0xB1B2B3B4B5B6B7B8)
"""As seals name them."""


def text(words: str) -> bytes:
    """A block that says something."""
    return words.encode().ljust(BLOCK, b".")


FIRST: tuple[Op, ...] = (
    Create(1, 7, 6 * BLOCK),  # odd numbers: a key for each block
    Create(2, 9, 6 * BLOCK),
    Write(1, 0, text("one 0") + text("one 1") + text("one 2")),
    Write(2, BLOCK, text("two 1") + text("two 2")),
    Flush(),
    Write(2, 2 * BLOCK, text("two 2 again")),
    Flush(),
    Purge(9),
    Snapshot(1, 3),
    Write(1, 0, text("one 0 again")),
    Trim(1, 2 * BLOCK, BLOCK),
    Clone(3, 4, 9),
    Write(4, BLOCK + 100, b"in the clone"),
    Write(2, 5 * BLOCK, text("two 5")),
    Flush(),
)
SECOND: tuple[Op, ...] = (
    Write(1, BLOCK, text("one 1 later")),
    Write(2, 2 * BLOCK, text("two 2 later")),
    Flush(),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCore(Core):
    """The core as it made the drive."""

    sealed: int = 1
    drive: int = DRIVE
    opening: int = 0
    sealing: int = 0
    read_only: int = 0

    def options(self) -> Any:
        """Return the options of the log, none of them drawn."""
        options = super(GoldenCore, self).options()
        options.sealing = self.sealing
        return options


def blank() -> FaultyDrive:
    """A drive of that size."""
    size = SEGMENT_BLOCKS * BLOCK
    return FaultyDrive(SEGMENTS * size, block_size=BLOCK, zone_size=size)


def make() -> bytes:
    """Make the drive, and return what lies on it."""
    drive = blank()
    for ops, opening, sealing in zip((FIRST, SECOND), OPENINGS, SEALINGS, strict=True):
        core = GoldenCore(opening=opening, sealing=sealing)
        store = core.open(drive) if sealing == SEALINGS[1] else core.create(drive)
        for op in ops:
            store.apply(op)
        store.check()
        store.abandon()
    return drive.image()


def worlds() -> list[World]:
    """Return what its volumes showed after each operation, by what was asked for alone."""
    found: list[World] = [{}]
    for op in FIRST + SECOND:
        found += steps(found[-1], op, atomic_blocks=SEGMENT_BLOCKS)
    return found


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(make())
