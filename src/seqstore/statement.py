"""Erasure statements: what became of the copies of something that was deleted, to be shown to others.

A statement says what a store did and saw, of one tenant's data on drives that others use as well: a logical,
partial sanitization. It claims nothing about a medium, and of what is not finished it says so.

`seqstore.evidence` makes statements. To check one nothing but this module and a public key is needed: a
signature, and arithmetic that does not come out where something was changed before it was signed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from seqstore import canonical
from seqstore.audit_records import Act, AuditHead
from seqstore.errors import AuditError, FormatError, StatementError
from seqstore.signing import Sealed
from seqstore.statement_check import find_problems

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.signing import PublicKey, SigningKey

FORMAT, VERSION = "seqstore erasure statement", 2
READ_VERSIONS = (1, VERSION)  # those of version 1 say nothing of how their drive stands
CLAIM = "logical, partial sanitization"


class Statement:
    """An erasure statement. Made by a store, or read by `from_json`.

    Attributes
    ----------
    sealed : Sealed
        The document and its signature.
    """

    def __init__(self, sealed: Sealed) -> None:
        self.sealed = sealed

    @classmethod
    def make(cls, document: dict[str, Any], key: SigningKey | None) -> Statement:
        """Sign a document.

        Raises
        ------
        StatementError
            If it contradicts itself; nothing is signed.
        """
        _require_sound(document)
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
    def document(self) -> dict[str, Any]:
        """What it says."""
        return self.sealed.document

    @property
    def digest(self) -> str:
        """SHA-256 of what it says, as the audit log holds it."""
        return canonical.digest(self.sealed.data)

    @property
    def complete(self) -> bool:
        """Whether it says that no copy is left that can be read."""
        return self.document.get("complete") is True

    def to_json(self) -> str:
        """Return the text to be kept and handed out."""
        return self.sealed.to_json()

    def check(self) -> None:
        """Return if it does not contradict itself.

        Raises
        ------
        StatementError
            With everything that was found.
        """
        _require_sound(self.document)

    def verify(self, key: PublicKey) -> None:
        """Return if it was signed by the owner of a key and does not contradict itself.

        Raises
        ------
        SignatureError
            If it was not signed so, or was changed since.
        StatementError
            If it contradicts itself.
        """
        self.sealed.verify(key)
        self.check()

    def verify_in(self, audit: AuditLog) -> None:
        """Return if the audit log of a store holds, and says of this statement what it says itself.

        Raises
        ------
        AuditError
            If the log does not hold.
        StatementError
            If the log is another store's, or knows nothing of the statement or something else.
        """
        self.check()
        document, problems = self.document, []
        try:
            audit.verify(AuditHead(chain=document["store"]["chain"], **document["audit"]))
        except AuditError as error:
            problems.append(str(error))
        for what in (document["request"], *document["lists"], *_further(document)):
            problems += _compare(what, audit)
        issued = [
            record
            for record in (() if problems else audit.records(document["audit"]["number"] + 1))
            if record.act == Act.STATEMENT_ISSUED.value and record.details.get("digest") == self.digest
        ]
        if not issued and not problems:
            problems.append("no record of the audit log says that the statement was issued")
        if problems:
            raise StatementError(
                f"the statement is not this store's, or one of both was changed: {problems[0]}",
                problems=tuple(problems),
            )


def _require_sound(document: dict[str, Any]) -> None:
    problems = tuple(find_problems(document))
    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise StatementError(
            f"the statement contradicts itself: {problems[0]}{more}; do not rely on it", problems=problems
        )


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
