"""Drives of version 2 that somebody has changed with care: the engine and the reader find the same in them.

Bits change, and numbers, and blocks lie in the place of others. Or somebody makes all checksums right again,
the chain of records as well, behind other seals: what opens for one has to open for the other, and as it is.
Whoever changes more than seals so gets a drive that says something else, and yet no block of which opens as
what was never written to that address by that tenant.
"""

from __future__ import annotations

import random
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import pytest

from seqstore._native._core import ffi, lib
from seqstore.errors import AccessError, CorruptionError, FormatError
from seqstore.format import DriveImage, VolumeImage, crc32c, read_image
from seqstore.inspect import collect
from tests.crash.core_store import _MOST_KEYS, CoreStore, DamageError
from tests.crash.ops import BLOCK, steps
from tests.crash.script import Shape
from tests.crash.workloads import workload
from tests.format import golden_v2
from tests.format.golden_v2 import DRIVE, SEGMENT_BLOCKS, SEGMENTS
from tests.format.test_agreement import ReadOnlyCore, crashed, drive_of, expect_same_ledger
from tests.format.unsealing import unseal

GOLDEN = (Path(__file__).parent / "golden-v2.img").read_bytes()
MAGIC = b"SEQSREC1"
HEAD_BYTES, ENTRY_BYTES, DATA, WITH_BLOCK = 96, 64, 1, {1, 9, 11}
HEAD_FIELDS = (
    (24, 8),
    (32, 4),
    (36, 4),
    (40, 2),
    (42, 2),
    (44, 2),
    (46, 2),
    (48, 8),
    (56, 8),
    (64, 8),
    (72, 4),
)
ENTRY_FIELDS = ((0, 8), (8, 8), (16, 4), (20, 1), (21, 1))
SEAL_FIELDS = ((24, 8), (40, 8), (48, 8), (56, 4), (60, 4))
ODD = (0, 1, 2, 3, 5, 8, 0xFF, 0xFFFF, 2**32 - 1, 2**38, 2**48 - 2, 2**62, 2**64 - 1)
BASES = ("golden", "layers-sealed", "laps-layers-sealed", "laps-separate-sealed")

Base = tuple[bytes, Shape, ReadOnlyCore]


@lru_cache
def base_of(name: str) -> Base:
    """A drive, its shape, and the options to read it with."""
    if name == "golden":
        return GOLDEN, Shape(SEGMENTS, SEGMENT_BLOCKS), ReadOnlyCore(sealed=1, drive=DRIVE)
    of = workload(name)
    options = {field: getattr(of.core, field) for field in of.core.__dataclass_fields__}
    return crashed(of, 5), of.shape, ReadOnlyCore(**options)


def summaries_of(image: bytes | bytearray) -> list[int]:
    return [at for at in range(0, len(image), BLOCK) if image[at : at + 8] == MAGIC]


def number(image: bytes | bytearray, at: int, width: int) -> int:
    return int.from_bytes(image[at : at + width], "little")


def put(image: bytearray, at: int, width: int, value: int) -> None:
    image[at : at + width] = (value % 2 ** (8 * width)).to_bytes(width, "little")


def fix(image: bytearray) -> None:
    """Make checksums of blocks and summaries right, and the chain, in the order of their sequence."""
    before: dict[int, int] = {}
    for start in sorted(summaries_of(image), key=lambda at: number(image, at + 24, 8)):
        at = start
        for row in range(min(number(image, start + 40, 2), (BLOCK - HEAD_BYTES) // ENTRY_BYTES)):
            entry = start + HEAD_BYTES + row * ENTRY_BYTES
            if image[entry + 20] in WITH_BLOCK and at + 2 * BLOCK <= len(image):
                at += BLOCK
                owner = bytes(image[entry + 8 : entry + 16] + image[entry : entry + 8])
                put(image, entry + 16, 4, crc32c(owner + bytes(image[at : at + BLOCK])))
        sequence = number(image, start + 24, 8)
        if sequence - 1 in before:
            put(image, start + 36, 4, before[sequence - 1])
        put(image, start + 12, 4, 0)
        before[sequence] = crc32c(bytes(image[start : start + BLOCK]))
        put(image, start + 12, 4, before[sequence])


class Change:
    """Changes something that readers believe, in an image."""

    def __init__(self, image: bytearray, choose: random.Random) -> None:
        self.image, self.choose = image, choose
        self.summaries = [start for start in summaries_of(image) if number(image, start + 40, 2)]

    def entry(self) -> int:
        """Where an entry lies."""
        start = self.choose.choice(self.summaries)
        rows = min(number(self.image, start + 40, 2), (BLOCK - HEAD_BYTES) // ENTRY_BYTES)
        return start + HEAD_BYTES + self.choose.randrange(rows) * ENTRY_BYTES

    def field(self, at: int, width: int) -> None:
        """A number becomes another."""
        value = self.choose.choice((number(self.image, at, width) + self.choose.randint(-2, 2), *ODD))
        put(self.image, at, width, value)

    def copy(self, to: int, at: int, width: int) -> None:
        """Bytes take the place of others."""
        self.image[to : to + width] = self.image[at : at + width]

    def seal(self) -> None:
        """Change a seal, or what it is for."""
        entry = self.entry()
        match self.choose.randrange(4):
            case 0:
                self.copy(entry + 24, self.entry() + 24, 40)
            case 1:
                self.image[entry + 24 + self.choose.randrange(40)] ^= 1 << self.choose.randrange(8)
            case 2:
                if self.image[entry + 20] == DATA and entry % BLOCK == HEAD_BYTES:  # the record's first block
                    self.image[(entry // BLOCK + 1) * BLOCK + self.choose.randrange(BLOCK)] ^= 16
            case _:
                at, width = self.choose.choice(SEAL_FIELDS)
                self.field(entry + at, width)

    def anything(self) -> None:
        """Change anything."""
        image, choose = self.image, self.choose
        match choose.randrange(6):
            case 0:
                image[choose.randrange(len(image))] ^= 1 << choose.randrange(8)
            case 1:
                at, width = choose.choice(HEAD_FIELDS)
                self.field(choose.choice(self.summaries) + at, width)
            case 2:
                self.copy(self.entry(), self.entry(), choose.choice((24, ENTRY_BYTES)))
            case 3:
                to, at = (choose.randrange(len(image) // BLOCK) * BLOCK for _ in range(2))
                self.copy(to, at, BLOCK)
            case 4:
                at, width = choose.choice(ENTRY_FIELDS)
                self.field(self.entry() + at, width)
            case _:
                self.seal()


def mapped_by(store: CoreStore, handle: int) -> dict[int, int]:
    """Address of each block that a volume shows."""
    extents, count = ffi.new("struct sq_extent[]", 256), ffi.new("uint64_t *")
    assert lib.sq_volume_extents(store._log, handle, 0, 256, extents, count) == 0
    rows = (extents[i] for i in range(count[0]))
    return {row.lba + i: row.mba + i for row in rows for i in range(row.count)}


def read_by_engine(store: CoreStore, handle: int, lba: int, length: int) -> bytes | None:
    """Read a block; None if it cannot be opened, and then nothing of it is handed out."""
    data = bytearray(b"?" * length)
    with ffi.from_buffer("char[]", data, require_writable=True) as target:
        status = lib.sq_volume_read(store._log, handle, lba * BLOCK, target, length, store._fault)
    if status == 0:
        return bytes(data)
    assert status in {lib.SQ_E_CORRUPT, lib.SQ_E_NO_KEY}
    assert not any(data)
    return None


def read_by_reader(image: DriveImage, volume: VolumeImage, lba: int, length: int) -> bytes | None:
    """Read a block by the page alone."""
    try:
        block = volume.read(lba)
    except CorruptionError:
        return None
    mba = volume.lookup(lba)
    assert mba is not None
    seal, info = image.seals().get(mba), image.block(mba)
    if seal is None or seal.key >= _MOST_KEYS:
        return None
    try:
        return unseal(seal, info.tenant, info.layer, lba, block)[:length]
    except AccessError:
        return None


def expect_same(content: bytes, shape: Shape, core: ReadOnlyCore) -> str:
    """Compare what both find; say how it went."""
    sizes = {"block_size": BLOCK, "segment_blocks": shape.segment_blocks}
    try:
        store = core.open(drive_of(content, shape))
    except DamageError:
        with suppress(FormatError):
            assert read_image(content, **sizes).damage != ()
        return "refused"
    image, damaged = read_image(content, **sizes), 0
    expect_same_ledger(image, store, exact=True)
    entries = {entry.number: entry for entry in store.entries()}
    assert [volume.number for volume in image.volumes] == sorted(entries)
    for volume in image.volumes:
        entry = entries[volume.number]
        mapped = mapped_by(store, entry.handle)
        assert volume.mapped() == mapped
        for lba in mapped:
            length = min(BLOCK, volume.size_bytes - lba * BLOCK)
            block = read_by_engine(store, entry.handle, lba, length)
            assert block == read_by_reader(image, volume, lba, length), (volume.number, lba)
            damaged += block is None
    store.abandon()
    return "damaged" if damaged else "whole"


def changed(name: str, seed: int, how: str, *, is_fixed: bool) -> tuple[bytes, Shape, ReadOnlyCore]:
    """Change a base as the seed says."""
    content, shape, core = base_of(name)
    choose, image = random.Random(f"{name} {how} {is_fixed} {seed}"), bytearray(content)
    for _ in range(choose.randint(1, 3)):
        getattr(Change(image, choose), how)()
    if is_fixed:
        fix(image)
    return bytes(image), shape, core


@lru_cache
def written_to(name: str) -> set[tuple[int, int, bytes]]:
    """Tenant, lba and content of all that was ever to be seen on a base."""
    if name == "golden":
        worlds = golden_v2.worlds()
    else:
        worlds = [{}]
        for op in workload(name).script.ops:
            worlds += steps(worlds[-1], op, atomic_blocks=1)
    seen = [shown for world in worlds for shown in world.values()]
    return {(shown.tenant, lba, block) for shown in seen for lba, block in shown.blocks.items()}


def expect_nothing_else(name: str, content: bytes, shape: Shape, core: ReadOnlyCore) -> bool:
    """Whatever opens was written to that address by that tenant; or the drive is refused."""
    with suppress(FormatError):
        collect(read_image(content, block_size=BLOCK, segment_blocks=shape.segment_blocks))
    try:
        store = core.open(drive_of(content, shape))
    except DamageError:
        return False
    for entry in store.entries():
        for lba in mapped_by(store, entry.handle):
            if (lba + 1) * BLOCK <= entry.size_bytes:
                block = read_by_engine(store, entry.handle, lba, BLOCK)
                # Whose a clone is stands in summaries alone; its blocks are those of who was cloned.
                found = {tenant for tenant, at, content in written_to(name) if (at, content) == (lba, block)}
                assert block is None or (found if entry.origin else entry.tenant in found)
    store.abandon()
    return True


@pytest.mark.parametrize("name", BASES)
def test_nothing_changed(name: str) -> None:
    content, shape, core = base_of(name)
    image = bytearray(content)
    fix(image)
    assert image == content or name != "golden"
    assert expect_same(content, shape, core) == "whole"


@pytest.mark.parametrize(("how", "is_fixed"), [("anything", False), ("seal", True)])
@pytest.mark.parametrize("name", BASES)
def test_both_find_the_same(name: str, how: str, is_fixed: bool) -> None:
    ends = {expect_same(*changed(name, seed, how, is_fixed=is_fixed)) for seed in range(8)}
    assert len(ends) > 1


def test_seals_behind_a_summary_that_is_damaged() -> None:
    image = bytearray(GOLDEN)
    image[100] ^= 1
    reader = read_image(bytes(image))
    assert reader.seals() == read_image(GOLDEN).seals()
    assert reader.verify() > 6
    assert reader.damage != ()


def test_a_seal_of_an_entry_that_is_not_of_the_block_there() -> None:
    """What a checkpoint says counts, so nobody reads the entry but for its seal."""
    image, entry = bytearray(GOLDEN), 2 * BLOCK + HEAD_BYTES + 5 * ENTRY_BYTES
    assert read_image(GOLDEN).seals().keys() > {6}
    image[entry] ^= 4
    fix(image)
    assert 6 not in read_image(bytes(image)).seals()
    assert expect_same(bytes(image), *base_of("golden")[1:]) == "damaged"


@pytest.mark.invariant("I1")
@pytest.mark.parametrize("name", BASES)
def test_a_forged_drive_shows_nothing_that_was_not_written_there(name: str) -> None:
    ends = [expect_nothing_else(name, *changed(name, seed, "anything", is_fixed=True)) for seed in range(15)]
    assert sum(ends) > 3
