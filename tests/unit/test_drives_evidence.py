"""Statements, kept blocks and epochs of keys where a store has several drives, each searched byte by byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seqstore import (
    CryptographicErase,
    Lap,
    Now,
    Progress,
    Store,
    Tenant,
    Volume,
)
from seqstore.clock import ManualClock
from seqstore.keys import FileKey
from seqstore.statement import Statement
from tests.attacker import Keys, readable
from tests.durable import create, root_key
from tests.epochs import EPOCH, GONE, KEPT, assert_kept, fill
from tests.epochs import block as sealed_block
from tests.several import BLOCK, SEGMENT, Rack, legs
from tests.small import BLOCK_SIZE, CAPACITY

SIZES: dict[str, Any] = {"block_size": BLOCK, "segment_size": SEGMENT}
SEGMENTS = 48


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.memory(SEGMENTS * SEGMENT, evidence=True, **SIZES) as store:
        store.add_drive(SEGMENTS * SEGMENT)
        yield store
        store.check()


@pytest.fixture
def tenant(store: Store) -> Tenant:
    return store.create_tenant("contoso")


def block(word: str, lba: int) -> bytes:
    return f"{word} {lba:04d} ".encode().ljust(BLOCK, b"#")


def write(volume: Volume, word: str, first: int, count: int) -> None:
    volume.write(first * BLOCK, b"".join(block(word, lba) for lba in range(first, first + count)))


def raw(store: Store, drive: int) -> bytes:
    """All bytes of a drive, whether it is in use or not."""
    found = store.drives[drive]
    medium = found.medium if found.in_use else found.require_idle()
    assert medium is not None
    return bytes(medium.read(0, medium.blocks))


def count(store: Store, word: str) -> list[int]:
    """How many blocks of a word lie on each drive."""
    return [raw(store, drive.number).count(word.encode() + b" 0") for drive in store.drives]


def statements(store: Store) -> dict[tuple[str, int], Statement]:
    """The statements of all erasures that were listed, by what was deleted, and by drive; true of each."""
    found = {}
    for erasure in store.erasures:
        if erasure.state == "listed":
            statement = store.statement(erasure)
            (drive,) = statement.document["store"]["drives"]
            found[erasure.subject.name or erasure.subject.kind, drive["number"]] = statement
            assert {copy["drive"] for copy in statement.document["copies"]} <= {drive["number"]}
    return found


def pending(statement: Statement) -> int:
    blocks: int = statement.document["totals"]["pending"]
    return blocks


def limits(statement: Statement) -> str:
    return " ".join(statement.document["limits"])


class TestCopies:
    def test_each_drive_has_a_statement_until_its_last_copy_is_gone(
        self, store: Store, tenant: Tenant
    ) -> None:
        volume = tenant.create_volume("secret", 30 * BLOCK, copies=2)
        write(volume, "secret", 0, 30)
        write(volume, "secret", 0, 10)
        volume.delete()
        found = statements(store)
        assert found.keys() == {("secret", 0), ("secret", 1)}
        for drive in (0, 1):
            statement = found["secret", drive]
            assert (pending(statement), statement.complete) == (count(store, "secret")[drive], False)
            assert f"drive {drive} alone" in limits(statement)
        # The end of one says nothing of the other.
        store._eraser.purge_drive(1, *store._scope(tenant))
        assert count(store, "secret") == [40, 0]
        assert {key[1]: each.complete for key, each in statements(store).items()} == {0: False, 1: True}
        store.purge(tenant)
        assert count(store, "secret") == [0, 0]
        assert all(each.complete for each in statements(store).values())

    def test_at_once(self, store: Store, tenant: Tenant) -> None:
        store.set_deletion(Now(), tenant)
        volume = tenant.create_volume("v", 30 * BLOCK, copies=2)
        write(volume, "kept", 0, 30)
        write(volume, "secret", 10, 10)
        store.purge()
        assert count(store, "secret") == [10, 10]
        volume.trim(10 * BLOCK, 10 * BLOCK)
        assert count(store, "secret") == [0, 0]
        assert count(store, "kept") == [20, 20]
        assert {key: each.complete for key, each in statements(store).items()} == {
            ("range", 0): True,
            ("range", 1): True,
        }
        volume.delete()
        assert count(store, "kept") == [0, 0]
        assert {each.complete for each in statements(store).values()} == {True}

    def test_a_clone_keeps_on_both_drives(self, store: Store, tenant: Tenant) -> None:
        other = store.create_tenant("fabrikam")
        volume = tenant.create_volume("volume", 30 * BLOCK, copies=2)
        write(volume, "shared", 0, 20)
        snapshot = volume.snapshot("monday")
        clone = snapshot.clone("heir", tenant=other)
        write(volume, "mine", 20, 10)
        write(clone, "heir", 0, 5)
        snapshot.delete()
        volume.delete()
        for drive in (0, 1):
            statement = statements(store)["volume", drive]
            (keeper,) = statement.document["kept"]
            assert (keeper["number"], keeper["name"], keeper["blocks"]) == (clone.number, "heir", 15)
            assert "kept by volume 'heir' (15 blocks)" in limits(statement)
        store.purge()
        assert (count(store, "shared"), count(store, "mine")) == ([15, 15], [0, 0])
        assert not any(statements(store)["volume", drive].complete for drive in (0, 1))
        assert all(statements(store)["volume", drive].document["kept"] for drive in (0, 1))
        clone.delete()
        for drive in (0, 1):
            statement = statements(store)["volume", drive]
            assert (statement.document["kept"], statement.complete) == ([], False)
            assert pending(statement) >= 15
        store.purge()
        assert (count(store, "shared"), count(store, "heir")) == ([0, 0], [0, 0])
        assert all(each.complete for each in statements(store).values())

    def test_blocks_of_others_die_at_once_where_the_clone_was(self, store: Store, tenant: Tenant) -> None:
        """They were written through a volume that has numbers of its own on the second drive."""
        store.set_deletion(Now(), tenant)
        volume = tenant.create_volume("volume", 20 * BLOCK, copies=2)
        write(volume, "shared", 0, 20)
        clone = volume.snapshot("monday").clone("heir")
        volume.delete()
        tenant.snapshots[0].delete()
        assert count(store, "shared") == [20, 20]
        clone.delete()
        assert count(store, "shared") == [0, 0]
        assert {each.complete for each in statements(store).values()} == {True}

    def test_a_copy_that_is_not_believed_does_not_keep_a_trimmed_range(self, tmp_path: Path) -> None:
        rack = Rack(tmp_path / "names.db")
        tenant = rack.store.create_tenant("contoso")
        write(tenant.create_volume("v", 30 * BLOCK, copies=2), "secret", 0, 30)
        rack.store.close()
        write(rack.open(without=[1]).tenants[0].volume("v"), "secret", 0, 1)
        rack.store.close()
        store = rack.open()
        store.set_deletion(Now())
        rack.volume("v").trim(0, 30 * BLOCK)
        assert count(store, "secret") == [0, 0]
        assert {key: each.complete for key, each in statements(store).items()} == {
            ("range", 0): True,
            ("range", 1): True,
        }
        assert store.rebuild() == 1
        rack.close()


class TestMoving:
    def test_a_drive_that_was_emptied_holds_what_it_held(self, store: Store, tenant: Tenant) -> None:
        volume = tenant.create_volume("volume", 30 * BLOCK, drive=0)
        write(volume, "secret", 0, 30)
        store.drives[0].decommission()
        assert store.remanence(volume).out_of_use_blocks == count(store, "secret")[0] == 30
        volume.delete()
        store.purge()
        assert count(store, "secret") == [30, 0]
        remanence = store.remanence(tenant)
        assert remanence.blocks == remanence.out_of_use_blocks == 30
        open_, done = sorted(store.erasures, key=lambda erasure: erasure.state == "listed")
        assert not store.statement(open_).complete
        assert store.statement(done).complete
        assert "drive 1 alone" in limits(store.statement(done))

    def test_what_moving_left_behind_is_followed(self, store: Store, tenant: Tenant) -> None:
        """Also what was written through another volume: a clone's erasure names the blocks that it showed."""
        volume = tenant.create_volume("volume", 30 * BLOCK, drive=0)
        write(volume, "shared", 0, 30)
        clone = volume.snapshot("monday").clone("heir")
        write(clone, "heir", 0, 5)
        volume.delete()
        tenant.snapshots[0].delete()
        write(tenant.create_volume("weight", 60 * BLOCK, drive=0), "weight", 0, 60)
        assert store.rebalance() == 1
        assert legs(clone) == [1]
        assert count(store, "shared") == [30, 25]
        clone.delete()
        found = statements(store)
        assert (pending(found["heir", 0]), pending(found["heir", 1])) == (35, 30)
        store.purge(tenant)
        assert (count(store, "shared"), count(store, "heir")) == ([0, 0], [0, 0])
        found = statements(store)
        assert {each.complete for each in found.values()} == {True}
        assert found.keys() >= {("volume", 0), ("volume", 1), ("heir", 0), ("heir", 1)}
        (follower,) = found["volume", 0].document["elsewhere"]
        assert (follower["drive"], follower["finished"]) == (1, True)

    def test_a_keeper_that_moves_lets_go_where_it_was(self, store: Store, tenant: Tenant) -> None:
        volume = tenant.create_volume("volume", 30 * BLOCK, drive=0)
        write(volume, "shared", 0, 30)
        volume.snapshot("monday").clone("heir")
        tenant.snapshots[0].delete()
        volume.delete()
        assert statements(store)["volume", 0].document["kept"][0]["blocks"] == 30
        write(tenant.create_volume("weight", 60 * BLOCK, drive=0), "weight", 0, 60)
        assert store.rebalance() == 1
        statement = statements(store)["volume", 0]
        assert (statement.document["kept"], pending(statement)) == ([], 30)
        store.purge()
        assert count(store, "shared") == [0, 30]
        # Nothing is left there, and all of it lives on elsewhere: it is not complete before that is gone.
        for drive in (0, 1):
            statement = statements(store)["volume", drive]
            assert (pending(statement), statement.complete) == (0, False)
        (follower,) = statements(store)["volume", 0].document["elsewhere"]
        assert [(entry["name"], entry["blocks"]) for entry in follower["kept"]] == [("heir", 30)]
        sentence = f"erasure {follower['erasure']} follows them: 0 blocks"
        assert sentence in limits(statements(store)["volume", 0])
        tenant.volume("heir").delete()
        assert pending(statements(store)["volume", 1]) == 30
        assert not statements(store)["volume", 0].complete
        store.purge()
        assert count(store, "shared") == [0, 0]
        assert {each.complete for each in statements(store).values()} == {True}


class TestMissing:
    def test_a_clone_on_a_drive_that_was_away_keeps(self, tmp_path: Path) -> None:
        """What others keep there is found out when it is back, and not before."""
        rack = Rack(tmp_path / "names.db")
        tenant = rack.store.create_tenant("contoso")
        volume = tenant.create_volume("volume", 30 * BLOCK, copies=2)
        write(volume, "shared", 0, 30)
        volume.snapshot("monday").clone("heir")
        tenant.snapshots[0].delete()
        rack.store.close()
        rack.open(without=[1]).tenants[0].volume("volume").delete()
        assert [erasure.state for erasure in rack.store.erasures][-2:] == ["listed", "requested"]
        assert not rack.store.statement(rack.store.erasures[-1]).complete
        rack.store.close()
        store = rack.open()
        store.purge()
        assert count(store, "shared")[0] == 30
        for drive in (0, 1):
            is_there = count(store, "shared")[drive] > 0
            assert statements(store)["volume", drive].complete is not is_there
        rack.close()


class TestEpochs:
    @pytest.fixture
    def root(self, tmp_path: Path) -> FileKey:
        return root_key(tmp_path / "root.key")

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "lab.store"

    @pytest.fixture
    def store(self, path: Path, root: FileKey) -> Iterator[Store]:
        clock = ManualClock(10**18)
        store = create(path, encryption=root, clock=clock, deletion=CryptographicErase(epoch=EPOCH))
        store.add_drive(4 * CAPACITY)
        yield store
        if not store.closed:
            store.close()

    @staticmethod
    def words(path: Path, root: FileKey) -> list[set[bytes]]:
        """What kinds of blocks somebody with the keys can read on each drive."""
        keys = Keys(path, root)
        drives = sorted((path / "drives").iterdir())
        return [{each[:4] for each in readable(drive.read_bytes(), keys, BLOCK_SIZE)} for drive in drives]

    def test_they_end_on_both_drives(self, store: Store, tenant: Tenant, path: Path, root: FileKey) -> None:
        volumes = [
            tenant.create_volume("both", 64 * BLOCK_SIZE, copies=2),
            tenant.create_volume("second", 64 * BLOCK_SIZE, drive=1),
        ]
        for volume in volumes:
            fill(volume)
        store.flush()
        assert self.words(path, root) == [{KEPT, GONE}, {KEPT, GONE}]
        store.idle(EPOCH)
        assert self.words(path, root) == [{KEPT}, {KEPT}]
        found = store.remanence()
        assert (found.blocks, 63 <= found.unreadable_blocks < 96) == (96, True)
        for volume in volumes:
            assert_kept(volume)
            for leg in volume._route.legs:
                assert leg.view.read(0, 4) == KEPT
        volumes[0].write(0, sealed_block(GONE))
        volumes[0].write(0, sealed_block(KEPT, 100))
        store.idle(EPOCH)
        assert self.words(path, root) == [{KEPT}, {KEPT}]
        assert_kept(volumes[0])
        assert store.remanence().unreadable_blocks >= 96

    def test_a_statement_on_each_drive_says_that_the_key_is_gone(
        self, store: Store, tenant: Tenant, path: Path, root: FileKey
    ) -> None:
        volume = tenant.create_volume("both", 64 * BLOCK_SIZE, copies=2)
        fill(volume)
        snapshot = volume.snapshot("monday")
        volume.write(0, b"".join(sealed_block(b"anew", lba) for lba in range(64)))
        snapshot.delete()
        before = {drive: each for (_, drive), each in statements(store).items()}
        assert [pending(before[drive]) >= 30 for drive in (0, 1)] == [True, True]
        store.idle(EPOCH)
        assert self.words(path, root) == [{b"anew"}, {b"anew"}]
        for statement in statements(store).values():
            assert statement.complete
            assert {copy["gone"]["how"] for copy in statement.document["copies"]} == {"key"}

    def test_while_a_volume_moves(self, store: Store, tenant: Tenant, path: Path, root: FileKey) -> None:
        """What was copied before the end of the epoch, and what is copied after it, can be read."""
        volume = tenant.create_volume("moving", 64 * BLOCK_SIZE, drive=0)
        fill(volume)
        snapshot = volume.snapshot("monday")
        volume.write(0, sealed_block(GONE))
        ended: list[float] = []

        def told(progress: Progress) -> None:
            if not ended and progress.done_blocks:
                ended.append(progress.share)
                store.idle(EPOCH)
                volume.write(0, sealed_block(GONE))
                volume.write(0, sealed_block(KEPT, 100))

        store.drives[0].decommission(progress=told)
        assert ended
        assert legs(volume) == [1]
        for _ in range(2):
            assert_kept(volume)
            assert_kept(snapshot)
            store.idle(EPOCH)
        assert self.words(path, root)[1] == {KEPT}

    def test_they_go_on_while_a_drive_is_away(
        self, store: Store, tenant: Tenant, path: Path, root: FileKey
    ) -> None:
        """What lives there, and nowhere else, is not known: its keys live on."""
        away = tenant.create_volume("away", 64 * BLOCK_SIZE, drive=1)
        here = tenant.create_volume("here", 64 * BLOCK_SIZE, drive=0)
        fill(away)
        fill(here)
        store.close()
        clock = ManualClock(10**18)
        image, aside = path / "drives" / "1.img", path / "aside.img"
        image.rename(aside)
        with Store.open(path, key=root, clock=clock, missing="go on") as without:
            without.idle(2 * EPOCH)
            assert without.tenants[0].volumes[0].name == "here"
            assert_kept(without.tenants[0].volumes[0])
            assert self.words(path, root) == [{KEPT}]
        aside.rename(image)
        with Store.open(path, key=root, clock=clock) as back:
            assert_kept(back.tenants[0].volume("away"))
            back.idle(2 * EPOCH)
            assert self.words(path, root) == [{KEPT}, {KEPT}]
            assert_kept(back.tenants[0].volume("away"))


class TestPromises:
    def test_a_lap_is_one_of_the_drive(self, store: Store, tenant: Tenant) -> None:
        store.add_drive(64 * SEGMENT)
        tenant.create_volume("v", 10 * BLOCK, drive=2).delete()
        tenant.create_volume("w", 10 * BLOCK, drive=0).delete()
        assert str(store.deletion) == str(Lap())
        assert [erasure.promise.bound_writes for erasure in store.erasures] == [
            store.drives[2].blocks,
            store.drives[0].blocks,
        ]
