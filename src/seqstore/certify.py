"""Drives in the audit log of a store: their life, their sanitization, and certificates of it.

The order of things is that of a crash that may come anywhere: that a pass begins is written down before it
begins, what it found before anything is certified, and a certificate is there before the log says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from seqstore.audit_records import Act, AuditHead, AuditRecord, Subject
from seqstore.certificate import Certificate, digest_outcome
from seqstore.certificate_content import Evidence, Issued, RecordRef, count_unreachable
from seqstore.certificate_parts import Category, Particulars, Person
from seqstore.drive_life import Chapter, DriveAct
from seqstore.errors import ConfigError

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.sanitize.result import SanitizationOutcome
    from seqstore.sanitize.technique import Technique
    from seqstore.signing import SigningKey

ACTS = {
    DriveAct.ADD: Act.DRIVE_ADDED,
    DriveAct.PUT_ONLINE: Act.DRIVE_PUT_ONLINE,
    DriveAct.DEGRADE: Act.DRIVE_DEGRADED,
    DriveAct.RECOVER: Act.DRIVE_RECOVERED,
    DriveAct.FAIL: Act.DRIVE_FAILED,
    DriveAct.DECOMMISSION: Act.DECOMMISSION_BEGUN,
    DriveAct.CALL_OFF: Act.DECOMMISSION_CALLED_OFF,
    DriveAct.FINISH_EVACUATION: Act.DECOMMISSION_FINISHED,
    DriveAct.BEGIN_SANITIZATION: Act.SANITIZATION_BEGUN,
    DriveAct.RESUME_SANITIZATION: Act.SANITIZATION_RESUMED,
    DriveAct.FINISH_SANITIZATION: Act.SANITIZATION_FINISHED,
    DriveAct.FAIL_SANITIZATION: Act.SANITIZATION_FAILED,
    DriveAct.REFUSE: Act.RESULT_REFUSED,
    DriveAct.RELEASE: Act.DRIVE_RELEASED,
    DriveAct.DESTROY: Act.DRIVE_DESTROYED,
}
"""Under which words the audit log knows what is done to a drive."""


class Certifier:
    """Writes down in an audit log what is done to drives, and issues certificates.

    Parameters
    ----------
    audit : AuditLog
        Of the store that the drives are or were of.
    now_ns : callable
        Tells the time.
    """

    def __init__(self, audit: AuditLog, now_ns: Callable[[], int]) -> None:
        self._audit = audit
        self._now_ns = now_ns

    def note(self, drive: Subject, chapter: Chapter) -> AuditRecord:
        """Write down what was done to a drive; who did it, and why, is what the chapter says.

        The end of a sanitization is for `end` to write down, which knows what was found.

        Raises
        ------
        ConfigError
            If it is the end of a sanitization.
        """
        act = ACTS[chapter.act]
        if act in {Act.SANITIZATION_FINISHED, Act.SANITIZATION_FAILED}:
            raise ConfigError("the end of a sanitization is noted with its outcome; call end()")
        details: dict[str, Any] = {"state": chapter.state.value}
        if chapter.witness:
            details["witness"] = chapter.witness
        return self._audit.append(act, _drive(drive), details, actor=chapter.actor, reason=chapter.reason)

    def name_operator(self, drive: Subject, person: Person, task: str) -> AuditRecord:
        """Write down who is to do something with a drive, such as ``"sanitization"``."""
        details = {"task": task, "name": person.name, "role": person.role, "place": person.place}
        return self._audit.append(Act.OPERATOR_NAMED, _drive(drive), details)

    def begin(
        self, drive: Subject, technique: Technique, requested: Category, *, resumed: bool = False
    ) -> AuditRecord:
        """Write down that a sanitization begins, or goes on, before it does."""
        act = Act.SANITIZATION_RESUMED if resumed else Act.SANITIZATION_BEGUN
        return self._audit.append(
            act, _drive(drive), {"technique": technique.name, "requested": requested.value}
        )

    def end(self, drive: Subject, outcome: SanitizationOutcome) -> AuditRecord:
        """Write down how a sanitization ended, as soon as it did and before anybody says more of it."""
        act = Act.SANITIZATION_FINISHED if outcome.succeeded else Act.SANITIZATION_FAILED
        details = {
            "technique": outcome.technique.name,
            "outcome": digest_outcome(outcome),
            "problems": [problem.fault.value for problem in outcome.problems],
            "lies": list(outcome.lies),
            "unreachable_blocks": count_unreachable(outcome),
        }
        return self._audit.append(act, _drive(drive), details)

    def give_up(self, drive: Subject, chapter: Chapter) -> AuditRecord:
        """Write down that nobody will end a sanitization that was begun: there is no outcome of it."""
        details = {"state": chapter.state.value, "outcome": ""}
        return self._audit.append(
            Act.SANITIZATION_FAILED, _drive(drive), details, actor=chapter.actor, reason=chapter.reason
        )

    def issue(
        self,
        drive: Subject,
        particulars: Particulars,
        outcome: SanitizationOutcome | None,
        key: SigningKey | None = None,
        *,
        replaces: Certificate | None = None,
    ) -> Certificate:
        """Issue a certificate, and note that it was issued.

        Parameters
        ----------
        drive : Subject
            The drive, as it was named to `begin` and `end`.
        particulars : Particulars
        outcome : SanitizationOutcome or None
            None for a drive that was destroyed without a pass.
        key : SigningKey, optional
            Without one the certificate is not signed, and convinces nobody.
        replaces : Certificate, optional
            One that this one takes the place of, when there is a validation for instance.

        Raises
        ------
        CertificateError
            If it would contradict itself; nothing is issued.
        ConfigError
            If there is an outcome that `end` did not write down, or no log to write to.
        """
        head = self._audit.verify()
        if head is None:
            raise ConfigError("the audit log is empty; note what is done to the drive before it is certified")
        actor, _ = self._audit.who()
        certificate = Certificate.issue(
            particulars,
            outcome,
            issued=Issued(time_ns=self._now_ns(), actor=actor),
            key=key,
            evidence=self._find_records(_drive(drive), outcome, head),
            replaces=None if replaces is None else replaces.digest,
        )
        details = {
            "digest": certificate.digest,
            "category": certificate.category.value,
            "requested": particulars.requested.value,
            "fulfilled": certificate.fulfilled,
            "key": None if key is None else key.public.fingerprint,
            "replaces": None if replaces is None else replaces.digest,
        }
        self._audit.append(Act.CERTIFICATE_ISSUED, drive, details)
        return certificate

    def _find_records(self, drive: Subject, outcome: SanitizationOutcome | None, head: AuditHead) -> Evidence:
        """Find where the log says that this outcome was the end of a sanitization, and where that began."""
        begun = ended = None
        digest = None if outcome is None else digest_outcome(outcome)
        ends = {Act.SANITIZATION_FINISHED.value, Act.SANITIZATION_FAILED.value}
        latest = None
        for record in self._audit.records():
            if (record.subject.get("kind"), record.subject.get("number")) != ("drive", drive.number):
                continue
            if record.act == Act.SANITIZATION_BEGUN.value:
                latest = RecordRef(number=record.number, hash=record.hash)
            elif record.act in ends and record.details.get("outcome") == digest:
                begun, ended = latest, RecordRef(number=record.number, hash=record.hash)
        if outcome is not None and ended is None:
            raise ConfigError(
                "the audit log does not know of this sanitization; call end() with its outcome when it ends"
            )
        return Evidence(head=head, begun=begun, ended=ended)


def _drive(subject: Subject) -> Subject:
    if subject.kind != "drive":
        raise ConfigError(f"the subject is a {subject.kind}; a drive is expected")
    return subject
