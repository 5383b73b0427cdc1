"""What lies where at the end of a run: for each segment what is live, how old its residue is, whose it is.

A result does not say that, and the drive is gone when a replay ends: `SegmentMap.of` looks before, as
``at_end`` of `seqstore.sim.replay`. Where there is a result alone, it has everything that repeats the run,
and equal inputs give equal drives: `map_run` repeats it for its map.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqstore import BlockState, ConfigError, SegmentState
from seqstore.cleaning import Policy
from seqstore.report.specs import make_space, remake_source
from seqstore.sim.operations import Source
from seqstore.sim.result import RunResult
from seqstore.sim.simulation import Simulation

_BLOCKS_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SegmentMap:
    """The segments of a drive, in the order in which they lie.

    Attributes
    ----------
    segment_blocks : int
        Blocks of a segment.
    live : ndarray of float64, shape (segments,)
        Utilization: live blocks / blocks of the segment.
    residue : ndarray of float64, shape (segments,)
        Dead blocks / blocks of the segment.
    oldest_laps : ndarray of float64, shape (segments,)
        How long ago the first of its dead blocks died, in laps; nan where none is dead.
    owners : ndarray of int64, shape (segments,)
        Number of the tenant with the most blocks, live and dead; 0 where there is none.
    open : ndarray of bool, shape (segments,)
        Whether it takes appends.
    """

    segment_blocks: int
    live: NDArray[np.float64]
    residue: NDArray[np.float64]
    oldest_laps: NDArray[np.float64]
    owners: NDArray[np.int64]
    open: NDArray[np.bool_]

    @property
    def tenants(self) -> list[int]:
        """Numbers of the tenants that own most of some segment."""
        return [number for number in np.unique(self.owners).tolist() if number]

    @property
    def oldest(self) -> float:
        """Age of the drive's oldest residue in laps; 0 where nothing is dead."""
        return float(np.nanmax(self.oldest_laps, initial=0))

    @classmethod
    def of(cls, simulation: Simulation) -> SegmentMap:
        """Look at the drive of a simulation; nothing on it changes."""
        engine, blocks = simulation.engine, simulation.medium.blocks
        segments = engine.segments()
        size = blocks // len(segments)
        position = engine.counters()["position"]
        live, residue, oldest, owners = (np.zeros(len(segments)) for _ in range(4))
        at_once = max(_BLOCKS_AT_ONCE // size, 1)
        for first in range(0, len(segments), at_once):
            part = slice(first, min(first + at_once, len(segments)))
            entries = engine.ledger(first * size, (part.stop - first) * size).reshape(-1, size)
            is_dead = (entries["state"] == BlockState.DEAD) | (entries["state"] == BlockState.MOVED)
            live[part] = np.count_nonzero(entries["state"] == BlockState.LIVE, axis=1) / size
            residue[part] = np.count_nonzero(is_dead, axis=1) / size
            age = np.where(is_dead, position - entries["died"].astype(np.float64), -np.inf).max(axis=1)
            oldest[part] = np.where(np.isfinite(age), age / blocks, np.nan)
            owners[part] = _most_frequent(entries["tenant"])
        return cls(
            segment_blocks=size,
            live=live,
            residue=residue,
            oldest_laps=oldest,
            owners=owners.astype(np.int64),
            open=segments["state"] == SegmentState.OPEN,
        )


def map_run(
    result: RunResult, source: Source | None = None, progress: Callable[[int], object] | None = None
) -> SegmentMap:
    """Repeat a run, and look what lies where at its end.

    Parameters
    ----------
    result : RunResult
        Of `seqstore.sim.replay`.
    source : Source, optional
        What was replayed; by default it is made again from the result.
    progress : callable, optional
        Called now and then with the number of operations done so far.

    Returns
    -------
    SegmentMap

    Raises
    ------
    ConfigError
        If the run cannot be repeated, since its policy is a function or the oracle, which looks ahead; or if
        it does not end as it did, because the trace is another one.
    """
    if result.placement == "oracle":
        raise ConfigError("a run of the oracle is not repeated for its map")
    settings = result.parameters
    policy = Policy(
        selection=result.selection,
        placement=result.placement,
        **{name: settings[name] for name in ("classes", "choices", "window", "seed")},
    )
    operations = remake_source(result) if source is None else source
    done = 0
    with Simulation(
        policy,
        make_space(settings["space"]),
        blocks=operations.blocks,
        segment_blocks=settings["segment_blocks"],
        block_size=settings["block_size"],
    ) as simulation:
        for (tenant, volume), blocks in (operations.volumes or {}).items():
            simulation.create(tenant, volume, blocks)
        for batch in operations.batches():
            simulation.run(batch)
            done += len(batch)
            if progress is not None:
                progress(done)
        counters = simulation.engine.counters()
        residue = int(simulation.sample(0)["residue_blocks"])
        found = (counters["user_blocks"], counters["relocated_blocks"], residue)
        if found != (result.user_blocks, result.relocated_blocks, result.residue_blocks):
            raise ConfigError(
                f"the run of {result.source!r} ends otherwise than it did, with {found[1]} blocks relocated"
                f" instead of {result.relocated_blocks}: it is not the same source"
            )
        return SegmentMap.of(simulation)


def _most_frequent(owners: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return for each row the number, other than 0, that it holds most often; 0 for rows of nothing else."""
    numbers = np.unique(owners)
    numbers = numbers[numbers != 0]
    best = np.zeros(len(owners), np.int64)
    most = np.zeros(len(owners), np.int64)
    for number in numbers.tolist():
        count = np.count_nonzero(owners == number, axis=1)
        best[count > most] = number
        most = np.maximum(most, count)
    return best
