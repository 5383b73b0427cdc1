"""What a sanitization achieved: never more than every single fact bears out."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqstore import CertificateError, ConfigError
from seqstore.certificate_check import find_problems
from seqstore.certificate_parts import (
    Assurance,
    AssuranceKind,
    Category,
    Destruction,
    MediaKind,
    Particulars,
    Profile,
    kind_of,
    more_cautious,
)
from seqstore.certificate_rules import Rule, achieved
from seqstore.sanitize.result import (
    Area,
    AreaResult,
    Fault,
    Problem,
    Range,
    SanitizationOutcome,
    Technique,
    Verification,
)
from tests.certificates import (
    BLOCKS,
    CLAIMS,
    DRIVE,
    MEDIA,
    SECOND,
    START,
    bad_blocks,
    full_reading,
    good_outcome,
    good_pass,
    issue,
    make_content,
    outcomes,
    particulars,
    person,
    sampling,
)

ASSURANCES = {
    kind: Assurance(kind=kind, said_by="Ada Byron", reference="key ceremony of 3 May")
    for kind in AssuranceKind
}
ZERO = Technique.zero().steps[0]


def looked_enough(reading: Verification) -> bool:
    """Whether a verification read what it takes, put another way than the code does."""
    everything = reading.method == "full" and reading.read == BLOCKS
    tenth = reading.method == "sampling" and reading.subsections >= 1000 and 10 * reading.read >= BLOCKS
    return (everything or (tenth and reading.seed != b"")) and reading.blocks == BLOCKS


def all_went_well(outcome: SanitizationOutcome) -> bool:
    """Every fact that a success takes, put another way than the code does."""
    passes, readings = outcome.passes, outcome.verifications
    expected = [step for step in outcome.technique.steps if step.method.value != "cryptographic"][-1:]
    return (
        outcome.problems == ()
        and outcome.lies == ()
        and outcome.before is not None
        and outcome.before == outcome.after
        and [part.step for part in passes] == [*outcome.technique.steps]
        and all(part.complete and part.unreachable == () for part in passes)
        and all(part.overwritten == BLOCKS for part in passes if part.step.method.overwrites)
        and all(area.reached_by != "nothing" for area in outcome.areas)
        and all(area.mismatches == () and area.unreachable == () for area in outcome.areas)
        and readings != ()
        and expected != []
        and all(map(looked_enough, readings))
        and all((one.mismatches, one.first_mismatches, one.read_errors) == (0, (), ()) for one in readings)
        and all(one.past_caches != "" and not one.stopped_early for one in readings)
        and all(part.ended_ns <= one.started_ns for part in passes for one in readings)
    )


class TestEveryOutcome:
    @given(outcomes(), st.sampled_from(MEDIA), st.sets(st.sampled_from(AssuranceKind)))
    def test_a_claim_takes_every_fact(
        self, outcome: SanitizationOutcome, media_type: str, vouched: set[AssuranceKind]
    ) -> None:
        found = achieved(outcome, media_type, assurances=[ASSURANCES[kind] for kind in vouched])
        if found.category is Category.NONE:
            assert found.reasons
        else:
            assert found.category in CLAIMS
            assert all_went_well(outcome)
        if found.category is Category.PURGE:
            methods = {step.method.value for step in outcome.technique.steps}
            assert ("cryptographic" in methods and len(vouched) >= 2) or "command" in methods

    @given(outcomes(), st.sampled_from(MEDIA))
    def test_overwriting_is_clear_at_most(self, outcome: SanitizationOutcome, media_type: str) -> None:
        if all(step.method.overwrites for step in outcome.technique.steps):
            found = achieved(outcome, media_type, assurances=[*ASSURANCES.values()])
            assert found.category in {Category.NONE, Category.CLEAR}

    @given(outcomes(), st.booleans(), st.booleans())
    def test_a_certificate_of_success_names_two_persons(
        self, outcome: SanitizationOutcome, has_verifier: bool, is_named: bool
    ) -> None:
        try:
            certificate = issue(
                outcome,
                sanitized_by=person("Ada Byron") if is_named else None,
                verified_by=person("Grace Murray") if has_verifier else None,
            )
        except CertificateError:
            return
        assert is_named
        if certificate.category in CLAIMS:
            assert has_verifier
            assert all_went_well(outcome)

    @given(outcomes())
    def test_a_failure_is_certified_too(self, outcome: SanitizationOutcome) -> None:
        """What cannot be certified is what contradicts itself, and nothing that only went wrong."""
        try:
            certificate = issue(outcome)
        except CertificateError:
            assert [*find_problems(make_content(outcome))] != []
            return
        assert certificate.fulfilled == (certificate.category in CLAIMS)
        certificate.check()

    def test_the_good_one_is_good(self) -> None:
        found = achieved(good_outcome(), "hdd")
        assert (found.category, found.rule, found.reasons) == (Category.CLEAR, Rule.OVERWRITTEN, ())
        assert all_went_well(good_outcome())


class TestMedia:
    @pytest.mark.parametrize(
        ("media_type", "rule"),
        [
            ("hdd", Rule.OVERWRITTEN),
            ("ssd", Rule.OVERWRITTEN_FLASH),
            ("hybrid", Rule.OVERWRITTEN_FLASH),
            ("file", Rule.OVERWRITTEN_VIRTUAL),
            ("bubble memory", Rule.OVERWRITTEN_UNKNOWN),
        ],
    )
    def test_overwriting(self, media_type: str, rule: Rule) -> None:
        drive = dataclasses.replace(DRIVE, media_type="")
        found = achieved(good_outcome(before=drive, after=drive), media_type)
        assert (found.category, found.rule) == (Category.CLEAR, rule)

    def test_the_drives_own_word_counts_where_it_is_worse(self) -> None:
        drive = dataclasses.replace(DRIVE, media_type="ssd")
        assert achieved(good_outcome(before=drive, after=drive), "hdd").rule is Rule.OVERWRITTEN_FLASH
        assert achieved(good_outcome(), "ssd").rule is Rule.OVERWRITTEN_FLASH

    def test_removable_flash_takes_a_pattern_and_its_complement(self) -> None:
        found = achieved(good_outcome(), "usb")
        assert (found.category, found.rule) == (Category.NONE, Rule.ONE_PASS)
        two = good_outcome(Technique.zero() + Technique.ones())
        assert achieved(two, "USB ").category is Category.CLEAR

    def test_nobody_knows_it_is_never_harmless(self) -> None:
        assert kind_of("quantum foam") is MediaKind.UNKNOWN
        assert more_cautious(MediaKind.UNKNOWN, MediaKind.MAGNETIC) is MediaKind.UNKNOWN
        assert more_cautious(MediaKind.MAGNETIC, MediaKind.FLASH) is MediaKind.FLASH


class TestTechniques:
    def test_keys_count_if_two_things_are_vouched_for(self) -> None:
        outcome = good_outcome(Technique.cryptographic() + Technique.zero())
        assert achieved(outcome, "ssd").category is Category.CLEAR
        one = [ASSURANCES[AssuranceKind.ENCRYPTED_THROUGHOUT]]
        assert achieved(outcome, "ssd", assurances=one).category is Category.CLEAR
        both = [*one, ASSURANCES[AssuranceKind.KEYS_ACCOUNTED_FOR]]
        found = achieved(outcome, "ssd", assurances=both)
        assert (found.category, found.rule) == (Category.PURGE, Rule.CRYPTOGRAPHIC)

    def test_keys_alone_cannot_be_verified(self) -> None:
        found = achieved(good_outcome(Technique.cryptographic()), "ssd", assurances=[*ASSURANCES.values()])
        assert (found.category, found.rule) == (Category.NONE, Rule.NOT_VERIFIED)

    def test_a_command_counts_if_it_was_seen_or_is_vouched_for(self) -> None:
        outcome = good_outcome(Technique.command())
        assert achieved(outcome, "ssd").rule is Rule.COMMAND_WORD
        trusted = achieved(outcome, "ssd", assurances=[ASSURANCES[AssuranceKind.VENDOR_TRUSTED]])
        assert (trusted.category, trusted.rule) == (Category.PURGE, Rule.COMMAND_TRUSTED)
        spare = AreaResult(area=Area.SPARE, blocks=8, reached_by="command", read_back=8)
        seen = dataclasses.replace(outcome, areas=(spare,))
        assert achieved(seen, "ssd").rule is Rule.COMMAND_READ_BACK
        unseen = dataclasses.replace(outcome, areas=(dataclasses.replace(spare, read_back=7),))
        assert achieved(unseen, "ssd").category is Category.CLEAR

    def test_a_file_has_no_command_that_purges(self) -> None:
        outcome = good_outcome(Technique.command())
        assert achieved(outcome, "file", assurances=[*ASSURANCES.values()]).category is Category.CLEAR

    def test_sampling(self) -> None:
        def rule(reading: Verification) -> Rule:
            return achieved(good_outcome(verifications=(reading,)), "hdd").rule

        assert rule(sampling(ZERO)) is Rule.OVERWRITTEN
        assert rule(sampling(ZERO, subsections=999)) is Rule.COVERAGE
        assert rule(sampling(ZERO, read=BLOCKS // 10 - 1)) is Rule.COVERAGE
        assert rule(sampling(ZERO, seed=b"")) is Rule.FIXED_SEED
        assert rule(full_reading(ZERO, read=BLOCKS - 1)) is Rule.COVERAGE
        assert rule(full_reading(ZERO, method="quick")) is Rule.COVERAGE


class TestFailures:
    """Each way in which a pass can go wrong comes to ``none``, under a rule of its own."""

    @pytest.mark.parametrize(
        ("fault", "rule"),
        [
            (Fault.NOT_STARTED, Rule.NOTHING_DONE),
            (Fault.INTERRUPTED, Rule.INCOMPLETE),
            (Fault.CANCELLED, Rule.INCOMPLETE),
            (Fault.SYNC, Rule.INCOMPLETE),
            (Fault.DRIVE_DIED, Rule.INCOMPLETE),
            (Fault.BAD_BLOCKS, Rule.UNREACHABLE),
            (Fault.LYING_DRIVE, Rule.LYING_DRIVE),
            (Fault.SWAPPED_DRIVE, Rule.OTHER_DRIVE),
            (Fault.WRONG_SIZE, Rule.OTHER_DRIVE),
            (Fault.CACHE, Rule.CACHED),
            (Fault.FIXED_SEED, Rule.FIXED_SEED),
            (Fault.CLOCK, Rule.CLOCK),
            (Fault.HIDDEN, Rule.HIDDEN_PLACES),
            (Fault.MISMATCH, Rule.MISMATCH),
            (Fault.UNREADABLE, Rule.UNREADABLE),
            (Fault.NOT_VERIFIED, Rule.NOT_VERIFIED),
            (Fault.KEYS, Rule.KEYS_LEFT),
        ],
    )
    def test_what_the_pass_says(self, fault: Fault, rule: Rule) -> None:
        outcome = good_outcome(problems=(Problem(fault=fault, text="why it was so"),))
        certificate = issue(outcome)
        found = certificate.content.result.achieved
        assert (found.category, found.rule) == (Category.NONE, rule)
        assert found.reasons == ("why it was so",)
        assert not certificate.fulfilled

    def test_every_fault_has_a_rule(self) -> None:
        for fault in Fault:
            found = achieved(good_outcome(problems=(Problem(fault=fault, text="x"),)), "hdd")
            assert found.rule is not Rule.OTHER_PROBLEM
            assert found.category is Category.NONE

    @pytest.mark.parametrize(
        ("outcome", "rule"),
        [
            pytest.param(bad_blocks(), Rule.UNREACHABLE, id="bad blocks"),
            pytest.param(good_outcome(lies=("it did not",)), Rule.LYING_DRIVE, id="a lie"),
            pytest.param(good_outcome(before=None), Rule.NOTHING_DONE, id="no drive"),
            pytest.param(good_outcome(after=None), Rule.INCOMPLETE, id="no drive in the end"),
            pytest.param(
                good_outcome(after=dataclasses.replace(DRIVE, serial="other")), Rule.OTHER_DRIVE, id="swapped"
            ),
            pytest.param(
                good_outcome(after=dataclasses.replace(DRIVE, blocks=BLOCKS - 1)),
                Rule.OTHER_DRIVE,
                id="shrunk",
            ),
            pytest.param(good_outcome(passes=()), Rule.INCOMPLETE, id="no pass"),
            pytest.param(
                good_outcome(passes=(good_pass(1, ZERO, complete=False, overwritten=5),)),
                Rule.INCOMPLETE,
                id="half a pass",
            ),
            pytest.param(
                good_outcome(passes=(good_pass(1, ZERO, blocks=BLOCKS - 1, overwritten=BLOCKS - 1),)),
                Rule.OTHER_DRIVE,
                id="a pass of another size",
            ),
            pytest.param(good_outcome(verifications=()), Rule.NOT_VERIFIED, id="not read"),
            pytest.param(
                good_outcome(verifications=(full_reading(Technique.ones().steps[0]),)),
                Rule.NOT_VERIFIED,
                id="read for something else",
            ),
            pytest.param(
                good_outcome(verifications=(full_reading(ZERO, past_caches=""),)), Rule.CACHED, id="cache"
            ),
            pytest.param(
                good_outcome(verifications=(full_reading(ZERO, stopped_early=True),)),
                Rule.NOT_VERIFIED,
                id="not read to the end",
            ),
            pytest.param(
                good_outcome(verifications=(full_reading(ZERO, started_ns=START + 5 * SECOND),)),
                Rule.CLOCK,
                id="read before it was written",
            ),
            pytest.param(good_outcome(ended_ns=START - 1), Rule.CLOCK, id="clock set back"),
            pytest.param(
                good_outcome(areas=(AreaResult(area=Area.CACHE, blocks=4, reached_by="nothing"),)),
                Rule.HIDDEN_PLACES,
                id="hidden",
            ),
            pytest.param(
                good_outcome(
                    areas=(
                        AreaResult(
                            area=Area.SPARE,
                            blocks=4,
                            reached_by="command",
                            read_back=4,
                            mismatches=(Range(first=1, count=1, area=Area.SPARE),),
                        ),
                    )
                ),
                Rule.HIDDEN_PLACES,
                id="found in a hidden place",
            ),
        ],
    )
    def test_what_the_facts_say_without_a_problem(self, outcome: SanitizationOutcome, rule: Rule) -> None:
        found = achieved(outcome, "hdd")
        assert (found.category, found.rule) == (Category.NONE, rule)
        assert found.reasons

    def test_nothing_done(self) -> None:
        assert achieved(None, "hdd").rule is Rule.NOTHING_DONE

    @pytest.mark.parametrize("profile", Profile)
    def test_both_revisions_decide_alike(self, profile: Profile) -> None:
        assert achieved(good_outcome(), "ssd", profile).category is Category.CLEAR
        assert profile.value in profile.citation

    def test_every_rule_has_words(self) -> None:
        assert all(rule.text.endswith(".") for rule in Rule)


class TestDestruction:
    def test_a_drive_that_could_not_be_sanitized(self) -> None:
        end = Destruction(
            operator=person("Ada Byron"), witness=person("Grace Murray"), how="shredded", reason="bad blocks"
        )
        found = achieved(bad_blocks(), "hdd", destruction=end)
        assert (found.category, found.rule) == (Category.DESTROY, Rule.DESTROYED)
        assert any("could not write 7 blocks" in reason for reason in found.reasons)
        assert achieved(None, "hdd", destruction=end).category is Category.DESTROY

    def test_two_persons(self) -> None:
        with pytest.raises(ConfigError, match="name another person"):
            Destruction(
                operator=person("Ada Byron"), witness=person("ADA  byron"), how="shredded", reason="old"
            )

    def test_sanitization_and_verification_are_of_two_persons(self) -> None:
        with pytest.raises(ConfigError, match="two persons"):
            particulars(verified_by=person("\uff21da Byron"))
        assert isinstance(particulars(verified_by=None), Particulars)
