"""What somebody can read of a drive who has everything but old copies of the key area.

Every key of the area is unwrapped, every file of nodes that they ever copied is opened with those, and every
block that any summary on any copy of the drive names is tried. Keys of blocks are derived as the page on keys
says, by nothing of the engine's.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from seqstore import AccessError, FormatError
from seqstore._native.crypt import NODE_BYTES, Cipher, system_crypto
from seqstore.format import Seal
from seqstore.format.summary import parse_summary
from seqstore.keys import Keychain, KeyKind, KeyProvider
from seqstore.keys.nodes import NodesFile, open_trees

CRYPTO = system_crypto()
FAN_OUT_LOG2, LEVELS = 2, 16
Node = tuple[int, int, bytes]
"""First leaf, level, key."""


def hkdf(secret: bytes, label: bytes, opening: int) -> bytes:
    info = label + b"\0" + opening.to_bytes(8, "little")
    extracted = hmac.digest(bytes(32), secret, hashlib.sha256)
    return hmac.digest(extracted, info + b"\1", hashlib.sha256)


def leaf_key(node: Node, leaf: int) -> bytes:
    """Go down from a node: the keys of its children are what AES-256-GCM makes of zeros with the nonce 0."""
    _, level, key = node
    while level > 0:
        level -= 1
        with Cipher(CRYPTO, key) as cipher:
            stream, _ = cipher.seal(bytes(12), b"", bytes(128))
        place = leaf >> FAN_OUT_LOG2 * level & 3
        key = stream[32 * place : 32 * place + 32]
    return key


class Keys:
    """All that can be had of keys from a key area as it is, and copies of the file of nodes."""

    def __init__(self, folder: Path, provider: KeyProvider, old_nodes: Iterable[Path] = ()) -> None:
        self.secrets: dict[int, bytes] = {}
        self.nodes: dict[tuple[int, int], list[Node]] = {}
        self._made: dict[tuple[int, int, int], bytes] = {}
        with Keychain.open(folder / "keys", provider, entropy=CRYPTO.fill, read_only=True) as keychain:
            for entry in keychain.keys:
                with keychain.secret(entry.number) as secret:
                    # A drive may name any number: those of other kinds are tried, too.
                    self.secrets[entry.number] = bytes(secret.buffer)
            self.kinds = {entry.number: entry.kind for entry in keychain.keys}
            for path in (folder / "keys.nodes", *old_nodes):
                self._open_nodes(keychain, NodesFile(path, keychain.identity))

    def _open_nodes(self, keychain: Keychain, file: NodesFile) -> None:
        for section in file.sections.values():
            for number in self.secrets:
                with suppress(FormatError), keychain.secret(number) as secret:
                    for key, opening, nodes in open_trees(
                        file.read(section), section, secret, keychain.identity
                    ):
                        self.nodes.setdefault((key, opening), []).extend(parse_nodes(nodes))

    def of(self, seal: Seal) -> Iterator[bytes]:
        """The keys that a block may be sealed with."""
        if not seal.leaf:
            if seal.key in self.secrets:
                yield hkdf(self.secrets[seal.key], b"seqstore blocks 1", seal.opening)
            return
        leaf = seal.leaf - 1
        if seal.key in self.secrets:
            root = hkdf(self.secrets[seal.key], b"seqstore leaves 1", seal.opening)
            yield leaf_key((0, LEVELS, root), leaf)
        for node in self.nodes.get((seal.key, seal.opening), ()):
            if node[0] <= leaf < node[0] + 4 ** node[1]:
                yield leaf_key(node, leaf)

    @property
    def shared(self) -> set[int]:
        """The keys that blocks have in common."""
        return {number for number, kind in self.kinds.items() if kind is KeyKind.EPOCH}


def parse_nodes(data: bytes | bytearray) -> list[Node]:
    rows = [bytes(data[at : at + NODE_BYTES]) for at in range(0, len(data), NODE_BYTES)]
    return [
        (int.from_bytes(row[:8], "little"), int.from_bytes(row[8:16], "little"), row[16:]) for row in rows
    ]


def readable(drive: bytes, keys: Keys, block_size: int, tenants: Iterable[int] = (1, 2)) -> set[bytes]:
    """What blocks of a drive hold that open with any of the keys."""
    found: set[bytes] = set()
    for mba in range(len(drive) // block_size):
        try:
            summary = parse_summary(drive[mba * block_size : (mba + 1) * block_size], mba)
        except FormatError:
            continue
        for (entry, at), seal in zip(summary.placed(), summary.seals, strict=True):
            block = drive[at * block_size : (at + 1) * block_size]
            if seal is not None:
                found |= set(opened(seal, keys, block, tenants, entry.volume, entry.lba))
    return found


def opened(
    seal: Seal, keys: Keys, block: bytes, tenants: Iterable[int], layer: int, lba: int
) -> Iterator[bytes]:
    for key in keys.of(seal):
        for tenant in tenants:
            identity = b"".join(number.to_bytes(8, "little") for number in (tenant, layer, lba))
            plain = bytearray(len(block))
            with suppress(AccessError), Cipher(CRYPTO, key) as cipher:
                cipher.open(seal.nonce, identity, block, seal.tag, plain)
                yield bytes(plain)


class Keeper:
    """Keeps every state in which the files of a store were, but for its key area.

    Parameters
    ----------
    path : Path
        The store.
    block_size : int
    marks : iterable of bytes
        What must be in no file.
    """

    def __init__(self, path: Path, block_size: int, marks: Iterable[bytes]) -> None:
        self.path = path
        self.block_size = block_size
        self.marks = list(marks)
        self.blocks: set[tuple[Seal, int, int, bytes]] = set()  # seal, layer, lba, cipher
        self.nodes: list[Path] = []
        self._met: dict[Path, bytes] = {}
        self.secrets: set[bytes] = set()

    def keep(self, provider: KeyProvider) -> None:
        """Keep what is new; nothing in it may be plain, a tenant's bytes or a key's."""
        self.secrets |= set(Keys(self.path, provider).secrets.values())
        for file in sorted(self.path.rglob("*")):
            content = file.read_bytes() if file.is_file() else b""
            if self._met.get(file) == content:
                continue
            self._met[file] = content
            for plain in (*self.marks, *self.secrets):
                assert plain not in content, f"{file.name} holds {plain[:8]!r} as it is"
            if file.suffix == ".img":
                self.blocks |= set(sealed_blocks(content, self.block_size))
            elif file.name == "keys.nodes":
                self.nodes.append(file.with_name(f"{len(self.nodes)}.kept-nodes"))
                self._met[self.nodes[-1]] = content
                self.nodes[-1].write_bytes(content)

    def opened(self, provider: KeyProvider, tenants: Iterable[int] = (1, 2)) -> set[bytes]:
        """Return what all blocks hold that open with the keys that are left."""
        keys, tenants = Keys(self.path, provider, self.nodes), list(tenants)
        found: set[bytes] = set()
        for seal, layer, lba, block in self.blocks:
            found |= set(opened(seal, keys, block, tenants, layer, lba))
        return found

    def expect_no_nonce_twice(self) -> None:
        """See that no two blocks, on whichever drives, were sealed under one key with one nonce."""
        met: dict[tuple[int, int, int], tuple[bytes, int, int]] = {}
        for seal, layer, lba, _ in self.blocks:
            block = (seal.tag, layer, lba)
            assert met.setdefault(seal.identity, block) == block, f"the nonce of {seal} came twice"


def sealed_blocks(drive: bytes, block_size: int) -> Iterator[tuple[Seal, int, int, bytes]]:
    """Yield seal, layer, lba and cipher of each block that a summary on a drive names."""
    for mba in range(len(drive) // block_size):
        try:
            summary = parse_summary(drive[mba * block_size : (mba + 1) * block_size], mba)
        except FormatError:
            continue
        for (entry, at), seal in zip(summary.placed(), summary.seals, strict=True):
            if seal is not None:
                yield seal, entry.volume, entry.lba, drive[at * block_size : (at + 1) * block_size]
