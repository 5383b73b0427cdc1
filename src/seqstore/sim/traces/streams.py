"""Bytes of a trace in the order of the file, decompressed, and cut into chunks of whole lines or records."""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from seqstore.errors import AccessError, ConfigError, NotFoundError, SeqstoreError, TraceError

CHUNK_BYTES = 4 << 20
"""About as much as is read at a time: some 150,000 requests, which is what one batch holds."""

MAX_LINE_BYTES = 1 << 20
SHOWN_BYTES = 60
_READ_BYTES = 1 << 18

# What a file begins with tells more truly than its name how it is compressed.
_MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zst"}
_DAMAGE = (EOFError, OSError, lzma.LZMAError, zlib.error)
_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "bz2": bz2.BZ2Decompressor,
    "xz": partial(lzma.LZMADecompressor, lzma.FORMAT_XZ),
}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines of a file.

    Attributes
    ----------
    line : int
        Number of the first of them in the file, from 1.
    data : bytes
        The lines, each with its end, which is a line feed alone.
    """

    line: int
    data: bytes


def optional_module(name: str) -> Any:
    """Import a package that is used where it is installed; None where it is not."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def malformed(path: Path, line: int, found: bytes | str, expected: str) -> TraceError:
    """Make the error that says what stands on a line, and what should."""
    text = found if isinstance(found, str) else found.decode("utf-8", "backslashreplace")
    shown = repr(text if len(text) <= SHOWN_BYTES else text[:SHOWN_BYTES] + "...")
    return TraceError(f"{path}, line {line}: found {shown}; expected {expected}", file=str(path), line=line)


def read_blocks(path: Path, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Read a file, decompressed, in blocks of a size; the last is shorter.

    Parameters
    ----------
    path : Path
        A file, plain or compressed by gzip, bzip2, xz or zstd.
    size : int
        Bytes.

    Raises
    ------
    NotFoundError
        If there is no such file.
    AccessError
        If it may not be read.
    ConfigError
        If it is no file, or compressed by zstd where the package ``zstandard`` is missing.
    """
    with _opened(path) as file:
        magic = file.read(8)
        file.seek(0)
        kind = next((kind for start, kind in _MAGIC.items() if magic.startswith(start)), None)
        if kind == "zst":
            yield from _gather(_zstandard_blocks(file), size)
            return
        if kind in _DECOMPRESSORS:
            yield from _gather(_member_blocks(file, _DECOMPRESSORS[kind], size), size)
            return
        with gzip.open(file) if kind == "gz" else nullcontext(file) as stream:
            while block := stream.read(size):
                yield block


def first_block(path: Path, size: int) -> bytes:
    """Read the beginning of a file, decompressed.

    Raises
    ------
    TraceError
        If the compressed data are damaged.
    """
    return _next(read_blocks(path, size), path, 1)


def _next(blocks: Iterator[bytes], path: Path, line: int) -> bytes:
    try:
        return next(blocks, b"")
    except SeqstoreError:
        raise
    except _DAMAGE as error:
        raise malformed(path, line, str(error), "data that can be read and decompressed") from None


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise NotFoundError(f"there is no trace {path}") from None
    except PermissionError:
        raise AccessError(f"the trace {path} may not be read") from None
    except OSError as error:
        raise ConfigError(f"the trace {path} cannot be opened as a file: {error.strerror}") from None
    with file:
        yield file


def _member_blocks(file: IO[bytes], make: Callable[[], Any], size: int) -> Iterator[bytes]:
    """Decompress what may hold several members.

    The files of Python's own modules end without a word where another member should begin and does not.
    """
    data = file.read(_READ_BYTES)
    while data:
        member = make()
        while True:
            yield member.decompress(data, size)
            if member.eof:
                break
            data = file.read(_READ_BYTES) if member.needs_input else b""
            if member.needs_input and not data:
                raise EOFError("the file ends in the middle of a member")
        # Zeros pad members of xz, and are the beginning of none.
        data = member.unused_data.lstrip(b"\0")
        while not data and (more := file.read(_READ_BYTES)):
            data = more.lstrip(b"\0")


def _zstandard_blocks(file: IO[bytes]) -> Iterator[bytes]:
    zstandard = _require_zstandard()
    frame = None
    try:
        # All that comes of the data is in memory at once; of so few bytes that is 16 MiB at most.
        while data := file.read(1 << 9):
            while data:
                # A file may hold several frames, one after the other.
                frame = frame or zstandard.ZstdDecompressor().decompressobj()
                yield frame.decompress(data)
                data = frame.unused_data if frame.eof else b""
                frame = None if frame.eof else frame
    except zstandard.ZstdError as error:
        raise EOFError(str(error)) from None
    if frame is not None:
        raise EOFError("the file ends in the middle of a frame")


def _require_zstandard() -> Any:
    """Import the package that reads and writes zstd."""
    module = optional_module("zstandard")
    if module is None:
        raise ConfigError("the trace is compressed by zstd; install the package zstandard, or decompress it")
    return module


def _gather(blocks: Iterator[bytes], size: int) -> Iterator[bytes]:
    held: list[bytes] = []
    held_bytes = 0
    for block in blocks:
        held.append(block)
        held_bytes += len(block)
        if held_bytes >= size:
            yield b"".join(held)
            held, held_bytes = [], 0
    if held_bytes:
        yield b"".join(held)


def read_lines(path: Path) -> Iterator[Chunk]:
    """Read a file in chunks of whole lines, each about `CHUNK_BYTES` long.

    Raises
    ------
    TraceError
        If the compressed data are damaged, or a line is longer than `MAX_LINE_BYTES`.
    """
    line, rest = 1, b""
    blocks = read_blocks(path)
    while True:
        block = _next(blocks, path, line)
        data = rest + block if block else rest + b"\n" if rest else b""
        cut = data.rfind(b"\n") + 1
        if len(data) - cut > MAX_LINE_BYTES:
            found = data[cut : cut + 2 * SHOWN_BYTES]
            expected = f"a line of at most {MAX_LINE_BYTES} bytes"
            raise malformed(path, line + data.count(b"\n"), found, expected)
        if cut:
            whole = data[:cut]
            yield Chunk(line, whole.replace(b"\r\n", b"\n") if b"\r" in whole else whole)
            line += whole.count(b"\n")
        if not block:
            return
        rest = data[cut:]


def read_records(path: Path, size: int) -> Iterator[tuple[int, bytes]]:
    """Read a file of records of one size, many at a time: the number of the first, from 1, and their bytes.

    Raises
    ------
    TraceError
        If the compressed data are damaged, or the file ends within a record.
    """
    record, rest = 1, b""
    blocks = read_blocks(path, CHUNK_BYTES // size * size)
    while True:
        block = _next(blocks, path, record)
        data = rest + block
        cut = len(data) // size * size
        if cut:
            yield record, data[:cut]
            record += cut // size
        rest = data[cut:]
        if not block:
            break
    if rest:
        raise malformed(path, record, f"{len(rest)} bytes", f"a record of {size} bytes")


@contextmanager
def write_compressed(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing, compressed as its name says: ``.gz``, ``.bz2``, ``.xz``, ``.zst`` or not.

    The same bytes give the same file: neither name nor time is kept in it. What was there before stays until
    the new file is whole, so that it may be what the new one is made of.
    """
    partial_path = path.with_name(path.name + ".partial")
    compress = _COMPRESSORS.get(path.suffix.lower(), nullcontext)
    try:
        with partial_path.open("wb") as file, compress(file) as stream:
            yield stream
        partial_path.replace(path)
    except BaseException:
        partial_path.unlink(missing_ok=True)
        raise


_COMPRESSORS: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda file: gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0),
    ".bz2": partial(bz2.open, mode="wb"),
    ".xz": partial(lzma.open, mode="wb"),
    ".zst": lambda file: _require_zstandard().ZstdCompressor().stream_writer(file, closefd=False),
}
