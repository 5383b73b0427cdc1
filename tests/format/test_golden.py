"""The worked example of the specification: the page, the file, the reader and the engine say the same."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from seqstore.format import BlockState, Kind, layout, read_image
from seqstore.media.faults import FaultyDrive
from tests.crash.core_store import Core
from tests.crash.ops import Create, Flush, Trim, Write

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "reference" / "on-media-format.md").read_text("utf-8")
EXAMPLE = PAGE[PAGE.index("## A worked example\n") : PAGE.index("## A worked example of version 2")]
GOLDEN = (HERE / "golden-v1.img").read_bytes()

BLOCK, SEGMENT_BLOCKS, SEGMENTS = 512, 8, 16
DRIVE = 0x0123456789ABCDEF
OPENING = 0xFEDCBA9876543210
HELLO = b"Hello, medium!".ljust(BLOCK, b"\0")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedCore(Core):
    opening: int = 0


def test_the_dump_in_the_page_is_the_file() -> None:
    image = bytearray(SEGMENTS * SEGMENT_BLOCKS * BLOCK)
    rows = re.findall(r"^([0-9a-f]{6})  ((?:[0-9a-f]{2} ?){16}) \|(.{16})\|$", EXAMPLE, re.MULTILINE)
    assert len(rows) > 20
    for at, content, text in rows:
        row = bytes.fromhex(content)
        image[int(at, 16) : int(at, 16) + 16] = row
        assert text == "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
    assert bytes(image) == GOLDEN


FIELDS = [
    (int(at, 16), bytes.fromhex(content), name)
    for at, content, name in re.findall(
        r"^\| ([0-9a-f]{4}) \| `([0-9a-f ]+)` \| (\w+) \|", EXAMPLE, re.MULTILINE
    )
]


def test_the_fields_in_the_page_are_in_the_file() -> None:
    explained = bytearray(len(GOLDEN))
    for at, content, _ in FIELDS:
        assert GOLDEN[at : at + len(content)] == content, f"at {at:04x}"
        explained[at : at + len(content)] = content
    explained[3 * BLOCK : 4 * BLOCK] = HELLO
    assert bytes(explained) == GOLDEN


def test_the_fields_in_the_page_are_those_of_the_layouts() -> None:
    expected = []
    for at, what in (
        (0, layout.HEAD),
        (96, layout.ENTRY),
        (120, layout.ENTRY),
        (512, layout.CHECKPOINT_HEADER),
        (608, layout.LAYER),
        (648, layout.RUN),
        (1024, layout.HEAD),
        (1120, layout.ENTRY),
        (1144, layout.ENTRY),
        (1168, layout.ENTRY),
    ):
        expected += [
            (at + offset, what.sizes[name], name)
            for name, offset in what.offsets.items()
            if not name.startswith("reserved")
        ]
    assert [(at, len(content), name) for at, content, name in FIELDS] == expected


def test_the_reader_says_what_the_page_says() -> None:
    image = read_image(GOLDEN)
    assert image.damage == ()
    assert (image.drive, image.geometry.segment_count, image.geometry.segment_blocks) == (DRIVE, 16, 8)
    first, second = [record.summary for record in image.records()]
    assert [entry.kind for entry in first.entries] == [Kind.CHECKPOINT, Kind.CHECKPOINT_END]
    assert [entry.kind for entry in second.entries] == [Kind.CREATE, Kind.DATA, Kind.TRIM]
    (volume,) = image.volumes
    assert (volume.number, volume.tenant, volume.size_bytes, volume.extents()) == (1, 7, 2048, ())
    states = [image.block(mba).state for mba in range(5)]
    assert states == [BlockState.SUMMARY] * 3 + [BlockState.DEAD, BlockState.FREE]
    dead = image.block(3)
    assert (dead.tenant, dead.volume, dead.died) == (7, 1, 4)
    assert image.recovered.verified_records == 1
    assert image.state.opening == OPENING
    assert image.recovered.clean is False


@pytest.mark.parametrize("attempt", [1, 2])
def test_the_engine_writes_it_again(attempt: int) -> None:
    drive = FaultyDrive(len(GOLDEN), block_size=BLOCK, zone_size=SEGMENT_BLOCKS * BLOCK)
    store = NamedCore(drive=DRIVE, opening=OPENING).create(drive)
    for op in (Create(1, 7, 2048), Write(1, BLOCK, HELLO), Trim(1, BLOCK, BLOCK), Flush()):
        store.apply(op)
    assert drive.image() == GOLDEN
