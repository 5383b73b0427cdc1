"""What was deleted goes from the medium as well."""

from __future__ import annotations

from seqstore.testing.bugs.plain.geometry import slots_of
from seqstore.testing.bugs.plain.medium import BLANK
from seqstore.testing.bugs.plain.record import Part


class Purger(Part):
    """Moves the live neighbours of what is dead, and overwrites the segment with zeros."""

    def run(self) -> None:
        """Leave nothing on the medium but what a volume or snapshot shows."""
        log = self.store.log
        self.store.state.prune()
        self.close_head()
        self.wipe_free()
        for segment in tuple(log.closed):
            if self.has_residue(segment):
                self.rescue(segment)
                self.wipe(segment)
        self.renew_checkpoints()

    def close_head(self) -> None:
        """Close the open segment, whose dead blocks have to go too."""
        self.store.log.seal()

    def wipe_free(self) -> None:
        """Overwrite the segments that the cleaner emptied, where the blocks that it moved still lie."""
        for segment in tuple(self.store.log.free):
            self.wipe(segment)

    def has_residue(self, segment: int) -> bool:
        """Say whether a closed segment holds something that nobody shows."""
        live = self.store.cleaner.live_in(segment)
        return any(self.is_residue(slot) for slot in slots_of(segment) if slot not in live)

    def is_residue(self, slot: int) -> bool:
        """Say whether a slot that is not live has to be overwritten."""
        return not self.store.medium.is_blank(slot)

    def rescue(self, segment: int) -> None:
        """Move what is live elsewhere."""
        self.store.cleaner.clean(segment)

    def wipe(self, segment: int) -> None:
        """Overwrite a segment with zeros."""
        for slot in slots_of(segment):
            if not self.store.medium.is_blank(slot):
                self.store.medium.put(slot, BLANK)

    def renew_checkpoints(self) -> None:
        """Write both areas, so that neither says anything about what is gone."""
        self.store.checkpoint.save()
        self.store.checkpoint.save()
