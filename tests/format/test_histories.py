"""Random histories of the writer: at every record the reader must find what was there then."""

from __future__ import annotations

import copy
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from seqstore.format import read_image
from tests.format.comparing import contents, expect_all
from tests.format.packing import WITH_BLOCK
from tests.format.writer import Writer

_MOST_LIVE = 40
_BLOCKS = 12


class History:
    """Takes steps as numbers, and turns each into the nearest one that is possible."""

    def __init__(self, classes: int = 1) -> None:
        self.writer = Writer(segments=24, segment_blocks=8, classes=classes)
        self.writer.checkpoint()
        self.serial = 0

    def pick(self, number: int, *, snapshots: bool) -> int | None:
        disks = [n for n, disk in self.writer.disks.items() if bool(disk.flags & 2) == snapshots]
        return disks[number % len(disks)] if disks else None

    def data(self) -> bytes:
        self.serial += 1
        return f"write {self.serial}".encode().ljust(512, b".")

    def step(self, what: int, which: int, lba: int, count: int) -> None:
        writer = self.writer
        while len(writer.free) < 8:
            writer.clean(which)
        live = sum(state == 1 for state, *_ in writer.ledger.values())
        volume = self.pick(which, snapshots=False)
        snapshot = self.pick(which, snapshots=True)
        if volume is None or (what == 0 and len(writer.disks) < 6):
            writer.create(1 + which % 3, (1 + lba) * 512 - count, error=bool(which % 2))
            return
        blocks = -(-writer.disks[volume].size // 512)
        lba %= blocks
        count = min(count, blocks - lba)
        actions: list[Callable[[], object]] = [
            lambda: writer.trim(volume, lba, count),
            lambda: writer.resize(volume, (lba + 1) * 512 + count),
            writer.flush,
            writer.close,
            lambda: writer.delete(volume),
        ]
        if live < _MOST_LIVE:
            actions += [lambda: writer.write(volume, lba, *(self.data() for _ in range(count)))] * 4
        if len(writer.disks) < 6:
            actions.append(lambda: writer.snapshot(volume))
        if snapshot is not None:
            actions.append(lambda: writer.rollback(volume, snapshot))
            actions.append(lambda: writer.delete(snapshot))
            if len(writer.disks) < 6:
                actions.append(lambda: writer.clone(snapshot, 1 + which % 3))
        actions += [lambda: writer.clean(which)] if writer.sealed else []
        actions += [writer.checkpoint, self.crash]
        actions[what % len(actions)]()

    def crash(self) -> None:
        self.writer.close()
        self.writer.open_again()


STEPS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 5), st.integers(0, _BLOCKS - 1), st.integers(1, 5)),
    max_size=45,
)
CLASSES = st.sampled_from([1, 2, 3])


@given(STEPS, CLASSES)
def test_the_reader_finds_what_was_written(steps: list[tuple[int, int, int, int]], classes: int) -> None:
    history = History(classes)
    for step in steps:
        history.step(*step)
    history.writer.close()
    with read_image(bytes(history.writer.image)) as image:
        expect_all(image, history.writer)


@given(STEPS, CLASSES, st.data())
def test_a_cut_leaves_what_was_there_then(
    steps: list[tuple[int, int, int, int]], classes: int, data: st.DataObject
) -> None:
    """Stop anywhere; what was not written is missing, and what was is there."""
    history = History(classes)
    cut = data.draw(st.integers(0, len(steps)))
    for step in steps[:cut]:
        history.step(*step)
    writer = history.writer
    writer.close()
    expected = {number: dict(disk.content) for number, disk in writer.disks.items()}
    later = copy.deepcopy(writer)
    history.writer = later
    for step in steps[cut:]:
        if later.sequence > writer.sequence:
            break
        history.step(*step)
    later.close()
    # The next record alone is torn: any part of its data, with or without the summary.
    if later.sequence > writer.sequence:
        head, entries = later.heads[writer.sequence]
        blocks = sum(entry.kind in WITH_BLOCK for entry in entries)
        kept = data.draw(st.integers(0, blocks))
        if kept < blocks:
            start, end = head.mba * 512, (head.mba + 1 + kept) * 512
            writer.image[start:end] = later.image[start:end]
    with read_image(bytes(writer.image)) as image:
        assert contents(image) == expected
        assert image.damage == ()
