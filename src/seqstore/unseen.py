"""What lies on drives that nobody can look at: those that are missing, have failed or went out of service.

When a drive goes out of service its blocks are counted, by owner. Of one that was missing then, or whose log
could not be read, it is known at most whose blocks may lie on it, and never that none do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from seqstore._native.records import Scope
from seqstore.audit_records import Subject
from seqstore.drive_facts import HOLDS_NOTHING
from seqstore.stats import Uncounted

if TYPE_CHECKING:
    from collections.abc import Callable

    from seqstore.catalog import Catalog, DriveRow
    from seqstore.drive_facts import FactTable
    from seqstore.fleet import Fleet
    from seqstore.owners import Owners


class Unseen:
    """The drives of a store that are not in use and not sanitized.

    Parameters
    ----------
    fleet : Fleet
        Those in use.
    catalog : Catalog
    facts : FactTable
    owners : Owners
    why_not : callable
        Says why a drive is not in use.
    """

    def __init__(
        self,
        fleet: Fleet,
        catalog: Catalog,
        facts: FactTable,
        owners: Owners,
        why_not: Callable[[int], str],
    ) -> None:
        self._fleet = fleet
        self._catalog = catalog
        self._facts = facts
        self._owners = owners
        self._why_not = why_not

    def rows(self) -> list[DriveRow]:
        """Return the drives."""
        away = [row for row in self._catalog.drives if row.number not in self._fleet]
        return [row for row in away if self._facts.get(row.number).state not in HOLDS_NOTHING]

    def counted(self, scope: Scope, number: int) -> dict[int, int]:
        """Return how many blocks of an owner lie on these drives, by drive, as far as they were counted."""
        drives = {row.number for row in self.rows()}
        found = self._facts.residue(
            tenant=number if scope is Scope.TENANT else None,
            volume=number if scope is Scope.VOLUME else None,
        )
        return {drive: blocks for drive, blocks in found.items() if blocks and drive in drives}

    def uncounted(self, scope: Scope, number: int) -> tuple[Uncounted, ...]:
        """Return those that may hold blocks of an owner, and which nobody has counted."""
        return tuple(
            Uncounted(
                drive=row.number,
                most_blocks=row.blocks,
                most_bytes=row.blocks * row.block_size,
                why=self._why_not(row.number),
            )
            for row in self.rows()
            if not self._facts.was_counted(row.number) and self._may_hold(row.number, scope, number)
        )

    def holders(self, scope: Scope, number: int) -> list[DriveRow]:
        """Return those that hold blocks of an owner, or may do so."""
        drives = {each.drive for each in self.uncounted(scope, number)} | self.counted(scope, number).keys()
        return [row for row in self.rows() if row.number in drives]

    def _may_hold(self, drive: int, scope: Scope, number: int) -> bool:
        """Tell whether anything of an owner was ever placed on a drive, as far as anybody can know."""
        placements = self._catalog.placements
        if scope is Scope.VOLUME:
            return any(place.drive == drive for place in placements.of(number))
        # What was deleted before there was a second drive has no placement; it lay on the first one.
        was_used = drive == 0 or bool(placements.on(drive))
        if scope is Scope.ALL or not was_used or not self._owners.are_known:
            return was_used
        volumes = self._owners.volumes_of(Subject(kind="tenant", number=number))
        return any(place.drive == drive for volume in volumes for place in placements.of(volume))
