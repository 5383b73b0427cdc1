"""Cuts the power at every write of a script, and looks at what comes back.

A cut is a moment and the fates of its unsynced writes. After each cut the store is opened and has to show one
of the worlds that it may show; it is checked inside; it is written to and flushed, cut off again and opened
again, and has to show exactly what was flushed. The writes of the opening and of what follows are moments
too, in which the power may go once more.

A path names the cuts one behind the other, as ``17:k.0.f3/2:7``: at moment 17 the first unsynced write is
kept, the second lost, of the third the sectors of mask f3 are kept; then, at moment 2 of what follows, the
first three sectors of the only unsynced write.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from seqstore.errors import FormatError
from seqstore.media.faults import KEPT, LOST, first_sectors
from tests.crash.ops import Op
from tests.crash.record import OPENING, Moment, Recording, start
from tests.crash.script import Script, Shape
from tests.crash.subject import Kind, Subject
from tests.crash.world import World, difference

Fates = tuple[int, ...]
Cut = tuple[int, Fates]
Path = tuple[Cut, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How many of the possible cuts are tried.

    Attributes
    ----------
    subsets : int
        With so many unsynced writes, every subset of them is tried; with more, so many bits' worth at random.
    tears : int
        Lengths at which the last write is torn; all of them if there are no more.
    sectors : int
        Cuts of a moment in which each sector of each write decides for itself.
    again : int
        Second cuts after each first one.
    depth : int
        Cuts one behind the other.
    moments : int
        Writes of the script at which the power goes; a sample of them if there are more.
    """

    subsets: int = 4
    tears: int = 1 << 30
    sectors: int = 2
    again: int = 1
    depth: int = 2
    moments: int = 1 << 30


@dataclass(slots=True)
class Tally:
    """What was tried."""

    cuts: int = 0
    writes: int = 0
    refused: int = 0  # operations for which there was no room
    seconds: float = 0.0
    shown: dict[int, int] = field(default_factory=dict)  # worlds behind the newest to number of cuts

    def __str__(self) -> str:
        rate = self.cuts / self.seconds * 60 if self.seconds else 0.0
        done = f"{self.cuts} cuts at {self.writes} writes in {self.seconds:.1f} s, {rate:,.0f} a minute"
        return f"{done}; {self.refused} operations refused, {len(self.shown)} depths of loss"


class CrashError(AssertionError):
    """A store that came back wrong."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"after the cuts {format_path(path)}: {what}" if path else f"without a cut: {what}")
        self.path = path


def format_path(path: Path) -> str:
    """Write a path down; see the head of the file."""
    names = {KEPT: "k", LOST: "0"}
    return "/".join(f"{at}:{'.'.join(names.get(fate, f'{fate:x}') for fate in fates)}" for at, fates in path)


def parse_path(text: str) -> Path:
    """Read what `format_path` wrote."""
    path = []
    for cut in text.split("/"):
        at, _, fates = cut.partition(":")
        path.append((int(at), tuple(KEPT if f == "k" else int(f, 16) for f in fates.split(".") if f)))
    return tuple(path)


class Explorer:
    """Tries cuts of one script on one kind of store.

    Parameters
    ----------
    kind : Kind
    shape : Shape
    ops : sequence of Op
    """

    def __init__(self, kind: Kind, shape: Shape, ops: Sequence[Op]) -> None:
        self.kind = kind
        self.shape = shape
        self.ops = ops
        self.tally = Tally()
        self.seen: set[object] = set()

    def explore(self, effort: Effort, seed: int) -> Tally:
        """Try as many cuts as the effort says."""
        began = time.perf_counter()
        generator = Random(seed)
        recording = self._record_script()
        self.tally.writes, self.tally.refused = len(recording.drive.moments), recording.refused
        moments = recording.drive.moments
        if len(moments) > effort.moments:
            moments = generator.sample(moments, effort.moments)
        for moment in moments:
            for fates in _fates(moment, effort, generator):
                self._descend(recording, moment, fates, (), effort, generator)
        self.tally.seconds += time.perf_counter() - began
        return self.tally

    def replay(self, path: Path) -> None:
        """Try one path."""
        recording, done = self._record_script(), path[:0]
        for index, fates in path:
            moment = recording.drive.moments[index]
            done += ((index, fates),)
            after = self._come_back(recording, moment, fates, done)
            assert after is not None, "no store was there yet, which is right; nothing can follow"
            recording = after

    def _record_script(self) -> Recording:
        recording = start(self.shape, None, {}, self.kind.create)
        recording.run(self.ops)
        expect(recording.subject, recording.worlds[-1:], ())
        recording.subject.abandon()
        return recording

    def _descend(
        self,
        recording: Recording,
        moment: Moment,
        fates: Fates,
        path: Path,
        effort: Effort,
        generator: Random,
    ) -> None:
        kept = tuple((write.number, fate) for write, fate in zip(moment.unsynced, fates, strict=True) if fate)
        key = (path, id(moment.safe), moment.lowest, kept)
        if key in self.seen:
            return
        self.seen.add(key)
        path += ((moment.index, fates),)
        after = self._come_back(recording, moment, fates, path)
        if after is None or len(path) == effort.depth:
            return
        moments = after.drive.moments
        for chosen in generator.sample(moments, min(effort.again, len(moments))):
            tries = list(_fates(chosen, effort, generator))
            self._descend(after, chosen, generator.choice(tries), path, effort, generator)

    def _come_back(self, recording: Recording, moment: Moment, fates: Fates, path: Path) -> Recording | None:
        """Open what a cut left, look at it, go on with it; return what was recorded meanwhile.

        None stands for a store whose making was cut off: that it is none is all it has to say.
        """
        self.tally.cuts += 1
        candidates = recording.candidates(moment)
        image = moment.image(fates)
        try:
            after = start(self.shape, image, candidates[0], self.kind.open)
            after.worlds[0] = expect(after.subject, candidates, path)
            after.run(continuation(after.worlds[0], len(path)))
            expect(after.subject, after.worlds[-1:], path)
            after.subject.abandon()
            again = start(self.shape, after.drive.safe, after.worlds[-1], self.kind.open)
            expect(again.subject, after.worlds[-1:], path)
            again.subject.abandon()
        except CrashError:
            raise
        except FormatError as error:
            if len(path) == 1 and moment.op == OPENING:
                return None
            raise CrashError(path, f"FormatError: {error}") from error
        except Exception as error:  # whatever a wrong store comes up with
            raise CrashError(path, f"{type(error).__name__}: {error}") from error
        behind = len(candidates) - 1 - next(i for i, w in enumerate(candidates) if w is after.worlds[0])
        self.tally.shown[behind] = self.tally.shown.get(behind, 0) + 1
        return after


def continuation(world: World, depth: int) -> list[Op]:
    """Make some work to go on with in a world: something of each volume, and a new one, flushed."""
    script = Script(version=1_000_000 * depth, last_number=1000 * depth)
    for number, shown in sorted(world.items()):
        script.tenants[number] = shown.tenant
        if not shown.is_snapshot:
            script.write_bytes(number, 0, min(shown.size, 700))
    script.write(script.create(4), 1, 2)
    script.flush()
    return script.ops


def expect(subject: Subject, candidates: Sequence[World], path: Path) -> World:
    """Return the world that the store shows, which has to be one of these, the newest of them."""
    shown = subject.show()
    for world in reversed(candidates):
        if shown == world:
            subject.check()
            return world
    newest, oldest = difference(shown, candidates[-1]), difference(shown, candidates[0])
    what = f"none of the {len(candidates)} worlds it may be: not the newest, for {newest}"
    raise CrashError(path, what + (f"; not the oldest, for {oldest}" if len(candidates) > 1 else ""))


def _fates(moment: Moment, effort: Effort, generator: Random) -> Iterator[Fates]:
    """Yield fates of a moment's unsynced writes: the last one torn, subsets, sectors of their own."""
    writes = moment.unsynced
    if not writes:
        yield ()
        return
    before = (KEPT,) * (len(writes) - 1)
    lengths = range(1, writes[-1].sectors)
    for length in lengths if len(lengths) <= effort.tears else generator.sample(lengths, effort.tears):
        yield (*before, first_sectors(length))
    yield (*before, KEPT)
    yield from _subsets(len(writes), effort.subsets, generator)
    for _ in range(effort.sectors):
        yield tuple(_sectors(write.sectors, generator) for write in writes)


def _subsets(writes: int, most: int, generator: Random) -> Iterator[Fates]:
    if writes <= most:
        yield from itertools.product((KEPT, LOST), repeat=writes)
        return
    yield (LOST,) * writes
    for missing in generator.sample(range(writes), min(writes, 1 << most >> 1)):
        yield (KEPT,) * missing + (LOST,) + (KEPT,) * (writes - missing - 1)
    for _ in range(1 << most >> 1):
        yield tuple(generator.choice((KEPT, LOST)) for _ in range(writes))


def _sectors(sectors: int, generator: Random) -> int:
    draw = generator.random()
    return KEPT if draw < 0.4 else LOST if draw < 0.5 else generator.getrandbits(sectors)
