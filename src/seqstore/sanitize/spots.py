"""A few blocks at places left to chance, looked at where reading everything would take too long."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from seqstore._native.sweep import Fill, Span, Sweep
from seqstore.sanitize.overwrite import fill_of, raise_what_is_no_fault

if TYPE_CHECKING:
    from seqstore.media.native import NativeMedium
    from seqstore.sanitize.result import Range
    from seqstore.sanitize.technique import Step

COUNT = 32


def choose_spots(end: int, seed: bytes, what: str, leave_out: Sequence[Range] = ()) -> list[Span]:
    """Choose single blocks below `end`, the first and the last among them.

    Parameters
    ----------
    end : int
    seed : bytes
        Fresh ones.
    what : str
        What for: other places for each.
    leave_out : sequence of Range
        Where none should be.
    """
    if not end:
        return []
    chosen = {0, end - 1}
    for number in range(COUNT):
        drawn = hashlib.sha256(seed + what.encode() + number.to_bytes(4, "big")).digest()
        chosen.add(int.from_bytes(drawn, "big") % end)
    is_out = {spot for spot in chosen for part in leave_out if 0 <= spot - part.first < part.count}
    return [(spot, 1) for spot in sorted(chosen - is_out)]


def hold(medium: NativeMedium, spots: Sequence[Span], expected: Step) -> list[Span]:
    """Return the spots that hold what a step writes there."""
    return _matching(medium, spots, fill_of(expected))


def mark(medium: NativeMedium, spots: Sequence[Span], seed: bytes) -> list[Span]:
    """Write marks to spots, as far as they can be written, and return which then hold them."""
    fill = Fill(seed=hashlib.sha256(b"marks" + seed).digest())
    with Sweep(medium.handle, fill, workers=1) as sweep:
        sweep.write(spots)
        raise_what_is_no_fault(medium)
        sweep.sync()
    return _matching(medium, spots, fill)


def still_marked(medium: NativeMedium, spots: Sequence[Span], seed: bytes) -> list[Span]:
    """Return the spots that hold their marks."""
    return _matching(medium, spots, Fill(seed=hashlib.sha256(b"marks" + seed).digest()))


def _matching(medium: NativeMedium, spots: Sequence[Span], fill: Fill) -> list[Span]:
    if not spots:
        return []
    with Sweep(medium.handle, fill, workers=1) as sweep:
        swept = sweep.read(spots, stop_at_first=False)
        raise_what_is_no_fault(medium)
    bad = {block for find in swept.finds for block in range(find.first, find.first + find.count)}
    return [spot for spot in spots if spot[0] not in bad]
