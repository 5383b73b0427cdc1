"""What attacks on durable stores found: each was a way to lose a store, or what had been promised of it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from seqstore import ClosedError, OutOfSpaceError, Store, Volume
from tests.durable import crash, create


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "lab.store"


def fill(volume: Volume, *, is_flushed: bool) -> int:
    """Write blocks until there is no room, and return how many there was room for."""
    for filled in range(volume.blocks):
        try:
            volume.write(filled * volume.block_size, bytes(volume.block_size))
        except OutOfSpaceError:
            break
        if is_flushed:
            volume.flush()
    return filled


@pytest.mark.parametrize("segment_blocks", [7, 8, 9])
@pytest.mark.parametrize("is_flushed", [False, True])
def test_a_full_drive_without_a_reserve_takes_overwrites(
    place: Path, segment_blocks: int, is_flushed: bool
) -> None:
    """The newest checkpoint lies in segments that nothing can be moved out of."""
    segment = 512 * segment_blocks
    with Store.create(place, 100 * segment, block_size=512, segment_size=segment, reserve=0) as store:
        volume = store.create_tenant("t").create_volume("v", 100 * segment)
        filled = fill(volume, is_flushed=is_flushed)
        for turn in range(60):
            volume.write(turn * 7 % (filled - 24) * 512 + 100, b"y" * (24 * 512 - 100))
        store.check()


def test_what_was_acknowledged_beside_a_close_is_there(place: Path) -> None:
    """No write gets in between the last flush and the end."""
    for turn in range(5):
        folder = place.with_name(f"{turn}.store")
        store = Store.create(folder, "16MiB", segment_size="64KiB")
        volume = store.create_tenant("t").create_volume("v", "8MiB")
        written: dict[int, bytes] = {}
        running = threading.Event()

        def write(first: int) -> None:
            for count in range(1_000_000):
                lba, block = first + count % 200, count.to_bytes(4, "little") * 1024
                try:
                    volume.write(lba * 4096, block)  # noqa: B023 (joined in the same turn)
                except ClosedError:
                    return
                written[lba] = block  # noqa: B023
                running.set()  # noqa: B023

        threads = [threading.Thread(target=write, args=(first,)) for first in (0, 200, 400)]
        for thread in threads:
            thread.start()
        running.wait()
        store.close()
        for thread in threads:
            thread.join()
        with Store.open(folder) as store:
            assert store.recovery is not None
            assert store.recovery.clean
            volume = store.tenant("t").volume("v")
            assert all(volume.read(lba * 4096, 4096) == block for lba, block in written.items())


def test_a_tenant_takes_with_it_what_a_signal_left_behind(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume that the log knows and no object stands for; once the catalog forgot it."""
    store = create(place)
    tenant = store.create_tenant("t")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store._registry, "_new_volume", interrupt)
        with pytest.raises(KeyboardInterrupt):
            tenant.create_volume("v", "64KiB")
    tenant.delete()
    crash(store)
    with Store.open(place) as store:
        assert store.tenants == ()
        assert not len(store._engine.volumes())
