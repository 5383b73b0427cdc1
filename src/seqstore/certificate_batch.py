"""Many drives at once: one summary of their certificates, for programs and for people.

A summary is no certificate. It says what the certificates say, which of them hold, and which drives have
none; each line names the digest of the certificate that it is of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from seqstore.arguments import instance, items
from seqstore.certificate import Certificate
from seqstore.certificate_page import tell_size, tell_verdict
from seqstore.certificate_parts import Category
from seqstore.errors import EvidenceError
from seqstore.paper import Paper, Section, plain
from seqstore.values import to_values

if TYPE_CHECKING:
    from seqstore.signing import PublicKey

FORMAT, VERSION = "seqstore summary of certificates", 1
_TITLES = {
    Category.NONE: "Nothing achieved",
    Category.CLEAR: "Clear",
    Category.PURGE: "Purge",
    Category.DESTROY: "Destroyed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one certificate says, or why it counts for nothing.

    Attributes
    ----------
    serial, number, model : str
        The drive, and the number of the certificate.
    digest : str
        Of the certificate; empty for a drive that has none.
    capacity_bytes : int
        0 if unknown.
    technique, verification : str
        In words.
    requested, achieved : Category
    fulfilled : bool
    accepted : bool or None
        The organisation's decision; None if there is none.
    issued_ns : int
        In nanoseconds since 1970-01-01 UTC.
    problem : str
        Why the certificate does not hold; empty if it does.
    verdict : str
        How it stands, in words.
    """

    serial: str
    number: str = ""
    model: str = ""
    digest: str = ""
    capacity_bytes: int = 0
    technique: str = ""
    verification: str = ""
    requested: Category = Category.NONE
    achieved: Category = Category.NONE
    fulfilled: bool = False
    accepted: bool | None = None
    issued_ns: int = 0
    problem: str = ""
    verdict: str = ""

    @property
    def done(self) -> bool:
        """Whether what was asked for was achieved, and nobody refused it."""
        return self.fulfilled and not self.problem and self.accepted is not False


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All certificates of a batch.

    Attributes
    ----------
    entries : tuple of Entry
        In the order of the serial numbers; a certificate that was replaced is left out.
    verified_with : str
        Fingerprint of the key that the certificates were verified with; empty: signatures were not looked at.
    """

    entries: tuple[Entry, ...]
    verified_with: str

    @property
    def done(self) -> bool:
        """Whether there are drives, and all of them are done."""
        return bool(self.entries) and all(entry.done for entry in self.entries)

    def to_document(self) -> dict[str, Any]:
        """Return it as values for JSON."""
        achieved = Counter(entry.achieved.value for entry in self.entries)
        return {
            "format": FORMAT,
            "version": VERSION,
            "verified_with": self.verified_with,
            "drives": len(self.entries),
            "done": sum(entry.done for entry in self.entries),
            "achieved": {category.value: achieved[category.value] for category in Category},
            "entries": [to_values(entry) for entry in self.entries],
        }


def summarize(
    certificates: Iterable[Certificate], *, key: PublicKey | None = None, expected: Sequence[str] = ()
) -> Summary:
    """Put the certificates of a batch together.

    Parameters
    ----------
    certificates : iterable of Certificate
        Those that others replace may be among them.
    key : PublicKey, optional
        To verify all of them with; without one their signatures are not looked at.
    expected : sequence of str
        Serial numbers of all drives of the batch: one without a certificate is listed, and not done.
    """
    given, expected = items(certificates, "certificates"), items(expected, "expected")
    by_digest = {instance(one, Certificate, "each of certificates").digest: one for one in given}
    replaced = {certificate.content.replaces for certificate in by_digest.values()}
    valid = [certificate for digest, certificate in by_digest.items() if digest not in replaced]
    entries = [_enter(certificate, key) for certificate in valid]
    count = Counter(entry.serial for entry in entries)
    entries = [
        replace(entry, problem="there are several certificates of this drive, none of which replaces another")
        if count[entry.serial] > 1 and not entry.problem
        else entry
        for entry in entries
    ]
    missing = sorted(
        {instance(serial, str, "each of expected") for serial in expected}
        - {entry.serial for entry in entries}
    )
    entries += [
        Entry(serial=serial, problem="there is no certificate", verdict="No certificate")
        for serial in missing
    ]
    entries.sort(key=lambda entry: (entry.serial, entry.digest))
    return Summary(entries=tuple(entries), verified_with="" if key is None else key.fingerprint)


def make_paper(summary: Summary, *, title: str = "Sanitization of a batch of drives") -> Paper:
    """Return what is shown of a summary."""
    entries = summary.entries
    done = sum(entry.done for entry in entries)
    achieved = Counter(entry.achieved for entry in entries)
    left = len(entries) - done
    count = f"{done} of {len(entries)}"
    verdict = f"All drives are done, {count}" if summary.done else f"{count} drives are done"
    explanation = (
        "Of each, what was asked for was achieved."
        if summary.done
        else f"{left} are not; do not release them."
    )
    signatures = (
        f"verified with key {summary.verified_with}" if summary.verified_with else "not verified here"
    )
    caution = (
        ""
        if summary.verified_with
        else "NOT VERIFIED: anybody can have made these certificates. With the public key of whoever is said"
        " to have signed them the signatures can be checked."
    )
    facts = (
        ("Drives", f"{len(entries)}"),
        *((_TITLES[category], f"{achieved[category]}") for category in Category if achieved[category]),
        ("Capacity", tell_size(sum(entry.capacity_bytes for entry in entries))),
        ("Signatures", signatures),
    )
    bad = tuple(
        f"{plain(entry.serial)}: {plain(entry.problem or entry.verdict)}"
        for entry in entries
        if not entry.done
    )
    columns = (
        "serial number",
        "model",
        "capacity",
        "technique",
        "verification",
        "asked for",
        "achieved",
        "done",
    )
    table = Section(
        title="Drives",
        columns=columns,
        rows=tuple(map(_row, entries)),
        marked=frozenset(number for number, entry in enumerate(entries) if not entry.done),
    )
    digests = Section(
        title="Certificates",
        columns=("serial number", "number", "SHA-256"),
        rows=tuple(
            (plain(entry.serial), plain(entry.number), entry.digest) for entry in entries if entry.digest
        ),
    )
    sections = [Section(title="In all", facts=facts, sentences=bad), table]
    return Paper(
        title=title,
        standing="complete" if summary.done else "failed" if not done else "open",
        verdict=verdict,
        explanation=explanation,
        caution=caution,
        sections=tuple([*sections, digests] if digests.rows else sections),
        footer="What counts are the signed certificates, not this summary of them.",
    )


def _enter(certificate: Certificate, key: PublicKey | None) -> Entry:
    problem = ""
    try:
        if key is None:
            certificate.check()
        else:
            certificate.verify(key)
    except EvidenceError as error:
        problem = str(error)
    content = certificate.content
    said, outcome, figures = content.particulars, content.outcome, content.result.figures
    readings = (
        ()
        if outcome is None or figures is None
        else zip(outcome.verifications, figures.readings, strict=False)
    )
    return Entry(
        serial=said.medium.serial,
        number=said.number,
        model=" ".join(filter(None, (said.medium.manufacturer, said.medium.model))),
        digest=certificate.digest,
        capacity_bytes=0 if figures is None else figures.capacity_bytes,
        technique="none" if outcome is None else outcome.technique.name,
        verification=", ".join(f"{one.method} {figure.share_ppm / 10_000:.4g} %" for one, figure in readings),
        requested=said.requested,
        # What a certificate says that does not hold is not repeated here.
        achieved=Category.NONE if problem else certificate.category,
        fulfilled=certificate.fulfilled and not problem,
        accepted=certificate.accepted,
        issued_ns=content.issued.time_ns,
        problem=problem,
        verdict="The certificate does not hold" if problem else ": ".join(tell_verdict(content)[1:]),
    )


def _row(entry: Entry) -> tuple[str, ...]:
    refused = ", refused" if entry.accepted is False else ""
    size = tell_size(entry.capacity_bytes).partition(" (")[0] if entry.capacity_bytes else ""
    return (
        plain(entry.serial),
        plain(entry.model),
        size,
        plain(entry.technique),
        plain(entry.verification),
        entry.requested.value if entry.digest else "",
        entry.achieved.value + refused,
        "yes" if entry.done else "NO",
    )
