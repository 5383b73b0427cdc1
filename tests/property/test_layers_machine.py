"""Snapshots, clones, rollbacks and deletions in any order, against dicts that are copied.

What shares blocks in the engine shares them in the model too: a block is one object, and a snapshot is a
copy of the dict that names it. So the model says how many blocks live, who still holds which, and what each
one shows. The same machine runs on a store in memory and on one in a directory, which it closes and opens
again.

A failing run prints the steps that led to it; tests/README.md says how to repeat it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seqstore import AccessError, OutOfSpaceError, Snapshot, Store, Tenant, Volume

BLOCK_SIZE = 512
SEGMENT_BLOCKS = 16
SEGMENTS = 64
CAPACITY = SEGMENTS * SEGMENT_BLOCKS * BLOCK_SIZE
BLOCKS = 1200  # of a volume: its map has three leaves
MOST_VIEWS = 12

PICK = st.integers(0, 2**16 - 1)
# Near each other, so that layers cover each other, and on both sides of the borders of leaves.
PLACES = st.one_of(st.integers(0, 40), st.integers(500, 540), st.integers(1010, 1040), st.just(BLOCKS - 1))
COUNTS = st.one_of(st.integers(1, 20), st.sampled_from([70, 300, BLOCKS]))


@dataclass(frozen=True, eq=False)
class Block:
    """A block as it was written once; everything that shows it names this object."""

    writer: int
    content: bytes


@dataclass
class Twin:
    """What a volume or snapshot must show."""

    view: Volume | Snapshot
    size: int
    blocks: dict[int, Block] = field(default_factory=dict)

    @property
    def whole_blocks(self) -> int:
        """Blocks that the end does not cut."""
        return self.size // BLOCK_SIZE

    def content(self, lba: int) -> bytes:
        """The block's bytes, zeros if it is unwritten."""
        return self.blocks[lba].content if lba in self.blocks else bytes(BLOCK_SIZE)

    def everything(self) -> bytes:
        """All that a read of the whole size gives."""
        return b"".join(self.content(lba) for lba in range(-(-self.size // BLOCK_SIZE)))[: self.size]

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes."""
        position = offset
        while data:
            lba, first = divmod(position, BLOCK_SIZE)
            part, data = data[: BLOCK_SIZE - first], data[BLOCK_SIZE - first :]
            old = self.content(lba)
            self.put(lba, old[:first] + part + old[first + len(part) :])
            position += len(part)

    def put(self, lba: int, content: bytes) -> None:
        """Write a block."""
        self.blocks[lba] = Block(self.view.number, content)

    def trim(self, start: int, end: int) -> None:
        """Forget whole blocks; zero the rest. A range of nothing touches no block, wherever it is."""
        if start == end:
            return
        for lba in range(start // BLOCK_SIZE, -(-end // BLOCK_SIZE)):
            if lba not in self.blocks:
                continue
            first = max(start - lba * BLOCK_SIZE, 0)
            last = min(end - lba * BLOCK_SIZE, BLOCK_SIZE)
            if first == 0 and (last == BLOCK_SIZE or end == self.size):
                del self.blocks[lba]
                continue
            old = self.content(lba)
            self.put(lba, old[:first] + bytes(last - first) + old[last:])


class LayersMachine(RuleBasedStateMachine):
    """Volumes, snapshots and clones of a memory store, in step with their twins."""

    def __init__(self) -> None:
        super().__init__()
        self.twins: list[Twin] = []
        self.version = 0
        self.names = 0
        self.options: dict[str, Any] = {}  # of the store
        self.functions: dict[str, Any] = {}  # of its policy, which an opening has to be given

    @initialize(reserve=st.sampled_from([0.07, 0.5, 0.8]))
    def begin(self, reserve: float) -> None:
        self.start(reserve)

    def start(self, reserve: float) -> None:
        """Make a store with two tenants and a volume."""
        self.store = self.make_store(reserve)
        for name in ("contoso", "fabrikam"):
            self.store.create_tenant(name)
        self.usable = self.store.drives[0].usable_blocks
        self.add_volume(0, 0)

    capacity, segment_blocks = CAPACITY, SEGMENT_BLOCKS

    def make_store(self, reserve: float) -> Store:
        """The store to be tried."""
        return Store.memory(
            self.capacity,
            block_size=BLOCK_SIZE,
            segment_size=self.segment_blocks * BLOCK_SIZE,
            reserve=reserve,
            **self.options,
        )

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()

    # ---- helpers ----------------------------------------------------------------------------

    @property
    def volumes(self) -> list[Twin]:
        return [twin for twin in self.twins if isinstance(twin.view, Volume)]

    @property
    def snapshots(self) -> list[Twin]:
        return [twin for twin in self.twins if isinstance(twin.view, Snapshot)]

    def chosen(self, pick: int) -> tuple[Volume, Twin]:
        """Map any number to a volume."""
        twin = self.volumes[pick % len(self.volumes)]
        assert isinstance(twin.view, Volume)
        return twin.view, twin

    def chosen_snapshot(self, pick: int) -> tuple[Snapshot, Twin]:
        """Map any number to a snapshot."""
        twin = self.snapshots[pick % len(self.snapshots)]
        assert isinstance(twin.view, Snapshot)
        return twin.view, twin

    def tenant(self, pick: int) -> Tenant:
        return self.store.tenants[pick % 2]

    def new_name(self) -> str:
        self.names += 1
        return f"name-{self.names}"

    def new_bytes(self, length: int) -> bytes:
        """Bytes that no other write has, neither in whole blocks nor in parts of one."""
        self.version += 1
        words = np.arange(length // 8 + 1, dtype=np.uint64) + np.uint64(self.version << 32)
        return words.tobytes()[:length]

    def live_blocks(self) -> int:
        """Blocks that somebody shows."""
        return len({id(block) for twin in self.twins for block in twin.blocks.values()})

    def attempt(self, twin: Twin, call: Callable[[], object], change: Callable[[], None]) -> bool:
        """Do it in the store and in the model; it must be refused where the model finds no space."""
        before = dict(twin.blocks)
        change()
        if self.live_blocks() > self.usable:
            with pytest.raises(OutOfSpaceError):
                call()
            twin.blocks = before
            return False
        call()
        return True

    # ---- volumes and snapshots ----------------------------------------------------------------

    @precondition(lambda self: len(self.twins) < MOST_VIEWS)
    @rule(pick=PICK, cut=st.sampled_from([0, 0, 1, 300]))
    def add_volume(self, pick: int, cut: int) -> None:
        size = BLOCKS * BLOCK_SIZE - cut
        self.twins.append(Twin(self.tenant(pick).create_volume(self.new_name(), size), size))

    @precondition(lambda self: self.volumes and len(self.twins) < MOST_VIEWS)
    @rule(pick=PICK)
    def take_snapshot(self, pick: int) -> None:
        volume, twin = self.chosen(pick)
        self.twins.append(Twin(volume.snapshot(self.new_name()), twin.size, dict(twin.blocks)))

    @precondition(lambda self: self.snapshots and len(self.twins) < MOST_VIEWS)
    @rule(pick=PICK, owner=PICK)
    def clone(self, pick: int, owner: int) -> None:
        snapshot, twin = self.chosen_snapshot(pick)
        volume = snapshot.clone(self.new_name(), tenant=self.tenant(owner))
        self.twins.append(Twin(volume, twin.size, dict(twin.blocks)))

    @property
    def rollbacks(self) -> list[tuple[Twin, Twin]]:
        """Every volume with each of its snapshots."""
        return [
            (volume, snapshot)
            for volume in self.volumes
            for snapshot in self.snapshots
            if isinstance(volume.view, Volume) and snapshot.view in volume.view.snapshots
        ]

    @precondition(lambda self: self.rollbacks)
    @rule(pick=PICK)
    def roll_back(self, pick: int) -> None:
        volume, snapshot = self.rollbacks[pick % len(self.rollbacks)]
        assert isinstance(volume.view, Volume)
        assert isinstance(snapshot.view, Snapshot)
        volume.view.rollback(snapshot.view)
        volume.size, volume.blocks = snapshot.size, dict(snapshot.blocks)

    @precondition(lambda self: self.twins)
    @rule(pick=PICK)
    def delete(self, pick: int) -> None:
        twin = self.twins.pop(pick % len(self.twins))
        twin.view.delete()

    @precondition(lambda self: self.snapshots)
    @rule(pick=PICK)
    def leave_snapshot_alone(self, pick: int) -> None:
        """What is no method of a snapshot cannot be done to it through its file either."""
        snapshot, _ = self.chosen_snapshot(pick)
        assert not snapshot.open("rb").writable()

    # ---- blocks -------------------------------------------------------------------------------

    @precondition(lambda self: self.volumes)
    @rule(pick=PICK, lba=PLACES, count=COUNTS)
    def write_run(self, pick: int, lba: int, count: int) -> None:
        volume, twin = self.chosen(pick)
        count = min(count, twin.whole_blocks - lba)
        if count <= 0:
            return
        data = self.new_bytes(count * BLOCK_SIZE)
        rows = np.frombuffer(data, dtype=np.uint8).reshape(count, BLOCK_SIZE)
        self.attempt(
            twin,
            lambda: volume.write_blocks(lba, rows),
            lambda: twin.write(lba * BLOCK_SIZE, data),
        )

    @precondition(lambda self: self.volumes)
    @rule(pick=PICK, places=st.lists(PLACES, min_size=1, max_size=20))
    def write_scattered(self, pick: int, places: list[int]) -> None:
        volume, twin = self.chosen(pick)
        lbas = [lba for lba in places if lba < twin.whole_blocks]
        rows = [self.new_bytes(BLOCK_SIZE) for _ in lbas]
        array = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), BLOCK_SIZE)

        def change() -> None:
            for lba, row in zip(lbas, rows, strict=True):
                twin.put(lba, row)

        self.attempt(twin, lambda: volume.write_blocks(np.array(lbas, dtype=np.uint64), array), change)

    @precondition(lambda self: self.volumes)
    @rule(pick=PICK, lba=PLACES, first=st.integers(0, 511), length=st.integers(1, 3000))
    def write_bytes(self, pick: int, lba: int, first: int, length: int) -> None:
        volume, twin = self.chosen(pick)
        offset = lba * BLOCK_SIZE + first
        data = self.new_bytes(min(length, twin.size - offset)) if offset < twin.size else b""
        if data:
            self.attempt(twin, lambda: volume.write(offset, data), lambda: twin.write(offset, data))

    @precondition(lambda self: self.volumes)
    @rule(pick=PICK, lba=PLACES, count=COUNTS, first=st.sampled_from([0, 0, 0, 1, 200]))
    def trim(self, pick: int, lba: int, count: int, first: int) -> None:
        volume, twin = self.chosen(pick)
        start = min(lba * BLOCK_SIZE + first, twin.size)
        end = min(start + count * BLOCK_SIZE, twin.size)
        self.attempt(twin, lambda: volume.trim(start, end - start), lambda: twin.trim(start, end))

    @precondition(lambda self: self.volumes)
    @rule(pick=PICK, lba=PLACES, first=st.sampled_from([0, 0, 1, 200]))
    def resize(self, pick: int, lba: int, first: int) -> None:
        volume, twin = self.chosen(pick)
        size = max(lba * BLOCK_SIZE + first, 1)
        if self.attempt(twin, lambda: volume.resize(size), lambda: twin.trim(size, max(size, twin.size))):
            twin.size = size

    # ---- after each step ----------------------------------------------------------------------

    @rule(lba=PLACES, count=COUNTS)
    def reach_is_right(self, lba: int, count: int) -> None:
        """Every volume says who holds its blocks of a range."""
        for volume in self.volumes:
            assert isinstance(volume.view, Volume)
            number = volume.view.number
            wanted = {}
            for twin in self.twins:
                inside = [twin.blocks[at] for at in twin.blocks if lba <= at < lba + count]
                held = sum(block.writer == number for block in inside)
                if held and twin is not volume:
                    wanted[twin.view.number] = held
            found = volume.view.reach(lba * BLOCK_SIZE, count * BLOCK_SIZE)
            assert {reach.holder.number: reach.blocks for reach in found} == wanted
            assert [reach.holder.number for reach in found] == sorted(wanted)

    @invariant()
    def everything_agrees(self) -> None:
        if not hasattr(self, "store"):
            return
        self.store.check()
        assert self.store.stats().live_blocks == self.live_blocks()
        for twin in self.twins:
            assert twin.view.size == twin.size
            assert twin.view.read(0, twin.size) == twin.everything()
            extents = twin.view.extents()
            mapped = {int(e["lba"]) + i for e in extents for i in range(int(e["count"]))}
            assert mapped == twin.blocks.keys()


class DurableLayersMachine(LayersMachine):
    """The same in a directory, across closing and opening."""

    def make_store(self, reserve: float) -> Store:
        self.folder = Path(tempfile.mkdtemp())
        return Store.create(
            self.folder / "store",
            capacity=self.capacity,
            block_size=BLOCK_SIZE,
            segment_size=self.segment_blocks * BLOCK_SIZE,
            reserve=reserve,
            preallocate=False,
            **self.options,
        )

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule()
    def checkpoint(self) -> None:
        self.store.checkpoint()

    @rule(read_only=st.booleans())
    def reopen(self, read_only: bool) -> None:
        """What was there is there again, layers and holes included."""
        self.store.close()
        if read_only:
            self.open_store(read_only=True)
            self.everything_agrees()
            for twin in self.volumes:
                with pytest.raises(AccessError):
                    twin.view.delete()
            self.store.close()
        self.open_store(read_only=False)

    def open_store(self, *, read_only: bool) -> None:
        self.store = Store.open(self.folder / "store", read_only=read_only, **self.functions)
        views: dict[int, Volume | Snapshot] = {}
        for tenant in self.store.tenants:
            views |= {volume.number: volume for volume in tenant.volumes}
            views |= {snapshot.number: snapshot for snapshot in tenant.snapshots}
        assert views.keys() == {twin.view.number for twin in self.twins}
        for twin in self.twins:
            twin.view = views[twin.view.number]


# Looking at everything after each step takes its time, and closing and opening more of it.
_EXAMPLES = settings().max_examples
TestLayers = LayersMachine.TestCase
TestLayers.settings = settings(max_examples=max(1, _EXAMPLES // 4))
TestDurableLayers = DurableLayersMachine.TestCase
TestDurableLayers.settings = settings(max_examples=max(1, _EXAMPLES // 10))
