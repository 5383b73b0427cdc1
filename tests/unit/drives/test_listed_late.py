"""Copies that cannot be listed when they are left behind, since a drive is away or does not answer: later."""

from __future__ import annotations

from typing import Any

import pytest

from seqstore import MediumError, Now, Store, Tenant, Volume
from seqstore.clock import ManualClock
from seqstore.engine_deletion import DriveDeletion
from seqstore.engine_volume import EngineVolume
from tests.several import BLOCK, SEGMENT, SIZES, Rack
from tests.unit.drives.test_following import count, write

BLOCKS = 30


def states(store: Store, drive: int, kind: str) -> list[str]:
    """Of the erasures on a drive that happened."""
    found = store._book._erasures(drive).all()
    return [each.state for each in found if each.subject.kind == kind and each.state != "abandoned"]


def complete(store: Store, drive: int, kind: str) -> list[bool]:
    """What the statements say of what was deleted there."""
    found = [each for each in store._book._erasures(drive).all() if each.subject.kind == kind]
    return [store.statement(each).complete for each in found if each.state == "listed"]


class TestSnapshotsOfADriveThatWasAway:
    @pytest.fixture
    def snapped(self, rack: Rack) -> Rack:
        """A snapshot on two drives that alone shows a part of what it shows."""
        tenant = rack.store.create_tenant("contoso")
        volume = tenant.create_volume("volume", BLOCKS * BLOCK, copies=2)
        write(volume, "secret", 0, BLOCKS)
        volume.snapshot("monday")
        write(volume, "later", 0, 20)
        return rack

    @staticmethod
    def delete_without(rack: Rack, victim: int) -> None:
        rack.store.close()
        (snapshot,) = rack.open(without=[victim]).tenants[0].snapshots
        snapshot.delete()
        assert states(rack.store, victim, "snapshot") == ["requested"]
        rack.store.close()

    @pytest.mark.invariant("I6")
    @pytest.mark.parametrize("victim", [0, 1])
    def test_are_listed_when_it_is_back(self, snapped: Rack, victim: int) -> None:
        self.delete_without(snapped, victim)
        store = snapped.open()
        assert states(store, victim, "snapshot") == ["listed"]
        (erasure,) = [each for each in store._book._erasures(victim).all() if each.state == "listed"]
        document = store.statement(erasure).document
        assert document["totals"]["pending"] >= 20
        # The copy of the volume has missed nothing and is not believed: it shows the rest.
        assert [(keeper["name"], keeper["blocks"]) for keeper in document["kept"]] == [("volume", 10)]
        store._eraser.purge_drive(victim, *store._scope(None))
        assert count(store, "secret")[victim] == 10
        assert complete(store, victim, "snapshot") == [False]
        snapped.volume("volume").delete()
        store.purge()
        assert count(store, "secret") == [0, 0]
        assert complete(store, victim, "snapshot") == [True]

    def test_with_a_clone_that_keeps_all_of_it(self, snapped: Rack) -> None:
        snapped.store.tenants[0].snapshots[0].clone("heir")
        self.delete_without(snapped, 1)
        store = snapped.open()
        (erasure,) = [each for each in store._book._erasures(1).all() if each.state == "listed"]
        keepers = {keeper["name"]: keeper["blocks"] for keeper in store.statement(erasure).document["kept"]}
        assert keepers == {"heir": BLOCKS, "volume": 10}

    def test_after_another_crash(self, snapped: Rack) -> None:
        """It is asked for anew before the log forgets the snapshot, and listed by whoever opens it then."""
        self.delete_without(snapped, 1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("seqstore.resuming.Resuming.resume", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                snapped.open()
        snapped.abandon()
        store = snapped.open()
        assert states(store, 1, "snapshot") == ["listed"]
        (erasure,) = [each for each in store._book._erasures(1).all() if each.state == "listed"]
        assert [keeper["name"] for keeper in store.statement(erasure).document["kept"]] == ["volume"]

    def test_of_one_that_had_moved_away(self, rack: Rack) -> None:
        """All of its family had gone, so that nobody shows anything of it there."""
        tenant = rack.store.create_tenant("contoso")
        volume = tenant.create_volume("volume", BLOCKS * BLOCK, drive=0)
        write(volume, "secret", 0, BLOCKS)
        volume.snapshot("monday")
        write(tenant.create_volume("weight", 4 * BLOCKS * BLOCK, drive=0), "weight", 0, 4 * BLOCKS)
        assert rack.store.rebalance() == 1
        (snapshot,) = tenant.snapshots
        assert [leg.drive for leg in snapshot._route.legs] == [1]
        rack.store.close()
        (snapshot,) = rack.open(without=[0]).tenants[0].snapshots
        snapshot.delete()
        rack.store.close()
        store = rack.open()
        assert count(store, "secret")[0] == BLOCKS
        assert complete(store, 0, "snapshot") == [False]
        store.purge()
        assert count(store, "secret")[0] == 0
        assert complete(store, 0, "snapshot") == [True]


class Silent:
    """Lets drives not say what residue they have, as long as that is asked for."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.is_silent, self.asked = False, 0
        real = DriveDeletion.residue

        def residue(deletion: DriveDeletion, scope: Any, number: int) -> Any:
            if self.is_silent:
                self.asked += 1
                raise MediumError("residue: the medium does not answer")
            return real(deletion, scope, number)

        patch.setattr(DriveDeletion, "residue", residue)


class TestDrivesThatDoNotAnswer:
    @pytest.fixture
    def store(self) -> Any:
        options: Any = {**SIZES, "clock": ManualClock(10**18)}
        with Store.memory(48 * SEGMENT, evidence=True, **options) as store:
            store.add_drive(48 * SEGMENT)
            yield store

    @pytest.fixture
    def silent(self, monkeypatch: pytest.MonkeyPatch) -> Silent:
        return Silent(monkeypatch)

    @staticmethod
    def make(tenant: Tenant, name: str) -> Volume:
        volume = tenant.create_volume(name, BLOCKS * BLOCK, copies=2)
        write(volume, name, 0, BLOCKS)
        return volume

    @pytest.mark.parametrize("then", ["purge", "scrub", "idle", "statement", "delete"])
    def test_are_asked_again_by_what_comes_next(
        self, store: Store, tenant: Tenant, silent: Silent, then: str
    ) -> None:
        first, second = self.make(tenant, "first"), self.make(tenant, "second")
        silent.is_silent = True
        first.delete()  # is done, and said to be
        assert (silent.asked, states(store, 0, "volume")) == (2, ["requested"])
        assert "does not answer" in str(store.deletion_failure)
        store.idle(1)
        assert states(store, 1, "volume") == ["requested"]
        silent.is_silent = False
        if then == "purge":
            store.purge()
        elif then == "delete":
            second.delete()
        elif then == "statement":
            assert not store.statement(1).complete
        else:
            store.scrub() if then == "scrub" else store.idle(1)
        assert states(store, 0, "volume")[0] == states(store, 1, "volume")[0] == "listed"
        assert store.deletion_failure is None
        store.purge()
        assert count(store, "first") == [0, 0]
        assert complete(store, 0, "volume")[0]
        assert complete(store, 1, "volume")[0]

    @pytest.mark.invariant("I5")
    def test_keep_nothing_from_being_written_over(self, store: Store, tenant: Tenant, silent: Silent) -> None:
        """What is promised is kept, and said when it can be."""
        store.set_deletion(Now())
        volume = self.make(tenant, "first")
        silent.is_silent = True
        volume.delete()
        assert count(store, "first") == [0, 0]
        silent.is_silent = False
        assert [store.statement(number).complete for number in (1, 2)] == [True, True]

    def test_and_are_taken_out_of_service_then(self, store: Store, tenant: Tenant, silent: Silent) -> None:
        volume = self.make(tenant, "first")
        silent.is_silent = True
        volume.delete()
        store.drives[1].fail("it does not answer")
        silent.is_silent = False
        store.purge()
        assert (states(store, 0, "volume"), states(store, 1, "volume")) == (["listed"], ["requested"])
        assert not store.statement(2).complete
        assert store.deletion_failure is None


def test_a_copy_that_refused_a_trim_is_listed_when_it_is_given_up(rack: Rack) -> None:
    store = rack.store
    store.set_deletion(Now())
    volume = store.create_tenant("contoso").create_volume("v", BLOCKS * BLOCK, copies=2)
    write(volume, "secret", 0, BLOCKS)
    store.flush()
    real, views = EngineVolume._change, [leg.view for leg in volume._route.legs]

    def refuse(view: EngineVolume, *arguments: Any, **named: Any) -> None:
        if view is views[1]:
            raise MediumError("trim: the medium does not answer")
        real(view, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EngineVolume, "_change", refuse)
        volume.trim(0, 10 * BLOCK)
    assert count(store, "secret") == [BLOCKS - 10, BLOCKS]
    assert (states(store, 0, "range"), states(store, 1, "range")) == (["listed"], ["requested"])
    store.purge()
    assert count(store, "secret") == [BLOCKS - 10, 0]
    assert (complete(store, 0, "range"), complete(store, 1, "range")) == ([True], [True])
