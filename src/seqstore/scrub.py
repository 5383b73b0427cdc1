"""The scrub: reads everything live and verifies it, at once or in the background, within a rate."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, SupportsIndex

from seqstore.errors import ConfigError, SeqstoreError
from seqstore.units import parse_size

if TYPE_CHECKING:
    import numpy as np

    from seqstore.clock import Clock
    from seqstore.fleet import Fleet, Member

_STEP_BLOCKS = 1024
_NS = 1_000_000_000
# A scrub that sleeps looks up this often, so that it ends soon after it is told to.
_LONGEST_SLEEP_NS = _NS // 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A live block, or one of the log's own, that cannot be read, or is not as it was written.

    Attributes
    ----------
    volume : int
        Number of the volume that it was written through; 0 for a block of the log.
    lba : int
        Address in the volume; NO_ADDRESS for a block of the log.
    mba : int
        Address on the medium.
    reason : str
        What is wrong with it.
    drive : int
        Number of the drive.
    """

    volume: int
    lba: int
    mba: int
    reason: str
    drive: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubReport:
    """What a scrub found.

    Attributes
    ----------
    blocks, bytes : int
        What was read and verified.
    damaged : tuple of Damage
        In the order of the medium.
    seconds : float
        How long it took, by the store's clock.
    complete : bool
        Whether it came to the end; False after `Scrub.cancel` and when the store was closed.
    """

    blocks: int
    bytes: int
    damaged: tuple[Damage, ...]
    seconds: float
    complete: bool


class ScrubTotals:
    """What all scrubs of a store have counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.scrubbed_blocks = 0
        self.damaged_blocks = 0

    def add(self, blocks: int, damaged: int) -> None:
        """Count a step of a scrub."""
        with self._lock:
            self.scrubbed_blocks += blocks
            self.damaged_blocks += damaged


class Scrub:
    """A scrub of a store; `Store.scrub` makes it, and starts it where it is to run in the background.

    Parameters
    ----------
    fleet : Fleet
    clock : Clock
    totals : ScrubTotals
        Counts along.
    rate : int, str or None
        Bytes of the media in a second at most, or a size such as ``"20MiB"``; None: as fast as it goes.
    note : callable
        Is told the number of a drive and how many damaged blocks were found on it.

    Raises
    ------
    ConfigError
        If the rate is no size above 0.
    """

    def __init__(
        self,
        fleet: Fleet,
        clock: Clock,
        totals: ScrubTotals,
        rate: SupportsIndex | str | None,
        note: Callable[[int, int], None],
    ) -> None:
        self._members = list(fleet)
        self._note = note
        self._clock = clock
        self._totals = totals
        self._rate = None if rate is None else parse_size(rate, "rate")
        if self._rate == 0:
            raise ConfigError("rate is 0; bytes in a second are expected, or None for no limit")
        self._total_blocks = sum(member.medium.blocks for member in self._members)
        self._done_blocks = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._report: ScrubReport | None = None
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        return f"<Scrub, {self.progress:.0%}{', running' if self.running else ''}>"

    @property
    def progress(self) -> float:
        """Share of the medium that is done, from 0 to 1."""
        return self._done_blocks / self._total_blocks

    @property
    def running(self) -> bool:
        """Whether it runs in the background still."""
        return self._thread is not None and self._thread.is_alive()

    def cancel(self) -> None:
        """Let it end soon. `wait` returns what it found so far."""
        self._stop.set()

    def wait(self) -> ScrubReport:
        """Return the report as soon as the scrub has ended.

        Raises
        ------
        SeqstoreError
            What the scrub failed with; damage is no failure.
        """
        self.join()
        if self._error is not None:
            raise self._error
        assert self._report is not None
        return self._report

    def join(self) -> None:
        """Return as soon as the scrub has ended, however it did."""
        if self._thread is not None:
            self._thread.join()

    def start(self, ended: Callable[[Scrub], None]) -> None:
        """Run in the background, and call `ended` at the end."""

        def work() -> None:
            try:
                self.run()
            except SeqstoreError as error:
                self._error = error
            finally:
                ended(self)

        # A program that ends does not wait for a scrub.
        self._thread = threading.Thread(target=work, name="seqstore scrub", daemon=True)
        self._thread.start()

    def run(self) -> ScrubReport:
        """Run to the end, and return the report."""
        block_size, start_ns = self._members[0].medium.block_size, self._clock.now_ns()
        step = self._step_blocks(block_size)
        blocks, damaged = 0, list[Damage]()
        for member in self._members:
            at = found_here = 0
            while at < member.medium.blocks and not self._stop.is_set():
                count = min(step, member.medium.blocks - at)
                read, found = member.engine.scrub(at, count)
                damaged += [_damage(row, member) for row in found]
                found_here += len(found)
                blocks += read
                self._totals.add(read, len(found))
                at += count
                self._done_blocks += count
                if self._rate is not None:
                    self._sleep_until(start_ns + blocks * block_size * _NS // self._rate)
            if found_here:
                self._note(member.number, found_here)
        self._report = ScrubReport(
            blocks=blocks,
            bytes=blocks * block_size,
            damaged=tuple(damaged),
            seconds=(self._clock.now_ns() - start_ns) / _NS,
            complete=self._done_blocks == self._total_blocks,
        )
        return self._report

    def _step_blocks(self, block_size: int) -> int:
        """How much is read at a time: little where the rate is low, so that it is kept evenly."""
        if self._rate is None:
            return _STEP_BLOCKS
        return max(1, min(_STEP_BLOCKS, self._rate // block_size // 20))

    def _sleep_until(self, due_ns: int) -> None:
        while not self._stop.is_set():
            left_ns = due_ns - self._clock.now_ns()
            if left_ns <= 0:
                return
            self._clock.sleep_ns(min(left_ns, _LONGEST_SLEEP_NS))


def _damage(row: np.void, member: Member) -> Damage:
    code = int(row["os_error"])
    reason = f"cannot be read: {os.strerror(code)}" if code else "is not as it was written"
    return Damage(
        volume=member.placements.volume_of(int(row["volume"])),
        lba=int(row["lba"]),
        mba=int(row["mba"]),
        reason=reason,
        drive=member.number,
    )
