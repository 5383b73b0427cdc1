"""Tenants that arrive, write and trim, delete volumes, and leave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from seqstore.errors import ConfigError
from seqstore.sim.draws import Draws
from seqstore.sim.generated import (
    BATCH,
    Generated,
    check_at_least,
    check_share,
    make_operations,
    paced,
)
from seqstore.sim.operations import Kind

_ARRIVE, _END_VOLUME, _LEAVE = 0, 1, 2
# Streams of draws of one seed, and how many single draws are made at a time.
_EACH, _ARRIVALS, _STAYS, _VOLUMES, _SIZES, _COUNTS = range(6)
_AT_ONCE = 1024
_LARGEST_SIGMA = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantChurn(Generated):
    """Tenants that come and go on one drive."""

    _name: ClassVar[str] = "tenant_churn"

    arrival: float
    lifetime: float
    volume_lifetime: float
    tenant_volumes: float
    volume_blocks: int
    sigma: float
    image: float
    trim_share: float
    read_share: float
    request_blocks: int
    hot: float
    rate: float
    seed: int

    def _check(self) -> None:
        for what in ("arrival", "lifetime", "volume_lifetime", "tenant_volumes", "volume_blocks"):
            check_at_least(getattr(self, what), 1, what)
        for what in ("image", "trim_share", "read_share", "hot", "rate"):
            check_share(getattr(self, what), what)
        check_share(self.trim_share + self.read_share, "trim_share + read_share")
        if not 0.0 <= self.sigma <= _LARGEST_SIGMA:
            raise ConfigError(f"sigma is {self.sigma}; it must lie between 0 and {_LARGEST_SIGMA:g}")
        if not 1 <= self.request_blocks <= self.blocks:
            raise ConfigError(
                f"request_blocks is {self.request_blocks}; it must lie between 1 and the {self.blocks} blocks"
            )

    @property
    def volumes(self) -> None:
        """Nothing: all volumes are made by operations of kind `Kind.CREATE`."""
        return

    def batches(self) -> Iterator[NDArray[np.void]]:
        """Give the operations in their order, in arrays of `OPERATION_DTYPE`."""
        return paced(_Churn(self).pieces(), self.interval_ns)


@dataclass(slots=True)
class _Tenant:
    """A tenant that is there: the size of each volume by its number, and the last number given."""

    volumes: dict[int, int] = field(default_factory=dict)
    last_volume: int = 0


class _Churn:
    """Who is there, and what happens next; time goes by operations, sizes are in requests."""

    def __init__(self, workload: TenantChurn) -> None:
        self._workload = workload
        self._draws = Draws(workload.seed, _EACH)
        self._arrivals = self._exponentials(_ARRIVALS, workload.arrival)
        self._stays = self._exponentials(_STAYS, workload.lifetime)
        self._volume_lives = self._exponentials(_VOLUMES, workload.volume_lifetime)
        sizes, counts = Draws(workload.seed, _SIZES), Draws(workload.seed, _COUNTS)
        self._sizes = _singly(lambda count: sizes.lognormals(0.0, workload.sigma, count))
        self._counts = _singly(counts.floats)
        self._free = workload.blocks // workload.request_blocks
        # Time, a number that tells events of the same time apart, what happens, tenant, volume.
        self._events: list[tuple[float, int, int, int, int]] = []
        self._scheduled = self._last_tenant = 0
        self._tenants: dict[int, _Tenant] = {}

    def _exponentials(self, stream: int, mean: float) -> Iterator[float]:
        draws = Draws(self._workload.seed, stream)
        return _singly(lambda count: draws.exponentials(mean, count))

    def pieces(self) -> Iterator[NDArray[np.void]]:
        """Give the operations in their order."""
        now, left = 0, self._workload.operations
        self._schedule(0.0, _ARRIVE)
        while left:
            time, _, event, number, volume = heappop(self._events)
            # Whoever is there works until it happens.
            done = (
                min(int(time) - now, left) if any(tenant.volumes for tenant in self._tenants.values()) else 0
            )
            if done:
                yield from self._work(done)
            now, left = int(time), left - done
            if left:
                yield from self._happen(time, event, number, volume)

    def _schedule(self, time: float, event: int, tenant: int = 0, volume: int = 0) -> None:
        self._scheduled += 1
        heappush(self._events, (time, self._scheduled, event, tenant, volume))

    def _happen(self, time: float, event: int, number: int, volume: int) -> Iterator[NDArray[np.void]]:
        if event == _ARRIVE:
            self._schedule(time + next(self._arrivals), _ARRIVE)
            yield from self._arrive(time)
            return
        tenant = self._tenants.get(number)
        if event == _LEAVE and tenant is not None:
            self._free += sum(tenant.volumes.values())
            del self._tenants[number]
            yield make_operations(1, kind=Kind.LEAVE, tenant=number, volume=0, lba=0, blocks=0)
        elif tenant is not None:
            self._free += tenant.volumes.pop(volume)
            yield make_operations(1, kind=Kind.DELETE, tenant=number, volume=volume, lba=0, blocks=0)
            yield from self._create(time, number, tenant)

    def _arrive(self, time: float) -> Iterator[NDArray[np.void]]:
        """Let a tenant come, who is turned away where none of the volumes fits."""
        tenant, number = _Tenant(), self._last_tenant + 1
        # From one to as many beyond the mean as one lies below it.
        count = 1 + int(next(self._counts) * (2.0 * self._workload.tenant_volumes - 1.0))
        for _ in range(count):
            yield from self._create(time, number, tenant)
        if tenant.volumes:
            self._tenants[number], self._last_tenant = tenant, number
            self._schedule(time + next(self._stays), _LEAVE, number)

    def _create(self, time: float, number: int, tenant: _Tenant) -> Iterator[NDArray[np.void]]:
        """Make a volume, if it fits, and write its image."""
        request = self._workload.request_blocks
        blocks = self._workload.volume_blocks * next(self._sizes)
        size = min(max(1, round(blocks / request)), self._workload.blocks // request)
        if size > self._free:
            return
        self._free -= size
        tenant.last_volume = volume = tenant.last_volume + 1
        tenant.volumes[volume] = size
        self._schedule(time + next(self._volume_lives), _END_VOLUME, number, volume)
        yield make_operations(1, kind=Kind.CREATE, tenant=number, volume=volume, lba=size * request, blocks=0)
        image = int(size * self._workload.image)
        for first in range(0, image, BATCH):
            lbas = np.arange(first, min(first + BATCH, image)) * request
            yield make_operations(len(lbas), tenant=number, volume=volume, lba=lbas, blocks=request)

    def _work(self, count: int) -> Iterator[NDArray[np.void]]:
        """Let the tenants that are there do operations: to each volume in proportion to its size."""
        workload, draws = self._workload, self._draws
        rows = [(n, v, size) for n, tenant in self._tenants.items() for v, size in tenant.volumes.items()]
        tenants, volumes, sizes = np.array(rows, np.uint64).T
        ends = np.cumsum(sizes)
        hot = np.maximum(1, (sizes * workload.hot).astype(np.uint64))
        for first in range(0, count, BATCH):
            some = min(BATCH, count - first)
            at = np.searchsorted(ends, draws.below(int(ends[-1]), some), side="right")
            own, own_hot = sizes[at], hot[at]
            to_hot = (draws.floats(some) < workload.rate) | (own == own_hot)
            lbas = draws.below(np.where(to_hot, own_hot, own - own_hot), some)
            lbas += np.where(to_hot, 0, own_hot).astype(np.uint64)
            chance, trims = draws.floats(some), workload.trim_share
            kinds = np.where(chance < trims, Kind.TRIM, Kind.WRITE)
            kinds[(chance >= trims) & (chance < trims + workload.read_share)] = Kind.READ
            yield make_operations(
                some,
                kind=kinds,
                tenant=tenants[at],
                volume=volumes[at],
                lba=lbas * workload.request_blocks,
                blocks=workload.request_blocks,
            )


def _singly(make: Callable[[int], NDArray[np.float64]]) -> Iterator[float]:
    """Give draws one by one that are cheaper to make many at a time."""
    while True:
        yield from make(_AT_ONCE).tolist()
