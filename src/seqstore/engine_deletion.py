"""Typed handle on what the core does about deleted data: bounds, purges, and the evidence of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from seqstore._native._core import ffi, lib
from seqstore._native.convert import lend_array
from seqstore._native.records import (
    AGE_BINS,
    LIVE_SEAL_DTYPE,
    NO_ADDRESS,
    OVERWRITTEN_DTYPE,
    RESIDUE_DTYPE,
    Scope,
    field_values,
)
from seqstore.errors import BoundError, CorruptionError, NotFoundError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from seqstore.engine import Engine

_RUNS_AT_ONCE = 1 << 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Residue:
    """What lies of a scope: the fields of ``struct sq_remanence``, and how old it is.

    Attributes
    ----------
    residue_blocks, moved_blocks, unbounded_blocks, segments : int
    oldest, oldest_moved : int or None
        Position of the first death.
    due, last_due : int or None
        Positions by which the first and the last block with a bound is written over.
    position : int
        Of the log meanwhile.
    ages : uint64[512]
        Blocks by age in 32nds of a lap; the last bin holds what is older, too.
    """

    residue_blocks: int
    moved_blocks: int
    unbounded_blocks: int
    segments: int
    oldest: int | None
    oldest_moved: int | None
    due: int | None
    last_due: int | None
    position: int
    ages: NDArray[np.uint64]


class EngineDeletion:
    """Handle on a log's deletions.

    Parameters
    ----------
    engine : Engine
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def bind(self, scope: Scope, number: int, blocks: int | None, *, kept: bool = False) -> None:
        """Bound the time that residue of a scope lies, in blocks that the log writes.

        Parameters
        ----------
        scope : Scope
        number : int
            Of the tenant or volume.
        blocks : int or None
            None: no bound.
        kept : bool
            Whether it was promised before the log was opened; else what lies there already gets the time of
            the smallest bound at least.

        Raises
        ------
        BoundError
            If no bound so small can be kept.
        NotFoundError
            If there is no such volume.
        """
        fault = ffi.new("struct sq_fault *")
        value = NO_ADDRESS if blocks is None else blocks
        status = lib.sq_log_bound(self._engine.log, scope, number, value, kept, fault)
        if status == lib.SQ_E_BOUND:
            raise BoundError(
                f"residue cannot be written over within {value} blocks of writing; the smallest bound that"
                f" this drive can keep is {fault.count}",
                smallest=fault.count,
            )
        self._engine.require(status, "setting a bound on residue")

    def smallest_bound(self) -> int:
        """Return the smallest bound that the log can keep, in blocks that it writes."""
        least = ffi.new("uint64_t *")
        self._engine.require(lib.sq_log_smallest_bound(self._engine.log, least), "smallest bound")
        return int(least[0])

    def purge(self, scope: Scope, number: int, died_before: int | None = None) -> dict[str, int]:
        """Write over all residue of a scope, now, and read back what lies there then.

        Parameters
        ----------
        scope : Scope
        number : int
        died_before : int, optional
            Position; what died later may stay.

        Returns
        -------
        dict of str to int
            The fields of ``struct sq_purge``.

        Raises
        ------
        CorruptionError
            If the medium does not hold what was written.
        MediumError
            If it fails, or has no room for what has to move.
        """
        done, fault = ffi.new("struct sq_purge *"), ffi.new("struct sq_fault *")
        before = NO_ADDRESS if died_before is None else died_before
        status = lib.sq_log_purge(self._engine.log, scope, number, before, done, fault)
        if status == lib.SQ_E_CORRUPT:
            raise CorruptionError(
                f"purge: media block {fault.mba} does not hold what was written over the residue; the drive"
                " lost a write, or rotted; repeat the purge, and replace the drive if it fails again",
                volume=0,
                lba=NO_ADDRESS,
                mba=fault.mba,
            )
        if status:
            raise self._engine.failure_with(status, fault, "purge")
        return field_values("struct sq_purge", done)

    def remanence(self, scope: Scope, number: int) -> Residue:
        """Count the residue of a scope."""
        found = ffi.new("struct sq_remanence *")
        ages = np.zeros(AGE_BINS, np.uint64)
        status = lib.sq_log_remanence(self._engine.log, scope, number, found, lend_array("uint64_t[]", ages))
        self._engine.require(status, "remanence")
        values: dict[str, Any] = dict(field_values("struct sq_remanence", found))
        for name in ("oldest", "oldest_moved", "due"):
            values[name] = None if values[name] == NO_ADDRESS else values[name]
        values["last_due"] = values["last_due"] or None
        return Residue(**values, ages=ages)

    def residue(self, scope: Scope, number: int) -> NDArray[np.void]:
        """Return the residue of a scope, as RESIDUE_DTYPE[n] in the order of the medium."""
        mba, count = ffi.new("uint64_t *", 0), ffi.new("uint64_t *")
        parts: list[NDArray[np.void]] = []
        while not parts or len(parts[-1]) == _RUNS_AT_ONCE:
            runs = np.empty(_RUNS_AT_ONCE, RESIDUE_DTYPE)
            target = lend_array("struct sq_residue_run[]", runs)
            status = lib.sq_log_residue(self._engine.log, scope, number, mba, len(runs), target, count)
            self._engine.require(status, "residue")
            parts.append(runs[: count[0]])
        return np.concatenate(parts)

    def live_seals(self, keys: list[int]) -> NDArray[np.void]:
        """Say what the live blocks are sealed with that are sealed under some keys.

        Parameters
        ----------
        keys : list of int
            Their numbers.

        Returns
        -------
        LIVE_SEAL_DTYPE[n]
            In ascending order of keys, openings and leaves.

        Raises
        ------
        MediumError
            If a summary cannot be read: then it is not known what lives.
        """
        wanted = np.array(sorted(keys), np.uint32)
        given = (lend_array("uint32_t[]", wanted), len(wanted))
        count, fault = ffi.new("uint64_t *"), ffi.new("struct sq_fault *")
        room = 1 << 12
        while True:
            seals = np.empty(room, LIVE_SEAL_DTYPE)
            target = lend_array("struct sq_live_seal[]", seals)
            status = lib.sq_log_live_seals(self._engine.log, *given, room, target, count, fault)
            if status:
                raise self._engine.failure_with(status, fault, "listing what lives under a key")
            if count[0] <= room:
                return seals[: count[0]]
            room = int(count[0] + (count[0] >> 4))  # others may write meanwhile

    def watch(self, scope: Scope, number: int, *, watched: bool = True) -> None:
        """Let it be noted what of a scope's volumes, as they are now, is written over."""
        self._engine.require(lib.sq_log_watch(self._engine.log, scope, number, watched), "watch")

    def overwritten(self) -> tuple[NDArray[np.void], bool]:
        """Return what was written over of what is watched, since the last call.

        Returns
        -------
        runs : OVERWRITTEN_DTYPE[n]
        complete : bool
            False if there was no memory for some.
        """
        count, lossy = ffi.new("uint64_t *"), ffi.new("int *")
        parts: list[NDArray[np.void]] = []
        complete = True
        while not parts or len(parts[-1]) == _RUNS_AT_ONCE:
            runs = np.empty(_RUNS_AT_ONCE, OVERWRITTEN_DTYPE)
            target = lend_array("struct sq_overwritten[]", runs)
            status = lib.sq_log_overwritten(self._engine.log, len(runs), target, count, lossy)
            self._engine.require(status, "overwritten")
            complete &= not lossy[0]
            parts.append(runs[: count[0]])
        return np.concatenate(parts), complete


class DriveDeletion(EngineDeletion):
    """The same for one of several drives, whose volumes have numbers of their own there.

    Parameters
    ----------
    engine : Engine
    numbers_of : callable
        All numbers that a volume has or had on the drive.
    volume_of : callable
        The volume that such a number stands for.
    """

    def __init__(
        self, engine: Engine, numbers_of: Callable[[int], list[int]], volume_of: Callable[[int], int]
    ) -> None:
        super().__init__(engine)
        self._numbers_of = numbers_of
        self._volume_of = volume_of

    def _on_drive(self, scope: Scope, number: int) -> list[int]:
        return self._numbers_of(number) if scope is Scope.VOLUME else [number]

    def bind(self, scope: Scope, number: int, blocks: int | None, *, kept: bool = False) -> None:
        """Bound the time that residue of a scope lies; see `EngineDeletion.bind`."""
        for own in self._on_drive(scope, number):
            with suppress(NotFoundError):  # it is not there any more
                super().bind(scope, own, blocks, kept=kept)

    def purge(self, scope: Scope, number: int, died_before: int | None = None) -> dict[str, int]:
        """Write over all residue of a scope, now; see `EngineDeletion.purge`."""
        done = [
            super(DriveDeletion, self).purge(scope, own, died_before) for own in self._on_drive(scope, number)
        ]
        if not done:
            return {
                **dict.fromkeys(field_values("struct sq_purge", ffi.new("struct sq_purge *")), 0),
                "position": self._engine.counters()["position"],
            }
        whole = {name: sum(part[name] for part in done) for name in done[0]}
        return {**whole, "position": done[-1]["position"]}

    def remanence(self, scope: Scope, number: int) -> Residue:
        """Count the residue of a scope."""
        parts = [super(DriveDeletion, self).remanence(scope, own) for own in self._on_drive(scope, number)]
        return add_residue(parts) if parts else no_residue(self._engine.counters()["position"])

    def residue(self, scope: Scope, number: int) -> NDArray[np.void]:
        """Return the residue of a scope, as RESIDUE_DTYPE[n] in the order of the medium."""
        parts = [super(DriveDeletion, self).residue(scope, own) for own in self._on_drive(scope, number)]
        runs = np.concatenate([np.empty(0, RESIDUE_DTYPE), *parts])
        return runs[np.argsort(runs["mba"], kind="stable")]

    def watch(self, scope: Scope, number: int, *, watched: bool = True) -> None:
        """Let it be noted what of a scope's volumes, as they are now, is written over."""
        for own in self._on_drive(scope, number):
            super().watch(scope, own, watched=watched)

    def overwritten(self) -> tuple[NDArray[np.void], bool]:
        """Return what was written over of what is watched, since the last call."""
        runs, is_all = super().overwritten()
        for number in np.unique(runs["volume"]).tolist():
            runs["volume"][runs["volume"] == number] = self._volume_of(number)
        return runs, is_all


def no_residue(position: int) -> Residue:
    """Return what is counted where there is nothing."""
    return Residue(
        residue_blocks=0,
        moved_blocks=0,
        unbounded_blocks=0,
        segments=0,
        oldest=None,
        oldest_moved=None,
        due=None,
        last_due=None,
        position=position,
        ages=np.zeros(AGE_BINS, np.uint64),
    )


def add_residue(parts: Sequence[Residue]) -> Residue:
    """Add up what was counted of several numbers on one drive; segments that they share count twice."""
    if len(parts) == 1:
        return parts[0]

    def first(name: str) -> int | None:
        return min((getattr(part, name) for part in parts if getattr(part, name) is not None), default=None)

    return Residue(
        residue_blocks=sum(part.residue_blocks for part in parts),
        moved_blocks=sum(part.moved_blocks for part in parts),
        unbounded_blocks=sum(part.unbounded_blocks for part in parts),
        segments=sum(part.segments for part in parts),
        oldest=first("oldest"),
        oldest_moved=first("oldest_moved"),
        due=first("due"),
        last_due=max((part.last_due for part in parts if part.last_due is not None), default=None),
        position=max(part.position for part in parts),
        ages=np.sum([part.ages for part in parts], axis=0, dtype=np.uint64),
    )
