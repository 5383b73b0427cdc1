"""The evidence of deletions on all drives of a store: an erasure for each drive that holds or held some.

Positions are those of a drive's log, so what is followed on different drives is written down apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from seqstore.erasures import Erasures
from seqstore.errors import MediumError, NotFoundError

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.audit_records import Subject
    from seqstore.catalog import Catalog
    from seqstore.evidence import Evidence
    from seqstore.fleet import Fleet, Member
    from seqstore.promise import Erasure, Promise

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
        Says how something is deleted that is to be deleted now.
    """

    def __init__(
        self,
        fleet: Fleet,
        catalog: Catalog,
        audit: AuditLog,
        now_ns: Callable[[], int],
        promise: Callable[[Subject], Promise],
    ) -> None:
        self._fleet = fleet
        self._catalog = catalog
        self._audit = audit
        self._now_ns = now_ns
        self._promise = promise

    def _members(self) -> Iterable[tuple[Member, Evidence]]:
        return [(member, member.evidence) for member in self._fleet if member.evidence is not None]

    def request(self, subject: Subject) -> Asked:
        """Note that something is to be deleted, on each drive where it lies or lay, before any of it is done.

        On drives that are not in use copies may be left as well: the erasure there stays open until the drive
        is back, or was sanitized.
        """
        members = {member.number: evidence for member, evidence in self._members()}
        placements = self._catalog.placements
        if len(placements):
            volumes = next(iter(members.values())).volumes_of(subject)
            drives = sorted({place.drive for volume in volumes for place in placements.of(volume)})
        else:
            drives = sorted(members)
        asked: Asked = []
        for drive in drives or sorted(members)[:1]:
            if drive in members:
                asked.append((drive, members[drive].request(subject)))
            else:
                details = {"volumes": sorted(volumes), "unreachable_drive": drive}
                erasures = Erasures(self._catalog, self._audit, self._now_ns, drive)
                asked.append((drive, erasures.request(subject, self._promise(subject), 0, details)))
        return asked

    def deleted(self, asked: Asked) -> None:
        """List the copies, when the deletion has been done durably."""
        members = {member.number: evidence for member, evidence in self._members()}
        for drive, erasure in asked:
            if drive in members:
                members[drive].deleted(erasure)

    def update(self) -> int:
        """Strike off what was written over since the last call; return how many blocks of copies."""
        return sum(evidence.update() for _, evidence in self._members())

    def resume(self, is_living: Callable[[Subject], bool]) -> None:
        """Go on with all erasures after an opening of the store; see `Evidence.resume`."""
        for _, evidence in self._members():
            evidence.resume(is_living)

    def all(self) -> list[Erasure]:
        """Return the erasures on all drives, those out of use included, in the order of their numbers."""
        found = [
            erasure
            for row in self._catalog.drives
            for erasure in Erasures(self._catalog, self._audit, self._now_ns, row.number).all()
        ]
        return sorted(found, key=lambda erasure: erasure.id)

    def listed(self) -> list[tuple[Member, Evidence, Erasure]]:
        """Return those on drives in use whose copies are listed."""
        return [
            (member, evidence, erasure)
            for member, evidence in self._members()
            for erasure in evidence.erasures.all()
            if erasure.state == "listed"
        ]

    def of(self, number: int) -> Evidence:
        """Return who follows an erasure.

        Raises
        ------
        NotFoundError
            If there is none of that id.
        MediumError
            If it is on a drive that is not in use, whose ledger cannot be asked.
        """
        for _, evidence in self._members():
            try:
                evidence.erasures.get(number)
            except NotFoundError:
                continue
            return evidence
        for row in self._catalog.drives:
            erasures = Erasures(self._catalog, self._audit, self._now_ns, row.number)
            if any(erasure.id == number for erasure in erasures.all()):
                raise MediumError(
                    f"erasure {number} is of drive {row.number}, which is not in use: nobody can say what is"
                    " left there; bring it back, or sanitize it"
                )
        raise NotFoundError(f"there is no erasure {number}; {len(self.all())} are known")
