"""Write amplification of the circular log against its closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from seqstore import Store


def lambert_w(z: float) -> float:
    """Principal branch of Lambert's W for -1/e < z < 0, by Newton's method from 0."""
    w = 0.0
    for _ in range(200):
        step = (w * math.exp(w) - z) / (math.exp(w) * (1 + w))
        w -= step
        if abs(step) < 1e-15:
            break
    return w


def circular_log_amplification(utilization: float) -> float:
    """Write amplification A of a circular log under uniform overwrites, at utilization U.

    Of the N blocks that a lap writes, N / A are the user's. A block is spared by all of them with
    probability exp(-x), x = (N / A) / (N U) = 1 / (A U), and what is spared is relocated: so
    1 - 1 / A = exp(-x). With a = 1 / U that is x = a (1 - exp(-x)), whose positive root is
    x = a + W(-a exp(-a)); A = a / x.

    References
    ----------
    P. Desnoyers, "Analytic models of SSD write performance", ACM Transactions on Storage 10(2), 2014.
    """
    a = 1 / utilization
    return a / (a + lambert_w(-a * math.exp(-a)))


@pytest.mark.parametrize(
    ("utilization", "amplification"), [(0.5, 1.2550), (0.7, 1.8762), (0.8, 2.6927), (0.9, 5.1787)]
)
def test_the_formula(utilization: float, amplification: float) -> None:
    assert circular_log_amplification(utilization) == pytest.approx(amplification, abs=5e-5)


@pytest.mark.parametrize("utilization", [0.5, 0.7, 0.8])
def test_uniform_overwrites(utilization: float) -> None:
    """Segments are many and small here, since the closed form knows none."""
    block_count, segment_blocks = 2**17, 64
    with Store.simulated(block_count * 4096, segment_size=segment_blocks * 4096) as store:
        live = round(utilization * store.drives[0].data_capacity_blocks)
        volume = store.create_tenant("contoso").create_volume("disk", live * 4096)
        rng = np.random.default_rng(int(utilization * 100))
        volume.write_blocks(rng.permutation(live).astype(np.uint64), None)

        def overwrite(laps: float) -> None:
            end = store.stats().position + laps * block_count
            while store.stats().position < end:
                volume.write_blocks(rng.integers(0, live, 4096, dtype=np.uint64), None)

        overwrite(4)
        warm = store.stats()
        overwrite(6)
        run = store.stats() - warm
        store.check()
    assert run.utilization == pytest.approx(utilization, abs=1e-4)
    expected = circular_log_amplification(run.utilization)
    assert run.write_amplification == pytest.approx(expected, rel=0.01)
