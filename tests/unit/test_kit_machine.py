"""The state machine of Hypothesis and the strategies."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from seqstore.testing import IsolationViolation, isolation_machine
from seqstore.testing.strategies import near, ranges, sizes, steps, volumes
from tests.unit.test_kit_checks import Crashes, DictStore, Forgets, OneNamespace

QUICK = settings(
    max_examples=20,
    stateful_step_count=20,
    deadline=None,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_a_correct_store_passes() -> None:
    run_state_machine_as_test(isolation_machine(DictStore), settings=QUICK)
    run_state_machine_as_test(isolation_machine(Crashes), settings=QUICK)


@pytest.mark.parametrize(
    ("factory", "kinds"), [(OneNamespace, {"foreign", "other_volume"}), (Forgets, {"rollback"})]
)
def test_a_wrong_one_does_not(factory: type[DictStore], kinds: set[str]) -> None:
    with pytest.raises(IsolationViolation) as caught:
        run_state_machine_as_test(isolation_machine(factory), settings=settings(QUICK, max_examples=200))
    assert caught.value.kind in kinds


@given(near([8, 64], most=100))
def test_near_stays_within(number: int) -> None:
    assert 0 <= number <= 100


@pytest.mark.parametrize("at", [7, 8, 9, 16, 39, 40])
def test_ranges_end_at_boundaries(at: int) -> None:
    start, count = find(ranges(40, boundaries=(8,)), lambda drawn: sum(drawn) == at)
    assert start + count == at


@given(st.data())
def test_ranges_lie_within(data: st.DataObject) -> None:
    size = data.draw(sizes((8, 16)))
    start, count = data.draw(ranges(size, boundaries=(8,), beyond=3))
    assert 0 <= start < size
    assert 0 < count <= size + 3 - start


@given(volumes((8,), tenants=("x",)))
def test_volumes(volume: tuple[str, int]) -> None:
    assert volume[0] == "x"
    assert 1 <= volume[1] <= 64


@given(steps("write_bytes", block_size=512))
def test_steps(step: object) -> None:
    assert "write_bytes" in repr(step)
