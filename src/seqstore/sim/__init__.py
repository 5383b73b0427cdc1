"""The simulator: cleaning policies replayed over workloads and traces.

>>> import numpy
>>> from seqstore import sim
>>> result = sim.replay(numpy.arange(100_000) % 1000, selection="greedy")
>>> result.write_amplification
1.0
"""

from seqstore.sim.operations import OPERATION_DTYPE, Kind, Source, Writes
from seqstore.sim.replay import replay
from seqstore.sim.result import Latencies, RunResult, TenantResult, read_parquet
from seqstore.sim.space import FixedDrive, GarbageProportion
from seqstore.sim.sweep import sweep, sweep_volumes
from seqstore.sim.table import Table
from seqstore.sim.volumes import VolumeSource, split_volumes

__all__ = [
    "OPERATION_DTYPE",
    "FixedDrive",
    "GarbageProportion",
    "Kind",
    "Latencies",
    "RunResult",
    "Source",
    "Table",
    "TenantResult",
    "VolumeSource",
    "Writes",
    "read_parquet",
    "replay",
    "split_volumes",
    "sweep",
    "sweep_volumes",
]
