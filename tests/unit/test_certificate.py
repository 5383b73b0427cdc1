"""Certificates: issued, read again, validated, written down in an audit log."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from seqstore import CertificateError, ConfigError, FormatError, SignatureError, Store
from seqstore.audit_records import Act, Subject
from seqstore.certificate import Certificate, digest_outcome
from seqstore.certificate_content import Content, Detection, Evidence, Issued, Result, sum_up
from seqstore.certificate_parts import (
    Assurance,
    Category,
    Confidentiality,
    Destination,
    Destruction,
    MediumFacts,
    Particulars,
    Person,
    Profile,
    Source,
    Validation,
)
from seqstore.certificate_rules import Achieved, Rule
from seqstore.certify import ACTS, Certifier
from seqstore.drive_life import Chapter, DriveAct, DriveState
from seqstore.sanitize.result import (
    Area,
    AreaResult,
    DriveIdentity,
    Range,
    SanitizationOutcome,
    Technique,
)
from seqstore.signing import SigningKey
from seqstore.values import from_values, to_values
from tests.certificates import (
    BLOCK,
    BLOCKS,
    DRIVE,
    LATER,
    SECOND,
    SERIAL,
    START,
    ZERO,
    bad_blocks,
    destroyed,
    full_reading,
    good_outcome,
    good_pass,
    issue,
    particulars,
    person,
    sampling,
)

pytest.importorskip("cryptography")

SUBJECT = Subject(kind="drive", number=2, name=SERIAL)


class TestIssuing:
    def test_a_good_one(self, key: SigningKey) -> None:
        certificate = Certificate.from_json(issue(key=key).to_json())
        certificate.verify(key.public)
        certificate.require_drive(SERIAL)
        assert (certificate.category, certificate.fulfilled, certificate.accepted) == ("clear", True, None)
        assert certificate.content == issue(key=key).content
        figures = certificate.content.result.figures
        assert figures is not None
        assert (figures.capacity_bytes, figures.overwritten_bytes) == (BLOCKS * BLOCK, BLOCKS * BLOCK)
        assert figures.bytes_per_second == BLOCKS * BLOCK // 10
        assert figures.readings[0].share_ppm == 1_000_000
        assert {entry.found_ppb for entry in figures.readings[0].detections} == {10**9}

    def test_one_of_a_failure_says_what_failed(self, key: SigningKey) -> None:
        certificate = issue(bad_blocks(), key)
        certificate.verify(key.public)
        result = certificate.content.result
        assert (certificate.category, certificate.fulfilled) == (Category.NONE, False)
        assert "7 blocks could not be written" in result.achieved.reasons
        assert result.figures is not None
        assert (result.figures.unreachable_blocks, result.figures.unreachable_bytes) == (7, 7 * BLOCK)

    def test_less_than_was_asked_for(self) -> None:
        certificate = issue(requested=Category.PURGE)
        assert (certificate.category, certificate.fulfilled) == (Category.CLEAR, False)
        assert issue(requested=Category.CLEAR).fulfilled

    def test_one_that_would_contradict_itself_is_not_signed(self, key: SigningKey) -> None:
        with pytest.raises(CertificateError, match="nobody is named who verified"):
            issue(key=key, verified_by=None)
        with pytest.raises(CertificateError, match="nobody is named who sanitized"):
            issue(key=key, sanitized_by=None)
        other = dataclasses.replace(DRIVE, serial="ZX-0043")
        with pytest.raises(CertificateError, match="'ZX-0043' is the one that was sanitized") as caught:
            issue(good_outcome(before=other, after=other), key)
        assert len(caught.value.problems) == 1
        with pytest.raises(CertificateError, match="after the certificate was issued"):
            issue(key=key, verified_by=person("Grace Murray", seconds=101))
        with pytest.raises(CertificateError, match="before the drive was read"):
            issue(key=key, verified_by=person("Grace Murray", seconds=30))
        with pytest.raises(CertificateError, match="neither sanitized nor destroyed"):
            Certificate.issue(particulars(), None, issued=LATER, key=key)

    def test_a_failure_needs_nobody_who_verified_it(self) -> None:
        assert issue(bad_blocks(), verified_by=None).category is Category.NONE

    def test_a_drive_that_was_destroyed(self, key: SigningKey) -> None:
        certificate = destroyed(key)
        certificate.verify(key.public)
        assert (certificate.category, certificate.fulfilled) == (Category.DESTROY, True)
        assert any("nothing here saw it" in limit for limit in certificate.content.result.limits)

    def test_limits_say_what_it_does_not(self) -> None:
        limits = " ".join(issue(good_outcome(verifications=(sampling(ZERO),))).content.result.limits)
        assert "2002 of 20000 blocks" in limits
        assert "Nobody has decided" in limits
        old = issue(profile=Profile.NIST_R1).content.result.limits
        assert not any("Nobody has decided" in limit for limit in old)

    def test_detection_is_that_of_the_sample(self) -> None:
        figures = sum_up(good_outcome(verifications=(sampling(ZERO),)))
        found = {entry.stray: entry.found_ppb / 1e9 for entry in figures.readings[0].detections}
        assert found[1] == pytest.approx(2002 / BLOCKS, abs=1e-9)
        assert found[10] == pytest.approx(1 - (1 - 2002 / BLOCKS) ** 10, abs=2e-4)
        assert found[1] < found[10] < found[100] < found[1000] <= 1

    def test_blocks_are_counted_once(self) -> None:
        spare = AreaResult(
            area=Area.SPARE,
            blocks=9,
            reached_by="overwrite",
            unreachable=(Range(first=1, count=2, area=Area.SPARE),),
        )
        parts = tuple(
            good_pass(number, ZERO, unreachable=(Range(first=first, count=10),), overwritten=BLOCKS - 10)
            for number, first in ((1, 100), (2, 105))
        )
        figures = sum_up(good_outcome(Technique.zero() + Technique.zero(), passes=parts, areas=(spare,)))
        assert figures.unreachable_blocks == 15 + 2

    def test_a_dead_drive_of_many_blocks_is_counted_at_once(self) -> None:
        drive = DriveIdentity(serial=SERIAL, blocks=10**12, block_size=4096)
        dead = good_pass(
            1,
            ZERO,
            blocks=10**12,
            block_size=4096,
            overwritten=0,
            unreachable=(Range(first=0, count=10**12),),
        )
        figures = sum_up(good_outcome(before=drive, after=drive, passes=(dead,), verifications=()))
        assert figures.unreachable_bytes == 4096 * 10**12


class TestReading:
    def test_values_come_back(self) -> None:
        outcome = good_outcome(
            Technique.three_pass(b"\x05" * 32),
            areas=(AreaResult(area=Area.CACHE, blocks=1, reached_by="command"),),
        )
        values = json.loads(json.dumps(to_values(outcome)))
        assert from_values(SanitizationOutcome, values) == outcome

    @pytest.mark.parametrize(
        ("path", "value", "words"),
        [
            (("outcome", "passes", 0, "overwritten"), "7", "int is expected"),
            (("outcome", "passes", 0, "overwritten"), True, "int is expected"),
            (("outcome", "passes", 0, "overwritten"), 1 << 70, "beyond all"),
            (("outcome", "passes", 0, "complete"), 1, "bool is expected"),
            (("outcome", "passes", 0, "step", "method"), "magic", "one of zero, ones"),
            (("outcome", "passes", 0, "step", "seed"), "0G", "hexadecimal"),
            (("outcome", "passes", 0, "step", "seed"), "AB", "hexadecimal"),
            (("outcome", "passes", 0, "step", "seed"), None, "hexadecimal"),
            (("outcome", "passes", 0, "step", "seed"), "ab", "cannot be"),
            (("outcome", "passes"), {}, "a list is expected"),
            (("outcome",), [], "are expected"),
            (("result", "achieved", "category"), "sparkling", "one of none, clear"),
            (("particulars", "sanitized_by", "name"), "", "cannot be"),
            (("particulars", "verified_by", "name"), "ada BYRON", "two persons"),
            (("particulars", "requested"), "none", "nothing to ask for"),
            (("cleared",), True, "are expected"),
        ],
    )
    def test_what_has_another_form_is_refused(
        self, path: tuple[str | int, ...], value: object, words: str
    ) -> None:
        values = json.loads(issue().to_json())
        inner = values["document"]
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value
        with pytest.raises(FormatError, match=words):
            Certificate.from_json(json.dumps(values))

    def test_other_documents_are_refused(self) -> None:
        values = json.loads(issue().to_json())
        values["document"]["version"] = 2
        with pytest.raises(FormatError, match="version 2"):
            Certificate.from_json(json.dumps(values))
        with pytest.raises(FormatError, match="'seqstore erasure statement'"):
            Certificate.from_json('{"document": {"format": "seqstore erasure statement"}, "signature": null}')

    def test_signatures(self, key: SigningKey) -> None:
        certificate = issue(key=key)
        with pytest.raises(SignatureError, match="signed by the key"):
            certificate.verify(SigningKey.generate().public)
        with pytest.raises(SignatureError, match="not signed"):
            issue().verify(key.public)
        with pytest.raises(CertificateError, match="the one in hand"):
            certificate.require_drive("ZX-0043")


class TestValidation:
    def test_the_organisation_decides_afterwards(self, key: SigningKey) -> None:
        first = issue(key=key)
        yes = Validation(person=person("Carol Shaw", "owner", seconds=500), accepted=True, remarks="policy 7")
        second = first.with_validation(yes, issued=LATER, key=key)
        second.verify(key.public)
        assert (second.accepted, second.content.replaces) == (True, first.digest)
        assert not any("Nobody has decided" in limit for limit in second.content.result.limits)
        with pytest.raises(ConfigError, match="already"):
            second.with_validation(yes, issued=LATER, key=key)

    def test_it_may_say_no(self, key: SigningKey) -> None:
        no = Validation(person=person("Carol Shaw", "owner", seconds=500), accepted=False, remarks="purge it")
        second = issue(key=key).with_validation(no, issued=LATER, key=key)
        assert (second.category, second.fulfilled, second.accepted) == (Category.CLEAR, True, False)
        assert "The organisation did not accept the result." in second.content.result.limits

    def test_nobody_validates_what_is_not_there_yet(self, key: SigningKey) -> None:
        early = Validation(person=person("Carol Shaw", "owner", seconds=10), accepted=True)
        with pytest.raises(CertificateError, match="not there yet"):
            issue(key=key).with_validation(early, issued=LATER, key=key)


class TestAuditLog:
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        with Store.memory("1MiB", evidence=True, actor="alice") as store:
            yield store

    @pytest.fixture
    def certifier(self, store: Store) -> Certifier:
        return Certifier(store.audit, lambda: START + 100 * SECOND)

    def test_the_whole_story(self, store: Store, certifier: Certifier, key: SigningKey) -> None:
        failed, done = bad_blocks(), good_outcome()
        certifier.name_operator(SUBJECT, person("Ada Byron"), "sanitization")
        for outcome in (failed, done):
            certifier.begin(SUBJECT, outcome.technique, Category.CLEAR)
            certifier.end(SUBJECT, outcome)
            certificate = certifier.issue(SUBJECT, particulars(), outcome, key)
            certificate.verify(key.public)
            certificate.verify_in(store.audit)
        evidence = certificate.content.evidence
        assert evidence is not None
        assert evidence.begun is not None
        assert evidence.ended is not None
        assert (evidence.begun.number, evidence.ended.number) == (
            evidence.head.number - 1,
            evidence.head.number,
        )
        acts = [record.act for record in store.audit if record.subject["kind"] == "drive"]
        assert acts == [
            "operator named",
            *("sanitization begun", "sanitization failed", "certificate issued"),
            *("sanitization begun", "sanitization finished", "certificate issued"),
        ]
        last = [*store.audit][-1]
        assert (last.details["digest"], last.details["category"]) == (certificate.digest, "clear")

    def test_a_certificate_takes_an_end_that_was_noted(self, certifier: Certifier, key: SigningKey) -> None:
        certifier.begin(SUBJECT, Technique.zero(), Category.CLEAR)
        certifier.end(SUBJECT, bad_blocks())
        with pytest.raises(ConfigError, match="does not know of this sanitization"):
            certifier.issue(SUBJECT, particulars(), good_outcome(), key)
        with pytest.raises(ConfigError, match="a drive is expected"):
            certifier.end(Subject(kind="store"), good_outcome())

    def test_what_was_seen_is_not_changed_afterwards(
        self, store: Store, certifier: Certifier, key: SigningKey
    ) -> None:
        """Somebody who holds the key issues a better one: the log knows what was seen."""
        certifier.begin(SUBJECT, Technique.zero(), Category.CLEAR)
        certifier.end(SUBJECT, bad_blocks())
        true = certifier.issue(SUBJECT, particulars(), bad_blocks(), key)
        false = Certificate.issue(
            particulars(),
            good_outcome(),
            issued=true.content.issued,
            key=key,
            evidence=true.content.evidence,
        )
        false.verify(key.public)
        with pytest.raises(CertificateError, match="something else was seen") as caught:
            false.verify_in(store.audit)
        assert len(caught.value.problems) == 2

    def test_other_logs(self, store: Store, certifier: Certifier, key: SigningKey) -> None:
        certifier.begin(SUBJECT, Technique.zero(), Category.CLEAR)
        certifier.end(SUBJECT, good_outcome())
        certificate = certifier.issue(SUBJECT, particulars(), good_outcome(), key)
        with (
            Store.memory("1MiB", evidence=True, actor="bob") as other,
            pytest.raises(CertificateError, match="another audit log"),
        ):
            certificate.verify_in(other.audit)
        with pytest.raises(CertificateError, match="names no audit log"):
            issue(key=key).verify_in(store.audit)

    def test_a_validated_one(self, store: Store, certifier: Certifier, key: SigningKey) -> None:
        certifier.begin(SUBJECT, Technique.zero(), Category.CLEAR)
        certifier.end(SUBJECT, good_outcome())
        first = certifier.issue(SUBJECT, particulars(), good_outcome(), key)
        said = particulars(validation=Validation(person=person("Carol Shaw"), accepted=True))
        second = certifier.issue(SUBJECT, said, good_outcome(), key, replaces=first)
        second.verify_in(store.audit)
        assert second.content.replaces == first.digest

    def test_every_act_of_a_life_has_its_word(self, store: Store, certifier: Certifier) -> None:
        assert ACTS.keys() == {*DriveAct}
        assert len({*ACTS.values()}) == len(DriveAct)
        chapter = Chapter(
            time_ns=START,
            state=DriveState.DESTROYED,
            act=DriveAct.DESTROY,
            actor="Ada",
            reason="dead",
            witness="Eve",
        )
        record = certifier.note(SUBJECT, chapter)
        assert (record.act, record.actor, record.reason) == (Act.DRIVE_DESTROYED.value, "Ada", "dead")
        assert record.details == {"state": "destroyed", "witness": "Eve"}
        with pytest.raises(ConfigError, match="with its outcome"):
            certifier.note(
                SUBJECT,
                dataclasses.replace(chapter, act=DriveAct.FINISH_SANITIZATION, state=DriveState.SANITIZED),
            )

    def test_an_empty_log(self) -> None:
        with Store.memory("1MiB") as store:
            bare = Certifier(store.audit, lambda: START)
            with pytest.raises(ConfigError, match="empty"):
                bare.issue(SUBJECT, particulars(), good_outcome())

    def test_digests_are_of_all_that_was_seen(self) -> None:
        some = {digest_outcome(outcome) for outcome in (good_outcome(), bad_blocks())}
        reading = full_reading(ZERO, verifier="python")
        assert digest_outcome(good_outcome(verifications=(reading,))) not in some
        assert len(some) == 2


def test_persons_are_compared_as_people_do() -> None:
    one = Person(name="Ren\u00e9  Descartes", role="x", time_ns=1)
    other = Person(name="Rene\u0301 DESCARTES ", role="y", time_ns=2)
    assert one.is_same_as(other)
    assert not one.is_same_as(person("Ren\u00e9 Thom"))


def test_the_reference_names_every_field_rule_and_act() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "certificate.md").read_text("utf-8")
    parts = (
        Content,
        Issued,
        Particulars,
        MediumFacts,
        Source,
        Confidentiality,
        Person,
        Validation,
        Assurance,
    )
    more = (Destruction, Destination, Result, Achieved, Evidence, Detection, SanitizationOutcome)
    fields = {field.name for part in (*parts, *more) for field in dataclasses.fields(part)}
    words = fields | {rule.value for rule in Rule} | {act.value for act in ACTS.values()}
    assert sorted(word for word in words if not re.search(rf"\b{re.escape(word)}\b", page)) == []
