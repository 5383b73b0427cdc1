"""What does a durable drive cost, beside fio, LMDB and SQLite with the same sync policy?

A store in a directory, its drive a preallocated file. All contestants write the same random bytes, to the
same addresses, and wait for the medium equally often; they lie on one file system.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import lmdb
import numpy as np
import pytest

import seqstore
from benchmarks import fio
from benchmarks.ceiling import read_at, write_steps
from benchmarks.peers import Lmdb, Peer, PlainFile, Sqlite
from benchmarks.side_by_side import Result, Round, Session, Timed
from benchmarks.workloads import (
    BLOCK,
    MIB,
    file_system_of,
    filled_volume,
    make_blocks,
    random_lbas,
    settle,
    timed,
)

STEPS_A_FLUSH = 64
PUTS_A_FLUSH = 256

MAPPED = 'seqstore, access="mapped"'


# ---- sequential writes --------------------------------------------------------------------------


def write_volume(volume: seqstore.Volume, data: bytes, steps: int) -> None:
    for step in range(steps):
        volume.write(step * len(data), data)
        if (step + 1) % STEPS_A_FLUSH == 0:
            volume.flush()


def lay_out(file: Path, size: int) -> int:
    """Preallocate a file as a drive is, and return its descriptor."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.posix_fallocate(descriptor, 0, size)
    os.fsync(descriptor)
    return descriptor


class FreshStore:
    """The first lap of a new drive, another one each round."""

    def __init__(self, folder: Path, data: bytes, steps: int) -> None:
        self.folder, self.data, self.steps = folder, data, steps
        self.count = 0

    def __call__(self) -> Timed:
        self.count += 1
        size = self.steps * len(self.data)
        with seqstore.Store.create(self.folder / f"fresh-{self.count}", 2 * size) as store:
            volume = store.create_tenant("bench").create_volume("volume", size)
            seconds = timed(partial(write_volume, volume, self.data, self.steps))
        (self.folder / f"fresh-{self.count}" / "drives" / "0.img").unlink()
        return Timed(amount=size, seconds=seconds)


def fresh_file(file: Path, data: bytes, steps: int) -> Timed:
    descriptor = lay_out(file, steps * len(data))
    seconds = timed(partial(write_steps, descriptor, data, steps, STEPS_A_FLUSH))
    os.close(descriptor)
    file.unlink()
    return Timed(amount=steps * len(data), seconds=seconds)


def fresh_fio(file: Path, size: int) -> Timed:
    os.close(lay_out(file, size))
    done = fio.sequential_writes(file, size=size, step=MIB, sync_every=STEPS_A_FLUSH)
    file.unlink()
    return done


def compare_writes(session: Session, question: str, contestants: dict[str, Round]) -> Result:
    against = "fio" if fio.PROGRAM else "C loop"
    result = Result(question=question, unit="GB/s", ours="seqstore", against=against, to_reach=0.9)
    session.compare(result, contestants, rounds=7)
    session.scaled(result, 1e9)
    return result


def remark(session: Session, scratch: Path) -> None:
    versions = f"{fio.version()}, LMDB {'.'.join(map(str, lmdb.version()))}"
    session.remark(f"Durable drives and their peers on {file_system_of(scratch)}; {versions}.")


def test_first_lap(side_by_side: Session, scratch: Path, small: bool) -> None:
    """A file that was preallocated and never written: the file system turns extents into written ones."""
    remark(side_by_side, scratch)
    data, steps = make_blocks(256).tobytes(), 2 * STEPS_A_FLUSH if small else 8 * STEPS_A_FLUSH
    contestants: dict[str, Round] = {"seqstore": FreshStore(scratch, data, steps)}
    if fio.PROGRAM:
        contestants["fio"] = partial(fresh_fio, scratch / "fio", steps * MIB)
    contestants["C loop"] = partial(fresh_file, scratch / "loop", data, steps)
    question = "sequential writes of 1 MiB, a flush per 64, file preallocated"
    assert compare_writes(side_by_side, question, contestants).ratio > 0


def test_later_laps(side_by_side: Session, scratch: Path, small: bool) -> None:
    """A file of which every block was written before."""
    data, steps = make_blocks(256).tobytes(), 2 * STEPS_A_FLUSH if small else 8 * STEPS_A_FLUSH
    size = steps * MIB
    descriptor = lay_out(scratch / "written", size)
    write_steps(descriptor, data, steps, STEPS_A_FLUSH)
    with seqstore.Store.create(scratch / "laps.store", 2 * size) as store:
        volume = store.create_tenant("bench").create_volume("volume", size)
        while store.stats().laps < 1.1:
            write_volume(volume, data, steps)

        def ours() -> float:
            write_volume(volume, data, steps)
            return size

        def loop() -> float:
            write_steps(descriptor, data, steps, STEPS_A_FLUSH)
            return size

        contestants: dict[str, Round] = {"seqstore": ours}
        if fio.PROGRAM:
            contestants["fio"] = partial(
                fio.sequential_writes, scratch / "written", size=size, step=MIB, sync_every=STEPS_A_FLUSH
            )
        contestants["C loop"] = loop
        before = store.stats()
        question = "the same, file written before"
        assert compare_writes(side_by_side, question, contestants).ratio > 0
        done = store.stats() - before
        flushes = done.user_blocks * BLOCK // (STEPS_A_FLUSH * MIB)
        side_by_side.remark(
            f"Sequential writes to a used drive: {done.syncs / flushes:.2f} syncs a flush,"
            f" {done.device_amplification:.3f} blocks on the medium a block written."
        )
    os.close(descriptor)
    (scratch / "written").unlink()
    (scratch / "laps.store" / "drives" / "0.img").unlink()


# ---- a block a call ---------------------------------------------------------------------------------


class Ours:
    """A volume of a durable store, written and read a block a call, and flushed."""

    def __init__(self, folder: Path, capacity: int, access: Literal["cached", "mapped"] = "cached") -> None:
        self.store = seqstore.Store.create(folder / f"{access}.store", capacity, access=access)
        self.volume = filled_volume(self.store, 0.5)
        settle(self.volume, self.store, 1.5, batch=256)
        self.volume.flush()

    def put_all(self, keys: list[int], block: bytes) -> None:
        write, flush = self.volume.write, self.volume.flush
        for start in range(0, len(keys), PUTS_A_FLUSH):
            for key in keys[start : start + PUTS_A_FLUSH]:
                write(key * BLOCK, block)
            flush()

    def get_all(self, keys: list[int]) -> None:
        read = self.volume.read
        for key in keys:
            read(key * BLOCK, BLOCK)

    def close(self) -> None:
        self.store.close()


@pytest.fixture(scope="module")
def contestants(scratch: Path, small: bool) -> Iterator[dict[str, Peer]]:
    """The store, half full and at its steady pace, and peers with as many blocks. One random block in all."""
    capacity = 64 * MIB if small else 1024 * MIB
    ours = Ours(scratch, capacity)
    blocks, block = ours.volume.blocks, make_blocks(1).tobytes()
    made: dict[str, Peer] = {
        "seqstore": ours,
        "LMDB": Lmdb(scratch, blocks, synced=True, writemap=False, transaction=PUTS_A_FLUSH, block=block),
        "SQLite": Sqlite(scratch, blocks, synced=True, transaction=PUTS_A_FLUSH, block=block),
        "plain file": PlainFile(scratch, blocks, flush_every=PUTS_A_FLUSH),
        MAPPED: Ours(scratch, capacity, "mapped"),
    }
    os.sync()
    yield made
    for contestant in made.values():
        contestant.close()


def compare_calls(
    session: Session, question: str, work: dict[str, Round], figures: dict[tuple[str, str], float]
) -> None:
    """File a result for each pair with a figure to reach; the first shows the others as well."""
    first = next(iter(figures))
    shared = Result(question=question, unit="k/s", ours=first[0], against=first[1], to_reach=0)
    session.compare(shared, work, rounds=7)
    session.scaled(shared, 1e3)
    session.results.remove(shared)
    for pair, to_reach in figures.items():
        result = Result(
            question=question, unit="k/s", ours=pair[0], against=pair[1], to_reach=to_reach,
            rates={name: shared.rates[name] for name in (work if pair == first else pair)},
        )  # fmt: skip
        session.results.append(result)
        assert result.ratio > 0


def test_random_writes(side_by_side: Session, contestants: dict[str, Peer], small: bool) -> None:
    """Blocks to random addresses, 256 of them between two flushes, or in a synced transaction."""
    ours = contestants["seqstore"]
    assert isinstance(ours, Ours)
    flushes = 4 if small else 32
    keys = random_lbas(4, ours.volume.blocks, flushes * PUTS_A_FLUSH).tolist()
    block = make_blocks(1).tobytes()

    def once(peer: Peer) -> float:
        peer.put_all(keys, block)
        return len(keys)

    before = ours.store.stats()
    question = "random writes of 4 KiB, a flush per 256"
    work: dict[str, Round] = {
        name: partial(once, peer) for name, peer in contestants.items() if name != MAPPED
    }
    compare_calls(side_by_side, question, work, {("seqstore", "LMDB"): 3.0, ("seqstore", "SQLite"): 3.0})
    done = ours.store.stats() - before
    side_by_side.remark(
        f"Random writes to a used drive: {done.syncs * PUTS_A_FLUSH / done.user_blocks:.2f} syncs a flush,"
        f" {done.device_amplification:.2f} blocks on the medium a block written."
    )


def test_random_reads(
    side_by_side: Session, contestants: dict[str, Peer], scratch: Path, small: bool
) -> None:
    """Blocks at random addresses, each a bytes object of its own; everything was read once before."""
    ours = contestants["seqstore"]
    assert isinstance(ours, Ours)
    for peer in contestants.values():
        peer.get_all(list(range(ours.volume.blocks)))
    lbas = random_lbas(5, ours.volume.blocks, 2_000 if small else 50_000)
    keys = lbas.tolist()

    def once(peer: Peer) -> float:
        peer.get_all(keys)
        return len(keys)

    work: dict[str, Round] = {name: partial(once, peer) for name, peer in contestants.items()}
    with (scratch / "plain").open("rb") as file:
        offsets, buffer = lbas * np.uint64(BLOCK), bytearray(BLOCK)

        def pread() -> float:
            read_at(file.fileno(), offsets, buffer)
            return len(offsets)

        work["C loop of pread"] = pread
        question = "random reads of 4 KiB from the page cache"
        compare_calls(side_by_side, question, work, {("seqstore", "LMDB"): 1.5, (MAPPED, "LMDB"): 1.5})
