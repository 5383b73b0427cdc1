"""Clones take along what is deleted later, and was deleted in part before: no statement forgets that."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqstore import Store, Tenant, Volume
from seqstore.statement import Statement
from tests.several import BLOCK, SEGMENT, SIZES
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
