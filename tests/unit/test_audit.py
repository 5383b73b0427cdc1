"""The audit log: what it records, what its chain shows, and what outlives crashes and rebuilding."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from seqstore import AccessError, AuditError, ConfigError, FormatError, ManualClock, Store, canonical
from seqstore.audit import AuditLog
from seqstore.audit_records import Act, AuditHead, Subject
from seqstore.catalog import Catalog
from seqstore.engine import Engine
from seqstore.schema import VERSION
from tests.durable import crash, create
from tests.old_catalogs import make_older

STORE = Subject(kind="store")
PARTS = {
    "number": 'json_set(content, "$.number", 99)',
    "time_ns": 'json_set(content, "$.time_ns", 1)',
    "actor": 'json_set(content, "$.actor", "mallory")',
    "reason": 'json_set(content, "$.reason", "other")',
    "act": 'json_set(content, "$.act", "renamed")',
    "subject": 'json_set(content, "$.subject.name", "other")',
    "details": 'json_set(content, "$.details.more", 1)',
    "previous": f"json_set(content, '$.previous', '{'0' * 64}')",
}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000)


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.memory("128KiB", evidence=True, block_size=512, segment_size="8KiB") as store:
        yield store


@pytest.fixture
def log(store: Store, clock: ManualClock) -> AuditLog:
    return AuditLog(store._parts.catalog, clock.now_ns, "tester")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The catalog of a store that was closed, with ten records."""
    with create(tmp_path / "lab.store", actor="alice") as store:
        for number in range(9):
            store.create_tenant(f"tenant-{number}")
    return tmp_path / "lab.store" / "catalog.db"


def acts(store: Store) -> list[str]:
    return [record.act for record in store.audit]


def tamper(path: Path, *statements: str) -> None:
    """Change a catalog as somebody does who owns the file."""
    connection = sqlite3.connect(path)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def verify(path: Path, head: AuditHead | None = None) -> AuditHead | None:
    catalog = Catalog.open(path, read_only=True)
    try:
        return AuditLog(catalog, lambda: 0, "reader").verify(head)
    finally:
        catalog.close()


def forge(path: Path, first: int, actor: str) -> None:
    """Write records anew from one on, hashes and all, as somebody who knows the format can."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT number, content, hash FROM audit ORDER BY number").fetchall()
    previous = canonical.NO_DIGEST
    changes = []
    for number, content, found in rows:
        if number >= first:
            values = {**canonical.decode(content), "actor": actor, "previous": previous}
            data = canonical.encode(values)
            found = canonical.digest(data)  # noqa: PLW2901  the new hash takes the place of the old one
            text = data.decode().replace("'", "''")
            changes.append(f"UPDATE audit SET content = '{text}', hash = '{found}' WHERE number = {number}")
        previous = found
    connection.close()
    tamper(path, *changes)


def cover_up(path: Path) -> None:
    """Change what the catalog says of the log's end, too, as somebody does who has read how it works."""
    tamper(
        path,
        "DELETE FROM audit_end",
        "INSERT INTO audit_end VALUES (1, COALESCE((SELECT MAX(number) FROM audit), 0),"
        f" COALESCE((SELECT hash FROM audit ORDER BY number DESC LIMIT 1), '{canonical.NO_DIGEST}'))",
    )


class TestRecords:
    def test_what_they_hold(self, log: AuditLog, clock: ManualClock) -> None:
        first = log.head
        assert first is not None
        record = log.append(Act.PURGE_BEGUN, STORE, {"blocks": 2**63, "list": [1, None, True]}, reason="why")
        assert (record.number, record.previous) == (first.number + 1, first.hash)
        assert (record.time_ns, record.actor, record.reason) == (clock.now_ns(), "tester", "why")
        assert record.details == {"blocks": 2**63, "list": [1, None, True]}
        assert list(log)[-1] == record == log[record.number]
        assert record.hash == canonical.digest(canonical.encode(record.to_dict()))

    def test_the_first_follows_nothing(self, store: Store) -> None:
        first = next(iter(store.audit))
        assert (first.number, first.previous, first.act) == (1, "0" * 64, "store created")

    @pytest.mark.parametrize("details", [{"a": 1.5}, {"a": b"x"}, {1: 2}, {"a": "\ud800"}, {"a": object()}])
    def test_details_that_cannot_be_written(self, log: AuditLog, details: dict[str, object]) -> None:
        before = log.head
        with pytest.raises(ConfigError):
            log.append(Act.RENAMED, STORE, details)
        assert log.head == before

    @pytest.mark.parametrize("actor", ["", "x" * 1025, "a\nb", "\ud800", 7])
    def test_actors_that_are_none(self, store: Store, actor: str) -> None:
        with pytest.raises(ConfigError, match="actor"), store.acting(actor=actor):
            pass

    def test_words_that_are_no_act(self, log: AuditLog) -> None:
        with pytest.raises(ValueError, match="made up"):
            log.append("made up", STORE)  # type: ignore[arg-type]

    def test_reading_from_the_middle(self, log: AuditLog) -> None:
        for _ in range(3):
            log.append(Act.RENAMED, STORE)
        assert [record.number for record in log.records(3)] == [3, 4]
        assert list(log.records(9)) == []
        with pytest.raises(AuditError, match="no record 9"):
            log[9]


class TestActors:
    def test_the_default_is_the_user(self, store: Store) -> None:
        assert "uid" in next(iter(store.audit)).actor

    def test_one_is_given_with_the_store(self) -> None:
        with Store.memory(
            "256KiB", evidence=True, block_size=512, segment_size="8KiB", actor="alice"
        ) as store:
            assert {record.actor for record in store.audit} == {"alice"}

    def test_blocks_name_another_one(self, store: Store) -> None:
        with store.acting(actor="alice", reason="ticket 1"):
            store.create_tenant("one")
            with store.acting(reason="ticket 2"):
                store.create_tenant("two")
            with store.acting(actor="bob"):
                store.create_tenant("three")
        store.create_tenant("four")
        found = [(record.actor, record.reason) for record in store.audit][1:]
        assert found[:3] == [("alice", "ticket 1"), ("alice", "ticket 2"), ("bob", "ticket 1")]
        assert found[3] == (next(iter(store.audit)).actor, "")

    def test_neither_other_threads_nor_other_stores_are_concerned(self, store: Store) -> None:
        with Store.memory("256KiB", evidence=True, block_size=512, segment_size="8KiB", actor="bob") as other:
            with store.acting(actor="alice"):
                thread = threading.Thread(target=store.create_tenant, args=("by-thread",))
                thread.start()
                thread.join()
                other.create_tenant("one")
            assert [*store.audit][-1].actor != "alice"
            assert [*other.audit][-1].actor == "bob"

    def test_an_exception_ends_the_block(self, store: Store) -> None:
        def fail() -> None:
            with store.acting(actor="alice"):
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        store.create_tenant("one")
        assert [*store.audit][-1].actor != "alice"


class TestActs:
    def test_every_change_is_there_with_what_it_was_done_to(self, store: Store) -> None:
        tenant = store.create_tenant("contoso")
        volume = tenant.create_volume("disk", 4096)
        volume.write(0, b"x" * 4096)
        snapshot = volume.snapshot("monday")
        clone = snapshot.clone("copy", tenant=store.create_tenant("fabrikam"))
        volume.resize(2048)
        volume.rollback(snapshot)
        snapshot.delete()
        clone.delete()
        tenant.delete()
        found = [(r.act, r.subject.get("kind"), r.subject["number"]) for r in store.audit]
        copies = {"copies listed", "copies found", "erasure finished"}
        deletions = [entry for entry in found if entry[0] not in copies]
        assert deletions == [
            ("store created", "store", 0),
            ("tenant created", "tenant", 1),
            ("volume created", "volume", 1),
            ("snapshot created", "snapshot", 2),
            ("tenant created", "tenant", 2),
            ("clone created", "volume", 3),
            ("volume resized", "volume", 1),
            ("volume rolled back", "volume", 1),
            ("deletion requested", "snapshot", 2),
            ("snapshot deleted", "snapshot", 2),
            ("deletion requested", "volume", 3),
            ("volume deleted", "volume", 3),
            ("deletion requested", "tenant", 1),
            ("tenant deleted", "tenant", 1),
        ]
        resized = next(record for record in store.audit if record.act == "volume resized")
        assert resized.details == {"before": 4096, "after": 2048}
        store.audit.verify()

    def test_what_fails_leaves_no_claim(self, store: Store) -> None:
        tenant = store.create_tenant("contoso")
        with pytest.raises(ConfigError):
            store.create_tenant("contoso")
        assert acts(store) == ["store created", "tenant created"]
        with pytest.raises(ValueError, match="2\\*\\*38"):
            tenant.create_volume("disk", 2**63)
        assert acts(store)[2:] == ["volume created", "creation undone"]

    def test_a_change_and_its_record_are_one(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*arguments: object, **options: object) -> None:
            raise KeyboardInterrupt

        before = acts(store)
        with monkeypatch.context() as patch:
            patch.setattr(AuditLog, "append", fail)
            with pytest.raises(KeyboardInterrupt):
                store.create_tenant("contoso")
        assert (acts(store), store.tenants) == (before, ())
        assert store._parts.catalog.tenants() == []

    def test_reading_alone_records_nothing(self, path: Path) -> None:
        before = path.read_bytes()
        with Store.open(path.parent, read_only=True) as store:
            assert len(store.audit) == 10
            with pytest.raises(AccessError):
                store.audit.append(Act.RENAMED, STORE)
        assert path.read_bytes() == before

    def test_clean_openings_are_no_acts_and_crashes_are(self, path: Path) -> None:
        with Store.open(path.parent) as store:
            assert len(store.audit) == 10
        store = Store.open(path.parent, actor="bob")
        store.create_tenant("new").create_volume("disk", 512)
        crash(store)
        with Store.open(path.parent) as store:
            assert acts(store)[-3:] == ["tenant created", "volume created", "store recovered"]
            store.audit.verify()


class TestCrashes:
    @pytest.mark.parametrize(
        ("step", "expected"),
        [("commit", "creation undone"), ("remove_volume", "volume deleted")],
    )
    def test_what_was_cut_off_is_told_apart(self, tmp_path: Path, step: str, expected: str) -> None:
        def cut(*arguments: object, **options: object) -> None:
            raise KeyboardInterrupt

        store = create(tmp_path / "lab.store", actor="alice")
        tenant = store.create_tenant("contoso")
        volume = tenant.create_volume("old", 512)
        change = partial(tenant.create_volume, "new", 512) if step == "commit" else volume.delete
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Engine if step == "commit" else Catalog, step, cut)
            with pytest.raises(KeyboardInterrupt):
                change()
            crash(store)
        with Store.open(tmp_path / "lab.store") as again:
            records = [record for record in again.audit if record.act == expected]
            assert [(record.actor, record.subject["name"]) for record in records] == [
                ("seqstore", "new" if step == "commit" else "old")
            ]
            again.audit.verify()


class TestTampering:
    def test_the_tables_refuse_it(self, log: AuditLog) -> None:
        database = log._database
        for statement in (
            "UPDATE audit SET hash = hash",
            "DELETE FROM audit",
            "INSERT INTO audit VALUES (7, '', '')",
            "REPLACE INTO audit VALUES (1, '', '')",
        ):
            with pytest.raises(ConfigError, match="audit log"):
                database.run(statement)

    # The first record has zeros in the place of what was before it, whatever is written there.
    @pytest.mark.parametrize(
        ("part", "number"),
        [(part, number) for part in PARTS for number in (1, 5, 10) if (part, number) != ("previous", 1)],
    )
    def test_a_changed_record_is_found(self, path: Path, part: str, number: int) -> None:
        tamper(path, f"UPDATE audit SET content = {PARTS[part]} WHERE number = {number}")
        with pytest.raises(AuditError, match="hash") as caught:
            verify(path)
        assert caught.value.number == number

    @pytest.mark.parametrize("number", [1, 5, 9])
    def test_a_record_that_was_taken_out_is_found(self, path: Path, number: int) -> None:
        tamper(
            path,
            f"DELETE FROM audit WHERE number = {number}",
            f"UPDATE audit SET number = number - 1 WHERE number > {number}",
        )
        with pytest.raises(AuditError) as caught:
            verify(path)
        assert caught.value.number == number

    def test_records_that_change_places_are_found(self, path: Path) -> None:
        tamper(
            path,
            "UPDATE audit SET number = 99 WHERE number = 4",
            "UPDATE audit SET number = 4 WHERE number = 5",
            "UPDATE audit SET number = 5 WHERE number = 99",
        )
        with pytest.raises(AuditError):
            verify(path)

    def test_a_record_written_anew_breaks_the_next_one(self, path: Path) -> None:
        connection = sqlite3.connect(path)
        (content,) = connection.execute("SELECT content FROM audit WHERE number = 5").fetchone()
        connection.close()
        data = canonical.encode({**canonical.decode(content), "actor": "mallory"})
        change = f"content = '{data.decode()}', hash = '{canonical.digest(data)}'"
        tamper(path, f"UPDATE audit SET {change} WHERE number = 5")
        with pytest.raises(AuditError, match="does not follow") as caught:
            verify(path)
        assert caught.value.number == 6

    @pytest.mark.parametrize(
        "content", ["x''", "x'ff'", "CAST(x'ff' AS TEXT)", "'{}'", "'[]'", "'{\"a\":1.5}'"]
    )
    def test_content_that_cannot_be(self, path: Path, content: str) -> None:
        tamper(path, f"UPDATE audit SET content = {content} WHERE number = 3")
        with pytest.raises((AuditError, FormatError)):
            verify(path)

    def test_an_opening_goes_on_all_the_same(self, path: Path) -> None:
        tamper(path, "UPDATE audit SET content = '{}' WHERE number = 3")
        with Store.open(path.parent) as store:
            store.tenant("tenant-1").delete()
            with pytest.raises(AuditError):
                store.audit.verify()


class TestHeads:
    def test_a_head_holds_later_too(self, path: Path) -> None:
        head = verify(path)
        assert head is not None
        assert head.number == 10
        with Store.open(path.parent) as store:
            store.create_tenant("later")
            assert store.audit.verify(head) == store.audit.head

    @pytest.mark.parametrize("first", [2, 10])
    def test_a_chain_that_was_forged(self, path: Path, first: int) -> None:
        head = verify(path)
        forge(path, first, "mallory")
        with pytest.raises(AuditError, match="written anew"):
            verify(path)
        cover_up(path)
        verify(path)
        with pytest.raises(AuditError, match="written anew"):
            verify(path, head)

    def test_a_head_of_another_log(self, path: Path) -> None:
        head = verify(path)
        forge(path, 1, "mallory")
        cover_up(path)
        with pytest.raises(AuditError, match="another audit log"):
            verify(path, head)

    @pytest.mark.parametrize(
        "document",
        [{}, [], {"format": "seqstore audit head"}, {"format": "seqstore audit head", "version": 1}],
    )
    def test_documents_that_are_no_head(self, document: object) -> None:
        with pytest.raises(FormatError):
            AuditHead.from_document(document)


class TestCatalogs:
    """Catalogs of the first format had no audit log."""

    @pytest.fixture
    def old(self, path: Path) -> Path:
        make_older(path, 1)
        return path

    def test_an_old_one_gets_a_log(self, old: Path) -> None:
        with Store.open(old.parent) as store:
            assert acts(store) == ["audit begun"]
            assert len(store.tenants) == 9
        with Store.open(old.parent) as store:
            assert acts(store) == ["audit begun"]

    def test_reading_alone_leaves_it_as_it_is(self, old: Path) -> None:
        before = old.read_bytes()
        with Store.open(old.parent, read_only=True) as store:
            assert (len(store.audit), store.audit.head, store.erasures) == (0, None, [])
        assert old.read_bytes() == before

    def test_a_crash_on_the_way_leaves_the_old_one(self, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("seqstore.schema.VERSION", "no number")
            with pytest.raises(Exception, match="str"):
                Catalog.open(old)
        Catalog.open(old).close()
        assert sqlite3.connect(old).execute("PRAGMA user_version").fetchone() == (VERSION,)

    def test_a_new_one_takes_the_records_over(self, path: Path) -> None:
        head = verify(path)
        with Store.open(path.parent, rebuild_catalog=True) as store:
            store.audit.verify(head)
            assert acts(store)[10:] == ["catalog rebuilt"]

    def test_a_new_one_takes_no_broken_log_over(self, path: Path) -> None:
        tamper(path, "UPDATE audit SET content = '{}' WHERE number = 3")
        with Store.open(path.parent, rebuild_catalog=True) as store:
            assert acts(store) == ["catalog rebuilt"]
            assert next(iter(store.audit)).details["is_audit_new"] is True

    def test_each_record_is_on_the_medium_with_its_change(self, tmp_path: Path) -> None:
        store = create(tmp_path / "lab.store")
        store.create_tenant("one")
        shutil.copytree(tmp_path / "lab.store", tmp_path / "crashed")
        assert verify(tmp_path / "crashed" / "catalog.db") == store.audit.head
        store.close()
