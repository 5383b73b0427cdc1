"""Copying families of volumes from drive to drive, with their structure, while programs use them.

A copy is made in three steps. What a family shows is copied, with its snapshots and clones in the order in
which they were made, while writes go on; of each volume a snapshot says up to where. Then changes are held,
and what was written meanwhile is copied. Then the catalog says in one transaction that the family lies there,
and the old copies go. Until that transaction the new copy is `building`, and after a crash it is removed;
from then on the old one is `left`, and after a crash it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqstore.audit_records import Act, Subject
from seqstore.copying import Copier
from seqstore.engine_mirror import Leg
from seqstore.engine_volume import EngineView, EngineVolume
from seqstore.errors import MediumError, SeqstoreError
from seqstore.following import Following
from seqstore.placements import Placement
from seqstore.renewals import Renewal
from seqstore.renewing import carry
from seqstore.route import Route
from seqstore.shared import MOST_BLOCKS
from seqstore.snapshot import Snapshot
from seqstore.volume import Volume

if TYPE_CHECKING:
    from seqstore.families import Family
    from seqstore.fleet import Member
    from seqstore.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far something is that goes over many volumes.

    Attributes
    ----------
    done_blocks, total_blocks : int
        What was copied, and what there was to copy at the beginning.
    done_families, total_families : int
        The same in groups of volumes, snapshots and clones that share blocks.
    """

    done_blocks: int
    total_blocks: int
    done_families: int
    total_families: int

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return min(self.done_blocks / self.total_blocks, 1.0) if self.total_blocks else 1.0


class Mover:
    """Copies a family to a drive, and lets it lie there in place of, or beside, where it lay.

    Parameters
    ----------
    registry : Registry
    family : Family
        Whose members nobody adds to or takes from meanwhile: they are held in the placer.
    source, target : Member
        From where, where all of it is up to date, and to where.
    count : callable
        Is told how many blocks were copied.
    """

    def __init__(
        self,
        registry: Registry,
        family: Family,
        source: Member,
        target: Member,
        count: Callable[[int], None],
    ) -> None:
        self._registry = registry
        self._family = family
        self._source = source
        self._target = target
        self._copier = Copier(count)
        self._places = registry.catalog.placements
        self._made: dict[int, Leg] = {}  # by the number of the volume or snapshot
        self._extra: list[Leg] = []  # what is to go in the end: on the target, of deleted volumes
        self._frozen: dict[int, Leg] = {}  # on the source: what volumes showed when they were copied
        self._following: Following | None = None

    # ---- making the copy ------------------------------------------------------------------------

    def run(self, replaced: set[int]) -> None:
        """Copy the family; what it has on the replaced drives goes.

        Parameters
        ----------
        replaced : set of int
            Drives; the target is not one of them unless what it has is stale.
        """
        try:
            self._freeze()
            self._begin_following()
            for number, volume, snapshots in self._family.lineages():
                self._make_lineage(number, volume, snapshots)
            # The lock before those of mirrors, as everywhere: a checkpoint may be waiting for the latter.
            with self._registry.lock, self._held():
                for volume in self._family.volumes:
                    self._catch_up(volume)
                    self._freeze_copy(volume)
                self._target.engine.commit()
                left = self._switch(replaced)
        except BaseException:
            self._undo()
            raise
        finally:
            self._copier.wipe()
        self._remove(left)
        if self._following is not None:
            with self._registry.lock:
                self._following.end()

    def _source_leg(self, view: Volume | Snapshot) -> Leg:
        leg = view._route.leg_on(self._source.number)
        assert leg is not None
        return leg

    def _number(self, volume: int, member: Member) -> int:
        """Draw a number for something on a drive, to which it goes in order; the lock is held."""
        with self._registry.catalog.atomic():
            number = self._registry.catalog.draw_number()
            self._places.add(Placement(number=number, volume=volume, drive=member.number, state="building"))
        return number

    def _freeze(self) -> None:
        """Take snapshots on the source, which say up to where volumes were copied."""
        for volume in self._family.volumes:
            leg = self._source_leg(volume)
            assert isinstance(leg.view, EngineVolume)
            with self._registry.lock:
                number = self._number(volume.number, self._source)
                handle = leg.view._snapshot(number)
            view = EngineView(self._source.engine, handle, volume.name)
            self._frozen[volume.number] = Leg(self._source.number, view)

    def _make_lineage(self, number: int, volume: Volume | None, snapshots: list[Snapshot]) -> None:
        """Make a volume on the target, and its snapshots as it comes to what they show."""
        states: list[Volume | Snapshot] = [*snapshots, *([] if volume is None else [volume])]
        origin = None if volume is None else self._made.get(volume._origin)
        engine, first = self._target.engine, states[0]
        with self._registry.lock:
            own = self._number(number, self._target)
            strict = first.unwritten == "error"
            if origin is not None:
                handle = origin.view._clone(own, first.tenant.number, unwritten_error=strict)
            else:
                handle = engine.create_volume(own, first.tenant.number, first.size, unwritten_error=strict)
            made = EngineVolume(engine, handle, first.name)
            leg = Leg(self._target.number, made)
            if self._registry.keeper is not None:  # with the lock: no epoch of keys ends in between
                self._registry.keeper.hand_over(number, [leg])
        if volume is None:
            self._extra.append(leg)
        else:
            self._made[number] = leg
        shown = None
        if origin is not None and volume is not None:
            shown = next(view for view in self._family.views if view.number == volume._origin)
        old = None if shown is None else self._source_leg(shown).view
        for state in states:
            is_living = isinstance(state, Volume)
            new = self._frozen[state.number].view if is_living else self._source_leg(state).view
            # A frozen volume is not what its other copies show by now; a snapshot is, on all drives.
            self._copier.bring(made, old, new, None if is_living else state)
            if isinstance(state, Snapshot):
                with self._registry.lock:
                    frozen = self._number(state.number, self._target)
                    handle = made._snapshot(frozen)
                self._made[state.number] = Leg(self._target.number, EngineView(engine, handle, state.name))
            old = new

    def _begin_following(self) -> None:
        """Let erasures come along, if the family keeps something that was deleted."""
        if self._registry.evidence is None:
            return
        with self._registry.lock:
            written = {number for number, _, _ in self._family.lineages()}
            numbers = {view.number: self._source_leg(view).number for view in self._family.views}
            following = Following(self._source, self._target, numbers, written)
            if following:
                self._following = following
                following.begin()

    def _freeze_copy(self, volume: Volume) -> None:
        """Take a snapshot on the target for a moment: what is copied lies below what is written from now on.

        So each block that somebody keeps has a name there that no write takes over.
        """
        if self._following is None:
            return
        made = self._made[volume.number].view
        assert isinstance(made, EngineVolume)
        frozen = EngineView(
            self._target.engine, made._snapshot(self._number(volume.number, self._target)), volume.name
        )
        self._extra.append(Leg(self._target.number, frozen))

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Let changes of the family's volumes wait."""
        with ExitStack() as held:
            for volume in self._family.volumes:
                mirror = volume._route.mirror
                if mirror is not None:
                    held.enter_context(mirror.lock)
                    continue
                view = self._source_leg(volume).view
                assert isinstance(view, EngineVolume)
                view._hold(True)
                held.callback(_let_go, volume, view)
            yield

    def _catch_up(self, volume: Volume) -> None:
        """Copy what was written to a volume since it was frozen."""
        made = self._made[volume.number].view
        assert isinstance(made, EngineVolume)
        self._copier.bring(made, self._frozen[volume.number].view, self._source_leg(volume).view)

    def _switch(self, replaced: set[int]) -> list[Placement]:
        """Let the family lie on the target, in the catalog and then for its users; return what is left."""
        registry, left = self._registry, list[Placement]()
        known = self._find_renewed()
        with registry.lock, self._settling():
            for view in self._family.views:
                fresh = self._made[view.number].number
                for place in self._places.of(view.number):
                    if place.number != fresh and place.is_there and place.drive in replaced:
                        left.append(place)
                        self._places.put(place.number, "left")
                generation = max((place.generation for place in self._places.legs(view.number)), default=0)
                self._places.put(fresh, "in_sync")
                self._places.set_generation(fresh, generation)
            for leg in [*self._extra, *self._frozen.values()]:
                self._places.put(leg.number, "left")
            if self._following is not None:
                self._following.settle()
            self._carry(known)
            registry.audit.append(
                Act.FAMILY_MOVED,
                Subject(kind="drive", number=self._target.number),
                {
                    "from": sorted({place.drive for place in left}),
                    "volumes": self._family.numbers,
                    "written": sorted(self._written()),
                    "followed": [] if self._following is None else self._following.erasures,
                },
            )
        for view in self._family.views:
            route, fresh_leg = view._route, self._made[view.number]
            kept = [leg for leg in route.legs if leg.drive not in replaced]
            if route.mirror is not None:
                route.mirror.legs = [*kept, fresh_leg]
            else:
                view._move(Route([fresh_leg], None, self._target.engine))
        return left

    @contextmanager
    def _settling(self) -> Iterator[None]:
        """Make what is written down one change, of the catalog and of what is kept in memory of it."""
        evidence = None if self._registry.evidence is None else self._target.evidence
        with ExitStack() as held:
            if evidence is not None:
                held.enter_context(evidence.erasures.changing())
            held.enter_context(self._registry.catalog.atomic())
            yield

    def _find_renewed(self) -> list[Renewal]:
        """Return what was written anew on the source, where that is followed."""
        evidence = self._registry.evidence
        return [] if evidence is None else evidence.renewals.on(self._source.number)

    def _carry(self, known: list[Renewal]) -> None:
        """Let what was written anew for members of the family be known on the target as well."""
        if self._registry.evidence is not None and known:
            numbers = {view.number: self._source_leg(view).number for view in self._family.views}
            names = {view.number: view.name for view in self._family.views}
            members = (self._source, self._target)
            carry(self._registry.evidence.renewals, known, members, numbers, names)

    def _written(self) -> set[int]:
        """Return the volumes, living or deleted, that blocks of the family were written through."""
        layers, written = self._source.layers(), {volume.number for volume in self._family.volumes}
        for number in self._family.numbers:
            written |= set(layers.shown(number, 0, MOST_BLOCKS)["volume"].tolist())
        return written

    # ---- cleaning up ----------------------------------------------------------------------------

    def _remove(self, left: list[Placement]) -> None:
        """Let the logs forget what is left; what a failing drive keeps goes when it is opened again."""
        by_drive: dict[int, set[int]] = {self._source.number: set(), self._target.number: set()}
        for place in left:
            by_drive.setdefault(place.drive, set()).add(place.number)
        by_drive[self._source.number] |= {leg.number for leg in self._frozen.values()}
        by_drive[self._target.number] |= {leg.number for leg in self._extra}
        for drive, numbers in by_drive.items():
            if drive in self._registry.fleet and numbers:
                with suppress(MediumError):
                    remove_from_log(self._registry.fleet.member(drive), numbers)

    def _undo(self) -> None:
        """Take back what was made so far."""
        building = [place for place in self._all_places() if place.state == "building"]
        with suppress(SeqstoreError):
            for place in building:
                self._places.put(place.number, "left")
        for member in (self._source, self._target):
            with suppress(SeqstoreError):
                remove_from_log(member, {p.number for p in building if p.drive == member.number})
        if self._following is not None:
            with suppress(SeqstoreError):  # then the next opening lists what was copied by now
                self._following.forget()
                self._following.end()

    def _all_places(self) -> list[Placement]:
        numbers = {number for number, _, _ in self._family.lineages()} | set(self._family.numbers)
        return [place for number in sorted(numbers) for place in self._places.of(number)]


def remove_from_log(member: Member, numbers: set[int]) -> None:
    """Let a log forget volumes and snapshots, durably."""
    found = [entry for entry in member.engine.volumes() if int(entry["number"]) in numbers]
    for entry in found:
        member.engine.delete(int(entry["handle"]), "deleting what has moved away")
    if found:
        member.engine.commit()


def _let_go(volume: Volume, view: EngineVolume) -> None:
    # Of one that has moved the old copy stays held until it goes: a call that was on its way there must not
    # find it, and be lost with it.
    if any(leg.view is view for leg in volume._route.legs):
        with suppress(SeqstoreError):
            view._hold(False)
    volume._moves += 1
