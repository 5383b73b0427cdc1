"""Records of blocks written anew that no store writes keep nobody from deleting, and nothing is stated."""

from __future__ import annotations

from typing import Any

import pytest

from seqstore import AuditError, Store
from seqstore.audit_records import Act, Subject
from tests.renewed import CLONED, SEGMENTS, damage, make_both, rows
from tests.several import SEGMENT, SIZES

RUN = [1, 1, 0, CLONED]
GOOD: dict[str, Any] = {"drive": 0, "layer": 1, "runs": [RUN]}
WRONG = [
    *({**GOOD, name: value} for name in GOOD for value in (None, -1, 2**64, "0", True, [], [[1]])),
    *({key: GOOD[key] for key in GOOD if key != name} for name in GOOD),
    *(
        {**GOOD, "runs": [[*RUN[:at], value, *RUN[at + 1 :]]]}
        for at in range(4)
        for value in (None, -1, 2**64)
    ),
    {**GOOD, "runs": [[1, 0, 0, CLONED]]},
    {**GOOD, "runs": [[*RUN, 1]]},
    {**GOOD, "runs": [[1, 1, 2**64 - 1, 2**64 - 1]]},
]


@pytest.mark.parametrize("details", WRONG)
def test_details(details: dict[str, Any]) -> None:
    expect_refused(Subject(kind="volume", number=1, name="volume", tenant=1), details)


def test_subject() -> None:
    expect_refused(Subject(kind="tenant", number=1, name="contoso"), GOOD)


def expect_refused(subject: Subject, details: dict[str, Any]) -> None:
    with Store.memory(SEGMENTS * SEGMENT, evidence=True, **SIZES) as store:
        store.add_drive(SEGMENTS * SEGMENT)
        volume, heir = make_both(store)
        store.audit.append(Act.BLOCKS_RENEWED, subject, details)
        damage(store, heir, 3)
        assert heir.read(0, heir.size) == rows("shared", 0, CLONED)
        heir.delete()
        volume.delete()
        store.purge()
        for _ in range(2):
            with pytest.raises(AuditError, match="does not say which blocks"):
                store.statement(store.erasures[0])


def test_a_good_one() -> None:
    with Store.memory(SEGMENTS * SEGMENT, evidence=True, **SIZES) as store:
        store.add_drive(SEGMENTS * SEGMENT)
        volume, _ = make_both(store)
        store.audit.append(
            Act.BLOCKS_RENEWED, Subject(kind="volume", number=1, name="volume", tenant=1), GOOD
        )
        volume.delete()
        assert all(store.statement(each) for each in store.erasures if each.state == "listed")
