"""Damage anywhere on a small drive: what is read is right, or an error says where it is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random
from typing import Protocol

import pytest

from seqstore._native._core import lib
from seqstore.format import Kind, read_image
from tests.crash.core_store import Core, CoreError, CoreStore, DamageError
from tests.crash.ops import BLOCK
from tests.crash.record import RecordingDrive, start
from tests.crash.script import Script, Shape
from tests.crash.world import World, difference

SMALL = Shape(20, 6)
HEADS = Shape(22, 12)
SEVERAL_HEADS = Core(selection=lib.SQ_SELECT_GREEDY, placement=lib.SQ_PLACE_BY_TENANT, classes=2)


@dataclass(frozen=True, slots=True)
class Image:
    """A drive with a little of everything on it, what it showed, and how it is opened."""

    core: Core
    shape: Shape
    content: bytes
    worlds: Sequence[World]


class MakeImage(Protocol):
    """Makes an image of a store that was closed, or that a crash ended."""

    def __call__(self, *, clean: bool) -> Image: ...


@lru_cache
def small_image(*, clean: bool) -> Image:
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
    return _run(Core(), SMALL, script, clean=clean)


@lru_cache
def image_of_heads(*, clean: bool) -> Image:
    """Make one whose records lie at two heads, with segments that were cleaned behind the checkpoint."""
    script, generator = Script(), Random(3)
    volumes = [script.create(14, tenant=1), script.create(10, tenant=2)]
    for step in range(90):
        if step == 70:
            script.checkpoint()
        volume = volumes[step % 3 > 1]
        script.write(volume, generator.randrange(9) // (1 + step % 2), 2)
        if step % 5 == 4:
            script.flush()
    image = _run(SEVERAL_HEADS, HEADS, script, clean=clean)
    if not clean:
        _expect_several_heads(image)
    return image


def _run(core: Core, shape: Shape, script: Script, *, clean: bool) -> Image:
    recording = start(shape, None, {}, core.create)
    recording.run(script.ops)
    store = recording.subject
    assert isinstance(store, CoreStore)
    assert recording.refused == 0
    if clean:
        store.finish()
    core = replace(core, expect_sequence=store.stats()["flushed_sequence"])
    store.abandon()
    return Image(core, shape, recording.drive.image(), recording.worlds)


def _expect_several_heads(image: Image) -> None:
    """See that the image is worth testing: what is rolled forward changes heads and frees segments."""
    found = read_image(image.content)
    rolled = [record.summary for record in found.records() if record.rolled_forward]
    assert {summary.class_id for summary in rolled} == {0, 1}
    assert any(entry.kind is Kind.FREED for summary in rolled for entry in summary.entries)


IMAGES = pytest.mark.parametrize("make", [small_image, image_of_heads], ids=["one head", "heads"])
CLEAN = pytest.mark.parametrize("clean", [True, False], ids=["closed", "crashed"])


def read_all(core: Core, shape: Shape, image: bytes, worlds: Sequence[World]) -> str:
    """Open a damaged drive and read everything: one of these worlds; return what was noticed."""
    drive = RecordingDrive(shape, image)
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
        assert fault["mba"] < shape.blocks
        return "on reading"
    assert shown in worlds, difference(shown, worlds[-1])
    return "nothing"


def flip(image: Image, places: Iterable[int], generator: Random) -> Counter[str]:
    """Change one byte at each place in turn, read everything, and count what was noticed."""
    noticed: Counter[str] = Counter()
    for place in places:
        damaged = bytearray(image.content)
        damaged[place] ^= 1 << generator.randrange(8) if place % 2 else generator.randrange(1, 256)
        try:
            noticed[read_all(image.core, image.shape, bytes(damaged), image.worlds[-1:])] += 1
        except Exception as error:
            raise AssertionError(f"byte {place} of block {place // BLOCK} was {damaged[place]:#x}") from error
    return noticed


@pytest.mark.invariant("I8")
@CLEAN
@IMAGES
def test_some_bytes_flipped(make: MakeImage, clean: bool) -> None:
    image = make(clean=clean)
    assert read_all(image.core, image.shape, image.content, image.worlds[-1:]) == "nothing"
    size = len(image.content)
    noticed = flip(image, range(clean, size, size // 3000), Random(1))
    assert noticed["on reading"] > 50
    assert noticed["nothing"] > 50


@pytest.mark.soak
@CLEAN
@IMAGES
def test_every_byte_flipped(make: MakeImage, clean: bool) -> None:
    image = make(clean=clean)
    for seed in range(8):
        flip(image, range(len(image.content)), Random(seed))


@pytest.mark.invariant("I8")
@CLEAN
@IMAGES
def test_the_end_is_missing(make: MakeImage, clean: bool) -> None:
    image = make(clean=clean)
    for kept in range(image.shape.blocks):
        content = image.content[: kept * BLOCK].ljust(len(image.content), b"\0")
        read_all(image.core, image.shape, content, image.worlds[-1:])


@pytest.mark.invariant("I8")
@IMAGES
def test_blocks_lie_where_they_do_not_belong(make: MakeImage) -> None:
    image = make(clean=False)
    generator = Random(1)
    for _ in range(1500):
        to, come_from = generator.randrange(image.shape.blocks), generator.randrange(image.shape.blocks)
        damaged = bytearray(image.content)
        damaged[to * BLOCK : (to + 1) * BLOCK] = image.content[come_from * BLOCK : (come_from + 1) * BLOCK]
        read_all(image.core, image.shape, bytes(damaged), image.worlds[-1:])


@pytest.mark.invariant("I8")
@IMAGES
def test_a_drive_without_the_note_of_its_last_flush(make: MakeImage) -> None:
    """Damage to the last records looks like a crash before them: a former world is shown, never a mixture."""
    image = make(clean=False)
    core = replace(image.core, expect_sequence=0)
    generator = Random(2)
    for _ in range(500):
        damaged = bytearray(image.content)
        damaged[generator.randrange(len(damaged))] ^= generator.randrange(1, 256)
        read_all(core, image.shape, bytes(damaged), image.worlds)


@pytest.mark.invariant("I8")
@IMAGES
def test_a_block_that_cannot_be_read_is_no_end(make: MakeImage) -> None:
    """A medium that fails is not taken for a crash: the log is whole, or it is said what cannot be read."""
    image = make(clean=False)
    core, told = replace(image.core, expect_sequence=0), 0
    for mba in range(image.shape.blocks):
        drive = RecordingDrive(image.shape, image.content)
        drive.bad_on_read(mba)
        failure, shown = None, None
        try:
            shown = core.open(drive).show()
        except CoreError as error:
            failure = error.status
        assert failure == lib.SQ_E_IO or shown == image.worlds[-1], mba
        told += failure is not None
    assert told > 20
