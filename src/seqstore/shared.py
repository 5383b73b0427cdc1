"""What something that is to be deleted shares with others: blocks that others show too, and those that die.

A block belongs to the layer in which it was written, and is named by the number of the layer and its address
in it, wherever the cleaner moves it. Nothing is ever added to a layer that several show, so that what others
show of something deleted only becomes less.

References
----------
docs/explanation/evidence.md says what of this a statement tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from seqstore._native.records import SHOWN_DTYPE
from seqstore.runs import NEVER, strike

if TYPE_CHECKING:
    from seqstore.audit_records import Subject
    from seqstore.engine import Engine

MOST_BLOCKS = 1 << 38  # of a volume
_NAMES = SHOWN_DTYPE.names or ()


@dataclass(frozen=True, slots=True)
class Shared:
    """Blocks of something that is to be deleted, in layers that more than one may show.

    Attributes
    ----------
    kept : SHOWN_DTYPE[n]
        Those that others show, and which live on with them.
    dying : SHOWN_DTYPE[m]
        Those that nobody else shows: they die with it.
    """

    kept: NDArray[np.void]
    dying: NDArray[np.void]

    def owners(self) -> set[tuple[int, int]]:
        """Return tenant and volume of each layer of which something dies."""
        return set(zip(self.dying["tenant"].tolist(), self.dying["volume"].tolist(), strict=True))

    @property
    def shown(self) -> NDArray[np.void]:
        """All of them."""
        return np.concatenate([self.kept, self.dying])

    def __or__(self, other: Shared) -> Shared:
        """Return what either has."""
        return Shared(unite([self.kept, other.kept]), unite([self.dying, other.dying]))


NOTHING = Shared(np.empty(0, SHOWN_DTYPE), np.empty(0, SHOWN_DTYPE))


class DriveLayers:
    """What is shown of the layers of a drive's log, by the numbers that volumes have in the store.

    Layers have the numbers of that log, so blocks of different drives must not be compared.

    Parameters
    ----------
    engine : Engine
        The log.
    numbers_of : callable
        All numbers that a volume or snapshot has or had on the drive.
    volume_of : callable
        The volume or snapshot that such a number stands for.
    """

    def __init__(
        self, engine: Engine, numbers_of: Callable[[int], list[int]], volume_of: Callable[[int], int]
    ) -> None:
        self._engine = engine
        self._numbers_of = numbers_of
        self._volume_of = volume_of

    @property
    def block_size(self) -> int:
        """Bytes of a block."""
        return self._engine.medium.block_size

    @property
    def last_number(self) -> int:
        """The largest number that the log has met."""
        return self._engine.counters()["last_number"]

    def volumes(self) -> dict[int, int]:
        """Return the volumes and snapshots that the log knows, with their tenants."""
        return {
            self._volume_of(int(entry["number"])): int(entry["tenant"]) for entry in self._engine.volumes()
        }

    def shown(self, number: int, first: int, count: int, *, with_own: bool = False) -> NDArray[np.void]:
        """List what a volume or snapshot shows that others may show too, as SHOWN_DTYPE[n].

        With its own that is all that it shows; see `Engine.shown`.
        """
        parts = [self._engine.shown(own, first, count, with_own=with_own) for own in self._numbers_of(number)]
        runs = parts[0] if len(parts) == 1 else unite(parts)
        for own in np.unique(runs["volume"]).tolist():
            runs["volume"][runs["volume"] == own] = self._volume_of(own)
        return runs

    def holders(self, volume: int, first: int, count: int) -> set[int]:
        """List who else shows blocks that were written through a volume."""
        return {
            self._volume_of(int(number))
            for own in self._numbers_of(volume)
            for number in self._engine.reach(own, first, count)["number"]
        }


def find_shared(layers: DriveLayers, subject: Subject) -> Shared:
    """Say what a tenant, volume, snapshot or range shares with others on a drive, before it is deleted.

    Its blocks are those that it shows, and what was written through it: earlier versions of a range or of a
    volume that snapshots show are its blocks too.
    """
    first, count = blocks_of(layers.block_size, subject)
    entries = layers.volumes()
    if subject.kind == "tenant":
        own = {number for number, tenant in entries.items() if tenant == subject.number}
    else:
        own = {subject.number} & entries.keys()
    mine = unite(layers.shown(number, first, count) for number in sorted(own))
    if subject.kind == "tenant":
        others = entries.keys() - own
    else:
        owners = set(mine["volume"].tolist())
        owners |= set() if subject.kind == "snapshot" else {subject.number}
        others = find_holders(layers, owners, first, count) - {subject.number}
    theirs = unite(layers.shown(number, first, count) for number in sorted(others))
    if subject.kind == "snapshot":
        is_own = np.zeros(len(theirs), bool)
    else:
        is_own = theirs["tenant" if subject.kind == "tenant" else "volume"] == subject.number
    kept = unite([theirs[is_own], common(theirs[~is_own], mine)])
    return Shared(kept, without(mine, kept))


def blocks_of(size: int, subject: Subject) -> tuple[int, int]:
    """Return the blocks of this size that something may be about: the first one, and how many."""
    if subject.offset is None or subject.length is None:
        return 0, MOST_BLOCKS
    first = min(subject.offset // size, MOST_BLOCKS)
    return first, min(-(-(subject.offset + subject.length) // size), MOST_BLOCKS) - first


def find_keepers(layers: DriveLayers, kept: NDArray[np.void]) -> dict[int, int]:
    """Say who shows blocks now that others kept of something deleted: numbers, and how many blocks each.

    Parameters
    ----------
    layers : DriveLayers
        Of the drive that they are on.
    kept : SHOWN_DTYPE[n]
        Without overlaps.
    """
    if not len(kept):
        return {}
    first = int(kept["lba"].min())
    count = int((kept["lba"] + kept["count"]).max()) - first
    while True:
        last = layers.last_number
        holders = find_holders(layers, set(kept["volume"].tolist()), first, count)
        shown = {
            number: common(kept, layers.shown(number, first, count, with_own=True))
            for number in sorted(holders)
        }
        # One that came meanwhile may have taken over what one that went meanwhile showed.
        if layers.last_number == last:
            return {number: int(runs["count"].sum()) for number, runs in shown.items() if len(runs)}


def find_holders(layers: DriveLayers, volumes: set[int], first: int, count: int) -> set[int]:
    """List who may show blocks that were written through volumes; these are among them."""
    found = set(volumes)
    for volume in volumes:
        found |= layers.holders(volume, first, count)
    return found


# ---- arithmetic with blocks of layers -------------------------------------------------------------------


def unite(parts: Iterable[NDArray[np.void]]) -> NDArray[np.void]:
    """Return the blocks of several lists, each once, in order of layer and address."""
    runs = np.concatenate([np.empty(0, SHOWN_DTYPE), *parts])
    runs = runs[np.lexsort((runs["lba"], runs["layer"]))]
    if not len(runs):
        return runs
    address, ends = _place(runs, runs)
    reached = np.maximum.accumulate(ends)
    begins = np.ones(len(runs), bool)
    begins[1:] = (address[1:] > reached[:-1]) | (runs["layer"][1:] != runs["layer"][:-1])
    starts = np.flatnonzero(begins)
    united = runs[starts]
    united["count"] = np.maximum.reduceat(ends, starts) - address[starts]
    return united


def common(runs: NDArray[np.void], others: NDArray[np.void]) -> NDArray[np.void]:
    """Return the pieces of runs that others have, too."""
    return _cut(runs, others, hit=True)


def without(runs: NDArray[np.void], others: NDArray[np.void]) -> NDArray[np.void]:
    """Return the pieces of runs that others have not."""
    return _cut(runs, others, hit=False)


def _cut(runs: NDArray[np.void], others: NDArray[np.void], *, hit: bool) -> NDArray[np.void]:
    if not len(runs) or not len(others):
        return runs[: 0 if hit else len(runs)]
    every = np.concatenate([runs[list(_NAMES)], others[list(_NAMES)]])
    place, _ = _place(runs, every)
    other, _ = _place(others, every)
    zeros = np.zeros(len(others), np.int64)
    pieces = strike(
        place,
        runs["count"],
        np.zeros(len(runs), np.int64),
        event_mba=other,
        event_count=others["count"],
        event_position=zeros,
    )
    chosen = (pieces.position != NEVER) == hit
    found: NDArray[np.void] = runs[pieces.run[chosen]]
    found["lba"] += pieces.mba[chosen] - place[pieces.run[chosen]]
    found["count"] = pieces.count[chosen]
    return found


def _place(runs: NDArray[np.void], every: NDArray[np.void]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Give the blocks of all layers addresses in one row: where runs begin, and where they end."""
    layers = np.unique(every["layer"])
    index = np.searchsorted(layers, runs["layer"]).astype(np.uint64)
    # Twice as much room as a layer can have, so that none touches the next.
    address = index * np.uint64(2 * MOST_BLOCKS) + runs["lba"]
    return address, address + runs["count"]
