"""Clocks: that they agree with the world, go on, and let time pass."""

from __future__ import annotations

import threading
import time

from seqstore import Clock, ManualClock, SystemClock


def test_the_systems_clock_tells_the_time() -> None:
    assert abs(SystemClock().now_ns() - time.time_ns()) < 10**9


def test_the_systems_clock_goes_on() -> None:
    clock = SystemClock()
    times = [clock.now_ns() for _ in range(1000)]
    assert times == sorted(times)
    clock.sleep_ns(2_000_000)
    assert clock.now_ns() - times[-1] >= 2_000_000


def test_a_manual_clock_stands_until_somebody_sleeps() -> None:
    clock = ManualClock(5)
    assert (clock.now_ns(), clock.now_ns()) == (5, 5)
    clock.sleep_ns(10**18)
    assert clock.now_ns() == 10**18 + 5


def test_a_manual_clock_never_goes_back() -> None:
    clock = ManualClock(5)
    clock.sleep_ns(-3)
    assert clock.now_ns() == 5


def test_sleepers_of_a_manual_clock_add_up() -> None:
    clock: Clock = ManualClock()

    def sleep() -> None:
        for _ in range(1000):
            clock.sleep_ns(1)

    threads = [threading.Thread(target=sleep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.now_ns() == 4000
