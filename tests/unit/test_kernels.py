"""CRC-32C by every kernel that this processor runs, against the definition and published values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqstore._native._core import ffi, lib

POLYNOMIAL = 0x82F63B78
"""Castagnoli's, bit-reflected."""


def count_kernels() -> int:
    crc = ffi.new("uint32_t *")
    count = 0
    while lib.sq_kernels_try(count, 0, b"", 0, ffi.NULL, crc) == 0:
        count += 1
    return count


KERNELS = range(count_kernels())


def crc_by_definition(state: int, data: bytes) -> int:
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (POLYNOMIAL if state & 1 else 0)
    return state


def crc(index: int, state: int, data: bytes) -> int:
    out = ffi.new("uint32_t *")
    assert lib.sq_kernels_try(index, state, data, len(data), ffi.NULL, out) == 0
    return int(out[0])


def test_the_portable_kernel_is_always_among_them() -> None:
    assert len(KERNELS) >= 1


@pytest.mark.parametrize("index", KERNELS)
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
    ids=["check value", "zeros", "ones", "ascending", "descending"],
)
def test_published_values(index: int, data: bytes, expected: int) -> None:
    """The check value of the catalogue of CRCs, and the examples of RFC 3720, appendix B.4."""
    assert crc(index, 0xFFFFFFFF, data) ^ 0xFFFFFFFF == expected


@pytest.mark.parametrize("index", KERNELS)
@given(
    state=st.integers(0, 2**32 - 1),
    length=st.one_of(
        st.integers(0, 600),
        st.sampled_from([255, 256, 257, 503, 504, 505, 511, 512, 513, 768, 4079, 4080, 4081, 4096, 8200]),
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_length(index: int, state: int, length: int, seed: int) -> None:
    data = np.random.default_rng(seed).bytes(length)
    assert crc(index, state, data) == crc_by_definition(state, data)


@pytest.mark.parametrize("index", KERNELS)
@pytest.mark.parametrize("blocks", [1, 2, 3, 8, 16, 128])
@pytest.mark.parametrize("shift", [0, 1, 63])
def test_a_copy_is_whole_and_has_the_checksum_of_what_was_copied(index: int, blocks: int, shift: int) -> None:
    size = 512 * blocks
    source = np.random.default_rng(blocks).integers(0, 256, size + shift, np.uint8)[shift:]
    space = np.full(size + 128, 0xA5, np.uint8)
    start = -space.ctypes.data % 64
    target = space[start : start + size]
    out = ffi.new("uint32_t *")
    status = lib.sq_kernels_try(
        index, 7, ffi.from_buffer(source), size, ffi.from_buffer("uint8_t[]", target, True), out
    )
    assert status == 0
    assert (target == source).all()
    assert (space[:start] == 0xA5).all()
    assert (space[start + size :] == 0xA5).all()
    assert out[0] == crc(len(KERNELS) - 1, 7, source.tobytes())
