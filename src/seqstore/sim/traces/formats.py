"""The formats by their names, and finding out which one a file has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from seqstore.sim.traces import blkparse, fio, oracle_general
from seqstore.sim.traces.alibaba import AlibabaReader
from seqstore.sim.traces.cloudphysics import SCSI_KINDS, CloudPhysicsReader
from seqstore.sim.traces.msr import MsrReader
from seqstore.sim.traces.reader import CsvReader, Reader
from seqstore.sim.traces.streams import first_block, malformed
from seqstore.sim.traces.tencent import TencentReader

FORMATS: Mapping[str, type[Reader]] = {
    "msr": MsrReader,
    "alibaba": AlibabaReader,
    "tencent": TencentReader,
    "cloudphysics": CloudPhysicsReader,
    "oracle_general": oracle_general.OracleGeneralReader,
    "fio": fio.FioReader,
    "blkparse": blkparse.BlkparseReader,
}
"""Names that `open_trace` takes for the formats."""

_HEAD_BYTES = 1 << 16
_HEAD_LINES = 20
_SCSI_CODES = {f"{code:02x}" for code in SCSI_KINDS}


def detect_format(path: Path) -> str:
    """Find out the format of a trace by its name and its first lines.

    Raises
    ------
    TraceError
        If it is none that is known, or empty.
    """
    head = first_block(path, _HEAD_BYTES)
    if "oraclegeneral" in path.name.lower() or _is_oracle_general(head):
        return "oracle_general"
    lines = head.decode("utf-8-sig", "replace").splitlines()[:_HEAD_LINES]
    for line in lines:
        if line.strip():
            name = _format_of(line)
            if name is not None:
                return name
    known = f"a trace in one of the formats {', '.join(FORMATS)}; if it is one, say which: format='...'"
    raise malformed(path, 1, lines[0] if lines else "", known)


def _is_oracle_general(head: bytes) -> bool:
    """Say if these are records whose times do not go back, and no text."""
    if b"\0" not in head[: oracle_general.RECORD.itemsize]:
        return False
    size = oracle_general.RECORD.itemsize
    times = np.frombuffer(head[: len(head) // size * size], oracle_general.RECORD)["time"].astype(np.int64)
    return len(times) > 0 and bool((np.diff(times) >= 0).all())


def _format_of(line: str) -> str | None:
    """Recognize a format by one line."""
    if line.strip() in fio.HEADERS:
        return "fio"
    if blkparse.LINE.fullmatch(line):
        return "blkparse"
    for name, reader in FORMATS.items():
        if issubclass(reader, CsvReader) and reader.is_header(line.encode()):
            return name
    fields = [field.strip().lower() for field in line.split(",")]
    found = [name for name, fits in _CSV_FITS.items() if fits(fields)]
    return found[0] if found else None


def _is_number(field: str) -> bool:
    return field.isascii() and field.isdigit()


# The first that fits. The version of CloudPhysics' lines is a small number, where Tencent's begin with the
# seconds since 1970.
_CSV_FITS: Mapping[str, Callable[[list[str]], bool]] = {
    "msr": lambda fields: len(fields) == 7 and fields[3] in {"read", "write"},
    "alibaba": lambda fields: len(fields) == 5 and fields[1] in {"r", "w"},
    "cloudphysics": lambda fields: (
        len(fields) == 5
        and fields[2].removeprefix("0x") in _SCSI_CODES
        and _is_number(fields[0])
        and len(fields[0]) <= 3
    ),
    "tencent": lambda fields: len(fields) == 5 and fields[3] in {"0", "1"} and all(map(_is_number, fields)),
}
