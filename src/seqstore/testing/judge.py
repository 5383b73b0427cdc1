"""Names what is wrong with bytes that a store gave: whose they are, and what that is called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from seqstore.testing.canary import HEADER_BYTES, Canary, find, parse, stamp_block
from seqstore.testing.model import Model, Volume

KINDS = MappingProxyType(
    {
        "foreign": "bytes of another tenant",
        "other_volume": "bytes of another volume of the same tenant",
        "misplaced": "bytes of another block of the same volume",
        "resurrected": "bytes that were trimmed, deleted or overwritten",
        "uninitialised": "bytes that nobody wrote",
        "lost": "zeros, or the claim that nothing was written, where data is due",
        "torn": "versions mixed within a block",
        "rollback": "after a crash, less than was flushed, or what never was at one moment",
        "remanence": "deleted bytes on the media after purge()",
        "error": "an exception where the protocol asks for an answer",
    }
)
# From the worst on: where a read holds several kinds, it is called by the first.
_WORST_FIRST = ("foreign", "other_volume", "misplaced", "resurrected", "torn", "uninitialised", "lost")
# Shorter fragments are looked for only where they would have stood in their own block.
_TELLING_BYTES = 8


class Finding(Exception):  # noqa: N818  a finding is no error of the kit
    """What a check found.

    Attributes are those of `IsolationViolation`, and:

    Attributes
    ----------
    expected : str or None
        What the block must hold, as Python.
    place : int or None
        Index of the block in the read.
    """

    def __init__(
        self,
        kind: str,
        text: str,
        *,
        owner: str | None = None,
        reader: str | None = None,
        volume: int | None = None,
        lba: int | None = None,
        media_offset: int | None = None,
        expected: str | None = None,
        place: int | None = None,
    ) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.owner = owner
        self.reader = reader
        self.volume = volume
        self.lba = lba
        self.media_offset = media_offset
        self.expected = expected
        self.place = place


@dataclass(frozen=True, slots=True)
class Written:
    """A write that the kit asked for."""

    tenant: int
    volume: int
    lba: int
    count: int
    version: int


class Judge:
    """Knows what was written, and so whose bytes are found.

    Parameters
    ----------
    model : Model
        What must be there.
    nonce : int
        Of this run.
    """

    def __init__(self, model: Model, nonce: int) -> None:
        self._model = model
        self._nonce = nonce
        self.written: list[Written] = []

    def wrong_bytes(
        self, volume: Volume, lba: int, expected: Sequence[bytes], actual: bytes, *, crashed: bool = False
    ) -> Finding:
        """Name what is wrong with a read.

        Parameters
        ----------
        volume : Volume
            Read from.
        lba : int
            Its first block.
        expected : sequence of bytes
            What each block must hold.
        actual : bytes
            What the store gave, of the same length and not the same.
        crashed : bool
            Whether this is the first look behind a crash.

        Returns
        -------
        Finding
            Of the worst block.
        """
        size = self._model.block_size
        found = []
        for i, due in enumerate(expected):
            given = actual[i * size : (i + 1) * size]
            if given != due:
                kind, owner, what = self._look(volume, lba + i, due, given)
                found.append((_WORST_FIRST.index(kind), i, kind, owner, what, given))
        _, i, kind, owner, what, given = min(found, key=lambda one: one[:2])
        if crashed and kind in {"resurrected", "lost"} and expected[i] is not self._model.zero:
            kind = "rollback"
        due_text = self.describe(expected[i])
        return Finding(
            kind,
            f"block {lba + i} of volume {volume.number} ({volume.tenant.name}) must hold {due_text}; "
            f"it holds {what}",
            owner=owner,
            reader=volume.tenant.name,
            volume=volume.number,
            lba=lba + i,
            expected=self.expression(expected[i]),
            place=i,
        )

    def _look(self, volume: Volume, lba: int, due: bytes, given: bytes) -> tuple[str, str | None, str]:
        """Return kind, owner and description of one wrong block."""
        canaries = [
            canary
            for at, canary in find(given)
            if given[at : at + HEADER_BYTES] != due[at : at + HEADER_BYTES]
        ] or list(self._fragments(volume, due, given))
        if not canaries:
            return self._look_at_none(due, given)
        versions = {canary.version for _, canary in find(given)}
        named = []
        for canary in canaries:
            kind = self._kind(volume, lba, canary)
            if kind == "resurrected" and (len(versions) > 1 or not versions):
                kind = "torn"
            named.append((_WORST_FIRST.index(kind), kind, canary))
        _, kind, canary = min(named, key=lambda one: one[0])
        tenant = self._model.everybody.get(canary.tenant) if canary.nonce == self._nonce else None
        return kind, tenant.name if tenant else None, self.name(canary)

    def _look_at_none(self, due: bytes, given: bytes) -> tuple[str, str | None, str]:
        if not any(given):
            return "lost", None, "zeros"
        wrong = [i for i, (a, b) in enumerate(zip(due, given, strict=True)) if a != b]
        first, last = wrong[0], wrong[-1] + 1
        if not any(given[first:last]):
            return "torn", None, f"zeros from byte {first} to {last - 1}"
        text = given[first : min(last, first + 16)].hex(" ")
        return "uninitialised", None, f"bytes that nobody wrote, from byte {first} on: {text}"

    def _fragments(self, volume: Volume, due: bytes, given: bytes) -> Iterator[Canary]:
        """Find whose a piece is that holds no whole header, by comparing it with everything written."""
        wrong = [i for i, (a, b) in enumerate(zip(due, given, strict=True)) if a != b]
        first, last = wrong[0], wrong[-1] + 1
        piece = given[first:last]
        if not any(piece):
            return
        own = [one for one in self.written if one.volume == volume.number]
        others = [one for one in self.written if one.volume != volume.number]
        for write in (*reversed(own), *reversed(others)):
            for at in range(write.lba, write.lba + write.count):
                block = self._stamp(write, at)
                in_place = block[first:last] == piece
                if in_place or (len(piece) >= _TELLING_BYTES and piece in block):
                    canary = parse(block)
                    assert canary is not None
                    yield canary
                    return

    def _stamp(self, write: Written, lba: int) -> bytes:
        return stamp_block(
            self._model.block_size,
            tenant=write.tenant,
            volume=write.volume,
            lba=lba,
            version=write.version,
            nonce=self._nonce,
        )

    def _kind(self, volume: Volume, lba: int, canary: Canary) -> str:
        if canary.nonce != self._nonce:
            return "foreign"
        if self._model.descends(volume, canary.volume, canary.version):
            return "misplaced" if canary.lba != lba else "resurrected"
        return "foreign" if canary.tenant != volume.tenant.number else "other_volume"

    def name(self, canary: Canary) -> str:
        """Say whose a block is."""
        if canary.nonce != self._nonce:
            return f"bytes of another run of the kit (volume {canary.volume}, block {canary.lba})"
        tenant = self._model.everybody.get(canary.tenant)
        owner = tenant.name if tenant else f"tenant {canary.tenant}"
        if tenant and self._model.tenants.get(owner) is not tenant:
            owner += " (deleted)"
        return f"bytes of {owner}: block {canary.lba} of volume {canary.volume}, version {canary.version}"

    def describe(self, block: bytes) -> str:
        """Say what a block must hold."""
        if block is self._model.zero:
            return "zeros or raise LookupError, as an unwritten one"
        versions = sorted({canary.version for _, canary in find(block)})
        if len(versions) == 1 and parse(block):
            return f"version {versions[0]}"
        joined = " and ".join(map(str, versions)) or "less than a header"
        return f"a mix of versions, with {joined}"

    def expression(self, block: bytes) -> str:
        """Write a block as Python, with `stamp` where that says it."""
        canary = parse(block)
        if not any(block):
            return f"bytes({len(block)})"
        if canary is not None:
            write = Written(canary.tenant, canary.volume, canary.lba, 1, canary.version)
            if self._stamp(write, canary.lba) == block:
                return stamp_text(write, self._nonce, len(block))
        return f"bytes.fromhex({block.hex()!r})"


def stamp_text(write: Written, nonce: int, block_size: int) -> str:
    """Write the data of a write as Python."""
    return (
        f"stamp({block_size}, tenant={write.tenant}, volume={write.volume}, lba={write.lba}, "
        f"count={write.count}, version={write.version}, nonce={nonce})"
    )
