"""Health of drives: thresholds, the table of a simulated drive, and what is to be done."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqstore import ConfigError, DriveAct, DriveState
from seqstore.drive_health import HealthCounts, Thresholds, judge, read_table
from seqstore.drive_life import MOVES
from seqstore.media.hidden import HiddenDrive
from seqstore.media.places import HealthRow

NAMES = ("read_errors", "write_errors", "scrub_findings", "retired_blocks")
counts = st.builds(HealthCounts, **{name: st.integers(0, 300) for name in NAMES})


class Saying:
    """A drive that says what it is told to."""

    def __init__(self, **raws: int) -> None:
        self.rows = tuple(HealthRow(number=int(n[1:]), name=n, raw=raw) for n, raw in raws.items())

    def reports_health(self) -> Sequence[HealthRow]:
        return self.rows


def test_a_drive_of_which_nothing_was_counted_is_well() -> None:
    health = judge(HealthCounts())
    assert (health.state, health.reasons, health.act(DriveState.ONLINE)) == (DriveState.ONLINE, (), None)


@pytest.mark.parametrize("name", NAMES)
def test_each_count_has_two_thresholds(name: str) -> None:
    bounds = Thresholds()
    for bound, state, below in (
        (bounds.degraded, DriveState.DEGRADED, DriveState.ONLINE),
        (bounds.failed, DriveState.FAILED, DriveState.DEGRADED),
    ):
        number = getattr(bound, name)
        assert judge(HealthCounts(**{name: number})).state is state
        assert judge(HealthCounts(**{name: number - 1})).state is below
    assert "failed from" in judge(HealthCounts(**{name: 300})).reasons[0]


@given(counts, counts)
def test_more_errors_make_no_drive_better(one: HealthCounts, other: HealthCounts) -> None:
    order = [DriveState.ONLINE, DriveState.DEGRADED, DriveState.FAILED]
    both = order.index(judge(one.worst(other)).state)
    assert both >= max(order.index(judge(one).state), order.index(judge(other).state))


@given(counts, st.sampled_from(DriveState))
def test_what_is_to_be_done_can_be_done(seen: HealthCounts, state: DriveState) -> None:
    health = judge(seen)
    act = health.act(state)
    if act is not None:
        (move,) = [entry for entry in MOVES if (entry.state, entry.act) == (state, act)]
        assert move.to is health.state
    elif state in {DriveState.ONLINE, DriveState.DEGRADED}:
        assert health.state in {DriveState.ONLINE, state}
    assert act is not DriveAct.RECOVER


def test_the_store_is_believed_where_the_drive_counts_less() -> None:
    health = judge(HealthCounts(read_errors=2), Saying(_187=1, _5=3, _197=4))
    assert health.counts == HealthCounts(read_errors=2, retired_blocks=7)
    assert judge(HealthCounts(), Saying(_181=10)).state is DriveState.FAILED
    assert read_table(()) == HealthCounts()


def test_thresholds_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="cannot be the smaller"):
        Thresholds(failed=HealthCounts(read_errors=1), degraded=HealthCounts(read_errors=2))
    with pytest.raises(ConfigError, match="degraded by none"):
        Thresholds(failed=HealthCounts(read_errors=1), degraded=HealthCounts())
    with pytest.raises(ConfigError, match="a count is expected"):
        HealthCounts(read_errors=-1)
    never = Thresholds(degraded=HealthCounts(), failed=HealthCounts())
    assert judge(HealthCounts(read_errors=10**9), thresholds=never).state is DriveState.ONLINE


def test_a_simulated_drive_wears_out() -> None:
    drive = HiddenDrive("64KiB", block_size=512, spare=16)
    assert judge(HealthCounts(), drive).state is DriveState.ONLINE
    for mba in range(8):
        assert drive.wear_out(mba)
    health = judge(HealthCounts(), drive)
    assert (health.state, health.counts.retired_blocks) == (DriveState.DEGRADED, 8)
    assert "  5  reallocated sectors                      8" in [line.rstrip() for line in health.to_lines()]
