"""The bytes of a drive: where they come from, and how large its blocks are."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from seqstore.errors import FormatError, MediumError, VersionError
from seqstore.format.layout import HEAD, MIN_BLOCK_SIZE, RECORD_MAGIC, Geometry
from seqstore.format.summary import Summary, parse_summary, read_block_shift

_SCAN_BYTES = 1 << 20


class Source(Protocol):
    """Whatever holds the bytes of a drive."""

    def read(self, offset: int, length: int, /) -> bytes:
        """Return bytes; fewer only where they end, and `OSError` where they cannot be read."""


class BytesSource:
    """An image in memory."""

    def __init__(self, image: bytes | bytearray | memoryview) -> None:
        self._image = memoryview(image).cast("B")

    def read(self, offset: int, length: int, /) -> bytes:
        """Return bytes of the image."""
        return bytes(self._image[offset : offset + length])


class FileSource:
    """A regular file or a block device, opened for reading.

    Raises
    ------
    MediumError
        If it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        name = os.fspath(path)
        try:
            if Path(name).is_dir():
                raise MediumError(f"{name!r} is a directory; the file or device of a drive is expected")
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except MediumError:
            raise
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            number = error.errno if isinstance(error, OSError) else None
            raise MediumError(f"{name!r} cannot be read: {why}", errno=number) from error

    def read(self, offset: int, length: int, /) -> bytes:
        """Return bytes of the file."""
        parts = []
        while length > 0:
            part = os.pread(self._descriptor, length, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class BlockReader:
    """The blocks of a drive whose sizes are known.

    Parameters
    ----------
    source : Source
        The bytes.
    geometry : Geometry
        The sizes.
    """

    def __init__(self, source: Source, geometry: Geometry) -> None:
        self._source = source
        self.geometry = geometry

    def read(self, mba: int) -> bytes:
        """Return one block.

        Raises
        ------
        FormatError
            If the drive ends before, or the block cannot be read.
        """
        size = self.geometry.block_size
        try:
            block = self._source.read(mba * size, size)
        except OSError as error:
            raise FormatError(f"block {mba} cannot be read: {error}") from error
        if len(block) != size:
            raise FormatError(f"block {mba} is missing: the file ends at byte {mba * size + len(block)}")
        return block

    def summary(self, mba: int) -> Summary:
        """Return the summary at a block of this drive.

        Raises
        ------
        FormatError
            If there is none, or it says that the drive has other sizes.
        """
        summary = parse_summary(self.read(mba), mba)
        if summary.geometry != self.geometry:
            raise FormatError(f"block {mba}: the summary is of a drive of other sizes: {summary.geometry}")
        return summary


def find_geometry(source: Source, places: Iterable[int] | None = None) -> tuple[Geometry, int]:
    """Learn the sizes of a drive from the first valid summary on it.

    Looks at the first block, and then wherever a block may begin.

    Parameters
    ----------
    source : Source
        The bytes of the drive.
    places : iterable of int, optional
        Offsets in bytes, at each of which a MiB is looked at; by default the whole drive is.

    Returns
    -------
    geometry : Geometry
    drive : int
        Identity of the drive.

    Raises
    ------
    FormatError
        If there is no valid summary.
    VersionError
        If the first one is of another version.
    """
    for offset in itertools.count(0, _SCAN_BYTES) if places is None else places:
        chunk = _read_or_skip(source, offset)
        if not chunk:
            break
        at = chunk.find(RECORD_MAGIC)
        while at >= 0:
            summary = _summary_at(source, offset + at)
            if summary is not None:
                return summary.geometry, summary.drive
            at = chunk.find(RECORD_MAGIC, at + 1)
    raise FormatError(
        "no valid summary was found: this is no drive of seqstore, or all of it is damaged. "
        "If the sizes of its blocks and segments are known, give them"
    )


def _read_or_skip(source: Source, offset: int) -> bytes:
    """Read a piece of the scan; one that cannot be read at once is read in small pieces."""
    try:
        return source.read(offset, _SCAN_BYTES)
    except OSError:
        starts = range(offset, offset + _SCAN_BYTES, MIN_BLOCK_SIZE)
        return b"".join(_read_or_zeros(source, start) for start in starts)


def _read_or_zeros(source: Source, offset: int) -> bytes:
    try:
        return source.read(offset, MIN_BLOCK_SIZE)
    except OSError:
        return bytes(MIN_BLOCK_SIZE)


def _summary_at(source: Source, offset: int) -> Summary | None:
    """Return the summary that begins at a byte and says that it lies there."""
    if offset % MIN_BLOCK_SIZE:
        return None
    try:
        head = source.read(offset, HEAD.size)
        shift = read_block_shift(head)
        if shift is None or offset % (1 << shift):
            return None
        return parse_summary(source.read(offset, 1 << shift), offset >> shift)
    except VersionError:
        raise
    except (FormatError, OSError):
        return None


def find_size(source: Source) -> int:
    """Find the number of bytes of a source, by halving."""
    low, high = 0, MIN_BLOCK_SIZE
    while _has(source, high - 1):
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if _has(source, middle) else (low, middle)
    return low


def _has(source: Source, offset: int) -> bool:
    try:
        return offset < 1 << 62 and len(source.read(offset, 1)) == 1
    except OSError:
        return True
