"""A hard disk drive: seek, rotation, transfer.

The arm moves, the platter turns until the first block comes by, the blocks pass under the head. There is one
arm, no cache, no read-ahead, and no reordering of the queue: what a drive does with its write cache off.

Where the arm is when an operation ends, and at which angle, follows from the operation's address alone. So
the time between the ends of two operations that follow one another at once does not depend on when they are
served, and a whole array is served with a sum and a running maximum (`in_order`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from seqstore.errors import ConfigError
from seqstore.sim.timing.drive import Action, TimedDrive, Times
from seqstore.sim.timing.queues import in_order

_CYLINDERS = 1962
_SHORT_SEEK = 383
_SETTLE_MS = 3.24


def _hp_97560_seek_ms(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    short = _SETTLE_MS + 0.400 * np.sqrt(distance)
    return np.where(distance <= _SHORT_SEEK, short, 8.00 + 0.008 * distance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seek:
    """Seek time by distance: a curve that was measured, stretched to the two numbers that data sheets give.

    The curve is that of the HP 97560, of 1962 cylinders: 3.24 + 0.400 sqrt(d) ms up to d = 383 cylinders,
    while the arm speeds up and slows down, 8.00 + 0.008 d ms beyond, where it coasts. With r(x) the curve
    over x, the share of the stroke, the drive seeks in `shortest + scale (r(x) - r(0))`, `scale` such that
    the mean over all pairs of different cylinders is `average`.

    Attributes
    ----------
    shortest_ms : float
        From one track to the next.
    average_ms : float
        Mean over all pairs of different cylinders, as data sheets define it.

    References
    ----------
    C. Ruemmler and J. Wilkes, An introduction to disk drive modeling, IEEE Computer 27(3), 1994: the curve.
    """

    shortest_ms: float
    average_ms: float
    _scale: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.shortest_ms < self.average_ms:
            raise ConfigError(
                f"a seek takes {self.shortest_ms} ms at the shortest and {self.average_ms} ms on average;"
                " 0 < shortest < average is expected"
            )
        distance = np.arange(1, _CYLINDERS, dtype=np.float64)
        mean = np.average(_hp_97560_seek_ms(distance), weights=_CYLINDERS - distance)
        object.__setattr__(self, "_scale", (self.average_ms - self.shortest_ms) / (mean - _SETTLE_MS))

    def times_ns(self, shares: NDArray[np.float64]) -> Times:
        """Seek times.

        Parameters
        ----------
        shares : float64 array, shape (n,)
            Distances as shares of the stroke, 0 to 1. No distance takes no time.

        Returns
        -------
        int64 array, shape (n,), nanoseconds
        """
        beyond_ms = _hp_97560_seek_ms(shares * (_CYLINDERS - 1)) - _SETTLE_MS
        return np.where(shares > 0, (self.shortest_ms + self._scale * beyond_ms) * 1e6, 0).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanics:
    """The mechanics of a hard disk drive.

    Attributes
    ----------
    name : str
        The model.
    rpm : float
        Revolutions a minute.
    read_seek, write_seek : Seek
        A head that writes has to settle more exactly than one that reads.
    outer_rate, inner_rate : float
        Sustained bytes a second, track switches included, at the first and at the last address: tracks
        are longer outside. Between them the rate falls evenly.
    """

    name: str
    rpm: float
    read_seek: Seek
    write_seek: Seek
    outer_rate: float
    inner_rate: float

    def __post_init__(self) -> None:
        if not (self.rpm > 0 and 0 < self.inner_rate <= self.outer_rate):
            raise ConfigError(
                f"{self.name} has {self.rpm} rpm and rates of {self.outer_rate} to {self.inner_rate} B/s;"
                " more than 0 and a rate that does not rise inwards are expected"
            )


ULTRASTAR_HC310 = Mechanics(
    name="Ultrastar DC HC310",
    rpm=7200,
    read_seek=Seek(shortest_ms=0.23, average_ms=7.4),
    write_seek=Seek(shortest_ms=0.32, average_ms=8.2),
    outer_rate=255e6,
    inner_rate=127.5e6,
)
"""A 3.5 inch drive of 2018 for data centres.

References: Western Digital, Ultrastar DC HC310 hard disk drive specification, rev. 1.4 (2018), section 4.5:
seek times (typical) and revolutions; its data sheet: 255 MB/s sustained. The specification gives no rate for
the inner tracks: half is assumed, outer tracks being about twice as long.
"""

HP_97560 = Mechanics(
    name="HP 97560",
    rpm=4002,
    read_seek=Seek(shortest_ms=3.24, average_ms=12.838),
    write_seek=Seek(shortest_ms=3.24, average_ms=12.838),
    outer_rate=72 * 512 * 4002 / 60,
    inner_rate=72 * 512 * 4002 / 60,
)
"""The drive whose seek curve is the model's: 72 sectors of 512 B a track, not zoned; track switches left out.

References: Ruemmler and Wilkes (1994). The average follows from their curve.
"""


class HDD(TimedDrive):
    """A hard disk drive. It writes in place at the price of an append there, and a reset costs nothing.

    Whatever its size, it fills the whole stroke of the arm: the address over the size is the place of a block
    between the outer and the inner edge, so that a small simulated drive stands for the real one.

    Parameters
    ----------
    blocks, block_size, queue_depth
        As for every `TimedDrive`.
    mechanics : Mechanics
        Times and rates.
    """

    def __init__(
        self,
        blocks: int,
        *,
        block_size: int | str = 4096,
        mechanics: Mechanics = ULTRASTAR_HC310,
        queue_depth: int | None = None,
    ) -> None:
        super().__init__(blocks, block_size=block_size, queue_depth=queue_depth)
        self.mechanics = mechanics
        self.revolution_ns = round(60e9 / mechanics.rpm)
        self._free_ns = 0
        self._arm = 0  # the block after the last one that passed under the head
        self._under_way = np.zeros(self.queue_depth or 0, np.int64)

    def travel_ns(self, mba: NDArray[np.int64]) -> Times:
        """How long the platter turns while all blocks in front of an address pass; a whole turn is the track.

        With b(m) blocks a revolution at address m, which falls evenly from b(0) to b(N) over the N blocks
        of the drive, this is the integral of 1/b: N / (b(N) - b(0)) ln(b(m) / b(0)) revolutions.

        Parameters
        ----------
        mba : int64 array, shape (n,)

        Returns
        -------
        int64 array, shape (n,), nanoseconds
        """
        block_ns = 1e9 * self.block_size / self.mechanics.outer_rate
        fall = 1 - self.mechanics.inner_rate / self.mechanics.outer_rate
        if fall == 0:
            passed = mba.astype(np.float64)
        else:
            passed = -np.log1p(-fall * (mba / self.blocks)) * (self.blocks / fall)
        turned: Times = np.floor(passed * block_ns).astype(np.int64)
        return turned

    def _steps(self, operations: NDArray[np.void]) -> tuple[Times, NDArray[np.bool_], Times, Times]:
        """Take operations apart into movements of the arm: whose, whether it writes, first block, blocks."""
        owners = np.flatnonzero(operations["kind"] != Action.RESET)
        moving = operations[owners]
        writes = moving["kind"] != Action.READ
        return owners, writes, moving["mba"].astype(np.int64), moving["count"].astype(np.int64)

    def _serve_open(self, operations: NDArray[np.void], arrivals: Times) -> Times:
        owners, writes, mba, count = self._steps(operations)
        before = np.concatenate(([self._arm], (mba + count)[:-1])) if len(mba) else mba
        shares = np.abs(mba - before) / self.blocks
        seeks = np.where(
            writes, self.mechanics.write_seek.times_ns(shares), self.mechanics.read_seek.times_ns(shares)
        )
        begins = self.travel_ns(mba)
        transfers = self.travel_ns(mba + count) - begins
        # The platter turns on whether or not there is work: angles are times modulo a revolution.
        ready = arrivals[owners]
        alone = seeks + (begins - ready - seeks) % self.revolution_ns + transfers
        busy = seeks + (begins - self.travel_ns(before) - seeks) % self.revolution_ns + transfers
        done = in_order(ready, alone, busy, self._free_ns)
        last = np.searchsorted(owners, np.arange(len(operations)), side="right")
        completions = np.maximum(arrivals, np.concatenate(([self._free_ns], done))[last])
        if len(done):
            self._free_ns, self._arm = int(done[-1]), int(mba[-1] + count[-1])
        return completions

    def _serve_closed(self, operations: NDArray[np.void]) -> tuple[Times, Times]:
        # There is always work, so that all of it could as well have been there from the beginning.
        completions = self._serve_open(operations, np.zeros(len(operations), np.int64))
        line = np.concatenate((self._under_way, completions))
        self._under_way = line[len(operations) :]
        return line[: len(operations)], completions
