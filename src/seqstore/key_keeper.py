"""The keys of what lives in a store: made with volumes, and dead when nobody reads what they sealed.

Whoever deletes does so durably in the log first, and then asks for a burial. If a crash comes in between, the
next opening asks for one, so that it makes no difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from seqstore._native.records import VOLUME_IS_SNAPSHOT
from seqstore.audit_records import Subject
from seqstore.promise import volumes_of

if TYPE_CHECKING:
    from seqstore.catalog import Catalog
    from seqstore.encryption import Encryption
    from seqstore.engine import Engine
    from seqstore.evidence import Evidence
    from seqstore.volume import Volume

_MOST_BLOCKS = 1 << 38  # of a volume


class KeyKeeper:
    """Keeps keys, log, catalog and evidence of a store in step. The caller holds the registry's lock.

    Parameters
    ----------
    encryption : Encryption
    engine : Engine
    catalog : Catalog
    evidence : Evidence or None
        Follows what is deleted; None follows nothing.
    """

    def __init__(
        self, encryption: Encryption, engine: Engine, catalog: Catalog, evidence: Evidence | None
    ) -> None:
        self._encryption = encryption
        self._engine = engine
        self._catalog = catalog
        self._evidence = evidence

    def make(self, tenant: int, volume: int, *, by_leaf: bool) -> None:
        """Make the key of a volume, durably, before the log knows the volume; by_leaf: one a block."""
        self._encryption.make(tenant, volume, by_leaf=by_leaf)

    def hand_over(self, volume: Volume) -> None:
        """Let the log seal what is written to a volume under its key.

        Raises
        ------
        FormatError
            If the key area knows nothing of the volume.
        """
        # One that has died cannot be written, and reading it says why.
        if not self._encryption.has_died(volume.number):
            key, by_leaf = self._encryption.sealing_key(volume.number)
            volume._seal(key, by_leaf=by_leaf)

    def bury(self) -> None:
        """Let the keys die that nobody needs, and note which copies are unreadable since.

        Raises
        ------
        MediumError
            If the key area fails.
        """
        living = {int(entry["number"]) for entry in self._engine.volumes()}
        tenants = {row.number for row in self._catalog.tenants()}
        self._encryption.bury(
            lambda volume: volume in living or self._is_read(volume), lambda tenant: tenant in tenants
        )
        self._note_unreadable()

    def delete_revived(self) -> None:
        """Delete volumes again whose keys have died: a drive that lied has forgotten that they were."""
        revived = [
            int(entry["handle"])
            for entry in self._engine.volumes()
            if not entry["flags"] & VOLUME_IS_SNAPSHOT and self._encryption.has_died(int(entry["number"]))
        ]
        for handle in revived:
            self._engine.delete(handle, "deleting what has no key any more")
        if revived:
            self._engine.commit()

    def _is_read(self, volume: int) -> bool:
        return bool(self._engine.reach(volume, 0, _MOST_BLOCKS)["blocks"].any())

    def _note_unreadable(self) -> None:
        if self._evidence is None:
            return
        erasures = self._evidence.erasures
        for number in sorted(set(erasures.pending()["erasure"].tolist())):
            erasure = erasures.get(number)
            volumes = volumes_of(erasure)
            if erasure.state == "listed" and volumes and not any(map(self._encryption.has, volumes)):
                key = Subject(kind="key", number=min(volumes), tenant=erasure.subject.tenant)
                erasures.destroy_key(number, key, self._engine.counters()["position"])
