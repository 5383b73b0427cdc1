"""Our own operations under pytest-benchmark, to compare one version with another.

``make bench ARGS="benchmarks/bench_ours.py --benchmark-autosave"``, then ``--benchmark-compare``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import seqstore
from benchmarks.workloads import BLOCK, filled_volume, make_blocks, random_lbas, settle

BATCH = 256


@pytest.fixture(scope="module")
def volume() -> Iterator[seqstore.Volume]:
    with seqstore.Store.memory("256MiB") as store:
        made = filled_volume(store, 0.7)
        settle(made, store, 1, batch=BATCH)
        yield made


def test_write_blocks(benchmark: BenchmarkFixture, volume: seqstore.Volume) -> None:
    lbas, data = random_lbas(1, volume.blocks, BATCH), make_blocks(BATCH)
    benchmark(volume.write_blocks, lbas, data)
    assert (volume.read_blocks(lbas[-1:])[0] == data[-1]).all()


def test_read_blocks(benchmark: BenchmarkFixture, volume: seqstore.Volume) -> None:
    lbas = random_lbas(2, volume.blocks, BATCH)
    out = make_blocks(BATCH)
    assert benchmark(volume.read_blocks, lbas, out) is out


def test_write(benchmark: BenchmarkFixture, volume: seqstore.Volume) -> None:
    assert benchmark(volume.write, 5 * BLOCK, bytes(BLOCK)) == BLOCK


def test_unaligned_write(benchmark: BenchmarkFixture, volume: seqstore.Volume) -> None:
    assert benchmark(volume.write, 5 * BLOCK + 100, bytes(BLOCK)) == BLOCK


def test_readinto(benchmark: BenchmarkFixture, volume: seqstore.Volume) -> None:
    assert benchmark(volume.readinto, 5 * BLOCK, bytearray(BLOCK)) == BLOCK


def test_trim_and_write(benchmark: BenchmarkFixture, volume: seqstore.Volume) -> None:
    data = make_blocks(BATCH)

    def work() -> None:
        volume.trim(0, BATCH * BLOCK)
        volume.write_blocks(0, data)

    benchmark(work)
    assert (volume.read_blocks(0, BATCH) == data).all()


def test_remanence(benchmark: BenchmarkFixture, volume: seqstore.Volume) -> None:
    assert benchmark(volume.tenant.store.remanence).blocks >= 0
