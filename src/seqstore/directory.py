"""Names: the rules for them, and who has which."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from seqstore.errors import ConfigError, NotFoundError

MAX_NAME_BYTES = 255


class Named(Protocol):
    """A tenant, volume or snapshot, as a directory knows it."""

    @property
    def name(self) -> str:
        """Unique in the directory."""


T = TypeVar("T", bound=Named)


class Directory(Generic[T]):
    """The living tenants of a store, volumes of a tenant or snapshots of a volume, in order of creation.

    Parameters
    ----------
    kind : str
        What it holds, for messages.
    lock : RLock
        Held while names change, so that each is taken once; all directories of a store share it.
    """

    def __init__(self, kind: str, lock: threading.RLock) -> None:
        self.lock = lock
        self._kind = kind
        self._items: dict[str, T] = {}

    def add(self, name: str, make: Callable[[], T]) -> T:
        """Make an item under a name.

        Raises
        ------
        ConfigError
            If the name is taken, or is none; `make` was not called.
        """
        check_name(name, self._kind)
        with self.lock:
            if name in self._items:
                raise ConfigError(f"there is a {self._kind} named {name!r} already; choose another name")
            item = self._items[name] = make()
            return item

    def find(self, name: str) -> T:
        """Return the item of a name.

        Raises
        ------
        ConfigError
            If it is no name.
        NotFoundError
            If nothing has it.
        """
        check_name(name, self._kind)
        with self.lock:
            if name not in self._items:
                raise NotFoundError(f"there is no {self._kind} named {name!r}")
            return self._items[name]

    def items(self) -> tuple[T, ...]:
        """Return all items in order of creation."""
        with self.lock:
            return tuple(self._items.values())

    def forget(self, item: T) -> None:
        """Take an item out, so that its name is free."""
        with self.lock:
            self._items.pop(item.name, None)


def check_name(name: str, kind: str) -> None:
    """Check the name of a tenant, volume or snapshot.

    Raises
    ------
    ConfigError
        If it is no string of 1 to 255 bytes of UTF-8, or holds a control character, a surrogate or ``/``.
    """
    if not isinstance(name, str):
        raise ConfigError(f"the name of a {kind} is of type {type(name).__name__}; a string is expected")
    length = len(name.encode(errors="surrogatepass"))
    if not 1 <= length <= MAX_NAME_BYTES:
        raise ConfigError(f"the name of a {kind} has {length} bytes; 1 to {MAX_NAME_BYTES} are possible")
    if any(character == "/" or unicodedata.category(character) in {"Cc", "Cs"} for character in name):
        raise ConfigError(
            f"the name of a {kind} is {name!r}; control characters, surrogates and '/' cannot be part of it"
        )
