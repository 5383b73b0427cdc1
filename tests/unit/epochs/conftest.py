"""An encrypted store whose keys of single blocks die at the end of each epoch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from seqstore import CryptographicErase, Store, Volume
from seqstore.clock import ManualClock
from seqstore.keys import FileKey
from tests.durable import create, root_key
from tests.epochs import EPOCH, fill
from tests.small import BLOCK_SIZE


@pytest.fixture
def root(tmp_path: Path) -> FileKey:
    return root_key(tmp_path / "root.key")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(10**18)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lab.store"


@pytest.fixture
def store(path: Path, root: FileKey, clock: ManualClock) -> Iterator[Store]:
    store = create(path, encryption=root, clock=clock, deletion=CryptographicErase(epoch=EPOCH))
    yield store
    if not store.closed:
        store.close()


@pytest.fixture
def volume(store: Store) -> Volume:
    """Blocks 0 to 63, of which every third is written over, and 40 to 49 are trimmed."""
    volume = store.create_tenant("contoso").create_volume("disk", 64 * BLOCK_SIZE)
    fill(volume)
    return volume
