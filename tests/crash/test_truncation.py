"""Stores whose drive was cut short, or has holes: it is said, with the name of the file, or data is right."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from seqstore import CorruptionError, FormatError, MediumError, Store
from tests.crash.file_store import FileStore, next_world
from tests.crash.history import Author, Limits
from tests.crash.ops import Flush
from tests.crash.world import World, difference
from tests.small import BLOCK_SIZE, SEGMENT_BLOCKS

BLOCKS = 16 * SEGMENT_BLOCKS
BYTES = BLOCKS * BLOCK_SIZE
LIMITS = Limits(request_blocks=8, volume_blocks=20, live_blocks=50)


@dataclass(frozen=True, slots=True)
class Original:
    """A store whose copies are damaged, and every world that it ever showed."""

    path: Path
    worlds: list[World]

    def copy(self, to: Path) -> Path:
        shutil.copytree(self.path, to)
        return to

    def open(self, path: Path, **options: Any) -> World:
        """Open a copy, and read all of it: it shows what it last showed, or a `FormatError` says why not."""
        subject = FileStore(Store.open(path, **options))
        try:
            shown = subject.show()
            subject.check()
        finally:
            subject.abandon()
        assert shown == self.worlds[-1], difference(shown, self.worlds[-1])
        return shown


def make_original(path: Path, *, closed: bool) -> Original:
    """Make a store with a little of everything on it, after more than a lap."""
    store = Store.create(path, BYTES, block_size=BLOCK_SIZE, segment_size=SEGMENT_BLOCKS * BLOCK_SIZE)
    tenants = [store.create_tenant(name).number for name in ("contoso", "fabrikam")]
    subject, worlds = FileStore(store), list[World]([{}])
    author = Author(Random(3), {}, last_number=0, tenants=tenants, version=0, limits=LIMITS)
    for _ in range(200):
        op = author.choose(worlds[-1])
        subject.apply(op)
        worlds.append(next_world(worlds[-1], op, subject.atomic_blocks))
    subject.apply(Flush())
    assert store.stats().laps > 1
    if closed:
        store.close()
    else:
        subject.abandon()
        Store.open(path)._parts.close(finish=False)  # notes in the catalog what had been flushed
    return Original(path, worlds)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Original:
    return make_original(tmp_path_factory.mktemp("closed") / "lab.store", closed=True)


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Original:
    return make_original(tmp_path_factory.mktemp("crashed") / "lab.store", closed=False)


def drive_of(path: Path) -> Path:
    return path / "drives" / "0.img"


@pytest.mark.invariant("I8")
@pytest.mark.parametrize(
    "options",
    [{}, {"read_only": True}, {"access": "mapped"}, {"rebuild_catalog": True}],
    ids=["plain", "read-only", "mapped", "rebuild"],
)
def test_cut_short_at_every_block(closed: Original, tmp_path: Path, options: dict[str, Any]) -> None:
    """Both sizes and the file are named, and nothing is changed; whole again, it is what it was."""
    path = closed.copy(tmp_path / "lab.store")
    drive, image = drive_of(path), drive_of(path).read_bytes()
    assert len(image) == BYTES
    for size in [*range(BYTES - BLOCK_SIZE, -1, -BLOCK_SIZE), BYTES - 1, 1]:
        drive.write_bytes(image[:size])
        with pytest.raises(FormatError, match=rf"\b{size} bytes.*\b{BYTES}\b") as caught:
            Store.open(path, **options)
        assert str(drive.resolve()) in str(caught.value)
        assert drive.stat().st_size == size
    drive.write_bytes(image)
    closed.open(path, **options)


@pytest.mark.invariant("I8")
def test_cut_short_and_without_a_catalog(closed: Original, tmp_path: Path) -> None:
    """The records say how large the drive is, if any is left."""
    path = closed.copy(tmp_path / "lab.store")
    (path / "catalog.db").unlink()
    for size, message in (
        (BYTES - 1, rf"0\.img.*\b{BYTES - 1} bytes.*\b{BYTES}\b"),
        (SEGMENT_BLOCKS * BLOCK_SIZE, rf"0\.img.*\b{SEGMENT_BLOCKS * BLOCK_SIZE} bytes.*\b{BYTES}\b"),
        (50, r"0\.img.* holds no record"),
        (0, r"0\.img.* holds no record"),
    ):
        os.truncate(drive_of(path), size)
        with pytest.raises(FormatError, match=message):
            Store.open(path, rebuild_catalog=True)


def test_a_file_that_is_longer(closed: Original, tmp_path: Path) -> None:
    """A block device is seldom as long as the drive on it: what lies behind is not touched."""
    path = closed.copy(tmp_path / "lab.store")
    with drive_of(path).open("ab") as file:
        file.write(b"behind")
    closed.open(path)
    assert drive_of(path).read_bytes()[BYTES:] == b"behind"


def notice(original: Original, path: Path, **options: Any) -> str:
    """Open a store with damage, read all of it, and return what was noticed."""
    try:
        original.open(path, **options)
    except FormatError as error:
        noticed = error
    else:
        return "nothing"
    if not isinstance(noticed, CorruptionError):
        return type(noticed).__name__
    assert noticed.mba < BLOCKS
    assert noticed.volume in original.worlds[-1]
    return "on reading"


Hole = Callable[[int], object]


def each_hole(original: Original, to: Path, holes: Iterable[Hole], **options: Any) -> Counter[str]:
    """Damage fresh copies of the drive in turn, and count what was noticed."""
    path = original.copy(to)
    drive, image = drive_of(path), drive_of(path).read_bytes()
    catalog = (path / "catalog.db").read_bytes()
    noticed: Counter[str] = Counter()
    for hole in holes:
        drive.write_bytes(image)
        (path / "catalog.db").write_bytes(catalog)
        descriptor = os.open(drive, os.O_RDWR)
        try:
            hole(descriptor)
        finally:
            os.close(descriptor)
        noticed[notice(original, path, **options)] += 1
    return noticed


def zero(mba: int, count: int) -> Hole:
    return lambda file: os.pwrite(file, bytes(count * BLOCK_SIZE), mba * BLOCK_SIZE)


def lose_the_end(size: int) -> Hole:
    def lose(file: int) -> None:
        os.ftruncate(file, size)
        os.ftruncate(file, BYTES)

    return lose


# Opening for writing waits for the drive, so that only some of the places are tried that way; mapped drives
# are read by other code than others, and recovered by the same.
WAYS = [({"read_only": True}, 1), ({"read_only": True, "access": "mapped"}, 3), ({}, 12)]
ways = pytest.mark.parametrize(("options", "step"), WAYS, ids=["read-only", "mapped", "writing"])
states = pytest.mark.parametrize("state", ["closed", "crashed"])


@pytest.mark.invariant("I8")
@states
@ways
def test_a_hole_at_every_block(
    request: pytest.FixtureRequest, tmp_path: Path, state: str, options: dict[str, Any], step: int
) -> None:
    original = request.getfixturevalue(state)
    holes = [zero(mba, 1) for mba in range(0, BLOCKS, step)]
    noticed = each_hole(original, tmp_path / "lab.store", holes, **options)
    assert noticed["on reading"] > 10 / step
    assert noticed["nothing"] > 10 / step
    assert noticed["FormatError"] + noticed["LostWritesError"] > 0 or step > 1


@pytest.mark.invariant("I8")
@states
@ways
def test_cut_short_and_made_long_again(
    request: pytest.FixtureRequest, tmp_path: Path, state: str, options: dict[str, Any], step: int
) -> None:
    original = request.getfixturevalue(state)
    holes = [lose_the_end(block * BLOCK_SIZE) for block in range(0, BLOCKS, step)]
    noticed = each_hole(original, tmp_path / "lab.store", holes, **options)
    assert noticed["nothing"] < len(holes) / 2
    segments = [zero(mba, SEGMENT_BLOCKS) for mba in range(0, BLOCKS, SEGMENT_BLOCKS)]
    assert each_hole(original, tmp_path / "again", segments, **options)["nothing"] < len(segments)


@pytest.mark.invariant("I8")
def test_cut_short_while_it_is_open(closed: Original, tmp_path: Path) -> None:
    path = closed.copy(tmp_path / "lab.store")
    subject = FileStore(Store.open(path))
    world = closed.worlds[-1]
    os.truncate(drive_of(path), BYTES // 2)
    seen: Counter[str] = Counter()
    for number, shown in world.items():
        for lba, block in shown.blocks.items():
            inside = min(BLOCK_SIZE, shown.size - lba * BLOCK_SIZE)
            try:
                assert subject._view(number).read(lba * BLOCK_SIZE, inside) == block[:inside]
                seen["read"] += 1
            except (MediumError, CorruptionError) as error:
                seen[type(error).__name__] += 1
    subject.abandon()
    assert seen["read"] > 0
    assert len(seen) > 1
    with pytest.raises(FormatError, match=rf"{BYTES // 2} bytes"):
        Store.open(path)
