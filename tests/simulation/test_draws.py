"""Random draws: against the laws, against the mathematics of the standard library, and the same for ever."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqstore.sim.alias import AliasTable
from seqstore.sim.draws import Draws, exp, log, normal_quantile

GOLDEN_WORDS = ["0xb2f3ed9803ef4f3e", "0x2ca140b2d41c3833", "0xa5267cf5d4b609e3"]
GOLDEN_FLOAT = "0x1.dd8757f369a58p-3"
GOLDEN_EXPONENTIAL = "0x1.27e9ecfaefae6p-3"
GOLDEN_LOGNORMAL = "0x1.f588def84d5acp+12"
GOLDEN_PERMUTATION = [3, 2, 5, 4, 0, 1, 6, 7]


def test_words_of_a_seed_are_known() -> None:
    """What everything else rests on: NumPy's promise about the words of PCG64."""
    assert [hex(word) for word in Draws(1).words(3)] == GOLDEN_WORDS


def test_made_draws_of_a_seed_are_known() -> None:
    draws = Draws(1, stream=2)
    assert draws.floats(1)[0].hex() == GOLDEN_FLOAT
    assert draws.exponentials(3.0, 1)[0].hex() == GOLDEN_EXPONENTIAL
    assert draws.lognormals(9.48, 2.46, 1)[0].hex() == GOLDEN_LOGNORMAL
    assert draws.permutation(8).tolist() == GOLDEN_PERMUTATION


def test_streams_differ() -> None:
    assert not np.array_equal(Draws(1).words(9), Draws(1, stream=1).words(9))


@given(st.floats(1e-300, 1e300))
def test_log(x: float) -> None:
    assert log(np.array([x]))[0] == pytest.approx(math.log(x), rel=2**-48, abs=2**-52)


@given(st.floats(-700.0, 700.0))
def test_exp(x: float) -> None:
    assert exp(np.array([x]))[0] == pytest.approx(math.exp(x), rel=2**-48)


@given(st.floats(2.0**-54, 1.0 - 2.0**-53))
def test_normal_quantile(p: float) -> None:
    assert normal_quantile(np.array([p]))[0] == pytest.approx(NormalDist().inv_cdf(p), rel=1e-6, abs=1e-6)


def test_floats_lie_below_one_and_are_even() -> None:
    floats = Draws(1).floats(1_000_000)
    assert floats.min() >= 0.0
    assert floats.max() < 1.0
    assert np.histogram(floats, 10, (0.0, 1.0))[0] == pytest.approx(100_000, abs=1500)


@pytest.mark.parametrize("end", [1, 3, 2**31 + 1, 2**32])
def test_integers_reach_both_ends(end: int) -> None:
    drawn = Draws(1).below(end, 100_000)
    assert drawn.max() < end
    assert drawn.mean() == pytest.approx((end - 1) / 2, rel=0.01)
    # Exact: the whole part of word * end / 2**64, but for what is lost below 2**-32.
    words = Draws(1).words(100_000)
    assert all(abs(int(w) * end / 2**64 - 0.5 - int(d)) <= 0.5 for w, d in zip(words, drawn, strict=True))


def test_each_integer_has_its_own_end() -> None:
    ends = np.array([1, 10, 2**32] * 1000, np.uint64)
    drawn = Draws(1).below(ends, 3000)
    assert (drawn < ends).all()
    assert drawn[1::3].max() == 9
    assert drawn[2::3].max() > 2**31


def test_exponentials() -> None:
    drawn = Draws(1).exponentials(5.0, 1_000_000)
    assert drawn.min() >= 0.0
    assert drawn.mean() == pytest.approx(5.0, rel=0.005)
    assert (drawn > 10.0).mean() == pytest.approx(math.exp(-2.0), rel=0.01)


def test_lognormals() -> None:
    logs = np.log(Draws(1).lognormals(9.48, 2.46, 1_000_000))
    assert logs.mean() == pytest.approx(9.48, abs=0.01)
    assert logs.std() == pytest.approx(2.46, rel=0.005)
    assert (logs < 9.48 - 2.46).mean() == pytest.approx(NormalDist().cdf(-1.0), rel=0.01)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000, 1 << 16])
def test_permutations(count: int) -> None:
    order = Draws(1).permutation(count)
    assert np.array_equal(np.sort(order), np.arange(count))


def test_no_permutation_is_likelier() -> None:
    draws = Draws(1)
    orders = [tuple(draws.permutation(3)) for _ in range(6000)]
    assert all(850 < orders.count(order) < 1150 for order in set(orders))
    assert len(set(orders)) == 6


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=60).filter(lambda weights: sum(weights) > 1e-3))
def test_columns_add_up_to_the_weights(weights: list[float]) -> None:
    table = AliasTable(np.array(weights))
    full = 1 << 32
    got = [0] * len(weights)
    for number, column in enumerate(table._columns.tolist()):
        own, alias = column >> 32, column & (full - 1)
        own = full if alias == number else own
        got[number] += own
        got[alias] += full - own
    assert sum(got) == len(weights) * full
    total = sum(weights)
    for weight, height in zip(weights, got, strict=True):
        assert abs(height - weight / total * len(weights) * full) <= len(weights) + 1
