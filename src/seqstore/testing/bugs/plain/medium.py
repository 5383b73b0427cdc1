"""The bytes: slots that the log fills, two areas for checkpoints, and what a crash does to them."""

from __future__ import annotations

from random import Random

from seqstore.testing.bugs.plain.geometry import SLOTS
from seqstore.testing.bugs.plain.record import SLOT_BYTES

BLANK = bytes(SLOT_BYTES)


class Medium:
    """A drive in memory, the only part that outlives a crash.

    What was put and not synced yet may be lost, torn or kept, each for itself: drives write in the order
    that suits them. The choice comes from a generator with a fixed seed, so that a story repeats itself.

    Attributes
    ----------
    slots : bytearray
        `SLOTS` places of `SLOT_BYTES` each.
    areas : list of bytes
        The two checkpoint areas; putting into one is durable at once, and replaces what it held.
    """

    def __init__(self) -> None:
        self.slots = bytearray(SLOTS * SLOT_BYTES)
        self.areas = [b"", b""]
        self._unsynced: list[tuple[int, bytes]] = []  # where, and what lay there before
        self._chance = Random(0)

    def put(self, slot: int, image: bytes) -> None:
        """Fill a slot."""
        start = slot * SLOT_BYTES
        self._unsynced.append((start, bytes(self.slots[start : start + SLOT_BYTES])))
        self.slots[start : start + SLOT_BYTES] = image

    def get(self, slot: int) -> bytes:
        """Return what lies in a slot."""
        return bytes(self.slots[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES])

    def is_blank(self, slot: int) -> bool:
        """Say whether a slot holds zeros alone."""
        return self.get(slot) == BLANK

    def sync(self) -> None:
        """Make everything that was put durable."""
        self._unsynced.clear()

    def crash(self) -> None:
        """Lose, tear or keep each write since the last sync: the first ones are kept, as a rule."""
        kept = self._chance.randint(0, len(self._unsynced))
        for number in reversed(range(kept, len(self._unsynced))):
            if number > kept and self._chance.random() < 0.5:
                continue  # written before its turn
            start, before = self._unsynced[number]
            torn = SLOT_BYTES // 2 if number == kept else 0
            self.slots[start + torn : start + SLOT_BYTES] = before[torn:]
        self._unsynced.clear()
