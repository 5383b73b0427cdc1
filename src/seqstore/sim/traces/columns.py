"""Lines of comma-separated values as columns: quickly where they are plain, one by one where they are not.

The quick way is ``pyarrow.csv`` where that is installed, otherwise `numpy.loadtxt`. What it does not take,
because a line is malformed or merely unusual, is read line by line: that says which line it is, or accepts
it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqstore.sim.traces.streams import Chunk, malformed, optional_module

Columns = Mapping[str, type]
"""Names of the columns in their order, and `int` or `str` for what stands in them."""

MAX_INTEGER = 2**63 - 1

# The quick ways agree on lines of these alone. Signs, spaces and quotes are read differently by each.
_PLAIN = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,_-\n"
_INTEGER = re.compile(rb"[0-9]{1,1000}|0[xX][0-9a-fA-F]{1,1000}")
_TEXT_BYTES = 64
_ARROW_BLOCK_BYTES = 1 << 20


class BadRowError(Exception):
    """A row whose values cannot be; says which row of the table, and what was expected."""

    def __init__(self, row: int, expected: str) -> None:
        super().__init__(row, expected)
        self.row = row
        self.expected = expected


class Table:
    """Columns of numbers and of texts.

    Parameters
    ----------
    integers : mapping of str to int64[n]
        The columns of numbers.
    texts : mapping of str to (int[n], list of str)
        The columns of texts: for each row the place of its text in the list, which is in the order in which
        the texts appear.
    """

    def __init__(
        self,
        integers: Mapping[str, NDArray[np.int64]],
        texts: Mapping[str, tuple[NDArray[np.integer[Any]], list[str]]],
    ) -> None:
        self._integers = integers
        self._texts = texts

    def integers(self, name: str, below: int, unit: str = "") -> NDArray[np.int64]:
        """Give a column of numbers that are all below a limit."""
        column: NDArray[np.int64] = self._integers[name]
        # As unsigned numbers, negative ones are beyond every limit.
        ok = column.view(np.uint64) < np.uint64(below)
        self.require(ok, f"a {name} from 0 to {below - 1}{unit and ' ' + unit}")
        return column

    def mapped(self, name: str, number: Callable[[str], int | None], expected: str) -> NDArray[np.int64]:
        """Give a column of texts as the numbers, not negative, that a function has for them; None rejects."""
        codes, texts = self._texts[name]
        numbers = [number(text) for text in texts]
        column: NDArray[np.int64] = np.array([-1 if n is None else n for n in numbers], np.int64)[codes]
        if None in numbers:
            self.require(column >= 0, expected)
        return column

    @staticmethod
    def require(ok: NDArray[np.bool_], expected: str) -> None:
        """Raise `BadRowError` for the first row that is not as expected."""
        if not ok.all():
            raise BadRowError(int(np.argmin(ok)), expected)


def read_plain(data: bytes, columns: Columns) -> Table | None:
    """Read lines the quick way; None if they are not all as plain as that needs.

    Parameters
    ----------
    data : bytes
        Whole lines.
    columns : mapping of str to type
        What stands in them.
    """
    if data.translate(None, _PLAIN) or not data.strip(b"\n"):
        return None
    arrow = optional_module("pyarrow")
    csv = optional_module("pyarrow.csv")
    if arrow is None or csv is None:
        return _read_numpy(data, columns)
    return _read_arrow(arrow, csv, data, columns)


def _read_arrow(arrow: Any, csv: Any, data: bytes, columns: Columns) -> Table | None:
    types = {int: arrow.int64(), str: arrow.dictionary(arrow.int32(), arrow.string())}
    try:
        table = csv.read_csv(
            arrow.BufferReader(data),
            read_options=csv.ReadOptions(column_names=list(columns), block_size=_ARROW_BLOCK_BYTES),
            parse_options=csv.ParseOptions(quote_char=False),
            convert_options=csv.ConvertOptions(
                column_types={name: types[kind] for name, kind in columns.items()},
                null_values=[],
                strings_can_be_null=False,
            ),
        )
    except arrow.ArrowInvalid:
        return None
    integers, texts = {}, {}
    for name, kind in columns.items():
        if kind is int:
            integers[name] = table.column(name).to_numpy()
        else:
            column = table.column(name).unify_dictionaries().combine_chunks()
            texts[name] = (column.indices.to_numpy(), column.dictionary.to_pylist())
    return Table(integers, texts)


def _read_numpy(data: bytes, columns: Columns) -> Table | None:
    dtype = np.dtype([(name, "i8" if kind is int else f"S{_TEXT_BYTES}") for name, kind in columns.items()])
    try:
        table = np.loadtxt(io.BytesIO(data), dtype, comments=None, delimiter=",", ndmin=1)
    except (ValueError, OverflowError):
        return None
    integers, texts = {}, {}
    for name, kind in columns.items():
        if kind is int:
            integers[name] = np.ascontiguousarray(table[name])
            continue
        longest = int(np.char.str_len(table[name]).max())
        if longest >= _TEXT_BYTES:
            return None  # it was cut
        texts[name] = _numbered(table[name], longest)
    return Table(integers, texts)


def _numbered(column: NDArray[np.bytes_], longest: int) -> tuple[NDArray[np.int64], list[str]]:
    """Give the place of each text in the list of texts, which is in the order in which they appear."""
    short = column.astype(f"S{max(longest, 8)}")
    # Eight bytes are sorted faster as a number.
    sortable = short.view(np.uint64) if longest <= 8 else short
    _, first, codes = np.unique(sortable, return_index=True, return_inverse=True)
    order = np.argsort(first)
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places[codes], [value.decode() for value in column[first[order]].tolist()]


def read_each(path: Path, chunk: Chunk, columns: Columns) -> tuple[Table, list[int]]:
    """Read lines one by one.

    Returns
    -------
    table : Table
        What stands in them; empty lines are left out.
    lines : list of int
        The number of each row's line.

    Raises
    ------
    TraceError
        If a line is malformed.
    """
    shape = ",".join(columns)
    lines: list[int] = []
    rows: list[list[bytes]] = []
    for number, line in enumerate(chunk.data.split(b"\n"), chunk.line):
        if not line.strip():
            continue
        row = [field.strip() for field in line.split(b",")]
        if len(row) != len(columns):
            raise malformed(path, number, line, f"{len(columns)} fields: {shape}")
        for field, (name, kind) in zip(row, columns.items(), strict=True):
            if kind is int and not (_INTEGER.fullmatch(field) and _integer(field) <= MAX_INTEGER):
                raise malformed(path, number, line, f"a whole number below 2**63 as {name} of {shape}")
        lines.append(number)
        rows.append(row)
    integers, texts = {}, {}
    for place, (name, kind) in enumerate(columns.items()):
        if kind is int:
            integers[name] = np.array([_integer(row[place]) for row in rows], np.int64)
        else:
            numbers: dict[str, int] = {}
            codes = [numbers.setdefault(row[place].decode("utf-8", "replace"), len(numbers)) for row in rows]
            texts[name] = (np.array(codes, np.int64), list(numbers))
    return Table(integers, texts), lines


def _integer(field: bytes) -> int:
    return int(field, 16 if field[:2] in (b"0x", b"0X") else 10)
