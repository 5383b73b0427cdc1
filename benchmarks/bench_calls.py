"""What does one block a call cost, beside the stores that a prototype would use today?

Blocks of 4 KiB, random overwrites and reads of 131,072 of them; a drive of 1 GiB half full. The peers do
not sync, so that nobody waits for a disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

import seqstore
from benchmarks.peers import Lmdb, NumpyRows, Peer, PlainFile, Rocks, Sqlite
from benchmarks.side_by_side import Result, Session
from benchmarks.workloads import BLOCK, GIB, filled_volume, random_lbas, settle

CALLS = 50_000


Work = Callable[[list[int]], None]


class Ours:
    """A volume, written and read a block a call."""

    def __init__(self, store: seqstore.Store) -> None:
        self.volume = filled_volume(store, 0.5)
        settle(self.volume, store, 1.5, batch=256)
        self.buffer = bytearray(BLOCK)

    def put_all(self, keys: list[int], block: bytes) -> None:
        write = self.volume.write
        for key in keys:
            write(key * BLOCK, block)

    def get_all(self, keys: list[int]) -> None:
        read = self.volume.read
        for key in keys:
            read(key * BLOCK, BLOCK)

    def close(self) -> None:
        """Nothing: the store is the fixture's."""

    def get_all_into(self, keys: list[int]) -> None:
        readinto, buffer = self.volume.readinto, self.buffer
        for key in keys:
            readinto(key * BLOCK, buffer)


@pytest.fixture(scope="module")
def ours() -> Iterator[Ours]:
    with seqstore.Store.memory(GIB) as store:
        yield Ours(store)


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory, ours: Ours) -> Iterator[dict[str, Peer]]:
    folder: Path = tmp_path_factory.mktemp("peers")
    blocks = ours.volume.blocks
    made: dict[str, Peer] = {
        "numpy rows": NumpyRows(GIB // BLOCK),
        "LMDB": Lmdb(folder, blocks),
        "RocksDB": Rocks(folder, blocks),
        "SQLite": Sqlite(folder, blocks),
        "plain file": PlainFile(folder, blocks),
    }
    yield made
    for peer in made.values():
        peer.close()


def compare(
    session: Session,
    question: str,
    work: dict[str, Work],
    keys: list[int],
    figures: dict[str, float],
) -> None:
    """Measure all at once, and file a result for each peer that a figure to reach names."""

    def once(function: Callable[[list[int]], None]) -> Callable[[], float]:
        def run() -> float:
            function(keys)
            return len(keys)

        return run

    first = Result(question=question, unit="k/s", ours="seqstore", against=next(iter(figures)), to_reach=0)
    session.compare(first, {name: once(function) for name, function in work.items()}, rounds=7)
    session.scaled(first, 1e3)
    session.results.remove(first)
    for against, to_reach in figures.items():
        shown = (
            first.rates if against == "LMDB" else {name: first.rates[name] for name in ("seqstore", against)}
        )
        result = Result(
            question=question, unit="k/s", ours="seqstore", against=against, to_reach=to_reach, rates=shown
        )
        session.results.append(result)
        assert result.ratio > 0


def test_writes(side_by_side: Session, ours: Ours, peers: dict[str, Peer]) -> None:
    keys = random_lbas(4, ours.volume.blocks, CALLS).tolist()
    block = bytes(range(256)) * 16
    contestants: dict[str, Peer] = {"seqstore": ours, **peers}
    work: dict[str, Work] = {name: partial(peer.put_all, block=block) for name, peer in contestants.items()}
    compare(side_by_side, "write, a block a call", work, keys, {"LMDB": 4.0, "numpy rows": 0.8})


def test_reads(side_by_side: Session, ours: Ours, peers: dict[str, Peer]) -> None:
    keys = random_lbas(5, ours.volume.blocks, CALLS).tolist()
    contestants: dict[str, Peer] = {"seqstore": ours, **peers}
    work: dict[str, Work] = {name: peer.get_all for name, peer in contestants.items()}
    compare(side_by_side, "read, a block a call", work, keys, {"LMDB": 1.5})


def test_readinto(side_by_side: Session, ours: Ours, peers: dict[str, Peer]) -> None:
    keys = random_lbas(6, ours.volume.blocks, CALLS).tolist()
    work: dict[str, Work] = {
        "seqstore": ours.get_all_into,
        "LMDB": peers["LMDB"].get_all,
        "numpy rows": peers["numpy rows"].get_all,
    }
    compare(side_by_side, "readinto, a block a call", work, keys, {"LMDB": 1.5, "numpy rows": 0.8})


def test_numpy_rows_are_as_many_as_the_drive_has(peers: dict[str, Peer]) -> None:
    """The array is as large as the medium, or the cache would help one of the two."""
    rows = peers["numpy rows"]
    assert isinstance(rows, NumpyRows)
    with closing(seqstore.Store.memory(GIB)) as store:
        assert rows.array.nbytes == store.drives[0].capacity
