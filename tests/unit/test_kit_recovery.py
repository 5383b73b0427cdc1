"""What the kit takes for true behind a crash, where blocks that were cut off or never written tell little."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable, Iterator

import pytest

from seqstore.testing import check_isolation
from seqstore.testing.interpret import Run
from seqstore.testing.judge import Finding
from seqstore.testing.steps import Step

BLOCK = 64
State = dict[int, tuple[int, dict[int, bytes]]]


def refuse(answer: bytes) -> bytes:
    raise ValueError("beyond the end")


def deny(answer: bytes) -> bytes:
    raise KeyError("no such block")


def stop(answer: bytes) -> bytes:
    return answer


class Undoing:
    """Raises for unwritten blocks; a crash undoes as many of the calls since the last flush as it is told."""

    block_size = BLOCK

    def __init__(self, lost: Callable[[int], int] = lambda calls: min(calls, 1)) -> None:
        self.volumes: State = {}
        self.former: list[State] = []
        self.dead: list[bytes] = []
        self.numbers: Iterator[int] = itertools.count(1)
        self.given: set[int] = set()
        self.lost = lost
        self.past_the_end: Callable[[bytes], bytes] = refuse

    def keep(self) -> None:
        """Remember the state that the next call changes."""
        self.former.append(copy.deepcopy(self.volumes))

    def create_volume(self, tenant: str, blocks: int) -> int:
        self.keep()
        number = next(self.numbers)
        self.given.add(number)
        self.volumes[number] = blocks, {}
        return number

    def delete_volume(self, volume: int) -> None:
        self.keep()
        del self.volumes[volume]

    def write(self, volume: int, lba: int, data: bytes) -> None:
        size, blocks = self.volumes[volume]
        if lba + len(data) // BLOCK > size:
            raise ValueError("beyond the end")
        self.keep()
        blocks.update((lba + i, data[BLOCK * i : BLOCK * (i + 1)]) for i in range(len(data) // BLOCK))
        self.dead.append(data)

    def read(self, volume: int, lba: int, count: int) -> bytes:
        size, blocks = self.volumes[volume]
        within = b"".join(blocks[at] for at in range(lba, min(lba + count, size)))
        return within if lba + count <= size else self.past_the_end(within)

    def trim(self, volume: int, lba: int, count: int) -> None:
        self.keep()
        for at in range(lba, lba + count):
            self.volumes[volume][1].pop(at, None)

    def resize(self, volume: int, blocks: int) -> None:
        _, kept = self.volumes[volume]
        self.keep()
        self.volumes[volume] = blocks, {at: block for at, block in kept.items() if at < blocks}

    def flush(self) -> None:
        self.former.clear()

    def crash(self) -> None:
        for _ in range(self.lost(len(self.former))):
            self.volumes = self.former.pop()
        self.former.clear()

    def purge(self) -> None:
        self.flush()
        self.dead.clear()

    def media(self) -> list[bytes]:
        return [*self.dead, *(block for _, blocks in self.volumes.values() for block in blocks.values())]


def run(store: Undoing, *steps: Step) -> Run:
    """Do steps from the same beginning: a volume of two blocks, of which the second is written."""
    told = Run(store, nonce=1)
    for step in (Step("create", count=2), Step("write", start=1), *steps):
        assert told.do(step)
    return told


SHRINK = Step("resize", count=1)


@pytest.mark.parametrize("past_the_end", [refuse, deny, stop])
def test_a_shrink_that_a_crash_undid_leaves_the_block_alive(
    past_the_end: Callable[[bytes], bytes],
) -> None:
    store = Undoing()
    store.past_the_end = past_the_end
    told = run(store, SHRINK, Step("crash"), Step("purge"), Step("check"))
    assert [len(volume.blocks) for volume in told.model.volumes] == [2]
    assert told.recognised  # the block that the shrink had cut off is on the media, and may be


@pytest.mark.parametrize(("lost", "sizes"), [(0, [1]), (1, [1]), (2, [])])
def test_a_size_that_nothing_shows_is_settled(lost: int, sizes: list[int]) -> None:
    store = Undoing(lambda _: lost)
    store.past_the_end = deny  # as an unwritten block, or as no volume
    told = Run(store, nonce=1)
    for step in (Step("create", count=2), SHRINK, Step("crash")):
        assert told.do(step)
    assert [len(volume.blocks) for volume in told.model.volumes] == sizes
    assert [size for size, _ in store.volumes.values()] == sizes
    assert not any(volume.doubtful for volume in told.model.volumes)
    if sizes:
        told.do(Step("write_beyond", start=0))


class LosesTheShrinkOnly(Undoing):
    """A crash undoes every shrink, and nothing that came behind it."""

    cut: tuple[int, int, dict[int, bytes]] | None = None

    def resize(self, volume: int, blocks: int) -> None:
        self.cut = volume, *copy.deepcopy(self.volumes[volume])
        super().resize(volume, blocks)

    def crash(self) -> None:
        assert self.cut is not None
        volume, size, blocks = self.cut
        now = self.volumes.get(volume, (0, {}))[1]
        self.volumes[volume] = size, blocks | now
        self.flush()


@pytest.mark.parametrize(
    "steps",
    [
        (Step("write"),),
        (Step("delete"), Step("create", which=1), Step("write")),
    ],
)
def test_a_shrink_is_not_undone_alone(steps: tuple[Step, ...]) -> None:
    with pytest.raises(Finding) as caught:
        run(LosesTheShrinkOnly(), Step("flush"), SHRINK, *steps, Step("crash"))
    assert caught.value.kind == "resurrected"
    assert caught.value.volume == 1


class UsesNumbersAgain(Undoing):
    """A new volume takes the handle of one that was deleted, if no crash came between."""

    def delete_volume(self, volume: int) -> None:
        super().delete_volume(volume)
        self.numbers = itertools.chain([volume], self.numbers)

    def crash(self) -> None:
        super().crash()
        self.numbers = itertools.count(max(self.given, default=0) + 1)


def test_a_volume_that_took_the_handle_of_another_is_told_from_it() -> None:
    store = UsesNumbersAgain(lambda _: 2)
    told = run(store, Step("delete"), Step("create", which=1), Step("crash"), Step("purge"), Step("check"))
    assert [(volume.number, len(volume.blocks)) for volume in told.model.volumes] == [(1, 2)]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", [Undoing, UsesNumbersAgain])
@pytest.mark.parametrize("past_the_end", [refuse, deny, stop])
def test_a_store_that_loses_any_number_of_calls_passes(
    seed: int, kind: type[Undoing], past_the_end: Callable[[bytes], bytes]
) -> None:
    random_ = random.Random(seed)

    def make() -> Undoing:
        store = kind(lambda calls: random_.randint(0, calls))
        store.past_the_end = past_the_end
        return store

    report = check_isolation(make, seed=seed, max_examples=60)
    assert min(report.commands["crash"], report.commands["resize"], report.commands["purge"]) > 20
