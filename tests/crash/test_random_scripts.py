"""Every write point of scripts that nobody thought of."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from seqstore._native._core import lib
from tests.crash.core_store import Core
from tests.crash.explore import Effort, Explorer
from tests.crash.ops import BLOCK
from tests.crash.script import Script, Shape

NUMBER = st.integers(0, 2**16 - 1)
STEP = st.tuples(
    st.sampled_from(
        [
            *["write"] * 6,
            *["write_bytes"] * 3,
            "scatter",
            *["flush"] * 3,
            "trim",
            "trim_bytes",
            "resize",
            "create",
            "delete",
            "snapshot",
            "clone",
            "rollback",
            "checkpoint",
        ]
    ),
    NUMBER,
    NUMBER,
    NUMBER,
)
CORES = st.builds(
    Core, checkpoint_blocks=st.sampled_from([0, 8, 24]), window_blocks=st.sampled_from([0, 2, 16])
)
SHAPES = st.sampled_from([Shape(16, 8), Shape(14, 12), Shape(24, 6), Shape(18, 16)])
SIZE = 14  # blocks of a volume, about

PLACEMENTS = {
    lib.SQ_PLACE_SINGLE: 1,
    lib.SQ_PLACE_SEPARATE: 2,
    lib.SQ_PLACE_DAC: 3,
    lib.SQ_PLACE_SEPBIT: 4,
    lib.SQ_PLACE_MULTILOG: 3,
    lib.SQ_PLACE_BY_TENANT: 2,
    lib.SQ_PLACE_BY_VOLUME: 4,
}
SELECTIONS = [
    lib.SQ_SELECT_FIFO,
    lib.SQ_SELECT_GREEDY,
    lib.SQ_SELECT_COST_BENEFIT,
    lib.SQ_SELECT_D_CHOICES,
    lib.SQ_SELECT_WINDOWED_GREEDY,
    lib.SQ_SELECT_RANDOM_GREEDY,
]
POLICIES = st.builds(
    lambda placement, **options: Core(placement=placement, classes=PLACEMENTS[placement], **options),
    st.sampled_from([*PLACEMENTS]),
    selection=st.sampled_from(SELECTIONS),
    checkpoint_blocks=st.sampled_from([16, 48]),
    window_blocks=st.sampled_from([0, 16, 48]),
)
LARGE_SHAPES = st.sampled_from([Shape(28, 16), Shape(26, 18), Shape(30, 14)])
LARGE_SIZE = 26


class Author:
    """Turns any numbers into operations that make sense."""

    def __init__(self, size: int = SIZE) -> None:
        self.size = size
        self.script = Script()
        self.volumes = {self.script.create(size): size * BLOCK}
        self.snapshots: dict[int, tuple[int, int]] = {}  # to the volume and the size

    def step(self, verb: str, which: int, first: int, second: int) -> None:
        if verb in {"flush", "checkpoint"}:
            getattr(self.script, verb)()
        elif verb == "create" and len(self.volumes) < 3:
            blocks, extra = 1 + first % self.size, second % BLOCK
            volume = self.script.create(blocks, extra=extra, tenant=1 + which % 2, strict=which % 3 == 0)
            self.volumes[volume] = blocks * BLOCK + extra
        elif verb in {"clone", "rollback"}:
            self._use_snapshot(verb, which, first)
        elif verb == "delete":
            self._delete(which)
        elif self.volumes:
            self._change(verb, sorted(self.volumes)[which % len(self.volumes)], first, second)

    def _change(self, verb: str, volume: int, first: int, second: int) -> None:
        size = self.volumes[volume]
        blocks, start = size // BLOCK, first % size
        if verb in {"write_bytes", "trim_bytes"}:
            getattr(self.script, verb)(volume, start, 1 + second % min(size - start, 6 * BLOCK))
        elif verb in {"write", "trim"} and blocks:
            lba = first % blocks
            getattr(self.script, verb)(volume, lba, 1 + second % min(blocks - lba, 9))
        elif verb == "scatter" and blocks:
            steps = range(1, 2 + second % 6)
            self.script.scatter(volume, [(first * step + second) % blocks for step in steps])
        elif verb == "resize":
            self.volumes[volume] = (1 + first % self.size) * BLOCK + second % 3 * 100
            self.script.resize(volume, 1 + first % self.size, extra=second % 3 * 100)
        elif verb == "snapshot" and len(self.snapshots) < 3:
            self.snapshots[self.script.snapshot(volume)] = (volume, size)

    def _use_snapshot(self, verb: str, which: int, first: int) -> None:
        if not self.snapshots:
            return
        snapshot = sorted(self.snapshots)[which % len(self.snapshots)]
        volume, size = self.snapshots[snapshot]
        if verb == "rollback" and volume in self.volumes:
            self.script.rollback(volume, snapshot)
            self.volumes[volume] = size
        elif verb == "clone" and len(self.volumes) < 4:
            clone = self.script.clone(snapshot, tenant=1 + first % 2, strict=first % 3 == 0)
            self.volumes[clone] = size

    def _delete(self, which: int) -> None:
        there = sorted({**self.volumes, **self.snapshots})
        if len(there) > 1:
            number = there[which % len(there)]
            self.script.delete(number)
            self.volumes.pop(number, None)
            self.snapshots.pop(number, None)


@settings(max_examples=settings().max_examples // 2)
@given(steps=st.lists(STEP, min_size=5, max_size=60), core=CORES, shape=SHAPES, seed=NUMBER)
def test_the_store_comes_back(
    steps: list[tuple[str, int, int, int]], core: Core, shape: Shape, seed: int
) -> None:
    author = Author()
    for step in steps:
        author.step(*step)
    Explorer(core, shape, author.script.ops).explore(Effort(subsets=2, tears=2, sectors=1), seed)


@settings(max_examples=settings().max_examples // 10)
@given(
    steps=st.lists(STEP, min_size=5, max_size=40),
    core=POLICIES,
    shape=LARGE_SHAPES,
    seed=NUMBER,
    laps=st.sampled_from([0, 40, 120]),
)
def test_the_store_comes_back_under_any_policy(
    steps: list[tuple[str, int, int, int]], core: Core, shape: Shape, seed: int, laps: int
) -> None:
    """The same on drives with several heads, after so many writes that segments were cleaned in any order."""
    author, generator = Author(LARGE_SIZE), Random(seed)
    for _ in range(laps):
        verb = generator.choice(["write", "write", "write", "flush", "create"])
        author.step(verb, *(generator.randrange(2**16) for _ in range(3)))
    for step in steps:
        author.step(*step)
    effort = Effort(subsets=2, tears=2, sectors=1, moments=8)
    Explorer(core, shape, author.script.ops).explore(effort, seed)
