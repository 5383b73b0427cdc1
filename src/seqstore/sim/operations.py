"""The common currency of workloads, traces and replay: operations, in structured arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


class Kind(IntEnum):
    """What an operation does."""

    WRITE = 0
    READ = 1
    TRIM = 2
    CREATE = 3
    """A volume begins; `lba` is its size in blocks."""
    DELETE = 4
    """A volume ends."""
    LEAVE = 5
    """A tenant ends, with all its volumes."""


OPERATION_DTYPE = np.dtype(
    [
        ("time_ns", "<u8"),
        ("kind", "u1"),
        ("tenant", "<u4"),
        ("volume", "<u4"),
        ("lba", "<u8"),
        ("count", "<u4"),
    ]
)
"""One operation: nanoseconds since the start, a `Kind`, who and where (numbers from 1), blocks."""


@runtime_checkable
class Source(Protocol):
    """Where operations come from: a workload or a trace.

    Attributes
    ----------
    name : str
        What it is called in results.
    parameters : mapping of str to object
        What repeats it; everything can be written as JSON.
    blocks : int
        No more blocks than that are ever mapped at once.
    volumes : mapping of (int, int) to int, or None
        Size in blocks of each volume, by tenant and number, where that is known in advance. Others are made
        by operations of kind `Kind.CREATE`.
    """

    @property
    def name(self) -> str:
        """See the class."""
        ...

    @property
    def parameters(self) -> Mapping[str, Any]:
        """See the class."""
        ...

    @property
    def blocks(self) -> int:
        """See the class."""
        ...

    @property
    def volumes(self) -> Mapping[tuple[int, int], int] | None:
        """See the class."""
        ...

    def batches(self) -> Iterator[NDArray[np.void]]:
        """Give the operations in their order, in arrays of `OPERATION_DTYPE`."""
        ...


@runtime_checkable
class Writes(Source, Protocol):
    """A source that only writes single blocks of one volume: replayed without looking at each operation."""

    def writes(self) -> Iterator[NDArray[np.uint64]]:
        """Give the addresses in their order: arrays of lbas, one block each."""
        ...
