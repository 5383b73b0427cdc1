"""Keys in memory: in buffers of their own, which are wiped."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import NoReturn, TypeAlias

from seqstore._native.crypt import KEY_BYTES

Entropy: TypeAlias = Callable[[bytearray], None]
"""Fills a buffer with bytes that nobody can guess; `seqstore._native.crypt.Crypto.fill` is one."""


class Secret:
    """A key of 32 bytes. Leaving the ``with`` block wipes it; it is never printed or pickled.

    Attributes
    ----------
    buffer : bytearray
        The key itself, in its only place. Zeros at first.
    """

    __slots__ = ("buffer",)

    def __init__(self) -> None:
        self.buffer = bytearray(KEY_BYTES)

    @classmethod
    def draw(cls, entropy: Entropy) -> Secret:
        """Make a new key."""
        secret = cls()
        entropy(secret.buffer)
        return secret

    def wipe(self) -> None:
        """Clear the key. Wiping again does nothing."""
        wipe(self.buffer)

    def __enter__(self) -> Secret:
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()

    def __del__(self) -> None:
        self.wipe()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self.buffer, other.buffer)

    __hash__ = None  # type: ignore[assignment]  # its contents change

    def __repr__(self) -> str:
        return "<Secret>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied: it has one place in memory, which is wiped")


def wipe(buffer: bytearray) -> None:
    """Clear a buffer in its place."""
    buffer[:] = bytes(len(buffer))
