"""Workloads that write by a law: the law, the order, and that both are the same everywhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from seqstore import ConfigError
from seqstore.sim import workloads
from seqstore.sim.alias import AliasTable
from seqstore.sim.draws import Draws
from seqstore.sim.operations import OPERATION_DTYPE, Kind, Source, Writes

Make = Callable[..., Writes]
WRITERS: dict[str, Make] = {
    "sequential": lambda blocks, writes, **more: workloads.sequential(
        blocks, writes, **{key: value for key, value in more.items() if key != "seed"}
    ),
    "uniform": workloads.uniform,
    "zipf": workloads.zipf,
    "zipf_drift": workloads.zipf_drift,
    "hot_cold": workloads.hot_cold,
}
each_writer = pytest.mark.parametrize("make", WRITERS.values(), ids=list(WRITERS))


def small(seed: int = 7) -> list[Source]:
    """Make one workload of each kind; none ends where a batch does."""
    return [
        workloads.sequential(1000, 70_001),
        workloads.uniform(1000, 70_001, seed=seed),
        workloads.zipf(1000, 70_001, alpha=0.9, seed=seed),
        workloads.zipf(1000, 70_001, seed=seed, shuffle=False, fill=False),
        workloads.zipf_drift(1000, 70_001, seed=seed, period=5_003, share=0.1),
        workloads.hot_cold(1000, 70_001, seed=seed),
        workloads.hot_cold(1000, 70_001, seed=seed, shuffle=False),
        workloads.mixed(1000, 70_001, seed=seed, request_blocks=4),
        workloads.file_system(20_000, 5_000, seed=seed),
        workloads.tenant_churn(20_000, 70_001, seed=seed, read_share=0.2),
    ]


# The first half of SHA-256 over all operations: what a seed gives, for ever.
GOLDEN = [
    "0ccd24b2d7d2598e510f68db6c2e843a",  # sequential
    "40b9df25e110995a4efe6a9ef8b6cd31",  # uniform
    "6054b6bf706aeb4a072da4843b9e13de",  # zipf
    "ad48fa2ed199a7594ae9284f7ecdd18f",  # zipf
    "95e6bb6c7652b6b118070568ab4fd81d",  # zipf_drift
    "84b608bf3a76d9070d0feaefa1c93f5f",  # hot_cold
    "9b4c3a42a1039be7315911a7a8f160dc",  # hot_cold
    "e1e4497cd6955577fe4ebc043e354825",  # mixed
    "200ee631aa80354ab1ce6a4393e9de87",  # file_system
    "0130dd9fd78638f85dfe550b2932b4b8",  # tenant_churn
]


def digest(source: Source) -> str:
    together = hashlib.sha256()
    for batch in source.batches():
        together.update(batch.tobytes())
    return together.hexdigest()[:32]


def all_writes(source: Writes) -> NDArray[np.uint64]:
    return np.concatenate(list(source.writes()))


def all_operations(source: Source) -> NDArray[np.void]:
    return np.concatenate(list(source.batches()))


def assert_follows(counts: NDArray[np.int64], law: NDArray[np.float64], *, ranked: bool = False) -> None:
    """Pearson's chi-square test, at five deviations; rare outcomes are taken together.

    Counts that were ranked fit better than by chance, and may.
    """
    total = counts.sum()
    expected = law / law.sum() * total
    order = np.argsort(-expected, kind="stable")
    # So many in each group that the statistic follows its law.
    _, group = np.unique(np.cumsum(expected[order]) // 20.0, return_inverse=True)
    observed = np.bincount(group, counts[order])
    wanted = np.bincount(group, expected[order])
    freedom = len(wanted) - 1
    statistic = float(((observed - wanted) ** 2 / wanted).sum())
    deviation = statistic - freedom
    assert (deviation if ranked else abs(deviation)) < 5.0 * (2.0 * freedom) ** 0.5 + 5.0


@pytest.mark.parametrize("number", range(len(small())))
def test_a_seed_gives_the_same_for_ever(number: int) -> None:
    assert digest(small()[number]) == GOLDEN[number]


@pytest.mark.parametrize("number", range(len(small())))
def test_a_workload_is_made_again_from_its_name_and_parameters(number: int) -> None:
    source = small()[number]
    parameters = json.loads(json.dumps(dict(source.parameters)))
    again = getattr(workloads, source.name)(**parameters)
    assert again == source
    assert digest(again) == digest(source)


def test_another_seed_gives_something_else() -> None:
    pairs = zip(small(7)[1:], small(8)[1:], strict=True)
    assert all(digest(one) != digest(other) for one, other in pairs)


def test_protocols() -> None:
    for source in small():
        assert isinstance(source, Source)
        assert isinstance(source, Writes) == (source.name in WRITERS)


@pytest.mark.parametrize("number", range(len(small())))
def test_operations_have_their_times_and_stay_inside(number: int) -> None:
    source = small()[number]
    operations = all_operations(source)
    assert operations.dtype == OPERATION_DTYPE
    assert np.array_equal(operations["time_ns"], np.arange(len(operations), dtype=np.uint64) * 10_000)
    within = operations["kind"] <= Kind.TRIM
    assert (operations["lba"][within] + operations["count"][within]).max() <= source.blocks
    assert operations["count"][within].min() > 0
    sizes = [len(batch) for batch in source.batches()]
    assert all(1 << 16 <= size <= 1 << 20 for size in sizes[:-1])


@each_writer
@pytest.mark.parametrize("fill", [True, False])
def test_writes_and_batches_are_the_same(make: Make, fill: bool) -> None:
    source = make(3000, 80_000, seed=1, fill=fill)
    operations, lbas = all_operations(source), all_writes(source)
    assert np.array_equal(operations["lba"], lbas)
    assert len(lbas) == 80_000 + 3000 * fill
    for name, value in (("kind", Kind.WRITE), ("tenant", 1), ("volume", 1), ("count", 1)):
        assert (operations[name] == value).all()
    assert source.volumes == {(1, 1): 3000}
    if fill:
        assert np.array_equal(lbas[:3000], np.arange(3000))


@each_writer
def test_more_writes_begin_with_the_same(make: Make) -> None:
    few, many = (all_writes(make(3000, count, seed=1)) for count in (70_000, 150_000))
    assert np.array_equal(many[: len(few)], few)


@each_writer
def test_arrays_are_the_callers(make: Make) -> None:
    source = make(100, 70_000, seed=1, fill=False)
    expected = all_writes(source)
    for lbas in source.writes():
        lbas[:] = 0
    assert np.array_equal(all_writes(source), expected)


class TestLaws:
    def test_sequential(self) -> None:
        lbas = all_writes(workloads.sequential(1000, 200_000))
        assert np.array_equal(lbas, np.arange(200_000) % 1000)

    @pytest.mark.parametrize("blocks", [1, 2, 1000, (1 << 14) + 1])
    def test_uniform(self, blocks: int) -> None:
        lbas = all_writes(workloads.uniform(blocks, 1_000_000, seed=3, fill=False))
        assert_follows(np.bincount(lbas.astype(np.int64), minlength=blocks), np.ones(blocks))

    @pytest.mark.parametrize("alpha", [0.0, 0.5, 0.99, 1.0, 1.3, 3.0, 20.0])
    @pytest.mark.parametrize("blocks", [1, 10, 5000])
    def test_zipf(self, alpha: float, blocks: int) -> None:
        source = workloads.zipf(blocks, 1_000_000, alpha=alpha, seed=3, fill=False, shuffle=False)
        law = np.arange(1, blocks + 1, dtype=float) ** -alpha
        assert_follows(np.bincount(all_writes(source).astype(np.int64), minlength=blocks), law)

    def test_shuffled_zipf_has_the_same_law_elsewhere(self) -> None:
        counts = np.bincount(all_writes(workloads.zipf(1000, 1_000_000, seed=3, fill=False)).astype(np.int64))
        assert_follows(np.sort(counts)[::-1], 1.0 / np.arange(1, 1001), ranked=True)
        assert np.argmax(counts) != 0
        # The middle of the hundred likeliest blocks is anywhere, and not at the beginning.
        assert 400 < np.argsort(-counts)[:100].mean() < 600

    @pytest.mark.parametrize("shuffle", [True, False])
    def test_hot_and_cold(self, shuffle: bool) -> None:
        source = workloads.hot_cold(1000, 1_000_000, hot=0.1, rate=0.75, seed=3, fill=False, shuffle=shuffle)
        counts = np.bincount(all_writes(source).astype(np.int64), minlength=1000)
        law = np.where(np.arange(1000) < 100, 0.75 / 100, 0.25 / 900)
        if shuffle:
            hot = counts > 2000
            assert hot[:500].sum() in range(30, 70)
            counts = np.concatenate((counts[hot], counts[~hot]))
        assert_follows(counts, law)

    def test_mixed(self) -> None:
        source = workloads.mixed(
            4000, 1_000_000, read_share=0.3, alpha=0.8, request_blocks=4, seed=3, fill=False
        )
        operations = all_operations(source)
        reads = operations["kind"] == Kind.READ
        assert_follows(np.array([reads.sum(), (~reads).sum()]), np.array([0.3, 0.7]))
        assert (operations["count"] == 4).all()
        assert (operations["lba"] % 4 == 0).all()
        counts = np.bincount((operations["lba"] // 4).astype(np.int64), minlength=1000)
        assert_follows(np.sort(counts)[::-1], np.arange(1.0, 1001.0) ** -0.8, ranked=True)
        # Reads and writes go to the same blocks.
        hottest = np.argmax(counts) * 4
        assert (operations["lba"][reads] == hottest).mean() == pytest.approx(
            (operations["lba"][~reads] == hottest).mean(), rel=0.05
        )

    def test_mixed_fills_with_requests(self) -> None:
        operations = all_operations(workloads.mixed(4000, 0, request_blocks=8, seed=3))
        assert np.array_equal(operations["lba"], np.arange(0, 4000, 8))
        assert (operations["kind"] == Kind.WRITE).all()


class TestDrift:
    def counts(self, share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Count the writes of the first period and of the sixth, in between which ranks moved five times."""
        source = workloads.zipf_drift(500, 1_200_000, period=200_000, share=share, seed=3, fill=False)
        lbas = all_writes(source).astype(np.int64)
        return np.bincount(lbas[:200_000], minlength=500), np.bincount(lbas[-200_000:], minlength=500)

    def test_each_period_follows_the_law(self) -> None:
        for counts in self.counts(0.2):
            assert_follows(np.sort(counts)[::-1], 1.0 / np.arange(1, 501), ranked=True)

    def test_without_a_share_nothing_moves(self) -> None:
        before, after = self.counts(0.0)
        assert np.corrcoef(before, after)[0, 1] > 0.999

    def test_ranks_move(self) -> None:
        before, after = self.counts(0.2)
        assert np.corrcoef(before, after)[0, 1] < 0.5

    def test_a_share_moves_as_many(self) -> None:
        source = workloads.zipf_drift(500, 0, period=1, share=0.1, seed=3)
        order = np.arange(500, dtype=np.uint32)
        exchange = source._exchange(order, Draws(3))
        next(exchange)
        assert (order != np.arange(500)).sum() == 50
        for _ in range(9):
            next(exchange)
        assert (order != np.arange(500)).all()
        assert np.array_equal(np.sort(order), np.arange(500))

    def test_periods_need_not_be_whole_batches(self) -> None:
        a, b = (
            workloads.zipf_drift(500, 200_000, period=period, share=0.0, seed=3) for period in (1000, 77_777)
        )
        assert np.array_equal(all_writes(a), all_writes(b))


NUMBERS = ((np.int64, 10), (np.uint32, 5), (np.int8, 1))


class TestBadArguments:
    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda: workloads.uniform(0, 1, seed=1), "blocks is 0"),
            (lambda: workloads.uniform(2**31, 1, seed=1), "blocks is"),
            (lambda: workloads.uniform(10, -1, seed=1), "writes is -1"),
            (lambda: workloads.uniform(10, 1, seed=-1), "seed is -1"),
            (lambda: workloads.uniform(10, 1.5, seed=1), "an integer"),  # type: ignore[arg-type]
            (lambda: workloads.zipf(10, 1, alpha=-0.1, seed=1), "alpha is -0.1"),
            (lambda: workloads.zipf(10, 1, alpha=float("nan"), seed=1), "alpha is nan"),
            (lambda: workloads.zipf_drift(10, 1, period=0, seed=1), "period is 0"),
            (lambda: workloads.zipf_drift(10, 1, share=1.1, seed=1), "share is 1.1"),
            (lambda: workloads.hot_cold(10, 1, hot=0.01, seed=1), "0 of 10 blocks are hot"),
            (lambda: workloads.hot_cold(10, 1, hot=1.0, seed=1), "10 of 10 blocks are hot"),
            (lambda: workloads.hot_cold(10, 1, rate=2.0, seed=1), "rate is 2.0"),
            (lambda: workloads.mixed(10, 1, request_blocks=3, seed=1), "must divide"),
            (lambda: workloads.mixed(10, 1, request_blocks=0, seed=1), "must divide"),
            (lambda: workloads.mixed(10, 1, read_share=-1, seed=1), "read_share"),
            (lambda: workloads.file_system(100, 1, seed=1), "1024 at least"),
            (lambda: workloads.file_system(2000, 1, utilization=0.99, seed=1), "utilization is 0.99"),
            (lambda: workloads.file_system(2000, 1, append_share=0.9, seed=1), "append_share"),
            (lambda: workloads.file_system(2000, 1, append_blocks=0, seed=1), "append_blocks is 0"),
            (lambda: workloads.file_system(2000, 1, sigma=-1, seed=1), "sigma is -1"),
            (lambda: workloads.file_system(2000, 1, mu=700, seed=1), "mu is 700"),
            (lambda: workloads.tenant_churn(2000, 1, arrival=0.0, seed=1), "arrival is 0.0"),
            (lambda: workloads.tenant_churn(2000, 1, lifetime=float("inf"), seed=1), "lifetime is inf"),
            (lambda: workloads.tenant_churn(2000, 1, trim_share=0.6, read_share=0.6, seed=1), "trim_share"),
            (lambda: workloads.tenant_churn(2000, 1, request_blocks=2001, seed=1), "request_blocks is 2001"),
            (lambda: workloads.tenant_churn(2000, 1, sigma=11.0, seed=1), "sigma is 11.0"),
        ],
    )
    def test_is_refused(self, make: Callable[[], Source], words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            make()

    def test_numbers_of_numpy_are_taken(self) -> None:
        blocks, writes, seed = (int_type(value) for int_type, value in NUMBERS)
        source = workloads.zipf(blocks, writes, alpha=np.float32(1), seed=seed)  # type: ignore[arg-type]
        assert source == workloads.zipf(10, 5, seed=1)
        json.dumps(dict(source.parameters))


def test_the_table_of_many_blocks_is_exact() -> None:
    """The columns of a table add up to the weights it was made of."""
    weights = 1.0 / np.arange(1.0, 100_001.0)
    columns = AliasTable(weights)._columns
    own, alias = (columns >> np.uint64(32)).astype(float), (columns & np.uint64(2**32 - 1)).astype(np.int64)
    got = own.copy()
    np.add.at(got, alias, 2.0**32 - own)
    expected = weights / weights.sum() * len(weights) * 2.0**32
    assert np.abs(got - expected).max() < 2 * len(weights)
    assert np.abs(got - expected)[1:].max() < 2
