"""Volumes on two drives: what happens to their copies, and what is lost where there is none."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from random import Random

import numpy as np
import pytest

from seqstore import (
    ConfigError,
    CorruptionError,
    DriveState,
    FormatError,
    MediumError,
    NotFoundError,
    Store,
    Tenant,
)
from tests.durable import crash
from tests.renewed import damage
from tests.several import BLOCK, SEGMENT, SIZES, Rack, content, fill, legs
from tests.small import mba_of, overwrite


class TestCopies:
    def test_both_have_it(self, store: Store, tenant: Tenant) -> None:
        store.add_drive(64 * SEGMENT, region="east")
        volume = tenant.create_volume("v", 50 * BLOCK + 7, copies=2, unwritten="error")
        data = Random(1).randbytes(volume.size)
        volume.write(0, data)
        snapshot = volume.snapshot("s")
        volume.write_blocks(np.array([3, 1]), np.full((2, BLOCK), 7, np.uint8))
        volume.trim(10 * BLOCK, BLOCK)
        volume.resize(60 * BLOCK)
        clone = snapshot.clone("c")
        volume.rollback(snapshot)
        volume.write(0, b"x")
        assert [view.copies for view in (volume, snapshot, clone)] == [2, 2, 2]
        for view in (volume, snapshot, clone):
            first, second = (leg.view.read(0, view.size) for leg in view._route.legs)
            assert first == second == view.read(0, view.size)
        assert volume.read(1, volume.size - 1) == data[1:]
        volume.flush()
        clone.delete()
        snapshot.delete()
        volume.delete()
        assert store.stats().live_blocks == 0

    def test_damage_is_answered_from_the_other_and_repaired(self, store: Store, tenant: Tenant) -> None:
        store.add_drive(64 * SEGMENT)
        volume = tenant.create_volume("v", 40 * BLOCK, copies=2, drive=0)
        data = fill(volume, 1)
        snapshot = volume.snapshot("s")
        volume.write(0, data)
        for lba in (3, 4, 39):
            overwrite(store, mba_of(volume, lba), b"\xff" * BLOCK)
        leg = volume._route.legs[0].view
        with pytest.raises(CorruptionError):
            leg.read(0, leg._info()[0])
        assert volume.read(0, volume.size) == data
        assert leg.read(0, volume.size) == data  # repaired
        assert store.drives[0].facts.read_errors >= 1
        assert store.drives[1].facts.read_errors == 0
        assert volume.copies == 2
        overwrite(store, mba_of(volume, 5), b"\xff" * BLOCK)
        assert volume.read_blocks(np.array([7, 5]))[1].tobytes() == data[5 * BLOCK : 6 * BLOCK]
        overwrite(store, mba_of(volume, 6), b"\xff" * BLOCK)
        volume.write(6 * BLOCK + 5, b"part")  # which needs the rest of the block
        assert leg.read(6 * BLOCK, 9) == data[6 * BLOCK : 6 * BLOCK + 5] + b"part"
        overwrite(store, mba_of(snapshot, 8), b"\xff" * BLOCK)  # type: ignore[arg-type]
        assert snapshot.read(0, snapshot.size) == data
        drive, _ = legs(snapshot)
        assert store._registry.placer.damaged == {snapshot.number: {drive}}
        assert store.rebuild() == 1
        for each in snapshot._route.legs:
            assert each.view.read(0, snapshot.size) == data

    def test_a_drive_that_dies_in_a_write(self, rack: Rack) -> None:
        tenant = rack.store.create_tenant("contoso")
        volume = tenant.create_volume("v", 60 * BLOCK, copies=2)
        single = tenant.create_volume("single", 10 * BLOCK, drive=0)
        fill(single, 3)
        fill(volume, 1)
        rack.store.flush()
        rack.drives[1].die(after=3)
        data = b""
        for mark in range(2, 9):
            data = fill(volume, mark)
            volume.flush()
        assert volume.copies == 1
        assert volume.read(0, volume.size) == data
        rack.store.flush()  # nothing lies on the dead drive alone
        places = rack.store._parts.catalog.placements.of(volume.number)
        assert [(place.drive, place.state) for place in places] in (
            [(0, "in_sync"), (1, "stale")],
            [(1, "stale"), (0, "in_sync")],
        )
        assert min(p.generation for p in places if p.state == "stale") < max(p.generation for p in places)
        rack.store.drives[1].fail("it is dead")
        rack.add()
        assert rack.store.rebuild() == 1
        assert sorted(legs(volume)) == [0, 2]
        assert volume._route.legs[1].view.read(0, volume.size) == data

    def test_a_stale_drive_that_comes_back_is_not_believed(self, rack: Rack) -> None:
        tenant = rack.store.create_tenant("contoso")
        volume = tenant.create_volume("v", 40 * BLOCK, copies=2)
        gone = tenant.create_volume("gone", 40 * BLOCK, copies=2)
        fill(gone, 5)
        fill(volume, 1)
        rack.store.close()
        rack.open(without=[1])
        assert rack.volume("v").copies == 1
        data = fill(rack.volume("v"), 2)
        rack.volume("gone").delete()
        rack.store.close()
        store = rack.open()
        volume = rack.volume("v")
        assert legs(volume) == [0]
        assert volume.read(0, volume.size) == data
        with pytest.raises(NotFoundError):
            rack.volume("gone")
        assert store.rebuild() == 1
        assert volume._route.legs[1].view.read(0, volume.size) == data
        assert store.stats().live_blocks == 80
        store.check()

    @pytest.mark.parametrize("without", [0, 1])
    def test_an_old_image_of_a_drive_is_refused(self, rack: Rack, without: int) -> None:
        volume = rack.store.create_tenant("contoso").create_volume("v", 40 * BLOCK, copies=2)
        fill(volume, 1)
        rack.store.close()
        old = rack.drives[without].clone()
        for mark in (2, 3):
            rack.open()
            data = fill(rack.volume("v"), mark)
            rack.store.close()
        rack.drives[without] = old
        with pytest.raises((FormatError, MediumError)):
            rack.open()
        for medium in rack.media.values():
            medium.close()
        store = rack.open(missing="go on")
        assert legs(rack.volume("v")) == [1 - without]
        assert rack.volume("v").read(0, 40 * BLOCK) == data
        assert store.drives[without].why_not.startswith(f"drive {without} is missing: ")

    def test_flushing_needs_all_drives_with_single_volumes(self, rack: Rack) -> None:
        tenant = rack.store.create_tenant("contoso")
        single = tenant.create_volume("single", 10 * BLOCK, drive=1)
        copied = tenant.create_volume("copied", 10 * BLOCK, copies=2)
        fill(single, 1)
        fill(copied, 1)
        rack.drives[1].die()
        with pytest.raises(MediumError):
            rack.store.flush()
        copied.flush()
        assert copied.copies == 1
        assert rack.store.drives[1].facts.write_errors > 0
        assert rack.store.drives[0].facts.write_errors == 0

    def test_crashes_leave_copies_that_are_the_same(self, tmp_path: Path) -> None:
        for seed in range(6):
            rack = Rack(tmp_path / f"{seed}.db", seed=seed)
            tenant = rack.store.create_tenant("contoso")
            volume = tenant.create_volume("v", 60 * BLOCK + 9, copies=2)
            fill(volume, 1, 60)
            rack.store.flush()
            random = Random(seed)
            for _ in range(40):
                volume.write(random.randrange(50 * BLOCK), random.randbytes(900))
                volume.trim(random.randrange(50) * BLOCK, 3 * BLOCK)
            rack.crash()
            rack.open()
            volume = rack.volume("v")
            first, second = (leg.view.read(0, volume.size) for leg in volume._route.legs)
            assert first == second
            rack.store.check()
            rack.close()

    @pytest.mark.parametrize("lba", [0, 7])  # in the first of two records of the request, and in the second
    @pytest.mark.parametrize("drive", [0, 1])
    def test_damage_to_what_was_flushed_last_gives_up_no_copy_of_it(
        self, rack: Rack, drive: int, lba: int
    ) -> None:
        """To a log after a crash it looks like a request that was cut in two; the other log has it."""
        volume = rack.store.create_tenant("contoso").create_volume("v", 20 * BLOCK, copies=2)
        fill(volume, 1)
        rack.store.flush()
        data = fill(volume, 2)
        rack.store.flush()
        damage(rack.store, volume, lba, drive)
        rack.crash()
        store = rack.open()
        recovery = store._fleet.member(drive).recovery
        assert recovery is not None
        assert (recovery["cut_records"], recovery["void_entries"]) == ((2, 0) if lba == 0 else (1, 6))
        volume = rack.volume("v")
        for leg in volume._route.legs:
            assert leg.view.read(0, volume.size) == data
        store.check()


class TestLosses:
    def test_what_goes_with_a_drive(self, store: Store, tenant: Tenant) -> None:
        store.add_drive(64 * SEGMENT)
        lost = tenant.create_volume("lost", 50 * BLOCK, drive=1)
        lost.write(3 * BLOCK, bytes(4 * BLOCK))
        lost.write(20 * BLOCK, b"x")
        snapshot = lost.snapshot("s")
        lost.write(40 * BLOCK, b"y")
        copied = tenant.create_volume("copied", 10 * BLOCK, copies=2)
        data = fill(copied, 1)
        assert store.losses() == ()
        store.drives[1].fail("it burns")
        assert [(loss.kind, loss.name, loss.runs) for loss in store.losses()] == [
            ("volume", "lost", ((3, 4), (20, 1), (40, 1))),
            ("snapshot", "s", ((3, 4), (20, 1))),
        ]
        assert store.losses()[0].blocks == 6
        for call in (lambda: lost.read(0, 1), lambda: snapshot.read(0, 1), lambda: lost.write(0, b"x")):
            with pytest.raises(MediumError, match="no copy of volume number"):
                call()
        with pytest.raises(NotFoundError):
            tenant.volume("lost")
        with pytest.raises(ConfigError, match="of which no copy is there"):
            tenant.create_volume("lost", BLOCK)
        assert copied.read(0, copied.size) == data
        assert store.drives[1].state is DriveState.FAILED
        assert "it burns" in store.drives[1].story.tell()
        with pytest.raises(MediumError, match="only one"):
            store.drives[0].fail("as well")

    def test_the_blocks_are_known_when_the_store_is_opened_again(self, tmp_path: Path) -> None:
        path = tmp_path / "store"
        with Store.create(path, 64 * SEGMENT, **SIZES) as store:
            store.add_drive(64 * SEGMENT, segment_size=SEGMENT)
            tenant = store.create_tenant("contoso")
            lost = tenant.create_volume("lost", 50 * BLOCK, drive=1)
            lost.write(3 * BLOCK, bytes(4 * BLOCK))
            lost.snapshot("s")
            lost.write(20 * BLOCK, b"x")
            store.drives[1].fail("it burns")
            before = store.losses()
            assert [loss.runs for loss in before] == [((3, 4), (20, 1)), ((3, 4),)]
        for _ in range(2):
            with Store.open(path) as store:
                assert [(loss.name, loss.runs) for loss in store.losses()] == [
                    (loss.name, loss.runs) for loss in before
                ]
        with sqlite3.connect(path / "catalog.db") as database:
            database.execute("UPDATE lost_runs SET runs = 'none'")
        with Store.open(path) as store:
            with pytest.raises(FormatError, match=r"which blocks of volume number .* were lost"):
                store.losses()
            store.tenant("contoso").delete()
            assert store.losses() == ()
            assert store._parts.catalog.database.run("SELECT * FROM lost_runs") == []

    def test_a_missing_drive(self, tmp_path: Path) -> None:
        path = tmp_path / "store"
        with Store.create(path, 64 * SEGMENT, **SIZES) as store:
            store.add_drive(64 * SEGMENT, segment_size=SEGMENT)
            tenant = store.create_tenant("contoso")
            data = fill(tenant.create_volume("copied", 30 * BLOCK, copies=2), 1)
            fill(tenant.create_volume("lost", 30 * BLOCK, drive=0), 2)
        (path / "drives/0.img").rename(tmp_path / "away")
        with pytest.raises(MediumError, match=r"drives \[0\]|missing"):
            Store.open(path)
        with Store.open(path, missing="go on") as store:
            assert store.tenant("contoso").volume("copied").read(0, 30 * BLOCK) == data
            assert [(loss.name, loss.drives, loss.runs) for loss in store.losses()] == [("lost", (0,), None)]
            assert not store.drives[0].in_use
            with pytest.raises(ConfigError, match=r"'lost' already, of which no copy .* Store\.losses"):
                store.tenant("contoso").create_volume("lost", BLOCK)
            data = fill(store.tenant("contoso").volume("copied"), 3)
        (tmp_path / "away").rename(path / "drives/0.img")
        with Store.open(path) as store:
            assert store.losses() == ()
            assert store.tenant("contoso").volume("lost").read(0, 8) == b"00000002"
            assert store.tenant("contoso").volume("copied").read(0, 30 * BLOCK) == data
            assert store.rebuild() == 1
        with pytest.raises(ConfigError, match="missing is 'maybe'"):
            Store.open(path, missing="maybe")  # type: ignore[arg-type]

    def test_reading_alone_changes_nothing(self, rack: Rack) -> None:
        volume = rack.store.create_tenant("contoso").create_volume("v", 40 * BLOCK, copies=2)
        data = fill(volume, 1)
        rack.store.close()
        before = rack.catalog.read_bytes()
        rack.open(without=[1], read_only=True)
        assert rack.volume("v").read(0, 40 * BLOCK) == data
        rack.store.close()
        assert rack.catalog.read_bytes() == before
        rack.open()
        assert rack.volume("v").copies == 2


class TestRebuiltCatalogs:
    def test_from_logs_and_an_old_catalog(self, tmp_path: Path) -> None:
        path = tmp_path / "store"
        with Store.create(path, 64 * SEGMENT, **SIZES) as store:
            store.add_drive(64 * SEGMENT, segment_size=SEGMENT)
            tenant = store.create_tenant("contoso")
            fill(tenant.create_volume("copied", 30 * BLOCK, copies=2), 1)
            fill(tenant.create_volume("one", 30 * BLOCK, drive=1), 2)
            before = content(store)
        with Store.open(path, rebuild_catalog=True) as store:
            assert content(store) == before
            assert store.tenant("contoso").volume("copied").copies == 2
        (path / "catalog.db").unlink()
        with Store.open(path, rebuild_catalog=True) as store:
            volumes = store.tenants[0].volumes
            assert sorted(volume.read(0, 8) for volume in volumes) == [b"00000001", b"00000001", b"00000002"]
            fresh = store.tenants[0].create_volume("fresh", BLOCK)
            assert fresh.number > max(volume.number for volume in volumes)
            store.check()

    def test_a_crashed_store_can_be_rebuilt(self, tmp_path: Path) -> None:
        path = tmp_path / "store"
        store = Store.create(path, 64 * SEGMENT, **SIZES)
        store.add_drive(64 * SEGMENT, segment_size=SEGMENT)
        volume = store.create_tenant("contoso").create_volume("copied", 30 * BLOCK, copies=2)
        data = fill(volume, 1)
        store.flush()
        crash(store)
        with Store.open(path, rebuild_catalog=True) as store:
            assert store.tenant("contoso").volume("copied").read(0, 30 * BLOCK) == data
