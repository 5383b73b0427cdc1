"""Where volumes go, and what becomes of their copies: the choice of drives, and the ways to them.

A volume's snapshots and clones share its blocks, so they go where it is. Copies go to different drives, in
different regions where there are such.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from typing import TYPE_CHECKING

from seqstore.drive_life import DriveState
from seqstore.engine_mirror import Leg, Mirror
from seqstore.engine_volume import EngineView, EngineVolume
from seqstore.errors import ConfigError, MediumError
from seqstore.placements import Placement
from seqstore.route import Route

if TYPE_CHECKING:
    from collections.abc import Mapping

    from seqstore.catalog import Catalog, VolumeRow
    from seqstore.drive_facts import FactTable
    from seqstore.fleet import Fleet
    from seqstore.renewing import Renewer
    from seqstore.view import View

_TAKES_VOLUMES = (DriveState.NEW, DriveState.ONLINE, DriveState.DEGRADED)


class Placer:
    """Knows the ways to volumes. It is the `Keeper` of their mirrors.

    Parameters
    ----------
    fleet : Fleet
    catalog : Catalog
    facts : FactTable
    lock : RLock
        The registry's.

    Attributes
    ----------
    several : bool
        Whether the store has or had several drives, so that it is written down what lies where.
    mirrors : dict of int to Mirror
        Those of volumes and snapshots that are to have several copies.
    damaged : dict of int to set of int
        Drives on which blocks of a snapshot were damaged, which only a new copy repairs.
    renewer : Renewer or None
        Follows what is written anew; None follows nothing.
    """

    def __init__(self, fleet: Fleet, catalog: Catalog, facts: FactTable, lock: threading.RLock) -> None:
        self.fleet = fleet
        self.placements = catalog.placements
        self.facts = facts
        self.several = len(catalog.drives) > 1
        self.mirrors: dict[int, Mirror] = {}
        self.damaged: dict[int, set[int]] = {}
        self.renewer: Renewer | None = None
        self._catalog = catalog
        self._wishes = self.placements.wishes()
        self._lock = lock
        self._held: set[int] = set()
        self._settled = threading.Condition(lock)

    # ---- choosing drives ------------------------------------------------------------------------

    def free_blocks(self, drive: int) -> int:
        """Return how many more live blocks a drive takes."""
        counters = self.fleet.member(drive).engine.counters()
        return counters["usable_blocks"] - counters["live_blocks"]

    def usable_blocks(self, drive: int) -> int:
        """Return how many live blocks a drive takes at most."""
        return self.fleet.member(drive).engine.counters()["usable_blocks"]

    def takes(self, drive: int) -> bool:
        """Tell whether volumes are placed on a drive."""
        return drive in self.fleet and self.facts.get(drive).state in _TAKES_VOLUMES

    def choose(
        self,
        copies: int,
        region: str | None = None,
        drive: int | None = None,
        *,
        beside: Iterable[int] = (),
        without: Iterable[int] = (),
    ) -> list[int]:
        """Choose the drives of a volume: those with the most room, and copies in different regions.

        Parameters
        ----------
        copies : int
        region : str, optional
            Of the first one.
        drive : int, optional
            The first one.
        beside : iterable of int
            Drives that have copies already.
        without : iterable of int
            Drives that must not be chosen.

        Raises
        ------
        ConfigError
            If there are no such drives.
        """
        if not self.several and copies == 1 and drive in (None, self.fleet.first.number) and region is None:
            return [self.fleet.first.number]
        facts = {member.number: self.facts.get(member.number) for member in self.fleet}
        taken = list(beside)
        usable = [
            number
            for number in facts
            if facts[number].state in _TAKES_VOLUMES and number not in {*taken, *without}
        ]
        if drive is not None and drive not in usable:
            raise ConfigError(f"drive {drive} takes no volumes now; {_name(usable)} would")
        chosen: list[int] = []
        while len(chosen) < copies:
            regions = {facts[number].region for number in [*taken, *chosen] if number in facts}
            left = [number for number in usable if number not in chosen]
            if not chosen and drive is not None:
                left = [drive]
            if not chosen and region is not None:
                left = [number for number in left if facts[number].region == region]
            if not left:
                where = f" in region {region!r}" if region is not None and not chosen else ""
                needed, fewer = f"a drive{where} is needed", ""
                if copies > 1:
                    needed, fewer = (
                        f"{copies} drives{where} are needed, each for a copy",
                        ", or ask for fewer copies",
                    )
                raise ConfigError(
                    f"{needed}, and of all {_name(usable)} can take one; add a drive with"
                    f" Store.add_drive{fewer}"
                )

            def rank(number: int, regions: set[str] = regions) -> tuple[bool, bool, int]:
                is_weak = facts[number].state is DriveState.DEGRADED
                return is_weak, facts[number].region in regions, -self.free_blocks(number)

            chosen.append(min(left, key=rank))
        return chosen

    # ---- ways to volumes ------------------------------------------------------------------------

    def wish(self, volume: int, copies: int, region: str | None) -> None:
        """Keep how many copies there are to be."""
        self.placements.wish(volume, copies, region or "")
        if copies != 1 or region:
            self._wishes[volume] = (copies, region or "")

    def copies_of(self, volume: int) -> int:
        """Return how many copies there are to be."""
        return self._wishes.get(volume, (1, ""))[0]

    def region_of(self, volume: int) -> str:
        """Return the region that was asked for, or nothing."""
        return self._wishes.get(volume, (1, ""))[1]

    def enter(self, volume: int, drives: Iterable[int]) -> dict[int, int]:
        """Give a new volume its numbers on drives, within a transaction of the catalog."""
        numbers: dict[int, int] = {}
        for drive in drives:
            numbers[drive] = self._catalog.draw_number() if numbers else volume
            if self.several:
                self.placements.add(
                    Placement(number=numbers[drive], volume=volume, drive=drive, state="in_sync")
                )
        return numbers

    def route(self, row: VolumeRow, handles: Mapping[int, int]) -> Route:
        """Make the way to a volume or snapshot, given its handles by drive."""
        kind = EngineView if row.kind == "snapshot" else EngineVolume
        legs = [
            Leg(drive, kind(self.fleet.member(drive).engine, handle, row.name))
            for drive, handle in handles.items()
        ]
        mirror = None
        if self.copies_of(row.number) > 1:
            mirror = self.mirrors[row.number] = Mirror(row.number, legs, self)
            mirror.changed = any(place.changed for place in self.placements.legs(row.number))
        return Route(legs, mirror, self.fleet.first.engine)

    def nowhere(self, volume: int) -> Route:
        """Return the way to something of which no copy is left."""
        return Route([], Mirror(volume, [], self), self.fleet.first.engine)

    def forget(self, volume: int) -> None:
        """Forget what was deleted."""
        self.mirrors.pop(volume, None)
        self._wishes.pop(volume, None)

    # ---- what happens to copies -----------------------------------------------------------------

    def give_up(self, leg: Leg, error: BaseException) -> None:  # noqa: ARG002 (others may log it)
        """Do not believe a copy any more, durably."""
        self.placements.mark_stale(leg.number)

    def begin_changes(self, volume: int) -> None:
        """Note durably that copies of a volume may differ from now on, if a crash comes."""
        self.placements.mark_changed(volume, changed=True)

    def settle_copies(self, flush: Callable[[], None]) -> None:
        """Flush while no mirror changes, and note that all copies are the same."""
        with self._lock, ExitStack() as held:
            changed = [mirror for mirror in self.mirrors.values() if mirror.changed]
            if not changed:
                return
            for mirror in sorted(changed, key=lambda mirror: mirror.volume):
                held.enter_context(mirror.lock)
            flush()
            for mirror in changed:
                self.placements.mark_changed(mirror.volume, changed=False)
                mirror.changed = False

    def read_failed(self, leg: Leg, volume: int, *, repairable: bool) -> None:
        """Note what only a rebuild can repair, when another copy answered a read."""
        if not repairable:
            self.damaged.setdefault(volume, set()).add(leg.drive)

    def writing(
        self, volume: int, leg: Leg, others: Sequence[Leg], lbas: Sequence[int]
    ) -> AbstractContextManager[None]:
        """Follow what is written in a block; see `Renewer.writing`."""
        return nullcontext() if self.renewer is None else self.renewer.writing(volume, leg, others, lbas)

    def give_up_drive(self, drive: int, error: BaseException) -> None:
        """Do not believe any copy on a drive any more, where there are others."""
        for mirror in list(self.mirrors.values()):
            for leg in mirror.legs:
                if leg.drive == drive and len(mirror.legs) > 1:
                    mirror.give_up(leg, error)

    def drop_stale(self, volume: int) -> None:
        """Let drives forget copies of a volume that are not believed, and may show what is deleted."""
        for place in self.placements.of(volume):
            if place.state == "stale" and place.drive in self.fleet:
                self.placements.put(place.number, "left")
                engine = self.fleet.member(place.drive).engine
                for entry in engine.volumes():
                    if entry["number"] == place.number:
                        engine.delete(int(entry["handle"]), "giving up a copy that is not believed")
                engine.commit()

    def drop_stale_of(self, volumes: Iterable[int]) -> None:
        """Let drives forget copies as `drop_stale` does, of volumes of which there are others."""
        for volume in volumes:
            if any(place.drive in self.fleet for place in self.placements.legs(volume)):
                with suppress(MediumError):  # then what they show goes on to be there, and to be asked for
                    self.drop_stale(volume)

    def commit(self, drives: Iterable[int]) -> None:
        """Make changes of something durable that lies on these drives; one at least has to do it.

        Raises
        ------
        MediumError
            If all of them fail.
        """
        numbers = list(drives)
        failed = self.fleet.each(lambda member: member.engine.commit(), numbers)
        if failed and len(failed) == len(numbers):
            raise failed[numbers[0]]
        for drive, cause in failed.items():
            self.give_up_drive(drive, cause)

    # ---- moving ---------------------------------------------------------------------------------

    def hold(self, volumes: Iterable[int]) -> None:
        """Let changes of volumes, and what concerns their families, wait. The lock is held."""
        self._held.update(volumes)

    def release(self, volumes: Iterable[int]) -> None:
        """Let them go on."""
        with self._lock:
            self._held.difference_update(volumes)
            self._settled.notify_all()

    def wait_for(self, volumes: Iterable[int]) -> None:
        """Return, holding the lock, when none of these is being moved."""
        wanted = set(volumes)
        with self._lock:
            self._settled.wait_for(lambda: not wanted & self._held)

    def has_moved(self, view: View, moves: int) -> bool:
        """Wait for a volume that is being moved, and tell whether a call that failed is to be repeated."""
        with self._lock:
            if view.number in self._held:
                self.wait_for([view.number])
                return True
            return view._moves != moves


def _name(drives: list[int]) -> str:
    if not drives:
        return "none"
    return ("drive " if len(drives) == 1 else "drives ") + ", ".join(map(str, drives))
