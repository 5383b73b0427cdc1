"""Recorded requests of real machines, in the formats that they are published in.

`open_trace` gives a `Trace`, which replay takes as it takes a workload; `info` says what is in one, and
`write_alibaba` writes any source of operations as a trace.
"""

from __future__ import annotations

from seqstore.sim.traces.alibaba import Written, write_alibaba
from seqstore.sim.traces.formats import FORMATS
from seqstore.sim.traces.survey import TraceInfo, info
from seqstore.sim.traces.trace import Trace, open_trace

__all__ = ["FORMATS", "Trace", "TraceInfo", "Written", "info", "open_trace", "write_alibaba"]
