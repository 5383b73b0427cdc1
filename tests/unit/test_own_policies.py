"""Cleaning policies that are functions of the caller's: what they are told, and what if they fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from seqstore import (
    NO_ADDRESS,
    ConfigError,
    FormatError,
    MediumError,
    Store,
)
from seqstore.sim import FixedDrive, RunResult, replay, workloads
from tests.small import BLOCK_SIZE
from tests.small_policies import (
    BLOCKS,
    CAPACITY,
    SEGMENT_BLOCKS,
    SEGMENT_SIZE,
    Failing,
    Table,
    apart,
    churn,
    content,
    emptiest,
    made,
    write_if,
)

# ---- functions --------------------------------------------------------------------------------------


def run(selection: Any, placement: Any, blocks: int = 1 << 16) -> RunResult:
    source = workloads.zipf(blocks, 6 * blocks, alpha=0.9, seed=2)
    return replay(
        source,
        selection=selection,
        placement=placement,
        classes=2,
        segment_blocks=128,
        space=FixedDrive(utilization=0.8),
    )


def test_greedy_and_separate_can_be_written_in_python() -> None:
    """Among segments that are as full as each other the choice may differ; nothing else does."""
    names = run("greedy", "separate")
    placed = run("greedy", apart)
    assert (placed.selection, placed.placement) == ("greedy", "apart")
    for field in ("user_blocks", "relocated_blocks", "cleaned_segments", "victims"):
        assert getattr(placed, field) == getattr(names, field)
    assert run(emptiest, "single").write_amplification == pytest.approx(
        run("greedy", "single").write_amplification, rel=0.001
    )


def test_a_selection_is_told_what_there_is() -> None:
    tables: list[Table] = []

    def keeping(segments: Table) -> int:
        tables.append(segments)  # it is the function's own, also later
        return len(segments) - 1

    with made(selection=keeping) as (store, volume):
        churn(volume, 30)
        assert store.stats().cleaned_segments == len(tables) > 20
    for table in tables:
        assert table.dtype.names == ("segment", "live_blocks", "data_blocks", "age", "lifespan", "class_id")
        assert len(np.unique(table["segment"])) == len(table)
        assert (table["live_blocks"] < table["data_blocks"]).all()
        assert (table["data_blocks"] < SEGMENT_BLOCKS).all()
        assert (table["age"] < table["lifespan"]).all()
        assert (table["class_id"] == 0).all()


def test_a_placement_is_told_what_is_placed() -> None:
    tables: list[Table] = []

    def keeping(blocks: Table) -> npt.NDArray[np.int64]:
        tables.append(blocks)
        return blocks["lba"].astype(np.int64) % 3

    with made(selection="greedy", placement=keeping, classes=3) as (store, volume):
        churn(volume, 30)
        assert sum((~table["relocated"].astype(bool)).sum() for table in tables) == store.stats().user_blocks
        assert sum(table["relocated"].sum() for table in tables) == store.stats().relocated_blocks > 0
        ledger, segments = store.drives[0].ledger(), np.arange(CAPACITY // BLOCK_SIZE) // SEGMENT_BLOCKS
        live = ledger["volume"] == volume.number
        live &= ledger["lba"] != NO_ADDRESS
        for segment in np.unique(segments[live]):
            assert len(np.unique(ledger["lba"][live & (segments == segment)] % 3)) == 1
    first, later = tables[0], np.concatenate(tables[BLOCKS // 64 + 1 :])
    assert (first["age"] == NO_ADDRESS).all()
    assert (first["class_id"] == 0xFFFF).all()
    assert (later["age"] < NO_ADDRESS).all()
    assert (later["class_id"] == later["lba"] % 3).all()
    assert set(later["tenant"]) == set(later["volume"]) == {1}


def test_ages_are_those_of_the_data_and_not_of_its_copies() -> None:
    """The cleaner's copy is as old as what was written, however often it was moved."""
    born: dict[int, int] = {}
    waiting: dict[int, int] = {}  # of the batch that is being placed
    moved = 0

    def ageing(blocks: Table) -> npt.NDArray[np.uint8]:
        nonlocal moved
        rows = list(zip(blocks["lba"].tolist(), blocks["age"].tolist(), strict=True))
        if blocks["relocated"].any():
            moments = {born[lba] + age for lba, age in rows if lba not in waiting}
            assert len(moments) <= 1  # it is now for all of them
            moved += len(rows)
            return apart(blocks)
        born.update(waiting)
        waiting.clear()
        now = len(clock)
        assert all(age == (now - born[lba] if lba in born else NO_ADDRESS) for lba, age in rows)
        clock.extend(rows)
        waiting.update({lba: now + 1 + i for i, (lba, _) in enumerate(rows)})
        return apart(blocks)

    clock: list[object] = []
    with made(selection="greedy", placement=ageing, classes=2) as (store, volume):
        churn(volume, 60)
        assert len(clock) == store.stats().user_blocks
        assert moved == store.stats().relocated_blocks > 2 * BLOCKS


FAILING: list[Callable[[int], dict[str, Any]]] = [
    lambda at: {"selection": Failing(emptiest, at)},
    lambda at: {"selection": "greedy", "placement": Failing(apart, at, moving=True), "classes": 2},
    lambda at: {"selection": "greedy", "placement": Failing(apart, 60 + at), "classes": 2},
]


@pytest.mark.parametrize("at", range(1, 24, 3))
@pytest.mark.parametrize("options", FAILING, ids=["selection", "moving", "placement"])
def test_what_a_function_raises_comes_out_once_and_the_store_goes_on(
    options: Callable[[int], dict[str, Any]], at: int
) -> None:
    """The victim whose blocks were to be placed is cleaned at another time, and no candidate is lost."""
    caught: list[BaseException] = []
    chosen = options(at)
    failing = [value for value in chosen.values() if isinstance(value, Failing)]
    with made(**chosen) as (store, volume):
        rng = np.random.default_rng(1)
        write_if(volume, list(range(BLOCKS)), caught)
        for _ in range(120):
            write_if(volume, rng.integers(0, BLOCKS, 60).tolist(), caught)
            store.check()
        assert len(caught) == 1
        assert caught[0] is failing[0].error
        assert store.stats().cleaned_segments > 25
        assert store.stats().live_blocks == BLOCKS
        churn(volume, 30, seed=2)
        store.check()


@pytest.mark.parametrize("wrong", [-1, 10_000, None, "0", 1.0, [0]])
def test_a_selection_that_returns_no_index(wrong: object) -> None:
    with made(selection=lambda segments: wrong) as (store, volume):
        with pytest.raises(ConfigError, match="the selection returned"):
            churn(volume, 100)
        store.check()
        assert len(content(volume)) == volume.size


@pytest.mark.parametrize(
    "wrong",
    [
        lambda blocks: 0,
        lambda blocks: None,
        lambda blocks: np.zeros(len(blocks)),
        lambda blocks: np.zeros(len(blocks) + 1, int),
        lambda blocks: np.full(len(blocks), 2),
        lambda blocks: np.full(len(blocks), -1),
        lambda blocks: np.full(len(blocks), 256),
    ],
)
def test_a_placement_that_returns_no_classes(wrong: Callable[[Table], Any]) -> None:
    with made(placement=wrong, classes=2) as (store, volume):
        with pytest.raises(ConfigError, match="the placement returned"):
            volume.write(0, b"x")
        store.check()
        assert volume.mapped_blocks == 0


def test_any_integers_will_do() -> None:
    for kind in (bool, np.int8, np.uint64, list):
        with made(placement=lambda blocks, kind=kind: classes_as(kind, blocks), classes=2) as (store, volume):
            churn(volume, 20)
            store.check()


def classes_as(kind: Any, blocks: Table) -> Any:
    return blocks["relocated"].tolist() if kind is list else blocks["relocated"].astype(kind)


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.stats(),
        lambda store: store.drives[0].segments(),
        lambda store: store.check(),
        lambda store: store.flush(),
        lambda store: store.create_tenant("x").create_volume("y", 512),
        lambda store: store.tenants[0].volumes[0].read(0, 1),
        lambda store: store.tenants[0].volumes[0].write(0, b"x"),
        lambda store: store.tenants[0].volumes[0].trim(0, 512),
        lambda store: store.close(),
    ],
)
def test_a_function_may_not_call_the_store_that_calls_it(call: Callable[[Store], object]) -> None:
    """It would wait for itself. What it did not catch comes out."""
    stores: list[Store] = []

    def asking(segments: Table) -> int:
        call(stores[0])
        return 0

    with made(selection=asking) as (store, volume):
        stores.append(store)
        with pytest.raises(ConfigError, match="may not call the store"):
            churn(volume, 100)
        store.check()
        assert len(content(volume)) == volume.size


def test_another_store_may_be_called() -> None:
    with made() as (other, _):

        def asking(segments: Table) -> int:
            return other.stats().live_blocks

        with made(selection=asking) as (store, volume):
            churn(volume, 30)
            assert store.stats().cleaned_segments > 0


# ---- in a directory ---------------------------------------------------------------------------------


def create(folder: Path, **options: Any) -> Store:
    return Store.create(
        folder, CAPACITY, block_size=BLOCK_SIZE, segment_size=SEGMENT_SIZE, preallocate=False, **options
    )


def test_a_store_remembers_the_names_and_asks_for_the_functions(tmp_path: Path) -> None:
    with create(tmp_path / "named", selection="cost_benefit", placement="dac", classes=3) as store:
        churn(store.create_tenant("contoso").create_volume("disk", BLOCKS * BLOCK_SIZE), 20)
    with Store.open(tmp_path / "named") as store:
        churn(store.tenants[0].volumes[0], 20)
        store.check()
        assert store.stats().cleaned_segments > 0
    with create(tmp_path / "own", selection=emptiest, placement=apart, classes=2) as store:
        churn(store.create_tenant("contoso").create_volume("disk", BLOCKS * BLOCK_SIZE), 20)
        expected = content(store.tenants[0].volumes[0])
    with pytest.raises(ConfigError, match="open it with selection="):
        Store.open(tmp_path / "own")
    with Store.open(tmp_path / "own", selection=emptiest, placement=apart) as store:
        assert content(store.tenants[0].volumes[0]) == expected
        churn(store.tenants[0].volumes[0], 20)
        store.check()


@pytest.mark.parametrize(("kind", "at"), [("selection", 9), *(("placement", at) for at in range(118, 126))])
def test_a_function_that_fails_on_a_drive_leaves_whole_requests(tmp_path: Path, kind: str, at: int) -> None:
    """Half a request may have been noted: then no more is taken, and opening finds the state before it."""
    failing = Failing(emptiest if kind == "selection" else apart, at)
    functions: dict[str, Any] = {"selection": emptiest, "placement": apart}
    rng = np.random.default_rng(1)
    with create(tmp_path / "store", **{**functions, kind: failing}, classes=2) as store:
        volume = store.create_tenant("contoso").create_volume("disk", BLOCKS * BLOCK_SIZE)
        churn(volume, 1)
        most = store.stats().atomic_blocks
        assert most > 64
        caught: list[BaseException] = []
        while not caught:
            before = content(volume)
            write_if(volume, rng.integers(0, BLOCKS, min(most, 200)).tolist(), caught, again=False)
        store.check()
        shown = content(volume)
        if shown == before:
            volume.write(0, b"goes on")
            before = content(volume)
        else:
            with pytest.raises(MediumError, match="open it again"):
                volume.write(0, b"goes on")
            with pytest.raises(MediumError):
                store.close()
    with Store.open(tmp_path / "store", **functions) as store:
        assert content(store.tenants[0].volumes[0]) == before
        store.check()


def test_named_policies_are_not_exchanged_at_an_opening(tmp_path: Path) -> None:
    with create(tmp_path / "store"):
        pass
    with pytest.raises((ConfigError, FormatError)):
        Store.open(tmp_path / "store", selection=emptiest)
