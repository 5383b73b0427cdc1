"""A log-structured drive as one would write it on a whiteboard: nothing of it is shared with the engine.

Blocks lie in `Segment.owner`, in the order in which they were put there; `where` says where an address lives.
What dies is noted with the count of blocks put so far, and what is written over goes to `events`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

SIZE = 32  # blocks of a segment


@dataclass(eq=False)
class Segment:
    """A run of blocks that is written from its begin to its end, cleaned, and written again."""

    owner: list[int] = field(default_factory=list)
    live: int = 0
    sealed_at: int = 0
    died: dict[int, tuple[int, bool]] = field(default_factory=dict)  # by place: when, and whether by a move
    old: dict[int, tuple[int, bool]] = field(default_factory=dict)  # the same of what lay there before


Choose = Callable[["Naive", list[Segment]], Segment]


class Naive:
    """A drive: what users write goes to one head, what is moved to the same or to a second one."""

    def __init__(
        self, *, segments: int, choose: Choose, apart: bool, garbage: float = 0.0, seed: int = 0
    ) -> None:
        self.choose, self.garbage, self.apart = choose, garbage, apart
        self.all = [Segment() for _ in range(segments)]
        self.free = deque(self.all)
        self.sealed: list[Segment] = []
        self.heads: list[Segment | None] = [None, None]
        self.where: dict[int, tuple[Segment, int]] = {}
        self.user = self.relocated = self.position = 0
        self.events: list[tuple[int, bool]] = []  # (how long it was dead, whether it died by a move)
        self.rng = np.random.default_rng(seed)

    def write(self, lba: int) -> None:
        """One request of a user, of one block."""
        self.seal(0)
        while self.heads[0] is None and len(self.free) <= 1:
            self.clean(self.choose(self, [s for s in self.sealed if s.live < SIZE]))
            self.seal(0)
        self.put(lba, 0)
        self.user += 1
        if self.garbage:
            stored = sum(len(segment.owner) for segment in self.all)
            if sum(SIZE - segment.live for segment in self.sealed) > self.garbage * stored:
                enough = [s for s in self.sealed if SIZE - s.live >= self.garbage * SIZE]
                if enough:
                    self.clean(self.choose(self, enough))

    def seal(self, head: int) -> None:
        segment = self.heads[head]
        if segment is not None and len(segment.owner) == SIZE:
            segment.sealed_at = self.user
            self.sealed.append(segment)
            self.heads[head] = None

    def put(self, lba: int, head: int, moves: bool = False) -> None:
        self.seal(head)
        segment = self.heads[head]
        if segment is None:
            segment = self.heads[head] = self.free.popleft()
        place = len(segment.owner)
        if place in segment.old:
            died, by_move = segment.old.pop(place)
            self.events.append((self.position - died, by_move))
        if lba in self.where:
            before, at = self.where[lba]
            before.live -= 1
            before.died[at] = (self.position + 1, moves)  # what replaces it has been put
        segment.owner.append(lba)
        segment.live += 1
        self.position += 1
        self.where[lba] = (segment, place)
        if self.apart:  # with several heads, one that is full does not wait for its next block
            self.seal(head)

    def clean(self, victim: Segment) -> None:
        self.sealed.remove(victim)
        for place, lba in enumerate(victim.owner):
            if self.where[lba] == (victim, place):
                self.put(lba, int(self.apart), moves=True)
                self.relocated += 1
        victim.old, victim.died, victim.owner = victim.died, {}, []
        self.free.append(victim)

    def residue(self) -> list[int]:
        """How long the dead blocks have been dead that still lie there."""
        dead = [moment for s in self.all for moment, _ in (*s.died.values(), *s.old.values())]
        return [self.position - moment for moment in dead]


def fifo(drive: Naive, candidates: list[Segment]) -> Segment:
    return drive.sealed[0] if not drive.garbage else candidates[0]


def greedy(drive: Naive, candidates: list[Segment]) -> Segment:
    return min(candidates, key=lambda segment: segment.live)


def cost_benefit(drive: Naive, candidates: list[Segment]) -> Segment:
    return max(candidates, key=lambda s: (SIZE - s.live) * (drive.user - s.sealed_at) / (SIZE + s.live))


def cost_benefit_sqrt(drive: Naive, candidates: list[Segment]) -> Segment:
    return max(
        candidates, key=lambda s: (SIZE - s.live) * (drive.user - s.sealed_at) ** 0.5 / (s.live or 1e-9)
    )


def d_choices(drive: Naive, candidates: list[Segment]) -> Segment:
    return greedy(drive, [candidates[int(drive.rng.integers(len(candidates)))] for _ in range(10)])
