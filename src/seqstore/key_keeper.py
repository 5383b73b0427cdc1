"""The keys of what lives in a store: made with volumes, and dead when nobody reads what they sealed.

Whoever deletes does so durably in the log first, and then asks for a burial. If a crash comes in between, the
next opening asks for one, so that it makes no difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from seqstore._native.records import VOLUME_IS_SNAPSHOT
from seqstore.audit_records import Subject
from seqstore.drive_facts import FactTable
from seqstore.engine_volume import EngineVolume
from seqstore.errors import FormatError
from seqstore.promise import volumes_of

if TYPE_CHECKING:
    from seqstore.catalog import Catalog, VolumeRow
    from seqstore.encryption import Encryption
    from seqstore.engine_mirror import Leg
    from seqstore.evidence_book import EvidenceBook
    from seqstore.fleet import Fleet
    from seqstore.placements import Placement


class KeyKeeper:
    """Keeps keys, logs, catalog and evidence of a store in step. The caller holds the registry's lock.

    Parameters
    ----------
    encryption : Encryption
    fleet : Fleet
    catalog : Catalog
    evidence : EvidenceBook or None
        Follows what is deleted; None follows nothing.
    """

    def __init__(
        self, encryption: Encryption, fleet: Fleet, catalog: Catalog, evidence: EvidenceBook | None
    ) -> None:
        self._encryption = encryption
        self._fleet = fleet
        self._catalog = catalog
        self._evidence = evidence

    def require_own_area(self, *, read_only: bool) -> None:
        """See that the key area is the store's, before any key dies.

        Stores under one root key open each other's areas, and would let all keys die that they do not need.
        The catalog remembers the area from the first opening on.

        Raises
        ------
        FormatError
            If it is another store's.
        """
        database, identity = self._catalog.database, self._encryption.identity.hex()
        rows = database.run("SELECT identity FROM key_area")
        if rows and rows[0][0] != identity:
            raise FormatError(
                f"the key area is another store's: its identity is {identity}, {rows[0][0]} is expected; put"
                " the right one in its place; nothing of it was changed"
            )
        if not rows and not read_only:
            database.run("INSERT INTO key_area VALUES (1, ?)", identity)

    def make(self, tenant: int, volume: int, *, by_leaf: bool) -> None:
        """Make the key of a volume, durably, before the log knows the volume; by_leaf: one a block."""
        self._encryption.make(tenant, volume, by_leaf=by_leaf)

    def hand_over(self, volume: int, legs: Iterable[Leg]) -> None:
        """Let the logs seal what is written to a volume under its key.

        Raises
        ------
        FormatError
            If the key area knows nothing of the volume.
        """
        # One that has died cannot be written, and reading it says why.
        if not self._encryption.has_died(volume):
            key, by_leaf = self._encryption.sealing_key(volume)
            for leg in legs:
                if isinstance(leg.view, EngineVolume):
                    leg.view._seal(key, by_leaf=by_leaf)

    def bury(self) -> None:
        """Let the keys die that nobody needs.

        What lies on drives that are not there is needed as long as the catalog knows it, and with it what it
        may show of volumes that were deleted, if the drive may come back.

        Raises
        ------
        MediumError
            If the key area fails.
        """
        rows, here = {row.number: row for row in self._catalog.volumes()}, self._fleet.volumes()
        away = {number: drives for number in rows if (drives := self._away(number))}
        facts = FactTable(self._catalog.database, self._catalog.settings.created_ns)
        missing = {drive for drive in set[int]().union(*away.values()) if facts.get(drive).is_in_use}
        lost = [
            (number, drives & missing, *_ancestors(rows[number], rows))
            for number, drives in away.items()
            if not any(leg.drive in self._fleet for leg in self._catalog.placements.legs(number))
        ]

        def is_needed(volume: int) -> bool:
            return volume in here or volume in away or self._is_read(volume) or is_shown_away(volume)

        def is_shown_away(volume: int) -> bool:
            drives = {place.drive for place in self._places(volume)} if lost else set[int]()
            return any(
                not drives.isdisjoint(there) and (volume in known or (not is_all and volume < number))
                for number, there, known, is_all in lost
            )

        tenants = {row.number for row in self._catalog.tenants()}
        self._encryption.bury(is_needed, lambda tenant: tenant in tenants)

    def _away(self, volume: int) -> set[int]:
        """Return the drives that are not there and hold a copy."""
        return {p.drive for p in self._places(volume) if p.is_there and p.drive not in self._fleet}

    def _places(self, volume: int) -> list[Placement]:
        return self._catalog.placements.of(volume)

    def delete_revived(self) -> None:
        """Delete volumes again whose keys have died: a drive that lied has forgotten that they were."""
        for member in self._fleet:
            volume_of = member.placements.volume_of
            revived = [
                int(entry["handle"])
                for entry in member.engine.volumes()
                if not entry["flags"] & VOLUME_IS_SNAPSHOT
                and self._encryption.has_died(volume_of(int(entry["number"])))
            ]
            for handle in revived:
                member.engine.delete(handle, "deleting what has no key any more")
            if revived:
                member.engine.commit()

    def _is_read(self, volume: int) -> bool:
        return any(self._fleet.reach(volume).values())

    def note_unreadable(self) -> None:
        """Note which copies nobody can read any more, since the key of all that they hold is gone."""
        if self._evidence is None:
            return
        for member, evidence, erasure in self._evidence.listed():
            volumes = volumes_of(erasure)
            is_pending = len(evidence.erasures.pending(erasure.id)) > 0
            if is_pending and volumes and not any(map(self._encryption.has, volumes)):
                key = Subject(kind="key", number=min(volumes), tenant=erasure.subject.tenant)
                evidence.erasures.destroy_key(erasure.id, key, member.engine.counters()["position"])


def _ancestors(row: VolumeRow, rows: Mapping[int, VolumeRow]) -> tuple[set[int], bool]:
    """Return the volumes that something may show blocks of, and whether these are all.

    Where the snapshot or the volume in between was deleted nobody knows which one it was of.
    """
    volumes, at = set[int](), row.number
    while at:
        found = rows.get(at)
        if found is None:
            return volumes, False
        at = found.origin
        if found.kind == "snapshot":
            volumes.add(at)
    return volumes, True
