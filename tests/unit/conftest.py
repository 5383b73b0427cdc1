"""The small stores of tests/fixtures.py."""

from tests.fixtures import signing_key as key
from tests.fixtures import simulated, store, strict_volume, tenant, volume

__all__ = ["key", "simulated", "store", "strict_volume", "tenant", "volume"]
