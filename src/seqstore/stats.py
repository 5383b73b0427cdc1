"""What a store counts: work done, space in use, residue left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import nan
from typing import Any

_COUNTERS = (
    "user_blocks",
    "relocated_blocks",
    "summary_blocks",
    "trimmed_blocks",
    "cleaned_segments",
    "overwritten_blocks",
    "checkpoint_blocks",
    "checkpoints",
    "syncs",
    "position",
    "scrubbed_blocks",
    "damaged_blocks",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The counters and gauges of a store at one moment, or of the time between two moments.

    ``later - earlier`` subtracts the counters and keeps the gauges of ``later``.

    Attributes
    ----------
    user_blocks : int
        Counter: blocks written on request.
    relocated_blocks : int
        Counter: live blocks that the cleaner wrote again.
    summary_blocks : int
        Counter: blocks that the log wrote for itself, as heads of records.
    trimmed_blocks : int
        Counter: blocks unmapped by trim, shrinking or deletion.
    cleaned_segments : int
        Counter: segments that the cleaner freed.
    overwritten_blocks : int
        Counter: blocks written over with zeros, so that nothing is left of what was deleted.
    checkpoint_blocks : int
        Counter: blocks that the log wrote for itself, as pages of checkpoints.
    checkpoints : int
        Counter: checkpoints.
    syncs : int
        Counter: times that the medium was told to make durable what it has.
    position : int
        Counter: blocks put on the medium, the log's own time.
    scrubbed_blocks : int
        Counter: blocks that scrubs have read.
    damaged_blocks : int
        Counter: blocks among them that could not be read, or were not as they had been written.
    live_blocks : int
        Gauge: blocks that some volume maps.
    usable_blocks : int
        Gauge: live blocks that the store takes at most.
    data_capacity_blocks : int
        Gauge: blocks that can hold data, those of summaries counted out.
    block_count : int
        Gauge: all blocks of the drive.
    map_bytes : int
        Gauge: memory of the extent maps.
    atomic_blocks : int
        Gauge: the largest request that a crash does not cut in two; 0 where nothing outlives a crash.
    """

    user_blocks: int
    relocated_blocks: int
    summary_blocks: int
    trimmed_blocks: int
    cleaned_segments: int
    overwritten_blocks: int
    checkpoint_blocks: int
    checkpoints: int
    syncs: int
    position: int
    scrubbed_blocks: int
    damaged_blocks: int
    live_blocks: int
    usable_blocks: int
    data_capacity_blocks: int
    block_count: int
    map_bytes: int
    atomic_blocks: int

    def __sub__(self, earlier: Stats) -> Stats:
        if not isinstance(earlier, Stats):
            return NotImplemented
        return replace(self, **{name: getattr(self, name) - getattr(earlier, name) for name in _COUNTERS})

    @property
    def device_blocks(self) -> int:
        """All blocks written to the medium: user, relocated, summary and checkpoint blocks, and zeros."""
        own = self.summary_blocks + self.checkpoint_blocks + self.overwritten_blocks
        return self.user_blocks + self.relocated_blocks + own

    @property
    def write_amplification(self) -> float:
        """(user + relocated) / user blocks; nan if nothing was written on request.

        References
        ----------
        Rosenblum and Ousterhout, "The design and implementation of a log-structured file system", 1992.
        """
        return (self.user_blocks + self.relocated_blocks) / self.user_blocks if self.user_blocks else nan

    @property
    def device_amplification(self) -> float:
        """Device blocks / user blocks; nan if nothing was written on request."""
        return self.device_blocks / self.user_blocks if self.user_blocks else nan

    @property
    def utilization(self) -> float:
        """Live blocks / blocks that can hold data."""
        return self.live_blocks / self.data_capacity_blocks

    @property
    def laps(self) -> float:
        """How often the head went round the drive."""
        return self.position / self.block_count


def make_stats(counters: dict[str, int], *, scrubbed_blocks: int, damaged_blocks: int) -> Stats:
    """Make `Stats` of the core's counters, which are more, and of those of scrubs."""
    scrubs = {"scrubbed_blocks": scrubbed_blocks, "damaged_blocks": damaged_blocks}
    return Stats(**{name: counters[name] for name in Stats.__slots__ if name not in scrubs}, **scrubs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncounted:
    """A drive that may hold bytes of somebody, and which nobody can look at: how many is not known.

    Attributes
    ----------
    drive : int
    most_blocks, most_bytes : int
        All of the drive: there cannot be more.
    why : str
        Why nobody can look.
    """

    drive: int
    most_blocks: int
    most_bytes: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remanence:
    """Residue: media blocks that hold dead bytes still, of a store, a tenant or a volume.

    What cannot be counted is in no figure, and `uncounted` names it: 0 blocks are none where `nothing_left`
    says so.

    Attributes
    ----------
    blocks : int
        Number of them.
    bytes : int
        The same in bytes.
    moved_blocks : int
        Those among them that the cleaner left behind, while their data lived on elsewhere.
    segments : int
        Segments that they lie in.
    unbounded_blocks : int
        Blocks among them that no deadline bounds.
    unreadable_blocks : int
        Blocks among them whose key is dead, at least: those that the cleaner left behind are not counted as
        long as their volume's key lives, since what they are copies of may live.
    oldest_writes : int or None
        Blocks put on the medium since the oldest of them died; None if there is no residue.
    oldest_laps : float or None
        The same in laps of the drive.
    oldest_moved_writes : int or None
        The same as `oldest_writes`, of those that the cleaner left behind: their age runs from the move.
    oldest_seconds : float or None
        Time since the oldest died, at most; None if there is none, or if nobody has looked at the clock.
    due_writes : int or None
        Blocks that will be put on the medium until the first block with a bound is written over, at most;
        None if none has one.
    done_writes : int or None
        The same until the last of them is.
    histogram : tuple of int
        Blocks by age in 32nds of a lap; the last entry stands for all that are older.
    out_of_use_blocks : int
        Blocks among `blocks` on drives that are out of use and not sanitized yet: nothing else is known of
        them.
    uncounted : tuple of Uncounted
        Drives that hold more, or may do so, and where nobody has counted: they are missing, or were when
        they went out of use, or their log could not be read any more.
    """

    blocks: int
    bytes: int
    moved_blocks: int
    segments: int
    unbounded_blocks: int
    unreadable_blocks: int
    oldest_writes: int | None
    oldest_laps: float | None
    oldest_moved_writes: int | None
    oldest_seconds: float | None
    due_writes: int | None
    done_writes: int | None
    histogram: tuple[int, ...] = field(repr=False)
    out_of_use_blocks: int = 0
    uncounted: tuple[Uncounted, ...] = ()

    @property
    def nothing_left(self) -> bool:
        """Whether there is no residue, for certain: none was counted, and nothing is uncounted."""
        return not self.blocks and not self.uncounted

    @property
    def most_blocks(self) -> int:
        """Blocks of residue at most: those that were counted, and all of the drives where nobody has."""
        return self.blocks + sum(drive.most_blocks for drive in self.uncounted)


def add_remanence(parts: Sequence[Remanence]) -> Remanence:
    """Add up the residue on several drives; ages and bounds are those of the drive where they are largest.

    `due_writes` is the smallest: on no drive is less to be written until something is written over.
    """
    if len(parts) == 1:
        return parts[0]

    def most(name: str) -> Any:
        return max((getattr(part, name) for part in parts if getattr(part, name) is not None), default=None)

    histograms = [part.histogram for part in parts]
    return Remanence(
        blocks=sum(part.blocks for part in parts),
        bytes=sum(part.bytes for part in parts),
        moved_blocks=sum(part.moved_blocks for part in parts),
        segments=sum(part.segments for part in parts),
        unbounded_blocks=sum(part.unbounded_blocks for part in parts),
        unreadable_blocks=sum(part.unreadable_blocks for part in parts),
        oldest_writes=most("oldest_writes"),
        oldest_laps=most("oldest_laps"),
        oldest_moved_writes=most("oldest_moved_writes"),
        oldest_seconds=most("oldest_seconds"),
        due_writes=min((part.due_writes for part in parts if part.due_writes is not None), default=None),
        done_writes=most("done_writes"),
        histogram=tuple(map(sum, zip(*histograms, strict=True))),
    )


def add_counters(parts: Sequence[dict[str, int]]) -> dict[str, int]:
    """Add up the counters of several logs; the largest request that is whole is that of the least of them."""
    added = {name: sum(part[name] for part in parts) for name in parts[0]}
    return {**added, "atomic_blocks": min(part["atomic_blocks"] for part in parts)}
