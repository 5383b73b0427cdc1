"""A trace of many volumes, split into one source for each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqstore.errors import ConfigError
from seqstore.sim.operations import OPERATION_DTYPE, Kind, Source

_AT_ONCE = 1 << 18
_TENANT_SHIFT = np.uint64(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSource:
    """The operations of one volume of a trace.

    Attributes
    ----------
    path : Path
        File that holds them: an array of `OPERATION_DTYPE` and nothing else.
    name : str
        The trace's.
    parameters : dict of str to object
        Those of the trace, with ``tenant``, ``volume``, and ``written_blocks``, which are `blocks`.
    blocks : int
        Different blocks that are written.
    volumes : dict of (int, int) to int, or None
        The volume and its blocks up to the last that an operation names; None if it begins with its creation.
    misaligned : int
        Requests that the trace had to round to blocks.
    """

    path: Path
    name: str
    parameters: dict[str, Any]
    blocks: int
    volumes: Mapping[tuple[int, int], int] | None
    misaligned: int = 0

    def batches(self) -> Iterator[NDArray[np.void]]:
        """Give the operations in their order, in arrays of `OPERATION_DTYPE`."""
        with self.path.open("rb") as file:
            while piece := file.read(_AT_ONCE * OPERATION_DTYPE.itemsize):
                yield np.frombuffer(piece, OPERATION_DTYPE)


def split_volumes(
    source: Source, folder: str | PathLike[str], *, volumes: Iterable[tuple[int, int]] | None = None
) -> list[VolumeSource]:
    """Read a source once, and write the operations of each volume into a file.

    Parameters
    ----------
    source : Source
        A trace or workload of any number of volumes.
    folder : path
        Where the files go; made if it is missing. The sources need them as long as they are used.
    volumes : iterable of (int, int), optional
        Tenant and volume of those that are wanted; all by default.

    Returns
    -------
    list of VolumeSource
        By tenant and volume. Volumes that are never written are left out.

    Raises
    ------
    ConfigError
        If a volume that is wanted is never written.

    Notes
    -----
    Memory grows with the number of runs of blocks that are written, at 16 bytes each, and not with the trace.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    wanted = None if volumes is None else set(volumes)
    parts: dict[tuple[int, int], _Part] = {}
    for operations in source.batches():
        for key, own in _by_volume(operations, parts):
            if wanted is not None and key not in wanted:
                continue
            if key not in parts:
                parts[key] = _Part(place / f"{key[0]}-{key[1]}.operations")
            parts[key].add(own)
    written = {key: part for key, part in sorted(parts.items()) if part.extents.blocks}
    absent = (wanted or set()) - written.keys()
    if absent:
        tenant, volume = min(absent)
        raise ConfigError(
            f"{source.name} never writes to volume {volume} of tenant {tenant}; it cannot be replayed"
        )
    misaligned = getattr(source, "misaligned_by_volume", {})
    return [
        VolumeSource(
            path=part.path,
            name=source.name,
            parameters={
                **source.parameters,
                "tenant": key[0],
                "volume": key[1],
                "written_blocks": part.extents.blocks,
            },
            blocks=part.extents.blocks,
            volumes=None if part.is_created else {key: part.size},
            misaligned=misaligned.get(key, 0),
        )
        for key, part in written.items()
    ]


def _by_volume(
    operations: NDArray[np.void], seen: Iterable[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], NDArray[np.void]]]:
    """Sort operations by volume, in their order; the end of a tenant goes to all of its volumes."""
    keys = operations["tenant"].astype(np.uint64) << _TENANT_SHIFT | operations["volume"]
    distinct = [(key >> 32, key & 0xFFFFFFFF) for key in np.unique(keys).tolist()]
    leaving = operations["kind"] == Kind.LEAVE
    left = set(operations["tenant"][leaving].tolist())
    of_left = {key for key in (*seen, *distinct) if key[0] in left}
    order = np.argsort(keys, kind="stable")
    starts = np.searchsorted(keys[order], [tenant << 32 | volume for tenant, volume in distinct])
    for key, part in zip(distinct, np.split(order, starts[1:]), strict=True):
        if key not in of_left:
            yield key, operations[part]
    for tenant, volume in sorted(of_left):
        own = leaving & (operations["tenant"] == tenant)
        own |= ~leaving & (keys == tenant << 32 | volume)
        yield (tenant, volume), operations[own]


class _Extents:
    """The blocks that were written, as runs; new runs are merged when there are as many as old ones."""

    def __init__(self) -> None:
        self._starts, self._ends = np.empty(0, np.uint64), np.empty(0, np.uint64)
        self._new: list[tuple[NDArray[np.uint64], NDArray[np.uint64]]] = []
        self._new_count = 0

    @property
    def blocks(self) -> int:
        """Different blocks of all runs."""
        self._merge()
        return int((self._ends - self._starts).sum(dtype=np.uint64))

    def add(self, lba: NDArray[np.uint64], count: NDArray[np.uint32]) -> None:
        """Add runs of blocks."""
        self._new.append((lba.copy(), lba + count))
        self._new_count += len(lba)
        if self._new_count > max(_AT_ONCE, len(self._starts)):
            self._merge()

    def _merge(self) -> None:
        starts = np.concatenate([self._starts, *(new for new, _ in self._new)])
        ends = np.concatenate([self._ends, *(new for _, new in self._new)])
        order = np.argsort(starts, kind="stable")
        starts, reached = starts[order], np.maximum.accumulate(ends[order])
        # A run begins where its start lies behind everything that any earlier one reaches.
        begins = (
            np.flatnonzero(np.append(True, starts[1:] > reached[:-1])) if len(starts) else np.empty(0, int)
        )
        self._starts = starts[begins]
        self._ends = reached[np.append(begins[1:] - 1, len(starts) - 1)] if len(starts) else reached
        self._new, self._new_count = [], 0


@dataclass(slots=True)
class _Part:
    """What has been found of a volume so far."""

    path: Path
    extents: _Extents = field(default_factory=_Extents)
    is_created: bool | None = None
    size: int = 0

    def add(self, operations: NDArray[np.void]) -> None:
        with self.path.open("wb" if self.is_created is None else "ab") as file:
            operations.tofile(file)
        if self.is_created is None:
            self.is_created = bool(operations["kind"][0] == Kind.CREATE)
        requests = operations[operations["kind"] <= Kind.TRIM]
        self.size = max(self.size, int(np.max(requests["lba"] + requests["count"], initial=0)))
        writes = requests[requests["kind"] == Kind.WRITE]
        self.extents.add(writes["lba"], writes["count"])
