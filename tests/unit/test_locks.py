"""What is kept in memory of the catalog is guarded by the catalog's lock: nobody waits for two in turns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from seqstore import Store
from seqstore.audit_records import Subject
from seqstore.catalog import Catalog
from seqstore.drive_life import DriveAct
from tests.several import BLOCK, SEGMENT, SIZES, fill

PATIENCE = 10.0  # seconds, after which a thread is said to wait for ever
NAME = "one of several"


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store.memory(64 * SEGMENT, evidence=True, **SIZES)
    store.add_drive(64 * SEGMENT)
    tenant = store.create_tenant("contoso")
    for name in ("volume", "other"):
        fill(tenant.create_volume(name, 3 * BLOCK, drive=0), 1)
    tenant.volume("volume").delete()
    yield store
    # Threads that hang have the store's locks, so that closing it would hang as well.
    if not any(thread.name == NAME for thread in threading.enumerate()):
        store.close()


def run_all(*work: Callable[[], Any]) -> None:
    """Run functions in threads, and expect that all of them come to their end."""
    threads = [threading.Thread(target=each, name=NAME, daemon=True) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    if any(thread.is_alive() for thread in threads):
        # Without a traceback: to show the store would take the locks.
        pytest.fail("the threads wait for each other", pytrace=False)


def mark_placement(store: Store) -> None:
    store._parts.catalog.placements.mark_changed(2, changed=True)


def list_copies(store: Store) -> None:
    store._evidence.erasures.copies(1)


@pytest.mark.parametrize("work", [mark_placement, list_copies])
def test_in_a_transaction_and_beside_it(store: Store, work: Callable[[Store], None]) -> None:
    """One that has begun beside the transaction of another is not waited for by that one."""
    catalog: Catalog = store._parts.catalog
    begun = threading.Event()

    def within() -> None:
        with catalog.atomic():
            begun.set()
            beside.wait(0.2)  # the other has come as far as it can
            work(store)

    beside = threading.Event()

    def outside() -> None:
        begun.wait(PATIENCE)
        work(store)
        beside.set()

    run_all(within, outside)


def test_a_drive_comes_to_its_end_while_something_is_deleted(store: Store) -> None:
    """The end of a drive asks what lives, in a transaction; a deletion begins one while it holds that."""
    drive, registry = store.drives[1], store._registry
    drive.fail("it clicks")
    held = threading.Event()

    def act() -> None:
        held.wait(PATIENCE)

        def note(*_: object) -> None:
            registry.is_living(Subject(kind="tenant", number=1))

        store._drive_keeper.act(drive, DriveAct.BEGIN_SANITIZATION, note=note)

    def delete() -> None:
        with registry.lock:
            held.set()
            threading.Event().wait(0.2)
            with store._parts.catalog.atomic():
                pass

    run_all(act, delete)
