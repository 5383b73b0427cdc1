"""Processes that write to a store until they are killed: ``python -m tests.crash.victim``.

The process that is started makes one child for each order that it reads, so that Python is started once and
killed often. An order is a line of JSON, the fields of `Order`; the line after it, whatever it says, ends the
child by SIGKILL. What has happened comes back as lines:

==================  ======================================================================================
``opened {...}``    the store is open; `Opened` says what the operations are drawn from besides the seed
``done 3``          operation 3 has returned
``flushed 4``       operation 4 has returned, and with it all before are on the medium
``refused 5``       operation 5 found no room, on the drive or in its tables, and did nothing
``closed 5``        the store was closed after 5 operations; the child is waiting
``failed ...``      an exception, which nobody expected
``ended 9``         the child is gone, by this signal
==================  ======================================================================================
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from seqstore import MediumError, Store
from tests.crash.file_store import FLUSHING, FileStore, next_world
from tests.crash.history import Author
from tests.crash.world import World
from tests.small import BLOCK_SIZE

TENANTS = ("contoso", "fabrikam", "northwind")
SEGMENT_BLOCKS = 32
PATIENCE_S = 120
_VERSIONS = 1_000_000  # more than a child makes

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a child is to do: open the store, or make it, and so many operations of this seed."""

    path: str
    seed: str
    child: int
    operations: int
    make: bool = False
    access: str | None = None
    preallocate: bool = True
    segments: int = 24
    selection: str = "fifo"
    placement: str = "single"
    classes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a child found."""

    last_number: int
    tenants: list[int]
    atomic_blocks: int


def author_of(order: Order, opened: Opened, world: World) -> Author:
    """Make the author of a child's operations, in the child and wherever they are to be known again."""
    return Author(
        Random(f"{order.seed}/{order.child}"),
        world,
        last_number=opened.last_number,
        tenants=opened.tenants,
        version=order.child * _VERSIONS,
    )


# ---- the process that is started --------------------------------------------------------------------


def say(line: str) -> None:
    """Report at once: what is said is out, whatever happens next."""
    os.write(1, f"{line}\n".encode())


def make_or_open(order: Order) -> Store:
    if not order.make:
        return Store.open(order.path, checkpoint_interval="48KiB")
    return Store.create(
        order.path,
        order.segments * SEGMENT_BLOCKS * BLOCK_SIZE,
        block_size=BLOCK_SIZE,
        segment_size=SEGMENT_BLOCKS * BLOCK_SIZE,
        checkpoint_interval="48KiB",
        access=order.access or "cached",  # type: ignore[arg-type]
        preallocate=order.preallocate,
        selection=order.selection,
        placement=order.placement,
        classes=order.classes,
    )


def work(order: Order) -> None:
    """Do what is ordered, and report each step."""
    store = make_or_open(order)
    known = {tenant.name for tenant in store.tenants}
    for name in TENANTS:
        if name not in known:
            store.create_tenant(name)
    subject = FileStore(store)
    world = subject.show()
    opened = Opened(
        last_number=store._parts.catalog.draw_number(),
        tenants=[tenant.number for tenant in store.tenants],
        atomic_blocks=subject.atomic_blocks,
    )
    say(f"opened {json.dumps(asdict(opened))}")
    author = author_of(order, opened, world)
    for number in range(1, order.operations + 1):
        op = author.choose(world)
        try:
            subject.apply(op)
        except MediumError as error:
            if error.errno not in {None, errno.ENOSPC}:
                raise
            say(f"refused {number}")
            continue
        say(f"{'flushed' if isinstance(op, FLUSHING) else 'done'} {number}")
        world = next_world(world, op, opened.atomic_blocks)
    store.close()
    say(f"closed {order.operations}")


def run_child(order: Order) -> None:
    try:
        work(order)
    except BaseException as error:
        say(f"failed {type(error).__name__}: {error}".replace("\n", " "))
    while True:
        signal.pause()


def main() -> None:
    for line in iter(sys.stdin.readline, ""):
        order = Order(**json.loads(line))
        child = os.fork()
        if child == 0:
            run_child(order)
        sys.stdin.readline()
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        say(f"ended {os.waitstatus_to_exitcode(status)}")


# ---- the one that starts it -------------------------------------------------------------------------


class Victims:
    """The running process, as seen from outside."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.victim"],
            cwd=REPOSITORY,
            # Threads of a library would make forking dangerous.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._rest = b""

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def start(self, order: Order) -> None:
        self._send(json.dumps(asdict(order)))

    def kill(self) -> list[str]:
        """Kill the child, and return all that it had still said."""
        self._send("kill")
        *lines, end = self.read_until("ended")
        assert end == f"ended {-signal.SIGKILL}", f"the child was gone before: {[*lines, end]}"
        return lines

    def read_until(self, *words: str) -> Iterator[str]:
        """Yield lines up to the first that begins with one of the words."""
        for line in self._lines():
            assert not line.startswith("failed"), line
            yield line
            if line.startswith(words):
                return

    def _lines(self) -> Iterator[str]:
        assert self._process.stdout is not None
        while True:
            while b"\n" not in self._rest:
                ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE_S)
                assert ready, "the child says nothing any more"
                more = os.read(self._process.stdout.fileno(), 1 << 16)
                assert more, "the process that makes the children has ended"
                self._rest += more
            line, _, self._rest = self._rest.partition(b"\n")
            yield line.decode()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())


if __name__ == "__main__":
    main()
