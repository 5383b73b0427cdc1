"""What events and the ledger say of the copies that are known, and what they tell of others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from seqstore.copies import COPY_DTYPE
from seqstore.runs import NEVER, Pieces, strike


def hit_by(copies: NDArray[np.void], events: NDArray[np.void]) -> Pieces:
    """Say which pieces of copies were written over, by the first event since each was seen.

    Parameters
    ----------
    copies : COPY_DTYPE[n]
    events : OVERWRITTEN_DTYPE[m]

    Returns
    -------
    Pieces
        Their runs are the ids of the copies.
    """
    cut = strike(
        copies["mba"],
        copies["count"],
        copies["seen"],
        event_mba=events["mba"].astype(np.uint64),
        event_count=events["count"].astype(np.uint64),
        event_position=events["position"].astype(np.int64),
    )
    return Pieces(copies["id"][cut.run], cut.mba, cut.count, cut.position)


def compare(
    copies: NDArray[np.void], residue: NDArray[np.void], after: int
) -> tuple[Pieces, NDArray[np.void]]:
    """Compare the pending copies of an erasure with all residue that there is of it.

    Parameters
    ----------
    copies, residue : COPY_DTYPE[n], COPY_DTYPE[m]
    after : int
        A position at which what the residue lacks was gone.

    Returns
    -------
    Pieces
        Of the copies; those that are gone have the position.
    COPY_DTYPE[k]
        The residue that is none of the copies.
    """
    still = strike(
        copies["mba"],
        copies["count"],
        np.full(len(copies), NEVER, np.int64),
        event_mba=residue["mba"],
        event_count=residue["count"],
        event_position=residue["died"],
    )
    # A block that died after the copy was seen is another one, on the same place.
    is_same = (still.position != NEVER) & (still.position <= copies["seen"][still.run])
    new = _without(residue, still.mba[is_same], still.count[is_same])
    added = residue[new.run]
    added["mba"], added["count"] = new.mba, new.count
    fates = np.where(is_same, NEVER, after)
    return Pieces(copies["id"][still.run], still.mba, still.count, fates), added


def in_turns(events: NDArray[np.void]) -> Iterator[NDArray[np.void]]:
    """Yield events in groups that do not overlap, so that a block that was written over twice was so in turn.

    Parameters
    ----------
    events : OVERWRITTEN_DTYPE[n]
    """
    rest = events[events["count"] > 0]
    rest = rest[np.lexsort((rest["position"], rest["mba"]))]
    while len(rest):
        ends = np.maximum.accumulate(rest["mba"] + rest["count"])
        is_apart = np.ones(len(rest), bool)
        is_apart[1:] = rest["mba"][1:] >= ends[:-1]
        yield rest[is_apart]
        rest = rest[~is_apart]


def unlisted(copies: NDArray[np.void], events: NDArray[np.void]) -> Pieces:
    """Return what events that do not overlap say of blocks that are none of the pending copies.

    Parameters
    ----------
    copies : COPY_DTYPE[n]
    events : OVERWRITTEN_DTYPE[m]
    """
    new = _without(events, copies["mba"], copies["count"])
    return Pieces(new.run, new.mba, new.count, events["position"].astype(np.int64)[new.run])


def as_found(pieces: Pieces, looked: int) -> NDArray[np.void]:
    """Make copies of pieces that nobody knew before they were gone.

    They died after the last look, nobody knows when. The earliest time is the one that promises least.
    """
    copies = np.zeros(len(pieces.run), COPY_DTYPE)
    copies["mba"], copies["count"], copies["died"] = pieces.mba, pieces.count, looked
    copies["gone_position"] = copies["gone_ns"] = NEVER
    return copies


def _without(runs: NDArray[np.void], mba: NDArray[np.uint64], count: NDArray[np.uint64]) -> Pieces:
    """Return what is left of runs without others."""
    pieces = strike(
        runs["mba"].astype(np.uint64),
        runs["count"].astype(np.uint64),
        np.zeros(len(runs), np.int64),
        event_mba=mba,
        event_count=count,
        event_position=np.zeros(len(mba), np.int64),
    )
    is_left = pieces.position == NEVER
    return Pieces(pieces.run[is_left], pieces.mba[is_left], pieces.count[is_left], pieces.position[is_left])
