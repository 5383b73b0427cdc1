"""Random draws that are the same on every machine: words of one generator, and exact arithmetic on them.

NumPy promises that the words of a `numpy.random.PCG64` of a given seed never change, and nothing of that
kind about what its generators make of them, nor about the last bits of its ``log`` and ``exp``, which differ
between processors. So everything here is made of the words by integer arithmetic, and by additions,
multiplications, divisions and square roots of doubles, which IEEE 754 defines to the last bit.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_WORD_HALF: Final = 0xFFFFFFFF
# ln 2 in two parts: the first has so few bits that its product with an exponent is exact.
_LN2_HIGH, _LN2_LOW = float.fromhex("0x1.62e42fee00000p-1"), float.fromhex("0x1.a39ef35793c76p-33")
_SQRT_HALF = 0.7071067811865476
_LOG_TERMS = 12
_EXP_TERMS = 15

# Coefficients of the routine PPND7 of AS 241: of the numerators and denominators of its three pieces.
_CENTRE = (
    (59.109374720, 159.29113202, 50.434271938, 3.3871327179),
    (67.187563600, 78.757757664, 17.895169469, 1.0),
)
_FLANK = (
    (0.17023821103, 1.3067284816, 2.7568153900, 1.4234372777),
    (0.12021132975, 0.73700164250, 1.0),
)
_TAIL = (
    (0.017337203997, 0.42868294337, 3.0812263860, 6.6579051150),
    (0.012258202635, 0.24197894225, 1.0),
)


class Draws:
    """A stream of random draws.

    Parameters
    ----------
    seed : int
        Not negative; the same seed gives the same draws, for the same calls in the same order.
    stream : int
        Not negative; streams of one seed have nothing to do with each other.
    """

    def __init__(self, seed: int, stream: int = 0) -> None:
        self._generator = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(stream,)))

    def words(self, count: int) -> NDArray[np.uint64]:
        """Return words of 64 random bits: shape (count,)."""
        return np.asarray(self._generator.random_raw(count), np.uint64)

    def floats(self, count: int) -> NDArray[np.float64]:
        """Return numbers from 0 up to, but never, 1, in steps of 2**-53: shape (count,)."""
        words = self.words(count)
        words >>= 11
        return np.asarray(words * 2.0**-53, np.float64)

    def below(self, end: int | NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
        """Return integers from 0 to `end` - 1: shape (count,).

        Parameters
        ----------
        end : int or uint64 array of shape (count,)
            From 1 to 2**32. Of all integers none is likelier than another by more than 2**-32 of it.
        count : int
        """
        fixed = self.fixed_below(end, count)
        fixed >>= 32
        return fixed

    def fixed_below(self, end: int | NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
        """Return fixed-point numbers from 0 up to `end`, 32 bits of them behind the point: shape (count,)."""
        low = self.words(count)
        high = low >> np.uint64(32)
        high *= end
        low &= _WORD_HALF
        low *= end
        low >>= 32
        high += low
        return high

    def exponentials(self, mean: float, count: int) -> NDArray[np.float64]:
        """Return exponentially distributed numbers: shape (count,), in the unit of the mean."""
        return -mean * log(1.0 - self.floats(count))

    def lognormals(self, mu: float, sigma: float, count: int) -> NDArray[np.float64]:
        """Return numbers whose natural logarithms have a normal distribution of this mean and deviation.

        Returns
        -------
        float64 array of shape (count,)
        """
        return exp(mu + sigma * normal_quantile(self.floats(count) + 2.0**-54))

    def permutation(self, count: int) -> NDArray[np.uint32]:
        """Return the numbers from 0 to `count` - 1 in random order.

        Parameters
        ----------
        count : int
            2**32 at most.
        """
        # Sorting words whose low bits are replaced by the number: no two are equal, so that any way of
        # sorting gives the same order.
        bits = max(1, (count - 1).bit_length())
        keys = self.words(count)
        keys >>= bits
        keys <<= bits
        keys |= np.arange(count, dtype=np.uint64)
        keys.sort()
        keys &= (1 << bits) - 1
        return keys.astype(np.uint32)


def log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return natural logarithms, to a relative error of about 2**-50, the same bits on every machine.

    Parameters
    ----------
    x : float64 array
        Above 0, finite.
    """
    fraction, exponent = np.frexp(x)
    small = fraction < _SQRT_HALF
    fraction = np.where(small, fraction * 2.0, fraction)
    exponent = exponent - small
    # log(f) = 2 artanh(s) with s = (f - 1) / (f + 1), of at most 0.172: 12 terms of the series are enough.
    s = (fraction - 1.0) / (fraction + 1.0)
    square = s * s
    series = np.full_like(s, 1.0 / (2 * _LOG_TERMS - 1))
    for term in range(_LOG_TERMS - 2, -1, -1):
        series = series * square + 1.0 / (2 * term + 1)
    return exponent * _LN2_HIGH + (exponent * _LN2_LOW + 2.0 * s * series)


def exp(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return powers of e, to a relative error of about 2**-50, the same bits on every machine.

    Parameters
    ----------
    x : float64 array
        Between -700 and 700.
    """
    exponent = np.rint(x * (1.0 / (_LN2_HIGH + _LN2_LOW)))
    rest = (x - exponent * _LN2_HIGH) - exponent * _LN2_LOW
    series = np.ones_like(rest)
    for term in range(_EXP_TERMS, 0, -1):
        series = series * rest / term + 1.0
    return np.ldexp(series, exponent.astype(np.int32))


def normal_quantile(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quantiles of the standard normal distribution, to about 7 digits.

    Parameters
    ----------
    p : float64 array
        Above 0 and below 1.

    References
    ----------
    Wichura: Algorithm AS 241: The Percentage Points of the Normal Distribution. Applied Statistics 37(3),
    1988, routine PPND7.
    """
    centred = p - 0.5
    square = 0.180625 - centred * centred
    tail = np.sqrt(-log(np.minimum(p, 1.0 - p)))
    outer = np.where(tail <= 5.0, _ratio(_FLANK, tail - 1.6), _ratio(_TAIL, tail - 5.0))
    return np.where(
        np.abs(centred) <= 0.425, centred * _ratio(_CENTRE, square), np.where(centred < 0.0, -outer, outer)
    )


def _ratio(
    coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Evaluate a ratio of polynomials, their coefficients from the highest power down."""
    above, below = (_polynomial(part, x) for part in coefficients)
    return above / below


def _polynomial(coefficients: tuple[float, ...], x: NDArray[np.float64]) -> NDArray[np.float64]:
    value = np.zeros_like(x)
    for coefficient in coefficients:
        value = value * x + coefficient
    return value
