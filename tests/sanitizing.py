"""Drives full of data to be sanitized, and the shortest way to do it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from seqstore.clock import ManualClock
from seqstore.media.hidden import HiddenDrive
from seqstore.sanitize import (
    Area,
    Fault,
    Journal,
    Progress,
    Sanitization,
    SanitizationOutcome,
    SimulatedTarget,
    Target,
    Technique,
)

BLOCK = 512
BLOCKS = 1024
SEED = bytes(range(32))
RANDOM_SEED = bytes(range(100, 132))
COMMAND_AND_ZERO = Technique.command() + Technique.zero()


def full_drive(**options: Any) -> HiddenDrive:
    """A drive with data in every block, hidden ones too."""
    given = {"spare": 8, "working": 16, "protected": 16, "cached": 4, "translates": True} | options
    drive = HiddenDrive(BLOCKS * BLOCK, block_size=BLOCK, zone_size=64 * BLOCK, **given)
    generator = random.Random(7)
    drive.append(0, generator.randbytes(BLOCKS * BLOCK))
    for _ in range(40):
        drive.overwrite(generator.randrange(BLOCKS), generator.randbytes(BLOCK))
    for area in (Area.SPARE, Area.HOST_PROTECTED):
        count = len(drive.physical.members(area))
        drive.plant(area, 0, generator.randbytes(count * BLOCK))
    drive.sync()
    if given["spare"]:
        drive.wear_out(5)
        drive.wear_out(77)
    return drive


def plain_drive(**options: Any) -> HiddenDrive:
    """A drive with data and without hidden places."""
    return full_drive(spare=0, working=0, protected=0, cached=0, translates=False, **options)


def sanitization(
    target: Target | HiddenDrive, technique: Technique | None = None, **options: Any
) -> Sanitization:
    given: dict[str, Any] = {"clock": ManualClock(1_000), "seed": SEED, "version": "test"} | options
    whole = SimulatedTarget(target) if isinstance(target, HiddenDrive) else target
    return Sanitization(whole, technique or Technique.zero(), **given)


def sanitize(
    target: Target | HiddenDrive, technique: Technique | None = None, **options: Any
) -> SanitizationOutcome:
    return sanitization(target, technique, **options).run()


def faults(outcome: SanitizationOutcome) -> set[Fault]:
    return {problem.fault for problem in outcome.problems}


def stop_after(calls: int) -> tuple[Callable[[Progress], None], Callable[[], bool]]:
    """What asks for a stop once progress was reported so many times."""
    seen: list[Progress] = []
    return seen.append, lambda: len(seen) > calls


__all__ = [
    "BLOCK", "BLOCKS", "COMMAND_AND_ZERO", "RANDOM_SEED", "SEED", "Journal", "faults", "full_drive",
    "plain_drive", "sanitization", "sanitize", "stop_after",
]  # fmt: skip
