"""C loops that show what the machine can do: memcpy of blocks, nothing else around it."""

from __future__ import annotations

import importlib.util
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from cffi import FFI
from numpy.typing import NDArray

_DECLARATION = """
void copy_blocks(uint8_t *to, const uint64_t *blocks, const uint8_t *from, uint64_t count, uint64_t bytes);
"""
_SOURCE = """
#include <stdint.h>
#include <string.h>
void copy_blocks(uint8_t *to, const uint64_t *blocks, const uint8_t *from, uint64_t count, uint64_t bytes)
{
    for (uint64_t i = 0; i < count; i++)
        memcpy(to + blocks[i] * bytes, from + i * bytes, bytes);
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
