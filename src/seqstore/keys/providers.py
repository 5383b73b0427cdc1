"""Where the root key comes from: a file, the environment, a passphrase, or what a user puts in their place.

What a provider gives is never a root key itself: that is derived from it with the salt of the key area, so
that two stores under one file have nothing in common.
"""

from __future__ import annotations

import os
import stat
import struct
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from seqstore._native.crypt import KEY_BYTES, system_crypto
from seqstore.arguments import file_name, instance
from seqstore.errors import AccessError, ConfigError
from seqstore.keys.secret import Secret, wipe

SALT_BYTES = 16
_INFO = b"seqstore root 1"
_KINDS: tuple[Literal["key"], Literal["passphrase"]] = ("key", "passphrase")
_PACKED = struct.Struct("<BB2xII16s")
_HEX_BYTES = 2 * KEY_BYTES
_LONGEST_FILE = 4 * KEY_BYTES

Passphrase: TypeAlias = "str | bytes | bytearray"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a key area gets its root key from what a provider has; it stands in the area, for all to read.

    Attributes
    ----------
    kind : {"key", "passphrase"}
        Whether the provider has a key that nobody can guess, or something that has to be stretched.
    salt : bytes
        16 random bytes.
    cost_log2, block, lanes : int
        Costs of scrypt; 0 for a key.
    """

    kind: Literal["key", "passphrase"]
    salt: bytes
    cost_log2: int = 0
    block: int = 0
    lanes: int = 0

    def __post_init__(self) -> None:
        if self.kind not in tuple(_KINDS) or len(self.salt) != SALT_BYTES:
            raise ConfigError(
                f"a recipe has kind {self.kind!r} and {len(self.salt)} bytes of salt; 'key' or 'passphrase'"
                f" and {SALT_BYTES} bytes are expected"
            )
        if not 0 <= self.cost_log2 <= 24 or not 0 <= self.block <= 64 or not 0 <= self.lanes <= 64:
            raise ConfigError(
                f"scrypt with cost_log2={self.cost_log2}, block={self.block}, lanes={self.lanes}; at most 24,"
                " 64 and 64 are possible"
            )

    def packed(self) -> bytes:
        """Return the 28 bytes that stand for it in the key area."""
        return _PACKED.pack(_KINDS.index(self.kind) + 1, self.cost_log2, self.block, self.lanes, self.salt)

    @classmethod
    def unpacked(cls, packed: bytes) -> Recipe:
        """Read what `packed` returned; raises ConfigError for what it never returns."""
        kind, cost_log2, block, lanes, salt = _PACKED.unpack(packed)
        name = _KINDS[kind - 1] if kind in (1, 2) else "key"
        recipe = cls(kind=name, salt=salt, cost_log2=cost_log2, block=block, lanes=lanes)
        if recipe.packed() != packed:
            raise ConfigError(f"a root key that is derived in a way ({kind}) that is unknown")
        return recipe


class KeyProvider(Protocol):
    """Knows what the root key of a store is derived from."""

    def prepare(self, salt: bytes) -> Recipe:
        """Say how a new key area shall get its root key, with this salt."""

    def root_key(self, recipe: Recipe) -> Secret:
        """Make the root key of an area; the caller wipes it.

        Raises
        ------
        AccessError
            If the provider does not have what the recipe asks for.
        """


class _PlainKey:
    """What providers of a ready key of 32 bytes have in common."""

    def prepare(self, salt: bytes) -> Recipe:
        """Say how a new key area shall get its root key, with this salt."""
        return Recipe(kind="key", salt=salt)

    def root_key(self, recipe: Recipe) -> Secret:
        """Make the root key of an area; see `KeyProvider.root_key`."""
        if recipe.kind != "key":
            raise AccessError(f"{self!r} is a key, and the key area is under a passphrase; use PassphraseKey")
        with self._read() as key:
            return _derive_root(key, recipe)

    def _read(self) -> Secret:
        raise NotImplementedError


class FileKey(_PlainKey):
    """A key in a file: 32 bytes, or 64 hexadecimal digits.

    ``openssl rand -out FILE 32`` makes one, or ``openssl rand -hex -out FILE 32``.

    Parameters
    ----------
    path : path-like
    shared : bool
        Whether others than its owner may read the file.
    """

    def __init__(self, path: str | os.PathLike[str], *, shared: bool = False) -> None:
        self.path = file_name(path, "the path of the key")
        self.shared = shared

    def __repr__(self) -> str:
        return f"FileKey({self.path!r})"

    def _read(self) -> Secret:
        content = bytearray(_LONGEST_FILE + 1)
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                mode = os.fstat(descriptor).st_mode
                length = os.readv(descriptor, [content])
            finally:
                os.close(descriptor)
            if stat.S_ISREG(mode) and mode & 0o077 and not self.shared:
                raise AccessError(
                    f"the key file {self.path!r} can be reached by others than its owner (mode"
                    f" {mode & 0o777:04o}); run chmod 600 on it, or use FileKey(..., shared=True)"
                )
            return _parse_key(content, length, f"the key file {self.path!r}")
        except AccessError:
            raise
        except OSError as error:
            raise AccessError(
                f"the key file {self.path!r} cannot be read: {error.strerror}; give the right path"
            ) from error
        finally:
            wipe(content)


class EnvironmentKey(_PlainKey):
    """A key in a variable of the environment: 64 hexadecimal digits.

    The environment stays in the memory of the process, where nobody can wipe it, and children inherit it.

    Parameters
    ----------
    name : str
        Of the variable.
    """

    def __init__(self, name: str) -> None:
        self.name = instance(name, str, "the name of the variable")

    def __repr__(self) -> str:
        return f"EnvironmentKey({self.name!r})"

    def _read(self) -> Secret:
        text = os.environ.get(self.name)
        if text is None:
            raise AccessError(
                f"the environment has no variable {self.name!r}, which should hold the root key"
            )
        content = bytearray(text, "utf-8", "surrogateescape")
        try:
            if len(content) == KEY_BYTES:
                raise ConfigError(f"the variable {self.name!r} has 32 characters; 64 hex digits are expected")
            return _parse_key(content, len(content), f"the variable {self.name!r}")
        finally:
            wipe(content)


class PassphraseKey:
    """A passphrase, stretched by scrypt.

    Parameters
    ----------
    passphrase : str, bytes, bytearray or callable
        Or what returns one, asked each time it is needed. A bytearray that a callable returns is wiped after
        use; a str cannot be.
    cost_log2, block, lanes : int
        Costs of a new area: N = ``2**cost_log2``, r and p. Those given take 128 MiB and about half a second.

    References
    ----------
    RFC 7914: The scrypt Password-Based Key Derivation Function. OWASP Password Storage Cheat Sheet for the
    costs. RFC 8265 for the normal form C of a str.
    """

    def __init__(
        self,
        passphrase: Passphrase | Callable[[], Passphrase],
        *,
        cost_log2: int = 17,
        block: int = 8,
        lanes: int = 1,
    ) -> None:
        self._passphrase = passphrase
        self._costs = (cost_log2, block, lanes)

    def __repr__(self) -> str:
        return "PassphraseKey(...)"

    def prepare(self, salt: bytes) -> Recipe:
        """Say how a new key area shall get its root key, with this salt."""
        cost_log2, block, lanes = self._costs
        return Recipe(kind="passphrase", salt=salt, cost_log2=cost_log2, block=block, lanes=lanes)

    def root_key(self, recipe: Recipe) -> Secret:
        """Make the root key of an area; see `KeyProvider.root_key`."""
        if recipe.kind != "passphrase":
            raise AccessError(
                "the key area is under a key, not under a passphrase; use FileKey or EnvironmentKey"
            )
        password = self._ask()
        try:
            with Secret() as stretched:
                system_crypto().stretch(
                    password,
                    recipe.salt,
                    stretched.buffer,
                    cost_log2=recipe.cost_log2,
                    block=recipe.block,
                    lanes=recipe.lanes,
                )
                return _derive_root(stretched, recipe)
        finally:
            wipe(password)

    def _ask(self) -> bytearray:
        given = self._passphrase() if callable(self._passphrase) else self._passphrase
        if isinstance(given, str):
            password = bytearray(unicodedata.normalize("NFC", given).encode())
        elif isinstance(given, bytes | bytearray):
            password = bytearray(given)
            if isinstance(given, bytearray) and callable(self._passphrase):
                wipe(given)
        else:
            raise ConfigError(f"the passphrase is of type {type(given).__name__}; str or bytes is expected")
        if not password:
            raise ConfigError("the passphrase is empty; give one that nobody can guess")
        return password


def _derive_root(key: Secret, recipe: Recipe) -> Secret:
    root = Secret()
    system_crypto().derive(key.buffer, root.buffer, salt=recipe.salt, info=_INFO)
    return root


def _parse_key(content: bytearray, length: int, what: str) -> Secret:
    """Read a key as it is, or in hexadecimal digits, without a copy that could not be wiped."""
    key = Secret()
    if length == KEY_BYTES:
        key.buffer[:] = memoryview(content)[:length]
        return key
    while length and content[length - 1] in b" \t\r\n":
        length -= 1
    if length != _HEX_BYTES:
        raise ConfigError(f"{what} holds neither 32 bytes nor 64 hexadecimal digits")
    for place in range(KEY_BYTES):
        high, low = _digit(content[2 * place]), _digit(content[2 * place + 1])
        if high < 0 or low < 0:
            key.wipe()
            raise ConfigError(f"{what} has a character that is no hexadecimal digit")
        key.buffer[place] = high << 4 | low
    return key


def _digit(character: int) -> int:
    return b"0123456789abcdef".find(character | 0x20 if character > 0x39 else character)
