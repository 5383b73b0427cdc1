"""What certificates and statements have in common: a signed document that claims something of what was done.

Whoever is shown one checks three things, each with more at hand than before: that it does not contradict
itself, that a key signed it, and that the audit log of the store says the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from seqstore import canonical
from seqstore.arguments import instance, methods
from seqstore.errors import AuditError, ContradictionError
from seqstore.signing import Sealed

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.audit_records import Act
    from seqstore.signing import PublicKey


class SignedClaim:
    """A document that was signed, or was not, and can be checked.

    Attributes
    ----------
    sealed : Sealed
        The document and its signature.
    """

    _NAME: ClassVar[str]  # what it is called in messages
    _ERROR: ClassVar[type[ContradictionError]]

    def __init__(self, sealed: Sealed) -> None:
        self.sealed = instance(sealed, Sealed, "sealed", "Sealed.parse(text)")

    @property
    def document(self) -> dict[str, Any]:
        """What it says, as JSON values."""
        return self.sealed.document

    @property
    def digest(self) -> str:
        """SHA-256 of what it says, as the audit log holds it."""
        return canonical.digest(self.sealed.data)

    def to_json(self) -> str:
        """Return the text to be kept and handed out."""
        return self.sealed.to_json()

    def check(self) -> None:
        """Return if it does not contradict itself.

        Raises
        ------
        ContradictionError
            `CertificateError` or `StatementError`, with everything that was found.
        """
        self._require_sound(self._find_problems())

    def verify(self, key: PublicKey) -> None:
        """Return if it was signed by the owner of a key and does not contradict itself.

        That it verifies says who says so. What it says is another matter: read that, too.

        Parameters
        ----------
        key : PublicKey

        Raises
        ------
        SignatureError
            If it was not signed so, or was changed since.
        ContradictionError
            `CertificateError` or `StatementError`, if it contradicts itself, or claims more than the facts in
            it bear out.
        ConfigError
            If the key is none.
        """
        self.sealed.verify(key)
        self.check()

    def verify_in(self, audit: AuditLog) -> None:
        """Return if the audit log of a store holds, and says of this document what it says itself.

        Parameters
        ----------
        audit : AuditLog
            ``store.audit``.

        Raises
        ------
        ContradictionError
            `CertificateError` or `StatementError`, if the log is another store's or does not hold, or knows
            nothing of the document or something else.
        ConfigError
            If it is no audit log.
        """
        methods(audit, ("verify", "records"), "AuditLog", "audit", "store.audit")
        self.check()
        problems = tuple(self._compare(audit))
        if problems:
            raise self._ERROR(
                f"the {self._NAME} is not this store's, or one of both was changed: {problems[0]}",
                problems=problems,
            )

    @classmethod
    def _require_sound(cls, found: Iterable[str]) -> None:
        problems = tuple(found)
        if problems:
            more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
            raise cls._ERROR(
                f"the {cls._NAME} contradicts itself: {problems[0]}{more}; do not rely on it",
                problems=problems,
            )

    def _find_issue(self, audit: AuditLog, after: int, act: Act) -> list[str]:
        """Look behind a record for the one that says that this document was issued."""
        try:
            for record in audit.records(after + 1):
                if record.act == act.value and record.details.get("digest") == self.digest:
                    return []
        except AuditError as error:
            return [str(error)]
        return [f"no record of the audit log says that the {self._NAME} was issued"]

    def _find_problems(self) -> Iterable[str]:
        raise NotImplementedError

    def _compare(self, audit: AuditLog) -> Iterable[str]:
        raise NotImplementedError
