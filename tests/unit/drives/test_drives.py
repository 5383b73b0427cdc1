"""Several drives a store: placement, evacuation, rebalancing, and deletion on all of them."""

from __future__ import annotations

import threading
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from seqstore import (
    AccessError,
    ConfigError,
    Deadline,
    DriveState,
    DriveStateError,
    MediumError,
    NotFoundError,
    Now,
    OutOfSpaceError,
    Progress,
    Store,
    Tenant,
    Volume,
)
from seqstore._native.records import Scope
from seqstore.keys import FileKey
from seqstore.media import MemoryMedium
from seqstore.moving import Mover
from tests.several import BLOCK, SEGMENT, SIZES, content, fill, legs


def family(tenant: Tenant) -> Volume:
    """Make a volume with snapshots, clones, a rollback, and a deleted ancestor."""
    volume = tenant.create_volume("volume", 100 * BLOCK + 100)
    fill(volume, 1)
    monday = volume.snapshot("monday")
    volume.write(7 * BLOCK, b"tuesday" * 300)
    volume.trim(50 * BLOCK, 9 * BLOCK)
    tuesday = volume.snapshot("tuesday")
    volume.resize(80 * BLOCK)
    clone = monday.clone("clone")
    clone.write(5, b"of the clone")
    deep = clone.snapshot("deep")
    clone.write(9 * BLOCK, b"more")
    deep.clone("below").write(30 * BLOCK, b"below")
    volume.rollback(tuesday)
    volume.write(0, b"after the rollback")
    orphaned = tenant.create_volume("gone", 20 * BLOCK)
    fill(orphaned, 9)
    kept = orphaned.snapshot("kept")
    orphaned.write(0, b"not in the snapshot")
    orphaned.delete()
    kept.clone("heir").write(3 * BLOCK, b"heir")
    return volume


def make_key(folder: Path) -> Path:
    """Write a root key to a file."""
    path = folder / "root.key"
    path.touch(0o600)
    path.write_bytes(bytes(range(32)))
    return path


class TestAdding:
    def test_volumes_go_where_there_is_room(self, store: Store, tenant: Tenant) -> None:
        fill(tenant.create_volume("first", 100 * BLOCK), 1)
        drive = store.add_drive(
            64 * SEGMENT, region="east", vendor="v", model="m", serial="s", media_type="hdd"
        )
        second = tenant.create_volume("second", 300 * BLOCK)
        assert (drive.number, legs(second)) == (1, [1])
        fill(second, 2)
        assert legs(tenant.create_volume("third", 100 * BLOCK)) == [0]
        facts = store.drives[1].facts
        assert (facts.region, facts.vendor, facts.model, facts.serial) == ("east", "v", "m", "s")
        assert drive.state is DriveState.ONLINE
        assert store.stats().block_count == 2 * 64 * SEGMENT // BLOCK

    def test_a_region_or_a_drive_can_be_asked_for(self, store: Store, tenant: Tenant) -> None:
        store.add_drive(64 * SEGMENT, region="east")
        fill(tenant.create_volume("first", 100 * BLOCK, region="east"), 1)
        assert legs(tenant.create_volume("second", 10 * BLOCK, region="east")) == [1]
        assert legs(tenant.create_volume("third", 10 * BLOCK, drive=1)) == [1]
        assert legs(tenant.create_volume("fourth", 10 * BLOCK, drive=store.drives[0])) == [0]
        with pytest.raises(ConfigError, match=r"a drive in region 'west' is needed, .* Store\.add_drive$"):
            tenant.create_volume("fifth", BLOCK, region="west")
        with pytest.raises(ConfigError, match="drive 7 takes no volumes"):
            tenant.create_volume("fifth", BLOCK, drive=7)
        assert [volume.name for volume in tenant.volumes] == ["first", "second", "third", "fourth"]

    def test_a_copy_needs_another_drive(self, store: Store, tenant: Tenant) -> None:
        with pytest.raises(ConfigError, match=r"2 drives are needed, .* fewer copies$"):
            tenant.create_volume("v", BLOCK, copies=2)
        with pytest.raises(ConfigError, match="copies is 3"):
            tenant.create_volume("v", BLOCK, copies=3)  # type: ignore[arg-type]
        assert tenant.volumes == ()

    def test_copies_go_to_different_regions(self, store: Store, tenant: Tenant) -> None:
        store.add_drive(128 * SEGMENT)
        store.add_drive(64 * SEGMENT, region="east")
        volume = tenant.create_volume("v", BLOCK, copies=2)
        assert legs(volume) == [1, 2]  # the one with most room, and the one elsewhere

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({}, "capacity is missing"),
            ({"capacity": SEGMENT, "segment_size": SEGMENT}, "."),
            ({"capacity": 64 * SEGMENT, "path": "x"}, "in a directory"),
            ({"capacity": 64 * SEGMENT, "region": "a\nb"}, "printable"),
            ({"medium": MemoryMedium(64 * 4096, block_size=1024, zone_size=4096)}, "blocks of 1024"),
        ],
    )
    def test_what_is_no_drive(self, store: Store, options: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            store.add_drive(**options)
        assert len(store.drives) == 1
        assert store._parts.catalog.drives[-1].number == 0

    def test_in_a_directory(self, tmp_path: Path) -> None:
        path, device = tmp_path / "store", tmp_path / "device.img"
        device.write_bytes(bytes(64 * SEGMENT))
        with Store.create(path, 64 * SEGMENT, **SIZES) as store:
            store.add_drive(64 * SEGMENT, segment_size=SEGMENT)
            store.add_drive(64 * SEGMENT, segment_size=SEGMENT, path=tmp_path / "elsewhere.img")
            store.add_drive(64 * SEGMENT, segment_size=SEGMENT, device=device)
            with pytest.raises(ConfigError, match="there already"):
                store.add_drive(64 * SEGMENT, segment_size=SEGMENT, path=device)
            tenant = store.create_tenant("contoso")
            data = [fill(tenant.create_volume(str(n), 50 * BLOCK, drive=n), n) for n in range(4)]
        assert len(list((path / "drives").iterdir())) == 4
        with Store.open(path) as store:
            volumes = store.tenant("contoso").volumes
            assert [volume.read(0, 50 * BLOCK) for volume in volumes] == data
            assert [legs(volume) for volume in volumes] == [[0], [1], [2], [3]]
            assert sorted({int(drive) for drive in store.find()["drive"]}) == [0, 1, 2, 3]

    def test_simulated(self) -> None:
        with Store.simulated(64 * SEGMENT, **SIZES) as store:
            store.add_drive(64 * SEGMENT)
            tenant = store.create_tenant("contoso")
            volume = tenant.create_volume("v", 300 * BLOCK, copies=2)
            volume.write_blocks(0, None, count=300)
            volume.write_blocks(np.array([7, 9]), None)
            single = tenant.create_volume("w", 300 * BLOCK, drive=0)
            single.write_blocks(5, None, count=50)
            store.add_drive(64 * SEGMENT)
            store.drives[0].decommission()
            assert volume.mapped_blocks == 300
            assert single.mapped_blocks == 50
            assert 0 not in legs(volume) + legs(single)
            store.check()


class TestEvacuation:
    def test_everything_is_what_it_was(self, store: Store, tenant: Tenant) -> None:
        volume = family(tenant)
        before, live = content(store), store.stats().live_blocks
        store.add_drive(64 * SEGMENT)
        told: list[Progress] = []
        store.drives[0].decommission("worn out", progress=told.append)
        assert content(store) == before
        assert store.drives[0].state is DriveState.EVACUATED
        assert not store.drives[0].in_use
        assert told[-1].share == 1
        assert told[-1].done_families == told[-1].total_families == 2
        # Shared blocks are shared still, but for the ones that the rollback brought back.
        assert live <= store.stats().live_blocks <= live + 10
        monday = volume.find_snapshot("monday")
        assert monday.clone("later").read(0, BLOCK) == before[f"{volume.number}@monday"][:BLOCK]
        volume.rollback(monday)
        assert volume.read(0, volume.size) == before[f"{volume.number}@monday"]
        acts = [record.act for record in store.audit.records()]
        assert acts.count("family moved") == 2
        assert acts.index("decommission begun") < acts.index("decommission finished")

    def test_a_drive_out_of_use_can_be_handed_out(self, store: Store, tenant: Tenant) -> None:
        family(tenant)
        store.add_drive(64 * SEGMENT)
        drive = store.drives[0]
        medium = drive.medium
        with pytest.raises(DriveStateError, match="decommission it first"):
            drive.require_idle()
        drive.decommission()
        assert drive.require_idle() is medium
        medium.overwrite(0, bytes(BLOCK))  # type: ignore[attr-defined]
        for call in (drive.segments, drive.ledger, lambda: drive.raw(0, 1), lambda: drive.medium):
            with pytest.raises(MediumError, match="evacuated"):
                call()
        with pytest.raises(DriveStateError, match="evacuated"):
            drive.decommission()

    def test_without_room_nothing_moves(self, store: Store, tenant: Tenant) -> None:
        for number in range(3):
            fill(tenant.create_volume(str(number), 200 * BLOCK), number)
        with pytest.raises(MediumError, match="only one"):
            store.drives[0].decommission()
        store.add_drive(24 * SEGMENT, segment_size=SEGMENT)
        before = content(store)
        with pytest.raises(OutOfSpaceError, match="have no room") as caught:
            store.drives[0].decommission()
        assert (caught.value.needed, caught.value.needed > caught.value.available) == (600, True)
        assert store.drives[0].state is DriveState.ONLINE
        assert content(store) == before
        assert all(legs(volume) == [0] for volume in tenant.volumes)
        store.add_drive(64 * SEGMENT)
        store.drives[0].decommission()
        assert content(store) == before

    def test_programs_go_on(self, store: Store, tenant: Tenant) -> None:
        volumes = [tenant.create_volume(str(n), 60 * BLOCK, drive=0) for n in range(3)]
        volumes.append(volumes[0].snapshot("s").clone("c"))
        store.add_drive(64 * SEGMENT)
        store.add_drive(64 * SEGMENT)
        volumes.append(tenant.create_volume("two", 60 * BLOCK, copies=2))
        model = {volume.name: bytearray(volume.size) for volume in volumes}
        end, errors = threading.Event(), list[BaseException]()

        def work(volume: Volume, seed: int) -> None:
            random, mine = Random(seed), model[volume.name]
            try:
                while not end.is_set():
                    offset = random.randrange(volume.size - 100)
                    data = random.randbytes(random.randrange(1, 100))
                    if random.random() < 0.2:
                        start, count = offset // BLOCK, random.randrange(1, 4)
                        count = min(count, volume.blocks - start)
                        volume.trim(start * BLOCK, count * BLOCK)
                        mine[start * BLOCK : (start + count) * BLOCK] = bytes(count * BLOCK)
                    else:
                        volume.write(offset, data)
                        mine[offset : offset + len(data)] = data
                    assert volume.read(0, volume.size) == mine
            except BaseException as error:
                errors.append(error)
                raise

        threads = [threading.Thread(target=work, args=(volume, n)) for n, volume in enumerate(volumes)]
        for thread in threads:
            thread.start()
        try:
            for number in range(2):
                store.drives[number].decommission()
                store.add_drive(64 * SEGMENT)
                store.rebalance()
        finally:
            end.set()
            for thread in threads:
                thread.join()
        assert not errors
        for volume in volumes:
            assert volume.read(0, volume.size) == model[volume.name]

    def test_nothing_is_written_to_the_old_place(
        self, store: Store, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nor by a call that was on its way there when the volume moved."""
        volume = tenant.create_volume("v", 10 * BLOCK)
        fill(volume, 1)
        old = volume._route.legs[0].view
        store.add_drive(64 * SEGMENT)
        remove, tried = Mover._remove, list[str]()

        def try_first(self: Mover, left: Any) -> None:
            with pytest.raises(AccessError):
                old.write(0, b"lost")  # type: ignore[attr-defined]
            remove(self, left)
            with pytest.raises(NotFoundError):
                old.write(0, b"lost")  # type: ignore[attr-defined]
            tried.append("both")

        monkeypatch.setattr(Mover, "_remove", try_first)
        store.drives[0].decommission()
        assert tried == ["both"]

    @pytest.mark.parametrize("work", ["decommission", "rebuild"])
    def test_encrypted(self, tmp_path: Path, work: str) -> None:
        path, provider = tmp_path / "store", FileKey(make_key(tmp_path))
        options: dict[str, Any] = {"segment_size": SEGMENT}
        with Store.create(path, 64 * SEGMENT, encryption=provider, **SIZES) as store:
            store.add_drive(64 * SEGMENT, **options)
            tenant = store.create_tenant("contoso")
            fill(tenant.create_volume("copied", 30 * BLOCK, copies=2, drive=0), 1)
            family(tenant)
            before = content(store)
            store.add_drive(64 * SEGMENT, **options)
            if work == "decommission":
                store.drives[0].decommission()
            else:
                store.drives[1].fail("it is dead")
                before = {name: data for name, data in content(store).items() if name in before}
                assert store.rebuild() == 1
            assert content(store) == before
        with Store.open(path, key=provider) as store:
            assert content(store) == before
            volume = store.tenant("contoso").volume("copied")
            assert volume.copies == 2
            for drive in store.drives:
                assert not drive.in_use or b"00000001 0000" not in drive.raw(0, drive.blocks)
            volume.delete()
            assert not store._parts.encryption.has(volume.number)  # type: ignore[union-attr]

    def test_calling_it_off(self, store: Store, tenant: Tenant) -> None:
        drive = store.add_drive(64 * SEGMENT)
        with pytest.raises(DriveStateError, match="call off"):
            drive.call_off()

    def test_what_is_left_behind_is_residue(self, store: Store, tenant: Tenant) -> None:
        volume = tenant.create_volume("v", 50 * BLOCK)
        fill(volume, 1)
        store.add_drive(64 * SEGMENT)
        other = tenant.create_volume("other", 10 * BLOCK, drive=1)
        store.drives[0].decommission()
        assert store.remanence(volume).out_of_use_blocks >= 50
        assert store.remanence(tenant).blocks >= 50
        assert store.remanence(other).blocks == 0
        volume.delete()
        assert store.remanence(volume).blocks >= 100
        assert store.purge(volume).out_of_reach == (0,)
        assert store.purge(other).out_of_reach == ()
        # The erasure on the drive that is out of use stays open, and says so.
        states = {e.state for e in store.erasures}
        assert states == {"requested", "listed"}
        assert not store.statement(next(e for e in store.erasures if e.state == "requested")).complete
        drives = store.statement(next(e for e in store.erasures if e.state == "listed")).document["store"]
        assert [drive["number"] for drive in drives["drives"]] == [1]


class TestRebalancing:
    def test_it_evens_out(self, store: Store, tenant: Tenant) -> None:
        for number in range(6):
            fill(tenant.create_volume(str(number), 60 * BLOCK), number)
        store.add_drive(64 * SEGMENT)
        before = content(store)
        assert store.rebalance() == 3
        assert [drive.live_blocks for drive in store.drives] == [180, 180]
        assert content(store) == before
        assert store.rebalance() == 0

    def test_it_comes_to_an_end(self, store: Store, tenant: Tenant) -> None:
        tenant.create_volume("one", BLOCK).write(0, b"one block")
        store.add_drive(64 * SEGMENT)
        store.add_drive(32 * SEGMENT)
        assert store.rebalance() == 0
        fill(tenant.create_volume("more", 7 * BLOCK, drive=0), 1)
        assert store.rebalance() == 1


class TestDeletion:
    @pytest.mark.parametrize("drive", [None, 1])
    def test_a_drive_that_goes_while_all_are_purged(
        self, store: Store, tenant: Tenant, drive: int | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.add_drive(64 * SEGMENT)
        for number in (0, 1):
            volume = tenant.create_volume(f"v{number}", 10 * BLOCK, drive=number)
            fill(volume, number)
            volume.delete()
        core, eraser = store._eraser._logs[1].core, store._eraser
        ask = core.remanence

        def fail_first(scope: Scope, number: int) -> object:
            monkeypatch.undo()
            store.drives[1].fail("just now")
            return ask(scope, number)

        monkeypatch.setattr(core, "remanence", fail_first)
        if drive is None:
            assert store.purge().residue_blocks == 10
        else:
            eraser.purge_drive(drive, Scope.ALL, 0)
        assert store.drives[1].state is DriveState.FAILED

    def test_now_and_purge_reach_all_drives(self, store: Store, tenant: Tenant) -> None:
        store.add_drive(64 * SEGMENT)
        store.set_deletion(Now(), tenant)
        volume = tenant.create_volume("v", 50 * BLOCK, copies=2)
        secret = b"secret of contoso".ljust(BLOCK, b".")
        volume.write(0, secret * 50)
        moved = tenant.create_volume("moved", 20 * BLOCK, drive=0)
        moved.write(0, secret * 20)
        store.add_drive(64 * SEGMENT)
        assert store.rebalance() >= 0
        volume.trim(0, 10 * BLOCK)
        assert sum(drive.raw(0, drive.blocks).count(secret) for drive in store.drives) == 80 + 20
        tenant.delete()
        for drive in store.drives:
            assert secret not in drive.raw(0, drive.blocks)
        assert store.remanence().blocks == 0
        assert {e.state for e in store.erasures} == {"listed"}
        assert all(store.statement(e).complete for e in store.erasures)

    def test_deadlines_hold_on_each_drive(self) -> None:
        with Store.memory(64 * SEGMENT, deletion=Deadline(laps=2), selection="greedy", **SIZES) as store:
            tenant = store.create_tenant("contoso")
            drive = store.add_drive(64 * SEGMENT)
            volumes = [tenant.create_volume(str(n), 400 * BLOCK, drive=n) for n in range(2)]
            random = Random(1)
            for _ in range(1500):
                volume = volumes[random.random() < 0.7]
                volume.write(random.randrange(200) * BLOCK, bytes(BLOCK * 3))
            for each in (store.drives[0], drive):
                ledger, position = each.ledger(), each._engine.counters()["position"]
                dead = ledger["died"][(ledger["state"] == 2) | (ledger["state"] == 3)]
                assert position - int(dead.min(initial=position)) <= 2 * each.blocks
            assert store.remanence().unbounded_blocks == 0

    def test_a_stricter_strategy_that_one_drive_cannot_keep(self, store: Store) -> None:
        store.add_drive(16 * SEGMENT, segment_size=SEGMENT)
        with pytest.raises(ConfigError):
            store.set_deletion(Deadline(writes=10))
        assert str(store.deletion) == "Lap()"

    def test_find_names_drives(self, store: Store, tenant: Tenant) -> None:
        store.add_drive(64 * SEGMENT)
        volume = tenant.create_volume("v", 5 * BLOCK, copies=2)
        fill(volume, 1)
        found = store.find(volume)
        assert found["volume"].tolist() == [volume.number] * len(found)
        assert {int(run["drive"]): int(run["count"]) for run in found} == {0: 5, 1: 5}
        assert volume.extents()["drive"].tolist() == [legs(volume)[0]]
