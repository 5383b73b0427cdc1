"""A drive's log, as far as deletion goes: its bounds, its time, and what is left there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from seqstore._native.records import Scope
from seqstore.deletion import Bounds, Strategy, bounds_of
from seqstore.errors import BoundError
from seqstore.stats import Remanence
from seqstore.timeline import Timeline

if TYPE_CHECKING:
    from seqstore.engine import Engine
    from seqstore.engine_deletion import EngineDeletion


@dataclass(slots=True)
class ErasingLog:
    """A log whose promises are kept.

    Attributes
    ----------
    engine : Engine
    core : EngineDeletion
    timeline : Timeline
        What its time was when.
    """

    engine: Engine
    core: EngineDeletion
    timeline: Timeline = field(default_factory=Timeline)

    @property
    def position(self) -> int:
        """The log's time."""
        return self.engine.counters()["position"]

    def asked(self, strategy: Strategy) -> Bounds:
        """Return what a strategy asks for on this drive."""
        return bounds_of(
            strategy, drive_blocks=self.engine.medium.blocks, smallest=self.core.smallest_bound()
        )

    def bind(self, scope: Scope, number: int, strategy: Strategy, blocks: int | None, *, kept: bool) -> None:
        """Bound residue of a scope; see `EngineDeletion.bind`.

        Raises
        ------
        BoundError
            If the strategy cannot be kept here.
        """
        try:
            self.core.bind(scope, number, blocks, kept=kept)
        except BoundError as error:
            laps = error.smallest / self.engine.medium.blocks
            raise BoundError(
                f"{strategy} cannot be kept: the smallest bound of this drive is {error.smallest} blocks,"
                f" {laps:.3f} laps; give at least that, more and smaller segments, or Now()",
                smallest=error.smallest,
            ) from None

    def report(self, scope: Scope, number: int, now_ns: int, unreadable_blocks: int) -> Remanence:
        """Say what there is of a scope here, how old it is, and until when."""
        found, medium = self.core.remanence(scope, number), self.engine.medium
        oldest = None if found.oldest is None else found.position - found.oldest
        since = None if found.oldest is None else self.timeline.time_of(found.oldest)
        return Remanence(
            blocks=found.residue_blocks,
            bytes=found.residue_blocks * medium.block_size,
            moved_blocks=found.moved_blocks,
            segments=found.segments,
            unbounded_blocks=found.unbounded_blocks,
            unreadable_blocks=unreadable_blocks,
            oldest_writes=oldest,
            oldest_laps=None if oldest is None else oldest / medium.blocks,
            oldest_moved_writes=None if found.oldest_moved is None else found.position - found.oldest_moved,
            oldest_seconds=None if since is None else (now_ns - since) / 1e9,
            due_writes=None if found.due is None else max(found.due - found.position, 0),
            done_writes=None if found.last_due is None else max(found.last_due - found.position, 0),
            histogram=tuple(found.ages.tolist()),
        )

    def live_beside(self, scope: Scope, number: int) -> int:
        """Count live blocks in segments that hold residue of a scope."""
        runs, zone_blocks = self.core.residue(scope, number), self.engine.medium.zone_blocks
        held = set((runs["mba"] // zone_blocks).tolist())
        held |= set(((runs["mba"] + runs["count"] - 1) // zone_blocks).tolist())
        live = self.engine.segments()["live"]
        return int(live[sorted(held)].sum())
