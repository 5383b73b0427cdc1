"""The keys of a store: root, tenants, volumes, epochs; each wrapped with the one above it.

The root key is made from what a `KeyProvider` has and is stored nowhere. A wrapped key is sealed with
AES-256-GCM under a random nonce, and what it is (area, kind, number, parent, scope, time) is authenticated
with it. A key that dies takes with it all that are below it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import SupportsIndex

from seqstore._native.crypt import NONCE_BYTES, Cipher, system_crypto
from seqstore.errors import AccessError, ClosedError, ConfigError, NotFoundError
from seqstore.keys.area import FileStorage, KeyArea, make_file, open_file
from seqstore.keys.providers import SALT_BYTES, KeyProvider
from seqstore.keys.root import DEFAULT_SLOTS, draw, expect_root, new_table, seal_check
from seqstore.keys.secret import Entropy, Secret
from seqstore.keys.table import KeyEntry, KeyKind, Table

ROOT = 0
"""Stands for the root key where a parent is named."""

_PARENTS: dict[KeyKind, KeyKind | None] = {
    KeyKind.TENANT: None,
    KeyKind.VOLUME: KeyKind.TENANT,
    KeyKind.EPOCH: KeyKind.VOLUME,
    KeyKind.TREE: KeyKind.VOLUME,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """What a key to be made is for.

    Attributes
    ----------
    kind : KeyKind
    scope : int
        Number of the tenant, of the volume, or of the epoch.
    parent : int
        Number of the key of the tenant or volume above it, or `ROOT`.
    """

    kind: KeyKind
    scope: int
    parent: int = ROOT


class Keychain:
    """The keys of a store, in a key area. Any number of threads may use it.

    `Keychain.create` and `Keychain.open` make one.

    Parameters
    ----------
    area : KeyArea
    provider : KeyProvider or None
        None opens it locked: keys can be listed and killed, and not be used.
    entropy : callable
        Fills a buffer with random bytes.
    storage : FileStorage, optional
        Closed with the keychain.

    Raises
    ------
    AccessError
        If the root key is not the one of the area.
    """

    def __init__(
        self,
        area: KeyArea,
        provider: KeyProvider | None,
        *,
        entropy: Entropy,
        storage: FileStorage | None = None,
    ) -> None:
        self._area = area
        self._entropy = entropy
        self._storage = storage
        self._crypto = system_crypto()
        self._lock = threading.RLock()
        self._is_closed = False
        self._root: Secret | None = None
        if provider is not None:
            table = area.table
            self._root = provider.root_key(table.recipe)
            expect_root(self._crypto, self._root, table)

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        provider: KeyProvider,
        *,
        entropy: Entropy,
        slots: SupportsIndex = DEFAULT_SLOTS,
    ) -> Keychain:
        """Make a key area in a new file.

        Parameters
        ----------
        path : path-like
        provider : KeyProvider
        entropy : callable
        slots : int
            Living keys and tombstones that it has room for, 128 bytes each, twice; this never changes.

        Raises
        ------
        ConfigError
            If there is a file already, or libcrypto is missing.
        MediumError, AccessError
            If the file system does not let it.
        """
        table = new_table(provider, entropy, slots)
        storage, area = make_file(path, table)
        return cls(area, provider, entropy=entropy, storage=storage)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        provider: KeyProvider | None,
        *,
        entropy: Entropy,
        read_only: bool = False,
    ) -> Keychain:
        """Open the key area in a file, and put right what a crash left undone.

        Raises
        ------
        AccessError
            If the root key is another one.
        FormatError
            If both copies of the table are damaged.
        MediumError
            If the file fails, or another process has it open for changes.
        """
        storage, area = open_file(path, read_only=read_only)
        try:
            return cls(area, provider, entropy=entropy, storage=storage)
        except BaseException:
            storage.close()
            raise

    def __enter__(self) -> Keychain:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "locked" if self._root is None else "open"
        return f"<Keychain, {state}>"

    def close(self) -> None:
        """Wipe the root key and close the file. Closing again does nothing."""
        with self._lock:
            self._is_closed = True
            if self._root is not None:
                self._root.wipe()
                self._root = None
            if self._storage is not None:
                self._storage.close()

    # ---- what there is ----------------------------------------------------------------------------

    @property
    def identity(self) -> bytes:
        """16 random bytes that tell the area from others."""
        return self._table.identity

    @property
    def next_number(self) -> int:
        """The number that the next key gets."""
        return self._table.next_number

    @property
    def keys(self) -> tuple[KeyEntry, ...]:
        """The living keys, in ascending order of numbers."""
        return tuple(entry for entry in self._ordered() if not entry.is_dead)

    @property
    def room(self) -> int:
        """How many more living keys it has slots for."""
        with self._lock:
            table = self._table
            living = sum(not entry.is_dead for entry in table.entries.values())
            return int(table.slot_count) - living

    @property
    def tombstones(self) -> tuple[KeyEntry, ...]:
        """The dead keys, in ascending order of numbers; the oldest go when their slots are needed."""
        return tuple(entry for entry in self._ordered() if entry.is_dead)

    def find(self, kind: KeyKind, scope: int, parent: int | None = None) -> KeyEntry:
        """Return the living key of a tenant, volume or epoch.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        for entry in self.keys:
            if (entry.kind, entry.scope) == (kind, scope) and parent in (None, entry.parent):
                return entry
        raise NotFoundError(f"there is no living key of {kind.name.lower()} {scope}")

    def secret(self, number: int) -> Secret:
        """Unwrap a living key; the caller wipes it.

        Raises
        ------
        NotFoundError
            If there is no such key, or it is dead.
        AccessError
            If the keychain is locked, or the wrapped key was changed.
        """
        with self._lock:
            return self._unwrap(self._table, number)

    # ---- changes ----------------------------------------------------------------------------------

    def make(self, wanted: Iterable[NewKey], *, at_ns: int) -> tuple[KeyEntry, ...]:
        """Make keys, all in one change.

        Parameters
        ----------
        wanted : iterable of NewKey
        at_ns : int
            The time, in nanoseconds since 1970-01-01 UTC.

        Raises
        ------
        NotFoundError
            If a parent is not there, or dead.
        OutOfSpaceError
            If there are not as many slots.
        MediumError
            As `KeyArea.commit`.
        """
        with self._lock:
            table = self._begin()
            made = tuple(self._make(table, key, at_ns) for key in wanted)
            self._area.commit(table)
            return made

    def kill(self, numbers: Iterable[int], *, at_ns: int, tombstones: bool = True) -> tuple[KeyEntry, ...]:
        """Let keys die with all that are below them: when this returns, the area holds nothing of them.

        No root key is needed. Copies that the caller has, in a `Secret` or a `KeyRing`, are the caller's to
        wipe.

        Parameters
        ----------
        numbers : iterable of int
        at_ns : int
            The time, in nanoseconds since 1970-01-01 UTC.
        tombstones : bool
            Whether they stay in the area. Those of epochs would take the slots of those that somebody needs.

        Returns
        -------
        tuple of KeyEntry
            The tombstones.

        Raises
        ------
        NotFoundError
            If one is not there, or dead already.
        MediumError
            As `KeyArea.commit`.
        """
        with self._lock:
            table = self._begin()
            dying = set(numbers)
            for number in dying:
                table.wrapped(number)  # which knows why it is not there
            # Numbers rise from parents to children.
            for entry in self.keys:
                if entry.parent in dying:
                    dying.add(entry.number)
            buried = tuple(table.entries[number].died(at_ns) for number in sorted(dying))
            for entry in buried:
                if tombstones:
                    table.bury(entry)
                else:
                    table.drop(entry.number)
            self._area.commit(table)
            return buried

    def rekey(self, provider: KeyProvider) -> None:
        """Put the keychain under another root key; the old one is good for nothing in this area any more.

        With an old copy of the area it still is: see to it that it is destroyed, or that there is none.

        Raises
        ------
        MediumError
            As `KeyArea.commit`.
        """
        with self._lock:
            table = self._begin()
            top = [entry for entry in self.keys if entry.parent == ROOT]
            old_root = self._open_root()
            recipe = provider.prepare(draw(self._entropy, SALT_BYTES))
            root = provider.root_key(recipe)
            try:
                table.set_root(recipe, seal_check(self._crypto, root, table.identity, recipe, self._entropy))
                with Cipher(self._crypto, old_root.buffer) as old, Cipher(self._crypto, root.buffer) as new:
                    for entry in top:
                        with self._open_entry(old, table, entry.number) as secret:
                            table.put(entry, self._seal_entry(new, table, entry, secret))
                self._area.commit(table)
            finally:
                # If copy two alone failed, the new root is the one that counts, all the same.
                if self._area.table is table:
                    old_root.wipe()
                    self._root = root
                else:
                    root.wipe()

    # ---- inside -----------------------------------------------------------------------------------

    @property
    def _table(self) -> Table:
        if self._is_closed:
            raise ClosedError("the keychain was closed; open it again")
        return self._area.table

    def _begin(self) -> Table:
        """Return a copy of the table to change, where changes can be made."""
        table = self._table
        self._area.expect_changes()
        return table.copy()

    def _ordered(self) -> list[KeyEntry]:
        with self._lock:
            return sorted(self._table.entries.values(), key=lambda entry: entry.number)

    def _open_root(self) -> Secret:
        if self._root is None:
            raise AccessError("the keychain is locked; open it with the provider of its root key")
        return self._root

    def _make(self, table: Table, wanted: NewKey, at_ns: int) -> KeyEntry:
        above = _PARENTS[wanted.kind]
        parent = table.entries.get(wanted.parent)
        if (parent.kind if parent else None) != above or (above is None) != (wanted.parent == ROOT):
            if parent is None and wanted.parent != ROOT:
                table.wrapped(wanted.parent)  # which knows why it is not there
            expected = "the root" if above is None else f"the key of a {above.name.lower()}"
            raise ConfigError(f"the parent of a {wanted.kind.name.lower()} key must be {expected}")
        entry = KeyEntry(
            number=table.take_number(),
            kind=wanted.kind,
            parent=wanted.parent,
            scope=wanted.scope,
            made_ns=at_ns,
        )
        with (
            Secret.draw(self._entropy) as secret,
            self._unwrap(table, wanted.parent) as wrapping,
            Cipher(self._crypto, wrapping.buffer) as cipher,
        ):
            table.put(entry, self._seal_entry(cipher, table, entry, secret))
        return entry

    def _unwrap(self, table: Table, number: int) -> Secret:
        """Unwrap a key, from the root down; the root's own is copied, so that the caller can wipe it."""
        if number == ROOT:
            copy = Secret()
            copy.buffer[:] = self._open_root().buffer
            return copy
        table.wrapped(number)
        with (
            self._unwrap(table, table.entries[number].parent) as wrapping,
            Cipher(self._crypto, wrapping.buffer) as cipher,
        ):
            return self._open_entry(cipher, table, number)

    @staticmethod
    def _open_entry(cipher: Cipher, table: Table, number: int) -> Secret:
        nonce, wrapped, tag = table.wrapped(number)
        secret = Secret()
        try:
            cipher.open(nonce, table.entries[number].identity(table.identity), wrapped, tag, secret.buffer)
        except AccessError:
            raise AccessError(
                f"key {number} does not open: what the key area holds of it was changed; restore the area"
            ) from None
        return secret

    def _seal_entry(self, cipher: Cipher, table: Table, entry: KeyEntry, secret: Secret) -> bytes:
        nonce = draw(self._entropy, NONCE_BYTES)
        wrapped, tag = cipher.seal(nonce, entry.identity(table.identity), secret.buffer)
        return nonce + wrapped + tag
