"""Recovery reads a file ahead, in several threads, and other media as it walks: both find the same.

The two open the same bytes: as the crash left them, and damaged where the log is rolled forward.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqstore import SeqstoreError
from seqstore._native._core import lib
from seqstore.engine import Engine
from seqstore.engine_volume import EngineVolume
from seqstore.media import CallsMedium, FileMedium
from seqstore.media.native import NativeMedium

BLOCK = 512
SEGMENT = 16 * BLOCK
SEGMENTS = 1024  # headers are shared out from some hundreds on
CAPACITY = SEGMENTS * SEGMENT
OPTIONS: dict[str, Any] = {"drive": 1, "reserve_ppm": 70_000, "verify": 1}
UNSYNCED: dict[str, Any] = {"checkpoint_blocks": CAPACITY // BLOCK, "window_blocks": CAPACITY // BLOCK // 4}


class Bytes:
    """A medium of bytes, read as recovery asks for them."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def append(self, mba: int, data: memoryview) -> None:
        raise NotImplementedError

    def read(self, mba: int, count: int, out: memoryview) -> None:
        out[:] = self.data[mba * BLOCK : (mba + count) * BLOCK]

    def sync(self) -> None:
        raise NotImplementedError

    def reset(self, zone: int) -> None:
        raise NotImplementedError


class Crashed:
    """What a crash left of a log: the bytes, and the blocks from where nothing had been flushed."""

    def __init__(self, file: Path, seed: int, policy: dict[str, Any]) -> None:
        self.policy = policy
        rng = np.random.default_rng(seed)
        with FileMedium(file, CAPACITY, create=True, block_size=BLOCK, zone_size=SEGMENT) as medium:
            engine = Engine(medium, **OPTIONS, **UNSYNCED, **policy)
            volumes = []
            for number in (1, 2):
                handle = engine.create_volume(number, number, CAPACITY // 4, unwritten_error=False)
                volumes.append(EngineVolume(engine, handle, "volume"))
            self._write(volumes, rng, CAPACITY // 2)
            engine.checkpoint()
            self._write(volumes, rng, 20 * SEGMENT)
            engine.flush()
            self.start = engine.counters()["head_mba"]
            self._write(volumes, rng, 80 * SEGMENT)
            self.end = engine.counters()["head_mba"]
            engine.close()
        self.data = file.read_bytes()

    @staticmethod
    def _write(volumes: list[EngineVolume], rng: np.random.Generator, amount: int) -> None:
        places = CAPACITY // 4 // BLOCK
        while amount > 0:
            count = int(rng.integers(1, 40)) if rng.random() < 0.5 else 1
            place = int(rng.integers(0, places - count))
            volume = volumes[int(rng.integers(2))]
            volume.write(place * BLOCK, rng.bytes(count * BLOCK))
            amount -= count * BLOCK


SEPARATE = {"selection": lib.SQ_SELECT_GREEDY, "placement": lib.SQ_PLACE_SEPARATE, "classes": 2}
BY_TENANT = {"selection": lib.SQ_SELECT_COST_BENEFIT, "placement": lib.SQ_PLACE_BY_TENANT, "classes": 2}


@pytest.fixture(scope="module", params=[(0, {}), (1, {}), (2, {}), (3, SEPARATE), (4, BY_TENANT)], ids=str)
def crashed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Crashed:
    return Crashed(tmp_path_factory.mktemp("log") / "file", *request.param)


def state(medium: NativeMedium, options: dict[str, Any]) -> dict[str, Any]:
    """All that recovery made of a medium, or how it refused."""
    try:
        engine = Engine(medium, recover=True, **OPTIONS, **options, read_only=1)
    except SeqstoreError as error:
        return {"error": type(error).__name__, "message": str(error).replace(str(medium), "the medium")}
    assert engine.recovery is not None
    engine.check()
    found = {
        "recovery": {name: value for name, value in engine.recovery.items() if name != "read_blocks"},
        "ledger": engine.ledger(0, CAPACITY // BLOCK).tobytes(),
        "segments": engine.segments().tobytes(),
        "volumes": engine.volumes().tobytes(),
        "counters": {name: value for name, value in engine.counters().items() if name != "map_bytes"},
    }
    engine.close()
    return found


def compare(folder: Path, crashed: Crashed, data: bytes, options: dict[str, Any]) -> dict[str, Any]:
    file, options = folder / "copy", {**options, **crashed.policy}
    file.write_bytes(data)
    with CallsMedium(Bytes(data), CAPACITY, block_size=BLOCK, zone_size=SEGMENT) as medium:
        expected = state(medium, options)
    with FileMedium(file, CAPACITY, block_size=BLOCK, zone_size=SEGMENT, read_only=True) as medium:
        assert state(medium, options) == expected
    return expected


@pytest.mark.parametrize("check_flushed", [0, 1])
def test_as_the_crash_left_it(crashed: Crashed, tmp_path: Path, check_flushed: int) -> None:
    found = compare(tmp_path, crashed, crashed.data, {"check_flushed": check_flushed})
    assert found["recovery"]["verified_blocks"] > 70 * 14


@pytest.mark.parametrize("options", [{}, {"accept_loss": 1}, {"check_flushed": 1, "accept_loss": 1}])
def test_damaged(crashed: Crashed, tmp_path: Path, options: dict[str, Any]) -> None:
    """A block, a segment's first block, or all of a segment is not what was written."""
    rng = np.random.default_rng(7)
    records = set()
    for _ in range(12):
        data = bytearray(crashed.data)
        for _ in range(int(rng.integers(1, 3))):
            mba = int(rng.integers(crashed.start - 20 * 16, crashed.end))
            first, length = [(mba, 1), (mba // 16 * 16, 1), (mba // 16 * 16, 16)][int(rng.integers(3))]
            data[first * BLOCK : (first + length) * BLOCK] = rng.bytes(length * BLOCK)
        found = compare(tmp_path, crashed, bytes(data), options)
        records.add(found["recovery"]["records"] if "recovery" in found else found["error"])
    assert len(records) > 3


def test_a_segment_from_long_ago_among_them(crashed: Crashed, tmp_path: Path) -> None:
    """Its first record has the number of another, and continues nothing."""
    data = bytearray(crashed.data)
    middle = (crashed.start + crashed.end) // 2 // 16 * 16
    for mba in (0, middle - 16, middle + 16):
        data[middle * BLOCK : middle * BLOCK + SEGMENT] = data[mba * BLOCK : mba * BLOCK + SEGMENT]
        compare(tmp_path, crashed, bytes(data), {})


def test_a_file_that_was_cut(crashed: Crashed, tmp_path: Path) -> None:
    """Reading fails in the middle of what is rolled forward: that is no end of the log."""
    file = tmp_path / "cut"
    file.write_bytes(crashed.data)
    with FileMedium(file, CAPACITY, block_size=BLOCK, zone_size=SEGMENT, read_only=True) as medium:
        with file.open("r+b") as cut:
            cut.truncate((crashed.start + crashed.end) // 2 * BLOCK)
        found = state(medium, crashed.policy)
    assert found["error"] == "BadBlockError"
