"""Puts the parts together behind the `BlockStore` protocol."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from threading import RLock
from typing import Any, ClassVar

from seqstore.testing.bugs.plain.blockmap import BlockMap
from seqstore.testing.bugs.plain.buffers import Cache, Leases, Pool, WriteBuffer
from seqstore.testing.bugs.plain.checkpoint import Checkpoint
from seqstore.testing.bugs.plain.cleaner import Cleaner
from seqstore.testing.bugs.plain.geometry import BLOCK_BYTES, NODE_BLOCKS, SEGMENT_BLOCKS, SLOTS
from seqstore.testing.bugs.plain.log import Entry, Log
from seqstore.testing.bugs.plain.medium import Medium
from seqstore.testing.bugs.plain.purge import Purger
from seqstore.testing.bugs.plain.reading import Reader
from seqstore.testing.bugs.plain.record import Codec, Kind
from seqstore.testing.bugs.plain.recovery import Recovery
from seqstore.testing.bugs.plain.state import State, View


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The classes that a store is made of."""

    state: type[State] = State
    map: type[BlockMap] = BlockMap
    codec: type[Codec] = Codec
    log: type[Log] = Log
    buffer: type[WriteBuffer] = WriteBuffer
    leases: type[Leases] = Leases
    cache: type[Cache] = Cache
    pool: type[Pool] = Pool
    reader: type[Reader] = Reader
    cleaner: type[Cleaner] = Cleaner
    checkpoint: type[Checkpoint] = Checkpoint
    recovery: type[Recovery] = Recovery
    purger: type[Purger] = Purger

    def with_part(self, part: type) -> Parts:
        """Return the same parts, but for the one that the given class is a kind of."""
        name = next(each.name for each in fields(self) if issubclass(part, getattr(self, each.name)))
        return replace(self, **{name: part})


class PlainStore:
    """The block store; volumes and snapshots are named by numbers that are never given twice.

    Parameters
    ----------
    parts : Parts, optional
        What to make it of, if not of the parts of the class.
    """

    parts: ClassVar[Parts] = Parts()
    block_size = BLOCK_BYTES
    # Distances in blocks at which something changes: segment, map node, once round the medium.
    boundaries = (SEGMENT_BLOCKS, NODE_BLOCKS, SLOTS)

    def __init__(self, parts: Parts | None = None) -> None:
        self._parts = parts or self.parts
        self._lock = RLock()
        self.medium = Medium()
        self._open()

    def _open(self) -> None:
        """Make everything that does not outlive a crash, and read the medium."""
        parts = self._parts
        self.state = parts.state(parts.map)
        self.codec = parts.codec(self)
        self.log = parts.log(self)
        self.buffer = parts.buffer(self)
        self.leases = parts.leases(self)
        self.cache = parts.cache(self)
        self.pool = parts.pool()
        self.reader = parts.reader(self)
        self.cleaner = parts.cleaner(self)
        self.checkpoint = parts.checkpoint(self)
        self.recovery = parts.recovery(self)
        self.purger = parts.purger(self)
        self.recovery.mount()

    # Data.

    def write(self, volume: int, lba: int, data: bytes) -> None:
        """Write whole blocks."""
        with self._lock:
            view = self.state.volume(volume)
            check_range(view, lba, len(data) // BLOCK_BYTES)
            if len(data) % BLOCK_BYTES:
                raise ValueError(f"{len(data)} bytes are no whole blocks of {BLOCK_BYTES}")
            self.put(view, lba, data)

    def put(self, view: View, lba: int, data: bytes) -> None:
        """Take over blocks, if there is room for them."""
        blocks = [data[start : start + BLOCK_BYTES] for start in range(0, len(data), BLOCK_BYTES)]
        self.cleaner.make_room(len(blocks) + len(self.buffer.blocks))
        self.buffer.put(view.layer, lba, blocks)

    def read(self, volume: int, lba: int, count: int) -> bytes:
        """Return whole blocks, zeros for those that are unwritten."""
        with self._lock:
            view = self.state.volume(volume)
            check_range(view, lba, count)
            return self.reader.read(view.layer, lba, count)

    def write_bytes(self, volume: int, offset: int, data: bytes) -> None:
        """Write bytes anywhere."""
        with self._lock:
            view = self.state.volume(volume)
            check_bytes(view, offset, len(data))
            lba, blocks = self.reader.patch(view.layer, offset, data)
            self.put(view, lba, blocks)

    def read_bytes(self, volume: int, offset: int, length: int) -> bytes:
        """Return bytes from anywhere."""
        with self._lock:
            view = self.state.volume(volume)
            check_bytes(view, offset, length)
            return self.reader.cut(view.layer, offset, length)

    def trim(self, volume: int, lba: int, count: int) -> None:
        """Make blocks unwritten."""
        with self._lock:
            view = self.state.volume(volume)
            check_range(view, lba, count)
            self.note("trim", volume=volume, lba=lba, count=count)
            self.leases.revoke(view.layer, lba, count)

    # Volumes, snapshots, tenants.

    def create_volume(self, tenant: str, blocks: int) -> int:
        """Make an empty volume."""
        check_size(blocks)
        with self._lock:
            volume, layer = self.state.new_number(), self.state.new_layer()
            self.note("create", volume=volume, layer=layer, tenant=tenant, blocks=blocks)
            return volume

    def delete_volume(self, volume: int) -> None:
        """Delete a volume; its snapshots and their clones stay."""
        with self._lock:
            self.state.volume(volume)
            self.note("delete", volume=volume)

    def resize(self, volume: int, blocks: int) -> None:
        """Make a volume longer or shorter."""
        check_size(blocks)
        with self._lock:
            view = self.state.volume(volume)
            cut_off = max(0, view.blocks - blocks)
            self.note("resize", volume=volume, blocks=blocks)
            self.leases.revoke(view.layer, blocks, cut_off)

    def snapshot(self, volume: int) -> int:
        """Keep a volume as it is now."""
        with self._lock:
            self.state.volume(volume)
            snapshot, layer = self.state.new_number(), self.state.new_layer()
            self.note("snapshot", volume=volume, snapshot=snapshot, layer=layer)
            return snapshot

    def clone(self, snapshot: int, tenant: str) -> int:
        """Make a volume that begins as a snapshot is."""
        with self._lock:
            self.state.snapshot_of(snapshot)
            volume, layer = self.state.new_number(), self.state.new_layer()
            self.note("clone", snapshot=snapshot, volume=volume, layer=layer, tenant=tenant)
            return volume

    def delete_snapshot(self, snapshot: int) -> None:
        """Delete a snapshot; its clones stay."""
        with self._lock:
            self.state.snapshot_of(snapshot)
            self.note("delete_snapshot", snapshot=snapshot)

    def delete_tenant(self, tenant: str) -> None:
        """Delete all volumes and snapshots of a tenant."""
        with self._lock:
            self.note("delete_tenant", tenant=tenant)

    def note(self, do: str, **fields: Any) -> None:
        """Change the state, and say so in the log, or by a checkpoint if the log has no room."""
        self.before_note(do)
        note = {"do": do, **fields}
        self.state.apply(note)
        text = json.dumps(note).encode()
        if self.is_loggable(do) and len(text) <= BLOCK_BYTES and self.log.room() >= 1:
            self.log.append([Entry(Kind.NOTE, 0, 0, text)])
        else:
            self.checkpoint.save()

    def before_note(self, do: str) -> None:  # noqa: ARG002
        """Append what waits, so that a note comes after the writes that came before it."""
        self.buffer.drain()

    def is_loggable(self, do: str) -> bool:  # noqa: ARG002
        """Say whether a note may lie in the log."""
        return True

    # The medium.

    def flush(self) -> None:
        """Make everything durable that was acknowledged."""
        with self._lock:
            self.buffer.drain()
            self.medium.sync()

    def clean(self) -> None:
        """Bring dead blocks together."""
        with self._lock:
            self.cleaner.clean_all()

    def crash(self) -> None:
        """Lose the memory, and what the medium had not made durable; open again."""
        with self._lock:
            self.medium.crash()
            self._open()

    def purge(self) -> None:
        """Overwrite everything that nobody shows."""
        with self._lock:
            self.buffer.drain()
            self.purger.run()

    def media(self) -> Iterable[bytes | memoryview]:
        """Return the bytes of the medium as they lie there."""
        with self._lock:
            return [bytes(self.medium.slots), *self.medium.areas]

    def close(self) -> None:
        """Make everything durable."""
        self.flush()


def check_size(blocks: int) -> None:
    """Refuse what is no size."""
    if blocks < 0:
        raise ValueError(f"a volume cannot have {blocks} blocks")


def check_range(view: View, lba: int, count: int) -> None:
    """Refuse what reaches beyond a volume."""
    if lba < 0 or count < 0 or lba + count > view.blocks:
        raise ValueError(f"blocks {lba} to {lba + count} are not all within the volume's {view.blocks}")


def check_bytes(view: View, offset: int, length: int) -> None:
    """Refuse what reaches beyond a volume."""
    end = view.blocks * BLOCK_BYTES
    if offset < 0 or length < 0 or offset + length > end:
        raise ValueError(f"bytes {offset} to {offset + length} are not all within the volume's {end}")
