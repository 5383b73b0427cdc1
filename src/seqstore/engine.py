"""Typed handles on the C core's log: one on the log itself, one on each of its volumes.

Arguments become what C takes, statuses become exceptions, and nothing else happens here. A call into the
core releases the GIL; any number of threads may use one log.

A call goes out without room for details. If it fails it is repeated with a ``struct sq_fault`` that says
where; should the repeat succeed, because another thread made room or closed a gap meanwhile, then that is
the result. So the usual case costs one call and allocates nothing.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex

import numpy as np

from seqstore._native._core import ffi, lib
from seqstore._native.convert import give_back, lend, lend_array, wipe
from seqstore._native.records import EXTENT_DTYPE, LEDGER_DTYPE, SEGMENT_DTYPE, Scope
from seqstore._native.status import fault_error, invariant_error, status_error
from seqstore.errors import ClosedError, ConfigError, SeqstoreError
from seqstore.units import unsigned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from seqstore._native.convert import BytesLike
    from seqstore.media.native import NativeMedium

_EXTENTS_AT_ONCE = 1 << 16

# The hot path looks these up in the module and nowhere else.
_NULL = ffi.NULL
_CHARS = ffi.typeof("char[]")
_from_buffer = ffi.from_buffer
_write = lib.sq_volume_write
_read = lib.sq_volume_read


class Engine:
    """Handle on a log.

    Parameters
    ----------
    medium : MemoryMedium or TagsMedium
        Where the log lies: a new medium, which nobody else writes to.
    drive : int
        Number of the drive, which stands in every record.
    reserve_ppm : int
        Share of the data capacity that is kept back for cleaning, in millionths.
    verify : bool
        Whether reads check the checksum; they check the owner in any case.

    Raises
    ------
    ConfigError
        If nothing is left for data.
    MemoryError
        If there is not enough memory.
    """

    def __init__(self, medium: NativeMedium, *, drive: int, reserve_ppm: int, verify: bool) -> None:
        self.medium = medium
        # A signal handler may close the store while this thread is closing it.
        self._closing = threading.RLock()
        self.closed = True
        options = ffi.new("struct sq_log_options *", (drive, reserve_ppm, verify))
        log_out = ffi.new("sq_log **")
        status = lib.sq_log_create(medium.handle, options, log_out)
        if status:
            raise status_error(status, f"making a log on {medium!r}")
        self.log: Any = ffi.gc(log_out[0], lib.sq_log_destroy)
        self.closed = False

    def close(self) -> None:
        """Wait for the calls under way, then free the log. Later calls raise `ClosedError`."""
        with self._closing:
            if not self.closed:
                self.closed = True
                lib.sq_log_close(self.log)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a store and its parts are handles, which cannot be copied or pickled")

    def require_open(self) -> None:
        """Raise `ClosedError` if the log was closed."""
        if self.closed:
            raise status_error(lib.SQ_E_CLOSED, "use of a store")

    def counters(self) -> dict[str, int]:
        """Return the fields of ``struct sq_stats`` by name."""
        stats = ffi.new("struct sq_stats *")
        self.require(lib.sq_log_stats(self.log, stats), "statistics")
        return {name: getattr(stats, name) for name, _ in ffi.typeof("struct sq_stats").fields}

    def check(self) -> None:
        """Walk every structure of the log and compare them.

        Raises
        ------
        InvariantError
            At the first disagreement.
        """
        self.require(lib.sq_log_check(self.log), "deep check")

    def raw(self, mba: int, count: int) -> bytes:
        """Return the bytes of `count` media blocks as they lie, those still in memory included."""
        if not self.medium.keeps_bytes:
            raise status_error(lib.SQ_E_NO_PAYLOAD, "read of the medium")
        data = bytes(count * self.medium.block_size)  # filled by C; see EngineVolume.read
        self.require(lib.sq_log_raw(self.log, mba, count, data), "read of the medium")
        return data

    def ledger(self, mba: int, count: int) -> NDArray[np.void]:
        """Return the ledger's entries of `count` media blocks, as LEDGER_DTYPE[count]."""
        entries = np.empty(count, LEDGER_DTYPE)
        target = lend_array("struct sq_ledger_entry[]", entries)
        self.require(lib.sq_log_ledger(self.log, mba, count, target), "look into the ledger")
        return entries

    def segments(self) -> NDArray[np.void]:
        """Return all segments of the log, as SEGMENT_DTYPE[n]."""
        segments = np.empty(self.medium.zones, SEGMENT_DTYPE)
        target = lend_array("struct sq_segment_info[]", segments)
        self.require(lib.sq_log_segments(self.log, 0, len(segments), target), "look at the segments")
        return segments

    def remanence(self, scope: Scope, number: int) -> tuple[int, int, int, int]:
        """Count the residue of a scope.

        Parameters
        ----------
        scope : Scope
        number : int
            Of the tenant or volume, also of a deleted one.

        Returns
        -------
        residue_blocks, moved_blocks, oldest, position : int
            `oldest` is the position of the oldest death, or NO_ADDRESS; `position` that of the log meanwhile.
        """
        residue = ffi.new("struct sq_remanence *")
        self.require(lib.sq_log_remanence(self.log, scope, number, residue), "remanence")
        return residue.residue_blocks, residue.moved_blocks, residue.oldest, residue.position

    def create_volume(self, tenant: int, size_bytes: int, *, unwritten_error: bool) -> int:
        """Make a volume for a tenant's number, and return its handle."""
        handle_out = ffi.new("uint64_t *")
        status = lib.sq_volume_create(self.log, tenant, size_bytes, unwritten_error, handle_out)
        self.require(status, f"making a volume of {size_bytes} bytes (2**38 blocks at most)")
        return int(handle_out[0])

    def require(self, status: int, doing: str) -> None:
        """Raise the exception for a status without details, if it is one of failure."""
        if status:
            raise self.failure(status, doing)

    def failure(self, status: int, doing: str) -> SeqstoreError | MemoryError:
        """Make the exception for a status without details."""
        if status != lib.SQ_E_INVARIANT:
            return status_error(status, doing)
        broken = ffi.new("struct sq_invariant *")
        if lib.sq_log_invariant(self.log, broken):
            return ClosedError(f"{doing}: the store was closed after it had failed a check of its own")
        return invariant_error(broken, doing)


class EngineVolume:
    """Handle on a volume of a log: the calls that `Volume` is made of.

    Bytes go in and out by methods that are public here already: each layer of calls above them would cost
    as much as a tenth of what they do.

    Parameters
    ----------
    engine : Engine
    handle : int
        As `Engine.create_volume` returned it.
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
        """What names the volume on the medium; never used again."""
        return self._handle >> 24

    @property
    def block_size(self) -> int:
        """Bytes of a block."""
        return self._block_size

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
            if type(offset) is int and _write(self._log, self._handle, offset, buffer, length, _NULL) == 0:
                return length
        except OverflowError:
            pass  # what follows says what is wrong with the offset
        try:
            start = unsigned(offset, "offset")
            self._call(_write, start, buffer, length, doing="write of {2} bytes at offset {0}")
        finally:
            give_back(buffer)
        return length

    def _write_copy(self, offset: SupportsIndex, data: NDArray[Any]) -> int:
        copy = data.copy()
        try:
            return self.write(offset, copy)
        finally:
            wipe(copy)

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

    def _call(self, function: Any, *arguments: Any, doing: str) -> None:
        """Call a function of the core that takes a ``struct sq_fault``, and raise what it reports.

        `doing` says what is tried; it is formatted with the arguments, and only if it fails.
        """
        if function(self._log, self._handle, *arguments, _NULL) == 0:
            return
        fault = ffi.new("struct sq_fault *")
        status = function(self._log, self._handle, *arguments, fault)
        if status == 0:
            return
        what = f"{doing.format(*arguments)} of volume {self.name!r}"
        if status == lib.SQ_E_BOUNDS:
            raise ConfigError(f"{what}: reaches beyond its end, at {self._info()[0]} bytes")
        error = fault_error(status, fault, what, volume=self.number, block_size=self.block_size)
        raise error or self._engine.failure(status, what)

    def _info(self) -> tuple[int, int]:
        """Return the size in bytes and the number of mapped blocks."""
        info = ffi.new("struct sq_volume_info *")
        status = lib.sq_volume_info(self._log, self._handle, info)
        self._engine.require(status, f"use of volume {self.name!r}")
        return info.size_bytes, info.mapped_blocks

    def _trim(self, offset: int, length: int) -> None:
        self._call(lib.sq_volume_trim, offset, length, doing="trim of {1} bytes at offset {0}")

    def _resize(self, size_bytes: int) -> None:
        self._call(lib.sq_volume_resize, size_bytes, doing="resizing to {0} bytes (2**38 blocks at most)")

    def _delete(self) -> None:
        status = lib.sq_volume_delete(self._log, self._handle)
        self._engine.require(status, f"deletion of volume {self.name!r}")

    def _write_blocks(self, lba: int | NDArray[np.uint64], count: int, data: Any) -> None:
        """Write a run, or blocks at C-contiguous lbas. `data` was lent, or is None on a simulated store."""
        buffer = _NULL if data is None else data
        if isinstance(lba, int):
            self._call(lib.sq_volume_write_run, lba, count, buffer, doing="write of {1} blocks from lba {0}")
        else:
            lbas = lend_array("uint64_t[]", lba)
            self._call(lib.sq_volume_write_blocks, lbas, count, buffer, doing="write of {1} blocks")

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
