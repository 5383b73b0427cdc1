"""The machines of the engine over every cleaning policy: whatever it chooses, everything agrees.

The same rules, oracles and looks as in the machines of the circular log, but for what holds there alone: that
nothing is older than a lap, and that the records of a drive in memory are one sequence. Selection and
placement are drawn with the other options; a soak gives each pair of them a run of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, run_state_machine_as_test

from seqstore.cleaning import PLACEMENTS, SELECTIONS
from tests.property.test_layers_machine import (
    CAPACITY,
    SEGMENT_BLOCKS,
    DurableLayersMachine,
    LayersMachine,
)
from tests.property.test_machine import StoreMachine
from tests.property.test_simulated_machine import SimulatedMachine
from tests.raw_scan import Scan, check_any

Table = npt.NDArray[np.void]


def fullest(segments: Table) -> int:
    """Clean what gains least: the worst that a selection of the caller's can do."""
    return int(segments["live_blocks"].argmax())


def scatter(blocks: Table) -> npt.NDArray[np.int64]:
    """Place by nothing that makes sense."""
    classes: npt.NDArray[np.int64] = (blocks["lba"] // np.uint64(3) % np.uint64(3)).astype(np.int64)
    classes += blocks["relocated"]
    return classes


POLICIES: list[tuple[Any, Any]] = [
    (selection, placement)
    for selection in (*SELECTIONS, fullest)
    for placement in (*PLACEMENTS, scatter)
    if placement != "oracle" and (selection, placement) != ("fifo", "single")
]
POLICY = st.sampled_from(POLICIES)
CLASSES = st.sampled_from([4, 5])
SEED = st.integers(0, 2**16)


def options_of(policy: tuple[Any, Any], classes: int, seed: int) -> dict[str, Any]:
    return {"selection": policy[0], "placement": policy[1], "classes": classes, "seed": seed}


class PoliciesMachine(StoreMachine):
    """A drive in memory."""

    policies = POLICY

    @initialize(data=st.data(), classes=CLASSES, seed=SEED)
    def open_store(self, data: st.DataObject, classes: int, seed: int) -> None:
        segment_blocks = data.draw(st.sampled_from([16, 8, 4]), label="segment_blocks")
        segments = data.draw(st.sampled_from([20, 24]), label="segments")
        reserve = data.draw(st.sampled_from([0.07, 0.3, 0.0]), label="reserve")
        policy = data.draw(self.policies, label="policy")
        laps = data.draw(st.sampled_from([0, 2, 1]), label="laps")
        options = options_of(policy, classes, seed)
        self.make(512, segments, segment_blocks, laps, reserve=reserve, **options)

    def check_medium(self, scan: Scan) -> None:
        check_any(scan, self.oracle, self.before)


class SimulatedPoliciesMachine(SimulatedMachine):
    """A drive that keeps no bytes."""

    oldest = 1 << 62  # whatever is never cleaned stays
    policies = POLICY

    @initialize(data=st.data(), classes=CLASSES, seed=SEED)
    def open_store(self, data: st.DataObject, classes: int, seed: int) -> None:
        policy = data.draw(self.policies, label="policy")
        self.make(**options_of(policy, classes, seed))


class LayersPoliciesMachine(LayersMachine):
    """Snapshots and clones, in memory."""

    policies = POLICY

    @initialize(data=st.data(), classes=CLASSES, seed=SEED, reserve=st.sampled_from([0.07, 0.5, 0.8]))
    def begin(self, data: st.DataObject, classes: int, seed: int, reserve: float) -> None:
        self.options = options_of(data.draw(self.policies, label="policy"), classes, seed)
        kinds = ("selection", "placement")
        self.functions = {kind: self.options[kind] for kind in kinds if callable(self.options[kind])}
        self.start(reserve)


class DurableLayersPoliciesMachine(LayersPoliciesMachine, DurableLayersMachine):
    """The same in a directory, across closing and opening; with room for a record of each class."""

    capacity, segment_blocks = 3 * CAPACITY, 2 * SEGMENT_BLOCKS


def name_of(policy: Any) -> str:
    return policy if isinstance(policy, str) else str(policy.__name__)


# Looking at everything after each step takes its time.
_EXAMPLES = settings().max_examples
_SHARES = {
    PoliciesMachine: 2,
    SimulatedPoliciesMachine: 1,
    LayersPoliciesMachine: 3,
    DurableLayersPoliciesMachine: 5,
}


def examples(machine: type[RuleBasedStateMachine], among: int = 1) -> settings:
    return settings(max_examples=max(1, _EXAMPLES // _SHARES[machine] // among))


@pytest.mark.parametrize("machine", _SHARES, ids=lambda machine: machine.__name__)
def test_policies_that_are_drawn(machine: type[RuleBasedStateMachine]) -> None:
    run_state_machine_as_test(machine, settings=examples(machine))


@pytest.mark.soak
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: "-".join(map(name_of, policy)))
@pytest.mark.parametrize("machine", _SHARES, ids=lambda machine: machine.__name__)
def test_each_policy(machine: type[RuleBasedStateMachine], policy: tuple[Any, Any]) -> None:
    only = type(f"Only{machine.__name__}", (machine,), {"policies": st.just(policy)})
    run_state_machine_as_test(only, settings=examples(machine, len(POLICIES)))
