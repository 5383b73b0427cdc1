"""How a drive is: what was counted of it, what it says itself, and when that makes it degraded or failed.

Counting is for whoever reads and writes; this only judges. A judgement goes one way: a drive that was seen to
fail is not taken for a good one because it was quiet since. `DriveAct.RECOVER` is for people.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from seqstore.drive_life import DriveAct, DriveState
from seqstore.errors import ConfigError
from seqstore.media.places import HealthRow

# Attributes of a drive's own table that say the same as our counts, by their numbers.
_RETIRED, _WRITE_ERRORS, _READ_ERRORS, _PENDING = 5, 181, 187, 197


class ReportsHealth(Protocol):
    """A drive that says itself how it is."""

    def reports_health(self) -> Sequence[HealthRow]:
        """Return its table."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCounts:
    """What was counted of a drive.

    Attributes
    ----------
    read_errors, write_errors : int
        How often a read, and a write or sync, failed.
    scrub_findings : int
        Blocks that a scrub could not read, or that were not as they had been written.
    retired_blocks : int
        Blocks that the drive gave up, or is about to give up.
    """

    read_errors: int = 0
    write_errors: int = 0
    scrub_findings: int = 0
    retired_blocks: int = 0

    def __post_init__(self) -> None:
        for name in _NAMES:
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise ConfigError(f"{name} is {value!r}; a count is expected")

    def worst(self, other: HealthCounts) -> HealthCounts:
        """Return the larger of each count: two look at the same drive, and neither sees everything."""
        return HealthCounts(**{name: max(getattr(self, name), getattr(other, name)) for name in _NAMES})


_NAMES = ("read_errors", "write_errors", "scrub_findings", "retired_blocks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From which counts on a drive is degraded, and failed; 0 stands for never.

    The values by default are a choice, and no finding: one error is reason enough to look at a drive, and ten
    writes that failed are reason enough to write nothing to it any more.

    Attributes
    ----------
    degraded, failed : HealthCounts

    Raises
    ------
    ConfigError
        If a drive would fail by fewer than it takes to be degraded.
    """

    degraded: HealthCounts = HealthCounts(read_errors=1, write_errors=1, scrub_findings=1, retired_blocks=8)
    failed: HealthCounts = HealthCounts(
        read_errors=100, write_errors=10, scrub_findings=100, retired_blocks=256
    )

    def __post_init__(self) -> None:
        for name in _NAMES:
            first, second = getattr(self.degraded, name), getattr(self.failed, name)
            if second and (not first or second < first):
                raise ConfigError(
                    f"a drive would be failed by {second} {name} and degraded by {first or 'none'}; the first"
                    " number cannot be the smaller one"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a drive is.

    Attributes
    ----------
    state : DriveState
        `DriveState.ONLINE`, `DriveState.DEGRADED` or `DriveState.FAILED`: what the counts come to.
    counts : HealthCounts
    reasons : tuple of str
        Which thresholds were crossed, the worst first.
    table : tuple of HealthRow
        What the drive says itself; empty if it says nothing.
    """

    state: DriveState
    counts: HealthCounts
    reasons: tuple[str, ...] = ()
    table: tuple[HealthRow, ...] = ()

    def act(self, now: DriveState) -> DriveAct | None:
        """Return what is to be done to a drive in a state of its life; None: nothing.

        A drive that is out of use is left as it is, and none is made better.
        """
        if now in {DriveState.ONLINE, DriveState.DEGRADED} and self.state is DriveState.FAILED:
            return DriveAct.FAIL
        if now is DriveState.ONLINE and self.state is DriveState.DEGRADED:
            return DriveAct.DEGRADE
        return None

    def to_lines(self) -> list[str]:
        """Return it as lines of text: the counts, the drive's own table, and what was crossed."""
        lines = [f"state            {self.state.value}"]
        lines += [f"{name.replace('_', ' '):<15}  {getattr(self.counts, name)}" for name in _NAMES]
        lines += [f"{row.number:>3}  {row.name:<28}  {row.raw:>12}" for row in self.table]
        return [*lines, *self.reasons]


def judge(
    counts: HealthCounts, drive: ReportsHealth | None = None, thresholds: Thresholds | None = None
) -> Health:
    """Judge a drive by what was counted of it, and by what it says itself.

    Parameters
    ----------
    counts : HealthCounts
        What the store has seen.
    drive : ReportsHealth, optional
        One that has a table of its own. Where it counts less than the store did, the store is believed.
    thresholds : Thresholds, optional
        By default `Thresholds` as it is.

    Raises
    ------
    OSError
        If the drive does not answer.
    """
    table = () if drive is None else tuple(drive.reports_health())
    all_counts = counts.worst(read_table(table))
    bounds = thresholds or Thresholds()
    crossed = [
        *_find_crossed(all_counts, bounds.failed, DriveState.FAILED),
        *_find_crossed(all_counts, bounds.degraded, DriveState.DEGRADED),
    ]
    return Health(
        state=crossed[0][0] if crossed else DriveState.ONLINE,
        counts=all_counts,
        reasons=tuple(text for _, text in crossed),
        table=table,
    )


def read_table(table: Sequence[HealthRow]) -> HealthCounts:
    """Return the counts of a drive's own table, as far as it has them."""
    raws = {row.number: row.raw for row in table}
    return HealthCounts(
        read_errors=raws.get(_READ_ERRORS, 0),
        write_errors=raws.get(_WRITE_ERRORS, 0),
        retired_blocks=raws.get(_RETIRED, 0) + raws.get(_PENDING, 0),
    )


def _find_crossed(
    counts: HealthCounts, bounds: HealthCounts, state: DriveState
) -> Iterator[tuple[DriveState, str]]:
    for name in _NAMES:
        count, bound = getattr(counts, name), getattr(bounds, name)
        if bound and count >= bound:
            yield state, f"{count} {name.replace('_', ' ')}; {state.value} from {bound} on"
