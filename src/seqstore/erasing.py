"""Deletion as a store does it: whose strategy counts, what is due, and who sees to it when nobody calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from seqstore._native.records import Scope
from seqstore.deletion import (
    Bounds,
    CryptographicErase,
    Plan,
    Purge,
    Strategy,
    check_strategy,
    epoch_ns,
)
from seqstore.engine_deletion import EngineDeletion, Residue, add_residue
from seqstore.erasing_log import ErasingLog
from seqstore.errors import BoundError, ClosedError, MediumError, OutOfSpaceError, SeqstoreError
from seqstore.loosening import note_loosened, promise_again
from seqstore.stats import Remanence, add_remanence
from seqstore.timeline import Timeline

if TYPE_CHECKING:
    from seqstore.clock import Clock
    from seqstore.engine import Engine
    from seqstore.epochs import Epochs
    from seqstore.notebook import Notebook

Key = tuple[Scope, int]

_LOOKS_A_BOUND = 16  # in time: so much of it is given away
_LEAST_LOOK_NS = 1_000_000


class Eraser:
    """Keeps the promises of deletion of one store. Each drive has a time of its own, its log's.

    Parameters
    ----------
    clock : Clock
        What bounds in seconds are measured with.
    owner_of : callable
        The number of a volume's tenant.
    """

    def __init__(self, clock: Clock, owner_of: Callable[[int], int | None]) -> None:
        self._clock = clock
        self._owner_of = owner_of
        self._logs: dict[int, ErasingLog] = {}
        self._lock = threading.RLock()
        self._strategies: dict[Key, Strategy] = {}
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._ending = False
        self.failure: SeqstoreError | None = None
        self._notebook: Notebook | None = None
        self.epochs: Epochs | None = None  # where blocks are encrypted

    @property
    def core(self) -> EngineDeletion:
        """What the first drive's log does about deleted data."""
        return next(iter(self._logs.values())).core

    # ---- drives -----------------------------------------------------------------------------------

    def add(self, drive: int, engine: Engine, core: EngineDeletion) -> None:
        """Keep the promises on one more drive.

        Raises
        ------
        BoundError
            If they cannot be kept there.
        """
        with self._lock:
            log = ErasingLog(engine, core)
            for (scope, number), strategy in self._strategies.items():
                asked = log.asked(strategy)
                log.bind(scope, number, strategy, asked.blocks, kept=False)
            self._logs[drive] = log
            self._note()

    def remove(self, drive: int) -> None:
        """Leave a drive alone that is out of use."""
        with self._lock:
            self._logs.pop(drive, None)

    def placed(self, drive: int, volume: int) -> None:
        """Bound what a volume leaves behind on a drive to which it just came."""
        with self._lock:
            strategy, log = self._strategies.get((Scope.VOLUME, volume)), self._logs.get(drive)
            if strategy is not None and log is not None:
                log.core.bind(Scope.VOLUME, volume, log.asked(strategy).blocks, kept=False)

    def load(self, notebook: Notebook) -> None:
        """Go on with what was promised before the store was opened, and write down what comes."""
        with self._lock:
            for drive, log in self._logs.items():
                log.timeline = Timeline(notebook.table.moments(drive))
                promise_again(notebook.table, drive, log, self._clock.now_ns())
            for (scope, number), strategy in notebook.table.strategies().items():
                if self._is_over(scope, number):
                    notebook.table.forget_strategy((scope, number))
                else:
                    self.set(scope, number, strategy, kept=True)
            self._notebook = notebook

    def resume(self) -> None:
        """Do again what a crash cut off, and what came due while the store was closed.

        A purge that finds no room keeps nobody from opening the store; the next opening tries it again.
        """
        if self._notebook is not None:
            for scope, number in self._notebook.table.unfinished_purges():
                self._try_again(scope, number)
        if self.epochs is not None:
            self.epochs.resume()
        self.look()

    def _try_again(self, scope: Scope, number: int) -> None:
        try:
            self.purge(scope, number)
        except OutOfSpaceError as error:
            self.failure = error

    def _is_over(self, scope: Scope, number: int) -> bool:
        """Say whether a volume is gone, and all that was left of it."""
        is_gone = scope is Scope.VOLUME and self._owner_of(number) is None
        return is_gone and not self.residue(scope, number).residue_blocks

    # ---- strategies -----------------------------------------------------------------------------

    def strategy(self, scope: Scope, number: int) -> Strategy | None:
        """Return what was set for a scope itself."""
        return self._strategies.get((scope, number))

    @property
    def is_lap(self) -> bool:
        """Whether nothing was ever set: then there is nothing to be done after a deletion."""
        return not self._strategies

    @property
    def acts_at_once(self) -> bool:
        """Whether anything is set that asks for something in the call of a deletion."""
        return any(self._asked_of_all(strategy).now for strategy in self._strategies.values())

    @property
    def is_bound_by_lap(self) -> bool:
        """Whether nothing that is set asks for more than that the head comes round."""
        return all(self._asked_of_all(strategy) == Bounds() for strategy in self._strategies.values())

    def bounds(
        self, scope: Scope, number: int, owner: int | None = None, *, drive: int | None = None
    ) -> Bounds:
        """Return what holds for a scope: the strictest of what is set for it and for what it belongs to.

        `owner` is the number of a deleted volume's tenant; of a drive that is in use the bounds are told,
        or of the one where they are largest.
        """
        keys: list[Key] = [(Scope.ALL, 0)]
        if scope is Scope.TENANT:
            keys.append((scope, number))
        if scope is Scope.VOLUME:
            keys += [(Scope.TENANT, owner or self._owner_of(number) or 0), (scope, number)]
        strategies = [self._strategies[key] for key in keys if key in self._strategies]
        found, log = Bounds(), None if drive is None else self._logs.get(drive)
        for strategy in strategies:
            found |= self._asked_of_all(strategy) if log is None else log.asked(strategy)
        return found

    def set(self, scope: Scope, number: int, strategy: Strategy, *, kept: bool = False) -> None:
        """Set the strategy of a scope.

        Parameters
        ----------
        scope : Scope
        number : int
        strategy : Strategy
        kept : bool
            Whether it was set before the store was opened.

        Raises
        ------
        ConfigError
            If it is no strategy.
        BoundError
            If its bound cannot be kept.
        """
        strategy = check_strategy(strategy)
        self._set_epoch(scope, number, self._asked_of_all(strategy).epoch)
        with self._lock:
            asked = self._asked_of_all(strategy)
            bound: list[ErasingLog] = []
            try:
                for log in self._logs.values():
                    log.bind(scope, number, strategy, log.asked(strategy).blocks, kept=kept)
                    bound.append(log)
            except BoundError:
                earlier = self._strategies.get((scope, number))
                for log in bound:
                    blocks = None if earlier is None else log.asked(earlier).blocks
                    log.core.bind(scope, number, blocks, kept=True)
                raise
            before = self._asked_of_all(self._strategies.get((scope, number), strategy)).nanoseconds
            if before is not None and (asked.nanoseconds is None or asked.nanoseconds > before):
                # Nobody would remember what was promised in time: it is kept at once.
                self.purge(scope, number)
            if self._notebook is not None:
                earlier = self._strategies.get((scope, number))
                note_loosened(self._notebook.table, self._logs, (scope, number), earlier, strategy)
                self._notebook.changed((scope, number), strategy)
            self._strategies[scope, number] = strategy
            if asked.nanoseconds is not None:
                self._note()
            if self._step_ns() is not None:
                self._start()

    def _set_epoch(self, scope: Scope, number: int, epoch: int | None) -> None:
        """Before a strategy is set: let blocks have keys of their own, and keep what was promised before."""
        if self.epochs is None:
            return
        before = self._strategies.get((scope, number))
        promised = None if before is None else self._asked_of_all(before).epoch
        if promised is not None and (epoch is None or epoch > promised):
            self.epochs.end(scope, number)
        if epoch is not None:
            self.epochs.begin(scope, number)

    def epoch_of(self, tenant: int, volume: int) -> int | None:
        """Return the length of a volume's epochs in nanoseconds; None: it has none."""
        keys = ((Scope.ALL, 0), (Scope.TENANT, tenant), (Scope.VOLUME, volume))
        chosen = (self._strategies.get(key) for key in keys)
        epochs = (epoch_ns(each) for each in chosen if isinstance(each, CryptographicErase))
        return min((epoch for epoch in epochs if epoch is not None), default=None)

    def _asked_of_all(self, strategy: Strategy) -> Bounds:
        """Return what a strategy asks for on any drive, at most; blocks are those written to it."""
        asked = [log.asked(strategy) for log in self._logs.values()]
        blocks = [bounds.blocks for bounds in asked if bounds.blocks is not None]
        return replace(asked[0], blocks=max(blocks, default=None)) if asked else Bounds()

    # ---- what is there, and what will be done -----------------------------------------------------

    def residue(self, scope: Scope, number: int) -> Residue:
        """Count the residue of a scope; positions are those of the drives, which may differ."""
        return add_residue([log.core.remanence(scope, number) for log in self._logs.values()])

    def report(self, scope: Scope, number: int) -> Remanence:
        """Say what there is of a scope, how old it is, and until when."""
        now_ns = self._clock.now_ns()
        epochs, parts = self.epochs, list[Remanence]()
        for drive, log in list(self._logs.items()):
            unreadable = 0 if epochs is None else epochs.count_unreadable(drive, scope, number)
            parts.append(log.report(scope, number, now_ns, unreadable))
        return add_remanence(parts)

    def plan(self, scope: Scope, number: int, strategy: Strategy) -> Plan:
        """Say what a strategy will do about the residue that there is."""
        asked = self._asked_of_all(check_strategy(strategy))
        by_key = self.epochs.plan(scope, number) if self.epochs is not None and asked.epoch else None
        stays = asked == Bounds() or (by_key is not None and not by_key.overwrites)
        within_ns = asked.epoch if asked.nanoseconds is None else asked.nanoseconds
        residue_blocks = segments = relocated = written = 0
        for log in self._logs.values():
            residue = log.core.remanence(scope, number)
            live = log.live_beside(scope, number) if residue.segments else 0
            residue_blocks += residue.residue_blocks
            segments += residue.segments
            relocated += live
            written += max(residue.segments * log.engine.medium.zone_blocks, live)
        return Plan(
            strategy=strategy,
            residue_blocks=residue_blocks,
            segments=segments,
            relocated_blocks=0 if stays else relocated,
            device_blocks=0 if stays else written,
            within_blocks=0 if asked.now else asked.blocks,
            within_seconds=None if within_ns is None else within_ns / 1e9,
            key_bytes=0 if by_key is None else by_key.node_bytes,
        )

    # ---- now ------------------------------------------------------------------------------------

    def purge(self, scope: Scope, number: int) -> Purge:
        """Write over all residue of a scope, on all drives that are in use."""
        return self._purge(scope, number, self._logs, None)

    def purge_drive(self, drive: int, scope: Scope, number: int) -> None:
        """Write over all residue of a scope on one drive."""
        if drive in self._logs:
            self._purge(scope, number, {drive: self._logs[drive]}, None)

    def _purge(
        self, scope: Scope, number: int, logs: dict[int, ErasingLog], died_before: int | None
    ) -> Purge:
        started_ns = self._clock.now_ns()
        if self._notebook is not None:
            self._notebook.begun((scope, number), started_ns)
        before, done = 0, dict[str, int]()
        failed: list[MediumError] = []
        for drive, log in list(logs.items()):
            try:
                residue_blocks = log.core.remanence(scope, number).residue_blocks
                if not residue_blocks and len(logs) > 1:
                    continue
                part = log.core.purge(scope, number, died_before)
            except MediumError as error:
                failed.append(error)
                continue
            except ClosedError:
                if drive in self._logs:
                    raise
                continue  # it went out of use meanwhile
            done = {name: value + done.get(name, 0) for name, value in part.items()}
            done["position"] = part["position"]
            before += residue_blocks
        if failed:  # and the others have done what they could
            raise failed[0]
        if not done:  # on none of several drives
            done = dict.fromkeys(("segments", "relocated_blocks", "overwritten_blocks", "verified_blocks"), 0)
            done["position"] = next(iter(self._logs.values())).position
        purge = Purge(
            residue_blocks=before,
            segments=done["segments"],
            relocated_blocks=done["relocated_blocks"],
            overwritten_blocks=done["overwritten_blocks"],
            verified_blocks=done["verified_blocks"],
            position=done["position"],
            started_ns=started_ns,
            finished_ns=self._clock.now_ns(),
        )
        if self._notebook is not None:
            self._notebook.finished((scope, number), purge)
        return purge

    def intend(self, scope: Scope, number: int, bounds: Bounds) -> None:
        """Before a deletion: see to it that a crash does not keep the bounds from being met."""
        if bounds.now and self._notebook is not None:
            self._notebook.table.begin_purge((scope, number), self._clock.now_ns())

    def deleted(self, scope: Scope, number: int, bounds: Bounds) -> Purge | None:
        """Do what the bounds ask for right after a deletion."""
        if bounds.nanoseconds is not None:
            self._note()
        return self.purge(scope, number) if bounds.now else None

    # ---- in time --------------------------------------------------------------------------------

    def idle(self, duration_ns: int) -> None:
        """Let time pass, and write over what comes due meanwhile."""
        end = self._clock.now_ns() + duration_ns
        while True:
            self.look()
            left, step = end - self._clock.now_ns(), self._step_ns()
            if left <= 0:
                return
            self._clock.sleep_ns(left if step is None else min(left, step))

    def look(self) -> int:
        """Do what would be too late at the next look; return how many segments were written over."""
        affected, step = self._look_at_deadlines(), self._step_ns()
        # Without the lock: whoever has that of the registry may be waiting for it.
        if self.epochs is not None and step is not None:
            self.epochs.look(2 * step)
        return affected

    def _look_at_deadlines(self) -> int:
        with self._lock:
            step, now, bounds = self._step_ns(), self._clock.now_ns(), self._in_time()
            if step is None or not bounds:
                return 0
            self._note()
            affected = 0
            for (scope, number), strategy in list(self._strategies.items()):
                nanoseconds = self._asked_of_all(strategy).nanoseconds
                if nanoseconds is None:
                    continue
                for drive, log in list(self._logs.items()):
                    position = log.timeline.died_by(now + min(2 * step - nanoseconds, 0))
                    residue = log.core.remanence(scope, number)
                    if residue.oldest is not None and position is not None and residue.oldest <= position:
                        affected += self._purge(scope, number, {drive: log}, position).segments
            for log in self._logs.values():
                log.timeline.forget_before(now - max(bounds))
            return affected

    def _in_time(self) -> list[int]:
        strategies = list(self._strategies.values())
        bounds = (self._asked_of_all(strategy).nanoseconds for strategy in strategies)
        return [value for value in bounds if value is not None]

    def _step_ns(self) -> int | None:
        """Return the time between two looks; None if nothing is bound in time."""
        epochs = (self._asked_of_all(strategy).epoch for strategy in list(self._strategies.values()))
        bounds = [*self._in_time(), *(epoch for epoch in epochs if epoch is not None)]
        return max(min(bounds) // _LOOKS_A_BOUND, _LEAST_LOOK_NS) if bounds else None

    def _note(self) -> None:
        """Look at the clock."""
        with self._lock:
            now, longest = self._clock.now_ns(), max(self._in_time(), default=0)
            for drive, log in self._logs.items():
                position = log.position
                if log.timeline.note(now, position) and self._notebook is not None:
                    self._notebook.table.note_moment(now, position, now - 2 * longest, drive)

    def leave(self) -> None:
        """Before the store is closed: write down where the log is now, so that ages are known later.

        A log that stands still is noted once; that it stood still until now would be forgotten.
        """
        with self._lock:
            if self._notebook is not None and self._in_time():
                self._note()
                now, longest = self._clock.now_ns(), max(self._in_time())
                for drive, log in self._logs.items():
                    position = log.position
                    self._notebook.table.note_moment(now, position, now - 2 * longest, drive)

    # ---- the thread -----------------------------------------------------------------------------

    def _start(self) -> None:
        """Look from time to time, on a clock that goes on by itself."""
        if self._thread is not None or not getattr(self._clock, "goes_on", False):
            return
        self._thread = threading.Thread(target=self._run, name="seqstore-eraser", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            step = self._step_ns()
            self._wake.wait(None if step is None else step / 1e9)
            if self._ending or all(log.engine.closed for log in list(self._logs.values())):
                return
            try:
                self.look()
                self.failure = None
            except SeqstoreError as error:
                self.failure = error  # and it is tried again at the next look

    def end(self) -> None:
        """Stop the thread."""
        self._ending = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
