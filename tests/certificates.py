"""Sanitizations as values, for tests of certificates: one that went well, and anything else."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import strategies as st

from seqstore.certificate import Certificate
from seqstore.certificate_content import Content, Issued, conclude
from seqstore.certificate_parts import (
    Category,
    Confidentiality,
    Destination,
    DestinationKind,
    Destruction,
    MediumFacts,
    Particulars,
    Person,
    Source,
)
from seqstore.sanitize.result import (
    Area,
    AreaResult,
    DriveIdentity,
    Fault,
    PassResult,
    Problem,
    Range,
    SanitizationOutcome,
    Step,
    Technique,
    Verification,
)
from seqstore.signing import SigningKey

BLOCKS, BLOCK = 20_000, 512
START = 1_780_000_000_000_000_000
SECOND = 1_000_000_000
SERIAL = "ZX-0042"

ZERO = Technique.zero().steps[0]
LATER = Issued(time_ns=START + 1000 * SECOND, actor="carol")

DRIVE = DriveIdentity(
    serial=SERIAL, vendor="Example", model="EX-10", media_type="hdd", blocks=BLOCKS, block_size=BLOCK
)


def good_pass(number: int, step: Step, **changes: Any) -> PassResult:
    """Return a pass that wrote every block; each takes ten seconds."""
    blocks = BLOCKS if step.method.overwrites else 0
    values: dict[str, Any] = {
        "number": number,
        "step": step,
        "started_ns": START + (number - 1) * 10 * SECOND,
        "ended_ns": START + number * 10 * SECOND,
        "active_ns": 10 * SECOND,
        "blocks": blocks,
        "block_size": BLOCK,
        "overwritten": blocks,
        "complete": True,
    }
    return PassResult(**{**values, **changes})


def full_reading(expected: Step, **changes: Any) -> Verification:
    """Return a verification that read everything and found what it should."""
    values: dict[str, Any] = {
        "method": "full",
        "verifier": "core",
        "expected": expected,
        "blocks": BLOCKS,
        "block_size": BLOCK,
        "read": BLOCKS,
        "past_caches": "direct",
        "started_ns": START + 60 * SECOND,
        "ended_ns": START + 70 * SECOND,
    }
    return Verification(**{**values, **changes})


def sampling(expected: Step, **changes: Any) -> Verification:
    """Return a verification that read two samples of each of a thousand parts."""
    values = {
        "method": "sampling",
        "read": 2002,
        "subsections": 1000,
        "sample_blocks": 1,
        "seed": b"\x07" * 8,
    }
    return full_reading(expected, **{**values, **changes})


def good_outcome(technique: Technique | None = None, **changes: Any) -> SanitizationOutcome:
    """Return a sanitization in which all went well, but for `changes`."""
    technique = technique or Technique.zero()
    expected = technique.expected
    values: dict[str, Any] = {
        "technique": technique,
        "before": DRIVE,
        "after": DRIVE,
        "passes": tuple(good_pass(number, step) for number, step in enumerate(technique.steps, 1)),
        "verifications": () if expected is None else (full_reading(expected),),
        "started_ns": START,
        "ended_ns": START + 80 * SECOND,
        "version": "0.1.0",
    }
    return SanitizationOutcome(**{**values, **changes})


def bad_blocks() -> SanitizationOutcome:
    """Return one that could not write seven blocks, in two ranges."""
    ranges = (Range(first=100, count=5, reason="Input/output error"), Range(first=9000, count=2))
    part = good_pass(
        1, Step(method=Technique.zero().steps[0].method), unreachable=ranges, overwritten=BLOCKS - 7
    )
    problem = Problem(fault=Fault.BAD_BLOCKS, text="7 blocks could not be written")
    return good_outcome(passes=(part,), problems=(problem,))


def person(name: str, role: str = "technician", *, seconds: int = 90) -> Person:
    """Return somebody who did something, so many seconds after the sanitization began."""
    return Person(
        name=name,
        role=role,
        organization="Contoso",
        place="Ghent, hall 3",
        contact=f"{name.partition(' ')[0].lower()}@contoso.example",
        time_ns=START + seconds * SECOND,
    )


def particulars(**changes: Any) -> Particulars:
    """Return what is said of the drive of this module, but for `changes`."""
    values: dict[str, Any] = {
        "number": "2026-0117",
        "medium": MediumFacts(
            manufacturer="Example",
            model="EX-10",
            serial=SERIAL,
            property_number="INV-7731",
            media_type="hdd",
            geometry="20000 sectors of 512 bytes",
        ),
        "source": Source(store="lab.store", drive=2, slot="rack 4, bay 11", state="evacuated"),
        "confidentiality": Confidentiality(before="restricted", after="public"),
        "sanitized_by": person("Ada Byron"),
        "verified_by": person("Grace Murray", "auditor"),
        "destination": Destination(kind=DestinationKind.MANUFACTURER, details="RMA 5512"),
    }
    return Particulars(**{**values, **changes})


def issue(
    outcome: SanitizationOutcome | None = None, key: SigningKey | None = None, **changes: Any
) -> Certificate:
    """Issue a certificate of an outcome, by default of a good one."""
    return Certificate.issue(
        particulars(**changes),
        outcome or good_outcome(),
        issued=Issued(time_ns=START + 100 * SECOND, actor="alice"),
        key=key,
    )


def make_content(outcome: SanitizationOutcome, **changes: Any) -> Content:
    """Return what a certificate of an outcome says, whether it can be issued or not."""
    said = particulars(**changes)
    return Content(
        issued=Issued(time_ns=START + 100 * SECOND, actor="alice"),
        particulars=said,
        outcome=outcome,
        result=conclude(said, outcome),
        evidence=None,
        replaces=None,
    )


# ---- anything else -----------------------------------------------------------------------------

TECHNIQUES = (
    Technique.zero(),
    Technique.ones(),
    Technique.zero() + Technique.ones(),
    Technique.random(b"\x01" * 32),
    Technique.cryptographic(),
    Technique.cryptographic() + Technique.zero(),
    Technique.command(),
    Technique.zero() + Technique.command(),
)
MEDIA = ("hdd", "ssd", "nvme", "usb", "file", "memory", "simulated", "hybrid", "tape", "")

_SMALL = st.integers(0, 3)
_RANGES = st.lists(
    st.builds(Range, first=st.integers(0, BLOCKS), count=_SMALL, area=st.sampled_from(Area)), max_size=2
).map(tuple)
_BLOCKS = st.sampled_from((0, 1, BLOCKS // 2, BLOCKS - 1, BLOCKS, BLOCKS + 1))
_TIMES = st.integers(0, 80).map(lambda seconds: START + seconds * SECOND)
_DRIVES = st.sampled_from(
    (
        DRIVE,
        dataclasses.replace(DRIVE, serial="other"),
        dataclasses.replace(DRIVE, blocks=BLOCKS + 1),
        dataclasses.replace(DRIVE, media_type="ssd"),
        dataclasses.replace(DRIVE, media_type=""),
        None,
    )
)
_PROBLEMS = st.lists(st.builds(Problem, fault=st.sampled_from(Fault), text=st.just("so it was")), max_size=1)
_AREAS = st.lists(
    st.builds(
        AreaResult,
        area=st.sampled_from(Area),
        blocks=st.just(8),
        reached_by=st.sampled_from(("overwrite", "command", "keys", "nothing")),
        read_back=st.sampled_from((0, 8)),
        mismatches=_RANGES,
        unreachable=_RANGES,
    ),
    max_size=2,
)


def _changed(draw: st.DrawFn, value: Any, changes: dict[str, st.SearchStrategy[Any]]) -> Any:
    """Change a few fields of a value, often none."""
    names = draw(st.lists(st.sampled_from(sorted(changes)), max_size=2, unique=True))
    return dataclasses.replace(value, **{name: draw(changes[name]) for name in names})


@st.composite
def outcomes(draw: st.DrawFn) -> SanitizationOutcome:
    """Return a good outcome of which a few things were changed, to what can and to what cannot be."""
    technique = draw(st.sampled_from(TECHNIQUES))
    outcome = good_outcome(technique)
    passes = [
        _changed(
            draw,
            part,
            {
                "complete": st.booleans(),
                "overwritten": _BLOCKS,
                "blocks": _BLOCKS,
                "unreachable": _RANGES,
                "ended_ns": _TIMES,
                "step": st.sampled_from([step for other in TECHNIQUES for step in other.steps]),
            },
        )
        for part in outcome.passes
    ]
    readings = [
        _changed(
            draw,
            draw(st.sampled_from((reading, sampling(reading.expected)))),
            {
                "read": _BLOCKS,
                "blocks": _BLOCKS.filter(bool),
                "mismatches": _SMALL,
                "first_mismatches": _RANGES,
                "read_errors": _RANGES,
                "stopped_early": st.booleans(),
                "past_caches": st.sampled_from(("", "direct")),
                "subsections": st.sampled_from((0, 999, 1000)),
                "seed": st.sampled_from((b"", b"seed")),
                "method": st.sampled_from(("full", "sampling", "quick")),
                "started_ns": _TIMES,
                "expected": st.sampled_from([step for other in TECHNIQUES for step in other.steps]),
            },
        )
        for reading in outcome.verifications
    ]
    whole = dataclasses.replace(outcome, passes=tuple(passes), verifications=tuple(readings))
    changed: SanitizationOutcome = _changed(
        draw,
        whole,
        {
            "before": _DRIVES,
            "after": _DRIVES,
            "areas": _AREAS.map(tuple),
            "problems": _PROBLEMS.map(tuple),
            "lies": st.sampled_from(((), ("it said that it erased",))),
            "passes": st.just(tuple(passes[:-1])),
            "verifications": st.just(()),
            "started_ns": _TIMES,
            "ended_ns": _TIMES,
        },
    )
    return changed


CLAIMS = (Category.CLEAR, Category.PURGE)


def destroyed(key: SigningKey | None = None) -> Certificate:
    """Return the certificate of a drive that was shredded without a pass."""
    end = Destruction(
        operator=person("Ada Byron"), witness=person("Grace Murray"), how="shredded", reason="it was dead"
    )
    said = particulars(sanitized_by=None, verified_by=None, destruction=end)
    return Certificate.issue(said, None, issued=LATER, key=key)
