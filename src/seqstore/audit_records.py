"""What the audit log is made of: acts, their subjects, records, and the head that is exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, cast

from seqstore import canonical
from seqstore.errors import AuditError, ConfigError, FormatError

_HEAD_FORMAT, _HEAD_VERSION = "seqstore audit head", 1
_MOST_TEXT = 1024  # characters of an actor or a reason

SubjectKind = Literal["store", "tenant", "volume", "snapshot", "range", "drive", "key"]


class Act(str, Enum):
    """What a record tells of. The values stand in the log and do not change."""

    STORE_CREATED = "store created"
    STORE_RECOVERED = "store recovered"
    AUDIT_BEGUN = "audit begun"
    CATALOG_REBUILT = "catalog rebuilt"
    TENANT_CREATED = "tenant created"
    TENANT_DELETED = "tenant deleted"
    VOLUME_CREATED = "volume created"
    VOLUME_RESIZED = "volume resized"
    VOLUME_ROLLED_BACK = "volume rolled back"
    VOLUME_DELETED = "volume deleted"
    SNAPSHOT_CREATED = "snapshot created"
    SNAPSHOT_DELETED = "snapshot deleted"
    CLONE_CREATED = "clone created"
    CREATION_UNDONE = "creation undone"
    RENAMED = "renamed"
    DELETION_REQUESTED = "deletion requested"
    DELETION_ABANDONED = "deletion abandoned"
    STRATEGY_CHANGED = "strategy changed"
    COPIES_LISTED = "copies listed"
    COPIES_FOUND = "copies found"
    PURGE_BEGUN = "purge begun"
    PURGE_FINISHED = "purge finished"
    KEY_DESTROYED = "key destroyed"
    EPOCH_ENDED = "epoch ended"
    ERASURE_VERIFIED = "erasure verified"
    ERASURE_FINISHED = "erasure finished"
    STATEMENT_ISSUED = "statement issued"
    DRIVE_ADDED = "drive added"
    FAMILY_MOVED = "family moved"
    BLOCKS_RENEWED = "blocks renewed"
    DRIVE_PUT_ONLINE = "drive put online"
    DRIVE_DEGRADED = "drive degraded"
    DRIVE_RECOVERED = "drive recovered"
    DRIVE_FAILED = "drive failed"
    DECOMMISSION_BEGUN = "decommission begun"
    DECOMMISSION_CALLED_OFF = "decommission called off"
    DECOMMISSION_FINISHED = "decommission finished"
    OPERATOR_NAMED = "operator named"
    SANITIZATION_BEGUN = "sanitization begun"
    SANITIZATION_RESUMED = "sanitization resumed"
    SANITIZATION_FINISHED = "sanitization finished"
    SANITIZATION_FAILED = "sanitization failed"
    CERTIFICATE_ISSUED = "certificate issued"
    RESULT_REFUSED = "result refused"
    DRIVE_RELEASED = "drive released"
    DRIVE_DESTROYED = "drive destroyed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What an act was done to.

    Attributes
    ----------
    kind : str
        One of "store", "tenant", "volume", "snapshot", "range", "drive" and "key".
    number : int
        That of the tenant, volume or snapshot; of a range, that of its volume.
    name : str
        The name at that time.
    tenant : int or None
        Number of the owner.
    origin : int or None
        Of a snapshot the volume, of a clone the snapshot that it was made of.
    offset, length : int or None
        Of a range, in bytes.
    """

    kind: SubjectKind
    number: int = 0
    name: str = ""
    tenant: int | None = None
    origin: int | None = None
    offset: int | None = None
    length: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what is known, for a record."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One act.

    Attributes
    ----------
    number : int
        From 1, without gaps.
    time_ns : int
        In nanoseconds since 1970-01-01 UTC, by the store's clock.
    actor, reason : str
        Who did it, and why, as far as the store was told.
    act : str
        What was done; `Act` has the words.
    subject, details : mapping
        What it was done to, and with.
    previous, hash : str
        SHA-256 of the record before, zeros in the first one, and of this one.
    """

    number: int
    time_ns: int
    actor: str
    reason: str
    act: str
    subject: Mapping[str, Any]
    details: Mapping[str, Any]
    previous: str
    hash: str

    def to_dict(self) -> dict[str, Any]:
        """Return what the hash is of."""
        return {name: getattr(self, name) for name in _TYPES}


_TYPES = {
    "number": int,
    "time_ns": int,
    "actor": str,
    "reason": str,
    "act": str,
    "subject": dict,
    "details": dict,
    "previous": str,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditHead:
    """Where an audit log ends.

    Attributes
    ----------
    chain : str
        Hash of its first record, by which logs are told apart.
    number : int
        Of the last record.
    hash : str
        Of the last record.
    """

    chain: str
    number: int
    hash: str

    def to_document(self, exported_ns: int) -> dict[str, Any]:
        """Return the head as a document to be signed."""
        return {
            "format": _HEAD_FORMAT,
            "version": _HEAD_VERSION,
            "chain": self.chain,
            "number": self.number,
            "hash": self.hash,
            "exported_ns": exported_ns,
        }

    @classmethod
    def from_document(cls, document: Any) -> AuditHead:
        """Read a head that was exported.

        Raises
        ------
        FormatError
            If the document is something else.
        """
        if not isinstance(document, dict) or document.get("format") != _HEAD_FORMAT:
            raise FormatError("the document is no head of an audit log; `seqstore audit export` makes one")
        if document.get("version") != _HEAD_VERSION:
            raise FormatError(
                f"the head is of version {document.get('version')!r}; {_HEAD_VERSION} is known; use another"
                " version of seqstore"
            )
        values: dict[str, Any] = {name: document.get(name) for name in ("chain", "number", "hash")}
        if [type(value) for value in values.values()] != [str, int, str]:
            raise FormatError("the head lacks chain, number or hash; export it again")
        return cls(**values)


def check_text(text: object, what: str, *, empty: bool = False) -> str:
    """Refuse what is no short text.

    Raises
    ------
    ConfigError
        If it is none.
    """
    if not isinstance(text, str):
        raise ConfigError(f"{what} is of type {type(text).__name__}; a string is expected")
    if not int(not empty) <= len(text) <= _MOST_TEXT:
        raise ConfigError(f"{what} has {len(text)} characters; {int(not empty)} to {_MOST_TEXT} are possible")
    if any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in text):
        raise ConfigError(f"{what} is {text!r}; control characters and surrogates cannot be part of it")
    return text


def parse_row(
    expected: int, previous: str | None, number: object, content: object, found: object
) -> AuditRecord:
    """Read a row, and check what its place in the chain demands; `previous` is None where it is not known."""

    def refuse(what: str) -> AuditError:
        return AuditError(
            f"the audit log does not hold at record {expected}: {what}; what was written before it holds",
            number=expected,
        )

    if number != expected:
        raise refuse(f"record {number} comes in its place")
    if not isinstance(content, str) or not isinstance(found, str):
        raise refuse("it is no text")
    data = content.encode(errors="surrogatepass")
    if canonical.digest(data) != found:
        raise refuse("its content does not have its hash")
    try:
        values = canonical.decode(content)
        is_canonical = canonical.encode(values) == data
    except (FormatError, ConfigError) as error:
        raise refuse(str(error)) from error
    if not isinstance(values, dict) or {name: type(value) for name, value in values.items()} != _TYPES:
        raise refuse("it lacks what a record has, or has more")
    if not is_canonical or values["number"] != expected:
        raise refuse(f"it was not written as it is, or as record {values['number']}")
    if previous is not None and values["previous"] != previous:
        raise refuse("it does not follow the record before it")
    return AuditRecord(**cast("dict[str, Any]", values), hash=found)
