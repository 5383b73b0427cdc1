"""The drive: a medium with a log on it, and what lies where."""

from __future__ import annotations

from typing import TYPE_CHECKING, SupportsIndex

from seqstore.engine import Engine

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from seqstore.media.native import NativeMedium


class Drive:
    """A drive of a store; see `Store.drives`.

    Attributes
    ----------
    medium : NativeMedium
        The bytes, or their tags. The log owns the write pointers: an append from outside breaks it.
    blocks, block_size : int
        Size in blocks, and bytes of a block.
    segment_blocks, segment_size : int
        A segment of the log, in blocks and in bytes.
    capacity : int
        Size in bytes.
    data_capacity_blocks : int
        Blocks that can hold data, those of summaries counted out.
    usable_blocks : int
        Live blocks that the drive takes at most.
    reserved_blocks : int
        What is kept back for cleaning: data capacity less usable blocks.
    """

    def __init__(self, medium: NativeMedium, engine: Engine) -> None:
        counters = engine.counters()
        self.medium = medium
        self.blocks = medium.blocks
        self.block_size = medium.block_size
        self.segment_blocks = medium.zone_blocks
        self.segment_size = medium.zone_blocks * medium.block_size
        self.capacity = medium.capacity
        self.data_capacity_blocks = counters["data_capacity_blocks"]
        self.usable_blocks = counters["usable_blocks"]
        self.reserved_blocks = self.data_capacity_blocks - self.usable_blocks
        self._engine = engine

    def __repr__(self) -> str:
        return f"<Drive on {self.medium!r}>"

    @property
    def head(self) -> int:
        """Media block address where the next block goes.

        Raises
        ------
        ClosedError
            If the store was closed.
        """
        return self._engine.counters()["head_mba"]

    def raw(self, mba: SupportsIndex, count: SupportsIndex) -> bytes:
        """Return bytes as they lie on the medium, whoever they belong or belonged to: the forensic view.

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
            If the range reaches beyond the drive.
        MediumError
            If the store is simulated.
        ClosedError
            If the store was closed.
        """
        return self._engine.raw(*self.medium.check_range(mba, count))

    def ledger(self, mba: SupportsIndex = 0, count: SupportsIndex | None = None) -> NDArray[np.void]:
        """Say for media blocks what they are, whose, and since when dead.

        Parameters
        ----------
        mba : int
            First media block.
        count : int, optional
            Number of blocks; by default all up to the drive's end.

        Returns
        -------
        LEDGER_DTYPE[count]
            ``state`` (`BlockState`), ``tenant``, ``volume`` (0: the log itself), ``lba`` while live, ``died``
            while dead: the `Stats.position` of the death. NO_ADDRESS stands for none.

        Raises
        ------
        ConfigError
            If the range reaches beyond the drive.
        ClosedError
            If the store was closed.
        """
        first, _ = self.medium.check_range(mba, 0)
        number = self.blocks - first if count is None else count
        return self._engine.ledger(*self.medium.check_range(first, number))

    def segments(self) -> NDArray[np.void]:
        """List the segments of the log.

        Returns
        -------
        SEGMENT_DTYPE[n]
            ``first_mba``, ``live`` (blocks), ``write_pointer`` (blocks from the segment's start), ``state``
            (`SegmentState`).

        Raises
        ------
        ClosedError
            If the store was closed.
        """
        return self._engine.segments()
