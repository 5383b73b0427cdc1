"""What the readers of all formats have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from seqstore.sim.traces.columns import BadRowError, Columns, Table, read_each, read_plain
from seqstore.sim.traces.requests import NO_KIND, Requests
from seqstore.sim.traces.streams import Chunk, malformed, read_lines

MAX_SECONDS = 1 << 33
MAX_MICROSECONDS = 1 << 53


class Reader(ABC):
    """Reads one trace once, from its beginning.

    Parameters
    ----------
    path : Path
        The trace.
    block_size : int
        Bytes of a block, for formats that name objects and no addresses.

    Attributes
    ----------
    time_unit_ns : int
        Unit of the times of the requests.
    names : dict of (int, int) to str
        What the trace calls a volume, by the numbers of tenant and volume; filled while reading.
    """

    time_unit_ns: ClassVar[int]

    def __init__(self, path: Path, block_size: int) -> None:
        self.path = path
        self.block_size = block_size
        self.names: dict[tuple[int, int], str] = {}

    @abstractmethod
    def requests(self) -> Iterator[Requests]:
        """Give the lines of the trace, many at a time.

        Raises
        ------
        TraceError
            If one of them is malformed.
        """


class CsvReader(Reader):
    """Reads comma-separated values, with a line of column names at the head or without.

    Attributes
    ----------
    columns : mapping of str to type
        Names of the columns, and what stands in them.
    """

    columns: ClassVar[Columns]

    @abstractmethod
    def convert(self, table: Table) -> Requests:
        """Make requests of rows, one of each; raises `BadRowError` if one of them cannot be."""

    def requests(self) -> Iterator[Requests]:
        """Give the lines of the trace, many at a time."""
        for chunk in read_lines(self.path):
            yield self._read(self._without_header(chunk) if chunk.line == 1 else chunk)

    def _without_header(self, chunk: Chunk) -> Chunk:
        data = chunk.data.removeprefix(b"\xef\xbb\xbf")  # which some programs put before UTF-8
        first, _, rest = data.partition(b"\n")
        return Chunk(2, rest) if self.is_header(first) else Chunk(1, data)

    @classmethod
    def is_header(cls, line: bytes) -> bool:
        """Say if a line holds the names of the columns."""
        return _letters(line) == _letters(",".join(cls.columns).encode())

    def _read(self, chunk: Chunk) -> Requests:
        table = read_plain(chunk.data, self.columns)
        if table is not None:
            try:
                return self.convert(table)
            except BadRowError:
                pass  # read again below, where rows know their lines
        table, lines = read_each(self.path, chunk, self.columns)
        try:
            return self.convert(table)
        except BadRowError as bad:
            line = lines[bad.row]
            found = chunk.data.split(b"\n")[line - chunk.line]
            raise malformed(self.path, line, found, bad.expected) from None


def _letters(line: bytes) -> bytes:
    return line.replace(b"_", b"").replace(b" ", b"").strip().lower()


class MalformedLineError(Exception):
    """A line of text that cannot be read; its message says what was expected."""


Row = tuple[int, int, int, int, int]
"""Time, kind, volume, offset and length of a request."""


class TextReader(Reader):
    """Reads formats in which a line's meaning hangs on the lines before it, one line after the other."""

    def __init__(self, path: Path, block_size: int) -> None:
        super().__init__(path, block_size)
        self._volumes: dict[str, int] = {}

    @abstractmethod
    def parse(self, line: str) -> Row | None:
        """Read a line; None if it asks for nothing. Raises `MalformedLineError`."""

    def begin(self, chunk: Chunk) -> None:
        """Look at the beginning of the file before its first line is read."""

    def volume(self, name: str) -> int:
        """Give the number of a volume, which is new if the name is."""
        number = self._volumes.get(name)
        if number is None:
            number = self._volumes[name] = len(self._volumes) + 1
            self.names[1, number] = name
        return number

    def requests(self) -> Iterator[Requests]:
        """Give the lines of the trace, many at a time."""
        for chunk in read_lines(self.path):
            if chunk.line == 1:
                self.begin(chunk)
            yield self._read(chunk)

    def _read(self, chunk: Chunk) -> Requests:
        nothing: Row = (0, NO_KIND, 1, 0, 0)
        rows: list[Row] = []
        for number, line in enumerate(chunk.data.decode("utf-8", "surrogateescape").split("\n"), chunk.line):
            if not line or line.isspace():
                continue
            try:
                rows.append(self.parse(line) or nothing)
            except MalformedLineError as bad:
                raise malformed(
                    self.path, number, line.encode("utf-8", "surrogateescape"), str(bad)
                ) from None
        table = np.array(rows, np.int64).reshape(-1, len(nothing))
        return Requests(
            time=table[:, 0],
            kind=table[:, 1].astype(np.uint8),
            tenant=np.ones(len(rows), np.uint32),
            volume=table[:, 2].astype(np.uint32),
            offset=table[:, 3],
            length=table[:, 4],
        )


def bounded(text: str, below: int, what: str) -> int:
    """Read a decimal number of a line of text, below a limit."""
    if not (text.isascii() and text.isdigit() and len(text) < 30 and int(text) < below):
        raise MalformedLineError(f"{what} from 0 to {below - 1}")
    return int(text)


def one_tenant(rows: int) -> NDArray[np.uint32]:
    """Give the tenant of all rows of a trace that names no owners."""
    return np.ones(rows, np.uint32)
