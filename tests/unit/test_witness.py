"""The tests' own reader of summaries: its checksum by published values, its rules by breaking them.

References
----------
Check values of CRC-32C: RFC 3720 (iSCSI), appendix B.4; for "123456789" the one that catalogues of CRCs list.
"""

from __future__ import annotations

import struct

import numpy as np
import pytest

from seqstore import BlockState, Store, Volume
from tests import witness
from tests.raw_scan import Scan, records_of
from tests.small import BLOCK_SIZE, write_tagged


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
    ],
)
def test_crc32c(data: bytes, checksum: int) -> None:
    assert witness.crc32c(data) == checksum


def sealed(store: Store, volume: Volume) -> tuple[int, witness.Record]:
    """Write until a record is sealed, and find it."""
    version = 0
    while True:
        version += 1
        write_tagged(volume, range(version % 5 + 1), version)
        scan = Scan.take(store)
        found = {mba: record for mba, record in records_of(scan).items() if record.data_blocks}
        if found:
            return next(iter(found.items()))


def test_a_record_says_what_it_is(store: Store, volume: Volume) -> None:
    mba, record = sealed(store, volume)
    assert (record.mba, record.sequence) == (mba, 1)
    assert record.position == 0
    assert {entry.volume for entry in record.data} == {volume.number}


def test_checksums_cover_owner_and_content(store: Store, volume: Volume) -> None:
    mba, record = sealed(store, volume)
    raw = np.frombuffer(store.drives[0].raw(mba + 1, record.data_blocks), dtype=np.uint8)
    blocks = raw.reshape(record.data_blocks, BLOCK_SIZE)
    stored = [entry.value for entry in record.data]
    assert witness.data_checksums(record.data, blocks) == stored
    owner = struct.pack("<QQ", record.data[0].volume, record.data[0].lba)
    assert witness.crc32c(owner + blocks[0].tobytes()) == stored[0]
    stranger = witness.Entry(record.data[0].lba, volume.number + 1, 0, witness.Kind.DATA)
    assert witness.data_checksums((stranger,), blocks[:1]) != stored[:1]


def test_the_checksum_of_zeros_is_the_published_one() -> None:
    """The engine's CRC-32C, seen from outside: by a block whose checksum is known from elsewhere.

    CRC-32C is linear: the checksum of a block of zeros, with that of its owner's 16 bytes before it, is
    the register after them run over zero bytes. The witness is checked by published values above.
    """
    with Store.memory("64KiB", block_size=512, segment_size="4KiB") as store:
        volume = store.create_tenant("contoso").create_volume("zeros", "16KiB")
        while BlockState.SUMMARY not in store.drives[0].ledger()["state"] or not records_of(Scan.take(store)):
            volume.write(0, bytes(BLOCK_SIZE))
        record = next(iter(records_of(Scan.take(store)).values()))
    expected = witness.crc32c(struct.pack("<QQ", volume.number, 0) + bytes(BLOCK_SIZE))
    assert {entry.value for entry in record.data} == {expected}


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        *((offset, 99) for offset in (8, 10, 11, 16, 24, 32, 36, 40, 42, 44, 46, 48, 56, 64, 72, 76, 80, 84)),
        (88, 1),
        (96, 99),
        (104, 99),
        (116, 9),
        (117, 1),
        (511, 1),
    ],
)
def test_the_reader_notices_every_field(store: Store, volume: Volume, offset: int, value: int) -> None:
    mba, _ = sealed(store, volume)
    block = bytearray(store.drives[0].raw(mba, 1))
    assert witness.parse_summary(bytes(block)) is not None
    assert block[offset] != value
    block[offset] = value
    with pytest.raises(witness.LayoutError):
        witness.parse_summary(bytes(block))


@pytest.mark.parametrize(
    ("offset", "message"),
    [
        (8, "version"),
        (10, "blocks of 2"),
        (11, "reserved"),
        (33, "address"),
        (37, "follows"),
        (42, "blocks"),
        (45, "open"),
        (46, "class"),
        (57, "flushed"),
        (64, "checkpoint"),
        (73, "checkpoint"),
        (84, "outlives"),
        (88, "reserved"),
        (96 + 21, "flags"),
        (96 + 23, "reserved"),
        (511, "behind"),
    ],
)
def test_rules_are_checked_even_under_a_good_checksum(
    store: Store, volume: Volume, offset: int, message: str
) -> None:
    mba, _ = sealed(store, volume)
    block = bytearray(store.drives[0].raw(mba, 1))
    block[offset] = 0xEE
    block[12:16] = bytes(4)
    block[12:16] = struct.pack("<I", witness.crc32c(bytes(block)))
    with pytest.raises(witness.LayoutError, match=message):
        witness.parse_summary(bytes(block))
