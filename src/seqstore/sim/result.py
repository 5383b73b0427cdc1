"""What a replay found."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqstore._native.records import LATENCY_BINS
from seqstore.errors import ConfigError
from seqstore.sim.timing.latency import Performance

SERIES_DTYPE = np.dtype(
    [
        ("user_blocks", "<u8"),
        ("relocated_blocks", "<u8"),
        ("overwritten_blocks", "<u8"),
        ("live_blocks", "<u8"),
        ("free_segments", "<u8"),
        ("residue_blocks", "<u8"),
        ("oldest_writes", "<u8"),
        ("time_ns", "<u8"),
    ]
)
"""One sample: counters since the start, gauges at that moment; `oldest_writes` counts blocks put on the
medium since the oldest residue died, `time_ns` is the source's time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantResult:
    """What was written for one tenant.

    Attributes
    ----------
    user_blocks, relocated_blocks : int
        On request, and by the cleaner.
    """

    user_blocks: int
    relocated_blocks: int

    @property
    def write_amplification(self) -> float:
        """(user + relocated) / user blocks; nan if nothing was written on request."""
        if self.user_blocks == 0:
            return float("nan")
        return (self.user_blocks + self.relocated_blocks) / self.user_blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """How long blocks lay on the medium, dead, until they were written over.

    Attributes
    ----------
    counts : tuple of int
        Blocks by latency, in bins of equal width, up to the last that is not empty; that of number 4095 holds
        all longer latencies.
    bin_writes : float
        Width of a bin: blocks put on the medium.
    lap_writes : int
        Blocks of the medium: a lap.
    seconds_a_write : float
        Simulated seconds a block put on the medium, on average: by the source's times, or those of a drive
        that is timed in a closed loop; 0 where there are none.
    """

    counts: tuple[int, ...]
    bin_writes: float
    lap_writes: int
    seconds_a_write: float

    @property
    def blocks(self) -> int:
        """Blocks counted."""
        return sum(self.counts)

    def quantile_writes(self, share: float) -> float:
        """Return the latency, in blocks put on the medium, that a share of the blocks does not exceed.

        Parameters
        ----------
        share : float
            From 0 to 1.

        Returns
        -------
        float
            The end of the bin in which the share is reached: of the last one that there can be, infinity;
            nan if nothing was counted.
        """
        if not 0 <= share <= 1:
            raise ConfigError(f"the share is {share}; it is from 0 to 1")
        if self.blocks == 0:
            return float("nan")
        reached = int(np.searchsorted(np.cumsum(self.counts), share * self.blocks))
        bins = min(reached, len(self.counts) - 1) + 1
        return bins * self.bin_writes if bins < LATENCY_BINS else float("inf")

    def quantile_laps(self, share: float) -> float:
        """Return the same in laps."""
        return self.quantile_writes(share) / self.lap_writes

    def quantile_seconds(self, share: float) -> float:
        """Return the same in simulated seconds; 0 where nothing has times."""
        return self.quantile_writes(share) * self.seconds_a_write if self.seconds_a_write else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a replay found. Equal inputs give equal results, to the block.

    Attributes
    ----------
    source, selection, placement : str
        What was replayed, by which policy.
    parameters : dict
        Everything that repeats the run.
    user_blocks, relocated_blocks, summary_blocks, overwritten_blocks : int
        Blocks written on request, by the cleaner, as heads of records, and as zeros over deleted ones.
    trimmed_blocks, read_blocks, cleaned_segments : int
        Blocks trimmed; blocks read; segments cleaned.
    requests, misaligned : int
        Operations of the source, and those of them that had to be rounded to blocks.
    block_count, live_blocks : int
        Blocks of the drive, and those mapped in the end.
    laps : float
        Blocks put on the medium / blocks of the drive.
    tenants : dict of int to TenantResult
    victims : tuple of int
        Segments cleaned, by utilization in hundredths: 101 bins.
    series : tuple of dict
        Samples over time: the fields of `SERIES_DTYPE`.
    latencies : Latencies
        Deletion latency: of blocks that were overwritten, trimmed or deleted, since then.
    moved_latencies : Latencies
        Of copies that the cleaner left behind while their data lived on elsewhere, since the move.
    residue_blocks, oldest_laps : int, float
        Dead blocks that lay on the medium in the end, and the age of the oldest in laps.
    longest_laps : float
        The highest age in laps that any dead block came to, in the end or when it was written over.
    performance, control : Performance or None
        What the log did for its users on a timed drive, and what one of the same timing did that updates in
        place. None where there was no such drive, or it had nothing to do.
    seconds : float
        That the replay took, on this machine; not compared.
    """

    source: str
    selection: str
    placement: str
    parameters: dict[str, Any]
    user_blocks: int
    relocated_blocks: int
    summary_blocks: int
    overwritten_blocks: int
    trimmed_blocks: int
    read_blocks: int
    cleaned_segments: int
    requests: int
    misaligned: int
    block_count: int
    live_blocks: int
    laps: float
    tenants: dict[int, TenantResult]
    victims: tuple[int, ...]
    series: tuple[dict[str, int], ...]
    latencies: Latencies
    moved_latencies: Latencies
    residue_blocks: int
    oldest_laps: float
    longest_laps: float
    performance: Performance | None = None
    control: Performance | None = None
    seconds: float = field(compare=False)

    @property
    def write_amplification(self) -> float:
        """(user + relocated + overwritten) / user blocks, from the first write on; nan without writes."""
        return TenantResult(
            user_blocks=self.user_blocks, relocated_blocks=self.relocated_blocks + self.overwritten_blocks
        ).write_amplification

    @property
    def remanence(self) -> NDArray[np.void]:
        """The series as SERIES_DTYPE[n]: residue, and the age of its oldest block, over time."""
        return np.array([tuple(row.values()) for row in self.series], SERIES_DTYPE)

    def steady_amplification(self, share: float = 0.5) -> float:
        """Return the write amplification of the last part of the run, which forgets how it began.

        Parameters
        ----------
        share : float
            Of what was written on request, to the end.
        """
        rows = self.remanence
        start = int(np.searchsorted(rows["user_blocks"], (1 - share) * self.user_blocks))
        first = rows[min(start, len(rows) - 1)]
        user = self.user_blocks - int(first["user_blocks"])
        extra = self.relocated_blocks - int(first["relocated_blocks"])
        extra += self.overwritten_blocks - int(first["overwritten_blocks"])
        return TenantResult(user_blocks=user, relocated_blocks=extra).write_amplification

    def to_json(self, *, indent: int | None = None) -> str:
        """Write the result as JSON; `from_json` reads it back."""
        content = asdict(self)
        content["tenants"] = {str(number): asdict(tenant) for number, tenant in self.tenants.items()}
        return json.dumps(content, indent=indent, default=_plain)

    @classmethod
    def from_json(cls, text: str) -> RunResult:
        """Read a result that `to_json` wrote.

        Raises
        ------
        ConfigError
            If the text is no such result.
        """
        try:
            content = json.loads(text)
            content["tenants"] = {
                int(number): TenantResult(**tenant) for number, tenant in content["tenants"].items()
            }
            for name in ("latencies", "moved_latencies"):
                content[name] = Latencies(**{**content[name], "counts": tuple(content[name]["counts"])})
            content["victims"] = tuple(content["victims"])
            content["series"] = tuple(content["series"])
            for name in ("performance", "control"):
                if content.get(name) is not None:
                    content[name] = Performance.from_dict(content[name])
            return cls(**content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"this is no result of a replay: {error!r}") from error

    def to_parquet(self, path: str | Path) -> None:
        """Write the series as a Parquet file, with everything else in its metadata; needs pyarrow."""
        write_parquet(path, self)


def _plain(value: Any) -> Any:
    """Turn numbers of numpy's, which sources may have among their parameters, into Python's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{value!r} is no JSON")


def _pyarrow() -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigError("Parquet files need pyarrow: pip install 'seqstore[sim]'") from error


def write_parquet(path: str | Path, result: RunResult) -> None:
    """See `RunResult.to_parquet`."""
    pa, parquet = _pyarrow()
    rows = result.remanence
    table = pa.table({name: rows[name] for name in SERIES_DTYPE.names or ()})
    parquet.write_table(table.replace_schema_metadata({"seqstore": result.to_json()}), path)


def read_parquet(path: str | Path) -> RunResult:
    """Read what `RunResult.to_parquet` wrote; needs pyarrow."""
    _, parquet = _pyarrow()
    metadata = parquet.read_schema(path).metadata or {}
    if b"seqstore" not in metadata:
        raise ConfigError(f"{path}: no result of a replay")
    return RunResult.from_json(metadata[b"seqstore"].decode())
