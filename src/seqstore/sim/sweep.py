"""Many replays at once: a grid of runs over the cores of this machine, or of a cluster."""

from __future__ import annotations

import inspect
import itertools
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from seqstore.cleaning import Policy
from seqstore.errors import ConfigError, SweepError
from seqstore.sim.fan_out import Executor, fan_out
from seqstore.sim.kept import Kept, run_key
from seqstore.sim.operations import Source
from seqstore.sim.replay import open_source, replay
from seqstore.sim.result import RunResult
from seqstore.sim.table import Table
from seqstore.sim.traces import Trace
from seqstore.sim.volumes import split_volumes

Grid: TypeAlias = "Mapping[str, Any] | Sequence[Mapping[str, Any]]"
"""Arguments of `replay` by name: every combination of lists of values is a run; or a mapping for each run."""

SweepProgress: TypeAlias = Callable[[int, int], object]
"""Called after each run, with the number of runs that are over and of all."""

_PARAMETERS = {
    name: parameter.default
    for name, parameter in inspect.signature(replay).parameters.items()
    if name not in {"source", "progress", "at_end"}
}
_POLICY = ("selection", "placement", "classes", "choices", "window", "seed")


@dataclass(frozen=True, slots=True)
class _Run:
    """One replay of a sweep: the source, opened, and all other arguments."""

    source: Any
    options: dict[str, Any]


def sweep(
    grid: Grid,
    *,
    executor: Executor | None = None,
    path: str | PathLike[str] | None = None,
    progress: SweepProgress | None = None,
) -> Table:
    """Replay a grid of sources and policies, many at once.

    Parameters
    ----------
    grid : mapping of str to list, or list of mappings
        Arguments of `replay`, `source` among them. Of a mapping, every combination of the values in its lists
        (or tuples, ranges, arrays of anything but writes) is a run, the last name changing fastest; other
        values hold for all runs. In a list, each mapping is a run.
    executor : Executor, optional
        Anything with the ``submit`` of `concurrent.futures.Executor`: a pool of threads or processes, a Dask
        ``Client``. It is not shut down. Without one, processes on this machine, one for each core; a script
        that calls this needs ``if __name__ == "__main__":`` then.
    path : path, optional
        A folder in which the result of each run is kept as soon as it is over, a JSON file each. Runs that
        are there already are not run again; a run is known by its source's content or parameters, its other
        arguments and the version of this library.
    progress : callable, optional
        Called in this thread with the runs that are over and all runs; once at the start.

    Returns
    -------
    Table
        One row a run, in the order of the grid. On one process or many, its content is the same.

    Raises
    ------
    ConfigError
        If the grid holds no run, or one that cannot be; nothing was run.
    SweepError
        If runs failed. All others have been run and are in its `table`, and kept where there is a path.
    """
    runs = _expand(grid)
    keys = [] if path is None else [run_key(run.source, run.options) for run in runs]
    kept = None if path is None else Kept(Path(path))
    results: dict[int, RunResult] = {}
    for number, key in enumerate(keys):
        found = kept.load(key) if kept else None
        if found is not None:
            results[number] = found
    failures: dict[int, Exception] = {}
    missing = [number for number in range(len(runs)) if number not in results]
    if progress is not None:
        progress(len(results), len(runs))
    for ended in fan_out(_attempt, [runs[number] for number in missing], executor):
        number = missing[ended.index]
        outcome = ended.lost or ended.value
        if isinstance(outcome, RunResult):
            results[number] = outcome
            if kept:
                kept.save(keys[number], outcome)
        else:
            failures[number] = outcome
        if progress is not None:
            progress(len(results) + len(failures), len(runs))
    table = Table(dict(sorted(results.items())))
    if failures:
        raise _failed(failures, table, len(runs))
    return table


def sweep_volumes(
    trace: Source | str | PathLike[str],
    grid: Grid | None = None,
    *,
    executor: Executor | None = None,
    path: str | PathLike[str] | None = None,
    progress: SweepProgress | None = None,
    volumes: Iterable[tuple[int, int]] | None = None,
    folder: str | PathLike[str] | None = None,
    format: str | None = None,  # noqa: A002
    block_size: int = 4096,
) -> Table:
    """Replay each volume of a trace on a drive of its own, many at once.

    Parameters
    ----------
    trace : Source or path
        Read once, and split into a file for each volume.
    grid : mapping or list of mappings, optional
        As for `sweep`, without `source`, `format` and `block_size`; one run a volume, with the defaults of
        `replay`, if there is none.
    executor, path, progress
        As for `sweep`.
    volumes : iterable of (int, int), optional
        Tenant and volume of those to replay; all that are written at least once, by default.
    folder : path, optional
        Where the files of the volumes go, and stay; a temporary folder that is removed, by default. Workers
        on other machines need one that they see under the same path.
    format, block_size
        As for `replay`.

    Returns
    -------
    Table
        Volume by volume, and for each volume in the order of the grid. `Table.write_amplification` is that of
        all volumes together.

    Raises
    ------
    ConfigError, SweepError
        As for `sweep`.
    """
    points = [{}] if grid is None else _points(grid)
    for name in ("source", "format", "block_size"):
        if any(name in point for point in points):
            raise ConfigError(f"{name} stands in the grid; it is an argument of its own here")
    with ExitStack() as stack:
        if folder is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="seqstore-volumes-"))
        source = open_source(trace, format=format, block_size=block_size)
        parts = split_volumes(source, folder, volumes=volumes)
        runs = [{"source": part, **point, "block_size": block_size} for part in parts for point in points]
        return sweep(runs, executor=executor, path=path, progress=progress)


def _attempt(run: _Run) -> RunResult | Exception:
    """Replay in a worker. Errors come back as values: what a future raises is then the executor's own."""
    try:
        # A trace counts what it meets as it is read, and threads share it: each reads a copy.
        source = copy(run.source) if isinstance(run.source, Trace) else run.source
        return replay(source, **run.options)
    except Exception as error:
        return error


# ---- from a grid to runs ---------------------------------------------------------------------------


def _points(grid: Any) -> list[dict[str, Any]]:
    """Lay out a grid as the arguments of each run."""
    if not isinstance(grid, Mapping):
        if not isinstance(grid, Sequence) or not all(isinstance(point, Mapping) for point in grid):
            raise ConfigError(
                f"the grid is of type {type(grid).__name__}; it is a mapping of names of arguments to values,"
                " or a list of such mappings"
            )
        return [dict(point) for point in grid]
    axes = [_values(name, value) for name, value in grid.items()]
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*axes)]


def _values(name: str, value: Any) -> list[Any]:
    if isinstance(value, np.ndarray) and name != "source":
        return list(value.tolist())
    return list(value) if isinstance(value, list | tuple | range) else [value]


def _expand(grid: Grid) -> list[_Run]:
    """Make and check the runs of a grid; a trace that several of them replay is opened and surveyed once."""
    points = _points(grid)
    if not points:
        raise ConfigError("the grid holds no run: it, or one of its lists, is empty")
    opened: dict[tuple[str, Any, Any], Source] = {}
    runs = [_make_run(number, point, opened) for number, point in enumerate(points)]
    for source, uses in Counter(id(run.source) for run in runs).items():
        if uses > 1:
            _survey(next(run.source for run in runs if id(run.source) == source))
    return runs


def _make_run(number: int, point: Mapping[str, Any], opened: dict[tuple[str, Any, Any], Source]) -> _Run:
    unknown = point.keys() - _PARAMETERS.keys() - {"source"}
    if unknown or "source" not in point:
        wrong = f"has {', '.join(sorted(map(str, unknown)))}" if unknown else "has no source"
        raise ConfigError(f"run {number} {wrong}; a run has source and, of {', '.join(_PARAMETERS)}, any")
    options = {**_PARAMETERS, **{name: value for name, value in point.items() if name != "source"}}
    source = point["source"]
    try:
        Policy(**{name: options[name] for name in _POLICY})
        if isinstance(source, str | PathLike):
            key = (str(source), options["format"], options["block_size"])
            if key not in opened:
                opened[key] = open_source(source, format=options["format"], block_size=options["block_size"])
            source = opened[key]
        elif not isinstance(source, np.ndarray):
            open_source(source)
    except ConfigError as error:
        raise ConfigError(f"run {number}: {error}") from error
    return _Run(source, options)


def _survey(source: Any) -> None:
    """Have a source find out its working set before it is copied to the workers, which need not then."""
    if isinstance(source, Source):
        _ = source.blocks, source.volumes


def _failed(failures: dict[int, Exception], table: Table, count: int) -> SweepError:
    number = min(failures)
    error = failures[number]
    return SweepError(
        f"{len(failures)} of {count} runs failed; run {number} by {type(error).__name__}: {error}",
        failures=dict(sorted(failures.items())),
        table=table,
    )
