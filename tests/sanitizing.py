"""Drives full of data to be sanitized, the shortest way to do it, and what must lie there then."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from seqstore.clock import ManualClock
from seqstore.media.hidden import HiddenDrive
from seqstore.sanitize import (
    Area,
    Fault,
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


def full_drive(blocks: int = BLOCKS, **options: Any) -> HiddenDrive:
    """A drive with data in every block, hidden ones too."""
    given = {"spare": 8, "working": 16, "protected": 16, "cached": 4, "translates": True} | options
    drive = HiddenDrive(blocks * BLOCK, block_size=BLOCK, zone_size=64 * BLOCK, **given)
    generator = random.Random(7)
    drive.append(0, generator.randbytes(blocks * BLOCK))
    for _ in range(40):
        drive.overwrite(generator.randrange(blocks), generator.randbytes(BLOCK))
    for area in (Area.SPARE, Area.HOST_PROTECTED):
        count = len(drive.physical.members(area))
        drive.plant(area, 0, generator.randbytes(count * BLOCK))
    drive.sync()
    if given["spare"]:
        drive.wear_out(5)
        drive.wear_out(77)
    return drive


def plain_drive(blocks: int = BLOCKS, **options: Any) -> HiddenDrive:
    """A drive with data and without hidden places."""
    return full_drive(blocks, spare=0, working=0, protected=0, cached=0, translates=False, **options)


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


TECHNIQUES = {
    "zero": Technique.zero(),
    "ones": Technique.ones(),
    "pattern": Technique.pattern(b"abc"),
    "long pattern": Technique.pattern(random.Random(1).randbytes(4095)),
    "random": Technique.random(RANDOM_SEED),
    "three_pass": Technique.three_pass(RANDOM_SEED),
    "combined": Technique.zero() + Technique.pattern(b"\xaa\x55"),
}


def expected(technique: Technique, size: int) -> bytes:
    """What a technique leaves, by Python and by openssl."""
    step = technique.steps[-1]
    if step.seed:
        program = shutil.which("openssl")
        if program is None:
            pytest.skip("there is no openssl command")
        command = [program, "enc", "-aes-256-ctr", "-K", step.seed.hex(), "-iv", "00" * 16]
        return subprocess.run(command, input=bytes(size), capture_output=True, check=True).stdout
    pattern = {"zero": b"\0", "ones": b"\xff"}.get(step.method.value, step.pattern)
    return (pattern * (size // len(pattern) + 1))[:size]
