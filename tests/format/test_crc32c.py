"""The checksum, against published values and the plain definition."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqstore.format import crc32c
from tests.format import packing


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        # RFC 3720 (iSCSI), appendix B.4.
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
    ],
)
def test_published_values(message: bytes, expected: int) -> None:
    assert crc32c(message) == expected


@given(st.binary(max_size=700))
def test_is_what_the_definition_gives(message: bytes) -> None:
    assert crc32c(message) == packing.crc(message)


@pytest.mark.parametrize("size", [*range(15, 60), 511, 512, 528, 4096, 4112, 65536 + 16, 200_001])
def test_at_the_sizes_that_matter(size: int) -> None:
    message = random.Random(size).randbytes(size)
    assert crc32c(message) == packing.crc(message)
    assert crc32c(memoryview(bytearray(message))) == packing.crc(message)


@pytest.mark.parametrize("size", [16, 512, 4096])
def test_sees_every_bit(size: int) -> None:
    message = bytearray(random.Random(1).randbytes(size))
    right = crc32c(message)
    for bit in range(0, size * 8, 37):
        message[bit // 8] ^= 1 << bit % 8
        assert crc32c(message) != right
        message[bit // 8] ^= 1 << bit % 8
