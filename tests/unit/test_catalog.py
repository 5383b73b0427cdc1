"""The catalog: rows and numbers, what outlives a crash, and files that are none."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from seqstore import ClosedError, ConfigError, FormatError, MediumError, VersionError
from seqstore.catalog import Catalog, DriveRow, Settings, TenantRow, VolumeRow

SETTINGS = Settings(created_ns=7, reserve_ppm=70_000, selection="fifo", placement="single", access="mapped")
DRIVE = DriveRow(number=0, identity=2**64 - 3, block_size=512, zone_blocks=16, blocks=256, flushed_sequence=0)


def volume_row(tenant: int, name: str, kind: str = "volume", origin: int = 0, number: int = 0) -> VolumeRow:
    return VolumeRow(
        number=number,
        tenant=tenant,
        kind=kind,  # type: ignore[arg-type]
        name=name,
        unwritten="zero",
        origin=origin,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.db"


@pytest.fixture
def catalog(path: Path) -> Iterator[Catalog]:
    catalog = Catalog.create(path, SETTINGS, DRIVE)
    yield catalog
    catalog.close()


def change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


class TestRows:
    @pytest.mark.parametrize("in_memory", [False, True])
    def test_a_new_catalog(self, path: Path, in_memory: bool) -> None:
        catalog = Catalog.create(None if in_memory else path, SETTINGS, DRIVE)
        assert (catalog.settings, catalog.drive) == (SETTINGS, DRIVE)
        assert (catalog.tenants(), catalog.volumes()) == ([], [])
        catalog.close()

    @pytest.mark.parametrize(
        "name", ["a", "Ä", "A\u0308", "日本", "x" * 255, "'; DROP TABLE tenants; --", " "]
    )
    def test_names_come_back_as_they_were(self, path: Path, catalog: Catalog, name: str) -> None:
        tenant = catalog.add_tenant(name)
        catalog.add_volume(volume_row(tenant, name))
        catalog.close()
        again = Catalog.open(path)
        assert [row.name for row in again.tenants()] == [row.name for row in again.volumes()] == [name]
        again.close()

    def test_names_that_differ_in_case_or_form_are_different(self, catalog: Catalog) -> None:
        for name in ("a", "A", "Ä", "A\u0308"):
            catalog.add_tenant(name)
        assert len(catalog.tenants()) == 4

    def test_a_name_is_taken_once(self, catalog: Catalog) -> None:
        one, two = catalog.add_tenant("one"), catalog.add_tenant("two")
        catalog.add_volume(volume_row(one, "disk"))
        catalog.add_volume(volume_row(two, "disk"))
        with pytest.raises(ConfigError):
            catalog.add_volume(volume_row(one, "disk"))
        with pytest.raises(ConfigError):
            catalog.add_tenant("one")

    def test_names_of_snapshots_are_those_of_one_volume(self, catalog: Catalog) -> None:
        tenant = catalog.add_tenant("one")
        catalog.add_volume(volume_row(tenant, "monday", "snapshot", origin=1))
        catalog.add_volume(volume_row(tenant, "monday", "snapshot", origin=2))
        catalog.add_volume(volume_row(tenant, "monday"))
        with pytest.raises(ConfigError):
            catalog.add_volume(volume_row(tenant, "monday", "snapshot", origin=2))

    def test_a_tenant_takes_its_rows_along(self, catalog: Catalog) -> None:
        one, two = catalog.add_tenant("one"), catalog.add_tenant("two")
        catalog.add_volume(volume_row(one, "disk"))
        kept = catalog.add_volume(volume_row(two, "disk"))
        catalog.mark_deleting(one)
        assert catalog.tenants()[0] == TenantRow(number=one, name="one", deleting=True)
        catalog.remove_tenant(one)
        assert catalog.volumes() == [kept]
        assert [row.number for row in catalog.tenants()] == [two]

    def test_a_volume_has_a_tenant(self, catalog: Catalog) -> None:
        with pytest.raises(ConfigError):
            catalog.add_volume(volume_row(99, "disk"))


class TestNumbers:
    def test_none_is_given_twice(self, path: Path, catalog: Catalog) -> None:
        tenant = catalog.add_tenant("one")
        numbers = [catalog.add_volume(volume_row(tenant, "disk")).number]
        numbers.append(catalog.add_volume(volume_row(tenant, "monday", "snapshot", origin=1)).number)
        numbers.append(catalog.draw_number())
        for number in numbers:
            catalog.remove_volume(number)
        catalog.close()
        again = Catalog.open(path)
        numbers.append(again.add_volume(volume_row(tenant, "disk")).number)
        again.remove_tenant(tenant)
        assert again.add_tenant("one") == tenant + 1
        assert numbers == [1, 2, 3, 4]
        again.close()

    def test_numbers_can_be_left_out(self, catalog: Catalog) -> None:
        catalog.skip_numbers(tenants=10, volumes=20)
        catalog.skip_numbers(tenants=3, volumes=4)
        tenant = catalog.add_tenant("one")
        assert tenant == 11
        assert catalog.add_volume(volume_row(tenant, "disk")).number == 21

    def test_numbers_can_be_given(self, catalog: Catalog) -> None:
        assert catalog.add_tenant("one", 5) == 5
        assert catalog.add_volume(volume_row(5, "disk", number=9)).number == 9
        assert catalog.draw_number() == 10


class TestDurability:
    def test_each_change_is_on_the_medium_when_it_returns(self, path: Path, catalog: Catalog) -> None:
        """What lies in the files at any time is what a crash would leave."""
        catalog.note_flushed(0, 41)
        tenant = catalog.add_tenant("one")
        row = catalog.add_volume(volume_row(tenant, "disk"))
        crashed = path.parent / "crashed"
        crashed.mkdir()
        for file in path.parent.glob("catalog.db*"):
            shutil.copy(file, crashed)
        again = Catalog.open(crashed / path.name)
        assert (again.volumes(), again.drive.flushed_sequence) == ([row], 41)
        again.close()

    def test_several_changes_are_one(self, catalog: Catalog) -> None:

        def fail() -> None:
            with catalog.atomic():
                catalog.add_tenant("one")
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert catalog.tenants() == []
        with catalog.atomic():
            catalog.add_tenant("one")
        assert len(catalog.tenants()) == 1

    def test_what_was_deleted_is_not_in_the_file(self, path: Path, catalog: Catalog) -> None:
        tenant = catalog.add_tenant("a-name-to-be-forgotten")
        catalog.remove_tenant(tenant)
        catalog.close()
        assert b"to-be-forgotten" not in path.read_bytes()
        assert list(path.parent.iterdir()) == [path]

    def test_closing_twice(self, catalog: Catalog) -> None:
        catalog.close()
        catalog.close()
        with pytest.raises(ClosedError):
            catalog.tenants()

    @pytest.mark.parametrize("name", ["with space", "line\nbreak", "a?b#c%41", "日本", b"\xff\xfe"])
    def test_odd_paths(self, tmp_path: Path, name: str | bytes) -> None:
        path = tmp_path / os.fsdecode(name)
        catalog = Catalog.create(path, SETTINGS, DRIVE)
        catalog.add_tenant("one")
        catalog.close()
        assert [file.name for file in tmp_path.iterdir()] == [os.fsdecode(name)]
        for read_only in (False, True):
            again = Catalog.open(path, read_only=read_only)
            assert len(again.tenants()) == 1
            again.close()


class TestReading:
    def test_for_reading_alone(self, path: Path, catalog: Catalog) -> None:
        catalog.add_tenant("one")
        catalog.close()
        before = path.read_bytes()
        again = Catalog.open(path, read_only=True)
        assert [row.name for row in again.tenants()] == ["one"]
        with pytest.raises(PermissionError):
            again.add_tenant("two")
        again.close()
        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]

    def test_another_connection_that_writes(self, path: Path, catalog: Catalog) -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(MediumError, match="another process") as caught:
            catalog.add_tenant("one")
        assert caught.value.errno == errno.EBUSY
        other.execute("ROLLBACK")
        other.close()
        assert catalog.add_tenant("one") == 1


class TestBadFiles:
    def test_no_file(self, path: Path) -> None:
        with pytest.raises(MediumError, match=r"catalog\.db"):
            Catalog.open(path)
        assert not path.exists()

    @pytest.mark.parametrize("content", [b"", b"x", b"not a database at all" * 1000])
    def test_no_database(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        with pytest.raises(FormatError, match="rebuild_catalog"):
            Catalog.open(path)
        assert path.read_bytes() == content

    def test_a_database_of_something_else(self, path: Path) -> None:
        change(path, "CREATE TABLE tenants (name TEXT)")
        with pytest.raises(FormatError, match="something else"):
            Catalog.open(path)

    def test_a_newer_format(self, path: Path, catalog: Catalog) -> None:
        catalog.close()
        change(path, "PRAGMA user_version = 7")
        with pytest.raises(VersionError, match="newer") as caught:
            Catalog.open(path)
        assert (caught.value.found, caught.value.expected) == (7, 6)

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE drives SET identity = 'xyz'",
            "UPDATE drives SET blocks = 'many'",
            "DELETE FROM drives",
            "DELETE FROM store",
            "DROP TABLE drives",
            "UPDATE tenants SET name = x'ff'",
            "UPDATE tenants SET name = CAST(x'ff' AS TEXT)",
            "DELETE FROM sqlite_sequence",
        ],
    )
    def test_content_that_cannot_be(self, path: Path, catalog: Catalog, statement: str) -> None:
        catalog.add_tenant("one")
        catalog.close()
        change(path, statement)
        again = Catalog.open(path)
        with pytest.raises(FormatError, match="damaged"):
            _ = again.drive, again.settings, again.tenants(), again.draw_number()
        again.close()

    def test_every_damaged_page_is_noticed_or_harmless(self, path: Path, catalog: Catalog) -> None:
        tenant = catalog.add_tenant("one")
        for number in range(200):
            catalog.add_volume(volume_row(tenant, f"disk-{number}"))
        catalog.close()
        good = path.read_bytes()
        noticed = 0
        for start in range(0, len(good), 4096):
            path.write_bytes(good[:start] + b"\xa5" * 4096 + good[start + 4096 :])
            try:
                again = Catalog.open(path)
                assert len(again.volumes()) == 200
                again.close()
            except FormatError:
                noticed += 1
        assert noticed > 0
