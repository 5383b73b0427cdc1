"""What does encryption at rest cost, beside the same store without it, and beside OpenSSL's own speed?

Batches of 256 blocks of 4 KiB, to stores in a directory. What counts is processor time, of the system's calls
too, since that is what OpenSSL measures, so the figures are those of one core. The file system is one in
memory where there is one: a drive's waiting is none of encryption's. To reach: 0.8 of the slower of
OpenSSL's AES-256-GCM and the unencrypted path.

Both do a part of the work each, so a store that does both after each other is slower than either. A loop in C
that seals and calls `pwrite`, or calls `pread` and opens, shows how fast any store in files could be.
"""

from __future__ import annotations

import os
import secrets
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import seqstore
from benchmarks.bench_keys import openssl_rate
from benchmarks.ceiling import Sealing
from benchmarks.side_by_side import Result, Session, Table
from benchmarks.workloads import BLOCK, MIB
from seqstore.key_keeper import KeyKeeper
from seqstore.keys import FileKey
from seqstore.media.file import Access

BATCH = 256
ROUNDS = 7
LAPS = 4  # drives are so many times what is written
RECORD_BLOCKS = 62  # data blocks of a record whose entries have seals
LOOP = "C: libcrypto and the system call alone"
MEMORY = Path("/dev/shm")

Work = Callable[[], None]
Blocks = npt.NDArray[np.uint8]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    place = MEMORY / f"seqstore-{secrets.token_hex(8)}"
    place.mkdir()
    yield place
    shutil.rmtree(place)


@pytest.fixture
def root(tmp_path: Path) -> FileKey:
    file = tmp_path / "root.key"
    file.touch(0o600)
    file.write_bytes(secrets.token_bytes(32))
    return FileKey(file)


def works(volume: seqstore.Volume, data: Blocks, out: Blocks) -> dict[str, Work]:
    """What is measured of a volume that all of the data fit in."""
    shuffled = np.random.default_rng(2).permutation(len(data)).astype(np.uint64)

    def write() -> None:
        for at in range(0, len(data), BATCH):
            volume.write_blocks(at, data[at : at + BATCH])

    def write_at_random() -> None:
        for at in range(0, len(data), BATCH):
            volume.write_blocks(shuffled[at : at + BATCH], data[at : at + BATCH])

    def read() -> None:
        for at in range(0, len(data), BATCH):
            volume.read_blocks(at, out[at : at + BATCH])

    def read_at_random() -> None:
        for at in range(0, len(data), BATCH):
            volume.read_blocks(shuffled[at : at + BATCH], out[at : at + BATCH])

    # What is read was written in order just before.
    return {
        "writing": write,
        "reading": read,
        "reading at random": read_at_random,
        "writing at random": write_at_random,
    }


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl command")
@pytest.mark.parametrize("access", ["cached", "mapped"])
def test_batches(side_by_side: Session, small: bool, folder: Path, root: FileKey, access: Access) -> None:
    blocks, rounds = (4 if small else 64) * MIB // BLOCK, 2 if small else ROUNDS
    data = np.random.default_rng(1).integers(0, 256, (blocks, BLOCK), np.uint8)
    out = np.ones((blocks, BLOCK), np.uint8)
    stores, todo = [], {}
    for name, encryption in (("encrypted", root), ("not encrypted", None)):
        store = seqstore.Store.create(
            folder / name, LAPS * data.nbytes + 8 * MIB, access=access, encryption=encryption
        )
        volume = store.create_tenant("a").create_volume("v", data.nbytes)
        todo[name] = works(volume, data, out)
        stores.append(store)
    with bare_loops(folder, data, out, access) as loops:
        todo[LOOP] = loops
        measure(side_by_side, todo, data.nbytes, rounds, access)
    for store in stores:
        store.close()


@contextmanager
def bare_loops(folder: Path, data: Blocks, out: Blocks, access: Access) -> Iterator[dict[str, Work]]:
    """What has to be done of each batch in any store in files; a mapped one is read without a call."""
    with (folder / "bare").open("w+b") as file:
        sealing = Sealing(file.fileno(), RECORD_BLOCKS, LAPS)
        for _ in range(LAPS):
            sealing.write(data)
        works: dict[str, Work] = {
            "writing": lambda: sealing.write(data),
            "writing at random": lambda: sealing.write(data),
        }
        if access == "cached":
            works["reading"] = lambda: sealing.read(out)
        yield works
        out[:] = 0
        sealing.read(out)
        assert np.array_equal(out, data)


def measure(
    side_by_side: Session, todo: dict[str, dict[str, Work]], size: int, rounds: int, access: Access
) -> None:
    rates: dict[str, dict[str, list[float]]] = {what: {} for what in todo["encrypted"]}
    openssl: list[float] = []
    for number in range(rounds + 1):
        for name, contestant in todo.items():
            for what, work in contestant.items():
                start = time.thread_time()
                work()
                taken = time.thread_time() - start
                if number:  # the first round warms up
                    rates[what].setdefault(name, []).append(size / taken / 1e9)
        openssl.append(openssl_rate() / 1e9)
    for what, found in rates.items():
        found["openssl speed"] = openssl
        slower = min(("not encrypted", "openssl speed"), key=lambda name: statistics.median(found[name]))
        result = Result(
            question=f"{what}, {BATCH} blocks a call, drive {access}", unit="GB/s of a core",
            ours="encrypted", against=slower, to_reach=0.8, rates=found,
        )  # fmt: skip
        side_by_side.results.append(result)
        assert result.ratio > 0


def make_tenants(store: seqstore.Store, size: int, apart: bool) -> None:
    """A tenant to be deleted, whose blocks lie side by side or each between two of somebody else's."""
    gone = store.create_tenant("a").create_volume("v", size)
    stays = store.create_tenant("b").create_volume("v", size if apart else MIB)
    data = np.zeros((BATCH // 2, BLOCK), np.uint8)
    for at in range(0, size // BLOCK, len(data)):
        if not apart:
            gone.write_blocks(at, data)
            continue
        for lba in range(at, at + len(data)):
            gone.write_blocks(lba, data[:1])
            stays.write_blocks(lba, data[:1])
    other = store.create_tenant("c")
    other.create_volume("v", MIB).write(0, bytes(MIB))
    other.delete()  # what the first call imports is none of its cost
    store.flush()


def time_deletion(place: Path, size: int, encryption: FileKey | None, *, apart: bool) -> tuple[float, float]:
    """Return the seconds until a tenant's key is dead, if it has one, and until its deletion is done."""
    capacity = max((3 if apart else 2) * size, 64 * MIB)
    with seqstore.Store.create(place, capacity, encryption=encryption) as store:
        make_tenants(store, size, apart)
        dead = [0.0]
        bury = KeyKeeper.bury

        def note(self: KeyKeeper) -> None:
            bury(self)
            dead.append(time.perf_counter())

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(KeyKeeper, "bury", note)
            start = time.perf_counter()
            store.tenant("a").delete()
            taken = time.perf_counter() - start
    shutil.rmtree(place)
    return max(dead[-1] - start, 0), taken


def test_deletion_of_a_tenant(
    side_by_side: Session, small: bool, tmp_path: Path, folder: Path, root: FileKey
) -> None:
    """By its key, whatever its size: with all syncs, of the log, the catalog and the key area, and without.

    In a file system in memory syncs cost nothing.
    """
    rows = []
    sizes = [(1 * MIB, False), (8 * MIB, True)]
    if not small:
        sizes += [(256 * MIB, False), (1024 * MIB, False), (64 * MIB, True)]
    for size, apart in sizes:
        name = f"{size // MIB} MiB{', each block between two of others' if apart else ''}"
        taken = []
        for encryption, where in ((root, tmp_path), (root, folder), (None, folder)):
            turns = [
                time_deletion(where / f"gone-{turn}", size, encryption, apart=apart) for turn in range(3)
            ]
            taken += [statistics.median(times) for times in zip(*turns, strict=True)][encryption is None :]
        rows.append([name, *(f"{seconds * 1000:.1f} ms" for seconds in taken)])
    header = (
        "tenant", "until its key is dead", "whole call", "key dead, syncs at no cost",
        "call, syncs at no cost", "not encrypted, syncs at no cost",
    )  # fmt: skip
    side_by_side.tables.append(Table(title="Deletion of a tenant", header=header, rows=rows))
    assert len(rows) == len(sizes)
