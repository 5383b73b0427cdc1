"""I5: at the smallest bound that a drive accepts, no residue is older than it, whatever is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from seqstore import BlockState, Store
from seqstore._native.records import Scope
from seqstore.deletion import Deadline
from tests.property.test_policies_machine import scatter

BLOCK_SIZE = 512
SEGMENT_BLOCKS = 32
SEGMENT_SIZE = SEGMENT_BLOCKS * BLOCK_SIZE
SEGMENTS = 64
LAPS = 2.5

Lbas = npt.NDArray[np.uint64]
Draw = Callable[[np.random.Generator, int, int], Lbas]


def uniform(rng: np.random.Generator, blocks: int, _: int) -> Lbas:
    return rng.integers(0, blocks, int(rng.integers(1, 60))).astype(np.uint64)


def single(rng: np.random.Generator, blocks: int, _: int) -> Lbas:
    return rng.integers(0, blocks, 3).astype(np.uint64)


def hot(rng: np.random.Generator, blocks: int, _: int) -> Lbas:
    return (rng.random(20) ** 6 * blocks).astype(np.uint64)


def large(rng: np.random.Generator, blocks: int, turn: int) -> Lbas:
    if turn % 10:
        return hot(rng, blocks, turn)
    first = int(rng.integers(0, blocks))
    return np.arange(first, min(first + blocks // 3, blocks), dtype=np.uint64)


POLICIES: list[tuple[Any, Any]] = [
    ("fifo", "single"),
    ("greedy", "single"),
    ("greedy", "separate"),
    ("greedy", scatter),
    ("cost_benefit", "sepbit"),
    ("d_choices", "single"),
]


def oldest_beyond(store: Store, bound: int) -> int:
    """How much older than the bound the oldest residue is; negative if all is well."""
    ledger, position = store.drives[0].ledger(), store.stats().position
    residue = np.isin(ledger["state"], [BlockState.DEAD, BlockState.MOVED]) & (ledger["volume"] != 0)
    died = ledger["died"][residue]
    return -bound if not len(died) else int(position - died.min()) - bound


def live_a_while(
    store: Store, draw: Draw, *, has_payload: bool, fill: float = 0.95, checkpoint_each: int = 0
) -> None:
    """Fill the drive, let a block of each few die at once, and go on."""
    blocks = int(store.drives[0].usable_blocks * fill)
    smallest, lap = store._eraser.core.smallest_bound(), store.drives[0].blocks
    rows = np.zeros((blocks, BLOCK_SIZE), np.uint8)
    volume = store.create_tenant("contoso").create_volume("disk", blocks * BLOCK_SIZE)

    def write(lbas: Lbas) -> None:
        volume.write_blocks(lbas, rows[: len(lbas)] if has_payload else None)

    write(np.arange(blocks, dtype=np.uint64))
    store.set_deletion(Deadline(writes=smallest))
    for lba in range(0, blocks, 9):
        volume.trim(lba * BLOCK_SIZE, BLOCK_SIZE)
    rng, turn, begin = np.random.default_rng(3), 0, store.stats().position
    while store.stats().position < begin + LAPS * lap:
        write(draw(rng, blocks, turn))
        turn += 1
        if checkpoint_each and turn % checkpoint_each == 0:
            store.checkpoint()
        if turn % 8 == 0:
            late = oldest_beyond(store, smallest)
            assert late <= 0, f"{late} blocks late after {turn} requests; the bound is {smallest}"
    store.check()
    assert store._eraser.residue(Scope.ALL, 0).unbounded_blocks == 0


def durable(folder: Path, segments: int, segment_blocks: int, **options: Any) -> Store:
    """Make a store on a drive of so many segments, without a reserve."""
    segment = segment_blocks * BLOCK_SIZE
    sizes: dict[str, Any] = {"block_size": BLOCK_SIZE, "segment_size": segment}
    return Store.create(
        folder / "lab.store", segments * segment, reserve=0.0, preallocate=False, **sizes, **options
    )


@pytest.mark.invariant("I5")
@pytest.mark.parametrize("draw", [uniform, single, hot, large], ids=lambda draw: draw.__name__)
@pytest.mark.parametrize(("selection", "placement"), POLICIES)
def test_in_memory(selection: Any, placement: Any, draw: Draw) -> None:
    with Store.simulated(
        SEGMENTS * SEGMENT_SIZE,
        block_size=BLOCK_SIZE,
        segment_size=SEGMENT_SIZE,
        selection=selection,
        placement=placement,
        classes=4,
        reserve=0.0,
    ) as store:
        live_a_while(store, draw, has_payload=False)


@pytest.mark.invariant("I5")
@pytest.mark.parametrize("draw", [uniform, large], ids=lambda draw: draw.__name__)
@pytest.mark.parametrize(("selection", "placement"), POLICIES)
def test_in_a_directory(selection: Any, placement: Any, draw: Draw, tmp_path: Path) -> None:
    blocks = SEGMENT_SIZE // BLOCK_SIZE
    with durable(tmp_path, SEGMENTS, blocks, selection=selection, placement=placement, classes=4) as store:
        live_a_while(store, draw, has_payload=True)


@pytest.mark.invariant("I5")
@pytest.mark.parametrize("draw", [single, hot], ids=lambda draw: draw.__name__)
@pytest.mark.parametrize(("segments", "segment_blocks"), [(128, 12), (256, 32)])
def test_under_many_checkpoints(segments: int, segment_blocks: int, draw: Draw, tmp_path: Path) -> None:
    """What a checkpoint leaves behind always gains most; it was cleaned before what was due."""
    with durable(tmp_path, segments, segment_blocks, selection="d_choices") as store:
        live_a_while(store, draw, has_payload=True, fill=0.5, checkpoint_each=10)


@pytest.mark.invariant("I5")
def test_what_is_written_over_before_a_checkpoint_takes_time(tmp_path: Path) -> None:
    """The rest of another head came due meanwhile, and nobody looked."""
    with durable(tmp_path, 128, 32, selection="cost_benefit", placement="sepbit", classes=4) as store:
        live_a_while(store, uniform, has_payload=True, fill=0.5, checkpoint_each=64)


@pytest.mark.invariant("I5")
def test_the_smallest_bound_of_a_small_drive(tmp_path: Path) -> None:
    """1.1 laps also where checkpoints and segments are a large part of a drive of 4,096 blocks."""
    with Store.create(
        tmp_path / "lab.store",
        "2MiB",
        block_size=512,
        segment_size=8192,
        placement="separate",
        preallocate=False,
    ) as store:
        assert store._eraser.core.smallest_bound() <= 1.1 * store.drives[0].blocks


@pytest.mark.invariant("I5")
@pytest.mark.parametrize(
    ("selection", "placement"), [("fifo", "single"), ("greedy", "single"), ("greedy", "dac")]
)
def test_the_smallest_bound_is_little_over_a_lap(selection: Any, placement: Any) -> None:
    with Store.simulated("256MiB", selection=selection, placement=placement) as store:
        assert store._eraser.core.smallest_bound() <= 1.1 * store.drives[0].blocks
