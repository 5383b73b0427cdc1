"""Certificates of sanitization: what a drive was, what was done to it, and what may be said of it now.

A certificate is a signed document; whatever page or paper shows it is a rendering. It claims what
`seqstore.certificate_rules.achieved` finds in the facts that it carries, so that one of a pass that failed
says that it failed, and why. To check one nothing but this module and a public key is needed.

`seqstore.certify` makes certificates for the drives of a store, and writes them down in its audit log.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from seqstore import canonical
from seqstore.arguments import instance
from seqstore.audit_records import Act
from seqstore.certificate_check import FORMAT, VERSION, find_problems, read_content
from seqstore.certificate_content import Content, Evidence, Issued, RecordRef, conclude
from seqstore.certificate_parts import Category, Particulars, Validation
from seqstore.errors import AuditError, CertificateError, ConfigError
from seqstore.sanitize.result import SanitizationOutcome
from seqstore.signed import SignedClaim
from seqstore.signing import Sealed
from seqstore.values import to_values

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.signing import SigningKey


class Certificate(SignedClaim):
    """A certificate of sanitization. Made by `issue`, or read by `from_json`.

    Attributes
    ----------
    sealed : Sealed
        The document and its signature.
    content : Content
        What it says.
    """

    _NAME = "certificate"
    _ERROR = CertificateError

    def __init__(self, sealed: Sealed) -> None:
        super().__init__(sealed)
        self.content = read_content(sealed.document)

    @classmethod
    def issue(
        cls,
        particulars: Particulars,
        outcome: SanitizationOutcome | None,
        *,
        issued: Issued,
        key: SigningKey | None,
        evidence: Evidence | None = None,
        replaces: str | None = None,
    ) -> Certificate:
        """Say what follows from what was said and seen, and sign it.

        Parameters
        ----------
        particulars : Particulars
            What is said of the drive, and by whom.
        outcome : SanitizationOutcome or None
            What was done and found, also if it failed; None for a drive that was destroyed without a pass.
        issued : Issued
        key : SigningKey or None
            Without one it is not signed, and convinces nobody.
        evidence : Evidence, optional
            Where an audit log speaks of it.
        replaces : str, optional
            Digest of the certificate that this one takes the place of.

        Raises
        ------
        CertificateError
            If it would contradict itself: nobody is named who verified a success, it is another drive, a sum
            does not come out. Nothing is signed.
        """
        content = Content(
            issued=issued,
            particulars=particulars,
            outcome=outcome,
            result=conclude(particulars, outcome),
            evidence=evidence,
            replaces=replaces,
        )
        cls._require_sound(find_problems(content))
        return cls(Sealed.make({"format": FORMAT, "version": VERSION, **to_values(content)}, key))

    @classmethod
    def from_json(cls, text: str | bytes) -> Certificate:
        """Read a certificate; nothing of it is believed until `verify` returns.

        Raises
        ------
        FormatError
            If it is something else.
        """
        return cls(Sealed.parse(text))

    def __repr__(self) -> str:
        serial = self.content.particulars.medium.serial
        state = "signed" if self.sealed.signature else "not signed"
        return f"<Certificate of {serial!r}, {self.category.value}, {state}>"

    @property
    def category(self) -> Category:
        """What it says was achieved."""
        return self.content.result.achieved.category

    @property
    def fulfilled(self) -> bool:
        """Whether it says that what was asked for was achieved, or more."""
        return self.content.result.fulfilled

    @property
    def accepted(self) -> bool | None:
        """Whether the organisation accepted the result; None if nobody decided."""
        validation = self.content.particulars.validation
        return None if validation is None else validation.accepted

    def require_drive(self, serial: str) -> None:
        """Return if it is of the drive with this serial number.

        Raises
        ------
        CertificateError
            If it is of another one.
        """
        instance(serial, str, "serial")
        found = self.content.particulars.medium.serial
        if found != serial:
            problem = f"the certificate is of the drive {found!r}, and {serial!r} is the one in hand"
            raise CertificateError(f"{problem}; look for the one of this drive", problems=(problem,))

    def with_validation(
        self, validation: Validation, *, issued: Issued, key: SigningKey | None
    ) -> Certificate:
        """Return a certificate that takes the place of this one, with the organisation's decision.

        Raises
        ------
        ConfigError
            If one was made already.
        CertificateError
            If this one does not hold.
        """
        instance(validation, Validation, "validation")
        self.check()
        content = self.content
        if content.particulars.validation is not None:
            raise ConfigError("the result was validated already, and the certificate says so")
        particulars = dataclasses.replace(content.particulars, validation=validation)
        return Certificate.issue(
            particulars,
            content.outcome,
            issued=issued,
            key=key,
            evidence=content.evidence,
            replaces=self.digest,
        )

    def _find_problems(self) -> Iterable[str]:
        return find_problems(self.content)

    def _compare(self, audit: AuditLog) -> Iterator[str]:
        evidence = self.content.evidence
        if evidence is None:
            yield "the certificate names no audit log"
            return
        try:
            audit.verify(evidence.head)
            yield from _compare_end(self.content, evidence.ended, audit)
            begun = evidence.begun
            if begun is not None and audit[begun.number].hash != begun.hash:
                yield f"record {begun.number} of the audit log is another one"
        except AuditError as error:
            yield str(error)
            return
        yield from self._find_issue(audit, evidence.head.number, Act.CERTIFICATE_ISSUED)


def digest_outcome(outcome: SanitizationOutcome) -> str:
    """Return the SHA-256 of what was seen, as the audit log holds it from the end of the pass on."""
    return canonical.digest(canonical.encode(to_values(outcome)))


def _compare_end(content: Content, ended: RecordRef | None, audit: AuditLog) -> list[str]:
    """Compare what was seen with what was written down when the pass ended."""
    if ended is None or content.outcome is None:
        return [] if content.outcome is None else ["no record says how the sanitization ended"]
    record = audit[ended.number]
    if record.hash != ended.hash:
        return [f"record {ended.number} of the audit log is another one"]
    if record.details.get("outcome") != digest_outcome(content.outcome):
        return [f"record {ended.number} of the audit log says that something else was seen"]
    return []
