"""Runs that are compared: read from files, and named by what tells them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from seqstore.errors import ConfigError
from seqstore.report.palette import HUES
from seqstore.sim.result import RunResult, read_parquet

# Matter to some policies and not to others: they tell runs apart only where the policy does not.
_OF_POLICIES: Final = frozenset({"classes", "choices", "window", "seed"})
# A file's name says enough.
_OF_FILES: Final = frozenset({"path", "format"})
_DASHES: Final = ("-", "--", ":", "-.")

STEADY_SHARE: Final = 0.5
"""Of what was written on request, to the end: where a run is taken to be steady."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A result with a name and a look.

    Attributes
    ----------
    result : RunResult
    policy : str
        Selection and placement.
    setting : str
        What else tells runs apart; empty if nothing does.
    label : str
        Both, unless all runs have the same policy; no two runs have the same.
    colour, dash : str
        For a line: a hue as ``#rrggbb`` and a dash pattern of matplotlib.
    """

    result: RunResult
    policy: str
    setting: str
    label: str
    colour: str
    dash: str

    @property
    def steady(self) -> float:
        """Write amplification of the last part of the run."""
        return self.result.steady_amplification(STEADY_SHARE)

    @property
    def victims_mean(self) -> float:
        """Mean utilization of the segments that were cleaned; nan if none was."""
        blocks = self.result.cleaned_segments * int(self.result.parameters.get("segment_blocks", 0))
        return self.result.relocated_blocks / blocks if blocks else float("nan")

    @property
    def space(self) -> str:
        """How the space was bounded, in words."""
        return _space(self.result.parameters.get("space"))


def name_runs(results: Iterable[RunResult]) -> list[Run]:
    """Give results names that tell them apart, and looks: hues for policies, dashes for settings.

    Parameters
    ----------
    results : iterable of RunResult
        In the order in which they will be shown.

    Raises
    ------
    ConfigError
        If there are none.
    """
    found = list(results)
    if not found:
        raise ConfigError("there are no results to compare")
    policies = [f"{result.selection} + {result.placement}" for result in found]
    settings = _settings(found, policies)
    labels = _unlike(_labels(policies, settings))
    looks = _looks(policies, settings)
    return [
        Run(result=result, policy=policy, setting=setting, label=label, colour=colour, dash=dash)
        for result, policy, setting, label, (colour, dash) in zip(
            found, policies, settings, labels, looks, strict=True
        )
    ]


def read_results(path: str | Path) -> list[RunResult]:
    """Read results: JSON, several of them one a line, or Parquet.

    Raises
    ------
    ConfigError
        If the file cannot be read, or holds anything else.
    """
    file = Path(path)
    try:
        if file.suffix == ".parquet":
            return [read_parquet(file)]
        text = file.read_text("utf-8")
        # One result may be written over many lines, and then no line of it is one.
        lines = [line for line in text.splitlines() if line.strip()]
        single = not lines or lines[0].strip() == "{"
        return [RunResult.from_json(part) for part in ([text] if single else lines)]
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{str(file)!r} cannot be read: {why}") from error


def write_results(path: str | Path, results: Sequence[RunResult]) -> None:
    """Write results as JSON, one a line."""
    Path(path).write_text("".join(f"{result.to_json()}\n" for result in results), "utf-8")


def describe_source(result: RunResult) -> str:
    """Say what was replayed, with all its parameters."""
    source = result.parameters.get("source")
    if not isinstance(source, Mapping):
        return result.source
    shown = ", ".join(f"{name}={_value(value)}" for name, value in source.items())
    return f"{result.source}({shown})"


def describe_runs(runs: Sequence[Run]) -> str:
    """Say in a line how many runs there are, of what, and in how much space."""
    sources = dict.fromkeys(describe_source(run.result) for run in runs)
    spaces = dict.fromkeys(run.space for run in runs)
    what = next(iter(sources)) if len(sources) == 1 else f"{len(sources)} sources"
    where = f"drive {next(iter(spaces))}" if len(spaces) == 1 else f"{len(spaces)} bounds on space"
    count = "one run" if len(runs) == 1 else f"{len(runs)} runs"
    deletions = list(dict.fromkeys(_deletion(run.result) for run in runs))
    about = "" if deletions == ["lap"] else f"; deletion {', '.join(deletions)}"
    return f"{count} of {what}; {where}{about}"


# ---- names ------------------------------------------------------------------------------------


def _settings(results: list[RunResult], policies: list[str]) -> list[str]:
    """Say for each run what differs among them, beside the policy."""
    facts = [_facts(result) for result in results]
    sources = [result.source for result in results]
    same_sources = len(set(sources)) == 1
    shown = []
    for name in dict.fromkeys(name for one in facts for name in one):
        of_source, _, last = name.rpartition(".")
        if of_source and last in _OF_FILES and not same_sources:
            continue
        if of_source:
            among = sources
        elif last in _OF_POLICIES:
            among = policies
        else:
            among = [""] * len(results)
        # Sources have parameters of their own, and policies: they say nothing about those of another one.
        distinct = {(one, fact.get(name)) for one, fact in zip(among, facts, strict=True)}
        if len(distinct) > len(set(among)):
            shown.append(name)
    return [", ".join(_say(name, one[name]) for name in shown if name in one) for one in facts]


def _facts(result: RunResult) -> dict[str, str]:
    """Give everything that repeats a run as texts by names; the source's own parameters after a point."""
    facts = {"source": result.source, "deletion": _deletion(result)}
    for name, value in result.parameters.items():
        if name == "source" and isinstance(value, Mapping):
            facts.update({f"source.{inner}": _value(part) for inner, part in value.items()})
        elif name == "space":
            facts[name] = _space(value)
        else:
            facts[name] = _value(value)
    return facts


def _deletion(result: RunResult) -> str:
    """Say what became of deleted blocks, in the words of the command line."""
    return str(result.parameters.get("deletion", "lap"))


def _say(name: str, value: str) -> str:
    if name == "deletion":
        return f"deletion {value}"
    return value if name in {"source", "space"} else f"{name.rpartition('.')[2]}={value}"


def _space(value: Any) -> str:
    if not isinstance(value, Mapping):
        return "unknown"
    if "garbage_proportion" in value:
        return f"{100 * value['garbage_proportion']:g} % garbage"
    full = f"{100 * value.get('utilization', float('nan')):g} % full"
    return f"{full}, {value['free_segments']} segments free" if value.get("free_segments") else full


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and value >= 1 << 12
        and value & (value - 1) == 0
    ):
        return f"2^{value.bit_length() - 1}"
    return str(value)


def _labels(policies: list[str], settings: list[str]) -> list[str]:
    if len(set(policies)) == 1 and all(settings):
        return settings
    return [
        f"{policy}, {setting}" if setting else policy
        for policy, setting in zip(policies, settings, strict=True)
    ]


def _unlike(labels: list[str]) -> list[str]:
    """Add a number to labels that occur more than once."""
    often, seen = Counter(labels), Counter[str]()
    numbered = []
    for label in labels:
        seen[label] += 1
        numbered.append(f"{label} ({seen[label]})" if often[label] > 1 else label)
    return numbered


def _looks(policies: list[str], settings: list[str]) -> list[tuple[str, str]]:
    policy_places = {policy: place for place, policy in enumerate(dict.fromkeys(policies))}
    setting_places = {setting: place for place, setting in enumerate(dict.fromkeys(settings))}
    pairs = [
        (policy_places[policy], setting_places[setting])
        for policy, setting in zip(policies, settings, strict=True)
    ]
    told_apart = len(set(pairs)) == len(pairs) > 1 < len(policy_places)
    if not told_apart or len(policy_places) > len(HUES) or len(setting_places) > len(_DASHES):
        pairs = [(place % len(HUES), place // len(HUES)) for place in range(len(pairs))]
    return [(HUES[hue], _DASHES[dash % len(_DASHES)]) for hue, dash in pairs]
