"""Opening stores in a directory: everything that can be wrong with it, said clearly."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqstore import (
    ConfigError,
    CorruptionError,
    FormatError,
    LostWritesError,
    MediumError,
    NotFoundError,
    Store,
    VersionError,
)
from seqstore.probe import find_label
from tests.durable import CAPACITY, crash, create, picture
from tests.small import BLOCK_SIZE, SEGMENT_BLOCKS, SEGMENT_SIZE, mba_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with one volume, closed."""
    path = tmp_path / "lab.store"
    with create(path) as store:
        volume = store.create_tenant("contoso").create_volume("disk", 2000)
        volume.write(0, b"kept")
        volume.snapshot("monday")
    return path


def change_catalog(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path / "catalog.db")
    connection.execute(statement)
    connection.commit()
    connection.close()


class TestPlaces:
    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError, match=r"Store\.create"):
            Store.open(tmp_path / "no")
        assert [*tmp_path.iterdir()] == []

    def test_no_store(self, tmp_path: Path) -> None:
        with pytest.raises(FormatError, match="no store"):
            Store.open(tmp_path)
        (tmp_path / "file").write_bytes(b"x")
        with pytest.raises((FormatError, MediumError)):
            Store.open(tmp_path / "file")

    @pytest.mark.parametrize("name", ["with space", "line\nbreak", "a?b#c%41", "日本", b"\xff\xfe", "~", "-"])
    def test_odd_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | bytes) -> None:
        monkeypatch.chdir(tmp_path)
        create(Path(os.fsdecode(name))).close()
        assert [file.name for file in tmp_path.iterdir()] == [os.fsdecode(name)]
        with Store.open(os.fsencode(name)) as store:
            assert store.tenants == ()
            assert repr(os.fsdecode(name)) in repr(store)
        Store.open(tmp_path / os.fsdecode(name), read_only=True).close()

    def test_a_trailing_slash_and_links(self, tmp_path: Path, path: Path) -> None:
        Store.open(f"{path}/").close()
        Store.open(tmp_path / "lab.store" / ".." / "lab.store").close()
        (tmp_path / "link").symlink_to(path)
        Store.open(tmp_path / "link").close()

    def test_the_current_directory_may_change(
        self, tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with Store.open("lab.store") as store:
            monkeypatch.chdir("/")
            store.create_tenant("fabrikam")
        with Store.open(path) as again:
            assert len(again.tenants) == 2

    @pytest.mark.parametrize("name", ["", "nul\0", 7, None, "\ud800"])
    def test_no_paths(self, name: Any) -> None:
        uses: tuple[Callable[[Any], Store], ...] = (Store.open, create)
        for use in uses:
            with pytest.raises(ConfigError, match="path"):
                use(name)


class TestDrives:
    def test_missing(self, path: Path) -> None:
        (path / "drives/0.img").unlink()
        with pytest.raises(MediumError, match="missing") as caught:
            Store.open(path)
        assert caught.value.errno == errno.ENOENT

    def test_shorter(self, path: Path) -> None:
        os.truncate(path / "drives/0.img", CAPACITY - BLOCK_SIZE)
        with pytest.raises(FormatError, match=str(CAPACITY)):
            Store.open(path)

    @pytest.mark.parametrize("content", [bytes(CAPACITY), b"\xa5" * CAPACITY])
    def test_replaced_by_something_else(self, path: Path, content: bytes) -> None:
        (path / "drives/0.img").write_bytes(content)
        with pytest.raises(FormatError, match="not the drive of this store"):
            Store.open(path)
        assert (path / "drives/0.img").read_bytes() == content

    def test_of_another_store(self, tmp_path: Path, path: Path) -> None:
        create(tmp_path / "other").close()
        shutil.copy(tmp_path / "other/drives/0.img", path / "drives/0.img")
        for rebuild in (False, True):
            with pytest.raises(FormatError, match="of another store"):
                Store.open(path, rebuild_catalog=rebuild)

    def test_of_a_newer_format(self, path: Path) -> None:
        image = bytearray((path / "drives/0.img").read_bytes())
        for start in range(0, CAPACITY, BLOCK_SIZE):
            if image[start : start + 8] == b"SEQSREC1":
                image[start + 8] = 3
        (path / "drives/0.img").write_bytes(image)
        with pytest.raises(VersionError) as caught:
            Store.open(path)
        assert (caught.value.found, caught.value.expected) == (3, 2)
        (path / "catalog.db").unlink()
        with pytest.raises(VersionError, match="newer"):
            Store.open(path, rebuild_catalog=True)

    def test_an_old_copy(self, path: Path) -> None:
        drive = path / "drives/0.img"
        old = drive.read_bytes()
        with Store.open(path) as store:
            volume = store.tenant("contoso").volume("disk")
            for _ in range(50):
                volume.write(0, b"lost")
                volume.flush()
        drive.write_bytes(old)
        with pytest.raises(LostWritesError, match="accept_loss") as caught:
            Store.open(path)
        assert caught.value.last_sequence < caught.value.flushed_sequence
        with Store.open(path, accept_loss=True) as again:
            assert again.tenant("contoso").volume("disk").read(0, 4) == b"kept"
            assert again.recovery is not None
            assert again.recovery.lost_records > 0
            crash(again)
        with Store.open(path) as again:
            assert again.tenant("contoso").volume("disk").read(0, 4) == b"kept"

    def test_one_damaged_block_is_less_of_a_loss_without_the_check(self, path: Path) -> None:
        """What the message advises holds: looking changes nothing, and the plain opening loses one block."""
        drive = path / "drives/0.img"
        store = Store.open(path)
        volume = store.tenant("contoso").volume("disk")
        for lba in range(3):
            volume.write(lba * BLOCK_SIZE, b"flushed")
            volume.flush()
        mba = mba_of(volume, 0)
        crash(store)
        with drive.open("r+b") as file:
            file.seek(mba * BLOCK_SIZE)
            file.write(b"rot")
        before = drive.read_bytes()
        with pytest.raises(LostWritesError, match=r"damaged there.*without check_flushed=True") as caught:
            Store.open(path, check_flushed=True)
        assert "read_only=True and accept_loss=True" in str(caught.value)
        with Store.open(path, check_flushed=True, accept_loss=True, read_only=True) as left:
            assert left.tenant("contoso").volume("disk").read(BLOCK_SIZE, 7) == bytes(7)
        assert drive.read_bytes() == before
        with Store.open(path) as again:
            volume = again.tenant("contoso").volume("disk")
            assert volume.read(BLOCK_SIZE, 7) == volume.read(2 * BLOCK_SIZE, 7) == b"flushed"
            with pytest.raises(CorruptionError):
                volume.read(0, 1)

    def test_an_old_copy_after_crashes(self, path: Path) -> None:
        """What an opening found is what the next one expects, also when no store was ever closed since."""
        drive = path / "drives/0.img"
        old = drive.read_bytes()
        store = Store.open(path)
        store.tenant("contoso").volume("disk").write(0, b"lost")
        store.flush()
        crash(store)
        crash(Store.open(path))
        drive.write_bytes(old)
        with pytest.raises(LostWritesError):
            Store.open(path)

    def test_in_use(self, path: Path) -> None:
        script = f"import seqstore; seqstore.Store.open({str(path)!r})"
        with Store.open(path):
            with pytest.raises(MediumError, match="in use"):
                Store.open(path)
            done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "in use, by another process" in done.stderr
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


class TestCatalogs:
    def test_of_a_newer_format(self, path: Path) -> None:
        change_catalog(path, "PRAGMA user_version = 7")
        for read_only, rebuild in ((False, False), (True, False), (False, True)):
            with pytest.raises(VersionError, match="newer"):
                Store.open(path, read_only=read_only, rebuild_catalog=rebuild)

    def test_gone(self, path: Path) -> None:
        (path / "catalog.db").unlink()
        with pytest.raises(FormatError, match="rebuild_catalog"):
            Store.open(path)
        with Store.open(path, rebuild_catalog=True) as store:
            assert picture(store) == {
                "tenant-1": {
                    ("volume", "volume-1"): (2000, b"kept" + bytes(1996)),
                    ("snapshot of 1", "snapshot-2"): (2000, b"kept" + bytes(1996)),
                }
            }
            volume = store.create_tenant("contoso").create_volume("disk", 512)
            assert (volume.tenant.number, volume.number) == (2, 3)
        with Store.open(path) as again:
            assert [tenant.name for tenant in again.tenants] == ["tenant-1", "contoso"]
        assert sorted(file.name for file in path.iterdir()) == ["catalog.db", "drives"]

    def test_numbers_of_what_was_deleted_are_not_given_again(self, path: Path) -> None:
        with Store.open(path) as store:
            store.create_tenant("gone").create_volume("disk", 512).write(0, b"residue")
            store.tenant("gone").delete()
        (path / "catalog.db").unlink()
        with Store.open(path, rebuild_catalog=True) as again:
            tenant = again.create_tenant("new")
            assert (tenant.number, tenant.create_volume("disk", 512).number) == (3, 4)

    @pytest.mark.parametrize("content", [b"", b"\xa5" * 20_000])
    def test_damaged(self, path: Path, content: bytes) -> None:
        (path / "catalog.db").write_bytes(content)
        with pytest.raises(FormatError, match="rebuild_catalog"):
            Store.open(path)
        with Store.open(path, rebuild_catalog=True) as store:
            assert len(store.tenants) == 1
        assert (path / "catalog.db.old-1").read_bytes() == content
        Store.open(path, rebuild_catalog=True).close()
        assert (path / "catalog.db.old-2").exists()

    def test_older_than_the_drive(self, path: Path) -> None:
        old = (path / "catalog.db").read_bytes()
        with Store.open(path) as store:
            tenant = store.tenant("contoso")
            tenant.create_volume("volume-4", 512)
            tenant.create_volume("other", 512).write(0, b"there")
            store.create_tenant("tenant-3")
            store.create_tenant("new").create_volume("disk", 512)
        (path / "catalog.db").write_bytes(old)
        with pytest.raises(FormatError, match=r"of another moment than the catalog.*rebuild_catalog"):
            Store.open(path)
        with Store.open(path, rebuild_catalog=True) as again:
            names = {tenant.name: [v.name for v in tenant.volumes] for tenant in again.tenants}
            assert names == {"contoso": ["disk", "volume-3", "volume-4"], "tenant-3": ["volume-5"]}
            assert again.tenant("contoso").volume("volume-4").read(0, 5) == b"there"
            assert again.tenant("contoso").volume("disk").find_snapshot("monday").number == 2

    def test_made_up_names_give_way(self, path: Path) -> None:
        old = (path / "catalog.db").read_bytes()
        with Store.open(path) as store:
            store.tenant("contoso").volume("disk").delete()
            store.tenant("contoso").create_volume("x", 512)
        (path / "catalog.db").write_bytes(old)
        change_catalog(path, "UPDATE volumes SET name = 'volume-3' WHERE number = 1")
        with Store.open(path, rebuild_catalog=True) as again:
            assert [volume.name for volume in again.tenant("contoso").volumes] == ["volume-3"]

    def test_of_another_division(self, path: Path) -> None:
        change_catalog(path, f"UPDATE drives SET blocks = {CAPACITY // BLOCK_SIZE - SEGMENT_BLOCKS}")
        with pytest.raises(FormatError):
            Store.open(path)

    def test_a_rebuild_writes(self, path: Path) -> None:
        with pytest.raises(ConfigError, match="read_only"):
            Store.open(path, read_only=True, rebuild_catalog=True)

    def test_a_failed_rebuild_keeps_the_old_one(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before = (path / "catalog.db").read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr("seqstore.recovery.Catalog.skip_numbers", lambda *a, **o: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                Store.open(path, rebuild_catalog=True)
        assert (path / "catalog.db").read_bytes() == before
        with Store.open(path, rebuild_catalog=True) as again:
            assert [tenant.name for tenant in again.tenants] == ["contoso"]


@pytest.mark.skipif(os.geteuid() != 0, reason="drops root's rights in a child")
class TestRights:
    @staticmethod
    def run(script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable,
                "-c",
                "import os; import seqstore; from seqstore import *; os.setuid(65534)\n" + script,
            ],
            capture_output=True,
            text=True,
            check=False,
        )

    def test_a_directory_that_cannot_be_written(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            Path(name).chmod(0o755)
            path = Path(name) / "lab.store"
            store = create(path)
            store.create_tenant("contoso").create_volume("disk", 512).write(0, b"kept")
            store.close()
            for file in path.rglob("*"):
                file.chmod(0o755 if file.is_dir() else 0o644)
            done = self.run(
                f"print(Store.open({str(path)!r}, read_only=True).tenants[0].volumes[0].read(0, 4))"
            )
            assert (done.stdout, done.stderr) == ("b'kept'\n", "")
            for call in (f"Store.open({str(path)!r})", f"Store.create({name!r} + '/new', '1MiB')"):
                done = self.run(call)
                assert "Permission denied" in done.stderr or "cannot be written" in done.stderr
                assert "Error" in done.stderr.splitlines()[-1]


def test_labels_are_found_behind_what_was_never_written(path: Path) -> None:
    drive = path / "drives/0.img"
    label = find_label(drive)
    assert label is not None
    assert (label.block_size, label.zone_blocks, label.blocks) == (BLOCK_SIZE, SEGMENT_BLOCKS, 1024)
    image = drive.read_bytes()
    drive.write_bytes(bytes(3 * SEGMENT_SIZE) + image[: CAPACITY - 3 * SEGMENT_SIZE])
    assert find_label(drive) is None  # it says where it belongs, and lies elsewhere
