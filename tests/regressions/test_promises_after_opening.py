"""What was promised before is kept after an opening: for what has gone, and whatever the opening asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seqstore import Store
from seqstore.clock import ManualClock
from seqstore.deletion import Deadline, Lap
from tests.durable import create
from tests.small import BLOCK_SIZE, write_tagged

SEGMENT = 32 * BLOCK_SIZE


def test_a_volume_that_a_snapshot_outlives(tmp_path: Path) -> None:
    path = tmp_path / "lab.store"
    with create(path, segment_size=SEGMENT, selection="greedy") as store:
        disk = store.create_tenant("contoso").create_volume("disk", 300 * BLOCK_SIZE)
        other = store.create_tenant("fabrikam").create_volume("other", 300 * BLOCK_SIZE)
        write_tagged(other, range(200))
        bound = store._eraser.core.smallest_bound()
        store.set_deletion(Deadline(writes=bound), disk)
        write_tagged(disk, range(100))
        write_tagged(disk, range(100))
        disk.snapshot("kept")
        disk.delete()
        due = store.stats().position + bound
    with Store.open(path) as store:
        contoso = store.tenant("contoso")
        left = store.remanence(contoso)
        assert left.blocks == 100
        assert left.unbounded_blocks == 0
        # The policy would leave it alone: nobody else's blocks make it worth cleaning.
        other = store.tenant("fabrikam").volume("other")
        while store.stats().position + 60 < due:
            write_tagged(other, range(20))
        oldest = store.remanence(contoso).oldest_writes
        assert oldest is None or oldest <= bound


@pytest.mark.parametrize(("made", "opened"), [("1MiB", None), (None, "64KiB")])
def test_checkpoints_more_often_than_before(tmp_path: Path, made: str | None, opened: str | None) -> None:
    sizes: dict[str, Any] = {"block_size": BLOCK_SIZE, "segment_size": SEGMENT}
    path, clock = tmp_path / "lab.store", ManualClock()
    with Store.create(path, 128 * SEGMENT, checkpoint_interval=made, clock=clock, **sizes) as store:
        strategy = Deadline(writes=store._eraser.core.smallest_bound())
        store.set_deletion(strategy)
    with Store.open(path, checkpoint_interval=opened, clock=clock) as store:
        assert store._eraser.core.smallest_bound() <= strategy.writes  # type: ignore[operator]
        store.check()


@pytest.mark.parametrize("reopens", [0, 1, 3])
def test_what_died_before_a_bound_was_loosened(tmp_path: Path, reopens: int) -> None:
    path = tmp_path / "lab.store"
    store: Store = create(path, segment_size=SEGMENT, selection="greedy", placement="single")
    disk = store.create_tenant("contoso").create_volume("disk", 300 * BLOCK_SIZE)
    store.create_tenant("fabrikam").create_volume("other", 300 * BLOCK_SIZE)
    bound = store._eraser.core.smallest_bound()
    store.set_deletion(Deadline(writes=bound), disk)
    write_tagged(disk, range(300))
    write_tagged(disk, range(100))
    store.set_deletion(Lap(), disk)
    for _ in range(reopens):
        store.close()
        store = Store.open(path)
    with store:
        disk, other = store.tenant("contoso").volume("disk"), store.tenant("fabrikam").volume("other")
        for turn in range(200):
            write_tagged(other, range(20), turn + 1)
            assert (store.remanence(disk).oldest_writes or 0) <= bound
        position = store.stats().position
        assert position > 2 * bound
        # What dies now is bound by nothing but the lap, and nobody remembers the bound for ever.
        assert store._eraser._notebook is not None
        assert store._eraser._notebook.table.loosened(0, position) == []


def test_checkpoints_more_often_when_much_is_due(tmp_path: Path) -> None:
    """The bound allows for them, but what is due by it was cleaned as late as it could be without them."""
    sizes: dict[str, Any] = {"block_size": BLOCK_SIZE, "segment_size": SEGMENT, "selection": "greedy"}
    path, segments, often = tmp_path / "lab.store", 128, "128KiB"
    with Store.create(tmp_path / "other", segments * SEGMENT, checkpoint_interval=often, **sizes) as other:
        bound = other._eraser.core.smallest_bound()
    store = Store.create(path, segments * SEGMENT, checkpoint_interval="16MiB", **sizes)
    store.set_deletion(Deadline(writes=bound))
    blocks, step = store.drives[0].usable_blocks // 2, SEGMENT // BLOCK_SIZE - 1
    tenant = store.create_tenant("contoso")
    disk = tenant.create_volume("disk", blocks * BLOCK_SIZE)
    hot = tenant.create_volume("hot", SEGMENT)
    for lba in range(0, blocks, step):
        write_tagged(disk, range(lba, min(lba + step, blocks)))
    store.flush()
    for lba in range(5, blocks, step):  # one of each segment
        disk.trim(lba * BLOCK_SIZE, BLOCK_SIZE)
    store.flush()
    due = store.stats().position + bound
    # Nothing else needs these segments: they are cleaned when there is just time for all of them.
    latest = due - (blocks // step + 20) * SEGMENT // BLOCK_SIZE
    while store.stats().position <= latest:
        write_tagged(hot, range(16))
    store.close()
    with Store.open(path, checkpoint_interval=often) as store:
        hot = store.tenant("contoso").volume("hot")
        while store.stats().position < due + 100:
            write_tagged(hot, range(16))
            assert (store.remanence().oldest_writes or 0) <= bound
        store.check()
