"""One pass over all blocks that have an address: forward, then from the far end what bad blocks stood before.

Invariant: `Position.covered` and what goes with it is advanced after a sync of the drive alone, and given to
the journal before anything else happens. After a sync that failed all since the last one counts as not
written, whatever a later sync says, and is written again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from seqstore._native.sweep import Fill, Find, Span, Sweep, Swept
from seqstore.arguments import check_fields
from seqstore.errors import ConfigError, MediumError, SeqstoreError
from seqstore.sanitize.journal import FAR_END, FORWARD, Position
from seqstore.sanitize.pace import Pace, Report, Walk
from seqstore.sanitize.result import NS, PassResult, Range
from seqstore.sanitize.technique import Method, Step
from seqstore.units import shorten

if TYPE_CHECKING:
    from seqstore.clock import Clock
    from seqstore.media.native import NativeMedium

_PATTERNS = {Method.ZERO: b"\x00", Method.ONES: b"\xff"}
_BEHIND_BAD = "behind a bad block"
_NOT_REACHED = "not reached"
_MOST = (1 << 63) - 1
_BOUNDS = (
    ("retries", 0, 1_000_000), ("failures_in_row", 1, _MOST), ("piece_blocks", 0, 1 << 20),
    ("workers", 0, 256), ("rate", 1, _MOST), ("checkpoint_bytes", 1, _MOST), ("checkpoint_ns", 0, _MOST),
)  # fmt: skip


def fill_of(step: Step) -> Fill:
    """Return what an overwriting step writes."""
    if step.method is Method.RANDOM:
        return Fill(seed=step.seed)
    return Fill(pattern=_PATTERNS.get(step.method, step.pattern))


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How hard a pass tries, and how it moves.

    Attributes
    ----------
    retries : int
        Further attempts at a block that fails.
    failures_in_row : int
        Pieces that may fail one after the other before the drive is asked whether it is dead.
    piece_blocks, workers : int
        Blocks moved at once, and by how many threads; 0: what suits the medium.
    rate : int or None
        Bytes a second at most.
    checkpoint_bytes, checkpoint_ns : int
        Syncs come after so many bytes, or so much time.

    Raises
    ------
    ConfigError
        If something is no number, or one with which nothing would come of it.
    """

    retries: int = 2
    failures_in_row: int = 64
    piece_blocks: int = 0
    workers: int = 0
    rate: int | None = None
    checkpoint_bytes: int = 1 << 30
    checkpoint_ns: int = 10 * NS

    def __post_init__(self) -> None:
        check_fields(self)
        for name, least, most in _BOUNDS:
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ConfigError(f"{name} is {shorten(value)}; {least} to {most} is expected")


class Stopped(Exception):  # noqa: N818 (no error: somebody asked for it)
    """The pass was cancelled; it can be taken up again."""


class DriveDiedError(MediumError):
    """Nothing can be written to the drive any more."""


class Pass:
    """A pass that is not over.

    Parameters
    ----------
    medium : NativeMedium
    position : Position
        Where it begins, or goes on.
    clock : Clock
    effort : Effort
    doing : str
        Its name, for progress.
    report : callable
        Takes a `Progress`.
    keep : callable
        Takes each new `Position` and makes it durable.
    is_cancelled : callable
        Whether it should stop.

    Attributes
    ----------
    position : Position
        How far it is, durably.
    ran_back : bool
        Whether the clock was seen to.
    """

    def __init__(
        self,
        medium: NativeMedium,
        position: Position,
        *,
        clock: Clock,
        effort: Effort,
        doing: str,
        report: Report,
        keep: Callable[[Position], object],
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._medium, self._clock, self._effort = medium, clock, effort
        self._doing, self._report, self._keep, self._is_cancelled = doing, report, keep, is_cancelled
        self.position = position
        self.ran_back = False
        # Since the last sync:
        self._reached = position.covered
        self._new: list[Range] = []
        self._retries = 0
        self._synced_ns = clock.now_ns()

    def run(self) -> PassResult:
        """Write to every block that can be written.

        Raises
        ------
        Stopped
            If it was cancelled.
        MediumError
            If the drive cannot be used, or not any more; `result` says how far it came.
        """
        with Sweep(
            self._medium.handle,
            fill_of(self.position.step),
            piece_blocks=self._effort.piece_blocks,
            workers=self._effort.workers,
            retries=self._effort.retries,
            failures_in_row=self._effort.failures_in_row,
        ) as sweep:
            if self.position.stage == FORWARD:
                self._forward(sweep)
            self._from_far_end(sweep)
            sweep.rewind()
        return self.result(complete=True)

    def result(self, *, complete: bool) -> PassResult:
        """Say how far it came; of what was not synced nothing counts."""
        position, medium = self.position, self._medium
        left = [] if complete else list(position.left_out)
        if not complete and position.covered < medium.blocks:
            rest = medium.blocks - position.covered
            left.append(Range(first=position.covered, count=rest, reason=_NOT_REACHED))
        return PassResult(
            number=len(position.passes) + 1,
            step=position.step,
            started_ns=position.step_started_ns,
            ended_ns=max(self._clock.now_ns(), position.step_started_ns),
            active_ns=position.active_ns,
            blocks=medium.blocks,
            block_size=medium.block_size,
            overwritten=position.overwritten,
            retries=position.retries,
            unreachable=tuple(sorted((*position.unreachable, *left), key=lambda part: part.first)),
            complete=complete,
            resumptions=position.step_resumptions,
        )

    # ---- forward ---------------------------------------------------------------------------------

    def _forward(self, sweep: Sweep) -> None:
        failed_syncs = 0
        while True:
            start = self.position.covered
            self._reached, self._new = start, []
            try:
                self._write_on(sweep, start)
            except _SyncFailedError as failed:
                failed_syncs += 1
                if failed_syncs > self._effort.retries:
                    raise failed.error from None
                self._retries += 1
                continue
            return

    def _write_on(self, sweep: Sweep, start: int) -> None:
        blocks, size = self._medium.blocks, self._medium.block_size
        pace = self._pace(self._doing, total=blocks * size, done=start * size)
        walk = Walk([(start, blocks - start)] if start < blocks else [])
        before_ns, unsynced = self.position.active_ns, 0
        while not walk.is_over():
            room = (self._effort.checkpoint_bytes - unsynced) // size
            spans = walk.ahead(max(min(pace.stretch // size, room), 1))
            swept = self._ask(lambda spans=spans: sweep.write(spans))  # type: ignore[misc]
            moved = walk.go(spans, swept.next_span, swept.next_block)
            self._take(swept, moved)
            unsynced += moved * size
            pace.moved(moved * size)
            self.ran_back |= pace.ran_back
            now = self._clock.now_ns()
            if swept.is_dead:
                self._require_alive(sweep)
            stops = self._is_cancelled()
            is_due = now - self._synced_ns >= self._effort.checkpoint_ns
            if stops or is_due or unsynced >= self._effort.checkpoint_bytes or walk.is_over():
                self._checkpoint(sweep, pace, before_ns, FAR_END if walk.is_over() else FORWARD)
                unsynced = 0
            if stops and not walk.is_over():
                raise Stopped

    def _take(self, swept: Swept, moved: int) -> None:
        self._reached += moved
        self._retries += swept.retries
        self._new += [_range(find, _BEHIND_BAD) for find in swept.finds]

    def _require_alive(self, sweep: Sweep) -> None:
        """Try the ends of the drive: whoever cannot write there either is dead, and no mere bad region."""
        ends = [(0, 1), (self._medium.blocks - 1, 1)]
        tried = [self._ask(lambda end=end: sweep.write_back(end)) for end in ends]  # type: ignore[misc]
        if not any(swept.done for swept in tried):
            raise DriveDiedError(
                f"nothing can be written behind block {self._new[0].first if self._new else self._reached},"
                " nor at the ends of the drive: it has died; destroy it",
            )

    # ---- from the far end ------------------------------------------------------------------------

    def _from_far_end(self, sweep: Sweep) -> None:
        size = self._medium.block_size
        total = sum(part.count for part in self.position.left_out) * size
        if not total:
            return
        pace = self._pace("from the far end", total=total, done=0)
        before_ns = self.position.active_ns
        while self.position.left_out:
            part = self.position.left_out[-1]
            count = max(min(pace.stretch // size, part.count), 1)
            last: Span = (part.first + part.count - count, count)
            swept = self._ask(lambda last=last: sweep.write_back(last))  # type: ignore[misc]
            try:
                self._sync(sweep)
            except _SyncFailedError as failed:
                raise failed.error from None
            pace.moved(swept.next_block * size)
            pace.touch()
            self.ran_back |= pace.ran_back
            self._shrink(swept, before_ns + pace.active_ns)
            if swept.is_dead:
                self._require_alive(sweep)
            if self._is_cancelled() and self.position.left_out:
                raise Stopped

    def _shrink(self, swept: Swept, active_ns: int) -> None:
        """Take what was tried off the last of the ranges that were left out."""
        position, part = self.position, self.position.left_out[-1]
        rest = replace(part, count=part.count - swept.next_block)
        unreachable = (*position.unreachable, *(_range(find, "") for find in swept.finds))
        self._advance(
            replace(
                position,
                left_out=(*position.left_out[:-1], *((rest,) if rest.count else ())),
                unreachable=joined(unreachable),
                retries=position.retries + swept.retries,
                active_ns=active_ns,
                last_ns=self._clock.now_ns(),
            )
        )

    # ---- both ------------------------------------------------------------------------------------

    def _pace(self, doing: str, *, total: int, done: int) -> Pace:
        return Pace(self._clock, doing, total=total, done=done, limit=self._effort.rate, report=self._report)

    def _ask(self, work: Callable[[], Swept]) -> Swept:
        """Let the core work, and see whether that was only interrupted."""
        swept = work()
        raise_what_is_no_fault(self._medium)
        return swept

    def _sync(self, sweep: Sweep) -> None:
        try:
            sweep.sync()
        except MediumError as error:
            raise_what_is_no_fault(self._medium)
            raise _SyncFailedError(error) from None

    def _checkpoint(self, sweep: Sweep, pace: Pace, before_ns: int, stage: str) -> None:
        self._sync(sweep)
        pace.touch()
        self._synced_ns = self._clock.now_ns()
        position = self.position
        self._advance(
            replace(
                position,
                stage=stage,
                covered=self._reached,
                left_out=joined((*position.left_out, *self._new)),
                retries=position.retries + self._retries,
                active_ns=before_ns + pace.active_ns,
                last_ns=self._synced_ns,
            )
        )
        self._new, self._retries = [], 0

    def _advance(self, position: Position) -> None:
        self._keep(position)
        self.position = position


class _SyncFailedError(Exception):
    """A sync failed: what was written since the last one is in doubt."""

    def __init__(self, error: MediumError) -> None:
        super().__init__(str(error))
        self.error = error


def raise_what_is_no_fault(medium: NativeMedium) -> None:
    """Raise what a medium written in Python raised, unless it is how a drive fails."""
    raised = medium.take_error()
    if raised is not None and (not isinstance(raised, OSError) or isinstance(raised, SeqstoreError)):
        raise raised


def _range(find: Find, reason: str) -> Range:
    return Range(first=find.first, count=find.count, reason=reason or os.strerror(find.os_error))


def joined(parts: tuple[Range, ...]) -> tuple[Range, ...]:
    """Sort ranges and join neighbours of one reason."""
    result: list[Range] = []
    for part in sorted(parts, key=lambda part: part.first):
        last = result[-1] if result else None
        if last and last.first + last.count == part.first and last.reason == part.reason:
            result[-1] = replace(last, count=last.count + part.count)
        else:
            result.append(part)
    return tuple(result)
