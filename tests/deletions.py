"""A small store with two tenants, one of which is deleted, and statements of that."""

from __future__ import annotations

from typing import Any

from seqstore import ManualClock, Store
from seqstore.signing import SigningKey
from seqstore.statement import Statement
from seqstore.statement_check import copies_of, is_complete, sum_up

BLOCK = 512

Document = dict[str, Any]


def make_store() -> Store:
    """A store in memory of 256 blocks that is filled."""
    options: Any = {"block_size": BLOCK, "segment_size": "8KiB", "clock": ManualClock(10**18)}
    store = Store.memory("128KiB", evidence=True, actor="alice", **options)
    fill(store)
    return store


def fill(store: Store) -> None:
    """Two tenants whose blocks lie side by side; `contoso` has overwritten some of its own."""
    mine = store.create_tenant("contoso").create_volume("disk", 40 * BLOCK)
    others = store.create_tenant("fabrikam").create_volume("disk", 40 * BLOCK)
    for number in range(60):
        mine.write(number % 40 * BLOCK, bytes([number]) * BLOCK)
        others.write(number % 40 * BLOCK, b"o" * BLOCK)


def go_round(store: Store, laps: float = 2) -> None:
    volume = store.tenant("fabrikam").volume("disk")
    for number in range(int(laps * store.drives[0].blocks)):
        volume.write(number % 40 * BLOCK, b"o" * BLOCK)


def delete(store: Store) -> None:
    with store.acting(actor="bob", reason="ticket 4711"):
        store.tenant("contoso").delete()


def finished(store: Store, key: SigningKey) -> Statement:
    delete(store)
    go_round(store)
    return store.statement(1, key=key)


def settle(document: Document) -> None:
    """Make the sums come out, as whoever lies with care does."""
    request, promise, issued = document["request"], document["promise"], document["issued"]
    totals, pending = sum_up(copies_of(document), request, promise, issued, document.get("drive"))
    document["totals"], document["pending"] = totals, pending
    document["complete"] = is_complete(document)
