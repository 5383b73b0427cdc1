"""Alibaba block traces: a month of 1000 virtual disks, in CSV; the format that is written here, too.

References
----------
J. Li et al., "An In-Depth Analysis of Cloud Block Storage Workloads in Large-Scale Production", IISWC 2020,
and the description that comes with the traces: ``device_id``, ``opcode`` (R or W), ``offset`` and ``length``
in bytes, ``timestamp`` in microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import IO, ClassVar

import numpy as np
from numpy.typing import NDArray

from seqstore.errors import ConfigError
from seqstore.sim.operations import Kind, Source
from seqstore.sim.traces.columns import Columns, Table
from seqstore.sim.traces.reader import MAX_MICROSECONDS, CsvReader, one_tenant
from seqstore.sim.traces.requests import MAX_LENGTH, MAX_OFFSET, Requests
from seqstore.sim.traces.streams import write_compressed
from seqstore.units import parse_size

_KINDS = {"R": Kind.READ, "W": Kind.WRITE}
_ROWS_AT_ONCE = 1 << 16


class AlibabaReader(CsvReader):
    """Reads Alibaba CSV. All volumes belong to tenant 1; their numbers are the ``device_id`` and one."""

    time_unit_ns = 1000
    columns: ClassVar[Columns] = {
        "device_id": int,
        "opcode": str,
        "offset": int,
        "length": int,
        "timestamp": int,
    }

    def convert(self, table: Table) -> Requests:
        """Make requests of rows."""
        time = table.integers("timestamp", MAX_MICROSECONDS, "microseconds")
        kind = table.mapped("opcode", lambda text: _KINDS.get(text.upper()), "R or W as opcode")
        return Requests(
            time=time,
            kind=kind.astype(np.uint8),
            tenant=one_tenant(len(time)),
            volume=(table.integers("device_id", 2**32 - 1) + 1).astype(np.uint32),
            offset=table.integers("offset", MAX_OFFSET, "bytes"),
            length=table.integers("length", MAX_LENGTH, "bytes"),
        )


@dataclass(slots=True, kw_only=True)
class Written:
    """What `write_alibaba` wrote.

    Attributes
    ----------
    requests : int
        Lines of the file: reads and writes.
    left_out : int
        Other operations, which the format has no word for: trims, and what makes and ends volumes.
    devices : dict of (int, int) to int
        The ``device_id`` of each volume, by tenant and volume: from 0, in the order in which they appear.
    """

    requests: int = 0
    left_out: int = 0
    devices: dict[tuple[int, int], int] = field(default_factory=dict)


def write_alibaba(path: str | PathLike[str], source: Source, *, block_size: int | None = None) -> Written:
    """Write the reads and writes of a workload or trace as an Alibaba block trace.

    Parameters
    ----------
    path : path
        The file, written anew; compressed where its name ends in ``.gz``, ``.bz2``, ``.xz`` or ``.zst``.
    source : Source
        What gives the operations.
    block_size : int, optional
        Bytes of a block: that of the source if it has one, otherwise 4096.

    Returns
    -------
    Written

    Raises
    ------
    ConfigError
        If the block size is none, or the file cannot be made.

    Notes
    -----
    Times are microseconds since the start; what the source has below that is lost.
    """
    size = parse_size(getattr(source, "block_size", 4096) if block_size is None else block_size, "block_size")
    if not size:
        raise ConfigError("block_size is 0; a block has at least 1 byte")
    done = Written()
    try:
        with write_compressed(Path(path)) as file:
            for batch in source.batches():
                asks = (batch["kind"] == Kind.WRITE) | (batch["kind"] == Kind.READ)
                requests = batch[asks]
                done.requests += len(requests)
                done.left_out += len(batch) - len(requests)
                for start in range(0, len(requests), _ROWS_AT_ONCE):
                    _write_rows(file, requests[start : start + _ROWS_AT_ONCE], size, done.devices)
    except OSError as error:
        raise ConfigError(f"the trace {path} cannot be written: {error.strerror or error}") from None
    return done


def _write_rows(
    file: IO[bytes], requests: NDArray[np.void], block_size: int, devices: dict[tuple[int, int], int]
) -> None:
    columns: Mapping[str, list[int]] = {name: requests[name].tolist() for name in requests.dtype.names or ()}
    owners = zip(columns["tenant"], columns["volume"], strict=True)
    rows = zip(
        [devices.setdefault(owner, len(devices)) for owner in owners],
        ["R" if kind == Kind.READ else "W" for kind in columns["kind"]],
        [lba * block_size for lba in columns["lba"]],
        [count * block_size for count in columns["count"]],
        [time_ns // 1000 for time_ns in columns["time_ns"]],
        strict=True,
    )
    file.write("".join(["%d,%s,%d,%d,%d\n" % row for row in rows]).encode())  # noqa: UP031 (twice as fast)
