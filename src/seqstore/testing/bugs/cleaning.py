"""Bugs in cleaning and the log."""

from __future__ import annotations

from itertools import islice, pairwise
from typing import TYPE_CHECKING

from seqstore.testing.bugs.plain.blockmap import EMPTY
from seqstore.testing.bugs.plain.cleaner import Cleaner
from seqstore.testing.bugs.plain.geometry import SEGMENT_BLOCKS, slots_of
from seqstore.testing.bugs.plain.record import Kind
from seqstore.testing.bugs.plain.state import State

if TYPE_CHECKING:
    from collections.abc import Iterable


class CleanerWritesToTheWrongOwner(Cleaner):
    """A block that the cleaner moves goes to the owner of the block before it in the segment."""

    def move(self, live: dict[int, tuple[int, int]]) -> None:
        owners = [layer for layer, _ in live.values()]
        before = dict(zip(live, [*owners[:1], *owners[:-1]], strict=True))
        super().move({slot: (before[slot], lba) for slot, (_, lba) in live.items()})


class CleanerRevivesABlock(Cleaner):
    """A block that its layer does not hold any more counts as live, and is put in the map again."""

    def live_in(self, segment: int) -> dict[int, tuple[int, int]]:
        live = super().live_in(segment)
        for slot in slots_of(segment):
            header = self.store.codec.decode(self.store.medium.get(slot))
            if header is None or header.kind == Kind.NOTE:
                continue
            layer = self.store.state.layers.get(header.layer)
            if layer is not None and layer.map.get(header.lba) == EMPTY:
                live[slot] = (header.layer, header.lba)
        return live


class CleanerLosesABlockAtTheWrap(Cleaner):
    """The first block that the cleaner moves after the head came round is not put in the map."""

    last = -1

    def settle(self, layer: int, lba: int, slot: int) -> None:
        if slot > self.last:
            super().settle(layer, lba, slot)
        self.last = slot


class CleanerForgetsSnapshots(Cleaner):
    """Only what the topmost layers of volumes hold counts as live."""

    def live_in(self, segment: int) -> dict[int, tuple[int, int]]:
        tops = {view.layer for view in self.store.state.volumes.values()}
        return {slot: owner for slot, owner in super().live_in(segment).items() if owner[0] in tops}


class CleanerSkipsTheLastSlot(Cleaner):
    """The last slot of a segment is not looked at."""

    def live_in(self, segment: int) -> dict[int, tuple[int, int]]:
        live = super().live_in(segment)
        live.pop(slots_of(segment)[-1], None)
        return live


class CleanerStopsWhenTheSegmentIsFull(Cleaner):
    """Once the open segment is full the rest of the blocks stay behind in the one that is freed."""

    def move(self, live: dict[int, tuple[int, int]]) -> None:
        log = self.store.log
        left = SEGMENT_BLOCKS if log.open is None else SEGMENT_BLOCKS - log.position
        super().move(dict(islice(live.items(), left or SEGMENT_BLOCKS)))


class CleanerSwapsNeighbours(Cleaner):
    """Two blocks that are moved together are put in the map in the other order."""

    def move(self, live: dict[int, tuple[int, int]]) -> None:
        owners = list(live.values())
        owners[:2] = reversed(owners[:2])
        super().move(dict(zip(live, owners, strict=True)))


class CleanerDropsAWaitingWrite(Cleaner):
    """A block that the cleaner moves replaces the newer one that waits in the write buffer."""

    def settle(self, layer: int, lba: int, slot: int) -> None:
        super().settle(layer, lba, slot)
        self.store.buffer.blocks.pop(self.store.buffer.key(layer, lba), None)


class CleanerFreesBeforeTheCheckpoint(Cleaner):
    """A segment is written again once its blocks are moved, though the last checkpoint still needs it."""

    def clean(self, segment: int) -> None:
        self.store.state.prune()
        self.move(self.live_in(segment))
        self.store.leases.revoke_all()
        self.store.log.release(segment)
        self.store.log.free.rotate()


class HiddenForOneHiddenForAll(State):
    """A block that one view hides by a newer one is dropped, though another view shows it."""

    def prune(self) -> None:
        super().prune()
        for view in self.views():
            chain = list(self.chain(view.layer))
            for above, below in pairwise(chain):
                self._drop(below, (lba for lba, _ in self.layers[above].map.items()))

    def _drop(self, layer: int, lbas: Iterable[int]) -> None:
        for lba in lbas:
            if self.layers[layer].map.get(lba) != EMPTY:
                self.layers[layer].map.set(lba, EMPTY)


BUGS = (
    CleanerWritesToTheWrongOwner,
    CleanerRevivesABlock,
    CleanerLosesABlockAtTheWrap,
    CleanerForgetsSnapshots,
    CleanerSkipsTheLastSlot,
    CleanerStopsWhenTheSegmentIsFull,
    CleanerSwapsNeighbours,
    CleanerDropsAWaitingWrite,
    CleanerFreesBeforeTheCheckpoint,
    HiddenForOneHiddenForAll,
)
