"""Erasure statements that were changed: what shows by itself, by the signature, by the audit log."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from seqstore import (
    FormatError,
    SignatureError,
    StatementError,
    Store,
)
from seqstore.signing import Sealed, SigningKey
from seqstore.statement import Statement
from seqstore.statement_check import find_problems
from tests.deletions import BLOCK, Document, finished, make_store, settle

pytest.importorskip("cryptography")


@pytest.fixture
def store() -> Iterator[Store]:
    with make_store() as store:
        yield store


def gone(document: Document) -> Document:
    return next(copy for copy in document["copies"] if copy["gone"])


# Changes that are noticed although the sums were made to come out, and the signature is not looked at.
LIES: dict[str, Callable[[Document], object]] = {
    "a copy is dropped": lambda d: d["copies"].pop(),
    "a copy is added": lambda d: d["copies"].append({**gone(d), "mba": 200}),
    "a copy lies elsewhere": lambda d: gone(d).update(mba=200),
    "a copy is longer": lambda d: gone(d).update(blocks=gone(d)["blocks"] + 1),
    "a copy died earlier": lambda d: gone(d).update(died=1),
    "a copy was left by the cleaner": lambda d: gone(d).update(state="MOVED"),
    "a copy of another record": lambda d: gone(d).update(record=1),
    "a copy beyond the drive": lambda d: d["store"]["drives"][0].update(blocks=10),
    "gone before it was listed": lambda d: gone(d)["gone"].update(position=1),
    "gone before it was asked for": lambda d: gone(d)["gone"].update(time_ns=1),
    "gone in the future": lambda d: gone(d)["gone"].update(position=10**9),
    "gone later than now": lambda d: gone(d)["gone"].update(time_ns=2**62),
    "gone by magic": lambda d: gone(d)["gone"].update(how="cleared"),
    "issued before the request": lambda d: d["issued"].update(time_ns=1),
    "asked for later": lambda d: d["request"].update(position=10**9),
    "the list is another one": lambda d: d["lists"][0].update(digest="0" * 64),
    "the list has more": lambda d: d["lists"][0].update(blocks=61),
    "the list is older than the request": lambda d: d["lists"][0].update(position=1),
    "the log ends before": lambda d: d["audit"].update(number=1),
    "something is missing": lambda d: d.pop("limits"),
    "something is more": lambda d: d.update(cleared=True),
    "a number is a string": lambda d: gone(d).update(mba="7"),
    "a number is a boolean": lambda d: gone(d).update(blocks=True),
    "a number is negative": lambda d: gone(d).update(died=-1),
    "a limit is no sentence": lambda d: d["limits"].append(7),
}
# Changes of what only sums show.
WRONG_SUMS: dict[str, Callable[[Document], object]] = {
    "fewer blocks": lambda d: d["totals"].update(blocks=59),
    "nothing is late": lambda d: d["totals"].update(late=1),
    "pending after all": lambda d: d.update(pending={"blocks": 0, "until_position": None, "until_ns": None}),
    "not complete": lambda d: d.update(complete=False),
    "a copy is still there": lambda d: gone(d).update(gone=None),
}


class TestLies:
    @pytest.fixture
    def document(self, store: Store, key: SigningKey) -> Document:
        return copy.deepcopy(finished(store, key).document)

    def test_the_truth(self, document: Document) -> None:
        settle(document)
        assert list(find_problems(document)) == []

    @pytest.mark.parametrize("lie", LIES)
    def test_show_by_themselves(self, document: Document, key: SigningKey, lie: str) -> None:
        LIES[lie](document)
        with suppress(KeyError, TypeError, ValueError, OverflowError):  # then there are no sums to be made
            settle(document)
        assert list(find_problems(document)) != []
        with pytest.raises(StatementError, match="contradicts itself"):
            Statement(Sealed.make(document, key)).verify(key.public)

    @pytest.mark.parametrize("lie", WRONG_SUMS)
    def test_show_by_their_sums(self, document: Document, lie: str) -> None:
        WRONG_SUMS[lie](document)
        assert list(find_problems(document)) != []

    @pytest.mark.parametrize("lie", [*LIES, *WRONG_SUMS])
    def test_break_the_signature(self, store: Store, key: SigningKey, lie: str) -> None:
        statement = finished(store, key)
        values = json.loads(statement.to_json())
        {**LIES, **WRONG_SUMS}[lie](values["document"])
        with pytest.raises(SignatureError):
            Statement.from_json(json.dumps(values)).verify(key.public)

    @pytest.mark.parametrize("part", ["actor", "time_ns", "reason", "hash"])
    def test_show_in_the_audit_log(self, store: Store, key: SigningKey, part: str) -> None:
        statement = finished(store, key)
        document = copy.deepcopy(statement.document)
        value = document["request"][part]
        document["request"][part] = value - 1 if part == "time_ns" else "f" * 64
        forged = Statement.make(document, key)
        forged.verify(key.public)
        with pytest.raises(StatementError, match="not this store's"):
            forged.verify_in(store.audit)

    def test_another_store(self, store: Store, key: SigningKey) -> None:
        statement = finished(store, key)
        with (
            Store.memory("128KiB", evidence=True, block_size=BLOCK, segment_size="8KiB") as other,
            pytest.raises(StatementError, match="another audit log"),
        ):
            statement.verify_in(other.audit)

    def test_one_that_was_never_issued(self, store: Store, key: SigningKey) -> None:
        statement = finished(store, key)
        document = copy.deepcopy(statement.document)
        document["limits"] = []
        forged = Statement.make(document, key)
        with pytest.raises(StatementError, match="no record"):
            forged.verify_in(store.audit)

    def test_a_log_whose_end_was_cut_off(self, store: Store, key: SigningKey) -> None:
        statement = finished(store, key)
        database = store._parts.catalog.database
        database.run("DROP TRIGGER audit_is_not_removed")
        database.run("DELETE FROM audit WHERE number > 6")
        with pytest.raises(StatementError, match="cut off"):
            statement.verify_in(store.audit)

    def test_what_was_signed_for_something_else(self, store: Store, key: SigningKey) -> None:
        head = store.audit.head
        assert head is not None
        sealed = Sealed.make(head.to_document(5), key)
        with pytest.raises(FormatError, match="an erasure statement is expected"):
            Statement.from_json(sealed.to_json())
