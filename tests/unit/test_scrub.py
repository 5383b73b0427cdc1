"""The scrub: that it reads everything, finds what is damaged, keeps its rate, and ends when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from seqstore import (
    CallsMedium,
    ClosedError,
    ConfigError,
    CorruptionError,
    Damage,
    ManualClock,
    MediumError,
    Store,
    Tenant,
    Volume,
)
from tests.small import BLOCK_COUNT, BLOCK_SIZE, CAPACITY, SEGMENT_SIZE, mba_of, overwrite, write_tagged


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> Iterator[Store]:
    with Store.memory(CAPACITY, block_size=BLOCK_SIZE, segment_size=SEGMENT_SIZE, clock=clock) as store:
        yield store


def test_everything_live_is_read(store: Store, volume: Volume) -> None:
    write_tagged(volume, range(100))
    volume.snapshot("monday")
    write_tagged(volume, range(20), version=2)
    report = store.scrub()
    assert (report.blocks, report.bytes, report.damaged) == (120, 120 * BLOCK_SIZE, ())
    assert report.complete
    assert (store.stats().scrubbed_blocks, store.stats().damaged_blocks) == (120, 0)


def test_an_empty_store(store: Store) -> None:
    assert store.scrub().blocks == 0


def test_damage_is_found_and_stays(store: Store, tenant: Tenant, volume: Volume) -> None:
    write_tagged(volume, range(100))
    wrong = {mba_of(volume, lba): lba for lba in (3, 50, 99)}
    for mba in wrong:
        overwrite(store, mba, b"\xa5" * BLOCK_SIZE)
    report = store.scrub()
    assert {damage.mba: damage.lba for damage in report.damaged} == wrong
    assert report.damaged[0] == Damage(
        volume=volume.number, lba=3, mba=mba_of(volume, 3), reason="is not as it was written"
    )
    before = store.stats()
    assert (before.scrubbed_blocks, before.damaged_blocks) == (100, 3)
    volume.write_blocks(3, bytes(BLOCK_SIZE))
    assert len(store.scrub().damaged) == 2
    assert (store.stats() - before).damaged_blocks == 2
    with pytest.raises(CorruptionError):
        volume.read_blocks(50, 1)


@pytest.mark.parametrize("rate", [BLOCK_SIZE, 10 * BLOCK_SIZE, "1 MiB", 10**12])
def test_a_rate_is_kept(store: Store, clock: ManualClock, volume: Volume, rate: int | str) -> None:
    write_tagged(volume, range(100))
    in_bytes = 2**20 if isinstance(rate, str) else rate
    report = store.scrub(rate=rate)
    assert report.seconds == clock.now_ns() / 1e9 == pytest.approx(100 * BLOCK_SIZE / in_bytes, abs=1e-8)


def test_no_rate_is_no_wait(store: Store, clock: ManualClock, volume: Volume) -> None:
    write_tagged(volume, range(100))
    store.scrub()
    assert clock.now_ns() == 0


@pytest.mark.parametrize("rate", [0, -1, "fast", 0.5])
def test_bad_rates(store: Store, rate: int) -> None:
    with pytest.raises(ConfigError, match="rate"):
        store.scrub(rate=rate)


def test_in_the_background(store: Store, volume: Volume) -> None:
    write_tagged(volume, range(100))
    scrub = store.scrub(background=True)
    report = scrub.wait()
    assert (report.blocks, report.complete, scrub.progress, scrub.running) == (100, True, 1, False)
    assert scrub.wait() is report
    assert "100%" in repr(scrub)


class Gate(ManualClock):
    """A clock that lets nobody pass until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.reached = threading.Event(), threading.Event()

    def sleep_ns(self, duration_ns: int) -> None:
        self.reached.set()
        self.open.wait(10)
        super().sleep_ns(duration_ns)


@pytest.fixture
def gate() -> Gate:
    return Gate()


def begin(gate: Gate) -> tuple[Store, Volume]:
    store = Store.memory(CAPACITY, block_size=BLOCK_SIZE, segment_size=SEGMENT_SIZE, clock=gate)
    volume = store.create_tenant("contoso").create_volume("disk", "64KiB")
    write_tagged(volume, range(100))
    return store, volume


def test_cancelling(gate: Gate) -> None:
    store, volume = begin(gate)
    with store:
        scrub = store.scrub(rate=BLOCK_SIZE, background=True)
        assert gate.reached.wait(10)
        volume.write(0, b"goes on meanwhile")
        assert scrub.running
        scrub.cancel()
        gate.open.set()
        report = scrub.wait()
        assert not report.complete
        assert 0 < report.blocks < 100
        assert scrub.progress < 1


def test_closing_ends_it(gate: Gate) -> None:
    store, _ = begin(gate)
    scrub = store.scrub(rate=BLOCK_SIZE, background=True)
    assert gate.reached.wait(10)
    threading.Timer(0.05, gate.open.set).start()
    store.close()
    assert not scrub.running
    assert not scrub.wait().complete
    with pytest.raises(ClosedError):
        store.scrub()


def test_a_simulated_store_has_nothing_to_read(simulated: Store) -> None:
    with pytest.raises(MediumError):
        simulated.scrub()


class Fading:
    """Calls of a medium with blocks that cannot be read."""

    def __init__(self) -> None:
        self.data = bytearray(CAPACITY)
        self.bad: set[int] = set()

    def append(self, mba: int, data: memoryview) -> None:
        self.data[mba * BLOCK_SIZE : mba * BLOCK_SIZE + len(data)] = data

    def read(self, mba: int, count: int, out: memoryview) -> None:
        if self.bad & {*range(mba, mba + count)}:
            raise OSError(5, "cannot be read")
        out[:] = self.data[mba * BLOCK_SIZE : (mba + count) * BLOCK_SIZE]

    def sync(self) -> None: ...

    def reset(self, zone: int) -> None: ...


def test_blocks_that_cannot_be_read() -> None:
    calls = Fading()
    medium = CallsMedium(calls, BLOCK_COUNT * BLOCK_SIZE, block_size=BLOCK_SIZE, zone_size=SEGMENT_SIZE)
    with Store.create_on(medium) as store:
        volume = store.create_tenant("contoso").create_volume("disk", "32KiB")
        write_tagged(volume, range(40))
        store.flush()
        calls.bad = {mba_of(volume, 7), mba_of(volume, 30)}
        report = store.scrub()
        assert {(damage.mba, damage.lba) for damage in report.damaged} == {
            (mba_of(volume, 7), 7),
            (mba_of(volume, 30), 30),
        }
        assert "cannot be read: Input/output error" in report.damaged[0].reason
        calls.bad = set()
