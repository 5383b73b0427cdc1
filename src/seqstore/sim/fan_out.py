"""Tasks handed to an executor, and what they return as they end."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any, Protocol

Call = Callable[[Any], Any]
"""Takes a task; it and the tasks go to other processes by pickle."""


class Executor(Protocol):
    """What runs tasks: any executor of `concurrent.futures`, or a Dask ``Client``."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any) -> Any:
        """Start a call; return a future with ``add_done_callback``, ``result`` and ``cancel``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A task that is over.

    Attributes
    ----------
    index : int
        Its place among the tasks.
    value : object
        What the call returned.
    lost : Exception, optional
        Why the executor has no value: a worker died, the call or the task cannot be sent, it was cancelled.
    """

    index: int
    value: Any = None
    lost: Exception | None = None


def fan_out(call: Call, tasks: Sequence[Any], executor: Executor | None) -> Iterator[Ended]:
    """Run a call for every task and give each of them exactly once, in the order in which they end.

    Parameters
    ----------
    call : callable
        Run once for each task; what it raises counts as lost.
    tasks : sequence
    executor : Executor, optional
        Processes on this machine, one for each core, if there is none. A task under way when such a process
        dies is run again by itself; if the process dies again, the task is lost. Other executors have their
        own ways when a worker dies.

    Yields
    ------
    Ended
        If the caller stops early, tasks that have not begun are cancelled.
    """
    if executor is None:
        yield from _in_processes(call, tasks)
        return
    waiting = deque(range(len(tasks)))
    yield from _gather(executor, call, tasks, waiting, len(tasks))
    for index in waiting:
        yield Ended(index=index, lost=BrokenExecutor("the executor takes no more tasks"))


def _gather(
    executor: Executor, call: Call, tasks: Sequence[Any], waiting: deque[int], most: int
) -> Iterator[Ended]:
    """Run tasks, so many at once at `most`; what a broken executor did not take stays in `waiting`."""
    over: SimpleQueue[int] = SimpleQueue()
    futures: dict[int, Any] = {}
    broken = False
    try:
        while True:
            while waiting and len(futures) < most and not broken:
                try:
                    future = executor.submit(call, tasks[waiting[0]])
                except BrokenExecutor:
                    broken = True
                    continue
                except Exception as error:  # it was shut down, or cannot send this task
                    yield Ended(index=waiting.popleft(), lost=error)
                    continue
                index = waiting.popleft()
                futures[index] = future
                future.add_done_callback(lambda _, index=index: over.put(index))
            if not futures:
                return
            index = over.get()
            yield _ended(index, futures.pop(index))
    finally:
        for future in futures.values():
            future.cancel()


def _ended(index: int, future: Any) -> Ended:
    try:
        return Ended(index=index, value=future.result())
    except (Exception, CancelledError) as error:
        return Ended(index=index, lost=error)


def _in_processes(call: Call, tasks: Sequence[Any]) -> Iterator[Ended]:
    workers = max(1, min(cores(), len(tasks)))
    waiting = deque(range(len(tasks)))
    while waiting:
        under_way: list[Ended] = []
        finished = 0
        # One task more than workers, so that none waits for its next; all more would be lost with the pool.
        with _pool(workers) as pool:
            for ended in _gather(pool, call, tasks, waiting, workers + 1):
                if isinstance(ended.lost, BrokenExecutor):
                    under_way.append(ended)
                else:
                    finished += 1
                    yield ended
        for lost in under_way:
            with _pool(1) as pool:
                for ended in _gather(pool, call, tasks, deque([lost.index]), 1):
                    finished += not isinstance(ended.lost, BrokenExecutor)
                    yield ended
        if not finished:
            # It is not one of the tasks that kills its process: none can work here at all.
            for index in waiting:
                yield Ended(index=index, lost=under_way[0].lost)
            return


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Give a pool whose processes begin clean: a fork would take over locks that threads hold."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """See to it that this process ends when the one that waits for its results is killed."""
    Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
