"""Strategies as values, and what a store does with them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqstore import ConfigError, FormatError, Store, Tenant, Volume
from seqstore.clock import ManualClock
from seqstore.deletion import Bounds, Deadline, Lap, Now, Strategy, bounds_of, from_text, to_text
from seqstore.errors import BoundError
from tests.small import BLOCK_SIZE, write_tagged

SEGMENT_SIZE = 32 * BLOCK_SIZE
CAPACITY = 64 * SEGMENT_SIZE


@pytest.fixture
def store() -> Iterator[Store]:
    sizes: dict[str, Any] = {"block_size": BLOCK_SIZE, "segment_size": SEGMENT_SIZE}
    with Store.memory(CAPACITY, clock=ManualClock(), selection="greedy", **sizes) as made:
        yield made


def fill(store: Store, name: str, blocks: int = 400) -> Volume:
    volume = store.create_tenant(name).create_volume("disk", blocks * BLOCK_SIZE)
    write_tagged(volume, range(blocks))
    return volume


class TestValues:
    @pytest.mark.parametrize("given", [{}, {"laps": 2, "writes": 3}, {"laps": 0}, {"writes": 1.5}])
    def test_a_deadline_is_one_number_above_0(self, given: dict[str, float]) -> None:
        with pytest.raises(ConfigError):
            Deadline(**given)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "strategy", [Lap(), Now(), Deadline(laps=1.5), Deadline(seconds=2), Deadline(writes=9)]
    )
    def test_strategies_come_back_from_text(self, strategy: Strategy) -> None:
        assert from_text(to_text(strategy)) == strategy

    @pytest.mark.parametrize("text", ["", "[]", '{"strategy": "never"}', '{"strategy": "lap", "laps": 2}'])
    def test_other_text_is_refused(self, text: str) -> None:
        with pytest.raises(FormatError):
            from_text(text)

    def test_the_strictest_counts(self) -> None:
        both = Bounds(blocks=10) | Bounds(blocks=7, nanoseconds=5) | Bounds(now=True)
        assert both == Bounds(now=True, blocks=7, nanoseconds=5)
        assert bounds_of(Deadline(laps=2), drive_blocks=100, smallest=110) == Bounds(blocks=200)


class TestStore:
    def test_a_bound_that_cannot_be_kept_is_refused_with_the_smallest_that_can(self, store: Store) -> None:
        with pytest.raises(BoundError) as caught:
            store.set_deletion(Deadline(laps=1.0))
        assert store.deletion == Lap()
        store.set_deletion(Deadline(writes=caught.value.smallest))
        with pytest.raises(BoundError):
            store.set_deletion(Deadline(writes=caught.value.smallest - 1))

    def test_a_purge_leaves_nothing_of_its_tenant_and_touches_no_other(self, store: Store) -> None:
        kept, gone = fill(store, "contoso"), fill(store, "fabrikam")
        content, number = kept.read(0, kept.size), gone.tenant.number
        gone.tenant.delete()
        plan = store.plan_deletion(Now(), number)
        done = store.purge(number)
        assert done.residue_blocks == plan.residue_blocks == 400
        assert done.segments == plan.segments
        assert done.verified_blocks <= done.segments * 32
        assert store.remanence(number).blocks == 0
        assert kept.read(0, kept.size) == content
        store.check()

    def test_time_alone_makes_deadlines_in_seconds_due(self, store: Store) -> None:
        store.set_deletion(Deadline(seconds=10))
        volume = fill(store, "contoso")
        volume.trim(0, 100 * BLOCK_SIZE)
        store.idle(5)
        assert store.remanence().blocks == 100
        store.idle(5)
        assert store.remanence().blocks == 0


class TestNames:
    def test_callers_are_told_of_what_they_called(self, store: Store) -> None:
        with pytest.raises(TypeError, match=r"^Store\.purge\(\)"):
            store.purge(nobody=1)  # type: ignore[call-arg]

    def test_whose_residue_it_is_has_one_name(self, store: Store) -> None:
        volume = fill(store, "contoso")
        volume.trim(0, 100 * BLOCK_SIZE)
        store.set_deletion(Deadline(laps=3), owner="contoso")
        assert store.remanence(owner=volume).blocks == store.plan_deletion(Now(), owner=1).residue_blocks
        assert store.find(owner="contoso")["count"].sum() >= 400
        assert store.purge(owner=volume).residue_blocks == 100

    def test_they_are_short_when_printed(self, store: Store) -> None:
        assert repr(Deadline(laps=2)) == "Deadline(laps=2)"
        assert "histogram" not in repr(store.remanence())


def read_from_storage() -> int:
    """Bytes that this process had read from storage, past the system's cache."""
    fields = Path("/proc/self/io").read_text().split()
    return int(fields[fields.index("read_bytes:") + 1])


@pytest.mark.parametrize("access", ["cached", "mapped"])
def test_a_purge_reads_back_what_the_drive_holds(tmp_path: Path, access: Any) -> None:
    """What was just written lies in the system's cache, and says nothing about the drive."""
    with Store.create(tmp_path / "lab.store", "8MiB", segment_size="256KiB", access=access) as store:
        volume = store.create_tenant("contoso").create_volume("disk", "1MiB")
        volume.write(0, b"x" * 2**20)
        volume.delete()
        before = read_from_storage()
        done = store.purge()
        assert done.verified_blocks >= 256
        is_in_memory = subprocess.run(
            ["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True, check=True
        ).stdout.strip() in {"tmpfs", "ramfs"}
        assert is_in_memory or read_from_storage() - before >= 4096 * done.verified_blocks


class TestPurgeAmongDeadlines:
    """A purge of one tenant makes nothing of another's late."""

    @pytest.mark.parametrize("placement", ["single", "separate"])
    def test_what_is_due_comes_first(self, placement: str) -> None:
        sizes: dict[str, Any] = {"block_size": BLOCK_SIZE, "segment_size": SEGMENT_SIZE}
        with Store.simulated(
            CAPACITY, selection="greedy", placement=placement, reserve=0.0, **sizes
        ) as store:
            first: Tenant = store.create_tenant("contoso")
            volume = first.create_volume("disk", 1000 * BLOCK_SIZE)
            other = store.create_tenant("fabrikam").create_volume("disk", 500 * BLOCK_SIZE)
            smallest = store._eraser.core.smallest_bound()
            store.set_deletion(Deadline(writes=smallest), first)
            for lba in range(0, 1000, 2):  # neighbours of each other, in every segment
                _tag(volume, [lba, lba + 1])
                _tag(other, [lba // 2])
            for lba in range(0, 1000, 20):
                volume.trim(lba * BLOCK_SIZE, BLOCK_SIZE)
            for turn in range(400):
                _tag(other, [turn * 7 % 500])
                if turn % 40 == 39:
                    other.trim(turn * BLOCK_SIZE, 50 * BLOCK_SIZE)
                    store.purge(other)
                report = store.remanence(first)
                assert report.oldest_writes is None or report.oldest_writes <= smallest


def _tag(volume: Volume, lbas: list[int]) -> None:
    volume.write_blocks(np.array(lbas, np.uint64), None)


def test_ages_are_known_after_the_store_was_closed(tmp_path: Path) -> None:
    """A deletion on a log that had stood still is not taken for one from when it began to."""
    clock = ManualClock(10**18)
    options: dict[str, Any] = {"segment_size": "64KiB", "clock": clock, "deletion": Deadline(seconds=3600)}
    with Store.create(tmp_path / "lab.store", "4MiB", preallocate=False, **options) as store:
        volume = store.create_tenant("contoso").create_volume("disk", "1MiB")
        volume.write(0, b"x" * 2**20)
        store.flush()
        store.idle(1800)
        volume.trim(0, 2**20)
    clock.sleep_ns(600 * 10**9)
    with Store.open(tmp_path / "lab.store", clock=clock) as store:
        assert store.remanence("contoso").blocks == 256
        store.idle(3000)
        assert store.remanence("contoso").blocks == 0
