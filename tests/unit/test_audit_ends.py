"""The end of the audit log: that it was cut off is noticed, and stays so."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from seqstore import AuditError, Store
from seqstore.schema import VERSION
from tests.durable import create
from tests.old_catalogs import make_older
from tests.unit.test_audit import cover_up, tamper, verify


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The catalog of a store with ten records in its log."""
    with create(tmp_path / "lab.store") as store:
        for number in range(9):
            store.create_tenant(f"tenant-{number}")
    return tmp_path / "lab.store" / "catalog.db"


class TestEnds:
    @pytest.mark.parametrize("kept", [0, 1, 9])
    def test_an_end_that_was_cut_off(self, path: Path, kept: int) -> None:
        head = verify(path)
        tamper(path, f"DELETE FROM audit WHERE number > {kept}")
        with pytest.raises(AuditError, match="cut off") as caught:
            verify(path)
        assert caught.value.number == kept + 1
        if kept:
            cover_up(path)
            verify(path)
            with pytest.raises(AuditError, match="cut off") as caught:
                verify(path, head)
            assert caught.value.number == kept + 1

    def test_a_log_without_an_end(self, path: Path) -> None:
        tamper(path, "DELETE FROM audit", "DELETE FROM audit_end")
        with pytest.raises(AuditError, match="does not say where"):
            verify(path)

    @pytest.mark.parametrize("kept", [0, 8])
    def test_a_log_that_was_cut_off_goes_on_and_stays_one(self, path: Path, kept: int) -> None:
        """Later records do not cover it up, however many there are, and no statement is made."""
        tamper(path, f"DELETE FROM audit WHERE number > {kept}")
        for _ in range(3):
            with Store.open(path.parent) as store:
                for number in range(4):
                    name = f"later-{number}"
                    store.create_tenant(name).create_volume("disk", 4096).write(0, b"x" * 4096)
                    store.tenant(name).delete()
                with pytest.raises(AuditError):
                    store.audit.verify()
                with pytest.raises(AuditError, match="by the catalog"):
                    store.statement(store.erasures[-1])

    def test_a_log_that_is_empty_by_both(self, path: Path) -> None:
        """Tenants that no record speaks of say that there were records."""
        tamper(path, "DELETE FROM audit")
        cover_up(path)
        with pytest.raises(AuditError, match="does not say where"):
            verify(path)

    @pytest.mark.parametrize("read_only", [True, False])
    def test_one_of_the_third_format_gets_the_tables_of_drives(self, path: Path, read_only: bool) -> None:
        make_older(path, 3)
        head = verify(path)
        with Store.open(path.parent, read_only=read_only) as store:
            assert [drive.facts.region for drive in store.drives] == [""]
            assert store.audit.verify(head) == head
        version = sqlite3.connect(path).execute("PRAGMA user_version").fetchone()
        assert version == (3 if read_only else VERSION,)

    def test_one_of_the_second_format_gets_an_end(self, path: Path) -> None:
        make_older(path, 2)
        head = verify(path)
        with Store.open(path.parent) as store:
            assert store.audit.verify(head) == head
        tamper(path, "DELETE FROM audit WHERE number > 5")
        with pytest.raises(AuditError, match="cut off"):
            verify(path)
