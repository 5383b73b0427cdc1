"""Readers and writers on several volumes at once.

Each thread has volumes of its own, of which it knows to the byte what they hold, and all use some volumes
together, of which a `Timeline` knows what a read may return. The kit's threads are switched often, and the
same seed does the same calls; in which order they meet is left to the machine.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from seqstore.testing.judge import Finding, Judge
from seqstore.testing.model import Model, Volume
from seqstore.testing.protocol import BlockStore, Capabilities
from seqstore.testing.report import IsolationViolation
from seqstore.testing.timeline import Timeline
from seqstore.testing.worker import SHARED_BLOCKS, RaceFinding, Worker

_SHARED_TENANTS = ("amber", "birch", "amber")
_SWITCH_SECONDS = 1e-5
_HANGING_SECONDS = 120.0
_CODE = """\
from seqstore.testing import check_isolation

{}  # threads meet in another way each time: try again
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceOutcome:
    """What was done without a finding.

    Attributes
    ----------
    examples : int
        Stores that were tried.
    steps : int
        Calls of all threads together.
    commands : Counter
        The same by what they were.
    """

    examples: int
    steps: int
    commands: Counter[str]


def run_races(
    factory: Callable[[], BlockStore], *, threads: int, examples: int, steps: int, seed: int
) -> RaceOutcome:
    """Let threads loose on fresh stores.

    Parameters
    ----------
    factory : callable
        Returns a fresh store each time.
    threads : int
        How many use it at once.
    examples : int
        How many stores.
    steps : int
        Calls of each thread on each store.
    seed : int
        Of what they do.

    Returns
    -------
    RaceOutcome
        If nothing was found.

    Raises
    ------
    IsolationViolation
        If a thread got what it may not get. The same seed makes the same calls, and may have to make them
        several times before they meet in the same way.
    AdapterError
        If the adapter does not keep to the protocol.
    """
    commands: Counter[str] = Counter()
    with _eager_switches():
        for number in range(examples):
            arena = Arena(factory(), Random(f"{seed} {number}"))
            try:
                commands += arena.run(threads, steps)
            except RaceFinding as found:
                call = f"check_isolation(factory, threads={threads}, steps={steps}, seed={seed})"
                raise IsolationViolation(
                    found.finding, story=found.story, seed=seed, code=_CODE.format(call), repeat=call
                ) from found.finding.__cause__
            finally:
                if arena.capabilities.close:
                    arena.store.close()
    return RaceOutcome(examples=examples, steps=commands.total(), commands=commands)


@contextmanager
def _eager_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Arena:
    """One store, and what its threads have in common."""

    def __init__(self, store: BlockStore, generator: Random) -> None:
        self.capabilities = Capabilities.of(store)
        self.store: Any = store
        self.generator = generator
        self.nonce = generator.getrandbits(64)
        self.model = Model(store.block_size)
        self.judge = Judge(self.model, self.nonce)
        self.lock = threading.Lock()  # of the model
        self.moments = itertools.count(1)
        self.stopping = False
        self.shared: list[tuple[Volume, Timeline]] = []
        self._failure: BaseException | None = None
        self._workers: list[Worker] = []

    def run(self, threads: int, steps: int) -> Counter[str]:
        """Let threads loose, wait for them, and look at everything once more."""
        for tenant in _SHARED_TENANTS:
            volume = self.model.create(tenant, self.store.create_volume(tenant, SHARED_BLOCKS), SHARED_BLOCKS)
            self.shared.append((volume, Timeline(SHARED_BLOCKS, self.model.zero)))
        self._workers = [Worker(self, number, steps) for number in range(1, threads + 1)]
        running = [threading.Thread(target=worker.run, daemon=True) for worker in self._workers]
        for thread in running:
            thread.start()
        deadline = time.monotonic() + _HANGING_SECONDS
        for thread, worker in zip(running, self._workers, strict=True):
            thread.join(max(deadline - time.monotonic(), 0.0))
            if thread.is_alive():
                text = f"thread {worker.number} has not come back for {_HANGING_SECONDS:.0f} s from a call"
                self.fail(RaceFinding(Finding("error", text), self.recent()))
        if self._failure is None:
            self._look_at_everything()
        if self._failure is not None:
            raise self._failure
        return sum((worker.commands for worker in self._workers), Counter[str]())

    def _look_at_everything(self) -> None:
        worker = Worker(self, 0, 0)
        owned = [volume for one in self._workers for volume in one.own]
        worker.guard(lambda: worker.look(owned))
        if self.capabilities.flush and self.capabilities.crash and self._failure is None:
            self.store.flush()
            self.store.crash()
            worker.guard(lambda: worker.look(owned))

    def fail(self, failure: BaseException) -> None:
        """Keep the first failure, and let the others come to an end."""
        self._failure = self._failure or failure
        self.stopping = True

    def recent(self) -> list[str]:
        """Return what the threads did last, in the order in which they began."""
        calls = sorted(call for worker in self._workers for call in tuple(worker.recent))
        return [sentence for _, sentence in calls]

    def beside(self, number: int) -> list[str]:
        """Return the last call of each thread but one."""
        calls = [max(worker.recent) for worker in self._workers if worker.number != number and worker.recent]
        return [sentence for _, sentence in sorted(calls)]
