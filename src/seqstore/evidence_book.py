"""The evidence of deletions on all drives of a store: an erasure for each drive that holds or held some.

Positions are those of a drive's log, so what is followed on different drives is written down apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from seqstore._native.records import SHOWN_DTYPE
from seqstore.audit_records import Act
from seqstore.drive_facts import HOLDS_NOTHING, FactTable
from seqstore.erasures import AWAY, GIVEN_UP, Erasures
from seqstore.errors import AuditError, FormatError, MediumError, NotFoundError
from seqstore.following import Brought, by_volume, find_brought, find_missed, to_details
from seqstore.issuing import Issuer
from seqstore.owners import Owners
from seqstore.renewals import Renewals
from seqstore.resuming import Resuming, missed_volumes
from seqstore.runs import distinct
from seqstore.shared import MOST_BLOCKS, NOTHING, Shared, unite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from seqstore.audit import AuditLog
    from seqstore.audit_records import Subject
    from seqstore.catalog import Catalog, DriveRow
    from seqstore.evidence import Evidence
    from seqstore.fleet import Fleet, Member
    from seqstore.promise import Erasure, Promise
    from seqstore.signing import SigningKey
    from seqstore.statement import Statement

Asked = list[tuple[int, "Erasure"]]


class EvidenceBook:
    """What a store can show of its deletions, drive by drive.

    Parameters
    ----------
    fleet : Fleet
        The drives in use; each member has its evidence.
    catalog : Catalog
    audit : AuditLog
    now_ns : callable
        Tells the time.
    promise : callable
        Says how something is deleted that is to be deleted now, from a drive.

    Attributes
    ----------
    owners : Owners
        Knows the volumes of tenants.
    renewals : Renewals
        Knows what was written anew.
    failure : MediumError or None
        Why copies of something deleted could not be listed; it is tried again with whatever comes next.
    """

    def __init__(
        self,
        fleet: Fleet,
        catalog: Catalog,
        audit: AuditLog,
        now_ns: Callable[[], int],
        promise: Callable[[Subject, int], Promise],
    ) -> None:
        self._fleet = fleet
        self._catalog = catalog
        self._audit = audit
        self._now_ns = now_ns
        self._promise = promise
        self.owners = Owners(catalog, audit)
        self.renewals = Renewals(audit, catalog.database.lock)
        self._issuer = Issuer(catalog, audit, now_ns, self._evidence_of)
        self._facts = FactTable(catalog.database, catalog.settings.created_ns)
        self._listing = catalog.database.lock
        self._unlisted: dict[int, tuple[int, Erasure]] = {}  # what was deleted in this session
        self.failure: MediumError | None = None

    def _members(self) -> Iterable[tuple[Member, Evidence]]:
        return [(member, member.evidence) for member in self._fleet if member.evidence is not None]

    def request(self, subject: Subject, shared: Mapping[int, Shared]) -> Asked:
        """Note that something is to be deleted, on each drive where it lies or lay, before any of it is done.

        On drives that are not in use copies may be left as well: the erasure there stays open until the drive
        is back, or was sanitized. Where it was, nothing is left that would have to be followed.

        Parameters
        ----------
        subject : Subject
        shared : mapping of int to Shared
            What it shares with others, by drive.
        """
        members = {member.number: evidence for member, evidence in self._members()}
        shown = self._shown(subject, shared)
        wide = self._widen(shown)
        drives, left = self._where(subject, shared, wide), self._left_by(subject, wide)
        asked: Asked = []
        for drive in sorted(drives) or sorted(members)[:1]:
            behind = left.get(drive, set())
            if drive in members:
                mine = shared.get(drive, NOTHING)
                missed = self._find_missed(drive, subject, shown, mine)
                mine |= Shared(missed.kept, missed.kept[:0])
                behind |= missed.written
                asked.append((drive, members[drive].request(subject, None, mine, behind, shown)))
            elif subject.kind != "range":  # of that it is known later whether it was given up: `given_up`
                asked.append((drive, self._request_away(drive, subject, wide, behind)))
        return asked

    def _shown(self, subject: Subject, shared: Mapping[int, Shared]) -> NDArray[np.void]:
        """Return what something shows on any drive that others may show, too, as SHOWN_DTYPE[n].

        Of what no drive in use has, that is all that was written through its ancestors.
        """
        parts = [part.shown for part in shared.values()]
        lost = self._find_lost(subject)
        if lost:
            ancestors = sorted(set[int]().union(*self.owners.ancestors_of(lost).values()))
            parts.append(np.array([(0, each, each, 0, MOST_BLOCKS) for each in ancestors], SHOWN_DTYPE))
        return np.concatenate([np.empty(0, SHOWN_DTYPE), *parts])

    def _find_lost(self, subject: Subject) -> set[int]:
        """Return what is to be deleted of which no drive in use has a copy."""
        placements = self._catalog.placements
        if not len(placements):
            return set()
        numbers = {subject.number}
        if subject.kind == "tenant":
            numbers = {row.number for row in self._catalog.volumes() if row.tenant == subject.number}
        return {n for n in numbers if not any(place.drive in self._fleet for place in placements.legs(n))}

    def _widen(self, shown: NDArray[np.void]) -> NDArray[np.void]:
        """Return what may be the same on a drive that is away.

        What was written through an ancestor may be known on others as written through the heir that took it
        along, at the same address.
        """
        if not len(self._catalog.placements):
            return shown
        parts = [by_volume(shown)]
        for volume, ancestors in self.owners.ancestors_of(distinct(shown["volume"]).tolist()).items():
            for ancestor in ancestors:
                runs = shown[shown["volume"] == volume]
                runs["volume"] = ancestor
                parts.append(by_volume(runs))
        return unite(parts)

    def _find_missed(self, drive: int, subject: Subject, shown: NDArray[np.void], mine: Shared) -> Brought:
        """Return what of something is on a drive that missed it: it was made while the drive was away.

        There others show it, such as copies that nobody believes, or it is dead since those were given up.
        """
        placements = self._catalog.placements
        missed = find_missed(self._fleet.member(drive).layers(), subject, shown, mine.shown)
        was_here = {v for v in missed.written if any(place.drive == drive for place in placements.of(v))}
        return Brought(missed.kept, was_here)

    def _request_away(
        self, drive: int, subject: Subject, shown: NDArray[np.void], left: AbstractSet[int]
    ) -> Erasure:
        """Note that something is to be deleted from a drive that is not in use, or that a range was."""
        volumes = self.owners.volumes_of(subject)
        details: dict[str, object] = {"volumes": sorted(volumes), AWAY: drive}
        others = self._through(subject, shown) - volumes - {subject.number}
        parts = {"through": sorted(others), "left": sorted(left), "shown": to_details(shown)}
        details.update({name: part for name, part in parts.items() if part})
        if subject.kind == "range":
            details[GIVEN_UP] = True
        return self._erasures(drive).request(subject, self._promise(subject, drive), 0, details)

    def _through(self, subject: Subject, shown: NDArray[np.void]) -> set[int]:
        """Return the volumes that blocks of something were written through, and its own number."""
        return {*self.owners.volumes_of(subject), *_own(subject), *distinct(shown["volume"]).tolist()}

    def _where(self, subject: Subject, shared: Mapping[int, Shared], shown: NDArray[np.void]) -> set[int]:
        """Return the drives on which blocks of something lie or lay."""
        placements = self._catalog.placements
        if not len(placements):
            return {member.number for member, _ in self._members()}
        through = self._through(subject, shown)
        drives = {place.drive for volume in through for place in placements.of(volume)}
        drives |= {drive for drive, part in shared.items() if len(part.kept) or len(part.dying)}
        drives |= {row.number for row in self._catalog.drives if self._was_brought(row, subject, shown)}
        return drives - {row.number for row in self._catalog.drives if self._holds_nothing(row.number)}

    def _was_brought(self, row: DriveRow, subject: Subject, shown: NDArray[np.void]) -> bool:
        """Tell whether others took something along to a drive that is to be deleted, or a part of it."""
        evidence = self._evidence_of(row.number)
        erasures = self._erasures(row.number) if evidence is None else evidence.erasures
        volumes = self.owners.volumes_of(subject)
        return bool(find_brought(erasures, subject, volumes, row.block_size, shown))

    def _left_by(self, subject: Subject, shown: NDArray[np.void]) -> dict[int, set[int]]:
        """Say which volumes' blocks something that is to be deleted left on drives, by drive, when it moved.

        The log of such a drive knows no more of whom it was that showed them.
        """
        placements = self._catalog.placements
        own = self._through(subject, shown)
        places = [place for volume in own if len(placements) for place in placements.of(volume)]
        there = {(place.volume, place.drive) for place in places if place.is_there}
        if all((place.volume, place.drive) in there for place in places):
            return {}
        left: dict[int, set[int]] = {}
        # A log that was broken keeps nobody from deleting; statements are made of one that holds.
        with suppress(AuditError):
            for record in self._audit:
                if record.act == Act.FAMILY_MOVED.value and not own.isdisjoint(record.details["volumes"]):
                    for drive in record.details["from"]:
                        left.setdefault(drive, set()).update(record.details.get("written", ()))
        return left

    def request_again(self, asked: Asked, shared: Mapping[int, Shared]) -> Asked:
        """Look at a deletion anew that failed and is tried again; see `Evidence.request_again`."""
        members = {member.number: evidence for member, evidence in self._members()}
        return [
            (drive, members[drive].request_again(erasure, shared.get(drive, NOTHING)))
            if drive in members
            else (drive, erasure)
            for drive, erasure in asked
        ]

    def note_epoch(self, volumes: set[int]) -> None:
        """Note that nobody can read any more what was dead of volumes; see `Evidence.note_epoch`."""
        for _, evidence in self._members():
            evidence.note_epoch(volumes)

    def deleted(self, asked: Asked) -> None:
        """List the copies, when the deletion has been done durably.

        Where the drive does not let them be listed that is tried again with whatever comes next: a purge, a
        scrub, a statement or another deletion.
        """
        with self._listing:
            self._unlisted.update({erasure.id: (drive, erasure) for drive, erasure in asked})
        self.list_late()

    def given_up(self, subject: Subject, asked: Asked, shared: Mapping[int, Shared]) -> None:
        """List the copies of a range that was given up durably, and note which drives missed that.

        Copies on drives that failed meanwhile, or are away, show it still: there it is listed when these
        copies have been given up, and it has ended when the drive has.
        """
        members = {member.number: evidence for member, evidence in self._members()}
        stale = {p.drive for p in self._catalog.placements.of(subject.number) if p.state == "stale"}
        reached = [
            (drive, members[drive].missed(erasure) if drive in stale else erasure) for drive, erasure in asked
        ]
        if len(members) < len(self._catalog.drives):
            shown = self._widen(self._shown(subject, shared))
            left = self._left_by(subject, shown)
            for drive in sorted(self._where(subject, shared, shown) - members.keys()):
                self._request_away(drive, subject, shown, left.get(drive, set()))
        self.deleted(reached)

    def list_late(self) -> None:
        """List copies that could not be listed when they were left behind."""
        with self._listing:
            members = {member.number: evidence for member, evidence in self._members()}
            self.failure = None
            for number, (drive, erasure) in sorted(self._unlisted.items()):
                del self._unlisted[number]
                evidence = members.get(drive)
                if evidence is None:  # its drive is not in use any more: with that it ends
                    continue
                try:
                    if Resuming(evidence, self._catalog).is_shown(erasure):
                        self._unlisted[number] = drive, erasure
                    elif evidence.erasures.get(number).state == "requested":
                        evidence.deleted(erasure)
                except MediumError as error:
                    self._unlisted[number], self.failure = (drive, erasure), error

    def update(self) -> int:
        """Strike off what was written over since the last call; return how many blocks of copies."""
        self.list_late()
        return sum(evidence.update() for _, evidence in self._members())

    def find_late(self) -> None:
        """Look what others show of things deleted while drives were away; see `Resuming`."""
        with suppress(AuditError):  # a log that does not hold keeps no store from opening
            for _, evidence in self._members():
                Resuming(evidence, self._catalog).find_late()

    def missed_volumes(self) -> set[int]:
        """Return the volumes of which copies in use may show what was given up on other drives."""
        with suppress(AuditError):
            return {
                volume
                for _, evidence in self._members()
                for erasure in evidence.erasures.all()
                if erasure.state == "requested"
                for volume in missed_volumes(erasure)
            }
        return set()

    def resume(self, is_living: Callable[[Subject], bool]) -> None:
        """Go on with all erasures after an opening of the store; see `Resuming`."""
        for _, evidence in self._members():
            Resuming(evidence, self._catalog).resume(is_living)
        with suppress(AuditError):  # a log that does not hold keeps no store from opening
            self._end_drives(is_living)

    def end_drive(self, drive: int, is_living: Callable[[Subject], bool]) -> int:
        """Note that a drive holds nothing of anybody any more; return how many blocks of copies that ends.

        Parameters
        ----------
        drive : int
            Not in use.
        is_living : callable
            Tells whether something that was to be deleted is still there.
        """

        def happened(erasure: Erasure) -> bool:
            # Of a range nobody can say it afterwards, unless it was given up on other drives, or the drive
            # was known to be out of reach: then the deletion was for the others to do.
            if erasure.subject.kind == "range":
                return not {GIVEN_UP, AWAY, "follows"}.isdisjoint(erasure.request.details)
            return not is_living(erasure.subject)

        return self._erasures(drive).end_drive(happened)

    def _holds_nothing(self, drive: int) -> bool:
        return drive not in self._fleet and self._facts.get(drive).state in HOLDS_NOTHING

    def _end_drives(self, is_living: Callable[[Subject], bool]) -> None:
        """Make up for what a crash cut off behind the end of a drive."""
        for row in self._catalog.drives:
            if self._holds_nothing(row.number) and self._erasures(row.number).has_open():
                self.end_drive(row.number, is_living)

    def _erasures(self, drive: int) -> Erasures:
        """Return the erasures of a drive that is not in use."""
        return Erasures(self._catalog, self._audit, self._now_ns, drive)

    def all(self) -> list[Erasure]:
        """Return the erasures on all drives, those out of use included, in the order of their numbers.

        Raises
        ------
        FormatError
            If one is of a drive that the store never had.
        """
        self._require_drives()
        found = [
            erasure
            for row in self._catalog.drives
            for erasure in Erasures(self._catalog, self._audit, self._now_ns, row.number).all()
        ]
        return sorted(found, key=lambda erasure: erasure.id)

    def _require_drives(self) -> None:
        """See that no erasure is hidden by being of a drive that nobody looks for."""
        database = self._catalog.database
        strange = database.run(
            "SELECT erasure, drive FROM erasure_drives WHERE drive NOT IN (SELECT number FROM drives) LIMIT 1"
        )
        for erasure, drive in strange:
            raise FormatError(
                f"{database.name} is damaged: table erasure_drives says that erasure {erasure} is of drive"
                f" {drive!r}, which the store never had; put a copy of the catalog in its place that was made"
                " before that"
            )

    def listed(self) -> list[tuple[Member, Evidence, Erasure]]:
        """Return those on drives in use whose copies are listed."""
        return [
            (member, evidence, erasure)
            for member, evidence in self._members()
            for erasure in evidence.erasures.all()
            if erasure.state == "listed"
        ]

    def statement(self, number: int, key: SigningKey | None) -> Statement:
        """Issue a statement of an erasure; see `Issuer.issue`.

        Raises
        ------
        NotFoundError
            If there is none of that id.
        FormatError
            As `all`.
        AuditError
            If the log does not say what was written anew.
        """
        self._require_drives()
        self.renewals.read()
        self.list_late()
        for row in self._catalog.drives:
            evidence = self._evidence_of(row.number)
            erasures = self._erasures(row.number) if evidence is None else evidence.erasures
            if erasures.has(number):
                return self._issuer.issue(row.number, number, key)
        raise NotFoundError(f"there is no erasure {number}; {len(self.all())} are known")

    def _evidence_of(self, drive: int) -> Evidence | None:
        """Return who follows what was deleted from a drive; None if it is not in use."""
        return self._fleet.member(drive).evidence if drive in self._fleet else None


def _own(subject: Subject) -> set[int]:
    """Return the numbers under which a snapshot and what it is of were placed on drives."""
    if subject.kind != "snapshot":
        return set()
    return {subject.number} if subject.origin is None else {subject.number, subject.origin}
