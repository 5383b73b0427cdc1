"""Runs the commands that replay, sweep, and report."""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from seqstore import ConfigError, sim
from seqstore.deletion import Lap
from seqstore.report.drive_map import format_bytes
from seqstore.report.progress import Screen
from seqstore.report.runs import Run, describe_runs, name_runs, read_results, write_results
from seqstore.report.segment_map import SegmentMap, map_run
from seqstore.report.specs import expected_operations, parse_deletion, parse_space, parse_workload, read_grid
from seqstore.sim import traces
from seqstore.units import parse_size

if TYPE_CHECKING:
    from seqstore.sim.result import RunResult
    from seqstore.sim.simulation import Simulation

_OK = 0
_MOST_MAPS = 6
_SAMPLES_A_FILL = 8


def replay(arguments: argparse.Namespace) -> int:
    """Replay a source under one policy or several; return the exit status."""
    screen = Screen(quiet=arguments.quiet)
    _check_outputs(arguments)
    source = parse_workload(arguments.source) or traces.open_trace(
        arguments.source, arguments.format, block_size=arguments.block_size, shift=arguments.shift
    )
    space = parse_space(arguments.space)
    selections, placements = (_names(text) for text in (arguments.selection, arguments.placement))
    deletions = [parse_deletion(text) for text in arguments.deletion.split(";")]
    policies = list(itertools.product(selections, placements, deletions))
    if not policies:
        raise ConfigError("there is no policy to replay; --selection and --placement take names")
    for option, values in (("selection", selections), ("placement", placements), ("deletion", deletions)):
        _require_different(option, values)
    total = expected_operations(source)
    results = []
    maps: dict[int, SegmentMap] = {}
    for number, (selection, placement, deletion) in enumerate(policies, start=1):
        counted = f"{number}/{len(policies)} " if len(policies) > 1 else ""
        mapped = _wants_maps(arguments) and number <= _MOST_MAPS
        with screen.operations(f"{counted}{selection} + {placement}", total) as progress:
            result = sim.replay(
                source,
                selection=selection,
                placement=placement,
                space=space,
                deletion=None if deletion == Lap() else deletion,
                segment_blocks=arguments.segment_blocks,
                classes=arguments.classes,
                choices=arguments.choices,
                window=arguments.window,
                seed=arguments.seed,
                block_size=parse_size(arguments.block_size, "block size"),
                sample_writes=arguments.sample_writes or max(source.blocks // _SAMPLES_A_FILL, 1),
                progress=progress,
                at_end=partial(_keep_map, maps, number - 1) if mapped else None,
            )
        total = result.requests
        results.append(result)
    return _show(results, arguments, screen, maps)


def sweep(arguments: argparse.Namespace) -> int:
    """Replay a grid on several processes; return the exit status."""
    screen = Screen(quiet=arguments.quiet)
    _check_outputs(arguments)
    if arguments.workers is not None and arguments.workers < 1:
        raise ConfigError(f"workers is {arguments.workers}; at least one is needed")
    grid = read_grid(arguments.grid)
    workers = arguments.workers
    pool = nullcontext() if workers is None else ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    with pool as executor, screen.runs(arguments.grid.name) as progress:
        table = sim.sweep(grid, executor=executor, path=arguments.keep, progress=progress)
    if arguments.csv is not None:
        table.to_csv(arguments.csv)
        if not arguments.quiet:
            screen.say(f"table: {arguments.csv}")
    return _show(list(table), arguments, screen)


def report(arguments: argparse.Namespace) -> int:
    """Make a page, or pictures, of results; return the exit status."""
    _check_outputs(arguments)
    results = [result for path in arguments.results for result in read_results(path)]
    arguments.json = None
    return _show(results, arguments, Screen(quiet=arguments.quiet))


def trace_info(arguments: argparse.Namespace) -> int:
    """Say what is in a trace; return the exit status."""
    screen = Screen(quiet=False)
    trace = traces.open_trace(
        arguments.trace, arguments.format, block_size=arguments.block_size, shift=arguments.shift
    )
    with screen.operations(f"reading {trace.name}", None):
        found = traces.info(trace)
    if arguments.json:
        screen.say(json.dumps(found.to_dict(), indent=2))
        return _OK
    size = found.block_size

    def blocks(count: int) -> str:
        return f"{format_bytes(count * size)} ({count:,} blocks)"

    overwritten = f"{100 * found.overwrite_ratio:.1f} % of it over what was written before"
    facts = [
        ("trace", f"{found.name}, format {found.format}, blocks of {format_bytes(size)}"),
        (
            "requests",
            f"{found.requests:,}: {found.reads:,} reads, {found.writes:,} writes, {found.trims:,} trims",
        ),
        ("duration", f"{found.duration_ns / 1e9:,.1f} s"),
        ("volumes", f"{len(found.volumes):,}"),
        ("written", f"{blocks(found.written_blocks)}, {overwritten}"),
        ("read", blocks(found.read_blocks)),
        (
            "working set",
            f"{blocks(found.working_set_blocks)}, of which {blocks(found.written_set_blocks)} are written",
        ),
        ("not aligned to blocks", _share(found.misaligned, found.requests)),
        ("not aligned to 4 KiB", _share(found.misaligned_4k, found.requests)),
        ("advice", found.advice + (f" (--shift {found.advised_shift})" if found.advised_shift else "")),
    ]
    if found.skipped:
        facts.insert(2, ("left out", f"lines of the file: {found.skipped:,}"))
    if found.disordered:
        facts.insert(2, ("out of order", f"requests: {found.disordered:,}"))
    screen.facts(facts)
    return _OK


def _share(count: int, total: int) -> str:
    return f"{count:,} requests, {100 * count / max(total, 1):.1f} %"


# ---- what comes of runs ---------------------------------------------------------------------------


def _show(
    results: Sequence[RunResult],
    arguments: argparse.Namespace,
    screen: Screen,
    maps: dict[int, SegmentMap] | None = None,
) -> int:
    """Print, draw and write results as the arguments say; without maps, repeat runs for them."""
    runs = name_runs(results)
    if not arguments.quiet:
        screen.say(describe_runs(runs))
        screen.say()
        screen.show(runs)
    if arguments.json is not None:
        write_results(arguments.json, results)
        if not arguments.quiet:
            screen.say(f"results: {arguments.json}")
    if arguments.html is None and arguments.png is None:
        return _OK
    from seqstore.report.gallery import draw_all, save_all  # noqa: PLC0415  needs matplotlib
    from seqstore.report.page import save_page  # noqa: PLC0415

    if maps is None:
        maps = _repeat_for_maps(runs, screen) if _wants_maps(arguments) else {}
    if maps and len(runs) > _MOST_MAPS and not arguments.quiet:
        screen.say(f"maps of the first {_MOST_MAPS} runs only")
    pictures = draw_all(runs, maps)
    if arguments.png is not None:
        screen.say(f"{len(save_all(pictures, arguments.png))} pictures in {arguments.png}")
    if arguments.html is not None:
        save_page(arguments.html, runs, pictures, title=arguments.title)
        screen.say(f"page: {arguments.html}")
    return _OK


def _wants_maps(arguments: argparse.Namespace) -> bool:
    drawn = arguments.html is not None or arguments.png is not None
    return drawn and bool(arguments.map_default if arguments.map is None else arguments.map)


def _keep_map(maps: dict[int, SegmentMap], place: int, simulation: Simulation) -> None:
    maps[place] = SegmentMap.of(simulation)


def _repeat_for_maps(runs: Sequence[Run], screen: Screen) -> dict[int, SegmentMap]:
    """Repeat runs to look at the drives at their ends; say of which nothing can be seen."""
    maps = {}
    for place, run in enumerate(runs[:_MOST_MAPS]):
        with screen.operations(f"map: {run.label}", run.result.requests) as progress:
            try:
                maps[place] = map_run(run.result, progress=progress)
            except ConfigError as error:
                screen.say(f"no map of {run.label}: {error}")
    return maps


def _require_different(option: str, values: Sequence[object]) -> None:
    for place, value in enumerate(values):
        if value in values[:place]:
            raise ConfigError(f"--{option} has {value} twice; the runs would be the same: leave one out")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Say before a long run that its end could not be written."""
    for name in ("html", "json", "csv"):
        path: Path | None = getattr(arguments, name, None)
        # The trace's flag of the same name never comes here.
        if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK)):
            raise ConfigError(f"--{name}: {path} cannot be written")
