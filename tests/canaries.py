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


def count_canaries() -> dict[str, int]:
    """Count the canaries in the memory of this process, at any alignment, by mapping."""
    chunk = np.zeros(_CHUNK_BYTES + 8, dtype=np.uint8)
    work = np.empty(_CHUNK_BYTES // 8, dtype=np.uint64)
    found: dict[str, int] = {}
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        for start, end, name in writable_mappings():
            for position in range(start, end, _CHUNK_BYTES):
                chunk[:] = 0  # so that what was met in one place is not met again here
                size = min(_CHUNK_BYTES + 7, end - position)
                try:
                    os.preadv(memory, [chunk.data[:size]], position)
                except OSError:
                    continue  # a mapping that went away, or guard pages
                count = count_in(chunk, work)
                if count:
                    place = f"{name or 'anonymous'} {start:x}-{end:x}"
                    found[place] = found.get(place, 0) + count
    finally:
        os.close(memory)
    return found


def count_in(chunk: npt.NDArray[np.uint8], work: Words) -> int:
    """Count the canaries that begin in a chunk, which has eight bytes more than it stands for."""
    count = 0
    for shift in range(8):
        words = chunk[shift : shift + _CHUNK_BYTES].view(np.uint64)
        np.multiply(words, np.uint64(MULTIPLIER), out=work)
        np.right_shift(work, np.uint64(24), out=work)
        count += int(np.count_nonzero(work == np.uint64(MARK)))
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
    """Pass arrays that are not contiguous, so that the library has to copy them."""
    rows = payload.view(np.uint8).reshape(BLOCKS, BLOCK_SIZE)
    volume.write_blocks(np.arange(BLOCKS // 2, dtype=np.uint64), rows[::2])
    volume.write(5, rows[::2])
    volume.read_blocks(0, rows[1::2])


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


def scenario() -> dict[str, dict[str, int]]:
    """Run it all; what was found at each station, by mapping."""
    payload: Words = np.zeros(BLOCKS * BLOCK_SIZE // 8, dtype=np.uint64)
    found = {"before": count_canaries()}
    with Store.memory("4MiB", block_size=BLOCK_SIZE, segment_size="128KiB") as store:
        tenant = store.create_tenant("contoso")
        volume = tenant.create_volume("secret", BLOCKS * BLOCK_SIZE)
        for step in (write_everything, read_everything, copy_on_the_way):
            fill(payload)
            step(volume, payload)
        run_lap(store, tenant, 2)  # the cleaner has the canaries in hand too
        fill(payload)
        fail(store, volume, payload)
        payload[:] = 0
        found["written"] = count_canaries()
        delete_and_lap(store, tenant, volume)
        found["lapped"] = count_canaries()
        kept = tenant.create_volume("kept", BLOCKS * BLOCK_SIZE)
        fill(payload)
        write_everything(kept, payload)
        payload[:] = 0
        found["written again"] = count_canaries()
    del store, tenant, volume, kept
    gc.collect()
    found["closed"] = count_canaries()
    return found


def delete_and_lap(store: Store, tenant: Tenant, volume: Volume) -> None:
    """Delete the volume, and let the head go round once."""
    volume.delete()
    run_lap(store, tenant)
    assert store.remanence(volume).blocks == 0


if __name__ == "__main__":
    print(json.dumps(scenario()))  # noqa: T201
