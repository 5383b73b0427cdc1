"""Looks for tenant data in the memory of the process: run as ``python -m tests.canaries``.

A canary is a 64-bit word w with ``w * MULTIPLIER >> 24 == MARK`` (modulo 2**64). So canaries are found by a
property, and neither the search nor the program holds one in clear that it could find by mistake: products
of canaries are no canaries. Once in 2**40 a random word is one.

The scenario writes canaries in all ways, reads them, deletes them and lets the drive lap; then none may be
left in any writable mapping of the process. The caller's own buffers are cleared by the scenario itself.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from seqstore import CorruptionError, OutOfSpaceError, Store, Tenant, Volume
from tests.small import overwrite, run_lap

MULTIPLIER = 0x9E3779B97F4A7C15
MARK = 0x5EC2E7DA7A
_INVERSE = pow(MULTIPLIER, -1, 2**64)
_CHUNK_BYTES = 1 << 22
_LARGEST_MAPPING = 1 << 32  # larger ones are address space that a sanitizer has reserved
BLOCK_SIZE = 4096
BLOCKS = 64

Words = npt.NDArray[np.uint64]


def fill(buffer: Words) -> None:
    """Fill a buffer with canaries, all different."""
    buffer[:] = np.arange(len(buffer), dtype=np.uint64)
    buffer |= np.uint64(MARK << 24)
    buffer *= np.uint64(_INVERSE)


def writable_mappings() -> Iterator[tuple[int, int, str]]:
    """Yield start, end and name of the writable mappings of this process."""
    with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:  # noqa: PTH123
        lines = maps.readlines()
    for line in lines:
        addresses, rights, *rest = line.split(maxsplit=5)
        start, end = (int(address, 16) for address in addresses.split("-"))
        if rights.startswith("rw") and end - start <= _LARGEST_MAPPING:
            yield start, end, rest[-1].strip() if len(rest) == 4 else ""


class Search:
    """Counts canaries; made before the first of them, since later buffers could overlie what it looks for."""

    def __init__(self) -> None:
        self.chunk = np.zeros(_CHUNK_BYTES + 8, dtype=np.uint8)
        self.words = np.zeros(_CHUNK_BYTES // 8, dtype=np.uint64)
        self.memory = os.open("/proc/self/mem", os.O_RDONLY)

    def in_process(self) -> dict[str, int]:
        """Count the canaries in the memory of this process, at any alignment, by mapping."""
        found: dict[str, int] = {}
        for start, end, name in writable_mappings():
            count = sum(self._in_range(*part) for part in self._around_chunk(start, end))
            if count:
                found[f"{name or 'anonymous'} {start:x}-{end:x}"] = count
        return found

    def on_medium(self, store: Store) -> int:
        """Count the canaries that lie on the medium, where they belong."""
        raw = store.drives[0].raw(0, store.drives[0].blocks)
        assert len(raw) == _CHUNK_BYTES
        self.chunk[:_CHUNK_BYTES] = np.frombuffer(raw, dtype=np.uint8)
        wipe(raw)
        return self._in_chunk()

    def _around_chunk(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Cut the search's own window out of a range."""
        own = self.chunk.ctypes.data
        yield start, min(end, own)
        yield max(start, own + self.chunk.nbytes), end

    def _in_range(self, start: int, end: int) -> int:
        count = 0
        for position in range(start, end, _CHUNK_BYTES):
            size = min(_CHUNK_BYTES + 7, end - position)
            try:
                os.preadv(self.memory, [self.chunk.data[:size]], position)
            except OSError:
                self.chunk[:] = 0  # a mapping that went away, or guard pages
            count += self._in_chunk()
        return count

    def _in_chunk(self) -> int:
        """Count the canaries that begin in the window, but for its last eight bytes, and clear it."""
        count = 0
        for shift in range(8):
            words = self.chunk[shift : shift + _CHUNK_BYTES].view(np.uint64)
            np.multiply(words, np.uint64(MULTIPLIER), out=self.words)
            np.right_shift(self.words, np.uint64(24), out=self.words)
            count += int(np.count_nonzero(self.words == np.uint64(MARK)))
        self.chunk[:] = 0
        return count


def wipe(data: bytes) -> None:
    """Clear a bytes object that the caller owns alone."""
    ctypes.memset(id(data) + bytes.__basicsize__ - 1, 0, len(data))


def write_everything(volume: Volume, payload: Words) -> None:
    """Put canaries into the volume in every way there is."""
    view = payload.data.cast("B")
    rows = payload.view(np.uint8).reshape(BLOCKS, BLOCK_SIZE)
    volume.write_blocks(0, rows)
    volume.write_blocks(np.random.default_rng(1).permutation(BLOCKS).astype(np.uint64), rows)
    volume.write(0, view)
    for start in range(0, 40 * BLOCK_SIZE, 1711):  # pieces of blocks: the rest is read and written again
        volume.write(start, view[start : start + 999])
    volume.write(3 * BLOCK_SIZE - 40, view[: 20 * BLOCK_SIZE])
    volume.resize(volume.size - 1000)
    volume.resize(volume.size + 1000)
    volume.trim(5 * BLOCK_SIZE + 800, 300)


def read_everything(volume: Volume, payload: Words) -> None:
    """Read in every way there is, and clear what was returned."""
    view = payload.data.cast("B")
    volume.read_blocks(0, payload.view(np.uint8).reshape(BLOCKS, BLOCK_SIZE))
    volume.readinto(0, view)
    volume.readinto(17, view[: 3 * BLOCK_SIZE])
    for data in (volume.read(0, volume.size), volume.read(100, 1000), volume.read(4000, 200)):
        wipe(data)
    returned = volume.read_blocks(0, 8)
    returned[:] = 0
    returned = volume.read_blocks(np.arange(8, dtype=np.uint64))
    returned[:] = 0


def copy_on_the_way(volume: Volume, payload: Words) -> None:
    """Pass arrays that are not contiguous, so that the library has to copy them, and read as a file.

    All in small pieces: a large one would be mapped memory of its own, which is gone once it is freed.
    """
    rows = payload.view(np.uint8).reshape(BLOCKS, BLOCK_SIZE)
    for count in (8, 4, 2):
        some = rows[: 2 * count]
        volume.write_blocks(np.arange(count, dtype=np.uint64), some[::2])
        volume.write(5, some[::2])
        volume.read_blocks(0, some[1::2])
    with volume.open("rb") as file:
        for data in [file.read(length) for length in (9000, 5000, 3000, 20000, 7000)]:
            wipe(data)


def fail(store: Store, volume: Volume, payload: Words) -> None:
    """Take the ways that end in an error with data already in hand."""
    view = payload.data.cast("B")
    too_large = volume.tenant.create_volume("too-large", store.drives[0].capacity)
    filler = np.full(
        (store.drives[0].usable_blocks - store.stats().live_blocks, BLOCK_SIZE), 0x22, dtype=np.uint8
    )
    too_large.write_blocks(0, filler)
    for offset in (len(filler) * BLOCK_SIZE - 700, len(filler) * BLOCK_SIZE):
        try:
            too_large.write(offset, view[:9000])
        except OutOfSpaceError:
            continue
        raise AssertionError("a write to a full drive went through")
    too_large.delete()
    mba = int(volume.extents()[0]["mba"])
    overwrite(store, mba, b"\x33" * BLOCK_SIZE)
    lba = int(volume.extents()[0]["lba"])
    calls: list[Callable[[], object]] = [
        lambda: volume.write(lba * BLOCK_SIZE + 5, view[:100]),
        lambda: volume.readinto(0, view),
    ]
    for call in calls:
        try:
            call()
        except CorruptionError:
            continue
        raise AssertionError("damage was not found")
    volume.resize(volume.size - 1000)


def scenario() -> dict[str, object]:
    """Run it all, and say what was found at each station, by mapping."""
    payload: Words = np.zeros(BLOCKS * BLOCK_SIZE // 8, dtype=np.uint64)
    search = Search()
    found: dict[str, object] = {"before": search.in_process()}
    with Store.memory(_CHUNK_BYTES, block_size=BLOCK_SIZE, segment_size="128KiB") as store:
        tenant = store.create_tenant("contoso")
        volume = tenant.create_volume("secret", BLOCKS * BLOCK_SIZE)
        for name, steps in (("copied", [copy_on_the_way]), ("written", [write_everything, read_everything])):
            for step in steps:
                fill(payload)
                step(volume, payload)
            payload[:] = 0
            found[name] = search.in_process()
            found[f"{name}, on the medium"] = search.on_medium(store)
        run_lap(store, tenant, 2)  # the cleaner has the canaries in hand too
        fill(payload)
        fail(store, volume, payload)
        payload[:] = 0
        delete_and_lap(store, tenant, volume)
        found["lapped"] = search.in_process()
        kept = tenant.create_volume("kept", BLOCKS * BLOCK_SIZE)
        fill(payload)
        write_everything(kept, payload)
        payload[:] = 0
    del store, tenant, volume, kept
    gc.collect()
    found["closed"] = search.in_process()
    return found


def delete_and_lap(store: Store, tenant: Tenant, volume: Volume) -> None:
    """Delete the volume, and let the head go round once."""
    volume.delete()
    run_lap(store, tenant)
    assert store.remanence(volume).blocks == 0


if __name__ == "__main__":
    print(json.dumps(scenario()))  # noqa: T201
