"""One summary block: what it says, and every rule that can be broken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from seqstore.errors import FormatError, VersionError
from seqstore.format import Geometry, Kind, Summary, parse_summary
from seqstore.format.summary import tagged_checksum
from tests.format import packing
from tests.format.packing import Entry, Head, put_summary

HEAD = Head(
    drive=0x1122334455667788,
    sequence=7,
    mba=17,
    segment_blocks=8,
    block_count=64,
    previous=0xAABBCCDD,
    open=1,
    position=90,
    flushed=5,
    checkpoint=3,
    checkpoint_mba=11,
    class_id=63,
)
ENTRIES = [
    Entry(packing.DATA, 9, 4, 0x12345678),
    Entry(packing.TRIM, 3, 4, 2),
    Entry(packing.DATA, 2**38 - 1, 2**32 - 1, 0, 1),
]


def parse(head: Head = HEAD, entries: list[Entry] | None = None, **more: Any) -> Summary:
    return parse_summary(put_summary(head, ENTRIES if entries is None else entries, **more), HEAD.mba)


def test_everything_is_read() -> None:
    summary = parse()
    assert summary.geometry == Geometry(block_size=512, segment_blocks=8, block_count=64)
    for name in ("drive", "sequence", "mba", "previous", "open", "position", "flushed", "checkpoint"):
        assert getattr(summary, name) == getattr(HEAD, name)
    assert (summary.checkpoint_mba, summary.blocks, summary.entry_count) == (11, 2, 3)
    assert (summary.window, summary.class_id, summary.ends_request) == (1, 63, True)
    assert (summary.segment, summary.end, summary.end_position) == (2, 20, 93)
    assert [(*entry,) for entry in ENTRIES] == [
        (e.kind, e.lba, e.volume, e.value, e.flags, 0) for e in summary.entries
    ]
    assert [mba for _, mba in summary.placed()] == [18, 19, 19]
    assert [entry.of_request for entry in summary.entries] == [True, True, False]


def test_a_full_summary_of_the_largest_block() -> None:
    count = (65536 - 96) // 24
    head = replace(HEAD, block_shift=16, segment_blocks=4096, block_count=4096 * 5, open=0)
    summary = parse(head, [Entry(packing.DATA, lba, 1) for lba in range(count)], block_size=65536)
    assert (count, summary.blocks, summary.end) == (2726, 2726, 17 + 1 + 2726)


def test_the_checksum_of_a_block_covers_its_owner() -> None:
    block = bytes(range(256)) * 2
    assert tagged_checksum(3, 4, block) == packing.tagged(3, 4, block)
    assert len({tagged_checksum(*owner, block) for owner in ((3, 4), (4, 3), (3, 5))}) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"magic": b"SEQSREC2"}, "begins with"),
        ({"checksum": 1}, "torn or damaged"),
        ({"block_shift": 10}, "block_shift is 10"),
        ({"reserved_11": 1}, "reserved bytes 11 to 11 are 01"),
        ({"class_id": 64}, "it is of class 64"),
        ({"class_id": 65535}, "it is of class 65535"),
        ({"reserved_88": b"\0" * 7 + b"\1"}, "reserved bytes 88 to 95"),
        ({"sequence": 0, "flushed": 0, "checkpoint": 0, "checkpoint_mba": 0}, "sequence is 0"),
        ({"sequence": 1, "flushed": 0, "checkpoint": 0, "checkpoint_mba": 0}, "names one before it"),
        ({"sequence": 2**62 + 1}, "more than any log can write"),
        ({"mba": 16}, "names block 16 as its own"),
        ({"entries": 18}, "18 entries; 17 have room"),
        ({"entries": 2}, "bytes behind its 2 entries are not zero"),
        ({"blocks": 3}, "2 entries have a block, 3 data blocks are announced"),
        ({"open": 4}, "4 of 3 entries are open"),
        ({"flushed": 7}, "record 7 says that record 7 is flushed"),
        ({"flushed": 2**64 - 1}, "is flushed"),
        ({"checkpoint": 7}, "names a checkpoint at record 7"),
        ({"checkpoint_mba": 64}, "names a checkpoint at block 64"),
        ({"checkpoint": 0}, "names a checkpoint at block 11"),
        ({"segment_blocks": 3, "block_count": 63}, "segments of 3 blocks"),
        ({"block_count": 66}, "multiple"),
        ({"block_count": 16}, "beyond the 16 blocks"),
        ({"block_count": 2**32 - 8}, "below 2"),
        ({"segment_blocks": 128}, "segments of 128 blocks on a drive of 64"),
    ],
)
def test_a_head_that_breaks_a_rule(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        parse(replace(HEAD, **changes))
    assert "block 17" in str(caught.value)
    assert not isinstance(caught.value, VersionError)


def test_numbers_of_seals_have_room_for_the_sequence() -> None:
    most = 2**48 - 2**40
    assert parse(replace(HEAD, version=2, sequence=most), []).sequence == most
    with pytest.raises(FormatError, match="more than any log can write"):
        parse(replace(HEAD, version=2, sequence=most + 1), [])


def test_open_is_1_where_a_request_goes_on_through_a_record_without_entries() -> None:
    assert parse(replace(HEAD, open=1), []).ends_request is False
    assert parse(replace(HEAD, open=0), []).ends_request is True
    with pytest.raises(FormatError, match="2 of 0 entries are open"):
        parse(replace(HEAD, open=2), [])


def test_a_record_beyond_its_segment() -> None:
    with pytest.raises(FormatError, match="7 data blocks reach beyond the segment"):
        parse(HEAD, [Entry(packing.DATA, lba, 1) for lba in range(7)])


@pytest.mark.parametrize("version", [0, 3, 65535])
def test_another_version_is_told_apart_from_damage(version: int) -> None:
    said = f"of version {version}; this reader knows versions up to 2"
    with pytest.raises(VersionError, match=said) as caught:
        parse(replace(HEAD, version=version))
    assert (caught.value.found, caught.value.expected) == (version, 2)


def test_a_damaged_version_is_damage() -> None:
    block = bytearray(put_summary(HEAD, ENTRIES))
    block[8] = 2
    with pytest.raises(FormatError, match="torn or damaged") as caught:
        parse_summary(bytes(block), 17)
    assert not isinstance(caught.value, VersionError)


@pytest.mark.parametrize(
    "entry",
    [
        Entry(0),
        Entry(14),
        Entry(255),
        Entry(packing.DATA, 0, 0),
        Entry(packing.DATA, 0, 2**32),
        Entry(packing.DATA, 2**38, 1),
        Entry(packing.DATA, 0, 1, 0, 2),
        Entry(packing.DATA, 0, 1, 0, 4),
        Entry(packing.DATA, 0, 1, reserved=1),
        Entry(packing.TRIM, 0, 1, 0),
        Entry(packing.TRIM, 2**38 - 1, 1, 2),
        Entry(packing.TRIM, 0, 1, 1, 1),
        Entry(packing.DELETE, 1, 1),
        Entry(packing.DELETE, 0, 1, 1),
        Entry(packing.DELETE, 0, 0),
        Entry(packing.CREATE, 0, 1, 1),
        Entry(packing.CREATE, 2**38 * 512 + 1, 1, 1),
        Entry(packing.CREATE, 1, 1, 0),
        Entry(packing.CREATE, 1, 1, 1, 2),
        Entry(packing.RESIZE, 0, 1),
        Entry(packing.RESIZE, 1, 1, 1),
        Entry(packing.SNAPSHOT, 0, 1),
        Entry(packing.SNAPSHOT, 2, 1, 1),
        Entry(packing.CLONE, 0, 1, 1),
        Entry(packing.CLONE, 2, 3, 0),
        Entry(packing.ROLLBACK, 3, 1, 0),
        Entry(packing.ROLLBACK, 3, 1, 2, 1),
        Entry(packing.CHECKPOINT, 64, 0),
        Entry(packing.CHECKPOINT, 0, 1),
        Entry(packing.END, 0, 1, 1),
        Entry(packing.END, 1, 64, 1),
        Entry(packing.END, 1, 1, 0),
        Entry(packing.END, 1, 1, 1, 2),
        Entry(packing.PAD, 1),
        Entry(packing.PAD, 0, 1),
        Entry(packing.OPENED, 0, 1),
        Entry(packing.OPENED, 0, 0, 1),
        Entry(packing.FREED, 8),
        Entry(packing.FREED, 1, 1),
        Entry(packing.FREED, 1, 0, 1),
        Entry(packing.FREED, 1, 0, 0, 1),
    ],
    ids=str,
)
def test_an_entry_that_breaks_a_rule(entry: Entry) -> None:
    with pytest.raises(FormatError, match="entry 0"):
        parse(replace(HEAD, open=0), [entry])


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_has_a_right_form(kind: Kind) -> None:
    forms = {
        Kind.DELETE: (0, 1, 0),
        Kind.RESIZE: (1, 1, 0),
        Kind.SNAPSHOT: (1, 1, 0),
        Kind.CHECKPOINT: (1, 0, 1),
        Kind.PAD: (0, 0, 1),
        Kind.OPENED: (2**64 - 1, 0, 0),
        Kind.FREED: (7, 0, 0),
    }
    lba, volume, value = forms.get(kind, (1, 1, 1))
    (entry,) = parse(replace(HEAD, open=0), [Entry(kind, lba, volume, value)]).entries
    assert (entry.kind, entry.lba, entry.volume, entry.value) == (kind, lba, volume, value)
    assert entry.has_block == (kind in {Kind.DATA, Kind.CHECKPOINT, Kind.PAD})


def test_opened_is_the_first_entry() -> None:
    with pytest.raises(FormatError, match="entry 1 is OPENED"):
        parse(replace(HEAD, open=0), [Entry(packing.DELETE, 0, 1), Entry(packing.OPENED)])


def test_every_flipped_bit_is_seen() -> None:
    block = bytearray(put_summary(HEAD, ENTRIES))
    for bit in range(len(block) * 8):
        block[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            parse_summary(bytes(block), 17)
        block[bit // 8] ^= 1 << bit % 8
