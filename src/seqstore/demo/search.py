"""Looks for a tenant's bytes where they should not be: on the medium, and in what volumes hand out.

Two searches that know nothing of the ledger or of any map. The exact one looks for a whole piece of a
named file at any alignment. The broad one reduces each block of the medium to a fingerprint of 64 bits
and looks it up among the fingerprints of all blocks that the tenant stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqstore import Drive, Volume

_WORD_BYTES = 8
_LOW_HALF = np.uint64(0xFFFFFFFF)
_HALF_BITS = np.uint64(32)
_CHUNK_BYTES = 4 << 20
# Fingerprints are taken of pieces that stay in the cache between the passes over them.
_CACHED_BLOCKS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A piece of a named file that lies within one block.

    Attributes
    ----------
    name : str
        The file's name in the archive.
    lba : int
        The block of the volume that the piece was written to.
    content : bytes
        The piece, as it was read from the file.
    """

    name: str
    lba: int
    content: bytes

    @property
    def excerpt(self) -> str:
        """The longest run of printable characters near the start, at most 40 of them."""
        text = self.content[:512].decode("ascii", "replace").replace("\n", " ")
        runs = "".join(c if c.isascii() and c.isprintable() else "\n" for c in text).split("\n")
        return " ".join(max(runs, key=len).split())[:40]


ZEROS_PRINT = np.uint64(0)
"""Fingerprint of a block of zeros."""


class Fingerprinter:
    """Reduces blocks to 64 bits each, by a weighted sum of their 32-bit halves of words.

    Parameters
    ----------
    block_size : int
        Bytes, a multiple of 8.
    rng : numpy.random.Generator
        Source of the weights. Over their choice, two different blocks collide with a chance of at most
        2**-33, whoever made the blocks.

    References
    ----------
    D. Lemire and O. Kaser, "Strongly universal string hashing is fast", 2014: the multilinear family.
    """

    def __init__(self, block_size: int, rng: np.random.Generator) -> None:
        self.block_size = block_size
        self._weights = rng.integers(0, 2**64, (2, block_size // _WORD_BYTES), dtype=np.uint64)

    def of(self, blocks: NDArray[np.uint8]) -> NDArray[np.uint64]:
        """Fingerprint blocks.

        Parameters
        ----------
        blocks : ndarray of uint8, shape (n, block_size)
            C-contiguous.

        Returns
        -------
        ndarray of uint64, shape (n,)
            `ZEROS_PRINT` for a block of zeros.
        """
        words = blocks.view(np.uint64)
        prints = np.empty(len(words), dtype=np.uint64)
        low_weights, high_weights = self._weights
        for first in range(0, len(words), _CACHED_BLOCKS):
            piece = words[first : first + _CACHED_BLOCKS]
            low = np.einsum("ij,j->i", piece & _LOW_HALF, low_weights)
            high = np.einsum("ij,j->i", piece >> _HALF_BITS, high_weights)
            prints[first : first + _CACHED_BLOCKS] = low + high
        return prints


class Wanted:
    """What is looked for: the blocks that a tenant stored, and pieces of its files.

    Parameters
    ----------
    own : ndarray of uint64
        Fingerprints of all blocks that the tenant stored.
    others : ndarray of uint64
        Fingerprints of all blocks that somebody else stored. A block of zeros counts among them. Blocks
        that occur here too prove nothing where they are found, and are not `distinctive`.
    canaries : sequence of Canary
        Pieces to look for byte by byte.
    fingerprinter : Fingerprinter
        What the fingerprints were made with.

    Attributes
    ----------
    own, distinctive : ndarray of uint64
        Ascending: the tenant's blocks, and those of them that nobody else stored.
    ambiguous_blocks : int
        Blocks of the tenant that are not distinctive.
    """

    def __init__(
        self,
        own: NDArray[np.uint64],
        others: NDArray[np.uint64],
        canaries: Sequence[Canary],
        fingerprinter: Fingerprinter,
    ) -> None:
        ambiguous = np.append(others, ZEROS_PRINT)
        self.own = np.unique(own)
        self.distinctive = np.setdiff1d(self.own, ambiguous)
        self.ambiguous_blocks = int(np.isin(own, ambiguous).sum())
        self.canaries = tuple(canaries)
        self.fingerprinter = fingerprinter


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MediumScan:
    """What a raw search of a whole drive found.

    Attributes
    ----------
    distinctive : ndarray of bool, shape (blocks,)
        Which media blocks hold a block that only the tenant stored.
    own : ndarray of bool, shape (blocks,)
        Which hold a block that the tenant stored, others perhaps too.
    found_at : tuple of tuple of int
        For each canary the media blocks that it begins in.
    """

    distinctive: NDArray[np.bool_]
    own: NDArray[np.bool_]
    found_at: tuple[tuple[int, ...], ...]

    @property
    def canaries_found(self) -> int:
        """Canaries that lie on the medium at least once."""
        return sum(bool(places) for places in self.found_at)


def scan_medium(drive: Drive, wanted: Wanted) -> MediumScan:
    """Search every byte of a drive as it lies there."""
    prints = np.empty(drive.blocks, dtype=np.uint64)
    found_at: list[list[int]] = [[] for _ in wanted.canaries]
    chunk_blocks = _CHUNK_BYTES // drive.block_size
    for first in range(0, drive.blocks, chunk_blocks):
        count = min(chunk_blocks, drive.blocks - first)
        # One block more, for a canary that would lie across the border of two chunks.
        raw = drive.raw(first, min(count + 1, drive.blocks - first))
        blocks = np.frombuffer(raw, dtype=np.uint8).reshape(-1, drive.block_size)[:count]
        prints[first : first + count] = wanted.fingerprinter.of(blocks)
        for places, canary in zip(found_at, wanted.canaries, strict=True):
            for offset in _occurrences(raw, canary.content):
                if offset < count * drive.block_size:
                    places.append(first + offset // drive.block_size)
    return MediumScan(
        distinctive=_among(prints, wanted.distinctive),
        own=_among(prints, wanted.own),
        found_at=tuple(map(tuple, found_at)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What came out of reading all addresses of some volumes.

    Attributes
    ----------
    blocks : int
        Blocks that were read.
    leaked : int
        Blocks among them that only the other tenant stored.
    wrong : int
        Blocks among them that are not what the volume itself wrote there, or zeros where it wrote nothing.
        A block that holds as little as a byte of somebody else is wrong.
    """

    blocks: int = 0
    leaked: int = 0
    wrong: int = 0

    def __add__(self, other: Probe) -> Probe:
        return Probe(
            blocks=self.blocks + other.blocks,
            leaked=self.leaked + other.leaked,
            wrong=self.wrong + other.wrong,
        )


def probe_volume(volume: Volume, wanted: Wanted, expected: NDArray[np.uint64]) -> Probe:
    """Read every block of a volume and search what comes back.

    Parameters
    ----------
    volume : Volume
        Whose addresses are read.
    wanted : Wanted
        What must not turn up.
    expected : ndarray of uint64, shape (n,)
        Fingerprints of the volume's first n blocks; the others have to be zeros.
    """
    result = Probe()
    for blocks in read_volume(volume):
        prints = wanted.fingerprinter.of(blocks)
        right = np.full(len(prints), ZEROS_PRINT)
        written = expected[result.blocks : result.blocks + len(prints)]
        right[: len(written)] = written
        leaked = np.count_nonzero(_among(prints, wanted.distinctive))
        wrong = np.count_nonzero(prints != right)
        result += Probe(blocks=len(prints), leaked=int(leaked), wrong=int(wrong))
    return result


def read_volume(volume: Volume) -> Iterator[NDArray[np.uint8]]:
    """Read the blocks of a volume in order, several at a time; each array is valid until the next."""
    chunk_blocks = _CHUNK_BYTES // volume.block_size
    buffer = np.empty((chunk_blocks, volume.block_size), dtype=np.uint8)
    for first in range(0, volume.blocks, chunk_blocks):
        yield volume.read_blocks(first, buffer[: volume.blocks - first])


def keep_distinctive(canaries: Iterable[Canary], others: Iterable[Volume]) -> tuple[Canary, ...]:
    """Drop the canaries whose bytes somebody else stored as well."""
    kept = list(canaries)
    for volume in others:
        end = b""
        for blocks in read_volume(volume):
            content = end + blocks.tobytes()
            kept = [canary for canary in kept if canary.content not in content]
            end = content[-volume.block_size :]  # the next piece may go on with what begins here
    return tuple(kept)


def _among(prints: NDArray[np.uint64], ascending: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Say which fingerprints occur in a sorted array."""
    if not len(ascending):
        return np.zeros(len(prints), dtype=np.bool_)
    places = np.searchsorted(ascending, prints)
    return np.equal(ascending[np.minimum(places, len(ascending) - 1)], prints)


def _occurrences(data: bytes, content: bytes) -> Iterator[int]:
    offset = data.find(content)
    while offset >= 0:
        yield offset
        offset = data.find(content, offset + 1)
