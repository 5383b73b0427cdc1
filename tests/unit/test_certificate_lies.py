"""Certificates that were changed: what shows by itself, even where the liar holds the key and signs again."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqstore import CertificateError, FormatError, SignatureError
from seqstore.certificate import Certificate
from seqstore.certificate_check import read_content
from seqstore.certificate_content import conclude
from seqstore.certificate_page import render_html, render_text
from seqstore.sanitize.result import Area, AreaResult, Range, Technique
from seqstore.signing import Sealed, SigningKey
from seqstore.values import to_values
from tests.certificates import (
    BLOCKS,
    START,
    bad_blocks,
    full_reading,
    good_outcome,
    issue,
    outcomes,
    sampling,
)

pytest.importorskip("cryptography")

Document = dict[str, Any]
ZERO = Technique.zero().steps[0]
HIDDEN = good_outcome(
    areas=(
        AreaResult(
            area=Area.SPARE,
            blocks=16,
            reached_by="command",
            read_back=16,
            mismatches=(Range(first=3, count=2, area=Area.SPARE),),
        ),
    )
)
FOUND = good_outcome(
    verifications=(full_reading(ZERO, mismatches=3, first_mismatches=(Range(first=7, count=3),)),)
)


def settle(document: Document) -> None:
    """Let the conclusions follow from the changed facts, as a clever liar does."""
    content = read_content(document)
    document["result"] = to_values(conclude(content.particulars, content.outcome))


def sign(document: Document, key: SigningKey) -> Certificate:
    return Certificate.from_json(Sealed.make(document, key).to_json())


def first_pass(document: Document) -> Document:
    found: Document = document["outcome"]["passes"][0]
    return found


def reading(document: Document) -> Document:
    found: Document = document["outcome"]["verifications"][0]
    return found


# Changes of a failure into a success, or a better one: the conclusions were adapted, the text signed again.
LIES: dict[str, Callable[[Document], object]] = {
    "all ranges are dropped": lambda d: first_pass(d).update(unreachable=[]),
    "one range is dropped": lambda d: first_pass(d)["unreachable"].pop(),
    "a range is shorter": lambda d: first_pass(d)["unreachable"][0].update(count=1),
    "a range is there twice": lambda d: first_pass(d)["unreachable"].append(first_pass(d)["unreachable"][0]),
    "a range is beyond the drive": lambda d: first_pass(d)["unreachable"][0].update(first=BLOCKS),
    "a range is empty": lambda d: first_pass(d)["unreachable"][0].update(count=0),
    "more was overwritten": lambda d: first_pass(d).update(overwritten=BLOCKS),
    "more than all was overwritten": lambda d: first_pass(d).update(overwritten=BLOCKS + 7),
    "the pass has another place": lambda d: first_pass(d).update(number=2),
    "time ran backwards": lambda d: first_pass(d).update(active_ns=-1),
    "less than none was retried": lambda d: first_pass(d).update(retries=-1),
    "it was resumed less often than a step": lambda d: first_pass(d).update(resumptions=4),
    "the drive has no blocks": lambda d: d["outcome"]["before"].update(blocks=0),
    "read more than there is": lambda d: reading(d).update(read=BLOCKS + 1),
    "found more than was read": lambda d: reading(d).update(mismatches=BLOCKS + 1),
    "found without a place": lambda d: reading(d).update(mismatches=2),
    "a full one with samples": lambda d: reading(d).update(subsections=1000, sample_blocks=2),
    "a full one with a seed": lambda d: reading(d).update(seed="ab"),
    "samples that were not read": lambda d: reading(d).update(
        method="sampling", subsections=1000, sample_blocks=11, seed="ab"
    ),
    "a read error beyond the drive": lambda d: reading(d)["read_errors"].append(
        {"first": BLOCKS, "count": 1, "area": "user", "reason": ""}
    ),
    "of another drive": lambda d: d["particulars"]["medium"].update(serial="ZX-0043"),
    "another drive was sanitized": lambda d: [
        d["outcome"][when].update(serial="ZX-0043") for when in ("before", "after")
    ],
    "it replaces nothing": lambda d: d.update(replaces="the other one"),
    "nobody sanitized it": lambda d: d["particulars"].update(sanitized_by=None),
    "verified in the future": lambda d: d["particulars"]["verified_by"].update(time_ns=START * 2),
    "a log that cannot be": lambda d: d.update(
        evidence={
            "head": {"chain": "0" * 64, "number": 3, "hash": "0" * 64},
            "begun": {"number": 2, "hash": "0" * 64},
            "ended": {"number": 1, "hash": "0" * 64},
        }
    ),
    "a log without hashes": lambda d: d.update(
        evidence={"head": {"chain": "x", "number": 3, "hash": "y"}, "begun": None, "ended": None}
    ),
}
# Changes of what follows, where the facts were left as they are.
CONCLUSIONS: dict[str, Callable[[Document], object]] = {
    "a better category": lambda d: d["result"]["achieved"].update(category="purge"),
    "another rule": lambda d: d["result"]["achieved"].update(rule="cryptographic-erase"),
    "another text of the rule": lambda d: d["result"].update(rule_text="All is well."),
    "reasons are dropped": lambda d: d["result"]["achieved"].update(reasons=["it was Tuesday"]),
    "what was asked for was met": lambda d: d["result"].update(fulfilled=not d["result"]["fulfilled"]),
    "a limit is dropped": lambda d: d["result"]["limits"].pop(),
    "a limit is added": lambda d: d["result"]["limits"].append("It was NIST approved."),
    "fewer bytes out of reach": lambda d: d["result"]["figures"].update(unreachable_bytes=1),
    "a better rate": lambda d: d["result"]["figures"].update(bytes_per_second=10**12),
    "more was read": lambda d: d["result"]["figures"]["readings"][0].update(share_ppm=999_999),
    "more would have been found": lambda d: d["result"]["figures"]["readings"][0]["detections"][0].update(
        found_ppb=5
    ),
    "a chance of something else": lambda d: d["result"]["figures"]["readings"][0]["detections"][0].update(
        stray=2
    ),
    "no figures": lambda d: d["result"].update(figures=None),
    "the media type is a better one": lambda d: d["outcome"]["before"].update(media_type="ssd"),
    "a problem is dropped": lambda d: d["outcome"].update(problems=[]),
    "the request is another one": lambda d: d["particulars"].update(requested="purge"),
    "a problem is added": lambda d: d["outcome"]["problems"].append({"fault": "clock-set-back", "text": "x"}),
}


@pytest.mark.parametrize("name", LIES)
def test_facts_that_contradict_each_other(name: str, key: SigningKey) -> None:
    document = copy.deepcopy(issue(bad_blocks(), key).document)
    LIES[name](document)
    with suppress(FormatError, ZeroDivisionError, ValueError):
        settle(document)
    with pytest.raises((CertificateError, FormatError)):
        sign(document, key).verify(key.public)


# What has nothing to change: a good one has no problem, and a failure meets no request.
UNCHANGED = {("good", "a problem is dropped"), ("failed", "the request is another one")}
OUTCOMES = {"failed": bad_blocks(), "good": good_outcome()}
CASES = [(kind, name) for kind in OUTCOMES for name in CONCLUSIONS if (kind, name) not in UNCHANGED]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_conclusions_that_do_not_follow(kind: str, name: str, key: SigningKey) -> None:
    document = copy.deepcopy(issue(OUTCOMES[kind], key).document)
    before = copy.deepcopy(document)
    CONCLUSIONS[name](document)
    assert document != before
    with pytest.raises(CertificateError):
        sign(document, key).verify(key.public)


def test_the_truth(key: SigningKey) -> None:
    """What the tests above start from holds, and settling it changes nothing."""
    for outcome in (
        bad_blocks(),
        good_outcome(),
        HIDDEN,
        FOUND,
        good_outcome(verifications=(sampling(ZERO),)),
    ):
        document = copy.deepcopy(issue(outcome, key).document)
        before = copy.deepcopy(document)
        settle(document)
        assert document == before
        sign(document, key).verify(key.public)


def test_finds_are_not_dropped(key: SigningKey) -> None:
    document = copy.deepcopy(issue(FOUND, key).document)
    reading(document).update(first_mismatches=[])
    settle(document)
    with pytest.raises(CertificateError, match="some were left out"):
        sign(document, key).verify(key.public)
    document = copy.deepcopy(issue(HIDDEN, key).document)
    document["outcome"]["areas"][0].update(read_back=1)
    settle(document)
    with pytest.raises(CertificateError, match="more blocks held something else"):
        sign(document, key).verify(key.public)


def test_signatures_of_others_are_no_good(key: SigningKey) -> None:
    """A signature moved from one certificate to another, or a text changed below it."""
    good, bad = json.loads(issue(key=key).to_json()), json.loads(issue(bad_blocks(), key).to_json())
    mixed = {"document": good["document"], "signature": bad["signature"]}
    with pytest.raises(SignatureError):
        Certificate.from_json(json.dumps(mixed)).verify(key.public)
    good["document"]["particulars"]["medium"]["property_number"] = "INV-7732"
    with pytest.raises(SignatureError):
        Certificate.from_json(json.dumps(good)).verify(key.public)
    other = SigningKey.generate()
    with pytest.raises(SignatureError):
        issue(key=other).verify(key.public)


@given(outcomes(), st.data())
def test_no_single_number_can_be_changed_unseen(outcome: Any, data: st.DataObject) -> None:
    """Without touching the conclusions: a count of any pass, changed by one, is noticed in some sum."""
    with suppress(CertificateError):
        document = copy.deepcopy(issue(outcome).document)
        passes = document["outcome"]["passes"]
        counted = [part for part in passes if part["step"]["method"] not in {"cryptographic", "command"}]
        if not counted:
            return
        part = data.draw(st.sampled_from(counted))
        part[data.draw(st.sampled_from(("overwritten", "blocks")))] += data.draw(st.sampled_from((-1, 1)))
        with pytest.raises(CertificateError):
            Certificate(Sealed.make(document)).check()


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List where something stands in a document that holds nothing else."""
    if isinstance(value, dict | list) and value:
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        return [leaf for name, inner in entries for leaf in leaves(inner, (*path, name))]
    return [path]


ANYTHING = st.one_of(
    st.integers(-(2**62), 2**62), st.text(max_size=3), st.none(), st.booleans(), st.just([]), st.just({})
)
BASES = [
    issue(outcome).document
    for outcome in (bad_blocks(), HIDDEN, FOUND, good_outcome(verifications=(sampling(ZERO),)))
]


@given(st.sampled_from(BASES), st.data())
def test_anything_is_refused_or_can_be_shown(base: Document, data: st.DataObject) -> None:
    """Whatever stands in a file: errors of ours, or a certificate of which text and page can be made."""
    document = copy.deepcopy(base)
    for path in data.draw(st.lists(st.sampled_from(leaves(base)), min_size=1, max_size=3)):
        inner: Any = document
        with suppress(KeyError, IndexError, TypeError):
            for name in path[:-1]:
                inner = inner[name]
            inner[path[-1]] = data.draw(ANYTHING)
    with suppress(CertificateError, FormatError):
        certificate = Certificate.from_json(Sealed.make(document).to_json())
        certificate.check()
        assert render_text(certificate)
        assert render_html(certificate)
    with suppress(CertificateError, FormatError):
        settle(document)
        Certificate.from_json(Sealed.make(document).to_json()).check()
