"""Ciphers and key derivation by libcrypto, through the core; secrets stay in buffers of the caller's."""

from __future__ import annotations

import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from seqstore._native._core import ffi, lib
from seqstore._native.convert import lend, lend_array
from seqstore._native.status import status_error
from seqstore.errors import AccessError, ClosedError, ConfigError, NotFoundError, SeqstoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from seqstore._native.convert import BytesLike

KEY_BYTES: int = lib.SQ_KEY_BYTES
NONCE_BYTES: int = lib.SQ_NONCE_BYTES
TAG_BYTES: int = lib.SQ_SEAL_BYTES
NODE_BYTES: int = ffi.sizeof("struct sq_tree_node")
"""A node of a tree of keys: first leaf, level, key."""

_NODES_AT_ONCE = 1 << 12

_MISSING = (
    "OpenSSL's libcrypto (libcrypto.so.3 or .1.1) is not there, or does not do what is asked of it; install"
    " OpenSSL 3 (package libssl3 on Debian and Ubuntu, openssl-libs on Fedora), or do without encryption"
)


def _error(status: int, doing: str) -> SeqstoreError | MemoryError:
    if status == lib.SQ_E_NO_CRYPTO:
        return ConfigError(f"{doing}: {_MISSING}")
    if status == lib.SQ_E_CORRUPT:
        return AccessError(f"{doing}: key, nonce, text and what goes with it do not belong together")
    if status == lib.SQ_E_NOT_FOUND:
        return NotFoundError(f"{doing}: there is no such key, or it is dead")
    return status_error(status, doing)


def _check(status: int, doing: str) -> None:
    if status != lib.SQ_OK:
        raise _error(status, doing)


def _expect(length: int, expected: int, what: str) -> None:
    if length != expected:
        raise ConfigError(f"{what} has {length} bytes; {expected} are expected")


class Crypto:
    """The loaded libcrypto. Any number of threads may use it.

    Parameters
    ----------
    path : str, optional
        File of the library, instead of the system's.

    Raises
    ------
    ConfigError
        If there is none.
    """

    def __init__(self, path: str | None = None) -> None:
        handle = ffi.new("sq_crypto **")
        name = ffi.NULL if path is None else ffi.new("char[]", path.encode())
        _check(lib.sq_crypto_open(name, handle), "loading libcrypto")
        self.handle = ffi.gc(handle[0], lib.sq_crypto_close)

    @property
    def version(self) -> str:
        """What the library calls itself."""
        text: bytes = ffi.string(lib.sq_crypto_version(self.handle))
        return text.decode()

    def fill(self, buffer: bytearray) -> None:
        """Fill a buffer with random bytes that nobody can guess."""
        lent = lend(buffer, "buffer", writable=True)
        _check(lib.sq_crypto_random(self.handle, lent, len(buffer)), "drawing random bytes")

    def derive(self, secret: BytesLike, out: bytearray, *, salt: bytes = b"", info: bytes = b"") -> None:
        """Derive a key from a secret that nobody can guess.

        Parameters
        ----------
        secret : bytes-like
        out : bytearray
            Filled, whatever its length, up to 8160 bytes.
        salt : bytes
        info : bytes
            What the key is for, up to 256 bytes.

        References
        ----------
        RFC 5869: HMAC-based Extract-and-Expand Key Derivation Function (HKDF), with SHA-256.
        """
        source, target = lend(secret, "secret"), lend(out, "out", writable=True)
        sizes = (len(source), len(salt), len(info), len(target))
        status = lib.sq_crypto_derive(
            self.handle, source, sizes[0], salt, sizes[1], info, sizes[2], target, sizes[3]
        )
        _check(status, "deriving a key")

    def stretch(
        self, password: BytesLike, salt: bytes, out: bytearray, *, cost_log2: int, block: int, lanes: int
    ) -> None:
        """Derive a key from what somebody could guess, with work that makes guessing dear.

        Parameters
        ----------
        password : bytes-like
        salt : bytes
        out : bytearray
            Filled.
        cost_log2, block, lanes : int
            The logarithm of N, r and p of scrypt; ``128 * r * 2**cost_log2`` bytes of memory are needed.

        Raises
        ------
        ConfigError
            If the costs are out of range: 24, 64, 64, and 4 GiB.

        References
        ----------
        RFC 7914: The scrypt Password-Based Key Derivation Function.
        """
        doing = f"stretching a passphrase (cost_log2={cost_log2}, block={block}, lanes={lanes})"
        if not all(0 <= value < 1 << 32 for value in (cost_log2, block, lanes)):
            raise ConfigError(f"{doing}: an argument is outside its range")
        source, target = lend(password, "password"), lend(out, "out", writable=True)
        status = lib.sq_crypto_stretch(
            self.handle, source, len(source), salt, len(salt), cost_log2, block, lanes, target, len(target)
        )
        _check(status, doing)


@functools.cache
def system_crypto() -> Crypto:
    """Load the system's libcrypto, the first time.

    Raises
    ------
    ConfigError
        If there is none.
    """
    return Crypto()


class Cipher:
    """AES-256-GCM with one key. Any number of threads may use it, and none while it is closed.

    Parameters
    ----------
    crypto : Crypto
    secret : bytes-like
        The key, 32 bytes. It stays the caller's to wipe.

    References
    ----------
    NIST SP 800-38D: Recommendation for Block Cipher Modes of Operation: Galois/Counter Mode (GCM) and GMAC.
    """

    def __init__(self, crypto: Crypto, secret: BytesLike) -> None:
        lent = lend(secret, "secret")
        _expect(len(lent), KEY_BYTES, "a key")
        handle = ffi.new("sq_key **")
        _check(lib.sq_key_create(crypto.handle, lent, handle), "making a key ready")
        self._handle: Any = ffi.gc(handle[0], lib.sq_key_destroy)

    def __enter__(self) -> Cipher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget the key. Closing again does nothing."""
        if self._handle is not None:
            ffi.release(self._handle)
            self._handle = None

    def _open_handle(self) -> Any:
        if self._handle is None:
            raise ClosedError("the cipher was closed; make another")
        return self._handle

    def seal(self, nonce: bytes, aad: bytes, plain: BytesLike) -> tuple[bytes, bytes]:
        """Seal a text; the same nonce must never be used again.

        Returns
        -------
        cipher : bytes
            As long as the text.
        tag : bytes
            16 bytes that go with it.
        """
        _expect(len(nonce), NONCE_BYTES, "a nonce")
        source = lend(plain, "plain")
        cipher, tag = bytearray(len(source)), bytearray(TAG_BYTES)
        handle, outs = self._open_handle(), (ffi.from_buffer(cipher), ffi.from_buffer(tag))
        status = lib.sq_key_seal(handle, nonce, aad, len(aad), source, len(source), *outs)
        _check(status, "sealing")
        return bytes(cipher), bytes(tag)

    def open(self, nonce: bytes, aad: bytes, cipher: BytesLike, tag: bytes, out: bytearray) -> None:
        """Open what was sealed.

        Raises
        ------
        AccessError
            If it is another key, or anything was changed; `out` is zeros then.
        """
        _expect(len(nonce), NONCE_BYTES, "a nonce")
        _expect(len(tag), TAG_BYTES, "a tag")
        source, target = lend(cipher, "cipher"), lend(out, "out", writable=True)
        _expect(len(target), len(source), "out")
        handle = self._open_handle()
        status = lib.sq_key_open(handle, nonce, aad, len(aad), source, len(source), tag, target)
        _check(status, "opening what was sealed")


class KeyRing:
    """Secrets at hand in the core, by number; see key_ring.c. Any number of threads may use it.

    Parameters
    ----------
    crypto : Crypto
    capacity : int
        Keys that are kept ready: one for each secret and opening of the store in use.
    """

    def __init__(self, crypto: Crypto, capacity: int = 1024) -> None:
        handle = ffi.new("sq_key_ring **")
        _check(lib.sq_key_ring_create(crypto.handle, capacity, handle), f"a ring of {capacity} keys")
        self._handle: Any = ffi.gc(handle[0], lib.sq_key_ring_destroy)

    @property
    def handle(self) -> Any:
        """The ring in the core, ``sq_key_ring *``, for a log that reads and writes with it."""
        if self._handle is None:
            raise ClosedError("the key ring was closed; make another")
        return self._handle

    def add(self, number: int, secret: BytesLike) -> None:
        """Put a secret of 32 bytes at hand, under a number that was never used before.

        Raises
        ------
        ConfigError
            If the number is there already.
        """
        lent = lend(secret, "secret")
        _expect(len(lent), KEY_BYTES, "a key")
        _check(lib.sq_key_ring_add(self.handle, number, lent), f"key {number}")

    def remove(self, number: int) -> None:
        """Forget a secret, its trees, and all that was derived from it, once nobody uses it.

        Raises
        ------
        NotFoundError
            If it is not there. What was kept of its trees is forgotten all the same.
        """
        _check(lib.sq_key_ring_remove(self.handle, number), f"removing key {number}")

    def keep(self, number: int, opening: int, nodes: BytesLike) -> None:
        """Say what is kept of the tree of a secret in an opening, in place of what was known of it.

        Parameters
        ----------
        number, opening : int
        nodes : bytes-like
            Of `NODE_BYTES` each; none, and the tree is forgotten. It stays the caller's to wipe.

        Raises
        ------
        ConfigError
            If they are no nodes in ascending order.
        """
        lent = lend(nodes, "nodes")
        count, rest = divmod(len(lent), NODE_BYTES)
        _expect(rest, 0, "the rest of the nodes")
        status = lib.sq_key_ring_keep(
            self.handle, number, opening, ffi.cast("struct sq_tree_node *", lent), count
        )
        _check(status, f"keeping a tree of key {number}")

    def prune(self, number: int, opening: int, live: NDArray[np.uint64]) -> bytearray:
        """Return the nodes that are left of a tree when these leaves alone live on; the caller wipes them.

        Parameters
        ----------
        number, opening : int
        live : uint64[n]
            Leaves in ascending order.

        Raises
        ------
        NotFoundError
            If there is no such tree, or a leaf is dead.
        """
        count, room = ffi.new("uint64_t *"), min(len(live), _NODES_AT_ONCE)
        leaves = lend_array("uint64_t[]", live)
        while True:
            nodes = bytearray(room * NODE_BYTES)
            target = ffi.cast("struct sq_tree_node *", ffi.from_buffer(nodes))
            status = lib.sq_key_ring_prune(
                self.handle, number, opening, leaves, len(live), room, target, count
            )
            _check(status, f"a tree of key {number}")
            if count[0] == room:
                return nodes
            # A new buffer each time: one that is cut or grows leaves a copy behind.
            kept = bytearray(count[0] * NODE_BYTES) if count[0] < room else None
            if kept is not None:
                kept[:] = memoryview(nodes)[: len(kept)]
            nodes[:] = bytes(len(nodes))
            if kept is not None:
                return kept
            room = int(count[0])

    def retire(self, number: int) -> None:
        """Forget a secret, and keep of its trees what `keep` was told of; wait until nobody knows more.

        Raises
        ------
        NotFoundError
            If it is not there.
        """
        _check(lib.sq_key_ring_retire(self.handle, number), f"retiring key {number}")

    @contextmanager
    def hold(self, number: int, opening: int) -> Iterator[Any]:
        """Hold the key of a number in an opening of the store, ready for use (``sq_key *``).

        Raises
        ------
        NotFoundError
            If the number is not there.
        """
        key = ffi.new("sq_key **")
        _check(lib.sq_key_ring_hold(self.handle, number, opening, key), f"key {number}")
        try:
            yield key[0]
        finally:
            lib.sq_key_ring_release(self.handle, key[0])

    def close(self) -> None:
        """Forget everything. Nobody may hold a key. Closing again does nothing."""
        if self._handle is not None:
            ffi.release(self._handle)
            self._handle = None
