"""What a certificate of sanitization says besides what the pass did: drive, persons, words of standards.

All of it is said by somebody, and checked for no more than that it can be so. What the pass did is in
`seqstore.sanitize.result`, and what follows from that in `seqstore.certificate_rules`.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import Enum

from seqstore.arguments import check_fields, instance
from seqstore.audit_records import check_text
from seqstore.errors import ConfigError


class Category(str, Enum):
    """Methods of sanitization, from the weakest; ``none`` where nothing can be claimed.

    References
    ----------
    NIST SP 800-88 Rev. 1 (2014) defines clear (logical techniques on all user-addressable locations), purge
    and destroy (recovery infeasible with state of the art laboratory techniques, and after destroying no
    further use). Rev. 2 (2025) keeps the three.
    """

    NONE = "none"
    CLEAR = "clear"
    PURGE = "purge"
    DESTROY = "destroy"

    @property
    def rank(self) -> int:
        """Place in the order: what is asked for is met by the same and by more."""
        return list(Category).index(self)


class Profile(str, Enum):
    """Whose words a certificate uses."""

    NIST_R2 = "NIST SP 800-88 Rev. 2"
    NIST_R1 = "NIST SP 800-88 Rev. 1"

    @property
    def citation(self) -> str:
        """What is cited: title, date, identifier."""
        title = "Guidelines for Media Sanitization"
        if self is Profile.NIST_R2:
            return f"{self.value}, {title}, September 2025, doi:10.6028/NIST.SP.800-88r2"
        end = "superseded in September 2025"
        return f"{self.value}, {title}, December 2014, doi:10.6028/NIST.SP.800-88r1, {end}"


class MediaKind(str, Enum):
    """What of a medium's type decides what a technique achieves; the one that can hide least comes last.

    Attributes
    ----------
    UNKNOWN
        Nobody said what it is.
    REMOVABLE
        Memory cards and sticks.
    FLASH
        Solid-state drives, and drives that are partly so.
    VIRTUAL
        A file, memory, or a simulation: what it lies on is another medium.
    MAGNETIC
        Hard disks.
    """

    UNKNOWN = "unknown"
    REMOVABLE = "removable"
    FLASH = "flash"
    VIRTUAL = "virtual"
    MAGNETIC = "magnetic"


_KINDS = {
    MediaKind.REMOVABLE: ("usb", "usb stick", "memory card", "sd card", "sd", "removable flash"),
    MediaKind.FLASH: ("ssd", "nvme", "flash", "emmc", "ufs", "zns", "hybrid", "sshd"),
    MediaKind.VIRTUAL: ("file", "memory", "simulated", "loop", "virtual"),
    MediaKind.MAGNETIC: ("hdd", "hard disk", "magnetic", "smr"),
}
_WORDS = {word: kind for kind, words in _KINDS.items() for word in words}


def kind_of(media_type: str) -> MediaKind:
    """Say what kind of medium a type is; a word that nobody knows is never taken for a harmless one."""
    return _WORDS.get(instance(media_type, str, "media_type").strip().casefold(), MediaKind.UNKNOWN)


def more_cautious(one: MediaKind, other: MediaKind) -> MediaKind:
    """Return the kind of which less can be claimed, where two sources say different things of a drive."""
    order = list(MediaKind)
    return min(one, other, key=order.index)


def _check(part: object, *needed: str) -> None:
    """Check the fields of a part: what they hold, all texts, and that those are there that are needed."""
    check_fields(part)
    for name in part.__class__.__slots__:  # type: ignore[attr-defined]
        value = getattr(part, name)
        if isinstance(value, str) and not isinstance(value, Enum):
            check_text(value, name, empty=name not in needed)


def _check_time(time_ns: int, what: str) -> None:
    if time_ns < 0:
        raise ConfigError(f"{what} is {time_ns!r}; nanoseconds since 1970-01-01 UTC are expected")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who answers for a step.

    Attributes
    ----------
    name, role : str
        Who, and in what position; neither can be missing.
    organization, place, contact : str
        Where it was done, and how the person is reached; empty if not said.
    time_ns : int
        When the person did it, in nanoseconds since 1970-01-01 UTC.
    """

    name: str
    role: str
    organization: str = ""
    place: str = ""
    contact: str = ""
    time_ns: int

    def __post_init__(self) -> None:
        _check(self, "name", "role")
        _check_time(self.time_ns, "time_ns of a person")

    def is_same_as(self, other: Person) -> bool:
        """Whether both have one name, whatever its capitals, spaces and forms of letters."""
        return _plain_name(self.name) == _plain_name(instance(other, Person, "the other person").name)


def _plain_name(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """The organisation's decision whether the result is good enough for what was on the drive.

    Attributes
    ----------
    person : Person
        Who decided.
    accepted : bool
    remarks : str
        Why, or with what conditions.
    """

    person: Person
    accepted: bool
    remarks: str = ""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class MediumFacts:
    """The drive, as whoever owns it knows it.

    Attributes
    ----------
    manufacturer, model, property_number : str
        Empty if unknown or none.
    serial : str
        By which it is told from others.
    media_type : str
        Such as ``"hdd"``, ``"ssd"``; `kind_of` knows more.
    geometry : str
        What is known of zones, sectors or flash, in words; may be empty.
    """

    manufacturer: str = ""
    model: str = ""
    serial: str
    property_number: str = ""
    media_type: str
    geometry: str = ""

    def __post_init__(self) -> None:
        _check(self, "serial", "media_type")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the drive was in use.

    Attributes
    ----------
    store : str
        Hash of the first record of its audit log, or any other name; empty if none.
    drive : int or None
        Its number in the store.
    slot : str
        Where it was plugged in.
    state : str
        What it was before: a `DriveState`.
    """

    store: str = ""
    drive: int | None = None
    slot: str = ""
    state: str = ""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidentiality:
    """The category of what was on the drive, and of the drive from now on, in the owner's own words."""

    before: str = ""
    after: str = ""

    def __post_init__(self) -> None:
        _check(self)


class DestinationKind(str, Enum):
    """Where a drive goes."""

    UNKNOWN = "unknown"
    INTERNAL_REUSE = "internal reuse"
    EXTERNAL_REUSE = "external reuse"
    MANUFACTURER = "manufacturer"
    RECYCLING = "recycling facility"
    DESTRUCTION = "destruction"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where the drive goes from here."""

    kind: DestinationKind = DestinationKind.UNKNOWN
    details: str = ""

    def __post_init__(self) -> None:
        _check(self)


class AssuranceKind(str, Enum):
    """What no program sees and an organisation may know; without it less is achieved.

    Attributes
    ----------
    ENCRYPTED_THROUGHOUT
        Nothing was ever stored on the drive that was not encrypted.
    KEYS_ACCOUNTED_FOR
        All copies of the keys are known, and were destroyed, those outside of the drive included.
    VENDOR_TRUSTED
        The organisation trusts the maker's implementation of the drive's own sanitize command.
    """

    ENCRYPTED_THROUGHOUT = "encrypted throughout"
    KEYS_ACCOUNTED_FOR = "keys accounted for"
    VENDOR_TRUSTED = "vendor trusted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assurance:
    """Something that the organisation vouches for.

    Attributes
    ----------
    kind : AssuranceKind
    said_by, reference : str
        Who says so, and on what grounds.
    """

    kind: AssuranceKind
    said_by: str
    reference: str

    def __post_init__(self) -> None:
        _check(self, "said_by", "reference")


@dataclass(frozen=True, slots=True, kw_only=True)
class Destruction:
    """The end of a drive, as those say who saw it.

    Attributes
    ----------
    operator, witness : Person
        Two persons.
    how, reason : str
        What was done to it, and why it was not sanitized instead.
    """

    operator: Person
    witness: Person
    how: str
    reason: str

    def __post_init__(self) -> None:
        _check(self, "how", "reason")
        if self.operator.is_same_as(self.witness):
            raise ConfigError(
                f"{self.operator.name!r} destroys the drive and is the witness; name another person"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Particulars:
    """Everything about a certificate that somebody says, as against what was seen.

    Attributes
    ----------
    number : str
        Of the certificate in the owner's books; may be empty.
    profile : Profile
    requested : Category
        What was asked for.
    medium : MediumFacts
    source : Source
    confidentiality : Confidentiality
    sanitized_by, verified_by : Person or None
        Two persons. None where nobody did it.
    validation : Validation or None
    assurances : tuple of Assurance
    destruction : Destruction or None
    destination : Destination
    remarks : str
    """

    number: str = ""
    profile: Profile = Profile.NIST_R2
    requested: Category = Category.CLEAR
    medium: MediumFacts
    source: Source = Source()
    confidentiality: Confidentiality = Confidentiality()
    sanitized_by: Person | None = None
    verified_by: Person | None = None
    validation: Validation | None = None
    assurances: tuple[Assurance, ...] = ()
    destruction: Destruction | None = None
    destination: Destination = Destination()
    remarks: str = ""

    def __post_init__(self) -> None:
        _check(self)
        if self.requested is Category.NONE:
            raise ConfigError("'none' is what may come of it, and nothing to ask for; ask for clear or more")
        done, looked = self.sanitized_by, self.verified_by
        if done is not None and looked is not None and done.is_same_as(looked):
            raise ConfigError(
                f"{done.name!r} sanitized the drive and verified that; two persons are expected, name another"
            )
