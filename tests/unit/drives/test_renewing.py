"""What is written anew for a keeper of deleted blocks is followed: no statement is complete before that."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seqstore import Deadline, Lap, MemoryMedium, Now, Store, Volume
from seqstore._native.records import Scope
from seqstore.engine_mirror import Mirror
from seqstore.evidence import Evidence
from seqstore.renewing import Renewer
from seqstore.statement import Statement
from tests.renewed import (
    CLONED,
    SEGMENTS,
    Kind,
    check,
    damage,
    engine_leg,
    lying,
    make_both,
    make_heir,
    of_shared,
    purge_of_volume,
    rows,
    turn_pages,
    write,
)
from tests.several import BLOCK, SEGMENT, SIZES, Rack, legs


class DiedError(Exception):
    """It ends here."""


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.memory(SEGMENTS * SEGMENT, evidence=True, **SIZES) as store:
        store.add_drive(SEGMENTS * SEGMENT)
        yield store
        store.check()


class TestRepairs:
    @pytest.mark.parametrize("kind", ["range", "volume", "tenant"])
    @pytest.mark.parametrize("drive", [0, 1])
    def test_after_the_deletion(self, store: Store, kind: Kind, drive: int) -> None:
        heir = make_heir(store, kind)
        turn_pages(store)
        damage(store, heir, 3, drive)
        assert heir.read(0, heir.size) == rows("shared", 0, CLONED)
        if drive == 0:
            assert engine_leg(heir, 0).read(0, heir.size) == rows("shared", 0, CLONED)
            assert lying(store, "shared") == [CLONED + 1, CLONED]
        heir.trim(0, heir.size)
        purge_of_volume(store)
        assert lying(store, "shared", 3)[0] == (drive == 0)
        check(store)
        store.purge()
        assert lying(store, "shared") == [0, 0]
        assert all(each.complete for each in of_shared(store))

    def test_before_the_deletion(self, store: Store) -> None:
        owner = store.create_tenant("contoso")
        volume = owner.create_volume("volume", CLONED * BLOCK, copies=2, drive=0)
        write(volume, "shared")
        snapshot = volume.snapshot("monday")
        heir = snapshot.clone("heir", tenant=store.create_tenant("fabrikam"))
        turn_pages(store)
        damage(store, heir, 3)
        assert heir.read(0, heir.size) == rows("shared", 0, CLONED)
        snapshot.delete()
        volume.delete()
        heir.trim(0, heir.size)
        purge_of_volume(store)
        assert lying(store, "shared") == [1, 0]
        check(store)
        store.purge()
        assert lying(store, "shared") == [0, 0]
        assert all(each.complete for each in of_shared(store))

    def test_what_is_overwritten_then_is_listed(self, store: Store) -> None:
        """The names of what was written anew are not those of what is written there later."""
        heir = make_heir(store)
        turn_pages(store)
        damage(store, heir, 3)
        assert heir.read(0, heir.size) == rows("shared", 0, CLONED)
        write(heir, "later")
        found = of_shared(store)
        assert [entry for each in found for entry in each.document["kept"]] == []
        assert not any(each.complete for each in found)
        purge_of_volume(store)
        assert lying(store, "shared") == [1, 0]
        check(store)
        store.purge()
        assert all(each.complete for each in of_shared(store))
        assert heir.read(0, heir.size) == rows("later", 0, CLONED)

    def test_where_somebody_else_has_the_lock(self, store: Store) -> None:
        """Then no snapshot is taken, and the heir's own writes count as what they replace."""
        heir = make_heir(store)
        turn_pages(store)
        damage(store, heir, 3)
        renewer, lock = store._registry.placer.renewer, threading.Lock()
        assert renewer is not None
        with pytest.MonkeyPatch.context() as patch, lock:
            patch.setattr(renewer, "_lock", lock)
            assert heir.read(0, heir.size) == rows("shared", 0, CLONED)
        write(heir, "later")
        purge_of_volume(store)
        assert lying(store, "shared") == [1, 0]
        check(store)
        heir.delete()
        store.purge()
        assert all(each.complete for each in of_shared(store))

    def test_again_and_again(self, store: Store) -> None:
        """Each copy is the one that is read once; whose the block was is not forgotten on the way."""
        volume = store.create_tenant("contoso").create_volume("volume", CLONED * BLOCK, copies=2)
        write(volume, "shared")
        snapshot = volume.snapshot("monday")
        heir = snapshot.clone("heir", tenant=store.create_tenant("fabrikam"))
        turn_pages(store)
        for drive in legs(heir) * 2:
            damage(store, heir, 3, drive)
            leg = engine_leg(heir, drive)
            mirror = heir._route.mirror
            assert mirror is not None
            mirror.legs.sort(key=lambda each: each.drive != drive)
            assert heir.read(0, heir.size) == rows("shared", 0, CLONED) == leg.read(0, heir.size)
        volume.delete()
        for statement in (each for each in of_shared(store) if each.document["subject"]["kind"] == "volume"):
            kept = {entry["name"]: entry["blocks"] for entry in statement.document["kept"]}
            assert kept == {"monday": CLONED, "heir": CLONED}
        snapshot.delete()
        heir.trim(0, heir.size)
        purge_of_volume(store)
        assert lying(store, "shared", 3) == [2, 2]
        check(store)
        store.purge()
        assert all(each.complete for each in of_shared(store))

    def test_what_was_overwritten_before_the_deletion(self, store: Store) -> None:
        """It is dead by then, and was written through the heir."""
        volume = store.create_tenant("contoso").create_volume("volume", CLONED * BLOCK, copies=2)
        write(volume, "shared")
        snapshot = volume.snapshot("monday")
        heir = snapshot.clone("heir", tenant=store.create_tenant("fabrikam"))
        turn_pages(store)
        drive = legs(heir)[0]
        damage(store, heir, 3, drive)
        assert heir.read(0, heir.size) == rows("shared", 0, CLONED)
        write(heir, "later")
        volume.delete()
        snapshot.delete()
        purge_of_volume(store)
        assert lying(store, "shared", 3)[drive] == 1
        check(store)
        store.purge()
        assert all(each.complete for each in of_shared(store))

    def test_the_heir_is_deleted_first(self, store: Store) -> None:
        """What it shows is the volume's still, though each has a block of its own."""
        volume, heir = make_both(store)
        damage(store, heir, 3, legs(heir)[0])
        assert heir.read(0, heir.size) == rows("shared", 0, CLONED)
        heir.delete()
        found = [store.statement(each) for each in store.erasures if each.subject.name == "heir"]
        kept = [[(entry["name"], entry["blocks"]) for entry in each.document["kept"]] for each in found]
        assert kept == [[("volume", CLONED)]] * 2
        volume.delete()
        store.purge()
        assert all(store.statement(each).complete for each in store.erasures)

    def test_before_a_write_of_a_part(self, store: Store) -> None:
        heir = make_heir(store)
        turn_pages(store)
        drive = legs(heir)[0]
        damage(store, heir, 3, drive)
        heir.write(3 * BLOCK + 400, b"mine")
        heir.trim(0, heir.size)
        purge_of_volume(store)
        medium = store.drives[drive].medium
        assert medium is not None
        assert bytes(medium.read(0, medium.blocks)).count(rows("shared", 3, 1)) == 1
        check(store)
        store.purge()
        assert all(each.complete for each in of_shared(store))

    @pytest.mark.parametrize("strategy", [Lap(), Deadline(laps=3), Now()])
    def test_strategies(self, store: Store, strategy: Lap | Deadline | Now) -> None:
        heir = make_heir(store)
        store.set_deletion(strategy)
        turn_pages(store)
        damage(store, heir, 3)
        assert heir.read(0, heir.size) == rows("shared", 0, CLONED)
        check(store)
        heir.trim(0, heir.size)
        check(store)
        for _ in range(8):
            for _ in range(SEGMENTS // 6):
                turn_pages(store)
            check(store)
        assert lying(store, "shared") == [0, 0]
        found = of_shared(store)
        assert all(each.complete for each in found)
        assert not any(each.document["totals"]["late"] for each in found)

    def test_what_its_own_volume_wrote_needs_no_record(self, store: Store) -> None:
        volume = store.create_tenant("contoso").create_volume("volume", CLONED * BLOCK, copies=2)
        write(volume, "shared")
        damage(store, volume, 3)
        assert volume.read(0, volume.size) == rows("shared", 0, CLONED)
        assert engine_leg(volume, 0).read(0, volume.size) == rows("shared", 0, CLONED)
        assert "blocks renewed" not in {record.act for record in store.audit}


def make_rack(folder: Path) -> tuple[Rack, Volume]:
    """The same on drives that can be taken away, and everything safe on them."""
    rack = Rack(folder / "names.db")
    heir = make_heir(rack.store)
    turn_pages(rack.store)
    rack.store.flush()
    return rack, heir


def end(rack: Rack) -> None:
    """Let the heir go, then everything."""
    check(rack.store)
    heir = rack.store.tenant("fabrikam").volume("heir")
    heir.trim(0, heir.size)
    purge_of_volume(rack.store)
    check(rack.store)
    rack.store.purge()
    assert lying(rack.store, "shared") == [0, 0]
    assert all(each.complete for each in of_shared(rack.store))
    rack.close()


class TestCrashes:
    @pytest.mark.parametrize("step", ["_repair_block", "_freeze", "deleted"])
    def test_in_a_repair(self, tmp_path: Path, step: str) -> None:
        rack, heir = make_rack(tmp_path)
        drive = legs(heir)[0]
        damage(rack.store, heir, 3, drive)
        kind: type = {"_repair_block": Mirror, "_freeze": Renewer, "deleted": Evidence}[step]
        real = getattr(kind, step)

        def stop(*arguments: Any) -> None:
            if step != "deleted":
                real(*arguments)
            rack.store.flush()
            raise DiedError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kind, step, stop)
            with pytest.raises(DiedError):
                heir.read(0, heir.size)
            rack.crash()
        rack.open()
        heir = rack.store.tenant("fabrikam").volume("heir")
        assert heir.read(0, heir.size) == rows("shared", 0, CLONED)
        heir.trim(0, heir.size)
        purge_of_volume(rack.store)
        assert lying(rack.store, "shared", 3)[drive] == 1
        end(rack)

    @pytest.mark.parametrize("is_over", [False, True])
    def test_copies_that_are_made_equal(self, tmp_path: Path, is_over: bool) -> None:
        """A write came to the second copy alone, and was taken back there when the store was opened."""
        rack, heir = make_rack(tmp_path)
        first, second = legs(heir)
        rack.store._registry.placer.begin_changes(heir.number)
        engine_leg(heir, second).write(0, rows("later", 0, CLONED))
        heir._route.legs[1].engine.flush()
        if is_over:  # of the second drive all that was deleted is gone before that
            rack.store._eraser.purge_drive(second, Scope.TENANT, 1)
            of_shared(rack.store)
            assert lying(rack.store, "shared")[second] == 0
        rack.crash()
        rack.open()
        heir = rack.store.tenant("fabrikam").volume("heir")
        assert legs(heir) == [first, second]
        assert (
            heir.read(0, heir.size)
            == rows("shared", 0, CLONED)
            == engine_leg(heir, second).read(0, heir.size)
        )
        check(rack.store)
        turn_pages(rack.store)
        heir.trim(0, heir.size)
        purge_of_volume(rack.store)
        assert lying(rack.store, "shared")[second] >= CLONED
        check(rack.store)
        end(rack)

    def test_after_an_opening(self, tmp_path: Path) -> None:
        rack, heir = make_rack(tmp_path)
        drive = legs(heir)[0]
        damage(rack.store, heir, 3, drive)
        heir.read(0, heir.size)
        rack.store.close()
        rack.open()
        heir = rack.store.tenant("fabrikam").volume("heir")
        heir.trim(0, heir.size)
        purge_of_volume(rack.store)
        assert lying(rack.store, "shared", 3)[drive] == 1
        check(rack.store)
        rack.crash()
        rack.open()
        end(rack)

    def test_a_keeper_that_a_crash_brings_back(self, tmp_path: Path) -> None:
        """It is safe that it has let go before that is written down."""
        rack, heir = make_rack(tmp_path)
        write(heir, "later")
        for statement in of_shared(rack.store):
            assert statement.document["kept"] == []
        rack.crash()
        rack.open()
        check(rack.store)
        for drive in range(2):
            assert lying(rack.store, "later")[drive] == CLONED
        end(rack)


def _is_of(statement: Statement, drive: int, kind: str) -> bool:
    document = statement.document
    return (document["drive"]["number"], document["subject"]["kind"]) == (drive, kind)


@pytest.mark.parametrize("is_deleted", [False, True])
def test_what_was_written_anew_moves(store: Store, is_deleted: bool) -> None:
    """On the drive that it comes to it is followed, or known when its owner is deleted then."""
    owner = store.create_tenant("contoso")
    volume = owner.create_volume("volume", CLONED * BLOCK, copies=2)
    write(volume, "shared")
    snapshot = volume.snapshot("monday")
    heir = snapshot.clone("heir", tenant=store.create_tenant("fabrikam"))
    turn_pages(store)

    def let_go() -> None:
        snapshot.delete()
        volume.delete()

    if is_deleted:
        let_go()
    source = legs(heir)[0]
    mba = damage(store, heir, 3, source)
    assert heir.read(0, heir.size) == rows("shared", 0, CLONED)
    medium = store.drives[source].medium
    assert isinstance(medium, MemoryMedium)
    medium.overwrite(mba, rows("shared", 3, 1))  # or the volume itself could not be copied
    store.add_drive(SEGMENTS * SEGMENT)
    gone = legs(heir)[1]
    store.drives[gone].fail("it clicks")
    assert store.rebuild() > 0
    if not is_deleted:
        let_go()
    assert 2 in legs(heir)

    def on_it() -> list[Statement]:
        return [each for each in of_shared(store) if _is_of(each, 2, "volume")]

    kept = [(entry["name"], entry["blocks"]) for each in on_it() for entry in each.document["kept"]]
    assert {name for name, _ in kept} == {"heir"}
    assert sum(blocks for _, blocks in kept) == CLONED
    assert lying(store, "shared")[2] == CLONED + (not is_deleted)
    heir.trim(0, heir.size)
    assert not any(each.document["kept"] for each in on_it())
    store.purge()
    assert lying(store, "shared")[2] == 0
    assert all(each.complete for each in on_it())
