"""A drive on which everything goes wrong that is asked for."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, SupportsIndex

from seqstore.errors import ConfigError
from seqstore.media.faults.chance import Chance
from seqstore.media.faults.orders import NEVER, BadBlocks, Orders
from seqstore.media.faults.plan import (
    KEPT,
    SECTOR_BYTES,
    FaultCounts,
    FaultPlan,
    UnsyncedWrite,
    first_sectors,
)
from seqstore.media.faults.plate import MemoryPlate, Plate, Versions, sizes
from seqstore.media.geometry import Geometry

if TYPE_CHECKING:
    from random import Random

    from typing_extensions import Self

    from seqstore.media.file import FileMedium
    from seqstore.media.memory import MemoryMedium


class Sleeper(Protocol):
    """The part of a clock that a slow drive needs."""

    def sleep_ns(self, duration_ns: int, /) -> None:
        """Let time pass."""
        ...


class FaultyDrive:
    """Bytes, the writes to them that are not synced, and faults.

    The calls of the host (`append`, `overwrite`, `read`, `sync`, `reset`) fail with an `OSError` of the
    number that an operating system would give. The drive knows no write pointers: the medium in front of it
    does. Any number of threads may use one drive.

    Parameters
    ----------
    capacity, block_size, zone_size : int or str
        As of other media.
    plate : Plate, optional
        Where the bytes lie: a memory or file medium of that size. By default in memory, all zero.
    plan : FaultPlan
        What goes wrong by chance.
    generator : random.Random, optional
        For all that is left to chance.
    clock : Sleeper, optional
        What slow operations sleep by.
    versions : int
        Former contents of each block to be kept.
    """

    def __init__(
        self,
        capacity: SupportsIndex | str,
        *,
        block_size: SupportsIndex | str = 4096,
        zone_size: SupportsIndex | str | None = None,
        plate: Plate | None = None,
        plan: FaultPlan | None = None,
        generator: Random | None = None,
        clock: Sleeper | None = None,
        versions: int = 0,
    ) -> None:
        geometry = Geometry.divide(capacity, block_size=block_size, zone_size=zone_size)
        self.geometry = geometry
        self._plate = plate or MemoryPlate(bytes(geometry.blocks * geometry.block_size), geometry.block_size)
        self._chance = Chance(plan or FaultPlan(), generator)
        self._clock = clock
        self._lock = threading.RLock()
        self._counts = FaultCounts()
        self._versions = Versions(versions, geometry.block_size)
        self._unsynced: list[UnsyncedWrite] = []
        self._writes = 0
        self._off = False
        self._orders = Orders()
        self._bad = BadBlocks()

    @classmethod
    def around(cls, medium: MemoryMedium | FileMedium, **options: Any) -> Self:
        """Make a drive whose bytes lie on a memory or file medium, which nobody else uses meanwhile."""
        return cls(**sizes(medium), plate=medium, **options)

    # ---- what a host may ask for ---------------------------------------------------------------

    def append(self, mba: int, data: bytes | memoryview) -> None:
        """Write blocks, as the next ones of a zone."""
        with self._lock:
            self._begin()
            self._counts.appends += 1
            self._write(mba, bytes(data))

    def overwrite(self, mba: int, data: bytes | memoryview) -> None:
        """Write blocks anywhere."""
        with self._lock:
            self._begin()
            self._counts.overwrites += 1
            self._write(mba, bytes(data))

    def read(self, mba: int, count: int, out: memoryview | bytearray) -> None:
        """Fill a buffer with blocks."""
        with self._lock:
            self._begin()
            self._counts.reads += 1
            self._refuse_bad_reads(mba, count)
            memoryview(out)[:] = self._plate.read(mba, count)
            self._counts.read_blocks += count

    def sync(self) -> None:
        """Make all that was written safe from power cuts."""
        with self._lock:
            self._begin()
            self._counts.syncs += 1
            if self._orders.lies or self._chance.happens(self._chance.plan.lie):
                self._orders.lies = max(self._orders.lies - 1, 0)
                self._counts.lying_syncs += 1
            else:
                self._unsynced.clear()

    def reset(self, zone: int) -> None:  # noqa: ARG002 (the host's call names a zone; bytes stay)
        """Take note that a zone starts anew."""
        with self._lock:
            self._begin()
            self._counts.resets += 1

    # ---- power ----------------------------------------------------------------------------------

    @property
    def off(self) -> bool:
        """Whether the power is cut."""
        return self._off

    def power_cut(self, fates: Callable[[UnsyncedWrite], int] | None = None) -> None:
        """Cut the power and decide about each unsynced write. Calls fail until `reboot`.

        Parameters
        ----------
        fates : callable, optional
            From an unsynced write to its fate: bit i says that sector i is kept; `KEPT`, `LOST` and
            `first_sectors` are the usual ones. By default chance decides as the plan says.

        Raises
        ------
        ConfigError
            If chance is to decide and the drive has no generator.
        """
        with self._lock:
            writes = list(self._unsynced)
            if fates is None:
                fates = self._chance.fates(writes, self.geometry.block_size // SECTOR_BYTES)
            decided = [(write, fates(write) & first_sectors(write.sectors)) for write in writes]
            if any(fate != first_sectors(write.sectors) for write, fate in decided):
                self._roll_back(writes)
                for write, fate in decided:
                    below = self._plate.read(write.mba, len(write.data) // self.geometry.block_size)
                    self._plate.overwrite(write.mba, write.mix(below, fate))
            self._count_fates(decided)
            self._unsynced.clear()
            self._orders.cut_at, self._orders.cut_fates = NEVER, None
            self._off = True

    def cut_after(
        self,
        write: int,
        *,
        sectors: int | None = None,
        fates: Callable[[UnsyncedWrite], int] | None = None,
    ) -> None:
        """Cut the power during a write to come, which fails.

        Parameters
        ----------
        write : int
            Its number: appends and overwrites are counted together, from 1.
        sectors : int, optional
            So many sectors of that write are kept, the first ones. By default `fates` decides on it too.
        fates : callable, optional
            As in `power_cut`, for the other writes.

        Raises
        ------
        ConfigError
            If that write is over.
        """
        with self._lock:
            if write <= self._writes:
                raise ConfigError(f"write {write} is over; the next one is {self._writes + 1}")
            self._orders.cut_at = write
            if sectors is None:
                self._orders.cut_fates = fates
            else:
                others, part = fates or (lambda _: KEPT), first_sectors(sectors)
                self._orders.cut_fates = lambda unsynced: (
                    part if unsynced.number == write else others(unsynced)
                )

    def reboot(self) -> None:
        """Give the drive power again. Without a power cut before it, nothing changes."""
        with self._lock:
            self._off = False

    # ---- faults ---------------------------------------------------------------------------------

    def rot(self, mba: int, bit: int) -> None:
        """Flip a bit of a block at rest; bit 0 is the lowest of the first byte."""
        with self._lock:
            block = bytearray(self._plate.read(mba, 1))
            block[bit // 8] ^= 1 << bit % 8
            self._plate.overwrite(mba, bytes(block))
            self._counts.rotted_bits += 1

    def misdirect(self, to: int) -> None:
        """Let the next write land at another block, as far before the end as it has to."""
        self._orders.lands_at = to

    def lose_next_write(self, count: int = 1) -> None:
        """Let so many writes be acknowledged and never done."""
        self._orders.writes_to_lose = count

    def bad_on_read(self, mba: int, *, after: int = 0) -> None:
        """Let a block fail on reading once `after` more operations are over, until it is written over."""
        self._bad.on_read[mba] = self._counts.operations + after

    def bad_on_write(self, mba: int) -> None:
        """Let a block fail on writing. What comes before it in the same call is written."""
        self._bad.on_write.add(mba)

    def lie_on_sync(self, count: int = 1) -> None:
        """Let so many syncs return without doing anything."""
        self._orders.lies = count

    def fill(self, room_blocks: int = 0) -> None:
        """Let writes run out of room after so many more blocks; those that fit are written."""
        self._orders.room_blocks = room_blocks

    def make_room(self) -> None:
        """Take `fill` back."""
        self._orders.room_blocks = NEVER

    def die(self, *, after: int = 0) -> None:
        """Let every call fail once `after` more operations are over, for good."""
        self._orders.dies_at = self._counts.operations + after

    # ---- looking at it --------------------------------------------------------------------------

    @property
    def counts(self) -> FaultCounts:
        """What was asked for and what went wrong so far, as a copy."""
        with self._lock:
            return replace(self._counts)

    @property
    def writes(self) -> int:
        """Number of the last write."""
        return self._writes

    @property
    def unsynced(self) -> tuple[UnsyncedWrite, ...]:
        """Writes that no completed sync covers, in their order."""
        with self._lock:
            return tuple(self._unsynced)

    def peek(self, mba: int, count: int) -> bytes:
        """Return what lies there, whatever the power and the faults."""
        with self._lock:
            return self._plate.read(mba, count)

    def image(self) -> bytes:
        """Return all that lies there."""
        return self.peek(0, self.geometry.blocks)

    def old_versions(self, mba: int) -> tuple[bytes, ...]:
        """Return what a block held before, the oldest first, as far as `versions` asked to keep it."""
        return self._versions.of(mba)

    def clone(self) -> FaultyDrive:
        """Return a copy that knows the same and goes its own way. Its bytes lie in memory."""
        with self._lock:
            plate = MemoryPlate(self.image(), self.geometry.block_size)
            copy = FaultyDrive(**sizes(self.geometry), plate=plate, plan=self._chance.plan, clock=self._clock)
            copy._chance = self._chance.copy()
            copy._counts = replace(self._counts)
            copy._versions = self._versions.copy()
            copy._unsynced = list(self._unsynced)
            copy._bad = self._bad.copy()
            copy._orders = replace(self._orders)
            copy._writes, copy._off = self._writes, self._off
            return copy

    # ---- inside ---------------------------------------------------------------------------------

    def _begin(self) -> None:
        counts, plan = self._counts, self._chance.plan
        if self._off or counts.operations >= self._orders.dies_at:
            counts.refused += 1
            raise _error(errno.EIO, "the power is cut" if self._off else "the drive is dead")
        stalls = self._chance.happens(plan.stall)
        duration_ns = plan.latency_ns + (plan.stall_ns if stalls else 0)
        counts.stalls += stalls
        counts.busy_ns += duration_ns
        if duration_ns and self._clock is not None:
            self._clock.sleep_ns(duration_ns)

    def _write(self, mba: int, data: bytes) -> None:
        self._writes += 1
        is_last = self._writes == self._orders.cut_at
        mba = self._landing_place(mba, len(data) // self.geometry.block_size)
        if self._is_lost():
            self._counts.lost_writes += 1
        else:
            self._put_what_can_be(mba, data, is_last)
        if is_last:
            self.power_cut(self._orders.cut_fates)
            raise _error(errno.EIO, "the power was cut")

    def _put_what_can_be(self, mba: int, data: bytes, is_last: bool) -> None:
        """Write the blocks up to the first for which there is no room or that is bad."""
        block_size = self.geometry.block_size
        count = len(data) // block_size
        done, failure = self._writable(mba, count)
        if done:
            self._put(mba, data[: done * block_size])
        if failure is not None and not is_last:
            raise failure

    def _put(self, mba: int, data: bytes) -> None:
        count = len(data) // self.geometry.block_size
        old = self._plate.read(mba, count)
        self._versions.note(mba, old)
        self._plate.overwrite(mba, data)
        self._unsynced.append(UnsyncedWrite(number=self._writes, mba=mba, data=data, old=old))
        self._counts.written_blocks += count
        self._orders.room_blocks -= count if self._orders.room_blocks != NEVER else 0
        self._bad.heal(mba, count)
        self._rot_by_chance(mba, count)

    def _landing_place(self, mba: int, count: int) -> int:
        goes_astray = self._chance.happens(self._chance.plan.misdirect)
        if self._orders.lands_at is None and not goes_astray:
            return mba
        self._counts.misdirected_writes += 1
        to = (
            self._chance.below(self.geometry.blocks)
            if self._orders.lands_at is None
            else self._orders.lands_at
        )
        self._orders.lands_at = None
        return min(to, self.geometry.blocks - count)

    def _is_lost(self) -> bool:
        if self._orders.writes_to_lose:
            self._orders.writes_to_lose -= 1
            return True
        return self._chance.happens(self._chance.plan.lose_write)

    def _writable(self, mba: int, count: int) -> tuple[int, OSError | None]:
        """Return how many of the blocks can be written, and why not more."""
        self._bad.on_write.update(self._chance.pick(self._chance.plan.bad_on_write, mba, count))
        good = self._bad.writable(mba, count)
        if good < count and good <= self._orders.room_blocks:
            self._counts.write_errors += 1
            return good, _error(errno.EIO, f"media block {mba + good} cannot be written")
        if self._orders.room_blocks < count:
            self._counts.out_of_space += 1
            return self._orders.room_blocks, _error(errno.ENOSPC, f"no room for media block {mba}")
        return count, None

    def _refuse_bad_reads(self, mba: int, count: int) -> None:
        self._bad.on_read.update((b, 0) for b in self._chance.pick(self._chance.plan.bad_on_read, mba, count))
        block = self._bad.unreadable(mba, count, self._counts.operations)
        if block is not None:
            self._counts.read_errors += 1
            raise _error(errno.EIO, f"media block {block} cannot be read")

    def _rot_by_chance(self, mba: int, count: int) -> None:
        plan = self._chance.plan
        for block in self._chance.pick(plan.rot, mba, count):
            for _ in range(1 + self._chance.below(plan.rot_bits)):
                self.rot(block, self._chance.below(self.geometry.block_size * 8))

    def _roll_back(self, writes: list[UnsyncedWrite]) -> None:
        for write in reversed(writes):
            self._plate.overwrite(write.mba, write.old)

    def _count_fates(self, decided: list[tuple[UnsyncedWrite, int]]) -> None:
        counts = self._counts
        counts.power_cuts += 1
        for write, fate in decided:
            kept = fate.bit_count()
            counts.kept_sectors += kept
            counts.lost_sectors += write.sectors - kept
            counts.torn_writes += 0 < kept < write.sectors


def _error(number: int, what: str) -> OSError:
    return OSError(number, f"{os.strerror(number)}: {what}")
