"""Evidence of deletions: follows them from the request to the last copy, and makes statements of them.

This joins what knows about copies, the engine's ledger, and what remembers them, audit log and erasures. The
order of things is that of a crash that may come anywhere: what is asked for is written down before it is
done, and what is done is found again by looking at the ledger.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from seqstore._native.records import BlockState, Scope
from seqstore.account import is_part
from seqstore.audit_records import Act, Subject
from seqstore.erasures import GIVEN_UP, Erasures
from seqstore.errors import ConfigError, MediumError
from seqstore.following import Brought, find_brought
from seqstore.promise import Erasure, Promise, left_through, volumes_of, weakest
from seqstore.renewals import find_renewed
from seqstore.shared import NOTHING, Shared, common, find_keepers, find_shared, unite, without

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.catalog import Catalog
    from seqstore.copies import How
    from seqstore.engine import Engine
    from seqstore.owners import Owners
    from seqstore.renewals import Renewals
    from seqstore.shared import DriveLayers

# Categories of media sanitization, which a statement about a part of a medium must not claim.
CATEGORIES = re.compile(r"\b(clear|purg|destr[ou])\w*", re.IGNORECASE)


class DriveLog(Protocol):
    """What is asked of a drive in use."""

    @property
    def number(self) -> int:
        """The drive's number."""

    @property
    def engine(self) -> Engine:
        """Its log."""

    def layers(self) -> DriveLayers:
        """Say what is shown of the log's layers, by the numbers of the store."""


class Deletion(Protocol):
    """What is asked of the engine about what was deleted."""

    def residue(self, scope: Scope, number: int) -> NDArray[np.void]:
        """List runs of DEAD and MOVED blocks of a tenant or a volume."""

    def watch(self, scope: Scope, number: int, *, watched: bool = True) -> None:
        """Let it be noted when such blocks are written over."""

    def overwritten(self) -> tuple[NDArray[np.void], bool]:
        """List runs of them that were written over since the last call, and say if these are all."""


class Evidence:
    """What a store can show of its deletions.

    Parameters
    ----------
    log : DriveLog
        The drive whose copies are followed.
    deletion : Deletion
        Knows what is left of what was deleted: an `EngineDeletion`.
    catalog : Catalog
    audit : AuditLog
    now_ns : callable
        Tells the time.
    promise : callable
        Says how something is deleted that is to be deleted now.
    owners : Owners
        Knows the volumes of tenants.
    renewals : Renewals
        Knows what was written anew.

    Attributes
    ----------
    erasures : Erasures
    log : DriveLog
    """

    def __init__(
        self,
        log: DriveLog,
        deletion: Deletion,
        catalog: Catalog,
        audit: AuditLog,
        *,
        now_ns: Callable[[], int],
        promise: Callable[[Subject], Promise],
        owners: Owners,
        renewals: Renewals,
    ) -> None:
        self.log = log
        self._deletion = deletion
        self._catalog = catalog
        self._audit = audit
        self._now_ns = now_ns
        self._promise = promise
        self._owners = owners
        self._renewals = renewals
        self.erasures = Erasures(catalog, audit, now_ns, log.number)
        self._shared: dict[int, Shared] = {}  # of erasures that are not listed yet

    @property
    def position(self) -> int:
        """The time of the drive's log."""
        return self.log.engine.counters()["position"]

    def settle(self) -> int:
        """Return the time of the drive's log, which no crash puts back unless the drive fails."""
        self._is_settled()
        return self.position

    # ---- following a deletion -------------------------------------------------------------------

    def request(
        self,
        subject: Subject,
        promise: Promise | None = None,
        shared: Shared | None = None,
        left: AbstractSet[int] = frozenset(),
        shown: NDArray[np.void] | None = None,
        *,
        through: AbstractSet[int] = frozenset(),
        is_given_up: bool = False,
    ) -> Erasure:
        """Note that something is to be deleted, durably, before any of it is done.

        Parameters
        ----------
        subject : Subject
        promise : Promise, optional
            By default what the strategies say.
        shared : Shared, optional
            What it shares with others; by default that is looked up.
        left : set of int
            Volumes through which blocks of it were written that were left on this drive when they moved.
        shown : SHOWN_DTYPE[n], optional
            What it shows on all drives that others may show, too; by default, what it does here.
        through : set of int
            Volumes of which anything may be a part of it, since nobody knows any more what it showed.
        is_given_up : bool
            Whether it is a range that was given up on other drives already, and this one missed that.
        """
        shared = find_shared(self.log.layers(), subject) if shared is None else shared
        self._deletion.watch(*_scope_of(subject))
        position = self.settle()  # a later deletion must not seem to come before it
        with self._catalog.database.lock:  # nothing is written anew between the look and the record
            volumes = sorted(self._owners.volumes_of(subject))
            own = _own_volumes(subject, volumes)
            brought = self.find_brought(subject, shared, shown, through)
            shared = Shared(unite([shared.kept, without(brought.kept, shared.dying)]), shared.dying)
            others = sorted({volume for _, volume in shared.owners()} - own)
            behind = sorted((left | brought.written) - own)
            for volume in {*others, *behind}:
                self._deletion.watch(Scope.VOLUME, volume)
            details: dict[str, object] = {"volumes": volumes, "others": others}
            details.update({"left": behind} if behind else {}, **({GIVEN_UP: True} if is_given_up else {}))
            promise = promise or self._promise(subject)
            if brought:
                promise = weakest([promise, *self._promises(brought.written - own, subject)])
            erasure = self.erasures.request(subject, promise, position, details, shared.kept)
            self._shared[erasure.id] = shared
            return erasure

    def find_brought(
        self,
        subject: Subject,
        shared: Shared,
        shown: NDArray[np.void] | None = None,
        through: AbstractSet[int] = frozenset(),
    ) -> Brought:
        """Return what others brought here of something, or were given anew, parts deleted before included.

        It is what of it others show here, and what it shows on all drives; `through` are volumes beside its
        own ones of which anything may be a part of it.
        """
        if not len(self._catalog.placements):
            return Brought(NOTHING.kept, set())
        layers, volumes = self.log.layers(), self._owners.volumes_of(subject) | through
        shown = shared.shown if shown is None else shown
        brought = find_brought(self.erasures, subject, volumes, layers.block_size, shown)
        renewed = find_renewed(self._renewals.on(self.log.number), layers, subject, shared)
        return Brought(unite([brought.kept, renewed.kept]), brought.written | renewed.written)

    def _promises(self, volumes: AbstractSet[int], subject: Subject) -> list[Promise]:
        """Say how something is deleted that is written through volumes, living or deleted."""
        tenants = {row.number: row.tenant for row in self._catalog.volumes()}
        return [
            self._promise(Subject(kind="volume", number=volume, tenant=tenants.get(volume, subject.tenant)))
            for volume in sorted(volumes)
        ]

    def follow(
        self, erasure: Erasure, kept: NDArray[np.void], written: AbstractSet[int], position: int
    ) -> Erasure:
        """Note that blocks of something deleted come to this drive with whoever keeps them.

        Parameters
        ----------
        erasure : Erasure
            On the drive that they come from.
        kept : SHOWN_DTYPE[n]
            Those that live on here.
        written : set of int
            Volumes, living or deleted, that they are written through here.
        position : int
            The time of this drive's log before any of them came.
        """
        subject, volumes = erasure.subject, erasure.request.details["volumes"]
        others = sorted(written - _own_volumes(subject, volumes))
        self._deletion.watch(*_scope_of(subject))
        for volume in others:
            self._deletion.watch(Scope.VOLUME, volume)
        # Here the strategies count of those through which they are written.
        promise = weakest(self._promises(written, subject))
        details = {"volumes": volumes, "others": others, "follows": erasure.id}
        return self.erasures.request(subject, promise, position, details, kept)

    def request_again(self, erasure: Erasure, shared: Shared) -> Erasure:
        """Look at a deletion anew that failed and is tried again: others may show more of it by now."""
        before = self._shared.get(erasure.id, NOTHING)
        both = before | shared
        if both.kept.tolist() == before.kept.tolist():
            return erasure
        self.erasures.abandon(erasure.id)
        return self.request(erasure.subject, erasure.promise, both, left_through(erasure))

    def missed(self, erasure: Erasure) -> Erasure:
        """Note that a range was given up elsewhere, while this drive failed: a copy here may show it still.

        It is followed when that copy is given up, or the drive comes to its end.
        """
        shared = self._shared.pop(erasure.id, NOTHING)
        known = erasure.request.details
        details = {name: known[name] for name in ("volumes", "others", "left") if name in known}
        details[GIVEN_UP] = True
        again = self.erasures.request(
            erasure.subject, erasure.promise, erasure.requested_position, details, shared.kept
        )
        self._shared[again.id] = shared
        self.erasures.abandon(erasure.id)
        return again

    def deleted(self, erasure: Erasure, *, interrupted: bool = False) -> None:
        """List the copies, when the deletion has been done durably."""
        before = self.position
        residue = self._residue_of(erasure, None)
        self.erasures.list_copies(
            erasure.id, residue, before=before, after=self.position, interrupted=interrupted
        )
        self._look_at_kept(self._shared.pop(erasure.id, NOTHING))

    def update(self, how: How = "overwritten") -> int:
        """Strike off what was written over since the last call; return how many blocks of copies."""
        runs, is_all = self._deletion.overwritten()
        struck = self.erasures.mark(runs, how)
        return struck if is_all else struck + self.look_at_all()

    def note_epoch(self, volumes: set[int]) -> None:
        """Note that nobody can read any more what was dead of volumes, whose blocks had a key each.

        Copies that the cleaner left behind of what died later are unreadable, too, and are not said to be:
        what they are copies of may live.
        """
        for number in sorted(set(self.erasures.pending()["erasure"].tolist())):
            erasure = self.erasures.get(number)
            written = volumes_of(erasure)
            if written and written <= volumes:
                key = Subject(kind="key", number=min(written), tenant=erasure.subject.tenant)
                self.erasures.destroy_key(number, key, self.position, only_dead=True)

    def look(self, erasure: Erasure) -> dict[int, int]:
        """Compare an erasure with the ledger.

        Returns
        -------
        dict of int to int
            The volumes and snapshots that still show blocks of it, and how many.
        """
        self.update()
        return self._look(erasure)

    def _look(self, erasure: Erasure) -> dict[int, int]:
        # Whoever shows it is asked before the residue is: what dies in between is in the residue.
        followed = self.erasures.kept.open
        mine = followed[followed["erasure"] == erasure.id]
        keepers = find_keepers(self.log.layers(), mine)
        self._compare(erasure, kept_ended=bool(len(mine)) and not keepers and self._is_settled())
        return keepers

    def _is_settled(self) -> bool:
        """Let a crash not take back what the log says now; tell if that could be done."""
        with suppress(MediumError):
            self.log.engine.commit()
            return True
        return False

    def _compare(self, erasure: Erasure, *, kept_ended: bool = False) -> int:
        before = self.position
        residue = self._residue_of(erasure, None if kept_ended else self._known_until(erasure))
        if kept_ended:
            self._watch(erasure)
        return self.erasures.reconcile(
            erasure.id, residue, before=before, after=self.position, kept_ended=kept_ended
        )

    def _known_until(self, erasure: Erasure) -> int:
        """Return the position until which what died may have been part of something."""
        return max(erasure.listed_position or 0, self.erasures.kept.let_go(erasure.id) or 0)

    def look_at_all(self, *, watch: bool = False) -> int:
        """Compare all copies with the ledger that are pending or may turn up; return how many are gone."""
        struck = 0
        kept = set(self.erasures.kept.open["erasure"].tolist())
        for number in sorted({*self.erasures.pending()["erasure"].tolist(), *kept}):
            erasure = self.erasures.get(number)
            if erasure.state != "listed":
                continue
            if watch:
                self._watch(erasure)
            before = int(self.erasures.pending(number)["count"].sum())
            self._look(erasure)
            struck += max(before - int(self.erasures.pending(number)["count"].sum()), 0)
        return struck

    def _look_at_kept(self, shared: Shared) -> None:
        """Look for copies of deleted things that others had kept alive, and which have died just now."""
        hit = common(self.erasures.kept.open, shared.dying)
        for number in sorted(set(hit["erasure"].tolist())):
            erasure = self.erasures.get(number)
            if erasure.state == "listed":
                self._look(erasure)

    def _watch(self, erasure: Erasure) -> None:
        self._deletion.watch(*_scope_of(erasure.subject))
        for volume in self._others_of(erasure, kept_ended=True):
            self._deletion.watch(Scope.VOLUME, volume)

    def note_verified(
        self, erasure: Erasure, what: str, *, passed: bool, blocks: int, details: str = ""
    ) -> None:
        """Note that somebody looked whether the copies are gone.

        Parameters
        ----------
        erasure : Erasure
        what : str
            How it was looked, such as ``"read back"`` or ``"ledger"``.
        passed : bool
        blocks : int
            Blocks that were looked at.
        details : str
            What was found, where it did not pass.

        Raises
        ------
        ConfigError
            If the words claim a category of media sanitization.
        """
        for text in (what, details):
            found = CATEGORIES.search(text)
            if found:
                raise ConfigError(
                    f"{text!r} says {found[0]!r}, which is a category of the sanitization of media; say what"
                    " was done in other words"
                )
        self._audit.append(
            Act.ERASURE_VERIFIED,
            self.erasures.require(erasure.id, "listed").subject,
            {
                "erasure": erasure.id,
                "what": what,
                "passed": passed,
                "blocks": blocks,
                "position": self.position,
                "details": details,
            },
        )

    # ---- whose blocks -----------------------------------------------------------------------------

    def _residue_of(self, erasure: Erasure, until: int | None) -> NDArray[np.void]:
        """List the residue that may be of an erasure; None: what died until now, else until that position."""
        own = self._deletion.residue(*_scope_of(erasure.subject))
        if until is not None and is_part(erasure.subject):
            # The volume lives on, and goes on to leave residue that is none of this deletion's.
            own = own[own["died"] <= until]
        parts = [own]
        kept_ended = until is None or self.erasures.kept.let_go(erasure.id) is not None
        for volume in self._others_of(erasure, kept_ended=kept_ended and erasure.state == "listed"):
            theirs = self._deletion.residue(Scope.VOLUME, volume)
            # What was dead before was no part of it; what was left behind by moves may be a copy.
            is_copy = theirs["state"] == BlockState.MOVED
            is_copy |= theirs["died"] >= erasure.requested_position
            is_copy |= volume in left_through(erasure)
            if erasure.subject.kind == "tenant":
                is_copy &= theirs["tenant"] != erasure.subject.number  # among its own already
            theirs = theirs[is_copy]
            parts.append(theirs if until is None else theirs[theirs["died"] <= until])
        return np.concatenate(parts)

    def _others_of(self, erasure: Erasure, *, kept_ended: bool) -> list[int]:
        """List the volumes beside its own ones that copies of an erasure were written through."""
        details = erasure.request.details
        others = {*_named(erasure, "others"), *left_through(erasure)}
        if kept_ended and details.get("kept"):
            others |= set(details["kept"]["volumes"])
        return sorted(others - _own_volumes(erasure.subject, details["volumes"]))


def _named(erasure: Erasure, what: str) -> list[int]:
    """Return the volumes that a request names beside its own ones."""
    volumes: list[int] = erasure.request.details.get(what, [])
    return volumes


def _own_volumes(subject: Subject, volumes: list[int]) -> set[int]:
    """Return the volumes whose residue `_scope_of` covers."""
    if subject.kind == "snapshot" and subject.origin is not None:
        return {subject.origin}
    return set(volumes)


def _scope_of(subject: Subject) -> tuple[Scope, int]:
    """Say whose residue holds that of something."""
    if subject.kind == "tenant":
        return Scope.TENANT, subject.number
    if subject.kind == "snapshot" and subject.origin is not None:
        return Scope.VOLUME, subject.origin
    if subject.kind in {"volume", "range"}:
        return Scope.VOLUME, subject.number
    raise ConfigError(f"a {subject.kind} is not followed; a tenant, volume, snapshot or range is expected")
