"""The directory of a store: ``catalog.db``, and the drives in ``drives/``.

A drive is the file ``drives/0.img``, ``drives/1.img`` and so on, or a symbolic link of that name to a block
device or a file elsewhere. Paths are taken as they are: ``~`` is a name like any other.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seqstore.arguments import file_name
from seqstore.errors import AccessError, ConfigError, MediumError

StrPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]

_NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS}


class Folder:
    """Where the parts of a store lie.

    Parameters
    ----------
    path : path-like
        The store's directory. A relative one is taken from the current directory, now.

    Attributes
    ----------
    path, catalog, drive, keys : Path
        The directory, the catalog's file, the drive's, and that of the key area, if the store is encrypted.
    """

    def __init__(self, path: StrPath) -> None:
        self.path = parse_path(path, "path")
        self.catalog = self.path / "catalog.db"
        self.drive = self.path / "drives" / "0.img"
        self.keys = self.path / "keys"
        self._made: list[Path] = []

    def drive_path(self, number: int) -> Path:
        """Return the file of a drive, or the link to it."""
        return self.drive.with_name(f"{number}.img")

    def drive_numbers(self) -> list[int]:
        """Return the numbers of the drives whose files are there."""
        with os_errors(f"looking for drives in {str(self.path)!r}"):
            names = [path.stem for path in self.drive.parent.glob("*.img") if path.exists()]
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    def make(self, target: Path | None) -> None:
        """Make the directory, which must be empty or not there yet, and the link to a device.

        Raises
        ------
        ConfigError
            If there is something else in its place, or in it.
        MediumError, AccessError
            If the file system does not let it, or there is no such device.
        """
        with os_errors(f"making the store {str(self.path)!r}"):
            if self.path.is_dir():
                if any(self.path.iterdir()):
                    raise ConfigError(
                        f"the directory {str(self.path)!r} is not empty; give one that is, or does not exist"
                    )
            elif self.path.exists():
                raise ConfigError(f"{str(self.path)!r} is no directory; give a path that does not exist")
            else:
                self.path.mkdir()
                self._made.append(self.path)
            self.drive.parent.mkdir()
            self._made.append(self.drive.parent)
            if target is not None:
                target.stat()
                self.drive.symlink_to(target)

    def remove(self) -> None:
        """Remove what was made, after a failure. What a link pointed at stays as it is.

        What stood there before is somebody's store, or something else of theirs, and is left alone.
        """
        if self.drive.parent in self._made:
            for file in (self.drive, self.keys):
                with suppress(OSError):
                    file.unlink()
            with suppress(MediumError, AccessError):
                self.discard(self.catalog)
        for directory in reversed(self._made):
            with suppress(OSError):
                directory.rmdir()

    @staticmethod
    def discard(catalog: Path) -> None:
        """Remove a catalog's files, if there are any."""
        for end in ("", "-wal", "-shm"):
            with os_errors(f"removing {str(catalog)!r}"):
                catalog.with_name(catalog.name + end).unlink(missing_ok=True)

    def sync(self) -> None:
        """Make durable which files there are."""
        with os_errors(f"sync of {str(self.path)!r}"):
            for directory in (self.drive.parent, self.path, self.path.parent):
                descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    def put_catalog(self, fresh: Path) -> None:
        """Put a file in the place of the catalog, and keep the old one as ``catalog.db.old-N``."""
        with os_errors(f"replacing {str(self.catalog)!r}"):
            names = [self.catalog.with_name(self.catalog.name + end) for end in ("", "-wal", "-shm")]
            # Journals without their catalog would be taken for those of the new one.
            if any(name.exists() for name in names):
                number = 1
                while self._old(number).exists():
                    number += 1
                for end in ("-wal", "-shm"):
                    with suppress(FileNotFoundError):
                        journal = self.catalog.with_name(self.catalog.name + end)
                        journal.rename(self._old(number).with_name(self._old(number).name + end))
                with suppress(FileNotFoundError):
                    self.catalog.rename(self._old(number))
            fresh.rename(self.catalog)
        self.sync()

    def _old(self, number: int) -> Path:
        return self.catalog.with_name(f"{self.catalog.name}.old-{number}")


def parse_path(path: StrPath, what: str) -> Path:
    """Check a path and make it absolute.

    Raises
    ------
    ConfigError
        If it is none.
    """
    name = file_name(path, what)
    with os_errors(f"finding {name!r}"):
        return Path(name).absolute()


@contextmanager
def os_errors(doing: str) -> Iterator[None]:
    """Raise what the operating system refuses as errors of this library."""
    try:
        yield
    except (MediumError, AccessError):
        raise
    except OSError as error:
        message = f"{doing}: {error.strerror or error}"
        if error.errno in _NO_ACCESS:
            raise AccessError(f"{message}; look at the permissions, or give another place") from error
        raise MediumError(message, errno=error.errno) from error
