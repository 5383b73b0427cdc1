"""The store: how it is made, its tenants and volumes, and how it ends."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest

from seqstore import ClosedError, NotFoundError, Store, Tenant, Volume
from tests.small import BLOCK_COUNT, BLOCK_SIZE, CAPACITY, SEGMENT_SIZE, write_tagged


class TestMaking:
    @pytest.mark.parametrize("make", [Store.memory, Store.simulated])
    @pytest.mark.parametrize("capacity", [16 * 2**20, "16MiB", "16384 KiB"])
    def test_defaults(self, make: Callable[..., Store], capacity: int | str) -> None:
        with make(capacity) as store:
            drive = store.drives[0]
            assert (store.block_size, drive.block_size, drive.segment_size) == (4096, 4096, 2**20)
            assert (drive.capacity, drive.blocks, drive.segment_blocks) == (2**24, 4096, 256)
            assert len(store.drives) == 1
            assert store.tenants == ()
            assert drive.usable_blocks + drive.reserved_blocks == drive.data_capacity_blocks < drive.blocks

    def test_a_small_store_gets_small_segments(self) -> None:
        with Store.memory("1MiB") as store:
            assert store.drives[0].segment_size == 64 * 1024
            volume = store.create_tenant("contoso").create_volume("disk", "512KiB")
            volume.write(0, b"a" * volume.size)
            assert volume.read(0, volume.size) == b"a" * volume.size

    @pytest.mark.parametrize("block_size", [512, 1024, 4096, 65536])
    def test_block_sizes(self, block_size: int) -> None:
        with Store.memory(64 * block_size, block_size=block_size, segment_size=8 * block_size) as store:
            volume = store.create_tenant("contoso").create_volume("disk", 10 * block_size)
            rows = write_tagged(volume, range(10))
            assert (volume.read_blocks(0, 10) == rows).all()
            store.check()

    def test_the_smallest_store(self) -> None:
        with Store.memory(16 * 512, block_size=512, segment_size=4 * 512) as store:
            volume = store.create_tenant("contoso").create_volume("disk", "64KiB")
            usable = store.drives[0].usable_blocks
            assert usable > 0
            for version in range(1, 30):
                write_tagged(volume, range(usable), version)
            store.check()

    @pytest.mark.parametrize("reserve", [0.01, 0.07, 0.5])
    def test_the_reserve_is_kept_back(self, reserve: float) -> None:
        with Store.memory("16MiB", reserve=reserve) as store:
            drive = store.drives[0]
            assert drive.reserved_blocks >= reserve * drive.data_capacity_blocks - 1

    def test_two_stores_do_not_know_each_other(self, store: Store) -> None:
        store.create_tenant("contoso")
        with Store.memory(CAPACITY, block_size=BLOCK_SIZE, segment_size=SEGMENT_SIZE) as other:
            assert other.tenants == ()
            other.create_tenant("contoso")


class TestTenants:
    def test_in_order_of_creation(self, store: Store) -> None:
        tenants = [store.create_tenant(name) for name in ("zulu", "alpha", "mike")]
        assert store.tenants == tuple(tenants)
        assert [tenant.name for tenant in store.tenants] == ["zulu", "alpha", "mike"]
        assert [tenant.number for tenant in tenants] == [1, 2, 3]
        assert all(tenant.store is store for tenant in tenants)

    def test_are_found_by_name(self, store: Store) -> None:
        tenant = store.create_tenant("contoso")
        assert store.tenant("contoso") is tenant
        assert "contoso" in repr(tenant)
        with pytest.raises(NotFoundError, match="fabrikam"):
            store.tenant("fabrikam")

    def test_volumes_are_found_by_name(self, tenant: Tenant) -> None:
        volumes = [tenant.create_volume(name, 512) for name in ("b", "a")]
        assert tenant.volumes == tuple(volumes)
        assert tenant.volume("a") is volumes[1]
        with pytest.raises(NotFoundError, match="missing"):
            tenant.volume("missing")

    def test_two_tenants_may_use_one_name_for_their_volumes(self, store: Store) -> None:
        one, two = store.create_tenant("one"), store.create_tenant("two")
        first, second = one.create_volume("disk", 512), two.create_volume("disk", 512)
        first.write(0, b"first")
        assert first.number != second.number
        assert second.read(0, 5) == bytes(5)

    @pytest.mark.parametrize("name", ["a", "x" * 255, "ü" * 127, "with space", "Ω", "a.b-c_d", "..", "日本"])
    def test_names(self, store: Store, name: str) -> None:
        tenant = store.create_tenant(name)
        assert store.tenant(name) is tenant
        assert tenant.create_volume(name, 512).name == name

    def test_deletion_takes_the_volumes_along(self, store: Store, tenant: Tenant, volume: Volume) -> None:
        write_tagged(volume, range(8))
        tenant.delete()
        assert (tenant.deleted, volume.deleted) == (True, True)
        assert store.tenants == ()
        assert store.stats().live_blocks == 0
        assert store.remanence(tenant).blocks == 8
        assert "deleted" in repr(tenant)

    @pytest.mark.parametrize(
        "use",
        [
            lambda t: t.create_volume("x", 512),
            lambda t: t.volume("x"),
            lambda t: t.volumes,
            lambda t: t.delete(),
        ],
    )
    def test_are_of_no_use_after_deletion(self, tenant: Tenant, use: Callable[[Tenant], object]) -> None:
        tenant.delete()
        with pytest.raises(NotFoundError):
            use(tenant)

    def test_numbers_are_never_used_again(self, store: Store) -> None:
        seen: list[tuple[int, int]] = []
        for _ in range(5):
            tenant = store.create_tenant("contoso")
            seen.append((tenant.number, tenant.create_volume("disk", 512).number))
            tenant.delete()
        assert len({number for number, _ in seen}) == 5
        assert len({number for _, number in seen}) == 5

    def test_a_name_is_free_again_after_deletion(self, store: Store, tenant: Tenant, volume: Volume) -> None:
        volume.delete()
        assert tenant.create_volume("vm-disk", 512) is not volume
        tenant.delete()
        assert store.create_tenant("contoso") is not tenant

    def test_many_volumes(self, store: Store, tenant: Tenant) -> None:
        volumes = [tenant.create_volume(f"disk-{index}", 4096) for index in range(1000)]
        for volume in volumes[::10]:
            write_tagged(volume, [0])
        for volume in volumes[1::2]:
            volume.delete()
        assert len(tenant.volumes) == 500
        assert store.stats().live_blocks == 100
        store.check()


class TestEnding:
    def test_close_twice(self, store: Store) -> None:
        assert not store.closed
        store.close()
        store.close()
        assert store.closed
        assert "closed" in repr(store)

    @pytest.mark.parametrize(
        "use",
        [
            lambda s, t, v: s.create_tenant("x"),
            lambda s, t, v: s.tenant("contoso"),
            lambda s, t, v: s.tenants,
            lambda s, t, v: s.stats(),
            lambda s, t, v: s.remanence(),
            lambda s, t, v: s.check(),
            lambda s, t, v: s.drives[0].raw(0, 1),
            lambda s, t, v: s.drives[0].ledger(),
            lambda s, t, v: s.drives[0].segments(),
            lambda s, t, v: s.drives[0].head,
            lambda s, t, v: t.create_volume("x", 512),
            lambda s, t, v: t.volume("vm-disk"),
            lambda s, t, v: t.delete(),
            lambda s, t, v: v.read(0, 1),
            lambda s, t, v: v.readinto(0, bytearray(1)),
            lambda s, t, v: v.write(0, b"x"),
            lambda s, t, v: v.read_blocks(0, 1),
            lambda s, t, v: v.write_blocks(0, bytes(512)),
            lambda s, t, v: v.trim(0, 1),
            lambda s, t, v: v.resize(1),
            lambda s, t, v: v.flush(),
            lambda s, t, v: v.extents(),
            lambda s, t, v: v.delete(),
            lambda s, t, v: v.open(),
            lambda s, t, v: v.mapped_blocks,
            lambda s, t, v: s.__enter__(),
        ],
    )
    def test_use_after_close(
        self, store: Store, tenant: Tenant, volume: Volume, use: Callable[[Store, Tenant, Volume], object]
    ) -> None:
        store.close()
        with pytest.raises(ClosedError):
            use(store, tenant, volume)

    def test_representations_survive_the_end(self, store: Store, tenant: Tenant, volume: Volume) -> None:
        drive = store.drives[0]
        store.close()
        assert all(repr(thing) for thing in (store, tenant, volume, drive))

    def test_leaving_the_block_closes(self) -> None:
        with pytest.raises(KeyError), Store.memory("1MiB") as store:
            raise KeyError
        assert store.closed

    def test_a_forgotten_store_is_collected(self) -> None:
        store = Store.memory("1MiB")
        volume = store.create_tenant("contoso").create_volume("disk", "64KiB")
        volume.write(0, b"a")
        gone = weakref.ref(store)
        del store, volume
        gc.collect()
        assert gone() is None

    def test_a_volume_keeps_its_store(self) -> None:
        volume = Store.memory("1MiB").create_tenant("contoso").create_volume("disk", "64KiB")
        gc.collect()
        volume.write(0, b"a")
        assert volume.read(0, 1) == b"a"

    def test_the_drive_says_what_it_is(self, store: Store) -> None:
        drive = store.drives[0]
        assert drive.capacity == CAPACITY
        assert drive.blocks == BLOCK_COUNT
        assert 0 <= drive.head < drive.blocks
        assert repr(drive)
