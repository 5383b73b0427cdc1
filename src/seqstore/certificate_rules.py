"""What a sanitization achieved: one pure function from what was done to what may be said of it.

It starts from the claim that nothing was achieved, and says more only where every fact that this takes is
there. `SanitizationOutcome.succeeded` is one of them; the others are looked at here again, since an outcome
may have been read from a file.

References
----------
As we understand them; docs/reference/certificate.md says what of this was checked against the texts.
NIST SP 800-88 Rev. 1 (2014): overwriting is a technique of clear, for flash memory at most; sampling in at
least 1,000 parts of which at least 10 % is read; cryptographic erase counts only where all was encrypted
from the beginning and all copies of the keys can be destroyed, and is combined with another technique where
it cannot be verified; two passes, one the complement of the other, on removable flash.
NIST SP 800-88 Rev. 2 (2025): trust in a vendor's implementation of clear and purge has to be established.
Wei, Grupp, Spada, Swanson, "Reliably Erasing Data From Flash-Based Solid State Drives", FAST 2011: drives
whose built-in commands reported success and had erased nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from seqstore.arguments import optional
from seqstore.certificate_parts import (
    Assurance,
    AssuranceKind,
    Category,
    Destruction,
    MediaKind,
    Profile,
    kind_of,
    more_cautious,
)
from seqstore.sanitize.result import Fault, Method, SanitizationOutcome, Step, Verification

LEAST_SUBSECTIONS = 1000
LEAST_COVERAGE_PERCENT = 10


class Rule(str, Enum):
    """What decided over the category; those above `OVERWRITTEN` end in ``none``."""

    NOTHING_DONE = "nothing-done"
    LYING_DRIVE = "lying-drive"
    OTHER_DRIVE = "other-drive"
    INCOMPLETE = "incomplete-pass"
    UNREACHABLE = "unreachable-ranges"
    HIDDEN_PLACES = "hidden-places"
    KEYS_LEFT = "keys-left"
    MISMATCH = "verification-mismatch"
    UNREADABLE = "verification-unreadable"
    NOT_VERIFIED = "not-verified"
    CACHED = "verified-through-a-cache"
    COVERAGE = "coverage-too-small"
    FIXED_SEED = "fixed-seed"
    CLOCK = "clock"
    ONE_PASS = "one-pass-on-removable-flash"
    OTHER_PROBLEM = "other-problem"
    OVERWRITTEN = "overwritten"
    OVERWRITTEN_FLASH = "overwritten-flash"
    OVERWRITTEN_VIRTUAL = "overwritten-virtual"
    OVERWRITTEN_UNKNOWN = "overwritten-unknown-medium"
    COMMAND_WORD = "command-word-alone"
    COMMAND_READ_BACK = "command-read-back"
    COMMAND_TRUSTED = "command-trusted"
    CRYPTOGRAPHIC = "cryptographic-erase"
    DESTROYED = "destroyed"

    @property
    def text(self) -> str:
        """The rule as a sentence."""
        return _TEXTS[self]


_TEXTS = {
    Rule.NOTHING_DONE: "No pass was run, and nothing is claimed.",
    Rule.LYING_DRIVE: "The drive said what was found to be untrue; what it says counts for nothing.",
    Rule.OTHER_DRIVE: "The drive was not the same, or not of the same size, from the beginning to the end.",
    Rule.INCOMPLETE: "A pass did not come to its end.",
    Rule.UNREACHABLE: "Some blocks could not be written, and what was in them may be there still.",
    Rule.HIDDEN_PLACES: "Places of the drive without an address were not reached, or held something else.",
    Rule.KEYS_LEFT: "The keys were not destroyed.",
    Rule.MISMATCH: "The verification found something else than what was written.",
    Rule.UNREADABLE: "The verification could not read all that it was to read.",
    Rule.NOT_VERIFIED: "Nobody read the drive afterwards, to its end, for what was written last.",
    Rule.CACHED: "The verification may have read a cache and not the medium.",
    Rule.COVERAGE: (
        "The verification read less than NIST SP 800-88 Rev. 1 describes: 1,000 parts, a tenth of the medium."
    ),
    Rule.FIXED_SEED: "The places that were read could be known before.",
    Rule.CLOCK: "The times contradict each other: a clock was set back.",
    Rule.ONE_PASS: (
        "NIST SP 800-88 Rev. 1 describes two passes for removable flash, a pattern and its complement."
    ),
    Rule.OTHER_PROBLEM: "Something went wrong.",
    Rule.OVERWRITTEN: "Overwriting all that has an address is a technique of clear.",
    Rule.OVERWRITTEN_FLASH: (
        "Overwriting flash is at most clear: what it keeps without an address is not reached."
    ),
    Rule.OVERWRITTEN_VIRTUAL: (
        "Overwriting is a technique of clear; it holds for the file or memory, and says nothing of the medium"
        " below it."
    ),
    Rule.OVERWRITTEN_UNKNOWN: "What kind of medium it is nobody said; at most clear, as for flash.",
    Rule.COMMAND_WORD: (
        "The drive's own command reports success, and all that has an address reads so; of the rest there is"
        " the drive's word alone."
    ),
    Rule.COMMAND_READ_BACK: (
        "The drive's own command reached every place that it admits to, and all of them were read back."
    ),
    Rule.COMMAND_TRUSTED: (
        "The drive's own command reports success, and the organisation vouches for its maker's work."
    ),
    Rule.CRYPTOGRAPHIC: (
        "All was encrypted from the beginning, and every copy of the keys was destroyed; the organisation"
        " vouches for both."
    ),
    Rule.DESTROYED: "The drive was destroyed, as two persons say.",
}

# What each problem of an outcome comes to; in the order in which they decide.
_FAULT_RULES: tuple[tuple[Rule, frozenset[Fault]], ...] = (
    (Rule.NOTHING_DONE, frozenset({Fault.NOT_STARTED})),
    (Rule.LYING_DRIVE, frozenset({Fault.LYING_DRIVE})),
    (Rule.OTHER_DRIVE, frozenset({Fault.SWAPPED_DRIVE, Fault.WRONG_SIZE})),
    (Rule.INCOMPLETE, frozenset({Fault.DRIVE_DIED, Fault.INTERRUPTED, Fault.CANCELLED, Fault.SYNC})),
    (Rule.UNREACHABLE, frozenset({Fault.BAD_BLOCKS})),
    (Rule.HIDDEN_PLACES, frozenset({Fault.HIDDEN})),
    (Rule.KEYS_LEFT, frozenset({Fault.KEYS})),
    (Rule.CACHED, frozenset({Fault.CACHE})),
    (Rule.MISMATCH, frozenset({Fault.MISMATCH})),
    (Rule.UNREADABLE, frozenset({Fault.UNREADABLE})),
    (Rule.FIXED_SEED, frozenset({Fault.FIXED_SEED})),
    (Rule.CLOCK, frozenset({Fault.CLOCK})),
    (Rule.NOT_VERIFIED, frozenset({Fault.NOT_VERIFIED})),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Achieved:
    """What may be said of a sanitization.

    Attributes
    ----------
    category : Category
    rule : Rule
        What decided.
    reasons : tuple of str
        Everything that stands against more; for ``none`` at least one.
    """

    category: Category
    rule: Rule
    reasons: tuple[str, ...] = ()


def achieved(
    outcome: SanitizationOutcome | None,
    media_type: str,
    profile: Profile = Profile.NIST_R2,
    *,
    assurances: Sequence[Assurance] = (),
    destruction: Destruction | None = None,
) -> Achieved:
    """Say what a sanitization achieved.

    Parameters
    ----------
    outcome : SanitizationOutcome or None
        What was done and found; None if nothing was.
    media_type : str
        What the owner says that the drive is. The drive's own word counts too, where it is the less harmless.
    profile : Profile
        Whose words are used. What the two revisions are known to say differs in nothing that decides here.
    assurances : sequence of Assurance
        What the organisation vouches for.
    destruction : Destruction, optional
        Of a drive that was destroyed.

    Returns
    -------
    Achieved
    """
    optional(outcome, SanitizationOutcome, "outcome")
    del profile  # kept in the signature: a certificate states it, and a later revision may decide otherwise
    against = list(_find_against(outcome, media_type))
    reasons = tuple(text for _, text in against)
    if destruction is not None:
        return Achieved(category=Category.DESTROY, rule=Rule.DESTROYED, reasons=reasons)
    if against or outcome is None:
        rules = [rule for rule, _ in against]
        return Achieved(category=Category.NONE, rule=min(rules, key=list(Rule).index), reasons=reasons)
    return _judge_success(outcome, _kind(outcome, media_type), {entry.kind for entry in assurances})


def _judge_success(outcome: SanitizationOutcome, kind: MediaKind, vouched: set[AssuranceKind]) -> Achieved:
    """Say which category a sanitization comes to in which nothing went wrong."""
    methods = {step.method for step in outcome.technique.steps}
    reasons = []
    if Method.CRYPTOGRAPHIC in methods:
        if vouched >= {AssuranceKind.ENCRYPTED_THROUGHOUT, AssuranceKind.KEYS_ACCOUNTED_FOR}:
            return Achieved(category=Category.PURGE, rule=Rule.CRYPTOGRAPHIC)
        reasons.append(
            "destroying the keys counts only where somebody vouches that all was encrypted from the beginning"
            " and that every copy of the keys is gone"
        )
    if Method.COMMAND in methods and kind in {MediaKind.MAGNETIC, MediaKind.FLASH}:
        if outcome.areas and all(area.proven for area in outcome.areas):
            return Achieved(category=Category.PURGE, rule=Rule.COMMAND_READ_BACK)
        if AssuranceKind.VENDOR_TRUSTED in vouched:
            return Achieved(category=Category.PURGE, rule=Rule.COMMAND_TRUSTED)
        reasons.append(
            "the drive's own command is its word alone: not all that it hides was read back, and nobody"
            " vouches for its maker"
        )
    if not any(method.overwrites for method in methods):
        return Achieved(category=Category.CLEAR, rule=Rule.COMMAND_WORD, reasons=tuple(reasons))
    rule = {
        MediaKind.MAGNETIC: Rule.OVERWRITTEN,
        MediaKind.VIRTUAL: Rule.OVERWRITTEN_VIRTUAL,
        MediaKind.UNKNOWN: Rule.OVERWRITTEN_UNKNOWN,
    }.get(kind, Rule.OVERWRITTEN_FLASH)
    return Achieved(category=Category.CLEAR, rule=rule, reasons=tuple(reasons))


def _kind(outcome: SanitizationOutcome, media_type: str) -> MediaKind:
    """Take the less harmless of what the owner says and what the drive says, if it says anything."""
    said = outcome.before.media_type if outcome.before is not None else ""
    return more_cautious(kind_of(media_type), kind_of(said)) if said else kind_of(media_type)


# ---- what stands against a claim ---------------------------------------------------------------


def _find_against(outcome: SanitizationOutcome | None, media_type: str) -> Iterator[tuple[Rule, str]]:
    """Yield everything that lets nothing be claimed, each with the rule that it comes under."""
    if outcome is None:
        yield Rule.NOTHING_DONE, "nothing was done to the drive but what is said here"
        return
    found = [
        *((_rule_of(problem.fault), problem.text) for problem in outcome.problems),
        *((Rule.LYING_DRIVE, lie) for lie in outcome.lies),
        *_find_in_identity(outcome),
        *_find_in_passes(outcome),
        *_find_in_areas(outcome),
        *_find_in_times(outcome),
        *_find_in_verifications(outcome),
    ]
    if _kind(outcome, media_type) is MediaKind.REMOVABLE and not _has_complement(outcome.technique.steps):
        found.append((Rule.ONE_PASS, "no pass of the technique writes the complement of another one"))
    if not found and not outcome.succeeded:
        found.append((Rule.OTHER_PROBLEM, "the sanitization did not succeed"))
    yield from dict.fromkeys(found)


def _rule_of(fault: Fault) -> Rule:
    return next((rule for rule, faults in _FAULT_RULES if fault in faults), Rule.OTHER_PROBLEM)


def _find_in_identity(outcome: SanitizationOutcome) -> Iterator[tuple[Rule, str]]:
    before, after = outcome.before, outcome.after
    if before is None:
        yield Rule.NOTHING_DONE, "the drive did not say what it is"
    elif after is None:
        yield Rule.INCOMPLETE, f"the drive {before.serial!r} did not say at the end what it is"
    elif before != after:
        yield (
            Rule.OTHER_DRIVE,
            f"at first it was {before.serial!r} of {before.blocks} blocks of {before.block_size} bytes, in"
            f" the end {after.serial!r} of {after.blocks} of {after.block_size}",
        )


def _find_in_passes(outcome: SanitizationOutcome) -> Iterator[tuple[Rule, str]]:
    steps, before = outcome.technique.steps, outcome.before
    if tuple(part.step for part in outcome.passes) != steps:
        yield (
            Rule.INCOMPLETE,
            f"{len(outcome.passes)} of {len(steps)} steps were begun as they were asked for",
        )
    for part in outcome.passes:
        name = f"step {part.number} ({part.step.method.value})"
        if not part.complete:
            yield Rule.INCOMPLETE, f"{name} ended before its end, with {part.overwritten} blocks overwritten"
        if part.unreachable:
            yield Rule.UNREACHABLE, f"{name} could not write {part.unreachable_blocks} blocks"
        elif part.complete and part.overwritten != part.blocks:
            yield Rule.INCOMPLETE, f"{name} overwrote {part.overwritten} of {part.blocks} blocks"
        size = (part.blocks, part.block_size)
        if part.step.method.overwrites and before is not None and size != (before.blocks, before.block_size):
            yield (
                Rule.OTHER_DRIVE,
                f"{name} was of {size[0]} blocks of {size[1]} bytes; the drive has {before.blocks} of"
                f" {before.block_size}",
            )


def _find_in_areas(outcome: SanitizationOutcome) -> Iterator[tuple[Rule, str]]:
    for area in outcome.areas:
        if area.clean:
            continue
        what = f"{area.blocks} blocks of the {area.area.value} area"
        if area.reached_by == "nothing":
            yield Rule.HIDDEN_PLACES, f"{what} were not reached"
        for parts, words in (
            (area.mismatches, "held something else"),
            (area.unreachable, "were not reached"),
        ):
            if parts:
                yield Rule.HIDDEN_PLACES, f"of {what} {sum(part.count for part in parts)} {words}"


def _find_in_times(outcome: SanitizationOutcome) -> Iterator[tuple[Rule, str]]:
    inside = [(part.started_ns, part.ended_ns) for part in outcome.passes]
    inside += [(reading.started_ns, reading.ended_ns) for reading in outcome.verifications]
    for start, end in inside:
        if not outcome.started_ns <= start <= end <= outcome.ended_ns:
            yield Rule.CLOCK, "a pass or a verification begins or ends outside of the time that is stated"
            return
    if outcome.started_ns > outcome.ended_ns:
        yield Rule.CLOCK, "the sanitization ended before it began"
    last = max((part.ended_ns for part in outcome.passes), default=0)
    if any(verification.started_ns < last for verification in outcome.verifications):
        yield Rule.CLOCK, "a verification began before the last pass had ended"


def _find_in_verifications(outcome: SanitizationOutcome) -> Iterator[tuple[Rule, str]]:
    expected = outcome.technique.expected
    if expected is None:
        yield (
            Rule.NOT_VERIFIED,
            "the technique writes nothing that could be read back; combine it with one that does",
        )
    elif not outcome.verifications:
        yield Rule.NOT_VERIFIED, "nobody read the drive afterwards"
    for verification in outcome.verifications:
        name = f"the {verification.method} verification"
        if verification.mismatches or verification.first_mismatches:
            yield Rule.MISMATCH, f"{name} found {verification.mismatches} blocks that held something else"
        if verification.read_errors:
            bad = sum(part.count for part in verification.read_errors)
            yield Rule.UNREADABLE, f"{name} could not read {bad} blocks"
        if verification.stopped_early:
            yield Rule.NOT_VERIFIED, f"{name} was not read to its end"
        if not verification.past_caches:
            yield Rule.CACHED, f"of {name} it is not known that it read the medium and no cache"
        if expected is not None and verification.expected != expected:
            yield Rule.NOT_VERIFIED, f"{name} looked for something else than what was written last"
        yield from _find_in_coverage(outcome, verification, name)


def _find_in_coverage(
    outcome: SanitizationOutcome, verification: Verification, name: str
) -> Iterator[tuple[Rule, str]]:
    """Compare how much was read with the drive, and with what sampling has to read."""
    drive = outcome.before
    size = (verification.blocks, verification.block_size)
    if drive is not None and size != (drive.blocks, drive.block_size):
        yield Rule.OTHER_DRIVE, f"{name} was of {size[0]} blocks of {size[1]} bytes"
    if verification.method == "full":
        if verification.read != verification.blocks:
            yield Rule.COVERAGE, f"{name} read {verification.read} of {verification.blocks} blocks"
    elif verification.method != "sampling":
        yield Rule.COVERAGE, f"{name} is of no known method"
    elif (
        verification.subsections < LEAST_SUBSECTIONS
        or verification.read * 100 < verification.blocks * LEAST_COVERAGE_PERCENT
    ):
        yield (
            Rule.COVERAGE,
            f"{name} read {verification.read} of {verification.blocks} blocks in"
            f" {verification.subsections} parts",
        )
    elif not verification.seed:
        yield Rule.FIXED_SEED, f"{name} was drawn from no seed"


def _has_complement(steps: Sequence[Step]) -> bool:
    """Whether two steps write patterns of which one is the complement of the other."""
    patterns = {_pattern(step) for step in steps} - {b""}
    return any(bytes(byte ^ 0xFF for byte in pattern) in patterns for pattern in patterns)


def _pattern(step: Step) -> bytes:
    return {Method.ZERO: b"\x00", Method.ONES: b"\xff"}.get(step.method, step.pattern)
