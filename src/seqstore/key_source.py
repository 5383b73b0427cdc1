"""Where the keys of a store come from that is to be made or opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from seqstore.arguments import methods
from seqstore.encryption import Encryption
from seqstore.errors import ConfigError
from seqstore.folder import os_errors
from seqstore.keys import KeyProvider


def check_provider(provider: KeyProvider) -> KeyProvider:
    """Refuse what gives no root key, such as the name of a file.

    Raises
    ------
    ConfigError
        If it is none.
    """
    what, hint = "what gives the root key", "seqstore.keys.FileKey(path)"
    return methods(provider, ("prepare", "root_key"), "KeyProvider", what, hint)


class KeySource:
    """Where the root key of a store comes from that is to be made or opened.

    Parameters
    ----------
    provider : KeyProvider or None
        None for a store that is not encrypted.
    now_ns : callable
        Tells the time.

    Raises
    ------
    ConfigError
        If it is something else, such as the name of a file.
    """

    def __init__(self, provider: KeyProvider | None, now_ns: Callable[[], int]) -> None:
        if provider is not None:
            check_provider(provider)
        self._provider = provider
        self._now_ns = now_ns

    def create(self, path: Path | None) -> Encryption | None:
        """Make the key area of a new store; None if it is not to be encrypted.

        Raises
        ------
        ConfigError
            If only one of provider and file is there, or the file is there already.
        """
        if self._provider is None and path is None:
            return None
        if self._provider is None or path is None:
            raise ConfigError("encryption= goes with keys=, the file for the key area; give both")
        return Encryption.create(path, self._provider, self._now_ns)

    def open(self, path: Path | None, *, read_only: bool) -> Encryption | None:
        """Open the key area of a store; None if it has none.

        Raises
        ------
        ConfigError
            If the store is encrypted and no provider is given, or the other way round.
        AccessError
            If the root key is another one.
        """
        with os_errors("looking for the key area"):
            is_there = path is not None and path.exists()
        if path is None or not is_there:
            if self._provider is None:
                return None
            place = "" if path is None else f", or its key area {str(path)!r} is gone; put it back then"
            raise ConfigError(f"key= is given, and the store is not encrypted{place}")
        if self._provider is None:
            raise ConfigError(
                "the store is encrypted: its key area is there; give key=, the provider of its root key"
            )
        return Encryption.open(path, self._provider, self._now_ns, read_only=read_only)
