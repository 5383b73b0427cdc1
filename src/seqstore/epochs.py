"""Epochs of keys: what was overwritten or trimmed cannot be read any more when the epoch has ended.

Each block of a volume that has epochs is sealed with a key of its own. An epoch ends like this: volumes get
new keys to seal with; the log is asked what lives of what was sealed before; it is flushed, so that no crash
brings back what it did not name; and the keys of that alone are kept. `seqstore.encryption` says how no crash
in between does harm. An end that a crash cut off is gone on with at the next opening.

Blocks that were sealed before a volume had epochs share a key. As long as some of them live the others are
written over at the end of the epoch, as under a deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqstore._native.records import BlockState, Scope
from seqstore.audit_records import Act, Subject
from seqstore.runs import distinct
from seqstore.volume import Volume

if TYPE_CHECKING:
    from seqstore.clock import Clock
    from seqstore.encryption import Encryption
    from seqstore.engine_deletion import EngineDeletion
    from seqstore.registry import Registry

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
        Its lock is held meanwhile, and it knows the volumes that can be written.
    core : EngineDeletion
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
        core: EngineDeletion,
        clock: Clock,
        *,
        length_of: Callable[[int, int], int | None],
        purge: Callable[[int], object],
    ) -> None:
        self._encryption = encryption
        self._registry = registry
        self._core = core
        self._clock = clock
        self._length_of = length_of
        self._purge = purge
        self._quiet: dict[int, tuple[int, int]] = {}  # the log's state at the last end, by volume

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
        for number in volumes:
            volume = self._registry.find(number)
            if isinstance(volume, Volume):
                key, by_leaf = self._encryption.sealing_key(number)
                volume._seal(key, by_leaf=by_leaf)

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
            self._end([v for v in self._within(scope, number) if self._encryption.seals_by_leaf(v)])

    def resume(self) -> None:
        """Go on with ends that a crash cut off."""
        with self._registry.lock:
            self._end([v for _, v in self._encryption.volumes if self._encryption.is_cut_off(v)])

    def _is_due(self, volume: int, length: int, now: int, state: tuple[int, int]) -> bool:
        if self._encryption.is_cut_off(volume):
            return True
        if not self._encryption.seals_by_leaf(volume) or self._quiet.get(volume) == state:
            return False
        began = self._encryption.began_ns(volume)
        # A clock that was set back tells nothing of the time since then.
        return began > now or now - began >= length

    def _state(self) -> tuple[int, int]:
        """Return what changes whenever a block dies."""
        counters = self._registry.engine.counters()
        return counters["position"], counters["live_blocks"]

    def _end(self, volumes: list[int]) -> None:
        for some in self._parts_of(volumes):
            # Where one was cut off the new key is there already.
            self._encryption.begin_epoch(v for v in some if not self._encryption.is_cut_off(v))
            self._switch(some)
            # What died before this flush died before the position behind it.
            self._registry.engine.flush()
            position = self._state()[0]
            seals = self._core.live_seals(self._encryption.older_keys(some))
            self._registry.engine.flush()
            node_bytes = self._encryption.end_epoch(some, seals, position)
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
            if self._core.remanence(Scope.VOLUME, volume).residue_blocks:
                self._purge(volume)
        details = {"volumes": volumes, "node_bytes": node_bytes, "position": self._state()[0]}
        registry.audit.append(Act.EPOCH_ENDED, Subject(kind="store", number=0), details)
        if registry.evidence is not None:
            registry.evidence.note_epoch(set(volumes) - set(mixed))
        state = self._state()
        self._quiet.update(dict.fromkeys(volumes, state))

    # ---- what there is, and what would be ------------------------------------------------------------

    def count_unreadable(self, scope: Scope, number: int) -> int:
        """Count residue of a scope that no key opens any more: at least so much."""
        residue, encryption = self._core.residue(scope, number), self._encryption
        count = 0
        for volume in distinct(residue["volume"]).tolist():
            runs = residue[residue["volume"] == volume]
            if encryption.has(volume):
                before = encryption.ended_at(volume)
                runs = runs[(runs["state"] == BlockState.DEAD) & (runs["died"] < before)]
            count += int(runs["count"].sum())
        return count

    def plan(self, scope: Scope, number: int) -> KeyWork:
        """Say what it would take if the epochs of a scope ended now."""
        with self._registry.lock:
            volumes = self._within(scope, number)
            encryption = self._encryption
            seals = self._core.live_seals(encryption.keys_of(volumes))
            is_mixed = any(encryption.is_mixed(volume) for volume in volumes)
            return KeyWork(node_bytes=encryption.count_nodes(seals), overwrites=is_mixed)
