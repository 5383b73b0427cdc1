"""The two ways in which simulations bound the space of a log."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from seqstore.errors import ConfigError
from seqstore.units import real, unsigned

_PPM = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedDrive:
    """A drive of a size: segments are cleaned when free ones run short.

    Parameters
    ----------
    utilization : float
        Blocks of the working set / blocks that can hold data, above 0 and below 1. The segments that are
        kept free for the cleaner, and one open segment for each class, come on top.
    free_segments : int
        The cleaner runs while there are no more free segments than that. At least what the placement needs,
        which is the default.
    """

    utilization: float
    free_segments: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "utilization", real(self.utilization, "utilization"))
        object.__setattr__(self, "free_segments", unsigned(self.free_segments, "free_segments"))
        if not 0 < self.utilization < 1:
            raise ConfigError(f"utilization is {self.utilization}; it is above 0 and below 1")
        if self.free_segments >= 2**32:
            raise ConfigError(f"free_segments is {self.free_segments}; it is below 2**32")

    @property
    def garbage_ppm(self) -> int:
        """Share of garbage that starts the cleaner, in millionths: none does."""
        return 0

    def segments(self, blocks: int, segment_blocks: int, spare: int, classes: int) -> int:
        """Return the number of segments for a working set of so many blocks."""
        filled = max(1, ceil(blocks / (self.utilization * segment_blocks)))
        return max(filled + max(spare, self.free_segments) + classes, 4)


@dataclass(frozen=True, slots=True)
class GarbageProportion:
    """Space without bound, and a bound on garbage: the convention of the SepBIT simulator.

    After each request one segment is cleaned if the dead blocks in sealed segments are more than a share of
    all blocks; segments with less garbage than that share are left alone.

    Parameters
    ----------
    share : float
        In millionths, from one to all but one of them.

    References
    ----------
    Wang et al., "Separating data via block invalidation time inference for write amplification reduction in
    log-structured storage", FAST 2022.
    """

    share: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "share", real(self.share, "the share of garbage"))
        # No millionth is for the core not to look at garbage at all, and nothing is more than all of them.
        if not 0 < self.share < 1 or not 0 < self.garbage_ppm < _PPM:
            raise ConfigError(f"the share of garbage is {self.share}; it is from 0.000001 to 0.999999")

    @property
    def garbage_ppm(self) -> int:
        """The share in millionths."""
        return round(self.share * _PPM)

    @property
    def free_segments(self) -> int:
        """Free segments that start the cleaner: what the placement needs."""
        return 0

    def segments(self, blocks: int, segment_blocks: int, spare: int, classes: int) -> int:
        """Return more segments than the bound on garbage lets the log have."""
        filled = ceil(blocks / ((1 - self.share) * segment_blocks))
        return filled + filled // 4 + 2 * (spare + classes) + 8


Space = FixedDrive | GarbageProportion
