"""Drives that are out of use in a rack to which anything happens: sanitized, refused, released, destroyed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any

from seqstore import Drive, DriveState, MediumError, Store
from seqstore.certificate import Certificate
from seqstore.certificate_parts import Destruction, Person
from seqstore.drive_facts import HOLDS_NOTHING
from seqstore.erasures import Erasures
from seqstore.media.faults import FaultMedium, FaultyDrive
from seqstore.media.hidden import HiddenDrive
from seqstore.sanitize import Effort, Progress
from tests.several import Rack

ADA = Person(name="Ada Byron", role="technician", time_ns=0)
GRACE = Person(name="Grace Murray", role="auditor", time_ns=0)
SMALL_STEPS = Effort(piece_blocks=64, workers=1, checkpoint_bytes=1 << 16, failures_in_row=2)
OVER = {DriveState.RELEASED, DriveState.DESTROYED}
CLEAN = {DriveState.SANITIZED, DriveState.RELEASED}


class EndedError(Exception):
    """The process has ended here."""


def makes() -> Callable[..., FaultyDrive]:
    """Return what makes drives that can be sanitized, each with a serial number of its own."""
    numbers = count()
    return lambda *given, **options: HiddenDrive(*given, serial=f"SIM-{next(numbers)}", **options)


def open_on(store: Store, drive: int) -> set[int]:
    """Return the erasures on a drive that are not through."""
    erasures = Erasures(store._parts.catalog, store.audit, lambda: 0, drive)
    waiting = {erasure.id for erasure in erasures.all() if erasure.state == "requested"}
    copies, kept = erasures.pending()["erasure"], erasures.kept.open["erasure"]
    return waiting.union(copies.tolist(), kept.tolist())


class Leaving:
    """The drives of a rack that are out of use, and what is owed to those whose data lie there.

    Parameters
    ----------
    rack : Rack
    random : Random

    Attributes
    ----------
    done : list of str
        What was done to them.
    """

    def __init__(self, rack: Rack, random: Random) -> None:
        self._rack = rack
        self._random = random
        self._drives: dict[int, HiddenDrive] = {}
        self._papers: dict[int, Certificate] = {}
        self._owed: dict[int, set[int]] = {}
        self._were_clean: set[int] = set()
        self.done: list[str] = []

    def take(self, number: int) -> None:
        """Take a drive out of the rack that went out of use."""
        drive = self._rack.drives.pop(number)
        assert isinstance(drive, HiddenDrive)
        self._drives[number], self._owed[number] = drive, open_on(self._rack.store, number)

    def check(self) -> None:
        """Expect nothing on drives that are sanitized, and nothing to be through on those that are not."""
        store = self._rack.store
        for number, hidden in self._drives.items():
            state, waiting, owed = store.drives[number].state, open_on(store, number), self._owed[number]
            assert not store.drives[number].in_use
            if state in CLEAN:
                assert not hidden.everything().strip(b"\0")
            if state in HOLDS_NOTHING:
                assert not waiting
                self._were_clean.add(number)
            elif number not in self._were_clean:  # a result that is taken back opens no erasure again
                assert waiting >= owed
                self._owed[number] = waiting

    def _look_at_statement(self, number: int) -> None:
        """Look at the statement of one of the erasures that waited for a drive."""
        store, owed = self._rack.store, self._owed[number]
        if not owed:
            return
        erasure = self._random.choice(sorted(owed))
        found = {each.id: each for each in store.erasures}[erasure]
        if found.state == "abandoned":
            return
        statement = store.statement(erasure)
        is_through = store.drives[number].state in HOLDS_NOTHING
        assert not statement.complete or is_through
        if is_through:
            assert statement.document["totals"]["pending"] == 0
            assert statement.complete or statement.document["elsewhere"]

    # ---- what is done to one of them --------------------------------------------------------------

    def step(self, crash: Callable[[], None]) -> None:
        """Do anything to one of the drives.

        Parameters
        ----------
        crash : callable
            Ends the store, and opens it again.
        """
        drives = [number for number in self._drives if self._find(number).state not in OVER]
        if drives:
            number = self._random.choice(drives)
            for _ in range(self._random.randrange(1, 4)):
                self._do_anything(number, crash)

    def finish(self, crash: Callable[[], None]) -> None:
        """Bring all of them out of the store."""
        for number in self._drives:
            while self._find(number).state not in OVER:
                self._do_anything(number, crash)

    def _find(self, number: int) -> Drive:
        return self._rack.store.drives[number]

    def _do_anything(self, number: int, crash: Callable[[], None]) -> None:
        drive, random = self._find(number), self._random
        if drive.state in OVER:
            return
        if drive.state is not DriveState.SANITIZED:
            work = random.choice(
                [self._sanitize, self._sanitize, self._sanitize, self._cut, self._end, self._fail]
            )
        elif number in self._papers:
            work = random.choice([self._release, self._release, self._refuse, self._destroy, self._end])
        else:
            work = self._sanitize  # nobody has seen its certificate
        if drive.state is DriveState.SANITIZE_FAILED and random.random() < 0.3:
            work = self._destroy
        if number == 0:
            work = self._strange
        self.done.append(f"{work.__name__} {number} {drive.state.value}")
        work(drive, crash)
        self.check()
        self._look_at_statement(number)

    def _pass(self, drive: Drive, **options: Any) -> Certificate:
        self._papers.pop(drive.number, None)
        hidden = self._drives[drive.number]
        if hidden.off:
            hidden.reboot()
        medium = drive.require_idle()
        given = FaultMedium(hidden) if medium is None else medium
        paper = drive.sanitize(operator=ADA, verifier=GRACE, effort=SMALL_STEPS, medium=given, **options)
        self._papers[drive.number] = paper
        assert paper.fulfilled is (drive.state is DriveState.SANITIZED)
        return paper

    def _sanitize(self, drive: Drive, crash: Callable[[], None]) -> None:
        """A pass that nothing happens to, but that a block may have gone bad."""
        self._pass(drive)

    def _strange(self, drive: Drive, crash: Callable[[], None]) -> None:
        """The first drive of such a store: nobody ever said its serial number."""
        before = self._drives[drive.number].everything()
        try:
            assert not self._pass(drive).fulfilled  # it is dead
        except MediumError as error:
            assert "nothing was written" in str(error)  # noqa: PT017 (either is right)
        assert self._drives[drive.number].everything() == before
        self._destroy(drive, crash)

    def _fail(self, drive: Drive, crash: Callable[[], None]) -> None:
        """A pass over a drive with a block that can be written no more."""
        hidden = self._drives[drive.number]
        hidden.bad_on_write(self._random.randrange(hidden.geometry.blocks))
        assert not self._pass(drive).fulfilled

    def _cut(self, drive: Drive, crash: Callable[[], None]) -> None:
        """The drive's power goes in the middle of a pass."""
        hidden = self._drives[drive.number]
        hidden.cut_after(hidden.writes + self._random.randrange(1, 9))
        assert not self._pass(drive).fulfilled

    def _end(self, drive: Drive, crash: Callable[[], None]) -> None:
        """The power of all goes in the middle of a pass, and the process with it."""
        left = self._random.randrange(12)

        def end(_: Progress) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise EndedError

        try:
            self._pass(drive, progress=end)
        except EndedError:
            self._drives[drive.number].power_cut()
            crash()
            state = self._rack.store.drives[drive.number].state
            assert state is DriveState.SANITIZING

    def _release(self, drive: Drive, crash: Callable[[], None]) -> None:
        drive.release(self._papers[drive.number])

    def _refuse(self, drive: Drive, crash: Callable[[], None]) -> None:
        drive.refuse("somebody saw it being done")

    def _destroy(self, drive: Drive, crash: Callable[[], None]) -> None:
        drive.destroy(Destruction(operator=ADA, witness=GRACE, how="shredded", reason="it is no use"))
