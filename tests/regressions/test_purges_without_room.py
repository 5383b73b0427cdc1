"""A purge of a drive that is nearly full comes to its end, and never keeps a store from being opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqstore import OutOfSpaceError, Store
from seqstore._native.records import Scope
from seqstore.engine_deletion import EngineDeletion
from tests.durable import create, reopen
from tests.small import BLOCK_SIZE


def nearly_full(path: Path, selection: str, share: float = 0.9) -> tuple[Store, int]:
    store = create(path, selection=selection, placement="single")
    blocks = int(share * store.drives[0].usable_blocks)
    volume = store.create_tenant("contoso").create_volume("disk", blocks * BLOCK_SIZE)
    volume.write_blocks(0, np.full((blocks, BLOCK_SIZE), 7, np.uint8))
    return store, blocks


@pytest.mark.parametrize("selection", ["fifo", "greedy", "random_greedy", "cost_benefit"])
@pytest.mark.parametrize("seed", range(4))
def test_again_and_again(tmp_path: Path, selection: str, seed: int) -> None:
    """Heads that a purge fills up are the emptiest segments, and newer than the checkpoint."""
    store, blocks = nearly_full(tmp_path / "lab.store", selection)
    volume, rng = store.tenant("contoso").volume("disk"), np.random.default_rng(seed)
    for count in (20, 200, 1, 20, 200, 200):
        lbas = rng.integers(0, blocks, count, np.uint64)
        volume.write_blocks(lbas, rng.integers(1, 255, (count, BLOCK_SIZE), np.uint8))
        store.purge(volume)
        assert store.remanence(volume).blocks == 0
    before = volume.read(0, volume.size)
    with reopen(store, tmp_path / "lab.store") as again:
        again.check()
        assert again.tenant("contoso").volume("disk").read(0, len(before)) == before


def test_one_that_finds_no_room_is_left_for_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lab.store"
    store, _ = nearly_full(path, "greedy", share=0.5)
    store.tenant("contoso").volume("disk").write_blocks(0, np.full((20, BLOCK_SIZE), 8, np.uint8))

    def fail(*_: object) -> None:
        raise OutOfSpaceError("no room", needed=1, available=0)

    with monkeypatch.context() as patch:
        patch.setattr(EngineDeletion, "purge", fail)
        with pytest.raises(OutOfSpaceError):
            store.purge()
        store = reopen(store, path)
        assert isinstance(store.deletion_failure, OutOfSpaceError)
        assert store.remanence().blocks > 0
    with reopen(store, path) as again:
        assert again.deletion_failure is None
        assert again._eraser.residue(Scope.ALL, 0).residue_blocks == 0
