"""What a certificate of sanitization says, in three parts: what was said, what was seen, and what follows.

`Particulars` is the first, a `SanitizationOutcome` the second. The third, a `Result`, is computed of both and
of nothing else, so that whoever reads a certificate computes it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from seqstore.arguments import check_fields, instance
from seqstore.audit_records import AuditHead
from seqstore.certificate_parts import MediaKind, Particulars, Profile, kind_of
from seqstore.certificate_rules import Achieved, Rule, achieved
from seqstore.errors import ConfigError
from seqstore.sanitize.result import (
    NS,
    Area,
    Range,
    SanitizationOutcome,
    Verification,
)

STRAYS = (1, 10, 100, 1000)
"""Numbers of blocks that escaped, for which the chance is stated that they would have been found."""
BILLION = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """When a certificate was issued, in nanoseconds since 1970-01-01 UTC, and by whom."""

    time_ns: int
    actor: str

    def __post_init__(self) -> None:
        check_fields(self)
        if self.time_ns < 0 or not self.actor:
            raise ConfigError("a certificate is issued by somebody, at a time since 1970")


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """The chance that blocks which escaped would have been found.

    Attributes
    ----------
    stray : int
        So many blocks, at places left to chance.
    found_ppb : int
        The chance, in billionths.
    """

    stray: int
    found_ppb: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Figures of a verification: blocks read, of how many, their share in millionths, chances."""

    read: int
    blocks: int
    share_ppm: int
    detections: tuple[Detection, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Sums over an outcome.

    Attributes
    ----------
    capacity_bytes : int
        Bytes that have an address.
    passes : int
        That were begun.
    overwritten_bytes, active_ns, bytes_per_second : int
        Over all passes; the rate while they ran.
    retries, resumptions : int
    unreachable_blocks, unreachable_bytes : int
        Blocks that some pass could not write, hidden ones included, each counted once.
    mismatches : int
        Over all verifications.
    readings : tuple of Reading
        One for each verification.
    """

    capacity_bytes: int
    passes: int
    overwritten_bytes: int
    active_ns: int
    bytes_per_second: int
    retries: int
    resumptions: int
    unreachable_blocks: int
    unreachable_bytes: int
    mismatches: int
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What follows.

    Attributes
    ----------
    achieved : Achieved
    rule_text : str
        The rule in words.
    fulfilled : bool
        Whether that is what was asked for, or more.
    figures : Figures or None
        None where nothing was done to the drive.
    limits : tuple of str
        What the certificate does not say.
    """

    achieved: Achieved
    rule_text: str
    fulfilled: bool
    figures: Figures | None
    limits: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRef:
    """A record of an audit log: its number and hash."""

    number: int
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Where the audit log of a store speaks of it.

    Attributes
    ----------
    head : AuditHead
        The end of the log before the certificate was issued.
    begun, ended : RecordRef or None
        The records that the sanitization was begun, and that it ended; None where there was none.
    """

    head: AuditHead
    begun: RecordRef | None
    ended: RecordRef | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a certificate says.

    Attributes
    ----------
    issued : Issued
    particulars : Particulars
        What was said.
    outcome : SanitizationOutcome or None
        What was seen; None for a drive that was destroyed without a pass.
    result : Result
        What follows.
    evidence : Evidence or None
        None where no store keeps an audit log of it.
    replaces : str or None
        Digest of the certificate that this one takes the place of.
    """

    issued: Issued
    particulars: Particulars
    outcome: SanitizationOutcome | None
    result: Result
    evidence: Evidence | None
    replaces: str | None

    def __post_init__(self) -> None:
        check_fields(self)


def conclude(particulars: Particulars, outcome: SanitizationOutcome | None) -> Result:
    """Say what follows from what was said and seen."""
    instance(particulars, Particulars, "particulars")
    found = achieved(
        outcome,
        particulars.medium.media_type,
        particulars.profile,
        assurances=particulars.assurances,
        destruction=particulars.destruction,
    )
    return Result(
        achieved=found,
        rule_text=found.rule.text,
        fulfilled=found.category.rank >= particulars.requested.rank,
        figures=None if outcome is None else sum_up(outcome),
        limits=tuple(_find_limits(particulars, outcome, found)),
    )


def sum_up(outcome: SanitizationOutcome) -> Figures:
    """Add an outcome up."""
    size = 0 if outcome.before is None else outcome.before.block_size
    overwritten = sum(part.overwritten * part.block_size for part in outcome.passes)
    active_ns = sum(part.active_ns for part in outcome.passes)
    unreachable = count_unreachable(outcome)
    return Figures(
        capacity_bytes=0 if outcome.before is None else outcome.before.capacity,
        passes=len(outcome.passes),
        overwritten_bytes=overwritten,
        active_ns=active_ns,
        bytes_per_second=overwritten * NS // active_ns if active_ns > 0 else 0,
        retries=sum(part.retries for part in outcome.passes),
        resumptions=outcome.resumptions,
        unreachable_blocks=unreachable,
        unreachable_bytes=unreachable * size,
        mismatches=sum(reading.mismatches for reading in outcome.verifications),
        readings=tuple(map(_read_out, outcome.verifications)),
    )


def count_unreachable(outcome: SanitizationOutcome) -> int:
    """Count the blocks that some pass could not write, each once, without a list of them."""
    parts = [part for each in outcome.passes for part in each.unreachable]
    parts += [part for area in outcome.areas for part in area.unreachable]
    return sum(count_distinct(part for part in parts if part.area is area) for area in Area)


def count_distinct(parts: Iterable[Range]) -> int:
    """Count the blocks of ranges of one area, each once."""
    total, end = 0, 0
    for part in sorted(parts, key=lambda part: part.first):
        first = max(part.first, end)
        end = max(end, part.first + part.count)
        total += max(0, end - first)
    return total


def _read_out(verification: Verification) -> Reading:
    return Reading(
        read=verification.read,
        blocks=verification.blocks,
        share_ppm=verification.read * 1_000_000 // verification.blocks if verification.blocks else 0,
        detections=tuple(
            Detection(stray=stray, found_ppb=round(verification.detection_probability(stray) * BILLION))
            for stray in STRAYS
            if stray <= verification.blocks
        ),
    )


def _find_limits(
    particulars: Particulars, outcome: SanitizationOutcome | None, found: Achieved
) -> Iterator[str]:
    """Yield what a reader could take this certificate to say, and it does not."""
    kind = kind_of(particulars.medium.media_type)
    if particulars.destruction is not None:
        yield "That the drive was destroyed is what the operator and the witness say; nothing here saw it."
    if outcome is not None:
        yield from _find_limits_of_outcome(outcome, kind)
    if found.rule in {Rule.CRYPTOGRAPHIC, Rule.COMMAND_TRUSTED}:
        yield "The category rests on what the organisation vouches for, which nothing here could examine."
    if particulars.profile is Profile.NIST_R2 and particulars.validation is None:
        yield "Nobody has decided yet whether the result is good enough for what was on the drive."
    if particulars.validation is not None and not particulars.validation.accepted:
        yield "The organisation did not accept the result."


def _find_limits_of_outcome(outcome: SanitizationOutcome, kind: MediaKind) -> Iterator[str]:
    if kind is MediaKind.VIRTUAL:
        yield "The drive is a file, memory or simulated; nothing is said of the medium on which it lies."
    said = "" if outcome.before is None else outcome.before.media_type
    if said and kind_of(said) is not kind:
        yield f"The drive calls itself {said!r}, its owner something else; the worse of the two counts."
    if not outcome.areas:
        yield "The drive admits to no places without an address; whether it has any is not known."
    elif not all(area.proven for area in outcome.areas):
        yield "Not all places without an address were read back; what became of them is the drive's word."
    for reading in outcome.verifications:
        if reading.read < reading.blocks:
            yield (
                f"The {reading.method} verification read {reading.read} of {reading.blocks} blocks; the rest"
                " was not looked at."
            )
