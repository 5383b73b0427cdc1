"""Snapshots and clones: what they show, whose they are, who keeps what alive, and how they end."""

from __future__ import annotations

import io
import shutil
from typing import Any

import pytest

from seqstore import BlockState, ConfigError, NotFoundError, Snapshot, Store, Tenant, UnwrittenError, Volume
from tests.small import BLOCK_SIZE, run_lap, states, unchanged, write_tagged


@pytest.fixture
def snapshot(volume: Volume) -> Snapshot:
    write_tagged(volume, range(8))
    return volume.snapshot("monday")


class TestSnapshots:
    def test_show_what_was_there(self, store: Store, volume: Volume) -> None:
        old = write_tagged(volume, range(8))
        snapshot = volume.snapshot("monday")
        write_tagged(volume, range(4), version=2)
        volume.trim(4 * BLOCK_SIZE, 2 * BLOCK_SIZE)
        volume.resize(7 * BLOCK_SIZE)
        assert (snapshot.read_blocks(0, 8) == old).all()
        assert snapshot.read(5, 100) == old.tobytes()[5:105]
        buffer = bytearray(10)
        assert snapshot.readinto(BLOCK_SIZE, buffer) == 10
        assert bytes(buffer) == old[1].tobytes()[:10]
        assert (snapshot.size, snapshot.mapped_blocks, snapshot.block_size) == (65536, 8, BLOCK_SIZE)
        assert snapshot.extents()["count"].sum() == 8
        store.check()

    def test_of_trims_alone_hide_for_those_that_come_later(self, store: Store, volume: Volume) -> None:
        """The deletion of the second takes its layer out of the tree, where nothing but the trim is noted."""
        write_tagged(volume, range(8))
        volume.snapshot("monday")
        volume.trim(2 * BLOCK_SIZE, 3 * BLOCK_SIZE)
        volume.snapshot("tuesday").delete()
        assert volume.read(2 * BLOCK_SIZE, 3 * BLOCK_SIZE) == bytes(3 * BLOCK_SIZE)
        assert volume.mapped_blocks == 5
        store.check()

    def test_copy_nothing(self, store: Store, snapshot: Snapshot) -> None:
        assert store.stats().live_blocks == 8
        assert store.stats().user_blocks == 8

    def test_cannot_be_written(self, snapshot: Snapshot) -> None:
        for name in ("write", "write_blocks", "trim", "resize", "snapshot", "rollback"):
            assert not hasattr(snapshot, name)

    def test_as_files(self, snapshot: Snapshot) -> None:
        with snapshot.open() as file:
            assert (file.readable(), file.writable(), file.seek(0, io.SEEK_END)) == (True, False, 65536)
            file.seek(3)
            assert file.read(10) == snapshot.read(3, 10)
            assert "snapshot 'monday'" in repr(file)
            with pytest.raises(io.UnsupportedOperation):
                file.write(b"x")
            with pytest.raises(io.UnsupportedOperation):
                file.truncate(1)
            file.seek(0)
            copy = io.BytesIO()
            shutil.copyfileobj(file, copy)
            assert copy.getvalue() == snapshot.read(0, 65536)
        with pytest.raises(ConfigError, match="'rb'"):
            snapshot.open("r+b")  # type: ignore[arg-type]

    def test_are_found(self, tenant: Tenant, volume: Volume, snapshot: Snapshot) -> None:
        other = tenant.create_volume("other", 512).snapshot("monday")
        second = volume.snapshot("tuesday")
        assert volume.find_snapshot("monday") is snapshot
        assert volume.snapshots == (snapshot, second)
        assert tenant.snapshots == (snapshot, other, second)
        assert (snapshot.origin, snapshot.volume_number, snapshot.tenant) == (volume, volume.number, tenant)
        assert "monday" in repr(snapshot)
        with pytest.raises(NotFoundError, match="wednesday"):
            volume.find_snapshot("wednesday")

    @pytest.mark.parametrize("name", ["monday", "", "a/b", "x" * 256, "nul\0", 7])
    def test_names_that_are_refused(self, volume: Volume, snapshot: Snapshot, name: str) -> None:
        with pytest.raises(ConfigError):
            volume.snapshot(name)
        assert volume.snapshots == (snapshot,)

    def test_of_a_volume_whose_unwritten_is_an_error(self, strict_volume: Volume) -> None:
        write_tagged(strict_volume, [0])
        snapshot = strict_volume.snapshot("monday")
        assert snapshot.unwritten == snapshot.clone("copy").unwritten == "error"
        for view in (snapshot, snapshot.clone("another")):
            with pytest.raises(UnwrittenError):
                view.read_blocks(0, 2)

    def test_outlive_their_volume(self, store: Store, volume: Volume, snapshot: Snapshot) -> None:
        content = snapshot.read(0, 65536)
        volume.delete()
        assert snapshot.read(0, 65536) == content
        assert (snapshot.origin, volume.snapshots) == (None, (snapshot,))
        assert volume.tenant.snapshots == (snapshot,)
        snapshot.delete()
        assert store.stats().live_blocks == 0
        store.check()

    def test_survive_laps(self, store: Store, tenant: Tenant, snapshot: Snapshot) -> None:
        content = snapshot.read(0, 65536)
        run_lap(store, tenant, 3)
        assert snapshot.read(0, 65536) == content
        store.check()

    def test_are_of_no_use_after_deletion(self, volume: Volume, snapshot: Snapshot) -> None:
        snapshot.delete()
        assert snapshot.deleted
        for use in (
            snapshot.delete,
            snapshot.open,
            lambda: snapshot.read(0, 1),
            lambda: snapshot.clone("copy"),
            lambda: snapshot.size,
            lambda: volume.rollback(snapshot),
        ):
            with pytest.raises(NotFoundError):
                use()
        assert volume.snapshot("monday").number > snapshot.number

    def test_go_with_their_tenant(self, store: Store, tenant: Tenant, snapshot: Snapshot) -> None:
        kept = snapshot.clone("copy", tenant=store.create_tenant("fabrikam"))
        content = snapshot.read(0, 65536)
        tenant.delete()
        assert snapshot.deleted
        assert kept.read(0, 65536) == content
        assert kept.origin is None
        store.check()

    def test_are_what_remanence_knows(self, store: Store, volume: Volume, snapshot: Snapshot) -> None:
        volume.delete()
        assert store.remanence(volume.tenant).blocks == 0
        snapshot.delete()
        assert store.remanence(volume.tenant).blocks == 8


class TestClones:
    def test_begin_as_the_snapshot(self, store: Store, volume: Volume, snapshot: Snapshot) -> None:
        write_tagged(volume, range(8), version=2)
        clone = snapshot.clone("copy")
        assert clone.read(0, 65536) == snapshot.read(0, 65536)
        assert (clone.origin, clone.tenant, volume.tenant.volume("copy")) == (snapshot, volume.tenant, clone)
        clone.write(0, b"changed")
        assert snapshot.read(0, 7) != b"changed" != volume.read(0, 7)
        clone.trim(BLOCK_SIZE, BLOCK_SIZE)
        assert clone.read(BLOCK_SIZE, BLOCK_SIZE) == bytes(BLOCK_SIZE)
        assert snapshot.read(BLOCK_SIZE, BLOCK_SIZE) != bytes(BLOCK_SIZE)
        store.check()

    def test_for_another_tenant(self, store: Store, snapshot: Snapshot) -> None:
        other = store.create_tenant("fabrikam")
        clone = snapshot.clone("disk", tenant=other)
        assert (clone.tenant, other.volumes) == (other, (clone,))
        write_tagged(clone, [0])
        assert store.drives[0].ledger()["tenant"].max() == other.number

    def test_of_clones(self, store: Store, snapshot: Snapshot) -> None:
        content, view = snapshot.read(0, 65536), snapshot
        for depth in range(20):
            view = view.clone(f"clone-{depth}").snapshot("again")
        assert view.read(0, 65536) == content
        store.check()

    def test_names_that_are_taken(self, volume: Volume, snapshot: Snapshot) -> None:
        with pytest.raises(ConfigError, match="already"):
            snapshot.clone(volume.name)

    def test_for_a_tenant_that_is_gone_or_elsewhere(self, store: Store, snapshot: Snapshot) -> None:
        gone = store.create_tenant("gone")
        gone.delete()
        with pytest.raises(NotFoundError):
            snapshot.clone("copy", tenant=gone)
        with Store.memory("1MiB") as other, pytest.raises(ConfigError, match="another store"):
            snapshot.clone("copy", tenant=other.create_tenant("contoso"))

    @pytest.mark.parametrize("owner", ["contoso", 1, 0, False, "", (), object()])
    def test_only_none_stands_for_the_owner(self, store: Store, snapshot: Snapshot, owner: Any) -> None:
        with unchanged(store), pytest.raises(ConfigError, match="tenant is of type"):
            snapshot.clone("copy", tenant=owner)
        assert snapshot.clone("copy", tenant=None).tenant is snapshot.tenant

    @pytest.mark.parametrize("order", ["vsc", "vcs", "svc", "scv", "cvs", "csv"])
    def test_deleting_in_any_order_leaves_nothing(self, store: Store, volume: Volume, order: str) -> None:
        write_tagged(volume, range(8))
        snapshot = volume.snapshot("monday")
        clone = snapshot.clone("copy")
        write_tagged(volume, range(2), version=2)
        write_tagged(clone, range(6, 9), version=3)
        views: dict[str, Volume | Snapshot] = {"v": volume, "s": snapshot, "c": clone}
        contents = {name: view.read(0, 65536) for name, view in views.items()}
        for name in order:
            views.pop(name).delete()
            store.check()
            assert {left: view.read(0, 65536) for left, view in views.items()} == {
                left: contents[left] for left in views
            }
        assert states(store).get(BlockState.LIVE, 0) == 0


class TestRollback:
    def test_shows_the_snapshot_again(self, store: Store, volume: Volume, snapshot: Snapshot) -> None:
        content, number = snapshot.read(0, 65536), volume.number
        volume.resize(4 * BLOCK_SIZE)
        write_tagged(volume, range(4), version=2)
        volume.rollback(snapshot)
        assert (volume.size, volume.number, volume.read(0, 65536)) == (65536, number, content)
        write_tagged(volume, range(8), version=3)
        assert snapshot.read(0, 65536) == content
        store.check()

    def test_and_forward_again(self, volume: Volume, snapshot: Snapshot) -> None:
        write_tagged(volume, range(4), version=2)
        later, content = volume.snapshot("tuesday"), volume.read(0, 65536)
        volume.rollback(snapshot)
        volume.rollback(later)
        assert volume.read(0, 65536) == content

    def test_to_what_is_not_its_own(self, tenant: Tenant, volume: Volume, snapshot: Snapshot) -> None:
        other = tenant.create_volume("other", 512)
        for wrong in (other.snapshot("monday"), other, None):
            with pytest.raises(ConfigError, match="snapshot"):
                volume.rollback(wrong)  # type: ignore[arg-type]
        with Store.memory("1MiB") as store:
            stranger = store.create_tenant("contoso").create_volume("vm-disk", 512)
            with pytest.raises(ConfigError):
                stranger.rollback(snapshot)


class TestReach:
    def test_nobody(self, volume: Volume) -> None:
        write_tagged(volume, range(8))
        assert volume.reach() == ()

    def test_who_holds_which_range(self, store: Store, volume: Volume, snapshot: Snapshot) -> None:
        clone = snapshot.clone("copy")
        write_tagged(clone, range(2), version=2)
        write_tagged(volume, range(8), version=3)
        found = volume.reach()
        assert [(reach.holder, reach.blocks) for reach in found] == [(snapshot, 8), (clone, 6)]
        assert found[1].bytes == 6 * BLOCK_SIZE
        part = volume.reach(BLOCK_SIZE + 5, BLOCK_SIZE)
        assert [(reach.holder, reach.blocks) for reach in part] == [(snapshot, 2), (clone, 1)]
        assert volume.reach(20 * BLOCK_SIZE) == volume.reach(0, 0) == ()
        assert [reach.holder for reach in clone.reach()] == []

    def test_of_a_deleted_volume(self, store: Store, volume: Volume, snapshot: Snapshot) -> None:
        volume.delete()
        assert [(reach.holder, reach.blocks) for reach in volume.reach()] == [(snapshot, 8)]
        snapshot.delete()
        assert volume.reach() == ()

    @pytest.mark.parametrize("arguments", [(-1,), (0, -1), (0.5,), ("0",)])
    def test_bad_ranges(self, volume: Volume, arguments: tuple[int, ...]) -> None:
        with pytest.raises(ConfigError):
            volume.reach(*arguments)

    def test_ranges_beyond_everything(self, volume: Volume, snapshot: Snapshot) -> None:
        assert volume.reach(2**64 - 1) == ()
        assert len(volume.reach(0, 2**64 - 1)) == 1
