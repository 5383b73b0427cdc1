"""The commands that replay, sweep, and report: ``seqstore replay``, ``sweep``, ``report`` and ``trace info``.

Only what describes them to the parser is here; what they need is imported when they run.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import TypeAlias

from seqstore.errors import AccessError, ConfigError, NotFoundError, TraceError

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_SPACE_HELP = "utilization=SHARE[,free_segments=COUNT] or garbage=SHARE"

_MAP_HELP = "the drive at the end of each run, of the first six, among the figures (default: yes)"
_MAP_AGAIN_HELP = (
    "the drive at the end of the first six runs, each of which is run once more for it (default: no)"
)

_REPLAY_DESCRIPTION = """\
Replays a workload or a trace on a simulated drive, under one cleaning policy or several, and says what comes
of it: write amplification, how long deleted blocks stay on the medium, what the cleaner found.

SOURCE is the path of a trace, compressed or not, or a workload with its parameters, such as
zipf:blocks=2^18,writes=2^21,alpha=1.0,seed=1. There are uniform, zipf, zipf_drift, hot_cold, sequential,
mixed, file_system and tenant_churn; `seqstore replay zipf:` says what one takes.
"""

_REPLAY_EPILOG = """\
examples:
  seqstore replay uniform:blocks=2^18,writes=2^21,seed=1
                                   greedy, one segment open, a drive 80 % full
  seqstore replay zipf:blocks=2^18,writes=2^21,seed=1 \\
      --selection greedy,cost_benefit --placement single,sepbit --html page.html
                                   four policies, compared on a page
  seqstore replay trace.csv.gz --format alibaba --space garbage=0.15 \\
      --json runs.json

exit status: 0 if all went well, 1 if the simulation failed, 2 if the input cannot be used.
"""

_SWEEP_DESCRIPTION = """\
Replays every combination of a grid, a process a core. GRID is a TOML or JSON file: each entry an argument of
seqstore.sim.replay with a list of its values; sources and spaces are written as for `seqstore replay`.
"""

_SWEEP_EPILOG = """\
example of a grid:
  source = ["zipf:blocks=2^18,writes=2^21,alpha=0.8,seed=1",
            "zipf:blocks=2^18,writes=2^21,alpha=1.0,seed=1"]
  selection = ["greedy", "cost_benefit"]
  placement = ["single", "sepbit"]
  space = ["utilization=0.8", "utilization=0.9"]

examples:
  seqstore sweep grid.toml --html page.html
  seqstore sweep grid.toml --keep runs --csv table.csv
                                   what is in the folder runs is not run again
"""

_REPORT_EPILOG = """\
examples:
  seqstore report runs.json -o page.html
  seqstore report greedy.json sepbit.json -o page.html --map --png figures
"""


def add_commands(verbs: Verbs) -> None:
    """Describe the commands to the parser; each sets ``run``, which takes the arguments."""
    _add_replay(verbs)
    _add_sweep(verbs)
    _add_report(verbs)
    _add_trace(verbs)


def _add_replay(verbs: Verbs) -> None:
    parser = _add(
        verbs,
        "replay",
        "simulate cleaning policies on a workload or a trace",
        _REPLAY_DESCRIPTION,
        _REPLAY_EPILOG,
    )
    parser.add_argument("source", metavar="SOURCE", help="a trace, or WORKLOAD:name=value,...")
    policy = parser.add_argument_group("policy (several with commas: every combination is replayed)")
    policy.add_argument("--selection", metavar="NAMES", default="greedy", help="(default: greedy)")
    policy.add_argument("--placement", metavar="NAMES", default="single", help="(default: single)")
    policy.add_argument("--classes", metavar="COUNT", type=int, default=6, help="of placements (default: 6)")
    policy.add_argument("--choices", metavar="COUNT", type=int, default=10, help="of d_choices (default: 10)")
    policy.add_argument(
        "--window", metavar="SHARE", type=float, default=0.9, help="of windowed_greedy (default: 0.9)"
    )
    policy.add_argument("--seed", type=int, default=0, help="of what a policy draws (default: 0)")
    drive = parser.add_argument_group("drive")
    drive.add_argument("--space", default="utilization=0.8", help=f"{_SPACE_HELP} (default: utilization=0.8)")
    drive.add_argument(
        "--deletion",
        metavar="STRATEGY",
        default="lap",
        help="what happens to deleted blocks: lap, now, laps=COUNT, writes=COUNT or seconds=COUNT; several"
        " with semicolons (default: lap)",
    )
    drive.add_argument("--segment-blocks", metavar="COUNT", type=int, default=512, help="(default: 512)")
    drive.add_argument("--sample-writes", metavar="COUNT", type=int, help="between two samples of the series")
    _add_trace_options(parser.add_argument_group("trace"))
    _add_outputs(parser, _MAP_HELP)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the results, one a line")
    parser.set_defaults(run=_replay, map_default=True)


def _add_sweep(verbs: Verbs) -> None:
    parser = _add(verbs, "sweep", "simulate a grid of runs on all cores", _SWEEP_DESCRIPTION, _SWEEP_EPILOG)
    parser.add_argument("grid", metavar="GRID", type=Path, help="TOML or JSON")
    parser.add_argument("--workers", metavar="COUNT", type=int, help="processes (default: one a core)")
    parser.add_argument(
        "--keep", metavar="DIR", type=Path, help="keep each result, and run only what is missing"
    )
    parser.add_argument("--csv", metavar="FILE", type=Path, help="write the table")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the results, one a line")
    _add_outputs(parser, _MAP_AGAIN_HELP)
    parser.set_defaults(run=_sweep, map_default=False)


def _add_report(verbs: Verbs) -> None:
    parser = _add(verbs, "report", "make a page of results", "Makes a page of results.", _REPORT_EPILOG)
    parser.add_argument("results", metavar="RESULT", nargs="+", type=Path, help="JSON or Parquet")
    parser.add_argument("-o", "--output", metavar="FILE", dest="html", type=Path, help="the page")
    _add_outputs(parser, _MAP_AGAIN_HELP, page=False)
    parser.set_defaults(run=_report, map_default=False)


def _add_trace(verbs: Verbs) -> None:
    trace = _add(verbs, "trace", "look into recorded traces", "Looks into recorded traces.", "")
    inner = trace.add_subparsers(title="verbs", dest="trace_verb", metavar="VERB", required=True)
    parser = _add(inner, "info", "say what is in a trace", "Reads a trace, and says what is in it.", "")
    parser.add_argument("trace", metavar="FILE", help="the trace, compressed or not")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    _add_trace_options(parser)
    parser.set_defaults(run=_trace_info)


def _add(verbs: Verbs, name: str, text: str, description: str, epilog: str) -> argparse.ArgumentParser:
    return verbs.add_parser(
        name,
        help=text,
        description=description,
        epilog=epilog,
    )


def _add_trace_options(group: argparse._ActionsContainer) -> None:
    group.add_argument("--format", metavar="NAME", help="of a trace whose name and first lines do not tell")
    group.add_argument("--block-size", metavar="SIZE", default="4096", help="(default: 4096)")
    group.add_argument("--shift", metavar="SIZE", default="0", help="added to each offset of a trace")


def _add_outputs(parser: argparse.ArgumentParser, map_help: str, *, page: bool = True) -> None:
    if page:
        parser.add_argument("--html", metavar="FILE", type=Path, help="write a page with figures and tables")
    parser.add_argument("--png", metavar="DIR", type=Path, help="write the figures as PNG files")
    parser.add_argument("--map", action=argparse.BooleanOptionalAction, help=map_help)
    parser.add_argument("--title", metavar="TEXT", help="of the page")
    parser.add_argument("--quiet", action="store_true", help="show no progress, and no table")


def _replay(arguments: argparse.Namespace) -> int:
    return _run("replay", arguments)


def _sweep(arguments: argparse.Namespace) -> int:
    return _run("sweep", arguments)


def _report(arguments: argparse.Namespace) -> int:
    if arguments.html is None and arguments.png is None:
        raise ConfigError("say what to make: -o FILE for a page, --png DIR for pictures")
    return _run("report", arguments)


def _trace_info(arguments: argparse.Namespace) -> int:
    return _run("trace_info", arguments)


def _run(name: str, arguments: argparse.Namespace) -> int:
    """Run a command, for which a trace that is not there or not to be read is input that cannot be used."""
    _require(arguments)
    from seqstore.report import running  # noqa: PLC0415  needs rich

    try:
        status: int = getattr(running, name)(arguments)
    except (AccessError, NotFoundError, TraceError) as error:
        raise ConfigError(str(error)) from error
    return status


def _require(arguments: argparse.Namespace) -> None:
    """Say what is not installed, before any work is done."""
    draws = any(getattr(arguments, name, None) is not None for name in ("html", "png"))
    for package in ("rich", *(["matplotlib"] if draws else [])):
        if importlib.util.find_spec(package) is None:
            raise ConfigError(f"the command needs the package {package}; pip install seqstore[cli]")
