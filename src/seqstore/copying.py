"""Copying what a volume shows to a volume of another log: only what differs, in large batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from seqstore._native.convert import lend
from seqstore.extents import differences, extents_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from seqstore.engine_volume import EngineView, EngineVolume

_BATCH_BYTES = 8 << 20  # that are read and written at a time


class Copier:
    """Copies what one view shows to a volume of another log.

    Parameters
    ----------
    count : callable
        Is told how many blocks were copied.
    """

    def __init__(self, count: Callable[[int], None] = lambda _: None) -> None:
        self._count = count
        self._buffer: NDArray[np.uint8] | None = None

    def bring(
        self, target: EngineVolume, old: EngineView | None, new: EngineView, source: EngineView | None = None
    ) -> None:
        """Make a volume that shows what `old` does show what `new` does.

        Parameters
        ----------
        target : EngineVolume
        old, new : EngineView
            Of one log; None shows nothing.
        source : EngineView, optional
            Where the bytes are read, if not from `new`: a volume or snapshot that has several copies.
        """
        size = new._info()[0]
        if target._info()[0] != size:
            target._resize(size)
        before = [] if old is None else [extents_of(old)]
        now = extents_of(new)
        if old is not None:
            before.append(extents_of(old))
        for written, trimmed in differences(before, now):
            for lba, count in trimmed:
                target._trim(
                    lba * target.block_size, min(count * target.block_size, size - lba * target.block_size)
                )
            self._copy(target, source or new, written, size)

    def _copy(
        self, target: EngineVolume, source: EngineView, runs: Sequence[tuple[int, int]], size: int
    ) -> None:
        whole, block_size = size // target.block_size, target.block_size
        most = max(_BATCH_BYTES // block_size, 1)
        for lbas, count in _batches(runs, most, whole):
            if not target._engine.medium.keeps_bytes:
                target._write_blocks(lbas, count, None)
            else:
                if self._buffer is None or self._buffer.shape[1] != block_size:
                    self._buffer = np.empty((most, block_size), np.uint8)
                part = self._buffer[:count]
                source._read_blocks(lbas, count, part)
                target._write_blocks(lbas, count, lend(part, "data"))
            self._count(count)
        if runs and runs[-1][0] + runs[-1][1] > whole:  # a block that the volume's end cuts
            offset = whole * block_size
            if target._engine.medium.keeps_bytes:
                target.write(offset, source.read(offset, size - offset))
            self._count(1)

    def wipe(self) -> None:
        """Clear what tenants' bytes went through."""
        if self._buffer is not None:
            self._buffer[:] = 0


def _batches(
    runs: Sequence[tuple[int, int]], most: int, end: int
) -> Iterator[tuple[int | NDArray[np.uint64], int]]:
    """Cut runs into batches: long ones as they are, short ones together, all up to an end."""
    gathered: list[tuple[int, int]] = []
    room = most
    for start, length in runs:
        first, count = start, min(length, end - start)
        while count > 0:
            if count >= most:
                yield first, most
                first, count = first + most, count - most
                continue
            part = min(count, room)
            gathered.append((first, part))
            room -= part
            first, count = first + part, count - part
            if not room:
                yield _gather(gathered)
                gathered, room = [], most
    if gathered:
        yield _gather(gathered)


def _gather(runs: list[tuple[int, int]]) -> tuple[int | NDArray[np.uint64], int]:
    if len(runs) == 1:
        return runs[0]
    parts = [np.arange(first, first + count, dtype=np.uint64) for first, count in runs]
    lbas = np.concatenate(parts)
    return lbas, len(lbas)
