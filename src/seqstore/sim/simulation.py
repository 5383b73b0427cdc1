"""A log on a medium that keeps no bytes, with the volumes of a replay."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from seqstore._native.records import NO_ADDRESS, Scope
from seqstore.clock import ManualClock
from seqstore.deletion import Bounds
from seqstore.engine import Engine
from seqstore.engine_deletion import EngineDeletion
from seqstore.engine_volume import EngineVolume
from seqstore.erasing import Eraser
from seqstore.errors import ConfigError, NotFoundError
from seqstore.media import TagsMedium
from seqstore.sim.operations import Kind
from seqstore.sim.result import SERIES_DTYPE
from seqstore.units import unsigned

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

    from seqstore.cleaning import Policy
    from seqstore.deletion import Strategy
    from seqstore.sim.space import Space

_WATCHED_AT_ONCE = 1 << 16
_LOOKS_A_BOUND = 32  # operations between two looks at the clock span so much of a bound in time

Watch = Callable[["NDArray[np.void]", "NDArray[np.void]"], None]
"""Called with what was asked of the medium, as NOTED_DTYPE[n], and the operations that were done for."""


class Simulation:
    """A drive that is written by the operations of a source.

    Parameters
    ----------
    policy : Policy
    space : FixedDrive or GarbageProportion
    blocks : int
        No more are ever mapped at once.
    segment_blocks : int
        Data blocks of a segment: summaries are counted, and take no block's place.
    block_size : int
        Bytes.
    note_operations : bool
        Whether `run` can tell what was asked of the medium.
    deletion : Lap, Deadline or Now, optional
        What happens to deleted blocks. Seconds are those of the operations.
    """

    def __init__(
        self,
        policy: Policy,
        space: Space,
        *,
        blocks: int,
        segment_blocks: int,
        block_size: int,
        note_operations: bool = False,
        deletion: Strategy | None = None,
    ) -> None:
        segments = space.segments(blocks, segment_blocks, policy.spare_segments, policy.class_count)
        segment_bytes = segment_blocks * block_size
        self.medium = TagsMedium(segments * segment_bytes, block_size=block_size, zone_size=segment_bytes)
        self.engine = Engine(
            self.medium,
            policy=policy.calls(),
            garbage_ppm=space.garbage_ppm,
            spare_segments=space.free_segments,
            summaries_apart=1,
            note_latencies=1,
            note_operations=note_operations,
            **policy.for_log(),
        )
        self._volumes: dict[tuple[int, int], int] = {}  # index of the handle
        self._handles: list[int] = []
        self._block_size = block_size
        self._clock = ManualClock()
        self._eraser = Eraser(self._clock, lambda _: None)
        self._eraser.add(0, self.engine, EngineDeletion(self.engine))
        self.bounds = Bounds()
        if deletion is not None:
            self._eraser.set(Scope.ALL, 0, deletion)
            self.bounds = self._eraser.bounds(Scope.ALL, 0)

    def __enter__(self) -> Simulation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the memory."""
        self.engine.close()
        self.medium.close()

    # ---- volumes ------------------------------------------------------------------------------

    def create(self, tenant: int, volume: int, blocks: int) -> None:
        """Make a volume.

        Raises
        ------
        ConfigError
            If there is one of that number, or it is too large.
        """
        if (tenant, volume) in self._volumes:
            raise ConfigError(f"volume {volume} of tenant {tenant} is made a second time; delete it first")
        size = unsigned(blocks * self._block_size, f"the size of volume {volume} of tenant {tenant}")
        handle = self.engine.create_volume(0, tenant, size, unwritten_error=False)
        self._volumes[tenant, volume] = len(self._handles)
        self._handles.append(handle)

    def only_volume(self) -> EngineVolume:
        """Return the one volume that there is."""
        (index,) = self._volumes.values()
        return EngineVolume(self.engine, self._handles[index], "the only volume")

    def _delete(self, key: tuple[int, int]) -> None:
        if key not in self._volumes:
            raise NotFoundError(
                f"operation on volume {key[1]} of tenant {key[0]}: it was not made, or deleted"
            )
        index = self._volumes.pop(key)
        self.engine.delete(self._handles[index], f"deletion of volume {key[1]} of tenant {key[0]}")

    # ---- operations ---------------------------------------------------------------------------

    def run(self, operations: NDArray[np.void], watch: Watch | None = None) -> None:
        """Do operations in their order.

        Parameters
        ----------
        operations : OPERATION_DTYPE[n]
        watch : callable, optional
            Is told what was asked of the medium, a part of the operations after the other.
        """
        if self.bounds.nanoseconds is None:
            self._run(operations, watch)
            return
        # Time passes between operations, and deadlines with it.
        times = operations["time_ns"]
        step = np.uint64(self.bounds.nanoseconds // _LOOKS_A_BOUND + 1)
        cuts = np.flatnonzero(np.diff(times // step)) + 1
        for part in np.split(operations, cuts):
            self.pass_time(int(part["time_ns"][0]))
            self._run(part, watch)

    def pass_time(self, time_ns: int) -> None:
        """Let time pass up to a moment of the source's, and what comes due be written over."""
        self._eraser.idle(max(time_ns - self._clock.now_ns(), 0))

    def _run(self, operations: NDArray[np.void], watch: Watch | None) -> None:
        last_of_batch = Kind.READ if self.bounds.now else Kind.TRIM
        other = np.flatnonzero(operations["kind"] > last_of_batch)
        start = 0
        for at in other.tolist():
            self._requests(operations[start:at], watch)
            if operations[at]["kind"] == Kind.TRIM:
                self._requests(operations[at : at + 1], watch)
            else:
                self._manage(operations[at])
                if watch is not None:
                    watch(self.engine.operations(), operations[at : at + 1])
            if self.bounds.now and operations[at]["kind"] != Kind.CREATE:
                self._eraser.purge(Scope.TENANT, int(operations[at]["tenant"]))
            start = at + 1
        self._requests(operations[start:], watch)

    def _manage(self, operation: np.void) -> None:
        """Do an operation on volumes and tenants."""
        tenant, volume = int(operation["tenant"]), int(operation["volume"])
        if operation["kind"] == Kind.CREATE:
            self.create(tenant, volume, int(operation["lba"]))
        elif operation["kind"] == Kind.DELETE:
            self._delete((tenant, volume))
        elif operation["kind"] == Kind.LEAVE:
            for key in [key for key in self._volumes if key[0] == tenant]:
                self._delete(key)
        else:
            raise ConfigError(f"operation of kind {operation['kind']}; kinds are 0 to {max(Kind):d}")

    def _requests(self, operations: NDArray[np.void], watch: Watch | None) -> None:
        """Write, read and trim; so much at a time, where somebody watches, that notes do not pile up."""
        step = _WATCHED_AT_ONCE if watch is not None else max(len(operations), 1)
        for first in range(0, len(operations), step):
            part = operations[first : first + step]
            self._batch(part)
            if watch is not None:
                watch(self.engine.operations(), part)

    def _batch(self, operations: NDArray[np.void]) -> None:
        keys = operations["tenant"].astype(np.uint64) << np.uint64(32) | operations["volume"]
        distinct, index = np.unique(keys, return_inverse=True)
        known = np.empty(len(distinct), np.uint32)
        for place, key in enumerate(distinct.tolist()):
            name = (key >> 32, key & 0xFFFFFFFF)
            if name not in self._volumes:
                raise NotFoundError(
                    f"request to volume {name[1]} of tenant {name[0]}: it was not made, or deleted"
                )
            known[place] = self._volumes[name]
        self.engine.batch(
            np.ascontiguousarray(operations["kind"]),
            known[index.reshape(-1)],
            np.ascontiguousarray(operations["lba"], np.uint64),
            np.ascontiguousarray(operations["count"], np.uint32),
            np.array(self._handles, np.uint64),
        )

    # ---- what is there ------------------------------------------------------------------------

    def sample(self, time_ns: int) -> NDArray[np.void]:
        """Return counters and gauges, as SERIES_DTYPE without a dimension."""
        counters = self.engine.counters()
        residue, _, oldest, position = self.engine.remanence(Scope.ALL, 0)
        row = np.zeros((), SERIES_DTYPE)
        for name in ("user_blocks", "relocated_blocks", "overwritten_blocks", "live_blocks", "free_segments"):
            row[name] = counters[name]
        row["residue_blocks"] = residue
        row["oldest_writes"] = 0 if oldest == NO_ADDRESS else position - oldest
        row["time_ns"] = time_ns
        return row
