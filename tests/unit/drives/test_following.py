"""What others keep is followed to the drives to which it is copied: no statement is complete before that."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Literal

import pytest

from seqstore import Now, Progress, Snapshot, Store, Tenant, Volume
from seqstore.families import families
from seqstore.moving import Mover
from seqstore.statement import Statement
from tests.several import BLOCK, SEGMENT, SIZES, Rack, legs

SEGMENTS = 48
CLONED = 30  # blocks


class DiedError(Exception):
    """It ends here."""


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.memory(SEGMENTS * SEGMENT, evidence=True, **SIZES) as store:
        for _ in range(2):
            store.add_drive(SEGMENTS * SEGMENT)
        yield store
        store.check()


def write(volume: Volume, word: str, first: int, count: int) -> None:
    rows = (f"{word} {lba:04d} ".encode().ljust(BLOCK, b"#") for lba in range(first, first + count))
    volume.write(first * BLOCK, b"".join(rows))


def count(store: Store, word: str) -> list[int]:
    """How many blocks of a word lie on each drive."""
    media = [drive.medium if drive.in_use else drive.require_idle() for drive in store.drives]
    return [bytes(medium.read(0, medium.blocks)).count(f"{word} 0".encode()) for medium in media if medium]


def make_heir(tenant: Tenant, copies: Literal[1, 2] = 1) -> Volume:
    """Make a clone that alone shows what was deleted with the volume that it is of."""
    volume = tenant.create_volume("volume", CLONED * BLOCK, drive=0, copies=copies)
    write(volume, "shared", 0, CLONED)
    snapshot = volume.snapshot("monday")
    heir = snapshot.clone("heir")
    snapshot.delete()
    volume.delete()
    return heir


def of_volume(store: Store) -> dict[int, Statement]:
    """The statements of the deleted volume, by drive; the last one of each."""
    found = {}
    for erasure in store.erasures:
        if erasure.subject.name == "volume" and erasure.state == "listed":
            statement = store.statement(erasure)
            found[statement.document["drive"]["number"]] = statement
    return found


def move(store: Store, view: Volume | Snapshot, to: int) -> None:
    """Move what lies on one drive to another one."""
    others = [drive for drive in store.drives if drive.in_use and drive.number not in (to, *legs(view))]
    states = {drive.number: store._facts.get(drive.number) for drive in others}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store._registry.placer, "takes", lambda drive: drive not in states)
        patch.setattr(store._registry.placer, "choose", lambda *_, **__: [to])
        movers = store._drive_keeper._movers
        (family,) = [each for each in families(store._registry) if view.number in each.numbers]
        movers.move_all([family], legs(view)[0], None)
    assert legs(view) == [to]


class TestOneMove:
    def test_what_is_overwritten_meanwhile_lies_dead_where_it_came(
        self, store: Store, tenant: Tenant
    ) -> None:
        heir = make_heir(tenant)
        done: list[float] = []

        def told(progress: Progress) -> None:
            if progress.done_blocks and not done:
                done.append(progress.share)
                write(heir, "later", 0, CLONED)

        store.drives[0].decommission(progress=told)
        assert done
        (drive,) = legs(heir)
        assert count(store, "shared")[drive] == CLONED
        statement = of_volume(store)[drive]
        assert statement.document["totals"]["pending"] == CLONED
        assert not statement.complete
        store.purge()
        assert count(store, "shared")[drive] == 0
        assert of_volume(store)[drive].complete

    def test_writes_afterwards_are_no_part_of_it(self, store: Store, tenant: Tenant) -> None:
        """A block that is written anew has the address of one that was kept, and is another one."""
        heir = make_heir(tenant)
        move(store, heir, 1)
        write(heir, "later", 0, 10)
        (keeper,) = of_volume(store)[1].document["kept"]
        assert (keeper["name"], keeper["blocks"]) == ("heir", CLONED - 10)
        write(heir, "later", 10, CLONED - 10)
        store.purge()
        assert count(store, "shared") == [0, 0, 0]
        assert {drive: each.complete for drive, each in of_volume(store).items()} == {0: True, 1: True}
        assert heir.read(0, 5) == b"later"

    def test_from_drive_to_drive_and_back(self, store: Store, tenant: Tenant) -> None:
        heir = make_heir(tenant)
        for place in (1, 2, 0):
            move(store, heir, place)
            store.purge()
            lying = [CLONED if drive == place else 0 for drive in range(3)]
            assert count(store, "shared") == lying
            assert not any(statement.complete for statement in of_volume(store).values())
        first = store.statement(min(each.id for each in store.erasures if each.subject.name == "volume"))
        assert [entry["drive"] for entry in first.document["elsewhere"]] == [1, 2, 0]
        assert [entry["finished"] for entry in first.document["elsewhere"]] == [True, True, False]
        assert not first.complete
        heir.delete()
        store.purge()
        assert count(store, "shared") == [0, 0, 0]
        assert all(store.statement(each).complete for each in store.erasures if each.state == "listed")

    def test_what_nobody_keeps_is_not_followed(self, store: Store, tenant: Tenant) -> None:
        volume = tenant.create_volume("volume", CLONED * BLOCK, drive=0)
        write(volume, "shared", 0, CLONED)
        volume.delete()
        other = tenant.create_volume("other", CLONED * BLOCK, drive=0)
        write(other, "other", 0, CLONED)
        before = len(store.erasures)
        move(store, other, 1)
        assert len(store.erasures) == before
        assert of_volume(store)[0].document["elsewhere"] == []

    def test_one_more_copy_is_followed_too(self, store: Store, tenant: Tenant) -> None:
        heir = make_heir(tenant, copies=2)
        assert legs(heir)[0] == 0
        gone = legs(heir)[1]
        store.drives[gone].fail("it clicks")
        assert store.rebuild() == 1
        (fresh,) = {*legs(heir)} - {0}
        heir.trim(0, CLONED * BLOCK)
        store._eraser.purge_drive(0, *store._scope(None))
        assert count(store, "shared")[0] == 0
        assert count(store, "shared")[fresh] == CLONED
        found = of_volume(store)
        assert {drive for drive, each in found.items() if not each.complete} == {0, gone, fresh}
        assert not found[0].document["totals"]["pending"]
        store.purge()
        assert {drive: each.complete for drive, each in of_volume(store).items()} == {
            0: True,
            gone: False,
            fresh: True,
        }


class TestMovesThatFail:
    def test_what_was_copied_by_then_is_followed(self, store: Store, tenant: Tenant) -> None:
        heir = make_heir(tenant)

        def fail(*_: object) -> None:
            raise DiedError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Mover, "_switch", fail)
            with pytest.raises(DiedError):
                move(store, heir, 1)
        assert legs(heir) == [0]
        assert count(store, "shared") == [CLONED, CLONED, 0]
        heir.delete()
        store._eraser.purge_drive(0, *store._scope(None))
        assert count(store, "shared") == [0, CLONED, 0]
        assert {drive: each.complete for drive, each in of_volume(store).items()} == {0: False, 1: False}
        store.purge()
        assert {drive: each.complete for drive, each in of_volume(store).items()} == {0: True, 1: True}

    def test_a_transaction_that_is_taken_back(self, store: Store, tenant: Tenant) -> None:
        heir = make_heir(tenant)
        append = store.audit.append

        def fail(act: Any, *arguments: Any, **options: Any) -> Any:
            if act.value == "family moved":
                raise DiedError
            return append(act, *arguments, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store.audit, "append", fail)
            with pytest.raises(DiedError):
                move(store, heir, 1)
        assert of_volume(store)[1].document["totals"]["pending"] == CLONED
        move(store, heir, 2)
        store.purge()
        assert count(store, "shared") == [0, 0, CLONED]
        assert {drive: each.complete for drive, each in of_volume(store).items()} == {
            0: False,
            1: True,
            2: False,
        }

    @pytest.mark.parametrize("step", ["_make_lineage", "_catch_up", "_switch", "_remove"])
    def test_an_end_of_the_process(self, tmp_path: Path, step: str) -> None:
        rack = Rack(tmp_path / "names.db")
        heir = make_heir(rack.store.create_tenant("contoso"))
        weight = rack.store.tenants[0].create_volume("weight", 60 * BLOCK, drive=0)
        write(weight, "weight", 0, 60)
        rack.store.flush()
        real = getattr(Mover, step)

        def end(*arguments: Any) -> None:
            if step == "_make_lineage":
                real(*arguments)
            rack.store.flush()
            raise DiedError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Mover, step, end)
            patch.setattr(Mover, "_undo", lambda _: None)
            with pytest.raises(DiedError):
                rack.store.rebalance()
        rack.crash()
        store = rack.open()
        heir = store.tenants[0].volume("heir")
        assert legs(heir) == [1 if step == "_remove" else 0]
        heir.delete()
        assert count(store, "shared")[1] == CLONED
        assert not any(statement.complete for statement in of_volume(store).values())
        assert of_volume(store)[1].document["totals"]["pending"] == CLONED
        store.purge()
        assert count(store, "shared") == [0, 0]
        assert {drive: each.complete for drive, each in of_volume(store).items()} == {0: True, 1: True}
        rack.close()


class World:
    """A store of three drives, and what each erasure was of, by the words that were written."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store = store
        self.random = Random(seed)
        self.tenant = store.create_tenant("contoso")
        self.words: list[str] = []
        self.written: dict[int, set[str]] = {}  # through a volume
        self.deleted: list[tuple[set[int], set[str]]] = []  # erasures, and of what

    def views(self) -> list[Volume | Snapshot]:
        return [*self.tenant.volumes, *self.tenant.snapshots]

    def step(self, number: int) -> None:
        views, word = self.views(), f"w{number:03d}"
        if len(views) < 2:
            volume = self.tenant.create_volume(word, 16 * BLOCK, drive=self.random.randrange(3))
            self.write(volume, word, 0)
            return
        view = self.random.choice(views)
        what = self.random.choice(["change", "change", "copy", "copy", "delete", "move", "move", "purge"])
        if what == "change" and isinstance(view, Volume):
            self.write(view, word, self.random.randrange(12))
        elif what == "copy" and len(views) < 6:
            _ = view.snapshot(word) if isinstance(view, Volume) else view.clone(word)
        elif what == "delete":
            self.delete(view)
        elif what == "move":
            move(self.store, view, (legs(view)[0] + self.random.randrange(1, 3)) % 3)
        elif what == "purge":
            self.store._eraser.purge_drive(self.random.randrange(3), *self.store._scope(None))

    def write(self, volume: Volume, word: str, first: int) -> None:
        self.words.append(word)
        self.written.setdefault(volume.number, set()).add(word)
        write(volume, word, first, 16 - first)

    def shown(self, view: Volume | Snapshot) -> set[str]:
        data = view.read(0, view.size)
        return {word for word in self.words if word.encode() in data}

    def delete(self, view: Volume | Snapshot) -> None:
        before = {erasure.id for erasure in self.store.erasures}
        gone = self.shown(view) | self.written.get(view.number, set())
        view.delete()
        self.deleted.append(({each.id for each in self.store.erasures} - before, gone))

    def check(self) -> None:
        """Search the raw drives: no statement says more than is so."""
        lying = {word: count(self.store, word) for word in self.words}
        for erasures, words in self.deleted:
            found = [self.store.statement(number) for number in sorted(erasures)]
            left = {word: lying[word] for word in words if any(lying[word])}
            is_over = all(statement.complete for statement in found)
            assert not (is_over and left), f"erasures {erasures} are complete, and {left} are there"
            for statement in found:
                drive = statement.document["drive"]["number"]
                here = {word for word in left if left[word][drive]}
                assert not (statement.complete and here), f"{statement} of drive {drive}, with {here}"


@pytest.mark.parametrize("seed", [0, 104, 110])
def test_whatever_moves_no_statement_is_complete_too_early(seed: int) -> None:
    with Store.memory(SEGMENTS * SEGMENT, evidence=True, **SIZES) as store:
        for _ in range(2):
            store.add_drive(SEGMENTS * SEGMENT)
        world = World(store, seed)
        for step in range(24):
            world.step(step)
            if step % 3 == 2:
                world.check()
        for view in world.views():
            world.delete(view)
        store.purge()
        world.check()
        assert {each.state for each in store.erasures} <= {"listed", "abandoned"}
        assert all(store.statement(each).complete for each in store.erasures if each.state == "listed")


def test_a_checkpoint_while_copies_are_made(store: Store, tenant: Tenant) -> None:
    """It waits for the mirrors that are held, and the move must not wait for it."""
    heir = make_heir(tenant, copies=2)
    store.drives[legs(heir)[1]].fail("it clicks")
    heir.write(0, b"changed")
    catch_up, asking = Mover._catch_up, list[threading.Thread]()

    def ask(self: Mover, volume: Volume) -> None:
        asking.append(threading.Thread(target=store.checkpoint, daemon=True))
        asking[0].start()
        asking[0].join(0.1)
        catch_up(self, volume)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Mover, "_catch_up", ask)
        work = threading.Thread(target=store.rebuild, daemon=True)
        work.start()
        work.join(20)
    assert asking
    assert not work.is_alive()
    asking[0].join(20)
    assert not asking[0].is_alive()
    assert heir.copies == 2


@pytest.mark.parametrize("is_over", [False, True])
def test_a_range_that_a_clone_took_along_before_a_crash(tmp_path: Path, is_over: bool) -> None:
    """Of a range nobody can say after a crash whether it was given up; of what follows one, they can."""
    rack = Rack(tmp_path / "names.db")
    tenant = rack.store.create_tenant("contoso")
    volume = tenant.create_volume("volume", CLONED * BLOCK, drive=0)
    write(volume, "shared", 0, CLONED)
    snapshot = volume.snapshot("monday")
    snapshot.clone("heir")
    snapshot.delete()
    rack.store.set_deletion(Now())
    volume.trim(0, CLONED * BLOCK)
    write(tenant.create_volume("weight", 60 * BLOCK, drive=0), "weight", 0, 60)
    rack.store.flush()

    def end(*_: Any) -> None:
        rack.store.flush()
        raise DiedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Mover, "_remove" if is_over else "_switch", end)
        patch.setattr(Mover, "_undo", lambda _: None)
        with pytest.raises(DiedError):
            rack.store.rebalance()
    rack.crash()
    store = rack.open()
    ranges = [each for each in store.erasures if each.subject.kind == "range"]
    assert {each.request.details.get("follows") for each in ranges if each.state == "listed"} == {None, 2}
    for name in ("heir", "volume"):
        store.tenants[0].volume(name).delete()
    store.purge()
    assert count(store, "shared") == [0, 0]
    assert all(store.statement(each).complete for each in ranges if each.state == "listed")
    rack.close()
