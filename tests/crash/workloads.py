"""The scripted workloads: short, each for a part of the log that a power cut may meet at its worst."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.crash.core_store import Core
from tests.crash.script import Script, Shape

ROOMY = Shape(16, 16)
TIGHT = Shape(16, 8)
"""A lap is 128 blocks: the head comes round within a few dozen requests."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A script, the drive it runs on, and the options of the log."""

    name: str
    shape: Shape
    core: Core
    script: Script


def _writes(script: Script) -> None:
    """Aligned and not, of one block and of many, over each other, flushed and not."""
    first = script.create(24, extra=100)
    script.write(first, 0)
    script.flush()
    script.write(first, 0, 5)
    script.write_bytes(first, 300, 900)
    script.flush()
    script.write_bytes(first, 510, 4)
    script.scatter(first, [9, 3, 20, 3, 11])
    script.write_bytes(first, 24 * 512 - 200, 300)
    script.flush()
    script.flush()
    script.write(first, 2, 9)


def _unflushed(script: Script) -> None:
    """Nothing is ever flushed: any prefix may come back."""
    first, second = script.create(16), script.create(16, tenant=2, strict=True)
    for lba in range(0, 12, 3):
        script.write(first, lba, 3)
        script.write(second, lba + 1)
    script.trim(first, 2, 5)
    script.delete(second)
    script.write(first, 3, 2)


def _trims(script: Script) -> None:
    """What was trimmed, cut off or deleted and flushed does not come back."""
    first, second = script.create(16), script.create(10, extra=77)
    script.write(first, 0, 10)
    script.write(second, 0, 10)
    script.flush()
    script.trim(first, 2, 4)
    script.trim_bytes(second, 700, 1500)
    script.flush()
    script.write(first, 3)
    script.resize(second, 4, extra=9)
    script.flush()
    script.resize(second, 12)
    script.trim(first, 0, 16)
    script.write_bytes(second, 2000, 600)
    script.flush()
    script.delete(first)
    script.flush()
    script.create(16)
    script.flush()


def _layers(script: Script) -> None:
    """Snapshots, clones and rollbacks, deleted in several orders."""
    first = script.create(12)
    script.write(first, 0, 6)
    monday = script.snapshot(first)
    script.write(first, 2, 2)
    script.flush()
    tuesday = script.snapshot(first)
    script.trim(first, 0, 3)
    copy = script.clone(monday, tenant=2, strict=True)
    script.write(copy, 5, 3)
    script.flush()
    script.delete(monday)
    script.rollback(first, tuesday)
    script.write(first, 1)
    script.flush()
    wednesday = script.snapshot(copy)
    other = script.clone(wednesday)
    script.resize(other, 5)
    script.delete(first)
    script.flush()
    script.delete(tuesday)
    script.delete(copy)
    script.write(other, 0, 2)
    script.flush()


def _checkpoints(script: Script) -> None:
    """Checkpoints between requests, one behind the other, and with nothing to say."""
    first = script.create(20)
    script.checkpoint()
    script.write(first, 0, 4)
    script.checkpoint()
    script.checkpoint()
    script.write(first, 2, 4)
    frozen = script.snapshot(first)
    script.trim(first, 0, 3)
    script.checkpoint()
    script.flush()
    script.write(first, 1)
    copy = script.clone(frozen, tenant=2)
    script.checkpoint()
    script.write(copy, 3, 3)
    script.delete(first)
    script.flush()
    script.checkpoint()


def _laps(script: Script) -> None:
    """The head goes round and round a drive that is three quarters full; the cleaner is always at work."""
    generator = Random(1)
    first, second = script.create(18), script.create(14, tenant=2)
    script.write(first, 0, 18)
    script.write(second, 0, 14)
    script.flush()
    for step in range(70):
        number, size = (first, 18) if step % 3 else (second, 14)
        count = generator.randrange(1, 5)
        script.write(number, generator.randrange(size - count), count)
        if step % 4 == 3:
            script.flush()
        if step % 10 == 9:
            script.trim(number, generator.randrange(size - 2), 2)


def _laps_with_layers(script: Script) -> None:
    """The cleaner moves blocks that snapshots and clones share, while they come and go."""
    generator = Random(2)
    first = script.create(12)
    script.write(first, 0, 12)
    frozen = script.snapshot(first)
    copy = script.clone(frozen, tenant=2)
    for step in range(60):
        number = copy if step % 3 == 0 else first
        script.write(number, generator.randrange(10), generator.randrange(1, 3))
        if step % 3 == 2:
            script.flush()
        if step % 12 == 7:
            script.delete(copy)
            script.delete(frozen)
            frozen = script.snapshot(first)
            copy = script.clone(frozen, tenant=2)
        if step % 12 == 10:
            script.rollback(first, frozen)


def _large(script: Script) -> None:
    """Requests of many records and segments, and the same over blocks that they replace."""
    first = script.create(60)
    script.write(first, 0, 60)
    script.flush()
    script.write_bytes(first, 100, 40 * 512)
    script.scatter(first, list(range(59, 9, -2)))
    script.flush()
    script.write(first, 0, 60)


_MAKERS: dict[str, tuple[Callable[[Script], None], Shape, Core]] = {
    "writes": (_writes, ROOMY, Core()),
    "unflushed": (_unflushed, ROOMY, Core()),
    "trims": (_trims, ROOMY, Core()),
    "layers": (_layers, ROOMY, Core()),
    "checkpoints": (_checkpoints, ROOMY, Core()),
    "checkpoints-tight": (_checkpoints, Shape(18, 8), Core(checkpoint_blocks=16)),
    "laps": (_laps, TIGHT, Core()),
    "laps-window": (_laps, TIGHT, Core(window_blocks=4, checkpoint_blocks=24)),
    "laps-layers": (_laps_with_layers, TIGHT, Core(checkpoint_blocks=32)),
    "large": (_large, ROOMY, Core(window_blocks=8)),
}
NAMES = tuple(_MAKERS)


def workload(name: str) -> Workload:
    """Make the workload of a name."""
    fill, shape, core = _MAKERS[name]
    script = Script()
    fill(script)
    return Workload(name, shape, core, script)
