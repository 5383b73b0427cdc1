"""Rolls a state forward, record by record.

The entries of a request take effect together, when the request has ended: until then they wait, and an
opening of the store makes them void. Entries of the cleaner among them never wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from seqstore.format.checkpoint import FLAG_VOLUME_ERROR, FLAG_VOLUME_SNAPSHOT
from seqstore.format.ledger import BlockState
from seqstore.format.state import Layer, State, VolumeState
from seqstore.format.summary import FLAG_DAMAGED, FLAG_RELOCATED, FLAG_UNWRITTEN_ERROR, Entry, Kind, Summary

_ONES = 0xFFFFFFFF


class _Placed(NamedTuple):
    """An entry, where its block lies, and the log's time right behind it."""

    entry: Entry
    mba: int
    position: int


class Replay:
    """Applies records in their order.

    Parameters
    ----------
    state : State
        What is changed.

    Attributes
    ----------
    records, void_entries : int
        Records applied; entries of unfinished requests that an opening made void.
    last : Summary or None
        The record applied last.
    clean : bool
        Whether the last entry so far ends the checkpoint of a closed store.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._waiting: list[_Placed] = []
        self.records = 0
        self.void_entries = 0
        self.last: Summary | None = None
        self.clean = False

    @property
    def waiting_entries(self) -> int:
        """Entries of a request that has not ended."""
        return len(self._waiting)

    def apply(self, summary: Summary) -> None:
        """Take over what one record says."""
        self._enter(summary)
        self._state.claim(summary.mba, BlockState.SUMMARY)
        entries = summary.entries
        if entries and entries[0].kind is Kind.OPENED:
            self._state.opening = entries[0].lba
            self.void_entries += len(self._waiting)
            self._waiting.clear()
        if summary.ends_request:
            self._settle()
        first_open = len(entries) - summary.open
        position = summary.position + 1
        for number, (entry, mba) in enumerate(summary.placed()):
            position += entry.has_block
            placed = _Placed(entry, mba, position)
            self._claim_block(placed)
            if number >= first_open and entry.of_request:
                self._waiting.append(placed)
            else:
                self._take(placed)
        self._state.position = summary.end_position
        self.records += 1
        self.last = summary
        self.clean = bool(entries) and entries[-1].kind is Kind.CHECKPOINT_END and bool(entries[-1].flags)

    def _settle(self) -> None:
        waiting, self._waiting = self._waiting, []
        for placed in waiting:
            self._take(placed)

    def _enter(self, summary: Summary) -> None:
        """Follow the head of its class to the place of the record."""
        state = self._state
        segment, at = divmod(summary.mba, state.geometry.segment_blocks)
        head = state.write_heads.get(summary.class_id)
        if head is None or (segment, at) != (head.segment, head.blocks):
            head = state.open_next(summary.class_id, segment, summary.mba)
        if at != head.blocks:
            state.report(
                summary.mba,
                f"record {summary.sequence} begins at block {at} of its segment; "
                f"the head was at block {head.blocks}",
            )
        if summary.position != state.position:
            state.report(
                summary.mba,
                f"record {summary.sequence} is at position {summary.position}; {state.position} is expected",
            )
        head.blocks = at + 1 + summary.blocks
        state.position = summary.position

    def _claim_block(self, placed: _Placed) -> None:
        """Note the block of an entry as dead; it comes to life when the entry takes effect."""
        if placed.entry.has_block:
            layer = self._state.by_number.get(placed.entry.volume)
            index = layer.index if layer is not None else 0
            self._state.claim(placed.mba, BlockState.DEAD, index, placed.position - 1)

    def _take(self, placed: _Placed) -> None:
        effect = _EFFECTS.get(placed.entry.kind)
        if effect is not None:
            fault = effect(self, placed)
            if fault is not None:
                self._state.report(placed.mba, f"{placed.entry.kind.name}: {fault}")

    def _data(self, placed: _Placed) -> str | None:
        state, (entry, mba, position) = self._state, placed
        layer = state.by_number.get(entry.volume)
        if layer is None or layer.dropped:
            return f"layer {entry.volume} is not there"
        if entry.flags & FLAG_RELOCATED:
            if entry.lba not in layer.blocks:
                return f"layer {layer.number}, lba {entry.lba} was moved and is not there"
            # The content of a block that was damaged before must never pass for right.
            checksum = entry.value ^ (_ONES if entry.flags & FLAG_DAMAGED else 0)
            state.move(layer, entry.lba, mba, checksum, position)
            return None
        fault = self._fault_of_range(entry.volume, entry.lba, 1)
        if fault is not None:
            return fault
        state.write(layer, entry.lba, mba, entry.value, position)
        return None

    def _trim(self, placed: _Placed) -> str | None:
        entry = placed.entry
        fault = self._fault_of_range(entry.volume, entry.lba, entry.value)
        if fault is None:
            layer = self._state.by_number[entry.volume]
            self._state.trim(layer, entry.lba, entry.lba + entry.value, placed.position)
        return fault

    def _delete(self, placed: _Placed) -> str | None:
        volume = self._state.volumes.get(placed.entry.volume)
        if volume is None:
            return f"volume {placed.entry.volume} is not there"
        self._state.remove_volume(volume, placed.position)
        return None

    def _create(self, placed: _Placed) -> str | None:
        entry = placed.entry
        if entry.volume <= self._state.last_number:
            return f"number {entry.volume} was given before"
        head = self._state.add_layer(entry.volume, entry.value, entry.volume, None)
        self._add(entry, head, size_bytes=entry.lba, tenant=entry.value, origin=0)
        return None

    def _resize(self, placed: _Placed) -> str | None:
        state, entry = self._state, placed.entry
        volume = self._volume(entry.volume)
        if volume is None:
            return f"volume {entry.volume} is not there"
        old, new = state.blocks_of(volume.size_bytes), state.blocks_of(entry.lba)
        if new < old:
            state.trim(volume.head, new, old, placed.position)
        volume.size_bytes = entry.lba
        return None

    def _snapshot(self, placed: _Placed) -> str | None:
        state, entry = self._state, placed.entry
        volume = self._volume(entry.volume)
        if volume is None or entry.lba <= state.last_number:
            return f"of volume {entry.volume} with number {entry.lba}: no such volume, or a number in use"
        frozen = volume.head
        state.look_through(volume, state.add_layer(entry.lba, volume.tenant, volume.number, frozen))
        state.add_volume(
            VolumeState(
                number=entry.lba,
                tenant=volume.tenant,
                size_bytes=volume.size_bytes,
                head=frozen,
                origin=volume.number,
                flags=volume.flags | FLAG_VOLUME_SNAPSHOT,
            )
        )
        return None

    def _clone(self, placed: _Placed) -> str | None:
        state, entry = self._state, placed.entry
        snapshot = state.volumes.get(entry.lba)
        if snapshot is None or not snapshot.is_snapshot or entry.volume <= state.last_number:
            return f"of snapshot {entry.lba} with number {entry.volume}: no snapshot, or a number in use"
        head = state.add_layer(entry.volume, entry.value, entry.volume, snapshot.head)
        self._add(entry, head, size_bytes=snapshot.size_bytes, tenant=entry.value, origin=snapshot.number)
        return None

    def _rollback(self, placed: _Placed) -> str | None:
        state, entry = self._state, placed.entry
        volume, snapshot = self._volume(entry.volume), state.volumes.get(entry.value)
        if volume is None or snapshot is None or not snapshot.is_snapshot:
            return f"of volume {entry.volume} to snapshot {entry.value}: one of them is not there"
        if entry.lba <= state.last_number:
            return f"number {entry.lba} was given before"
        dropped = volume.head
        head = state.add_layer(entry.lba, volume.tenant, volume.number, snapshot.head)
        state.look_through(volume, head)
        state.let_go(dropped, placed.position)
        volume.size_bytes = snapshot.size_bytes
        return None

    def _pad(self, placed: _Placed) -> str | None:
        self._state.claim(placed.mba, BlockState.FREE)
        return None

    def _checkpoint(self, placed: _Placed) -> str | None:
        self._state.claim(placed.mba, BlockState.SUMMARY)
        return None

    def _freed(self, placed: _Placed) -> str | None:
        state, segment = self._state, placed.entry.lba
        if segment not in state.sealed:
            return f"segment {segment} is not a sealed one"
        if not state.is_empty(segment):
            return f"segment {segment} holds live blocks"
        state.retire(segment, placed.position)
        return None

    def _volume(self, number: int) -> VolumeState | None:
        volume = self._state.volumes.get(number)
        return None if volume is None or volume.is_snapshot else volume

    def _fault_of_range(self, layer: int, lba: int, count: int) -> str | None:
        """Say why blocks of a layer cannot change."""
        volume = self._state.heads.get(layer)
        if volume is None or volume.is_snapshot:
            return f"layer {layer} is no volume's head"
        blocks = self._state.blocks_of(volume.size_bytes)
        if lba + count > blocks:
            return f"lba {lba + count - 1} of volume {volume.number}, which has {blocks} blocks"
        return None

    def _add(self, entry: Entry, head: Layer, *, size_bytes: int, tenant: int, origin: int) -> None:
        flags = FLAG_VOLUME_ERROR if entry.flags & FLAG_UNWRITTEN_ERROR else 0
        self._state.add_volume(
            VolumeState(
                number=entry.volume,
                tenant=tenant,
                size_bytes=size_bytes,
                head=head,
                origin=origin,
                flags=flags,
            )
        )


# What OPENED makes void is dealt with where records begin; the end of a checkpoint changes nothing.
_EFFECTS: dict[Kind, Callable[[Replay, _Placed], str | None]] = {
    Kind.DATA: Replay._data,
    Kind.TRIM: Replay._trim,
    Kind.DELETE: Replay._delete,
    Kind.CREATE: Replay._create,
    Kind.RESIZE: Replay._resize,
    Kind.SNAPSHOT: Replay._snapshot,
    Kind.CLONE: Replay._clone,
    Kind.ROLLBACK: Replay._rollback,
    Kind.CHECKPOINT: Replay._checkpoint,
    Kind.PAD: Replay._pad,
    Kind.FREED: Replay._freed,
}
