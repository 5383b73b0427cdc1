"""Seals: what goes with each block of a drive whose blocks are encrypted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqstore.errors import FormatError
from seqstore.format.layout import ENTRY, HEAD, SEAL, SEALED_ENTRY_BYTES, SEALED_VERSION

if TYPE_CHECKING:
    from seqstore.format.summary import Summary

_TAG = slice(SEAL.offsets["tag"], SEAL.offsets["tag"] + SEAL.sizes["tag"])


@dataclass(frozen=True, slots=True)
class Seal:
    """What a block was encrypted with; `docs/explanation/keys.md` says how.

    Attributes
    ----------
    tag : bytes
        Authentication tag of AES-256-GCM.
    opening : int
        Random number of the use of the store in which it was done.
    number : int
        Of the block in that use.
    key : int
        Number of the key in the key area.
    leaf : int
        0, or one more than the leaf of the tree under that key and opening, whose key it was done with.
    """

    tag: bytes
    opening: int
    number: int
    key: int
    leaf: int

    @property
    def nonce(self) -> bytes:
        """The nonce of AES-256-GCM."""
        return bytes(4) + self.number.to_bytes(8, "little")

    @property
    def identity(self) -> tuple[int, int, int]:
        """What must be different for each block that is encrypted."""
        return self.key, self.opening, self.number


def entry_bytes(version: int) -> int:
    """Return how long an entry is in a version of the format."""
    return SEALED_ENTRY_BYTES if version == SEALED_VERSION else ENTRY.size


def split_entries(block: bytes, count: int, version: int) -> tuple[bytes, bytes]:
    """Take the entries of a summary apart: the fields that all versions have, and the seals behind them."""
    size = entry_bytes(version)
    entries = [block[at : at + size] for at in range(HEAD.size, HEAD.size + count * size, size)]
    return b"".join(e[: ENTRY.size] for e in entries), b"".join(e[ENTRY.size :] for e in entries)


def check_seal(data: bytes, number: int, *, is_data: bool, is_damaged: bool) -> None:
    """Check the seal of an entry; one that has no block of a volume has none.

    Raises
    ------
    FormatError
        If it breaks a rule of the specification.
    """
    fields = SEAL.read(data)
    if is_data and fields["key"]:
        return
    # Of a block whose summary could not be read any more the cleaner knows no seal.
    if any(data) or (is_data and not is_damaged):
        raise FormatError(f"summary: entry {number} has a seal, and should not, or has none")


def parse_seal(data: bytes) -> Seal | None:
    """Return the seal of an entry, if it has one."""
    fields = SEAL.read(data)
    if not fields["key"]:
        return None
    return Seal(data[_TAG], fields["opening"], fields["number"], fields["key"], fields["leaf"])


def nonces_used_twice(summaries: Iterable[Summary]) -> list[tuple[int, Seal]]:
    """Find blocks that were encrypted with the nonce and key of another.

    Copies of one block, which the cleaner makes, have one nonce, and are the same block.

    Returns
    -------
    list of (int, Seal)
        The address of each such block that is met after another one.
    """
    met: dict[tuple[int, int, int], tuple[bytes, int, int]] = {}
    found = []
    for summary in summaries:
        for (entry, mba), seal in zip(summary.placed(), summary.seals, strict=True):
            if seal is None:
                continue
            block = (seal.tag, entry.volume, entry.lba)
            if met.setdefault(seal.identity, block) != block:
                found.append((mba, seal))
    return found
