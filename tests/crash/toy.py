"""A tiny journal of operations on a faulty drive, right and wrong in known ways: the harness's own test.

A record is a head and a pickled operation, padded to blocks; records lie one behind the other from block 0.
Opening reads them until one is not right, and does the operations again.

head: magic, sequence, bytes of the operation, their CRC-32, that of the record before, that of the head.
"""

from __future__ import annotations

import errno
import pickle
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress

from seqstore.media.faults import FaultyDrive
from tests.crash.ops import BLOCK, Flush, Op, Trim, Write, steps
from tests.crash.world import World

_HEAD = struct.Struct("<8sQIIII")
_MAGIC = b"TOYJRNAL"


class ToyStore:
    """The journal as it should be. Subclasses get one thing wrong each."""

    atomic_blocks = 1 << 30

    def __init__(self, drive: FaultyDrive) -> None:
        self.drive = drive
        self.world: World = {}
        self.sequence = 0
        self.previous = 0
        self.end = 0  # where the next record goes
        self.recover()

    @classmethod
    def create(cls, drive: FaultyDrive) -> ToyStore:
        return cls(drive)

    @classmethod
    def open(cls, drive: FaultyDrive) -> ToyStore:
        return cls(drive)

    def apply(self, op: Op) -> None:
        if isinstance(op, Flush):
            self.flush()
            return
        self.journal(op)
        self.redo(op)

    def show(self) -> World:
        return self.world

    def check(self) -> None:
        assert self.end <= self.drive.geometry.blocks

    def abandon(self) -> None:
        pass

    # ---- what the wrong ones change ---------------------------------------------------------------

    def flush(self) -> None:
        self.drive.sync()

    def journal(self, op: Op) -> None:
        self.append(op)

    def body_is_right(self, body: bytes, checksum: int) -> bool:
        return zlib.crc32(body) == checksum

    def continues(self, sequence: int, previous: int) -> bool:
        return sequence == self.sequence + 1 and previous == self.previous

    def recover(self) -> None:
        for op in self.records():
            self.redo(op)

    # ---- what they share -------------------------------------------------------------------------

    def redo(self, op: Op) -> None:
        for world in steps(self.world, op, self.atomic_blocks):
            self.world = world

    def encode(self, op: Op) -> bytes:
        body = pickle.dumps(op)
        self.sequence += 1
        words = (_MAGIC, self.sequence, len(body), zlib.crc32(body), self.previous)
        self.previous = zlib.crc32(_HEAD.pack(*words, 0))
        return _HEAD.pack(*words, self.previous) + body

    def append(self, op: Op) -> None:
        record = self.encode(op)
        record += bytes(-len(record) % BLOCK)
        count = len(record) // BLOCK
        if self.end + count > self.drive.geometry.blocks:
            raise OSError(errno.ENOSPC, "the toy's journal is full")
        self.drive.append(self.end, record)
        self.end += count

    def records(self) -> Iterator[Op]:
        """Read records up to the first that is not right."""
        while self.end < self.drive.geometry.blocks:
            found = self.record_at(self.end)
            if found is None:
                return
            head, body = found
            self.sequence = head[1]
            self.previous = head[5]
            self.end += -(-(_HEAD.size + len(body)) // BLOCK)
            yield pickle.loads(body)

    def record_at(self, mba: int) -> tuple[tuple[bytes, int, int, int, int, int], bytes] | None:
        head = _HEAD.unpack(self.read(mba, 1)[: _HEAD.size])
        magic, sequence, length, checksum, previous, own = head
        blank = _HEAD.pack(magic, sequence, length, checksum, previous, 0)
        if magic != _MAGIC or zlib.crc32(blank) != own or not self.continues(sequence, previous):
            return None
        count = -(-(_HEAD.size + length) // BLOCK)
        if mba + count > self.drive.geometry.blocks:
            return None
        body = self.read(mba, count)[_HEAD.size : _HEAD.size + length]
        return (head, body) if self.body_is_right(body, checksum) else None

    def read(self, mba: int, count: int) -> bytes:
        out = bytearray(count * BLOCK)
        self.drive.read(mba, count, out)
        return bytes(out)


class Unsynced(ToyStore):
    """A flush that does nothing."""

    def flush(self) -> None:
        pass


class Unchecked(ToyStore):
    """Takes a record by its head alone."""

    def body_is_right(self, body: bytes, checksum: int) -> bool:
        return True


class Unchained(ToyStore):
    """Takes any record of the right number, also one that a former crash left behind the end."""

    def continues(self, sequence: int, previous: int) -> bool:
        return sequence == self.sequence + 1


class Jumping(ToyStore):
    """Looks behind a record that is not right for others."""

    def continues(self, sequence: int, previous: int) -> bool:
        return sequence > self.sequence

    def recover(self) -> None:
        end = 0
        while self.end < self.drive.geometry.blocks:
            for op in self.records():
                end = self.end
                with suppress(KeyError):
                    self.redo(op)
            self.end += 1
        self.end = end


class Halving(ToyStore):
    """Journals a write in two halves."""

    def journal(self, op: Op) -> None:
        if isinstance(op, Write) and len(op.data) > BLOCK:
            self.append(Write(op.number, op.offset, op.data[:BLOCK]))
            self.append(Write(op.number, op.offset + BLOCK, op.data[BLOCK:]))
        else:
            self.append(op)


class Forgetting(ToyStore):
    """Does not journal trims."""

    def journal(self, op: Op) -> None:
        if not isinstance(op, Trim):
            self.append(op)


class Tidying(ToyStore):
    """Writes its journal anew when it is opened, over itself."""

    def recover(self) -> None:
        ops = list(self.records())
        self.sequence = self.previous = self.end = 0
        for op in ops:
            self.append(op)
            self.redo(op)
            self.previous ^= 1  # what lies there is a journal of another life


class Zeroing(ToyStore):
    """Right too: clears what lies behind the end when it is opened."""

    def recover(self) -> None:
        super().recover()
        rest = self.drive.geometry.blocks - self.end
        if any(self.read(self.end, rest)):
            self.drive.overwrite(self.end, bytes(rest * BLOCK))
            self.drive.sync()
