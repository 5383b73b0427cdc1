"""The medium that is written in Python: the C core calls its methods back."""

from __future__ import annotations

import errno
import itertools
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, SupportsIndex, TypeVar
from weakref import WeakValueDictionary, ref

from seqstore._native._core import ffi, lib
from seqstore.errors import ConfigError, MediumError
from seqstore.media.geometry import Geometry
from seqstore.media.native import BytesMedium

_Function = TypeVar("_Function", bound=Callable[..., int])


class MediumCalls(Protocol):
    """What a medium written in Python has to do. Ranges and write pointers were checked before.

    Methods may be called from several threads at once. The views that they get show memory of the core, and
    end with the call. An `OSError` that a method raises is the cause of the `MediumError` or `BadBlockError`
    that comes out of the call that needed it, by its `errno` or else EIO. Whatever else it raises, an error
    of this library too, comes out itself. Methods may not use the medium or store that calls them.

    A method ``overwrite(mba, data)`` besides, which writes as `append` does and anywhere, makes a medium that
    can be sanitized.
    """

    def append(self, mba: int, data: memoryview) -> None:
        """Write whole blocks, shown read-only, from media block `mba` on."""

    def read(self, mba: int, count: int, out: memoryview) -> None:
        """Fill `out`, which is zero before, with `count` blocks from media block `mba` on."""

    def sync(self) -> None:
        """Return when all appends that returned before are safe from a power cut."""

    def reset(self, zone: int) -> None:
        """Take note that a zone will be written again from its start. Its bytes stay."""


class CallsMedium(BytesMedium):
    """A row of zones written in Python; see `NativeMedium` for what all media have.

    Parameters
    ----------
    calls : MediumCalls
        Does the work.
    capacity, block_size, zone_size : int or str, optional
        As of other media.

    Raises
    ------
    ConfigError
        If the sizes do not fit each other, or `calls` lacks a method.
    """

    _kind = lib.SQ_MEDIUM_CALLS

    def __init__(
        self,
        calls: MediumCalls,
        capacity: SupportsIndex | str,
        *,
        block_size: SupportsIndex | str = 4096,
        zone_size: SupportsIndex | str | None = None,
    ) -> None:
        self._handle = None
        for name in ("append", "read", "sync", "reset"):
            if not callable(getattr(calls, name, None)):
                raise ConfigError(f"calls is of type {type(calls).__name__}, which has no method {name!r}")
        geometry = Geometry.divide(capacity, block_size=block_size, zone_size=zone_size)
        self._bridge = _Bridge(calls, geometry.block_size)
        key = next(_keys)
        _bridges[key] = self._bridge
        context = ffi.cast("void *", key)
        functions = _ALL_FUNCTIONS if callable(getattr(calls, "overwrite", None)) else _FUNCTIONS
        self._make(geometry, lambda native, out: lib.sq_medium_create_calls(native, functions, context, out))

    def take_error(self) -> BaseException | None:  # noqa: D102 (inherited)
        return self._bridge.take_error()


class _Bridge:
    """What C reaches of a medium: its calls, and what they raised, by thread."""

    def __init__(self, calls: MediumCalls, block_size: int) -> None:
        self.calls = calls
        self._block_size = block_size
        self._raised = threading.local()

    def run(self, work: Callable[..., None], *arguments: Any) -> int:
        """Do some work and say what C is told of it: 0, or an errno."""
        try:
            work(*arguments)
        except BaseException as error:  # nothing may escape into C
            return self.store(error)
        return 0

    def store(self, error: BaseException) -> int:
        """Keep an exception until the call into C has returned; what C is told instead is an errno."""
        self._raised.error = error
        number = error.errno if isinstance(error, OSError) else None
        return number if isinstance(number, int) and 0 < number < 2**31 else errno.EIO

    def take_error(self) -> BaseException | None:
        error: BaseException | None = getattr(self._raised, "error", None)
        self._raised.error = None
        return error

    def lend(
        self, pointer: Any, count: int, writable: bool, work: Callable[..., None], *arguments: int
    ) -> None:
        """Do some work with a view of C's memory, and see that nobody goes on looking at it afterwards."""
        buffer = ffi.buffer(pointer, count * self._block_size)
        in_use = ref(buffer)
        whole = memoryview(buffer)
        del buffer
        view = whole if writable else whole.toreadonly()
        handled = sys.exc_info()[1]
        try:
            work(*arguments, view)
        except BaseException as error:
            _clear_frames(error, handled)
            raise
        finally:
            with suppress(BufferError):
                view.release()
                whole.release()
        if in_use() is not None:
            raise MediumError("the medium kept a view that it was lent; it must copy what it keeps")


def _clear_frames(error: BaseException, handled: BaseException | None) -> None:
    """Let go of the variables of the frames that an exception has passed, and those that it came from.

    Not those of `handled`, which the caller was handling before: they are none of our business.
    """
    known = {id(handled)}
    waiting: list[BaseException | None] = [error]
    while waiting:
        link = waiting.pop()
        if link is not None and id(link) not in known:
            known.add(id(link))
            traceback.clear_frames(link.__traceback__)
            waiting += [link.__cause__, link.__context__]


# C holds a number and no object, so that nothing hangs in the air in whatever order garbage is collected.
_bridges: WeakValueDictionary[int, _Bridge] = WeakValueDictionary()
_keys = itertools.count(1)


def _find(context: Any) -> _Bridge | None:
    return _bridges.get(int(ffi.cast("uintptr_t", context)))


def _interrupted(_kind: object, error: BaseException, trace: Any) -> None:
    """Keep what a signal raised in one of the functions below, but outside of `_Bridge.run`."""
    bridge = _find(trace.tb_frame.f_locals["context"])
    if bridge is not None:
        bridge.store(error)


def _called_by_c(function: _Function) -> _Function:
    """Make a function what ``extern "Python"`` of its name in build.py stands for."""
    ffi.def_extern(error=errno.EIO, onerror=_interrupted)(function)
    return function


@_called_by_c
def seqstore_append(context: Any, mba: int, count: int, data: Any) -> int:
    """Append `count` blocks."""
    bridge = _find(context)
    if bridge is None:
        return errno.ENODEV
    return bridge.run(bridge.lend, data, count, False, bridge.calls.append, mba)


@_called_by_c
def seqstore_read(context: Any, mba: int, count: int, data_out: Any) -> int:
    """Read `count` blocks."""
    bridge = _find(context)
    if bridge is None:
        return errno.ENODEV
    return bridge.run(bridge.lend, data_out, count, True, bridge.calls.read, mba, count)


@_called_by_c
def seqstore_sync(context: Any) -> int:
    """Make durable what was appended."""
    bridge = _find(context)
    return errno.ENODEV if bridge is None else bridge.run(bridge.calls.sync)


@_called_by_c
def seqstore_reset(context: Any, zone: int) -> int:
    """Start a zone anew."""
    bridge = _find(context)
    return errno.ENODEV if bridge is None else bridge.run(bridge.calls.reset, zone)


@_called_by_c
def seqstore_overwrite(context: Any, mba: int, count: int, data: Any) -> int:
    """Overwrite `count` blocks."""
    bridge = _find(context)
    if bridge is None:
        return errno.ENODEV
    calls: Any = bridge.calls
    return bridge.run(bridge.lend, data, count, False, calls.overwrite, mba)


_NEEDED = (lib.seqstore_append, lib.seqstore_read, lib.seqstore_sync, lib.seqstore_reset)
_FUNCTIONS = ffi.new("struct sq_medium_calls *", _NEEDED)
_ALL_FUNCTIONS = ffi.new("struct sq_medium_calls *", (*_NEEDED, lib.seqstore_overwrite))
