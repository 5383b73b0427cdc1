"""The control: a store that updates in place, on a drive of the same timing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from seqstore.errors import NotFoundError
from seqstore.sim.operations import Kind
from seqstore.sim.timing.drive import MEDIUM_OPERATION_DTYPE, Action, Service, TimedDrive


class InPlace:
    """Each block of each volume has its address on the drive, and every write goes there.

    Volumes lie one behind the other in the order in which they were made, from the start again where the
    drive ends. Only times are looked at, so that it does no harm where volumes that lived at different
    times share addresses. Trims, deletions and departures take no time.

    Parameters
    ----------
    drive : TimedDrive
        Serves the operations; its own, not one that serves a log too.
    volumes : mapping of (int, int) to int, or None
        Blocks of each volume, by tenant and number, as of `Source.volumes`. Operations of kind
        `Kind.CREATE` add volumes.
    """

    def __init__(self, drive: TimedDrive, volumes: Mapping[tuple[int, int], int] | None = None) -> None:
        self.drive = drive
        self._begins: dict[int, int] = {}
        self._end = 0
        self._requests = 0
        for (tenant, volume), blocks in (volumes or {}).items():
            self._add(tenant << 32 | volume, blocks)

    def serve(self, operations: NDArray[np.void]) -> Service:
        """Serve the reads and writes among the next operations of a workload or trace.

        Parameters
        ----------
        operations : structured array, shape (n,), of OPERATION_DTYPE

        Returns
        -------
        Service
            Of one operation of the drive for each read or write. One that would run over the end of the
            drive is moved to lie before it.

        Raises
        ------
        NotFoundError
            If a volume was neither given nor created. Nothing is served then.
        ConfigError
            If a request is larger than the drive or of no blocks. Nothing is served then.
        """
        for creation in operations[operations["kind"] == Kind.CREATE]:
            self._add(int(creation["tenant"]) << 32 | int(creation["volume"]), int(creation["lba"]))
        asked = operations[(operations["kind"] == Kind.WRITE) | (operations["kind"] == Kind.READ)]
        keys = asked["tenant"].astype(np.uint64) << np.uint64(32) | asked["volume"]
        known, places = np.unique(keys, return_inverse=True)
        begins = np.array([self._begin(key) for key in known.tolist()], np.uint64)

        placed = np.zeros(len(asked), MEDIUM_OPERATION_DTYPE)
        placed["time_ns"], placed["count"] = asked["time_ns"], asked["count"]
        placed["kind"] = np.where(asked["kind"] == Kind.WRITE, Action.OVERWRITE, Action.READ)
        placed["request"] = np.arange(self._requests + 1, self._requests + 1 + len(asked), dtype=np.uint64)
        mba = (begins[places] + asked["lba"]) % np.uint64(self.drive.blocks)
        room = self.drive.blocks - np.minimum(asked["count"], self.drive.blocks).astype(np.uint64)
        placed["mba"] = np.minimum(mba, room)
        service = self.drive.serve(placed)
        self._requests += len(asked)
        return service

    def _add(self, key: int, blocks: int) -> None:
        self._begins[key] = self._end
        self._end = (self._end + blocks) % self.drive.blocks

    def _begin(self, key: int) -> int:
        if key not in self._begins:
            raise NotFoundError(
                f"volume {key & 0xFFFFFFFF} of tenant {key >> 32} is read or written; it must be among the"
                " volumes given or be created first"
            )
        return self._begins[key]
