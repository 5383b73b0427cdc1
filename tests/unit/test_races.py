"""Threads on one store: what they find in stores with a race, and that they find nothing in one without."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest

from seqstore.testing.adapters import faulty, memory
from seqstore.testing.protocol import AdapterError
from seqstore.testing.races import run_races
from seqstore.testing.report import IsolationViolation
from seqstore.testing.timeline import Change, Timeline

SIZE = 512
ZERO = bytes(SIZE)
OLD, NEW, LATE = b"o" * SIZE, b"n" * SIZE, b"l" * SIZE


class Slots:
    """A store that puts blocks into slots, correctly as long as it is locked."""

    block_size = SIZE

    def __init__(self) -> None:
        self.slots: list[bytes] = []
        self.maps: list[dict[int, int]] = []
        self.lock: AbstractContextManager[object] = threading.RLock()

    def create_volume(self, tenant: str, blocks: int) -> int:
        with self.lock:
            self.maps.append({})
            return len(self.maps) - 1

    def delete_volume(self, volume: int) -> None:
        with self.lock:
            self.maps[volume] = {}

    def write(self, volume: int, lba: int, data: bytes) -> None:
        with self.lock:
            for i in range(len(data) // SIZE):
                self.put(volume, lba + i, data[i * SIZE : (i + 1) * SIZE])

    def put(self, volume: int, lba: int, block: bytes) -> None:
        self.slots.append(block)
        self.maps[volume][lba] = len(self.slots) - 1

    def read(self, volume: int, lba: int, count: int) -> bytes:
        with self.lock:
            return b"".join(self.get(volume, lba + i) for i in range(count))

    def get(self, volume: int, lba: int) -> bytes:
        slot = self.maps[volume].get(lba)
        return ZERO if slot is None else self.slots[slot]

    def trim(self, volume: int, lba: int, count: int) -> None:
        with self.lock:
            for place in range(lba, lba + count):
                self.maps[volume].pop(place, None)


class SlotForTwo(Slots):
    """Two writers take the same slot, since looking and taking are two steps."""

    def write(self, volume: int, lba: int, data: bytes) -> None:
        for i in range(len(data) // SIZE):
            slot = len(self.slots)
            time.sleep(0)
            self.slots[slot:] = [data[i * SIZE : (i + 1) * SIZE]]
            self.maps[volume][lba + i] = slot


class OneBuffer(Slots):
    """All readers share a buffer, and are not kept apart."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = bytearray(64 * SIZE)

    def read(self, volume: int, lba: int, count: int) -> bytes:
        for i in range(count):
            self.buffer[i * SIZE : (i + 1) * SIZE] = self.get(volume, lba + i)
        time.sleep(0)
        return bytes(self.buffer[: count * SIZE])


class HalfWritten(Slots):
    """A block is written in two steps, and a reader comes between them."""

    def write(self, volume: int, lba: int, data: bytes) -> None:
        for i in range(len(data) // SIZE):
            block = data[i * SIZE : (i + 1) * SIZE]
            self.put(volume, lba + i, block[: SIZE // 2] + self.get(volume, lba + i)[SIZE // 2 :])
            time.sleep(0)
            self.put(volume, lba + i, block)


class LostUpdate(Slots):
    """A writer changes a copy of the map, and puts it back over what others have written meanwhile."""

    def write(self, volume: int, lba: int, data: bytes) -> None:
        copy = dict(self.maps[volume])
        time.sleep(0)
        for i in range(len(data) // SIZE):
            self.slots.append(data[i * SIZE : (i + 1) * SIZE])
            copy[lba + i] = self.slots.index(data[i * SIZE : (i + 1) * SIZE])
        self.maps[volume] = copy


class StaleCache(Slots):
    """A reader fills a cache behind the back of the writer that has just emptied it."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = nullcontext()
        self.cache: dict[tuple[int, int], bytes] = {}

    def put(self, volume: int, lba: int, block: bytes) -> None:
        super().put(volume, lba, block)
        self.cache.pop((volume, lba), None)

    def get(self, volume: int, lba: int) -> bytes:
        found = self.cache.get((volume, lba))
        if found is None:
            found = super().get(volume, lba)
            time.sleep(0)
            self.cache[volume, lba] = found
        return found

    def trim(self, volume: int, lba: int, count: int) -> None:
        super().trim(volume, lba, count)
        for place in range(lba, lba + count):
            self.cache.pop((volume, place), None)


class Falling(Slots):
    """A call fails where two meet."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = 0

    def read(self, volume: int, lba: int, count: int) -> bytes:
        self.inside += 1
        try:
            time.sleep(0)
            if self.inside > 1:
                raise RuntimeError("somebody is here already")
            return super().read(volume, lba, count)
        finally:
            self.inside -= 1


def race(factory: Callable[[], Slots], seed: int = 1) -> IsolationViolation | None:
    try:
        run_races(factory, threads=4, examples=40, steps=50, seed=seed)
    except IsolationViolation as violation:
        return violation
    return None


@pytest.mark.parametrize(
    ("factory", "kinds"),
    [
        (SlotForTwo, {"foreign", "other_volume", "misplaced", "resurrected", "lost", "error"}),
        (OneBuffer, {"foreign", "other_volume", "misplaced", "resurrected", "lost"}),
        (HalfWritten, {"torn", "resurrected"}),
        (LostUpdate, {"lost", "resurrected"}),
        (StaleCache, {"lost", "resurrected"}),
        (Falling, {"error"}),
    ],
)
def test_a_race_is_found(factory: Callable[[], Slots], kinds: set[str]) -> None:
    found = race(factory)
    assert found is not None
    assert found.kind in kinds
    assert "thread" in found.story[-1]


def test_a_store_with_a_lock_passes() -> None:
    assert race(Slots) is None


def test_one_thread_finds_nothing_in_a_race() -> None:
    outcome = run_races(SlotForTwo, threads=1, examples=5, steps=50, seed=1)
    assert (outcome.examples, outcome.steps) == (5, 250)
    assert outcome.commands["own_write"] > 0


def test_a_leak_across_volumes_names_who_owns_the_bytes() -> None:
    violations = [found for seed in range(10) if (found := race(OneBuffer, seed)) is not None]
    foreign = [violation for violation in violations if violation.kind == "foreign"]
    assert foreign
    assert all(violation.owner != violation.reader and violation.owner for violation in foreign)


def test_our_own_stores_pass() -> None:
    for factory in (memory(), faulty(), memory(unwritten="error"), faulty(unwritten="error")):
        assert run_races(factory, threads=4, examples=5, steps=60, seed=1).steps == 1200


def test_an_adapter_that_errs_is_told() -> None:
    class Short(Slots):
        def read(self, volume: int, lba: int, count: int) -> bytes:
            return super().read(volume, lba, count)[1:]

    with pytest.raises(AdapterError, match="the protocol asks for read"):
        run_races(Short, threads=2, examples=1, steps=50, seed=1)


class TestTimeline:
    """Moments 1, 2, ...; a block that is unwritten, then `OLD` from 2 to 3 and `NEW` from 5 to 8."""

    @pytest.fixture
    def line(self) -> Timeline:
        line = Timeline(1, ZERO)
        line.finish(line.begin(Change(1, "old", 2), 0, [OLD]), 3)
        line.finish(line.begin(Change(1, "new", 5), 0, [NEW]), 8)
        return line

    @pytest.mark.parametrize(
        ("start", "end", "blocks"),
        [
            (0, 1, {ZERO}),
            (1, 4, {ZERO, OLD}),
            (3, 4, {ZERO, OLD}),
            (4, 4, {OLD}),
            (4, 6, {OLD, NEW}),
            (6, 7, {OLD, NEW}),
            (9, 10, {NEW}),
            (1, 10, {ZERO, OLD, NEW}),
        ],
    )
    def test_a_read_meets_what_was_there_meanwhile(
        self, line: Timeline, start: int, end: int, blocks: set[bytes]
    ) -> None:
        assert {entry.block for entry in line.admissible(0, start, end)} == blocks

    def test_what_was_seen_is_not_taken_back(self, line: Timeline) -> None:
        assert line.accepts(0, NEW, 5, 6)
        assert not line.accepts(0, OLD, 7, 8)

    def test_writes_that_overlap_have_no_order(self, line: Timeline) -> None:
        line.finish(line.begin(Change(2, "late", 6), 0, [LATE]), 9)
        assert line.accepts(0, NEW, 20, 21)
        assert line.accepts(0, LATE, 20, 21)

    def test_a_refused_write_may_be_there_or_not(self, line: Timeline) -> None:
        line.finish(line.begin(Change(1, "late", 10), 0, [LATE]), 11, refused=True)
        assert {entry.block for entry in line.admissible(0, 20, 21)} == {NEW, LATE}
        assert line.accepts(0, LATE, 20, 21)
        assert not line.accepts(0, NEW, 22, 23)
