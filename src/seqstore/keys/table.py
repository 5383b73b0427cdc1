"""The table of a key area: which keys there are, wrapped, and which have died.

A copy of the table is a head of 512 bytes and slots of 128 bytes, padded with zeros to a multiple of 4096
bytes. Integers are unsigned and little-endian; reserved bytes are zero.

Head:

======  ====  ===============================================================================
offset  size  meaning
======  ====  ===============================================================================
0       8     magic, ``SEQSKEYS``
8       u32   version, 1
12      u32   number of slots
16      16    identity of the area, random
32      u64   generation: how many changes there were
40      u64   the next key's number; numbers are never given twice
48      u8    root key: 1 derived from a key, 2 from a passphrase
49      3     scrypt: log2 of N; then 2 bytes reserved
52      u32   scrypt: r
56      u32   scrypt: p
60      16    salt
76      28    nonce and tag of nothing, sealed with the root key: tells it from others
480     32    SHA-256 of the whole copy, with this field zero
======  ====  ===============================================================================

Slot; a free one is zeros:

======  ====  ===============================================================================
offset  size  meaning
======  ====  ===============================================================================
0       u8    1 a living key, 2 a tombstone
1       u8    kind: 1 tenant, 2 volume, 3 epoch, 4 tree
2       6     reserved
8       u64   number of the key
16      u64   number of the key that it is wrapped with; 0 for the root
24      u64   what it is for: number of the tenant, of the volume, or of the epoch (3 and 4)
32      u64   made, in nanoseconds since 1970
40      u64   died, the same; 0 for a living key
48      60    nonce (12), wrapped key (32), tag (16); zeros in a tombstone
======  ====  ===============================================================================
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum

from seqstore.errors import ConfigError, FormatError, NotFoundError, OutOfSpaceError, VersionError
from seqstore.keys.providers import Recipe
from seqstore.keys.secret import wipe

MAGIC = b"SEQSKEYS"
VERSION = 1
HEAD_BYTES = 512
SLOT_BYTES = 128
ALIGNMENT = 4096
MOST_SLOTS = 1 << 20
WRAPPED_BYTES = 60
IDENTITY_BYTES = 16
CHECK_BYTES = 28

_HEAD = struct.Struct("<8sII16sQQ")
_SLOT = struct.Struct("<BB6xQQQQQ60s")
_SUM_AT = 480
_SUM_BYTES = 32
_LIVING, _DEAD = 1, 2
_MOST_NUMBERS = 1 << 32


class KeyKind(IntEnum):
    """What a key is for: those of tenants and volumes wrap others, blocks are sealed from those of epochs.

    Under a TREE, which is an epoch's too, each block has a key of its own.
    """

    TENANT = 1
    VOLUME = 2
    EPOCH = 3
    TREE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEntry:
    """A key of the area, living or dead.

    Attributes
    ----------
    number : int
        Names the key for ever.
    kind : KeyKind
    parent : int
        Number of the key that wraps it; 0 for the root.
    scope : int
        Number of the tenant, of the volume, or of the epoch.
    made_ns : int
        Nanoseconds since 1970-01-01 UTC.
    died_ns : int or None
        The same; None while it lives.
    """

    number: int
    kind: KeyKind
    parent: int
    scope: int
    made_ns: int
    died_ns: int | None = None

    @property
    def is_dead(self) -> bool:
        """Whether nothing but this entry is left of it."""
        return self.died_ns is not None

    def died(self, at_ns: int) -> KeyEntry:
        """Return the tombstone."""
        return KeyEntry(
            number=self.number,
            kind=self.kind,
            parent=self.parent,
            scope=self.scope,
            made_ns=self.made_ns,
            died_ns=at_ns,
        )

    def identity(self, area: bytes) -> bytes:
        """Return what is authenticated with the wrapped key, so that no other fits in its place."""
        words = (self.kind, self.number, self.parent, self.scope, self.made_ns)
        return b"seqstore key 1" + area + struct.pack("<5Q", *words)


class Table:
    """The table, as the bytes of one copy, and an index on them.

    Parameters
    ----------
    image : bytes-like
        A valid copy.

    Attributes
    ----------
    image : bytearray
    entries : dict of int to KeyEntry
        Living keys and tombstones by number.

    Raises
    ------
    FormatError
        If it is no copy of a table, or was torn.
    VersionError
        If it is of a newer format.
    """

    def __init__(self, image: bytes | bytearray) -> None:
        self.image = bytearray(image)
        self.entries: dict[int, KeyEntry] = {}
        self._slots: dict[int, int] = {}  # by number of the key
        self._free: list[int] = []  # the first one last
        self._read_head()
        for slot in range(self.slot_count - 1, -1, -1):
            self._read_slot(slot)

    @classmethod
    def new(cls, slots: int, identity: bytes, recipe: Recipe, check: bytes) -> Table:
        """Make an empty table."""
        image = bytearray(copy_bytes(slots))
        _HEAD.pack_into(image, 0, MAGIC, VERSION, slots, identity, 0, 1)
        table = object.__new__(cls)
        table.image, table.entries, table._slots = image, {}, {}
        table._free = list(range(slots - 1, -1, -1))
        table.set_root(recipe, check)
        table.finish()
        return table

    # ---- the head -------------------------------------------------------------------------------

    def _read_head(self) -> None:
        if len(self.image) < HEAD_BYTES or self.image[:8] != MAGIC:
            raise FormatError("this is no key area of a store: it does not begin with SEQSKEYS")
        # The checksum is where it is in every version, so that a torn copy is not taken for a newer one.
        if self.image[_SUM_AT : _SUM_AT + _SUM_BYTES] != self._checksum():
            raise FormatError("a copy of the key area is torn or damaged: its checksum is wrong")
        self.version, self.slot_count = struct.unpack_from("<II", self.image, 8)
        if self.version > VERSION:
            raise VersionError(
                f"the key area is of format {self.version}; this version of seqstore knows up to {VERSION};"
                " use a newer one",
                found=self.version,
                expected=VERSION,
            )
        if self.version != VERSION or len(self.image) != copy_bytes(self.slot_count):
            raise FormatError(f"a copy of the key area has {len(self.image)} bytes, which it cannot have")
        head_end = 76 + CHECK_BYTES
        padding_at = HEAD_BYTES + self.slot_count * SLOT_BYTES
        if any(self.image[head_end:_SUM_AT]) or any(self.image[padding_at:]):
            raise FormatError("a copy of the key area has something where zeros should be")
        try:
            Recipe.unpacked(bytes(self.image[48:76]))
        except ConfigError as error:
            raise FormatError(f"the head of the key area is wrong: {error}") from error

    @property
    def identity(self) -> bytes:
        """16 random bytes that tell the area from others."""
        return bytes(self.image[16:32])

    @property
    def generation(self) -> int:
        """How many changes there were."""
        return int(struct.unpack_from("<Q", self.image, 32)[0])

    @property
    def next_number(self) -> int:
        """What the next key is named."""
        return int(struct.unpack_from("<Q", self.image, 40)[0])

    @property
    def recipe(self) -> Recipe:
        """How the root key is derived."""
        return Recipe.unpacked(bytes(self.image[48:76]))

    @property
    def check(self) -> bytes:
        """Nonce and tag of nothing, sealed with the root key."""
        return bytes(self.image[76 : 76 + CHECK_BYTES])

    def set_root(self, recipe: Recipe, check: bytes) -> None:
        """Say how the root key is derived, and how it is told from others."""
        self.image[48:76] = recipe.packed()
        self.image[76 : 76 + CHECK_BYTES] = check

    # ---- slots ----------------------------------------------------------------------------------

    def _read_slot(self, slot: int) -> None:
        at = _slot_at(slot)
        state, kind, number, parent, scope, made_ns, died_ns, wrapped = _SLOT.unpack_from(self.image, at)
        is_dead = state == _DEAD
        reserved = self.image[at + 2 : at + 8] + self.image[at + _SLOT.size : at + SLOT_BYTES]
        if not state and not any(self.image[at : at + SLOT_BYTES]):
            self._free.append(slot)
            return
        known = state in (_LIVING, _DEAD) and kind in tuple(KeyKind) and not any(reserved)
        if not known or (is_dead and any(wrapped)) or (died_ns and not is_dead):
            raise FormatError(f"slot {slot} of the key area holds what cannot be there")
        if number in self._slots or not 0 < number < self.next_number:
            raise FormatError(f"slot {slot} of the key area holds key {number}, which cannot be there")
        self._slots[number] = slot
        self.entries[number] = KeyEntry(
            number=number,
            kind=KeyKind(kind),
            parent=parent,
            scope=scope,
            made_ns=made_ns,
            died_ns=died_ns if is_dead else None,
        )

    def take_number(self) -> int:
        """Give the next key its number.

        Raises
        ------
        OutOfSpaceError
            If there is none left: a block names its key in 32 bits.
        """
        number = self.next_number
        if number >= _MOST_NUMBERS:
            raise OutOfSpaceError(
                f"the key area has given all its {_MOST_NUMBERS - 1} numbers of keys; copy the volumes to a"
                " new store, and choose longer epochs",
                needed=1,
                available=0,
            )
        struct.pack_into("<Q", self.image, 40, number + 1)
        return number

    def wrapped(self, number: int) -> tuple[bytes, bytes, bytes]:
        """Return nonce, wrapped key and tag of a living key.

        Raises
        ------
        NotFoundError
            If there is no such key, or it is dead.
        """
        entry = self.entries.get(number)
        if entry is None:
            raise NotFoundError(f"the key area has no key {number}; it lists those that there are")
        if entry.is_dead:
            raise NotFoundError(f"key {number} died at {entry.died_ns} ns; what it sealed is gone")
        at = _slot_at(self._slots[number]) + 48
        whole = bytes(self.image[at : at + WRAPPED_BYTES])
        return whole[:12], whole[12:44], whole[44:]

    def put(self, entry: KeyEntry, wrapped: bytes) -> None:
        """Put a living key into a slot: a free one, or that of the oldest tombstone; or anew into its own.

        Raises
        ------
        OutOfSpaceError
            If there is none.
        """
        slot = self._slots.get(entry.number)
        if slot is None:
            slot = self._free.pop() if self._free else self._reuse()
        self._slots[entry.number] = slot
        self.entries[entry.number] = entry
        self._write(slot, _LIVING, entry, wrapped)

    def bury(self, entry: KeyEntry) -> None:
        """Write a tombstone over a key."""
        self.entries[entry.number] = entry
        self._write(self._slots[entry.number], _DEAD, entry, b"")

    def drop(self, number: int) -> None:
        """Write zeros over a key, and leave no tombstone."""
        slot = self._slots.pop(number)
        del self.entries[number]
        at = _slot_at(slot)
        self.image[at : at + SLOT_BYTES] = bytes(SLOT_BYTES)
        self._free.append(slot)

    def _write(self, slot: int, state: int, entry: KeyEntry, wrapped: bytes) -> None:
        words = (entry.number, entry.parent, entry.scope, entry.made_ns, entry.died_ns or 0)
        _SLOT.pack_into(self.image, _slot_at(slot), state, entry.kind, *words, wrapped)

    def _reuse(self) -> int:
        dead = [entry for entry in self.entries.values() if entry.is_dead]
        if not dead:
            raise OutOfSpaceError(
                f"all {self.slot_count} slots of the key area hold living keys; delete volumes or tenants, or"
                " make the store with a larger key area",
                needed=1,
                available=0,
            )
        oldest = min(dead, key=lambda entry: (entry.died_ns or 0, entry.number))
        del self.entries[oldest.number]
        return self._slots.pop(oldest.number)

    # ---- changes --------------------------------------------------------------------------------

    def copy(self) -> Table:
        """Return a copy to change."""
        table = object.__new__(Table)
        table.image, table.entries = bytearray(self.image), dict(self.entries)
        table._slots, table._free = dict(self._slots), list(self._free)
        table.version, table.slot_count = self.version, self.slot_count
        return table

    def finish(self) -> None:
        """End a change: a new generation, with its checksum."""
        struct.pack_into("<Q", self.image, 32, self.generation + 1)
        self.image[_SUM_AT : _SUM_AT + _SUM_BYTES] = self._checksum()
        self.version, self.slot_count = struct.unpack_from("<II", self.image, 8)

    def _checksum(self) -> bytes:
        view = memoryview(self.image)
        digest = hashlib.sha256(view[:_SUM_AT])
        digest.update(bytes(_SUM_BYTES))
        digest.update(view[_SUM_AT + _SUM_BYTES :])
        return digest.digest()

    def wipe(self) -> None:
        """Forget the wrapped keys."""
        wipe(self.image)


def copy_bytes(slots: int) -> int:
    """Size of a copy of a table with so many slots."""
    return -(-(HEAD_BYTES + slots * SLOT_BYTES) // ALIGNMENT) * ALIGNMENT


def _slot_at(slot: int) -> int:
    return HEAD_BYTES + slot * SLOT_BYTES
