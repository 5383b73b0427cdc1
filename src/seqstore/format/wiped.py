"""Looks whether a drive holds nothing but what it was overwritten with: a second opinion.

Shares no code with the core, which overwrites drives and verifies them too: the random stream is computed
here by another way, the comparison is Python's.

References
----------
FIPS 197, "Advanced Encryption Standard"; NIST SP 800-38A, counter mode.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from seqstore.format.medium import Source

_CHUNK_BYTES = 1 << 20
_ROUNDS = 14  # of AES-256
_KEY_WORDS = 8
_FIRST_RUNS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was found.

    Attributes
    ----------
    blocks, read : int
        Of the drive, and those that were read or could not be.
    mismatches : int
        Blocks that hold something else.
    first_mismatches, unreadable : tuple of (int, int)
        First block and number of blocks; of the mismatches the first 64 runs.
    """

    blocks: int
    read: int
    mismatches: int
    first_mismatches: tuple[tuple[int, int], ...]
    unreadable: tuple[tuple[int, int], ...]


def read_wiped(
    source: Source,
    blocks: int,
    block_size: int,
    *,
    pattern: bytes = b"",
    seed: bytes = b"",
    stop_at_first: bool = False,
) -> Reading:
    """Read all blocks of a drive and compare them.

    Parameters
    ----------
    source : Source
    blocks, block_size : int
    pattern : bytes
        That should be repeated from the first byte on.
    seed : bytes
        Or, where there is no pattern, of the random stream: 32 bytes.
    stop_at_first : bool
        Whether to stop behind the first part of the drive that holds a mismatch.
    """
    strange: list[tuple[int, int]] = []
    unreadable: list[tuple[int, int]] = []
    mismatches = read = 0
    for first in range(0, blocks, _CHUNK_BYTES // block_size):
        count = min(_CHUNK_BYTES // block_size, blocks - first)
        expected = _expected(first * block_size, count * block_size, pattern, seed)
        if _read(source, first, count, block_size) != expected:
            for block in range(first, first + count):
                at = (block - first) * block_size
                found = _read(source, block, 1, block_size)
                if found is None:
                    _add(unreadable, block)
                elif found != expected[at : at + block_size]:
                    _add(strange, block)
                    mismatches += 1
        strange = strange[:_FIRST_RUNS]
        read = first + count
        if stop_at_first and mismatches:
            break
    return Reading(
        blocks=blocks,
        read=read,
        mismatches=mismatches,
        first_mismatches=tuple(strange),
        unreadable=tuple(unreadable),
    )


def _read(source: Source, first: int, count: int, block_size: int) -> bytes | None:
    try:
        data = source.read(first * block_size, count * block_size)
    except OSError:
        return None
    return data if len(data) == count * block_size else None


def _add(runs: list[tuple[int, int]], block: int) -> None:
    if runs and sum(runs[-1]) == block:
        runs[-1] = (runs[-1][0], runs[-1][1] + 1)
    else:
        runs.append((block, 1))


def _expected(offset: int, length: int, pattern: bytes, seed: bytes) -> bytes:
    if not pattern:
        return stream(seed, offset, length)
    start = offset % len(pattern)
    return (pattern * (length // len(pattern) + 2))[start : start + length]


# ---- the random stream -----------------------------------------------------------------------------
#
# All blocks of the cipher at once: bytes of the same place of their states form one string, a "plane". What a
# round does to a byte is a table of 256, and `bytes.translate` applies it to a plane; exclusive-or is that of
# long integers.


def _times_two(value: int) -> int:
    return (value << 1 ^ 0x11B) if value & 0x80 else value << 1


def _substitutions() -> list[int]:
    """Compute the S-box: inverses in GF(2**8), then the affine map."""
    power, logarithm, exponent = 1, [0] * 256, [0] * 255
    for index in range(255):
        logarithm[power], exponent[index] = index, power
        power ^= _times_two(power)  # by the generator 3
    box = []
    for value in range(256):
        inverse = exponent[-logarithm[value] % 255] if value else 0
        result = 0x63
        for turn in range(5):
            result ^= (inverse << turn | inverse >> (8 - turn)) & 0xFF
        box.append(result)
    return box


_BOX = _substitutions()
_TWICE = bytes(_times_two(value) for value in _BOX)
_ONCE = bytes(_BOX)
_ADD = [bytes(value ^ other for value in range(256)) for other in range(256)]
# After ShiftRows, the byte at row r and column c comes from column c + r.
_SHIFTED = [[4 * ((column + row) % 4) + row for row in range(4)] for column in range(4)]


def _round_keys(key: bytes) -> list[bytes]:
    words = [list(key[4 * i : 4 * i + 4]) for i in range(_KEY_WORDS)]
    constant = 1
    for number in range(_KEY_WORDS, 4 * (_ROUNDS + 1)):
        word = list(words[-1])
        if number % _KEY_WORDS == 0:
            word = [_BOX[value] for value in word[1:] + word[:1]]
            word[0] ^= constant
            constant = _times_two(constant)
        elif number % _KEY_WORDS == 4:
            word = [_BOX[value] for value in word]
        words.append([a ^ b for a, b in zip(word, words[-_KEY_WORDS], strict=True)])
    flat = bytes(value for word in words for value in word)
    return [flat[16 * i : 16 * i + 16] for i in range(_ROUNDS + 1)]


def _counters(first: int, count: int) -> list[bytes]:
    """Return the planes of so many counters, big-endian."""
    numbers = b"".join(number.to_bytes(16, "big") for number in range(first, first + count))
    return [numbers[place::16] for place in range(16)]


def _mixed_columns(planes: list[bytes], count: int) -> Iterator[bytes]:
    """SubBytes, ShiftRows and MixColumns."""
    for sources in _SHIFTED:
        once = [int.from_bytes(planes[place].translate(_ONCE), "little") for place in sources]
        twice = [int.from_bytes(planes[place].translate(_TWICE), "little") for place in sources]
        for row in range(4):
            below, under, last = (row + 1) % 4, (row + 2) % 4, (row + 3) % 4
            mixed = twice[row] ^ twice[below] ^ once[below] ^ once[under] ^ once[last]
            yield mixed.to_bytes(count, "little")


def stream(seed: bytes, offset: int, length: int) -> bytes:
    """Compute a part of the stream of AES-256 in counter mode over zeros.

    Parameters
    ----------
    seed : bytes
        The key, 32 bytes.
    offset, length : int
        In bytes, multiples of 16; the counter at byte n is n / 16.
    """
    count = length // 16
    keys = _round_keys(seed)
    planes = _added(_counters(offset // 16, count), keys[0])
    for key in keys[1:-1]:
        planes = _added(list(_mixed_columns(planes, count)), key)
    shifted = [planes[place].translate(_ONCE) for sources in _SHIFTED for place in sources]
    planes = _added(shifted, keys[-1])
    result = bytearray(length)
    for place in range(16):
        result[place::16] = planes[place]
    return bytes(result)


def _added(planes: list[bytes], key: bytes) -> list[bytes]:
    return [plane.translate(_ADD[value]) for plane, value in zip(planes, key, strict=True)]
