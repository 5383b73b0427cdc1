"""The medium that is searched, read from its first byte to its last and never written to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np

from seqstore import Drive, MediumError
from seqstore.folder import StrPath, os_errors, parse_path
from seqstore.forensics.patterns import Bytes
from seqstore.media.native import NativeMedium

Searchable: TypeAlias = "StrPath | NativeMedium | Drive"

CHUNK_BYTES = 4 << 20
CARRIED_BYTES = 8192
"""What is shown of the chunk before once more: above what a fragment needs to be found for certain."""

_RETRIED_BYTES = 4096


class Source:
    """A medium to search.

    Parameters
    ----------
    name : str
        For reports.
    size : int
        Bytes.
    read_into : callable
        Fills a buffer from an offset, or raises `OSError`.
    unit : int
        Offsets and lengths that `read_into` takes are multiples of it, but at the end.

    Attributes
    ----------
    unreadable : list of (int, int)
        Offset and length of what could not be read so far, and counts as zeros.
    """

    def __init__(self, name: str, size: int, read_into: Callable[[int, Bytes], None], unit: int) -> None:
        self.name = name
        self.size = size
        self.unreadable: list[tuple[int, int]] = []
        self._read_into = read_into
        self._unit = unit

    def chunks(self) -> Iterator[tuple[int, int, Bytes]]:
        """Read it once.

        Yields
        ------
        int, int, uint8[n]
            Offset of the data in the medium, bytes of it that were shown before, and the data, which the next
            chunk writes over; after the medium's end zeros follow up to a multiple of 64.
        """
        buffer = np.zeros(CARRIED_BYTES + CHUNK_BYTES, np.uint8)
        carried = 0
        for first in range(0, self.size, CHUNK_BYTES):
            count = min(CHUNK_BYTES, self.size - first)
            if first:
                buffer[:CARRIED_BYTES] = buffer[CHUNK_BYTES:]
                carried = CARRIED_BYTES
            begin = CARRIED_BYTES - carried
            self._read(first, buffer[CARRIED_BYTES : CARRIED_BYTES + count])
            buffer[CARRIED_BYTES + count :] = 0
            yield first - carried, carried, buffer[begin : CARRIED_BYTES + count + -count % 64]

    def _read(self, offset: int, target: Bytes) -> None:
        """Read what can be read."""
        try:
            self._read_into(offset, target)
            return
        except OSError:
            target[:] = 0
        size = max(_RETRIED_BYTES, self._unit)
        for first in range(0, len(target), size):
            part = target[first : first + size]
            try:
                self._read_into(offset + first, part)
            except OSError:
                part[:] = 0
                self._note(offset + first, len(part))

    def _note(self, offset: int, count: int) -> None:
        if self.unreadable and sum(self.unreadable[-1]) == offset:
            before, length = self.unreadable.pop()
            offset, count = before, length + count
        self.unreadable.append((offset, count))


@contextmanager
def open_source(medium: Searchable) -> Iterator[Source]:
    """Open a drive's file or a device for reading, or take a medium of the caller's.

    Raises
    ------
    ConfigError
        If it is neither.
    MediumError, AccessError
        If it is not there, cannot be opened, or keeps no bytes.
    """
    if isinstance(medium, Drive):
        medium = medium.medium
    if isinstance(medium, NativeMedium):
        if not medium.keeps_bytes:
            raise MediumError(f"{medium!r} keeps no bytes; a drive's file or a medium in memory does")
        yield Source(repr(medium), medium.capacity, _reader(medium), medium.block_size)
        return
    path = parse_path(medium, "medium")
    name = os.fsdecode(medium)
    with os_errors(f"opening {name!r}"):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with os_errors(f"size of {name!r}"):
            os.pread(descriptor, 1, 0)  # a folder can be opened, and not read
            size = os.lseek(descriptor, 0, os.SEEK_END)  # also of a block device
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        yield Source(name, size, _file_reader(descriptor), 1)
    finally:
        os.close(descriptor)


def _reader(medium: NativeMedium) -> Callable[[int, Bytes], None]:
    def read_into(offset: int, target: Bytes) -> None:
        block = medium.block_size
        target[:] = np.frombuffer(medium.read(offset // block, len(target) // block), np.uint8)

    return read_into


def _file_reader(descriptor: int) -> Callable[[int, Bytes], None]:
    def read_into(offset: int, target: Bytes) -> None:
        view = memoryview(target.data)
        while view:
            count = os.preadv(descriptor, [view], offset)
            if count == 0:
                raise OSError("the medium has become shorter while it was read")
            view, offset = view[count:], offset + count

    return read_into
