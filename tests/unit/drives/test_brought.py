"""Clones take along what is deleted later, and was deleted in part before: no statement forgets that."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqstore import Now, Store, Tenant, Volume
from seqstore.statement import Statement
from tests.several import BLOCK, SEGMENT, SIZES, legs
from tests.unit.drives.test_following import CLONED, SEGMENTS, count, move, write


def make_heir(of: Tenant, heir: Tenant, *, with_volume: bool) -> Volume:
    """Make a clone of another tenant, on drive 0; the snapshot goes, and the volume if it is to."""
    volume = of.create_volume("volume", CLONED * BLOCK, drive=0)
    write(volume, "shared", 0, CLONED)
    snapshot = volume.snapshot("monday")
    clone = snapshot.clone("heir", tenant=heir)
    snapshot.delete()
    if with_volume:
        volume.delete()
    return clone


def of_last(store: Store, kind: str) -> dict[int, Statement]:
    """The statements of the deletion of something, by drive."""
    found = [each for each in store.erasures if each.subject.kind == kind and each.state == "listed"]
    statements = [store.statement(each) for each in found]
    return {each.document["drive"]["number"]: each for each in statements}


@pytest.mark.parametrize("with_volume", [False, True], ids=["volume moved along", "volume was deleted"])
@pytest.mark.parametrize("kind", ["tenant", "volume"])
def test_a_clone_that_moved_keeps_what_is_deleted_then(with_volume: bool, kind: str) -> None:
    if with_volume and kind == "volume":
        return
    with Store.memory(SEGMENTS * SEGMENT, evidence=True, **SIZES) as store:
        store.add_drive(SEGMENTS * SEGMENT)
        contoso, fabrikam = store.create_tenant("contoso"), store.create_tenant("fabrikam")
        heir = make_heir(contoso, fabrikam, with_volume=with_volume)
        move(store, heir, 1)
        if kind == "tenant":
            contoso.delete()
        else:
            contoso.volume("volume").delete()
        store.purge()
        assert count(store, "shared") == [0, CLONED]
        found = of_last(store, kind)
        assert {drive: each.complete for drive, each in found.items()} == {0: True, 1: False}
        (keeper,) = found[1].document["kept"]
        assert (keeper["name"], keeper["blocks"]) == ("heir", CLONED)
        write(heir, "later", 0, CLONED)
        assert not of_last(store, kind)[1].complete
        store.purge()
        assert count(store, "shared") == [0, 0]
        assert all(each.complete for each in of_last(store, kind).values())


def test_what_is_dead_there_already_is_listed() -> None:
    with Store.memory(SEGMENTS * SEGMENT, evidence=True, **SIZES) as store:
        store.add_drive(SEGMENTS * SEGMENT)
        contoso, fabrikam = store.create_tenant("contoso"), store.create_tenant("fabrikam")
        heir = make_heir(contoso, fabrikam, with_volume=True)
        move(store, heir, 1)
        heir.delete()
        contoso.delete()
        assert count(store, "shared")[1] == CLONED
        assert of_last(store, "tenant")[1].document["totals"]["pending"] >= CLONED
        store.purge()
        assert all(each.complete for each in of_last(store, "tenant").values())


def test_to_a_drive_that_was_away(tmp_path: Path) -> None:
    path, aside = tmp_path / "lab.store", tmp_path / "aside.img"
    with Store.create(path, SEGMENTS * SEGMENT, **SIZES) as store:
        store.add_drive(SEGMENTS * SEGMENT)
        contoso, fabrikam = store.create_tenant("contoso"), store.create_tenant("fabrikam")
        move(store, make_heir(contoso, fabrikam, with_volume=True), 1)
    (path / "drives" / "1.img").rename(aside)
    with Store.open(path, missing="go on") as store:
        store.tenant("contoso").delete()
        (away,) = [
            each for each in store.erasures if each.subject.kind == "tenant" and each.id in away_ids(store)
        ]
        assert not store.statement(away).complete
    aside.rename(path / "drives" / "1.img")
    with Store.open(path) as store:
        store.purge()
        assert count(store, "shared") == [0, CLONED]
        assert not of_last(store, "tenant")[1].complete
        store.tenant("fabrikam").delete()
        store.purge()
        assert count(store, "shared") == [0, 0]
        assert all(each.complete for each in of_last(store, "tenant").values())


def away_ids(store: Store) -> set[int]:
    return {each.id for each in store.erasures if "unreachable_drive" in each.request.details}


def make_cousins(store: Store) -> tuple[Volume, Volume]:
    """Two clones of what was deleted, which share all of its blocks; the second one is alone on drive 1."""
    tenant = store.create_tenant("contoso")
    volume = tenant.create_volume("volume", CLONED * BLOCK, drive=0)
    write(volume, "shared", 0, CLONED)
    first, second = volume.snapshot("monday"), volume.snapshot("tuesday")
    middle, heir = first.clone("middle"), second.clone("heir")
    for each in (first, second, volume):
        each.delete()
    write(middle, "other", 0, 10)
    move(store, heir, 1)
    assert (legs(middle), legs(heir)) == ([0], [1])
    return middle, heir


def complete_of(store: Store, name: str) -> dict[int, bool]:
    """What the statements say of the deletion of something, by drive."""
    found = [each for each in store.erasures if (each.subject.name, each.state) == (name, "listed")]
    statements = [store.statement(each) for each in found]
    return {each.document["drive"]["number"]: each.complete for each in statements}


@pytest.mark.invariant("I6")
@pytest.mark.parametrize("kind", ["snapshot", "volume", "range"])
def test_of_a_cousin_that_shows_the_same(kind: str) -> None:
    """Blocks that were written through neither; no log knows that they are the same."""
    with Store.memory(SEGMENTS * SEGMENT, evidence=True, **SIZES) as store:
        store.add_drive(SEGMENTS * SEGMENT)
        middle, heir = make_cousins(store)
        if kind == "snapshot":
            snapshot = middle.snapshot("wednesday")
            middle.trim(0, middle.size)
            snapshot.delete()
        elif kind == "volume":
            middle.delete()
        else:
            store.set_deletion(Now())
            middle.trim(20 * BLOCK, 10 * BLOCK)
        store.purge()
        assert count(store, "shared") == [10 if kind == "range" else 0, CLONED]
        name = {"snapshot": "wednesday", "volume": "middle"}.get(kind, "")
        assert complete_of(store, name) == {0: True, 1: False}
        (keeper,) = of_last(store, kind)[1].document["kept"]
        # What the cousin had written over before is no part of it.
        assert (keeper["name"], keeper["blocks"]) == ("heir", 10 if kind == "range" else CLONED - 10)
        first = 20 if kind == "range" else 10
        heir.trim(first * BLOCK, heir.size - first * BLOCK)
        store.purge()
        assert complete_of(store, name) == {0: True, 1: True}


def test_of_a_cousin_that_shows_nothing_of_it() -> None:
    with Store.memory(SEGMENTS * SEGMENT, evidence=True, **SIZES) as store:
        store.add_drive(SEGMENTS * SEGMENT)
        middle, _ = make_cousins(store)
        write(middle, "other", 0, CLONED)
        middle.delete()
        assert complete_of(store, "middle") == {0: False}


@pytest.mark.invariant("I6")
def test_of_a_snapshot_made_after_its_volume_had_moved() -> None:
    """What the move left behind was written through the volume, and is a copy of what the snapshot showed."""
    with Store.memory(SEGMENTS * SEGMENT, evidence=True, **SIZES) as store:
        store.add_drive(SEGMENTS * SEGMENT)
        volume = store.create_tenant("contoso").create_volume("volume", CLONED * BLOCK, drive=0)
        write(volume, "shared", 0, CLONED)
        move(store, volume, 1)
        snapshot = volume.snapshot("monday")
        write(volume, "later", 0, CLONED)
        snapshot.delete()
        store._eraser.purge_drive(1, *store._scope(None))
        assert count(store, "shared") == [CLONED, 0]
        assert {drive: each.complete for drive, each in of_last(store, "snapshot").items()} == {
            0: False,
            1: True,
        }
        store.purge()
        assert all(each.complete for each in of_last(store, "snapshot").values())


@pytest.mark.invariant("I6")
@pytest.mark.parametrize("name", ["middle", "wednesday"])
def test_to_a_drive_that_was_away_by_a_cousin(tmp_path: Path, name: str) -> None:
    path, aside = tmp_path / "lab.store", tmp_path / "aside.img"
    with Store.create(path, SEGMENTS * SEGMENT, **SIZES) as store:
        store.add_drive(SEGMENTS * SEGMENT)
        middle, _ = make_cousins(store)
        middle.snapshot("wednesday")
    (path / "drives" / "1.img").rename(aside)
    with Store.open(path, missing="go on") as store:
        tenant = store.tenant("contoso")
        tenant.volume("middle").delete()
        tenant.snapshots[0].delete()
    aside.rename(path / "drives" / "1.img")
    with Store.open(path) as store:
        store.purge()
        assert count(store, "shared") == [0, CLONED]
        assert complete_of(store, name) == {0: True, 1: False}
        store.tenant("contoso").volume("heir").delete()
        store.purge()
        assert count(store, "shared") == [0, 0]
        assert complete_of(store, name) == {0: True, 1: True}
