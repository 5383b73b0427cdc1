"""Statements about drives out of use: pending until the drive has come to its end, which they name then."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from seqstore import StatementError, Store, Tenant
from seqstore.canonical import decode, encode
from seqstore.certificate_parts import Destruction, Person
from seqstore.evidence import CATEGORIES
from seqstore.signing import SigningKey
from seqstore.statement import Statement
from seqstore.statement_page import render_html, render_text
from tests.deletions import settle
from tests.several import BLOCK, CANARY, SEGMENT, Lost, fill

pytest.importorskip("cryptography")

ADA = Person(name="Ada Byron", role="technician", time_ns=0)
GRACE = Person(name="Grace Murray", role="auditor", time_ns=0)
DESTRUCTION = Destruction(operator=ADA, witness=GRACE, how="shredded to 2 mm", reason="it is broken")


@pytest.fixture
def key() -> SigningKey:
    return SigningKey.generate()


def statement_of(store: Store, number: int, key: SigningKey) -> Statement:
    """The statement of an erasure, which holds by itself and in its store, and claims no category."""
    statement = Statement.from_json(store.statement(number, key=key).to_json())
    statement.verify(key.public)
    statement.verify_in(store.audit)
    for text in (statement.to_json(), render_text(statement), render_html(statement)):
        assert CATEGORIES.search(text.partition("<style>")[0] + text.partition("</style>")[2]) is None
    return statement


def limits(statement: Statement) -> str:
    return " ".join(statement.document["limits"])


def assert_pending(statement: Statement, why: str) -> dict[str, Any]:
    """Expect a statement that promises nothing, and says why; return what it says of the drive."""
    document = statement.document
    assert not statement.complete
    assert document["pending"] == {
        "blocks": document["totals"]["pending"],
        "until_position": None,
        "until_ns": None,
    }
    drive: dict[str, Any] = document["drive"]
    assert (drive["number"], drive["in_use"]) == (1, False)
    assert why in drive["why"]
    assert "no time is promised" in limits(statement)
    assert "Not finished" in render_text(statement)
    assert f"drive 1 is not in use: {drive['why']}" in render_text(statement)
    return drive


class TestADriveThatWasMissing:
    def test_pends_there_and_says_why(self, lost: Lost, key: SigningKey) -> None:
        drive = assert_pending(statement_of(lost.store, 2, key), "it is missing")
        assert (drive["serial"], drive["most_blocks"], drive["end"]) == ("ZA1", 512, None)
        lost.store.drives[1].fail("nobody knows where it is")
        statement = statement_of(lost.store, 2, key)
        assert_pending(statement, "it has failed")
        assert "any number up to 512 blocks" in limits(statement)
        assert statement_of(lost.store, 1, key).complete  # of the drive that is in use

    def test_is_complete_when_it_was_sanitized_and_names_that(self, lost: Lost, key: SigningKey) -> None:
        lost.store.drives[1].fail("it turned up again, and is not trusted")
        lost.plug()
        certificate = lost.store.drives[1].sanitize(operator=ADA, verifier=GRACE)
        statement = statement_of(lost.store, 2, key)
        assert statement.complete
        end = statement.document["drive"]["end"]
        record = lost.store.audit[end["record"]]
        assert (record.act, record.subject["name"]) == ("sanitization finished", "ZA1")
        assert (end["technique"], end["time_ns"], end["stands"]) == ("zero", record.time_ns, True)
        assert end["certificate"]["digest"] == certificate.digest
        assert certificate.digest in limits(statement)
        assert "never counted" in limits(statement)
        # What it says of the end is compared with the audit log.
        for name, value in (("hash", "0" * 64), ("technique", "ones"), ("time_ns", 1)):
            document = copy.deepcopy(statement.document)
            document["drive"]["end"][name] = value
            with pytest.raises(StatementError, match=f"{name} of record {end['record']}"):
                Statement.make(document, key).verify_in(lost.store.audit)
        # A result that somebody refuses is none, whatever was said before.
        lost.store.drives[1].refuse("the sampler was broken")
        assert_pending(statement_of(lost.store, 2, key), "not accepted")
        assert [drive.drive for drive in lost.store.remanence(lost.number).uncounted] == [1]

    def test_is_complete_when_it_was_destroyed(self, lost: Lost, key: SigningKey) -> None:
        lost.store.drives[1].fail("it was found in pieces")
        paper = lost.store.drives[1].destroy(DESTRUCTION)
        statement = statement_of(lost.store, 2, key)
        assert statement.complete
        end = statement.document["drive"]["end"]
        assert (end["technique"], end["certificate"]["digest"]) == (None, paper.digest)
        assert lost.store.audit[end["record"]].act == "drive destroyed"
        assert "rests on the word of the persons" in limits(statement)


class TestADriveThatWasInUse:
    @pytest.fixture
    def store(self, lost: Lost) -> Store:
        lost.plug()
        lost.store.purge()
        tenant = lost.store.tenant("fabrikam")
        tenant.create_volume("secret", 30 * len(CANARY), drive=1).write(0, CANARY * 30)
        lost.store.flush()
        return lost.store

    def test_its_copies_go_with_it(self, store: Store, key: SigningKey) -> None:
        store.tenant("fabrikam").volume("secret").delete()
        number = store.erasures[-1].id
        before = statement_of(store, number, key).document
        assert before["totals"]["pending"] == 30
        store.drives[1].decommission()
        statement = statement_of(store, number, key)
        drive = assert_pending(statement, "it was emptied")
        assert (drive["most_blocks"], statement.document["totals"]["pending"]) == (None, 30)
        assert "30 of 30 blocks that are known still lie there" in render_text(statement)
        store.drives[1].sanitize("random", operator=ADA, verifier=GRACE)
        statement = statement_of(store, number, key)
        assert statement.complete
        totals = statement.document["totals"]
        assert (totals["pending"], totals["drive"], totals["zeroed"], totals["late"]) == (0, 30, 0, 0)
        assert "'random'" in limits(statement)

    def test_what_others_showed_there_goes_with_it(self, store: Store, key: SigningKey) -> None:
        volume = store.tenant("fabrikam").volume("secret")
        volume.snapshot("monday")
        volume.delete()
        number = store.erasures[-1].id
        store.drives[1].fail("it clicks")
        statement = statement_of(store, number, key)
        assert_pending(statement, "it has failed")
        assert statement.document["totals"]["pending"] == 0
        assert "Others showed 30 blocks of it on drive 1" in limits(statement)
        store.drives[1].sanitize(operator=ADA, verifier=GRACE)
        statement = statement_of(store, number, key)
        assert statement.complete
        assert [entry["blocks"] for entry in statement.document["lists"]] == [0, 0]

    def test_what_was_finished_before_cannot_be_looked_at_again(self, store: Store, key: SigningKey) -> None:
        store.tenant("fabrikam").volume("secret").delete()
        number = store.erasures[-1].id
        store.purge()
        assert statement_of(store, number, key).complete
        store.drives[1].decommission()
        assert_pending(statement_of(store, number, key), "it was emptied")


class TestLies:
    def test_a_statement_that_claims_more(self, lost: Lost, key: SigningKey) -> None:
        document = statement_of(lost.store, 2, key).document
        for change in ({"complete": True}, {"pending": None}):
            with pytest.raises(StatementError):
                Statement.make({**document, **change}, key)
        invented = {**document["audit"], "record": 1, "time_ns": 1, "technique": None, "stands": True}
        del invented["number"]
        changed = copy.deepcopy(document)
        changed["drive"]["end"] = {**invented, "certificate": None}
        settle(changed)
        with pytest.raises(StatementError, match="is not behind the request"):
            Statement.make(changed, key)
        changed["drive"]["end"]["record"] = document["request"]["record"] + 1
        settle(changed)
        with pytest.raises(StatementError, match="of record"):
            Statement.make(changed, key).verify_in(lost.store.audit)

    def test_copies_that_went_with_a_drive_in_use(self, lost: Lost, key: SigningKey) -> None:
        document = copy.deepcopy(statement_of(lost.store, 1, key).document)
        for entry in document["copies"]:
            entry["gone"]["how"] = "drive"
        settle(document)
        with pytest.raises(StatementError, match="of whose end nothing is said"):
            Statement.make(document, key)
        document = copy.deepcopy(statement_of(lost.store, 1, key).document)
        document["drive"]["number"] = 1
        with pytest.raises(StatementError, match="speaks of drive 1, and lists drives"):
            Statement.make(document, key)

    def test_one_of_the_first_version_is_read(self, lost: Lost, key: SigningKey) -> None:
        document: dict[str, Any] = decode(encode(statement_of(lost.store, 1, key).document))
        document["version"] = 1
        with pytest.raises(StatementError, match="the statement holds"):
            Statement.make(document, key)
        del document["drive"], document["elsewhere"]
        settle(document)
        assert "drive" not in document["totals"]
        statement = Statement.make(document, key)
        assert statement.complete
        assert "Finished" in render_text(statement)
        document["complete"] = False
        with pytest.raises(StatementError):
            Statement.make(document, key)


def test_bytes_of_a_memory_store(store: Store, tenant: Tenant, key: SigningKey) -> None:
    """A drive without serial number and identity has a name all the same."""
    store.add_drive(64 * SEGMENT)
    fill(tenant.create_volume("v", 5 * BLOCK, drive=1), 1)
    store.drives[1].fail("it clicks")
    tenant.delete()
    statement = statement_of(store, store.erasures[-1].id, key)
    assert assert_pending(statement, "it has failed")["serial"] == store.drives[1].serial


def test_a_drive_whose_log_went_on_after_the_last_deletion(store: Store, tenant: Tenant) -> None:
    """What is listed at the drive's end comes behind what was found when others had let go of a part."""
    store.add_drive(64 * SEGMENT)
    volume = tenant.create_volume("volume", 20 * BLOCK, drive=1)
    fill(volume, 1)
    heir = volume.snapshot("monday").clone("heir")
    volume.find_snapshot("monday").delete()
    volume.delete()
    fill(tenant.create_volume("other", 100 * BLOCK, drive=1), 2)
    fill(heir, 3, 10)  # half of it is kept on
    numbers = [erasure.id for erasure in store.erasures]
    assert [store.statement(number).document["totals"]["pending"] for number in numbers] == [0, 10]
    store.drives[1].fail("it clicks")
    store.drives[1].sanitize(operator=ADA, verifier=GRACE)
    for number in numbers:
        assert store.statement(number).complete
