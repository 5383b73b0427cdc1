"""Replays with a drive: what the log asks of its medium, and what its users see of that."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from seqstore.engine import Engine
from seqstore.errors import ConfigError
from seqstore.media import TagsMedium
from seqstore.sim import (
    OPERATION_DTYPE,
    FixedDrive,
    GarbageProportion,
    Kind,
    RunResult,
    Source,
    replay,
    simulation,
    sweep,
    workloads,
)
from seqstore.sim.kept import run_key
from seqstore.sim.space import Space
from seqstore.sim.timing import HDD, SMR, SSD, ZNS, Action, Service, TimedDrive
from seqstore.sim.timing.drive import Times
from seqstore.sim.timing.queues import in_order

MS = 1_000_000
PLACEMENTS = ("single", "separate", "dac", "sepbit", "multilog", "by_tenant", "by_volume")
SPACES = (FixedDrive(utilization=0.8), GarbageProportion(0.2))


class Ruler(TimedDrive):
    """One thing at a time, a millisecond for every block that is moved; tells what it was asked."""

    def __init__(
        self, blocks: int, *, queue_depth: int | None = None, seen: list[NDArray[np.void]] | None = None
    ) -> None:
        super().__init__(blocks, block_size=4096, queue_depth=queue_depth)
        self.seen = [] if seen is None else seen  # shared with the drives made after this one
        self._free = 0
        self._under_way = np.zeros(queue_depth or 0, np.int64)

    @property
    def parameters(self) -> dict[str, Any]:
        return {"model": "Ruler"}

    @property
    def asked(self) -> list[tuple[int, int, int, int]]:
        """All operations: kind, mba, count, request."""
        rows: list[tuple[int, int, int, int]] = np.concatenate(self.seen)[
            ["kind", "mba", "count", "request"]
        ].tolist()
        return rows

    def serve(self, operations: NDArray[np.void]) -> Service:
        self.seen.append(operations.copy())
        return super().serve(operations)

    def _serve_open(self, operations: NDArray[np.void], arrivals: Times) -> Times:
        moved = np.where(operations["kind"] == Action.RESET, 0, operations["count"]).astype(np.int64)
        done = in_order(arrivals, moved * MS, moved * MS, self._free)
        self._free = int(done[-1]) if len(done) else self._free
        return done

    def _serve_closed(self, operations: NDArray[np.void]) -> tuple[Times, Times]:
        done = self._serve_open(operations, np.zeros(len(operations), np.int64))
        line = np.concatenate((self._under_way, done))
        self._under_way = line[len(done) :]
        return line[: len(done)], done


class Given:
    """A source of operations that were written down: kind, lba, count, and time in milliseconds."""

    name = "given"

    def __init__(self, rows: Sequence[tuple[int, int, int, int]], blocks: int) -> None:
        self.operations = np.zeros(len(rows), OPERATION_DTYPE)
        kinds, lbas, counts, times = zip(*rows, strict=True)
        self.operations["tenant"] = self.operations["volume"] = 1
        self.operations["kind"], self.operations["lba"], self.operations["count"] = kinds, lbas, counts
        self.operations["time_ns"] = np.array(times) * MS
        self.blocks = blocks
        self.volumes = {(1, 1): blocks}
        self.parameters: dict[str, Any] = {}

    def batches(self) -> Iterator[NDArray[np.void]]:
        yield self.operations


def writes(*lbas: int, times: Sequence[int] | None = None, blocks: int = 8) -> Given:
    at = times or [0] * len(lbas)
    return Given([(Kind.WRITE, lba, 1, time) for lba, time in zip(lbas, at, strict=True)], blocks)


def churn() -> Source:
    return workloads.tenant_churn(1_000, 1_000, read_share=0.2, seed=5)


def mixed(count: int = 3_000, blocks: int = 600) -> Given:
    """Writes, reads and trims of runs, some larger than a segment."""
    rng = np.random.default_rng(11)
    kinds = rng.choice([Kind.WRITE, Kind.READ, Kind.TRIM], count, p=[0.7, 0.25, 0.05])
    lengths = np.minimum(rng.geometric(0.15, count), 40)
    lbas = rng.integers(0, blocks - lengths)
    rows = zip(kinds.tolist(), lbas.tolist(), lengths.tolist(), range(count), strict=True)
    return Given(list(rows), blocks)


# ---- by hand -----------------------------------------------------------------------------------------

APPEND, READ, RESET = int(Action.APPEND), int(Action.READ), int(Action.RESET)
# Segments of 4. After the third overwrite 3 of 7 blocks are garbage, all of it in the first segment: its last
# block moves behind them.
SMALL: dict[str, Any] = {"space": GarbageProportion(0.4), "segment_blocks": 4}
SEVEN = (0, 1, 2, 3, 0, 1, 2)


def test_what_a_cleaning_asks_of_the_medium() -> None:
    drive = Ruler(1000)
    result = replay(writes(*SEVEN), drive=drive, **SMALL)
    assert drive.asked == [
        *[(APPEND, mba, 1, mba + 1) for mba in range(7)],
        (READ, 3, 1, 0),
        (APPEND, 7, 1, 0),
        (RESET, 0, 4, 0),
    ]
    assert (result.user_blocks, result.relocated_blocks, result.cleaned_segments) == (7, 1, 1)


def test_a_request_waits_for_the_cleaner() -> None:
    times = (0, 10, 20, 30, 40, 50, 60, 61)
    result = replay(writes(*SEVEN, 5, times=times), drive=Ruler(1000), **SMALL)
    performance = result.performance
    assert performance is not None
    # The seventh is done at 61 ms; two blocks are moved until 63; the last one comes at 61, is done at 64.
    assert performance.writes.requests == 8
    assert performance.writes.p50_ns == MS
    assert performance.writes.max_ns == 3 * MS
    assert performance.seconds == pytest.approx(0.064)
    assert performance.reads.requests == 0


def test_a_closed_loop_takes_no_notice_of_times() -> None:
    times = (0, 10, 20, 30, 40, 50, 60, 61)
    drive = Ruler(1000, queue_depth=2)
    result = replay(writes(*SEVEN, 5, times=times), drive=drive, control=True, **SMALL)
    assert result.performance is not None
    assert result.control is not None
    # Eight blocks for users and two for the cleaner, with two operations under way: the second one waits for
    # the first.
    assert result.performance.seconds == pytest.approx(0.010)
    assert result.performance.requests_per_second == pytest.approx(800)
    assert result.performance.writes.p50_ns == 2 * MS
    assert result.control.seconds == pytest.approx(0.008)
    assert result.control.device_bytes_per_second == pytest.approx(1000 * 4096)
    # Nine blocks have been put in that time, which is the drive's and not the source's.
    assert result.latencies.seconds_a_write == pytest.approx(0.010 / 9)


def test_a_request_is_one_operation_a_segment_and_reads_go_through_the_map() -> None:
    rows = [
        (Kind.WRITE, 0, 6, 0),
        (Kind.WRITE, 1, 2, 1),
        (Kind.READ, 0, 8, 2),
        (Kind.TRIM, 4, 1, 3),
        (Kind.READ, 6, 2, 4),
        (Kind.READ, 3, 3, 5),
    ]
    drive = Ruler(1000)
    result = replay(Given(rows, 8), drive=drive, control=True, space=GarbageProportion(0.9), segment_blocks=4)
    log = [row for row in drive.asked if row[0] != Action.OVERWRITE][:8]
    assert log == [
        (APPEND, 0, 4, 1),
        (APPEND, 4, 2, 1),
        (APPEND, 6, 2, 2),
        (READ, 0, 1, 3),
        (READ, 6, 2, 3),
        (READ, 3, 3, 3),
        (READ, 3, 1, 6),  # of the fifth request nothing is there
        (READ, 5, 1, 6),
    ]
    assert result.performance is not None
    assert result.control is not None
    assert (result.performance.writes.requests, result.performance.reads.requests) == (2, 2)
    assert (result.control.writes.requests, result.control.reads.requests) == (2, 3)
    assert result.performance.writes.max_ns == 7 * MS  # from 1 to 8 ms
    assert result.performance.reads.p50_ns == pytest.approx((12 + 11) / 2 * MS)


def test_the_cleaner_reads_over_small_gaps() -> None:
    lbas = [*range(32), *range(1, 9), *range(11, 20)]  # gaps of 8 and 9 dead blocks
    drive = Ruler(1000)
    replay(writes(*lbas, blocks=32), drive=drive, space=GarbageProportion(0.34), segment_blocks=32)
    assert drive.asked[49:] == [
        (READ, 0, 11, 0),
        (READ, 20, 12, 0),
        (APPEND, 49, 15, 0),
        (RESET, 0, 32, 0),
    ]


# ---- what holds always -------------------------------------------------------------------------------


def check_medium(drive: Ruler, result: RunResult, segment_blocks: int) -> None:
    """Every segment is written from its start to its end, and begins anew only when it was reset."""
    pointers: dict[int, int] = defaultdict(int)
    appended: dict[bool, int] = defaultdict(int)
    read_by_cleaner = resets = 0
    for kind, mba, count, request in drive.asked:
        segment, offset = divmod(mba, segment_blocks)
        if kind == Action.APPEND:
            assert pointers[segment] == offset
            pointers[segment] += count
            assert pointers[segment] <= segment_blocks
            appended[request == 0] += count
        elif kind == Action.RESET:
            assert (offset, count, request) == (0, segment_blocks, 0)
            assert pointers[segment] == segment_blocks
            pointers[segment] = 0
            resets += 1
        else:
            assert kind == Action.READ
            assert offset + count <= pointers[segment] or request
            read_by_cleaner += count if request == 0 else 0
    assert (appended[False], appended[True]) == (result.user_blocks, result.relocated_blocks)
    assert resets == result.cleaned_segments > 0
    assert read_by_cleaner >= result.relocated_blocks


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("make", [mixed, churn])
def test_appends_are_sequential_and_complete(
    make: Callable[[], Source], placement: str, space: Space
) -> None:
    drive = Ruler(1 << 16)
    source = make()
    result = replay(source, drive=drive, placement=placement, space=space, segment_blocks=32)
    check_medium(drive, result, 32)
    operations = np.concatenate(list(source.batches()))
    assert result.performance is not None
    assert result.performance.writes.requests == np.count_nonzero(operations["kind"] == Kind.WRITE)
    times = np.concatenate(drive.seen)["time_ns"]
    assert (np.diff(times.astype(np.int64)) >= 0).all()
    assert times[-1] <= operations["time_ns"][-1]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("placement", ["single", "sepbit"])
def test_a_drive_changes_nothing_else(placement: str, space: Space) -> None:
    lbas = np.random.default_rng(2).integers(0, 2000, 20_000)
    options: dict[str, Any] = {"placement": placement, "space": space, "segment_blocks": 32}
    plain = replay(lbas, **options)
    timed = replay(lbas, drive=SSD(8192, queue_depth=4), control=True, **options)
    assert timed.performance is not None
    assert timed.parameters["drive"]["model"] == "SSD"
    assert timed.parameters["control"] is True
    found = {
        name: dataclasses.replace(getattr(timed, name), seconds_a_write=0.0)
        for name in ("latencies", "moved_latencies")
    }
    assert plain == dataclasses.replace(
        timed, performance=None, control=None, parameters=plain.parameters, **found
    )


def test_how_operations_are_cut_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"drive": SSD(8192), "control": True, "segment_blocks": 32}
    whole = replay(mixed(), **options)
    monkeypatch.setattr(simulation, "_WATCHED_AT_ONCE", 100)
    assert replay(mixed(), **options) == whole


def test_the_drive_stays_as_it_was() -> None:
    drive = HDD(4096, queue_depth=3)
    lbas = np.random.default_rng(2).integers(0, 1000, 5000)
    first = replay(lbas, drive=drive, segment_blocks=32)
    assert replay(lbas, drive=drive, segment_blocks=32) == first
    assert replay(lbas, drive=HDD(4096, queue_depth=3), segment_blocks=32) == first
    assert replay(lbas, drive=HDD(4096, queue_depth=4), segment_blocks=32) != first


@pytest.mark.parametrize("depth", [None, 16])
def test_a_log_beats_updates_in_place_on_a_hard_disk(depth: int | None) -> None:
    # Once in 15 ms: more than a disk does in place, with a seek and half a turn; little for a log.
    source = workloads.uniform(blocks=4096, writes=20_000, seed=1, fill=False, interval_ns=5 * MS)
    result = replay(source, drive=HDD(8192, queue_depth=depth), control=True, segment_blocks=256)
    log, in_place = result.performance, result.control
    assert log is not None
    assert in_place is not None
    assert log.writes.requests == in_place.writes.requests == 20_000
    if depth is None:
        # One keeps up with a write in 5 ms, and the other falls behind without end.
        assert log.writes.p50_ns < 10 * MS
        assert in_place.writes.p50_ns > 1000 * 10 * MS
    else:
        assert log.requests_per_second > 10 * in_place.requests_per_second
        assert 60 < in_place.requests_per_second < 200


# ---- results and refusals ----------------------------------------------------------------------------


def test_json_keeps_the_figures() -> None:
    result = replay(mixed(500), drive=ZNS(4096, zone_blocks=32), control=True, segment_blocks=32)
    again = RunResult.from_json(result.to_json())
    assert again == result
    assert again.performance == result.performance != result.control == again.control
    plain = replay(mixed(500), segment_blocks=32)
    assert RunResult.from_json(plain.to_json()).performance is None


def test_nothing_asked_is_no_performance() -> None:
    rows = [(int(Kind.READ), 0, 4, 0), (int(Kind.TRIM), 0, 4, 1)]
    result = replay(Given(rows, 8), drive=Ruler(1000), control=True, segment_blocks=4)
    assert result.performance is None
    assert result.control is not None
    assert result.control.reads.requests == 1


def test_a_sweep_over_drives(tmp_path: Any) -> None:
    drives = [HDD(4096, queue_depth=2), SMR(4096, zone_blocks=32, queue_depth=2)]
    lbas = np.random.default_rng(4).integers(0, 500, 2000)
    grid = {"source": lbas, "drive": drives, "control": True, "segment_blocks": 32}
    table = sweep(grid, path=tmp_path)
    rows = table.rows
    assert [row["drive.model"] for row in rows] == ["HDD", "SMR"]
    assert rows[0]["drive_requests_per_second"] > rows[0]["control_requests_per_second"] > 0
    assert list(sweep(grid, path=tmp_path)) == list(table)
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_a_run_is_known_by_its_drive() -> None:
    lbas = np.arange(10)
    keys = [
        run_key(lbas, {"drive": drive})
        for drive in (HDD(64), HDD(64), HDD(65), SMR(64), SSD(64), SSD(64, channels=4), SSD(64, channels=4))
    ]
    assert keys[0] == keys[1]
    assert keys[5] == keys[6]
    assert len(set(keys)) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drive": HDD(100)}, "the drive has 100 blocks; the log takes"),
        ({"drive": HDD(4096, block_size=512, queue_depth=1)}, "the drive has blocks of 512 B"),
        ({"drive": ZNS(4096, zone_blocks=64, queue_depth=1)}, "zones have 64 blocks, segments 32"),
        ({"drive": SMR(4096, zone_blocks=64, queue_depth=1)}, "zones have 64 blocks, segments 32"),
        ({"drive": HDD(4096), "source": np.arange(9)}, "an array says no times"),
        ({"drive": HDD(4096, queue_depth=1), "placement": "oracle"}, "the oracle placement"),
        ({"control": True}, "the control is of the same timing as the drive"),
    ],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replay(**{"source": mixed(100), "segment_blocks": 32, **options})


def test_operations_are_noted_on_request_alone() -> None:
    with pytest.raises(ConfigError):
        Engine(TagsMedium(64 * 4096, block_size=4096, zone_size=4 * 4096), note_operations=1)
    engine = Engine(TagsMedium(64 * 4096, block_size=4096, zone_size=4 * 4096), summaries_apart=1)
    with pytest.raises(ConfigError):
        engine.operations()
    engine.close()
