"""One thread of a race: the calls that it makes, and what it makes of the answers."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from seqstore.testing.calls import Calls, describe
from seqstore.testing.canary import stamp_block
from seqstore.testing.judge import Finding, Written
from seqstore.testing.model import Volume
from seqstore.testing.protocol import AdapterError
from seqstore.testing.timeline import Change, Timeline

if TYPE_CHECKING:
    from seqstore.testing.races import Arena

SHARED_BLOCKS = 20
_OWN_BLOCKS = 16
_OWN_VOLUMES = 2
_LONGEST = 8
_STORY = 12  # sentences about a block
_RECENT = 4  # sentences about a thread

# What a thread does, how often, and the optional methods that it takes.
_COMMANDS: dict[str, tuple[int, tuple[str, ...]]] = {
    "write": (8, ()),
    "read": (8, ()),
    "trim": (3, ()),
    "own_create": (3, ()),
    "own_write": (8, ()),
    "own_read": (6, ()),
    "own_trim": (3, ()),
    "own_delete": (2, ()),
    "own_write_bytes": (4, ("write_bytes",)),
    "own_resize": (2, ("resize",)),
    "own_delete_tenant": (1, ("delete_tenant",)),
    "clone": (2, ("snapshot", "clone")),
    "flush": (1, ("flush",)),
    "clean": (1, ("clean",)),
}


class RaceFinding(Exception):  # noqa: N818  a finding is no error of the kit
    """What a race ended in.

    Attributes
    ----------
    finding : Finding
        What is wrong.
    story : tuple of str
        What happened to the block or, if it is of one thread alone, what all threads did last.
    """

    def __init__(self, finding: Finding, story: Sequence[str]) -> None:
        super().__init__(finding.text)
        self.finding = finding
        self.story = tuple(story)


@dataclass(frozen=True, slots=True)
class _Look:
    """A read, or the snapshot that is read, between two moments."""

    volume: Volume
    timeline: Timeline
    lba: int
    count: int
    start: int
    end: int
    what: str

    def range(self) -> range:
        """Return the blocks."""
        return range(self.lba, self.lba + self.count)


class Worker:
    """One thread: its volumes, and the calls that it makes.

    Parameters
    ----------
    arena : Arena
    number : int
        From 1; 0 is for the looks when the others have ended.
    steps : int
    """

    def __init__(self, arena: Arena, number: int, steps: int) -> None:
        self.number = number
        self.own: list[Volume] = []
        self.commands: Counter[str] = Counter()
        self.recent: deque[tuple[int, str]] = deque(maxlen=_RECENT)
        self._arena = arena
        self._calls = Calls(arena.store)
        self._size = arena.model.block_size
        self._steps = steps
        self._tenant = f"tenant of thread {number}"
        self._random = Random(f"{arena.nonce} {number}")
        offered = {
            name: weight
            for name, (weight, needs) in _COMMANDS.items()
            if all(getattr(arena.capabilities, need) for need in needs)
        }
        self._names, self._weights = list(offered), list(offered.values())

    def run(self) -> None:
        """Do the steps, unless another thread finds something first."""
        for command in self._random.choices(self._names, self._weights, k=self._steps):
            if self._arena.stopping:
                return
            self.guard(getattr(self, f"_{command}"))
            self.commands[command] += 1

    def guard(self, call: Callable[[], None]) -> None:
        """Make a call, and hand what it raises to the arena."""
        try:
            call()
        except (RaceFinding, AdapterError) as known:
            self._arena.fail(known)
        except Finding as finding:
            self._arena.fail(RaceFinding(finding, self._arena.recent()))
        except Exception as error:
            text = f"thread {self.number} got {describe(error)}, where the protocol asks for an answer"
            failure = Finding("error", text)
            failure.__cause__ = error
            self._arena.fail(RaceFinding(failure, self._arena.recent()))

    def look(self, owned: Sequence[Volume]) -> None:
        """Read everything, when no other thread runs."""
        for volume in owned:
            self._check_own(volume, 0, len(volume.blocks))
        for volume, timeline in self._arena.shared:
            self._check_shared(volume, timeline, 0, len(timeline.entries))

    # ---- volumes that all use -----------------------------------------------------------------

    def _write(self) -> None:
        volume, timeline, lba, count = self._shared_range()
        blocks, version = self._stamp(volume, lba, count)
        what = f"write version {version} to {_range(lba, count)} of volume {volume.number}"
        self._change(
            timeline,
            lba,
            blocks,
            what,
            lambda: self._calls.change("write", volume.handle, lba, b"".join(blocks)),
        )

    def _trim(self) -> None:
        volume, timeline, lba, count = self._shared_range()
        what = f"trim {_range(lba, count)} of volume {volume.number}"
        blocks = [self._arena.model.zero] * count
        self._change(
            timeline, lba, blocks, what, lambda: self._calls.change("trim", volume.handle, lba, count)
        )

    def _read(self) -> None:
        self._check_shared(*self._shared_range())

    def _change(
        self, timeline: Timeline, lba: int, blocks: Sequence[bytes], what: str, call: Callable[[], None]
    ) -> None:
        change = Change(self.number, what, self._now(what))
        entries = timeline.begin(change, lba, blocks)
        refused = False
        try:
            call()
        except OSError:
            refused = True
        timeline.finish(entries, next(self._arena.moments), refused=refused)

    def _check_shared(self, volume: Volume, timeline: Timeline, lba: int, count: int) -> None:
        what = f"read {_range(lba, count)} of volume {volume.number}"
        start = self._now(what)
        data = self._ask(volume, lba, count)
        end = next(self._arena.moments)
        self._compare(_Look(volume, timeline, lba, count, start, end, what), data)

    def _compare(self, look: _Look, data: bytes | None, *, reader: Volume | None = None) -> None:
        """Hold what was read against what the timeline lets it be; `reader` is a clone of the volume."""
        volume = reader or look.volume
        if data is None:
            # Some block of the range was unwritten, and nobody can say which.
            if not any(self._may_be_unwritten(look, lba) for lba in look.range()):
                raise self._nothing(look.what, volume, look.lba)
            return
        for lba, block in zip(look.range(), self._cut(data), strict=True):
            if not look.timeline.accepts(lba, block, look.start, look.end):
                due = look.timeline.admissible(lba, look.start, look.end)
                finding = self._arena.judge.wrong_bytes(volume, lba, [due[-1].block], block)
                told = [str(entry.change) for entry in look.timeline.entries[lba][-_STORY:]]
                told += self._arena.beside(self.number)
                told.append(f"From {look.start}, until {look.end}, thread {self.number}: {look.what}.")
                raise RaceFinding(finding, told)

    def _may_be_unwritten(self, look: _Look, lba: int) -> bool:
        zero = self._arena.model.zero
        return any(entry.block == zero for entry in look.timeline.admissible(lba, look.start, look.end))

    @staticmethod
    def _nothing(what: str, volume: Volume, lba: int) -> Finding:
        text = f"{what} says that something is unwritten, and nothing is"
        return Finding("lost", text, reader=volume.tenant.name, volume=volume.number, lba=lba)

    def _clone(self) -> None:
        """Clone what all use, and keep the clone as an own volume."""
        self._make_room()
        source, timeline = self._random.choice(self._arena.shared)
        what = f"snapshot of volume {source.number}"
        start = self._now(what)
        try:
            handle = self._calls.make("snapshot", source.handle)
        except OSError:
            return
        end = next(self._arena.moments)
        with suppress(OSError):
            clone = self._calls.make("clone", handle, self._tenant)
            with self._arena.lock:
                snapshot = self._arena.model.snapshot(source, handle)
                volume = self._arena.model.clone(snapshot, self._tenant, clone)
            zero = self._arena.model.zero
            data = b"".join(self._ask(volume, lba, 1) or zero for lba in range(SHARED_BLOCKS))
            self._compare(_Look(source, timeline, 0, SHARED_BLOCKS, start, end, what), data, reader=volume)
            volume.blocks = self._cut(data)
            self.own.append(volume)
        if self._arena.capabilities.delete_snapshot:
            self._calls.change("delete_snapshot", handle)

    # ---- volumes of this thread alone ---------------------------------------------------------

    def _own_create(self) -> None:
        self._make_room()
        blocks = self._random.randint(1, _OWN_BLOCKS)
        self._now(f"create a volume of {blocks} blocks")
        with suppress(OSError):
            handle = self._calls.make("create_volume", self._tenant, blocks)
            with self._arena.lock:
                self.own.append(self._arena.model.create(self._tenant, handle, blocks))

    def _make_room(self) -> None:
        while len(self.own) >= _OWN_VOLUMES:
            self._own_delete()

    def _own_delete(self) -> None:
        if self.own:
            volume = self.own.pop(self._random.randrange(len(self.own)))
            self._now(f"delete volume {volume.number}")
            self._calls.change("delete_volume", volume.handle)
            with self._arena.lock:
                self._arena.model.delete(volume)

    def _own_write(self) -> None:
        for volume, lba, count in self._own_range():
            blocks, version = self._stamp(volume, lba, count)
            self._now(f"write version {version} to {_range(lba, count)} of volume {volume.number}")
            with self._adopting(volume, lba, blocks):
                self._calls.change("write", volume.handle, lba, b"".join(blocks))

    def _own_trim(self) -> None:
        for volume, lba, count in self._own_range():
            self._now(f"trim {_range(lba, count)} of volume {volume.number}")
            with self._adopting(volume, lba, [self._arena.model.zero] * count):
                self._calls.change("trim", volume.handle, lba, count)

    def _own_read(self) -> None:
        for volume, lba, count in self._own_range():
            self._check_own(volume, lba, count)

    def _own_write_bytes(self) -> None:
        for volume, lba, count in self._own_range():
            stamped, version = self._stamp(volume, lba, count)
            first = self._random.randrange(self._size)
            last = count * self._size - self._random.randrange(self._size - first)
            data = b"".join(stamped)[first:last]
            self._now(f"write {len(data)} bytes of version {version} from byte {first} of block {lba}")
            old = b"".join(volume.blocks[lba : lba + count])
            with self._adopting(volume, lba, self._cut(old[:first] + data + old[last:])):
                self._calls.change("write_bytes", volume.handle, lba * self._size + first, data)

    def _own_delete_tenant(self) -> None:
        if self.own:
            self._now("delete the tenant of the thread")
            self._calls.change("delete_tenant", self._tenant)
            with self._arena.lock:
                self._arena.model.delete_tenant(self._tenant)
            self.own.clear()

    def _own_resize(self) -> None:
        for volume, _, _ in self._own_range():
            blocks = self._random.randint(1, _OWN_BLOCKS)
            self._now(f"resize volume {volume.number} to {blocks} blocks")
            with suppress(OSError):
                self._calls.change("resize", volume.handle, blocks)
                self._arena.model.resize(volume, blocks)

    def _check_own(self, volume: Volume, lba: int, count: int) -> None:
        what = f"read {_range(lba, count)} of volume {volume.number}"
        self._now(what)
        data = self._ask(volume, lba, count)
        due = volume.blocks[lba : lba + count]
        if data is None and self._arena.model.zero not in due:
            raise self._nothing(what, volume, lba)
        if data is not None and data != b"".join(due):
            raise self._arena.judge.wrong_bytes(volume, lba, due, data)

    @contextmanager
    def _adopting(self, volume: Volume, lba: int, blocks: list[bytes]) -> Iterator[None]:
        """Take note of a change, or of what a refused one has left."""
        before = volume.blocks[lba : lba + len(blocks)]
        self._arena.model.put(volume, lba, blocks)
        try:
            yield
        except OSError:
            data = self._ask(volume, lba, len(blocks))
            shown = before if data is None else self._cut(data)
            mixed = [
                old if here == old else new for here, old, new in zip(shown, before, blocks, strict=True)
            ]
            self._arena.model.put(volume, lba, mixed)

    # ---- both ---------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._now("flush")
        self._calls.change("flush")

    def _clean(self) -> None:
        self._now("clean")
        self._calls.change("clean")

    def _ask(self, volume: Volume, lba: int, count: int) -> bytes | None:
        """Read; None where the store says that something is unwritten."""
        try:
            return self._calls.read(volume.handle, lba, count)
        except LookupError:
            return None

    def _cut(self, data: bytes) -> list[bytes]:
        zero = self._arena.model.zero
        pieces = (data[at : at + self._size] for at in range(0, len(data), self._size))
        return [zero if piece == zero else piece for piece in pieces]

    def _stamp(self, volume: Volume, lba: int, count: int) -> tuple[list[bytes], int]:
        """Make the blocks of a new version."""
        arena, tenant = self._arena, volume.tenant.number
        with arena.lock:
            version = arena.model.version = arena.model.version + 1
        arena.judge.written.append(Written(tenant, volume.number, lba, count, version))
        blocks = [
            stamp_block(
                self._size, tenant=tenant, volume=volume.number, lba=at, version=version, nonce=arena.nonce
            )
            for at in range(lba, lba + count)
        ]
        return blocks, version

    def _shared_range(self) -> tuple[Volume, Timeline, int, int]:
        volume, timeline = self._random.choice(self._arena.shared)
        return volume, timeline, *self._cut_range(SHARED_BLOCKS)

    def _own_range(self) -> Iterator[tuple[Volume, int, int]]:
        """Yield a range of an own volume, if there is one."""
        if self.own:
            volume = self._random.choice(self.own)
            yield volume, *self._cut_range(len(volume.blocks))

    def _cut_range(self, blocks: int) -> tuple[int, int]:
        lba = self._random.randrange(blocks)
        return lba, min(self._random.randint(1, _LONGEST), blocks - lba)

    def _now(self, what: str) -> int:
        """Return the moment at which a call begins."""
        moment = next(self._arena.moments)
        self.recent.append((moment, f"At {moment}, thread {self.number}: {what}."))
        return moment


def _range(lba: int, count: int) -> str:
    return f"block {lba}" if count == 1 else f"blocks {lba} to {lba + count - 1}"
