"""Calls a store, and holds it and its adapter to what the protocol says of one call."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from seqstore.testing.judge import Finding
from seqstore.testing.protocol import AdapterError, BlockStore, signature_of


class Calls:
    """The store as the kit talks to it.

    Every call lets `LookupError` and `OSError` through, which mean something by the protocol, and makes a
    `Finding` of any other exception.

    Parameters
    ----------
    store : BlockStore
        What is called.
    """

    def __init__(self, store: BlockStore) -> None:
        self._store = store
        self._block_size = store.block_size
        self._read = store.read

    def read(self, handle: Hashable, lba: int, count: int, *, cut: bool = False) -> bytes:
        """Read blocks that lie within the volume, or with `cut` perhaps behind its end.

        Raises
        ------
        AdapterError
            If the answer is no bytes, or not as long as it must be; with `cut` it may be shorter.
        """
        try:
            data = self._read(handle, lba, count)
        except (LookupError, AdapterError):
            raise
        except Exception as error:
            raise unexpected("read", error) from error
        excess = len(data) - count * self._block_size if type(data) is bytes else 1
        if excess > 0 or (excess < 0 and not cut):
            _refuse_answer(
                "read", data, f"count * block_size = {count * self._block_size}", f"{lba}, {count}"
            )
        return data

    def read_bytes(self, handle: Hashable, offset: int, length: int) -> bytes:
        """Read bytes that lie within the volume; as `read`."""
        store: Any = self._store
        try:
            data: bytes = store.read_bytes(handle, offset, length)
        except (LookupError, AdapterError):
            raise
        except Exception as error:
            raise unexpected("read_bytes", error) from error
        if type(data) is not bytes or len(data) != length:
            _refuse_answer("read_bytes", data, f"length = {length}", f"{offset}, {length}")
        return data

    def read_anything(self, handle: Hashable, lba: int, count: int) -> bytes | None:
        """Make a read that may as well fail; None if it does."""
        try:
            data = self._read(handle, lba, count)
        except AdapterError:
            raise
        except Exception:  # the protocol lets the store raise what it likes
            return None
        if type(data) is not bytes or len(data) > count * self._block_size:
            _refuse_answer(
                "read", data, f"at most count * block_size = {count * self._block_size}", f"{lba}, {count}"
            )
        return data

    def media(self) -> object:
        """Ask for the raw media."""
        store: Any = self._store
        try:
            return store.media()
        except AdapterError:
            raise
        except Exception as error:
            raise unexpected("media", error) from error

    def attempt(self, name: str, *arguments: Any) -> bool:
        """Make a call that may as well fail, and say whether it was done."""
        try:
            getattr(self._store, name)(*arguments)
        except AdapterError:
            raise
        except Exception:  # the protocol lets the store raise what it likes
            return False
        return True

    def change(self, name: str, *arguments: Any) -> None:
        """Make a call that returns nothing."""
        try:
            getattr(self._store, name)(*arguments)
        except (LookupError, OSError, AdapterError):
            raise
        except Exception as error:
            raise unexpected(name, error) from error

    def make(self, name: str, *arguments: Any) -> Hashable:
        """Make a call that returns a handle.

        Raises
        ------
        AdapterError
            If what it returns cannot be one.
        """
        try:
            handle: Hashable = getattr(self._store, name)(*arguments)
        except (LookupError, OSError, AdapterError):
            raise
        except Exception as error:
            raise unexpected(name, error) from error
        try:
            hash(handle)
        except TypeError:
            handle = None
        if handle is None:
            raise AdapterError(
                f"{name}() returned what cannot be a handle (None, or not hashable); "
                f"the protocol asks for {signature_of(name)}, a handle for the later calls"
            )
        return handle


def unexpected(name: str, error: Exception) -> Finding:
    """Make a finding of an exception that no rule allows."""
    return Finding("error", f"{name}() raised {describe(error)}, where the protocol asks for an answer")


def describe(error: Exception) -> str:
    """Return an exception as one line of a story."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _refuse_answer(name: str, data: Any, length: str, asked: str) -> None:
    if not isinstance(data, bytes):
        hint = "; return bytes(...) of it" if isinstance(data, bytearray | memoryview) else ""
        found = f"{type(data).__name__}{hint}"
    else:
        found = f"{len(data)} bytes"
    raise AdapterError(
        f"{name}(volume, {asked}) returned {found}; "
        f"the protocol asks for {signature_of(name)}, of length {length}, "
        "with zeros for unwritten blocks, or LookupError"
    )
