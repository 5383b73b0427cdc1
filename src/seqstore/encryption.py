"""Encryption of a store: which keys its tenants and volumes have, and when they die.

A volume's key is made durable before the log knows the volume, so that no block is sealed under a key that a
crash could take away. It dies when the volume was deleted, durably, and nobody else reads blocks that were
written through it; whatever a crash cuts off in between, the next opening goes on with. A dead key stays
dead: see `seqstore.keys`.

Below a volume's key there is one for each epoch, the newest of which seals what is written. The others are
gone, and what is left of their trees lies in the file of nodes, sealed under the newest. An epoch ends in
this order, and may be cut off anywhere: a new key, durably; the nodes of what lives, under it, durably; the
death of the old ones.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from seqstore._native.crypt import KeyRing, system_crypto
from seqstore.errors import FormatError, NotFoundError, OutOfSpaceError
from seqstore.keys import ROOT, Keychain, KeyEntry, KeyKind, KeyProvider, NewKey
from seqstore.keys.nodes import NodesFile, Place, Sealed, Tree, open_trees, prune_trees, seal_trees
from seqstore.keys.secret import wipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_READY = 4096  # keys that are kept ready in the core


class Encryption:
    """The keys of an open store. Any number of threads may use it.

    `Encryption.create` and `Encryption.open` make one.

    Parameters
    ----------
    keychain : Keychain
        Closed with it.
    path : Path
        Its file; that of the nodes is beside it.
    now_ns : callable
        Tells the time.
    read_only : bool
        Whether nothing is put right.

    Attributes
    ----------
    ring : KeyRing
        The secrets in the core, for the log.
    identity : bytes
        Of the key area.

    Raises
    ------
    FormatError
        If the file of nodes is not the one that belongs to the area.
    """

    def __init__(
        self, keychain: Keychain, path: Path, now_ns: Callable[[], int], *, read_only: bool = False
    ) -> None:
        self._keychain, self.identity = keychain, keychain.identity
        self._path = path
        self._now_ns = now_ns
        self._entropy = system_crypto().fill
        self._lock = threading.RLock()
        self._volumes: dict[int, KeyEntry] = {}  # keys of volumes, by the volumes' numbers
        self._epochs: dict[int, list[KeyEntry]] = {}  # those of their epochs, the newest last
        self._kept: dict[int, set[tuple[int, int]]] = {}  # trees of dead ones: key and opening
        self._nodes = NodesFile(path.with_name(path.name + ".nodes"), keychain.identity)
        self.ring = KeyRing(system_crypto(), _MOST_READY)
        try:
            self._load(read_only)
        except BaseException:
            self.ring.close()
            raise

    def _load(self, read_only: bool) -> None:
        entries = {entry.number: entry for entry in self._keychain.keys}
        for entry in entries.values():
            if entry.kind is KeyKind.VOLUME:
                self._volumes[entry.scope] = entry
                self._epochs[entry.scope], self._kept[entry.scope] = [], set()
        for entry in entries.values():
            if entry.kind in (KeyKind.EPOCH, KeyKind.TREE):
                self._epochs[entries[entry.parent].scope].append(entry)
        over = list(chain.from_iterable(map(self._load_nodes, self._epochs)))
        if over and not read_only:
            # Their nodes were safe, and a crash came before their death.
            self._keychain.kill(over, at_ns=self._now_ns(), tombstones=False)
        for entry in chain.from_iterable(self._epochs.values()):
            self._take(entry)

    def _load_nodes(self, volume: int) -> list[int]:
        """Take the nodes of a volume's dead keys; return the keys that should be dead."""
        epochs, section = self._epochs[volume], self._nodes.sections.get(volume)
        living = {entry.number for entry in epochs}
        if section is None or section.key not in living:
            first = next((entry for entry in epochs if entry.kind is KeyKind.TREE), None)
            if first is not None and first.scope > epochs.index(first):
                raise FormatError(
                    f"{str(self._nodes.path)!r} lacks the nodes of volume number {volume}, of which epochs"
                    " have ended: it is gone, or of another moment than the key area; put the right one in"
                    " its place"
                )
            return []
        with self._keychain.secret(section.key) as secret:
            data = self._nodes.read(section)
            for number, opening, nodes in open_trees(data, section, secret, self._keychain.identity):
                self.ring.keep(number, opening, nodes)
                self._kept[volume].add((number, opening))
                wipe(nodes)
        over = [e.number for e in epochs if e.kind is KeyKind.TREE and e.number < section.key]
        self._epochs[volume] = [entry for entry in epochs if entry.number not in over]
        return over

    @classmethod
    def create(cls, path: Path, provider: KeyProvider, now_ns: Callable[[], int]) -> Encryption:
        """Make a key area in a new file; errors are those of `Keychain.create`."""
        keychain = Keychain.create(path, provider, entropy=system_crypto().fill)
        return cls._with(keychain, path, now_ns, False)

    @classmethod
    def open(
        cls, path: Path, provider: KeyProvider, now_ns: Callable[[], int], *, read_only: bool
    ) -> Encryption:
        """Open the key area in a file; errors are those of `Keychain.open`, and of the class."""
        keychain = Keychain.open(path, provider, entropy=system_crypto().fill, read_only=read_only)
        return cls._with(keychain, path, now_ns, read_only)

    @classmethod
    def _with(cls, keychain: Keychain, path: Path, now_ns: Callable[[], int], read_only: bool) -> Encryption:
        with ExitStack() as undo:
            undo.callback(keychain.close)
            made = cls(keychain, path, now_ns, read_only=read_only)
            undo.pop_all()
        return made

    def close(self) -> None:
        """Forget all keys. The log must have been closed before. Closing again does nothing."""
        with self._lock:
            self.ring.close()
            self._keychain.close()

    def discard(self) -> None:
        """Close it, and remove the key area: the store was not made."""
        self.close()
        self._nodes.remove()
        with suppress(OSError):
            self._path.unlink()

    def _take(self, entry: KeyEntry) -> None:
        with self._keychain.secret(entry.number) as secret:
            self.ring.add(entry.number, secret.buffer)

    # ---- keys of volumes --------------------------------------------------------------------------

    def make(self, tenant: int, volume: int, *, by_leaf: bool = False) -> None:
        """Make the keys of a new volume, durably.

        Parameters
        ----------
        tenant, volume : int
        by_leaf : bool
            Whether each block gets a key of its own.

        Raises
        ------
        OutOfSpaceError
            If the key area has no room.
        MediumError
            If it fails.
        """
        with self._lock:
            with suppress(NotFoundError):
                # The making of a volume of that number was cut off before the log knew.
                self._kill([self._volumes[volume].number] if volume in self._volumes else [])
            wanted, number = [], self._keychain.next_number
            try:
                parent = self._keychain.find(KeyKind.TENANT, tenant).number
            except NotFoundError:
                wanted.append(NewKey(kind=KeyKind.TENANT, scope=tenant, parent=ROOT))
                parent, number = number, number + 1
            wanted.append(NewKey(kind=KeyKind.VOLUME, scope=volume, parent=parent))
            wanted.append(NewKey(kind=_kind(by_leaf), scope=0, parent=number))
            if by_leaf:
                self._expect_room(len(wanted))
            *_, key, epoch = self._keychain.make(wanted, at_ns=self._now_ns())
            self._volumes[volume], self._epochs[volume], self._kept[volume] = key, [epoch], set()
            self._take(epoch)

    def sealing_key(self, volume: int) -> tuple[int, bool]:
        """Return the number of the key that seals the blocks of a volume, and whether each has its own.

        Raises
        ------
        FormatError
            If there is none.
        """
        with self._lock:
            epochs = self._epochs.get(volume)
            if not epochs:
                raise FormatError(
                    f"the key area has no key of volume number {volume}, which the drive holds; the area is"
                    " of an earlier moment, or another store's; put the right one in its place"
                )
            return epochs[-1].number, epochs[-1].kind is KeyKind.TREE

    def has(self, volume: int) -> bool:
        """Tell whether the key of a volume lives."""
        with self._lock:
            return volume in self._volumes

    def has_died(self, volume: int) -> bool:
        """Tell whether the area says that the key of a volume is dead."""
        dead = {entry.scope for entry in self._keychain.tombstones if entry.kind is KeyKind.VOLUME}
        return volume in dead and not self.has(volume)

    def bury(self, is_needed: Callable[[int], bool], is_tenant: Callable[[int], bool]) -> list[int]:
        """Let the keys die that nobody needs: when this returns, nothing of them is left.

        Parameters
        ----------
        is_needed : callable
            Tells of the number of a volume whether it is there, or anybody reads what was written through it.
        is_tenant : callable
            Tells of the number of a tenant whether it is there.

        Returns
        -------
        list of int
            The volumes whose keys have died.

        Raises
        ------
        MediumError
            If the key area fails; see `KeyArea.commit`.
        """
        with self._lock:
            gone = [volume for volume in self._volumes if not is_needed(volume)]
            kept = {key.parent for volume, key in self._volumes.items() if volume not in gone}
            tenants = [
                entry.number
                for entry in self._keychain.keys
                if entry.kind is KeyKind.TENANT and entry.number not in kept and not is_tenant(entry.scope)
            ]
            under = [self._volumes[volume] for volume in gone]
            self._kill([*tenants, *(key.number for key in under if key.parent not in tenants)])
            return gone

    def _kill(self, numbers: list[int]) -> None:
        """Let keys of tenants and volumes die, with those below them."""
        if not numbers:
            return
        buried = {entry.number for entry in self._keychain.kill(numbers, at_ns=self._now_ns())}
        for volume, key in list(self._volumes.items()):
            if key.number in buried:
                del self._volumes[volume]
                for number in {number for number, _ in self._kept.pop(volume)}:
                    with suppress(NotFoundError):  # of which there are trees alone
                        self.ring.remove(number)
                for entry in self._epochs.pop(volume):
                    self.ring.remove(entry.number)

    def rekey(self, provider: KeyProvider) -> None:
        """Put the keys under another root key; see `Keychain.rekey`."""
        with self._lock:
            self._keychain.rekey(provider)

    # ---- epochs -----------------------------------------------------------------------------------

    @property
    def volumes(self) -> list[tuple[int, int]]:
        """The volumes that have keys: tenant and number of each."""
        with self._lock:
            tenants = {key.number: key.scope for key in self._keychain.keys if key.kind is KeyKind.TENANT}
            return [(tenants[key.parent], volume) for volume, key in sorted(self._volumes.items())]

    @property
    def room(self) -> int:
        """Of how many volumes an epoch can end at once."""
        return self._keychain.room

    def began_ns(self, volume: int) -> int:
        """Say since when the newest key of a volume is there."""
        with self._lock:
            return self._epochs[volume][-1].made_ns

    def seals_by_leaf(self, volume: int) -> bool:
        """Tell whether each new block of a volume gets a key of its own."""
        return self.sealing_key(volume)[1]

    def is_mixed(self, volume: int) -> bool:
        """Tell whether older blocks of a volume have a key in common, which lives."""
        with self._lock:
            return any(entry.kind is KeyKind.EPOCH for entry in self._epochs[volume])

    def is_cut_off(self, volume: int) -> bool:
        """Tell whether an epoch of a volume has a successor, and its key lives."""
        with self._lock:
            return any(entry.kind is KeyKind.TREE for entry in self._epochs[volume][:-1])

    def begin_epoch(self, volumes: Iterable[int]) -> None:
        """Make new keys for volumes, durably; each block that is sealed under them has its own.

        Raises
        ------
        OutOfSpaceError, MediumError
            As `make`.
        """
        with self._lock:
            wanted = [
                NewKey(
                    kind=KeyKind.TREE,
                    scope=self._epochs[volume][-1].scope + 1,
                    parent=self._volumes[volume].number,
                )
                for volume in volumes
            ]
            if not wanted:
                return
            self._expect_room(len(wanted))
            owners = {key.number: volume for volume, key in self._volumes.items()}
            for entry in self._keychain.make(wanted, at_ns=self._now_ns()):
                self._epochs[owners[entry.parent]].append(entry)
                self._take(entry)

    def older_keys(self, volumes: Iterable[int]) -> list[int]:
        """List the keys, living or dead, that blocks of volumes may be sealed under, the newest left out."""
        with self._lock:
            return sorted(set(chain.from_iterable(map(self._older, volumes))))

    def _older(self, volume: int) -> set[int]:
        living = {entry.number for entry in self._epochs[volume][:-1]}
        return living | {number for number, _ in self._kept[volume]}

    def ended_at(self, volume: int) -> int:
        """Say at which position of the log an epoch of a volume ended last; what died before cannot be read.

        0 if none has, or older blocks share a key that lives.
        """
        with self._lock:
            section = self._nodes.sections.get(volume)
            known = section is not None and not self.is_mixed(volume) and not self.is_cut_off(volume)
            return section.position if section is not None and known else 0

    def end_epoch(self, volumes: Iterable[int], seals: NDArray[np.void], position: int) -> int:
        """Let the older keys of volumes die, but for those of blocks that live.

        The log has to know durably that the others are dead. A key that blocks have in common dies with the
        last of them.

        Parameters
        ----------
        volumes : iterable of int
        seals : LIVE_SEAL_DTYPE[n]
            Of all live blocks that are sealed under `older_keys` of them, in order.
        position : int
            Of the log; what died before is not among them.

        Returns
        -------
        int
            Bytes of nodes that were written.

        Raises
        ------
        MediumError
            If the file of nodes or the key area fails; then the epoch has not ended, and can be ended again.
        """
        with self._lock:
            trees = {volume: prune_trees(self.ring, seals, self._older(volume)) for volume in volumes}
            try:
                sealed = [self._seal(volume, kept, position) for volume, kept in trees.items()]
                self._nodes.write(sealed, [v for v in self._nodes.sections if v in self._volumes])
                for volume, kept in trees.items():
                    self._keep(volume, kept)
                self._bury_epochs(list(trees), set(seals["key"][seals["leaf"] == 0].tolist()))
            finally:
                for _, _, nodes in chain.from_iterable(trees.values()):
                    wipe(nodes)
            return sum(len(each.data) for each in sealed)

    def keys_of(self, volumes: list[int]) -> list[int]:
        """List all keys, living or dead, that blocks of volumes may be sealed under."""
        with self._lock:
            newest = {self._epochs[volume][-1].number for volume in volumes}
            return sorted(newest.union(*map(self._older, volumes)))

    def count_nodes(self, seals: NDArray[np.void]) -> int:
        """Say how many bytes the nodes have from which the keys of these blocks can be derived."""
        with self._lock:
            trees = prune_trees(self.ring, seals, set(seals["key"].tolist()))
        for _, _, nodes in trees:
            wipe(nodes)
        return sum(len(nodes) for _, _, nodes in trees)

    def _seal(self, volume: int, trees: list[Tree], position: int) -> Sealed:
        area, number = self._keychain.identity, self._epochs[volume][-1].number
        place = Place(area=area, volume=volume, key=number, position=position)
        with self._keychain.secret(number) as secret:
            return seal_trees(trees, secret, place, self._entropy)

    def _keep(self, volume: int, trees: list[Tree]) -> None:
        """Let the core know the trees of a volume by what is left of them."""
        before = self._kept[volume]
        for number, opening, nodes in trees:
            self.ring.keep(number, opening, nodes)
            # At once: of what was kept all goes when the volume does.
            before.add((number, opening))
        gone = before - {(number, opening) for number, opening, _ in trees}
        for number, opening in gone:
            self.ring.keep(number, opening, b"")
        before -= gone

    def _bury_epochs(self, volumes: list[int], shared: set[int]) -> None:
        """Let the older keys of volumes die whose nodes are safe, but for those that live blocks share."""
        older = [entry for volume in volumes for entry in self._epochs[volume][:-1]]
        over = {entry.number: entry.kind for entry in older if entry.number not in shared}
        if over:
            self._keychain.kill(over, at_ns=self._now_ns(), tombstones=False)
        for number, kind in over.items():
            # What was kept of its trees stays.
            (self.ring.retire if kind is KeyKind.TREE else self.ring.remove)(number)
        for volume in volumes:
            self._epochs[volume] = [entry for entry in self._epochs[volume] if entry.number not in over]

    def _expect_room(self, wanted: int) -> None:
        """Refuse keys that leave no slot for the end of an epoch."""
        room = self._keychain.room
        if wanted >= room:
            slots = len(self._keychain.keys) + room
            raise OutOfSpaceError(
                f"the key area has {slots} slots, {room} of them without a living key; {wanted} keys and the"
                f" end of an epoch need {wanted + 1}: delete volumes, or make the store with a key area of"
                f" {slots - room + wanted + 1} slots or more",
                needed=wanted + 1,
                available=room,
            )


def _kind(by_leaf: bool) -> KeyKind:
    return KeyKind.TREE if by_leaf else KeyKind.EPOCH
