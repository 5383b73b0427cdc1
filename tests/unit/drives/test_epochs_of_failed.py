"""Epochs of volumes that lay on a drive which has failed: they end, since nothing of it comes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from seqstore import CryptographicErase, Store, Volume
from seqstore.clock import ManualClock
from seqstore.keys import FileKey
from tests.durable import create, root_key
from tests.epochs import EPOCH, GONE, KEPT, assert_kept, block, fill, words
from tests.small import BLOCK_SIZE, CAPACITY


@pytest.fixture
def root(tmp_path: Path) -> FileKey:
    return root_key(tmp_path / "root.key")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lab.store"


@pytest.fixture
def store(path: Path, root: FileKey) -> Iterator[Store]:
    """A volume on two drives, and one on the second alone."""
    clock = ManualClock(10**18)
    store = create(path, encryption=root, clock=clock, deletion=CryptographicErase(epoch=EPOCH))
    store.add_drive(4 * CAPACITY)
    tenant = store.create_tenant("contoso")
    fill(tenant.create_volume("both", 64 * BLOCK_SIZE, copies=2))
    fill(tenant.create_volume("alone", 64 * BLOCK_SIZE, drive=1))
    yield store
    if not store.closed:
        store.close()


def both_of(store: Store) -> Volume:
    return store.tenant("contoso").volume("both")


def kinds(store: Store) -> list[str]:
    """The keys of blocks that there are: a tree for each epoch of a volume that has not ended."""
    encryption = store._parts.encryption
    assert encryption is not None
    return [key.kind.name for key in encryption._keychain.keys if key.kind.name in {"TREE", "EPOCH"}]


@pytest.mark.invariant("I5")
def test_they_end_when_it_has_failed(store: Store, path: Path, root: FileKey) -> None:
    store.drives[1].fail("it clicks")
    assert [loss.name for loss in store.losses()] == ["alone"]
    store.flush()
    assert words(path, root) == {KEPT, GONE}
    store.idle(2 * EPOCH)
    assert words(path, root) == {KEPT}
    # What was lost is no more readable than what was given up: no key of the past is left.
    dead = (path / "drives" / "1.img").read_bytes()
    assert words(path, root, dead) == set()
    assert len(kinds(store)) == 2
    assert_kept(both_of(store))
    clock = store._clock
    store.close()
    with Store.open(path, key=root, clock=clock) as again:
        both_of(again).write(0, block(GONE))
        both_of(again).write(0, block(KEPT, 100))
        again.idle(2 * EPOCH)
        assert words(path, root) == {KEPT}
        assert_kept(both_of(again))


def test_they_go_on_while_it_is_only_missing(store: Store, path: Path, root: FileKey) -> None:
    """Until somebody says that it has failed: then they end at the next look."""
    clock = store._clock
    store.close()
    (path / "drives" / "1.img").rename(path / "aside.img")
    with Store.open(path, key=root, clock=clock, missing="go on") as without:
        without.idle(2 * EPOCH)
        assert words(path, root) == {KEPT, GONE}
        without.drives[1].fail("nobody knows where it is")
        without.idle(2 * EPOCH)
        assert words(path, root) == {KEPT}
        assert_kept(both_of(without))
