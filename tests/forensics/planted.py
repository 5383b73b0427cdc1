"""Small valid files of the kinds that carving tools know best, each with content that occurs nowhere else.

Near its head each file bears a mark, by which it is known again in whatever a tool has carved out.
"""

from __future__ import annotations

import io
import sqlite3
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

Maker = Callable[[bytes, np.random.Generator, int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A file to plant.

    Attributes
    ----------
    name : str
        Kind and number: ``"jpg-3"``.
    mark : bytes
        What it bears near its head.
    content : bytes
        All of it.
    """

    name: str
    mark: bytes
    content: bytes


@cache
def make_files(prefix: str, sizes: tuple[int, ...]) -> tuple[Planted, ...]:
    """Make one file of each kind and of about each size; the same ones for the same prefix."""
    rng = np.random.default_rng([*prefix.encode()])
    made = []
    for number, size in enumerate(sizes):
        for kind, make in MAKERS.items():
            name = f"{prefix}-{kind}-{number}"
            mark = f"planted-{name}-{rng.integers(2**63):016x}".encode()
            made.append(Planted(name=name, mark=mark, content=make(mark, rng, size)))
    return tuple(made)


# ---- JPEG: ITU-T T.81, baseline, one component, Huffman tables of codes of 4 bits ------------------

_DC_SYMBOLS = bytes(range(12))
_AC_SYMBOLS = bytes([0, *range(1, 11)])  # end of block, and a coefficient of 1 to 10 bits


def make_jpeg(mark: bytes, rng: np.random.Generator, size: int) -> bytes:
    blocks_wide = 16
    blocks_high = max(size // (blocks_wide * 20), 1)
    side = struct.pack(">HH", blocks_high * 8, blocks_wide * 8)
    scan = _Bits()
    for _ in range(blocks_wide * blocks_high):
        _put_coefficient(scan, _DC_SYMBOLS, rng)
        for _ in range(12):
            _put_coefficient(scan, _AC_SYMBOLS, rng)
        scan.put(_AC_SYMBOLS.index(0), 4)
    return b"".join((
        b"\xff\xd8",
        _segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"),
        _segment(0xFE, mark),
        _segment(0xDB, b"\0" + bytes([16] * 64)),
        _segment(0xC0, b"\x08" + side + b"\1\1\x11\0"),
        _segment(0xC4, b"\x00" + _four_bits(_DC_SYMBOLS)),
        _segment(0xC4, b"\x10" + _four_bits(_AC_SYMBOLS)),
        _segment(0xDA, b"\1\1\0\0\x3f\0"),
        scan.finish(),
        b"\xff\xd9",
    ))  # fmt: skip


class _Bits:
    def __init__(self) -> None:
        self._parts: list[str] = []

    def put(self, value: int, count: int) -> None:
        self._parts.append(f"{value:0{count}b}" if count else "")

    def finish(self) -> bytes:
        bits = "".join(self._parts)
        bits += "1" * (-len(bits) % 8)
        return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")


def _put_coefficient(scan: _Bits, symbols: bytes, rng: np.random.Generator) -> None:
    """Put a small coefficient: how many bits it has, by a code, and its bits."""
    bits = int(rng.integers(3, 10))
    scan.put(symbols.index(bits), 4)
    scan.put(int(rng.integers(2**bits)), bits)


def _four_bits(symbols: bytes) -> bytes:
    return bytes([0, 0, 0, len(symbols)]) + bytes(12) + symbols


def _segment(marker: int, payload: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(payload) + 2) + payload


# ---- the others ------------------------------------------------------------------------------------


def make_png(mark: bytes, rng: np.random.Generator, size: int) -> bytes:
    width, height = 64, max(size // 192, 1)
    rows = b"".join(b"\0" + rng.bytes(width * 3) for _ in range(height))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"tEXt", b"Comment\0" + mark),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def make_pdf(mark: bytes, rng: np.random.Generator, size: int) -> bytes:
    text = b"BT /F 9 Tf 9 9 Td <" + rng.bytes(size // 2).hex().encode() + b"> Tj ET"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Contents 4 0 R >>",
        b"<< /Length " + str(len(text)).encode() + b" >>\nstream\n" + text + b"\nendstream",
    )
    made, places = b"%PDF-1.4\n%" + mark + b"\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(made))
        made += str(number).encode() + b" 0 obj\n" + body + b"\nendobj\n"
    table = b"xref\n0 5\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    return made + table + b"trailer << /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(made)


def make_zip(mark: bytes, rng: np.random.Generator, size: int) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(mark.decode() + ".bin", rng.bytes(size // 2))
        text = rng.bytes(size // 2).hex()
        archive.writestr("deflated.txt", text, compress_type=zipfile.ZIP_DEFLATED)
    return target.getvalue()


def make_sqlite(mark: bytes, rng: np.random.Generator, size: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.db"
        database = sqlite3.connect(path)
        database.execute(f'CREATE TABLE "{mark.decode()}" (content BLOB)')
        rows = [(rng.bytes(900),) for _ in range(max(size // 1000, 1))]
        database.executemany(f'INSERT INTO "{mark.decode()}" VALUES (?)', rows)
        database.commit()
        database.close()
        return path.read_bytes()


MAKERS: dict[str, Maker] = {
    "jpg": make_jpeg,
    "png": make_png,
    "pdf": make_pdf,
    "zip": make_zip,
    "sqlite": make_sqlite,
}
