"""Callers who change, close or misstate what they have lent: errors for them, and nothing for the others."""

from __future__ import annotations

import gc
import threading
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from seqstore import ConfigError, CorruptionError, MediumError, MemoryMedium, OutOfSpaceError, Store, Volume
from seqstore.engine import Engine

BLOCK = 512
SECONDS = 0.5


def make_store() -> Store:
    return Store.memory("1MiB", block_size=BLOCK, segment_size="32KiB")


def attempt(volume: Volume, lbas: NDArray[np.uint64]) -> bool:
    """Write blocks of ones; False if the list is refused."""
    try:
        volume.write_blocks(lbas, np.ones((len(lbas), BLOCK), np.uint8))
    except (ConfigError, OutOfSpaceError):
        return False
    return True


@pytest.mark.parametrize("count", [64, 1024])
def test_addresses_that_change_while_they_are_written(count: int) -> None:
    """The list is read once for each batch; an address beyond the volume is refused whenever it comes."""
    with make_store() as store:
        volume = store.create_tenant("contoso").create_volume("disk", count * BLOCK)
        lbas = np.arange(count, dtype=np.uint64)
        stop = threading.Event()

        def flip() -> None:
            while not stop.is_set():
                lbas[count - 1] = 10**9
                lbas[count - 1] = 2**63
                lbas[count - 1] = count - 1

        thread = threading.Thread(target=flip)
        thread.start()
        refused = written = 0
        deadline = time.monotonic() + SECONDS
        try:
            while time.monotonic() < deadline:
                if attempt(volume, lbas):
                    written += 1
                else:
                    refused += 1
        finally:
            stop.set()
            thread.join()
        assert refused + written > 0
        store.check()


def test_addresses_that_become_different_while_they_are_counted() -> None:
    """All the same when the space is checked, all different when they are written: no more than fits."""
    with make_store() as store:
        drive = store.drives[0]
        volume = store.create_tenant("contoso").create_volume("disk", "2MiB")
        volume.write_blocks(0, np.ones((drive.usable_blocks - 2, BLOCK), np.uint8))
        fresh = np.arange(drive.usable_blocks, drive.usable_blocks + 512, dtype=np.uint64)
        lbas = np.zeros(512, np.uint64)
        stop = threading.Event()

        def change() -> None:
            while not stop.is_set():
                lbas[:] = 0
                lbas[:] = fresh

        thread = threading.Thread(target=change)
        thread.start()
        deadline = time.monotonic() + SECONDS
        try:
            while time.monotonic() < deadline:
                if not attempt(volume, lbas):
                    volume.trim(drive.usable_blocks * BLOCK, 512 * BLOCK)
        finally:
            stop.set()
            thread.join()
        assert store.stats().live_blocks <= drive.usable_blocks
        store.check()


def test_a_medium_that_is_closed_under_its_store() -> None:
    with make_store() as store:
        volume = store.create_tenant("contoso").create_volume("disk", "64KiB")
        volume.write(0, b"still here")
        store.drives[0].medium.close()
        gc.collect()
        assert volume.read(0, 10) == b"still here"


def test_a_medium_has_one_log() -> None:
    with make_store() as store:
        with pytest.raises(ConfigError):
            Engine(store.drives[0].medium, drive=1, reserve_ppm=0, verify=True)
        store.check()


def test_a_medium_of_a_store_takes_no_orders_from_outside() -> None:
    with make_store() as store:
        volume = store.create_tenant("contoso").create_volume("disk", "64KiB")
        volume.write(0, bytes(8 * BLOCK))
        medium = store.drives[0].medium
        assert isinstance(medium, MemoryMedium)
        with pytest.raises(MediumError):
            medium.reset(0)
        with pytest.raises(MediumError):
            medium.append(int(medium.write_pointer(1)), bytes(BLOCK))
        volume.write(0, bytes(64 * 1024))
        store.check()


def test_an_array_that_misstates_its_size() -> None:
    class Large(np.ndarray):
        size = property(lambda self: 4096 * BLOCK)
        shape = property(lambda self: (4096, BLOCK))

        def __len__(self) -> int:
            return 4096

    with make_store() as store:
        volume = store.create_tenant("contoso").create_volume("disk", "512KiB")
        small = np.zeros((1, BLOCK), np.uint8).view(Large)
        with pytest.raises(ConfigError):
            volume.read_blocks(np.arange(512, dtype=np.uint64), small)
        with pytest.raises(ConfigError):
            volume.write_blocks(np.arange(512, dtype=np.uint64), small)
        with pytest.raises(ConfigError):
            volume.write_blocks(np.zeros(1, np.uint64).view(Large), np.zeros((512, BLOCK), np.uint8))


def test_a_failed_read_hands_out_nothing() -> None:
    with make_store() as store:
        volume = store.create_tenant("contoso").create_volume("disk", "64KiB")
        volume.write(0, b"secret!!" * (4 * BLOCK // 8))
        mba = int(volume.extents()["mba"][0]) + 3
        medium = store.drives[0].medium
        assert isinstance(medium, MemoryMedium)
        medium.overwrite(mba, bytes(BLOCK))
        buffer = bytearray(b"\xee" * 4 * BLOCK)
        with pytest.raises(CorruptionError):
            volume.readinto(0, buffer)
        assert b"secret" not in buffer


def test_a_lent_memoryview_in_a_cycle_of_garbage() -> None:
    """Up to Python 3.12 collecting it crashed the interpreter."""
    with make_store() as store:
        volume = store.create_tenant("contoso").create_volume("disk", "64KiB", unwritten="error")
        for _ in range(20):
            view = memoryview(bytearray(BLOCK))
            try:
                volume.readinto(0, view)
            except LookupError as error:
                error.me = error  # type: ignore[attr-defined]
            del view
            gc.collect(0)  # it is young
        volume.write(0, b"alive")
        assert volume.read(0, 5) == b"alive"
