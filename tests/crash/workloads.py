"""The scripted workloads: short, each for a part of the log that a power cut may meet at its worst."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from seqstore._native._core import lib
from tests.crash.core_store import Core
from tests.crash.script import Script, Shape

ROOMY = Shape(16, 16)
TIGHT = Shape(20, 8)
"""A lap is 160 blocks: the head comes round within a few dozen requests."""

GREEDY_SEPARATE = Core(selection=lib.SQ_SELECT_GREEDY, placement=lib.SQ_PLACE_SEPARATE, checkpoint_blocks=48)
COST_BENEFIT_SEPBIT = Core(
    selection=lib.SQ_SELECT_COST_BENEFIT, placement=lib.SQ_PLACE_SEPBIT, classes=4, checkpoint_blocks=90
)
GREEDY_BY_TENANT = Core(
    selection=lib.SQ_SELECT_GREEDY, placement=lib.SQ_PLACE_BY_TENANT, classes=2, checkpoint_blocks=64
)
GREEDY_SINGLE = Core(selection=lib.SQ_SELECT_GREEDY, checkpoint_blocks=32)
"""Policies that free segments in an order of their own; all but the last with several heads."""

SEALED = Core(sealed=1)
"""Blocks are encrypted; a block of 512 bytes has room for 6 entries."""


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


def _laps(script: Script, sizes: tuple[int, int] = (22, 12), steps: int = 110) -> None:
    """The head goes round and round a drive that is nearly full; the cleaner is always at work."""
    generator = Random(1)
    first, second = script.create(sizes[0]), script.create(sizes[1], tenant=2)
    script.write(first, 0, sizes[0])
    script.write(second, 0, sizes[1])
    script.flush()
    for step in range(steps):
        number, size = (first, sizes[0]) if step % 3 else (second, sizes[1])
        count = generator.randrange(1, 5)
        lba = generator.randrange(size - count) // (1 + step % 2)
        script.write(number, lba, count)
        if step % 4 == 3:
            script.flush()
        if step % 10 == 9:
            script.trim(number, generator.randrange(size - 2), 2)


def _laps_with_layers(script: Script, size: int = 14, steps: int = 90) -> None:
    """The cleaner moves blocks that snapshots and clones share, while they come and go."""
    generator = Random(2)
    first = script.create(size)
    script.write(first, 0, size)
    frozen = script.snapshot(first)
    copy = script.clone(frozen, tenant=2)
    for step in range(steps):
        number = copy if step % 3 == 0 else first
        script.write(number, generator.randrange(size - 2) // (1 + step % 2), generator.randrange(1, 3))
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


def _purges(script: Script, sizes: tuple[int, int] = (40, 20), laps: int = 30) -> None:
    """Purges of a tenant that is gone, of everybody, and of nothing; between requests under a bound."""
    generator, size, other = Random(9), *sizes
    first = script.create(size)
    script.write(first, 0, size)
    script.bind()
    for turn in range(3):
        second = script.create(other, tenant=2 + turn)
        script.write(second, 0, other)
        for _ in range(laps // 3):
            script.write(first, generator.randrange(size - 3), generator.randrange(1, 4))
            script.write(second, generator.randrange(other))
        script.trim(first, 5, 4)
        script.delete(second)
        script.purge(tenant=2 + turn)
        script.write(first, 5, 2)
        if turn == 1:
            script.purge()
            script.purge()


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
    "purges": (_purges, ROOMY, Core()),
    "purges-greedy": (_purges, Shape(20, 12), GREEDY_SINGLE),
    "purges-separate": (partial(_purges, sizes=(36, 20)), Shape(24, 12), GREEDY_SEPARATE),
    "purges-sepbit": (partial(_purges, sizes=(90, 40)), Shape(32, 18), COST_BENEFIT_SEPBIT),
    "laps-greedy": (partial(_laps, sizes=(27, 13)), TIGHT, GREEDY_SINGLE),
    "laps-separate": (partial(_laps, sizes=(42, 20), steps=150), Shape(24, 12), GREEDY_SEPARATE),
    "laps-sepbit": (partial(_laps, sizes=(90, 40), steps=220), Shape(32, 18), COST_BENEFIT_SEPBIT),
    "laps-tenants": (partial(_laps, sizes=(44, 21), steps=150), Shape(24, 14), GREEDY_BY_TENANT),
    "laps-tenants-window": (
        partial(_laps, sizes=(44, 21), steps=150),
        Shape(24, 14),
        replace(GREEDY_BY_TENANT, window_blocks=56),
    ),
    "layers-separate": (partial(_laps_with_layers, size=27, steps=150), Shape(24, 12), GREEDY_SEPARATE),
    "layers-tenants": (partial(_laps_with_layers, size=29, steps=150), Shape(24, 14), GREEDY_BY_TENANT),
    "large-separate": (_large, Shape(22, 16), replace(GREEDY_SEPARATE, window_blocks=32)),
    "checkpoints-tenants": (_checkpoints, Shape(22, 14), replace(GREEDY_BY_TENANT, checkpoint_blocks=24)),
    "writes-sealed": (_writes, ROOMY, SEALED),
    "trims-sealed": (_trims, ROOMY, SEALED),
    "layers-sealed": (_layers, ROOMY, SEALED),
    "laps-sealed": (partial(_laps, sizes=(18, 10)), TIGHT, SEALED),
    "laps-layers-sealed": (partial(_laps_with_layers, size=11), TIGHT, replace(SEALED, checkpoint_blocks=32)),
    "laps-separate-sealed": (
        partial(_laps, sizes=(36, 18), steps=150),
        Shape(24, 12),
        replace(GREEDY_SEPARATE, sealed=1),
    ),
    "large-sealed": (_large, ROOMY, replace(SEALED, window_blocks=8)),
}
NAMES = tuple(_MAKERS)


def workload(name: str) -> Workload:
    """Make the workload of a name."""
    fill, shape, core = _MAKERS[name]
    script = Script()
    fill(script)
    return Workload(name, shape, core, script)
