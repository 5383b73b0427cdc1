"""Volumes: what a tenant reads and writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex

import numpy as np

from seqstore._native.convert import give_back, lend_blocks, plain, wipe
from seqstore.engine import Engine, EngineVolume
from seqstore.errors import ConfigError, NotFoundError
from seqstore.units import parse_size, unsigned
from seqstore.volume_io import VolumeIO

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from seqstore._native.convert import BytesLike
    from seqstore.tenants import Tenant

_UINT8 = np.dtype(np.uint8)

Unwritten = Literal["zero", "error"]


class Volume(EngineVolume):
    """A virtual disk of a tenant, thin: it takes room on the drive for what is written to it.

    Made by `Tenant.create_volume`, found by `Tenant.volume`. Offsets and lengths are in bytes and may be
    any; lbas count blocks. Any number of threads may use one volume: each request is whole or has not
    happened, but a read beside a write may see some blocks before it and some after.

    Attributes
    ----------
    tenant : Tenant
        The owner.
    unwritten : {"zero", "error"}
        What a read of an unwritten address does: give zeros, or raise `UnwrittenError`.
    deleted : bool
        Whether the volume was deleted; it is then of no further use.
    """

    def __init__(
        self,
        engine: Engine,
        handle: int,
        *,
        name: str,
        tenant: Tenant,
        unwritten: Unwritten,
        forget: Callable[[Volume], None],
    ) -> None:
        super().__init__(engine, handle, name)
        self.tenant = tenant
        self.unwritten = unwritten
        self.deleted = False
        self._forget = forget

    def __repr__(self) -> str:
        state = ", deleted" if self.deleted else ", closed" if self._engine.closed else ""
        return f"<Volume {self.name!r}, number {self.number}, of tenant {self.tenant.name!r}{state}>"

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self._info()[0]

    @property
    def blocks(self) -> int:
        """Size in blocks, the last one counted whole."""
        return -(-self.size // self.block_size)

    @property
    def mapped_blocks(self) -> int:
        """Blocks that were written and not trimmed since."""
        return self._info()[1]

    def trim(self, offset: SupportsIndex, length: SupportsIndex) -> None:
        """Give up a range: its whole blocks become unwritten, and bytes of other blocks zeros.

        Parameters
        ----------
        offset, length : int
            Bytes.

        Raises
        ------
        ConfigError
            If the range reaches beyond the volume, or an argument is no integer.
        CorruptionError
            If a block that is trimmed in part is damaged. Nothing has changed.
        NotFoundError
            If the volume was deleted.
        ClosedError
            If the store was closed.
        """
        self._trim(unsigned(offset, "offset"), unsigned(length, "length"))

    def resize(self, size: SupportsIndex | str) -> None:
        """Change the size. What lies beyond a smaller one becomes unwritten.

        Parameters
        ----------
        size : int or str
            Bytes, or a string such as ``"64MiB"``.

        Raises
        ------
        ConfigError
            If it is no size, or too large for a volume.
        CorruptionError
            If the block that is cut is damaged. Nothing has changed.
        NotFoundError
            If the volume was deleted.
        ClosedError
            If the store was closed.
        """
        self._resize(parse_size(size))

    def flush(self) -> None:
        """Make durable what was acknowledged: nothing to do while all media are memory.

        Raises
        ------
        NotFoundError
            If the volume was deleted.
        ClosedError
            If the store was closed.
        """
        self._info()

    def delete(self) -> None:
        """Delete the volume. Its bytes stay on the medium, out of reach, until the head writes over them.

        Raises
        ------
        NotFoundError
            If the volume was deleted before.
        ClosedError
            If the store was closed.
        """
        try:
            self._delete()
        except NotFoundError:
            if self.deleted:
                raise
            # Deleted in the core, but a signal came before this side knew.
        self.deleted = True
        self._forget(self)

    def open(self, mode: Literal["rb", "r+b"] = "r+b") -> VolumeIO:
        """Open the volume as an unbuffered file; see `VolumeIO`.

        Parameters
        ----------
        mode : {"r+b", "rb"}
            For reading and writing, or for reading alone.

        Raises
        ------
        ConfigError
            If there is no such mode.
        NotFoundError
            If the volume was deleted.
        ClosedError
            If the store was closed.
        """
        self.flush()  # raises if the volume is of no use any more
        return VolumeIO(self, mode)

    # ---- blocks -----------------------------------------------------------------------------

    def write_blocks(
        self,
        lba: SupportsIndex | NDArray[np.integer[Any]],
        data: BytesLike | None,
        *,
        count: SupportsIndex | None = None,
    ) -> None:
        """Write whole blocks: a run, or blocks at any addresses.

        Parameters
        ----------
        lba : int or integer[n]
            First block of a run, or the address of each block. Where one comes twice, the later block wins.
            C-contiguous arrays of uint64 are used as they are, others are converted.
        data : uint8[n, block_size] or bytes-like of that length
            The blocks. C-contiguous arrays are used as they are, others are copied. None on a simulated
            store, which keeps no bytes.
        count : int, optional
            Number of blocks. Needed only for a run without data, where it is 1 by default.

        Raises
        ------
        ConfigError
            If a block lies beyond the volume, or an argument is of the wrong kind or shape.
        OutOfSpaceError
            If the drive has no room. Nothing has changed.
        NotFoundError
            If the volume was deleted.
        ClosedError
            If the store was closed.
        """
        if isinstance(data, np.ndarray) and not plain(data).flags.c_contiguous:
            copy = plain(data).copy()
            try:
                self.write_blocks(lba, copy, count=count)
            finally:
                wipe(copy)
            return
        place, places = _as_place(lba)
        asked = None if count is None else unsigned(count, "count")
        buffer = self._lend_blocks(data)
        try:
            blocks = None if buffer is None else len(buffer) // self.block_size
            given = [number for number in (places, blocks, asked) if number is not None] or [1]
            if given.count(given[0]) < len(given):
                raise ConfigError(f"lba, data and count stand for {given} blocks; equal numbers are expected")
            self._write_blocks(place, given[0], buffer)
        finally:
            give_back(buffer)

    def read_blocks(
        self,
        lba: SupportsIndex | NDArray[np.integer[Any]],
        count_or_out: SupportsIndex | NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """Read whole blocks: a run, or blocks at any addresses.

        Parameters
        ----------
        lba : int or integer[n]
            First block of a run, or the address of each block.
        count_or_out : int or uint8[n, block_size], optional
            Length of a run, 1 by default, or the array to fill. One that is not C-contiguous is filled
            through a copy.

        Returns
        -------
        uint8[n, block_size]
            `count_or_out` if that is an array.

        Raises
        ------
        ConfigError
            If a block lies beyond the volume, or an argument is of the wrong kind or shape.
        UnwrittenError
            If a block is unwritten and the volume was made with ``unwritten="error"``. The array to fill is
            untouched.
        CorruptionError
            If a block is not the one that was written.
        MediumError
            If the store is simulated.
        NotFoundError
            If the volume was deleted.
        ClosedError
            If the store was closed.
        """
        place, places = _as_place(lba)
        if isinstance(count_or_out, np.ndarray):
            out = plain(count_or_out)
            self._check_target(out, places)
        else:
            out = self._make_target(place, places, count_or_out)
        if out.flags.c_contiguous:
            self._read_blocks(place, out.size // self.block_size, out)
        else:
            copy = np.empty(out.shape, np.uint8)
            try:
                self._read_blocks(place, copy.size // self.block_size, copy)
                out[...] = copy
            finally:
                wipe(copy)
        return count_or_out if isinstance(count_or_out, np.ndarray) else out

    def extents(self) -> NDArray[np.void]:
        """List where the written blocks lie.

        Returns
        -------
        EXTENT_DTYPE[n]
            Runs of blocks, ascending by lba: ``lba``, ``count``, ``drive``, ``mba``. They are those of one
            moment unless somebody writes to the volume meanwhile.

        Raises
        ------
        NotFoundError
            If the volume was deleted.
        ClosedError
            If the store was closed.
        """
        parts = [self._extents(0)]
        while len(parts[-1]):
            last = parts[-1][-1]
            parts.append(self._extents(int(last["lba"]) + int(last["count"])))
        return np.concatenate(parts)

    # ---- checks of arguments ------------------------------------------------------------------

    def _lend_blocks(self, data: BytesLike | None) -> Any:
        """Lend whole blocks to C, or None if there is no data and no need for it."""
        if data is None:
            if self._engine.medium.keeps_bytes:
                raise ConfigError("data is None, which only a simulated store takes")
            return None
        if isinstance(data, np.ndarray):
            self._check_blocks(plain(data), "data")
        return lend_blocks(data, self.block_size)

    def _check_blocks(self, array: NDArray[Any], what: str) -> None:
        is_rows = array.ndim == 2 and array.shape[1] == self.block_size
        is_flat = array.ndim == 1 and array.size % self.block_size == 0
        if array.dtype != _UINT8 or not (is_rows or is_flat):
            raise ConfigError(
                f"{what} is an array of {array.dtype} and shape {array.shape};"
                f" uint8 and (n, {self.block_size}) are expected"
            )

    def _check_target(self, out: NDArray[np.uint8], places: int | None) -> None:
        self._check_blocks(out, "the array to fill")
        blocks = out.size // self.block_size
        if places is not None and places != blocks:
            raise ConfigError(f"the array to fill has room for {blocks} blocks; {places} are asked for")
        if not out.flags.writeable:
            raise ConfigError("the array to fill is read-only")

    def _make_target(
        self, place: int | NDArray[np.uint64], places: int | None, count: SupportsIndex | None
    ) -> NDArray[np.uint8]:
        number = 1 if count is None else unsigned(count, "count")
        if places is not None:
            if count is not None and number != places:
                raise ConfigError(f"count is {number}; {places} addresses are given")
            number = places
        elif place + number > self.blocks:
            # Before memory is asked for that no volume could fill.
            raise ConfigError(
                f"read of {number} blocks from lba {place} of volume {self.name!r}: reaches beyond its end,"
                f" at {self.blocks} blocks"
            )
        return np.empty((number, self.block_size), np.uint8)


def _as_place(lba: SupportsIndex | NDArray[np.integer[Any]]) -> tuple[int | NDArray[np.uint64], int | None]:
    """Check addresses. The second value is how many there are, None for the start of a run."""
    if isinstance(lba, (list, tuple)):
        raise ConfigError(f"lba is of type {type(lba).__name__}; an int or a numpy array is expected")
    if not isinstance(lba, np.ndarray) or lba.ndim == 0:
        return unsigned(lba, "lba"), None
    lba = plain(lba)
    if lba.ndim != 1 or lba.dtype.kind not in "iu":
        raise ConfigError(
            f"lba is an array of {lba.dtype} and shape {lba.shape}; integers and one dimension are expected"
        )
    if lba.dtype.kind == "i" and lba.size and lba.min() < 0:
        raise ConfigError(f"lba {lba.min()} is negative; block addresses start at 0")
    return np.ascontiguousarray(lba, np.uint64), len(lba)
