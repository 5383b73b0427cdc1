"""Epochs of keys: what was overwritten or trimmed cannot be read any more when the epoch has ended.

Each block of a volume that has epochs is sealed with a key of its own. An epoch ends like this: volumes get
new keys to seal with; the log is asked what lives of what was sealed before; it is flushed, so that no crash
brings back what it did not name; and the keys of that alone are kept. `seqstore.encryption` says how no crash
in between does harm. An end that a crash cut off is gone on with at the next opening.

Blocks that were sealed before a volume had epochs share a key. As long as some of them live the others are
written over at the end of the epoch, as under a deadline.

An epoch ends on all drives at once, since they share the keys. What lives on a drive that is missing cannot
be asked for: the epoch of a volume that left blocks there goes on as long as the catalog says that they live.
A drive that has failed or went out of service never comes back, and what lived there alone is lost: epochs
end as if nothing did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from seqstore._native.records import LIVE_SEAL_DTYPE, VOLUME_IS_SNAPSHOT, BlockState, Scope
from seqstore.audit_records import Act, Subject
from seqstore.engine_volume import EngineVolume
from seqstore.runs import distinct

if TYPE_CHECKING:
    from seqstore.clock import Clock
    from seqstore.encryption import Encryption
    from seqstore.fleet import Fleet
    from seqstore.registry import Registry

State = tuple[tuple[int, int, int], ...]  # of each drive: its number, and position and live blocks of its log

_SEAL_ORDER = ("key", "opening", "leaf")
_MOST_AT_ONCE = 1024  # volumes, so that others get at the catalog in between


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyWork:
    """What the end of an epoch takes, if it came now.

    Attributes
    ----------
    node_bytes : int
        Written of keys.
    overwrites : bool
        Whether there are blocks that share a key, so that others are written over.
    """

    node_bytes: int
    overwrites: bool


class Epochs:
    """Begins and ends the epochs of the volumes of a store.

    Parameters
    ----------
    encryption : Encryption
    registry : Registry
        Its lock is held meanwhile, and it knows the drives.
    clock : Clock
    length_of : callable
        Nanoseconds of an epoch of a tenant's volume, by the numbers of both; None: it has none.
    purge : callable
        Writes over all residue of a volume.
    """

    def __init__(
        self,
        encryption: Encryption,
        registry: Registry,
        clock: Clock,
        *,
        length_of: Callable[[int, int], int | None],
        purge: Callable[[int], object],
    ) -> None:
        self._encryption = encryption
        self._registry = registry
        self._clock = clock
        self._length_of = length_of
        self._purge = purge
        self._quiet: dict[int, State] = {}  # the logs' state at the last end, by volume
        self._positions: dict[int, dict[int, int]] = {}  # those of drives at that time, by volume and drive

    @property
    def _fleet(self) -> Fleet:
        return self._registry.fleet

    # ---- beginning --------------------------------------------------------------------------------

    def begin(self, scope: Scope, number: int) -> None:
        """Seal new blocks of a scope's volumes with keys of their own from now on.

        Raises
        ------
        OutOfSpaceError
            If the key area has no room for that; the message says how large it would have to be.
        MediumError
            If it fails.
        """
        with self._registry.lock:
            shared = [v for v in self._within(scope, number) if not self._encryption.seals_by_leaf(v)]
            self._encryption.begin_epoch(shared)
            self._switch(shared)

    def _switch(self, volumes: Iterable[int]) -> None:
        """Give volumes their newest keys: all copies that logs know, those that are being made included."""
        wanted = {number: self._encryption.sealing_key(number) for number in volumes}
        for member in self._fleet if wanted else ():
            for entry in member.engine.volumes():
                number = member.placements.volume_of(int(entry["number"]))
                if number in wanted and not entry["flags"] & VOLUME_IS_SNAPSHOT:
                    key, by_leaf = wanted[number]
                    handle = EngineVolume(member.engine, int(entry["handle"]), f"number {number}")
                    handle._seal(key, by_leaf=by_leaf)

    def _within(self, scope: Scope, number: int) -> list[int]:
        wanted = {Scope.ALL: None, Scope.TENANT: 0, Scope.VOLUME: 1}[scope]
        return [pair[1] for pair in self._encryption.volumes if wanted is None or pair[wanted] == number]

    # ---- ending -----------------------------------------------------------------------------------

    def look(self, ahead_ns: int) -> int:
        """End the epochs that end within so much time; return of how many volumes."""
        with self._registry.lock:
            now, state = self._clock.now_ns(), self._state()
            due = []
            for tenant, volume in self._encryption.volumes:
                length = self._length_of(tenant, volume)
                if length is not None and self._is_due(volume, length, now + ahead_ns, state):
                    due.append(volume)
            due = self._without_missing(due)
            self._end(due)
            return len(due)

    def end(self, scope: Scope, number: int) -> None:
        """End the epoch of all volumes of a scope that have one.

        Raises
        ------
        MediumError
            If the key area, the file of nodes or the drive fails; it can be ended again.
        """
        with self._registry.lock:
            volumes = [v for v in self._within(scope, number) if self._encryption.seals_by_leaf(v)]
            self._end(self._without_missing(volumes))

    def resume(self) -> None:
        """Go on with ends that a crash cut off."""
        with self._registry.lock:
            volumes = [v for _, v in self._encryption.volumes if self._encryption.is_cut_off(v)]
            self._end(self._without_missing(volumes))

    def _without_missing(self, volumes: list[int]) -> list[int]:
        """Leave out those of which something may live on drives that may come back, and nowhere else."""
        fleet, placements = self._fleet, self._registry.catalog.placements
        facts, away = self._registry.placer.facts, set[int]()
        for row in self._registry.catalog.volumes() if volumes and len(placements) else ():
            drives = {place.drive for place in placements.legs(row.number)}
            if not any(drive in fleet for drive in drives):
                away |= {drive for drive in drives if facts.get(drive).is_in_use}
        return [
            volume
            for volume in volumes
            if not away or not any(place.drive in away for place in placements.of(volume))
        ]

    def _is_due(self, volume: int, length: int, now: int, state: State) -> bool:
        if self._encryption.is_cut_off(volume):
            return True
        if not self._encryption.seals_by_leaf(volume) or self._quiet.get(volume) == state:
            return False
        began = self._encryption.began_ns(volume)
        # A clock that was set back tells nothing of the time since then.
        return began > now or now - began >= length

    def _state(self) -> State:
        """Return what changes whenever a block dies."""
        counters = [(member.number, member.engine.counters()) for member in self._fleet]
        return tuple((number, each["position"], each["live_blocks"]) for number, each in counters)

    def _flush(self) -> None:
        for member in self._fleet:
            member.engine.flush()

    def _live_seals(self, keys: list[int]) -> NDArray[np.void]:
        """Say what the live blocks on all drives are sealed with; no opening is of two logs."""
        parts = [member.deletion().live_seals(keys) for member in self._fleet]
        if len(parts) == 1:
            return parts[0]
        seals = np.concatenate([np.empty(0, LIVE_SEAL_DTYPE), *parts])
        return seals[np.lexsort([seals[name] for name in reversed(_SEAL_ORDER)])]

    def _end(self, volumes: list[int]) -> None:
        for volume in volumes:
            self._registry.placer.drop_stale(volume)
        for some in self._parts_of(volumes):
            # Where one was cut off the new key is there already.
            self._encryption.begin_epoch(v for v in some if not self._encryption.is_cut_off(v))
            self._switch(some)
            # What died before this flush died before the position behind it.
            self._flush()
            positions = {drive: position for drive, position, _ in self._state()}
            seals = self._live_seals(self._encryption.older_keys(some))
            self._flush()
            node_bytes = self._encryption.end_epoch(some, seals, positions.get(0, 0))
            self._positions.update(dict.fromkeys(some, positions))
            self._conclude(some, node_bytes)

    def _parts_of(self, volumes: list[int]) -> Iterator[list[int]]:
        at = 0
        while at < len(volumes):
            # At least one is tried: what then fails says why.
            most = max(1, min(self._encryption.room - 1, _MOST_AT_ONCE))
            yield volumes[at : at + most]
            at += most

    def _conclude(self, volumes: list[int], node_bytes: int) -> None:
        registry = self._registry
        mixed = [volume for volume in volumes if self._encryption.is_mixed(volume)]
        for volume in mixed:
            left = (member.deletion().remanence(Scope.VOLUME, volume) for member in self._fleet)
            if any(residue.residue_blocks for residue in left):
                self._purge(volume)
        details = {"volumes": volumes, "node_bytes": node_bytes, "position": self._state()[0][1]}
        registry.audit.append(Act.EPOCH_ENDED, Subject(kind="store", number=0), details)
        if registry.evidence is not None:
            registry.evidence.note_epoch(set(volumes) - set(mixed))
        state = self._state()
        self._quiet.update(dict.fromkeys(volumes, state))

    # ---- what there is, and what would be ------------------------------------------------------------

    def count_unreadable(self, drive: int, scope: Scope, number: int) -> int:
        """Count residue of a scope on a drive that no key opens any more: at least so much."""
        member, encryption = self._fleet.member(drive), self._encryption
        residue = member.deletion().residue(scope, number)
        count = 0
        for own in distinct(residue["volume"]).tolist():
            runs, volume = residue[residue["volume"] == own], member.placements.volume_of(own)
            if encryption.has(volume):
                before = encryption.ended_at(volume)
                if drive and before:  # what was kept of positions is that of the first drive
                    before = self._positions.get(volume, {}).get(drive, 0)
                runs = runs[(runs["state"] == BlockState.DEAD) & (runs["died"] < before)]
            count += int(runs["count"].sum())
        return count

    def plan(self, scope: Scope, number: int) -> KeyWork:
        """Say what it would take if the epochs of a scope ended now."""
        with self._registry.lock:
            volumes = self._within(scope, number)
            encryption = self._encryption
            seals = self._live_seals(encryption.keys_of(volumes))
            is_mixed = any(encryption.is_mixed(volume) for volume in volumes)
            return KeyWork(node_bytes=encryption.count_nodes(seals), overwrites=is_mixed)
