"""I6: no statement says that something is gone while a byte of it lies on the medium.

What was deleted is known here by its bytes: each block that was ever written is different from all others.
After every step a search of the raw medium is compared with the statements of all erasures, whoever kept
blocks of them: snapshots, clones, clones of other tenants, in any order of their ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqstore import Lap, Now, Snapshot, StatementError, Store, Tenant, Volume
from seqstore.deletion import Strategy
from seqstore.statement import Statement
from tests.blocks import make_blocks
from tests.durable import crash
from tests.small import BLOCK_SIZE, CAPACITY, SEGMENT_SIZE

pytestmark = pytest.mark.invariant("I6")

BLOCKS = 24  # of a volume
View = Volume | Snapshot


@dataclass
class World:
    """A store, and for each erasure the blocks that were deleted with it."""

    store: Store
    version: int = 0
    written: dict[int, set[bytes]] = field(default_factory=dict)
    subjects: dict[int, set[bytes]] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)

    def write(self, volume: Volume, first: int, count: int) -> None:
        self.version += 1
        lbas = range(first, min(first + count, volume.blocks))
        rows = make_blocks(volume.tenant.number, volume.number, lbas, self.version, BLOCK_SIZE)
        volume.write_blocks(np.array(lbas, np.uint64), rows)
        self.written.setdefault(volume.number, set()).update(row.tobytes() for row in rows)

    def shown(self, view: View, first: int = 0, count: int = BLOCKS) -> set[bytes]:
        """Read what a volume or snapshot shows."""
        rows = view.read_blocks(first, min(count, view.blocks - first))
        return {row.tobytes() for row in rows if row.any()}

    def views(self) -> list[View]:
        found: list[View] = []
        for tenant in self.store.tenants:
            found += [*tenant.volumes, *tenant.snapshots]
        return found

    def note(self, subject: set[bytes]) -> None:
        """Something was deleted: the erasures that are new are of it."""
        for erasure in self.store.erasures:
            self.subjects.setdefault(erasure.id, subject)

    def trim(self, volume: Volume, first: int, count: int) -> None:
        subject = self.shown(volume, first, count)
        volume.trim(first * BLOCK_SIZE, count * BLOCK_SIZE)
        self.note(subject)

    def delete(self, what: View | Tenant) -> None:
        views = self.views() if isinstance(what, Tenant) else [what]
        mine = [view for view in views if what in {view, view.tenant}]
        subject = set().union(*map(self.shown, mine))
        for view in mine:
            if isinstance(view, Volume):
                subject |= self.written.get(view.number, set())
        what.delete()
        self.note(subject)

    def on_medium(self) -> dict[bytes, set[int]]:
        """Search the raw medium: where the bytes of each block lie."""
        drive = self.store.drives[0]
        rows = np.frombuffer(drive.raw(0, drive.blocks), np.uint8).reshape(-1, BLOCK_SIZE)
        found: dict[bytes, set[int]] = {}
        for mba, row in enumerate(rows):
            found.setdefault(row.tobytes(), set()).add(mba)
        return found

    def check(self) -> dict[int, Statement]:
        """No statement says more than is so, and each says who keeps what it speaks of."""
        statements = {erasure.id: self.store.statement(erasure) for erasure in self.store.erasures}
        there = self.on_medium()
        for number, statement in statements.items():
            left = self.subjects[number] & there.keys()
            assert not (statement.complete and left), f"{len(left)} blocks of erasure {number} are there"
            if statement.complete:
                self.gone.add(number)
            assert statement.complete or number not in self.gone, f"erasure {number} was complete"
            if not statement.document["kept"]:
                lying = set().union(*(there[block] for block in left))
                assert lying <= pending(statement), f"erasure {number}: copies that are not listed"
            said = {entry["number"]: entry["blocks"] for entry in statement.document["kept"]}
            for view in self.views():
                keeps = len(self.shown(view) & self.subjects[number])
                assert said.get(view.number, 0) >= keeps, f"{view!r} keeps {keeps} blocks, and {said}"
            kept_by = " ".join(entry for entry in statement.document["limits"] if "kept by" in entry)
            assert all(entry["name"] in kept_by for entry in statement.document["kept"])
        return statements

    def check_end(self) -> None:
        """When nothing is left, every statement says so."""
        self.store.purge()
        for number, statement in self.check().items():
            assert statement.complete, f"erasure {number}: {statement.document['limits']}"


def pending(statement: Statement) -> set[int]:
    """Say where copies lie that are there still, by a statement."""
    copies = [copy for copy in statement.document["copies"] if copy["gone"] is None]
    return {mba for copy in copies for mba in range(copy["mba"], copy["mba"] + copy["blocks"])}


def make_store(path: Path | None = None, deletion: Strategy = Lap()) -> Store:  # noqa: B008  it is frozen
    options: Any = {"block_size": BLOCK_SIZE, "segment_size": SEGMENT_SIZE, "deletion": deletion}
    if path is not None:
        return Store.create(path, CAPACITY, preallocate=False, **options)
    return Store.memory(CAPACITY, evidence=True, **options)


@pytest.fixture(params=[Now(), Lap()], ids=["now", "lap"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with make_store(deletion=request.param) as store:
        yield World(store)


SUBJECTS = ("range", "snapshot", "clone", "volume", "tenant")
KEEPERS = ("snapshot", "clone", "others")
COMBINATIONS = [
    pytest.param(strategy, subject, order, id="-".join((name, subject, *order)))
    for name, strategy, counts in (("now", Now(), (1, 3)), ("lap", Lap(), (3,)))
    for subject in SUBJECTS
    for count in counts
    for order in permutations(KEEPERS, count)
]


@pytest.mark.parametrize(("world", "subject", "order"), COMBINATIONS, indirect=["world"])
def test_whatever_is_deleted_and_whoever_keeps_it(world: World, subject: str, order: tuple[str, ...]) -> None:
    """The keepers go one by one, and with the last of them what they kept."""
    store = world.store
    tenant, other = store.create_tenant("contoso"), store.create_tenant("fabrikam")
    volume = tenant.create_volume("disk", BLOCKS * BLOCK_SIZE)
    moving = other.create_volume("moving", BLOCKS * BLOCK_SIZE)
    world.write(volume, 0, 16)
    first = volume.snapshot("first")
    root = first.clone("root", tenant=other)  # outlives the tenant, and makes the keepers
    if subject == "tenant":
        world.delete(first)
        origin = root.snapshot("origin")
    else:
        origin = first
    made: dict[str, View] = {}
    if "clone" in order:
        made["clone"] = origin.clone("kept", tenant=origin.tenant)
    if "others" in order:
        made["others"] = origin.clone("foreign", tenant=other)
    if "snapshot" in order:
        made["snapshot"] = origin if subject != "snapshot" else volume.snapshot("second")
    if subject == "range":
        world.trim(volume, 3, 9)
    else:
        subjects: dict[str, View | Tenant] = {
            "clone": root,
            "volume": volume,
            "tenant": tenant,
            "snapshot": first,
        }
        world.delete(subjects[subject])
    rest = [view for view in (volume, root, first, origin) if view is not made.get("snapshot")]
    for view in rest:
        if not view.deleted:
            world.delete(view)
    world.check()
    for keeper in order:
        assert any(not statement.complete for statement in world.check().values())
        world.write(moving, 0, BLOCKS)  # the cleaner leaves copies behind
        world.delete(made[keeper])
        world.check()
    for _ in range(2 * CAPACITY // BLOCK_SIZE // BLOCKS):
        world.write(moving, 0, BLOCKS)
    assert all(statement.complete for statement in world.check().values())


def test_what_moved_before_a_clone_went_is_listed_with_it() -> None:
    """The cleaner's copies of blocks that only a clone shows are copies of the clone's erasure."""
    with make_store() as store:
        world = World(store)
        tenant, other = store.create_tenant("contoso"), store.create_tenant("fabrikam")
        volume, moving = (
            tenant.create_volume("disk", BLOCKS * BLOCK_SIZE),
            other.create_volume("m", BLOCKS * 512),
        )
        world.write(volume, 0, 16)
        clone = volume.snapshot("first").clone("copy", tenant=other)
        while not store.remanence(volume).moved_blocks:
            world.write(moving, 0, BLOCKS)
        tenant.delete()
        world.note(set())
        world.delete(clone)
        statement = world.check()[2]
        assert statement.document["totals"]["moved"] > 0


def test_purges_reach_what_others_kept() -> None:
    """`Now()` of a tenant holds for its blocks, whoever lets go of them last."""
    with make_store() as store:
        world = World(store)
        tenant, other = store.create_tenant("contoso"), store.create_tenant("fabrikam")
        store.set_deletion(Now(), tenant)
        volume = tenant.create_volume("disk", BLOCKS * BLOCK_SIZE)
        world.write(volume, 0, 16)
        snapshot = volume.snapshot("first")
        clone = snapshot.clone("foreign", tenant=other)
        secret = world.shown(volume)
        world.delete(volume)
        world.delete(snapshot)
        world.trim(clone, 0, 8)
        assert len(world.on_medium().keys() & secret) == 8
        world.delete(clone)
        assert not world.on_medium().keys() & secret
        world.check()


def test_keepers_that_let_go_block_by_block(world: World) -> None:
    store = world.store
    tenant = store.create_tenant("contoso")
    volume = tenant.create_volume("disk", BLOCKS * BLOCK_SIZE)
    world.write(volume, 0, 16)
    snapshot = volume.snapshot("first")
    clone = snapshot.clone("copy")
    world.trim(volume, 0, 16)
    world.delete(snapshot)
    kept = [erasure.id for erasure in store.erasures]
    for lba in range(16):
        statements = world.check()
        assert not any(statements[number].complete for number in kept)
        clone.trim(lba * BLOCK_SIZE, BLOCK_SIZE)
        world.note(set())
    world.check_end()


def test_a_crash_between_any_two_steps(tmp_path: Path) -> None:
    """What was kept is known after a crash, wherever it came."""
    for number, step in enumerate(("list_copies", "reconcile", "request")):
        store = make_store(tmp_path / str(number), deletion=Now())
        world = World(store)
        tenant = store.create_tenant("contoso")
        volume = tenant.create_volume("disk", BLOCKS * BLOCK_SIZE)
        world.write(volume, 0, 16)
        snapshot = volume.snapshot("first")
        clone = snapshot.clone("copy", tenant=store.create_tenant("fabrikam"))
        subject = world.shown(volume)
        world.trim(volume, 0, 16)
        world.delete(snapshot)

        def cut(*arguments: object, **options: object) -> None:
            raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store._evidence.erasures, step, cut)
            with pytest.raises(KeyboardInterrupt):
                clone.delete()
        crash(store)
        with Store.open(tmp_path / str(number)) as again:
            world.store = again
            world.note(subject)
            found = world.check()
            for view in world.views():
                if isinstance(view, Volume) and view.name == "copy":
                    assert not found[1].complete
                    world.delete(view)
            world.check_end()


def test_rows_of_what_was_kept_that_somebody_removed() -> None:
    """Whoever makes the catalog forget what is kept gets no statement."""
    with make_store(deletion=Now()) as store:
        volume = store.create_tenant("contoso").create_volume("disk", BLOCKS * BLOCK_SIZE)
        World(store).write(volume, 0, 16)
        volume.snapshot("first")
        volume.trim(0, 16 * BLOCK_SIZE)
        database = store._parts.catalog.database
        database.run("DROP TRIGGER kept_is_not_removed")
        database.run("DELETE FROM kept")
        with pytest.raises(StatementError, match="kept"):
            store.statement(1)


def test_keepers_that_change_while_they_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone takes over from its snapshot between two looks: somebody showed the blocks all the time."""
    with make_store() as store:
        world = World(store)
        volume = store.create_tenant("contoso").create_volume("disk", BLOCKS * BLOCK_SIZE)
        world.write(volume, 0, 16)
        snapshot = volume.snapshot("first")
        world.delete(volume)
        engine = store._engine
        shown = engine.shown

        def take_over(number: int, lba: int, count: int, **options: Any) -> Any:
            if not snapshot.deleted:
                monkeypatch.undo()
                snapshot.clone("copy")
                snapshot.delete()
            return shown(number, lba, count, **options)

        monkeypatch.setattr(engine, "shown", take_over)
        assert not store.statement(1).complete
        (entry,) = store.statement(1).document["kept"]
        assert (entry["name"], entry["blocks"]) == ("copy", 16)


def test_a_deletion_that_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone that was made between two attempts is a keeper."""
    with make_store() as store:
        world = World(store)
        volume = store.create_tenant("contoso").create_volume("disk", BLOCKS * BLOCK_SIZE)
        world.write(volume, 0, 16)
        snapshot = volume.snapshot("first")
        volume.trim(0, 16 * BLOCK_SIZE)
        with monkeypatch.context() as patch:
            patch.setattr(store._registry, "_leave", lambda view: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                snapshot.delete()
        clone = snapshot.clone("copy")
        subject = world.shown(snapshot)
        snapshot.delete()
        states = [erasure.state for erasure in store.erasures]
        assert states == ["abandoned", "listed"]
        (entry,) = store.statement(2).document["kept"]
        assert (entry["number"], entry["blocks"]) == (clone.number, len(subject))


# ---- any sequence of steps ----------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["write", "write", "snapshot", "clone", "foreign", "trim", "delete", "churn", "back"]
        ),
        st.integers(0, 2**16 - 1),
        st.integers(0, BLOCKS - 1),
    ),
    min_size=4,
    max_size=14,
)


def take(world: World, kind: str, pick: int, lba: int) -> None:
    """Do one step, where there is something to do it to."""
    views = world.views()
    volumes = [view for view in views if isinstance(view, Volume)]
    view, volume = views[pick % len(views)], volumes[pick % len(volumes)]
    tenants = {each.tenant for each in volumes}
    world.version += 1
    if kind == "write":
        world.write(volume, lba, 1 + pick % 9)
    elif kind == "trim":
        world.trim(volume, lba, min(1 + pick % 12, volume.blocks - lba))
    elif kind == "churn":
        world.write(volume, 0, BLOCKS)
        world.write(volume, 0, BLOCKS)
    elif kind == "back" and volume.snapshots:
        volume.rollback(volume.snapshots[pick % len(volume.snapshots)])
    elif kind == "delete" and view is not volumes[0]:
        world.delete(view)
    elif kind == "delete_tenant" and len(tenants) > 1:
        world.delete(volume.tenant)
        world.store.create_tenant(f"t{world.version}")
    elif kind in {"snapshot", "clone", "foreign"} and len(views) < 7:
        make_view(world, kind, view)


def make_view(world: World, kind: str, view: View) -> None:
    """Take a snapshot of a volume, or make a clone of a snapshot, for its tenant or another one."""
    if isinstance(view, Volume):
        view.snapshot(f"s{world.version}")
        return
    others = [tenant for tenant in world.store.tenants if tenant is not view.tenant]
    view.clone(f"c{world.version}", tenant=others[0] if kind == "foreign" else view.tenant)


@settings(max_examples=max(5, settings().max_examples // 3))
@given(steps=STEPS, strategy=st.sampled_from([Now(), Lap()]), whose=st.booleans())
def test_no_statement_says_too_much(
    steps: list[tuple[str, int, int]], strategy: Strategy, whose: bool
) -> None:
    with make_store() as store:
        world = World(store)
        tenants = [store.create_tenant(name) for name in ("contoso", "fabrikam", "tailspin")]
        store.set_deletion(strategy, tenants[0] if whose else None)
        for tenant in tenants[:2]:
            world.write(tenant.create_volume("disk", BLOCKS * BLOCK_SIZE), 0, 16)
        for kind, pick, lba in steps:
            take(world, kind, pick, lba)
            world.check()
        for tenant in store.tenants:
            world.delete(tenant)
        world.check_end()
