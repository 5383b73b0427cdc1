"""Certificates of sanitization for people: one paper, which is shown as text, as an HTML page or as PDF."""

from __future__ import annotations

from collections.abc import Iterator

from seqstore.arguments import instance
from seqstore.certificate import Certificate
from seqstore.certificate_content import BILLION, Content, Figures, Reading
from seqstore.certificate_parts import Category, Particulars, Person
from seqstore.paper import Fact, Paper, Section, Standing, plain, tell_caution, tell_time, to_html, to_text
from seqstore.sanitize.result import (
    AreaResult,
    PassResult,
    Range,
    SanitizationOutcome,
    Step,
    Technique,
    Verification,
)

Facts = tuple[Fact, ...]

_MOST_RANGES = 200  # on a page; all of them stand in the JSON text
_MOST_SEED_DIGITS = 16
_NS = 1_000_000_000
_UNITS = (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
_READ = {"full": "every block", "sampling": "samples"}
_VERIFIERS = {"core": "the program that wrote", "python": "a second, independent one"}
_PAST_CACHES = {
    "": "not known",
    "direct": "yes, by direct transfers",
    "dropped": "yes, it was emptied first",
    "memory": "yes, there is none",
    "power-cycle": "yes, after a power cycle",
}
_METHODS = {
    Category.NONE: "nothing",
    Category.CLEAR: "clear",
    Category.PURGE: "purge",
    Category.DESTROY: "destroy",
}


def make_paper(certificate: Certificate, *, verified: str | None = None) -> Paper:
    """Return what is shown of a certificate.

    Parameters
    ----------
    certificate : Certificate
        A sound one: `Certificate.check` returns.
    verified : str, optional
        Fingerprint of the key that it was verified with.
    """
    content = instance(certificate, Certificate, "certificate", "Certificate.from_json(text)").content
    standing, verdict, explanation = tell_verdict(content)
    medium = content.particulars.medium
    return Paper(
        title=f"Certificate of sanitization: {_name(medium.manufacturer, medium.model, medium.serial)}",
        standing=standing,
        verdict=verdict,
        explanation=" ".join(filter(None, (explanation, _tell_work(content)))),
        subtitle=_subtitle(content),
        caution=tell_caution(
            "certificate", is_signed=certificate.sealed.signature is not None, verified=verified
        ),
        sections=tuple(_sections(certificate, verified)),
        footer=(
            f"SHA-256 of the certificate: {certificate.digest}. What counts is the signed JSON text, not this"
            " rendering of it."
        ),
    )


def render_text(certificate: Certificate, *, verified: str | None = None, width: int | None = None) -> str:
    """Return a certificate as text; parameters as in `make_paper` and `seqstore.paper.to_text`."""
    return to_text(make_paper(certificate, verified=verified), width=width)


def render_html(certificate: Certificate, *, verified: str | None = None) -> str:
    """Return a certificate as an HTML page; parameters as in `make_paper`."""
    return to_html(make_paper(certificate, verified=verified))


def tell_verdict(content: Content) -> tuple[Standing, str, str]:
    """Say whether what was asked for was achieved, in a line, and why, in another one."""
    result, said = content.result, content.particulars
    achieved, requested = result.achieved, said.requested.value
    why = result.rule_text
    if achieved.category is Category.NONE:
        reasons = "; ".join(plain(reason) for reason in achieved.reasons[:3])
        return "failed", "Not sanitized", f"{why} ({reasons})"
    words = (
        "Destroyed"
        if achieved.category is Category.DESTROY
        else f"{achieved.category.value.title()} achieved"
    )
    if not result.fulfilled:
        return "open", f"{words}, {requested} was asked for", why
    if said.validation is not None and not said.validation.accepted:
        return "open", f"{words}, and not accepted by the organisation", why
    return "complete", words, why


def _subtitle(content: Content) -> str:
    number = plain(content.particulars.number)
    issued = f"ssued {tell_time(content.issued.time_ns)} by {plain(content.issued.actor)}"
    return f"Number {number}, i{issued}" if number else f"I{issued}"


def _tell_work(content: Content) -> str:
    """Say in a sentence how much was written and read, where that is what the claim rests on."""
    outcome, figures = content.outcome, content.result.figures
    if outcome is None or figures is None or content.result.achieved.category is Category.NONE:
        return ""
    wrote = [part for part in outcome.passes if part.blocks]
    times = f" {len(wrote)} times" if len(wrote) > 1 else ""
    work = f"All {wrote[-1].overwritten:,} blocks were overwritten{times}" if wrote else ""
    full = any(reading.read == reading.blocks for reading in outcome.verifications)
    most = max((reading.read for reading in outcome.verifications), default=0)
    looked = "all of them read back" if full and wrote else "all blocks were read back" if full else ""
    if most and not full:
        looked = f"{most:,} read back, chosen by chance"
    return " and ".join(filter(None, (work, looked))) + "." if work or looked else ""


def tell_size(count: int) -> str:
    """Write a number of bytes with its largest unit, and exactly."""
    for unit, size in _UNITS:
        if count >= size:
            return f"{count / size:.4g} {unit} ({count:,} bytes)"
    return f"{count:,} bytes"


# ---- sections ----------------------------------------------------------------------------------


def _sections(certificate: Certificate, verified: str | None) -> Iterator[Section]:
    content = certificate.content
    said, outcome, figures = content.particulars, content.outcome, content.result.figures
    yield Section(title="Drive", facts=_known(_drive(said, outcome)))
    yield _method(content)
    if outcome is not None and figures is not None:
        yield _passes(outcome, figures)
        if outcome.areas:
            yield _areas(outcome.areas)
        yield _verifications(outcome.verifications, figures.readings)
        yield from _unreachable(outcome, figures)
    yield _persons(said)
    if content.result.limits:
        yield Section(title="What this does not say", sentences=content.result.limits)
    yield Section(title="Origin and signature", facts=_known(_origin(certificate, verified)))


def _known(facts: Iterator[tuple[str, str]]) -> Facts:
    return tuple((name, plain(value)) for name, value in facts if value)


def _drive(said: Particulars, outcome: SanitizationOutcome | None) -> Iterator[tuple[str, str]]:
    medium, source, label = said.medium, said.source, said.confidentiality
    yield "Manufacturer", medium.manufacturer
    yield "Model", medium.model
    yield "Serial number", medium.serial
    yield "Property number", medium.property_number
    yield "Media type", medium.media_type
    drive = None if outcome is None else outcome.before
    if drive is not None:
        size = f"{drive.blocks:,} blocks of {drive.block_size:,} bytes"
        yield "Capacity", f"{tell_size(drive.capacity)}, {size}"
        yield "As it reports itself", _name(drive.vendor, drive.model, drive.serial, drive.media_type)
    yield "Geometry", medium.geometry
    number = "" if source.drive is None else f"drive {source.drive}"
    yield "Source", ", ".join(filter(None, (source.store, number, source.slot, source.state)))
    yield "Confidentiality before", label.before
    yield "Confidentiality after", label.after
    yield "Destination", ", ".join(filter(None, (said.destination.kind.value, said.destination.details)))
    yield "Remarks", said.remarks


def _method(content: Content) -> Section:
    said, result = content.particulars, content.result
    facts = [
        ("Asked for", _METHODS[said.requested]),
        ("Achieved", _METHODS[result.achieved.category]),
        ("Deciding rule", f"{result.rule_text} ({result.achieved.rule.value})"),
        ("Terms follow", said.profile.citation),
    ]
    if said.destruction is not None:
        facts += [
            ("How destroyed", plain(said.destruction.how)),
            ("Why destroyed", plain(said.destruction.reason)),
        ]
    vouched = [
        f"{plain(entry.said_by)} vouches for: {entry.kind.value} ({plain(entry.reference)})"
        for entry in said.assurances
    ]
    against = [plain(reason) for reason in result.achieved.reasons]
    return Section(title="Method", facts=tuple(facts), sentences=(*against, *vouched))


def _passes(outcome: SanitizationOutcome, figures: Figures) -> Section:
    return Section(
        title="What was done",
        facts=(
            ("Technique", tell_technique(outcome.technique)),
            ("Tool", plain(f"{outcome.tool} {outcome.version}")),
            ("Begun", tell_time(outcome.started_ns)),
            ("Ended", tell_time(outcome.ended_ns)),
            ("Rate", f"{_short_size(figures.bytes_per_second)}/s"),
            ("Time spent writing", _duration(figures.active_ns)),
            ("Retries", f"{figures.retries:,}"),
            ("Interruptions", f"{figures.resumptions}" if figures.resumptions else "none"),
        ),
        columns=("pass", "method", "blocks overwritten", "of", "unreachable", "duration", "completed"),
        rows=tuple(map(_pass_row, outcome.passes)),
        marked=frozenset(
            index for index, part in enumerate(outcome.passes) if part.unreachable or not part.complete
        ),
    )


def tell_technique(technique: Technique) -> str:
    """Write a technique with its steps; the key of a random one is not shown as a whole."""
    steps = ", then ".join(map(_step, technique.steps))
    return steps if len(technique.steps) == 1 else f"{plain(technique.name)}: {steps}"


def _step(step: Step) -> str:
    if step.seed:
        return f"{step.method.value} (seed {step.seed.hex()[:_MOST_SEED_DIGITS]}\u2026)"
    if step.pattern:
        digits = step.pattern.hex()
        more = "\u2026" if len(digits) > _MOST_SEED_DIGITS else ""
        return f"{step.method.value} {digits[:_MOST_SEED_DIGITS]}{more}"
    return step.method.value


def _pass_row(part: PassResult) -> tuple[str, ...]:
    end = "yes" if part.complete else "NO"
    if part.detail:
        end += f", {plain(part.detail)}"
    return (
        str(part.number),
        part.step.method.value,
        f"{part.overwritten:,}",
        f"{part.blocks:,}",
        f"{part.unreachable_blocks:,}",
        _duration(part.active_ns),
        end,
    )


def _areas(areas: tuple[AreaResult, ...]) -> Section:
    rows = tuple(
        (
            area.area.value,
            f"{area.blocks:,}",
            plain(area.reached_by),
            f"{area.read_back:,}",
            f"{sum(part.count for part in area.mismatches):,}",
            f"{sum(part.count for part in area.unreachable):,}",
        )
        for area in areas
    )
    return Section(
        title="Hidden places that the drive admits to",
        columns=("place", "blocks", "reached by", "blocks read back", "held other data", "unreachable"),
        rows=rows,
        marked=frozenset(index for index, area in enumerate(areas) if not area.clean),
    )


def _verifications(readings: tuple[Verification, ...], figures: tuple[Reading, ...]) -> Section:
    if not readings:
        return Section(title="Verification", sentences=("Nobody read the drive afterwards.",))
    sentences = [
        sentence
        for reading, figure in zip(readings, figures, strict=True)
        for sentence in _chances(reading, figure)
    ]
    return Section(
        title="Verification",
        columns=(
            "what was read",
            "by",
            "blocks read",
            "of",
            "share",
            "other data",
            "unreadable",
            "past the cache",
        ),
        rows=tuple(_reading_row(*pair) for pair in zip(readings, figures, strict=True)),
        marked=frozenset(index for index, reading in enumerate(readings) if not reading.clean),
        sentences=tuple(sentences),
    )


def _reading_row(reading: Verification, figure: Reading) -> tuple[str, ...]:
    return (
        _READ.get(reading.method, plain(reading.method))
        + (", stopped early" if reading.stopped_early else ""),
        _VERIFIERS.get(reading.verifier, plain(reading.verifier)),
        f"{reading.read:,}",
        f"{reading.blocks:,}",
        f"{figure.share_ppm / 10_000:.6g} %",
        f"{reading.mismatches:,}",
        f"{sum(part.count for part in reading.read_errors):,}",
        _PAST_CACHES.get(reading.past_caches, plain(reading.past_caches)),
    )


def _chances(reading: Verification, figure: Reading) -> Iterator[str]:
    """Say what a sample would have found; of a full reading there is nothing to say."""
    if reading.read == reading.blocks:
        return
    yield (
        f"{reading.subsections:,} equal parts, two samples in each, of {reading.sample_blocks:,} blocks or"
        f" more, seed {reading.seed.hex() or 'none'}."
    )
    chances = ", ".join(f"{one.stray:,}: {_chance(one.found_ppb)}" for one in figure.detections)
    yield f"Chance to find so many blocks that escaped, at places left to chance: {chances}."


def _chance(found_ppb: int) -> str:
    """Write a chance in per cent, never one that is less than certain as if it were."""
    percent = found_ppb * 100 / BILLION
    return f"{percent:.4g} %" if percent <= 99.99 else "over 99.99 %"


def _unreachable(outcome: SanitizationOutcome, figures: Figures) -> Iterator[Section]:
    ranges: list[tuple[str, Range]] = [
        (f"pass {part.number}", entry) for part in outcome.passes for entry in part.unreachable
    ]
    ranges += [("hidden", entry) for area in outcome.areas for entry in area.unreachable]
    ranges += [("reading", entry) for reading in outcome.verifications for entry in reading.read_errors]
    ranges += [("mismatch", entry) for reading in outcome.verifications for entry in reading.first_mismatches]
    if not ranges:
        return
    rows = tuple(
        (when, entry.area.value, f"{entry.first:,}", f"{entry.count:,}", plain(entry.reason))
        for when, entry in ranges[:_MOST_RANGES]
    )
    left_out = len(ranges) - len(rows)
    yield Section(
        title="Ranges that were not overwritten, not readable, or held something else",
        facts=(
            (
                "Not overwritten",
                f"{figures.unreachable_blocks:,} blocks, {tell_size(figures.unreachable_bytes)}",
            ),
        ),
        columns=("when", "place", "first block", "blocks", "what was said"),
        rows=rows,
        sentences=(f"{left_out:,} further ranges stand in the JSON text.",) if left_out else (),
    )


def _persons(said: Particulars) -> Section:
    rows: list[tuple[str, ...]] = []
    if said.sanitized_by is not None:
        rows.append(_person("sanitization", said.sanitized_by))
    if said.verified_by is not None:
        rows.append(_person("verification", said.verified_by))
    if said.validation is not None:
        word = "accepted" if said.validation.accepted else "NOT accepted"
        rows.append(_person(f"validation: {word}", said.validation.person))
    if said.destruction is not None:
        rows.append(_person("destruction", said.destruction.operator))
        rows.append(_person("witness", said.destruction.witness))
    remarks = "" if said.validation is None else plain(said.validation.remarks)
    return Section(
        title="Persons",
        begins_second_half=True,
        columns=("task", "name", "role", "organisation", "place", "contact", "when"),
        rows=tuple(rows),
        sentences=(f"Validation: {remarks}",) if remarks else (),
    )


def _person(task: str, person: Person) -> tuple[str, ...]:
    texts = (person.name, person.role, person.organization, person.place, person.contact)
    return (task, *(plain(text) for text in texts), tell_time(person.time_ns))


def _origin(certificate: Certificate, verified: str | None) -> Iterator[tuple[str, str]]:
    content, sealed = certificate.content, certificate.sealed
    yield "Replaces", content.replaces or ""
    evidence = content.evidence
    if evidence is not None:
        yield "Audit log", f"{evidence.head.chain}, up to record {evidence.head.number}"
        for name, entry in (("Begun", evidence.begun), ("Ended", evidence.ended)):
            yield name, "" if entry is None else f"record {entry.number}, {entry.hash}"
    yield "Signed by", "nobody" if sealed.fingerprint is None else f"key {sealed.fingerprint}"
    yield "Signature", _signature(sealed.fingerprint, verified)


def _signature(signer: str | None, verified: str | None) -> str:
    if verified is None:
        return "not verified here"
    return "verified with this key" if verified == signer else f"verified with key {verified}"


def _short_size(count: int) -> str:
    return tell_size(count).partition(" (")[0]


def _name(*parts: str) -> str:
    return plain(" ".join(filter(None, parts)))


def _duration(time_ns: int) -> str:
    seconds = time_ns / _NS
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min {rest:02} s" if hours else f"{minutes} min {rest:02} s"
