"""What the log's time was when, so that bounds in seconds can be kept for blocks that only know positions."""

from __future__ import annotations

import bisect
from collections.abc import Iterable


class Timeline:
    """Moments: a time by the clock, and the log's position then.

    Parameters
    ----------
    moments : iterable of (int, int)
        Nanoseconds and position, both ascending.
    """

    def __init__(self, moments: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []  # the first time at which the log was known to be there
        self._times: list[int] = []  # the last one
        self._positions: list[int] = []
        for time_ns, position in moments:
            self.note(time_ns, position)

    def __len__(self) -> int:
        return len(self._times)

    def note(self, time_ns: int, position: int) -> bool:
        """Take in a moment; say whether it tells anything new."""
        if self._positions and position <= self._positions[-1]:
            # Nothing was written since: what dies at this position may do so later than was known.
            self._times[-1] = max(self._times[-1], time_ns)
            return False
        self._times.append(max(time_ns, self._times[-1] if self._times else time_ns))
        self._firsts.append(self._times[-1])
        self._positions.append(position)
        return True

    def forget_before(self, time_ns: int) -> None:
        """Drop moments that no question about that time or later needs."""
        drop = bisect.bisect_left(self._times, time_ns) - 1
        if drop > 0:
            del self._firsts[:drop], self._times[:drop], self._positions[:drop]

    def died_by(self, time_ns: int) -> int | None:
        """Return a position that everything which had died by that time had died at, or before.

        It is that of the first moment from then on. None if there is none, since everything there is may have
        died by then; and if the time is before all that is known, when nothing was promised yet.
        """
        at = bisect.bisect_left(self._times, time_ns)
        is_known = at < len(self._times) and time_ns >= self._firsts[0]
        return self._positions[at] if is_known else None

    def time_of(self, position: int) -> int | None:
        """Return the latest moment by which the log had certainly not come beyond a position, or None.

        What died at the position died then or later, so its age is at most the time since.
        """
        at = bisect.bisect_left(self._positions, position) - 1
        return self._times[at] if at >= 0 else None
