"""What is in a trace: sizes, shares, and how its requests are aligned."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seqstore.sim.operations import Kind
from seqstore.sim.traces.requests import SECTOR_BYTES
from seqstore.sim.traces.touched import READ, WRITTEN, Touched

if TYPE_CHECKING:
    from seqstore.sim.traces.requests import Requests
    from seqstore.sim.traces.trace import Trace

_PAGE = 4096
_SECTORS = _PAGE // SECTOR_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceInfo:
    """What `info` found in a trace.

    Attributes
    ----------
    name, format : str
        The trace's.
    block_size : int
        Bytes of the blocks that are counted here.
    requests, reads, writes, trims : int
        How many there are.
    skipped : int
        Lines that ask for no data.
    disordered : int
        Requests that the trace places before an earlier one.
    read_blocks, written_blocks, trimmed_blocks : int
        Blocks of all requests, each counted as often as it is named.
    working_set_blocks : int
        Different blocks that are read or written.
    written_set_blocks : int
        Different blocks that are written.
    duration_ns : int
        From the first request to the last.
    volumes : dict of (int, int) to int
        Blocks of each volume up to the last that a request names, by tenant and volume.
    names : dict of (int, int) to str
        What the trace calls a volume, where that is no number.
    misaligned : int
        Requests that do not begin and end at a block's border.
    misaligned_4k : int
        Requests that do not begin and end at multiples of 4096 bytes.
    alignment : int
        Bytes: the largest power of two that divides all offsets and lengths; 0 if there are no requests.
    sector_phases : tuple of int
        How many requests begin at each of the eight sectors of 512 bytes in 4096; with `shift` added.
    """

    name: str
    format: str
    block_size: int
    requests: int
    reads: int
    writes: int
    trims: int
    skipped: int
    disordered: int
    read_blocks: int
    written_blocks: int
    trimmed_blocks: int
    working_set_blocks: int
    written_set_blocks: int
    duration_ns: int
    volumes: dict[tuple[int, int], int]
    names: dict[tuple[int, int], str]
    misaligned: int
    misaligned_4k: int
    alignment: int
    sector_phases: tuple[int, ...]

    @property
    def overwrite_ratio(self) -> float:
        """Share of the written blocks that were written before."""
        return 1 - self.written_set_blocks / self.written_blocks if self.written_blocks else 0.0

    @property
    def misaligned_share(self) -> float:
        """Share of the requests that are not aligned to 4096 bytes."""
        return self.misaligned_4k / self.requests if self.requests else 0.0

    @property
    def advised_shift(self) -> int:
        """Bytes, below 4096, to add to offsets so that most requests begin at multiples of 4096."""
        most = max(range(_SECTORS), key=self.sector_phases.__getitem__)
        return -most % _SECTORS * SECTOR_BYTES

    @property
    def advice(self) -> str:
        """What to open the trace with, in words."""
        if not self.requests:
            return "The trace holds no requests."
        if self.alignment >= _PAGE:
            return f"All requests are aligned to {self.alignment} bytes: blocks of 4096 bytes fit."
        found = (
            f"Offsets and lengths share no more than {self.alignment} bytes; "
            f"{self.misaligned_share:.1%} of the requests are not aligned to 4096 bytes"
        )
        share = max(self.sector_phases) / self.requests
        if not self.advised_shift or share <= 0.5:
            return f"{found} and are rounded outward to whole blocks."
        behind = _PAGE - self.advised_shift
        return (
            f"{found}, and {share:.1%} begin {behind} bytes behind a multiple of that, as on a partition "
            f"that begins there: open the trace with shift={self.advised_shift}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Give everything as values that JSON can hold; volumes are keyed ``"tenant/volume"``."""
        values = asdict(self)
        for name in ("volumes", "names"):
            values[name] = {f"{tenant}/{volume}": value for (tenant, volume), value in values[name].items()}
        values["sector_phases"] = list(self.sector_phases)
        for name in ("overwrite_ratio", "misaligned_share", "advised_shift", "advice"):
            values[name] = getattr(self, name)
        return values


def info(trace: Trace) -> TraceInfo:
    """Read a whole trace and say what is in it.

    Parameters
    ----------
    trace : Trace
        As `open_trace` gives it.

    Returns
    -------
    TraceInfo

    Raises
    ------
    TraceError
        If a line is malformed.

    Notes
    -----
    Memory grows with the working set, by one to two bytes for each block where requests lie close together,
    and by about 700 bytes for a block that is alone among 512.
    """
    survey = _Survey()
    for requests, operations in trace.requests(survey.names):
        survey.add(requests, operations, trace.shift)
    return TraceInfo(
        name=trace.name,
        format=trace.format,
        block_size=trace.block_size,
        requests=sum(survey.requests.values()),
        reads=survey.requests[Kind.READ],
        writes=survey.requests[Kind.WRITE],
        trims=survey.requests[Kind.TRIM],
        skipped=trace.skipped,
        disordered=trace.disordered,
        read_blocks=survey.blocks[Kind.READ],
        written_blocks=survey.blocks[Kind.WRITE],
        trimmed_blocks=survey.blocks[Kind.TRIM],
        working_set_blocks=survey.touched.count(READ | WRITTEN),
        written_set_blocks=survey.touched.count(WRITTEN),
        duration_ns=survey.duration_ns,
        volumes=dict(sorted(survey.volumes.items())),
        names=dict(sorted(survey.names.items())),
        misaligned=trace.misaligned,
        misaligned_4k=survey.misaligned_4k,
        alignment=survey.shared_bits & -survey.shared_bits,
        sector_phases=tuple(survey.sector_phases.tolist()),
    )


class _Survey:
    """What has been added up so far."""

    def __init__(self) -> None:
        kinds = (Kind.READ, Kind.WRITE, Kind.TRIM)
        self.requests = dict.fromkeys(kinds, 0)
        self.blocks = dict.fromkeys(kinds, 0)
        self.touched = Touched()
        self.volumes: dict[tuple[int, int], int] = {}
        self.names: dict[tuple[int, int], str] = {}
        self.duration_ns = 0
        self.misaligned_4k = 0
        self.shared_bits = 0
        self.sector_phases = np.zeros(_SECTORS, np.int64)

    def add(self, requests: Requests, operations: NDArray[np.void], shift: int) -> None:
        """Add a batch."""
        offset = requests.offset + shift
        edges = offset | requests.length
        self.shared_bits |= int(np.bitwise_or.reduce(edges))
        self.misaligned_4k += int(np.count_nonzero(edges & (_PAGE - 1)))
        self.sector_phases += np.bincount((offset & (_PAGE - 1)) // SECTOR_BYTES, minlength=_SECTORS)
        for kind in self.requests:
            self.requests[kind] += int(np.count_nonzero(requests.kind == kind))
        if not len(operations):
            return
        self.duration_ns = int(operations["time_ns"][-1])
        owner = operations["tenant"].astype(np.uint64) << np.uint64(32) | operations["volume"]
        owners, index = np.unique(owner, return_inverse=True)
        ends = np.zeros(len(owners), np.uint64)
        np.maximum.at(ends, index, operations["lba"] + operations["count"])
        numbers = []
        for value, end in zip(owners.tolist(), ends.tolist(), strict=True):
            key = (value >> 32, value & 0xFFFFFFFF)
            self.volumes[key] = max(self.volumes.get(key, 0), end)
            numbers.append(self.touched.volume(key))
        space = np.array(numbers, np.int64)[index]
        for kind, flag in ((Kind.READ, READ), (Kind.WRITE, WRITTEN), (Kind.TRIM, 0)):
            chosen = operations["kind"] == kind
            lba, count = (
                operations["lba"][chosen].astype(np.int64),
                operations["count"][chosen].astype(np.int64),
            )
            self.blocks[kind] += int(count.sum())
            if flag:
                self.touched.mark(space[chosen], lba, count, flag)
