"""Requests as a trace has them, in bytes, and the operations in blocks that they become."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from seqstore.sim.operations import OPERATION_DTYPE, Kind

NO_KIND = 255
"""A line that is no request for data: a flush, a file that is opened, another command."""

MAX_OFFSET = 1 << 60
MAX_LENGTH = 1 << 32
SECTOR_BYTES = 512
"""What block traces call a sector, whatever the drive's own sectors were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Lines of a trace that a reader understood, in the order of the file.

    Attributes
    ----------
    time : int64[n]
        In the unit of the format, since the epoch of the format.
    kind : uint8[n]
        A `Kind` or `NO_KIND`.
    tenant, volume : uint32[n]
        Numbers from 1.
    offset, length : int64[n]
        Bytes, below `MAX_OFFSET` and `MAX_LENGTH`.
    """

    time: NDArray[np.int64]
    kind: NDArray[np.uint8]
    tenant: NDArray[np.uint32]
    volume: NDArray[np.uint32]
    offset: NDArray[np.int64]
    length: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.time)

    def where(self, mask: NDArray[np.bool_]) -> Requests:
        """Pick some of them."""
        return Requests(**{column.name: getattr(self, column.name)[mask] for column in fields(self)})


@dataclass(slots=True)
class Counts:
    """What one pass over a trace has met so far.

    Attributes
    ----------
    requests : int
        Reads, writes and trims.
    misaligned : dict of (int, int) to int
        Requests that do not begin and end at a block's border, by tenant and volume.
    disordered : int
        Requests that the trace places before an earlier one.
    skipped : int
        Lines that ask for no data.
    """

    requests: int = 0
    misaligned: dict[tuple[int, int], int] = field(default_factory=dict)
    disordered: int = 0
    skipped: int = 0


class Shaper:
    """Turns requests into operations, batch after batch of one pass.

    Parameters
    ----------
    block_size : int
        Bytes, a power of two.
    shift : int
        Bytes added to each offset.
    time_unit_ns : int
        Unit of the times of the requests.
    """

    def __init__(self, *, block_size: int, shift: int, time_unit_ns: int) -> None:
        self.counts = Counts()
        self._block_size = block_size
        self._shift = shift
        self._time_unit_ns = time_unit_ns
        self._start: int | None = None
        self._latest = 0

    def select(self, requests: Requests) -> Requests:
        """Drop the lines that ask for no data, and count them."""
        asks = (requests.kind != NO_KIND) & (requests.length > 0)
        asking = int(np.count_nonzero(asks))
        self.counts.requests += asking
        self.counts.skipped += len(requests) - asking
        return requests if asking == len(requests) else requests.where(asks)

    def shape(self, requests: Requests) -> NDArray[np.void]:
        """Make operations of selected requests.

        Reads and writes are rounded outward to whole blocks, trims inward, as a volume does it: a block that
        is trimmed in part keeps its place. A trim of less than a block disappears.

        Parameters
        ----------
        requests : Requests
            As `select` leaves them.

        Returns
        -------
        structured array of OPERATION_DTYPE
            One for each request but for the trims that disappear.
        """
        offset = requests.offset + self._shift
        end = offset + requests.length
        bits, inside = self._block_size.bit_length() - 1, self._block_size - 1
        self._count_misaligned(requests, (offset | requests.length) & inside != 0)
        operations = np.empty(len(requests), OPERATION_DTYPE)
        operations["time_ns"] = self._times(requests.time)
        for name in ("kind", "tenant", "volume"):
            operations[name] = getattr(requests, name)
        first, last = offset >> bits, (end + inside) >> bits
        trims = requests.kind == Kind.TRIM
        if trims.any():
            first = np.where(trims, (offset + inside) >> bits, first)
            last = np.where(trims, np.maximum(end >> bits, first), last)
        operations["lba"] = first
        operations["count"] = last - first
        return operations[operations["count"] > 0] if trims.any() else operations

    def _count_misaligned(self, requests: Requests, which: NDArray[np.bool_]) -> None:
        tenant, volume = requests.tenant[which], requests.volume[which]
        if not len(tenant):
            return
        numbers, counts = np.array([tenant[0].astype(np.uint64) << 32 | volume[0]]), np.array([len(tenant)])
        if tenant.min() < tenant.max() or volume.min() < volume.max():
            owner = tenant.astype(np.uint64) << np.uint64(32) | volume
            numbers, counts = np.unique(owner, return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            key = (number >> 32, number & 0xFFFFFFFF)
            self.counts.misaligned[key] = self.counts.misaligned.get(key, 0) + count

    def _times(self, time: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Nanoseconds since the first request; none is before the one that precedes it."""
        if not len(time):
            return np.empty(0, np.uint64)
        if self._start is None:
            self._start = int(time[0])
        since = time - self._start
        before = np.maximum.accumulate(np.concatenate(([self._latest], since)))
        self.counts.disordered += int(np.count_nonzero(since < before[:-1]))
        self._latest = int(before[-1])
        return before[1:].astype(np.uint64) * np.uint64(self._time_unit_ns)
