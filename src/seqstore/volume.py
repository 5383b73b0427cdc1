"""Volumes: what a tenant reads and writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex

import numpy as np

from seqstore._native.convert import give_back, lend_blocks, plain, wipe
from seqstore.engine_volume import EngineVolume
from seqstore.errors import ConfigError
from seqstore.snapshot import Snapshot
from seqstore.units import parse_size, unsigned
from seqstore.view import View, as_place
from seqstore.volume_io import VolumeIO

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from seqstore._native.convert import BytesLike


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Who else still shows blocks that were written through a volume.

    Attributes
    ----------
    holder : Volume or Snapshot
        Who shows them.
    blocks : int
        How many.
    bytes : int
        The same in bytes.
    """

    holder: Volume | Snapshot
    blocks: int
    bytes: int


class Volume(View, EngineVolume):
    """A virtual disk of a tenant, thin: it takes room on the drive for what is written to it.

    Made by `Tenant.create_volume` or `Snapshot.clone`, found by `Tenant.volume`. Offsets and lengths are in
    bytes and may be any; lbas count blocks. Any number of threads may use one volume: each request is whole
    or has not happened, but a read beside a write may see some blocks before it and some after. A write
    that the medium fails in its middle is undone by opening the store again, which takes no change before
    that; until then reads may show half of it, at block boundaries.

    Attributes
    ----------
    tenant : Tenant
        The owner.
    unwritten : {"zero", "error"}
        What a read of an unwritten address does: give zeros, or raise `UnwrittenError`.
    deleted : bool
        Whether the volume was deleted; it is then of no further use.
    """

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
        OutOfSpaceError
            If the drive has no room for a block that is trimmed in part, or in its tables. Nothing has
            changed.
        CorruptionError
            If a block that is trimmed in part is damaged. Nothing has changed.
        AccessError
            If the store was opened for reading alone.
        NotFoundError
            If the volume was deleted.
        ClosedError
            If the store was closed.
        """
        self._registry.trim(self, unsigned(offset, "offset"), unsigned(length, "length"))

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
        OutOfSpaceError
            If the drive has no room for the block that is cut, or in its tables. Nothing has changed.
        CorruptionError
            If the block that is cut is damaged. Nothing has changed.
        AccessError
            If the store was opened for reading alone.
        NotFoundError
            If the volume was deleted.
        ClosedError
            If the store was closed.
        """
        size_bytes = parse_size(size)
        if not size_bytes:
            raise ConfigError("size is 0; a volume has at least 1 byte")
        self._registry.resize(self, size_bytes)

    def flush(self) -> None:
        """Return when everything acknowledged is on the medium, of all volumes of the drive.

        Threads that flush at the same time share one sync of the medium.

        Raises
        ------
        MediumError
            If the medium fails. What it holds is then not known; open the store again.
        NotFoundError
            If the volume was deleted.
        ClosedError
            If the store was closed.
        """
        self._require()
        mirror = self._route.mirror
        if mirror is None:
            self._engine.flush()
        else:
            mirror.each(lambda leg: leg.engine.flush(), is_content=False)

    def delete(self) -> None:
        """Delete the volume. Bytes that no snapshot shows stay on the medium until the head writes over them.

        A deleted volume does not come back after a crash. Its snapshots and their clones stay.

        Raises
        ------
        NotFoundError
            If the volume was deleted before.
        AccessError
            If the store was opened for reading alone.
        MediumError
            If the medium fails.
        ClosedError
            If the store was closed.
        """
        self._registry.delete(self)

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
        self._require()
        return VolumeIO(self, mode)

    # ---- snapshots --------------------------------------------------------------------------

    @property
    def origin(self) -> Snapshot | None:
        """The snapshot that the volume began as; None if it is no clone, or the snapshot was deleted."""
        origin = self._registry.find(self._origin)
        return origin if isinstance(origin, Snapshot) else None

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """The volume's snapshots in order of creation, also when the volume was deleted.

        Raises
        ------
        ClosedError
            If the store was closed.
        """
        return tuple(s for s in self._registry.snapshots() if s.volume_number == self.number)

    def find_snapshot(self, name: str) -> Snapshot:
        """Return the volume's snapshot of a name, the same object each time.

        Raises
        ------
        NotFoundError
            If there is none.
        ClosedError
            If the store was closed.
        """
        return self._registry.find_snapshot(self, name)

    def snapshot(self, name: str) -> Snapshot:
        """Freeze what the volume shows, all of it at one moment. Nothing is copied.

        The snapshot outlives the volume. It is durable when the call returns, with everything that was
        written before it.

        Parameters
        ----------
        name : str
            Not yet taken among the volume's snapshots: 1 to 255 bytes of UTF-8 without control characters
            and ``/``.

        Raises
        ------
        ConfigError
            If the name is taken, or is none.
        OutOfSpaceError, MediumError
            If the drive has no room for the entry, or fails.
        AccessError
            If the store was opened for reading alone.
        NotFoundError
            If the volume was deleted.
        ClosedError
            If the store was closed.
        """
        return self._registry.create_snapshot(self, name)

    def rollback(self, snapshot: Snapshot) -> None:
        """Show again what a snapshot of this volume shows, its size included. The snapshot stays.

        Raises
        ------
        ConfigError
            If it is no snapshot of this volume.
        OutOfSpaceError, MediumError
            If the drive has no room for the entry, or fails.
        AccessError
            If the store was opened for reading alone.
        NotFoundError
            If the volume or the snapshot was deleted.
        ClosedError
            If the store was closed.
        """
        if not isinstance(snapshot, Snapshot):
            raise ConfigError(f"snapshot is {snapshot!r}; a snapshot of {self!r} is expected")
        if snapshot._registry is not self._registry or snapshot.volume_number != self.number:
            raise ConfigError(f"{snapshot!r} is not of {self!r}; choose one of its snapshots")
        self._registry.roll_back(self, snapshot)

    def reach(self, offset: SupportsIndex = 0, length: SupportsIndex | None = None) -> tuple[Reach, ...]:
        """Say which other volumes and snapshots still show blocks that were written through this one.

        They are the ones that keep a deleted range alive. Works for a deleted volume too.

        Parameters
        ----------
        offset, length : int, optional
            A range of the volume, in bytes; blocks that lie partly inside count. By default everything, also
            beyond the present end.

        Returns
        -------
        tuple of Reach
            In order of creation.

        Raises
        ------
        ConfigError
            If an argument is no integer.
        ClosedError
            If the store was closed.
        """
        start = unsigned(offset, "offset")
        end = None if length is None else start + unsigned(length, "length")
        return tuple(
            Reach(holder=holder, blocks=blocks, bytes=blocks * self.block_size)
            for holder, blocks in self._registry.reach(self, start, end)
        )

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
        AccessError
            If the store was opened for reading alone.
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
        place, places = as_place(lba)
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

    def _lend_blocks(self, data: BytesLike | None) -> Any:
        """Lend whole blocks to C, or None if there is no data and no need for it."""
        if data is None:
            if self._engine.medium.keeps_bytes:
                raise ConfigError("data is None, which only a simulated store takes")
            return None
        if isinstance(data, np.ndarray):
            self._check_blocks(plain(data), "data")
        return lend_blocks(data, self.block_size)
