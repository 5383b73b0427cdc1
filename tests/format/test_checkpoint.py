"""The stream of a checkpoint: what it says, and every rule that can be broken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from seqstore.errors import FormatError, VersionError
from seqstore.format import BlockState, Checkpoint, Geometry, parse_checkpoint
from seqstore.format.checkpoint import HeadRow
from tests.format.packing import DEAD, LIVE, MOVED, SUMMARY, Stream, put_stream, word

GEOMETRY = Geometry(block_size=512, segment_blocks=8, block_count=80)
HOLE = (1 << 5 | 1 << 511).to_bytes(64, "little")
WORDS = [
    (word(SUMMARY), 0),
    (word(LIVE, 1, 2**38 - 1), 0xFFFFFFFF),
    (word(DEAD, 2, 77), 0),
    (word(MOVED, 2, 2**38 - 1), 0),
    (word(DEAD, 0, 3), 0),
    *[(0, 0)] * 3,
]
STREAM = Stream(
    drive=5,
    sequence=9,
    position=100,
    opening=2**64 - 1,
    last_number=6,
    open_segment=2,
    open_blocks=3,
    volumes=[(1, 1, 5000, 3, 0, 1), (3, 1, 4096, 1, 1, 3)],
    layers=[(0, 0, 0, 0, 0), (1, 1, 1, 0, 0), (2, 1, 2, 0, 1), (3, 1, 1, 1, 0)],
    holes=[(3, 0, HOLE), (3, 2**29 - 1, HOLE)],
    heads=[(63, 8, 8, 0), (1, 9, 0, 0)],
    free=[(3, 3), (0, 1)],
    sealed=[(1, 1), (7, 1), (6, 1)],
    tables=[(1, WORDS), (7, WORDS)],
)


def parse(stream: Stream = STREAM) -> Checkpoint:
    packed = put_stream(stream)
    return parse_checkpoint(packed.ljust(-(-len(packed) // 512) * 512, b"\0"), GEOMETRY)


def parse_all(stream: Stream) -> None:
    """Parse, and walk the tables too, which are read as needed."""
    for _ in parse(stream).tables():
        pass


def test_everything_is_read() -> None:
    checkpoint = parse()
    assert (checkpoint.drive, checkpoint.sequence, checkpoint.position, checkpoint.last_number) == (
        5,
        9,
        100,
        6,
    )
    assert checkpoint.opening == 2**64 - 1
    assert checkpoint.heads == tuple(
        HeadRow(class_id=class_id, segment=segment, open_blocks=blocks)
        for class_id, segment, blocks in ((0, 2, 3), (63, 8, 8), (1, 9, 0))
    )
    first, second = checkpoint.volumes
    assert (first.number, first.tenant, first.size_bytes, first.layer, first.origin, first.flags) == (
        1, 1, 5000, 3, 0, 1,
    )  # fmt: skip
    assert second.flags == 3
    assert [(row.number, row.parent, row.flags) for row in checkpoint.layers] == [
        (0, 0, 0), (1, 0, 0), (2, 0, 1), (3, 1, 0),
    ]  # fmt: skip
    assert checkpoint.holes == ((3, 0, 1 << 5 | 1 << 511), (3, 2**29 - 1, 1 << 5 | 1 << 511))
    assert (checkpoint.free, checkpoint.sealed) == (((3, 3), (0, 1)), ((1, 1), (7, 1), (6, 1)))
    tables = [*checkpoint.tables()]
    assert [(table.segment, list(table.words)) for table in tables] == [(1, WORDS), (7, WORDS)]
    assert [value >> 61 for value, _ in tables[0].words[:5]] == [
        BlockState.SUMMARY, BlockState.LIVE, BlockState.DEAD, BlockState.MOVED, BlockState.DEAD,
    ]  # fmt: skip


def test_the_smallest_one() -> None:
    empty = Stream(
        drive=0, sequence=1, position=0, last_number=0, open_segment=0, open_blocks=0, free=[(1, 9)]
    )
    checkpoint = parse(empty)
    assert (checkpoint.volumes, checkpoint.stream_bytes) == ((), 96 + 40 + 8)
    assert [*checkpoint.tables()] == []


LAYERS = STREAM.layers
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "magic": ({"magic": b"SEQSCKP2"}, "begins with"),
    "a head too many": ({"heads_count": 3}, "its parts take"),
    "heads beyond everything": ({"heads_count": 2**32 - 1}, "its parts take"),
    "reserved bytes of a head": ({"heads": [(1, 8, 8, 1), (2, 9, 0, 0)]}, "reserved bytes 12 to 15"),
    "a class": ({"heads": [(64, 8, 8, 0), (2, 9, 0, 0)]}, "of class 64"),
    "two heads of a class": ({"heads": [(5, 8, 8, 0), (5, 9, 0, 0)]}, "two heads are of one class"),
    "a second head of class 0": ({"heads": [(0, 8, 8, 0), (2, 9, 0, 0)]}, "two heads are of one class"),
    "two heads in a segment": ({"heads": [(1, 8, 8, 0), (2, 8, 0, 0)]}, "open twice"),
    "a head beyond": ({"heads": [(1, 8, 8, 0), (2, 10, 0, 0)]}, "segment 10 is open"),
    "blocks of a head": ({"heads": [(1, 8, 9, 0), (2, 9, 0, 0)]}, "9 blocks of the open segment"),
    "a head in a free segment": ({"heads": [(1, 8, 8, 0), (2, 3, 0, 0)]}, "two runs|longer"),
    "a segment of no head": ({"heads": [(1, 8, 8, 0)]}, "knows 9 of the drive's 10 segments"),
    "a count too high": ({"counts": (3, 4, 2, 2, 2, 2)}, "its parts take"),
    "a count beyond everything": ({"counts": (2**32 - 1,) * 6}, "its parts take"),
    "a length too high": ({"stream_bytes": 2**64 - 1}, "its parts take"),
    "no layer": ({"layers": [], "volumes": [], "holes": [], "tables": []}, "0 layers"),
    "the log is somebody": ({"layers": [(0, 1, 0, 0, 0), *LAYERS[1:]]}, "first layer is used"),
    "layers out of order": (
        {"layers": [LAYERS[0], LAYERS[2], LAYERS[1], LAYERS[3]]},
        "layer 1 behind layer 2",
    ),
    "a layer twice": ({"layers": [*LAYERS, LAYERS[-1]]}, "layer 3 behind layer 3"),
    "flags of a layer": ({"layers": [*LAYERS, (5, 1, 1, 0, 2)]}, "has flags 2"),
    "a layer of nobody": ({"layers": [*LAYERS, (5, 0, 1, 0, 0)]}, "of tenant 0"),
    "a layer of no volume": ({"layers": [*LAYERS, (5, 1, 0, 0, 0)]}, "of volume 0"),
    "a layer on itself": ({"layers": [*LAYERS, (5, 1, 1, 5, 0)]}, "lies on layer 5"),
    "a layer on a dropped one": ({"layers": [*LAYERS, (5, 1, 1, 2, 0)]}, "lies on layer 2"),
    "a layer on nothing": ({"layers": [*LAYERS, (5, 1, 1, 4, 0)]}, "lies on layer 4"),
    "a dropped layer on another": ({"layers": [*LAYERS, (5, 1, 1, 1, 1)]}, "lies on layer 1"),
    "a number not given": ({"last_number": 2}, "last number 2"),
    "a large number": ({"last_number": 2**32}, "last number"),
    "holes in no layer": ({"holes": [(4, 0, HOLE)]}, "holes in layer 4"),
    "holes in the log": ({"holes": [(0, 0, HOLE)]}, "holes in layer 0"),
    "holes in a dropped layer": ({"holes": [(2, 0, HOLE)]}, "holes in layer 2"),
    "no hole": ({"holes": [(3, 0, bytes(64))]}, "without a hole"),
    "holes twice": ({"holes": [(3, 0, HOLE), (3, 0, HOLE)]}, "there twice"),
    "holes beyond": ({"holes": [(3, 2**29, HOLE)]}, "beyond any volume"),
    "volume 0": ({"volumes": [(0, 1, 1, 1, 0, 0)]}, "a volume of number 0"),
    "a volume not given": ({"volumes": [(7, 1, 1, 1, 0, 0)]}, "a volume of number 7"),
    "a volume twice": ({"volumes": [(1, 1, 1, 1, 0, 0), (1, 1, 1, 3, 0, 0)]}, "volume 1 is there twice"),
    "a volume of nobody": ({"volumes": [(1, 0, 1, 1, 0, 0)]}, "of tenant 0"),
    "a volume of no size": ({"volumes": [(1, 1, 0, 1, 0, 0)]}, "0 bytes"),
    "flags of a volume": ({"volumes": [(1, 1, 1, 1, 0, 4)]}, "flags 4"),
    "a volume on no layer": ({"volumes": [(1, 1, 1, 4, 0, 0)]}, "names layer 4"),
    "a volume on the log": ({"volumes": [(1, 1, 1, 0, 0, 0)]}, "names layer 0"),
    "a volume on a dropped layer": ({"volumes": [(1, 1, 1, 2, 0, 0)]}, "names layer 2"),
    "a layer with two names": ({"volumes": [(1, 1, 1, 1, 0, 0), (2, 1, 1, 1, 0, 0)]}, "named by volume 2"),
    "origin": ({"volumes": [(1, 1, 1, 1, 2**32, 0)]}, "comes from"),
    "the open segment": ({"open_segment": 10}, "segment 10 is open"),
    "the open blocks": ({"open_blocks": 9}, "9 blocks of the open segment"),
    "a run of nothing": ({"free": [(3, 0)]}, "run of 0"),
    "a run beyond": ({"free": [(3, 8)]}, "run of 8"),
    "a long run": ({"free": [(3, 2**32 - 1)]}, "run of"),
    "free and sealed": ({"sealed": [(3, 1)]}, "two runs|longer"),
    "free and open": ({"free": [(2, 1)], "sealed": []}, "two runs"),
    "a segment that is nothing": ({"sealed": [(1, 1), (7, 1)]}, "knows 9 of the drive's 10 segments"),
    "live in a free segment": ({"tables": [(3, WORDS)]}, "in use in a free segment"),
    "tables out of order": ({"tables": [(7, WORDS), (1, WORDS)]}, "segment 1 behind one of segment 7"),
    "a table beyond": ({"tables": [(10, WORDS)]}, "a table of segment 10"),
    "a table twice": ({"tables": [(1, WORDS), (1, WORDS)]}, "segment 1 behind one of segment 1"),
    "a state": ({"tables": [(1, [(word(5), 0), *WORDS[1:]])]}, "state 5"),
    "a layer index": ({"tables": [(1, [(word(DEAD, 4), 0), *WORDS[1:]])]}, "layer index 4"),
    "a live block of the log": ({"tables": [(1, [(word(LIVE, 0), 0), *WORDS[1:]])]}, "of the log itself"),
    "a free block of somebody": ({"tables": [(1, [(word(0, 1), 0), *WORDS[1:]])]}, "a free block"),
    "a summary of somebody": ({"tables": [(1, [(word(SUMMARY, 1), 0), *WORDS[1:]])]}, "a summary"),
    "a checksum of a dead block": ({"tables": [(1, [(word(DEAD, 1), 1), *WORDS[1:]])]}, "not live"),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_stream_that_breaks_a_rule(rule: str) -> None:
    changes, message = BROKEN[rule]
    with pytest.raises(FormatError, match=message):
        parse_all(replace(STREAM, **changes))


def test_a_page_too_many_and_one_too_few() -> None:
    packed = put_stream(STREAM)
    pages = -(-len(packed) // 512)
    for size in (pages - 1, pages + 1):
        with pytest.raises(FormatError, match=f"take {pages} pages, {size} were found"):
            parse_checkpoint(packed.ljust(size * 512, b"\0")[: size * 512], GEOMETRY)


def test_padding_is_zero() -> None:
    packed = put_stream(STREAM)
    assert len(packed) % 512
    with pytest.raises(FormatError, match="not padded with zeros"):
        parse_checkpoint(packed.ljust(-(-len(packed) // 512) * 512, b"\1"), GEOMETRY)


def test_too_short_for_a_header() -> None:
    with pytest.raises(FormatError, match="95 bytes; the header alone has 96"):
        parse_checkpoint(bytes(95), GEOMETRY)


def test_another_version() -> None:
    with pytest.raises(VersionError, match="of version 2") as caught:
        parse(replace(STREAM, version=2))
    assert caught.value.found == 2
