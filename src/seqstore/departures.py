"""What leaves a store: volumes, snapshots, tenants and ranges, and what strategies of deletion make of that.

Something that ends leaves the logs first, durably, and then the catalog. A drive that fails meanwhile, where
there are others, is left behind: what is to go there goes when it is back.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from seqstore._native.records import Scope
from seqstore.audit_records import Act, Subject
from seqstore.bookkeeping import act_of_deletion, scope_of, subject_of
from seqstore.deletion import Bounds
from seqstore.directory import Directory
from seqstore.errors import MediumError, NotFoundError
from seqstore.snapshot import Snapshot
from seqstore.volume import Volume

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.catalog import Catalog
    from seqstore.erasing import Eraser
    from seqstore.evidence_book import Asked, EvidenceBook
    from seqstore.fleet import Fleet, Member
    from seqstore.key_keeper import KeyKeeper
    from seqstore.placing import Placer
    from seqstore.shared import Shared
    from seqstore.tenants import Tenant

Due = tuple[tuple[Scope, int], Bounds]  # what is asked for of the residue of a tenant or volume


class Departures:
    """The part of a `Registry` that lets things go."""

    fleet: Fleet
    catalog: Catalog
    audit: AuditLog
    evidence: EvidenceBook | None
    eraser: Eraser | None
    keeper: KeyKeeper | None
    lock: threading.RLock
    placer: Placer
    tenants: Directory[Tenant]
    _views: dict[int, Volume | Snapshot]
    _lost: dict[int, Volume | Snapshot]
    _asked: dict[Subject, Asked | None]
    _snapshots: defaultdict[int, Directory[Snapshot]]

    def require_writable(self) -> None:
        """Raise `ClosedError` or `AccessError` if nothing may change."""
        raise NotImplementedError

    def undo_unfinished(self) -> None:
        """Take back what could not be made durable."""
        raise NotImplementedError

    def delete(self, view: Volume | Snapshot) -> None:
        """End a volume or snapshot, durably."""
        with self.lock:
            self.placer.wait_for([view.number])
            self.require_writable()
            if view.deleted:
                view._require()
            self.undo_unfinished()
            subject = subject_of(view)
            shared = self._find_shared(subject)
            asked, due = self._request(subject, shared), self._intend(subject, shared)
            failed = self._leave(view)
            with self.catalog.atomic():
                self.catalog.remove_volume(view.number)
                self.audit.append(act_of_deletion(subject), subject)
            self._forget(view)
            self._finish(subject, due, asked, failed)

    def delete_tenant(self, tenant: Tenant) -> None:
        """End a tenant with all that it owns, durably."""
        with self.lock:
            known = (*self._views.values(), *self._lost.values())
            owned = [view for view in known if view.tenant is tenant]
            self.placer.wait_for(view.number for view in owned)
            self.require_writable()
            self.undo_unfinished()
            subject = Subject(kind="tenant", number=tenant.number, name=tenant.name)
            shared = self._find_shared(subject)
            due = self._intend(subject, shared)
            # The catalog remembers at once: all that came before has to be safe by then.
            self.placer.commit(member.number for member in self.fleet)
            with self.catalog.atomic():
                asked = self._request(subject, shared)
                self.catalog.mark_deleting(tenant.number)
            tenant._deleting = True
            # By what the log knows: a signal may have come between the log and this side.
            failed = self.fleet.each(lambda member: _leave_tenant(member, tenant))
            self._give_up_failed(failed)
            with self.catalog.atomic():
                self.catalog.remove_tenant(tenant.number)
                self.audit.append(Act.TENANT_DELETED, subject)
            for view in owned:
                self._forget(view)
            self.tenants.forget(tenant)
            tenant.deleted = True
            self._finish(subject, due, asked, failed)

    def trim(self, volume: Volume, offset: int, length: int) -> None:
        """Give up a range, and do what the strategy of deletion asks for."""
        if self.eraser is None or self.eraser.is_lap:
            volume._trim(offset, length)
            return
        subject = Subject(
            kind="range", number=volume.number, tenant=volume.tenant.number, offset=offset, length=length
        )
        if not self.eraser.acts_at_once:
            due = self._intend(subject, {})
            volume._trim(offset, length)
            self._erase(due)
            return
        with self.lock:
            self.placer.wait_for([volume.number])
            self.require_writable()
            shared = self._find_shared(subject)
            due = self._intend(subject, shared)
            if not due[0][1].now or not length:
                volume._trim(offset, length)
                if any(bounds.now for _, bounds in due):
                    self.placer.commit([leg.drive for leg in volume._route.legs])
                self._erase(due)
                return
            asked = self._request(subject, shared)
            try:
                self.placer.drop_stale(volume.number)
                volume._trim(offset, length)
                self.placer.commit([leg.drive for leg in volume._route.legs])
            except BaseException:
                # What was asked for stays noted, and the next opening finds that it did not happen.
                del self._asked[subject]
                raise
            del self._asked[subject]
            if asked is not None and self.evidence is not None:
                self.evidence.given_up(subject, asked, shared)
            self._erase(due)

    def _find_shared(self, subject: Subject) -> dict[int, Shared]:
        """Say what something that is to be deleted shares with others, by drive, if anybody needs to know."""
        is_lap = self.eraser is None or self.eraser.is_lap
        return {} if is_lap and self.evidence is None else self.fleet.find_shared(subject)

    def _intend(self, subject: Subject, shared: Mapping[int, Shared]) -> list[Due]:
        """Say what the strategies ask for that apply to something which is to be deleted, and prepare it.

        First of all to itself, then to volumes of which blocks die with it that were written through them.
        """
        scope, number = scope_of(subject)
        if self.eraser is None or self.eraser.is_lap:
            return [((scope, number), Bounds())]
        asked = self.eraser.bounds(scope, number)
        due: list[Due] = [((scope, number), asked)]
        for tenant, volume in sorted({owner for part in shared.values() for owner in part.owners()}):
            bounds = asked | self.eraser.bounds(Scope.VOLUME, volume, tenant)
            is_covered = number == (tenant if scope is Scope.TENANT else volume) and bounds == asked
            if not is_covered:
                due.append(((Scope.VOLUME, volume), bounds))
        for key, bounds in due:
            self.eraser.intend(*key, bounds)
        return due

    def _finish(self, subject: Subject, due: list[Due], asked: Asked | None, failed: Iterable[int]) -> None:
        """Do what is left when logs and catalog have forgotten something.

        Its key dies first: nobody can read it from then on, however long it takes to list its copies.
        """
        try:
            if self.keeper is not None:
                self.keeper.bury()
        finally:
            self._list(subject, asked, failed)
            self._erase(due)
            # Last: what could be written over at once is said to be that, and not merely unreadable.
            if self.keeper is not None:
                self.keeper.note_unreadable()

    def _erase(self, due: list[Due]) -> None:
        for key, bounds in due:
            if self.eraser is not None and bounds != Bounds():
                self.eraser.deleted(*key, bounds)

    def _request(self, subject: Subject, shared: Mapping[int, Shared]) -> Asked | None:
        """Note that something is to be deleted, once, however often it is tried."""
        if subject not in self._asked:
            if self.evidence is None:
                self.audit.append(Act.DELETION_REQUESTED, subject)
                self._asked[subject] = None
            else:
                self._asked[subject] = self.evidence.request(subject, shared)
        asked = self._asked[subject]
        if asked is not None and self.evidence is not None:
            self._asked[subject] = asked = self.evidence.request_again(asked, shared)
        return asked

    def _list(self, subject: Subject, asked: Asked | None, failed: Iterable[int] = ()) -> None:
        """List the copies that a deletion left behind; on drives that failed it is not done yet."""
        del self._asked[subject]
        if asked is not None and self.evidence is not None:
            self.evidence.deleted([(drive, erasure) for drive, erasure in asked if drive not in failed])

    def _give_up_failed(self, failed: dict[int, MediumError]) -> None:
        """Go on without drives that failed, where there are others."""
        if failed and len(failed) == len(self.fleet):
            raise next(iter(failed.values()))
        for drive, cause in failed.items():
            self.placer.give_up_drive(drive, cause)

    def _leave(self, view: Volume | Snapshot) -> dict[int, MediumError]:
        """Let the logs forget something, durably; return the drives that failed, if not all did."""
        failed: dict[int, MediumError] = {}
        places = [place for place in self.catalog.placements.of(view.number) if place.is_there]
        gone = True
        for place in places:
            if place.drive not in self.fleet:
                continue
            engine = self.fleet.member(place.drive).engine
            leg = view._route.leg_on(place.drive)
            try:
                if leg is not None:
                    with suppress(NotFoundError):  # a signal or a failure came before this side knew
                        leg.view._delete()
                        gone = False
                else:
                    for entry in engine.volumes():  # a copy that is not believed
                        if entry["number"] == place.number:
                            engine.delete(int(entry["handle"]), f"deletion of {view.name!r}")
                engine.commit()
            except MediumError as error:
                failed[place.drive] = error
        if gone and view.deleted:
            view._require()
        there = [place.drive for place in places if place.drive in self.fleet]
        if failed and len(failed) == len(there):
            raise next(iter(failed.values()))
        for drive, cause in failed.items():
            self.placer.give_up_drive(drive, cause)
        return failed

    def lose(self, view: Volume | Snapshot) -> None:
        """Take something out of which no copy is left; the catalog keeps it."""
        with self.lock:
            view._move(self.placer.nowhere(view.number))
            self._lost[view.number] = view
            self._views.pop(view.number, None)
            self.placer.mirrors.pop(view.number, None)
            if isinstance(view, Volume):
                view.tenant._directory.forget(view)
            else:
                self._snapshots[view.volume_number].forget(view)

    def _forget(self, view: Volume | Snapshot) -> None:
        self._views.pop(view.number, None)
        if self._lost.pop(view.number, None) is not None and view._route.mirror is not None:
            view._route.mirror.deleted = True
        self.placer.forget(view.number)
        if isinstance(view, Volume):
            view.tenant._directory.forget(view)
        else:
            self._snapshots[view.volume_number].forget(view)
        view.deleted = True  # last: until then a deletion that a signal cut short can be repeated


def _leave_tenant(member: Member, tenant: Tenant) -> None:
    for entry in member.engine.volumes():
        if entry["tenant"] == tenant.number:
            member.engine.delete(int(entry["handle"]), f"deletion of tenant {tenant.name!r}")
    member.engine.commit()
