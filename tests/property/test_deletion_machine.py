"""Deletion with a bound, under any sequence of operations: nothing lies longer than was promised.

The machine keeps a record of its own of what it sees on the medium: each block that bears a canary and is not
where the ledger has something live is residue from the step on in which it is first seen so. Whatever the
ledger says of its age, it has to be gone when the strictest strategy that applied has it. After a purge a
search of the raw medium finds nothing that was deleted, and nothing moved, of whoever was purged.

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
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from seqstore import BlockState, OutOfSpaceError, Snapshot, Store, TagsMedium, Tenant, Volume
from seqstore._native.records import Scope
from seqstore.clock import ManualClock
from seqstore.deletion import Deadline, Lap, Now, Strategy
from seqstore.errors import BoundError
from tests.blocks import CELL_BYTES, find_cells, make_blocks
from tests.durable import crash
from tests.property.test_policies_machine import CLASSES, POLICIES, SEED, name_of, options_of

BLOCK_SIZE = 512
SEGMENT_BLOCKS = 32
CAPACITY = 64 * SEGMENT_BLOCKS * BLOCK_SIZE
BLOCKS = 500  # of a volume
MOST_VIEWS = 6

PICK = st.integers(0, 2**16 - 1)
Owner = tuple[Scope, int]
# What a block bears: tenant, volume, and lba with version or, where no bytes are kept, the lba alone.
Canary = tuple[int, int, int, int]
SHARES = (0.0, 0.01, 0.3, 1.0)
SECONDS = 100.0


@dataclass
class Twin:
    """What a volume or snapshot shows: versions by lba, of whoever wrote them."""

    view: Volume | Snapshot
    blocks: dict[int, Canary] = field(default_factory=dict)


@dataclass
class Sighting:
    """Residue, as it was first seen: the log's time and the clock's, and by when it has to be gone."""

    canary: Canary
    position: int
    seconds: float
    due: float
    due_seconds: float


class DeletionMachine(RuleBasedStateMachine):
    """A drive in memory."""

    policies = st.sampled_from([("fifo", "single"), ("greedy", "single"), *POLICIES])

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.version = 0
        self.twins: list[Twin] = []
        self.ended: set[int] = set()
        self.strategies: dict[Owner, Strategy] = {}
        self.sightings: dict[int, Sighting] = {}
        self.purged: Owner | None = None

    @initialize(data=st.data(), classes=CLASSES, seed=SEED)
    def begin(self, data: st.DataObject, classes: int, seed: int) -> None:
        self.options = options_of(data.draw(self.policies, label="policy"), classes, seed)
        self.store = self.make_store()
        self.smallest = self.store._eraser.core.smallest_bound()
        for name in ("contoso", "fabrikam"):
            self.add(self.store.create_tenant(name))
        self.write(0, 0, 300, scattered=False)

    def make_store(self) -> Store:
        sizes: dict[str, Any] = {"block_size": BLOCK_SIZE, "segment_size": SEGMENT_BLOCKS * BLOCK_SIZE}
        return Store.memory(CAPACITY, clock=self.clock, **sizes, **self.options)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()

    # ---- helpers ----------------------------------------------------------------------------

    @property
    def volumes(self) -> list[Twin]:
        return [twin for twin in self.twins if isinstance(twin.view, Volume)]

    def add(self, tenant: Tenant) -> None:
        self.version += 1
        volume = tenant.create_volume(f"v{self.version}", BLOCKS * BLOCK_SIZE)
        self.twins.append(Twin(volume))

    def drop(self, gone: Callable[[Twin], bool]) -> None:
        for twin in [twin for twin in self.twins if gone(twin)]:
            self.twins.remove(twin)
            self.ended.add(twin.view.number)

    def rows(self, canaries: list[Canary]) -> Any:
        """Make the blocks that bear canaries."""
        table = np.array(canaries, np.uint64)
        rows = np.empty((len(canaries), BLOCK_SIZE), np.uint8)
        for tenant, volume in {canary[:2] for canary in canaries}:
            of = (table[:, 0] == tenant) & (table[:, 1] == volume)
            rows[of] = make_blocks(tenant, volume, table[of, 2], table[of, 3], BLOCK_SIZE)
        return rows

    def new(self, volume: Volume | Snapshot, lba: int) -> Canary:
        self.version += 1
        return volume.tenant.number, volume.number, lba, self.version

    def reading(self, twin: Twin, lbas: list[int]) -> None:
        """What is written reads as it was written."""
        found = twin.view.read_blocks(np.array(lbas, np.uint64))
        assert (found == self.rows([twin.blocks[lba] for lba in lbas])).all()

    def seen(self) -> dict[int, Canary]:
        """Search the raw medium: the canary that each block bears."""
        drive = self.store.drives[0]
        cells = find_cells(drive.raw(0, drive.blocks), BLOCK_SIZE)
        cells = cells[:: BLOCK_SIZE // CELL_BYTES]
        names = ("block", "tenant", "volume", "lba", "version")
        return {row[0]: row[1:] for row in zip(*(cells[name].tolist() for name in names), strict=True)}

    def promised(self, canary: Canary) -> tuple[float, float]:
        """Return the bounds in blocks and in seconds that apply to a canary's block."""
        owners = [(Scope.ALL, 0), (Scope.TENANT, canary[0])]
        if canary[1] not in self.ended:
            owners.append((Scope.VOLUME, canary[1]))
        blocks = seconds = float("inf")
        for strategy in (self.strategies[owner] for owner in owners if owner in self.strategies):
            if isinstance(strategy, Now):
                blocks = min(blocks, self.smallest)
            elif isinstance(strategy, Deadline):
                lap = self.store.drives[0].blocks
                blocks = min(blocks, strategy.writes or (strategy.laps or float("inf")) * lap + 0.5)
                seconds = min(seconds, strategy.seconds or float("inf"))
        return blocks, seconds

    def owner(self, pick: int) -> tuple[Owner, Tenant | Volume | None]:
        volume = self.volumes[pick % len(self.volumes)].view
        assert isinstance(volume, Volume)
        owners: list[tuple[Owner, Tenant | Volume | None]] = [
            ((Scope.ALL, 0), None),
            ((Scope.TENANT, volume.tenant.number), volume.tenant),
            ((Scope.VOLUME, volume.number), volume),
        ]
        return owners[pick // 7 % 3]

    # ---- writing and deleting ---------------------------------------------------------------

    @rule(
        pick=PICK, start=st.integers(0, BLOCKS - 1), count=st.sampled_from([1, 5, 40, 300]),
        scattered=st.booleans(),
    )  # fmt: skip
    def write(self, pick: int, start: int, count: int, scattered: bool) -> None:
        twin = self.volumes[pick % len(self.volumes)]
        if scattered:
            lbas = np.random.default_rng(start).integers(0, BLOCKS, count).tolist()
        else:
            lbas = list(range(start, min(start + count, BLOCKS)))
        canaries = [self.new(twin.view, lba) for lba in lbas]
        assert isinstance(twin.view, Volume)
        try:
            twin.view.write_blocks(np.array(lbas, np.uint64), self.rows(canaries))
        except OutOfSpaceError:
            live = self.store.stats().live_blocks
            assert live + len(set(lbas)) > self.store.drives[0].usable_blocks - 8 * SEGMENT_BLOCKS
            return
        twin.blocks.update(zip(lbas, canaries, strict=True))

    @rule(pick=PICK, seed=PICK, rounds=st.integers(1, 12))
    def churn(self, pick: int, seed: int, rounds: int) -> None:
        """Overwrite what is written, looking in between."""
        twin = self.volumes[pick % len(self.volumes)]
        for turn in range(rounds):
            known = sorted(twin.blocks)
            if known:
                place = known[(seed + 37 * turn) % len(known)]
                self.write(pick, place, 1 + seed % 60, scattered=seed % 2 == 0)
                self.nothing_is_late()

    @rule(pick=PICK, start=st.integers(0, BLOCKS - 1), count=st.sampled_from([1, 30, 200, BLOCKS]))
    def trim(self, pick: int, start: int, count: int) -> None:
        twin = self.volumes[pick % len(self.volumes)]
        count = min(count, BLOCKS - start)
        assert isinstance(twin.view, Volume)
        twin.view.trim(start * BLOCK_SIZE, count * BLOCK_SIZE)
        for lba in range(start, start + count):
            twin.blocks.pop(lba, None)

    @rule(pick=PICK, blocks=st.integers(1, BLOCKS))
    def shrink_and_grow(self, pick: int, blocks: int) -> None:
        twin = self.volumes[pick % len(self.volumes)]
        assert isinstance(twin.view, Volume)
        twin.view.resize(blocks * BLOCK_SIZE)
        twin.view.resize(BLOCKS * BLOCK_SIZE)
        twin.blocks = {lba: canary for lba, canary in twin.blocks.items() if lba < blocks}

    @precondition(lambda self: len(self.twins) < MOST_VIEWS)
    @rule(pick=PICK, again=st.booleans())
    def snapshot(self, pick: int, again: bool) -> None:
        twin = self.twins[pick % len(self.twins)]
        self.version += 1
        if isinstance(twin.view, Snapshot):
            self.twins.append(Twin(twin.view.clone(f"c{self.version}"), dict(twin.blocks)))
        else:
            self.twins.append(Twin(twin.view.snapshot(f"s{self.version}"), dict(twin.blocks)))
        if again:
            self.add(twin.view.tenant)

    @precondition(lambda self: len(self.volumes) > 1)
    @rule(pick=PICK)
    def delete(self, pick: int) -> None:
        twin = self.twins[pick % len(self.twins)]
        if len(self.volumes) == 1 and twin is self.volumes[0]:
            return
        twin.view.delete()
        self.nothing_is_late()  # under what was promised for it
        self.drop(lambda other: other is twin)

    @precondition(lambda self: len({twin.view.tenant for twin in self.volumes}) > 1)
    @rule(pick=PICK)
    def delete_tenant(self, pick: int) -> None:
        tenant = self.volumes[pick % len(self.volumes)].view.tenant
        tenant.delete()
        self.nothing_is_late()
        self.drop(lambda twin: twin.view.tenant is tenant)
        self.version += 1
        self.add(self.store.create_tenant(f"t{self.version}"))

    # ---- strategies -------------------------------------------------------------------------

    @rule(pick=PICK, share=st.sampled_from(SHARES), kind=st.sampled_from(["laps", "writes", "seconds"]))
    def set_deadline(self, pick: int, share: float, kind: str) -> None:
        lap = self.store.drives[0].blocks
        writes = self.smallest + round(share * lap)
        strategies = {
            "laps": Deadline(laps=(writes + 1) / lap),
            "writes": Deadline(writes=writes),
            "seconds": Deadline(seconds=SECONDS * (1 + share)),
        }
        self.set_strategy(pick, strategies[kind])

    @rule(pick=PICK, strategy=st.sampled_from([Lap(), Now()]))
    def set_strategy(self, pick: int, strategy: Strategy) -> None:
        owner, subject = self.owner(pick)
        self.store.set_deletion(strategy, subject)
        self.strategies[owner] = strategy
        # What lies there already gets the time of the smallest bound at least.
        position, now = self.store.stats().position, self.clock.now_ns() / 1e9
        for sighting in self.sightings.values():
            blocks, seconds = self.promised(sighting.canary)
            sighting.due = min(sighting.due, position + max(blocks, self.smallest))
            sighting.due_seconds = min(sighting.due_seconds, now + seconds)

    @rule(pick=PICK)
    def refuse_what_cannot_be_kept(self, pick: int) -> None:
        before = self.store.deletion
        with pytest.raises(BoundError) as caught:
            self.store.set_deletion(Deadline(writes=self.smallest - 1), self.owner(pick)[1])
        assert caught.value.smallest == self.smallest
        assert self.store.deletion == before

    # ---- purges and time --------------------------------------------------------------------

    @rule(pick=PICK)
    def purge(self, pick: int) -> None:
        owner, subject = self.owner(pick)
        done = self.store.purge(subject)
        assert self.store._eraser.residue(*owner).residue_blocks == 0
        assert done.verified_blocks == 0 or done.segments > 0
        self.purged = owner

    @rule(seconds=st.sampled_from([1.0, SECONDS / 3, 3 * SECONDS]))
    def idle(self, seconds: float) -> None:
        self.store.idle(seconds)

    # ---- after each step --------------------------------------------------------------------

    @invariant()
    def nothing_is_late(self) -> None:
        if not hasattr(self, "store"):
            return
        ledger, position = self.store.drives[0].ledger(), self.store.stats().position
        now = self.clock.now_ns() / 1e9
        live = set(np.flatnonzero(ledger["state"] == BlockState.LIVE).tolist())
        residue = {mba: canary for mba, canary in self.seen().items() if mba not in live}
        self.sightings = {
            mba: sighting for mba, sighting in self.sightings.items() if residue.get(mba) == sighting.canary
        }
        for mba, canary in residue.items():
            if mba in self.sightings:
                continue
            blocks, seconds = self.promised(canary)
            self.sightings[mba] = Sighting(canary, position, now, position + blocks, now + seconds)
        # First, so that one is not taken for another that has gone.
        self.ledger_agrees(ledger, position, residue)
        for mba, sighting in self.sightings.items():
            assert position <= sighting.due, f"mba {mba}: {sighting} at {position}"
            assert now <= sighting.due_seconds, f"mba {mba}: {sighting} at {now} s"
        self.nothing_is_left(residue)

    def ledger_agrees(self, ledger: Any, position: int, residue: dict[int, Canary]) -> None:
        """The ledger has the same residue, and no age beyond the bounds."""
        states = (BlockState.DEAD, BlockState.MOVED)
        said = np.flatnonzero(np.isin(ledger["state"], states) & (ledger["volume"] != 0))
        assert set(said.tolist()) == residue.keys()
        for mba, (tenant, volume, *_) in residue.items():
            row = ledger[mba]
            assert (int(row["tenant"]), int(row["volume"])) == (tenant, volume), f"mba {mba}: {row}"
            # The sighting was at the end of the step, the death in it.
            if int(row["died"]) > self.sightings[mba].position:
                self.is_another(mba)

    def is_another(self, mba: int) -> None:
        raise AssertionError(f"mba {mba}: {self.sightings[mba]} died later by the ledger")

    def nothing_is_left(self, residue: dict[int, Canary]) -> None:
        """Nothing of what was purged is on the medium, but where it lives."""
        if self.purged is None:
            return
        scope, number = self.purged
        self.purged = None
        for mba, (tenant, volume, *_) in residue.items():
            of = {Scope.ALL: number, Scope.TENANT: tenant, Scope.VOLUME: volume}[scope]
            assert of != number, f"mba {mba}: left of {scope} {number}"

    @invariant()
    def everything_is_right(self) -> None:
        if not hasattr(self, "store"):
            return
        self.store.check()
        for twin in self.twins:
            assert twin.view.mapped_blocks >= 0
            if twin.blocks:
                self.reading(twin, sorted(twin.blocks))


class SimulatedDeletionMachine(DeletionMachine):
    """A drive that keeps no bytes: the tags are what is seen."""

    def make_store(self) -> Store:
        sizes: dict[str, Any] = {"block_size": BLOCK_SIZE, "segment_size": SEGMENT_BLOCKS * BLOCK_SIZE}
        return Store.simulated(CAPACITY, clock=self.clock, **sizes, **self.options)

    def rows(self, canaries: list[Canary]) -> Any:
        return None

    def is_another(self, mba: int) -> None:
        """Tags have no version: within one step the same address may have come back to the same place."""
        del self.sightings[mba]

    def reading(self, twin: Twin, lbas: list[int]) -> None:
        pass

    def seen(self) -> dict[int, Canary]:
        medium = self.store.drives[0].medium
        assert isinstance(medium, TagsMedium)
        tags, ledger = medium.read_tags(0, medium.blocks), self.store.drives[0].ledger()
        columns = (ledger["tenant"], ledger["volume"], tags["lba"], tags["volume"])
        rows = enumerate(zip(*(column.tolist() for column in columns), strict=True))
        return {mba: row for mba, row in rows if row[1] != 0 and row[3] != 0}


class DurableDeletionMachine(DeletionMachine):
    """A drive in a file, which is closed and opened again, as after a crash too."""

    def make_store(self) -> Store:
        self.folder = tempfile.mkdtemp()
        self.path = Path(self.folder) / "lab.store"
        sizes: dict[str, Any] = {"block_size": BLOCK_SIZE, "segment_size": SEGMENT_BLOCKS * BLOCK_SIZE}
        return Store.create(self.path, CAPACITY, clock=self.clock, preallocate=False, **sizes, **self.options)

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule()
    def checkpoint(self) -> None:
        self.store.checkpoint()

    @rule(as_crash=st.booleans())
    def reopen(self, as_crash: bool) -> None:
        """What was flushed is there again, and so is what was promised."""
        if as_crash:
            self.store.flush()
            crash(self.store)
        else:
            self.store.close()
        kinds = ("selection", "placement")
        functions = {kind: self.options[kind] for kind in kinds if callable(self.options[kind])}
        self.store = Store.open(self.path, clock=self.clock, **functions)
        for twin in self.twins:
            tenant = self.store.tenant(twin.view.tenant.name)
            if isinstance(twin.view, Volume):
                twin.view = tenant.volume(twin.view.name)
            else:
                (twin.view,) = [each for each in tenant.snapshots if each.number == twin.view.number]


_EXAMPLES = settings().max_examples
_SHARES = {DeletionMachine: 10, SimulatedDeletionMachine: 10, DurableDeletionMachine: 15}


def examples(machine: type[DeletionMachine], among: int = 1) -> settings:
    return settings(max_examples=max(1, _EXAMPLES // _SHARES[machine] // among))


@pytest.mark.parametrize("machine", _SHARES, ids=lambda machine: machine.__name__)
def test_nothing_lies_longer_than_was_promised(machine: type[DeletionMachine]) -> None:
    run_state_machine_as_test(machine, settings=examples(machine))


@pytest.mark.soak
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: "-".join(map(name_of, policy)))
@pytest.mark.parametrize("machine", _SHARES, ids=lambda machine: machine.__name__)
def test_under_each_policy(machine: type[DeletionMachine], policy: tuple[Any, Any]) -> None:
    only = type(f"Only{machine.__name__}", (machine,), {"policies": st.just(policy)})
    run_state_machine_as_test(only, settings=examples(machine, len(POLICIES)))
