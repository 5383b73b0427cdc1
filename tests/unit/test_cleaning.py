"""Cleaning policies of a store, by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from seqstore import (
    BlockState,
    ConfigError,
    MediumError,
    Store,
)
from seqstore.cleaning import PLACEMENTS, SELECTIONS, Policy, check_policy
from seqstore.media.faults import FaultMedium, FaultyDrive
from tests.small import BLOCK_SIZE, write_tagged
from tests.small_policies import (
    BLOCKS,
    CAPACITY,
    SEGMENT_BLOCKS,
    SEGMENT_SIZE,
    apart,
    churn,
    content,
    emptiest,
    made,
)

NAMED = [name for name in PLACEMENTS if name != "oracle"]


# ---- by name ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("placement", NAMED)
def test_every_selection_works_with_every_placement(selection: str, placement: str) -> None:
    with made() as (_, plain):
        churn(plain, 30)
        expected = content(plain)
    with made(selection=selection, placement=placement, classes=5) as (store, volume):
        churn(volume, 30)
        store.check()
        assert content(volume).count(b"contoso") == expected.count(b"contoso")
        assert store.stats().cleaned_segments > 20
        assert store.stats().live_blocks == BLOCKS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"selection": "best"}, "'greedy'"),
        ({"placement": "best"}, "'sepbit'"),
        ({"selection": None}, "selection is None"),
        ({"placement": "oracle"}, "future"),
        ({"placement": "dac", "classes": 65}, "1 to 64"),
        ({"placement": "dac", "classes": 0}, "1 to 64"),
        ({"placement": "sepbit", "classes": 3}, "4 to 64"),
        ({"placement": "dac", "classes": 40}, "no room"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message), made(**options):
        pass


def test_policies_know_how_many_segments_they_keep_open() -> None:
    assert [Policy(placement=name, classes=6).class_count for name in PLACEMENTS] == [1, 2, 6, 6, 6, 6, 6, 6]
    assert [Policy(placement=name, classes=6).spare_segments for name in PLACEMENTS] == [
        1,
        1,
        6,
        4,
        6,
        6,
        6,
        6,
    ]
    assert Policy(placement=apart, classes=3).class_count == 3
    check_policy(emptiest, apart)


def test_the_seed_is_that_of_the_drawn() -> None:
    def extents(seed: int) -> npt.NDArray[Any]:
        with made(selection="d_choices", seed=seed) as (_, volume):
            churn(volume, 30)
            return volume.extents()

    assert (extents(1) == extents(1)).all()
    assert extents(1).tolist() != extents(2).tolist()


@pytest.mark.parametrize("placement", ["by_tenant", "by_volume"])
def test_tenants_and_volumes_have_segments_of_their_own(placement: str) -> None:
    with Store.memory(
        CAPACITY,
        block_size=BLOCK_SIZE,
        segment_size=SEGMENT_SIZE,
        selection="greedy",
        placement=placement,
        classes=3,
    ) as store:
        volumes = [store.create_tenant(name).create_volume("disk", "256KiB") for name in ("a", "b", "c")]
        rng = np.random.default_rng(1)
        for version in range(200):
            write_tagged(volumes[version % 3], rng.integers(0, 512, 100).tolist(), version + 1)
        ledger = store.drives[0].ledger().reshape(-1, SEGMENT_BLOCKS)
        assert store.stats().cleaned_segments > 50
        for segment in ledger:
            assert len(set(segment["volume"][segment["state"] == BlockState.LIVE].tolist())) <= 1


@pytest.mark.parametrize("selection", ["greedy", "windowed_greedy", "cost_benefit"])
@pytest.mark.parametrize("room_blocks", range(0, 300, 43))
def test_a_victim_that_could_not_be_moved_is_a_candidate_again(selection: str, room_blocks: int) -> None:
    """The drive is full for a while: in the middle of a cleaning, or of a request."""
    drive = FaultyDrive(CAPACITY, block_size=BLOCK_SIZE, zone_size=SEGMENT_SIZE)
    with FaultMedium(drive) as medium:
        store = Store.create_on(medium, selection=selection, placement="dac", classes=3)
        volume = store.create_tenant("contoso").create_volume("disk", 1600 * BLOCK_SIZE)
        rng = np.random.default_rng(1)
        caught: list[MediumError] = []
        for version in range(1, 200):
            if version == 150:
                drive.fill(room_blocks)
            try:
                write_tagged(volume, rng.integers(0, 1600, 20).tolist(), version)
            except MediumError as error:
                caught.append(error)
                drive.make_room()
                store.check()
        store.check()
        assert caught
        # Half a request is there: nothing more is taken, not even the end.
        if "open it again" in str(caught[-1]):
            with pytest.raises(MediumError, match="open it again"):
                store.close()
        else:
            assert len(caught) == 1
            store.close()
