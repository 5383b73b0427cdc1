"""The medium that keeps its bytes in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, SupportsIndex

from seqstore._native._core import ffi, lib
from seqstore._native.convert import give_back, lend_blocks
from seqstore.media.native import NativeMedium

if TYPE_CHECKING:
    from seqstore._native.convert import BytesLike


class MemoryMedium(NativeMedium):
    """A row of zones in memory; see `NativeMedium` for what all media have."""

    keeps_bytes = True
    _kind = lib.SQ_MEDIUM_MEMORY

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
        ConfigError
            If `data` is no multiple of the block size, or the range reaches beyond the medium.
        ClosedError
            If the medium was closed.
        """
        buffer = lend_blocks(data, self.block_size)
        try:
            first, count = self.check_range(mba, len(buffer) // self.block_size)
            status = lib.sq_medium_overwrite(self.handle, first, count, buffer, ffi.NULL)
            self._require(status, "overwrite of a medium")
        finally:
            give_back(buffer)
