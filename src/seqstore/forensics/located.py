"""Whose block each fragment lies in, by the ledger of the store that the medium is of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seqstore import BlockState, ConfigError
from seqstore.forensics.report import FileReport, Report

if TYPE_CHECKING:
    from seqstore import Drive, Store

PLACE_DTYPE = np.dtype(
    [("offset", "u8"), ("length", "u8"), ("start", "u8"), ("tenant", "u8"), ("volume", "u8"), ("state", "u1")]
)
"""A part of a fragment in blocks of one owner and one `BlockState`, or `OUTSIDE`."""

OUTSIDE = 255
"""State of what lies behind the end of the drive, on a larger medium."""

_OWNED = (BlockState.LIVE, BlockState.DEAD, BlockState.MOVED)
_STATES = {int(state): state.name.lower() for state in BlockState} | {OUTSIDE: "outside"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How much of a file lies in blocks of one owner and state.

    Attributes
    ----------
    tenant, volume : int
        Numbers of the owner; 0 for nobody's blocks.
    tenant_name, volume_name : str or None
        Their names; None for what was deleted, and for nobody.
    state : str
        What the ledger calls the blocks: live, dead, moved; and free, summary or outside, where no fragment
        of a tenant's data should be.
    bytes : int
        Of the fragments.
    blocks : int
        That hold them.
    """

    tenant: int
    volume: int
    tenant_name: str | None
    volume_name: str | None
    state: str
    bytes: int
    blocks: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Located:
    """Where the fragments of one file lie.

    Attributes
    ----------
    file : FileReport
    parts : PLACE_DTYPE[n]
        The fragments, divided by owner and state.
    places : tuple of Place
        The same, summed up.
    """

    file: FileReport
    parts: NDArray[np.void] = field(repr=False)
    places: tuple[Place, ...]

    @property
    def unowned_bytes(self) -> int:
        """Bytes in blocks that the ledger does not know to hold anybody's."""
        owned = np.isin(self.parts["state"], _OWNED)
        return int(self.parts["length"][~owned].sum())

    def values(self) -> dict[str, Any]:
        """Return everything in values that JSON can hold."""
        return {
            "places": [{name: getattr(place, name) for name in Place.__slots__} for place in self.places],
            "parts": [
                {**dict(zip(PLACE_DTYPE.names or (), row, strict=True)), "state": _STATES[row[-1]]}
                for row in self.parts.tolist()
            ],
            "unowned_bytes": self.unowned_bytes,
        }


def locate(report: Report, store: Store, *, drive: int = 0) -> tuple[Located, ...]:
    """Say whose blocks the fragments lie in.

    The two know nothing of each other: what was found was found by its bytes, and the ledger says whose the
    blocks are. `Store.find` lists the same blocks, and all others of their owner.

    Parameters
    ----------
    report : Report
        Of a search of the drive, in the state in which the store is.
    store : Store
        May be open for reading alone.
    drive : int
        Which of its drives was searched.

    Returns
    -------
    tuple of Located
        One for each file, in their order.

    Raises
    ------
    ConfigError
        If there is no such drive, or what was searched is smaller.
    ClosedError
        If the store was closed.
    """
    if not 0 <= drive < len(store.drives):
        raise ConfigError(f"drive is {drive}; the store has {len(store.drives)}, counted from 0")
    disk = store.drives[drive]
    if report.medium_bytes < disk.capacity:
        raise ConfigError(
            f"{report.medium!r} has {report.medium_bytes} bytes and the store's drive {disk.capacity}:"
            " give the drive that belongs to the store"
        )
    tenants, volumes = _names(store)
    return tuple(_locate(file, disk, tenants, volumes) for file in report.files)


def _names(store: Store) -> tuple[dict[int, str], dict[int, str]]:
    tenants = {tenant.number: tenant.name for tenant in store.tenants}
    volumes = {volume.number: volume.name for tenant in store.tenants for volume in tenant.volumes}
    return tenants, volumes


def _locate(file: FileReport, drive: Drive, tenants: dict[int, str], volumes: dict[int, str]) -> Located:
    rows = [row for fragment in file.fragments.tolist() for row in _divide(fragment, drive)]
    parts = np.array(rows, PLACE_DTYPE)
    places = []
    for key in np.unique(parts[["tenant", "volume", "state"]]):
        tenant, volume, state = key.item()
        mine = parts[(parts["tenant"] == tenant) & (parts["volume"] == volume) & (parts["state"] == state)]
        places.append(
            Place(
                tenant=tenant,
                volume=volume,
                tenant_name=tenants.get(tenant),
                volume_name=volumes.get(volume),
                state=_STATES[state],
                bytes=int(mine["length"].sum()),
                blocks=_count_blocks(mine, drive.block_size),
            )
        )
    return Located(file=file, parts=parts, places=tuple(places))


def _divide(fragment: tuple[int, int, int], drive: Drive) -> Iterator[tuple[int, int, int, int, int, int]]:
    """Cut a fragment where the blocks' owner or state changes."""
    offset, length, start = fragment
    end, size = offset + length, drive.block_size
    inside = min(end, drive.capacity)
    if offset < inside:
        first = offset // size
        ledger = drive.ledger(first, -(-inside // size) - first)
        changes = np.zeros(len(ledger), bool)
        for name in ("tenant", "volume", "state"):
            changes[1:] |= ledger[name][1:] != ledger[name][:-1]
        cuts = [0, *np.flatnonzero(changes).tolist(), len(ledger)]
        for begin, behind in pairwise(cuts):
            place = max((first + begin) * size, offset)
            count = min((first + behind) * size, inside) - place
            row = ledger[begin]
            owner = int(row["tenant"]), int(row["volume"]), int(row["state"])
            yield (place, count, start + place - offset, *owner)
    if inside < end:
        place = max(drive.capacity, offset)
        yield place, end - place, start + place - offset, 0, 0, OUTSIDE


def _count_blocks(parts: NDArray[np.void], block_size: int) -> int:
    """Count the blocks that hold some parts, which stand in order and may overlap, each once."""
    first = parts["offset"] // np.uint64(block_size)
    behind = (parts["offset"] + parts["length"] - np.uint64(1)) // np.uint64(block_size) + np.uint64(1)
    behind = np.maximum.accumulate(behind)
    first[1:] = np.maximum(first[1:], behind[:-1])
    return int((behind - first).sum())
