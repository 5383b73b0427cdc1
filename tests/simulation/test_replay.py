"""Replays: equal inputs give equal results, results say what the ledger says, and errors come out."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from seqstore import BlockState, ConfigError, NotFoundError, OutOfSpaceError, engine
from seqstore._native._core import lib
from seqstore.cleaning import PLACEMENTS, SELECTIONS, Policy
from seqstore.sim import (
    OPERATION_DTYPE,
    FixedDrive,
    GarbageProportion,
    Kind,
    RunResult,
    read_parquet,
    replay,
    workloads,
)
from seqstore.sim.simulation import Simulation
from seqstore.sim.single import Zipf
from seqstore.sim.space import Space

Row = tuple[int, int, int, int, int]  # kind, tenant, volume, lba, count

ROOT = Path(__file__).resolve().parents[2]
RESIDUE = (BlockState.DEAD, BlockState.MOVED)
# Each selection and each placement at least twice, and not always the same ones together.
PAIRS = [
    (SELECTIONS[i % len(SELECTIONS)], PLACEMENTS[(i + i // len(SELECTIONS)) % len(PLACEMENTS)])
    for i in range(2 * len(PLACEMENTS))
]
SPACES: list[Space] = [FixedDrive(utilization=0.8), GarbageProportion(0.2)]


def zipf(writes: int = 30_000) -> Zipf:
    return workloads.zipf(4096, writes, alpha=0.9, seed=5)


class Requests:
    """The writes of a workload as operations of a block each."""

    def __init__(self, inner: Zipf) -> None:
        self._inner = inner
        self.name, self.parameters = inner.name, inner.parameters
        self.blocks, self.volumes = inner.blocks, inner.volumes

    def batches(self) -> Iterator[npt.NDArray[np.void]]:
        lbas = np.concatenate(list(self._inner.writes()))
        operations = np.zeros(len(lbas), OPERATION_DTYPE)
        operations["tenant"] = operations["volume"] = operations["count"] = 1
        operations["lba"] = lbas
        yield operations


class Given:
    """Operations of many volumes, which are made by the first of them."""

    name = "given"
    volumes = None

    def __init__(self, blocks: int, rows: Sequence[Row]) -> None:
        self.blocks = blocks
        self.parameters: dict[str, Any] = {"operations": len(rows)}
        self._operations = np.zeros(len(rows), OPERATION_DTYPE)
        for name, column in zip(
            ("kind", "tenant", "volume", "lba", "count"), zip(*rows, strict=True), strict=True
        ):
            self._operations[name] = column

    def batches(self) -> Iterator[npt.NDArray[np.void]]:
        yield self._operations


def counts(result: RunResult) -> tuple[object, ...]:
    """What a run did, whatever it was called."""
    return (
        result.user_blocks,
        result.relocated_blocks,
        result.cleaned_segments,
        result.victims,
        result.live_blocks,
        result.residue_blocks,
        result.latencies.counts,
        result.moved_latencies.counts,
    )


# ---- the same again ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("selection", "placement"), PAIRS)
@pytest.mark.parametrize("space", SPACES, ids=["drive", "garbage"])
def test_equal_inputs_give_equal_results(selection: str, placement: str, space: Space) -> None:
    options: dict[str, Any] = {"selection": selection, "placement": placement, "space": space, "seed": 4}
    first, second = (replay(zipf(), segment_blocks=64, classes=5, **options) for _ in range(2))
    assert first == second
    assert first.relocated_blocks > 0


@pytest.mark.parametrize("selection", SELECTIONS)
def test_the_seed_matters_where_lots_are_drawn(selection: str) -> None:
    runs = [replay(zipf(), selection=selection, segment_blocks=64, seed=seed) for seed in (1, 2)]
    draws = selection in {"d_choices", "random_greedy"}
    assert (counts(runs[0]) != counts(runs[1])) == draws


@pytest.mark.parametrize(("selection", "placement"), [pair for pair in PAIRS if pair[1] != "oracle"])
@pytest.mark.parametrize("space", SPACES, ids=["drive", "garbage"])
def test_an_array_is_as_good_as_its_blocks_one_by_one(selection: str, placement: str, space: Space) -> None:
    options: dict[str, Any] = {"selection": selection, "placement": placement, "space": space}
    options |= {"segment_blocks": 64, "sample_writes": 1000}
    lbas = np.concatenate(list(zipf().writes()))
    array, workload, requests = (replay(source, **options) for source in (lbas, zipf(), Requests(zipf())))
    assert counts(array) == counts(workload) == counts(requests)
    assert array.laps == workload.laps == requests.laps
    assert len(array.series) == len(workload.series) > 30


def digest() -> str:
    """Of the text of many results, to the last digit but for the time that they took."""
    found = [replay(zipf(), selection=name, placement=other, segment_blocks=64) for name, other in PAIRS]
    text = "".join(dataclasses.replace(result, seconds=0).to_json() for result in found)
    return hashlib.sha256(text.encode()).hexdigest()


def test_another_process_finds_the_same() -> None:
    script = "from tests.simulation.test_replay import digest; print(digest())"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == digest()


def test_results_travel(tmp_path: Path) -> None:
    result = replay(zipf(), placement="sepbit", segment_blocks=64)
    assert RunResult.from_json(result.to_json()) == result
    pytest.importorskip("pyarrow")
    result.to_parquet(tmp_path / "run.parquet")
    assert read_parquet(tmp_path / "run.parquet") == result


# ---- what results say -------------------------------------------------------------------------------


def simulate(policy: Policy, space: Space, blocks: int) -> Simulation:
    return Simulation(policy, space, blocks=blocks, segment_blocks=16, block_size=512)


class Deaths:
    """Follows the ledger from one operation to the next: what died, when, and when it was written over."""

    def __init__(self, simulation: Simulation) -> None:
        self._engine, self.blocks = simulation.engine, simulation.medium.blocks
        self._ledger = self._engine.ledger(0, self.blocks)
        self._position = 0
        self.shortest: dict[int, list[int]] = {state: [] for state in RESIDUE}
        self.longest: dict[int, list[int]] = {state: [] for state in RESIDUE}

    def look(self) -> None:
        """Note residue that has gone since the last look: its age then and now holds its latency."""
        ledger, position = self._engine.ledger(0, self.blocks), self._engine.counters()["position"]
        was = self._ledger
        gone = (was != ledger) & np.isin(was["state"], RESIDUE) & (was["volume"] != 0)
        for state, died in zip(was["state"][gone].tolist(), was["died"][gone].tolist(), strict=True):
            self.shortest[state].append(self._position - died)
            self.longest[state].append(position - died)
        self._ledger, self._position = ledger, position

    def residue(self) -> npt.NDArray[np.uint64]:
        """When the residue died that is there now."""
        there = np.isin(self._ledger["state"], RESIDUE) & (self._ledger["volume"] != 0)
        died: npt.NDArray[np.uint64] = self._ledger["died"][there]
        return died

    def agrees(self, state: BlockState, found: npt.NDArray[np.uint64]) -> bool:
        """Whether a histogram of latencies lies between what both looks allow."""
        width = self.blocks / 32
        low, high = (
            np.cumsum(np.bincount((np.array(ages) / width).astype(int), minlength=len(found)))
            for ages in (self.shortest[state], self.longest[state])
        )
        cumulative = np.cumsum(found)
        return bool((high <= cumulative).all() and (cumulative <= low).all())


@pytest.mark.parametrize(
    ("selection", "placement"),
    [("fifo", "single"), ("greedy", "single"), ("cost_benefit", "dac"), ("windowed_greedy", "by_tenant")],
)
def test_latencies_and_remanence_are_those_of_the_ledger(selection: str, placement: str) -> None:
    policy = Policy(selection=selection, placement=placement, classes=2)
    rng = np.random.default_rng(3)
    with simulate(policy, FixedDrive(utilization=0.7), 300) as simulation:
        simulation.create(1, 1, 200)
        simulation.create(2, 1, 100)
        deaths = Deaths(simulation)
        for step in range(3000):
            tenant = int(rng.integers(1, 3))
            operation = np.zeros(1, OPERATION_DTYPE)
            operation["kind"] = Kind.TRIM if step % 10 == 9 else Kind.WRITE
            operation["tenant"], operation["volume"] = tenant, 1
            operation["lba"], operation["count"] = rng.integers(0, 97), rng.integers(1, 4)
            simulation.run(operation)
            deaths.look()
            if step % 100 == 0:
                sample, died = simulation.sample(7), deaths.residue()
                assert sample["residue_blocks"] == len(died)
                position = simulation.engine.counters()["position"]
                assert sample["oldest_writes"] == (position - int(died.min()) if len(died) else 0)
        _, deleted, moved = simulation.engine.histograms()
        assert deleted.sum() == len(deaths.longest[BlockState.DEAD]) > 2000
        assert moved.sum() == len(deaths.longest[BlockState.MOVED]) > 100
        assert deaths.agrees(BlockState.DEAD, deleted)
        assert deaths.agrees(BlockState.MOVED, moved)
        simulation.engine.check()


def test_nothing_lies_longer_than_a_lap_under_the_circular_log() -> None:
    result = replay(zipf(60_000), selection="fifo", segment_blocks=64)
    assert 0 < result.latencies.quantile_laps(1) <= 1 + 1 / 32
    assert result.remanence["oldest_writes"].max() <= result.block_count
    greedy = replay(zipf(60_000), selection="greedy", segment_blocks=64)
    assert greedy.latencies.quantile_laps(1) > 2


def test_latencies_in_seconds_are_those_in_writes() -> None:
    """A write every 10 us: what is put on the medium takes as long as what is asked for meanwhile."""
    result = replay(workloads.mixed(4096, 40_000, seed=1), segment_blocks=64)
    seconds = result.series[-1]["time_ns"] / 1e9
    assert seconds == pytest.approx(0.4, rel=0.2)
    latencies = result.latencies
    assert latencies.quantile_seconds(0.9) == pytest.approx(
        latencies.quantile_laps(0.9) * seconds / result.laps
    )


# ---- several tenants --------------------------------------------------------------------------------


@pytest.mark.parametrize("placement", [name for name in PLACEMENTS if name != "oracle"])
def test_what_tenants_cost_adds_up(placement: str) -> None:
    source = workloads.tenant_churn(8192, 40_000, seed=2, arrival=800.0, volume_blocks=256)
    result = replay(source, selection="cost_benefit", placement=placement, segment_blocks=64)
    assert len(result.tenants) > 20
    assert sum(tenant.user_blocks for tenant in result.tenants.values()) == result.user_blocks
    assert sum(tenant.relocated_blocks for tenant in result.tenants.values()) == result.relocated_blocks > 0
    operations = np.concatenate(list(source.batches()))
    writes = operations[operations["kind"] == Kind.WRITE]
    for number, tenant in result.tenants.items():
        assert tenant.user_blocks == writes["count"][writes["tenant"] == number].sum()
    assert result.requests == len(operations)
    assert result.trimmed_blocks > 0
    assert result.user_blocks > result.live_blocks


def test_volumes_are_made_trimmed_and_deleted_and_tenants_leave() -> None:
    rows = [(Kind.CREATE, tenant, volume, 100, 0) for tenant in (1, 2) for volume in (1, 2)]
    rows += [(Kind.WRITE, tenant, volume, 0, 100) for tenant in (1, 2) for volume in (1, 2)]
    rows += [(Kind.READ, 1, 1, 5, 7), (Kind.TRIM, 1, 1, 10, 30), (Kind.TRIM, 1, 1, 0, 20)]
    assert replay(Given(400, rows), segment_blocks=16).live_blocks == 360
    rows.append((Kind.DELETE, 1, 2, 0, 0))
    assert replay(Given(400, rows), segment_blocks=16).live_blocks == 260
    rows.append((Kind.LEAVE, 2, 0, 0, 0))
    rows.append((Kind.LEAVE, 7, 0, 0, 0))  # has nothing
    result = replay(Given(400, rows), segment_blocks=16)
    assert (result.live_blocks, result.trimmed_blocks, result.read_blocks) == (60, 340, 7)
    assert result.residue_blocks == 340
    assert result.tenants.keys() == {1, 2}
    rows.append((Kind.CREATE, 2, 1, 50, 0))  # the same numbers again
    rows.append((Kind.WRITE, 2, 1, 0, 50))
    assert replay(Given(400, rows), segment_blocks=16).live_blocks == 110


# ---- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        ((Kind.WRITE, 1, 2, 0, 1), NotFoundError, "volume 2 of tenant 1"),
        ((Kind.DELETE, 3, 1, 0, 0), NotFoundError, "volume 1 of tenant 3"),
        ((Kind.WRITE, 1, 1, 99, 2), ConfigError, "end"),
        ((Kind.TRIM, 1, 1, 2**60, 2), ConfigError, "end"),
        ((9, 1, 1, 0, 1), ConfigError, "kind"),
    ],
)
def test_operations_that_cannot_be(row: Row, error: type[Exception], message: str) -> None:
    rows: list[Row] = [(Kind.CREATE, 1, 1, 100, 0), (Kind.WRITE, 1, 1, 0, 50), row]
    with pytest.raises(error, match=message):
        replay(Given(100, rows), segment_blocks=16)


def test_a_volume_is_made_once() -> None:
    rows: list[Row] = [(Kind.CREATE, 1, 1, 100, 0)] * 2
    with pytest.raises(ConfigError, match="volume 1 of tenant 1"):
        replay(Given(100, rows), segment_blocks=16)


def test_the_only_request_of_a_batch_is_kept_until_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns of one packed record lie where C cannot read them: copies are lent, and nobody else's bytes."""

    class Core:
        """Fills the memory that was given up before the call."""

        def __getattr__(self, name: str) -> Any:
            return getattr(lib, name)

        def sq_log_batch(self, *arguments: Any) -> int:
            others = [np.full(1, 2**64 - 1, np.uint64) for _ in range(64)]
            others += [np.full(1, 2**32 - 1, np.uint32) for _ in range(64)]
            status: int = lib.sq_log_batch(*arguments)
            assert len(others) == 128
            return status

    operations = np.zeros(1, OPERATION_DTYPE)
    operations["tenant"], operations["volume"], operations["lba"], operations["count"] = 1, 1, 99, 1
    assert not operations["lba"].flags.aligned
    with simulate(Policy(), FixedDrive(utilization=0.5), 100) as simulation:
        simulation.create(1, 1, 100)
        monkeypatch.setattr(engine, "lib", Core())
        simulation.run(operations)
        assert simulation.engine.counters()["user_blocks"] == 1


def test_a_source_that_maps_more_than_it_says_runs_out_of_space() -> None:
    rows: list[Row] = [(Kind.CREATE, 1, 1, 5000, 0), (Kind.WRITE, 1, 1, 0, 5000)]
    with pytest.raises(OutOfSpaceError) as caught:
        replay(Given(1000, rows), segment_blocks=16)
    assert caught.value.needed == 5000 > caught.value.available >= 1000


@pytest.mark.parametrize("utilization", [0, 1, -0.1, 1.5, float("nan")])
def test_a_drive_is_neither_empty_nor_full(utilization: float) -> None:
    with pytest.raises(ConfigError, match="utilization"):
        FixedDrive(utilization=utilization)
    with pytest.raises(ConfigError, match="garbage"):
        GarbageProportion(utilization)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segment_blocks": 3}, "segment_blocks"),
        ({"selection": "best"}, "selection"),
        ({"placement": "best"}, "placement"),
        ({"classes": 65}, "classes"),
        ({"classes": 3, "placement": "sepbit"}, "classes"),
        ({"choices": 0}, "choices"),
        ({"window": 0.0}, "window"),
        ({"sample_writes": -1}, "sample_writes"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replay(np.arange(100), **options)


@pytest.mark.parametrize(
    "source", [np.zeros(0, int), np.zeros((2, 2), int), np.zeros(3), np.array([1, -1]), 7]
)
def test_arrays_that_are_no_writes(source: Any) -> None:
    with pytest.raises(ConfigError):
        replay(source)


@pytest.mark.parametrize("utilization", [0.05, 0.5, 0.99])
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("blocks", [1, 4, 65, 700])
def test_the_smallest_drives_work(placement: str, utilization: float, blocks: int) -> None:
    """However few blocks: the drive is given what its placement needs beside them."""
    lbas = np.random.default_rng(1).integers(0, blocks, 3000)
    space = FixedDrive(utilization=utilization)
    result = replay(lbas, selection="greedy", placement=placement, space=space, segment_blocks=16)
    assert result.user_blocks == 3000
    assert result.live_blocks == len(np.unique(lbas))
