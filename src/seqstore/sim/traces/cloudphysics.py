"""CloudPhysics: requests of virtual machines' disks as a hypervisor saw them, in CSV.

References
----------
C. A. Waldspurger, N. Park, A. Garthwaite, I. Ahmad, "Efficient MRC Construction with SHARDS", FAST 2015,
and the CSV that libCacheSim made of these traces: ``time`` in seconds, ``op`` the operation code of the SCSI
command in hexadecimal, ``size`` in bytes, ``lbn`` in sectors of 512 bytes. Operation codes: INCITS 514
(SBC-3).
"""

from __future__ import annotations

import string
from typing import ClassVar

import numpy as np

from seqstore.sim.operations import Kind
from seqstore.sim.traces.columns import Columns, Table
from seqstore.sim.traces.reader import MAX_SECONDS, CsvReader, one_tenant
from seqstore.sim.traces.requests import MAX_LENGTH, MAX_OFFSET, NO_KIND, SECTOR_BYTES, Requests

# READ and WRITE with 6, 10, 12 and 16 bytes.
SCSI_KINDS = {
    **dict.fromkeys((0x08, 0x28, 0xA8, 0x88), Kind.READ),
    **dict.fromkeys((0x0A, 0x2A, 0xAA, 0x8A), Kind.WRITE),
}


class CloudPhysicsReader(CsvReader):
    """Reads CloudPhysics CSV: one volume of one tenant. Commands but reads and writes are skipped."""

    time_unit_ns = 10**9
    columns: ClassVar[Columns] = {"version": int, "time": int, "op": str, "size": int, "lbn": int}

    def convert(self, table: Table) -> Requests:
        """Make requests of rows."""
        table.integers("version", 256)
        time = table.integers("time", MAX_SECONDS, "seconds")
        kind = table.mapped("op", scsi_kind, "a SCSI operation code in hexadecimal, such as 2a, as op")
        return Requests(
            time=time,
            kind=kind.astype(np.uint8),
            tenant=one_tenant(len(time)),
            volume=np.ones(len(time), np.uint32),
            offset=table.integers("lbn", MAX_OFFSET // SECTOR_BYTES, "sectors") * SECTOR_BYTES,
            length=table.integers("size", MAX_LENGTH, "bytes"),
        )


def scsi_kind(code: str) -> int | None:
    """Say what a command does; None if this is no operation code."""
    digits = code.lower().removeprefix("0x")
    if not 1 <= len(digits) <= 2 or not set(digits) <= set(string.hexdigits):
        return None
    return SCSI_KINDS.get(int(digits, 16), NO_KIND)
