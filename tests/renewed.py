"""Volumes of two drives whose blocks somebody else keeps, and what lies of them on the media."""

from __future__ import annotations

from typing import Literal

from seqstore import MemoryMedium, Now, Snapshot, Store, Volume
from seqstore._native.records import Scope
from seqstore.engine_volume import EngineVolume
from seqstore.media.faults import FaultMedium
from seqstore.statement import Statement
from tests.several import BLOCK, SEGMENT

SEGMENTS = 48
CLONED = 12  # blocks
Kind = Literal["range", "volume", "tenant"]


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


def damage(store: Store, view: Volume | Snapshot, lba: int, drive: int = 0) -> int:
    """Let a block rot on a drive: the word in it stays. Return where that is."""
    for extent in engine_leg(view, drive)._extents(0):
        if 0 <= lba - int(extent["lba"]) < int(extent["count"]):
            mba, medium = int(extent["mba"]) + lba - int(extent["lba"]), store.drives[drive].medium
            if isinstance(medium, FaultMedium):
                medium.drive.rot(mba, 8 * BLOCK - 1)
                return mba
            assert isinstance(medium, MemoryMedium)
            medium.overwrite(mba, bytes(medium.read(mba, 1))[:-1] + b"!")
            return mba
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
        store.set_deletion(Now(), volume)
        volume.trim(0, CLONED * BLOCK)
    else:
        volume.delete()
    if kind == "tenant":
        owner.delete()
    return heir


def make_both(store: Store) -> tuple[Volume, Volume]:
    """Make a volume and a clone of it that shows the same, on two drives."""
    volume = store.create_tenant("contoso").create_volume("volume", CLONED * BLOCK, copies=2)
    write(volume, "shared")
    snapshot = volume.snapshot("monday")
    heir = snapshot.clone("heir", tenant=store.create_tenant("fabrikam"))
    snapshot.delete()
    return volume, heir


def of_shared(store: Store) -> list[Statement]:
    """The statements of what was deleted of the volume."""
    found = [each for each in store.erasures if each.state == "listed" and each.subject.name != "heir"]
    assert found
    return [store.statement(erasure) for erasure in found]


def turn_pages(store: Store) -> None:
    """Let what comes next lie in other segments than what there is: those go as a whole."""
    weights = [each for each in store.tenant("fabrikam").volumes if each.name == "weight"]
    weight = (
        weights[0] if weights else store.tenant("fabrikam").create_volume("weight", 3 * SEGMENT, copies=2)
    )
    weight.write(0, b"w" * weight.size)


def purge_of_volume(store: Store) -> None:
    """Write over what the volume left, and not over what the heir did."""
    for drive in store.drives:
        store._eraser.purge_drive(drive.number, Scope.TENANT, 1)
    store._book.update()


def check(store: Store) -> None:
    """Compare the statements of what was deleted with the raw drives, each subject by itself."""
    is_complete: dict[str, bool] = {}
    for each in of_shared(store):
        kind = each.document["subject"]["kind"]
        is_complete[kind] = is_complete.get(kind, True) and each.complete
    assert not (any(lying(store, "shared")) and any(is_complete.values())), is_complete
