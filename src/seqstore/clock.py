"""Clocks: where time comes from. Whoever needs it is given one; only a store chooses the system's."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time, and lets it pass."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC; never less than before."""

    def sleep_ns(self, duration_ns: int) -> None:
        """Return when at least this much time has passed."""


class SystemClock:
    """The machine's clock: set once, when it is made, and then even, whatever happens to the date."""

    goes_on = True  # when nobody sleeps

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def now_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""
        return time.monotonic_ns() + self._offset_ns

    def sleep_ns(self, duration_ns: int) -> None:
        """Let time pass."""
        time.sleep(duration_ns / 1e9)


class ManualClock:
    """A clock for simulations and tests: time passes when somebody sleeps, and at once.

    Any number of threads may use one clock.

    Parameters
    ----------
    start_ns : int
        Time at the beginning, in nanoseconds since 1970-01-01 UTC.
    """

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns
        self._lock = threading.Lock()

    def now_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""
        return self._now_ns

    def sleep_ns(self, duration_ns: int) -> None:
        """Put the clock forward."""
        with self._lock:
            self._now_ns += max(duration_ns, 0)
