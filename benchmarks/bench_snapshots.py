"""What do snapshots and clones cost, in time, writes and memory?

Nothing may depend on the size of the volume. Large ones are simulated, where the map is the same and the
medium costs nothing; what the medium and the catalog add is measured on stores with a file, each apart.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import seqstore
import seqstore.media
from benchmarks.bench_simulated import scrambled
from benchmarks.crashes import CrashingLog
from benchmarks.side_by_side import Result, Session, Table
from benchmarks.workloads import BLOCK, GIB, MIB, random_lbas, timed

ROUNDS = 9
EXPONENTS = (8, 14, 18, 21)
"""Volumes of 2**n blocks of 4 KiB: 1 MiB, 64 MiB, 1 GiB, 8 GiB."""


def size_name(size: int) -> str:
    return f"{size // GIB} GiB" if size >= GIB else f"{size // MIB} MiB"


def mapped_volume(tenant: seqstore.Tenant, exponent: int) -> seqstore.Volume:
    """Make a volume and write all of it in a scrambled order, so that its map is as large as it gets."""
    volume = tenant.create_volume("volume", BLOCK << exponent)
    for lbas in scrambled(1 << exponent, exponent):
        volume.write_blocks(lbas, None)
    return volume


@pytest.fixture
def exponents(small: bool) -> tuple[int, ...]:
    return EXPONENTS[:2] if small else EXPONENTS


def test_time_by_size(side_by_side: Session, exponents: tuple[int, ...]) -> None:
    """A volume of its own for each round, so that the snapshot freezes all of the map."""
    table = Table(
        title="Snapshot and clone of a volume that is mapped in full, in random order (simulated)",
        header=("mapped", "snapshot", "range", "clone", "range", "blocks put on the medium", "blocks copied"),
    )
    medians = {}
    for exponent in exponents:
        snapshots, clones = [], []
        with seqstore.Store.simulated(4 * BLOCK << max(exponents)) as store:
            for number in range(ROUNDS):
                tenant = store.create_tenant(f"tenant-{number}")
                volume = mapped_volume(tenant, exponent)
                before = store.stats()
                snapshots.append(timed(partial(volume.snapshot, "snapshot")) * 1e6)
                snapshot = volume.find_snapshot("snapshot")
                clones.append(timed(partial(snapshot.clone, "clone")) * 1e6)
                done = store.stats() - before
                tenant.delete()
        copied = done.user_blocks + done.relocated_blocks
        name = size_name(BLOCK << exponent)
        medians[name] = snapshots
        table.rows.append(
            [
                name,
                f"{statistics.median(snapshots):.0f} us",
                f"{min(snapshots):.0f} to {max(snapshots):.0f}",
                f"{statistics.median(clones):.0f} us",
                f"{min(clones):.0f} to {max(clones):.0f}",
                f"{done.position}",
                f"{copied}",
            ]
        )
        assert copied == 0
    side_by_side.tables.append(table)
    largest = list(medians)[-1]
    limit = Result(
        question=f"snapshot of a volume of {largest}", unit="us (less is better)", ours="seqstore",
        against="1 ms", to_reach=1.0, rates={"seqstore": medians[largest], "1 ms": [1e3]},
    )  # fmt: skip
    smallest = next(iter(medians))
    growth = Result(
        question=f"snapshot of {largest} against one of {smallest}", unit="us (less is better)", ours=largest,
        against=smallest, to_reach=0, rates={name: medians[name] for name in (largest, smallest)},
    )  # fmt: skip
    side_by_side.results += [limit, growth]
    assert limit.ratio > 0
    assert growth.ratio > 0


def test_on_a_file(side_by_side: Session, scratch: Path, small: bool) -> None:
    """The log alone; with a flush, and names in memory; and with the catalog in a file."""
    sizes = (1 * MIB, 16 * MIB) if small else (1 * MIB, 64 * MIB, GIB)
    table = Table(
        title="Snapshot on a drive in a file, of a volume that is mapped in full",
        header=("mapped", "log", "range", "flushed, names in memory", "range", "names in a file", "range"),
    )
    for size in sizes:
        capacity = max(4 * size, 64 * MIB)
        log = CrashingLog(scratch / f"{size}-log", capacity, fill=0.5)
        log.engine.flush()
        medium = seqstore.media.FileMedium(scratch / f"{size}-medium", capacity, create=True)
        with (
            seqstore.Store.create_on(medium) as no_catalog,
            seqstore.Store.create(scratch / f"{size}.store", capacity) as store,
        ):
            volumes = [written_volume(made, size) for made in (no_catalog, store)]
            times: list[list[float]] = [[], [], []]
            for number in range(2, 2 + 3 * ROUNDS):
                calls: list[Callable[[], object]] = [
                    partial(log.volume._snapshot, number),
                    *(partial(volume.snapshot, f"{number}") for volume in volumes),
                ]
                for kept, call in zip(times, calls, strict=True):
                    kept.append(timed(call) * 1e6)
                log.engine.flush()
        medium.close()
        log.remove()
        cells = [
            cell
            for kept in times
            for cell in (f"{statistics.median(kept):.0f} us", f"{min(kept):.0f} to {max(kept):.0f}")
        ]
        table.rows.append([size_name(size), *cells])
    side_by_side.tables.append(table)


def written_volume(store: seqstore.Store, size: int) -> seqstore.Volume:
    volume = store.create_tenant("bench").create_volume("volume", size)
    for offset in range(0, size, MIB):
        volume.write(offset, bytes(MIB))
    volume.flush()
    return volume


def test_memory_of_clones(side_by_side: Session, small: bool) -> None:
    """Memory of the extent maps: of the volume, and what clones add with more and more written to them."""
    exponent = 14 if small else 18
    table = Table(
        title=f"Memory of the maps: a volume of {size_name(BLOCK << exponent)} in random order, and clones",
        header=("step", "memory", "more than before", "a block or clone"),
    )
    with seqstore.Store.simulated(8 * BLOCK << exponent) as store:
        volume = mapped_volume(store.create_tenant("bench"), exponent)
        amounts = [store.stats().map_bytes]

        def note(step: str, number: int) -> None:
            amounts.append(store.stats().map_bytes)
            more = amounts[-1] - amounts[-2]
            table.rows.append([step, f"{amounts[-1]:,} B", f"{more:,} B", f"{more / number:.1f} B"])

        table.rows.append(["the volume", f"{amounts[0]:,} B", "", f"{amounts[0] / (1 << exponent):.1f} B"])
        snapshot = volume.snapshot("snapshot")
        clone = snapshot.clone("clone")
        note("a snapshot and a clone", 1)
        assert amounts[-1] - amounts[0] < amounts[0] / 10
        for blocks in (1, 1 << (exponent - 10), 1 << (exponent - 6), 1 << (exponent - 2)):
            clone.write_blocks(random_lbas(exponent, 1 << exponent, blocks), None)
            note(f"{blocks:,} random blocks written to the clone", blocks)
        more_clones = [snapshot.clone(f"clone-{number}") for number in range(100)]
        note("100 more clones", 100)
        for other in more_clones:
            other.write_blocks(0, None)
        note("a block written to each", 100)
    side_by_side.tables.append(table)
