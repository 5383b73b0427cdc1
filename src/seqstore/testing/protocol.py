"""What the kit asks of a store: the protocol that an adapter offers, and what it is told when it does not.

A complete adapter, of a store that is no more than a dictionary::

    class DictStore:
        block_size = 512

        def __init__(self) -> None:
            self._volumes: dict[int, tuple[int, dict[int, bytes]]] = {}
            self._numbers = itertools.count(1)

        def create_volume(self, tenant: str, blocks: int) -> int:
            number = next(self._numbers)
            self._volumes[number] = blocks, {}
            return number

        def delete_volume(self, volume: int) -> None:
            del self._volumes[volume]

        def write(self, volume: int, lba: int, data: bytes) -> None:
            size, blocks = self._volumes[volume]
            if lba + len(data) // 512 > size:
                raise ValueError("beyond the end")
            for i in range(len(data) // 512):
                blocks[lba + i] = data[512 * i : 512 * (i + 1)]

        def read(self, volume: int, lba: int, count: int) -> bytes:
            size, blocks = self._volumes[volume]
            if lba + count > size:
                raise ValueError("beyond the end")
            return b"".join(blocks.get(lba + i, bytes(512)) for i in range(count))

        def trim(self, volume: int, lba: int, count: int) -> None:
            for i in range(count):
                self._volumes[volume][1].pop(lba + i, None)

    def test_isolation() -> None:
        check_isolation(DictStore)

The rules that hold for every call:

- `LookupError` says that there is no such volume or snapshot (any more), or that a read met unwritten blocks.
- `OSError` refuses a call, because the store is full for one. Each block of the range is then old or new.
- A request that reaches past the end of a volume, or is otherwise absurd, raises any exception, or does what
  lies within the volume and nothing else; such a read gives zeros behind the end, or stops there.
- Any other exception where the protocol asks for an answer is a finding of kind ``"error"``.
"""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

SMALLEST_BLOCK = 32
LARGEST_BLOCK = 1 << 24


class AdapterError(TypeError):
    """The adapter does not keep to the protocol, so nothing can be said about the store."""


@runtime_checkable
class BlockStore(Protocol):
    """What the system under test offers. The optional methods stand in `OptionalCalls`.

    Two more attributes may be given. ``boundaries``: distances in blocks at which the store changes its
    behaviour (segment, map node, lap); the kit makes volumes and requests that end near them.
    ``atomic_blocks``: how long a write may be to survive a crash whole or not at all; longer ones may be cut
    in pieces of it.

    Attributes
    ----------
    block_size : int
        Bytes of a block, at least 32.
    """

    block_size: int

    def create_volume(self, tenant: str, blocks: int) -> Hashable:
        """Make a volume of unwritten blocks and return its handle; a tenant begins with its first one.

        The handle stays valid across `crash`. It may be used again once its volume was deleted.
        """
        ...

    def delete_volume(self, volume: Any) -> None:
        """Delete a volume; its snapshots, and their clones, stay. Later calls with it raise `LookupError`."""
        ...

    def write(self, volume: Any, lba: int, data: bytes) -> None:
        """Write whole blocks from `lba` on; ``len(data)`` is a multiple of `block_size`."""
        ...

    def read(self, volume: Any, lba: int, count: int) -> bytes:
        """Return ``count * block_size`` bytes; unwritten ones are zeros, or the call raises `LookupError`."""
        ...

    def trim(self, volume: Any, lba: int, count: int) -> None:
        """Make blocks unwritten again."""
        ...


class OptionalCalls(Protocol):
    """What a store may offer besides. The kit uses what is there: leave out what the store cannot do."""

    def write_bytes(self, volume: Any, offset: int, data: bytes) -> None:
        """Write bytes at any offset; what the first and the last block hold besides stays as it is."""
        ...

    def read_bytes(self, volume: Any, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` on; unwritten ones as with `read`."""
        ...

    def resize(self, volume: Any, blocks: int) -> None:
        """Change the size. Blocks that are cut off become unwritten; blocks that are added are unwritten."""
        ...

    def snapshot(self, volume: Any) -> Hashable:
        """Freeze what the volume holds, and return a handle, which stays valid across `crash`."""
        ...

    def clone(self, snapshot: Any, tenant: str) -> Hashable:
        """Make a volume that begins as what the snapshot holds, of the size that the volume had then."""
        ...

    def delete_snapshot(self, snapshot: Any) -> None:
        """Delete a snapshot; its clones stay. Later calls with it raise `LookupError`."""
        ...

    def delete_tenant(self, tenant: str) -> None:
        """Delete all volumes of a tenant and all snapshots of them; clones of other tenants stay.

        A snapshot belongs to the tenant whose volume it was taken of. The name may be used again, for another
        tenant. The call is one deletion: a crash undoes all of it or nothing.
        """
        ...

    def flush(self) -> None:
        """Return when everything acknowledged so far, of all volumes, survives a crash."""
        ...

    def clean(self) -> None:
        """Let background work run. Nothing that can be read changes."""
        ...

    def crash(self) -> None:
        """Lose what was not flushed, and open again.

        All volumes and snapshots together are then as after some number of the acknowledged calls, none of
        those before the last `flush` or `purge` missing. What was created and lost raises `LookupError`.
        """
        ...

    def purge(self) -> None:
        """Flush, and return when everything overwritten, trimmed, deleted or lost is gone from the media.

        What a living volume or snapshot still holds stays.
        """
        ...

    def media(self) -> Iterable[bytes | memoryview]:
        """Return the raw media, in pieces of any size, in their order. Used after `purge` only."""
        ...

    def close(self) -> None:
        """Release what the store holds; called once, last, also after a failure."""
        ...


REQUIRED = ("create_volume", "delete_volume", "write", "read", "trim")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Which of the optional methods an adapter has."""

    write_bytes: bool = False
    read_bytes: bool = False
    resize: bool = False
    snapshot: bool = False
    clone: bool = False
    delete_snapshot: bool = False
    delete_tenant: bool = False
    flush: bool = False
    clean: bool = False
    crash: bool = False
    purge: bool = False
    media: bool = False
    close: bool = False

    @classmethod
    def of(cls, store: object) -> Capabilities:
        """Look at an adapter.

        Parameters
        ----------
        store : BlockStore
            What the factory returned.

        Returns
        -------
        Capabilities
            What it can do besides the required calls.

        Raises
        ------
        AdapterError
            If a required method is missing, one takes other arguments than the protocol says, or
            `block_size` is no usable size.
        """
        if store is None or isinstance(store, type):
            hint = "return the store" if store is None else "return an instance, not the class"
            raise AdapterError(f"the factory returned {store!r}; it must {hint}")
        missing = [name for name in REQUIRED if not callable(getattr(store, name, None))]
        if missing:
            asked = "; ".join(signature_of(name) for name in missing)
            raise AdapterError(f"{type(store).__name__} lacks what the protocol requires: {asked}")
        _check_block_size(store)
        present = {field.name: _offers(store, field.name) for field in fields(cls)}
        for name in REQUIRED + tuple(name for name, there in present.items() if there):
            _check_signature(store, name)
        if present["clone"] and not present["snapshot"]:
            raise AdapterError(
                f"{type(store).__name__} has clone() but no snapshot(); a clone is made of one"
            )
        present["delete_snapshot"] &= present["snapshot"]
        return cls(**present)


def boundaries_of(store: object) -> tuple[int, ...]:
    """Return the adapter's `boundaries`, or none.

    Raises
    ------
    AdapterError
        If they are no sequence of positive integers.
    """
    found: object = getattr(store, "boundaries", ())
    if not isinstance(found, Sequence) or any(type(at) is not int or at < 1 for at in found):
        raise AdapterError(
            f"boundaries is {found!r}; the protocol asks for a sequence of numbers of blocks, from 1"
        )
    return tuple(found)


def atomic_blocks_of(store: object) -> int | None:
    """Return the adapter's `atomic_blocks`; None if every call survives a crash whole or not at all.

    Raises
    ------
    AdapterError
        If it is no positive integer.
    """
    found = getattr(store, "atomic_blocks", None)
    if found is not None and (type(found) is not int or found < 1):
        raise AdapterError(f"atomic_blocks is {found!r}; the protocol asks for a number of blocks, from 1")
    return found


def signature_of(name: str) -> str:
    """Return a call as the protocol writes it, such as ``trim(volume, lba: int, count: int) -> None``."""
    owner = BlockStore if name in REQUIRED else OptionalCalls
    signature = inspect.signature(getattr(owner, name))
    parameters = [
        parameter.name if parameter.annotation == "Any" else f"{parameter.name}: {parameter.annotation}"
        for parameter in signature.parameters.values()
        if parameter.name != "self"
    ]
    return f"{name}({', '.join(parameters)}) -> {signature.return_annotation}"


def _offers(store: object, name: str) -> bool:
    method = getattr(store, name, None)
    if method is not None and not callable(method):
        raise AdapterError(
            f"{type(store).__name__}.{name} is {method!r}; the protocol asks for {signature_of(name)}"
        )
    return method is not None


def _check_block_size(store: object) -> None:
    size = getattr(store, "block_size", None)
    if type(size) is not int or not SMALLEST_BLOCK <= size <= LARGEST_BLOCK:
        raise AdapterError(
            f"{type(store).__name__}.block_size is {size!r}; the protocol asks for an int, "
            f"the bytes of a block, from {SMALLEST_BLOCK} to {LARGEST_BLOCK}"
        )


def _check_signature(store: object, name: str) -> None:
    owner = BlockStore if name in REQUIRED else OptionalCalls
    arguments = list(inspect.signature(getattr(owner, name)).parameters)[1:]
    try:
        signature = inspect.signature(getattr(store, name))
    except (TypeError, ValueError):
        return  # a method written in C that does not say what it takes
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise AdapterError(
            f"{type(store).__name__}.{name}{signature} cannot be called as the protocol does ({error}); "
            f"it asks for {signature_of(name)}"
        ) from None
