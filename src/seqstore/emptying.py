"""Families of volumes are moved: off a drive, to where a copy is missing, from full drives to empty ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from seqstore._native.records import Scope
from seqstore.errors import ConfigError, MediumError, OutOfSpaceError
from seqstore.families import Family, families, largest_first, on_drive
from seqstore.moving import Mover, Progress, remove_from_log

if TYPE_CHECKING:
    from seqstore.registry import Registry

Told = Callable[[Progress], None] | None

_SPARE_BLOCKS = 64  # a family takes a little more than its blocks: summaries, and what is written meanwhile


class FamilyMovers:
    """Moves families of a store. The caller sees to it that one does at a time.

    Parameters
    ----------
    registry : Registry
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def require_room(self, drive: int) -> None:
        """Refuse to empty a drive if the others have no room, or there are not enough of them.

        Raises
        ------
        OutOfSpaceError
        """
        placer = self._registry.placer
        free = {
            member.number: placer.free_blocks(member.number)
            for member in self._registry.fleet
            if member.number != drive and placer.takes(member.number)
        }
        needed = 0
        missing = 0
        for family, blocks in largest_first(on_drive(self._registry, drive), drive):
            needed += blocks
            fit = [other for other in free if other not in family.drives()]
            best = max(fit, key=lambda other: free[other], default=None)
            if best is None or free[best] < blocks + (_SPARE_BLOCKS if blocks else 0):
                missing += blocks - (0 if best is None else max(free[best], 0))
            else:
                free[best] -= blocks
        if missing > 0:
            size = self._registry.fleet.first.medium.block_size
            raise OutOfSpaceError(
                f"drive {drive} holds {needed} live blocks, and for {missing} of them"
                f" ({missing * size} bytes) the other drives have no room, or each of them has a copy of them"
                " already; add a drive, or delete something",
                needed=needed,
                available=needed - missing,
            )

    def move_all(self, moved: list[Family], drive: int, told: Told) -> None:
        """Move families away from a drive.

        Raises
        ------
        OutOfSpaceError
            If the others have no room for one of them.
        """
        sized = largest_first(moved, drive)
        report = _Report(told, sum(blocks for _, blocks in sized), len(sized))
        for family, _ in sized:
            self._copy_family(family, {drive}, report)
            report.end_family()

    @contextmanager
    def _holding(self, family: Family) -> Iterator[Family | None]:
        """Keep a family as it is; None if somebody else changed it before."""
        placer = self._registry.placer
        with self._registry.lock:
            placer.wait_for(family.numbers)
            now = [other for other in families(self._registry) if set(other.numbers) & set(family.numbers)]
            held = [number for other in now for number in other.numbers]
            placer.hold(held)
        try:
            yield now[0] if len(now) == 1 else None
        finally:
            placer.release(held)

    def _copy_family(self, family: Family, replaced: set[int], report: _Report) -> None:
        """Copy a family to the best drive, in the place of what it has on some drives."""
        registry = self._registry
        with self._holding(family) as current:
            if current is None:
                return  # it was deleted, or split: what is left of it is met again
            sources = current.complete_on()
            if not sources:
                raise MediumError(
                    f"no drive has all of {current.views[0]!r} and what shares its blocks; open the store"
                    " again"
                )
            source = next((drive for drive in sources if drive not in replaced), sources[0])
            kept = current.drives() - replaced
            region = registry.placer.region_of(current.views[0].number) if not kept else ""
            target = self._choose(kept, replaced, region)
            mover = Mover(
                registry,
                current,
                registry.fleet.member(source),
                registry.fleet.member(target),
                report.add,
            )
            mover.run(replaced)
        self._keep_promises(current, target, replaced)

    def _choose(self, beside: set[int], without: set[int], region: str) -> int:
        placer = self._registry.placer
        usable = {drive for drive in without if not self._registry.placer.takes(drive)}
        avoid = without | usable
        if region:
            with suppress(ConfigError):
                return placer.choose(1, region, beside=beside, without=avoid)[0]
        try:
            return placer.choose(1, beside=beside, without=avoid)[0]
        except ConfigError as error:
            raise OutOfSpaceError(str(error), needed=1, available=0) from error

    def _keep_promises(self, family: Family, target: int, replaced: set[int]) -> None:
        """Bound what the family leaves on its new drive, and write over what it left on the old ones."""
        eraser = self._registry.eraser
        if eraser is None or eraser.is_lap:
            return
        for volume in family.volumes:
            eraser.placed(target, volume.number)
        if any(eraser.bounds(Scope.VOLUME, volume.number).now for volume in family.volumes):
            # Of everybody: what a clone shows was written through volumes that may be gone.
            for drive in replaced:
                eraser.purge_drive(drive, Scope.ALL, 0)

    def rebuild(self, told: Told) -> int:
        """Make new copies of what has too few; return how many families got one."""
        poor = [family for family in families(self._registry) if self._is_poor(family)]
        sizes = [family.blocks(family.complete_on()[0]) if family.complete_on() else 0 for family in poor]
        report = _Report(told, sum(sizes), len(poor))
        for family in poor:
            self._rebuild_family(family, report)
            report.end_family()
        return len(poor)

    def _rebuild_family(self, family: Family, report: _Report) -> None:
        registry = self._registry
        with self._holding(family) as current:
            if current is None or not current.complete_on():
                return
            damaged = {d for number in current.numbers for d in registry.placer.damaged.get(number, ())}
            source = min(current.complete_on(), key=lambda drive: drive in damaged)
            others = {row.number for row in self._registry.catalog.drives} - {source}
            target = self._choose({source}, set(), "")
            members = registry.fleet.member(source), registry.fleet.member(target)
            try:
                Mover(registry, current, *members, report.add).run(others)
            except OutOfSpaceError:
                if not self._drop_stale(current, target):
                    raise
                Mover(registry, current, *members, report.add).run(others)
            for number in current.numbers:
                registry.placer.damaged.pop(number, None)
        self._keep_promises(current, target, others)

    def _drop_stale(self, family: Family, drive: int) -> bool:
        """Give up copies of a family that nobody believes, for the room that they take; tell if any were."""
        places = self._registry.catalog.placements
        stale = [
            place
            for number in family.numbers
            for place in places.of(number)
            if place.drive == drive and place.state == "stale"
        ]
        for place in stale:
            places.put(place.number, "left")
        remove_from_log(self._registry.fleet.member(drive), {place.number for place in stale})
        return bool(stale)

    def _is_poor(self, family: Family) -> bool:
        placer = self._registry.placer
        return any(
            len(view._route.legs) < placer.copies_of(view.number) or view.number in placer.damaged
            for view in family.views
            if view._route.legs
        )

    def rebalance(self, told: Told) -> int:
        """Move families from full drives to empty ones, as long as that evens them out."""
        report = _Report(told, 0, 0)
        moved = 0
        while True:
            chosen = self._next_to_balance()
            if chosen is None:
                return moved
            family, drive, blocks = chosen
            report.grow(blocks)
            self._copy_family(family, {drive}, report)
            report.end_family()
            moved += 1

    def _next_to_balance(self) -> tuple[Family, int, int] | None:
        """Choose what is moved next: a family that fits into half of the difference of fullness."""
        fleet, placer = self._registry.fleet, self._registry.placer
        fill = {
            member.number: member.engine.counters()["live_blocks"] / placer.usable_blocks(member.number)
            for member in fleet
            if placer.takes(member.number)
        }
        if len(fill) < 2:
            return None
        full, empty = max(fill, key=fill.__getitem__), min(fill, key=fill.__getitem__)
        unit = min(placer.usable_blocks(full), placer.usable_blocks(empty))
        difference = (fill[full] - fill[empty]) * unit
        for family, blocks in largest_first(on_drive(self._registry, full), full):
            # The difference must get smaller, or there would be no end to it.
            is_gain = 0 < blocks <= difference / 2 + 0.5 and blocks < difference - 1e-6
            fits = is_gain and empty not in family.drives()
            if fits and self._choose(family.drives() - {full}, {full}, "") == empty:
                return family, full, blocks
        return None


class _Report:
    """Counts, and tells."""

    def __init__(self, told: Told, blocks: int, number: int) -> None:
        self._told = told
        self._total_blocks = blocks
        self._total = number
        self._done_blocks = self._done = 0

    def grow(self, blocks: int) -> None:
        """Count one more that is to be moved."""
        self._total_blocks += blocks
        self._total += 1

    def add(self, blocks: int) -> None:
        """Count blocks that were copied."""
        self._done_blocks += blocks
        self._tell()

    def end_family(self) -> None:
        """Count a family that is there."""
        self._done += 1
        self._tell()

    def _tell(self) -> None:
        if self._told is not None:
            self._told(
                Progress(
                    done_blocks=self._done_blocks,
                    total_blocks=self._total_blocks,
                    done_families=self._done,
                    total_families=self._total,
                )
            )
