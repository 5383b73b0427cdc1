"""Fixtures: small stores of 16 segments of 16 blocks of 512 bytes, so that a lap is 256 blocks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from seqstore import Store, Tenant, Volume
from seqstore.signing import SigningKey
from tests.small import BLOCK_SIZE, CAPACITY, SEGMENT_SIZE


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.memory(CAPACITY, block_size=BLOCK_SIZE, segment_size=SEGMENT_SIZE) as store:
        yield store


@pytest.fixture
def simulated() -> Iterator[Store]:
    with Store.simulated(CAPACITY, block_size=BLOCK_SIZE, segment_size=SEGMENT_SIZE) as store:
        yield store


@pytest.fixture
def tenant(store: Store) -> Tenant:
    return store.create_tenant("contoso")


@pytest.fixture
def volume(tenant: Tenant) -> Volume:
    return tenant.create_volume("vm-disk", "64KiB")


@pytest.fixture
def strict_volume(tenant: Tenant) -> Volume:
    return tenant.create_volume("strict", "64KiB", unwritten="error")


@pytest.fixture(scope="session", name="key")
def signing_key() -> SigningKey:
    return SigningKey.generate()
