"""Every media block that holds or held bytes of an owner, as the ledger knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from seqstore._native.records import NO_ADDRESS, Scope
from seqstore.units import unsigned

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import SupportsIndex

    from numpy.typing import NDArray

    from seqstore.catalog import DriveRow
    from seqstore.drive import Drive
    from seqstore.placements import Placements

FIND_DTYPE = np.dtype(
    [("drive", "u4"), ("mba", "u8"), ("count", "u8"), ("volume", "u8"), ("state", "u1"), ("died", "u8")]
)
"""A run of media blocks: on which of the drives, from where, how many; the number of the volume through which
they were written, `BlockState` (LIVE, DEAD or MOVED) or UNSEEN, and the position of their death (NO_ADDRESS:
they live, or nobody knows)."""

UNSEEN = 255
"""State of a drive that nobody can look at and that holds blocks of the owner, or may do so: one run of all
of it, of volume 0. `Store.remanence` says how many there are, or that nobody has counted them."""

__all__ = ["FIND_DTYPE", "UNSEEN", "Scope", "find"]

_BLOCKS_AT_ONCE = 2**18  # of the ledger: 10 MiB


def find(
    drives: Sequence[Drive],
    scope: Scope,
    number: SupportsIndex = 0,
    *,
    placements: Placements | None = None,
    unseen: Sequence[DriveRow] = (),
) -> NDArray[np.void]:
    """List where bytes of an owner lie, live and dead, in order of address.

    Parameters
    ----------
    drives : sequence of Drive
        Those of the store.
    scope : Scope
        What `number` is the number of; ALL finds everybody's.
    number : int
        Of a tenant or volume, which may have been deleted. What a snapshot shows was written through a
        volume, and is found under that one's number.
    placements : Placements, optional
        Which numbers volumes have on drives; by default their own.
    unseen : sequence of DriveRow, optional
        Drives that hold blocks of the owner, or may do so, and cannot be looked at.

    Returns
    -------
    FIND_DTYPE[n]
        Runs, each as long as drive, volume, state and time of death are the same, and behind them one of
        state UNSEEN for each drive that cannot be looked at. The log's own blocks are
        not among them. While somebody writes, what is found of different parts of a drive is of different
        moments.

    Raises
    ------
    ConfigError
        If `number` is none.
    ClosedError
        If the store was closed.
    """
    wanted = unsigned(number, "number")
    pieces = [np.empty(0, FIND_DTYPE)]
    for drive in drives:
        known = [] if placements is None else placements.on(drive.number)
        own = [place.number for place in known if place.volume == wanted] or [wanted]
        for first in range(0, drive.blocks, _BLOCKS_AT_ONCE):
            ledger = drive.ledger(first, min(_BLOCKS_AT_ONCE, drive.blocks - first))
            runs = _runs(ledger, drive.number, first, scope, own if scope is Scope.VOLUME else [wanted])
            for place in known:
                if place.number != place.volume:
                    runs["volume"][runs["volume"] == place.number] = place.volume
            pieces.append(runs)
    away = [(row.number, 0, row.blocks, 0, UNSEEN, NO_ADDRESS) for row in unseen]
    return np.concatenate([_merge(np.concatenate(pieces)), np.array(away, FIND_DTYPE)])


def _runs(
    ledger: NDArray[np.void], drive: int, first: int, scope: Scope, numbers: list[int]
) -> NDArray[np.void]:
    """Pick the owner's blocks out of a piece of the ledger that begins with the media block `first`."""
    if scope is Scope.ALL:
        at = np.flatnonzero(ledger["volume"])
    else:
        at = np.flatnonzero(np.isin(ledger["tenant" if scope is Scope.TENANT else "volume"], numbers))
        at = at[ledger["volume"][at] != 0]
    blocks = np.empty(len(at), FIND_DTYPE)
    blocks["drive"], blocks["mba"], blocks["count"] = drive, at + first, 1
    for name in ("volume", "state", "died"):
        blocks[name] = ledger[name][at]
    return _merge(blocks)


def _merge(runs: NDArray[np.void]) -> NDArray[np.void]:
    """Make one run of those that follow each other and are alike."""
    if not len(runs):
        return runs
    begins = np.ones(len(runs), bool)
    begins[1:] = runs["mba"][1:] != runs["mba"][:-1] + runs["count"][:-1]
    for name in ("drive", "volume", "state", "died"):
        begins[1:] |= runs[name][1:] != runs[name][:-1]
    first = np.flatnonzero(begins)
    merged = runs[first]
    merged["count"] = np.add.reduceat(runs["count"], first)
    return merged
