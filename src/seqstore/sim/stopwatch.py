"""Time in a replay: what the log asks of its medium goes to a drive that says how long it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from seqstore.errors import ConfigError
from seqstore.sim.operations import Kind
from seqstore.sim.timing import MEDIUM_OPERATION_DTYPE, SMR, ZNS, InPlace, Meter, Performance, TimedDrive

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class Stopwatch:
    """A drive under a log, and beside it one of the same timing that updates in place.

    Parameters
    ----------
    drive : TimedDrive
        What is like it serves: itself it stays as it is.
    blocks, segment_blocks, block_size : int
        Of the log's medium; a segment is a zone where the drive has zones.
    control : bool
        Whether there is a drive that updates in place.
    volumes : mapping of (int, int) to int, or None
        As of `Source.volumes`.

    Raises
    ------
    ConfigError
        If the log does not fit the drive.
    """

    def __init__(
        self,
        drive: TimedDrive,
        *,
        blocks: int,
        segment_blocks: int,
        block_size: int,
        control: bool,
        volumes: Mapping[tuple[int, int], int] | None,
    ) -> None:
        if drive.block_size != block_size:
            raise ConfigError(f"the drive has blocks of {drive.block_size} B, the replay of {block_size} B")
        if drive.blocks < blocks:
            raise ConfigError(
                f"the drive has {drive.blocks} blocks; the log takes {blocks}, spare ones included"
            )
        if isinstance(drive, SMR | ZNS) and drive.zone_blocks != segment_blocks:
            raise ConfigError(
                f"zones have {drive.zone_blocks} blocks, segments {segment_blocks}; a segment is a zone"
            )
        self._drive, self._meter = drive.renewed(), Meter(block_size)
        self._control = InPlace(drive.renewed(), volumes) if control else None
        self._control_meter = Meter(block_size)
        self._requests = 0

    def add(self, noted: NDArray[np.void], operations: NDArray[np.void]) -> None:
        """Serve what comes next.

        Parameters
        ----------
        noted : NOTED_DTYPE[n]
            What the log asked of its medium.
        operations : OPERATION_DTYPE[m]
            What it was asked for that; `noted` names them by their places.
        """
        placed = np.zeros(len(noted), MEDIUM_OPERATION_DTYPE)
        for name in ("kind", "mba", "count"):
            placed[name] = noted[name]
        placed["time_ns"] = operations["time_ns"][noted["request"]]
        numbers = noted["request"] + np.uint64(self._requests + 1)
        placed["request"] = np.where(noted["by_cleaner"], 0, numbers)
        self._requests += len(operations)
        self._meter.add(self._drive.serve(placed))
        if self._control is not None:
            asked = (operations["count"] > 0) | (operations["kind"] == Kind.CREATE)
            self._control_meter.add(self._control.serve(operations[asked]))

    @property
    def is_closed(self) -> bool:
        """Whether requests come as others end, and not when the source says."""
        return self._drive.queue_depth is not None

    @property
    def performance(self) -> Performance | None:
        """Of the log; None if it asked nothing of the drive."""
        return self._meter.result() if self._meter.is_used else None

    @property
    def control(self) -> Performance | None:
        """Of the drive that updates in place; None if there is none, or it was asked nothing."""
        return self._control_meter.result() if self._control_meter.is_used else None
