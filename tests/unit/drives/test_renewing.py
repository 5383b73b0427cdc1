"""What is written anew for a keeper of something deleted is followed: no statement is complete before that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest

from seqstore import Snapshot, Store, Volume
from seqstore._native.records import Scope
from seqstore.engine_volume import EngineVolume
from seqstore.statement import Statement
from tests.several import BLOCK, SEGMENT, SIZES, legs

SEGMENTS = 48
CLONED = 12  # blocks
Kind = Literal["range", "volume", "tenant"]


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.memory(SEGMENTS * SEGMENT, evidence=True, **SIZES) as store:
        store.add_drive(SEGMENTS * SEGMENT)
        yield store
        store.check()


def rows(word: str, first: int, count: int) -> bytes:
    return b"".join(f"{word} {lba:04d} ".encode().ljust(BLOCK, b"#") for lba in range(first, first + count))


def write(volume: Volume, word: str, first: int = 0, count: int = CLONED) -> None:
    volume.write(first * BLOCK, rows(word, first, count))


def lying(store: Store, word: str, lba: int | None = None) -> list[int]:
    """How many blocks of a word lie on each drive, by a search of all of its bytes."""
    wanted = f"{word} 0".encode() if lba is None else f"{word} {lba:04d} ".encode()
    media = [drive.medium if drive.in_use else drive.require_idle() for drive in store.drives]
    return [bytes(medium.read(0, medium.blocks)).count(wanted) for medium in media if medium]


def engine_leg(view: Volume | Snapshot, drive: int) -> EngineVolume:
    (found,) = [leg.view for leg in view._route.legs if leg.drive == drive]
    assert isinstance(found, EngineVolume)
    return found


def damage(store: Store, view: Volume | Snapshot, lba: int, drive: int = 0) -> None:
    """Let a block rot on a drive."""
    for extent in engine_leg(view, drive)._extents(0):
        if 0 <= lba - int(extent["lba"]) < int(extent["count"]):
            store.drives[drive].medium.overwrite(  # type: ignore[union-attr]
                int(extent["mba"]) + lba - int(extent["lba"]), b"\xff" * BLOCK
            )
            return
    raise AssertionError(f"lba {lba} is unwritten")


def make_heir(store: Store, kind: Kind = "volume") -> Volume:
    """Make a clone that alone shows what was deleted, on two drives."""
    owner = store.create_tenant("contoso")
    volume = owner.create_volume("volume", CLONED * BLOCK, copies=2)
    write(volume, "shared")
    snapshot = volume.snapshot("monday")
    heir = snapshot.clone("heir", tenant=store.create_tenant("fabrikam"))
    snapshot.delete()
    if kind == "range":
        volume.trim(0, CLONED * BLOCK)
    else:
        volume.delete()
    if kind == "tenant":
        owner.delete()
    return heir


def of_shared(store: Store) -> list[Statement]:
    """The statements of what was deleted of the volume."""
    return [
        store.statement(erasure)
        for erasure in store.erasures
        if erasure.state == "listed" and "heir" not in (erasure.subject.name, erasure.subject.kind)
        if erasure.subject.kind in ("range", "volume", "tenant") and erasure.subject.name != "heir"
    ]


def turn_pages(store: Store) -> None:
    """Let what comes next lie in other segments than what there is: those go as a whole."""
    weight = store.tenant("fabrikam").create_volume("weight", 3 * SEGMENT, copies=2)
    weight.write(0, bytes(weight.size))


def purge_of_volume(store: Store) -> None:
    """Write over what the volume left, and not over what the heir did."""
    for drive in store.drives:
        store._eraser.purge_drive(drive.number, Scope.TENANT, 1)
    store._book.update()


def check(store: Store) -> None:
    """Compare the statements with the raw drives."""
    is_there = any(lying(store, "shared"))
    assert not (is_there and all(each.complete for each in of_shared(store))), lying(store, "shared")


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
            assert lying(store, "shared") == [CLONED, CLONED]
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
