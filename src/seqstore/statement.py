"""Erasure statements: what became of the copies of something that was deleted, to be shown to others.

A statement says what a store did and saw, of one tenant's data on drives that others use as well: a logical,
partial sanitization. It claims nothing about a medium, and of what is not finished it says so.

`seqstore.evidence` makes statements. To check one nothing but this module and a public key is needed: a
signature, and arithmetic that does not come out where something was changed before it was signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from seqstore.arguments import instance
from seqstore.audit_records import Act, AuditHead
from seqstore.errors import AuditError, FormatError, StatementError
from seqstore.signed import SignedClaim
from seqstore.signing import Sealed
from seqstore.statement_check import find_problems

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.signing import SigningKey

FORMAT, VERSION = "seqstore erasure statement", 2
READ_VERSIONS = (1, VERSION)  # those of version 1 say nothing of how their drive stands
CLAIM = "logical, partial sanitization"


class Statement(SignedClaim):
    """An erasure statement. Made by a store, or read by `from_json`.

    Attributes
    ----------
    sealed : Sealed
        The document and its signature.
    """

    _NAME = "statement"
    _ERROR = StatementError

    @classmethod
    def make(cls, document: dict[str, Any], key: SigningKey | None) -> Statement:
        """Sign a document.

        Raises
        ------
        StatementError
            If it contradicts itself; nothing is signed.
        """
        cls._require_sound(find_problems(instance(document, dict, "document")))
        return cls(Sealed.make(document, key))

    @classmethod
    def from_json(cls, text: str | bytes) -> Statement:
        """Read a statement; nothing of it is believed until `verify` returns.

        Raises
        ------
        FormatError
            If it is something else.
        """
        sealed = Sealed.parse(text)
        if sealed.document.get("format") != FORMAT:
            raise FormatError(
                f"the document is {sealed.document.get('format')!r}; an erasure statement is expected"
            )
        if sealed.document.get("version") not in READ_VERSIONS:
            raise FormatError(
                f"the statement is of version {sealed.document.get('version')!r}; those up to {VERSION} are"
                " known; use"
                " another version of seqstore"
            )
        return cls(sealed)

    def __repr__(self) -> str:
        subject = self.document.get("subject")
        kind = subject.get("kind") if isinstance(subject, dict) else None
        state = "complete" if self.complete else "not complete"
        return f"<Statement, {kind}, {state}, {'signed' if self.sealed.signature else 'not signed'}>"

    @property
    def complete(self) -> bool:
        """Whether it says that no copy is left that can be read."""
        return self.document.get("complete") is True

    def _find_problems(self) -> Iterable[str]:
        return find_problems(self.document)

    def _compare(self, audit: AuditLog) -> list[str]:
        document, problems = self.document, []
        try:
            audit.verify(AuditHead(chain=document["store"]["chain"], **document["audit"]))
        except AuditError as error:
            problems.append(str(error))
        for what in (document["request"], *document["lists"], *_further(document)):
            problems += _compare(what, audit)
        return problems or self._find_issue(audit, document["audit"]["number"], Act.STATEMENT_ISSUED)


def _further(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what a statement says of the records of its drive's end, and of its followers on others."""
    for entry in document.get("elsewhere", ()):
        yield {"record": entry["record"], "hash": entry["hash"], "subject": document["subject"]}
    drive = document.get("drive")
    if drive is not None and drive["end"] is not None:
        name = {"kind": "drive", "number": drive["number"], "name": drive["serial"]}
        end = {key: value for key, value in drive["end"].items() if key not in {"stands", "certificate"}}
        yield {**end, "subject": name}
        if drive["end"]["certificate"] is not None:
            yield {**drive["end"]["certificate"], "subject": name}


def _compare(what: dict[str, Any], audit: AuditLog) -> list[str]:
    """Compare what a statement says of a record with the record."""
    try:
        record = audit[what["record"]]
    except AuditError as error:
        return [str(error)]
    said = {**record.to_dict(), **record.details, "record": record.number, "hash": record.hash}
    return [
        f"{name} of record {record.number} is {said.get(name)!r}, and {value!r} in the statement"
        for name, value in what.items()
        if said.get(name) != value
    ]
