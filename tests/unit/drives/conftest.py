"""A store in memory that further drives are added to, and one whose drives can be taken away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from seqstore import Store, Tenant
from tests.several import SEGMENT, SIZES, Lost, Rack


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.memory(64 * SEGMENT, evidence=True, **SIZES) as store:
        yield store
        store.check()


@pytest.fixture
def tenant(store: Store) -> Tenant:
    return store.create_tenant("contoso")


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Rack]:
    rack = Rack(tmp_path / "names.db")
    yield rack
    rack.close()


@pytest.fixture
def lost(tmp_path: Path) -> Iterator[Lost]:
    lost = Lost(tmp_path)
    yield lost
    lost.store.close()
