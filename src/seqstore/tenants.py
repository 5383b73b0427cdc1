"""Tenants: who owns volumes, and the rules for names."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, Protocol, SupportsIndex, TypeVar

from seqstore.engine import Engine
from seqstore.errors import ConfigError, NotFoundError
from seqstore.units import parse_size
from seqstore.volume import Unwritten, Volume

if TYPE_CHECKING:
    from seqstore.store import Store

MAX_NAME_BYTES = 255


class Named(Protocol):
    """A tenant or a volume, as a directory knows it."""

    @property
    def name(self) -> str:
        """Unique in the directory."""


T = TypeVar("T", bound=Named)


class Directory(Generic[T]):
    """The living tenants of a store, or volumes of a tenant, by name and in order of creation.

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
    """Check the name of a tenant or volume.

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


class Tenant:
    """Somebody whose data nobody else can read. Made by `Store.create_tenant`, found by `Store.tenant`.

    Attributes
    ----------
    number : int
        Names the tenant in the ledger; from 1, never used again.
    store : Store
        Where the tenant is.
    deleted : bool
        Whether the tenant was deleted; it is then of no further use.
    """

    def __init__(
        self,
        store: Store,
        engine: Engine,
        *,
        name: str,
        number: int,
        directory: Directory[Tenant],
    ) -> None:
        self._name = name
        self.number = number
        self.store = store
        self.deleted = False
        self._engine = engine
        self._directory = directory
        self._volumes: Directory[Volume] = Directory("volume", directory.lock)

    @property
    def name(self) -> str:
        """The name, unique among the living tenants of the store."""
        return self._name

    def __repr__(self) -> str:
        state = ", deleted" if self.deleted else ", closed" if self._engine.closed else ""
        return f"<Tenant {self.name!r}, number {self.number}{state}>"

    @property
    def volumes(self) -> tuple[Volume, ...]:
        """The tenant's volumes in order of creation.

        Raises
        ------
        NotFoundError
            If the tenant was deleted.
        ClosedError
            If the store was closed.
        """
        self._require_usable()
        return self._volumes.items()

    def volume(self, name: str) -> Volume:
        """Return the volume of a name, the same object each time.

        Raises
        ------
        NotFoundError
            If there is none, or the tenant was deleted.
        ClosedError
            If the store was closed.
        """
        self._require_usable()
        return self._volumes.find(name)

    def create_volume(self, name: str, size: SupportsIndex | str, *, unwritten: Unwritten = "zero") -> Volume:
        """Make a volume. It takes room on the drive for what is written to it, not for its size.

        Parameters
        ----------
        name : str
            Not yet taken among the tenant's volumes: 1 to 255 bytes of UTF-8 without control characters
            and ``/``.
        size : int or str
            Bytes, or a string such as ``"64MiB"``; need not be a multiple of the block size.
        unwritten : {"zero", "error"}
            What a read of an unwritten address does: give zeros, or raise `UnwrittenError`.

        Raises
        ------
        ConfigError
            If the name is taken, or an argument cannot be used.
        NotFoundError
            If the tenant was deleted.
        ClosedError
            If the store was closed.
        """
        size_bytes = parse_size(size)
        if unwritten not in ("zero", "error"):
            raise ConfigError(f"unwritten is {unwritten!r}; 'zero' or 'error' is expected")

        def make() -> Volume:
            handle = self._engine.create_volume(self.number, size_bytes, unwritten_error=unwritten == "error")
            return Volume(
                self._engine, handle, name=name, tenant=self, unwritten=unwritten, forget=self._volumes.forget
            )

        with self._directory.lock:
            self._require_usable()
            return self._volumes.add(name, make)

    def delete(self) -> None:
        """Delete the tenant and its volumes; their bytes stay on the medium until the head writes over them.

        Raises
        ------
        NotFoundError
            If the tenant was deleted before.
        ClosedError
            If the store was closed.
        """
        with self._directory.lock:
            self._require_usable()
            for volume in self._volumes.items():
                with suppress(NotFoundError):  # another thread was faster
                    volume.delete()
            self.deleted = True
            self._directory.forget(self)

    def _require_usable(self) -> None:
        self._engine.require_open()
        if self.deleted:
            raise NotFoundError(f"tenant {self.name!r} was deleted")
