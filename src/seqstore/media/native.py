"""A medium that lives in the C core: what its kinds have in common."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, SupportsIndex

from seqstore._native._core import ffi, lib
from seqstore._native.convert import give_back, lend_blocks
from seqstore._native.status import status_error
from seqstore.errors import ClosedError, ConfigError, MediumError, SeqstoreError, SequentialWriteError
from seqstore.media.geometry import Geometry
from seqstore.units import format_size, unsigned

if TYPE_CHECKING:
    from typing_extensions import Self

    from seqstore._native.convert import BytesLike


def medium_error(number: int | None, message: str) -> MediumError:
    """Make an exception that has an `errno`."""
    error = MediumError(message)
    error.errno = number
    return error


def system_error(number: int, doing: str, what_to_do: str = "") -> MediumError:
    """Make the exception for what the operating system said."""
    return medium_error(number, f"{doing}: {os.strerror(number)}{what_to_do}")


def explain(medium: NativeMedium, error: BaseException) -> BaseException:
    """Say what is to be raised for ``SQ_E_IO``, where a medium written in Python may have raised something.

    Its `OSError` says how the medium failed, and is the cause of the error that says where. Anything else is
    no failure of a medium, but an interruption, a bug, or an error of ours already: it is raised itself.

    Parameters
    ----------
    medium : NativeMedium
        That failed in this thread just now.
    error : BaseException
        What is raised where there is no more to say; it takes the `errno` of its cause if it has none.
    """
    raised = medium.take_error()
    if raised is None:
        return error
    if not isinstance(raised, OSError) or isinstance(raised, SeqstoreError):
        return raised
    error.__cause__ = raised
    if isinstance(error, MediumError) and error.errno is None:
        error.errno = raised.errno
    return error


class NativeMedium:
    """A row of zones with write pointers; bytes change only by being written over.

    Any number of threads may use one medium.

    Parameters
    ----------
    capacity : int or str
        Size, a multiple of `zone_size` and at least 4 zones.
    block_size : int or str
        A power of two between 512 B and 64 KiB.
    zone_size : int or str, optional
        A multiple of the block size, at least 4 blocks. By default 1 MiB, less on media below 16 MiB.

    Attributes
    ----------
    keeps_bytes : bool
        Whether the medium keeps what is written, or only who wrote it and where.

    Raises
    ------
    ConfigError
        If the sizes do not fit each other.
    MemoryError
        If there is not enough memory.
    """

    _kind: ClassVar[int]
    keeps_bytes: ClassVar[bool]

    def __init__(
        self,
        capacity: SupportsIndex | str,
        *,
        block_size: SupportsIndex | str = 4096,
        zone_size: SupportsIndex | str | None = None,
    ) -> None:
        geometry = Geometry.divide(capacity, block_size=block_size, zone_size=zone_size)
        self._make(geometry, lambda native, out: lib.sq_medium_create(self._kind, native, out))

    def _make(self, geometry: Geometry, create: Callable[[Any, Any], int]) -> None:
        """Make the medium with a function that takes a ``struct sq_geometry *`` and a ``sq_medium **``."""
        self._geometry = geometry
        native = ffi.new("struct sq_geometry *", (self.blocks, self.block_size, self.zone_blocks))
        medium_out = ffi.new("sq_medium **")
        status = create(native, medium_out)
        if status:
            raise status_error(status, f"making a medium of {format_size(self.capacity)}")
        # Calls under way keep the handle alive, so that closing need not wait for them.
        self._handle: Any = ffi.gc(medium_out[0], lib.sq_medium_destroy)

    @property
    def blocks(self) -> int:
        """Size in blocks."""
        return self._geometry.blocks

    @property
    def block_size(self) -> int:
        """Bytes of a block."""
        return self._geometry.block_size

    @property
    def zone_blocks(self) -> int:
        """Blocks of a zone."""
        return self._geometry.zone_blocks

    @property
    def zones(self) -> int:
        """Number of zones."""
        return self.blocks // self.zone_blocks

    @property
    def capacity(self) -> int:
        """Size in bytes."""
        return self.blocks * self.block_size

    @property
    def handle(self) -> Any:
        """The C core's own handle.

        Raises
        ------
        ClosedError
            If the medium was closed.
        """
        handle = self._handle
        if handle is None:
            raise ClosedError("the medium was closed; make another")
        return handle

    @property
    def closed(self) -> bool:
        """Whether the medium was closed."""
        return self._handle is None

    def close(self) -> None:
        """Give back what the medium holds, unless a log still lies on it. Closing again does nothing."""
        self._handle = None

    def __enter__(self) -> Self:
        self.handle  # noqa: B018 (raises if the medium was closed)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = ", closed" if self.closed else ""
        return f"<{type(self).__name__} of {format_size(self.capacity)} in {self.zones} zones{state}>"

    def read(self, mba: SupportsIndex, count: SupportsIndex) -> bytes:
        """Read what lies on the medium, before or behind a write pointer.

        Parameters
        ----------
        mba : int
            First media block.
        count : int
            Number of blocks.

        Returns
        -------
        bytes
            ``count * block_size`` of them.

        Raises
        ------
        ConfigError
            If the range reaches beyond the medium.
        MediumError
            If the medium keeps no bytes, or cannot read them.
        ClosedError
            If the medium was closed.
        """
        first, number = self.check_range(mba, count)
        data = bytes(number * self.block_size)  # filled by C; see EngineVolume.read
        os_error = ffi.new("int *")
        status = lib.sq_medium_read(self.handle, first, number, data, os_error)
        self._require(status, f"read of {number} blocks from mba {first}", os_error)
        return data

    def sync(self) -> None:
        """Wait until all that was appended is safe from a power cut, as far as the medium is at all.

        Raises
        ------
        MediumError
            If the medium fails. Any append since the last sync may then be lost, whatever a later sync says.
        ClosedError
            If the medium was closed.
        """
        os_error = ffi.new("int *")
        self._require(lib.sq_medium_flush(self.handle, os_error), "sync of the medium", os_error)

    def take_error(self) -> BaseException | None:
        """Hand out, once, what a medium written in Python raised in this thread while C was calling it.

        To be told where a call into C comes back with ``SQ_E_IO``. None if there is nothing.
        """
        return None

    def reset(self, zone: SupportsIndex) -> None:
        """Move a zone's write pointer to the zone's start. Bytes stay where they are.

        Raises
        ------
        ConfigError
            If there is no such zone.
        MediumError
            If the medium fails, belongs to a store, or another thread is appending to the zone.
        ClosedError
            If the medium was closed.
        """
        number = self._check_zone(zone)
        os_error = ffi.new("int *")
        status = lib.sq_medium_reset(self.handle, number, os_error)
        if status == lib.SQ_E_SEQUENTIAL:
            raise MediumError(f"reset of zone {number} during an append to it; wait for that to return")
        self._require(status, f"reset of zone {number}", os_error)

    def write_pointer(self, zone: SupportsIndex) -> int:
        """Where the next append to a zone has to start.

        Returns
        -------
        int
            A media block address; that of the next zone's first block if the zone is full.

        Raises
        ------
        ConfigError
            If there is no such zone.
        ClosedError
            If the medium was closed.
        """
        mba_out = ffi.new("uint64_t *")
        status = lib.sq_medium_write_pointer(self.handle, self._check_zone(zone), mba_out)
        self._require(status, "look at a write pointer")
        return int(mba_out[0])

    def check_range(self, mba: SupportsIndex, count: SupportsIndex) -> tuple[int, int]:
        """Check that a run of media blocks lies on the medium, and return it as two ints.

        Raises
        ------
        ConfigError
            If it does not.
        """
        first, number = unsigned(mba, "mba"), unsigned(count, "count")
        if first + number > self.blocks:
            raise ConfigError(
                f"{number} blocks from mba {first} reach beyond the end; the medium has {self.blocks} blocks"
            )
        return first, number

    def _check_zone(self, zone: SupportsIndex) -> int:
        number = unsigned(zone, "zone")
        if number >= self.zones:
            raise ConfigError(f"zone is {number}; the medium has {self.zones} zones, counted from 0")
        return number

    def _append(self, mba: SupportsIndex, count: int, data: Any, tags: Any) -> None:
        first, _ = self.check_range(mba, count)
        if not count:
            raise ConfigError("append of 0 blocks; at least one is expected")
        os_error = ffi.new("int *")
        status = lib.sq_medium_append(self.handle, first, count, data, tags, os_error)
        if status == lib.SQ_E_SEQUENTIAL:
            zone = first // self.zone_blocks
            write_pointer = self.write_pointer(zone)
            raise SequentialWriteError(
                f"append of {count} blocks at mba {first}; zone {zone} takes appends at its write pointer,"
                f" mba {write_pointer}, up to mba {(zone + 1) * self.zone_blocks - 1}",
                mba=first,
                write_pointer=write_pointer,
            )
        self._require(status, f"append of {count} blocks at mba {first}", os_error)

    def _require(self, status: int, doing: str, os_error: Any = None) -> None:
        if status == lib.SQ_E_IO:
            # Not through a variable: frame and exception would hold each other.
            raise explain(self, system_error(os_error[0], doing))
        if status:
            raise status_error(status, doing)


class BytesMedium(NativeMedium):
    """A medium that keeps the bytes; see `NativeMedium` for what all media have."""

    keeps_bytes = True

    def append(self, mba: SupportsIndex, data: BytesLike) -> None:
        """Append whole blocks at a zone's write pointer.

        Parameters
        ----------
        mba : int
            The zone's write pointer.
        data : bytes-like, C-contiguous
            One or more whole blocks.

        Raises
        ------
        SequentialWriteError
            If `mba` is no write pointer, or the blocks do not fit into the rest of the zone.
        MediumError
            If the medium fails; the write pointer stays, and what lies behind it is undefined.
        ConfigError
            If `data` is no multiple of the block size, or the range reaches beyond the medium.
        ClosedError
            If the medium was closed.
        """
        buffer = lend_blocks(data, self.block_size)
        try:
            self._append(mba, len(buffer) // self.block_size, buffer, ffi.NULL)
        finally:
            give_back(buffer)


class OverwritableMedium(BytesMedium):
    """A medium that keeps the bytes and can be sanitized."""

    def overwrite(self, mba: SupportsIndex, data: BytesLike) -> None:
        """Write over blocks in place, whatever the write pointers: for sanitization, never in service.

        Parameters
        ----------
        mba : int
            First media block.
        data : bytes-like, C-contiguous
            One or more whole blocks.

        Raises
        ------
        MediumError
            If the medium fails.
        ConfigError
            If `data` is no multiple of the block size, or the range reaches beyond the medium.
        ClosedError
            If the medium was closed.
        """
        buffer = lend_blocks(data, self.block_size)
        try:
            first, count = self.check_range(mba, len(buffer) // self.block_size)
            os_error = ffi.new("int *")
            status = lib.sq_medium_overwrite(self.handle, first, count, buffer, os_error)
            self._require(status, f"overwrite of {count} blocks from mba {first}", os_error)
        finally:
            give_back(buffer)
