"""The scrub: that it reads everything, finds what is damaged, keeps its rate, and ends when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from seqstore import (
    NO_ADDRESS,
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
from seqstore.format import Kind, read_image
from tests.crash.failing import FailingDrive, create
from tests.durable import crash
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


class TestTheLogsOwn:
    """What the next opening depends on is read too; nothing in use does, so that only a scrub can tell."""

    @pytest.fixture
    def drive(self) -> FailingDrive:
        return FailingDrive()

    @pytest.fixture
    def durable_store(self, drive: FailingDrive) -> Iterator[Store]:
        store = create(drive).store
        volume = store.create_tenant("contoso").create_volume("disk", 40 * BLOCK_SIZE)
        for version in range(12):
            write_tagged(volume, range(30), version)
            store.flush()
        yield store
        crash(store)

    @staticmethod
    def needed(drive: FailingDrive) -> dict[str, list[int]]:
        """Say which blocks are summaries, and which pages, of segments that opening has to walk through."""
        with read_image(drive.image()) as image:
            checkpoint = image.recovered.checkpoint
            assert checkpoint is not None
            records = [record.summary for record in image.records() if record.status == "valid"]
        walked = {record.segment for record in records if record.sequence >= checkpoint.sequence}
        records = [record for record in records if record.segment in walked]
        pages = [mba for record in records for entry, mba in record.placed() if entry.kind is Kind.CHECKPOINT]
        return {"summaries": [record.mba for record in records], "pages": pages}

    @pytest.mark.parametrize("what", ["summaries", "pages"])
    @pytest.mark.parametrize("rate", [None, 100 * BLOCK_SIZE])
    def test_each_is_found(
        self, drive: FailingDrive, durable_store: Store, what: str, rate: int | None
    ) -> None:
        clean = durable_store.scrub()
        assert clean.damaged == ()
        blocks = self.needed(drive)
        assert len(blocks[what]) >= 3
        live = durable_store.stats().live_blocks
        assert clean.blocks == live + len(blocks["summaries"]) + len(blocks["pages"])
        for mba in blocks[what]:
            drive.rot(mba, 8 * 200 + 1)
            (damage,) = durable_store.scrub(rate=rate).damaged
            assert damage == Damage(volume=0, lba=NO_ADDRESS, mba=mba, reason="is not as it was written")
            drive.rot(mba, 8 * 200 + 1)
        assert durable_store.scrub().damaged == ()
        assert durable_store.stats().damaged_blocks == len(blocks[what])

    def test_what_cannot_be_read(self, drive: FailingDrive, durable_store: Store) -> None:
        blocks = self.needed(drive)
        bad = {blocks["summaries"][0], blocks["pages"][-1]}
        for mba in bad:
            drive.bad_on_read(mba)
        damaged = durable_store.scrub().damaged
        assert bad <= {damage.mba for damage in damaged}
        assert all("cannot be read" in damage.reason for damage in damaged if damage.mba in bad)

    def test_all_of_a_segment_at_once(self, drive: FailingDrive, durable_store: Store) -> None:
        """More damage than the step has blocks."""
        blocks = self.needed(drive)
        for mba in blocks["pages"]:
            drive.rot(mba, 5)
        damaged = durable_store.scrub(rate=BLOCK_SIZE * 20).damaged
        assert [damage.mba for damage in damaged] == blocks["pages"]

    def test_older_segments_are_left_out(self, drive: FailingDrive, durable_store: Store) -> None:
        """Nothing depends on their summaries; the head will come round."""
        needed = self.needed(drive)["summaries"]
        with read_image(drive.image()) as image:
            others = {record.summary.mba for record in image.records()} - {*needed}
        assert others
        for mba in others:
            drive.rot(mba, 5)
        assert durable_store.scrub().damaged == ()
