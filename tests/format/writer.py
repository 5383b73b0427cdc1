"""A store in small that writes drives by the specification alone, and says what must be on them.

Requests become records. Beside them the writer keeps what every volume must show and what every block must
be, by brute force: after each request it looks through all volumes again.
"""

from __future__ import annotations

from dataclasses import replace

from tests.format.disks import Disk, Sheet
from tests.format.packing import (
    CHECKPOINT,
    CLONE,
    CREATE,
    DATA,
    DEAD,
    DELETE,
    END,
    FREE,
    FREED,
    LIVE,
    MOVED,
    OPENED,
    PAD,
    RESIZE,
    ROLLBACK,
    SNAPSHOT,
    SUMMARY,
    TRIM,
    Entry,
    Head,
    Stream,
    put_stream,
    put_summary,
    tagged,
    word,
)


class Writer:
    """A store in small that writes an image; one request after the other, the cleaner only when told.

    With one class it is the circular log. With more, blocks go to heads of their own, and the cleaner says
    what it frees.
    """

    def __init__(
        self,
        *,
        segments: int = 16,
        segment_blocks: int = 8,
        block_shift: int = 9,
        drive: int = 0xD81E,
        classes: int = 1,
    ) -> None:
        self.classes = classes
        self.block_size = 1 << block_shift
        self.shift = block_shift
        self.segment_blocks = segment_blocks
        self.block_count = segments * segment_blocks
        self.drive = drive
        self.image = bytearray(self.block_count * self.block_size)
        self.disks: dict[int, Disk] = {}
        self.sheets: dict[int, Sheet] = {}
        self.ledger: dict[int, tuple[int, int, int, int]] = {}  # mba: state, layer, value, checksum
        self.free = list(range(1, segments))
        self.sealed: list[int] = []
        self.places = {0: [0, 0]}  # of each class: segment, and blocks of it that are used
        self.class_id = 0
        self.sequence = self.position = self.last_number = self.previous = 0
        self.flushed = self.checkpoint_sequence = self.checkpoint_mba = 0
        self.opening = 0
        self.heads: list[tuple[Head, list[Entry]]] = []
        self._entries: list[Entry] = []
        self._blocks: list[bytes] = []

    # ---- records

    @property
    def max_entries(self) -> int:
        return (self.block_size - 96) // 24

    @property
    def room(self) -> int:
        """Data blocks that the record under way has room for."""
        return min(
            self.segment_blocks - self.used - 1 - len(self._blocks), self.max_entries - len(self._entries)
        )

    @property
    def segment(self) -> int:
        """The segment that the head in use is in."""
        return self.places[self.class_id][0]

    @property
    def used(self) -> int:
        """Blocks of it that records take."""
        return self.places[self.class_id][1]

    def select(self, class_id: int, *, before: int = 0) -> None:
        """Go on at the head of a class, in a request of which there are so many entries."""
        if class_id == self.class_id:
            return
        self.close(open=min(before, len(self._entries)))
        self.class_id = class_id
        if class_id not in self.places:
            self.places[class_id] = [self.free.pop(0), 0]

    def put(self, entry: Entry, block: bytes | None = None, *, before: int = 0) -> tuple[int, int]:
        """Add an entry, with so many of its request before it; returns its block's address, and the time."""
        if self._entries and (
            len(self._entries) == self.max_entries or (block is not None and self.room <= 0)
        ):
            self.close(open=min(before, len(self._entries)))
        if self.used == self.segment_blocks:
            self.advance()
        if block is not None and self.room <= 0:
            self.fill(open=int(before > 0))
            self.advance()
        mba = self.segment * self.segment_blocks + self.used + 1 + len(self._blocks)
        self._entries.append(entry)
        if block is not None:
            self._blocks.append(block.ljust(self.block_size, b"\0"))
        return mba, self.position + 1 + len(self._blocks)

    def fill(self, *, open: int) -> None:  # noqa: A002  the field is called so
        """Fill a segment whose last block has room for a summary alone, with one that says nothing."""
        assert self.used == self.segment_blocks - 1
        self.close(empty=True, open=open)

    def advance(self) -> None:
        """Go to the next segment."""
        self.sealed.append(self.segment)
        self.places[self.class_id] = [self.free.pop(0), 0]

    def close(self, *, open: int = 0, empty: bool = False, **changes: int) -> None:  # noqa: A002
        """Write the record under way, if there is one."""
        if not self._entries and not empty:
            return
        self.sequence += 1
        mba = self.segment * self.segment_blocks + self.used
        head = Head(
            drive=self.drive,
            sequence=self.sequence,
            mba=mba,
            segment_blocks=self.segment_blocks,
            block_count=self.block_count,
            previous=self.previous,
            open=open,
            position=self.position,
            flushed=self.flushed,
            checkpoint=self.checkpoint_sequence,
            checkpoint_mba=self.checkpoint_mba,
            block_shift=self.shift,
            class_id=self.class_id,
        )
        head = replace(head, **changes)  # type: ignore[arg-type]
        summary = put_summary(head, self._entries, block_size=self.block_size)
        record = summary + b"".join(self._blocks)
        self.image[mba * self.block_size : mba * self.block_size + len(record)] = record
        self.ledger[mba] = (SUMMARY, 0, 0, 0)
        self.heads.append((head, self._entries))
        self.previous = int.from_bytes(summary[12:16], "little")
        self.places[self.class_id][1] += 1 + len(self._blocks)
        self.position += 1 + len(self._blocks)
        self._entries, self._blocks = [], []

    def flush(self) -> None:
        """All that was written so far is safe; later records say so."""
        self.close()
        self.flushed = self.sequence

    # ---- requests

    def create(self, tenant: int, size: int, *, error: bool = False) -> int:
        number = self._number()
        self.put(Entry(CREATE, size, number, tenant, error))
        self.sheets[number] = Sheet(tenant, number, 0)
        self.disks[number] = Disk(tenant, size, number, 0, int(error))
        return number

    def write(self, number: int, lba: int, *blocks: bytes) -> None:
        """Write a run of blocks in one request."""
        disk = self.disks[number]
        for before, data in enumerate(blocks):
            at = lba + before
            block = data.ljust(self.block_size, b"\0")
            checksum = tagged(disk.layer, at, block)
            self.select(self._class_of(at), before=before)
            mba, position = self.put(Entry(DATA, at, disk.layer, checksum), block, before=before)
            disk.content[at] = block
            sheet = self.sheets[disk.layer]
            sheet.blocks[at] = mba
            sheet.holes.discard(at)
            self.ledger[mba] = (LIVE, disk.layer, at, checksum)
            self.bury(position)

    def trim(self, number: int, lba: int, count: int) -> None:
        disk = self.disks[number]
        _, position = self.put(Entry(TRIM, lba, disk.layer, count))
        self._unmap(disk, lba, lba + count)
        self.bury(position)

    def resize(self, number: int, size: int) -> None:
        disk = self.disks[number]
        _, position = self.put(Entry(RESIZE, size, number))
        self._unmap(disk, -(-size // self.block_size), 2**38)
        disk.size = size
        self.bury(position)

    def snapshot(self, number: int) -> int:
        new, disk = self._number(), self.disks[number]
        self.put(Entry(SNAPSHOT, new, number))
        self.disks[new] = Disk(disk.tenant, disk.size, disk.layer, number, disk.flags | 2, dict(disk.content))
        self.sheets[new] = Sheet(disk.tenant, number, disk.layer)
        disk.layer = new
        return new

    def clone(self, snapshot: int, tenant: int) -> int:
        new, source = self._number(), self.disks[snapshot]
        self.put(Entry(CLONE, snapshot, new, tenant))
        self.disks[new] = Disk(tenant, source.size, new, snapshot, 0, dict(source.content))
        self.sheets[new] = Sheet(tenant, new, source.layer)
        return new

    def rollback(self, number: int, snapshot: int) -> None:
        new, disk, source = self._number(), self.disks[number], self.disks[snapshot]
        _, position = self.put(Entry(ROLLBACK, new, number, snapshot))
        self.sheets[new] = Sheet(disk.tenant, number, source.layer)
        disk.layer, disk.size, disk.content = new, source.size, dict(source.content)
        self.bury(position)

    def delete(self, number: int) -> None:
        _, position = self.put(Entry(DELETE, 0, number))
        del self.disks[number]
        self.bury(position)

    def clean(self, which: int = 0) -> None:
        """Move what is live in a sealed segment, the oldest of the circular log, and free the segment."""
        self.close()
        victim = self.sealed.pop(which % len(self.sealed) if self.classes > 1 else 0)
        for mba in range(victim * self.segment_blocks, (victim + 1) * self.segment_blocks):
            state, layer, lba, checksum = self.ledger.get(mba, (FREE, 0, 0, 0))
            if state == SUMMARY:
                self.ledger[mba] = (DEAD, 0, self.position, 0)
            if state == LIVE:
                block = bytes(self.image[mba * self.block_size : (mba + 1) * self.block_size])
                self.select(self._class_of(lba + 1))
                to, position = self.put(Entry(DATA, lba, layer, checksum, 1), block)
                self.sheets[layer].blocks[lba] = to
                self.ledger[to] = (LIVE, layer, lba, checksum)
                self.ledger[mba] = (MOVED, layer, position, 0)
        if self.classes > 1:
            self.put(Entry(FREED, victim))
        self.close()
        self.free.append(victim)

    def checkpoint(self, *, clean: bool = False) -> None:
        """Write a checkpoint of what is now."""
        self.flush()
        self.select(0)
        sequence = self.sequence + 1
        stream = put_stream(self.describe())
        if self.used == self.segment_blocks:
            self.advance()
        mba = self.segment * self.segment_blocks + self.used
        pages = [stream[at : at + self.block_size] for at in range(0, len(stream), self.block_size)]
        for number, page in enumerate(pages):
            block = page.ljust(self.block_size, b"\0")
            at, _ = self.put(Entry(CHECKPOINT, number, 0, tagged(0, number, block)), block)
            self.ledger[at] = (SUMMARY, 0, 0, 0)
        self.put(Entry(END, sequence, mba, len(pages), clean))
        self.close()
        self.flushed = self.sequence
        self.checkpoint_sequence, self.checkpoint_mba = sequence, mba

    def open_again(self) -> None:
        """Begin a new life after a crash: the rest of each open segment becomes zeros."""
        self.opening += 1
        opened: Entry | None = Entry(OPENED, self.opening)
        for class_id in sorted(self.places):
            self.select(class_id)
            if self.used < self.segment_blocks:
                self._pad(opened)
                opened = None
        self.select(0)
        if opened is not None:
            self.put(opened)
        self.flush()

    def _pad(self, opened: Entry | None) -> None:
        """Fill the segment of the head in use with zeros, behind what says that the store was opened."""
        zeros = bytes(self.block_size)
        if opened is not None:
            self.put(opened)
        while self.used + bool(self._entries) * (1 + len(self._blocks)) < self.segment_blocks:
            if self.used == self.segment_blocks - 1:
                self.fill(open=0)
                return
            at, _ = self.put(Entry(PAD, 0, 0, tagged(0, 0, zeros)), zeros)
            self.ledger.pop(at, None)

    def describe(self) -> Stream:
        """What a checkpoint says now."""
        layers = sorted(self.sheets)
        index = {layer: place for place, layer in enumerate(layers, 1)}
        named = self._reached()
        tables = []
        for segment in range(self.block_count // self.segment_blocks):
            first = segment * self.segment_blocks
            states = [self.ledger.get(first + i, (FREE, 0, 0, 0)) for i in range(self.segment_blocks)]
            words = [(word(state, index.get(layer, 0), value), crc) for state, layer, value, crc in states]
            if any(value for value, _ in words):
                tables.append((segment, words))
        holes = []
        for layer in layers:
            if layer in named:
                for leaf in sorted({lba // 512 for lba in self.sheets[layer].holes}):
                    bits = sum(1 << lba % 512 for lba in self.sheets[layer].holes if lba // 512 == leaf)
                    holes.append((layer, leaf, bits.to_bytes(64, "little")))
        return Stream(
            drive=self.drive,
            sequence=self.sequence + 1,
            position=self.position,
            opening=self.opening,
            last_number=self.last_number,
            open_segment=self.segment,
            open_blocks=self.used,
            volumes=[
                (n, d.tenant, d.size, d.layer, d.origin, d.flags) for n, d in sorted(self.disks.items())
            ],
            layers=[(0, 0, 0, 0, 0)]
            + [
                (n, s.tenant, s.volume, s.parent if n in named else 0, n not in named)
                for n, s in sorted(self.sheets.items())
            ],
            holes=holes,
            heads=[
                (class_id, segment, used, 0)
                for class_id, (segment, used) in self.places.items()
                if class_id != self.class_id
            ],
            free=[(segment, 1) for segment in self.free],
            sealed=[(segment, 1) for segment in self.sealed],
            tables=tables,
        )

    # ---- what must be there

    def show(self, layer: int, lba: int) -> int | None:
        """Look down from a layer: where the block lies that shows."""
        while layer:
            sheet = self.sheets[layer]
            if lba in sheet.blocks:
                return sheet.blocks[lba]
            if lba in sheet.holes:
                return None
            layer = sheet.parent
        return None

    def _reached(self) -> set[int]:
        reached = set()
        for disk in self.disks.values():
            layer = disk.layer
            while layer:
                reached.add(layer)
                layer = self.sheets[layer].parent
        return reached

    def bury(self, position: int) -> None:
        """Everything live that no volume shows any more died at this position."""
        lbas = {lba for sheet in self.sheets.values() for lba in sheet.blocks}
        shown = {self.show(disk.layer, lba) for disk in self.disks.values() for lba in lbas}
        for mba, (state, layer, lba, _) in self.ledger.items():
            if state == LIVE and mba not in shown:
                self.ledger[mba] = (DEAD, layer, position, 0)
                if self.sheets[layer].blocks.get(lba) == mba:
                    del self.sheets[layer].blocks[lba]

    def _unmap(self, disk: Disk, start: int, end: int) -> None:
        sheet = self.sheets[disk.layer]
        for lba in [lba for lba in sheet.blocks if start <= lba < end]:
            del sheet.blocks[lba]
        below = {lba for other in self.sheets.values() for lba in other.blocks}
        sheet.holes.update(
            lba for lba in below if start <= lba < end and self.show(disk.layer, lba) is not None
        )
        for lba in [lba for lba in disk.content if start <= lba < end]:
            del disk.content[lba]

    def _class_of(self, lba: int) -> int:
        return lba // 2 % self.classes

    def _number(self) -> int:
        self.last_number += 1
        return self.last_number
