"""Drives that come, fail and go: what a store does when their state changes.

The story of a drive is moved first, so that what is not allowed raises before anything is done; the audit log
has a record of each act.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from seqstore.arguments import instance
from seqstore.audit import SYSTEM
from seqstore.audit_records import Act, Subject
from seqstore.certify import Certifier
from seqstore.drive_facts import DriveFacts, first_story
from seqstore.drive_health import Health, HealthCounts, Thresholds, judge
from seqstore.drive_life import DriveAct, DriveState, move
from seqstore.emptying import FamilyMovers, Told
from seqstore.errors import ConfigError, DriveStateError, MediumError, OutOfSpaceError, SeqstoreError
from seqstore.extents import extents_of
from seqstore.families import on_drive
from seqstore.fleet import Member
from seqstore.losses import Loss, LossTable, Runs, merge
from seqstore.media.faults import FaultMedium
from seqstore.media.hidden import HiddenDrive
from seqstore.moving import remove_from_log
from seqstore.opening import describe
from seqstore.snapshot import Snapshot

if TYPE_CHECKING:
    from seqstore.drive import Drive
    from seqstore.drive_life import Chapter, DriveStory
    from seqstore.media.native import NativeMedium
    from seqstore.open_store import OpenStore
    from seqstore.registry import Registry
    from seqstore.volume import Volume

_LEDGER_AT_ONCE = 1 << 18  # entries
_MOST_REASON = 1000  # characters


class DriveKeeper:
    """Adds drives to a store, and takes them out of service.

    Parameters
    ----------
    store : OpenStore
    """

    def __init__(self, store: OpenStore) -> None:
        self._store = store
        self._working = threading.RLock()  # one move of volumes at a time
        self._moving = False

    @property
    def _certifier(self) -> Certifier:
        return Certifier(self._store._audit, lambda: max(self._store._clock.now_ns(), 0))

    @property
    def _movers(self) -> FamilyMovers:
        return FamilyMovers(self._registry)

    def rebuild(self, told: Told) -> int:
        """Make new copies of what has too few; return how many families got one."""
        with self._moves():
            self._registry.require_writable()
            return self._movers.rebuild(told)

    def rebalance(self, told: Told) -> int:
        """Move families from full drives to empty ones, as long as that evens them out."""
        with self._moves():
            self._registry.require_writable()
            return self._movers.rebalance(told)

    @property
    def _registry(self) -> Registry:
        return self._store._registry

    @contextmanager
    def _moves(self) -> Iterator[None]:
        """Move volumes; what health makes of drives waits until that has ended."""
        with self._working:
            before, self._moving = self._moving, True
            try:
                yield
            finally:
                self._moving = before
        self.look()

    # ---- coming ---------------------------------------------------------------------------------

    def add(self, medium: NativeMedium, identity: int, facts: DriveFacts, *, is_own_medium: bool) -> Drive:
        """Take a new medium into use.

        Raises
        ------
        ConfigError
            If its blocks are of another size than the store's, or it is too small.
        BoundError
            If a bound on residue cannot be kept there.
        """
        store, catalog = self._store, self._store._parts.catalog
        first = store._fleet.first.medium
        if medium.block_size != first.block_size:
            raise ConfigError(
                f"{medium!r} has blocks of {medium.block_size} bytes; the store's have {first.block_size}"
            )
        if medium.keeps_bytes != first.keeps_bytes:
            raise ConfigError(f"{medium!r} does not go with {first!r}: one keeps no bytes")
        if not facts.serial and isinstance(medium, FaultMedium) and isinstance(medium.drive, HiddenDrive):
            facts = replace(facts, serial=medium.drive.identity.serial)
        with self._registry.lock:
            self._registry.require_writable()
            number = self.next_number()
            options = store._parts.options.for_another()
            row = describe(medium, identity, options.opening, number)
            engine = options.open_engine(medium, row, catalog.settings, recover=False)
            try:
                member = Member(number, medium, engine, is_own_medium, catalog.placements)
                with catalog.atomic():
                    catalog.add_drive(row)
                    store._facts.put(number, facts)
                    self._note(Act.DRIVE_ADDED, number, facts, {"blocks": row.blocks, "region": facts.region})
                try:
                    store._join(member)
                except BaseException:
                    catalog.remove_drive(number)
                    raise
            except BaseException:
                engine.close()
                raise
            store._fleet.add(member)
            self._registry.placer.several = True
            return store._drives[number]

    def why_not(self, drive: int) -> str:
        """Say why a drive is not in use."""
        missing = self._store._parts.missing.get(drive)
        if missing is not None:
            return f"drive {drive} is missing: {missing}"
        return f"drive {drive} is out of service, {self._store._facts.get(drive).state.value}"

    def next_number(self) -> int:
        """Return the number that the next drive gets."""
        return self._store._parts.catalog.drives[-1].number + 1

    def facts_of_new(
        self, *, region: str, vendor: str, model: str, serial: str, media_type: str
    ) -> DriveFacts:
        """Return what is written down of a drive that is added now."""
        actor, reason = self._store._audit.who()
        story = first_story(max(self._store._clock.now_ns(), 0), actor, reason)
        return DriveFacts(
            story=story, region=region, vendor=vendor, model=model, serial=serial, media_type=media_type
        )

    # ---- moves of the story -----------------------------------------------------------------------

    def act(
        self,
        drive: Drive,
        act: DriveAct,
        reason: str = "",
        *,
        actor: str | None = None,
        witness: str = "",
        note: Callable[[Subject, Chapter], object] | None = None,
    ) -> None:
        """Move the story of a drive, durably, and write it down in the audit log, or let `note` do that.

        Raises
        ------
        DriveStateError
            If its state does not allow it.
        """
        story = self.foresee(drive, act, reason, actor=actor, witness=witness)
        # That of the registry first, as everywhere: what a drive's end means depends on what lives.
        with self._registry.lock, self._store._parts.catalog.atomic():
            facts = replace(self._store._facts.get(drive.number), story=story)
            if act is DriveAct.RECOVER:
                facts = replace(facts, read_errors=0, write_errors=0, scrub_findings=0)
            self._store._facts.put(drive.number, facts)
            (note or self._certifier.note)(subject_of_drive(drive), story.chapters[-1])

    def say(self, drive: Drive, act: DriveAct, reason: str) -> None:
        """Move the story of a drive by a word alone, for a reason."""
        with self._registry.lock:
            self._registry.require_writable()
            self._store._note_errors()
            self.act(drive, act, _require_reason(reason))

    def foresee(
        self, drive: Drive, act: DriveAct, reason: str = "", *, actor: str | None = None, witness: str = ""
    ) -> DriveStory:
        """Return what the story of a drive would be after an act, or raise `DriveStateError`."""
        who, given = self._store._audit.who()
        return move(
            self._store._facts.get(drive.number).story,
            act,
            time_ns=max(self._store._clock.now_ns(), 0),
            actor=actor or who,
            reason=reason or given,
            witness=witness,
        )

    def _note(self, act: Act, drive: int, facts: DriveFacts, details: dict[str, object]) -> None:
        subject = Subject(kind="drive", number=drive, name=facts.serial)
        self._store._audit.append(act, subject, {**details, "state": facts.state.value})

    # ---- health -----------------------------------------------------------------------------------

    def health(self, drive: Drive, thresholds: Thresholds | None) -> Health:
        """Judge a drive by what was counted of it, and by its own table if it has one."""
        facts, medium = drive.facts, drive.medium if drive.in_use else None
        teller = medium.drive if isinstance(medium, FaultMedium) else None
        counts = HealthCounts(
            read_errors=facts.read_errors,
            write_errors=facts.write_errors,
            scrub_findings=facts.scrub_findings,
        )
        return judge(counts, teller if isinstance(teller, HiddenDrive) else None, thresholds)

    def watch(self, drive: Drive, thresholds: Thresholds | None = None) -> Health:
        """Let the state of a drive follow from its health; see `Drive.health`."""
        return self._watch(drive, thresholds or self._store.thresholds, None)

    def look(self) -> None:
        """Let the states of drives follow from their health whose errors have become more; the store does it.

        It comes from wherever an error was met, with no lock of a mirror held, and raises nothing that would
        hide that one. While volumes move it waits for their end.
        """
        registry = self._registry
        if not registry.alarms or registry.read_only or registry.fleet.disowned:
            return
        if not self._working.acquire(blocking=False):
            return
        try:
            while registry.alarms and not self._moving and not registry.fleet.closed:
                drive = self._store._drives[registry.alarms.pop()]
                if drive.in_use:
                    with suppress(SeqstoreError):  # the next error comes here again
                        self._watch(drive, self._store.thresholds, SYSTEM)
        finally:
            self._working.release()

    def _watch(self, drive: Drive, thresholds: Thresholds, actor: str | None) -> Health:
        found = self.health(drive, thresholds)
        reason = "; ".join(found.reasons)[:_MOST_REASON]
        if found.act(drive.state) is None:
            return found
        with self._registry.lock, ExitStack() as held:
            act = found.act(drive.state)  # somebody else may have been here first
            if act is None:
                return found
            self._store._note_errors()
            # Nobody gives up the other copies between the look at them and the failure of this one.
            for mirror in sorted(self._registry.placer.mirrors.values(), key=lambda mirror: mirror.volume):
                if any(leg.drive == drive.number for leg in mirror.legs):
                    held.enter_context(mirror.lock)
            if act is DriveAct.FAIL and (
                len(self._store._fleet) == 1 or self._registry.has_uncopied(drive.number)
            ):
                # Nothing is gained by giving up what can still be read: whoever looks after it empties it.
                act = DriveAct.DEGRADE if drive.state is DriveState.ONLINE else None
            if act is DriveAct.FAIL:
                self.fail(drive, reason, actor)
            elif act is not None:
                self.act(drive, act, reason, actor=actor)
        return found

    # ---- going ------------------------------------------------------------------------------------

    def fail(self, drive: Drive, reason: str, actor: str | None = None) -> None:
        """Take a drive out of service that has failed; see `Drive.fail`."""
        store, registry = self._store, self._registry
        with registry.lock:
            registry.require_writable()
            if drive.in_use and len(store._fleet) == 1:
                raise MediumError(f"drive {drive.number} is the only one in use; add another one first")
            # Nobody loses a copy to what cannot be written down.
            self.foresee(drive, DriveAct.FAIL, _require_reason(reason), actor=actor)
            error = MediumError(f"drive {drive.number} failed: {reason}")
            lost = [self._lose(view, drive.number, error) for view in registry.views()]

            def note(subject: Subject, chapter: Chapter) -> None:
                for loss in filter(None, lost):
                    LossTable(store._parts.catalog.database).keep(loss.number, loss.runs)
                self._certifier.note(subject, chapter)

            self.act(drive, DriveAct.FAIL, reason, actor=actor, note=note)
            if drive.in_use:
                self._take_out(drive)

    def _lose(self, view: Volume | Snapshot, drive: int, error: MediumError) -> Loss | None:
        """Give up the copy of something on a drive, or all of it, which is the loss, if there is no other."""
        mirror, leg = view._route.mirror, view._route.leg_on(drive)
        if leg is None:
            return None
        if mirror is not None and len(mirror.legs) > 1:
            mirror.give_up(leg, error)
            return None
        runs: Runs | None = None
        with suppress(SeqstoreError):
            runs = tuple((int(extent["lba"]), int(extent["count"])) for extent in extents_of(leg.view))
        registry = self._registry
        loss = Loss(
            kind="snapshot" if isinstance(view, Snapshot) else "volume",
            number=view.number,
            name=view.name,
            tenant=view.tenant.name,
            drives=(drive,),
            why=str(error),
            runs=merge(runs),
        )
        self._store._losses[view.number] = loss
        registry.lose(view)
        return loss

    def _take_out(self, drive: Drive) -> None:
        """Close the log of a drive; the medium stays with the store until it is handed out."""
        store = self._store
        store._note_errors()
        member = store._fleet.remove(drive.number)
        if store._registry.evidence is not None and member.evidence is not None:
            with suppress(SeqstoreError):  # then copies that are gone are taken for some that are there
                member.evidence.update()
        with suppress(SeqstoreError):  # of a log that is broken nobody knows
            store._facts.keep_residue(drive.number, held_blocks(member))
        store._eraser.remove(drive.number)
        store._parts.spare.append(member)
        drive._member = None
        with suppress(SeqstoreError):
            if drive.state is DriveState.EVACUATED and member.engine.durable:
                member.engine.finish()
                flushed = member.engine.counters()["flushed_sequence"]
                store._parts.catalog.note_flushed(drive.number, flushed)
        member.engine.close()

    def idle_medium(self, drive: Drive) -> NativeMedium | None:
        """Return the medium of a drive that is out of service."""
        self._store._fleet.require_open()
        if drive.in_use:
            raise DriveStateError(
                f"drive {drive.number} is {drive.state.value}, and the store uses it; decommission it first,"
                " or say that it has failed",
                state=drive.state.value,
                act=DriveAct.BEGIN_SANITIZATION.value,
                story=drive.story,
            )
        spare = [member for member in self._store._parts.spare if member.number == drive.number]
        return spare[0].medium if spare else None

    def let_go(self, drive: Drive) -> None:
        """Close the medium of a drive that is out of service, if it is the store's, and forget it."""
        spare = self._store._parts.spare
        for member in [member for member in spare if member.number == drive.number]:
            member.close_medium()
            spare.remove(member)

    def decommission(self, drive: Drive, reason: str | None, told: Told) -> None:
        """Move everything live away from a drive; see `Drive.decommission`."""
        said = "" if reason is None else _require_reason(reason)
        with self._moves():
            self._registry.require_writable()
            store = self._store
            if drive.state is not DriveState.DECOMMISSIONING:
                if drive.in_use and len(store._fleet) == 1:
                    raise MediumError(f"drive {drive.number} is the only one in use; add another one first")
                self._movers.require_room(drive.number)
                self.act(drive, DriveAct.DECOMMISSION, said)
            try:
                self._movers.move_all(on_drive(self._registry, drive.number), drive.number, told)
            except OutOfSpaceError:
                if not self._has_moved_anything(drive):
                    self.act(drive, DriveAct.CALL_OFF, "the other drives have no room")
                raise
            with self._registry.lock:
                self._drop_stale(drive.number)
                if on_drive(self._registry, drive.number):  # made meanwhile, as a copy of something
                    self._movers.move_all(on_drive(self._registry, drive.number), drive.number, told)
                if store._registry.evidence is not None:
                    store._book.update()
                self.act(drive, DriveAct.FINISH_EVACUATION)
                self._take_out(drive)

    def _has_moved_anything(self, drive: Drive) -> bool:
        places = self._store._parts.catalog.placements.on(drive.number)
        return any(place.state == "left" for place in places)

    def call_off(self, drive: Drive, reason: str | None) -> None:
        """Take a decommissioning back; see `Drive.call_off`."""
        said = "" if reason is None else _require_reason(reason)
        with self._working, self._registry.lock:
            self._registry.require_writable()
            self.act(drive, DriveAct.CALL_OFF, said)

    def _drop_stale(self, drive: int) -> None:
        """Let a drive forget copies that nobody believes."""
        placements = self._store._parts.catalog.placements
        stale = [place for place in placements.on(drive) if place.state == "stale"]
        for place in stale:
            placements.put(place.number, "left")
        if stale and drive in self._store._fleet:
            remove_from_log(self._store._fleet.member(drive), {place.number for place in stale})


def subject_of_drive(drive: Drive) -> Subject:
    """Return a drive as the subject of a record of the audit log."""
    return Subject(kind="drive", number=drive.number, name=drive.serial)


def held_blocks(member: Member) -> dict[tuple[int, int], int]:
    """Count the blocks of a drive that hold bytes of somebody, live or dead, by tenant and volume."""
    held: dict[tuple[int, int], int] = {}
    for first in range(0, member.medium.blocks, _LEDGER_AT_ONCE):
        ledger = member.engine.ledger(first, min(_LEDGER_AT_ONCE, member.medium.blocks - first))
        owned = ledger[ledger["volume"] != 0][["tenant", "volume"]]
        for (tenant, number), count in zip(*np.unique(owned, return_counts=True), strict=True):
            key = int(tenant), member.placements.volume_of(int(number))
            held[key] = held.get(key, 0) + int(count)
    return held


def _require_reason(reason: object) -> str:
    """Return why something is done to a drive.

    Raises
    ------
    ConfigError
        If nothing is said, or it is no text.
    """
    text = instance(reason, str, "reason")
    if not text.strip():
        raise ConfigError("reason is empty; the story of a drive says why")
    return text
