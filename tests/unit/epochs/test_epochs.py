"""Epochs of keys: what was overwritten cannot be read when the epoch has ended, and what lives can."""

from __future__ import annotations

import shutil
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqstore import (
    ConfigError,
    CryptographicErase,
    Deadline,
    Lap,
    NotFoundError,
    OutOfSpaceError,
    Store,
    Volume,
)
from seqstore.clock import ManualClock
from seqstore.deletion import from_text, to_text, to_words
from seqstore.keys import FileKey, Keychain
from seqstore.signing import SigningKey
from tests.attacker import Keys, readable
from tests.durable import create, reopen
from tests.epochs import EPOCH, GONE, KEPT, assert_kept, block, fill, words
from tests.small import BLOCK_SIZE


class TestTheEnd:
    @pytest.mark.invariant("I5")
    def test_nothing_that_was_deleted_opens(
        self, store: Store, volume: Volume, path: Path, root: FileKey, clock: ManualClock
    ) -> None:
        store.flush()
        assert words(path, root) == {KEPT, GONE}
        drive = (path / "drives/0.img").read_bytes()
        store.idle(EPOCH)
        assert words(path, root) == words(path, root, drive) == {KEPT}
        # It still lies there, and cannot be read.
        residue = store.remanence()
        # Of what died at the very position of the end nothing is said.
        assert (residue.blocks, residue.unreadable_blocks) == (32, 21)
        volume.write(0, block(KEPT, 100))
        store.idle(EPOCH)
        residue = store.remanence()
        assert (residue.blocks, residue.unreadable_blocks) == (33, 32)
        assert_kept(volume)
        store.flush()
        store = reopen(store, path, key=root, clock=clock)
        assert_kept(store.tenant("contoso").volume("disk"))
        residue = store.remanence()
        assert (residue.blocks, residue.unreadable_blocks) == (33, 32)
        store.tenant("contoso").delete()
        residue = store.remanence()
        assert residue.blocks == residue.unreadable_blocks > 60
        store.check()
        store.close()

    def test_not_before_the_end(self, store: Store, volume: Volume, path: Path, root: FileKey) -> None:
        """Looks come every sixteenth of an epoch, and the last one before its end ends it."""
        store.flush()
        store.idle(EPOCH * 13 / 16)
        assert GONE in words(path, root)
        store.idle(EPOCH * 2 / 16)
        assert GONE not in words(path, root)

    def test_many_epochs(self, store: Store, volume: Volume, path: Path, root: FileKey) -> None:
        """Some blocks are of the first, whose tree gets smaller with each."""
        copies: list[Path] = []
        rng = np.random.default_rng(1)
        for turn in range(12):
            for lba in rng.integers(0, 40, 5).tolist():
                volume.write(lba * BLOCK_SIZE, block(b"%04d" % turn, lba))
            store.flush()
            before = {bytes(volume.read(lba * BLOCK_SIZE, 4)) for lba in range(40)} - {KEPT}
            store.idle(EPOCH)
            assert words(path, root, old_nodes=copies) - {KEPT} == before
            copies.append(path.parent / f"nodes-{turn}")
            shutil.copy(path / "keys.nodes", copies[-1])
        assert len(store._parts.encryption._keychain.keys) == 3  # type: ignore[union-attr]

    def test_copies_of_the_cleaner(self, store: Store, volume: Volume, path: Path, root: FileKey) -> None:
        """What the cleaner left behind died with what it copied; it needs no key for moving."""
        other = store.tenant("contoso").create_volume("churn", 560 * BLOCK_SIZE)
        for turn in range(6):
            other.write(0, b"".join(block(b"%04d" % turn, lba) for lba in range(560)))
        assert store.stats().relocated_blocks > 0
        for lba in range(30):
            volume.write(lba * BLOCK_SIZE, block(b"anew", lba))
        store.flush()
        store.idle(EPOCH)
        live = {volume.read(lba * BLOCK_SIZE, BLOCK_SIZE) for lba in range(64)}
        live |= {other.read(lba * BLOCK_SIZE, BLOCK_SIZE) for lba in range(560)}
        drive = (path / "drives/0.img").read_bytes()
        assert readable(drive, Keys(path, root), BLOCK_SIZE) <= live

    def test_an_epoch_in_which_nothing_died_is_no_work(
        self, store: Store, volume: Volume, path: Path
    ) -> None:
        store.idle(EPOCH)
        before = [(path / name).read_bytes() for name in ("keys", "keys.nodes")]
        store.idle(10 * EPOCH)
        assert [(path / name).read_bytes() for name in ("keys", "keys.nodes")] == before

    def test_a_dead_block_that_comes_back_says_that_its_key_is_dead(
        self, store: Store, volume: Volume, path: Path, root: FileKey, clock: ManualClock
    ) -> None:
        """Whoever puts an old copy of drive and catalog back has the ciphertext, and no key."""
        store.close()
        old = {name: (path / name).read_bytes() for name in ("drives/0.img", "catalog.db")}
        with Store.open(path, key=root, clock=clock) as later:
            later.tenant("contoso").volume("disk").write(BLOCK_SIZE, block(b"anew"))
            later.idle(EPOCH)
        for name, content in old.items():
            (path / name).write_bytes(content)
        with Store.open(path, key=root, clock=clock, read_only=True) as old_store:
            volume = old_store.tenant("contoso").volume("disk")
            assert volume.read(2 * BLOCK_SIZE, 4) == KEPT
            with pytest.raises(NotFoundError, match="key of lba 1 of volume number 1 is dead"):
                volume.read(BLOCK_SIZE, 4)

    def test_the_audit_log_knows(self, store: Store, volume: Volume) -> None:
        store.idle(EPOCH)
        (ended,) = [record for record in store.audit.records() if record.act == "epoch ended"]
        assert ended.details["volumes"] == [volume.number]
        assert ended.details["node_bytes"] > 0


class TestLayers:
    def test_what_a_snapshot_shows_lives(self, store: Store, path: Path, root: FileKey) -> None:
        volume = store.create_tenant("contoso").create_volume("disk", 64 * BLOCK_SIZE)
        volume.write(0, b"".join(block(GONE, lba) for lba in range(64)))
        snapshot = volume.snapshot("monday")
        clone = snapshot.clone("copy")
        volume.write(0, b"".join(block(KEPT, lba) for lba in range(64)))
        store.idle(EPOCH)
        assert words(path, root) == {KEPT, GONE}
        assert snapshot.read(0, 4) == clone.read(0, 4) == GONE
        clone.write(0, b"".join(block(b"mine", lba) for lba in range(64)))
        snapshot.delete()
        store.flush()
        assert GONE in words(path, root)
        store.idle(EPOCH)
        assert words(path, root) == {KEPT, b"mine"}
        assert (volume.read(0, 4), clone.read(0, 4)) == (KEPT, b"mine")

    def test_a_statement_says_that_the_key_is_gone(
        self, store: Store, volume: Volume, key: SigningKey
    ) -> None:
        snapshot = volume.snapshot("monday")
        volume.write(0, b"".join(block(b"anew", lba) for lba in range(64)))
        snapshot.delete()
        (erasure,) = store.erasures
        assert erasure.promise.strategy == "CryptographicErase(epoch=60)"
        assert erasure.promise.bound_ns == EPOCH * 1e9
        assert store._evidence.erasures.pending(erasure.id)["count"].sum() >= 30
        store.idle(EPOCH)
        assert set(store._evidence.erasures.copies(erasure.id)["how"].tolist()) == {"key"}
        statement = store.statement(erasure, key=key)
        assert statement.complete
        statement.verify(key.public)
        assert {copy["gone"]["how"] for copy in statement.document["copies"]} == {"key"}

    def test_of_what_the_cleaner_left_behind_nothing_is_claimed(self, store: Store, volume: Volume) -> None:
        """What it is a copy of may live, and then it opens."""
        snapshot = volume.snapshot("monday")
        other = store.tenant("contoso").create_volume("churn", 560 * BLOCK_SIZE)
        lba = 0
        while not store.remanence(volume).moved_blocks:
            other.write(lba % 560 * BLOCK_SIZE, block(b"more", lba))
            lba += 1
        volume.write(0, block(b"anew"))
        volume.write(BLOCK_SIZE, block(b"anew"))
        snapshot.delete()
        (erasure,) = store.erasures
        store.idle(EPOCH)
        copies = store._evidence.erasures.copies(erasure.id)
        assert copies["moved"].any()
        assert not copies["moved"].all()
        assert set(copies["how"][~copies["moved"]].tolist()) == {"key"}
        assert "key" not in copies["how"][copies["moved"]].tolist()

    def test_the_keys_of_whole_volumes_die_in_the_call(
        self, store: Store, volume: Volume, path: Path, root: FileKey
    ) -> None:
        """Those of all their epochs."""
        store.idle(EPOCH)
        volume.write(0, block(KEPT))
        store.flush()
        assert KEPT in words(path, root)
        volume.delete()
        assert words(path, root) == set()
        assert words(path, root, old_nodes=[path / "keys.nodes"]) == set()
        store.create_tenant("fabrikam").create_volume("disk", 4096).write(0, b"works")

    def test_a_deleted_volume_that_a_clone_shows_has_epochs_too(
        self, store: Store, path: Path, root: FileKey, clock: ManualClock
    ) -> None:
        volume = store.create_tenant("contoso").create_volume("disk", 8 * BLOCK_SIZE)
        volume.write(0, b"".join(block(GONE if lba < 4 else KEPT, lba) for lba in range(8)))
        snapshot = volume.snapshot("monday")
        clone = snapshot.clone("copy")
        volume.delete()
        snapshot.delete()
        clone.write(0, b"".join(block(b"mine", lba) for lba in range(4)))
        store.idle(EPOCH)
        assert words(path, root) == {KEPT, b"mine"}
        store = reopen(store, path, key=root, clock=clock)
        assert store.tenant("contoso").volume("copy").read(4 * BLOCK_SIZE, 4) == KEPT
        store.close()


class TestStrategies:
    def test_what_is_accepted(self) -> None:
        assert CryptographicErase(epoch=timedelta(hours=1)) == CryptographicErase(epoch=3600)
        assert CryptographicErase().epoch is None
        for strategy in (CryptographicErase(), CryptographicErase(epoch=0.5)):
            assert from_text(to_text(strategy)) == strategy
        assert to_words(CryptographicErase(epoch=timedelta(seconds=90))) == "epoch=90.0"
        for wrong in (0, -1, float("inf"), float("nan"), True, "1h", timedelta(0)):
            with pytest.raises(ConfigError, match="seconds above 0 or a timedelta"):
                CryptographicErase(epoch=wrong)  # type: ignore[arg-type]

    def test_only_where_there_are_keys(self, tmp_path: Path) -> None:
        with Store.memory("1MiB") as store, pytest.raises(ConfigError, match="encrypted store"):
            store.set_deletion(CryptographicErase(epoch=1))

    def test_a_volume_among_others(self, path: Path, root: FileKey, clock: ManualClock) -> None:
        store = create(path, encryption=root, clock=clock)
        tenant = store.create_tenant("contoso")
        first, second = (tenant.create_volume(name, 64 * BLOCK_SIZE) for name in ("first", "second"))
        store.set_deletion(CryptographicErase(epoch=EPOCH), first)
        for volume, word in ((first, b"of 1"), (second, b"of 2")):
            volume.write(0, block(word))
            volume.write(0, block(KEPT))
        store.idle(EPOCH)
        assert words(path, root) == {KEPT, b"of 2"}
        store.set_deletion(CryptographicErase(epoch=EPOCH / 2), tenant)
        third = tenant.create_volume("third", 64 * BLOCK_SIZE)
        third.write(0, block(b"of 3"))
        third.trim(0, BLOCK_SIZE)
        store.idle(EPOCH / 2)
        assert words(path, root) == {KEPT}
        store.close()

    def test_blocks_from_before_are_written_over(self, path: Path, root: FileKey, clock: ManualClock) -> None:
        """They share a key, which lives as long as one of them does."""
        store = create(path, encryption=root, clock=clock)
        volume = store.create_tenant("contoso").create_volume("disk", 64 * BLOCK_SIZE)
        fill(volume)
        store.set_deletion(CryptographicErase(epoch=EPOCH))
        plan = store.plan_deletion(CryptographicErase(epoch=EPOCH))
        assert plan.device_blocks > 0
        volume.write(0, block(b"also"))
        volume.write(0, block(b"anew"))
        store.idle(EPOCH)
        assert words(path, root) == {KEPT, b"anew"}
        assert Keys(path, root).shared
        volume.write(0, b"".join(block(b"last", lba) for lba in range(64)))
        store.flush()
        store.idle(EPOCH)
        assert words(path, root) == {b"last"}
        assert not Keys(path, root).shared
        assert store.plan_deletion(CryptographicErase(epoch=EPOCH)).device_blocks == 0
        store = reopen(store, path, key=root, clock=clock)
        assert store.tenant("contoso").volume("disk").read(0, 4) == b"last"
        store.close()

    @pytest.mark.parametrize("after", [Lap(), CryptographicErase(), CryptographicErase(epoch=10 * EPOCH)])
    def test_what_was_promised_is_kept_when_the_strategy_changes(
        self, store: Store, volume: Volume, path: Path, root: FileKey, after: Any
    ) -> None:
        store.flush()
        assert GONE in words(path, root)
        store.set_deletion(after)
        assert words(path, root) == {KEPT}
        assert_kept(volume)

    def test_together_with_a_deadline(self, store: Store, path: Path, root: FileKey) -> None:
        tenant = store.create_tenant("contoso")
        store.set_deletion(Deadline(seconds=4 * EPOCH), tenant)
        volume = tenant.create_volume("disk", 64 * BLOCK_SIZE)
        fill(volume)
        store.idle(EPOCH)
        assert words(path, root) == {KEPT}
        assert store.remanence().blocks
        store.idle(3 * EPOCH)
        assert not store.remanence().blocks
        assert_kept(volume)

    def test_the_plan(self, store: Store, volume: Volume, path: Path) -> None:
        plan = store.plan_deletion(CryptographicErase(epoch=EPOCH))
        assert (plan.relocated_blocks, plan.device_blocks, plan.within_seconds) == (0, 0, EPOCH)
        assert plan.residue_blocks == 32
        store.idle(EPOCH)
        # The head, those of the section and the tree.
        assert (path / "keys.nodes").stat().st_size == plan.key_bytes + 64 + 64 + 24

    def test_no_room_in_the_key_area(
        self, path: Path, root: FileKey, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make = Keychain.create
        monkeypatch.setattr(Keychain, "create", lambda *a, **k: make(*a, **k, slots=7))
        store = create(path, encryption=root, clock=clock)
        tenant = store.create_tenant("contoso")
        volumes = [tenant.create_volume(f"disk-{number}", "16KiB") for number in range(3)]
        with pytest.raises(OutOfSpaceError, match=r"7 slots, 0 of .* 3 keys .* need 4.* 11 slots"):
            store.set_deletion(CryptographicErase(epoch=EPOCH))
        assert store.deletion == Lap()
        volumes.pop().delete()
        with pytest.raises(OutOfSpaceError, match="key area"):
            store.set_deletion(CryptographicErase(epoch=EPOCH))
        volumes.pop().delete()
        store.set_deletion(CryptographicErase(epoch=EPOCH))
        (volume,) = volumes
        volume.write(0, block(GONE))
        volume.write(0, block(KEPT))
        store.idle(EPOCH)
        assert words(path, root) == {KEPT}
        tenant.create_volume("more", "16KiB")
        with pytest.raises(OutOfSpaceError, match="end of an epoch"):
            tenant.create_volume("one more", "16KiB")
        volume.write(0, block(b"anew"))
        store.idle(EPOCH)  # there is a slot left for that
        assert words(path, root) == {b"anew"}
        store.close()

    def test_a_clock_that_was_set_back(self, store: Store, volume: Volume, path: Path, root: FileKey) -> None:
        store.close()
        with Store.open(path, key=root, clock=ManualClock(5)) as later:
            assert words(path, root) == {KEPT}
            assert_kept(later.tenant("contoso").volume("disk"))


def test_it_ends_on_the_systems_clock(path: Path, root: FileKey) -> None:
    with create(path, encryption=root, deletion=CryptographicErase(epoch=0.3)) as store:
        volume = store.create_tenant("contoso").create_volume("disk", 64 * BLOCK_SIZE)
        fill(volume)
        store.flush()
        limit = time.monotonic() + 10
        while GONE in words(path, root) and time.monotonic() < limit:
            time.sleep(0.02)
        assert GONE not in words(path, root)
        assert store.deletion_failure is None
        assert_kept(volume)


def test_readers_and_writers_notice_nothing(store: Store, volume: Volume) -> None:
    """Though keys die all the time under them."""
    trouble: list[BaseException] = []
    ended = threading.Event()

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            while not ended.is_set():
                lba = int(rng.integers(0, 40)) // 2 * 2 + seed % 2
                if seed < 2:
                    volume.write(lba * BLOCK_SIZE, block(b"anew", lba))
                else:
                    assert volume.read(lba * BLOCK_SIZE, 4) in {KEPT, b"anew"}
        except BaseException as error:
            trouble.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(12):
        store.idle(EPOCH)
    ended.set()
    for thread in threads:
        thread.join()
    assert trouble == []
    store.check()
