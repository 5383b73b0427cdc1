"""A trace as a source of operations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from seqstore.errors import ConfigError
from seqstore.sim.traces.formats import FORMATS, detect_format
from seqstore.sim.traces.requests import MAX_OFFSET, Counts, Requests, Shaper
from seqstore.sim.traces.survey import TraceInfo, info
from seqstore.units import parse_size, unsigned

_MIN_BLOCK, _MAX_BLOCK = 512, 1 << 20
_SUFFIXES = {".gz", ".bz2", ".xz", ".zst", ".csv", ".txt", ".log", ".bin"}


class Trace:
    """A recorded trace, made by `open_trace`: a `Source` that can be read any number of times.

    Nothing is kept open between two readings.

    Attributes
    ----------
    path : Path
        The file.
    format : str
        Its format, one of `FORMATS`.
    block_size : int
        Bytes of the blocks that operations count in.
    shift : int
        Bytes that are added to each offset.
    name : str
        The file's name without what says how it is compressed.
    parameters : dict of str to object
        What `open_trace` has to be given to read the same again.
    """

    def __init__(self, path: Path, *, format: str, block_size: int, shift: int) -> None:  # noqa: A002
        self.path = path
        self.format = format
        self.block_size = block_size
        self.shift = shift
        name = path
        while name.suffix.lower() in _SUFFIXES:
            name = name.with_suffix("")
        self.name = name.name
        self.parameters: dict[str, Any] = {
            "path": str(path),
            "format": format,
            "block_size": block_size,
            "shift": shift,
        }
        self._counts = Counts()
        self._info: TraceInfo | None = None

    def __repr__(self) -> str:
        return f"<Trace {str(self.path)!r} format={self.format!r} block_size={self.block_size}>"

    @property
    def misaligned(self) -> int:
        """Requests of the latest reading, so far, that do not begin and end at a block's border."""
        return sum(self._counts.misaligned.values())

    @property
    def misaligned_by_volume(self) -> Mapping[tuple[int, int], int]:
        """The same by tenant and volume, of those that have any."""
        return self._counts.misaligned

    @property
    def disordered(self) -> int:
        """Requests of the latest reading, so far, that the trace places in time before an earlier one."""
        return self._counts.disordered

    @property
    def skipped(self) -> int:
        """Lines of the latest reading, so far, that ask for no data: flushes, other commands, no length."""
        return self._counts.skipped

    @property
    def blocks(self) -> int:
        """Blocks that are written at least once. The first use reads the whole trace."""
        return self._surveyed().written_set_blocks

    @property
    def volumes(self) -> Mapping[tuple[int, int], int]:
        """Blocks of each volume up to the last that a request names. The first use reads the whole trace."""
        return self._surveyed().volumes

    def _surveyed(self) -> TraceInfo:
        if self._info is None:
            self._info = info(self)
        return self._info

    def batches(self) -> Iterator[NDArray[np.void]]:
        """Read the trace from its beginning and give its operations.

        Times are nanoseconds since the first request, and never go back: a request that the trace places
        before an earlier one gets that one's time. Reads and writes are rounded outward to whole blocks,
        trims inward.

        Yields
        ------
        structured array of OPERATION_DTYPE
            Some 150,000 operations; memory does not grow with the trace.

        Raises
        ------
        TraceError
            If a line is malformed; it says which, and what was expected.
        NotFoundError
            If the file is gone.
        """
        for _, operations in self.requests({}):
            yield operations

    def requests(self, names: dict[tuple[int, int], str]) -> Iterator[tuple[Requests, NDArray[np.void]]]:
        """Read the trace from its beginning; give its requests in bytes, and the operations they become.

        Parameters
        ----------
        names : dict of (int, int) to str
            Filled with what the trace calls its volumes.
        """
        reader = FORMATS[self.format](self.path, self.block_size)
        shaper = Shaper(block_size=self.block_size, shift=self.shift, time_unit_ns=reader.time_unit_ns)
        self._counts = shaper.counts
        for lines in reader.requests():
            requests = shaper.select(lines)
            names.update(reader.names)
            if len(requests):
                yield requests, shaper.shape(requests)


def open_trace(
    path: str | PathLike[str],
    format: str | None = None,  # noqa: A002 (the word that users know)
    *,
    block_size: SupportsIndex | str = 4096,
    shift: SupportsIndex | str = 0,
) -> Trace:
    """Open a recorded trace, compressed or not.

    Parameters
    ----------
    path : path
        A file, plain or compressed by gzip, bzip2, xz or zstd (this needs the package ``zstandard``).
    format : str, optional
        ``"msr"``, ``"alibaba"``, ``"tencent"``, ``"cloudphysics"``, ``"oracle_general"``, ``"fio"`` or
        ``"blkparse"``; found out by the name and the first lines if not given.
    block_size : int or str
        Bytes of a block, a power of two from 512 to 1 MiB.
    shift : int or str
        Bytes to add to each offset, where `info` advises it: so that requests of a partition that begins
        amid a block are aligned.

    Returns
    -------
    Trace
        A source of operations.

    Raises
    ------
    ConfigError
        If format, block size or shift is none.
    NotFoundError
        If there is no such file.
    AccessError
        If it may not be read.
    TraceError
        If the format is not given and cannot be found out.
    """
    size = parse_size(block_size, "block_size")
    if not _MIN_BLOCK <= size <= _MAX_BLOCK or size & (size - 1):
        raise ConfigError(
            f"block_size is {size}; it must be a power of two from {_MIN_BLOCK} to {_MAX_BLOCK}"
        )
    shift_bytes = unsigned(parse_size(shift, "shift"), "shift")
    if shift_bytes >= MAX_OFFSET:
        raise ConfigError(f"shift is {shift_bytes}; it must lie below {MAX_OFFSET}")
    if format is not None and format not in FORMATS:
        raise ConfigError(f"format is {format!r}; it must be one of {', '.join(FORMATS)}")
    file = Path(path)
    found = detect_format(file) if format is None else format
    return Trace(file, format=found, block_size=size, shift=shift_bytes)
