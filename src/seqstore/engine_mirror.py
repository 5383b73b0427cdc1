"""A volume or snapshot on several drives: changes go to all copies, reads to the first that is whole.

A copy that misses a change is given up before the change is acknowledged: `Keeper.give_up` makes that
durable, and nobody believes the copy until it was made anew. Changes of one volume come one after the other,
so that the copies see the same order. Reads do not wait; one that meets damage takes the next copy, and
repairs what it found.

While copies may differ after a crash, the catalog says so (`Keeper.begin_changes`): the next opening compares
them and makes them the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from seqstore._native._core import lib
from seqstore.engine_volume import EngineView, EngineVolume
from seqstore.errors import CorruptionError, MediumError, NotFoundError, OutOfSpaceError, SeqstoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from seqstore.engine import Engine

T = TypeVar("T")

_REPAIRED_AT_ONCE = 64  # blocks that are looked at together


@dataclass(frozen=True, slots=True, eq=False)
class Leg:
    """A copy on a drive.

    Attributes
    ----------
    drive : int
    view : EngineView
        The handle on it; of a volume an `EngineVolume`.
    """

    drive: int
    view: EngineView

    @property
    def number(self) -> int:
        """Its number in the drive's log."""
        return self.view.number

    @property
    def engine(self) -> Engine:
        """The drive's log."""
        return self.view._engine


class Keeper(Protocol):
    """Whom a mirror tells what happens to its copies."""

    def give_up(self, leg: Leg, error: BaseException) -> None:
        """Do not believe a copy any more, durably."""

    def begin_changes(self, volume: int) -> None:
        """Note durably that copies of a volume may differ from now on, if a crash comes."""

    def read_failed(self, leg: Leg, volume: int, *, repairable: bool) -> None:
        """Count a read that failed, and was answered from another copy."""

    def writing(
        self, volume: int, leg: Leg, others: Sequence[Leg], lbas: Sequence[int]
    ) -> AbstractContextManager[None]:
        """Follow what is written in a block: what other copies show is written anew to one of them."""


class Mirror:
    """The copies of a volume or snapshot.

    Parameters
    ----------
    volume : int
        Its number.
    legs : list of Leg
        The copies that are up to date.
    keeper : Keeper

    Attributes
    ----------
    lock : RLock
        Held during each change.
    changed : bool
        Whether the catalog says that copies may differ.
    deleted : bool
        Whether it was deleted when no copy was left.
    """

    def __init__(self, volume: int, legs: list[Leg], keeper: Keeper) -> None:
        self.volume = volume
        self.legs = legs
        self.keeper = keeper
        self.lock = threading.RLock()
        self.changed = self.deleted = False

    @property
    def first(self) -> Leg:
        """The copy that answers first.

        Raises
        ------
        MediumError
            If no copy is left.
        NotFoundError
            If it was deleted then.
        """
        legs = self.legs
        if not legs and self.deleted:
            raise NotFoundError(f"volume number {self.volume}, of which no copy was left, was deleted")
        if not legs:
            raise MediumError(
                f"no copy of volume number {self.volume} is left that is up to date; bring back a drive that"
                " has one, and open the store again"
            )
        return legs[0]

    # ---- changes ------------------------------------------------------------------------------

    def each(self, work: Callable[[Leg], T], *, is_content: bool = True) -> dict[int, T]:
        """Do something to all copies; those that fail are given up, as long as one is left.

        Parameters
        ----------
        work : callable
            Changes one copy.
        is_content : bool
            Whether the copies differ while it has come to some of them only.

        Returns
        -------
        dict of int to T
            What it returned, by drive.
        """
        with self.lock:
            _ = self.first
            if is_content and not self.changed:
                self.keeper.begin_changes(self.volume)
                self.changed = True
            done: dict[int, T] = {}
            failed: list[tuple[Leg, BaseException]] = []
            todo = list(self.legs)
            try:
                while todo:
                    try:
                        done[todo[0].drive] = self._once_repaired(todo[0], work)
                    except MediumError as error:
                        if isinstance(error, OutOfSpaceError) and not done:
                            raise
                        failed.append((todo[0], error))
                    todo.pop(0)
            except BaseException as error:
                # What had its turn has changed, the rest has not. Of the one whose turn it was nobody knows,
                # if a signal came; otherwise it refused, and is as it was.
                is_known = isinstance(error, SeqstoreError)
                behind = todo if done else todo[:0] if is_known else todo[1:]
                for leg, cause in [*failed, *((leg, error) for leg in behind)]:
                    self.give_up(leg, cause)
                raise
            if not done:
                raise failed[0][1]
            for leg, cause in failed:
                self.give_up(leg, cause)
            return done

    def _once_repaired(self, leg: Leg, work: Callable[[Leg], T]) -> T:
        """Do something to a copy; a damaged block that is in its way is repaired first."""
        try:
            return work(leg)
        except CorruptionError as error:
            others = [other for other in self.legs if other is not leg]
            if not others or not isinstance(leg.view, EngineVolume):
                raise
            self._repair_run(leg, others, error.lba, 1)
            return work(leg)

    def give_up(self, leg: Leg, error: BaseException) -> None:
        """Leave a copy out from now on."""
        with self.lock:
            if leg in self.legs:
                self.keeper.give_up(leg, error)
                self.legs = [other for other in self.legs if other is not leg]

    def change(self, function: Any, *arguments: Any, doing: str) -> None:
        """Call a function of the core that changes a volume, for each copy."""

        def work(leg: Leg) -> None:
            assert isinstance(leg.view, EngineVolume)
            leg.view._change(function, *arguments, doing=doing)

        self.each(work)

    # ---- reads --------------------------------------------------------------------------------

    def read(self, function: Any, *arguments: Any, doing: str) -> None:
        """Call a function of the core that reads, for the first copy that is whole."""
        failed: list[tuple[Leg, SeqstoreError]] = []
        _ = self.first
        for leg in list(self.legs):
            try:
                leg.view._call(function, *arguments, doing=doing)
            except (CorruptionError, MediumError) as error:
                failed.append((leg, error))
                continue
            for bad, _ in failed:
                is_volume = isinstance(bad.view, EngineVolume)
                self.keeper.read_failed(bad, self.volume, repairable=is_volume)
                self._repair(bad, leg, function, arguments)
            return
        raise failed[0][1]

    def _repair(self, bad: Leg, good: Leg, function: Any, arguments: tuple[Any, ...]) -> None:
        """Write the blocks anew that a copy could not give; those of a snapshot stay as they are."""
        if not isinstance(bad.view, EngineVolume):
            return
        size = bad.view.block_size
        if function == lib.sq_volume_read:
            offset, _, length = arguments
            self._repair_run(bad, [good], offset // size, -(-(offset + length) // size) - offset // size)
        elif function == lib.sq_volume_read_run:
            self._repair_run(bad, [good], arguments[0], arguments[1])
        else:
            for index in range(arguments[1]):
                self._repair_run(bad, [good], int(arguments[0][index]), 1)

    def _repair_run(self, bad: Leg, others: list[Leg], lba: int, count: int) -> None:
        with self.lock:
            for first in range(lba, lba + count, _REPAIRED_AT_ONCE):
                number = min(_REPAIRED_AT_ONCE, lba + count - first)
                if bad not in self.legs or _is_whole(bad.view, first, number):
                    continue
                wrong = [each for each in range(first, first + number) if not _is_whole(bad.view, each, 1)]
                with self.keeper.writing(self.volume, bad, others, wrong):
                    for each in wrong:
                        if bad in self.legs:
                            self._repair_block(bad, others, each)

    def _repair_block(self, bad: Leg, others: list[Leg], lba: int) -> None:
        view = bad.view
        assert isinstance(view, EngineVolume)
        for good in others:
            try:
                data = _read(good.view, lba, 1)
            except SeqstoreError:
                continue
            try:
                # The last block of a volume can be cut by its end.
                length = min(view.block_size, view._info()[0] - lba * view.block_size)
                view.write(lba * view.block_size, data.tobytes()[:length])
            except SeqstoreError as error:
                self.give_up(bad, error)
            return


def _read(view: EngineView, lba: int, count: int) -> NDArray[np.uint8]:
    out = np.empty((count, view.block_size), np.uint8)
    view._read_blocks(lba, count, out)
    return out


def _is_whole(view: EngineView, lba: int, count: int) -> bool:
    """Tell whether blocks can be read; unwritten ones can."""
    try:
        _read(view, lba, count)
    except (CorruptionError, MediumError):
        return False
    except SeqstoreError:
        return count == 1 or all(_is_whole(view, each, 1) for each in range(lba, lba + count))
    return True
