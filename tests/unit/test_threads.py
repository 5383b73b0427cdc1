"""Many threads on one store: every read is a version that could be current, and the end is an orderly one."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

from seqstore import ClosedError, CorruptionError, NotFoundError, SeqstoreError, Store, Volume
from tests.blocks import make_blocks, tag_of
from tests.small import overwrite

BLOCK_SIZE = 4096
BLOCKS = 64
SECONDS = 0.4
PATIENCE = 60.0
"""Seconds within which the slowest machine should have got there."""


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.memory("4MiB", block_size=BLOCK_SIZE, segment_size="128KiB") as store:
        yield store


@contextmanager
def running(
    *loops: Callable[[], None], seconds: float = SECONDS, until: Callable[[], bool] = lambda: True
) -> Iterator[None]:
    """Run each loop body again and again in a thread of its own; raise what they raise.

    They run for a time, and on until enough was done, which a loaded machine may take long for.
    """
    stop = threading.Event()

    def repeat(body: Callable[[], None]) -> None:
        while not stop.is_set():
            body()

    with ThreadPoolExecutor(len(loops)) as pool:
        futures = [pool.submit(repeat, body) for body in loops]
        try:
            yield
            time.sleep(seconds)
            deadline = time.monotonic() + PATIENCE
            while not until() and time.monotonic() < deadline and not any(f.done() for f in futures):
                time.sleep(0.01)
        finally:
            stop.set()
    for future in futures:
        future.result()


class Shared:
    """A volume with one writer, whose blocks say their version; readers know which ones are possible."""

    def __init__(self, volume: Volume, seed: int) -> None:
        self.volume = volume
        self.rng = np.random.default_rng(seed)
        self.begun = np.zeros(BLOCKS, dtype=np.uint64)  # a write of this version may be under way
        self.done = np.zeros(BLOCKS, dtype=np.uint64)  # this version was acknowledged
        self.version = 0
        self.reads = 0

    def write(self) -> None:
        """Write a few blocks in one call, each way in its turn."""
        count = int(self.rng.integers(1, 9))
        start = int(self.rng.integers(0, BLOCKS - count + 1))
        self.version += 1
        lbas = np.arange(start, start + count, dtype=np.uint64)
        rows = make_blocks(self.volume.tenant.number, self.volume.number, lbas, self.version, BLOCK_SIZE)
        self.begun[lbas] = self.version
        if self.version % 3 == 0:
            self.volume.write(start * BLOCK_SIZE, rows.tobytes())
        elif self.version % 3 == 1:
            self.volume.write_blocks(start, rows)
        else:
            self.volume.write_blocks(lbas, rows)
        self.done[lbas] = self.version

    def read(self) -> None:
        """Read everything, and see for each block that it is whole, its own, and of a possible version."""
        earliest = self.done.copy()
        rows = self.volume.read_blocks(0, BLOCKS)
        latest = self.begun.copy()
        for lba, row in enumerate(rows):
            if earliest[lba] == 0 and not row.any():
                continue
            tag = tag_of(row)
            assert tag is not None, f"lba {lba}: a block that is torn"
            assert (tag.tenant, tag.volume, tag.lba) == (self.volume.tenant.number, self.volume.number, lba)
            assert earliest[lba] <= tag.version <= latest[lba]
        self.reads += 1


def test_readers_and_writers_of_several_volumes(store: Store) -> None:
    shared = [
        Shared(store.create_tenant(f"tenant-{seed}").create_volume("disk", BLOCKS * BLOCK_SIZE), seed)
        for seed in range(3)
    ]
    loops = [loop for each in shared for loop in (each.write, each.read, each.read)]

    def enough() -> bool:
        return store.stats().laps > 1 and all(each.reads > 0 and each.version > 0 for each in shared)

    with running(*loops, store.check, lambda: check_figures(store), until=enough):
        pass
    assert enough()
    for each in shared:
        each.read()
    store.check()


def check_figures(store: Store) -> None:
    """Figures taken at one time agree with each other, whatever goes on."""
    stats = store.stats()
    assert stats.device_blocks == stats.position
    assert stats.live_blocks <= stats.usable_blocks
    report = store.remanence()
    assert report.moved_blocks <= report.blocks <= stats.block_count
    time.sleep(0.001)


def test_a_source_that_changes_during_the_write_never_looks_damaged(store: Store) -> None:
    volume = store.create_tenant("contoso").create_volume("disk", BLOCKS * BLOCK_SIZE)
    source = np.zeros((BLOCKS, BLOCK_SIZE), dtype=np.uint8)
    lbas = np.arange(BLOCKS, dtype=np.uint64)
    values = iter(range(2**30))
    reads = []

    def scribble() -> None:
        source[:] = next(values) % 256

    def write() -> None:
        volume.write_blocks(lbas, source)
        volume.write_blocks(0, source)
        volume.write(5, source[:8])

    def read() -> None:
        reads.append(volume.read_blocks(0, BLOCKS)[0, 0])

    with running(scribble, write, read, until=lambda: bool(reads)):
        pass
    assert reads
    volume.read(0, volume.size)
    store.check()


def test_creating_and_deleting_beside_readers(store: Store) -> None:
    tenant = store.create_tenant("contoso")
    current = [tenant.create_volume("disk-0", 8 * BLOCK_SIZE)]
    names = iter(range(1, 2**30))

    def replace() -> None:
        fresh = tenant.create_volume(f"disk-{next(names)}", 8 * BLOCK_SIZE)
        fresh.write_blocks(0, make_blocks(tenant.number, fresh.number, range(8), 1, BLOCK_SIZE))
        old, current[0] = current[0], fresh
        old.delete()

    def read() -> None:
        volume = current[0]
        try:
            rows = volume.read_blocks(0, 8)
        except NotFoundError:
            return
        tags = [tag_of(row) for row in rows]
        assert all(tag is None or tag.volume == volume.number for tag in tags)

    def enough() -> bool:
        return int(current[0].name.removeprefix("disk-")) > 3

    with running(replace, read, read, lambda: assert_numbers_differ(store), until=enough):
        pass
    assert enough()
    store.check()


def assert_numbers_differ(store: Store) -> None:
    """List the volumes while others come and go."""
    for tenant in store.tenants:
        numbers = [volume.number for volume in tenant.volumes]
        assert len(set(numbers)) == len(numbers)


def test_the_same_name_is_given_once(store: Store) -> None:
    barrier = threading.Barrier(8)

    def create() -> bool:
        barrier.wait()
        try:
            store.create_tenant("contoso")
        except SeqstoreError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        outcomes = [future.result() for future in [pool.submit(create) for _ in range(8)]]
    assert sum(outcomes) == 1
    assert len(store.tenants) == 1


def test_close_waits_for_calls_under_way_and_later_ones_are_refused() -> None:
    for round_number in range(10):
        store = Store.memory("4MiB", block_size=BLOCK_SIZE, segment_size="128KiB")
        shared = Shared(
            store.create_tenant("contoso").create_volume("disk", BLOCKS * BLOCK_SIZE), round_number
        )
        drive = store.drives[0]
        bodies: list[Callable[[], object]] = [
            shared.write,
            shared.read,
            store.check,
            store.stats,
            store.remanence,
            drive.ledger,
            partial(drive.raw, 0, drive.blocks),
            shared.volume.extents,
        ]

        def until_closed(body: Callable[[], object]) -> bool:
            try:
                while True:
                    body()
            except ClosedError:
                return True

        with ThreadPoolExecutor(len(bodies)) as pool:
            futures = [pool.submit(until_closed, body) for body in bodies]
            time.sleep(0.01)
            store.close()
            assert all(future.result(timeout=20) for future in futures)


def test_several_threads_may_close(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(store.close) for _ in range(8)]:
            future.result(timeout=20)
    assert store.closed


@pytest.fixture
def no_switching() -> Iterator[None]:
    """Let a thread keep the interpreter until it gives it up: by waiting, or in a call that releases it."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.parametrize("call", ["write_blocks", "read_blocks", "write", "readinto"])
@pytest.mark.usefixtures("no_switching")
def test_large_calls_let_other_threads_run(call: str) -> None:
    """The main thread gets the interpreter from one that never waits: so it comes from within a call."""
    rows = np.ones((8192, BLOCK_SIZE), dtype=np.uint8)
    with Store.memory("64MiB") as store:
        volume = store.create_tenant("contoso").create_volume("disk", rows.nbytes)
        volume.write_blocks(0, rows)
        under_way = [False]
        seen = threading.Event()

        def work() -> None:
            for _ in range(200):
                under_way[0] = True
                getattr(volume, call)(0, rows)
                under_way[0] = False
                if seen.is_set():
                    break

        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive() and not seen.is_set():
            time.sleep(0.001)
            if under_way[0]:
                seen.set()
        thread.join()
    assert seen.is_set()


def test_a_damaged_block_raises_in_every_thread(store: Store) -> None:
    volume = store.create_tenant("contoso").create_volume("disk", BLOCKS * BLOCK_SIZE)
    volume.write_blocks(0, make_blocks(1, volume.number, range(BLOCKS), 1, BLOCK_SIZE))
    extent = volume.extents()[0]
    overwrite(store, int(extent["mba"]), bytes(BLOCK_SIZE))

    def read() -> None:
        with pytest.raises(CorruptionError):
            volume.read_blocks(int(extent["lba"]), 1)

    with running(*[read] * 4, seconds=0.1):
        pass
