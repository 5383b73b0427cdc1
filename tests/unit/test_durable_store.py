"""Stores in a directory: made, closed, opened again, also after a crash."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seqstore import (
    AccessError,
    CallsMedium,
    ClosedError,
    ConfigError,
    FileMedium,
    MediumError,
    NotFoundError,
    Store,
    Tenant,
    Volume,
)
from tests.durable import CAPACITY, crash, create, picture, reopen
from tests.small import BLOCK_SIZE, SEGMENT_SIZE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lab.store"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = create(path)
    yield store
    if not store.closed:
        crash(store)


@pytest.fixture
def tenant(store: Store) -> Tenant:
    return store.create_tenant("contoso")


@pytest.fixture
def volume(tenant: Tenant) -> Volume:
    volume = tenant.create_volume("disk", 10_000)
    volume.write(100, b"first")
    return volume


class TestLife:
    def test_what_lies_in_the_directory(self, store: Store, path: Path) -> None:
        store.close()
        files = sorted(str(file.relative_to(path)) for file in path.rglob("*"))
        assert files == ["catalog.db", "drives", "drives/0.img"]
        assert (path / "drives/0.img").stat().st_size == CAPACITY

    def test_a_closed_store_comes_back_as_it_was(self, store: Store, path: Path, volume: Volume) -> None:
        strict = volume.tenant.create_volume("strict", "8KiB", unwritten="error")
        volume.snapshot("monday").clone("copy", tenant=store.create_tenant("fabrikam"))
        volume.write(100, b"other")
        before, numbers = picture(store), [v.number for v in volume.tenant.volumes]
        assert (store.recovery, store.read_only) == (None, False)
        store.close()
        with Store.open(path) as again:
            assert picture(again)["fabrikam"] == before["fabrikam"]
            tenant = again.tenant("contoso")
            assert [v.number for v in tenant.volumes] == numbers
            assert tenant.volume("disk").read(100, 5) == b"other"
            assert tenant.volume("disk").find_snapshot("monday").read(100, 5) == b"first"
            assert tenant.volume("strict").unwritten == strict.unwritten == "error"
            assert again.recovery is not None
            assert again.recovery.clean
            again.check()

    def test_numbers_go_on(self, store: Store, path: Path, volume: Volume) -> None:
        volume.rollback(volume.snapshot("monday"))
        volume.tenant.delete()
        store.close()
        with Store.open(path) as again:
            tenant = again.create_tenant("contoso")
            assert (tenant.number, tenant.create_volume("disk", 512).number) == (2, 4)

    def test_what_was_flushed_survives_a_crash(self, store: Store, path: Path, volume: Volume) -> None:
        volume.flush()
        volume.write(200, b"not flushed")
        with reopen(store, path) as again:
            assert again.recovery is not None
            assert not again.recovery.clean
            assert again.tenant("contoso").volume("disk").read(100, 5) == b"first"

    def test_names_survive_a_crash_without_a_flush(self, store: Store, path: Path, volume: Volume) -> None:
        snapshot = volume.snapshot("monday")
        snapshot.clone("copy")
        with reopen(store, path) as again:
            assert list(picture(again)["contoso"]) == [
                ("volume", "disk"),
                ("volume", "copy"),
                ("snapshot of 1", "monday"),
            ]
            assert again.tenant("contoso").volume("copy").read(100, 5) == b"first"
            again.tenant("contoso").volume("disk").delete()
            with reopen(again, path) as third:
                assert [v.name for v in third.tenant("contoso").volumes] == ["copy"]

    def test_flushing_the_store_flushes_all(self, store: Store, path: Path, tenant: Tenant) -> None:
        volumes = [tenant.create_volume(str(number), 512) for number in range(3)]
        for volume in volumes:
            volume.write(0, volume.name.encode())
        store.flush()
        with reopen(store, path) as again:
            assert [v.read(0, 1) for v in again.tenant("contoso").volumes] == [b"0", b"1", b"2"]

    def test_a_checkpoint_shortens_the_opening(self, store: Store, path: Path, volume: Volume) -> None:
        for _ in range(50):
            volume.write(0, b"x")
            volume.flush()
        crash(store)
        with Store.open(path) as again:
            assert again.recovery is not None
            long = again.recovery.records
            again.checkpoint()
            assert again._parts.catalog.drive.flushed_sequence >= again.recovery.last_sequence
            crash(again)
        with Store.open(path) as again:
            assert again.recovery is not None
            assert again.recovery.records < long / 2

    def test_flushes_from_several_threads_share_syncs(self, store: Store, volume: Volume) -> None:
        def write(index: int) -> None:
            for _ in range(25):
                volume.write(index * 512, b"x")
                volume.flush()

        threads = [threading.Thread(target=write, args=(index,)) for index in range(8)]
        before = store.stats()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # Where syncs take no time none is shared; the first flush also makes the opening safe.
        assert 0 < (store.stats() - before).syncs <= 8 * 25 + 1

    def test_a_forgotten_store_gives_its_lock_back(self, path: Path) -> None:
        store = create(path)
        store.create_tenant("contoso").create_volume("disk", 512).flush()
        del store
        gc.collect()
        with Store.open(path) as again:
            assert again.tenant("contoso").volume("disk").size == 512

    def test_closing_is_the_end(self, store: Store, volume: Volume) -> None:
        snapshot = volume.snapshot("monday")
        store.close()
        store.close()
        for use in (
            store.flush,
            store.checkpoint,
            store.scrub,
            lambda: store.create_tenant("x"),
            lambda: volume.snapshot("x"),
            lambda: volume.snapshots,
            lambda: volume.find_snapshot("monday"),
            lambda: volume.rollback(snapshot),
            volume.reach,
            lambda: volume.origin,
            lambda: volume.tenant.snapshots,
            lambda: snapshot.clone("x"),
            lambda: snapshot.read(0, 1),
            snapshot.open,
            snapshot.delete,
        ):
            with pytest.raises(ClosedError):
                use()

    @pytest.mark.parametrize(
        "options",
        [
            {"access": "direct", "block_size": 4096, "segment_size": "32KiB"},
            {"access": "mapped"},
            {"preallocate": False},
            {"checkpoint_interval": "64KiB"},
            {"verify": False},
            {"reserve": 0.2},
        ],
    )
    def test_options(self, path: Path, options: dict[str, Any]) -> None:
        with Store.create(path, "1MiB", **{"block_size": 512, "segment_size": "8KiB", **options}) as store:
            usable = store.drives[0].usable_blocks
            volume = store.create_tenant("contoso").create_volume("disk", "128KiB")
            volume.write(0, bytes(range(256)) * 512)
        with Store.open(path) as again:
            assert again.drives[0].usable_blocks == usable
            assert getattr(again.drives[0].medium, "access", None) == options.get("access", "cached")
            assert again.tenant("contoso").volume("disk").read(0, 131072) == bytes(range(256)) * 512


class TestReadOnly:
    def test_nothing_changes(self, store: Store, path: Path, volume: Volume) -> None:
        snapshot = volume.snapshot("monday")
        before = picture(store)
        crash(store)
        files = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
        with Store.open(path, read_only=True) as again:
            assert again.read_only
            assert picture(again) == before
            volume = again.tenant("contoso").volume("disk")
            snapshot = volume.find_snapshot("monday")
            for use in (
                lambda: again.create_tenant("x"),
                again.checkpoint,
                volume.tenant.delete,
                lambda: volume.tenant.create_volume("x", 512),
                lambda: volume.write(0, b"x"),
                lambda: volume.trim(0, 512),
                lambda: volume.resize(1),
                lambda: volume.snapshot("x"),
                lambda: volume.rollback(snapshot),
                volume.delete,
                lambda: snapshot.clone("x"),
                snapshot.delete,
            ):
                with pytest.raises(AccessError):
                    use()
            assert picture(again) == before
        assert {file: file.read_bytes() for file in files} == files

    def test_several_may_read(self, store: Store, path: Path, volume: Volume) -> None:
        store.close()
        with Store.open(path, read_only=True) as one, Store.open(path, read_only=True) as two:
            assert picture(one) == picture(two)
            with pytest.raises(MediumError, match="in use"):
                Store.open(path)

    def test_half_made_things_are_not_shown(self, store: Store, path: Path, volume: Volume) -> None:
        before = picture(store)
        catalog = store._parts.catalog
        catalog.add_volume(replace(catalog.volumes()[0], number=0, name="half"))
        doomed = store.create_tenant("doomed")
        doomed.create_volume("disk", 512)
        catalog.mark_deleting(doomed.number)
        crash(store)
        with Store.open(path, read_only=True) as again:
            assert picture(again) == before
        with Store.open(path) as again:
            assert picture(again) == before
            assert len(again._parts.catalog.volumes()) == 1


class Failing:
    """Calls of a medium that keep the bytes, and fail when they are told to."""

    def __init__(self) -> None:
        self.data = bytearray(CAPACITY)
        self.fails = ""

    def append(self, mba: int, data: memoryview) -> None:
        self._fail("append")
        self.data[mba * BLOCK_SIZE : mba * BLOCK_SIZE + len(data)] = data

    def read(self, mba: int, count: int, out: memoryview) -> None:
        out[:] = self.data[mba * BLOCK_SIZE : (mba + count) * BLOCK_SIZE]

    def sync(self) -> None:
        self._fail("sync")

    def reset(self, zone: int) -> None:
        pass

    def _fail(self, what: str) -> None:
        if what == self.fails:
            raise OSError(5, "the medium is broken")

    def medium(self) -> CallsMedium:
        return CallsMedium(self, CAPACITY, block_size=BLOCK_SIZE, zone_size=SEGMENT_SIZE)


@contextmanager
def raises_broken() -> Iterator[None]:
    with pytest.raises(MediumError) as caught:
        yield
    assert caught.value.errno == 5
    assert "broken" in str(caught.value.__cause__)
    assert str(2**64 - 1) not in str(caught.value)  # a sync has no place


class TestMedia:
    def test_a_medium_of_the_callers(self, tmp_path: Path) -> None:
        calls, catalog = Failing(), tmp_path / "names.db"
        with Store.create_on(calls.medium(), catalog=catalog) as store:
            store.create_tenant("contoso").create_volume("disk", 512).write(0, b"kept")
            medium = store.drives[0].medium
        assert not medium.closed
        with Store.open_on(calls.medium(), catalog=catalog) as again:
            assert again.tenant("contoso").volume("disk").read(0, 4) == b"kept"
        with Store.open_on(calls.medium()) as again:
            assert again.tenant("tenant-1").volume("volume-1").read(0, 4) == b"kept"
            again.tenant("tenant-1").create_volume("new", 512)
        with Store.open_on(calls.medium(), read_only=True) as again:
            assert [volume.number for volume in again.tenant("tenant-1").volumes] == [1, 2]

    @pytest.mark.parametrize("medium", [None, "drive.img", Failing(), FileMedium])
    def test_something_else_than_a_medium(self, tmp_path: Path, medium: Any) -> None:
        catalog = tmp_path / "names.db"
        for make in (Store.create_on, Store.open_on):
            with pytest.raises(ConfigError, match="medium is of type"):
                make(medium, catalog=catalog)
        assert not catalog.exists()

    def test_a_file_of_the_callers(self, tmp_path: Path) -> None:
        path = tmp_path / "drive"
        with FileMedium(path, CAPACITY, create=True, block_size=BLOCK_SIZE, zone_size=SEGMENT_SIZE) as medium:
            with Store.create_on(medium) as store:
                store.create_tenant("contoso").create_volume("disk", 512).write(0, b"kept")
            with Store.open_on(medium) as again:
                assert again.tenants[0].volumes[0].read(0, 4) == b"kept"

    def test_an_append_that_fails_can_be_tried_again(self) -> None:
        calls = Failing()
        with Store.create_on(calls.medium()) as store:
            volume = store.create_tenant("contoso").create_volume("disk", 4096)
            volume.write(0, b"x")
            calls.fails = "append"
            with raises_broken():
                store.flush()
            calls.fails = ""
            volume.write(1, b"y")
            store.flush()
            crash(store)
        with Store.open_on(calls.medium()) as again:
            assert again.tenants[0].volumes[0].read(0, 2) == b"xy"

    def test_after_a_failed_sync_nothing_goes(self) -> None:
        calls = Failing()
        store = Store.create_on(calls.medium())
        volume = store.create_tenant("contoso").create_volume("disk", 4096)
        volume.write(0, b"x")
        calls.fails = "sync"
        with raises_broken():
            store.flush()
        calls.fails = ""
        with pytest.raises(MediumError, match="open it again"):
            volume.write(0, b"y")
        with pytest.raises(MediumError, match="open it again"):
            store.close()
        assert store.closed
        store.close()
        with Store.open_on(calls.medium()) as again:
            assert again.tenants[0].volumes[0].size == 4096
            again.check()

    def test_a_failed_creation_closes_everything(self, tmp_path: Path) -> None:
        calls = Failing()
        calls.fails = "sync"
        catalog = tmp_path / "names.db"
        with raises_broken():
            Store.create_on(calls.medium(), catalog=catalog)
        assert not catalog.exists()

    def test_leaving_a_failed_store_raises(self) -> None:
        calls = Failing()

        def leave() -> None:
            with Store.create_on(calls.medium()) as store:
                store.create_tenant("contoso").create_volume("disk", 512)
                calls.fails = "sync"

        with raises_broken():
            leave()

    def test_residue_outlives_names_and_handles(self, store: Store, path: Path) -> None:
        tenant = store.create_tenant("contoso")
        tenant.create_volume("disk", 4096).write(0, bytes(4096))
        tenant.delete()
        before = store.remanence(tenant)
        assert before.blocks == 8
        store.close()
        with Store.open(path) as again:
            assert again.tenants == ()
            assert again.remanence(tenant.number).blocks == 8

    def test_what_was_deleted_is_not_found(self, store: Store, volume: Volume) -> None:
        volume.delete()
        with pytest.raises(NotFoundError):
            volume.snapshot("monday")
        with pytest.raises(NotFoundError):
            volume.flush()
