"""Damage anywhere on a small drive: what is read is right, or an error says where it is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random

import pytest

from tests.crash.core_store import Core, CoreStore, DamageError
from tests.crash.ops import BLOCK
from tests.crash.record import RecordingDrive, start
from tests.crash.script import Script, Shape
from tests.crash.world import World, difference

SHAPE = Shape(18, 6)
IMAGE_BYTES = SHAPE.blocks * BLOCK


def small_image(*, clean: bool) -> tuple[Core, bytes, list[World]]:
    """Make a drive with a little of everything on it, and return it with the worlds that it showed."""
    script = Script()
    first = script.create(7, extra=9)
    script.write(first, 0, 6)
    frozen = script.snapshot(first)
    script.write(first, 2, 2)
    copy = script.clone(frozen, tenant=2, strict=True)
    script.checkpoint()
    for step in range(9):
        script.write(first, step % 4, 2)
        script.flush()
    script.trim(copy, 3)
    script.write_bytes(first, 700, 500)
    script.flush()
    recording = start(SHAPE, None, {}, Core().create)
    recording.run(script.ops)
    store = recording.subject
    assert isinstance(store, CoreStore)
    if clean:
        store.finish()
    core = Core(expect_sequence=store.stats()["flushed_sequence"])
    store.abandon()
    return core, recording.drive.image(), recording.worlds


def read_all(core: Core, image: bytes, worlds: Sequence[World]) -> str:
    """Open a damaged drive and read everything: one of these worlds; return what was noticed."""
    drive = RecordingDrive(SHAPE, image)
    try:
        store = core.open(drive)
    except DamageError as error:
        return type(error).__name__
    try:
        shown = store.show()
    except DamageError as error:
        fault = error.fault
    else:
        fault = {}
    store.abandon()
    if fault:
        assert fault["volume"] in worlds[-1]
        assert fault["mba"] < SHAPE.blocks
        return "on reading"
    assert shown in worlds, difference(shown, worlds[-1])
    return "nothing"


def flip(core: Core, image: bytes, world: World, places: Iterable[int], generator: Random) -> Counter[str]:
    """Change one byte at each place in turn, read everything, and count what was noticed."""
    noticed: Counter[str] = Counter()
    for place in places:
        damaged = bytearray(image)
        damaged[place] ^= 1 << generator.randrange(8) if place % 2 else generator.randrange(1, 256)
        try:
            noticed[read_all(core, bytes(damaged), [world])] += 1
        except Exception as error:
            raise AssertionError(f"byte {place} of block {place // BLOCK} was {damaged[place]:#x}") from error
    return noticed


@pytest.mark.invariant("I8")
@pytest.mark.parametrize("clean", [True, False], ids=["closed", "crashed"])
def test_some_bytes_flipped(clean: bool) -> None:
    core, image, worlds = small_image(clean=clean)
    assert read_all(core, image, worlds[-1:]) == "nothing"
    noticed = flip(core, image, worlds[-1], range(clean, IMAGE_BYTES, 7), Random(1))
    assert noticed["on reading"] > 50
    assert noticed["nothing"] > 50


@pytest.mark.soak
@pytest.mark.parametrize("clean", [True, False], ids=["closed", "crashed"])
def test_every_byte_flipped(clean: bool) -> None:
    core, image, worlds = small_image(clean=clean)
    for seed in range(8):
        flip(core, image, worlds[-1], range(IMAGE_BYTES), Random(seed))


@pytest.mark.invariant("I8")
@pytest.mark.parametrize("clean", [True, False], ids=["closed", "crashed"])
def test_the_end_is_missing(clean: bool) -> None:
    core, image, worlds = small_image(clean=clean)
    for kept in range(SHAPE.blocks):
        read_all(core, image[: kept * BLOCK].ljust(IMAGE_BYTES, b"\0"), worlds[-1:])


@pytest.mark.invariant("I8")
def test_blocks_lie_where_they_do_not_belong() -> None:
    core, image, worlds = small_image(clean=False)
    generator = Random(1)
    for _ in range(1500):
        to, come_from = generator.randrange(SHAPE.blocks), generator.randrange(SHAPE.blocks)
        damaged = bytearray(image)
        damaged[to * BLOCK : (to + 1) * BLOCK] = image[come_from * BLOCK : (come_from + 1) * BLOCK]
        read_all(core, bytes(damaged), worlds[-1:])


@pytest.mark.invariant("I8")
def test_a_drive_without_the_note_of_its_last_flush() -> None:
    """Damage to the last records looks like a crash before them: a former world is shown, never a mixture."""
    core, image, worlds = small_image(clean=False)
    core = replace(core, expect_sequence=0)
    generator = Random(2)
    for _ in range(500):
        damaged = bytearray(image)
        damaged[generator.randrange(IMAGE_BYTES)] ^= generator.randrange(1, 256)
        read_all(core, bytes(damaged), worlds)
