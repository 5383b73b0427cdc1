"""The drive as its owner sees it: raw bytes, ledger, segments, head, and remanence."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from seqstore import NO_ADDRESS, BlockState, NotFoundError, SegmentState, Store, Tenant, Volume
from tests.blocks import Tag, scan, tag_of
from tests.small import (
    BLOCK_COUNT,
    BLOCK_SIZE,
    SEGMENT_BLOCKS,
    SEGMENTS,
    mba_of,
    run_lap,
    states,
    write_tagged,
)


class TestLedger:
    def test_of_a_new_drive(self, store: Store) -> None:
        ledger = store.drives[0].ledger()
        assert len(ledger) == BLOCK_COUNT
        assert ledger.dtype.names == ("state", "tenant", "volume", "lba", "died")
        assert states(store) == {BlockState.FREE: BLOCK_COUNT}

    def test_of_a_written_block(self, store: Store, tenant: Tenant, volume: Volume) -> None:
        write_tagged(volume, [7])
        entry = store.drives[0].ledger(mba_of(volume, 7), 1)[0]
        assert entry.tolist() == (BlockState.LIVE, tenant.number, volume.number, 7, NO_ADDRESS)
        assert tag_of(store.drives[0].raw(mba_of(volume, 7), 1)) == Tag(tenant.number, volume.number, 7, 1)

    @pytest.mark.parametrize(
        "death", ["overwritten", "trimmed", "volume deleted", "tenant deleted", "shrunk"]
    )
    def test_of_a_dead_block(self, store: Store, tenant: Tenant, volume: Volume, death: str) -> None:
        write_tagged(volume, [7])
        mba = mba_of(volume, 7)
        before = store.stats().position
        deaths: dict[str, Callable[[], object]] = {
            "overwritten": lambda: write_tagged(volume, [7], version=2),
            "trimmed": lambda: volume.trim(7 * BLOCK_SIZE, BLOCK_SIZE),
            "volume deleted": volume.delete,
            "tenant deleted": tenant.delete,
            "shrunk": lambda: volume.resize(BLOCK_SIZE),
        }
        deaths[death]()
        state, owner, number, lba, died = store.drives[0].ledger(mba, 1)[0].tolist()
        assert (state, owner, number, lba) == (BlockState.DEAD, tenant.number, volume.number, NO_ADDRESS)
        assert before <= died <= store.stats().position
        assert tag_of(store.drives[0].raw(mba, 1)) == Tag(tenant.number, volume.number, 7, 1)

    def test_of_a_copy_that_the_cleaner_left(self, store: Store, tenant: Tenant, volume: Volume) -> None:
        write_tagged(volume, [7])
        first = mba_of(volume, 7)
        scratch = tenant.create_volume("scratch", BLOCK_SIZE)
        while mba_of(volume, 7) == first:
            write_tagged(scratch, [0])
        entry = store.drives[0].ledger(first, 1)[0]
        assert entry.tolist()[:4] == (BlockState.MOVED, tenant.number, volume.number, NO_ADDRESS)
        assert int(entry["died"]) <= store.stats().position
        assert tag_of(store.drives[0].raw(first, 1)) == tag_of(store.drives[0].raw(mba_of(volume, 7), 1))

    def test_a_part_of_it(self, store: Store, volume: Volume) -> None:
        write_tagged(volume, range(20))
        ledger = store.drives[0].ledger()
        assert (store.drives[0].ledger(5, 10) == ledger[5:15]).all()
        assert (store.drives[0].ledger(250) == ledger[250:]).all()
        assert len(store.drives[0].ledger(0, 0)) == 0

    def test_it_is_a_copy(self, store: Store, volume: Volume) -> None:
        write_tagged(volume, range(20))
        ledger = store.drives[0].ledger()
        ledger["state"] = 0
        assert states(store)[BlockState.LIVE] == 20


class TestRaw:
    def test_shows_what_no_read_shows(self, store: Store, tenant: Tenant, volume: Volume) -> None:
        write_tagged(volume, range(20))
        volume.delete()
        raw = store.drives[0].raw(0, BLOCK_COUNT)
        assert {s.tag.lba for s in scan(raw, BLOCK_SIZE) if s.tag.volume == volume.number} == set(range(20))
        run_lap(store, tenant)
        raw = store.drives[0].raw(0, BLOCK_COUNT)
        assert not [s for s in scan(raw, BLOCK_SIZE) if s.tag.volume == volume.number]

    def test_a_part_of_it(self, store: Store, volume: Volume) -> None:
        write_tagged(volume, range(20))
        whole = store.drives[0].raw(0, BLOCK_COUNT)
        assert store.drives[0].raw(3, 4) == whole[3 * BLOCK_SIZE : 7 * BLOCK_SIZE]
        assert store.drives[0].raw(BLOCK_COUNT, 0) == b""
        assert whole == store.drives[0].medium.read(0, BLOCK_COUNT)
        assert whole == b"".join(store.drives[0].raw(mba, 1) for mba in range(BLOCK_COUNT))


class TestSegments:
    def test_of_a_new_drive(self, store: Store) -> None:
        segments = store.drives[0].segments()
        assert segments.dtype.names == ("first_mba", "live", "write_pointer", "state")
        assert segments["first_mba"].tolist() == list(range(0, BLOCK_COUNT, SEGMENT_BLOCKS))
        assert not segments["live"].any()
        assert set(segments["state"].tolist()) <= {SegmentState.FREE, SegmentState.OPEN}

    def test_count_what_the_ledger_says(self, store: Store, tenant: Tenant, volume: Volume) -> None:
        write_tagged(volume, range(60))
        run_lap(store, tenant, 1.3)
        drive = store.drives[0]
        live = (drive.ledger()["state"] == BlockState.LIVE).reshape(SEGMENTS, SEGMENT_BLOCKS).sum(axis=1)
        segments = drive.segments()
        assert segments["live"].tolist() == live.tolist()
        opened = segments[segments["state"] == SegmentState.OPEN]
        assert len(opened) == 1
        assert int(opened[0]["first_mba"] + opened[0]["write_pointer"]) == drive.head
        sealed = segments[segments["state"] == SegmentState.SEALED]
        assert not segments["live"][segments["state"] == SegmentState.FREE].any()
        assert len(sealed) >= SEGMENTS // 2

    def test_the_head_goes_round(self, store: Store, volume: Volume) -> None:
        heads = []
        for version in range(1, 2 * BLOCK_COUNT):
            write_tagged(volume, [version % 8], version)
            heads.append(store.drives[0].head)
        falls = sum(later < earlier for earlier, later in pairwise(heads))
        assert falls == int(store.stats().laps)
        assert set(heads) >= set(range(1, BLOCK_COUNT, SEGMENT_BLOCKS)) or len(set(heads)) > BLOCK_COUNT // 2


class TestRemanence:
    def test_of_nothing(self, store: Store, volume: Volume) -> None:
        for scope in (None, "contoso", volume.tenant, volume):
            report = store.remanence(scope)
            assert (report.blocks, report.bytes, report.moved_blocks) == (0, 0, 0)
            assert report.oldest_writes is None
            assert report.oldest_laps is None

    def test_counts_by_scope(self, store: Store, tenant: Tenant, volume: Volume) -> None:
        other = store.create_tenant("fabrikam").create_volume("disk", "64KiB")
        second = tenant.create_volume("second", "64KiB")
        write_tagged(volume, range(10))
        write_tagged(second, range(7))
        write_tagged(other, range(5))
        volume.trim(0, 4 * BLOCK_SIZE)
        second.delete()
        other.trim(0, BLOCK_SIZE)
        assert store.remanence().blocks == 12
        assert store.remanence().bytes == 12 * BLOCK_SIZE
        assert store.remanence(tenant).blocks == store.remanence("contoso").blocks == 11
        assert store.remanence(volume).blocks == 4
        assert store.remanence(second).blocks == 7
        assert store.remanence("fabrikam").blocks == 1

    def test_of_deleted_tenants(self, store: Store, tenant: Tenant, volume: Volume) -> None:
        write_tagged(volume, range(10))
        tenant.delete()
        assert store.remanence(tenant).blocks == store.remanence(volume).blocks == 10
        with pytest.raises(NotFoundError):
            store.remanence("contoso")
        again = store.create_tenant("contoso")
        assert store.remanence("contoso").blocks == store.remanence(again).blocks == 0
        run_lap(store, again)
        assert store.remanence(tenant).blocks == store.remanence(volume).blocks == 0

    def test_by_number(self, store: Store, tenant: Tenant, volume: Volume) -> None:
        write_tagged(volume, range(10))
        tenant.delete()
        (number,) = set(store.drives[0].ledger(0, 11)["tenant"]) - {0}  # as numpy has it
        assert number == tenant.number
        assert store.remanence(number) == store.remanence(tenant.number) == store.remanence(tenant)
        assert store.remanence(tenant.number).blocks == 10
        assert store.remanence(tenant.number + 1).blocks == 0

    def test_the_oldest_ages_with_the_devices_writes(
        self, store: Store, tenant: Tenant, volume: Volume
    ) -> None:
        write_tagged(volume, range(10))
        volume.trim(0, 5 * BLOCK_SIZE)
        died = store.stats().position
        write_tagged(tenant.create_volume("other", "64KiB"), range(60))
        volume.trim(5 * BLOCK_SIZE, 5 * BLOCK_SIZE)
        report = store.remanence(volume)
        assert report.oldest_writes == store.stats().position - died >= 60
        assert report.oldest_laps == pytest.approx(report.oldest_writes / BLOCK_COUNT)

    def test_idle_time_erases_nothing(self, store: Store, volume: Volume) -> None:
        write_tagged(volume, range(10))
        volume.delete()
        raw = store.drives[0].raw(0, BLOCK_COUNT)
        for _ in range(5):
            store.check()
            assert store.remanence().blocks == 10
        assert store.drives[0].raw(0, BLOCK_COUNT) == raw

    def test_falls_to_nothing_within_a_lap(self, store: Store, tenant: Tenant, volume: Volume) -> None:
        write_tagged(volume, range(60))
        volume.delete()
        start = store.stats().position
        scratch = tenant.create_volume("scratch", 4 * BLOCK_SIZE)
        residues = [store.remanence(volume).blocks]
        while store.stats().position <= start + BLOCK_COUNT:
            write_tagged(scratch, range(4))
            residues.append(store.remanence(volume).blocks)
        assert residues[0] == 60
        assert residues == sorted(residues, reverse=True)
        assert residues[-1] == 0


class TestSimulated:
    def test_the_ledger_is_kept_without_a_payload(self, simulated: Store) -> None:
        tenant = simulated.create_tenant("contoso")
        volume = tenant.create_volume("disk", "64KiB")
        volume.write_blocks(3, None)
        volume.write_blocks(10, None, count=5)
        volume.write_blocks(np.array([1, 1, 2], dtype=np.uint64), None)
        volume.trim(10 * BLOCK_SIZE, 2 * BLOCK_SIZE)
        assert volume.mapped_blocks == 6
        assert states(simulated)[BlockState.LIVE] == 6
        assert simulated.remanence(volume).blocks == 3
        simulated.check()

    def test_data_is_taken_and_forgotten(self, simulated: Store) -> None:
        volume = simulated.create_tenant("contoso").create_volume("disk", "64KiB")
        volume.write_blocks(0, np.ones((4, BLOCK_SIZE), dtype=np.uint8))
        assert volume.mapped_blocks == 4
