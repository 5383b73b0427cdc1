"""Families: volumes, snapshots and clones that share blocks, and so move together."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqstore.errors import NotFoundError
from seqstore.extents import covered, extents_of
from seqstore.snapshot import Snapshot
from seqstore.volume import Volume

if TYPE_CHECKING:
    from seqstore.registry import Registry


@dataclass(frozen=True, slots=True)
class Family:
    """Volumes and snapshots that share blocks.

    Attributes
    ----------
    views : tuple of Volume or Snapshot
        In order of creation.
    """

    views: tuple[Volume | Snapshot, ...]

    @property
    def numbers(self) -> list[int]:
        """Their numbers."""
        return [view.number for view in self.views]

    @property
    def volumes(self) -> list[Volume]:
        """Those that can change."""
        return [view for view in self.views if isinstance(view, Volume)]

    def drives(self) -> set[int]:
        """Return the drives that have an up-to-date copy of something of it."""
        return {leg.drive for view in self.views for leg in view._route.legs}

    def complete_on(self) -> list[int]:
        """Return the drives that have all of it, up to date, in the order in which they are asked."""
        first = [leg.drive for leg in self.views[0]._route.legs]
        return [drive for drive in first if all(view._route.leg_on(drive) for view in self.views)]

    def blocks(self, drive: int) -> int:
        """Count the media blocks that it takes on a drive."""
        legs = [view._route.leg_on(drive) for view in self.views]
        parts = []
        for leg in legs:
            if leg is not None:
                with suppress(NotFoundError):  # it was deleted meanwhile
                    parts.append(extents_of(leg.view))
        return covered(parts)

    def lineages(self) -> list[tuple[int, Volume | None, list[Snapshot]]]:
        """List each volume with its snapshots, a clone behind the volume whose snapshot it began as.

        Returns
        -------
        list of (int, Volume or None, list of Snapshot)
            The volume's number, the volume unless it was deleted, and its snapshots in order of creation.
        """
        living = {view.number: view for view in self.volumes}
        snapshots: dict[int, list[Snapshot]] = {}
        for view in self.views:
            if isinstance(view, Snapshot):
                snapshots.setdefault(view.volume_number, []).append(view)
        lineage_of = {view.number: view.volume_number for view in self.views if isinstance(view, Snapshot)}
        ordered: list[int] = []

        def put(number: int) -> None:
            if number in ordered:
                return
            volume = living.get(number)
            if volume is not None and volume._origin in lineage_of:
                put(lineage_of[volume._origin])
            ordered.append(number)

        for number in sorted({*living, *snapshots}):
            put(number)
        return [(number, living.get(number), snapshots.get(number, [])) for number in ordered]


def families(registry: Registry) -> list[Family]:
    """Return the families of everything that lives, in order of creation of their oldest members."""
    views = registry.views()
    parents: dict[int, int] = {}

    def root(number: int) -> int:
        parents.setdefault(number, number)
        while parents[number] != number:
            number = parents[number]
        return number

    for view in views:
        parents.setdefault(root(view.number), root(view.number))
        if view._origin:
            parents[root(view._origin)] = root(view.number)
    # Where a link was deleted, the logs know who shares blocks all the same.
    for number in sorted(parents):
        for holder in registry.fleet.reach(number):
            parents[root(holder)] = root(number)
    grouped: dict[int, list[Volume | Snapshot]] = {}
    for view in views:
        grouped.setdefault(root(view.number), []).append(view)
    return [Family(tuple(group)) for group in grouped.values()]


def on_drive(registry: Registry, drive: int) -> list[Family]:
    """Return the families of which something is up to date on a drive."""
    return [family for family in families(registry) if drive in family.drives()]


def largest_first(found: Iterable[Family], drive: int) -> list[tuple[Family, int]]:
    """Return families with the blocks that they take on a drive, the largest first."""
    sized = [(family, family.blocks(drive)) for family in found]
    return sorted(sized, key=lambda pair: -pair[1])
