"""The medium that keeps its bytes in memory."""

from __future__ import annotations

from seqstore._native._core import lib
from seqstore.media.native import OverwritableMedium


class MemoryMedium(OverwritableMedium):
    """A row of zones in memory; see `NativeMedium` for what all media have."""

    _kind = lib.SQ_MEDIUM_MEMORY
