"""Tencent CBS: ten days of a cloud's block storage, in CSV.

References
----------
Y. Zhang et al., "OSCA: An Online-Model Based Cache Allocation Scheme in Cloud Block Storage Systems",
USENIX ATC 2020, and the description that comes with the traces: ``Timestamp`` in seconds since 1970,
``Offset`` and ``Size`` in sectors of 512 bytes, ``IOType`` 0 for a read and 1 for a write.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from seqstore.sim.operations import Kind
from seqstore.sim.traces.columns import Columns, Table
from seqstore.sim.traces.reader import MAX_SECONDS, CsvReader, one_tenant
from seqstore.sim.traces.requests import MAX_LENGTH, MAX_OFFSET, SECTOR_BYTES, Requests


class TencentReader(CsvReader):
    """Reads Tencent CBS CSV. All volumes belong to tenant 1; their numbers are the ``VolumeID`` and one."""

    time_unit_ns = 10**9
    columns: ClassVar[Columns] = {
        "Timestamp": int,
        "Offset": int,
        "Size": int,
        "IOType": int,
        "VolumeID": int,
    }

    def convert(self, table: Table) -> Requests:
        """Make requests of rows."""
        time = table.integers("Timestamp", MAX_SECONDS, "seconds")
        return Requests(
            time=time,
            kind=np.array([Kind.READ, Kind.WRITE], np.uint8)[table.integers("IOType", 2)],
            tenant=one_tenant(len(time)),
            volume=(table.integers("VolumeID", 2**32 - 1) + 1).astype(np.uint32),
            offset=table.integers("Offset", MAX_OFFSET // SECTOR_BYTES, "sectors") * SECTOR_BYTES,
            length=table.integers("Size", MAX_LENGTH // SECTOR_BYTES, "sectors") * SECTOR_BYTES,
        )
