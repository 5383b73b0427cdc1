"""What the harness needs of a store: a few verbs, and what the store shows afterwards."""

from __future__ import annotations

from typing import Protocol

from seqstore.media.faults import FaultyDrive
from tests.crash.ops import Op
from tests.crash.world import World


class Subject(Protocol):
    """A store under test.

    It raises `OutOfSpaceError` for an operation that it refuses, and then does nothing of it.
    """

    atomic_blocks: int

    def apply(self, op: Op) -> None:
        """Do the operation; having returned is the acknowledgement."""
        ...

    def show(self) -> World:
        """Read everything."""
        ...

    def check(self) -> None:
        """Look for contradictions inside."""
        ...

    def abandon(self) -> None:
        """Go away as a process does that is killed: nothing more is written."""
        ...


class Kind(Protocol):
    """A kind of store: how to make one on an empty drive, and how to open what a crash left."""

    def create(self, drive: FaultyDrive) -> Subject: ...

    def open(self, drive: FaultyDrive) -> Subject: ...
