"""What commands are given as words: workloads, traces, bounds on space, grids of runs."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from seqstore.deletion import Deadline, Lap, Now, Strategy
from seqstore.errors import ConfigError
from seqstore.sim import FixedDrive, GarbageProportion, Source, traces, workloads
from seqstore.sim.result import RunResult


def parse_workload(text: str) -> Source | None:
    """Make a workload of words such as ``zipf:blocks=2^18,writes=2^20,alpha=1.0,seed=1``.

    Parameters
    ----------
    text : str
        A function of `seqstore.sim.workloads`, a colon and its arguments.

    Returns
    -------
    Source or None
        None if it is none of these words, and so the path of a trace.

    Raises
    ------
    ConfigError
        If an argument cannot be used, or there is neither such a workload nor such a file.
    """
    name, colon, rest = text.partition(":")
    makers = _workloads()
    if not name.isidentifier() or Path(text).exists():
        return None
    if name in makers:
        return make_workload(name, _arguments(rest, text))
    if colon:
        raise ConfigError(f"{name!r} is no workload, and {text!r} no file; workloads are {', '.join(makers)}")
    return None


def make_workload(name: str, arguments: Mapping[str, Any]) -> Source:
    """Call a function of `seqstore.sim.workloads`.

    Raises
    ------
    ConfigError
        If an argument is unknown, missing, or cannot be used.
    """
    maker = _workloads()[name]
    known = inspect.signature(maker).parameters
    missing = [key for key, one in known.items() if one.default is one.empty and key not in arguments]
    unknown = [key for key in arguments if key not in known]
    if unknown or missing:
        what = f"no {unknown[0]!r}" if unknown else f"to be given {missing[0]!r}"
        raise ConfigError(f"{name} has {what}; it takes {_say_parameters(known)}")
    try:
        source: Source = maker(**arguments)
    except TypeError as error:
        raise ConfigError(f"{name}: {error}") from error
    return source


def remake_source(result: RunResult) -> Source:
    """Make again what a result is of: a workload from its parameters, or the trace if it still lies there.

    Raises
    ------
    ConfigError
        If the writes came from an array or a source of the caller's own.
    """
    arguments = result.parameters.get("source")
    if isinstance(arguments, Mapping):
        if result.source in _workloads():
            return make_workload(result.source, arguments)
        if "path" in arguments:
            return traces.open_trace(**arguments)
    raise ConfigError(
        f"what {result.source!r} wrote is not known any more: it is neither a workload nor a trace"
    )


def expected_operations(source: Source) -> int | None:
    """Say how many operations a workload will give; None if nobody knows."""
    operations = getattr(source, "operations", None)
    if not isinstance(operations, int):
        return None
    fill = source.blocks // getattr(source, "request_blocks", 1) if getattr(source, "fill", False) else 0
    return operations + fill


def parse_space(text: str) -> FixedDrive | GarbageProportion:
    """Make a bound on space of words such as ``utilization=0.8`` or ``garbage=0.15``.

    Raises
    ------
    ConfigError
        If the words or numbers cannot be used.
    """
    try:
        values = _arguments(text, text)
        if set(values) == {"garbage"}:
            return GarbageProportion(float(values["garbage"]))
        if "utilization" in values and set(values) <= {"utilization", "free_segments"}:
            return FixedDrive(
                utilization=float(values["utilization"]), free_segments=int(values.get("free_segments", 0))
            )
    except (TypeError, ValueError) as error:  # a ConfigError is one
        raise ConfigError(f"space is {text!r}: {error}") from error
    raise ConfigError(f"space is {text!r}; it is utilization=SHARE[,free_segments=COUNT] or garbage=SHARE")


def parse_deletion(text: str) -> Strategy:
    """Make a strategy of deletion of words such as ``laps=2``, ``seconds=3600``, ``now`` or ``lap``.

    Raises
    ------
    ConfigError
        If the words or numbers cannot be used.
    """
    if text in {"now", "lap"}:
        return Now() if text == "now" else Lap()
    try:
        return Deadline(**_arguments(text, text))
    except (TypeError, ValueError) as error:  # a ConfigError is one
        raise ConfigError(
            f"deletion is {text!r}: {error}; it is lap, now, laps=COUNT, writes=COUNT or seconds=COUNT"
        ) from error


def make_space(parameters: Mapping[str, Any]) -> FixedDrive | GarbageProportion:
    """Make the bound on space that a result has among its parameters."""
    if "garbage_proportion" in parameters:
        return GarbageProportion(parameters["garbage_proportion"])
    return FixedDrive(**parameters)


def read_grid(path: str | Path) -> dict[str, list[Any]]:
    """Read a grid of runs, for `seqstore.sim.sweep`: a table of lists, in TOML or JSON.

    Parameters
    ----------
    path : str or Path
        Each entry is an argument of `seqstore.sim.replay` with its values; sources, spaces and
        strategies of deletion are words, as `parse_workload`, `parse_space` and `parse_deletion` take them,
        or paths of traces. A value alone is a list of one.

    Raises
    ------
    ConfigError
        If the file cannot be read, or an entry cannot be used.
    """
    file = Path(path)
    try:
        text = file.read_text("utf-8")
        content = _load_toml(text) if file.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise ConfigError(f"the grid {str(file)!r} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{file} is no grid of runs: {error}") from error
    if not isinstance(content, dict) or "source" not in content:
        raise ConfigError(f"{file} is no grid of runs: it has no entry 'source'")
    grid = {name: list(value) if isinstance(value, list) else [value] for name, value in content.items()}
    empty = [name for name, values in grid.items() if not values]
    if empty:
        raise ConfigError(f"{file}: {empty[0]!r} has no values")
    texts = [_text(value, "source") for value in grid["source"]]
    # A path stays one: format and block size of a trace may be entries of their own.
    grid["source"] = [parse_workload(text) or text for text in texts]
    if "space" in grid:
        grid["space"] = [parse_space(_text(value, "space")) for value in grid["space"]]
    if "deletion" in grid:
        grid["deletion"] = [parse_deletion(_text(value, "deletion")) for value in grid["deletion"]]
    return grid


def _load_toml(text: str) -> Any:
    if sys.version_info < (3, 11):
        raise ConfigError("a grid in TOML needs Python 3.11; write it as JSON")
    import tomllib  # noqa: PLC0415  newer than the oldest Python that this works on

    return tomllib.loads(text)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{what} is {value!r}; a text is expected")
    return value


def _workloads() -> dict[str, Callable[..., Any]]:
    functions = inspect.getmembers(workloads, inspect.isfunction)
    return {name: maker for name, maker in functions if maker.__module__ == workloads.__name__}


def _say_parameters(known: Mapping[str, inspect.Parameter]) -> str:
    return ", ".join(
        key if one.default is one.empty else f"{key}={one.default}" for key, one in known.items()
    )


def _arguments(text: str, whole: str) -> dict[str, Any]:
    """Read ``name=value,name=value``."""
    found: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not name or not value:
            raise ConfigError(f"{part!r} in {whole!r} is not of the form name=value")
        if name in found:
            raise ConfigError(f"{name!r} stands twice in {whole!r}")
        found[name] = _number(value)
    return found


def _number(text: str) -> Any:
    """Read an int, a float, a power such as ``2^18``, true or false; leave anything else a text."""
    if text in {"true", "false"}:
        return text == "true"
    base, power, exponent = text.partition("^")
    if power and base.isdecimal() and exponent.isdecimal() and int(exponent) < 64:
        return int(base) ** int(exponent)
    if text.replace("_", "").lstrip("+-").isdecimal():
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text
