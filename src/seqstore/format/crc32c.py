"""CRC-32C in plain Python, at hundreds of megabytes a second.

A CRC is the remainder of the message, read as a polynomial over GF(2), by the polynomial P. Python has no
carry-less product, but its integers shift and exclusive-or thousands of bits at once. So a long message
is folded: written as ``high * x**k + low``, it has the same remainder as ``high * (x**k mod P) + low``,
which is about half as long. A product by a polynomial of few terms is a few shifts; ``k`` is chosen where
``x**k mod P`` has few. What is left, some bytes, goes through the usual table.

The CRC is reflected: the first bit of the message, its highest power, is the lowest bit of the first byte.
An integer that is read little-endian therefore holds the powers in falling order from bit 0 up.

References
----------
Castagnoli, Braeuer, Herrmann, "Optimization of cyclic redundancy-check codes with 24 and 32 parity bits",
1993 (the polynomial). Gopal et al., "Fast CRC computation for generic polynomials using PCLMULQDQ
instruction", Intel, 2009 (folding).
"""

from __future__ import annotations

from functools import lru_cache

_POLYNOMIAL = 0x11EDC6F41  # x**32 is the highest bit
_POLYNOMIAL_REFLECTED = 0x82F63B78
_ONES = 0xFFFFFFFF

# Up to here the table is as fast; it must be well above 2 * 32 bits, so that folding makes it shorter.
_SHORT_BITS = 192
# So many values of k are looked at for one with few terms.
_CANDIDATES = 512


def _byte_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL_REFLECTED if value & 1 else 0)  # noqa: PLW2901
        table.append(value)
    return tuple(table)


_TABLE = _byte_table()


def _times_x(remainder: int) -> int:
    remainder <<= 1
    return remainder ^ _POLYNOMIAL if remainder >> 32 else remainder


def _power_of_x(exponent: int) -> int:
    """Compute ``x**exponent mod P`` by squaring."""
    result = 1
    for digit in bin(exponent)[2:]:
        # Squaring over GF(2) spreads the bits; the remainder is taken from the top down.
        square = int(bin(result)[2:], 4)
        for bit in range(square.bit_length() - 1, 31, -1):
            if square >> bit & 1:
                square ^= _POLYNOMIAL << (bit - 32)
        result = _times_x(square) if digit == "1" else square
    return result


@lru_cache(maxsize=64)
def _plan(length: int) -> tuple[tuple[int, int, tuple[int, ...]], ...]:
    """Say how a message of `length` bits is folded: bits of the high part, its mask, shifts of it."""
    steps = []
    while length > _SHORT_BITS:
        # The product has 31 bits more than the high part and must not be longer than the low one.
        first = (length + 31 + 1) // 2
        power = _power_of_x(first)
        candidates = []
        for k in range(first, min(first + _CANDIDATES, length)):
            candidates.append((power.bit_count(), k, power))
            power = _times_x(power)
        _, k, power = min(candidates)
        high = length - k
        shifts = tuple(k - high - term for term in range(32) if power >> term & 1)
        steps.append((high, (1 << high) - 1, shifts))
        length = k
    return (*steps, (-length % 8, length, ()))


def crc32c(data: bytes | bytearray | memoryview) -> int:
    """Compute the CRC-32C (Castagnoli) of some bytes, initial value and final exclusive-or all ones.

    Parameters
    ----------
    data : bytes-like
        The message, of any length.

    Returns
    -------
    int
        Below 2**32.
    """
    size = len(data)
    if size * 8 <= _SHORT_BITS:
        return _through_table(_ONES, data) ^ _ONES
    *folds, (padding, length, _) = _plan(size * 8)
    message = int.from_bytes(data, "little") ^ _ONES
    for high_bits, mask, shifts in folds:
        high = message & mask
        message >>= high_bits
        for shift in shifts:
            message ^= high << shift
    # Zeros before the first bit change nothing, since the initial value is in the message by now.
    rest = (message << padding).to_bytes((length + padding) // 8, "little")
    return _through_table(0, rest) ^ _ONES


def _through_table(register: int, data: bytes | bytearray | memoryview) -> int:
    for byte in bytes(data):
        register = register >> 8 ^ _TABLE[(register ^ byte) & 0xFF]
    return register
