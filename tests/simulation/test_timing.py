"""Drive models: known cases by hand, and what holds whatever is asked of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from seqstore import ConfigError, NotFoundError
from seqstore.sim.operations import OPERATION_DTYPE, Kind
from seqstore.sim.timing import (
    HDD,
    HP_97560,
    MEDIUM_OPERATION_DTYPE,
    MLC_NAND,
    SMR,
    SSD,
    ULTRASTAR_HC310,
    ZNS,
    Action,
    InPlace,
    Mechanics,
    Meter,
    Nand,
    Seek,
    Service,
    TimedDrive,
)
from seqstore.sim.timing.queues import each_in_order, in_order

MS = 1_000_000
BLOCKS = 4096
REVOLUTION = 10 * MS

# A drive to reckon with by hand: 6000 rpm, 10 ms a turn, 100 blocks of 4096 B a turn everywhere.
PLAIN = Mechanics(
    name="plain",
    rpm=6000,
    read_seek=Seek(shortest_ms=1.0, average_ms=5.0),
    write_seek=Seek(shortest_ms=1.0, average_ms=5.0),
    outer_rate=100 * 4096 * 100,
    inner_rate=100 * 4096 * 100,
)
# Two blocks a page, 4 pages an erase block; a block moves in 1 us.
SMALL_NAND = Nand(
    name="small",
    page_bytes=8192,
    block_pages=4,
    read_ns=50_000,
    program_ns=500_000,
    erase_ns=2_000_000,
    channel_rate=4096e6,
)

Make = Callable[[int | None], TimedDrive]
MAKERS: dict[str, Make] = {
    "hdd": lambda depth: HDD(BLOCKS, queue_depth=depth),
    "smr": lambda depth: SMR(BLOCKS, zone_blocks=256, queue_depth=depth),
    "ssd": lambda depth: SSD(BLOCKS, channels=2, channel_dies=2, nand=SMALL_NAND, queue_depth=depth),
    "zns": lambda depth: ZNS(
        BLOCKS, zone_blocks=256, zone_dies=2, channels=2, channel_dies=3, nand=SMALL_NAND, queue_depth=depth
    ),
    "unbuffered": lambda depth: SSD(
        BLOCKS, channels=2, channel_dies=2, nand=SMALL_NAND, buffer_pages=0, queue_depth=depth
    ),
}
each_drive = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def operations(
    kind: ArrayLike, mba: ArrayLike, count: ArrayLike = 1, *, time_ns: ArrayLike = 0, request: ArrayLike = 1
) -> NDArray[np.void]:
    columns = np.broadcast_arrays(time_ns, kind, mba, count, request)
    array = np.zeros(columns[0].size, MEDIUM_OPERATION_DTYPE)
    for name, column in zip(MEDIUM_OPERATION_DTYPE.names or (), columns, strict=True):
        array[name] = column
    return array


def completions(drive: TimedDrive, asked: NDArray[np.void]) -> list[int]:
    served: list[int] = drive.serve(asked).completions_ns.tolist()
    return served


def rate(service: Service, block_size: int = 4096) -> float:
    meter = Meter(block_size)
    meter.add(service)
    return meter.result().user_bytes_per_second


@st.composite
def any_operations(draw: st.DrawFn) -> NDArray[np.void]:
    length = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    times = np.cumsum(rng.integers(0, draw(st.sampled_from([1, 10**5, 10**8])), length))
    count = rng.integers(1, draw(st.sampled_from([2, 20, 300])), length)
    return operations(rng.integers(0, 4, length), rng.integers(0, BLOCKS - 300, length), count, time_ns=times)


# Queues


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9), st.integers(0, 2)), max_size=30))
def test_queues_say_what_a_loop_says(jobs: list[tuple[int, int, int]]) -> None:
    ready, busy, servers = (np.array([job[i] for job in jobs], np.int64) for i in range(3))
    free = np.array([3, 0, 7], np.int64)
    expected, until = [], free.tolist()
    for begin, length, server in zip(ready.tolist(), busy.tolist(), servers.tolist(), strict=True):
        until[server] = max(until[server], begin) + length
        expected.append(until[server])
    assert each_in_order(servers, ready, busy, free).tolist() == expected
    assert free.tolist() == until


def test_a_job_that_finds_the_server_idle_takes_a_time_of_its_own() -> None:
    ready, alone, busy = np.array([[0, 1, 50], [5, 6, 7], [10, 10, 10]], np.int64)
    assert in_order(ready, alone, busy, 0).tolist() == [10, 20, 57]


# What holds for all drives


@each_drive
@pytest.mark.parametrize("depth", [None, 3])
@settings(max_examples=40, deadline=None)
@given(asked=any_operations(), cut=st.integers(0, 40))
def test_how_a_run_is_cut_into_arrays_changes_nothing(
    make: Make, asked: NDArray[np.void], cut: int, depth: int | None
) -> None:
    whole, parts = make(depth), make(depth)
    expected = whole.serve(asked)
    first, second = parts.serve(asked[:cut]), parts.serve(asked[cut:])
    for name in ("arrivals_ns", "completions_ns"):
        joined = np.concatenate((getattr(first, name), getattr(second, name)))
        assert joined.tolist() == getattr(expected, name).tolist()


@each_drive
@settings(max_examples=40, deadline=None)
@given(asked=any_operations())
def test_nothing_is_done_before_it_arrives_and_a_later_arrival_helps_nobody(
    make: Make, asked: NDArray[np.void]
) -> None:
    now = make(None).serve(asked)
    assert (now.completions_ns >= now.arrivals_ns).all()
    assert now.arrivals_ns.tolist() == asked["time_ns"].tolist()
    later = asked.copy()
    later["time_ns"] += np.uint64(1_234_567)
    assert (make(None).serve(later).completions_ns >= now.completions_ns).all()


@each_drive
@settings(max_examples=40, deadline=None)
@given(asked=any_operations())
def test_a_closed_loop_of_endless_depth_is_an_open_loop_where_all_is_there_at_once(
    make: Make, asked: NDArray[np.void]
) -> None:
    at_once = asked.copy()
    at_once["time_ns"] = 0
    assert completions(make(64), asked) == completions(make(None), at_once)


@each_drive
@settings(max_examples=40, deadline=None)
@given(asked=any_operations(), depth=st.integers(1, 8))
def test_a_closed_loop_keeps_its_depth(make: Make, asked: NDArray[np.void], depth: int) -> None:
    service = make(depth).serve(asked)
    for number, arrival in enumerate(service.arrivals_ns):
        under_way = np.count_nonzero(service.completions_ns[:number] > arrival)
        assert under_way < depth
        # The next one is issued when one is done, and not later.
        assert arrival == 0 or arrival in service.completions_ns[:number]


@each_drive
@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros(1, np.int64),
        operations(Action.READ, 0, 0),
        operations(Action.READ, BLOCKS),
        operations(4, 0),
    ],
    ids=["type", "no blocks", "beyond the drive", "kind"],
)
def test_what_cannot_be_served_is_refused(make: Make, wrong: NDArray[np.void]) -> None:
    drive = make(None)
    with pytest.raises(ConfigError):
        drive.serve(wrong)
    assert completions(drive, operations([], [])) == []


# Hard disk drives


def test_the_seek_curve_is_the_one_that_was_published() -> None:
    stroke = 1961
    distance = np.array([0, 1, 100, 383, 384, 1000, 1961])
    expected_ms = [0, 3.64, 7.24, 3.24 + 0.4 * 383**0.5, 11.072, 16.0, 23.688]
    times_ms = HP_97560.read_seek.times_ns(distance / stroke) / MS
    assert times_ms == pytest.approx(expected_ms, rel=1e-4)


def test_a_seek_curve_has_the_two_times_of_the_data_sheet() -> None:
    places = np.random.default_rng(1).random((2, 200_000))
    times_ms = ULTRASTAR_HC310.write_seek.times_ns(np.abs(places[0] - places[1])) / MS
    assert times_ms.mean() == pytest.approx(8.2, rel=0.003)
    assert ULTRASTAR_HC310.write_seek.times_ns(np.array([1e-9]))[0] / MS == pytest.approx(0.32, rel=0.01)


def test_a_revolution_by_hand() -> None:
    drive = HDD(BLOCKS, mechanics=PLAIN)
    seek_ns = int(PLAIN.read_seek.times_ns(np.array([50 / BLOCKS]))[0])
    assert 1 * MS < seek_ns < 5 * MS
    asked = operations(
        [Action.READ, Action.READ, Action.APPEND, Action.RESET, Action.READ, Action.READ],
        [0, 10, 70, 0, 70, 71],
        [10, 10, 1, 1, 1, 1],
        time_ns=[0, 0, 0, 0, 0, 30 * MS],
    )
    assert completions(drive, asked) == [
        1 * MS,  # the first block stands under the head, 10 of 100 blocks take 1 of 10 ms
        2 * MS,  # goes on where the first ended
        7 * MS + MS // 10,  # the seek is over before block 70 comes by at 7 ms
        7 * MS + MS // 10,  # nothing to move
        17 * MS + MS // 10,  # behind the head already: a whole turn; and a seek back takes less than that
        37 * MS + MS // 5,  # came late: at 30 ms the head stood over block 0 of its track
    ]


def test_outer_tracks_are_faster_and_the_whole_drive_takes_the_mean_of_1_over_the_rate() -> None:
    blocks = 2**20
    ends = HDD(blocks).travel_ns(np.array([0, 1000, blocks - 1000, blocks]))
    seconds = np.diff(ends)[[0, 2]] / 1e9
    assert 1000 * 4096 / seconds == pytest.approx([255e6, 127.5e6], rel=0.001)
    # Integral of 1 / (1 - x / 2) over 0 to 1.
    assert ends[3] / 1e9 == pytest.approx(blocks * 4096 / 255e6 * 2 * np.log(2), rel=1e-6)


def test_a_hard_disk_turns_half_a_revolution_on_average_for_each_random_write() -> None:
    blocks = 2**24
    mba = np.random.default_rng(2).integers(0, blocks - 1, 50_000)
    service = HDD(blocks, queue_depth=1).serve(operations(Action.OVERWRITE, mba))
    mean_ms = int(service.completions_ns[-1]) / 50_000 / MS
    assert mean_ms == pytest.approx(8.2 + 60_000 / 7200 / 2, rel=0.01)


def test_a_shingled_drive_seeks_to_read_before_it_writes() -> None:
    # An arm that reads is there before block 203 comes by, at 0.3 ms; one that writes would miss it.
    mechanics = dataclasses.replace(PLAIN, read_seek=Seek(shortest_ms=0.01, average_ms=0.02))
    drive = SMR(BLOCKS, zone_blocks=300, mechanics=mechanics)
    asked = operations([Action.APPEND, Action.OVERWRITE], [0, 203], 1)
    # 97 blocks: read from 0.3 to 10 ms; the arm goes back; written from 20.3 to 30 ms.
    assert completions(drive, asked) == [MS // 10, 30 * MS]


def test_a_shingled_drive_reads_and_writes_the_rest_of_the_zone_to_overwrite() -> None:
    drive = SMR(BLOCKS, zone_blocks=200, mechanics=PLAIN)
    asked = operations([Action.OVERWRITE, Action.APPEND, Action.RESET], [0, 200, 0], [1, 1, 1])
    assert completions(drive, asked) == [
        50 * MS,  # two turns to read 200 blocks, one lost while the arm goes back, two turns to write them
        50 * MS + MS // 10,
        60 * MS + MS // 10,  # the zone table at block 0, which has just gone by
    ]


# Flash


def test_a_page_moves_and_is_programmed_by_hand() -> None:
    drive = SSD(
        64, channels=1, channel_dies=2, nand=SMALL_NAND, buffer_pages=0, interface_ns=0, block_size=4096
    )
    asked = operations(
        [Action.APPEND, Action.APPEND, Action.APPEND, Action.READ, Action.READ, Action.RESET],
        [0, 1, 3, 0, 1, 0],
        [1, 2, 3, 1, 2, 16],
        time_ns=[0, 0, 0, 10 * MS, 20 * MS, 30 * MS],
    )
    assert completions(drive, asked) == [
        0,  # half a page: it waits in the buffer
        502_000,  # die 0: 2 us to move two blocks, 500 us to program
        1_004_000 - 2_000,  # die 1 from 4 us; then die 0, whose page moves in the meantime: 502 + 500 us
        10 * MS + 51_000,  # 50 us to read, 1 us to move one of two blocks
        20 * MS + 51_000,  # two blocks on two dies: both read at once, and 1 us each on one channel
        32 * MS,  # 8 pages, 4 on each of 2 dies: an erase block each
    ]


def test_the_buffer_takes_what_it_has_room_for() -> None:
    drive = SSD(64, channels=1, channel_dies=1, nand=SMALL_NAND, buffer_pages=2, interface_ns=10)
    served = completions(drive, operations(Action.APPEND, [0, 2, 4, 6], 2))
    assert served == [10, 10, 502_010, 1_002_010]
    assert completions(drive, operations(Action.APPEND, 8, 2)) == [1_502_010]  # full from the array before


def test_flash_that_overwrites_erases_the_block_first() -> None:
    drive = ZNS(64, zone_blocks=16, zone_dies=1, channels=1, channel_dies=2, nand=SMALL_NAND, interface_ns=0)
    # 3 other pages are read, the block is erased, 4 pages are programmed; zone 1 lies on the other die.
    expected = 3 * 50_000 + 2_000_000 + 4 * 500_000
    assert completions(drive, operations(Action.OVERWRITE, [0, 16, 2])) == [expected, expected, 2 * expected]


@pytest.mark.parametrize(("zone_dies", "expected"), [(None, 8.0), (2, 2.0)])
def test_a_zone_writes_as_fast_as_its_dies(zone_dies: int | None, expected: float) -> None:
    drive = ZNS(2**16, zone_blocks=2**15, zone_dies=zone_dies, channels=8, channel_dies=1, queue_depth=64)
    service = drive.serve(operations(Action.APPEND, np.arange(0, 2**15, 16), 16))
    die_rate = MLC_NAND.page_bytes / (MLC_NAND.program_ns / 1e9)
    assert rate(service) == pytest.approx(expected * die_rate, rel=0.03)


def test_channels_bound_what_dies_can_read() -> None:
    drive = SSD(2**16, channels=2, channel_dies=32, queue_depth=256)
    service = drive.serve(operations(Action.READ, np.arange(0, 2**16, 4), 4))
    assert rate(service) == pytest.approx(2 * MLC_NAND.channel_rate, rel=0.01)


@pytest.mark.parametrize(
    ("blocks", "zone_blocks", "zone_dies", "block_size", "channels", "queue_depth"),
    [
        (0, 16, None, 4096, 8, 1),
        (64, 3, None, 4096, 8, 1),
        (64, 16, 65, 4096, 8, 1),
        (64, 16, 0, 4096, 8, 1),
        (64, 16, None, 65536, 8, 1),
        (64, 16, None, 4096, 0, 1),
        (64, 16, None, 4096, 8, 0),
    ],
)
def test_flash_that_does_not_fit_is_refused(
    blocks: int, zone_blocks: int, zone_dies: int | None, block_size: int, channels: int, queue_depth: int
) -> None:
    with pytest.raises(ConfigError):
        ZNS(
            blocks,
            zone_blocks=zone_blocks,
            zone_dies=zone_dies,
            block_size=block_size,
            channels=channels,
            queue_depth=queue_depth,
        )


# Updates in place


def user_operations(*rows: tuple[int, Kind, int, int, int, int]) -> NDArray[np.void]:
    return np.array(list(rows), OPERATION_DTYPE)


def test_updates_in_place_go_to_their_own_addresses() -> None:
    control = InPlace(HDD(BLOCKS), {(1, 1): 100, (1, 2): 50})
    service = control.serve(
        user_operations(
            (0, Kind.WRITE, 1, 1, 7, 2),
            (5, Kind.TRIM, 1, 1, 7, 2),
            (6, Kind.CREATE, 2, 1, BLOCKS - 160, 0),
            (7, Kind.READ, 1, 2, 3, 1),
            (8, Kind.WRITE, 2, 1, 0, 4),
            (9, Kind.CREATE, 2, 2, 20, 0),
            (9, Kind.WRITE, 2, 2, 8, 4),
        )
    )
    asked = service.operations
    assert asked["mba"].tolist() == [7, 103, 150, BLOCKS - 4]  # the last one would have run over the end
    assert asked["kind"].tolist() == [Action.OVERWRITE, Action.READ, Action.OVERWRITE, Action.OVERWRITE]
    assert asked["request"].tolist() == [1, 2, 3, 4]
    assert asked["time_ns"].tolist() == [0, 7, 8, 9]
    with pytest.raises(NotFoundError):
        control.serve(user_operations((0, Kind.READ, 3, 1, 0, 1)))


@pytest.mark.parametrize(
    ("make", "at_least"),
    [
        (lambda: HDD(2**20, queue_depth=8), 100),
        (lambda: SMR(2**20, queue_depth=8), 10_000),
        (lambda: SSD(2**20, queue_depth=8), 10),
        (lambda: ZNS(2**20, zone_blocks=2**14, queue_depth=8), 10),
    ],
    ids=["hdd", "smr", "ssd", "zns"],
)
def test_a_log_writes_at_random_far_faster_than_updates_in_place(
    make: Callable[[], TimedDrive], at_least: float
) -> None:
    lbas = np.random.default_rng(3).integers(0, 2**20, 2000)
    writes = np.zeros(2000, OPERATION_DTYPE)
    for name, values in {"tenant": 1, "volume": 1, "lba": lbas, "count": 1}.items():
        writes[name] = values
    in_place = rate(InPlace(make(), {(1, 1): 2**20}).serve(writes))
    log = rate(make().serve(operations(Action.APPEND, np.arange(2000))))
    assert log > at_least * in_place


# Meters


def test_a_meter_counts_requests_and_not_the_cleaner() -> None:
    asked = operations(
        [Action.APPEND, Action.READ, Action.APPEND, Action.READ, Action.RESET],
        0,
        [4, 100, 4, 2, 50],
        request=[1, 0, 1, 2, 0],
    )
    times = np.array([[10, 0, 20, 30, 0], [50, 900, 100, 70, 1000]], np.uint64)
    meter = Meter(10)
    meter.add(Service(operations=asked, arrivals_ns=times[0], completions_ns=times[1]))
    result = meter.result()
    assert result.seconds == pytest.approx(1e-6)
    assert (result.writes.requests, result.writes.max_ns) == (1, 90)
    assert (result.reads.requests, result.reads.p50_ns) == (1, 40)
    assert result.user_bytes_per_second == pytest.approx(100 / 1e-6)
    assert result.device_bytes_per_second == pytest.approx(1100 / 1e-6)
    assert result.requests_per_second == pytest.approx(2 / 1e-6)


def test_percentiles_are_those_of_numpy() -> None:
    latencies = np.arange(1, 1002, dtype=np.uint64)
    meter = Meter(4096)
    for part in np.array_split(np.arange(1001), 3):
        asked = operations(Action.READ, 0, request=part + 1)
        begins = np.zeros(len(part), np.uint64)
        meter.add(Service(operations=asked, arrivals_ns=begins, completions_ns=latencies[part]))
    reads = meter.result().reads
    percentiles = (reads.p50_ns, reads.p90_ns, reads.p99_ns, reads.p999_ns)
    assert percentiles == pytest.approx((501, 901, 991, 1000))
    assert reads.mean_ns == pytest.approx(501)


def test_a_meter_of_nothing_says_so() -> None:
    with pytest.raises(ConfigError):
        Meter(4096).result()
