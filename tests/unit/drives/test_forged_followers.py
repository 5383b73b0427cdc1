"""An owner of the catalog who changes what is said of other drives gets no statement that is complete."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from seqstore import Store
from seqstore.errors import FormatError, StatementError
from tests.several import SEGMENT, SIZES
from tests.unit.drives.test_following import SEGMENTS, make_heir, move


def change(path: Path, statement: str) -> None:
    """Run a statement on the catalog of a closed store, whatever its triggers say."""
    database = sqlite3.connect(path / "catalog.db", isolation_level=None)
    for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        database.execute(f"DROP TRIGGER {name}")
    database.execute(statement)
    database.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store on whose second drive a clone shows what was deleted, and has left some of it behind."""
    path = tmp_path / "lab.store"
    with Store.create(path, SEGMENTS * SEGMENT, **SIZES) as store:
        store.add_drive(SEGMENTS * SEGMENT)
        heir = make_heir(store.create_tenant("contoso"))
        move(store, heir, 1)
        heir.delete()
        store._eraser.purge_drive(0, *store._scope(None))
        assert store.erasures[1].subject.name == "volume"
        assert not store.statement(store.erasures[1]).complete
    return path


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE erasures SET state = 'abandoned' WHERE id IN (SELECT erasure FROM erasure_drives)",
        "DELETE FROM kept WHERE erasure IN (SELECT erasure FROM erasure_drives)",
        "DELETE FROM copy_lists WHERE drive = 1",
        "UPDATE copy_lists SET runs = x'' WHERE drive = 1",
        "UPDATE copy_lists SET is_through = TRUE WHERE drive = 1",
    ],
)
def test_of_followers(path: Path, statement: str) -> None:
    change(path, statement)
    with Store.open(path) as store:
        try:
            complete = store.statement(store.erasures[1]).complete
        except StatementError:
            complete = False
        assert not complete


def test_a_time_that_is_none(path: Path) -> None:
    change(path, "INSERT INTO copy_ends SELECT NULL, record, seen, 'noon', 'key', 0, NULL FROM copy_lists")
    with pytest.raises(FormatError, match="noon"):
        Store.open(path).close()


@pytest.mark.parametrize("drive", ["9", "-1", "'the first'"])
def test_a_drive_that_never_was(path: Path, drive: str) -> None:
    """What it says of the erasure there is not passed over, as if it had never been asked for."""
    with Store.open(path) as store:
        (of_second,) = [each.id for each in store.erasures if "follows" in each.request.details][:1]
    change(path, f"UPDATE erasure_drives SET drive = {drive} WHERE erasure = {of_second}")
    with Store.open(path) as store:
        with pytest.raises(FormatError, match=rf"damaged: .* erasure {of_second} is of drive {drive},"):
            store.statement(of_second)
        with pytest.raises(FormatError, match="erasure_drives"):
            _ = store.erasures
