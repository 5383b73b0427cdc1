"""Replay: a source of writes, a cleaning policy, a bound on space; and what comes of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seqstore._native.records import LATENCY_BINS_A_LAP
from seqstore.cleaning import Placement, Policy, Selection
from seqstore.deletion import Deadline, Strategy, to_words
from seqstore.errors import ConfigError
from seqstore.sim.lbas import Lbas
from seqstore.sim.operations import Kind, Source, Writes
from seqstore.sim.result import SERIES_DTYPE, Latencies, RunResult, TenantResult
from seqstore.sim.simulation import Simulation
from seqstore.sim.space import FixedDrive, GarbageProportion, Space
from seqstore.sim.stopwatch import Stopwatch
from seqstore.sim.timing import TimedDrive
from seqstore.sim.traces import open_trace
from seqstore.units import parse_size, unsigned

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEGMENT_BLOCKS = 512
_NEVER = 1 << 31  # user time until a block that is not written again "dies"
_WRITES_AT_ONCE = 1 << 20

Progress = Callable[[int], object]
"""Called now and then with the number of operations done so far."""

AtEnd = Callable[[Simulation], object]
"""Called with the drive as the last operation left it."""


def replay(
    source: NDArray[np.integer[Any]] | Source | str | PathLike[str],
    *,
    selection: Selection = "greedy",
    placement: Placement = "single",
    space: Space = FixedDrive(utilization=0.8),  # noqa: B008
    segment_blocks: int = SEGMENT_BLOCKS,
    classes: int = 6,
    choices: int = 10,
    window: float = 0.9,
    seed: int = 0,
    block_size: int = 4096,
    format: str | None = None,  # noqa: A002
    drive: TimedDrive | None = None,
    control: bool = False,
    deletion: Strategy | None = None,
    sample_writes: int | None = None,
    progress: Progress | None = None,
    at_end: AtEnd | None = None,
) -> RunResult:
    """Replay writes on a simulated drive.

    Parameters
    ----------
    source : array of int, Source, or path
        Addresses that are written one after the other, a block each, to one volume; a workload or trace; or
        the path of a trace.
    selection, placement, classes, choices, window, seed
        The cleaning policy; see `seqstore.cleaning.Policy`.
    space : FixedDrive or GarbageProportion
    segment_blocks : int
        Data blocks of a segment, at least 4.
    block_size : int
        Bytes; what a trace is cut into.
    format : str, optional
        Of a trace whose name does not tell.
    drive : TimedDrive, optional
        Says how long a drive takes for what the log asks of its medium, for `RunResult.performance`; see
        `seqstore.sim.timing`. It stays as it is: one like it serves. At least as large as the log's medium;
        its zones, where it has any, are the segments.
    control : bool
        Whether a drive of the same timing does the same in place, for `RunResult.control`.
    deletion : Lap, Deadline or Now, optional
        What happens to deleted blocks; see `seqstore.deletion`. Seconds are those of the source.
    sample_writes : int, optional
        Blocks written on request between two samples of the series; as many as the drive has, by default.
    progress : callable, optional
        Called now and then with the number of operations done so far.
    at_end : callable, optional
        Called with the `seqstore.sim.simulation.Simulation` when all is done, before the drive is gone.

    Returns
    -------
    RunResult

    Raises
    ------
    ConfigError
        If an argument cannot be used.
    OutOfSpaceError
        If the source maps more blocks than it says.
    """
    policy = Policy(
        selection=selection, placement=placement, classes=classes, choices=choices, window=window, seed=seed
    )
    segment_blocks, block_size = (
        unsigned(segment_blocks, "segment_blocks"),
        parse_size(block_size, "block_size"),
    )
    if not isinstance(space, Space):
        raise ConfigError(f"space is {space!r}; it is a FixedDrive or a GarbageProportion")
    if segment_blocks < 4:
        raise ConfigError(f"segment_blocks is {segment_blocks}; a segment has at least 4")
    operations = open_source(source, format=format, block_size=block_size)
    _check_timing(drive, control, policy, operations)
    _check_deletion(deletion, operations)
    start = time.perf_counter()
    with Simulation(
        policy,
        space,
        blocks=operations.blocks,
        segment_blocks=segment_blocks,
        block_size=block_size,
        note_operations=drive is not None,
        deletion=deletion,
    ) as simulation:
        stopwatch = None
        if drive is not None:
            stopwatch = Stopwatch(
                drive,
                blocks=simulation.medium.blocks,
                segment_blocks=segment_blocks,
                block_size=block_size,
                control=control,
                volumes=operations.volumes,
            )
        run = _Run(simulation, operations, sample_writes, progress, stopwatch)
        for (tenant, volume), blocks in (operations.volumes or {}).items():
            simulation.create(tenant, volume, blocks)
        if policy.placement == "oracle":
            run.write_fated()
        elif isinstance(operations, Writes) and stopwatch is None and simulation.bounds.nanoseconds is None:
            run.write_all()
        else:
            run.do_all()
        settings: dict[str, Any] = {
            "source": dict(operations.parameters),
            "segment_blocks": segment_blocks,
            "block_size": block_size,
            "classes": policy.class_count,
            "choices": policy.choices,
            "window": policy.window,
            "seed": policy.seed,
            "space": _describe(space),
        }
        if deletion is not None:
            settings["deletion"] = to_words(deletion)
        if drive is not None:
            settings |= {"drive": drive.parameters, "control": control}
        result = run.result(policy, settings, start)
        if at_end is not None:
            at_end(simulation)
        return result


def _check_deletion(deletion: Strategy | None, source: Source) -> None:
    if isinstance(deletion, Deadline) and deletion.seconds is not None and isinstance(source, Lbas):
        raise ConfigError("an array says no times of its writes; give the deadline in laps or writes")


def _check_timing(drive: TimedDrive | None, control: bool, policy: Policy, source: Source) -> None:
    if drive is None:
        if control:
            raise ConfigError("the control is of the same timing as the drive; there is none")
        return
    if policy.placement == "oracle":
        raise ConfigError(
            "the oracle placement is replayed without a drive: it knows writes, not their times"
        )
    if drive.queue_depth is None and isinstance(source, Lbas):
        raise ConfigError("an array says no times of its writes; give the drive a queue_depth")


def open_source(
    source: NDArray[np.integer[Any]] | Source | str | PathLike[str],
    *,
    format: str | None = None,  # noqa: A002
    block_size: int = 4096,
) -> Source:
    """Make a source of what `replay` takes."""
    if isinstance(source, np.ndarray):
        return Lbas(source)
    if isinstance(source, str | PathLike):
        return open_trace(Path(source), format, block_size=block_size)
    if not isinstance(source, Source):
        raise ConfigError(f"{source!r} is no array, workload, trace or path")
    return source


def _describe(space: Space) -> dict[str, Any]:
    if isinstance(space, GarbageProportion):
        return {"garbage_proportion": space.share}
    return {"utilization": space.utilization, "free_segments": space.free_segments}


def next_writes(lbas: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return when each block will be written next, in user time: the n-th write, from 1.

    Parameters
    ----------
    lbas : uint64[n]
        All writes, in their order.

    Returns
    -------
    uint64[n]
        2^31 writes later for blocks that are not written again.
    """
    order = np.argsort(lbas, kind="stable")
    found = np.arange(1, len(lbas) + 1, dtype=np.uint64) + np.uint64(_NEVER)
    same = np.flatnonzero(lbas[order[1:]] == lbas[order[:-1]])
    found[order[same]] = order[same + 1].astype(np.uint64) + np.uint64(1)
    return found


def _latencies(counts: NDArray[np.uint64], blocks: int, seconds_a_write: float) -> Latencies:
    used = int(np.max(np.flatnonzero(counts), initial=0)) + 1
    return Latencies(
        counts=tuple(counts[:used].tolist()),
        bin_writes=blocks / LATENCY_BINS_A_LAP,
        lap_writes=blocks,
        seconds_a_write=seconds_a_write,
    )


class _Run:
    """One replay under way."""

    def __init__(
        self,
        simulation: Simulation,
        source: Source,
        sample_writes: int | None,
        progress: Progress | None,
        stopwatch: Stopwatch | None,
    ) -> None:
        self._stopwatch = stopwatch
        self._simulation, self._source, self._progress = simulation, source, progress
        self._step = simulation.medium.blocks
        if sample_writes is not None:
            self._step = unsigned(sample_writes, "sample_writes")
        if self._step < 1:
            raise ConfigError(f"sample_writes is {sample_writes}; it is at least 1")
        self._next_sample = self._step
        self._series: list[NDArray[np.void]] = []
        self._requests = 0
        self._time_ns = 0

    # ---- ways to feed the drive ---------------------------------------------------------------

    def write_all(self) -> None:
        """Write the blocks of a source that does nothing else."""
        assert isinstance(self._source, Writes)
        volume = self._only_volume()
        for lbas in self._source.writes():
            for part in self._cut(lbas):
                volume._write_blocks(part, len(part), None)
                self._done(len(part), len(part))

    def write_fated(self) -> None:
        """Write blocks for a policy that knows when they will be written next."""
        volume = self._only_volume()
        lbas = self._all_writes()
        deaths, start = next_writes(lbas), 0
        for part in self._cut(lbas):
            end = start + len(part)
            volume._write_fated(part, deaths[start:end])
            self._done(len(part), len(part))
            start = end

    def do_all(self) -> None:
        """Do the operations of any source."""
        watch = None if self._stopwatch is None else self._stopwatch.add
        for operations in self._parts():
            self._simulation.run(operations, watch)
            self._time_ns = int(operations["time_ns"][-1])
            writes = operations["count"][operations["kind"] == Kind.WRITE]
            self._done(len(operations), int(writes.sum(dtype=np.uint64)))

    def _parts(self) -> Iterator[NDArray[np.void]]:
        """Cut the operations where samples are due, as far as single operations allow it."""
        for operations in self._source.batches():
            written = np.where(operations["kind"] == Kind.WRITE, operations["count"], 0)
            total, start = np.cumsum(written, dtype=np.uint64), 0
            while start < len(operations):
                before = int(total[start - 1]) if start else 0
                end = int(np.searchsorted(total, before + self._next_sample)) + 1
                yield operations[start:end]
                start = end

    def _only_volume(self) -> Any:
        volumes = self._source.volumes or {}
        if len(volumes) != 1:
            raise ConfigError(
                f"{self._source.name} has {len(volumes)} volumes known in advance; this needs exactly one"
            )
        return self._simulation.only_volume()

    def _all_writes(self) -> NDArray[np.uint64]:
        if isinstance(self._source, Writes):
            return np.concatenate(list(self._source.writes()))
        parts = []
        for operations in self._source.batches():
            if (operations["kind"] > Kind.READ).any():
                raise ConfigError("the oracle placement needs a source that writes and reads, and no more")
            writes = operations[operations["kind"] == Kind.WRITE]
            ends = np.cumsum(writes["count"], dtype=np.uint64)
            offsets = np.repeat(ends - writes["count"], writes["count"])
            within = np.arange(len(offsets), dtype=np.uint64) - offsets
            parts.append(np.repeat(writes["lba"], writes["count"]) + within)
        return np.concatenate(parts)

    def _cut(self, writes: NDArray[np.uint64]) -> Iterator[NDArray[np.uint64]]:
        """Cut an array of writes of a block each where samples are due."""
        start = 0
        while start < len(writes):
            end = start + min(self._next_sample, _WRITES_AT_ONCE)
            yield writes[start:end]
            start = end

    def _done(self, requests: int, writes: int) -> None:
        self._requests += requests
        self._next_sample -= writes
        if self._next_sample <= 0:
            self._series.append(self._simulation.sample(self._time_ns))
            self._next_sample = self._step
        if self._progress is not None:
            self._progress(self._requests)

    # ---- the end ------------------------------------------------------------------------------

    def result(self, policy: Policy, settings: dict[str, Any], start: float) -> RunResult:
        """Put together what was found."""
        engine, blocks = self._simulation.engine, self._simulation.medium.blocks
        counters = engine.counters()
        last = self._simulation.sample(self._time_ns)
        victims, deleted, moved = engine.histograms()
        position = counters["position"]
        performance = None if self._stopwatch is None else self._stopwatch.performance
        run_seconds = self._time_ns / 1e9
        if self._stopwatch is not None and self._stopwatch.is_closed and performance is not None:
            run_seconds = performance.seconds  # requests wait for the drive, whatever the source's times
        write_seconds = run_seconds / position if position else 0.0
        return RunResult(
            source=self._source.name,
            selection=policy.selection_name,
            placement=policy.placement_name,
            parameters=settings,
            requests=self._requests,
            misaligned=int(getattr(self._source, "misaligned", 0)),
            block_count=blocks,
            laps=position / blocks,
            tenants={
                int(row["tenant"]): TenantResult(
                    user_blocks=int(row["user_blocks"]), relocated_blocks=int(row["relocated_blocks"])
                )
                for row in engine.work()
                if row["tenant"]
            },
            victims=tuple(victims.tolist()),
            series=tuple(
                dict(zip(SERIES_DTYPE.names or (), row.tolist(), strict=True)) for row in [*self._series,
                last]
            ),
            latencies=_latencies(deleted, blocks, write_seconds),
            moved_latencies=_latencies(moved, blocks, write_seconds),
            residue_blocks=int(last["residue_blocks"]),
            oldest_laps=int(last["oldest_writes"]) / blocks,
            longest_laps=max(counters["longest_latency"], int(last["oldest_writes"])) / blocks,
            performance=performance,
            control=None if self._stopwatch is None else self._stopwatch.control,
            seconds=time.perf_counter() - start,
            **{
                name: counters[name]
                for name in (
                    "user_blocks", "relocated_blocks", "summary_blocks", "overwritten_blocks",
                    "trimmed_blocks", "read_blocks", "cleaned_segments", "live_blocks",
                )
            },
        )  # fmt: skip
