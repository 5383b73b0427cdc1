"""Ends of epochs that are cut off or fail, files of nodes that are not right, and keys in the core."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqstore import (
    ConfigError,
    CryptographicErase,
    FormatError,
    MediumError,
    NotFoundError,
    OutOfSpaceError,
    Store,
    VersionError,
    Volume,
)
from seqstore._native.crypt import KeyRing, system_crypto
from seqstore.clock import ManualClock
from seqstore.engine_deletion import EngineDeletion
from seqstore.keys import FileKey
from seqstore.keys.area import FileStorage
from seqstore.keys.nodes import NodesFile
from seqstore.media.faults import FaultMedium, FaultyDrive
from tests.durable import crash, create, picture, reopen
from tests.epochs import EPOCH, GONE, KEPT, assert_kept, block, fill, words
from tests.small import BLOCK_SIZE, SEGMENT_SIZE


class CutError(Exception):
    """The power goes."""


@contextmanager
def cut_at(patch: pytest.MonkeyPatch, number: int) -> Iterator[list[str]]:
    """Let the power go before the call of that number that changes what is safe, or after half of a write."""
    calls: list[str] = []

    def cut(owner: Any, name: str, half: Callable[..., object] | None = None) -> None:
        real = getattr(owner, name)

        def call(*arguments: Any, **named: Any) -> Any:
            calls.append(name)
            if len(calls) == number:
                if half is not None:
                    half(real, *arguments)
                raise CutError
            return real(*arguments, **named)

        patch.setattr(owner, name, call)

    cut(FileStorage, "write", lambda real, self, at, data: real(self, at, data[: len(data) // 2]))
    cut(FileStorage, "sync")
    cut(NodesFile, "_fill")
    cut(Path, "replace")
    cut(os, "fsync")
    cut(KeyRing, "keep")
    cut(KeyRing, "retire")
    yield calls
    patch.undo()


class TestCrashes:
    @pytest.mark.invariant("I2", "I3")
    @pytest.mark.parametrize("is_due_later", [False, True])
    def test_anywhere(
        self, tmp_path: Path, root: FileKey, is_due_later: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What lives is there, and the end is gone on with when the store is opened."""
        made = tmp_path / "made"
        clock = ManualClock(10**18)
        store = create(made, encryption=root, clock=clock, deletion=CryptographicErase(epoch=EPOCH))
        volume = store.create_tenant("contoso").create_volume("disk", 64 * BLOCK_SIZE)
        volume.write(0, b"".join(block(b"old ", lba) for lba in range(64)))
        store.idle(EPOCH)  # so that there is a file of nodes, and another epoch
        fill(volume)
        shown = picture(store)
        store.close()
        seen: set[str] = set()
        for number in range(1, 100):
            path = tmp_path / f"cut-{number}"
            shutil.copytree(made, path)
            now = ManualClock(clock.now_ns())
            store = Store.open(path, key=root, clock=now)
            with cut_at(monkeypatch, number) as calls:
                try:
                    store.idle(EPOCH)
                except CutError:
                    seen.add(calls[-1])
                else:
                    break
            after = ManualClock(clock.now_ns() if is_due_later else now.now_ns() + int(EPOCH * 1e9))
            with pytest.MonkeyPatch.context() as patch:
                # In reading alone nothing is put right.
                patch.setattr(KeyRing, "retire", None)
                crash(store)
                with Store.open(path, key=root, clock=after, read_only=True) as store:
                    assert picture(store) == shown
            with Store.open(path, key=root, clock=after) as store:
                assert picture(store) == shown
                store.check()
                if is_due_later:
                    store.idle(EPOCH)
                assert words(path, root) == {KEPT}
                assert picture(store) == shown
                assert len(store._parts.encryption._keychain.keys) == 3  # type: ignore[union-attr]
            shutil.rmtree(path)
        assert seen == {"write", "sync", "_fill", "replace", "fsync", "keep", "retire"}
        assert number > 12

    def test_what_fails_is_tried_again(
        self, store: Store, volume: Volume, path: Path, root: FileKey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError(28, "no space left")

        with monkeypatch.context() as patch:
            patch.setattr(NodesFile, "_fill", fail)
            with pytest.raises(MediumError, match=r"file of nodes .* no space left"):
                store.idle(EPOCH)
        volume.write(5 * BLOCK_SIZE, block(b"anew"))
        store.flush()
        assert GONE in words(path, root)
        store.idle(1)
        assert GONE not in words(path, root)
        store.idle(EPOCH)
        assert words(path, root) == {KEPT, b"anew"}
        assert not [*path.glob("*.new")]

    def test_a_summary_that_cannot_be_read_lets_no_key_die(
        self, tmp_path: Path, root: FileKey, clock: ManualClock
    ) -> None:
        """It might be that of a block that lives."""
        drive = FaultyDrive(64 * SEGMENT_SIZE, block_size=BLOCK_SIZE, zone_size=SEGMENT_SIZE)
        files: dict[str, Any] = {
            "catalog": tmp_path / "catalog.db",
            "keys": tmp_path / "keys",
            "clock": clock,
        }
        with FaultMedium(drive) as medium:
            strategy = CryptographicErase(epoch=EPOCH)
            with Store.create_on(medium, encryption=root, deletion=strategy, **files) as store:
                fill(store.create_tenant("contoso").create_volume("disk", 64 * BLOCK_SIZE))
        with FaultMedium(drive) as medium, Store.open_on(medium, key=root, **files) as store:
            volume = store.tenant("contoso").volume("disk")
            (first,) = volume.extents()[:1]["mba"].tolist()
            summary = next(mba for mba in range(first, 0, -1) if drive.peek(mba, 1)[:8] == b"SEQSREC1")
            drive.bad_on_read(summary)
            with pytest.raises(MediumError, match="listing what lives under a key"):
                store.idle(EPOCH)
            keys = store._parts.encryption._keychain.keys  # type: ignore[union-attr]
            assert [key.kind.name for key in keys] == ["TENANT", "VOLUME", "TREE", "TREE"]
            # The cleaner gives up what cannot be opened any more, and then it is known what lives.
            volume.trim(0, volume.size)
            store.idle(1)
            keys = store._parts.encryption._keychain.keys  # type: ignore[union-attr]
            assert [key.kind.name for key in keys] == ["TENANT", "VOLUME", "TREE"]

    def test_deletions_that_were_not_flushed_are_before_keys_die(
        self, store: Store, volume: Volume, path: Path, root: FileKey, clock: ManualClock
    ) -> None:
        """Or a crash would bring a block back whose key is dead."""
        store.flush()
        volume.write(BLOCK_SIZE, block(b"anew"))
        volume.trim(2 * BLOCK_SIZE, BLOCK_SIZE)
        store.idle(EPOCH)
        store = reopen(store, path, key=root, clock=clock)
        volume = store.tenant("contoso").volume("disk")
        assert volume.read(BLOCK_SIZE, 4) == b"anew"
        assert not any(volume.read(2 * BLOCK_SIZE, BLOCK_SIZE))
        store.close()

    def test_deletions_in_the_middle_of_the_end_are_flushed_too(
        self,
        store: Store,
        volume: Volume,
        path: Path,
        root: FileKey,
        clock: ManualClock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        real = EngineDeletion.live_seals

        def late(core: EngineDeletion, keys: list[int]) -> Any:
            volume.write(BLOCK_SIZE, block(b"anew"))
            return real(core, keys)

        store.flush()
        with monkeypatch.context() as patch:
            patch.setattr(EngineDeletion, "live_seals", late)
            store.idle(EPOCH)
        store = reopen(store, path, key=root, clock=clock)
        assert store.tenant("contoso").volume("disk").read(BLOCK_SIZE, 4) == b"anew"
        store.close()


class TestTheFile:
    @pytest.fixture
    def closed(self, store: Store, volume: Volume, path: Path) -> Path:
        store.idle(EPOCH)
        store.close()
        return path / "keys.nodes"

    def expect(self, path: Path, root: FileKey, kind: type[Exception], message: str) -> None:
        with pytest.raises(kind, match=message):
            Store.open(path, key=root)

    def test_lost(self, closed: Path, path: Path, root: FileKey) -> None:
        closed.unlink()
        self.expect(path, root, FormatError, "lacks the nodes of volume number 1")

    def test_of_an_earlier_moment(self, closed: Path, path: Path, root: FileKey, clock: ManualClock) -> None:
        old = closed.read_bytes()
        with Store.open(path, key=root, clock=clock) as store:
            store.tenant("contoso").volume("disk").write(0, block(b"anew"))
            store.idle(EPOCH)
        closed.write_bytes(old)
        self.expect(path, root, FormatError, "lacks the nodes of volume number 1")

    def test_damaged(self, closed: Path, path: Path, root: FileKey) -> None:
        good = closed.read_bytes()
        for at, message in ((0, "no file of nodes"), (16, "no file of nodes"), (8, "knows up to 1")):
            changed = bytearray(good)
            changed[at] ^= 2
            closed.write_bytes(changed)
            self.expect(path, root, VersionError if at == 8 else FormatError, message)
        # Format 0, which there never was; what is reserved in the head of the file, and of a section.
        for at, message in ((8, "no file of nodes"), (40, "reserved bytes"), (64 + 61, "reserved bytes")):
            changed = bytearray(good)
            changed[at] ^= 1
            closed.write_bytes(changed)
            self.expect(path, root, FormatError, message)
        for bad in (good[:-1], good[:100], good + b"x", good[:30]):
            closed.write_bytes(bad)
            self.expect(path, root, FormatError, "put")
        closed.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        self.expect(path, root, FormatError, "do not open")

    def test_it_is_for_its_owner_alone(self, closed: Path) -> None:
        assert closed.stat().st_mode & 0o777 == 0o600

    def test_volumes_that_are_gone_leave_it(
        self, closed: Path, path: Path, root: FileKey, clock: ManualClock
    ) -> None:
        with Store.open(path, key=root, clock=clock) as store:
            other = store.create_tenant("fabrikam").create_volume("disk", 8 * BLOCK_SIZE)
            store.tenant("contoso").delete()
            other.write(0, block(GONE) + block(KEPT))
            other.trim(0, BLOCK_SIZE)
            store.idle(EPOCH)
            assert [*store._parts.encryption._nodes.sections] == [other.number]  # type: ignore[union-attr]


class TestTheRing:
    @pytest.fixture
    def ring(self) -> KeyRing:
        ring = KeyRing(system_crypto())
        ring.add(7, bytes(32))
        return ring

    def test_what_is_left_of_a_tree(self, ring: KeyRing) -> None:
        live = np.array([0, 1, 2, 3, 4, 9], np.uint64)
        nodes = ring.prune(7, 5, live)
        ring.keep(7, 5, nodes)
        ring.retire(7)
        assert ring.prune(7, 5, live) == nodes
        with pytest.raises(NotFoundError):
            ring.prune(7, 5, np.array([5], np.uint64))
        with pytest.raises(NotFoundError):  # a tree of which nothing was kept
            ring.prune(7, 6, live)
        with pytest.raises(NotFoundError):
            ring.retire(7)
        ring.keep(7, 5, b"")
        with pytest.raises(NotFoundError):
            ring.prune(7, 5, live)

    def test_removing_takes_the_trees_along(self, ring: KeyRing) -> None:
        live = np.arange(10, dtype=np.uint64)
        ring.keep(7, 5, ring.prune(7, 5, live))
        ring.retire(7)
        with pytest.raises(NotFoundError):
            ring.remove(7)
        with pytest.raises(NotFoundError):
            ring.prune(7, 5, live)

    def test_more_nodes_than_are_expected(self, ring: KeyRing) -> None:
        live = np.arange(0, 20_000, 2, dtype=np.uint64)
        assert len(ring.prune(7, 5, live)) == 48 * len(live)

    def test_what_are_no_nodes(self, ring: KeyRing) -> None:
        with pytest.raises(ConfigError):
            ring.keep(7, 5, bytes(47))
        nodes = ring.prune(7, 5, np.array([4, 9], np.uint64))
        with pytest.raises(ConfigError):
            ring.keep(7, 5, nodes[48:] + nodes[:48])


def test_nothing_of_a_tree_stays_in_memory_whose_blocks_are_all_dead(store: Store, volume: Volume) -> None:
    encryption = store._parts.encryption
    assert encryption is not None
    first, _ = encryption.sealing_key(volume.number)
    store.idle(EPOCH)
    ((number, opening),) = encryption._kept[volume.number]
    assert number == first
    assert len(encryption.ring.prune(number, opening, np.array([1], np.uint64))) == 48
    volume.write(0, b"".join(block(b"anew", lba) for lba in range(64)))
    store.idle(EPOCH)
    with pytest.raises(NotFoundError):
        encryption.ring.prune(number, opening, np.array([1], np.uint64))
    assert {number for number, _ in encryption._kept[volume.number]} == {first + 1}


def test_the_numbers_of_keys_come_to_an_end(store: Store, volume: Volume) -> None:
    encryption = store._parts.encryption
    assert encryption is not None
    table = encryption._keychain._area.table
    struct.pack_into("<Q", table.image, 40, 2**32 - 1)
    table.finish()
    store.idle(EPOCH)
    assert encryption.sealing_key(volume.number) == (2**32 - 1, True)
    assert_kept(volume)
    volume.write(0, block(KEPT, 100))
    with pytest.raises(OutOfSpaceError, match="4294967295 numbers"):
        store.idle(EPOCH)
    assert_kept(volume)
