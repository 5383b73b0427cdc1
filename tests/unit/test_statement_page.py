"""Erasure statements as text and as pages: what they may not say, and what is only text."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterator

import pytest

from seqstore import DriveState, Store
from seqstore.evidence import CATEGORIES
from seqstore.signing import SigningKey
from seqstore.standing import _WHY, tell_limits
from seqstore.statement import Statement
from seqstore.statement_page import render_html, render_text
from tests.deletions import BLOCK, Document, finished, make_store, settle

pytest.importorskip("cryptography")


@pytest.fixture
def store() -> Iterator[Store]:
    with make_store() as store:
        yield store


def variants(document: Document) -> Iterator[Document]:
    """Every kind of end, pending or not, kept or not, verified or not, bound or not."""
    choices = itertools.product(
        ["overwritten", "zeroed", "key", None], [False, True], [None, True, False], [None, 10, 10**9], [0, 4]
    )
    for how, observed, passed, bound, kept in choices:
        changed = copy.deepcopy(document)
        for entry in changed["copies"]:
            entry["gone"] = how and {**entry["gone"], "how": how, "observed": observed}
        changed["promise"].update(bound_writes=bound, bound_ns=bound)
        about = {"kind": "snapshot", "number": 9, "name": "monday", "tenant": 1}
        changed["kept"] = [{**about, "blocks": kept}] if kept else []
        record = {"record": 5, "time_ns": 10**18, "what": "read back", "blocks": 60, "position": 7}
        changed["verifications"] = [] if passed is None else [{**record, "passed": passed, "details": ""}]
        settle(changed)
        yield changed
        if how is not None and bound is None:
            yield from at_ends(changed)


def at_ends(document: Document) -> Iterator[Document]:
    """The same on a drive that is out of use, with every kind of end, or none."""
    reference = {"record": document["audit"]["number"], "hash": "0" * 64}
    end = {**reference, "time_ns": 10**18, "technique": None, "stands": True, "certificate": None}
    for ended in (None, end, {**end, "technique": "zero"}, {**end, "stands": False}):
        for most in (None, 256):
            changed = copy.deepcopy(document)
            for entry in changed["copies"] if ended else ():
                entry["gone"]["how"] = "drive"
            state = DriveState.DESTROYED if ended else DriveState.FAILED
            changed["drive"].update(in_use=False, why=_WHY[state], end=ended, most_blocks=most)
            changed["kept"] = []
            changed["limits"] = tell_limits(changed["drive"], shown_blocks=4)
            settle(changed)
            assert not changed["complete"] or (ended is not None and ended["stands"])
            yield changed


class TestPages:
    def test_no_category_is_claimed_whatever_it_says(self, store: Store, key: SigningKey) -> None:
        document = finished(store, key).document
        seen = set()
        for changed in variants(document):
            statement = Statement.make(changed, key)
            for text in (
                render_text(statement),
                re.sub(r"(?s)<style>.*?</style>", "", render_html(statement)),
            ):
                assert CATEGORIES.search(text) is None, CATEGORIES.search(text)
                assert ("Not finished" in text) == (not statement.complete)
                assert "logical, partial sanitization" in text
            assert CATEGORIES.search(statement.to_json()) is None
            seen.add(statement.complete)
        assert seen == {True, False}

    def test_the_words_would_be_noticed(self) -> None:
        found = [word for word in ("clear", "Cleared", "purged", "destroys", "destruction", "nuclear")
                 if CATEGORIES.search(word)]  # fmt: skip
        assert found == ["clear", "Cleared", "purged", "destroys", "destruction"]

    def test_names_and_reasons_are_text_and_nothing_else(self, key: SigningKey) -> None:
        with Store.memory("128KiB", evidence=True, block_size=BLOCK, segment_size="8KiB") as store:
            tenant = store.create_tenant("<script>alert(1)<&\u202ex\u200b")
            tenant.create_volume("disk", BLOCK).write(0, b"x")
            with store.acting(actor="<b>bob</b>", reason='"><img src=x>'):
                tenant.delete()
            statement = store.statement(1, key=key)
        page, text = render_html(statement), render_text(statement)
        assert "<script" not in page
        assert "<img" not in page
        assert "<b>bob" not in page
        assert "\u202e" not in page + text
        assert "&lt;script&gt;" in page

    def test_pages_need_no_other_file(self, store: Store, key: SigningKey) -> None:
        page = render_html(finished(store, key), verified=key.public.fingerprint)
        assert re.findall(r"(src|href|url\(|@import)", page) == []
        assert key.public.fingerprint in page

    def test_long_tables_are_cut_and_say_so(self, store: Store, key: SigningKey) -> None:
        statement = finished(store, key)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("seqstore.statement_page._MOST_ROWS", 3)
            left_out = len(statement.document["copies"]) - 3
            assert f"{left_out} further runs" in render_text(statement)

    def test_late_copies_are_named(self, store: Store, key: SigningKey) -> None:
        in_time = finished(store, key)
        document = copy.deepcopy(in_time.document)
        document["promise"]["bound_writes"] = 1
        settle(document)
        assert document["totals"]["late"] == 60
        statement = Statement.make(document, key)
        assert statement.complete
        text, page = render_text(statement), render_html(statement)
        assert "Finished, 60 blocks too late" in text
        assert "Bound         60 blocks late\n" in text
        assert 'class="state open"' in page
        assert 'class="state complete"' in render_html(in_time)

    def test_what_nobody_saw_in_time_is_told(self, store: Store, key: SigningKey) -> None:
        document = copy.deepcopy(finished(store, key).document)
        document["promise"]["bound_writes"] = 1
        for entry in document["copies"]:
            entry["gone"]["observed"] = True
        settle(document)
        assert (document["totals"]["late"], document["totals"]["unsure"]) == (0, 60)
        text = render_text(Statement.make(document, key))
        assert "Of 60 blocks it is not known whether that was in time." in text
        assert "of 60 blocks it is not known whether in time\n" in text
