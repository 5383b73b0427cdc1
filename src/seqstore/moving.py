"""Copying volumes with their snapshots and clones from drive to drive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seqstore.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far something is that goes over many volumes."""

    done_blocks: int
    total_blocks: int


def make_equal(registry: Registry) -> None:
    """Make copies the same again that a crash may have left different."""
