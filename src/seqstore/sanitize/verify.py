"""Reading a drive after the last pass, and comparing it with what should lie there."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from seqstore._native.sweep import Find, Sweep
from seqstore.errors import ConfigError
from seqstore.media.places import Area
from seqstore.sanitize.overwrite import Effort, fill_of, joined, raise_what_is_no_fault
from seqstore.sanitize.pace import Pace, Report, Walk
from seqstore.sanitize.result import AreaResult, Range, Verification
from seqstore.sanitize.sampling import SUBSECTIONS, draw_samples
from seqstore.sanitize.technique import Method, Step, Technique

if TYPE_CHECKING:
    from seqstore.clock import Clock
    from seqstore.media.native import NativeMedium
    from seqstore.media.places import HiddenPlace

_FIRST_RANGES = 64
_PIECE = 256  # blocks of a hidden area that are read at once


def read_back(
    medium: NativeMedium,
    expected: Step,
    *,
    method: str,
    clock: Clock,
    past_caches: str,
    seed: bytes = b"",
    subsections: int = SUBSECTIONS,
    stop_at_first: bool = True,
    effort: Effort | None = None,
    report: Report = lambda _: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Verification:
    """Read all of a drive, or samples of it, and compare.

    Parameters
    ----------
    medium : NativeMedium
    expected : Step
        An overwriting step.
    method : {"full", "sampling"}
        A medium too small for sampling is read as a whole.
    clock : Clock
    past_caches : str
        How it is known that reads come from the medium; see `Verification`.
    seed : bytes
        Fresh, for the places of the samples.
    subsections : int
    stop_at_first : bool
        Whether the first mismatch ends it; else all are counted.
    effort : Effort, optional
    report, is_cancelled : callable, optional

    Raises
    ------
    ConfigError
        If the method is none, or the seed too short.
    MediumError
        If the medium cannot be used: it belongs to a store.
    """
    if method not in {"full", "sampling"}:
        raise ConfigError(f"the method of verification is {method!r}; 'full' or 'sampling' is expected")
    effort = effort or Effort()
    samples = draw_samples(medium.blocks, seed, subsections=subsections) if method == "sampling" else None
    spans = samples.spans if samples else ((0, medium.blocks),)
    total = sum(count for _, count in spans)
    size, started_ns = medium.block_size, clock.now_ns()
    pace = Pace(clock, "verification", total=total * size, done=0, limit=effort.rate, report=report)
    walk, read, others, stopped = Walk(spans), 0, 0, False
    errors: tuple[Range, ...] = ()
    mismatches: tuple[Range, ...] = ()
    with Sweep(
        medium.handle,
        fill_of(expected),
        piece_blocks=effort.piece_blocks,
        workers=effort.workers,
        retries=effort.retries,
        failures_in_row=effort.failures_in_row,
    ) as sweep:
        while not (walk.is_over() or stopped):
            ahead = walk.ahead(pace.stretch // size)
            swept = sweep.read(ahead, stop_at_first=stop_at_first)
            raise_what_is_no_fault(medium)
            moved = walk.go(ahead, swept.next_span, swept.next_block)
            read += moved
            others += swept.other
            errors = joined((*errors, *_ranges(swept.finds, is_mismatch=False)))
            mismatches = joined((*mismatches, *_ranges(swept.finds, is_mismatch=True)))[:_FIRST_RANGES]
            pace.moved(moved * size)
            stopped = (stop_at_first and swept.other > 0) or swept.is_dead or is_cancelled()
    return Verification(
        method="sampling" if samples else "full",
        verifier="core",
        expected=expected,
        blocks=medium.blocks,
        block_size=size,
        read=read,
        subsections=samples.subsections if samples else 0,
        sample_blocks=samples.sample_blocks if samples else 0,
        seed=seed if samples else b"",
        mismatches=others,
        first_mismatches=mismatches,
        read_errors=errors,
        stopped_early=not walk.is_over(),
        past_caches=past_caches,
        started_ns=started_ns,
        ended_ns=max(clock.now_ns(), started_ns),
    )


def _ranges(finds: Sequence[Find], *, is_mismatch: bool) -> tuple[Range, ...]:
    return tuple(
        Range(
            first=find.first,
            count=find.count,
            reason="holds something else" if is_mismatch else os.strerror(find.os_error),
        )
        for find in finds
        if (find.os_error == 0) == is_mismatch
    )


# ---- hidden areas ----------------------------------------------------------------------------------

PLACES = list(Area)
"""Their order numbers the areas."""
_AREA_BYTES = 1 << 60
"""Byte i of hidden area number n holds what a fill has at byte n * 2**60 + i; the user's area is number 0."""


def overwrite_place(place: HiddenPlace, number: int, step: Step, block_size: int) -> tuple[Range, ...]:
    """Overwrite a hidden area block by block; return what could not be written."""
    fill = fill_of(step)
    failed = []
    for block in range(place.blocks):
        data = fill.bytes_at(number * _AREA_BYTES + block * block_size, block_size)
        try:
            place.write(block, data)
        except OSError as error:
            failed.append(Range(first=block, count=1, area=place.area, reason=str(error)))
    return tuple(failed)


def read_place(
    place: HiddenPlace, number: int, technique: Technique, block_size: int, reached_by: str
) -> AreaResult:
    """Look at a hidden area, as far as the drive lets it be read.

    What a drive keeps of earlier writes may be anything that the technique wrote: a block is accepted if it
    holds what its place calls for, or what every block held after some step. Where a random step is followed
    by others, its blocks would be strange here; a technique that ends with the drive's own command has none.
    """
    read, strange = 0, []
    if place.can_read and reached_by != "keys":  # what was encrypted stays as it is
        allowed = _even_blocks(technique, block_size)
        expected = technique.expected
        fill = fill_of(expected) if expected else None
        for first in range(0, place.blocks, _PIECE):
            count = min(_PIECE, place.blocks - first)
            try:
                data = place.read(first, count)
            except OSError as error:
                strange.append(Range(first=first, count=count, area=place.area, reason=str(error)))
                continue
            read += count
            for index in range(count):
                block = data[index * block_size : (index + 1) * block_size]
                at = number * _AREA_BYTES + (first + index) * block_size
                if block not in allowed and (fill is None or block != fill.bytes_at(at, block_size)):
                    reason = "holds something else"
                    strange.append(Range(first=first + index, count=1, area=place.area, reason=reason))
    return AreaResult(
        area=place.area,
        blocks=place.blocks,
        reached_by=reached_by,
        read_back=read,
        mismatches=tuple(strange),
    )


def _even_blocks(technique: Technique, block_size: int) -> set[bytes]:
    """Return what a block holds after each step that leaves all blocks alike."""
    blocks = set()
    for step in technique.steps:
        if step.method is Method.COMMAND:
            blocks.add(bytes(block_size))
        elif step.method.overwrites and step.method is not Method.RANDOM:
            blocks.add(fill_of(step).bytes_at(0, block_size))
    return blocks
