"""libCacheSim's oracleGeneral: requests for objects of a cache, in binary records of 24 bytes.

References
----------
libCacheSim, ``oracleGeneralBin.h`` and FAQ: little-endian ``uint32`` time in seconds, ``uint64`` object
(often a hash), ``uint32`` size in bytes, ``int64`` number of the object's next request.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqstore.sim.operations import Kind
from seqstore.sim.traces.reader import Reader, one_tenant
from seqstore.sim.traces.requests import MAX_OFFSET, Requests
from seqstore.sim.traces.streams import malformed, read_records

RECORD = np.dtype([("time", "<u4"), ("object", "<u8"), ("size", "<u4"), ("next", "<i8")])


class OracleGeneralReader(Reader):
    """Reads oracleGeneral: one volume of one tenant, to which each request writes its object.

    The records say neither where an object lies nor what is done with it. So every request is a write, and
    each object has a run of blocks of its own, laid down in the order in which objects appear. One that
    comes back larger than its run gets a new one at the end, and the old one is trimmed first. Where the runs
    lie is kept in memory, about 250 bytes for each object.
    """

    time_unit_ns = 10**9

    def __init__(self, path: Path, block_size: int) -> None:
        super().__init__(path, block_size)
        self._runs: dict[int, tuple[int, int]] = {}
        self._end = 0

    def requests(self) -> Iterator[Requests]:
        """Give the records of the trace, many at a time."""
        for number, data in read_records(self.path, RECORD.itemsize):
            records = np.frombuffer(data, RECORD)
            requests = self._place(records[records["size"] > 0])
            if self._end * self.block_size >= MAX_OFFSET:
                raise malformed(self.path, number, "more objects", f"objects of less than {MAX_OFFSET} bytes")
            yield requests

    def _place(self, records: NDArray[np.void]) -> Requests:
        """Give each object its run of blocks, and a larger one where it has grown."""
        ids, group = np.unique(records["object"], return_inverse=True)
        known = np.array([self._runs.get(number, (0, 0)) for number in ids.tolist()], np.int64).reshape(-1, 2)
        # Sorted by object, and each object's requests in their order, the size of its run at each request
        # is the largest size so far: with the object's number above it, one running maximum over all.
        order = np.argsort(group, kind="stable")
        group = group[order]
        blocks = -(-records["size"].astype(np.int64)[order] // self.block_size)
        run_blocks = np.maximum.accumulate(group << 32 | np.maximum(blocks, known[group, 1])) & 0xFFFFFFFF
        is_first = np.ones(len(group), np.bool_)
        is_first[1:] = group[1:] != group[:-1]
        before = np.where(is_first, known[group, 1], np.concatenate(([0], run_blocks[:-1])))
        moves = run_blocks > before
        # New runs follow each other in the order of the requests that need them.
        new_blocks = np.zeros(len(group), np.int64)
        new_blocks[order] = np.where(moves, run_blocks, 0)
        new_start = (self._end + np.cumsum(new_blocks) - new_blocks)[order]
        self._end += int(new_blocks.sum())
        # Each request's run is the one of the latest move of its object, or the one known from before.
        latest = np.maximum.accumulate(np.where(moves | is_first, np.arange(len(group)), 0))
        start = np.where(moves[latest], new_start[latest], known[group, 0])
        start_before = np.where(is_first, known[group, 0], np.concatenate(([0], start[:-1])))
        is_last = np.append(is_first[1:], True)[: len(group)]
        runs = zip(start[is_last].tolist(), run_blocks[is_last].tolist(), strict=True)
        self._runs.update(zip(ids.tolist(), runs, strict=True))
        return self._requests(records, order, start, start_before, np.where(moves, before, 0))

    def _requests(
        self,
        records: NDArray[np.void],
        order: NDArray[np.intp],
        start: NDArray[np.int64],
        start_before: NDArray[np.int64],
        outgrown: NDArray[np.int64],
    ) -> Requests:
        """Make writes of the records, and trims of the runs that their objects have outgrown."""
        place, old_place, old_blocks = (np.empty(len(records), np.int64) for _ in range(3))
        place[order], old_place[order], old_blocks[order] = start, start_before, outgrown
        at = np.flatnonzero(old_blocks)
        kind = np.insert(np.full(len(records), Kind.WRITE, np.uint8), at, np.uint8(Kind.TRIM))
        return Requests(
            time=np.insert(records["time"].astype(np.int64), at, records["time"][at]),
            kind=kind,
            tenant=one_tenant(len(kind)),
            volume=np.ones(len(kind), np.uint32),
            offset=np.insert(place, at, old_place[at]) * self.block_size,
            length=np.insert(records["size"].astype(np.int64), at, old_blocks[at] * self.block_size),
        )
