"""Every way in which a sanitization can go wrong, to its end: the certificate says that it failed, and why.

The ways are those of test_sanitize_wrong.py. Each is gone once more, on real drives, and what it came to is
certified by two persons who have noticed nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqstore.certificate import Certificate
from seqstore.certificate_content import Issued
from seqstore.certificate_page import render_text
from seqstore.certificate_parts import Category, MediumFacts, Particulars, Person
from seqstore.certificate_rules import Rule
from seqstore.paper import plain
from seqstore.sanitize import Options, SanitizationOutcome, Technique
from seqstore.signing import SigningKey
from tests.sanitizing import COMMAND_AND_ZERO, RANDOM_SEED, SEED, full_drive, plain_drive, sanitize
from tests.unit import test_sanitize_wrong as wrong

pytest.importorskip("cryptography")

WAYS: dict[str, Rule] = {
    "start_fails_since_a_store_lies_on_it": Rule.NOTHING_DONE,
    "start_fails_since_the_drive_is_dead": Rule.NOTHING_DONE,
    "start_fails_since_the_command_does": Rule.NOTHING_DONE,
    "interrupted_and_not_taken_up_again": Rule.INCOMPLETE,
    "cancelled": Rule.INCOMPLETE,
    "bad_blocks": Rule.UNREACHABLE,
    "lying_drive_does_nothing": Rule.LYING_DRIVE,
    "lying_drive_leaves_something_out": Rule.LYING_DRIVE,
    "lying_drive_with_its_command_alone": Rule.LYING_DRIVE,
    "swapped_drive_is_not_touched": Rule.OTHER_DRIVE,
    "swapped_while_it_worked": Rule.OTHER_DRIVE,
    "swapped_between_interruption_and_resumption": Rule.LYING_DRIVE,
    "another_drive_in_the_place_of_the_one_in_the_journal": Rule.OTHER_DRIVE,
    "what_a_drive_says_of_itself_may_not_change": Rule.OTHER_DRIVE,
    "wrong_size": Rule.OTHER_DRIVE,
    "size_that_grows_meanwhile": Rule.OTHER_DRIVE,
    "cache_hides_the_medium": Rule.LYING_DRIVE,
    "cache_that_cannot_be_passed": Rule.CACHED,
    "sampler_with_a_fixed_seed": Rule.FIXED_SEED,
    "clock_set_back_while_it_worked": Rule.CLOCK,
    "clock_set_back_between_interruption_and_resumption": Rule.CLOCK,
    "drive_dies_in_the_middle": Rule.INCOMPLETE,
    "drive_that_dies_before_it_is_looked_at_again": Rule.INCOMPLETE,
    "unreadable_blocks": Rule.UNREADABLE,
    "a_block_that_cannot_be_read_is_no_lie": Rule.UNREADABLE,
    "write_that_got_lost": Rule.MISMATCH,
    "hidden_places_that_the_technique_does_not_reach": Rule.HIDDEN_PLACES,
    "verification_left_out": Rule.NOT_VERIFIED,
    "keys_that_are_still_there": Rule.KEYS_LEFT,
}
NOT_WAYS = {"nothing_goes_wrong", "it_runs_once", "what_a_drive_cannot_do_is_said_before_it_begins"}
ARGUMENTS: dict[str, Any] = {"seed": SEED, "survive": True}
NOW = 2**61


def certify(outcome: SanitizationOutcome, key: SigningKey, media_type: str = "hdd") -> Certificate:
    serial = "unknown" if outcome.before is None else outcome.before.serial
    certificate = Certificate.issue(
        Particulars(
            requested=Category.CLEAR,
            medium=MediumFacts(serial=serial, media_type=media_type),
            sanitized_by=Person(name="Ada Byron", role="technician", time_ns=NOW),
            verified_by=Person(name="Grace Murray", role="auditor", time_ns=NOW),
        ),
        outcome,
        issued=Issued(time_ns=NOW, actor="Ada Byron"),
        key=key,
    )
    again = Certificate.from_json(certificate.to_json())
    again.verify(key.public)
    assert again.content == certificate.content
    return again


def test_every_way_is_here() -> None:
    ways = {name.removeprefix("test_") for name in vars(wrong) if name.startswith("test_")}
    assert ways - NOT_WAYS == WAYS.keys(), "each way in test_sanitize_wrong.py has a line in WAYS"


@pytest.mark.parametrize("way", WAYS)
def test_the_certificate_says_that_it_failed_and_why(
    way: str, tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[SanitizationOutcome] = []

    def record(function: Callable[..., SanitizationOutcome]) -> Callable[..., SanitizationOutcome]:
        def recording(*arguments: Any, **options: Any) -> SanitizationOutcome:
            seen.append(function(*arguments, **options))
            return seen[-1]

        return recording

    for name in ("sanitize", "outcome_of_journal"):
        monkeypatch.setattr(wrong, name, record(getattr(wrong, name)))
    test = getattr(wrong, f"test_{way}")
    given = {"tmp_path": tmp_path, **ARGUMENTS}
    test(**{name: given[name] for name in inspect.signature(test).parameters})

    outcome = [outcome for outcome in seen if not outcome.succeeded][-1]
    certificate = certify(outcome, key)
    found = certificate.content.result.achieved
    assert (found.category, found.rule) == (Category.NONE, WAYS[way])
    assert not certificate.fulfilled
    shown = render_text(certificate)
    assert "Not sanitized" in shown
    assert found.rule.text in shown
    for problem in outcome.problems:
        assert plain(problem.text) in shown
    for lie in outcome.lies:
        assert plain(lie) in shown


@pytest.mark.parametrize(
    ("media_type", "technique", "options", "category", "rule"),
    [
        ("hdd", Technique.zero(), {}, Category.CLEAR, Rule.OVERWRITTEN_VIRTUAL),
        ("ssd", Technique.three_pass(RANDOM_SEED), {}, Category.CLEAR, Rule.OVERWRITTEN_FLASH),
        ("hdd", Technique.zero(), {"second_verifier": True}, Category.CLEAR, Rule.OVERWRITTEN_VIRTUAL),
    ],
)
def test_what_goes_well_is_certified(
    media_type: str,
    technique: Technique,
    options: dict[str, Any],
    category: Category,
    rule: Rule,
    key: SigningKey,
) -> None:
    outcome = sanitize(plain_drive(), technique, options=Options(**options))
    found = certify(outcome, key, media_type).content.result.achieved
    assert (found.category, found.rule, found.reasons) == (category, rule, ())


def test_a_drive_whose_command_was_seen_to_work_is_purged(key: SigningKey) -> None:
    outcome = sanitize(full_drive(media_type="ssd"), COMMAND_AND_ZERO)
    certificate = certify(outcome, key, "ssd")
    assert (certificate.category, certificate.content.result.achieved.rule) == (
        Category.PURGE,
        Rule.COMMAND_READ_BACK,
    )
    # The same drive, of whose hidden places nothing can be read.
    outcome = sanitize(full_drive(media_type="ssd", vendor_reads=False), COMMAND_AND_ZERO)
    certificate = certify(outcome, key, "ssd")
    assert certificate.category is not Category.PURGE
    assert certificate.content.result.achieved.reasons
