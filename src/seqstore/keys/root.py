"""The root key of an area: how a new one gets it, and how it is told from others."""

from __future__ import annotations

from typing import SupportsIndex

from seqstore._native.crypt import NONCE_BYTES, TAG_BYTES, Cipher, Crypto, system_crypto
from seqstore.errors import AccessError, ConfigError
from seqstore.keys.providers import SALT_BYTES, KeyProvider, Recipe
from seqstore.keys.secret import Entropy, Secret
from seqstore.keys.table import IDENTITY_BYTES, MOST_SLOTS, Table

DEFAULT_SLOTS = 4092
"""Living keys and tombstones of an area by default: two copies of 512 KiB."""


def new_table(provider: KeyProvider, entropy: Entropy, slots: SupportsIndex = DEFAULT_SLOTS) -> Table:
    """Make the table of a new area under a provider's root key.

    Raises
    ------
    ConfigError
        If there cannot be so many slots.
    """
    count = slots.__index__()
    if not 1 <= count <= MOST_SLOTS:
        raise ConfigError(f"slots is {count}; 1 to {MOST_SLOTS} are expected")
    identity, salt = draw(entropy, IDENTITY_BYTES), draw(entropy, SALT_BYTES)
    recipe = provider.prepare(salt)
    with provider.root_key(recipe) as root:
        check = seal_check(system_crypto(), root, identity, recipe, entropy)
    return Table.new(count, identity, recipe, check)


def draw(entropy: Entropy, count: int) -> bytes:
    """Draw what is random and no secret."""
    buffer = bytearray(count)
    entropy(buffer)
    return bytes(buffer)


def seal_check(crypto: Crypto, root: Secret, identity: bytes, recipe: Recipe, entropy: Entropy) -> bytes:
    """Seal nothing with a root key, together with how it was derived: nonce and tag."""
    nonce = draw(entropy, NONCE_BYTES)
    with Cipher(crypto, root.buffer) as cipher:
        _, tag = cipher.seal(nonce, _what_is_checked(identity, recipe), b"")
    return nonce + tag


def expect_root(crypto: Crypto, root: Secret, table: Table) -> None:
    """Refuse a root key that is not the one of an area, and wipe it.

    Raises
    ------
    AccessError
        If it is another one.
    """
    nonce, tag = table.check[:NONCE_BYTES], table.check[-TAG_BYTES:]
    try:
        with Cipher(crypto, root.buffer) as cipher:
            cipher.open(nonce, _what_is_checked(table.identity, table.recipe), b"", tag, bytearray())
    except AccessError:
        root.wipe()
        raise AccessError(
            "the root key is not the one of this key area; give the provider that the store was made with,"
            " or the one of the last rekeying"
        ) from None


def _what_is_checked(identity: bytes, recipe: Recipe) -> bytes:
    return b"seqstore root 1" + identity + recipe.packed()
