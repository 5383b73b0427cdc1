"""Typed handles on what a log holds: a volume, which is read and written, or a snapshot, which is read.

Arguments become what C takes, statuses become exceptions, and nothing else happens here.

A call that reads goes out without room for details. If it fails it is repeated with a ``struct sq_fault``
that says where; should the repeat succeed, because another thread made room or closed a gap meanwhile, then
that is the result. A change is repeated too, unless the medium or a policy of the caller's failed: half of
it may be there. So each
volume has room for details that its changes share; of two that the medium fails at the same moment one may
name the other's place. The usual case costs one call and allocates nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from seqstore._native._core import ffi, lib
from seqstore._native.convert import give_back, lend, lend_array, wipe
from seqstore._native.records import EXTENT_DTYPE
from seqstore.errors import ConfigError
from seqstore.units import unsigned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from seqstore._native.convert import BytesLike
    from seqstore.engine import Engine

_EXTENTS_AT_ONCE = 1 << 16

# The hot path looks these up in the module and nowhere else.
_NULL = ffi.NULL
_CHARS = ffi.typeof("char[]")
_from_buffer = ffi.from_buffer
_MEDIUM_FAILED = lib.SQ_E_IO
_POLICY_FAILED = lib.SQ_E_POLICY
_write = lib.sq_volume_write
_read = lib.sq_volume_read


class EngineView:
    """Handle on a volume or snapshot of a log: the calls that read it.

    Bytes go in and out by methods that are public here already: each layer of calls above them would cost
    as much as a tenth of what they do.

    Parameters
    ----------
    engine : Engine
    handle : int
        As the engine returned it.
    name : str
        For messages.
    """

    def __init__(self, engine: Engine, handle: int, name: str) -> None:
        self._name = name
        self._block_size = engine.medium.block_size
        self._engine = engine
        self._log = engine.log
        self._handle = handle

    @property
    def name(self) -> str:
        """The name."""
        return self._name

    @property
    def number(self) -> int:
        """What names it on the medium; never used again."""
        return self._handle >> 24

    @property
    def block_size(self) -> int:
        """Bytes of a block."""
        return self._block_size

    def read(self, offset: SupportsIndex, length: SupportsIndex) -> bytes:
        """Read bytes, at any offset and of any length.

        Parameters
        ----------
        offset, length : int
            Bytes.

        Returns
        -------
        bytes

        Raises
        ------
        ConfigError
            If the range reaches beyond the volume, or an argument is no integer.
        UnwrittenError
            If part of the range is unwritten and the volume was made with ``unwritten="error"``.
        CorruptionError
            If a block is not the one that was written.
        MediumError
            If the store is simulated.
        NotFoundError
            If the volume was deleted.
        ClosedError
            If the store was closed.
        """
        # C fills a bytes object that nobody else has seen yet, as C code may: CPython makes a new one here
        # and cffi hands its address on. So no copy of the data stays behind in a buffer of ours.
        try:
            if type(length) is int and type(offset) is int:
                data = bytes(length)
                if _read(self._log, self._handle, offset, data, length, _NULL) == 0:
                    return data
        except (MemoryError, OverflowError, ValueError):
            pass  # what follows says which argument is out of range
        start, number = unsigned(offset, "offset"), unsigned(length, "length")
        size, _ = self._info()
        if start + number > size:
            raise ConfigError(
                f"read of {number} bytes at offset {start} of volume {self.name!r}: reaches beyond its end,"
                f" at {size} bytes"
            )
        data = bytes(number)
        self._call(_read, start, data, number, doing="read of {2} bytes at offset {0}")
        return data

    def readinto(self, offset: SupportsIndex, buffer: BytesLike) -> int:
        """Read bytes into a buffer, and fill all of it.

        Parameters
        ----------
        offset : int
            Bytes from the start of the volume.
        buffer : bytes-like, writable, C-contiguous
            What is filled.

        Returns
        -------
        int
            Number of bytes read: the length of the buffer.

        Raises
        ------
        ConfigError
            If the range reaches beyond the volume, or the buffer cannot be filled.
        UnwrittenError
            As `read`; the buffer is untouched.
        CorruptionError, MediumError, NotFoundError, ClosedError
            As `read`.
        """
        # A call less for the usual kind: lending costs a tenth of the read.
        is_usual = type(buffer) is bytearray
        target = _from_buffer(_CHARS, buffer, True) if is_usual else lend(buffer, "buffer", True)
        length = len(target)
        try:
            if type(offset) is int and _read(self._log, self._handle, offset, target, length, _NULL) == 0:
                return length
        except OverflowError:
            pass  # what follows says what is wrong with the offset
        try:
            start = unsigned(offset, "offset")
            self._call(_read, start, target, length, doing="read of {2} bytes at offset {0}")
        finally:
            give_back(target)
        return length

    # ---- what volume.py builds on -------------------------------------------------------------

    @staticmethod
    def _changes(first_fault: Any) -> bool:
        """Tell a call that changes from one that reads: it brings a fault along."""
        return bool(first_fault != _NULL)

    def _call(self, function: Any, *arguments: Any, doing: str) -> None:
        """Call a function of the core that takes a ``struct sq_fault``, and raise what it reports.

        `doing` says what is tried; it is formatted with the arguments, and only if it fails.
        """
        self._try(function, _NULL, *arguments, doing=doing)

    def _try(self, function: Any, first_fault: Any, *arguments: Any, doing: str) -> None:
        """Do so, first with a fault that tells where the medium failed, or with NULL and then once more."""
        status = function(self._log, self._handle, *arguments, first_fault)
        if status == 0:
            return
        what = f"{doing.format(*arguments)} of volume {self.name!r}"
        if status == _MEDIUM_FAILED and first_fault != _NULL:
            raise self._engine.failure_with(status, first_fault, what, self.number)
        if status == _POLICY_FAILED:
            raise self._engine.failure(status, what)
        self._engine.medium.take_error()  # the repetition says it again
        fault = ffi.new("struct sq_fault *")
        status = function(self._log, self._handle, *arguments, fault)
        if status == 0:
            return
        if status == lib.SQ_E_BOUNDS:
            raise ConfigError(f"{what}: reaches beyond its end, at {self._info()[0]} bytes")
        is_read = bool(first_fault == _NULL)
        raise self._engine.failure_with(status, fault, what, self.number, is_read=is_read)

    def _info(self) -> tuple[int, int]:
        """Return the size in bytes and the number of mapped blocks."""
        info = self._ask_info()
        return info.size_bytes, info.mapped_blocks

    def _ask_info(self) -> Any:
        info = ffi.new("struct sq_volume_info *")
        status = lib.sq_volume_info(self._log, self._handle, info)
        self._engine.require(status, f"use of volume {self.name!r}")
        return info

    def _clone(self, number: int, tenant: int, *, unwritten_error: bool) -> int:
        """Make a volume that begins as this snapshot is, and return its handle."""
        doing = f"clone of snapshot {self.name!r}"
        arguments = (self._handle, number, tenant, unwritten_error)
        return self._engine.make(doing, lib.sq_volume_clone, *arguments)

    def _delete(self) -> None:
        self._engine.delete(self._handle, f"deletion of {self.name!r}")

    def _read_blocks(self, lba: int | NDArray[np.uint64], count: int, out: NDArray[np.uint8]) -> None:
        """Read a run, or blocks at C-contiguous lbas, into an array that has room for them."""
        target = lend(out, "out", True)
        if isinstance(lba, int):
            self._call(lib.sq_volume_read_run, lba, count, target, doing="read of {1} blocks from lba {0}")
        else:
            lbas = lend_array("uint64_t[]", lba)
            self._call(lib.sq_volume_read_blocks, lbas, count, target, doing="read of {1} blocks")

    def _extents(self, lba: int) -> NDArray[np.void]:
        """Return the first extents from `lba` on; none means that there are no more."""
        extents = np.empty(_EXTENTS_AT_ONCE, EXTENT_DTYPE)
        target = lend_array("struct sq_extent[]", extents)
        count_out = ffi.new("uint64_t *")
        status = lib.sq_volume_extents(self._log, self._handle, lba, len(extents), target, count_out)
        self._engine.require(status, f"extents of volume {self.name!r}")
        return extents[: count_out[0]]


class EngineVolume(EngineView):
    """Handle on a volume of a log: a view, and the calls that change it."""

    def __init__(self, engine: Engine, handle: int, name: str) -> None:
        super().__init__(engine, handle, name)
        self._fault = ffi.new("struct sq_fault *")

    def write(self, offset: SupportsIndex, data: BytesLike) -> int:
        """Write bytes, at any offset and of any length.

        A block that is written in part keeps its other bytes, zeros if it was unwritten.

        Parameters
        ----------
        offset : int
            Bytes from the start of the volume.
        data : bytes-like
            An array that is not C-contiguous is copied first.

        Returns
        -------
        int
            Number of bytes written, all of them.

        Raises
        ------
        ConfigError
            If the range reaches beyond the volume, or an argument is of the wrong kind.
        OutOfSpaceError
            If the drive has no room. Nothing has changed.
        CorruptionError
            If a block that is written in part is damaged. Nothing has changed.
        BadBlockError, MediumError
            If the medium fails. If that was in the middle, no change is accepted until the store is opened
            again, and then nothing has changed.
        NotFoundError
            If the volume was deleted.
        ClosedError
            If the store was closed.
        """
        try:
            buffer = data if type(data) is bytes else lend(data, "data")
        except ConfigError:
            if isinstance(data, np.ndarray) and not data.flags.c_contiguous:
                return self._write_copy(offset, data)
            raise
        length = len(buffer)
        try:
            # Only an int goes straight to C, which would cut off the fraction of other numbers.
            if type(offset) is int:
                status = _write(self._log, self._handle, offset, buffer, length, self._fault)
                if status == 0:
                    return length
                if status in {_MEDIUM_FAILED, _POLICY_FAILED}:
                    give_back(buffer)
                    doing = f"write of {length} bytes at offset {offset} of volume {self.name!r}"
                    raise self._engine.failure_with(status, self._fault, doing, self.number)
        except OverflowError:
            pass  # what follows says what is wrong with the offset
        try:
            start = unsigned(offset, "offset")
            self._change(_write, start, buffer, length, doing="write of {2} bytes at offset {0}")
        finally:
            give_back(buffer)
        return length

    def _write_copy(self, offset: SupportsIndex, data: NDArray[Any]) -> int:
        copy = data.copy()
        try:
            return self.write(offset, copy)
        finally:
            wipe(copy)

    # ---- what volume.py builds on -------------------------------------------------------------

    def _change(self, function: Any, *arguments: Any, doing: str) -> None:
        """Call a function of the core that changes the volume; see `_call`."""
        self._try(function, self._fault, *arguments, doing=doing)

    def _trim(self, offset: int, length: int) -> None:
        self._change(lib.sq_volume_trim, offset, length, doing="trim of {1} bytes at offset {0}")

    def _resize(self, size_bytes: int) -> None:
        self._change(lib.sq_volume_resize, size_bytes, doing="resizing to {0} bytes (2**38 blocks at most)")

    def _layer(self) -> int:
        """Return the number of the layer that is written to; see `Engine.shown`."""
        return int(self._ask_info().layer)

    def _snapshot(self, number: int) -> int:
        """Freeze what the volume shows under a number, and return the handle of the snapshot."""
        doing = f"snapshot of volume {self.name!r}"
        return self._engine.make(doing, lib.sq_volume_snapshot, self._handle, number)

    def _hold(self, is_held: bool) -> None:
        """Refuse changes for now, or take them again."""
        self._engine.require(lib.sq_volume_hold(self._log, self._handle, is_held), "holding a volume")

    def _seal(self, key: int, *, by_leaf: bool) -> None:
        """Seal what is written from now on under this secret of the log's key ring, or leaves of its tree."""
        status = lib.sq_volume_seal(self._log, self._handle, key, by_leaf)
        self._engine.require(status, "giving a volume its key")

    def _rollback(self, snapshot: EngineView, number: int) -> None:
        """Show what a snapshot shows, in a layer of the given number."""
        status = lib.sq_volume_rollback(self._log, self._handle, snapshot._handle, number)
        self._engine.require(status, f"rollback of volume {self.name!r}")

    def _write_blocks(self, lba: int | NDArray[np.uint64], count: int, data: Any) -> None:
        """Write a run, or blocks at C-contiguous lbas. `data` was lent, or is None on a simulated store."""
        buffer = _NULL if data is None else data
        if isinstance(lba, int):
            self._change(
                lib.sq_volume_write_run, lba, count, buffer, doing="write of {1} blocks from lba {0}"
            )
        else:
            lbas = lend_array("uint64_t[]", lba)
            self._change(lib.sq_volume_write_blocks, lbas, count, buffer, doing="write of {1} blocks")

    def _write_fated(self, lbas: NDArray[np.uint64], deaths: NDArray[np.uint64]) -> None:
        """Write tags of blocks of which it is known when they will be written next.

        Parameters
        ----------
        lbas : uint64[n]
        deaths : uint64[n]
            In user time: blocks written on request since the log was made.
        """
        lent = lend_array("uint64_t[]", lbas), lend_array("uint64_t[]", deaths)
        self._change(lib.sq_volume_write_fated, *lent, len(lbas), doing="write of {2} blocks")
