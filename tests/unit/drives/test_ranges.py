"""Ranges that were given up while a drive failed or was away: no statement forgets what shows them there."""

from __future__ import annotations

from contextlib import suppress

import pytest

from seqstore import MediumError, Now, Store, Volume
from seqstore.certificate_parts import Destruction, Person
from tests.several import BLOCK, Rack, legs
from tests.unit.drives.test_following import count, write

BLOCKS, GIVEN_UP = 30, 10
DESTRUCTION = Destruction(
    operator=Person(name="Ada Byron", role="technician", time_ns=0),
    witness=Person(name="Grace Murray", role="auditor", time_ns=0),
    how="shredded to 2 mm",
    reason="it is broken",
)
NEVER = 1 << 62  # operations


@pytest.fixture
def volume(rack: Rack) -> Volume:
    """A volume on two drives, of which deletions are at once."""
    rack.store.set_deletion(Now())
    volume = rack.store.create_tenant("contoso").create_volume("v", BLOCKS * BLOCK, copies=2)
    write(volume, "secret", 0, BLOCKS)
    rack.store.flush()
    return volume


def give_up_while_failing(rack: Rack, volume: Volume, victim: int) -> None:
    """The drive fails with the trim itself; the purge behind it fails as well, if there is anything to do."""
    rack.drives[victim].die()
    with suppress(MediumError):
        volume.trim(0, GIVEN_UP * BLOCK)
    assert legs(volume) == [1 - victim]


def give_up_while_away(rack: Rack, victim: int) -> None:
    rack.store.close()
    rack.open(without=[victim])
    rack.volume("v").trim(0, GIVEN_UP * BLOCK)


def come_back(rack: Rack, victim: int) -> Store:
    rack.abandon()
    rack.drives[victim].die(after=NEVER)
    return rack.open()


def states(store: Store, drive: int) -> list[str]:
    """Of the erasures of ranges on a drive that happened."""
    found = store._book._erasures(drive).all()
    return [each.state for each in found if each.subject.kind == "range" and each.state != "abandoned"]


def complete(store: Store, drive: int) -> list[bool]:
    """What the statements say of the ranges on a drive."""
    found = [each for each in store._book._erasures(drive).all() if each.subject.kind == "range"]
    return [store.statement(each).complete for each in found if each.state == "listed"]


def kept_by(store: Store, drive: int) -> list[str]:
    """Who shows the range on a drive."""
    found = [each for each in store._book._erasures(drive).all() if each.state == "listed"]
    return [keeper["kind"] for each in found for keeper in store.statement(each).document["kept"]]


@pytest.mark.parametrize("victim", [0, 1])
class TestADriveThatFails:
    @pytest.mark.invariant("I6")
    def test_and_works_again(self, rack: Rack, volume: Volume, victim: int) -> None:
        """Its copy has missed the trim: it shows what was given up, and is given up itself."""
        give_up_while_failing(rack, volume, victim)
        assert (states(rack.store, victim), states(rack.store, 1 - victim)) == (["requested"], ["listed"])
        # The other drive has done what was asked for, whichever was asked first.
        assert rack.drives[1 - victim].image().count(b"secret 0") == BLOCKS - GIVEN_UP
        store = come_back(rack, victim)
        store.purge()
        assert count(store, "secret")[victim] == 0
        assert count(store, "secret")[1 - victim] == BLOCKS - GIVEN_UP
        assert (complete(store, 0), complete(store, 1)) == ([True], [True])
        assert store.rebuild() == 1

    @pytest.mark.invariant("I6")
    def test_and_its_copy_cannot_be_given_up_yet(
        self, rack: Rack, volume: Volume, victim: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        give_up_while_failing(rack, volume, victim)
        with monkeypatch.context() as patch:
            patch.setattr("seqstore.placing.Placer.drop_stale", lambda *_: None)
            store = come_back(rack, victim)
        assert count(store, "secret")[victim] >= BLOCKS - GIVEN_UP
        assert (states(store, victim), complete(store, victim)) == (["requested"], [])

    def test_and_comes_to_its_end(self, rack: Rack, volume: Volume, victim: int) -> None:
        give_up_while_failing(rack, volume, victim)
        drive = rack.store.drives[victim]
        drive.fail("it is dead")
        assert states(rack.store, victim) == ["requested"]
        drive.destroy(DESTRUCTION)
        assert (states(rack.store, victim), complete(rack.store, victim)) == (["listed"], [True])

    def test_and_a_snapshot_keeps_it(self, rack: Rack, volume: Volume, victim: int) -> None:
        volume.snapshot("monday")
        rack.store.flush()
        give_up_while_failing(rack, volume, victim)
        store = come_back(rack, victim)
        assert count(store, "secret") == [BLOCKS, BLOCKS]
        assert (complete(store, 0), complete(store, 1)) == ([False], [False])
        assert kept_by(store, victim) == ["snapshot"]
        store.purge()  # gives up the copy of the snapshot, which is not believed either
        assert count(store, "secret")[victim] == 0
        assert (complete(store, victim), complete(store, 1 - victim)) == ([True], [False])
        store.tenants[0].snapshots[0].delete()
        assert (complete(store, 0), complete(store, 1)) == ([True], [True])


@pytest.mark.parametrize("victim", [0, 1])
class TestADriveThatIsAway:
    @pytest.mark.invariant("I6")
    def test_and_comes_back(self, rack: Rack, volume: Volume, victim: int) -> None:
        assert volume.blocks == BLOCKS
        give_up_while_away(rack, victim)
        assert states(rack.store, victim) == ["requested"]
        store = come_back(rack, victim)
        assert states(store, victim) == ["listed"]
        assert complete(store, victim) == [False]
        store.purge()
        assert (count(store, "secret")[victim], complete(store, victim)) == (0, [True])

    def test_and_comes_back_with_a_snapshot(self, rack: Rack, volume: Volume, victim: int) -> None:
        """What it keeps there is looked up when the drive is back."""
        volume.snapshot("monday")
        give_up_while_away(rack, victim)
        store = come_back(rack, victim)
        assert count(store, "secret")[victim] == BLOCKS
        assert complete(store, victim) == [False]
        assert kept_by(store, victim) == ["snapshot"]
        store.purge()
        assert (count(store, "secret")[victim], complete(store, victim)) == (0, [True])

    def test_and_comes_to_its_end(self, rack: Rack, volume: Volume, victim: int) -> None:
        assert volume.blocks == BLOCKS
        give_up_while_away(rack, victim)
        rack.store.drives[victim].fail("it is not coming back")
        rack.store.drives[victim].destroy(DESTRUCTION)
        assert (states(rack.store, victim), complete(rack.store, victim)) == (["listed"], [True])


def test_what_was_not_given_up_is_not_said_to_be(rack: Rack, volume: Volume) -> None:
    """A crash before the trim: of the drive that was away nothing was asked for yet."""
    assert volume.blocks == BLOCKS
    rack.store.close()
    store = rack.open(without=[1])

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seqstore.volume.Volume._trim", die)
        with pytest.raises(KeyboardInterrupt):
            rack.volume("v").trim(0, GIVEN_UP * BLOCK)
    store = come_back(rack, 1)
    assert (states(store, 0), states(store, 1)) == ([], [])
    assert rack.volume("v").read(0, 6) == b"secret"
