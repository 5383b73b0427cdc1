"""The medium that keeps who and which address instead of the bytes, so that terabytes fit into memory."""

from __future__ import annotations

from typing import Any, SupportsIndex

import numpy as np

from seqstore._native._core import ffi, lib
from seqstore._native.convert import lend_array
from seqstore._native.records import struct_dtype
from seqstore._native.status import status_error
from seqstore.errors import ConfigError
from seqstore.media.native import NativeMedium

TAG_DTYPE = struct_dtype("struct sq_tag", volume="u8", lba="u8", state="u8")
"""A block's tag: number of its volume (0 for none), lba, and `BlockState` FREE, LIVE or SUMMARY."""


class TagsMedium(NativeMedium):
    """A row of zones that keeps a tag for each block and no bytes; see `NativeMedium` for the rest."""

    keeps_bytes = False
    _kind = lib.SQ_MEDIUM_TAGS

    def append(self, mba: SupportsIndex, tags: np.ndarray[Any, Any]) -> None:
        """Append tags at a zone's write pointer.

        Parameters
        ----------
        mba : int
            The zone's write pointer.
        tags : TAG_DTYPE[n]
            One tag a block.

        Raises
        ------
        SequentialWriteError
            If `mba` is no write pointer, or the blocks do not fit into the rest of the zone.
        ConfigError
            If `tags` is no such array, or the range reaches beyond the medium.
        ClosedError
            If the medium was closed.
        """
        if getattr(tags, "dtype", None) != TAG_DTYPE or tags.ndim != 1:
            raise ConfigError("tags must be an array of one dimension and TAG_DTYPE")
        tags = np.ascontiguousarray(tags)
        self._append(mba, len(tags), ffi.NULL, lend_array("struct sq_tag[]", tags))

    def read_tags(self, mba: SupportsIndex, count: SupportsIndex) -> np.ndarray[Any, Any]:
        """Read the tags of media blocks, before or behind a write pointer.

        Parameters
        ----------
        mba : int
            First media block.
        count : int
            Number of blocks.

        Returns
        -------
        TAG_DTYPE[count]

        Raises
        ------
        ConfigError
            If the range reaches beyond the medium.
        ClosedError
            If the medium was closed.
        """
        first, number = self.check_range(mba, count)
        tags = np.zeros(number, TAG_DTYPE)
        status = lib.sq_medium_read_tags(self.handle, first, number, lend_array("struct sq_tag[]", tags))
        if status:
            raise status_error(status, "read of the medium's tags")
        return tags
