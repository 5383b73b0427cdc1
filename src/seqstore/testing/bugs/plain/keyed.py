"""The same store with a key for each layer: what a destroyed key belonged to need not be overwritten.

Keys live in memory and in the checkpoints, never in the log. When nobody shows a layer any more its key is
dropped, and a purge writes both checkpoint areas anew. A forensic reader who has the medium has the keys
on it too, so `KeyedStore.media` shows the blocks as such a reader sees them.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import shake_128
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

from seqstore.testing.bugs.plain.blockmap import BlockMap
from seqstore.testing.bugs.plain.geometry import BLOCK_BYTES, SLOTS
from seqstore.testing.bugs.plain.purge import Purger
from seqstore.testing.bugs.plain.record import HEADER_BYTES, Codec, Header, Kind
from seqstore.testing.bugs.plain.state import State
from seqstore.testing.bugs.plain.store import Parts, PlainStore

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_BYTES = 16


def crypt(key: bytes, sequence: int, block: bytes) -> bytes:
    """Encrypt or decrypt a block with the key's stream of one place in the log."""
    stream = shake_128(key + sequence.to_bytes(8, "little")).digest(BLOCK_BYTES)
    return (int.from_bytes(block, "little") ^ int.from_bytes(stream, "little")).to_bytes(
        BLOCK_BYTES, "little"
    )


class KeyedState(State):
    """A state that has a key for each layer."""

    def __init__(self, new_map: type[BlockMap] = BlockMap) -> None:
        super().__init__(new_map)
        self.keys: dict[int, bytes] = {}

    def key_of(self, layer: int) -> bytes:
        """Return the key of a layer, made when it is first asked for.

        Keys follow from the layer's number here, because stories have to repeat themselves.
        """
        if layer not in self.keys:
            self.keys[layer] = Random(layer).randbytes(KEY_BYTES)
        return self.keys[layer]

    def prune(self) -> None:
        """Drop the keys of the layers that go."""
        super().prune()
        self.keys = {layer: key for layer, key in self.keys.items() if layer in self.layers}

    def to_json(self) -> dict[str, Any]:
        """Return the state with its keys."""
        return {**super().to_json(), "keys": [[layer, self.key_of(layer).hex()] for layer in self.layers]}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over the keys too."""
        super().restore(saved)
        self.keys = {layer: bytes.fromhex(key) for layer, key in saved["keys"]}


class KeyedCodec(Codec):
    """Encrypts the blocks of layers; notes are open."""

    def encode(self, header: Header, block: bytes) -> bytes:
        """Return the bytes of a slot."""
        return super().encode(header, self._crypt(header, block))

    def block(self, image: bytes) -> bytes:
        """Return the block in a slot, as its layer's key shows it."""
        header = self.decode(image)
        return super().block(image) if header is None else self._crypt(header, super().block(image))

    def _crypt(self, header: Header, block: bytes) -> bytes:
        state = self.store.state
        if header.kind == Kind.NOTE or not isinstance(state, KeyedState):
            return block
        return crypt(state.key_of(header.layer), header.sequence, block)


class KeyedPurger(Purger):
    """Leaves the blocks whose key is gone."""

    def is_residue(self, slot: int) -> bool:
        """Say whether somebody with the medium could read a slot that is not live.

        Notes hold names and numbers, and no data, so they may stay.
        """
        header = self.store.codec.decode(self.store.medium.get(slot))
        if header is None:
            return super().is_residue(slot)
        return header.kind != Kind.NOTE and header.layer in self.store.state.layers


class KeyedStore(PlainStore):
    """The plain store, encrypted."""

    parts: ClassVar[Parts] = Parts(state=KeyedState, codec=KeyedCodec, purger=KeyedPurger)

    def is_loggable(self, do: str) -> bool:
        """Say whether a note may lie in the log: what makes a layer makes a key."""
        return do not in {"create", "snapshot", "clone"}

    def media(self) -> Iterable[bytes | memoryview]:
        """Return the medium, and what each key that is found on it shows."""
        with self._lock:
            return [*super().media(), *self._decrypted()]

    def _decrypted(self) -> Iterable[bytes]:
        keys: dict[int, bytes] = {}
        for area in self.medium.areas:
            saved = self.checkpoint.decode(area)
            keys.update({layer: bytes.fromhex(key) for layer, key in saved["keys"]} if saved else {})
        for image in map(self.medium.get, range(SLOTS)):
            header = self.codec.decode(image)
            if header is not None and header.layer in keys:
                yield crypt(keys[header.layer], header.sequence, image[HEADER_BYTES:])
