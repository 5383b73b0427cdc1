"""I4 the ledger tells the truth: a raw scan of the medium agrees with it, block by block, at every time."""

from __future__ import annotations

import random

import numpy as np
import pytest

from seqstore import BlockState, Store, Tenant, Volume
from tests.blocks import scan
from tests.oracle import Oracle, OracleVolume
from tests.raw_scan import DATA_STATES, LOG, Scan, check_all
from tests.small import BLOCK_COUNT, BLOCK_SIZE, mba_of, states, write_tagged


def write_until_moved(volume: Volume) -> None:
    """Let another volume write until the cleaner has moved blocks of this one."""
    scratch = volume.tenant.create_volume("scratch", BLOCK_SIZE)
    while volume.tenant.store.remanence(volume).moved_blocks == 0:
        write_tagged(scratch, [0])


@pytest.mark.invariant("I4")
class TestI4LedgerTellsTheTruth:
    """A raw scan of the medium agrees with the ledger, block by block, at every time."""

    def test_through_a_life(self, store: Store) -> None:
        oracle = Oracle(BLOCK_SIZE, store.drives[0].usable_blocks)
        twins: dict[Volume, OracleVolume] = {}
        for name in ("contoso", "fabrikam", "northwind"):
            tenant = store.create_tenant(name)
            volume = tenant.create_volume("disk", "32KiB")
            twins[volume] = OracleVolume(
                "disk", volume.number, tenant.number, volume.size, "zero", BLOCK_SIZE
            )
            oracle.create(twins[volume])
        rng = random.Random(4)
        before = None
        for version in range(1, 120):
            volume, twin = rng.choice(list(twins.items()))
            lbas = [rng.randrange(64) for _ in range(rng.randrange(1, 40))]
            rows = write_tagged(volume, lbas, version)
            twin.write_blocks(lbas, [row.tobytes() for row in rows])
            if version % 7 == 0:
                start = rng.randrange(50) * BLOCK_SIZE
                volume.trim(start, 10 * BLOCK_SIZE)
                twin.trim(start, 10 * BLOCK_SIZE)
            after = Scan.take(store)
            check_all(after, oracle, before)
            oracle.looked()
            before = after
        assert store.stats().laps > 5

    def test_every_physical_copy_counts(self, store: Store, tenant: Tenant, volume: Volume) -> None:
        """After the cleaner has moved a block the medium holds it twice, and the ledger says so."""
        write_tagged(volume, range(10))
        write_until_moved(volume)
        raw = store.drives[0].raw(0, BLOCK_COUNT)
        copies = {s.block for s in scan(raw, BLOCK_SIZE) if s.tag.volume == volume.number}
        ledger = store.drives[0].ledger()
        mine = np.flatnonzero(ledger["volume"] == volume.number)
        assert copies == set(mine.tolist())
        kinds = ledger["state"][mine].tolist()
        assert kinds.count(BlockState.LIVE) == 10
        assert store.remanence(volume).blocks == store.remanence(volume).moved_blocks == len(mine) - 10
        assert len(mine) > 10

    def test_deleting_a_volume_does_not_hide_the_copies_the_cleaner_left(
        self, store: Store, tenant: Tenant, volume: Volume
    ) -> None:
        write_tagged(volume, range(10))
        write_until_moved(volume)
        volume.delete()
        raw = store.drives[0].raw(0, BLOCK_COUNT)
        copies = {s.block for s in scan(raw, BLOCK_SIZE) if s.tag.volume == volume.number}
        assert store.remanence(volume).blocks == len(copies) > 10

    def test_each_tagged_block_has_one_owner_and_each_owner_its_blocks(self, store: Store) -> None:
        for name in ("contoso", "fabrikam"):
            volume = store.create_tenant(name).create_volume("disk", "32KiB")
            for version in range(1, 6):
                write_tagged(volume, [lba * version % 64 for lba in range(50)], version)
        store.tenant("contoso").volume("disk").delete()
        ledger = store.drives[0].ledger()
        sightings = list(scan(store.drives[0].raw(0, BLOCK_COUNT), BLOCK_SIZE))
        assert all(sighting.whole for sighting in sightings)
        found = {(s.block, s.tag.tenant, s.tag.volume) for s in sightings}
        said = {
            (mba, int(ledger["tenant"][mba]), int(ledger["volume"][mba]))
            for mba in np.flatnonzero(np.isin(ledger["state"], DATA_STATES)).tolist()
            if ledger["volume"][mba] != LOG
        }
        assert found == said

    def test_the_time_of_death_is_that_of_the_deletion(self, store: Store, volume: Volume) -> None:
        write_tagged(volume, range(30))
        deaths = {}
        for lba in range(0, 30, 3):
            mba = mba_of(volume, lba)
            before = store.stats().position
            volume.trim(lba * BLOCK_SIZE, BLOCK_SIZE)
            deaths[mba] = (before, store.stats().position)
            write_tagged(volume, [60, 61, 62], version=lba)
        for mba, (before, after) in deaths.items():
            died = int(store.drives[0].ledger(mba, 1)["died"][0])
            assert before <= died <= after

    def test_residue_is_gone_after_one_lap_and_not_before(
        self, store: Store, tenant: Tenant, volume: Volume
    ) -> None:
        write_tagged(volume, range(40))
        volume.delete()
        start = store.stats().position
        scratch = tenant.create_volume("scratch", 2 * BLOCK_SIZE)
        while store.stats().position <= start + BLOCK_COUNT:
            write_tagged(scratch, [0, 1])
            raw = store.drives[0].raw(0, BLOCK_COUNT)
            seen = {s.block for s in scan(raw, BLOCK_SIZE) if s.tag.volume == volume.number}
            assert store.remanence(volume).blocks == len(seen)
        assert not seen
        assert states(store)[BlockState.LIVE] == 2
