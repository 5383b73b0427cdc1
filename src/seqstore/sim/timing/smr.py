"""A hard disk drive with shingled tracks in zones: appends at write pointers alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seqstore.errors import ConfigError
from seqstore.sim.timing.drive import Action, Times
from seqstore.sim.timing.hdd import HDD, ULTRASTAR_HC310, Mechanics
from seqstore.units import unsigned


class SMR(HDD):
    """A host-managed drive of shingled magnetic recording.

    A track overlaps the one before it, so that writing one destroys those behind it in its zone. Appends
    and reads take what they take on an `HDD`. A reset writes a block of the zone table, which is assumed to
    lie before the first address: no time for it is published. Overwriting is what a shingled drive has to
    do for it: read the zone from there to its end, go back, write all of it.

    Parameters
    ----------
    blocks, block_size, mechanics, queue_depth
        As for `HDD`. Shingling does not change the mechanics.
    zone_blocks : int
        Blocks of a zone; 256 MiB on the drives there are.

    Raises
    ------
    ConfigError
        If `zone_blocks` is 0.

    References
    ----------
    T. Feldman and G. Gibson, Shingled magnetic recording: areal density increase requires new data
    management, USENIX ;login: 38(3), 2013: bands, and what an update in place costs.
    INCITS 536-2016, Zoned Block Commands (ZBC): sequential write required zones, RESET WRITE POINTER.
    """

    def __init__(
        self,
        blocks: int,
        *,
        zone_blocks: int = 65536,
        block_size: int | str = 4096,
        mechanics: Mechanics = ULTRASTAR_HC310,
        queue_depth: int | None = None,
    ) -> None:
        super().__init__(blocks, block_size=block_size, mechanics=mechanics, queue_depth=queue_depth)
        self.zone_blocks = unsigned(zone_blocks, "zone_blocks")
        if self.zone_blocks == 0:
            raise ConfigError("zone_blocks is 0; at least 1 is expected")

    def _steps(self, operations: NDArray[np.void]) -> tuple[Times, NDArray[np.bool_], Times, Times]:
        kinds = operations["kind"]
        mba, count = operations["mba"].astype(np.int64), operations["count"].astype(np.int64)
        in_place = kinds == Action.OVERWRITE
        zone_ends = np.minimum(-(-(mba + count) // self.zone_blocks) * self.zone_blocks, self.blocks)
        count = np.where(in_place, zone_ends - mba, count)
        resets = kinds == Action.RESET
        mba, count = np.where(resets, 0, mba), np.where(resets, 1, count)
        times = np.where(in_place, 2, 1)
        owners = np.repeat(np.arange(len(operations)), times)
        first = np.cumsum(times) - times
        writes = np.repeat(kinds != Action.READ, times)
        writes[first[in_place]] = False
        return owners, writes, mba[owners], count[owners]
