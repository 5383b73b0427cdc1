"""Encryption of a store: which keys its tenants and volumes have, and when they die.

A volume's key is made durable before the log knows the volume, so that no block is sealed under a key that a
crash could take away. It dies when the volume was deleted, durably, and nobody else reads blocks that were
written through it; whatever a crash cuts off in between, the next opening goes on with. A dead key stays
dead: see `seqstore.keys`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from seqstore._native.crypt import KeyRing, system_crypto
from seqstore.errors import ConfigError, FormatError, NotFoundError
from seqstore.folder import os_errors
from seqstore.keys import ROOT, Keychain, KeyEntry, KeyKind, KeyProvider, NewKey

_EPOCH = 0  # the only one so far
_MOST_READY = 4096  # keys that are kept ready in the core


class Encryption:
    """The keys of an open store. Any number of threads may use it.

    `Encryption.create` and `Encryption.open` make one.

    Parameters
    ----------
    keychain : Keychain
        Closed with it.
    path : Path
        Its file.
    now_ns : callable
        Tells the time.

    Attributes
    ----------
    ring : KeyRing
        The secrets in the core, for the log.
    """

    def __init__(self, keychain: Keychain, path: Path, now_ns: Callable[[], int]) -> None:
        self._keychain = keychain
        self._path = path
        self._now_ns = now_ns
        self._lock = threading.RLock()
        self._volumes: dict[int, KeyEntry] = {}  # keys of volumes, by the volumes' numbers
        self._epochs: dict[int, int] = {}  # numbers of their epochs' keys
        self.ring = KeyRing(system_crypto(), _MOST_READY)
        try:
            entries = {entry.number: entry for entry in keychain.keys}
            for entry in entries.values():
                if entry.kind is KeyKind.VOLUME:
                    self._volumes[entry.scope] = entry
                elif entry.kind is KeyKind.EPOCH:
                    self._take(entries[entry.parent], entry)
        except BaseException:
            self.ring.close()
            raise

    @classmethod
    def create(cls, path: Path, provider: KeyProvider, now_ns: Callable[[], int]) -> Encryption:
        """Make a key area in a new file; errors are those of `Keychain.create`."""
        keychain = Keychain.create(path, provider, entropy=system_crypto().fill)
        return cls._with(keychain, path, now_ns)

    @classmethod
    def open(
        cls, path: Path, provider: KeyProvider, now_ns: Callable[[], int], *, read_only: bool
    ) -> Encryption:
        """Open the key area in a file; errors are those of `Keychain.open`."""
        keychain = Keychain.open(path, provider, entropy=system_crypto().fill, read_only=read_only)
        return cls._with(keychain, path, now_ns)

    @classmethod
    def _with(cls, keychain: Keychain, path: Path, now_ns: Callable[[], int]) -> Encryption:
        with ExitStack() as undo:
            undo.callback(keychain.close)
            made = cls(keychain, path, now_ns)
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
        with suppress(OSError):
            self._path.unlink()

    def _take(self, volume: KeyEntry, epoch: KeyEntry) -> None:
        with self._keychain.secret(epoch.number) as secret:
            self.ring.add(epoch.number, secret.buffer)
        self._epochs[volume.scope] = epoch.number

    # ---- keys of volumes --------------------------------------------------------------------------

    def make(self, tenant: int, volume: int) -> int:
        """Make the keys of a new volume, durably, and return the number of the one that seals its blocks.

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
            wanted.append(NewKey(kind=KeyKind.EPOCH, scope=_EPOCH, parent=number))
            *_, key, epoch = self._keychain.make(wanted, at_ns=self._now_ns())
            self._volumes[volume] = key
            self._take(key, epoch)
            return epoch.number

    def number_of(self, volume: int) -> int:
        """Return the number of the key that seals the blocks of a volume.

        Raises
        ------
        FormatError
            If there is none.
        """
        with self._lock:
            try:
                return self._epochs[volume]
            except KeyError:
                raise FormatError(
                    f"the key area has no key of volume number {volume}, which the drive holds; the area is"
                    " of an earlier moment, or another store's; put the right one in its place"
                ) from None

    def has(self, volume: int) -> bool:
        """Tell whether the key of a volume lives."""
        with self._lock:
            return volume in self._volumes

    def has_died(self, volume: int) -> bool:
        """Tell whether the area says that the key of a volume is dead."""
        if self.has(volume):
            return False
        dead = {entry.scope for entry in self._keychain.tombstones if entry.kind is KeyKind.VOLUME}
        return volume in dead

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
                self.ring.remove(self._epochs.pop(volume))

    def rekey(self, provider: KeyProvider) -> None:
        """Put the keys under another root key; see `Keychain.rekey`."""
        with self._lock:
            self._keychain.rekey(provider)


class KeySource:
    """Where the root key of a store comes from that is to be made or opened.

    Parameters
    ----------
    provider : KeyProvider or None
        None for a store that is not encrypted.
    now_ns : callable
        Tells the time.
    """

    def __init__(self, provider: KeyProvider | None, now_ns: Callable[[], int]) -> None:
        self._provider = provider
        self._now_ns = now_ns

    def create(self, path: Path | None) -> Encryption | None:
        """Make the key area of a new store; None if it is not to be encrypted.

        Raises
        ------
        ConfigError
            If only one of provider and file is there, or the file is there already.
        """
        if self._provider is None and path is None:
            return None
        if self._provider is None or path is None:
            raise ConfigError("encryption= goes with keys=, the file for the key area; give both")
        return Encryption.create(path, self._provider, self._now_ns)

    def open(self, path: Path | None, *, read_only: bool) -> Encryption | None:
        """Open the key area of a store; None if it has none.

        Raises
        ------
        ConfigError
            If the store is encrypted and no provider is given, or the other way round.
        AccessError
            If the root key is another one.
        """
        with os_errors("looking for the key area"):
            is_there = path is not None and path.exists()
        if path is None or not is_there:
            if self._provider is None:
                return None
            place = "" if path is None else f", or its key area {str(path)!r} is gone; put it back then"
            raise ConfigError(f"key= is given, and the store is not encrypted{place}")
        if self._provider is None:
            raise ConfigError(
                "the store is encrypted: its key area is there; give key=, the provider of its root key"
            )
        return Encryption.open(path, self._provider, self._now_ns, read_only=read_only)
