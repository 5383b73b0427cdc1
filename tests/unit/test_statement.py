"""Erasure statements: what they say of real deletions, and what crashes leave of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from seqstore import (
    AccessError,
    ConfigError,
    NotFoundError,
    StatementError,
    Store,
)
from seqstore.audit_records import Subject
from seqstore.copy_rows import LISTED_DTYPE
from seqstore.deletion import Deadline
from seqstore.signing import SigningKey
from tests.deletions import BLOCK, delete, fill, finished, go_round, make_store
from tests.durable import crash, create

pytest.importorskip("cryptography")


@pytest.fixture
def store() -> Iterator[Store]:
    with make_store() as store:
        yield store


class TestDeletions:
    def test_right_after_one(self, store: Store, key: SigningKey) -> None:
        delete(store)
        statement = store.statement(1, key=key)
        statement.verify(key.public)
        document = statement.document
        assert not statement.complete
        assert document["totals"]["pending"] == document["pending"]["blocks"] == 60
        assert (document["request"]["actor"], document["request"]["reason"]) == ("bob", "ticket 4711")
        assert (document["issued"]["actor"], document["subject"]["name"]) == ("alice", "contoso")
        drive = store.drives[0]
        for entry in document["copies"]:
            raw = drive.raw(entry["mba"], entry["blocks"])
            assert b"o" * BLOCK not in raw
            assert raw.count(raw[:1]) == len(raw) or entry["blocks"] > 1

    def test_when_the_head_came_round(self, store: Store, key: SigningKey) -> None:
        statement = finished(store, key)
        statement.verify(key.public)
        statement.verify_in(store.audit)
        assert statement.complete
        totals = statement.document["totals"]
        assert (totals["blocks"], totals["overwritten"], totals["observed"]) == (60, 60, 0)
        record = [*store.audit][-1]
        assert (record.act, record.details["digest"]) == ("statement issued", statement.digest)

    def test_the_lap_that_fifo_promises(self, store: Store, key: SigningKey) -> None:
        delete(store)
        go_round(store, 0.7)
        document = store.statement(1, key=key).document
        assert document["promise"] == {"strategy": "Lap()", "bound_writes": 256, "bound_ns": None}
        go_round(store, 0.5)
        assert store.statement(1, key=key).document["totals"]["late"] == 0

    def test_no_lap_is_promised_where_the_head_does_not_come_round(self, store: Store) -> None:
        store.set_deletion(Deadline(laps=3), store.tenant("fabrikam"))
        delete(store)
        assert store.statement(1).document["promise"]["bound_writes"] is None

    def test_half_way(self, store: Store, key: SigningKey) -> None:
        delete(store)
        go_round(store, 0.7)
        totals = store.statement(1, key=key).document["totals"]
        assert 0 < totals["pending"] < 60
        assert totals["pending"] + totals["overwritten"] == 60
        assert totals["pending"] == store.remanence(1).blocks

    def test_a_volume_that_a_clone_keeps_alive(self, store: Store, key: SigningKey) -> None:
        volume = store.tenant("contoso").volume("disk")
        snapshot = volume.snapshot("monday")
        clone = snapshot.clone("copy", tenant=store.tenant("fabrikam"))
        snapshot.delete()
        volume.delete()
        go_round(store)
        number = store.erasures[-1].id
        statement = store.statement(number, key=key)
        assert not statement.complete
        assert [(entry["name"], entry["blocks"]) for entry in statement.document["kept"]] == [("copy", 40)]
        clone.delete()
        # Those that died with the clone are listed at once, and so with their deaths.
        found = store._evidence.erasures.pending(number)
        assert found["count"][~found["moved"]].sum() == 40
        go_round(store)
        statement = store.statement(number, key=key)
        statement.verify(key.public)
        assert statement.complete
        # Those that died with the clone, and those that the cleaner left behind while it showed them.
        assert statement.document["totals"]["blocks"] >= 20 + 40
        assert statement.document["totals"]["moved"] > 0

    def test_blocks_that_die_one_by_one_in_a_clone(self, store: Store, key: SigningKey) -> None:
        volume = store.tenant("contoso").volume("disk")
        snapshot = volume.snapshot("monday")
        clone = snapshot.clone("copy", tenant=store.tenant("fabrikam"))
        store.tenant("contoso").delete()
        clone.trim(0, 40 * BLOCK)
        go_round(store)
        statement = store.statement(store.erasures[-1], key=key)
        statement.verify(key.public)
        assert statement.complete
        assert statement.document["totals"]["blocks"] >= 60
        assert statement.document["totals"]["observed"] >= 40

    def test_nothing_is_said_of_what_was_not_done(self, store: Store) -> None:
        with pytest.raises(NotFoundError):
            store.statement(1)
        evidence = store._evidence
        request = evidence.request(Subject(kind="volume", number=1, name="disk", tenant=1))
        with pytest.raises(ConfigError, match="requested"):
            store.statement(request)
        store._book.resume(store._registry.is_living)
        with pytest.raises(ConfigError, match="abandoned"):
            store.statement(request)

    def test_a_verification_counts_by_its_last_result(self, store: Store, key: SigningKey) -> None:
        delete(store)
        go_round(store)
        evidence, erasure = store._evidence, store.erasures[0]
        evidence.note_verified(erasure, "read back", passed=False, blocks=60, details="block 7 was not zero")
        assert not store.statement(erasure, key=key).complete
        evidence.note_verified(erasure, "read back", passed=True, blocks=60)
        statement = store.statement(erasure, key=key)
        assert statement.complete
        assert [entry["passed"] for entry in statement.document["verifications"]] == [False, True]

    @pytest.mark.parametrize("words", ["cleared", "a Purge", "DESTROYED", "destruction"])
    def test_verifications_claim_no_category(self, store: Store, words: str) -> None:
        delete(store)
        with pytest.raises(ConfigError, match="category"):
            store._evidence.note_verified(store.erasures[0], words, passed=True, blocks=1)

    def test_a_key_that_is_gone(self, store: Store, key: SigningKey) -> None:
        delete(store)
        position = store.stats().position
        store._evidence.erasures.destroy_key(1, Subject(kind="key", number=1), position)
        statement = store.statement(1, key=key)
        statement.verify(key.public)
        assert statement.complete
        assert statement.document["totals"]["key"] == 60
        go_round(store)
        assert store.statement(1, key=key).document["copies"] == statement.document["copies"]
        assert any("still lie on the medium" in limit for limit in statement.document["limits"])

    def test_catalogs_that_were_changed_give_no_statement(self, store: Store, key: SigningKey) -> None:
        delete(store)
        go_round(store)
        store.statement(1, key=key)
        database = store._parts.catalog.database
        database.run("DROP TRIGGER copy_lists_are_not_changed")
        before = len(store.audit)
        runs = np.frombuffer(database.run("SELECT runs FROM copy_lists")[0][0], LISTED_DTYPE)
        database.run("UPDATE copy_lists SET runs = ?", runs[1:].tobytes())
        with pytest.raises(StatementError, match="not those that were listed"):
            store.statement(1, key=key)
        assert len(store.audit) == before

    def test_a_crash_at_every_step_of_a_deletion(self, tmp_path: Path, key: SigningKey) -> None:
        steps = ("request", "list_copies", "mark_deleting", "remove_tenant")
        for number, step in enumerate(steps):
            path = tmp_path / str(number)
            store = create(path)
            fill(store)

            def cut(*arguments: object, **options: object) -> None:
                raise KeyboardInterrupt

            owner = store._evidence.erasures if step in {"request", "list_copies"} else store._parts.catalog
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(owner, step, cut)
                with pytest.raises(KeyboardInterrupt):
                    delete(store)
            crash(store)
            with Store.open(path) as again:
                is_deleted = "contoso" not in [tenant.name for tenant in again.tenants]
                assert is_deleted == (step in {"list_copies", "remove_tenant"})
                assert len(again.erasures) == is_deleted
                if is_deleted:
                    statement = again.statement(1, key=key)
                    statement.verify_in(again.audit)
                    assert statement.document["request"]["actor"] == "bob"
                    assert statement.document["totals"]["pending"] == 60
                    assert any("a crash" in limit for limit in statement.document["limits"])

    def test_a_crash_before_events_were_noted(self, tmp_path: Path, key: SigningKey) -> None:
        store = create(tmp_path / "lab.store")
        fill(store)
        delete(store)
        go_round(store)
        store.flush()
        crash(store)
        with Store.open(tmp_path / "lab.store") as again:
            statement = again.statement(1, key=key)
            statement.verify(key.public)
            assert statement.complete
            assert statement.document["totals"]["observed"] == 60

    def test_a_catalog_made_anew_keeps_what_is_known(self, tmp_path: Path, key: SigningKey) -> None:
        with create(tmp_path / "lab.store") as store:
            fill(store)
            statement = finished(store, key)
        with Store.open(tmp_path / "lab.store", rebuild_catalog=True) as store:
            statement.verify_in(store.audit)
            assert store.statement(1, key=key).document["copies"] == statement.document["copies"]

    def test_reading_alone_makes_none(self, tmp_path: Path) -> None:
        with create(tmp_path / "lab.store") as store:
            fill(store)
            delete(store)
        with Store.open(tmp_path / "lab.store", read_only=True) as store:
            assert [erasure.subject.name for erasure in store.erasures] == ["contoso"]
            with pytest.raises(AccessError):
                store.statement(1)
