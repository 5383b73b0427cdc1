"""The sums of a certificate that have to come out, whoever signed it.

A signature says who answers for a text. These checks say whether the text can be true: ranges that were left
out are missing in a sum, a better category does not follow from the facts, another drive has another serial
number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from seqstore.certificate_content import Content, Figures, Result, conclude, count_distinct
from seqstore.certificate_parts import Category, Particulars, Person
from seqstore.errors import FormatError
from seqstore.sanitize.result import (
    Area,
    AreaResult,
    Fault,
    PassResult,
    Range,
    SanitizationOutcome,
    Verification,
)
from seqstore.values import from_values

FORMAT, VERSION = "seqstore certificate of sanitization", 1

_MOST_FIRST_RANGES = 64  # as many runs of mismatches are listed at most
_HASH_DIGITS = 64


def read_content(document: Any) -> Content:
    """Read what a document says; nothing of it is believed.

    Raises
    ------
    FormatError
        If it is no certificate, one of another version, or one whose parts have another form.
    """
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else document
        raise FormatError(f"the document is {found!r}; a certificate of sanitization is expected")
    if document.get("version") != VERSION:
        raise FormatError(
            f"the certificate is of version {document.get('version')!r}; {VERSION} is known; use another"
            " version of seqstore"
        )
    values = {name: value for name, value in document.items() if name not in {"format", "version"}}
    return from_values(Content, values, "the certificate")


def find_problems(content: Content) -> Iterator[str]:
    """Yield what is wrong with a certificate; nothing if it is sound."""
    outcome = content.outcome
    wrong = [] if outcome is None else list(_find_in_outcome(outcome))
    yield from wrong
    if not wrong:  # else the sums cannot be made, and one reason is enough
        yield from _find_in_result(content.result, conclude(content.particulars, outcome))
    yield from _find_in_persons(content)
    yield from _find_in_times(content)
    yield from _find_other_drive(content)
    yield from _find_in_evidence(content)


# ---- what was seen -----------------------------------------------------------------------------


def _find_in_outcome(outcome: SanitizationOutcome) -> Iterator[str]:
    for drive in (outcome.before, outcome.after):
        if drive is not None and (drive.blocks < 1 or drive.block_size < 1):
            yield f"the drive has {drive.blocks} blocks of {drive.block_size} bytes, which it cannot have"
    for number, part in enumerate(outcome.passes, 1):
        if part.number != number:
            yield f"step {part.number} stands in place {number}; one was left out or put in"
        yield from _find_in_pass(part, f"step {number}")
    for area in outcome.areas:
        yield from _find_in_area(area)
    for reading in outcome.verifications:
        yield from _find_in_verification(reading)
    if outcome.resumptions < 0 or any(part.resumptions > outcome.resumptions for part in outcome.passes):
        yield f"it was resumed {outcome.resumptions} times, and a step more often"


def _find_in_pass(part: PassResult, name: str) -> Iterator[str]:
    if not part.step.method.overwrites:
        if part.blocks or part.overwritten:
            yield f"{name} overwrites {part.overwritten} of {part.blocks} blocks; a step of its kind none"
        return
    if min(part.blocks, part.block_size) < 1 or not 0 <= part.overwritten <= part.blocks:
        yield f"{name} overwrote {part.overwritten} of {part.blocks} blocks, which cannot be"
        return
    # Hidden blocks that could not be written are none of those that have an address.
    addressed = [entry for entry in part.unreachable if entry.area is Area.USER]
    yield from _find_in_ranges(addressed, part.blocks, f"the unreachable ranges of {name}")
    left_out = part.blocks - part.overwritten - count_distinct(addressed)
    if left_out:  # where it was interrupted, the rest is listed as not reached
        yield (
            f"{name} overwrote {part.overwritten} of {part.blocks} blocks and lists"
            f" {count_distinct(addressed)} as unreachable; {abs(left_out)} blocks are"
            f" {'missing' if left_out > 0 else 'there twice'}"
        )
    if part.retries < 0 or part.active_ns < 0:
        yield f"{name} took {part.retries} retries and {part.active_ns} ns, which cannot be"


def _find_in_area(area: AreaResult) -> Iterator[str]:
    name = f"the {area.area.value} area"
    if area.blocks < 0 or not 0 <= area.read_back <= area.blocks:
        yield f"of {name} {area.read_back} of {area.blocks} blocks were read back, which cannot be"
    for parts in (area.mismatches, area.unreachable):
        yield from _find_in_ranges(parts, area.blocks, f"the ranges of {name}")
        if any(part.area is not area.area for part in parts):
            yield f"{name} lists ranges of another area"
    if count_distinct(area.mismatches) > area.read_back:
        yield f"in {name} more blocks held something else than were read back"


def _find_in_verification(reading: Verification) -> Iterator[str]:
    name = f"the {reading.method} verification"
    if min(reading.blocks, reading.block_size) < 1 or not 0 <= reading.read <= reading.blocks:
        yield f"{name} read {reading.read} of {reading.blocks} blocks, which cannot be"
        return
    listed = count_distinct(reading.first_mismatches)
    yield from _find_in_ranges(reading.first_mismatches, reading.blocks, f"the mismatches of {name}")
    yield from _find_in_ranges(reading.read_errors, reading.blocks, f"the read errors of {name}")
    if not listed <= reading.mismatches <= reading.read:
        yield f"{name} found {reading.mismatches} mismatches in {reading.read} blocks, and lists {listed}"
    elif listed < reading.mismatches and len(reading.first_mismatches) < _MOST_FIRST_RANGES:
        yield f"{name} found {reading.mismatches} mismatches and lists {listed}; some were left out"
    if count_distinct(reading.read_errors) > reading.read:
        yield f"{name} could not read more blocks than it was to read"
    sampled = 2 * reading.subsections * reading.sample_blocks
    if min(reading.subsections, reading.sample_blocks) < 0:
        yield f"{name} took samples of {reading.sample_blocks} blocks in {reading.subsections} parts"
    elif reading.method == "full" and (sampled or reading.seed):
        yield f"{name} has samples, of which a full one has none"
    elif reading.method == "sampling" and not reading.stopped_early and reading.read < sampled:
        yield f"{name} read {reading.read} blocks; its samples come to {sampled} at least"


def _find_in_ranges(parts: Sequence[Range], blocks: int, name: str) -> Iterator[str]:
    for part in parts:
        if part.first < 0 or part.count < 1 or part.first + part.count > blocks:
            yield f"{name} hold {part.count} blocks at {part.first}, of {blocks}"
            return
    if sum(part.count for part in parts) != count_distinct(parts):
        yield f"{name} hold a block twice"


# ---- what follows ------------------------------------------------------------------------------


def _find_in_result(said: Result, found: Result) -> Iterator[str]:
    if said.achieved != found.achieved:
        yield (
            f"{said.achieved.category.value!r} is said to be achieved, by the rule"
            f" {said.achieved.rule.value!r}; from the facts follows {found.achieved.category.value!r}, by"
            f" {found.achieved.rule.value!r}"
        )
    if said.rule_text != found.rule_text:
        yield "the rule is not worded as it reads"
    if said.fulfilled != found.fulfilled:
        yield f"that what was asked for was met is said to be {said.fulfilled}; it is {found.fulfilled}"
    if _rounded(said.figures) != _rounded(found.figures) or not _is_near(said.figures, found.figures):
        yield f"the figures are {said.figures}; the facts come to {found.figures}"
    if said.limits != found.limits:
        yield "what the certificate does not say was changed"


def _rounded(figures: Figures | None) -> object:
    """Leave the chances out, whose last digit depends on the machine."""
    if figures is None:
        return None
    values = {name: getattr(figures, name) for name in Figures.__slots__ if name != "readings"}
    return values, [(one.read, one.blocks, one.share_ppm) for one in figures.readings]


def _is_near(said: Figures | None, found: Figures | None) -> bool:
    if said is None or found is None:
        return said is found
    return all(
        [entry.stray for entry in one.detections] == [entry.stray for entry in other.detections]
        and all(
            abs(a.found_ppb - b.found_ppb) <= 1 for a, b in zip(one.detections, other.detections, strict=True)
        )
        for one, other in zip(said.readings, found.readings, strict=True)
    )


# ---- what was said -----------------------------------------------------------------------------


def _find_in_persons(content: Content) -> Iterator[str]:
    said, category = content.particulars, content.result.achieved.category
    if content.outcome is not None and said.sanitized_by is None:
        yield "nobody is named who sanitized the drive"
    if category in {Category.CLEAR, Category.PURGE} and said.verified_by is None:
        yield f"{category.value} is claimed, and nobody is named who verified that"
    if content.outcome is None and said.destruction is None:
        yield "nothing was done to the drive: it was neither sanitized nor destroyed"


def _find_in_times(content: Content) -> Iterator[str]:
    said, outcome, issued = content.particulars, content.outcome, content.issued.time_ns
    for person, words in _persons(said):
        if person.time_ns > issued:
            yield f"{person.name!r} {words} after the certificate was issued"
    if outcome is None or content.result.achieved.category in {Category.NONE, Category.DESTROY}:
        return  # of a pass that failed the clock may be what was wrong
    if outcome.ended_ns > issued:
        yield "the certificate was issued before the sanitization ended"
    done, looked = said.sanitized_by, said.verified_by
    if done is not None and done.time_ns < outcome.started_ns:
        yield f"{done.name!r} sanitized the drive before that was begun"
    first = min((reading.started_ns for reading in outcome.verifications), default=outcome.started_ns)
    if looked is not None and looked.time_ns < first:
        yield f"{looked.name!r} verified the sanitization before the drive was read"
    if said.validation is not None and said.validation.person.time_ns < outcome.ended_ns:
        yield f"{said.validation.person.name!r} validated a result that was not there yet"


def _persons(said: Particulars) -> Iterator[tuple[Person, str]]:
    if said.sanitized_by is not None:
        yield said.sanitized_by, "sanitized the drive"
    if said.verified_by is not None:
        yield said.verified_by, "verified the sanitization"
    if said.validation is not None:
        yield said.validation.person, "validated the result"
    if said.destruction is not None:
        yield said.destruction.operator, "destroyed the drive"
        yield said.destruction.witness, "saw the drive destroyed"


def _find_other_drive(content: Content) -> Iterator[str]:
    serial, outcome = content.particulars.medium.serial, content.outcome
    if outcome is None or outcome.before is None or outcome.found(Fault.SWAPPED_DRIVE):
        return
    if outcome.before.serial != serial:
        yield (
            f"the certificate is of the drive {serial!r}, and {outcome.before.serial!r} is the one that was"
            " sanitized"
        )


def _find_in_evidence(content: Content) -> Iterator[str]:
    if content.replaces is not None and not _is_hash(content.replaces):
        yield "what it replaces is no digest of a certificate"
    evidence = content.evidence
    if evidence is None:
        return
    references = [entry for entry in (evidence.begun, evidence.ended) if entry is not None]
    numbers = [*(entry.number for entry in references), evidence.head.number]
    if not all(map(_is_hash, (evidence.head.chain, evidence.head.hash, *(e.hash for e in references)))):
        yield "a hash of the audit log is none"
    if numbers[0] < 1 or numbers != sorted(numbers) or len(set(numbers[:-1])) < len(numbers[:-1]):
        yield f"the records of the audit log come in the order {numbers}, which cannot be"


def _is_hash(text: str) -> bool:
    return len(text) == _HASH_DIGITS and not set(text) - set("0123456789abcdef")
