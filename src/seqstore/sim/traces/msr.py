"""MSR Cambridge: a week of the volumes of 13 servers, in CSV.

References
----------
D. Narayanan, A. Donnelly, A. Rowstron, "Write Off-Loading: Practical Power Management for Enterprise
Storage", FAST 2008, and the description that comes with the traces: ``Timestamp`` and ``ResponseTime`` are
Windows filetimes (100 ns, since 1601), ``Offset`` and ``Size`` bytes, ``Type`` is ``Read`` or ``Write``.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from seqstore.sim.operations import Kind
from seqstore.sim.traces.columns import Columns, Table
from seqstore.sim.traces.reader import CsvReader
from seqstore.sim.traces.requests import MAX_LENGTH, MAX_OFFSET, Requests

# Filetimes up to the year 2171, whose nanoseconds still fit into 64 bits.
_MAX_FILETIME = 18 * 10**16
_MAX_DRIVES = 1 << 16
_KINDS = {"read": Kind.READ, "write": Kind.WRITE}


class MsrReader(CsvReader):
    """Reads MSR Cambridge CSV. Tenants are the hosts as they appear, volumes the disk numbers from 1."""

    time_unit_ns = 100
    columns: ClassVar[Columns] = {
        "Timestamp": int,
        "Hostname": str,
        "DiskNumber": int,
        "Type": str,
        "Offset": int,
        "Size": int,
        "ResponseTime": int,
    }

    def __init__(self, path: Path, block_size: int) -> None:
        super().__init__(path, block_size)
        self._hosts: dict[str, int] = {}

    def convert(self, table: Table) -> Requests:
        """Make requests of rows."""
        kind = table.mapped("Type", lambda text: _KINDS.get(text.lower()), "Read or Write as Type")
        time = table.integers("Timestamp", _MAX_FILETIME, "(a Windows filetime)")
        disk = table.integers("DiskNumber", _MAX_DRIVES)
        offset = table.integers("Offset", MAX_OFFSET, "bytes")
        length = table.integers("Size", MAX_LENGTH, "bytes")
        table.integers("ResponseTime", 1 << 63)
        tenant = table.mapped("Hostname", self._host, "a Hostname")
        hosts = list(self._hosts)
        for place in np.unique(tenant * _MAX_DRIVES + disk).tolist():
            host, number = divmod(place, _MAX_DRIVES)
            self.names.setdefault((host, number + 1), f"{hosts[host - 1]} {number}")
        return Requests(
            time=time,
            kind=kind.astype(np.uint8),
            tenant=tenant.astype(np.uint32),
            volume=(disk + 1).astype(np.uint32),
            offset=offset,
            length=length,
        )

    def _host(self, name: str) -> int | None:
        return self._hosts.setdefault(name, len(self._hosts) + 1) if name else None
