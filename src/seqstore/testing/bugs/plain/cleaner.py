"""Moves what is live out of the way of the log's head."""

from __future__ import annotations

from errno import ENOSPC

from seqstore.testing.bugs.plain.geometry import SEGMENTS, USABLE_BLOCKS, slots_of
from seqstore.testing.bugs.plain.log import Entry
from seqstore.testing.bugs.plain.record import Kind, Part


class Cleaner(Part):
    """Empties closed segments, the oldest first."""

    def make_room(self, count: int) -> None:
        """See to it that the log takes so many slots.

        Raises
        ------
        OSError
            ENOSPC if there are too many live blocks. Nothing has changed.
        """
        if self.store.log.room() >= count:
            return
        self.store.state.prune()
        live = len(self.store.state.live())
        if live + count > USABLE_BLOCKS:
            raise OSError(ENOSPC, f"the store is full: {live} of {USABLE_BLOCKS} blocks are live")
        self.clean_until(count)

    def clean_until(self, count: int) -> None:
        """Clean the oldest segment again and again; two rounds bring all dead blocks together."""
        for _ in range(2 * SEGMENTS):
            if self.store.log.room() >= count:
                return
            if self.store.log.closed:
                self.clean(self.store.log.closed[0])
        raise OSError(ENOSPC, f"the store is full: there is no room for {count} blocks")

    def clean_all(self) -> None:
        """Clean every closed segment that holds something dead."""
        for segment in tuple(self.store.log.closed):
            self.store.state.prune()
            if len(self.live_in(segment)) < len(slots_of(segment)):
                self.clean(segment)

    def clean(self, segment: int) -> None:
        """Move the live blocks of a segment to the head, and make it free."""
        self.store.state.prune()
        self.move(self.live_in(segment))
        self.store.leases.revoke_all()
        self.store.checkpoint.save()
        self.store.log.release(segment)

    def live_in(self, segment: int) -> dict[int, tuple[int, int]]:
        """Return the live slots of a segment, with the layer and lba of each."""
        live = self.store.state.live()
        return {slot: live[slot] for slot in slots_of(segment) if slot in live}

    def move(self, live: dict[int, tuple[int, int]]) -> None:
        """Append copies of blocks, and let the maps point to them."""
        for slot, (layer, lba) in live.items():
            block = self.store.codec.block(self.store.medium.get(slot))
            self.settle(layer, lba, self.store.log.append([Entry(Kind.MOVE, layer, lba, block)])[0])

    def settle(self, layer: int, lba: int, slot: int) -> None:
        """Let a map point to where a block was moved."""
        self.store.state.place(layer, lba, slot)
