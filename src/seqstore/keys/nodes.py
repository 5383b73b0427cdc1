"""The file of nodes: what is kept of trees of keys, sealed, beside the key area.

It holds a section for each volume of which an epoch has ended: the nodes from which the keys of its older
live blocks are derived, sealed under a key that is derived from the volume's newest one. That one lies in the
key area, and dies when the next section is in its place, so it does not matter what becomes of old sections:
the file is made anew at each end of an epoch, and put in the place of the old one.

Head, 64 bytes; integers are unsigned and little-endian:

======  ====  ===============================================================================
offset  size  meaning
======  ====  ===============================================================================
0       8     magic, ``SEQSNODE``
8       u32   version, 1
12      u32   sections, which follow one behind the other
16      16    identity of the key area
32      32    reserved, zero
======  ====  ===============================================================================

Section: a head of 64 bytes, and the sealed nodes:

======  ====  ===============================================================================
offset  size  meaning
======  ====  ===============================================================================
0       u64   number of the volume
8       u64   number of the key that it is sealed under
16      u64   bytes that follow the head
24      12    nonce
36      16    tag of AES-256-GCM; identity of the area, volume, key and position are authenticated
52      u64   position of the log when the epoch ended
60      4     reserved, zero
======  ====  ===============================================================================

Sealed are, for each tree: number of its key, opening of the store, number of nodes (u64 each), and the nodes:
first leaf (u64), level (u64), key (32 bytes).
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqstore._native.crypt import NODE_BYTES, NONCE_BYTES, Cipher, KeyRing, system_crypto
from seqstore.errors import AccessError, FormatError, MediumError, NotFoundError, VersionError
from seqstore.keys.root import draw
from seqstore.keys.secret import Entropy, Secret, wipe
from seqstore.runs import among

MAGIC, VERSION = b"SEQSNODE", 1
HEAD_BYTES = 64
_HEAD = struct.Struct("<8sII16s32x")
_SECTION = struct.Struct("<QQQ12s16sQ4x")
_TREE = struct.Struct("<QQQ")
_LABEL = b"seqstore nodes 1"
_AT_ONCE = 1 << 20

Tree = tuple[int, int, bytearray]
"""Number of its key, opening of the store, nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a section is for; it is authenticated.

    Attributes
    ----------
    area : bytes
        Identity of the key area.
    volume, key : int
        Numbers of the volume, and of the key that it is sealed under.
    position : int
        Of the log when the epoch ended.
    """

    area: bytes
    volume: int
    key: int
    position: int

    def packed(self) -> bytes:
        """Return it as bytes."""
        return _LABEL + self.area + struct.pack("<QQQ", self.volume, self.key, self.position)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Where the sealed nodes of a volume lie in a file, and what they are sealed under.

    Attributes
    ----------
    volume, key, position : int
        As in `Place`.
    nonce, tag : bytes
    at, length : int
        Where it lies, in bytes, without its head.
    """

    volume: int
    key: int
    position: int
    nonce: bytes
    tag: bytes
    at: int
    length: int

    @property
    def head(self) -> bytes:
        """What stands before it in a file."""
        return _SECTION.pack(self.volume, self.key, self.length, self.nonce, self.tag, self.position)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A section that is to be written."""

    section: Section
    data: bytes


def prune_trees(ring: KeyRing, seals: NDArray[np.void], keys: set[int]) -> list[Tree]:
    """List what is left of the trees under some keys when these blocks alone live; the caller wipes it.

    Blocks whose keys are dead are left out: a drive that was put back from a copy has some.

    Parameters
    ----------
    ring : KeyRing
        Has the keys, or what was kept of their trees.
    seals : LIVE_SEAL_DTYPE[n]
        Of blocks, in order; those under other keys do no harm.
    keys : set of int
    """
    rows = seals[among(seals["key"], np.array(sorted(keys), np.uint32)) & (seals["leaf"] > 0)]
    is_other = (rows["key"][1:] != rows["key"][:-1]) | (rows["opening"][1:] != rows["opening"][:-1])
    bounds = [0, *(np.flatnonzero(is_other) + 1).tolist(), len(rows)]
    trees = []
    for start, end in pairwise(bounds if len(rows) else []):
        number, opening = int(rows["key"][start]), int(rows["opening"][start])
        leaves = rows["leaf"][start:end].astype(np.uint64) - 1
        try:
            nodes = ring.prune(number, opening, leaves)
        except NotFoundError:
            leaves = _living(ring, number, opening, leaves)
            if not len(leaves):
                continue
            nodes = ring.prune(number, opening, leaves)
        trees.append((number, opening, nodes))
    return trees


def _living(ring: KeyRing, number: int, opening: int, leaves: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the leaves whose keys live, by halves."""
    try:
        ring.prune(number, opening, leaves[:0])
    except NotFoundError:  # of the whole tree
        return leaves[:0]
    living, parts = [leaves[:0]], [leaves]
    while parts:
        part = parts.pop()
        try:
            wipe(ring.prune(number, opening, part))
        except NotFoundError:
            middle = len(part) // 2
            parts += [part[middle:], part[:middle]] if middle else []
        else:
            living.append(part)
    return np.concatenate(living)


def seal_trees(trees: Iterable[Tree], secret: Secret, place: Place, entropy: Entropy) -> Sealed:
    """Seal the trees of a volume; their nodes stay the caller's to wipe.

    Parameters
    ----------
    trees : iterable of Tree
    secret : Secret
        The key of that number.
    place : Place
    entropy : callable
    """
    kept = list(trees)
    plain = bytearray(sum(_TREE.size + len(nodes) for _, _, nodes in kept))
    at = 0
    for number, opening, nodes in kept:
        _TREE.pack_into(plain, at, number, opening, len(nodes) // NODE_BYTES)
        plain[at + _TREE.size : at + _TREE.size + len(nodes)] = nodes
        at += _TREE.size + len(nodes)
    nonce = draw(entropy, NONCE_BYTES)
    with _cipher(secret) as cipher:
        data, tag = cipher.seal(nonce, place.packed(), plain)
    wipe(plain)
    section = Section(
        volume=place.volume,
        key=place.key,
        position=place.position,
        nonce=nonce,
        tag=tag,
        at=0,
        length=len(data),
    )
    return Sealed(section=section, data=data)


def open_trees(data: bytes, section: Section, secret: Secret, area: bytes) -> Iterator[Tree]:
    """Open a section, tree by tree; the caller wipes the nodes.

    Raises
    ------
    FormatError
        If it was changed, or is of another area.
    """
    place = Place(area=area, volume=section.volume, key=section.key, position=section.position)
    plain = bytearray(len(data))
    try:
        with _cipher(secret) as cipher:
            cipher.open(section.nonce, place.packed(), data, section.tag, plain)
        at = 0
        while at < len(plain):
            number, opening, count = _TREE.unpack_from(plain, at)
            at += _TREE.size
            # What was authenticated is ours: it is not checked again.
            nodes = bytearray(count * NODE_BYTES)
            nodes[:] = memoryview(plain)[at : at + len(nodes)]
            at += len(nodes)
            yield number, opening, nodes
    except AccessError:
        raise FormatError(
            f"the nodes of volume number {section.volume} do not open: the file was changed, or is another"
            " store's; put the right one in its place"
        ) from None
    finally:
        wipe(plain)


def _cipher(secret: Secret) -> Cipher:
    crypto = system_crypto()
    with Secret() as derived:
        crypto.derive(secret.buffer, derived.buffer, info=_LABEL)
        return Cipher(crypto, derived.buffer)


class NodesFile:
    """The file of a store. Whoever calls holds a lock.

    Parameters
    ----------
    path : Path
        Need not be there.
    area : bytes
        Identity of the key area that it belongs to.

    Attributes
    ----------
    sections : dict of int to Section
        By volume.

    Raises
    ------
    FormatError
        If it is there, and none.
    VersionError
        If it is of a newer format.
    MediumError
        If it cannot be read.
    """

    def __init__(self, path: Path, area: bytes) -> None:
        self.path = path
        self._area = area
        self.sections: dict[int, Section] = {}
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._failure("opening it", error) from error
        self.sections = {section.volume: section for section in self._scan(size)}

    def _scan(self, size: int) -> Iterator[Section]:
        head = self._read(0, HEAD_BYTES)
        magic, version, count, area = _HEAD.unpack(head)
        if magic != MAGIC or area != self._area or version < 1:
            raise FormatError(
                f"{str(self.path)!r} is no file of nodes of this store; put the right one in its place"
            )
        if version > VERSION:
            raise VersionError(
                f"{str(self.path)!r} is of format {version}; this version of seqstore knows up to {VERSION};"
                " use a newer one",
                found=version,
                expected=VERSION,
            )
        at, reserved = HEAD_BYTES, head[-32:]
        for _ in range(count):
            packed = self._read(at, _SECTION.size)
            volume, key, length, nonce, tag, position = _SECTION.unpack(packed)
            at, reserved = at + _SECTION.size, reserved + packed[-4:]
            yield Section(
                volume=volume, key=key, position=position, nonce=nonce, tag=tag, at=at, length=length
            )
            at += length
        if any(reserved):
            raise FormatError(f"{str(self.path)!r} has reserved bytes that are not zero; put it back")
        if at != size:
            raise FormatError(f"{str(self.path)!r} has {size} bytes, and {at} are expected; put it back")

    def read(self, section: Section) -> bytes:
        """Return the sealed bytes of a section.

        Raises
        ------
        FormatError
            If the file is too short for it.
        MediumError
            If it cannot be read.
        """
        return self._read(section.at, section.length)

    def _read(self, at: int, length: int) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(at)
                data = file.read(length)
        except OSError as error:
            raise self._failure("reading it", error) from error
        if len(data) != length:
            raise FormatError(f"{str(self.path)!r} is cut off; put the whole file in its place")
        return data

    def write(self, new: Iterable[Sealed], is_needed: Iterable[int]) -> None:
        """Put a new file in the place of the old one, durably, and read back what is new in it.

        Parameters
        ----------
        new : iterable of Sealed
        is_needed : iterable of int
            The other volumes whose sections go along.

        Raises
        ------
        MediumError
            If the file system fails, or does not hold what was written. The old file stays then, or the new
            one is in its place.
        """
        fresh = {sealed.section.volume: sealed for sealed in new}
        kept = [self.sections[volume] for volume in is_needed if volume not in fresh]
        part = self.path.with_name(self.path.name + ".new")
        try:
            placed = self._fill(part, fresh, kept)
            for section in placed:
                sealed = fresh.get(section.volume)
                if sealed is not None and _read_back(part, section) != sealed.data:
                    raise OSError(errno.EIO, "it does not hold what was written")
            part.replace(self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise self._failure("writing it anew", error) from error
        self.sections = {section.volume: section for section in placed}

    def _fill(self, part: Path, fresh: dict[int, Sealed], kept: list[Section]) -> list[Section]:
        placed = []
        with part.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(_HEAD.pack(MAGIC, VERSION, len(kept) + len(fresh), self._area))
            for section in [*kept, *(sealed.section for sealed in fresh.values())]:
                file.write(section.head)
                placed.append(replace(section, at=file.tell()))
                if section.volume in fresh:
                    file.write(fresh[section.volume].data)
                    continue
                for at in range(0, section.length, _AT_ONCE):
                    file.write(self._read(section.at + at, min(_AT_ONCE, section.length - at)))
            file.flush()
            os.fsync(file.fileno())
        return placed

    def remove(self) -> None:
        """Remove the file of a store that was not made."""
        with suppress(OSError):
            self.path.unlink()

    def _failure(self, doing: str, error: OSError) -> MediumError:
        return MediumError(
            f"the file of nodes {str(self.path)!r}, {doing}: {error.strerror or error}; see to the file"
            " system and try again",
            errno=error.errno,
        )


def _read_back(path: Path, section: Section) -> bytes:
    """Read a section; clean pages of the cache are dropped first, so that it comes from the drive."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), section.at, section.length, os.POSIX_FADV_DONTNEED)
        file.seek(section.at)
        return file.read(section.length)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder.absolute(), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
