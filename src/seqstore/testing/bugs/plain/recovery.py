"""From the medium back to the state: the newest checkpoint, then the log behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from seqstore.testing.bugs.plain.geometry import RESERVED_SEGMENTS, SEGMENTS, SLOTS
from seqstore.testing.bugs.plain.record import Header, Kind, Part
from seqstore.testing.bugs.plain.state import NUMBERS_PER_MOUNT


class Found(NamedTuple):
    """A slot that belongs to the log behind the checkpoint."""

    header: Header
    slot: int


class Recovery(Part):
    """Opens a medium. The log counts up to the first slot that is missing; the rest was never there."""

    def mount(self) -> None:
        """Bring back the state, and begin a mount of its own whose slots nothing older is mistaken for."""
        state, log = self.store.state, self.store.log
        saved = self.store.checkpoint.load() or {"mount": 0, "sequence": 0, "closed": [], **state.to_json()}
        state.restore(saved)
        log.mount, log.sequence = saved["mount"], saved["sequence"]
        for record in self.records():
            self.replay(record)
        state.prune()
        log.rebuild(saved["closed"], state.live())
        log.mount += 1
        state.next_number = max(state.next_number, log.mount * NUMBERS_PER_MOUNT)
        self.store.checkpoint.save()
        self.make_room()

    def make_room(self) -> None:
        """Clean until the log may be written: crashes leave segments that are closed half empty."""
        for _ in range(SEGMENTS):
            if len(self.store.log.free) > RESERVED_SEGMENTS:
                return
            self.store.cleaner.clean(self.store.log.closed[0])

    def records(self) -> Iterator[Sequence[Found]]:
        """Yield the whole records behind the checkpoint, in their order."""
        record: list[Found] = []
        for found in self.until_gap(self.in_order(self.scan())):
            record = [*record, found] if found.header.part else [found]
            if len(record) == found.header.parts:
                yield record
                record = []

    def scan(self) -> Iterator[Found]:
        """Yield the slots that were written since the checkpoint."""
        for slot in range(SLOTS):
            header = self.store.codec.decode(self.store.medium.get(slot))
            if header is not None and self.is_new(header):
                yield Found(header, slot)

    def is_new(self, header: Header) -> bool:
        """Say whether a slot belongs to the log behind the checkpoint."""
        return header.mount == self.store.log.mount and header.sequence >= self.store.log.sequence

    def in_order(self, slots: Iterator[Found]) -> list[Found]:
        """Return slots in the order in which they were written."""
        return sorted(slots, key=lambda found: found.header.sequence)

    def until_gap(self, slots: Sequence[Found]) -> Iterator[Found]:
        """Yield slots as long as none is missing between them."""
        for found in slots:
            if found.header.sequence != self.store.log.sequence:
                return
            self.store.log.sequence += 1
            yield found

    def replay(self, record: Sequence[Found]) -> None:
        """Do again what a record did."""
        for header, slot in record:
            if header.kind == Kind.NOTE:
                text = self.store.codec.block(self.store.medium.get(slot)).rstrip(b"\0")
                self.apply(json.loads(text))
            else:
                self.store.state.place(header.layer, header.lba, slot)

    def apply(self, note: dict[str, object]) -> None:
        """Do again what a note says."""
        self.store.state.apply(note)
