"""Write amplification against the one number in which runs differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from seqstore.report.figures import draw_legend, drawable, new_figure
from seqstore.report.palette import HUES
from seqstore.report.runs import Run

_FEWEST, _MOST_TICKS, _MARKERS = 3, 10, "osD^vP"


def find_trend(runs: Sequence[Run]) -> tuple[str, list[float]] | None:
    """Find the number that tells runs of the same policy apart, if it is one alone and has three values.

    Returns
    -------
    (str, list of float) or None
        Its name, and its value in each run.
    """
    numbers = [_numbers(run) for run in runs]
    varying = [
        name
        for name in dict.fromkeys(name for one in numbers for name in one)
        if len({one.get(name) for one in numbers}) > 1
    ]
    if len(varying) != 1 or any(varying[0] not in one for one in numbers):
        return None
    values = [one[varying[0]] for one in numbers]
    pairs = {(run.policy, value) for run, value in zip(runs, values, strict=True)}
    return (varying[0], values) if len(set(values)) >= _FEWEST and len(pairs) == len(runs) else None


def draw_trend(runs: Sequence[Run], name: str, values: Sequence[float]) -> Figure:
    """Draw a line for each policy: write amplification over what `find_trend` found."""
    figure = new_figure(4.6)
    axes = figure.add_subplot()
    for place, policy in enumerate(dict.fromkeys(run.policy for run in runs)):
        points = sorted(
            (value, run.result.write_amplification)
            for run, value in zip(runs, values, strict=True)
            if run.policy == policy
        )
        axes.plot(
            *zip(*points, strict=True),
            color=HUES[place % len(HUES)],
            marker=_MARKERS[place // len(HUES) % len(_MARKERS)],
            markersize=5,
            label=drawable(policy),
        )
    axes.set_ylim(bottom=1)
    axes.set_xlabel(name.rpartition(".")[2].replace("_", " "))
    axes.set_ylabel("write amplification")
    distinct = sorted(set(values))
    if min(values) > 0 and max(values) / min(values) > 50:
        axes.set_xscale("log", base=2 if all(float(value).is_integer() for value in values) else 10)
    elif len(distinct) <= _MOST_TICKS:
        axes.set_xticks(distinct, [f"{value:g}" for value in distinct])
    draw_legend(figure, axes)
    return figure


def _numbers(run: Run) -> dict[str, float]:
    """Give the numbers among what repeats a run; of the policy's own, those that all policies have."""
    found: dict[str, float] = {}
    for name, value in run.result.parameters.items():
        parts: Mapping[str, object] = value if isinstance(value, Mapping) else {"": value}
        for inner, part in parts.items():
            if isinstance(part, int | float) and not isinstance(part, bool) and name != "classes":
                found[f"{name}.{inner}" if inner else name] = part
    return found
