"""How much is done between two looks at the clock: stretches of blocks, a limit of the rate, and progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqstore.sanitize.result import NS

if TYPE_CHECKING:
    from seqstore._native.sweep import Span
    from seqstore.clock import Clock

_FIRST_BYTES, _LEAST_BYTES, _MOST_BYTES = 16 << 20, 1 << 20, 1 << 30
_SHORT_NS, _LONG_NS = NS // 10, NS // 2
_LIMITED_SHARE = 8  # with a limit of the rate, a stretch is what an eighth of a second allows


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a sanitization is.

    Attributes
    ----------
    doing : str
        Such as ``"pass 1 of 3: zero"``, ``"from the far end"``, ``"verification"``.
    done, total : int
        Bytes of what is being done.
    rate : float
        Bytes a second since it began or was taken up again; 0 as long as no time has passed.
    left_ns : int or None
        Time that the rest takes at this rate; None if that is unknown.
    """

    doing: str
    done: int
    total: int
    rate: float
    left_ns: int | None


Report = Callable[[Progress], object]


class Pace:
    """Measures, reports and holds back.

    Parameters
    ----------
    clock : Clock
    doing : str
    total, done : int
        Bytes in all, and those that were done before.
    limit : int or None
        Bytes a second at most.
    report : callable
    """

    def __init__(
        self, clock: Clock, doing: str, *, total: int, done: int, limit: int | None, report: Report
    ) -> None:
        self._clock, self._doing, self._total = clock, doing, total
        self._before, self._moved = done, 0
        self._limit, self._report = limit, report
        self._start_ns = self._last_ns = clock.now_ns()
        self._stretch = _FIRST_BYTES
        self.ran_back = False
        self._tell(self._start_ns)

    @property
    def stretch(self) -> int:
        """Bytes to be moved until the next look at the clock."""
        if self._limit is None:
            return self._stretch
        return max(min(self._stretch, self._limit // _LIMITED_SHARE), 1)

    @property
    def active_ns(self) -> int:
        """Time since the beginning; never negative."""
        return max(self._last_ns - self._start_ns, 0)

    def touch(self) -> None:
        """Let the time up to now count, where something else than moving took it."""
        self._last_ns = self._look()

    def moved(self, size: int) -> None:
        """Take note that so many bytes were moved, and wait as long as the limit asks for."""
        self._moved += size
        now = self._look()
        duration_ns = now - self._last_ns
        if duration_ns < _SHORT_NS:
            self._stretch = min(self._stretch * 2, _MOST_BYTES)
        elif duration_ns > _LONG_NS:
            self._stretch = max(self._stretch // 2, _LEAST_BYTES)
        if self._limit is not None:
            early_ns = self._start_ns + self._moved * NS // self._limit - now
            if early_ns > 0:
                self._clock.sleep_ns(early_ns)
                now = self._look()
        self._last_ns = now
        self._tell(now)

    def _look(self) -> int:
        now = self._clock.now_ns()
        if now < self._last_ns:
            self.ran_back = True
        return now

    def _tell(self, now: int) -> None:
        duration_ns = now - self._start_ns
        rate = self._moved * NS / duration_ns if duration_ns > 0 else 0.0
        left = self._total - self._before - self._moved
        self._report(
            Progress(
                doing=self._doing,
                done=min(self._before + self._moved, self._total),
                total=self._total,
                rate=rate,
                left_ns=int(max(left, 0) * NS / rate) if rate > 0 else None,
            )
        )


class Walk:
    """Spans of blocks, handed out in stretches.

    Parameters
    ----------
    spans : sequence of Span
    """

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        self._span = self._over = 0

    def is_over(self) -> bool:
        """Whether there is nothing left."""
        return self._span == len(self._spans)

    def ahead(self, blocks: int) -> list[Span]:
        """Return what comes next, so many blocks at most and at least one, without going on."""
        found: list[Span] = []
        span, over, left = self._span, self._over, max(blocks, 1)
        while left > 0 and span < len(self._spans):
            first, count = self._spans[span]
            part = min(count - over, left)
            found.append((first + over, part))
            left -= part
            span, over = span + 1, 0
        return found

    def go(self, taken: Sequence[Span], next_span: int, next_block: int) -> int:
        """Go on to where a sweep over what `ahead` returned has stopped; return the blocks gone over."""
        parts = [*(count for _, count in taken[:next_span]), next_block]
        for part in parts:
            self._over += part
            if self._span < len(self._spans) and self._over == self._spans[self._span][1]:
                self._span, self._over = self._span + 1, 0
        return sum(parts)
