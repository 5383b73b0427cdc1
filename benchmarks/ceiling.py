"""C loops that show what the machine can do: memcpy, random accesses, files; nothing else around them."""

from __future__ import annotations

import importlib.util
import mmap
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from cffi import FFI
from numpy.typing import NDArray

from seqstore._native._core import ffi, lib
from seqstore._native.crypt import system_crypto

_DECLARATION = """
void copy_blocks(uint8_t *to, const uint64_t *blocks, const uint8_t *from, uint64_t count, uint64_t bytes);
void touch(uint32_t *map, uint64_t map_count, uint64_t *ledger, uint64_t ledger_count, uint64_t writes);
int write_steps(int file, uint64_t steps, const uint8_t *data, uint64_t bytes, uint64_t sync_every);
int read_steps(int file, uint64_t offset, uint64_t length, uint8_t *data, uint64_t bytes);
int read_at(int file, const uint64_t *offsets, uint64_t count, uint8_t *data, uint64_t bytes);
void stream(uint8_t *to, uint64_t bytes, int value);
int seal_steps(void *seal, void *key, int file, uint64_t offset, const uint8_t *plain, uint64_t count,
               uint64_t blocks, uint8_t *buffer, uint8_t *tags);
int open_steps(void *open, void *key, int file, uint64_t offset, uint8_t *plain, uint64_t count,
               uint64_t blocks, const uint8_t *tags);
"""
_SOURCE = """
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
void copy_blocks(uint8_t *to, const uint64_t *blocks, const uint8_t *from, uint64_t count, uint64_t bytes)
{
    for (uint64_t i = 0; i < count; i++)
        memcpy(to + blocks[i] * bytes, from + i * bytes, bytes);
}
static uint64_t at(uint64_t *state, uint64_t count)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint64_t)(((unsigned __int128)*state * count) >> 64);
}
void touch(uint32_t *map, uint64_t map_count, uint64_t *ledger, uint64_t ledger_count, uint64_t writes)
{
    uint64_t m[128], l[128], state = 1;
    for (uint64_t done = 0; done < writes * 269; done += 100 * 128) {
        for (int i = 0; i < 128; i++)
            __builtin_prefetch(&map[m[i] = at(&state, map_count)], 1);
        for (int i = 0; i < 48; i++)
            __builtin_prefetch(&ledger[l[i] = at(&state, ledger_count)], 1);
        for (int i = 0; i < 128; i++)
            map[m[i]] += 1;
        for (int i = 0; i < 48; i++)
            ledger[l[i]] += 1;
    }
}
int write_steps(int file, uint64_t steps, const uint8_t *data, uint64_t bytes, uint64_t sync_every)
{
    for (uint64_t i = 0; i < steps; i++) {
        if (pwrite(file, data, bytes, (off_t)(i * bytes)) != (ssize_t)bytes)
            return errno != 0 ? errno : EIO;
        if ((i + 1) % sync_every == 0 && fdatasync(file) != 0)
            return errno;
    }
    return 0;
}
int read_steps(int file, uint64_t offset, uint64_t length, uint8_t *data, uint64_t bytes)
{
    for (uint64_t done = 0; done < length; done += bytes) {
        uint64_t here = length - done < bytes ? length - done : bytes;
        if (pread(file, data, here, (off_t)(offset + done)) != (ssize_t)here)
            return errno != 0 ? errno : EIO;
    }
    return 0;
}
int read_at(int file, const uint64_t *offsets, uint64_t count, uint8_t *data, uint64_t bytes)
{
    for (uint64_t i = 0; i < count; i++)
        if (pread(file, data, bytes, (off_t)offsets[i]) != (ssize_t)bytes)
            return errno != 0 ? errno : EIO;
    return 0;
}
void stream(uint8_t *to, uint64_t bytes, int value)
{
#if defined(__x86_64__)
    __m128i all = _mm_set1_epi8((char)value);
    for (uint64_t at = 0; at < bytes; at += sizeof all)
        _mm_stream_si128((__m128i *)(to + at), all);
    _mm_sfence();
#else
    memset(to, value, bytes);
#endif
}
enum {BLOCK = 4096, AAD = 24, TAG = 16, NONCE = 12, MOST = 256};
typedef int seal_call(void *key, const uint8_t *nonce, const uint8_t *aads, uint64_t aad_bytes,
                      const uint8_t *plain, uint64_t bytes, uint64_t count, uint8_t *out, uint8_t *tags);
typedef int open_call(void *key, const uint8_t *nonces, const uint8_t *aads, uint64_t aad_bytes,
                      const uint8_t *cipher, uint64_t bytes, uint64_t count, const uint8_t *tags,
                      uint8_t *plain, uint64_t *opened);
static void nonces_from(uint64_t first, uint64_t count, uint8_t *nonces)
{
    memset(nonces, 0, count * NONCE);
    for (uint64_t i = 0; i < count; i++)
        for (int byte = 0; byte < 8; byte++)
            nonces[i * NONCE + 4 + byte] = (uint8_t)((first + i) >> 8 * byte);
}
int seal_steps(void *seal, void *key, int file, uint64_t offset, const uint8_t *plain, uint64_t count,
               uint64_t blocks, uint8_t *buffer, uint8_t *tags)
{
    seal_call *call = (seal_call *)seal;
    uint8_t aads[MOST * AAD] = {0}, nonce[NONCE];
    for (uint64_t done = 0; done < count; done += blocks) {
        uint64_t here = count - done < blocks ? count - done : blocks, size = here * BLOCK;
        const uint8_t *from = plain + done * BLOCK;
        nonces_from(done, 1, nonce);
        if (call(key, nonce, aads, AAD, from, BLOCK, here, buffer, tags + done * TAG) != 0)
            return EINVAL;
        if (pwrite(file, buffer, size, (off_t)(offset + done * BLOCK)) != (ssize_t)size)
            return errno != 0 ? errno : EIO;
    }
    return 0;
}
int open_steps(void *open, void *key, int file, uint64_t offset, uint8_t *plain, uint64_t count,
               uint64_t blocks, const uint8_t *tags)
{
    open_call *call = (open_call *)open;
    uint8_t aads[MOST * AAD] = {0}, nonces[MOST * NONCE];
    for (uint64_t done = 0; done < count; done += blocks) {
        uint64_t here = count - done < blocks ? count - done : blocks, size = here * BLOCK;
        uint8_t *to = plain + done * BLOCK;
        if (pread(file, to, size, (off_t)(offset + done * BLOCK)) != (ssize_t)size)
            return errno != 0 ? errno : EIO;
        nonces_from(done, here, nonces);
        if (call(key, nonces, aads, AAD, to, BLOCK, here, tags + done * TAG, to, NULL) != 0)
            return EINVAL;
    }
    return 0;
}
"""


@cache
def _build() -> ModuleType:
    builder = FFI()
    builder.cdef(_DECLARATION)
    builder.set_source("seqstore_bench_ceiling", _SOURCE, extra_compile_args=["-O3"])
    path = builder.compile(tmpdir=str(Path(tempfile.mkdtemp(prefix="seqstore-bench-"))))
    spec = importlib.util.spec_from_file_location("seqstore_bench_ceiling", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def copy_blocks(array: NDArray[np.uint8], blocks: NDArray[np.uint64], data: NDArray[np.uint8]) -> None:
    """Copy ``data[i]`` to ``array[blocks[i]]`` with memcpy, in one call of C."""
    core: Any = _build()
    core.lib.copy_blocks(
        core.ffi.from_buffer("uint8_t[]", array, True),
        core.ffi.from_buffer("uint64_t[]", blocks),
        core.ffi.from_buffer("uint8_t[]", data),
        len(blocks),
        data.shape[1],
    )


def touch(map_count: int, ledger_count: int, writes: int) -> float:
    """Time the random accesses of overwrites on a drive that is 80 % full, and nothing else of them.

    Each write touches 2.69 entries of the map (its own, and those of the 1.69 blocks that are moved for it)
    and one of the ledger, in batches that are fetched before they are used. Arrays lie in huge pages where
    numpy asks for them.

    Returns
    -------
    float
        Seconds a write.
    """
    core: Any = _build()
    map_array, ledger = np.ones(map_count, np.uint32), np.ones(ledger_count, np.uint64)
    lent = (
        core.ffi.from_buffer("uint32_t[]", map_array, True),
        core.ffi.from_buffer("uint64_t[]", ledger, True),
    )
    start = time.perf_counter()
    core.lib.touch(lent[0], map_count, lent[1], ledger_count, writes)
    return (time.perf_counter() - start) / writes


def write_steps(file: int, data: bytes, steps: int, sync_every: int) -> None:
    """Write `data` to a file so many times, one after the other from its start, with fdatasync in between."""
    core: Any = _build()
    error = core.lib.write_steps(file, steps, core.ffi.from_buffer("uint8_t[]", data), len(data), sync_every)
    if error:
        raise OSError(error, os.strerror(error))


def read_steps(file: int, offset: int, length: int, buffer: bytearray | mmap.mmap) -> None:
    """Read a range of a file into a buffer, as much at once as it holds."""
    core: Any = _build()
    target = core.ffi.from_buffer("uint8_t[]", buffer, True)
    error = core.lib.read_steps(file, offset, length, target, len(buffer))
    if error:
        raise OSError(error, os.strerror(error))


def read_at(file: int, offsets: NDArray[np.uint64], buffer: bytearray) -> None:
    """Read a buffer full of a file at each offset, one call of `pread` after the other."""
    core: Any = _build()
    target = core.ffi.from_buffer("uint8_t[]", buffer, True)
    lent = core.ffi.from_buffer("uint64_t[]", offsets)
    error = core.lib.read_at(file, lent, len(offsets), target, len(buffer))
    if error:
        raise OSError(error, os.strerror(error))


def stream(array: NDArray[np.uint8], value: int) -> None:
    """Fill an array, 64 bytes or a multiple of it, with stores past the cache, on two threads."""
    core: Any = _build()
    at, half = core.ffi.from_buffer("uint8_t[]", array, True), len(array) // 128 * 64
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(core.lib.stream, (at, at + half), (half, len(array) - half), (value, value)))


class Sealing:
    """Blocks of 4 KiB that are sealed and written to a file, or read and opened, and nothing else of a store.

    The calls of libcrypto are those of the core; one key, expanded once.

    Parameters
    ----------
    file : int
        Descriptor.
    blocks : int
        How many go in one call of `pwrite` or `pread`, at most 256.
    laps : int
        As many times what is written the file has room for: each `write` goes on behind the one before, as a
        log does.
    """

    _BLOCK, _TAG = 4096, 16

    def __init__(self, file: int, blocks: int, laps: int) -> None:
        self._core: Any = _build()
        self._file, self._blocks, self._laps, self._turn = file, blocks, laps, 0
        handle = ffi.new("sq_key **")
        assert lib.sq_key_create(system_crypto().handle, bytes(range(32)), handle) == 0
        self._key = ffi.gc(handle[0], lib.sq_key_destroy)
        self._buffer = bytearray(blocks * self._BLOCK)
        self._tags = bytearray()

    def _pass(self, pointer: Any) -> Any:
        """Hand a pointer from one module of cffi to another."""
        return self._core.ffi.cast("void *", int(ffi.cast("intptr_t", pointer)))

    def _run(self, name: str, call: str, data: NDArray[np.uint8], *more: bytearray) -> None:
        lend = self._core.ffi.from_buffer
        error = getattr(self._core.lib, name)(
            self._pass(ffi.addressof(lib, call)), self._pass(self._key), self._file,
            self._turn % self._laps * data.nbytes, lend("uint8_t[]", data), len(data), self._blocks,
            *(lend("uint8_t[]", each) for each in more),
        )  # fmt: skip
        if error:
            raise OSError(error, os.strerror(error))

    def write(self, data: NDArray[np.uint8]) -> None:
        """Seal blocks, uint8[n, 4096], and write them."""
        self._turn += 1
        self._tags = self._tags or bytearray(len(data) * self._TAG)
        self._run("seal_steps", "sq_key_seal_run", data, self._buffer, self._tags)

    def read(self, out: NDArray[np.uint8]) -> None:
        """Read the blocks that were written last, and open them where they are to be."""
        self._run("open_steps", "sq_key_open_blocks", out, self._tags)
