"""Bytes on drives that nobody can look at: never said to be none, and followed to the drive's end."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqstore import BlockState, InvariantError, Store, Tenant
from seqstore.certificate_parts import Destruction, Person
from seqstore.find import UNSEEN
from tests.several import BLOCK, CANARY, SEGMENT, Lost, Rack, fill

ADA = Person(name="Ada Byron", role="technician", time_ns=0)
GRACE = Person(name="Grace Murray", role="auditor", time_ns=0)


def states(store: Store) -> dict[int, str]:
    """The states of the tenant's erasures; on drives they are in this order."""
    return {erasure.id: erasure.state for erasure in store.erasures}


def assert_named(store: Store, tenant: int) -> None:
    """Expect all that tells of residue to name drive 1."""
    blocks = store.drives[1].blocks
    for owner in (tenant, None):
        found = store.remanence(owner)
        assert (found.blocks, found.nothing_left, found.most_blocks) == (0, False, blocks)
        (drive,) = found.uncounted
        assert (drive.drive, drive.most_blocks, drive.most_bytes) == (1, blocks, store.drives[1].capacity)
        assert drive.why == store.drives[1].why_not
        assert store.purge(owner).out_of_reach == (1,)
        (run,) = [run for run in store.find(owner) if run["drive"] == 1]
        assert (run["state"], run["mba"], run["count"]) == (UNSEEN, 0, blocks)


class TestADriveThatWasMissing:
    def test_is_named_before_and_after_it_failed(self, lost: Lost) -> None:
        store = lost.store
        assert_named(store, lost.number)
        # Nothing of theirs was ever placed there.
        other = store.tenant("fabrikam")
        assert store.remanence(other).nothing_left
        assert store.purge(other).out_of_reach == ()
        assert set(store.find(other)["drive"].tolist()) == {0}
        store.drives[1].fail("nobody knows where it is")
        assert_named(store, lost.number)
        assert states(store) == {1: "listed", 2: "requested"}
        store.close()
        lost.store = Store.open(lost.path)
        assert_named(lost.store, lost.number)

    def test_also_where_the_catalog_was_made_anew(self, lost: Lost) -> None:
        lost.store.drives[1].fail("nobody knows where it is")
        lost.store.close()
        lost.store = Store.open(lost.path, rebuild_catalog=True)
        assert_named(lost.store, lost.number)

    def test_ends_its_erasures_when_it_was_sanitized(self, lost: Lost) -> None:
        lost.store.drives[1].fail("it turned up again, and is not trusted")
        lost.plug()
        store = lost.store
        assert CANARY in lost.image.read_bytes()
        assert_named(store, lost.number)
        assert store.drives[1].sanitize(operator=ADA, verifier=GRACE).fulfilled
        assert CANARY not in lost.image.read_bytes()
        assert store.remanence().nothing_left
        assert store.purge().out_of_reach == ()
        assert set(store.find(lost.number)["drive"].tolist()) <= {0}
        assert states(store) == {1: "listed", 2: "listed"}
        acts = [record.act for record in store.audit]
        assert acts.index("sanitization finished") < len(acts) - 1 - acts[::-1].index("erasure finished")

    def test_ends_its_erasures_when_it_was_destroyed(self, lost: Lost) -> None:
        lost.store.drives[1].fail("it was found in pieces")
        destruction = Destruction(operator=ADA, witness=GRACE, how="shredded to 2 mm", reason="it is broken")
        lost.store.drives[1].destroy(destruction)
        assert lost.store.remanence().nothing_left
        assert states(lost.store) == {1: "listed", 2: "listed"}

    def test_ends_its_erasures_also_when_a_crash_came_before_that(
        self, lost: Lost, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lost.store.drives[1].fail("it was found in pieces")
        destruction = Destruction(operator=ADA, witness=GRACE, how="shredded to 2 mm", reason="it is broken")
        with monkeypatch.context() as patch:
            patch.setattr("seqstore.evidence_book.EvidenceBook.end_drive", lambda *_: 0)
            lost.store.drives[1].destroy(destruction)
        assert states(lost.store)[2] == "requested"
        lost.store.close()
        lost.store = Store.open(lost.path)
        assert states(lost.store) == {1: "listed", 2: "listed"}

    def test_asks_for_no_more_erasures_when_it_is_gone(self, lost: Lost) -> None:
        store = lost.store
        store.drives[1].fail("it was found in pieces")
        store.drives[1].destroy(Destruction(operator=ADA, witness=GRACE, how="shredded", reason="broken"))
        store.tenant("tailspin").delete()
        assert states(store) == {1: "listed", 2: "listed", 3: "listed"}


class TestADriveInUse:
    def test_whose_log_is_broken_is_named(self, store: Store, tenant: Tenant) -> None:
        """A count that cannot be made is not one of 0."""
        store.add_drive(64 * SEGMENT)
        volume = tenant.create_volume("v", 5 * BLOCK, drive=1)
        fill(volume, 1)
        number = tenant.number

        def broken(*_: object) -> None:
            raise InvariantError("the log is broken", file="", line=0, condition="")

        engine = store._fleet.member(1).engine
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "ledger", broken)
            store.drives[1].fail("its log is broken")
        found = store.remanence(number)
        assert (found.blocks, [each.drive for each in found.uncounted]) == (0, [1])

    def test_is_counted_and_then_nothing_more_is_unknown(self, store: Store, tenant: Tenant) -> None:
        store.add_drive(64 * SEGMENT)
        volume = tenant.create_volume("v", 5 * BLOCK, drive=1)
        fill(volume, 1)
        empty = store.add_drive(64 * SEGMENT)
        store.drives[1].fail("it clicks")
        empty.fail("it never was of use")
        found = store.remanence(tenant)
        assert (found.blocks, found.out_of_use_blocks, found.uncounted) == (5, 5, ())
        assert store.remanence().most_blocks == 5
        runs = store.find(volume)
        assert [(int(run["drive"]), int(run["state"])) for run in runs] == [(1, UNSEEN)]
        assert UNSEEN not in list(BlockState)

    def test_stays_counted_where_the_catalog_is_made_anew(self, tmp_path: Path) -> None:
        path = tmp_path / "lab.store"
        with Store.create(path, "2MiB") as store:
            store.add_drive("2MiB")
            number = (tenant := store.create_tenant("contoso")).number
            tenant.create_volume("disk", 3 * len(CANARY), drive=1).write(0, CANARY * 3)
            store.flush()
            store.drives[1].fail("it clicks")
        with Store.open(path, rebuild_catalog=True) as store:
            found = store.remanence(number)
            assert (found.out_of_use_blocks, found.uncounted) == (3, ())


def test_a_deletion_that_did_not_happen_is_not_said_to_have(tmp_path: Path) -> None:
    """Whoever asked for it was told that it failed, and the volume lives on."""
    rack = Rack(tmp_path / "names.db")
    tenant = rack.store.create_tenant("contoso")
    volume = tenant.create_volume("v", 5 * BLOCK, copies=2)
    fill(volume, 1)
    rack.store.close()
    store = rack.open(without=[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seqstore.departures.Departures._leave", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.tenants[0].volume("v").delete()
    store.close()
    store = rack.open(without=[1])
    assert [erasure.state for erasure in store.erasures] == ["abandoned", "requested"]
    store.drives[1].fail("it is not coming back")
    store.drives[1].destroy(Destruction(operator=ADA, witness=GRACE, how="shredded", reason="lost"))
    assert [erasure.state for erasure in store.erasures] == ["abandoned", "abandoned"]
    rack.close()
