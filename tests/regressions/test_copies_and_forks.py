"""Drives and catalogs that do not belong together, and processes that were forked: what is refused.

A copy of a store has the identity and the numbers of the original. When the two go apart and parts of them
are swapped, or only one part comes back from a backup, a volume would show what another tenant wrote.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

import seqstore
from seqstore import Store


def fill(path: Path, tenant: str, data: bytes) -> None:
    with Store.open(path) as store:
        store.create_tenant(tenant).create_volume("disk", "64KiB").write(0, data)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "lab.store"
    Store.create(path, "4MiB", segment_size="64KiB").close()
    return path


def test_the_drive_of_a_copy_that_went_its_own_way(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.store"
    shutil.copytree(store, copy)
    fill(store, "bob", b"bob's")
    fill(copy, "mallory", b"mallory's")
    shutil.copy(store / "drives" / "0.img", copy / "drives" / "0.img")
    with pytest.raises(seqstore.FormatError, match="another moment"):
        Store.open(copy)
    with pytest.raises(seqstore.FormatError, match="another moment"):
        Store.open(copy, read_only=True)


def test_a_drive_from_a_backup(store: Path, tmp_path: Path) -> None:
    shutil.copy(store / "drives" / "0.img", tmp_path / "backup.img")
    fill(store, "bob", b"bob's")
    shutil.copy(tmp_path / "backup.img", store / "drives" / "0.img")
    with pytest.raises(seqstore.FormatError):
        Store.open(store)


def test_a_catalog_from_a_backup(store: Path, tmp_path: Path) -> None:
    shutil.copy(store / "catalog.db", tmp_path / "catalog.db")
    fill(store, "bob", b"bob's")
    shutil.copy(tmp_path / "catalog.db", store / "catalog.db")
    with pytest.raises(seqstore.FormatError, match="another moment"):
        Store.open(store)
    with Store.open(store, rebuild_catalog=True) as rebuilt:
        assert rebuilt.tenants[0].volumes[0].read(0, 5) == b"bob's"
    Store.open(store).close()


def test_both_from_a_backup(store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "backup.store")
    fill(store, "bob", b"bob's")
    with Store.open(tmp_path / "backup.store") as backup:
        assert backup.tenants == ()


def test_a_forked_process_leaves_the_store_to_its_parent(store: Path) -> None:
    with Store.open(store) as opened:
        volume = opened.create_tenant("bob").create_volume("disk", "64KiB")
        volume.write(0, b"first")
        opened.flush()
        child = os.fork()
        if child == 0:
            refused = 0
            for change in (lambda: volume.write(0, b"child"), volume.flush, opened.checkpoint):
                with suppress(seqstore.ClosedError):
                    change()
                    continue
                refused += 1
            opened.close()
            os._exit(0 if refused == 3 and opened.closed else 1)
        assert os.waitpid(child, 0)[1] == 0
        volume.write(5, b" second")
        opened.flush()
        assert volume.read(0, 12) == b"first second"
    with Store.open(store) as again:
        assert again.recovery is not None
        assert again.recovery.clean
        assert again.tenant("bob").volume("disk").read(0, 12) == b"first second"


def test_a_forked_process_makes_no_tenants(store: Path) -> None:
    with Store.open(store) as opened:
        child = os.fork()
        if child == 0:
            try:
                opened.create_tenant("child")
            except seqstore.ClosedError:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert opened.create_tenant("parent").number == 1


def test_openings_that_failed_do_not_spoil_the_right_drive(store: Path, tmp_path: Path) -> None:
    drive = store / "drives" / "0.img"
    fill(store, "bob", b"bob's")
    right = drive.read_bytes()
    drive.write_bytes(os.urandom(len(right)))
    for _ in range(6):
        with pytest.raises(seqstore.FormatError):
            Store.open(store)
    drive.write_bytes(right)
    for _ in range(3):
        with Store.open(store) as opened:
            assert opened.tenant("bob").volume("disk").read(0, 5) == b"bob's"


def test_journals_without_their_catalog(store: Path) -> None:
    copy = store.with_name("copy.store")
    with Store.open(store) as opened:
        opened.create_tenant("bob").create_volume("disk", "64KiB").write(0, b"bob's")
        opened.flush()
        shutil.copytree(store, copy)  # as a crash leaves it
    assert (copy / "catalog.db-wal").exists()
    (copy / "catalog.db").unlink()
    with Store.open(copy, rebuild_catalog=True) as rebuilt:
        assert rebuilt.tenants[0].volumes[0].read(0, 5) == b"bob's"
    Store.open(copy).close()
