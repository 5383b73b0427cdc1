"""The key area: a file of fixed size with two copies of the table of wrapped keys.

A change is made in memory, written over copy one, synced and read back, and then over copy two, synced and
read back. It has happened from the moment on that copy one is durable: whoever opens the area takes the copy
of the higher generation, and first brings the other one to the same state. So of the two copies one is always
whole, and what a change removes is gone from both when the call returns, or when the next opening does.

Nothing is renamed, appended or made anew, so that the file system has no reason to put new bytes elsewhere.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from seqstore.errors import AccessError, ConfigError, FormatError, MediumError, VersionError
from seqstore.keys.secret import wipe
from seqstore.keys.table import ALIGNMENT, Table

_OWNER_ALONE = 0o600
_NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS}


class Storage(Protocol):
    """What holds a key area: bytes in a row that can be written over in their place. Raises OSError."""

    @property
    def size(self) -> int:
        """Bytes, which never change in number."""

    def read(self, offset: int, length: int) -> bytearray:
        """Return bytes, from the drive and not from a cache where that can be had."""

    def write(self, offset: int, data: bytes | bytearray) -> None:
        """Write bytes in their place."""

    def sync(self) -> None:
        """Return when everything written before is safe."""


class FileStorage:
    """A file, locked against other processes as long as it is open for changes.

    Parameters
    ----------
    path : path-like
    size : int, optional
        Makes a new file of that size; none may be there.
    read_only : bool
    """

    def __init__(
        self, path: str | os.PathLike[str], *, size: int | None = None, read_only: bool = False
    ) -> None:
        self.path = os.fspath(path)
        flags = os.O_RDONLY if read_only else os.O_RDWR
        if size is not None:
            flags |= os.O_CREAT | os.O_EXCL
        self._descriptor = os.open(self.path, flags | os.O_CLOEXEC, _OWNER_ALONE)
        try:
            if not read_only:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if size is not None:
                os.posix_fallocate(self._descriptor, 0, size)
            self.size = os.fstat(self._descriptor).st_size
        except BaseException:
            self.close()
            if size is not None:
                self.remove()
            raise

    def read(self, offset: int, length: int) -> bytearray:
        """Return bytes; clean pages of the cache are dropped first, so that they come from the drive."""
        os.posix_fadvise(self._descriptor, offset, length, os.POSIX_FADV_DONTNEED)
        data = bytearray(length)
        view = memoryview(data)
        while view:
            done = os.preadv(self._descriptor, [view], offset)
            if done == 0:
                raise OSError(errno.EIO, "the file is shorter than it was")
            view, offset = view[done:], offset + done
        return data

    def write(self, offset: int, data: bytes | bytearray) -> None:
        """Write bytes in their place."""
        view = memoryview(data)
        while view:
            done = os.pwrite(self._descriptor, view, offset)
            view, offset = view[done:], offset + done

    def sync(self) -> None:
        """Return when everything written before is safe."""
        os.fsync(self._descriptor)

    def sync_name(self) -> None:
        """Make durable that the file is there."""
        folder = os.open(Path(self.path).absolute().parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Close the file. Closing again does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def remove(self) -> None:
        """Remove a file that could not be made."""
        with suppress(OSError):
            os.unlink(self.path)  # noqa: PTH108 (undoes os.open)


class KeyArea:
    """The two copies, kept the same.

    Parameters
    ----------
    storage : Storage
    read_only : bool
        Whether a copy that lags behind is left as it is.

    Attributes
    ----------
    table : Table
        As it is on the storage. Changes are made on a copy, and committed.

    Raises
    ------
    FormatError
        If neither copy is whole.
    MediumError
        If the storage fails.
    """

    def __init__(self, storage: Storage, *, read_only: bool = False) -> None:
        self._storage = storage
        self._read_only = read_only
        self._failure = ""
        with self._storing("opening the key area"):
            if storage.size == 0 or storage.size % (2 * ALIGNMENT):
                raise FormatError(
                    f"this is no key area of a store: it has {storage.size} bytes, and a multiple of"
                    f" {2 * ALIGNMENT} is expected"
                )
            self._copy_bytes = storage.size // 2
            self.table = self._recover()

    @classmethod
    def create(cls, storage: Storage, table: Table) -> KeyArea:
        """Put an area into a storage that is twice the size of the table."""
        with _translated("making the key area"):
            storage.write(0, table.image)
            storage.write(len(table.image), table.image)
            storage.sync()
        return cls(storage)

    # ---- opening --------------------------------------------------------------------------------

    def _recover(self) -> Table:
        images = [self._storage.read(at, self._copy_bytes) for at in (0, self._copy_bytes)]
        first = _parse(images[0])
        if first is not None and images[0] == images[1]:
            wipe(images[0])
            wipe(images[1])
            return first
        tables = [first, _parse(images[1])]
        whole = [table for table in tables if table is not None]
        if not whole:
            raise FormatError(
                "neither copy of the key area is whole: this is none, or both are damaged; put the right file"
                " in its place"
            )
        best = max(whole, key=lambda table: table.generation)
        if len(whole) == 2 and whole[0].generation == whole[1].generation:
            raise FormatError(
                "the two copies of the key area contradict each other: it was put together from two; restore"
                " the file as it was"
            )
        if not self._read_only:
            # What was read may be in a cache alone: safe first, or a cut during the repair could tear both.
            self._storage.sync()
            self._put(1 if best is tables[0] else 0, best)
        for image in images:
            wipe(image)
        return best

    # ---- changes --------------------------------------------------------------------------------

    def commit(self, table: Table) -> None:
        """Put a changed copy of the table in the place of the old one, which is wiped.

        Raises
        ------
        AccessError
            If the area is open for reading alone.
        MediumError
            If the storage fails, or does not hold what was written. The area takes no more changes then. If
            `table` is the new one, the change has happened, and what it removes may still be in copy two;
            else that is not known. Opening the area again settles it.
        """
        self.expect_changes()
        table.finish()
        with self._storing("changing the key area"):
            self._put(0, table)
            old, self.table = self.table, table
            old.wipe()
            self._put(1, table)

    def expect_changes(self) -> None:
        """Refuse changes where none can be made; raises as `commit`."""
        if self._read_only:
            raise AccessError("the key area is open for reading alone; open the store for writing")
        if self._failure:
            raise MediumError(
                f"the key area failed before ({self._failure}); close the store and open it again",
                errno=errno.EIO,
            )

    def _put(self, copy: int, table: Table) -> None:
        at = copy * self._copy_bytes
        self._storage.write(at, table.image)
        self._storage.sync()
        if self._storage.read(at, self._copy_bytes) != table.image:
            raise MediumError(
                f"copy {copy + 1} of the key area does not hold what was written; the drive is failing: copy"
                " the store to another one",
                errno=errno.EIO,
            )

    @contextmanager
    def _storing(self, doing: str) -> Iterator[None]:
        try:
            with _translated(doing):
                yield
        except BaseException as error:
            self._failure = str(error) or type(error).__name__
            raise


def make_file(path: str | os.PathLike[str], table: Table) -> tuple[FileStorage, KeyArea]:
    """Make a key area in a new file; after a failure there is none."""
    with _translated(f"making the key area {os.fspath(path)!r}"):
        storage = FileStorage(path, size=2 * len(table.image))
        try:
            area = KeyArea.create(storage, table)
            storage.sync_name()
        except BaseException:
            storage.close()
            storage.remove()
            raise
        return storage, area


def open_file(path: str | os.PathLike[str], *, read_only: bool = False) -> tuple[FileStorage, KeyArea]:
    """Open the key area in a file."""
    with _translated(f"opening the key area {os.fspath(path)!r}"):
        storage = FileStorage(path, read_only=read_only)
        try:
            return storage, KeyArea(storage, read_only=read_only)
        except BaseException:
            storage.close()
            raise


def _parse(image: bytearray) -> Table | None:
    """Read a copy; None if it was torn or is damaged."""
    try:
        return Table(image)
    except VersionError:
        raise
    except FormatError:
        return None


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    try:
        yield
    except (MediumError, AccessError):
        raise
    except FileExistsError as error:
        raise ConfigError(f"{doing}: there is a file already; give a path where none is") from error
    except BlockingIOError as error:
        raise MediumError(
            f"{doing}: another process uses it; close the store there", errno=errno.EBUSY
        ) from error
    except OSError as error:
        message = f"{doing}: {error.strerror or error}"
        if error.errno in _NO_ACCESS:
            raise AccessError(f"{message}; look at the permissions") from error
        raise MediumError(message, errno=error.errno) from error
