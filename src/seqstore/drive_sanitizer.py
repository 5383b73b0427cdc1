"""Drives on their way out of a store: sanitized, certified, released or destroyed.

The story of a drive moves, and the audit log has its record, before anything is written over, and again when
the outcome is known and before anybody certifies it. A crash in between leaves a drive that is being
sanitized, which goes on when it is asked for again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from seqstore import probe
from seqstore.audit_records import Subject
from seqstore.certificate_content import conclude
from seqstore.certificate_parts import Category, Destruction, MediumFacts, Particulars, Person, Source
from seqstore.certify import Certifier
from seqstore.drive_life import Chapter, DriveAct, DriveState
from seqstore.errors import CertificateError, ConfigError, DriveStateError, MediumError
from seqstore.media import FileMedium, MemoryMedium
from seqstore.media.faults import FaultMedium
from seqstore.media.hidden import HiddenDrive
from seqstore.options import draw_seed
from seqstore.sanitize import (
    DriveIdentity,
    FileTarget,
    Journal,
    MemoryTarget,
    Options,
    Progress,
    Sanitization,
    SimulatedTarget,
    Target,
    Technique,
)
from seqstore.version import __version__

if TYPE_CHECKING:
    from seqstore.certificate import Certificate
    from seqstore.drive import Drive
    from seqstore.media.native import NativeMedium
    from seqstore.open_store import OpenStore
    from seqstore.sanitize import SanitizationOutcome
    from seqstore.signing import SigningKey

_SIMPLE = {"zero": Technique.zero, "ones": Technique.ones, "command": Technique.command}
_SEEDED = {"random": Technique.random, "three_pass": Technique.three_pass}
_MOST_REASON = 1000


def _same(particulars: Particulars) -> Particulars:
    return particulars


def _ignore(_: Progress) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked of a sanitization; see `Drive.sanitize`."""

    technique: Technique | str = "zero"
    options: Options = field(default_factory=Options)
    requested: Category = Category.CLEAR
    operator: Person
    verifier: Person
    particulars: Callable[[Particulars], Particulars] = _same
    key: SigningKey | None = None
    medium: NativeMedium | None = None
    journal: Journal | None = None
    progress: Callable[[Progress], object] = _ignore
    is_cancelled: Callable[[], bool] = lambda: False


class DriveSanitizer:
    """Does what `Drive.sanitize`, `Drive.release` and `Drive.destroy` ask for.

    Parameters
    ----------
    store : OpenStore
    """

    def __init__(self, store: OpenStore) -> None:
        self._store = store
        self._certifier = Certifier(store._audit, self._now_ns)

    def _now_ns(self) -> int:
        return max(self._store._clock.now_ns(), 0)

    # ---- sanitizing -------------------------------------------------------------------------------

    def sanitize(self, drive: Drive, order: Order) -> Certificate:
        """Overwrite all of a drive, read it back, and certify what came of it."""
        store, keeper = self._store, self._store._drive_keeper
        with store._registry.lock:
            store._registry.require_writable()
            medium = order.medium or keeper.idle_medium(drive)
        goes_on = drive.state is DriveState.SANITIZING
        journal = order.journal or self._journal(drive)
        kept = None if journal is None else journal.read()
        technique = _choose(order.technique) if kept is None else kept.technique
        particulars = self._particulars(drive, medium, order)
        target = self._target(drive, medium, is_begun=goes_on or kept is not None)
        try:
            expected = replace(
                target.identify(), blocks=drive.capacity // target.medium.block_size
            )
            sanitization = Sanitization(
                target,
                technique,
                clock=store._clock,
                seed=draw_seed(),
                version=__version__,
                journal=journal,
                expect=expected,
                options=order.options,
                report=order.progress,
                is_cancelled=order.is_cancelled,
            )
            keeper.act(
                drive,
                DriveAct.RESUME_SANITIZATION if goes_on else DriveAct.BEGIN_SANITIZATION,
                note=lambda subject, _: self._certifier.begin(
                    subject, technique, order.requested, resumed=goes_on
                ),
            )
            outcome = sanitization.run()
        finally:
            if isinstance(target, FileTarget):
                target.medium.close()
        return self._conclude(drive, particulars, outcome, order.key)

    def _particulars(self, drive: Drive, medium: NativeMedium | None, order: Order) -> Particulars:
        return order.particulars(
            Particulars(
                requested=order.requested,
                medium=self._facts(drive, _kind(medium)),
                source=self._source(drive),
                sanitized_by=order.operator,
                verified_by=order.verifier,
            )
        )

    def _facts(self, drive: Drive, kind: str) -> MediumFacts:
        facts = drive.facts
        return MediumFacts(
            manufacturer=facts.vendor,
            model=facts.model,
            serial=serial_of(drive),
            media_type=facts.media_type or kind,
        )

    def _source(self, drive: Drive) -> Source:
        audit = self._store._audit
        store = audit[1].hash if len(audit) else ""
        return Source(store=store, drive=drive.number, state=drive.state.value)

    def _journal(self, drive: Drive) -> Journal | None:
        """Return the journal beside the drive; a store without a folder keeps none."""
        folder = self._store._folder
        return None if folder is None else Journal(folder.drive_path(drive.number).with_suffix(".sanitize"))

    def _target(self, drive: Drive, medium: NativeMedium | None, *, is_begun: bool) -> Target:
        """Open what is to be overwritten.

        Raises
        ------
        MediumError
            If it is not there, holds another drive, or keeps no bytes.
        ConfigError
            If it is a medium of a kind that nothing is known of.
        """
        serial, folder = serial_of(drive), self._store._folder
        if isinstance(medium, MemoryMedium):
            return MemoryTarget(medium, serial)
        if isinstance(medium, FaultMedium) and isinstance(medium.drive, HiddenDrive):
            return SimulatedTarget(medium.drive)
        if isinstance(medium, FileMedium):
            self._store._drive_keeper.let_go(drive)
            return self._file_target(drive, str(medium.path), is_begun=is_begun)
        if medium is None and folder is not None and folder.drive_path(drive.number).exists():
            return self._file_target(drive, str(folder.drive_path(drive.number)), is_begun=is_begun)
        if medium is None:
            raise MediumError(
                f"the store does not hold drive {drive.number} any more; give medium=, or use 'seqstore sanitize'"
            )
        if not medium.keeps_bytes:
            raise MediumError(f"{medium!r} keeps no bytes; there is nothing to be overwritten")
        raise ConfigError(
            f"nothing is known of what lies below {medium!r}; use seqstore.sanitize.Sanitization with a target"
            " of your own"
        )

    def _file_target(self, drive: Drive, path: str, *, is_begun: bool) -> FileTarget:
        facts, label = drive.facts, None if is_begun else probe.find_label(path)
        if label is not None and label.identity != drive.identity:
            raise MediumError(
                f"{path!r} holds the drive {label.identity:016x}, and drive {drive.number} is"
                f" {drive.identity:016x}; nothing was written"
            )
        identity = DriveIdentity(
            serial=serial_of(drive),
            vendor=facts.vendor,
            model=facts.model,
            media_type=facts.media_type or "file",
            blocks=drive.blocks,
            block_size=drive.block_size,
        )
        return FileTarget(path, identity=identity)

    def _conclude(
        self, drive: Drive, particulars: Particulars, outcome: SanitizationOutcome, key: SigningKey | None
    ) -> Certificate:
        """Write down how it ended, and certify it."""
        is_done = outcome.succeeded and conclude(particulars, outcome).fulfilled
        reason = "; ".join(problem.text for problem in outcome.problems)[:_MOST_REASON]
        self._store._drive_keeper.act(
            drive,
            DriveAct.FINISH_SANITIZATION if is_done else DriveAct.FAIL_SANITIZATION,
            reason,
            note=lambda subject, _: self._certifier.end(subject, outcome),
        )
        if is_done:
            self._store._drive_is_empty(drive.number)
        return self._certifier.issue(subject_of_drive(drive), particulars, outcome, key)

    # ---- leaving ------------------------------------------------------------------------------------

    def release(self, drive: Drive, certificate: Certificate, reason: str) -> None:
        """Let a sanitized drive leave, if its certificate bears that out."""
        self._require_state(drive, DriveAct.RELEASE)
        certificate.require_drive(serial_of(drive))
        certificate.verify_in(self._store._audit)
        problem = ""
        if not certificate.fulfilled:
            problem = "less was achieved than was asked for"
        elif certificate.accepted is False:
            problem = "the result was not accepted"
        if problem:
            raise CertificateError(
                f"drive {drive.number} is not released on this certificate: {problem}; sanitize it again, or"
                " destroy it",
                problems=(problem,),
            )
        self._store._drive_keeper.act(drive, DriveAct.RELEASE, reason, note=self._certifier.note)
        self._store._drive_keeper.let_go(drive)

    def destroy(self, drive: Drive, destruction: Destruction, key: SigningKey | None) -> Certificate:
        """Write down that a drive was destroyed, and who says so."""
        particulars = Particulars(
            requested=Category.DESTROY,
            medium=self._facts(drive, "unknown"),
            source=self._source(drive),
            destruction=destruction,
        )
        self._store._drive_keeper.act(
            drive,
            DriveAct.DESTROY,
            destruction.reason,
            actor=destruction.operator.name,
            witness=destruction.witness.name,
            note=self._certifier.note,
        )
        self._store._drive_keeper.let_go(drive)
        return self._certifier.issue(subject_of_drive(drive), particulars, None, key)

    def _require_state(self, drive: Drive, act: DriveAct) -> None:
        """Raise before anything is looked at, if the story of the drive does not allow the act."""
        self._store._drive_keeper.foresee(drive, act)


def serial_of(drive: Drive) -> str:
    """Return the serial number on the label of a drive, or what stands in every record of it."""
    if drive.facts.serial:
        return drive.facts.serial
    return f"{drive.identity:016x}" if drive.identity else f"memory-{drive.number}"


def subject_of_drive(drive: Drive) -> Subject:
    """Return a drive as the subject of a record."""
    return Subject(kind="drive", number=drive.number, name=serial_of(drive))


def _kind(medium: NativeMedium | None) -> str:
    if isinstance(medium, MemoryMedium):
        return "memory"
    return "simulated" if isinstance(medium, FaultMedium) else "file"


def _choose(technique: Technique | str) -> Technique:
    """Return a technique by its name; one that needs a seed gets a fresh one.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    if isinstance(technique, Technique):
        return technique
    if technique in _SIMPLE:
        return _SIMPLE[technique]()
    if technique in _SEEDED:
        return _SEEDED[technique](draw_seed())
    raise ConfigError(
        f"technique is {technique!r}; {', '.join(map(repr, [*_SIMPLE, *_SEEDED]))} or a Technique is expected"
    )
