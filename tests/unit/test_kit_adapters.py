"""Our own stores behind the kit's protocol."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from seqstore import NotFoundError, UnwrittenError
from seqstore.testing.adapters import FaultyAdapter, SeqstoreAdapter, durable, faulty, memory
from seqstore.testing.protocol import BlockStore, Capabilities

BLOCK = b"x" * 512
OTHER = b"y" * 512

Factory = Callable[[], SeqstoreAdapter]


@pytest.fixture(params=["memory", "durable", "faulty"])
def factory(request: pytest.FixtureRequest, tmp_path: Path) -> Factory:
    factories: dict[str, Factory] = {
        "memory": memory(),
        "durable": durable(tmp_path),
        "faulty": faulty(1),
    }
    return factories[request.param]


def test_each_is_a_block_store_with_what_seqstore_can_do(factory: Factory) -> None:
    store = factory()
    assert isinstance(store, BlockStore)
    able = Capabilities.of(store)
    assert able.write_bytes
    assert able.clone
    assert able.media
    assert able.purge
    assert able.crash == (store.atomic_blocks is not None)
    store.close()


def test_calls_reach_the_store(factory: Factory) -> None:
    store = factory()
    volume = store.create_volume("amber", 20)
    store.write(volume, 3, BLOCK * 2)
    snapshot = store.snapshot(volume)
    store.trim(volume, 3, 1)
    store.write_bytes(volume, 4 * 512 + 10, b"zz")
    store.resize(volume, 5)
    clone = store.clone(snapshot, "birch")
    assert store.read(volume, 3, 2) == bytes(512) + b"x" * 10 + b"zz" + b"x" * 500
    assert store.read_bytes(clone, 3 * 512 - 1, 3) == b"\0xx"
    store.delete_volume(volume)
    store.delete_snapshot(snapshot)
    store.delete_tenant("amber")
    assert store.read(clone, 4, 1) == BLOCK
    for call in (lambda: store.read(volume, 0, 1), lambda: store.clone(snapshot, "birch")):
        with pytest.raises(LookupError):
            call()
    store.close()


def test_handles_outlive_a_crash(tmp_path: Path) -> None:
    for factory in (durable(tmp_path), faulty(1)):
        store = factory()
        volume, gone = store.create_volume("amber", 4), store.create_volume("birch", 4)
        store.write(volume, 0, BLOCK)
        snapshot = store.snapshot(volume)
        store.delete_tenant("birch")
        store.flush()
        before = store.store
        store.crash()
        assert store.store is not before
        assert store.read(volume, 0, 1) == BLOCK
        assert store.read(store.clone(snapshot, "amber"), 0, 1) == BLOCK
        assert store.create_volume("birch", 4) not in {volume, gone, snapshot}
        with pytest.raises(LookupError):
            store.read(gone, 0, 1)
        store.delete_tenant("amber")
        store.close()


def test_a_power_cut_loses_what_was_not_flushed_and_the_same_each_time() -> None:
    def shown(seed: int) -> list[bytes]:
        store = faulty(seed)()
        volume = store.create_volume("amber", 64)
        seen = []
        for _ in range(8):
            for lba in range(64):
                store.write(volume, lba, BLOCK)
            store.crash()
            seen.append(store.read(volume, 0, 64))
            store.trim(volume, 0, 64)
            store.flush()
        store.close()
        return seen

    first = shown(1)
    assert first == shown(1)
    assert any(data != BLOCK * 64 for data in first)
    assert len({tuple(shown(seed)) for seed in range(4)}) > 1


def test_a_lap_passes_when_a_store_is_cleaned(factory: Factory) -> None:
    store = factory()
    volume = store.create_volume("amber", 4)
    store.write(volume, 0, BLOCK)
    first = store.store.stats()
    store.clean()
    last = store.store.stats()
    assert last.position - first.position >= first.block_count
    assert last.live_blocks == first.live_blocks == 1
    assert last.relocated_blocks > 0
    assert store.read(volume, 0, 1) == BLOCK
    store.close()


def test_a_full_store_is_left_alone(factory: Factory) -> None:
    store = factory()
    usable = store.store.stats().usable_blocks
    volume = store.create_volume("amber", usable)
    store.write(volume, 0, BLOCK * usable)
    store.clean()
    assert store.read(volume, 0, usable) == BLOCK * usable
    store.close()


def test_the_media_are_the_drive(factory: Factory) -> None:
    store = factory()
    volume = store.create_volume("amber", 4)
    store.write(volume, 0, BLOCK)
    store.write(volume, 0, OTHER)
    store.flush()
    media = b"".join(store.media())
    assert len(media) == store.store.drives[0].capacity
    assert BLOCK in media
    assert OTHER in media
    store.close()


def test_a_purge_goes_on_until_nothing_is_left(factory: Factory) -> None:
    store = factory()
    volume = store.create_volume("amber", 4)
    store.write(volume, 0, BLOCK)
    store.write(volume, 1, OTHER)
    store.clean()  # leaves copies behind
    store.trim(volume, 0, 1)
    store.purge()
    media = b"".join(store.media())
    assert BLOCK not in media
    assert OTHER in media
    assert store.read(volume, 0, 2) == bytes(512) + OTHER
    store.close()


def test_a_full_store_can_be_purged(factory: Factory) -> None:
    store = factory()
    usable = store.store.stats().usable_blocks
    volume = store.create_volume("amber", usable)
    store.write(volume, 0, BLOCK * usable)
    store.write(volume, 0, OTHER)
    store.purge()
    assert store.store.remanence().blocks == 0
    assert b"".join(bytes(part) for part in store.media()).count(BLOCK) == usable - 1
    assert store.read(volume, 0, usable) == OTHER + BLOCK * (usable - 1)
    store.close()


def test_what_was_deleted_is_refused_by_the_store(factory: Factory) -> None:
    store = factory()
    volume = store.create_volume("amber", 4)
    other = store.create_volume("birch", 4)
    store.delete_volume(volume)
    store.delete_tenant("birch")
    for gone in (volume, other):
        with pytest.raises(NotFoundError):
            store.read(gone, 0, 1)
    store.close()


def test_unwritten_blocks_can_be_errors() -> None:
    store = memory(unwritten="error")()
    volume = store.create_volume("amber", 4)
    with pytest.raises(UnwrittenError):
        store.read(volume, 0, 1)
    store.close()


def test_a_closed_store_leaves_no_directory(tmp_path: Path) -> None:
    store = durable(tmp_path)()
    assert [path.name for path in tmp_path.iterdir()] == ["store-1"]
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_a_faulty_store_hands_out_its_drive() -> None:
    store = faulty(1)()
    assert isinstance(store, FaultyAdapter)
    store.drive.fill()
    with pytest.raises(OSError, match="No space left"):
        store.create_volume("amber", 4)
    assert store.drive.counts.out_of_space > 0
    store.drive.make_room()
    store.crash()
    assert store.create_volume("amber", 4)
    store.close()
