"""I9 memory hygiene: what held tenant data is cleared before it is used again; padding is zero."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from seqstore import BlockState, Store, Tenant, Volume
from tests.raw_scan import Scan, records_of
from tests.small import BLOCK_SIZE, CAPACITY, mba_of, run_lap, write_tagged

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.invariant("I9")
class TestI9MemoryHygiene:
    """What held tenant data is cleared before it is used again; padding on the medium is zero."""

    def test_the_rest_of_a_partly_written_block_is_zero_on_the_medium(
        self, store: Store, tenant: Tenant
    ) -> None:
        dirty = tenant.create_volume("dirty", CAPACITY)
        for version in range(1, 4):
            write_tagged(dirty, range(store.drives[0].usable_blocks), version)
        dirty.trim(0, 4 * BLOCK_SIZE)
        volume = store.create_tenant("fabrikam").create_volume("disk", "64KiB")
        for lba, (start, length) in enumerate([(0, 1), (511, 1), (100, 300)]):
            volume.write(lba * BLOCK_SIZE + start, b"n" * length)
            expected = bytes(start) + b"n" * length + bytes(BLOCK_SIZE - start - length)
            assert store.drives[0].raw(mba_of(volume, lba), 1) == expected

    def test_the_last_block_of_an_odd_volume_is_zero_behind_its_end(
        self, store: Store, tenant: Tenant
    ) -> None:
        volume = tenant.create_volume("odd", 700)
        volume.write(0, b"o" * 700)
        assert store.drives[0].raw(mba_of(volume, 1), 1) == b"o" * 188 + bytes(324)

    def test_summaries_are_zero_where_they_say_nothing(self, store: Store, volume: Volume) -> None:
        """The witness refuses a summary with anything in reserved fields or behind the last entry."""
        for version in range(1, 40):
            write_tagged(volume, [version % 7, version % 11, 90], version)
            volume.trim(version % 100 * BLOCK_SIZE, 3 * BLOCK_SIZE)
        assert len(records_of(Scan.take(store))) >= 4

    def test_the_place_of_an_open_records_summary_is_zero(
        self, store: Store, tenant: Tenant, volume: Volume
    ) -> None:
        dirty = tenant.create_volume("dirty", CAPACITY)
        usable = store.drives[0].usable_blocks
        for version in range(1, 4):
            write_tagged(dirty, range(usable), version)
        dirty.delete()
        waiting_seen = 0
        for version in range(1, 80):
            write_tagged(volume, [version % 5], version)
            now = Scan.take(store)
            sealed = records_of(now)
            waiting = [mba for mba in now.in_state(BlockState.SUMMARY) if mba not in sealed]
            assert not any(now.raw[mba].any() for mba in waiting)
            waiting_seen += len(waiting)
        assert waiting_seen > 0

    def test_blocks_of_nobody_hold_nothing(self, store: Store, tenant: Tenant, volume: Volume) -> None:
        run_lap(store, tenant, 0.4)
        now = Scan.take(store)
        free = now.in_state(BlockState.FREE)
        assert free
        assert not now.raw[free].any()

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/mem")
    def test_no_copy_stays_in_the_memory_of_the_process(self) -> None:
        command = [sys.executable, "-m", "tests.canaries"]
        run = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300
        )
        assert run.returncode == 0, run.stderr
        found = json.loads(run.stdout)
        assert found["before"] == {}
        for station in ("copied", "written"):  # on the medium, and nowhere else
            assert sum(found[station].values()) == found[f"{station}, on the medium"] > 10_000, found[station]
        assert found["lapped"] == {}
        assert found["closed"] == {}
