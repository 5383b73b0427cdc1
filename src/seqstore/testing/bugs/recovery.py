"""Bugs in crash, recovery and deletion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from seqstore.testing.bugs.plain.blockmap import BlockMap
from seqstore.testing.bugs.plain.checkpoint import Checkpoint
from seqstore.testing.bugs.plain.geometry import SLOTS
from seqstore.testing.bugs.plain.keyed import KeyedCodec, KeyedPurger, KeyedState, KeyedStore
from seqstore.testing.bugs.plain.purge import Purger
from seqstore.testing.bugs.plain.record import Codec, Kind
from seqstore.testing.bugs.plain.recovery import Found, Recovery
from seqstore.testing.bugs.plain.state import State, View
from seqstore.testing.bugs.plain.store import Parts, PlainStore


class ReplaysAWriteButNotItsTrim(Recovery):
    """Recovery replays writes and passes over trims."""

    def apply(self, note: dict[str, object]) -> None:
        if note["do"] != "trim":
            super().apply(note)


class ReplaysAVolumeButNotItsDeletion(Recovery):
    """Recovery passes over deletions, of volumes and of tenants."""

    def apply(self, note: dict[str, object]) -> None:
        if note["do"] not in {"delete", "delete_tenant"}:
            super().apply(note)


class RestoresInAnotherOrder(Recovery):
    """Recovery replays all notes first, and the blocks after them."""

    def records(self) -> Iterator[Sequence[Found]]:
        return iter(sorted(super().records(), key=lambda record: record[0].header.kind != Kind.NOTE))


class AcceptsATornRecord(Codec):
    """Recovery does not look at checksums."""

    def is_whole(self, fields: list[int], checksum: int, block: bytes) -> bool:  # noqa: ARG002
        return True


class HalfARecordCounts(Recovery):
    """Recovery replays the blocks of a record of which the rest is missing."""

    def records(self) -> Iterator[Sequence[Found]]:
        return ([found] for found in self.until_gap(self.in_order(self.scan())))


class ReadsOnBehindAGap(Recovery):
    """Recovery replays records that lie behind one that was lost."""

    def until_gap(self, slots: Sequence[Found]) -> Iterator[Found]:
        for found in slots:
            self.store.log.sequence = found.header.sequence + 1
            yield found


class RevivesWhatACrashTookBack(Recovery):
    """Recovery goes on behind the end of the log, with slots that an earlier crash had cut off."""

    def records(self) -> Iterator[Sequence[Found]]:
        yield from super().records()
        log = self.store.log
        for slot in range(SLOTS):
            header = self.store.codec.decode(self.store.medium.get(slot))
            if header is not None and header.mount < log.mount and header.sequence >= log.sequence:
                yield [Found(header, slot)]


class CommitsTheMapBeforeTheData(Checkpoint):
    """A checkpoint is durable before the blocks that it points to."""

    def sync(self) -> None:
        pass


class OlderCheckpointWins(Checkpoint):
    """Of the two checkpoints on the medium the older one is taken."""

    def load(self) -> dict[str, Any] | None:
        newest = super().load()
        older = self.decode(self.store.medium.areas[self.area() - 1])
        return older or newest


class FlushForgetsTheWriteBuffer(PlainStore):
    """A flush makes durable what is in the log, and not what still waits in memory."""

    def flush(self) -> None:
        self.medium.sync()


class FlushDoesNotSync(PlainStore):
    """A flush writes what waits to the log, and does not make the log durable."""

    def flush(self) -> None:
        self.buffer.drain()


class KeyKeptInACheckpoint(KeyedStore):
    """The key of a deleted volume is never dropped, and each checkpoint keeps it."""

    class _State(KeyedState):
        def prune(self) -> None:
            keys = self.keys
            super().prune()
            self.keys = keys

        def to_json(self) -> dict[str, Any]:
            return {**super().to_json(), "keys": [[layer, key.hex()] for layer, key in self.keys.items()]}

    parts: ClassVar[Parts] = Parts(state=_State, codec=KeyedCodec, purger=KeyedPurger)


class KeyKeptInTheOlderCheckpoint(KeyedStore):
    """A purge destroys keys by writing one checkpoint without them, and the older one still has them."""

    class _Purger(KeyedPurger):
        def renew_checkpoints(self) -> None:
            self.store.checkpoint.save()

    parts: ClassVar[Parts] = Parts(state=KeyedState, codec=KeyedCodec, purger=_Purger)


class PurgeSkipsASnapshot(State):
    """The blocks of a deleted snapshot count as live for ever."""

    def __init__(self, new_map: type[BlockMap] = BlockMap) -> None:
        super().__init__(new_map)
        self.kept: list[View] = []

    def delete_snapshot(self, snapshot: int) -> None:
        self.kept.append(self.snapshots[snapshot])
        super().delete_snapshot(snapshot)

    def views(self) -> list[View]:
        return [*super().views(), *self.kept]


class PurgeSkipsTheCleanersCopy(Purger):
    """A purge does not overwrite the segments that the cleaner emptied, where its blocks still lie."""

    def wipe_free(self) -> None:
        pass


class PurgeSkipsTheOpenSegment(Purger):
    """A purge leaves what is dead in the segment that the head is in."""

    def close_head(self) -> None:
        pass


class PurgeSkipsLivingVolumes(Purger):
    """A purge overwrites the blocks of deleted volumes, not what a living one trimmed or overwrote."""

    def is_residue(self, slot: int) -> bool:
        header = self.store.codec.decode(self.store.medium.get(slot))
        return super().is_residue(slot) and (header is None or header.layer not in self.store.state.layers)


class PurgeWipesNeighbours(Purger):
    """A purge overwrites segments without moving what is live in them."""

    def rescue(self, segment: int) -> None:
        self.store.log.release(segment)


class DeleteTenantLeavesSnapshots(State):
    """The deletion of a tenant deletes its volumes, and not its snapshots."""

    def delete_tenant(self, tenant: str) -> None:
        snapshots = self.snapshots
        super().delete_tenant(tenant)
        self.snapshots = snapshots


BUGS = (
    ReplaysAWriteButNotItsTrim,
    ReplaysAVolumeButNotItsDeletion,
    RestoresInAnotherOrder,
    AcceptsATornRecord,
    HalfARecordCounts,
    ReadsOnBehindAGap,
    RevivesWhatACrashTookBack,
    CommitsTheMapBeforeTheData,
    OlderCheckpointWins,
    FlushForgetsTheWriteBuffer,
    FlushDoesNotSync,
    KeyKeptInACheckpoint,
    KeyKeptInTheOlderCheckpoint,
    PurgeSkipsASnapshot,
    PurgeSkipsTheCleanersCopy,
    PurgeSkipsTheOpenSegment,
    PurgeSkipsLivingVolumes,
    PurgeWipesNeighbours,
    DeleteTenantLeavesSnapshots,
)
