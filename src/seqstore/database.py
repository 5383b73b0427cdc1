"""A small SQLite file that survives crashes, and what SQLite's errors mean here.

Statements commit one by one and are durable when they return; several that belong together stand in
`Database.atomic`. What is deleted is overwritten in the file. The journal is a write-ahead log, which costs
one sync a statement; the last connection that is closed folds it into the file.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

from seqstore.errors import (
    AccessError,
    ClosedError,
    ConfigError,
    FormatError,
    MediumError,
    SeqstoreError,
)

if TYPE_CHECKING:
    from pathlib import Path

Mode = Literal["rwc", "rw", "ro"]

_BUSY_SECONDS = 2.0
_OWNER_ALONE = 0o600  # names are nobody else's business, like the data
# Python 3.10 hands out no error codes. SQLite's words for these conditions have not changed in a decade.
_CONDITIONS: tuple[tuple[str, type[SeqstoreError], int | None, str], ...] = (
    ("closed database", ClosedError, None, "the store was closed; open it again, or make another"),
    ("is locked", MediumError, errno.EBUSY, "another process uses it; close the store there"),
    ("is full", MediumError, errno.ENOSPC, "the file system is full; make room"),
    ("readonly", AccessError, None, "it cannot be written; open the store with read_only=True"),
    ("unable to open", MediumError, errno.EACCES, "it cannot be opened; look at its permissions"),
    ("disk I/O error", MediumError, errno.EIO, "the file system failed"),
)


class Database:
    """A connection to an SQLite file. Any number of threads may use it.

    Parameters
    ----------
    path : Path or None
        An absolute path, or None for a database in memory.
    mode : {"rwc", "rw", "ro"}
        Make the file, open it for writing, or open it for reading alone.

    Raises
    ------
    FormatError
        If the file is no database, or damaged.
    MediumError
        If it cannot be opened.
    """

    def __init__(self, path: Path | None, mode: Mode) -> None:
        self.path = path
        self._lock = threading.RLock()
        if path is not None and mode == "rwc":
            _reserve(path)
        with self._translated():
            self._connection = sqlite3.connect(
                ":memory:" if path is None else _uri(path, mode),
                uri=path is not None,
                isolation_level=None,
                check_same_thread=False,
                timeout=_BUSY_SECONDS,
            )
        # Closed also when nobody closes it, and then without a warning.
        self._finalizer = weakref.finalize(self, self._connection.close)
        try:
            self._prepare(mode)
        except BaseException:
            self.close()
            raise

    def _prepare(self, mode: Mode) -> None:
        self.run("PRAGMA foreign_keys = ON")
        if mode != "ro":
            self.run("PRAGMA secure_delete = ON")
            self.run("PRAGMA synchronous = FULL")
        if mode == "rwc":
            # The file keeps it. One that is opened may be somebody else's, and is left as it is.
            self.run("PRAGMA journal_mode = WAL")
        damage = self.run("PRAGMA quick_check(1)")
        if damage != [("ok",)]:
            raise FormatError(f"{self.name} is damaged: {damage[0][0]}")

    @property
    def name(self) -> str:
        """What the database is called in messages."""
        return "the catalog in memory" if self.path is None else f"the catalog {str(self.path)!r}"

    def close(self) -> None:
        """Close the connection. Closing again does nothing."""
        with self._lock, self._translated():
            self._finalizer()

    def run(self, statement: str, *values: object) -> list[Any]:
        """Run one statement and return its rows.

        Raises
        ------
        ConfigError
            If a rule of the tables forbids it.
        FormatError
            If the file is damaged, or lacks what it should have.
        MediumError, AccessError
            If the file system does not let it.
        ClosedError
            If the connection was closed.
        """
        with self._lock, self._translated():
            return self._connection.execute(statement, values).fetchall()

    def run_many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for each row of values, as one change; raises as `run`."""
        with self.atomic(), self._translated():
            self._connection.executemany(statement, rows)

    def insert(self, statement: str, *values: object) -> int:
        """Run an INSERT and return the number of the new row; raises as `run`."""
        with self._lock, self._translated():
            number = self._connection.execute(statement, values).lastrowid
        assert number is not None
        return number

    @property
    def lock(self) -> threading.RLock:
        """Held during a block of `atomic`.

        Whoever keeps in memory what stands in the tables uses it for that, too: with a lock of their own one
        thread could hold that and wait for this, while another in such a block waits for theirs.
        """
        return self._lock

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """Make the statements of a block one: all of them are done, or none."""
        with self._lock:
            self.run("SAVEPOINT block")
            try:
                yield
            except BaseException:
                self.run("ROLLBACK TO block")
                self.run("RELEASE block")
                raise
            self.run("RELEASE block")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise ConfigError(f"{self.name} refuses it: {error}; open the store anew") from error
        except sqlite3.Error as error:
            raise self._meaning(error) from error

    def _meaning(self, error: sqlite3.Error) -> SeqstoreError:
        text = str(error)
        for condition, kind, number, advice in _CONDITIONS:
            if condition in text:
                if kind is ClosedError:
                    return ClosedError(
                        advice
                    )  # whoever closed the store need not know what it keeps names in
                message = f"{self.name}: {text}: {advice}"
                return MediumError(message, errno=number) if kind is MediumError else kind(message)
        return FormatError(
            f"{self.name} is damaged, or is none: {text}; open the store with rebuild_catalog=True to make it"
            " anew from the drive"
        )


def _reserve(path: Path) -> None:
    """Make the file, empty, for its owner alone; SQLite gives its journals the same rights.

    One that is there is not opened: closing it would undo the locks of other connections of this process.
    """
    with suppress(OSError):  # which SQLite runs into as well
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OWNER_ALONE))


def _uri(path: Path, mode: Mode) -> str:
    """Name a file to SQLite, whatever characters its path has."""
    uri = f"{path.as_uri()}?mode={mode}"
    if mode == "ro" and not _has_content(path.with_name(path.name + "-wal")):
        # Without a journal to read the file is all there is. SQLite would make a journal even for reading,
        # which a file system for reading alone does not let it.
        return uri + "&immutable=1"
    return uri


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
