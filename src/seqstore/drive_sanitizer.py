"""Drives on their way out of a store: sanitized, certified, released or destroyed.

The story of a drive moves, and the audit log has its record, before anything is written over, and again when
the outcome is known and before anybody certifies it. A crash in between leaves a drive that is being
sanitized, which goes on when it is asked for again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from seqstore import probe
from seqstore.arguments import function, instance, optional
from seqstore.certificate import Certificate
from seqstore.certificate_content import conclude
from seqstore.certificate_parts import Category, Destruction, MediumFacts, Particulars, Person, Source
from seqstore.certify import Certifier
from seqstore.drive_keeper import subject_of_drive
from seqstore.drive_life import DriveAct, DriveState
from seqstore.errors import AuditError, CertificateError, ConfigError, MediumError
from seqstore.folder import parse_path
from seqstore.media import FileMedium, MemoryMedium
from seqstore.media.faults import FaultMedium
from seqstore.media.hidden import HiddenDrive
from seqstore.options import draw_seed
from seqstore.sanitize import (
    DriveIdentity,
    Effort,
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
from seqstore.signing import require_key
from seqstore.version import __version__

if TYPE_CHECKING:
    from seqstore.audit_records import Subject
    from seqstore.drive import Drive
    from seqstore.drive_life import Chapter
    from seqstore.folder import StrPath
    from seqstore.media.native import NativeMedium
    from seqstore.open_store import OpenStore
    from seqstore.sanitize import SanitizationOutcome
    from seqstore.signing import SigningKey

# In these states what stood at the drive's beginning may be overwritten already.
_WAS_BEGUN = {DriveState.SANITIZING, DriveState.SANITIZE_FAILED, DriveState.SANITIZED}
_SIMPLE = {"zero": Technique.zero, "ones": Technique.ones, "command": Technique.command}
_SEEDED = {"random": Technique.random, "three_pass": Technique.three_pass}
_MOST_REASON = 1000


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

    def _require_evidence(self) -> None:
        """Raise before anything is done that could not be certified afterwards."""
        if self._store._audit.head is None:
            raise ConfigError(
                "the store has no audit log, which a certificate stands in; make it with evidence=True"
            )

    # ---- sanitizing -------------------------------------------------------------------------------

    def sanitize(
        self,
        drive: Drive,
        technique: Technique | str,
        *,
        operator: Person,
        verifier: Person,
        verify: str,
        requested: Category | str,
        effort: Effort | None,
        second_verifier: bool,
        particulars: Callable[[Particulars], Particulars] | None,
        key: SigningKey | None,
        medium: NativeMedium | None,
        journal: StrPath | None,
        progress: Callable[[Progress], object] | None,
        is_cancelled: Callable[[], bool] | None,
    ) -> Certificate:
        """Overwrite all of a drive, read it back, and certify what came of it; see `Drive.sanitize`."""
        store, keeper = self._store, self._store._drive_keeper
        self._require_evidence()
        instance(operator, Person, "operator")
        instance(verifier, Person, "verifier")
        optional(effort, Effort, "effort")
        _require_functions(particulars, progress, is_cancelled)
        require_key(key)
        category = _category(requested)
        options = Options(effort=effort or Effort(), verification=verify, second_verifier=second_verifier)
        goes_on = drive.state is DriveState.SANITIZING
        act = DriveAct.RESUME_SANITIZATION if goes_on else DriveAct.BEGIN_SANITIZATION
        with store._registry.lock:
            store._registry.require_writable()
            held = keeper.idle_medium(drive)
            keeper.foresee(drive, act)
        medium = _only_one(drive, medium, held)
        notes = self._journal(drive) if journal is None else Journal(parse_path(journal, "journal"))
        kept = None if notes is None else notes.read()
        chosen = _choose(technique) if kept is None else kept.technique
        said = Particulars(
            requested=category,
            medium=self._facts(drive, _kind(medium)),
            source=self._source(drive),
            sanitized_by=operator,
            verified_by=verifier,
        )
        if particulars is not None:
            said = instance(particulars(said), Particulars, "what particulars= returned")
        was_begun = goes_on or kept is not None or drive.state in _WAS_BEGUN
        target = self._target(drive, medium, is_begun=was_begun)
        try:
            expected = self._expected(drive, target)
            sanitization = Sanitization(
                target,
                chosen,
                clock=store._clock,
                seed=draw_seed(),
                version=__version__,
                journal=notes,
                expect=expected,
                options=options,
                report=progress or _ignore,
                is_cancelled=is_cancelled or _never,
            )
            keeper.act(
                drive,
                act,
                note=lambda subject, _: self._certifier.begin(subject, chosen, category, resumed=goes_on),
            )
            outcome = sanitization.run()
        finally:
            if isinstance(target, FileTarget):
                target.medium.close()
        return self._conclude(drive, said, outcome, key)

    def _facts(self, drive: Drive, kind: str) -> MediumFacts:
        facts = drive.facts
        return MediumFacts(
            manufacturer=facts.vendor,
            model=facts.model,
            serial=drive.serial,
            media_type=facts.media_type or kind,
            geometry=f"segments of {drive.segment_blocks} blocks of {drive.block_size} bytes",
        )

    def _source(self, drive: Drive) -> Source:
        audit = self._store._audit
        store = audit[1].hash if len(audit) else ""
        folder = self._store._folder
        slot = "" if folder is None else str(folder.drive_path(drive.number).relative_to(folder.path))
        return Source(store=store, drive=drive.number, slot=slot, state=drive.state.value)

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
        serial, folder = drive.serial, self._store._folder
        if isinstance(medium, MemoryMedium):
            return MemoryTarget(medium, serial)
        if isinstance(medium, FaultMedium) and isinstance(medium.drive, HiddenDrive):
            return SimulatedTarget(medium.drive)
        if isinstance(medium, FileMedium):
            self._store._drive_keeper.let_go(drive)
            return self._file_target(drive, str(medium.path), is_begun=is_begun)
        if medium is None and folder is not None and folder.drive_path(drive.number).exists():
            return self._file_target(drive, str(folder.drive_path(drive.number)), is_begun=is_begun)
        if medium is None and folder is not None:
            raise MediumError(
                f"there is no file {str(folder.drive_path(drive.number))!r}; bring it back, use 'seqstore"
                f" sanitize' where the drive is, or destroy drive {drive.number}"
            )
        if medium is None:
            raise MediumError(
                f"the store does not hold drive {drive.number} any more; give medium=, or use"
                " 'seqstore sanitize'"
            )
        if not medium.keeps_bytes:
            raise MediumError(f"{medium!r} keeps no bytes; there is nothing to be overwritten")
        raise ConfigError(
            f"nothing is known of what lies below {medium!r}; use seqstore.sanitize.Sanitization with a"
            " target of your own"
        )

    def _file_target(self, drive: Drive, path: str, *, is_begun: bool) -> FileTarget:
        label = probe.find_label(Path(path))
        if label is None and not is_begun and self._was_written(drive):
            raise MediumError(
                f"{path!r} holds no drive, and drive {drive.number} was written to: is it another one?"
                " nothing was written; sanitize the real one, or destroy it"
            )
        if label is not None and label.identity != drive.identity:
            raise MediumError(
                f"{path!r} holds the drive {label.identity:016x}, and drive {drive.number} is"
                f" {drive.identity:016x}; nothing was written"
            )
        return FileTarget(path, identity=_identity(drive, "file"))

    def _expected(self, drive: Drive, target: Target) -> DriveIdentity:
        """Return who the drive has to say it is. One that says nothing is not touched, and that is certified.

        Raises
        ------
        MediumError
            If it says a serial number and the store knows none of it, so that nobody can tell whether it is
            this one, nor certify it under both.
        """
        facts, block_size = drive.facts, target.medium.block_size
        try:
            found = target.identify()
        except OSError:
            found = replace(_identity(drive, ""), block_size=block_size)
        if not facts.serial and found.serial != drive.serial:
            raise MediumError(
                f"the drive says that it is {found.serial!r}, and the store knows drive {drive.number} as"
                f" {drive.serial!r}, without a serial number; nothing was written; use 'seqstore sanitize',"
                " or destroy it"
            )
        return replace(found, serial=facts.serial or found.serial, blocks=drive.capacity // block_size)

    def _was_written(self, drive: Drive) -> bool:
        catalog = self._store._parts.catalog
        row = next(row for row in catalog.drives if row.number == drive.number)
        return row.flushed_sequence > 0 or bool(catalog.placements.on(drive.number))

    def _conclude(
        self, drive: Drive, particulars: Particulars, outcome: SanitizationOutcome, key: SigningKey | None
    ) -> Certificate:
        """Write down how it ended, and certify it. What persons answer for, they did by then."""
        particulars = replace(
            particulars,
            sanitized_by=_at(particulars.sanitized_by, outcome.ended_ns),
            verified_by=_at(particulars.verified_by, outcome.ended_ns),
        )
        is_done = outcome.succeeded and conclude(particulars, outcome).fulfilled
        reason = "; ".join(problem.text for problem in outcome.problems)[:_MOST_REASON]
        self._store._drive_keeper.act(
            drive,
            DriveAct.FINISH_SANITIZATION if is_done else DriveAct.FAIL_SANITIZATION,
            reason,
            note=lambda subject, _: self._note_end(drive, subject, outcome, is_done=is_done),
        )
        return self._certifier.issue(subject_of_drive(drive), particulars, outcome, key)

    def _note_end(
        self, drive: Drive, subject: Subject, outcome: SanitizationOutcome, *, is_done: bool
    ) -> None:
        self._certifier.end(subject, outcome)
        if is_done:
            self._end_erasures(drive)

    def _end_erasures(self, drive: Drive) -> None:
        """Let the erasures on a drive end that holds nothing any more, with the record that says so."""
        registry = self._store._registry
        if registry.evidence is not None:
            with suppress(AuditError):  # of a log that does not hold nothing is claimed
                registry.evidence.end_drive(drive.number, registry.is_living)

    # ---- leaving ------------------------------------------------------------------------------------

    def release(self, drive: Drive, certificate: Certificate, reason: str) -> None:
        """Let a sanitized drive leave, if its certificate bears that out."""
        instance(certificate, Certificate, "certificate")
        self._store._drive_keeper.foresee(drive, DriveAct.RELEASE)
        certificate.require_drive(drive.serial)
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
        self._require_evidence()
        instance(destruction, Destruction, "destruction")
        require_key(key)
        particulars = Particulars(
            requested=Category.DESTROY,
            medium=self._facts(drive, "unknown"),
            source=self._source(drive),
            destruction=destruction,
        )
        keeper = self._store._drive_keeper
        if drive.state is DriveState.SANITIZING:  # which nobody can finish, if the drive is gone
            why = "the drive was destroyed before it was through"
            keeper.act(drive, DriveAct.FAIL_SANITIZATION, why, note=self._certifier.give_up)
        keeper.act(
            drive,
            DriveAct.DESTROY,
            destruction.reason,
            actor=destruction.operator.name,
            witness=destruction.witness.name,
            note=lambda subject, chapter: self._note_destruction(drive, subject, chapter),
        )
        keeper.let_go(drive)
        return self._certifier.issue(subject_of_drive(drive), particulars, None, key)

    def _note_destruction(self, drive: Drive, subject: Subject, chapter: Chapter) -> None:
        self._certifier.note(subject, chapter)
        self._end_erasures(drive)


def _identity(drive: Drive, kind: str) -> DriveIdentity:
    """Return who a drive is that does not tell it itself."""
    facts = drive.facts
    return DriveIdentity(
        serial=drive.serial,
        vendor=facts.vendor,
        model=facts.model,
        media_type=facts.media_type or kind,
        blocks=drive.blocks,
        block_size=drive.block_size,
    )


def _only_one(drive: Drive, given: NativeMedium | None, held: NativeMedium | None) -> NativeMedium | None:
    """Return the medium of the drive: the store's own, or one that tells itself from others.

    Raises
    ------
    ConfigError
        If another one is given, or one in memory, which could be any.
    """
    if given is None or given is held:
        return held
    if held is not None or isinstance(given, MemoryMedium):
        raise ConfigError(
            f"{given!r} is not known to be drive {drive.number}: leave medium= out, or give its file, or a"
            " medium that says its serial number"
        )
    return given


def _require_functions(particulars: object, progress: object, is_cancelled: object) -> None:
    """Look before anything is overwritten whether what is called later can be called."""
    for value, name, takes in (
        (particulars, "particulars", "Particulars and returns them"),
        (progress, "progress", "a Progress"),
        (is_cancelled, "is_cancelled", "nothing"),
    ):
        if value is not None:
            function(value, name, takes)


def _at(person: Person | None, time_ns: int) -> Person | None:
    return None if person is None else replace(person, time_ns=time_ns)


def _ignore(_: Progress) -> None:
    """Tell nobody how far it is."""


def _never() -> bool:
    return False


def _category(requested: Category | str) -> Category:
    try:
        return Category(requested)
    except ValueError:
        words = ", ".join(repr(category.value) for category in Category if category is not Category.NONE)
        raise ConfigError(f"requested is {requested!r}; one of {words} is expected") from None


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
    instance(technique, str, "technique", "'zero', or a Technique")
    if technique in _SIMPLE:
        return _SIMPLE[technique]()
    if technique in _SEEDED:
        return _SEEDED[technique](draw_seed())
    raise ConfigError(
        f"technique is {technique!r}; {', '.join(map(repr, [*_SIMPLE, *_SEEDED]))} or a Technique is expected"
    )
