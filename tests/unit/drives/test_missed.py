"""What was made while a drive was away is on it all the same, in copies that nobody believes or dead ones."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from seqstore import Now, Snapshot, Store, Tenant, Volume, audit
from seqstore._native.records import Scope
from seqstore.audit_records import AuditHead
from seqstore.database import Database
from seqstore.families import families
from tests.renewed import check, damage, make_heir, of_shared, turn_pages
from tests.several import BLOCK, Rack, legs
from tests.unit.drives.test_following import count, write

BLOCKS = 20


def complete(store: Store, drive: int, name: str) -> list[bool]:
    """What the statements say of something that was deleted from a drive."""
    found = [each for each in store._book._erasures(drive).all() if each.subject.name == name]
    return [store.statement(each).complete for each in found if each.state == "listed"]


@pytest.fixture
def away(rack: Rack) -> Rack:
    """A volume of two drives, of which the second is away."""
    tenant = rack.store.create_tenant("contoso")
    write(tenant.create_volume("volume", BLOCKS * BLOCK, copies=2, drive=0), "secret", 0, BLOCKS)
    rack.close()
    rack.open(without=[1])
    return rack


@pytest.fixture
def with_base(rack: Rack) -> Rack:
    """The same, with a snapshot of before, which the drive that is away knows as it is."""
    volume = rack.store.create_tenant("contoso").create_volume("volume", BLOCKS * BLOCK, copies=2, drive=0)
    write(volume, "secret", 0, BLOCKS)
    volume.snapshot("base")
    rack.close()
    rack.open(without=[1])
    return rack


def volume_of(rack: Rack) -> Volume:
    return rack.volume("volume")


def snapshot_of(rack: Rack) -> Snapshot:
    (snapshot,) = rack.store.tenants[0].snapshots
    return snapshot


def come_back(rack: Rack) -> Store:
    rack.close()
    return rack.open()


def test_a_snapshot_is_kept_by_the_copy_that_missed_it(away: Rack) -> None:
    volume_of(away).snapshot("monday")
    write(volume_of(away), "later", 0, BLOCKS)
    store = come_back(away)
    snapshot_of(away).delete()
    store._eraser.purge_drive(0, Scope.ALL, 0)
    store._book.update()
    assert count(store, "secret") == [0, BLOCKS]
    assert (complete(store, 0, "monday"), complete(store, 1, "monday")) == ([True], [False])
    store.purge()
    assert count(store, "secret") == [0, 0]
    assert complete(store, 1, "monday") == [True]


def test_a_snapshot_that_came_and_went_meanwhile(away: Rack) -> None:
    volume_of(away).snapshot("monday")
    write(volume_of(away), "later", 0, BLOCKS)
    snapshot_of(away).delete()
    store = come_back(away)
    assert count(store, "secret")[1] == BLOCKS
    assert complete(store, 1, "monday") == [False]
    store.purge()
    assert count(store, "secret") == [0, 0]
    assert complete(store, 1, "monday") == [True]


@pytest.mark.parametrize("kind", ["snapshot", "clone", "tenant"])
@pytest.mark.parametrize("is_back", [False, True])
def test_a_snapshot_of_before_shows_it_there(with_base: Rack, kind: str, is_back: bool) -> None:
    """What came and went while the drive was away showed what the snapshot of before shows on it, too."""
    find: dict[str, Callable[[], Snapshot | Volume | Tenant]] = {
        "snapshot": lambda: volume_of(with_base).find_snapshot("monday"),
        "clone": lambda: with_base.store.tenant("heir").volume("heir"),
        "tenant": lambda: with_base.store.tenant("heir"),
    }
    name = "monday" if kind == "snapshot" else "heir"
    monday = volume_of(with_base).snapshot("monday")
    if kind != "snapshot":
        monday.clone("heir", tenant=with_base.store.create_tenant("heir"))
        monday.delete()
    if not is_back:
        find[kind]().delete()
    store = come_back(with_base)
    if is_back:
        store._registry.placer.drop_stale(volume_of(with_base).number)  # as a purge of the volume does
        find[kind]().delete()
    assert complete(store, 1, name) == [False]
    volume_of(with_base).find_snapshot("base").delete()
    volume_of(with_base).delete()
    store._eraser.purge_drive(0, Scope.ALL, 0)
    store._book.update()
    assert count(store, "secret") == [0, BLOCKS]
    assert (complete(store, 0, name), complete(store, 1, name)) == ([True], [False])
    store.purge()
    assert count(store, "secret") == [0, 0]
    assert complete(store, 1, name) == [True]


@pytest.mark.parametrize("is_back", [False, True])
def test_a_clone_whose_volume_was_given_up_there(away: Rack, is_back: bool) -> None:
    """What it showed was written through the volume, and is dead on the drive that never had the clone."""
    clone = volume_of(away).snapshot("monday").clone("clone")
    snapshot_of(away).delete()
    volume_of(away).delete()
    if not is_back:
        clone.delete()
    store = come_back(away)
    if is_back:
        away.volume("clone").delete()
    assert count(store, "secret")[1] == BLOCKS
    assert complete(store, 1, "clone") == [False]
    store.purge()
    assert count(store, "secret") == [0, 0]
    assert complete(store, 1, "clone") == [True]


def test_a_range_that_is_known_here_by_the_name_of_an_heir(away: Rack) -> None:
    """The first drive, which is gone by then, knows its blocks by the volume that they come from."""
    middle = volume_of(away).snapshot("monday").clone("middle")
    last = middle.snapshot("tuesday")
    middle.delete()
    assert legs(last.clone("heir")) == [0]
    store = come_back(away)
    store.drives[1].fail("it clicks")
    away.add()
    store.rebuild()
    assert legs(away.volume("heir")) == [0, 2]
    away.close()
    store = away.open(without=[0])
    store.set_deletion(Now())
    away.volume("heir").trim(0, 5 * BLOCK)
    for drive in range(3):
        assert "range" in [each.subject.kind for each in store._book._erasures(drive).all()]


def test_the_end_of_the_log_is_looked_at_in_one_moment(rack: Rack) -> None:
    """No record that another thread writes down meanwhile makes it look cut off."""
    real, threads = audit._find_head, list[threading.Thread]()

    def find(database: Database) -> AuditHead | None:
        head = real(database)
        if not threads:
            threads.append(threading.Thread(target=rack.store.create_tenant, args=("contoso",)))
            threads[0].start()
            threads[0].join(0.3)
        return head

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit, "_find_head", find)
        rack.store.audit.verify_end()
    threads[0].join()
    assert [tenant.name for tenant in rack.store.tenants] == ["contoso"]


def test_families_are_sized_while_one_of_them_is_deleted(rack: Rack) -> None:
    volume = rack.store.create_tenant("contoso").create_volume("volume", BLOCKS * BLOCK, copies=2)
    write(volume, "secret", 0, BLOCKS)
    (family,) = families(rack.store._registry)
    assert family.blocks(0) == BLOCKS
    rack.store._registry._leave(volume)
    assert family.blocks(0) == 0


def test_a_crash_after_a_repair_puts_no_request_behind_the_log(rack: Rack) -> None:
    heir = make_heir(rack.store)
    turn_pages(rack.store)
    rack.store.flush()
    turn_pages(rack.store)  # which the crash takes back
    damage(rack.store, heir, 3, legs(heir)[0])
    heir.read(0, heir.size)
    rack.crash()
    store = rack.open()
    check(store)
    store.tenant("fabrikam").volume("heir").delete()
    store.purge()
    assert all(each.complete for each in of_shared(store))


def test_a_crash_after_a_deletion_puts_no_request_behind_the_log(rack: Rack) -> None:
    """The drive that it was moved off is asked for it, too, and nothing has to be durable there."""
    tenant = rack.store.create_tenant("contoso")
    volume = tenant.create_volume("v", BLOCKS * BLOCK, drive=1)
    write(volume, "secret", 0, BLOCKS)
    busy = tenant.create_volume("busy", BLOCKS * BLOCK, drive=1)
    (family,) = (one for one in families(rack.store._registry) if volume.number in one.numbers)
    rack.store._drive_keeper._movers.move_all([family], 1, None)
    rack.store.flush()
    for _ in range(3):
        write(busy, "unsafe", 0, BLOCKS)  # which the crash takes back
    volume.delete()
    rack.crash()
    store = rack.open()
    asked = [each for each in store._book.all() if each.subject.name == "v"]
    assert len(asked) == 2
    for _, evidence in store._book._members():
        (mine,) = [each for each in asked if each.id in {known.id for known in evidence.erasures.all()}]
        assert mine.requested_position <= evidence.position
    store.purge()
    assert all(store.statement(each).complete for each in asked)
