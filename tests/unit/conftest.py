"""The small stores of tests/fixtures.py."""

from tests.fixtures import simulated, store, strict_volume, tenant, volume

__all__ = ["simulated", "store", "strict_volume", "tenant", "volume"]
