"""What replay takes and refuses: numbers of any library, nothing that is none, and results that say so."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from seqstore._native.records import LATENCY_BINS
from seqstore.errors import ConfigError
from seqstore.sim import FixedDrive, GarbageProportion, Latencies, RunResult, replay, workloads
from tests.simulation.test_replay import Requests, counts, zipf

HALF: Any = np.float32(0.5)
SEED: Any = np.int64(4)
LBAS = np.random.default_rng(1).integers(0, 1000, 5000)


@pytest.mark.parametrize(
    ("name", "value", "same"),
    [
        ("seed", np.int64(3), 3),
        ("segment_blocks", np.uint16(64), 64),
        ("classes", np.int8(5), 5),
        ("choices", np.uint8(3), 3),
        ("window", np.float32(0.5), 0.5),
        ("block_size", np.int32(512), 512),
        ("block_size", "2KiB", 2048),
        ("space", FixedDrive(utilization=HALF), FixedDrive(utilization=0.5)),
        ("space", GarbageProportion(HALF), GarbageProportion(0.5)),
    ],
)
def test_numbers_of_numpy_are_numbers(name: str, value: Any, same: Any) -> None:
    result = replay(LBAS, placement="dac", **{name: value})
    assert result == replay(LBAS, placement="dac", **{name: same})
    assert RunResult.from_json(result.to_json()) == result


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1.5}, "seed is of type float"),
        ({"seed": "7"}, "seed is of type str"),
        ({"classes": "6"}, "classes is of type str"),
        ({"classes": 6.0}, "classes is of type float"),
        ({"choices": 2**32}, "choices is 4294967296"),
        ({"window": "0.5"}, "window is of type str"),
        ({"window": None}, "window is of type NoneType"),
        ({"window": math.nan}, "window is nan"),
        ({"segment_blocks": "64"}, "segment_blocks is of type str"),
        ({"segment_blocks": 2**62}, "capacity"),
        ({"sample_writes": 0}, "sample_writes is 0"),
        ({"sample_writes": 2.5}, "sample_writes is of type float"),
        ({"space": 0.8}, "space is 0.8; it is a FixedDrive or a GarbageProportion"),
    ],
)
def test_what_is_no_option(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replay(LBAS, **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FixedDrive(utilization="0.8"), "utilization is of type str"),  # type: ignore[arg-type]
        (lambda: FixedDrive(utilization=0.8, free_segments=-1), "free_segments"),
        (lambda: FixedDrive(utilization=0.8, free_segments=2.5), "free_segments"),  # type: ignore[arg-type]
        (lambda: FixedDrive(utilization=0.8, free_segments=2**32), "free_segments"),
        (lambda: GarbageProportion(1e-7), "garbage"),  # rounded to none, it would never clean
        (lambda: GarbageProportion(0.9999999), "garbage"),
    ],
)
def test_what_is_no_space(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_an_address_that_no_volume_has() -> None:
    with pytest.raises(ConfigError, match="size of volume 1 of tenant 1"):
        replay(np.array([0, 2**63], np.uint64))


def test_the_working_set_of_an_array_is_what_it_writes() -> None:
    """Wherever that lies, as it is for a trace; the addresses in between take no place on the drive."""
    dense = np.random.default_rng(2).integers(0, 4096, 40_000)
    runs = [replay(dense * stride, segment_blocks=64) for stride in (1, 3, 2**20)]
    assert counts(runs[0]) == counts(runs[1]) == counts(runs[2])
    assert {run.block_count for run in runs} == {runs[0].block_count}
    assert runs[0].parameters["source"]["blocks"] == len(np.unique(dense))


@pytest.mark.parametrize("sample_writes", [700, 1000, 2048])
def test_samples_are_taken_at_the_same_moments_however_writes_come(sample_writes: int) -> None:
    lbas = np.concatenate(list(zipf().writes()))
    sources: list[Any] = [lbas, zipf(), Requests(zipf())]
    runs = [replay(source, segment_blocks=64, sample_writes=sample_writes) for source in sources]
    runs.append(replay(lbas, placement="oracle", segment_blocks=64, sample_writes=sample_writes))
    for run in runs:
        moments = [*range(sample_writes, len(lbas) + 1, sample_writes), len(lbas)]
        assert run.remanence["user_blocks"].tolist() == moments
    assert runs[0].series == runs[1].series == runs[2].series


class Measured:
    """A source that has a number of numpy's among its parameters."""

    name = "measured"

    def __init__(self) -> None:
        inner = workloads.uniform(500, 1000, seed=1)
        self.parameters = {**inner.parameters, "alpha": np.float64(1), "shape": np.arange(3)}
        self.blocks, self.volumes, self.writes, self.batches = 500, inner.volumes, inner.writes, inner.batches


def test_results_of_any_source_are_plain_json() -> None:
    text = replay(Measured(), seed=SEED).to_json()
    assert json.loads(text)["parameters"]["source"]["shape"] == [0, 1, 2]
    assert json.loads(text)["parameters"]["seed"] == 4


def test_latencies_beyond_the_last_bin_have_no_end() -> None:
    result = replay(zipf(), segment_blocks=64)
    found = dataclasses.replace(result.latencies, counts=(*[1] * (LATENCY_BINS - 1), 5))
    assert isinstance(found, Latencies)
    assert found.quantile_writes(0.5) < found.bin_writes * LATENCY_BINS
    assert found.quantile_writes(1) == found.quantile_laps(1) == math.inf
    assert dataclasses.replace(found, seconds_a_write=0.0).quantile_seconds(1) == 0
