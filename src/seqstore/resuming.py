"""Erasures that are gone on with when a store is opened, and what a drive missed while it was away.

While a drive is away things are deleted elsewhere, and it is asked for their erasure there, too. When it is
back its log knows them still: what others show of them is looked up before it forgets them, since afterwards
nobody can say of a snapshot what it showed. A range of a volume is shown by a copy that nobody believes; it
is followed there once that copy has been given up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from seqstore.erasures import AWAY, GIVEN_UP
from seqstore.errors import AuditError
from seqstore.following import find_missed, from_details
from seqstore.promise import left_through
from seqstore.shared import Shared, find_shared, unite, without

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from seqstore.audit_records import Subject
    from seqstore.catalog import Catalog
    from seqstore.evidence import Evidence
    from seqstore.promise import Erasure


class Resuming:
    """Goes on with the erasures of a drive.

    Parameters
    ----------
    evidence : Evidence
        Follows what was deleted from the drive.
    catalog : Catalog
    """

    def __init__(self, evidence: Evidence, catalog: Catalog) -> None:
        self._evidence = evidence
        self._erasures = evidence.erasures
        self._log = evidence.log
        self._catalog = catalog

    def resume(self, is_living: Callable[[Subject], bool]) -> None:
        """Go on with all erasures after an opening of the store, when catalog and log say the same.

        Where the audit log does not hold nothing is followed, and asking for a statement says why.

        Parameters
        ----------
        is_living : callable
            Tells whether something that was to be deleted is still there, and in no deletion.
        """
        try:
            known = self._erasures.all()
        except AuditError:
            return
        for erasure in known:
            if erasure.state != "requested":
                continue
            if "follows" in erasure.request.details:
                # What came here by then is dead, or it is known who keeps it.
                self._evidence.deleted(erasure, interrupted=True)
                continue
            # Nobody knows whether a range was given up before the crash, so nothing is claimed of it.
            is_unknown = erasure.subject.kind == "range" and GIVEN_UP not in erasure.request.details
            if is_unknown or (erasure.subject.kind != "range" and is_living(erasure.subject)):
                self._erasures.abandon(erasure.id)
            elif not self.is_shown(erasure) and not self._is_unknowable(erasure):
                self._evidence.deleted(self._request_late(erasure), interrupted=True)
        self._evidence.look_at_all(watch=True)

    def find_late(self) -> None:
        """Look what others show here of things that were deleted while the drive was away.

        To be called when the store is opened, before the log forgets these things: afterwards nobody can say
        of a snapshot what it showed.
        """
        entries = self._log.layers().volumes()
        rows = {row.number for row in self._catalog.volumes()}
        living = {row.number for row in self._catalog.tenants() if not row.deleting}
        for erasure in self._erasures.all():
            subject = erasure.subject
            if erasure.state != "requested" or AWAY not in erasure.request.details:
                continue
            if subject.kind == "tenant":
                is_here = subject.number in entries.values() and subject.number not in living
            else:
                is_living = subject.kind != "range" and subject.number in rows
                is_here = subject.number in entries and not is_living
            if is_here:
                shared = find_shared(self._log.layers(), subject)
                if subject.kind == "tenant":  # some of what it owned may never have come here
                    shared = Shared(self._kept(erasure, shared), shared.dying)
                self._request_anew(erasure, shared)

    def _request_late(self, erasure: Erasure) -> Erasure:
        """Note what others keep of something deleted while the drive was away, which it has forgotten."""
        if AWAY not in erasure.request.details:
            return erasure
        shared = find_shared(self._log.layers(), erasure.subject)
        brought = self._evidence.find_brought(erasure.subject, shared, through=_through(erasure))
        kept = self._kept(erasure, shared)
        if not len(kept) and not brought:
            return erasure
        return self._request_anew(erasure, Shared(kept, shared.dying[:0]))

    def _kept(self, erasure: Erasure, shared: Shared) -> NDArray[np.void]:
        """Return what others keep here of something, be it that they missed what came and went elsewhere."""
        shown = from_details(erasure.request.details.get("shown", ()))
        missed = find_missed(self._log.layers(), erasure.subject, shown, shared.shown)
        return unite([shared.kept, without(missed.kept, shared.dying)])

    def _request_anew(self, erasure: Erasure, shared: Shared) -> Erasure:
        """Ask again for what was asked for while the drive was away; a crash in between leaves both."""
        again = self._evidence.request(
            erasure.subject,
            erasure.promise,
            shared,
            left_through(erasure),
            through=_through(erasure),
            is_given_up=GIVEN_UP in erasure.request.details,
        )
        self._erasures.abandon(erasure.id)
        return again

    def _is_unknowable(self, erasure: Erasure) -> bool:
        """Tell whether it is a snapshot's, and nobody can say any more what of that others show."""
        details, placements = erasure.request.details, self._catalog.placements
        lay_here = any(place.drive == self._log.number for place in placements.of(erasure.subject.number))
        return erasure.subject.kind == "snapshot" and AWAY in details and lay_here and not details.get("left")

    def is_shown(self, erasure: Erasure) -> bool:
        """Tell whether a copy that nobody believes may show here what was given up elsewhere."""
        volumes = missed_volumes(erasure)
        if erasure.subject.kind == "range":
            volumes.add(erasure.subject.number)
        if not volumes:
            return False
        placements = self._catalog.placements
        places = [placements.find(int(entry["number"])) for entry in self._log.engine.volumes()]
        return any(
            place is not None and place.volume in volumes and place.state != "in_sync" for place in places
        )


def missed_volumes(erasure: Erasure) -> set[int]:
    """Return the volumes of which copies may show something that a drive has missed."""
    details, volumes = erasure.request.details, set[int]()
    if GIVEN_UP in details:
        volumes.add(erasure.subject.number)
    if AWAY in details:
        volumes |= {*details["volumes"], *_through(erasure)}
    return volumes


def _through(erasure: Erasure) -> set[int]:
    """Return the volumes beside its own that something was written through which a drive has missed."""
    return set(erasure.request.details.get("through", ()))
