"""A volume as a file of the standard library."""

from __future__ import annotations

import errno
import io
import os
from typing import TYPE_CHECKING, cast

from seqstore.errors import ClosedError, ConfigError
from seqstore.units import unsigned

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from seqstore.snapshot import Snapshot
    from seqstore.volume import Volume

MODES = ("rb", "r+b")


class VolumeIO(io.RawIOBase):
    """An unbuffered file over a volume or snapshot; made by `Volume.open` and `Snapshot.open`.

    The file ends where the volume ends: reads stop there, a write takes what fits and raises ENOSPC when
    nothing does, and `truncate` resizes the volume. Wrap it in `io.BufferedRandom`, `io.BufferedReader` or
    `io.BufferedWriter` where small pieces are read or written. Each file has a position of its own; one
    file is for one thread at a time.

    Parameters
    ----------
    volume : Volume or Snapshot
    mode : {"r+b", "rb"}
        For reading and writing, or for reading alone.

    Raises
    ------
    ConfigError
        If there is no such mode.
    """

    def __init__(self, volume: Volume | Snapshot, mode: str = "r+b") -> None:
        super().__init__()
        if mode not in MODES:
            raise ConfigError(f"mode is {mode!r}; there is {', '.join(map(repr, MODES))}")
        self.mode = mode
        self._volume = volume
        self._position = 0

    def __repr__(self) -> str:
        state = ", closed" if self.closed else ""
        kind = type(self._volume).__name__.lower()
        return f"<VolumeIO of {kind} {self._volume.name!r}, mode {self.mode!r}{state}>"

    def readable(self) -> bool:
        """Tell whether the file can be read: always."""
        self._require_open()
        return True

    def writable(self) -> bool:
        """Tell whether the file can be written."""
        self._require_open()
        return self.mode == "r+b"

    def seekable(self) -> bool:
        """Tell whether the file has a position that can be moved: always."""
        self._require_open()
        return True

    def tell(self) -> int:
        """Return the position, in bytes."""
        self._require_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position, also behind the end.

        Parameters
        ----------
        offset : int
            Bytes from where `whence` says.
        whence : int
            0 for the start, 1 for the position, 2 for the end.

        Returns
        -------
        int
            The new position.

        Raises
        ------
        ConfigError
            If it would lie before the start, or there is no such `whence`.
        """
        self._require_open()
        if whence == os.SEEK_SET:
            base = 0
        elif whence == os.SEEK_CUR:
            base = self._position
        elif whence == os.SEEK_END:
            base = self._volume.size
        else:
            raise ConfigError(f"whence is {whence!r}; 0, 1 or 2 is expected")
        self._position = unsigned(base + offset, "position")
        return self._position

    def readinto(self, buffer: Buffer, /) -> int:
        """Read at the position until the buffer is full or the file ends, and return the number of bytes."""
        self._require_open()
        with memoryview(buffer) as view, view.cast("B") as target:
            length = min(len(target), self._left())
            if length:
                self._volume.readinto(self._position, target[:length])
        self._position += length
        return length

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most `size` bytes at the position; all up to the end if it is negative or None."""
        # What the base class does leaves a copy of the data behind, in memory that it has freed.
        self._require_open()
        left = self._left()
        length = left if size is None or size < 0 else min(size, left)
        data = self._volume.read(self._position, length) if length else b""
        self._position += length
        return data

    def readall(self) -> bytes:
        """Read from the position to the end."""
        return self.read()

    def write(self, data: Buffer, /) -> int:
        """Write at the position as much as fits, and return the number of bytes.

        Raises
        ------
        OSError
            ENOSPC if the file ends at the position; `OutOfSpaceError` if the drive is full.
        io.UnsupportedOperation
            If the file is open for reading alone.
        """
        volume = self._require_writable()
        with memoryview(data) as view, view.cast("B") as source:
            length = min(len(source), self._left())
            if length:
                volume.write(self._position, source[:length])
            elif len(source):
                raise OSError(errno.ENOSPC, "the volume ends here; resize it to write more")
        self._position += length
        return length

    def truncate(self, size: int | None = None) -> int:
        """Resize the volume, to the position if no size is given, and return its size.

        Raises
        ------
        io.UnsupportedOperation
            If the file is open for reading alone.
        """
        volume = self._require_writable()
        size_bytes = self._position if size is None else unsigned(size, "size")
        volume.resize(size_bytes)
        return size_bytes

    def _left(self) -> int:
        return max(self._volume.size - self._position, 0)

    def _require_open(self) -> None:
        if self.closed:
            raise ClosedError("I/O operation on a closed file")

    def _require_writable(self) -> Volume:
        if not self.writable():
            raise io.UnsupportedOperation("the file is open for reading alone; open a volume with 'r+b'")
        return cast("Volume", self._volume)  # a snapshot gets no file that is writable
