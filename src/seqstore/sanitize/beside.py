"""What is done beside the pass: the drive's own command, its keys, hidden areas that can be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seqstore.errors import ConfigError
from seqstore.sanitize.result import Fault, Range
from seqstore.sanitize.spots import choose_spots, mark, still_marked
from seqstore.sanitize.technique import Step, Technique
from seqstore.sanitize.verify import PLACES, overwrite_place, read_place

if TYPE_CHECKING:
    from seqstore.sanitize.facts import Facts
    from seqstore.sanitize.target import Target

_CLAIM = "the drive reported that its sanitize command was done, and"


def give_command(target: Target, facts: Facts, seed: bytes) -> str:
    """Give the drive its command, and look at marks that were put there before whether it did it."""
    medium = target.medium
    spots = choose_spots(medium.blocks, seed, "command")
    marked = mark(medium, spots, seed)
    target.command()
    target.settle()
    left = still_marked(medium, marked, seed)
    if left:
        facts.caught(
            f"{_CLAIM} {len(left)} of {len(marked)} blocks that were marked before still hold their marks"
        )
    _look_behind_command(target, facts)
    return f"the drive reported success; {len(marked)} marked blocks, {len(left)} of them unchanged"


def _look_behind_command(target: Target, facts: Facts) -> None:
    """Look at hidden areas before later steps may leave something there."""
    size = target.medium.block_size
    for place in target.places():
        found = read_place(place, PLACES.index(place.area), Technique.command(), size, "command")
        facts.commanded[place.area] = found
        if found.mismatches:
            count = sum(part.count for part in found.mismatches)
            facts.caught(f"{_CLAIM} {count} of {found.blocks} {place.area.value} blocks hold something else")


def destroy_keys(target: Target, facts: Facts) -> str:
    """Destroy the keys of all that lies on the drive, and look whether they are gone.

    Raises
    ------
    ConfigError
        If none are known.
    """
    keys = target.keys()
    if keys is None:
        raise ConfigError("no keys are known under which the drive was encrypted; leave 'cryptographic' out")
    count = keys.destroy()
    if not keys.are_gone():
        facts.blame(Fault.KEYS, "the keys were destroyed, and are still where they were kept")
    return f"{count} keys destroyed"


def overwrite_places(target: Target, facts: Facts, step: Step) -> tuple[Range, ...]:
    """Overwrite the hidden areas that can be written; return what could not be."""
    size = target.medium.block_size
    failed: list[Range] = []
    for place in target.places():
        if place.can_write:
            failed += overwrite_place(place, PLACES.index(place.area), step, size)
    if failed:
        facts.blame(Fault.HIDDEN, f"{len(failed)} hidden blocks could not be overwritten")
    return tuple(failed)
