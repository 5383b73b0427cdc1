"""The keys of an encrypted drive: the key area of its store, which is overwritten with zeros."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from seqstore.errors import FormatError, MediumError
from seqstore.keys.area import FileStorage
from seqstore.keys.secret import wipe
from seqstore.keys.table import Table


class KeyFile:
    """The file ``keys`` of a store whose drive was encrypted from its first block on; see `KeysOfDrive`.

    What is destroyed is this file. A copy of it somewhere, with the root key, opens what lies on the drive as
    before: who keeps copies has to destroy them too.

    Parameters
    ----------
    path : str or path-like
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)

    def destroy(self) -> int:
        """Overwrite both copies of the table, one after the other, and read them back.

        Returns
        -------
        int
            Living keys that were in it; 0 if it was destroyed before, or damaged.

        Raises
        ------
        MediumError
            If the store is open, or the file does not hold the zeros that were written.
        """
        with _errors(f"destroying the keys in {self.path!r}"), closing(FileStorage(self.path)) as storage:
            count = self._count(storage)
            half = storage.size // 2
            for first, length in ((0, half), (half, storage.size - half)):
                storage.write(first, bytes(length))
                storage.sync()
            if not self._is_zero(storage):
                raise MediumError(f"{self.path!r} does not hold the zeros that were written over its keys")
        return count

    def are_gone(self) -> bool:
        """Whether nothing but zeros is in the file."""
        with (
            _errors(f"reading {self.path!r}"),
            closing(FileStorage(self.path, read_only=True)) as storage,
        ):
            return self._is_zero(storage)

    @staticmethod
    def _count(storage: FileStorage) -> int:
        half = storage.size // 2
        for first in (0, half):
            image = storage.read(first, half)
            with suppress(FormatError):
                return sum(1 for entry in Table(image).entries.values() if not entry.is_dead)
            wipe(image)
        return 0

    @staticmethod
    def _is_zero(storage: FileStorage) -> bool:
        return not any(storage.read(0, storage.size))


@contextmanager
def _errors(doing: str) -> Iterator[None]:
    try:
        yield
    except MediumError:
        raise
    except OSError as error:  # a store that is open has locked it
        raise MediumError(f"{doing}: {error}", errno=error.errno) from error
