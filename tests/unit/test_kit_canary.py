"""Canaries: every fragment names its owner, and a damaged one nobody."""

from __future__ import annotations

import zlib

import pytest

from seqstore.testing.canary import HEADER_BYTES, Canary, find, find_once, parse, stamp, stamp_block

BLOCK = 4096


def block(*, tenant: int = 3, volume: int = 5, lba: int = 7, version: int = 11, nonce: int = 13) -> bytes:
    return stamp_block(BLOCK, tenant=tenant, volume=volume, lba=lba, version=version, nonce=nonce)


def test_a_header_says_what_was_stamped() -> None:
    assert parse(block(), 3 * 512) == Canary(tenant=3, volume=5, lba=7, version=11, cell=3, nonce=13)


@pytest.mark.parametrize("start", [0, 1, 31, 32, 400, 449])
def test_every_fragment_of_63_bytes_of_a_cell_names_its_owner(start: int) -> None:
    fragment = block()[1024 + start : 1024 + start + 63]
    assert [canary.cell for _, canary in find(b"\0" * 5 + fragment)] == [2]


@pytest.mark.parametrize("at", range(HEADER_BYTES))
def test_a_damaged_header_is_none(at: int) -> None:
    damaged = bytearray(block())
    damaged[at] ^= 1
    assert parse(bytes(damaged)) is None


@pytest.mark.parametrize("size", [32, 63, 512, 700, 4096])
def test_blocks_of_any_size(size: int) -> None:
    data = stamp(size, tenant=1, volume=1, lba=4, count=3, version=1, nonce=1)
    assert len(data) == 3 * size
    assert parse(data, 2 * size) == Canary(tenant=1, volume=1, lba=6, version=1, cell=0, nonce=1)


def test_canaries_differ_for_a_crc() -> None:
    assert len({zlib.crc32(block(version=version)) for version in range(1, 200)}) == 199


class TestRawMedia:
    def test_each_header_is_found_once(self) -> None:
        media = [bytes(BLOCK), block(version=1), block(version=2), block(version=1)]
        found = find_once(media, nonce=13)
        assert {(canary.version, canary.cell) for canary in found} == {
            (v, c) for v in (1, 2) for c in range(8)
        }
        assert found[Canary(tenant=3, volume=5, lba=7, version=2, cell=1, nonce=13)] == 2 * BLOCK + 512

    @pytest.mark.parametrize("shift", [1, 17, 33])
    def test_at_any_offset(self, shift: int) -> None:
        found = find_once([bytes(shift), memoryview(block())], nonce=13)
        assert min(found.values()) == shift
        assert len(found) == 8

    def test_across_pieces(self) -> None:
        image = bytes((1 << 20) - 16) + block()[:HEADER_BYTES] + bytes(100)
        pieces = [image[: 1 << 20], image[1 << 20 :]]
        assert list(find_once(pieces, nonce=13).values()) == [(1 << 20) - 16]

    def test_not_of_another_run(self) -> None:
        assert find_once([block()], nonce=14) == {}
