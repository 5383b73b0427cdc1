"""`Drive.sanitize` in a store's directory, ended by ``kill -9`` at each step, and taken up again.

At each step the directory is copied: the copy holds what a process that ended there leaves, to the last
frame of the catalog's log. The copies are opened one after the other.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from seqstore import DriveState, ManualClock, Store
from seqstore.audit import AuditLog
from seqstore.certificate import Certificate
from seqstore.certificate_parts import Person
from seqstore.drive_keeper import DriveKeeper
from seqstore.drive_life import DriveAct
from seqstore.errors import DriveStateError
from seqstore.sanitize import Effort, Journal, Progress
from tests.certificates import issue
from tests.durable import CAPACITY, create, picture
from tests.small import BLOCK_SIZE

ADA = Person(name="Ada Byron", role="technician", time_ns=0)
GRACE = Person(name="Grace Murray", role="auditor", time_ns=0)
SECRET = b"nobody may ever read this again!" * (BLOCK_SIZE // 32)
SLOW = Effort(piece_blocks=128, workers=1, checkpoint_bytes=CAPACITY // 2)
MADE = {
    DriveAct.BEGIN_SANITIZATION: DriveState.SANITIZING,
    DriveAct.RESUME_SANITIZATION: DriveState.SANITIZING,
    DriveAct.FINISH_SANITIZATION: DriveState.SANITIZED,
    DriveAct.FAIL_SANITIZATION: DriveState.SANITIZE_FAILED,
    DriveAct.RELEASE: DriveState.RELEASED,
}
ENDED = {DriveState.SANITIZED, DriveState.RELEASED}


@dataclass(frozen=True, slots=True)
class Moment:
    """What lay in the directory at some step, and in which state the drive was by all that was durable."""

    name: str
    path: Path
    state: DriveState
    certificate: Certificate | None


@dataclass
class Moments:
    """Copies of a directory, at each step of what is done to it."""

    store: Path
    folder: Path
    state: DriveState
    certificate: Certificate | None = None
    taken: list[Moment] = field(default_factory=list)

    def take(self, name: str) -> None:
        """Copy the directory as it is now."""
        path = self.folder / f"{len(self.taken)}.store"
        shutil.copytree(self.store, path)
        self.taken.append(Moment(name, path, self.state, self.certificate))

    def around(self, patch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        """Copy the directory before and after each call of a method."""
        work: Callable[..., Any] = getattr(owner, name)

        def watched(mine: Any, *given: Any, **options: Any) -> Any:
            words = [str(getattr(each, "value", "")) for each in given]
            said = " ".join(filter(None, [owner.__name__, name, *words]))
            self.take(f"before {said}")
            result = work(mine, *given, **options)
            if owner is DriveKeeper:
                self.state = MADE[given[1]]
            self.take(f"after {said}")
            return result

        patch.setattr(owner, name, watched)

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """Copy the directory before and after each change of the catalog and of the journal."""
        # The journal is written beside its place, and moved into it.
        steps = (AuditLog, "append"), (DriveKeeper, "act"), (Path, "replace"), (Journal, "remove")
        for owner, name in steps:
            self.around(patch, owner, name)


def furnish(path: Path) -> Store:
    """Make a store of two drives, the second one out of use and with something on it that was deleted."""
    store = create(path, clock=ManualClock())
    store.add_drive(CAPACITY, serial="ZA1")
    tenant = store.create_tenant("contoso")
    tenant.create_volume("living", 20 * BLOCK_SIZE, copies=2).write(0, b"alive".ljust(BLOCK_SIZE) * 20)
    gone = tenant.create_volume("gone", 20 * BLOCK_SIZE, drive=1)
    gone.write(0, SECRET * 20)
    store.flush()
    gone.delete()
    store.add_drive(CAPACITY, serial="ZA2")
    store.drives[1].decommission()
    return store


def sanitize(store: Store, **options: Any) -> Certificate:
    return store.drives[1].sanitize(operator=ADA, verifier=GRACE, **options)


def image(path: Path) -> bytes:
    return (path / "drives" / "1.img").read_bytes()


def assert_true(store: Store, path: Path, state: DriveState) -> None:
    """Expect the drive to count as sanitized if it is, and only then."""
    drive, (erasure,) = store.drives[1], store.erasures
    ended = state in ENDED
    assert drive.state is state
    assert store.statement(erasure.id).complete is ended
    found = store.remanence(store.tenants[0])
    assert (found.out_of_use_blocks == 0) is ended
    assert found.nothing_left is ended
    if ended:
        assert not any(image(path))
    else:
        with pytest.raises(DriveStateError):
            drive.release(issue(), "nobody has to look")
    store.audit.verify()


def take_up(moment: Moment, living: object) -> None:
    """Open what was left at a moment, and bring the drive out of the store."""
    with Store.open(moment.path, clock=ManualClock()) as store:
        assert_true(store, moment.path, moment.state)
        assert picture(store) == living
        drive, certificate = store.drives[1], moment.certificate
        if drive.state is not DriveState.RELEASED:
            if certificate is None or drive.state is not DriveState.SANITIZED:
                certificate = sanitize(store)
            assert certificate.fulfilled
            assert_true(store, moment.path, DriveState.SANITIZED)
            assert not list((moment.path / "drives").glob("1.sanitize*"))
            drive.release(certificate)
        assert picture(store) == living
        assert_true(store, moment.path, DriveState.RELEASED)
        acts = [record.act for record in store.audit]
        assert acts.count("drive released") == acts.count("erasure finished") == 1
        assert acts.index("sanitization finished") < acts.index("erasure finished")


def go_through(path: Path, folder: Path, work: Callable[[Store, Moments], object]) -> list[Moment]:
    """Do something to the drive of a store, take it up again from each of its moments, and return these."""
    folder.mkdir()
    with Store.open(path, clock=ManualClock()) as store, pytest.MonkeyPatch.context() as patch:
        moments = Moments(path, folder, store.drives[1].state)
        living = picture(store)
        moments.watch(patch)
        work(store, moments)
    for moment in moments.taken:
        take_up(moment, living)
    return moments.taken


def sanitize_and_release(store: Store, moments: Moments) -> None:
    moments.certificate = sanitize(store, effort=SLOW)
    store.drives[1].release(moments.certificate)


def cancel(store: Store, moments: Moments) -> None:
    seen: list[Progress] = []
    certificate = sanitize(store, effort=SLOW, progress=seen.append, is_cancelled=lambda: len(seen) > 1)
    assert not certificate.fulfilled
    moments.take("behind the certificate of a failure")


def end_behind(reports: int) -> Callable[[Progress], None]:
    """End the process at a report of progress."""
    left = [*range(reports)]

    def end(_: Progress) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()

    return end


def test_a_process_that_ends_at_any_step(tmp_path: Path) -> None:
    """And that ends again at any step of what goes on with what it left in the middle of the pass."""
    path = tmp_path / "lab.store"
    furnish(path).close()
    assert SECRET in image(path)
    taken = go_through(path, tmp_path / "once", sanitize_and_release)
    passed = {DriveState.EVACUATED, DriveState.SANITIZING, DriveState.SANITIZED, DriveState.RELEASED}
    assert {moment.state for moment in taken} == passed
    assert len(taken) > 20


def test_a_process_that_ends_again_when_it_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "lab.store"
    furnish(path).close()
    with Store.open(path, clock=ManualClock()) as store, pytest.raises(KeyboardInterrupt):
        sanitize(store, effort=SLOW, progress=end_behind(2))
    kept = Journal(path / "drives" / "1.sanitize").read()
    assert kept is not None
    assert 0 < kept.covered < CAPACITY // BLOCK_SIZE
    taken = go_through(path, tmp_path / "again", sanitize_and_release)
    assert {moment.state for moment in taken} == ENDED | {DriveState.SANITIZING}
    assert taken[0].name.endswith("resume sanitization")
    certificate = taken[-1].certificate
    assert certificate is not None
    assert certificate.content.outcome is not None
    assert certificate.content.outcome.resumptions == 1


def test_a_process_that_ends_while_a_pass_is_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "lab.store"
    furnish(path).close()
    taken = go_through(path, tmp_path / "cancelled", cancel)
    passed = {DriveState.EVACUATED, DriveState.SANITIZING, DriveState.SANITIZE_FAILED}
    assert {moment.state for moment in taken} == passed
