"""Stores on several drives under power cuts, and drives that die, stay away and come back old."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from seqstore import DriveState, MediumError, OutOfSpaceError, Snapshot, Store, Volume
from seqstore.moving import Mover
from tests.crash.leaving import Leaving, makes
from tests.several import BLOCK, Rack, content, fill, legs

BLOCKS = 24  # of the volumes


def furnish(rack: Rack) -> None:
    """Make families with one and with two copies on drives 0 and 1."""
    tenant = rack.store.create_tenant("contoso")
    one = tenant.create_volume("one", BLOCKS * BLOCK, drive=0)
    fill(one, 1)
    two = tenant.create_volume("two", BLOCKS * BLOCK + 11, drive=0, copies=2)
    fill(two, 2)
    for volume in (one, two):
        snapshot = volume.snapshot("snapshot")
        volume.write(3 * BLOCK, b"after the snapshot" * 60)
        snapshot.clone(f"clone of {volume.name}").write(5 * BLOCK, b"of the clone")
    fill(tenant.create_volume("other", BLOCKS * BLOCK, drive=1), 3)
    rack.store.flush()


@pytest.mark.parametrize("cut_drive", [0, 1, 2])
def test_a_cut_at_each_write_of_an_evacuation(
    tmp_path: Path, cut_drive: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Mover, "_undo", lambda _: None)  # the process ends with the power
    for writes in (1, 3, 7, 16):
        rack = Rack(tmp_path / f"{writes}.db", drives=3, seed=f"{cut_drive} {writes}")
        furnish(rack)
        before = content(rack.store)
        rack.drives[cut_drive].cut_after(rack.drives[cut_drive].writes + writes)
        with suppress(MediumError):
            rack.store.drives[0].decommission()
            rack.store.flush()
        rack.crash()
        store = rack.open()
        assert content(store) == before
        store.check()
        assert_tidy(store)
        if store.drives[0].state is not DriveState.EVACUATED:
            assert store.drives[0].state in {DriveState.ONLINE, DriveState.DECOMMISSIONING}
            store.drives[0].decommission()
        assert content(store) == before
        assert store.drives[0].state is DriveState.EVACUATED
        assert {drive for volume in store.tenants[0].volumes for drive in legs(volume)} == {1, 2}
        for volume in store.tenants[0].volumes:
            assert_same(volume)
        live = store.stats().live_blocks
        rack.store.close()
        store = rack.open()
        assert content(store) == before
        assert store.stats().live_blocks == live
        rack.close()


class DiedError(Exception):
    """The process has ended here."""


@pytest.mark.parametrize("work", ["decommission", "rebuild"])
@pytest.mark.parametrize("step", ["_freeze", "_make_lineage", "_held", "_catch_up", "_switch", "_remove"])
def test_an_end_of_the_process_at_each_step(
    tmp_path: Path, step: str, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that was done before on the media."""
    rack = Rack(tmp_path / "names.db", drives=3)
    furnish(rack)
    before = content(rack.store)
    if work == "rebuild":
        before = {name: data for name, data in before.items() if name != "other"}
        rack.store.drives[1].fail("it is dead")

    def end(*_: object) -> None:
        rack.store.flush()
        raise DiedError

    with monkeypatch.context() as patch:
        patch.setattr(Mover, step, end)
        patch.setattr(Mover, "_undo", lambda _: None)
        with pytest.raises(DiedError):
            rack.store.drives[0].decommission() if work == "decommission" else rack.store.rebuild()
    rack.crash()
    store = rack.open(without=[1] if work == "rebuild" else [])
    assert content(store) == before
    assert_tidy(store)
    store.check()
    assert store.drives[0].state is (
        DriveState.DECOMMISSIONING if work == "decommission" else DriveState.ONLINE
    )
    store.drives[0].decommission() if work == "decommission" else store.rebuild()
    assert content(store) == before
    assert_tidy(store)
    rack.close()


@pytest.mark.parametrize("cut_drive", [0, 2])
def test_a_cut_at_each_write_of_a_rebuild(
    tmp_path: Path, cut_drive: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Mover, "_undo", lambda _: None)
    for writes in (1, 3, 9):
        rack = Rack(tmp_path / f"{writes}.db", drives=3, seed=f"{cut_drive} {writes}")
        furnish(rack)
        before = {name: data for name, data in content(rack.store).items() if name != "other"}
        rack.store.drives[1].fail("it is dead")
        rack.drives[cut_drive].cut_after(rack.drives[cut_drive].writes + writes)
        with suppress(MediumError):
            rack.store.rebuild()
            rack.store.flush()
        rack.crash()
        del rack.drives[1]
        store = rack.open()
        assert content(store) == before
        assert [loss.name for loss in store.losses()] == ["other"]
        store.rebuild()
        assert rack.volume("two").copies == rack.volume("clone of two").copies == 2
        assert content(store) == before
        for volume in store.tenants[0].volumes:
            assert_same(volume)
        store.check()
        assert_tidy(store)
        rack.close()


def assert_tidy(store: Store) -> None:
    """Expect the logs to know what the catalog says that they know, and nothing that was left half made."""
    placements = store._parts.catalog.placements
    for member in store._fleet:
        known = {int(entry["number"]) for entry in member.engine.volumes()}
        there = {place.number for place in placements.on(member.number) if place.is_there}
        assert known == there


def assert_same(volume: Volume) -> None:
    """Expect all copies of a volume to hold the same."""
    found = {leg.view.read(0, volume.size) for leg in volume._route.legs}
    assert len(found) == 1


class World:
    """A rack of drives to which anything happens, and what its volumes must show.

    Of each volume `states` holds what it may show after a crash: what it showed at the last flush, and after
    each change since. A change that failed may have happened.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self.random = Random(seed)
        self.rack = Rack(path, drives=3, seed=seed, make=makes())
        self.leaving = Leaving(self.rack, self.random)
        self.rack.store.create_tenant("contoso")
        self.states: dict[str, list[bytes]] = {}
        self.copies: dict[str, int] = {}
        self.named = 0
        self.log: list[str] = []

    @property
    def store(self) -> Store:
        return self.rack.store

    def step(self) -> None:
        """Do anything, and look whether all is well."""
        steps = [self.write] * 6 + [self.create, self.flush, self.trim, self.flush, self.delete, self.branch]
        steps += [self.crash, self.die, self.come_back_old, self.evacuate, self.rebuild, self.rebalance]
        steps += [self.rot, self.lose, self.leave, self.leave]
        work = self.random.choice(steps)
        self.log.append(work.__name__)
        work()
        self.check()

    def check(self) -> None:
        shown = {volume.name: volume for volume in self.store.tenants[0].volumes}
        for name in list(self.states):
            data = shown[name].read(0, shown[name].size)
            assert data in self.states[name], (self.log, name)
        assert shown.keys() == self.states.keys(), self.log
        self.leaving.check()

    def settle(self) -> None:
        """Take what the volumes show for what they are, after a crash."""
        for volume in self.store.tenants[0].volumes:
            self.states[volume.name] = [volume.read(0, volume.size)]
            assert_same(volume)

    # ---- what programs do -----------------------------------------------------------------------

    def any_volume(self) -> Volume | None:
        volumes = self.store.tenants[0].volumes
        return self.random.choice(volumes) if volumes else None

    def create(self) -> None:
        if len(self.states) > 6:
            return
        copies = self.random.choice([1, 2, 2])
        name = f"v{self.named}"
        self.named += 1
        with suppress(OutOfSpaceError):
            self.store.tenants[0].create_volume(name, 10 * BLOCK, copies=copies)  # type: ignore[arg-type]
            self.states[name], self.copies[name] = [bytes(10 * BLOCK)], copies

    def branch(self) -> None:
        volume = self.any_volume()
        if volume is None or len(self.states) > 6:
            return
        name = f"v{self.named}"
        self.named += 1
        data = volume.read(0, volume.size)
        with suppress(OutOfSpaceError):
            volume.snapshot(name).clone(name)
            self.states[name], self.copies[name] = [data], self.copies[volume.name]
            self.states[volume.name] = [data]  # which made it durable

    def write(self) -> None:
        volume = self.any_volume()
        if volume is not None:
            data = self.random.randbytes(self.random.randrange(1, 1200))
            offset = self.random.randrange(volume.size - len(data))
            self.change(volume, offset, data, lambda: volume.write(offset, data))

    def trim(self) -> None:
        volume = self.any_volume()
        if volume is not None:
            start = self.random.randrange(9) * BLOCK
            self.change(volume, start, bytes(BLOCK), lambda: volume.trim(start, BLOCK))

    def change(self, volume: Volume, offset: int, data: bytes, work: object) -> None:
        now = volume.read(0, volume.size)
        after = now[:offset] + data + now[offset + len(data) :]
        assert callable(work)
        with suppress(OutOfSpaceError):
            work()
            self.states[volume.name].append(after)
            assert volume.read(0, volume.size) == after

    def flush(self) -> None:
        self.store.flush()
        for volume in self.store.tenants[0].volumes:
            self.states[volume.name] = [volume.read(0, volume.size)]

    def delete(self) -> None:
        volume = self.any_volume()
        if volume is not None and self.random.random() < 0.5:
            for snapshot in volume.snapshots:
                snapshot.delete()
            del self.states[volume.name]
            volume.delete()

    # ---- what happens to drives -----------------------------------------------------------------

    def crash(self) -> None:
        self.rack.crash()
        self.rack.open()
        self.check()
        self.settle()

    def victims(self) -> list[int]:
        """Return the drives whose loss loses no uncopied volume."""
        views: list[Volume | Snapshot] = [*self.store.tenants[0].volumes, *self.store.tenants[0].snapshots]
        only = {legs(view)[0] for view in views if len(legs(view)) == 1}
        drives = [drive.number for drive in self.store.drives if drive.in_use and drive.number not in only]
        return drives if len([drive for drive in self.store.drives if drive.in_use]) > 1 else []

    def die(self) -> None:
        """Let a drive die in the middle of something, and put a new one into its place."""
        victims = self.victims()
        if not victims:
            return
        number = self.random.choice(victims)
        self.rack.drives[number].die(after=self.random.randrange(6))
        for _ in range(4):
            self.write()
        with suppress(OutOfSpaceError):
            self.flush()
        if self.random.random() < 0.5:
            self.rack.crash()
            self.rack.open(without=[number])
            self.check()
            self.settle()
        self.store.drives[number].fail("it died")
        self.leaving.take(number)
        self.rack.add(region=f"region {number}")
        self.store.rebuild()
        assert self.store.losses() == ()
        self.check()

    def lose(self) -> None:
        """Let a drive fail, whatever it has alone, and delete what was lost with it."""
        drives = [drive.number for drive in self.store.drives if drive.in_use]
        if len(drives) == 1:
            return
        number = self.random.choice(drives)
        views: list[Volume | Snapshot] = [*self.store.tenants[0].volumes, *self.store.tenants[0].snapshots]
        alone = {view.number for view in views if legs(view) == [number]}
        for volume in self.store.tenants[0].volumes:
            if volume.number in alone:
                del self.states[volume.name]
        self.store.drives[number].fail("it died")
        self.leaving.take(number)
        while True:
            losses = self.store.losses()
            assert {loss.number for loss in losses} == alone, self.log
            if self.random.random() < 0.3:
                self.crash()
            elif losses:
                loss = self.random.choice(losses)
                self.store.delete_lost(loss)
                alone.remove(loss.number)
            else:
                break
        self.rack.add(region=f"region {number}")
        self.store.rebuild()
        self.check()

    def come_back_old(self) -> None:
        """Go on without a drive for a while; it must not be believed afterwards."""
        victims = self.victims()
        if not victims:
            return
        number = self.random.choice(victims)
        self.flush()
        self.store.close()
        self.rack.open(without=[number])
        self.check()
        for _ in range(3):
            self.write()
        self.store.close()
        self.rack.open()
        self.check()
        if self.random.random() < 0.5:
            self.store.rebuild()
            for volume in self.store.tenants[0].volumes:
                assert volume.copies == self.copies[volume.name]
                assert_same(volume)

    def evacuate(self) -> None:
        in_use = [drive for drive in self.store.drives if drive.in_use]
        if len(in_use) < 3:
            self.rack.add()
        drive = self.random.choice(in_use)
        self.flush()
        if self.random.random() < 0.5:
            behind = self.random.randrange(1, 30)
            for faulty in self.rack.drives.values():
                faulty.cut_after(faulty.writes + behind)
            with suppress(MediumError):
                drive.decommission()
            self.rack.crash()
            self.rack.open()
            self.check()
            self.settle()
            drive = self.store.drives[drive.number]
        with suppress(OutOfSpaceError):
            if drive.state is not DriveState.EVACUATED:
                drive.decommission()
                self.leaving.take(drive.number)
                self.rack.add()

    def leave(self) -> None:
        """Do something to a drive that is out of use."""
        self.leaving.step(self.crash)

    def rebuild(self) -> None:
        with suppress(OutOfSpaceError):
            self.store.rebuild()

    def rebalance(self) -> None:
        with suppress(OutOfSpaceError):
            self.store.rebalance()

    def rot(self) -> None:
        """Let a block of a volume with two copies rot on one of the drives.

        It lies behind a checkpoint: where the end of a log rots and the power fails, nobody can tell that
        from writes that were cut off.
        """
        self.flush()
        self.store.checkpoint()
        for volume in self.store.tenants[0].volumes:
            if volume.copies == 2 and volume.mapped_blocks:
                extent = self.random.choice(volume.extents())
                drive = self.rack.drives[legs(volume)[0]]
                drive.rot(int(extent["mba"]), self.random.randrange(8 * BLOCK))
                content(self.store)
                self.flush()  # what was repaired
                self.rebuild()
                return


@pytest.mark.parametrize("seed", range(6))
def test_anything_happens_to_drives(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path / "names.db", seed)
    world.create()
    for _ in range(40):
        world.step()
    world.leaving.finish(world.crash)
    world.check()
    world.store.check()
    world.rack.close()
