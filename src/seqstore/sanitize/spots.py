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


def find_strange(medium: NativeMedium, spots: Sequence[Span], expected: Step) -> set[int]:
    """Return the blocks among spots that can be read and hold something else than a step writes there."""
    return _compared(medium, spots, fill_of(expected))[1]


def mark(medium: NativeMedium, spots: Sequence[Span], seed: bytes) -> list[Span]:
    """Write marks to spots, as far as they can be written, and return which then hold them."""
    with Sweep(medium.handle, _marks(seed), workers=1) as sweep:
        sweep.write(spots)
        raise_what_is_no_fault(medium)
        sweep.sync()
    return still_marked(medium, spots, seed)


def still_marked(medium: NativeMedium, spots: Sequence[Span], seed: bytes) -> list[Span]:
    """Return the spots that hold their marks."""
    good = _compared(medium, spots, _marks(seed))[0]
    return [spot for spot in spots if spot[0] in good]


def _marks(seed: bytes) -> Fill:
    return Fill(seed=hashlib.sha256(b"marks" + seed).digest())


def _compared(medium: NativeMedium, spots: Sequence[Span], fill: Fill) -> tuple[set[int], set[int]]:
    """Return the blocks that hold what they should, and those that hold something else."""
    if not spots:
        return set(), set()
    with Sweep(medium.handle, fill, workers=1) as sweep:
        swept = sweep.read(spots, stop_at_first=False)
        raise_what_is_no_fault(medium)
    found = {
        (block, find.os_error == 0)
        for find in swept.finds
        for block in range(find.first, find.first + find.count)
    }
    bad = {block for block, _ in found}
    return {first for first, _ in spots} - bad, {block for block, is_other in found if is_other}
