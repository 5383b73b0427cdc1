"""What people see of certificates, and of many: text, pages, PDF."""

from __future__ import annotations

import dataclasses
import gc
import re
import zlib
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from seqstore import Store
from seqstore.audit_records import Subject
from seqstore.certificate import Certificate
from seqstore.certificate_batch import make_paper, summarize
from seqstore.certificate_page import make_paper as make_certificate_paper
from seqstore.certificate_page import render_html, render_text, tell_size
from seqstore.certificate_parts import Category, MediumFacts, Validation
from seqstore.certify import Certifier
from seqstore.paper import to_html, to_text
from seqstore.sanitize.result import Area, AreaResult, Range, Technique
from seqstore.signing import SigningKey
from tests.certificates import (
    BLOCK,
    BLOCKS,
    DRIVE,
    LATER,
    SECOND,
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


def of(serial: str, **changes: Any) -> Certificate:
    """Return a good certificate of another drive."""
    drive = dataclasses.replace(DRIVE, serial=serial)
    medium = MediumFacts(serial=serial, media_type="hdd")
    return issue(good_outcome(before=drive, after=drive), medium=medium, **changes)


class TestPage:
    def test_a_page_needs_nothing_else(self) -> None:
        page = render_html(issue())
        assert re.findall(r"(src|href|url\(|@import|<script)", page) == []
        assert page.startswith("<!DOCTYPE html>")

    def test_both_forms_say_the_same(self, key: SigningKey) -> None:
        spare = AreaResult(area=Area.SPARE, blocks=16, reached_by="command", read_back=16)
        for outcome in (
            bad_blocks(),
            good_outcome(verifications=(sampling(ZERO),)),
            good_outcome(areas=(spare,)),
        ):
            certificate = issue(outcome, key)
            text = render_text(certificate, verified=key.public.fingerprint)
            page = unescape(
                re.sub(r"<[^>]+>", " ", render_html(certificate, verified=key.public.fingerprint))
            )
            words = re.findall(r"[^\s*=-][^\s]*", text)
            assert [word for word in words if word not in page] == []

    def test_what_somebody_wrote_is_text(self) -> None:
        evil = "<script>alert(1)</script>"
        certificate = issue(remarks=f"{evil} \u202e")
        assert evil not in render_html(certificate)
        assert "&lt;script&gt;" in render_html(certificate)
        assert "\u202e" not in render_html(certificate) + render_text(certificate)

    @pytest.mark.parametrize(
        ("certificate", "standing", "verdict"),
        [
            pytest.param(issue(), "complete", "Clear achieved", id="good"),
            pytest.param(issue(bad_blocks()), "failed", "Not sanitized", id="bad"),
            pytest.param(
                issue(requested=Category.PURGE), "open", "Clear achieved, purge was asked for", id="less"
            ),
            pytest.param(
                issue(validation=Validation(person=person("Carol Shaw"), accepted=False)),
                "open",
                "Clear achieved, and not accepted",
                id="refused",
            ),
        ],
    )
    def test_verdicts(self, certificate: Certificate, standing: str, verdict: str) -> None:
        assert f'<div class="state {standing}"><b>{verdict}' in render_html(certificate)

    def test_every_range_and_reason_is_there(self) -> None:
        text = render_text(issue(bad_blocks()))
        assert re.search(r"pass 1 +user +100 +5 +Input/output error", text)
        assert re.search(r"pass 1 +user +9,000 +2", text)
        assert f"7 blocks, 3.5 KiB ({7 * BLOCK:,} bytes)" in text
        many = tuple(Range(first=10 * number, count=1) for number in range(300))
        part = good_pass(1, ZERO, unreachable=many, overwritten=BLOCKS - 300)
        text = render_text(issue(good_outcome(passes=(part,))))
        assert "100 further ranges stand in the JSON text." in text

    def test_chances_are_never_rounded_up_to_certainty(self) -> None:
        text = render_text(issue(good_outcome(verifications=(sampling(ZERO),))))
        assert "1: 10.01 %" in text
        assert "1,000: over 99.99 %" in text
        assert "100 %" not in text

    def test_destroyed_without_a_pass(self) -> None:
        text = render_text(destroyed())
        assert "Destroyed" in text
        assert re.search(r"witness +Grace Murray", text)
        assert re.search(r"How destroyed +shredded", text)

    def test_techniques_and_sizes(self) -> None:
        technique = Technique.pattern(b"\xaa" * 9) + Technique.random(b"\x07" * 32)
        text = render_text(issue(good_outcome(technique)))
        assert "pattern aaaaaaaaaaaaaaaa\u2026, then random (seed 0707070707070707\u2026)" in text
        assert (tell_size(7), tell_size(1 << 40)) == ("7 bytes", "1 TiB (1,099,511,627,776 bytes)")

    def test_one_of_a_store_says_where_it_stands_in_the_log(self, key: SigningKey) -> None:
        with Store.memory("1MiB", evidence=True, actor="alice") as store:
            certifier = Certifier(store.audit, lambda: START + 100 * SECOND)
            subject = Subject(kind="drive", number=0, name="x")
            certifier.begin(subject, Technique.zero(), Category.CLEAR)
            certifier.end(subject, good_outcome())
            text = render_text(certifier.issue(subject, particulars(), good_outcome(), key))
            assert f"{store.audit[1].hash}, up to record 3" in text


class TestPdf:
    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system does not list open files")
    def test_it_closes_the_files_of_the_letters(self) -> None:
        pytest.importorskip("fpdf")
        from seqstore.certificate_pdf import render_pdf  # noqa: PLC0415  an extra

        def letters() -> int:
            links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
            return sum(str(link.readlink()).endswith(".ttf") for link in links)

        gc.disable()
        try:
            before = letters()  # matplotlib keeps those open with which another test has drawn
            render_pdf(issue(bad_blocks()))  # which is set twice
            assert letters() == before
        finally:
            gc.enable()

    def test_it_holds_the_certificate(self, key: SigningKey) -> None:
        pytest.importorskip("fpdf")
        from seqstore.certificate_pdf import ATTACHMENT, render_pdf  # noqa: PLC0415  an extra

        certificate = issue(key=key, sanitized_by=person("\u0141ukasz \u017b\u00f3\u0142\u0107"))
        data = render_pdf(certificate)
        assert data == render_pdf(certificate)
        assert ATTACHMENT.encode() in data
        streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL)
        attached = [text for text in map(unpack, streams) if text.startswith(b'{\n "document"')]
        assert len(attached) == 1
        Certificate.from_json(attached[0]).verify(key.public)

    def test_long_ones_go_on_over_pages(self) -> None:
        pytest.importorskip("fpdf")
        from seqstore.certificate_pdf import render_pdf  # noqa: PLC0415  an extra

        many = tuple(Range(first=10 * number, count=1, reason="x" * 200) for number in range(150))
        part = good_pass(1, ZERO, unreachable=many, overwritten=BLOCKS - 150)
        data = render_pdf(issue(good_outcome(passes=(part,))))
        assert len(re.findall(rb"/Type /Page\n", data)) > 4

    def test_a_usual_one_fits_a_page_and_others_leave_none_nearly_empty(self) -> None:
        pytest.importorskip("fpdf")
        from seqstore import certificate_pdf  # noqa: PLC0415  an extra

        decided = Validation(person=person("Carol Shaw"), accepted=True)
        usual = certificate_pdf._set(make_certificate_paper(issue(validation=decided)))
        assert usual.page_no() == 1
        spoilt = make_certificate_paper(issue(bad_blocks()))
        as_it_comes, even = certificate_pdf._set(spoilt), certificate_pdf._set(spoilt, is_even=True)
        assert as_it_comes.page_no() == even.page_no() == 2
        assert as_it_comes.get_y() < certificate_pdf._NEARLY_EMPTY
        assert even.get_y() > as_it_comes.get_y() + 15  # mm, of persons
        for pdf in (usual, as_it_comes, even):
            certificate_pdf._close_fonts(pdf)

    def test_it_says_what_was_written_and_read(self) -> None:
        text = render_text(issue())
        assert "All 20,000 blocks were overwritten and all of them read back." in text
        assert text.splitlines()[4] == "Number 2026-0117, issued 2026-05-28 20:28:20 UTC by alice"
        sampled = render_text(issue(good_outcome(verifications=(sampling(ZERO),))))
        assert "2,002 read back, chosen by chance." in sampled
        assert "were overwritten" not in render_text(issue(bad_blocks())).partition("Drive\n")[0]


def unpack(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return stream


class TestCaution:
    """What nobody has verified says so before anything else."""

    def test_of_a_certificate(self, key: SigningKey) -> None:
        for certificate, words in ((issue(key=key), "NOT VERIFIED: anybody"), (issue(), "NOT SIGNED: any")):
            text, page = render_text(certificate), render_html(certificate)
            assert text.splitlines()[2].startswith(words)
            assert 0 < page.index(words) < page.index('class="state')
        verified = render_text(issue(key=key), verified=key.public.fingerprint)
        assert "NOT " not in verified.partition("Drive\n")[0]

    def test_of_a_summary(self, key: SigningKey) -> None:
        certificates = [of("A", key=key), of("B", key=key)]
        assert to_text(make_paper(summarize(certificates))).splitlines()[2].startswith("NOT VERIFIED: any")
        assert "NOT" not in to_text(make_paper(summarize(certificates, key=key.public)))

    def test_of_a_pdf(self, key: SigningKey) -> None:
        pytest.importorskip("fpdf")
        from seqstore.certificate_pdf import render_pdf, to_pdf  # noqa: PLC0415  an extra

        pages = [render_pdf(issue(key=key), verified=how) for how in (None, key.public.fingerprint)]
        assert pages[0] != pages[1]
        paper = make_certificate_paper(issue(key=key), verified=key.public.fingerprint)
        assert paper.caution == ""
        assert to_pdf(paper, 0) != to_pdf(dataclasses.replace(paper, caution="NOT VERIFIED"), 0)


class TestBatch:
    def test_all_done(self, key: SigningKey) -> None:
        summary = summarize([of("B", key=key), of("A", key=key)], key=key.public, expected=["A", "B"])
        assert summary.done
        assert [entry.serial for entry in summary.entries] == ["A", "B"]
        page = to_html(make_paper(summary))
        assert "All drives are done, 2 of 2" in page
        assert summary.to_document()["achieved"] == {"none": 0, "clear": 2, "purge": 0, "destroy": 0}

    def test_what_does_not_hold_counts_for_nothing(self, key: SigningKey) -> None:
        forged = of("C", key=SigningKey.generate())
        summary = summarize([of("A", key=key), forged], key=key.public)
        assert [entry.done for entry in summary.entries] == [True, False]
        assert summary.entries[1].achieved is Category.NONE
        assert "signed by the key" in summary.entries[1].problem
        assert not summary.done
        assert "1 of 2 drives are done" in to_html(make_paper(summary))

    def test_missing_doubled_and_replaced_ones(self, key: SigningKey) -> None:
        first = of("A", key=key)
        decision = Validation(person=person("Carol Shaw", seconds=500), accepted=True)
        second = first.with_validation(decision, issued=LATER, key=key)
        assert [entry.digest for entry in summarize([first, second]).entries] == [second.digest]
        doubled = summarize([first, of("A", key=key, number="other")])
        assert [entry.done for entry in doubled.entries] == [False, False]
        assert not summarize([first], expected=["A", "B"]).done
        assert not summarize([]).done

    def test_refused_and_lesser_ones_are_not_done(self) -> None:
        no = Validation(person=person("Carol Shaw"), accepted=False)
        assert not summarize([of("A", validation=no)]).done
        assert not summarize([of("A", requested=Category.PURGE)]).done
        assert not summarize([issue(bad_blocks())]).done

    def test_a_table_says_what_was_read(self) -> None:
        two = good_outcome(verifications=(sampling(ZERO), full_reading(ZERO, verifier="python")))
        assert "sampling 10.01 %, full 100 %" in to_html(make_paper(summarize([issue(two)])))
