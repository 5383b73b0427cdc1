"""What a run took: throughput, and percentiles of latency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqstore.errors import ConfigError
from seqstore.sim.timing.drive import Action, Service

PERCENTILES = (50.0, 90.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """The latency of the requests of one kind, in nanoseconds; of none, all is 0.

    Attributes
    ----------
    requests : int
    mean_ns, p50_ns, p90_ns, p99_ns, p999_ns, max_ns : float
        The p-th percentile is that of `numpy.percentile`, between neighbours in proportion.
    """

    requests: int
    mean_ns: float
    p50_ns: float
    p90_ns: float
    p99_ns: float
    p999_ns: float
    max_ns: float

    @classmethod
    def of(cls, latencies_ns: NDArray[np.uint64]) -> Latency:
        """Sum up latencies.

        Parameters
        ----------
        latencies_ns : uint64 array, shape (n,), nanoseconds
        """
        if len(latencies_ns) == 0:
            return cls(requests=0, mean_ns=0, p50_ns=0, p90_ns=0, p99_ns=0, p999_ns=0, max_ns=0)
        p50, p90, p99, p999 = np.percentile(latencies_ns, PERCENTILES).tolist()
        return cls(
            requests=len(latencies_ns),
            mean_ns=float(latencies_ns.mean()),
            p50_ns=p50,
            p90_ns=p90,
            p99_ns=p99,
            p999_ns=p999,
            max_ns=float(latencies_ns.max()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """What a drive did for its users.

    Attributes
    ----------
    seconds : float
        Simulated, from the first arrival to the last completion, the cleaner's included.
    requests_per_second : float
        Users' requests, reads and writes.
    user_bytes_per_second, device_bytes_per_second : float
        Blocks of users' requests, and blocks that the drive was asked to move for users and cleaner. A drive
        that overwrites by moving more inside counts what it was asked.
    reads, writes : Latency
        From a request's first arrival to its last completion. A request that writes at all is a write.
    """

    seconds: float
    requests_per_second: float
    user_bytes_per_second: float
    device_bytes_per_second: float
    reads: Latency
    writes: Latency

    def to_dict(self) -> dict[str, Any]:
        """Give the same as a dict that can be written as JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Performance:
        """Read what `to_dict` gave."""
        reads, writes = (Latency(**content[name]) for name in ("reads", "writes"))
        return cls(**{**content, "reads": reads, "writes": writes})


class Meter:
    """Gathers what drives served, array by array; exact, so that it keeps 8 bytes a request.

    Parameters
    ----------
    block_size : int
        Bytes of a block.
    """

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._latencies: dict[bool, list[NDArray[np.uint64]]] = {False: [], True: []}
        self._first_ns: int | None = None
        self._last_ns = 0
        self._user_blocks = 0
        self._device_blocks = 0

    @property
    def is_used(self) -> bool:
        """Whether anything was served."""
        return self._first_ns is not None

    def add(self, service: Service) -> None:
        """Count what was served.

        Parameters
        ----------
        service : Service
            Every request in it is whole: its operations are in no other.
        """
        operations = service.operations
        if len(operations) == 0:
            return
        first = int(service.arrivals_ns.min())
        self._first_ns = first if self._first_ns is None else min(self._first_ns, first)
        self._last_ns = max(self._last_ns, int(service.completions_ns.max()))
        moved = np.where(operations["kind"] == Action.RESET, 0, operations["count"])
        self._device_blocks += int(moved.sum())

        users = np.flatnonzero(operations["request"])
        if len(users) == 0:
            return
        requests = operations["request"][users]
        begins = np.flatnonzero(np.concatenate(([True], requests[1:] != requests[:-1])))
        arrivals = np.minimum.reduceat(service.arrivals_ns[users], begins)
        latencies = np.maximum.reduceat(service.completions_ns[users], begins) - arrivals
        writes = np.logical_or.reduceat(operations["kind"][users] != Action.READ, begins)
        self._user_blocks += int(moved[users].sum())
        for is_write in (False, True):
            self._latencies[is_write].append(latencies[writes == is_write])

    def result(self) -> Performance:
        """Sum up.

        Raises
        ------
        ConfigError
            If nothing was served.
        """
        if self._first_ns is None:
            raise ConfigError("nothing was served; add at least one operation")
        reads, writes = (
            Latency.of(np.concatenate([np.empty(0, np.uint64), *self._latencies[is_write]]))
            for is_write in (False, True)
        )
        seconds = (self._last_ns - self._first_ns) / 1e9
        rate = 1 / seconds if seconds else 0.0
        return Performance(
            seconds=seconds,
            requests_per_second=(reads.requests + writes.requests) * rate,
            user_bytes_per_second=self._user_blocks * self._block_size * rate,
            device_bytes_per_second=self._device_blocks * self._block_size * rate,
            reads=reads,
            writes=writes,
        )
