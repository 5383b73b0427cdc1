"""What a drive shows: volumes, snapshots and clones in plain Python.

A world is never changed: each operation makes a new one, so that the world after every prefix of a script is
at hand. Worlds share what they have in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from tests.blocks import tag_of


@dataclass(frozen=True, slots=True)
class Shown:
    """What a volume or snapshot shows: its blocks by lba; a missing one is unwritten."""

    tenant: int
    size: int
    strict: bool
    origin: int  # of a snapshot: its volume; of a clone: its snapshot; else 0
    is_snapshot: bool
    blocks: Mapping[int, bytes]


World: TypeAlias = Mapping[int, Shown]
"""Volumes and snapshots by number."""


def difference(found: World, expected: World) -> str:
    """Say in a line where two worlds differ first; nothing if they do not."""
    for number in sorted(found.keys() | expected.keys()):
        if number not in found or number not in expected:
            return f"number {number} is {'missing' if number not in found else 'there and should not be'}"
        here, there = found[number], expected[number]
        for name in ("tenant", "size", "strict", "origin", "is_snapshot"):
            if getattr(here, name) != getattr(there, name):
                return f"{name} of number {number} is {getattr(here, name)} instead of {getattr(there, name)}"
        for lba in sorted(here.blocks.keys() | there.blocks.keys()):
            if here.blocks.get(lba) != there.blocks.get(lba):
                return (
                    f"lba {lba} of number {number} is {_describe(here.blocks.get(lba))} instead of"
                    f" {_describe(there.blocks.get(lba))}"
                )
    return ""


def _describe(block: bytes | None) -> str:
    if block is None:
        return "unwritten"
    tag = tag_of(block)
    return f"{tag}" if tag else "zeros" if not any(block) else f"{block[:16].hex()}..."
