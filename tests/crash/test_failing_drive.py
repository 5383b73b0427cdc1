"""Failures of drives, one of a kind, looked at closely: on the fault medium, and on files."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from seqstore import BadBlockError, CorruptionError, MediumError, Store, Volume
from seqstore.media.faults import FaultMedium
from tests import durable
from tests.crash.failing import Call, FailingDrive, create, failure_of, reopen
from tests.small import BLOCK_SIZE, mba_of, write_tagged

TENANTS = ("contoso", "fabrikam")


class TestFaults:
    """What the fault medium does on request."""

    @staticmethod
    def make() -> tuple[FailingDrive, Store, Volume]:
        drive = FailingDrive()
        store = create(drive).store
        volume = store.create_tenant("contoso").create_volume("disk", 40 * BLOCK_SIZE)
        write_tagged(volume, range(20))
        volume.snapshot("monday")
        return drive, store, volume

    def test_a_sync_that_failed(self) -> None:
        """Nobody knows what the drive holds then: no change is accepted, a further flush is no success."""
        drive, store, volume = self.make()
        kept = volume.read(0, 20 * BLOCK_SIZE)
        write_tagged(volume, [3], version=2)
        newest = volume.read(0, 20 * BLOCK_SIZE)
        drive.fail("sync", 0)
        with pytest.raises(OSError, match=r".") as caught:
            volume.flush()
        assert caught.value.errno == errno.EIO
        snapshot = volume.find_snapshot("monday")
        for change in (
            volume.flush,
            store.flush,
            store.checkpoint,
            lambda: volume.write(0, b"x"),
            lambda: write_tagged(volume, [1]),
            lambda: volume.trim(0, 5000),
            lambda: volume.resize(100),
            lambda: volume.resize(10**6),
            lambda: volume.snapshot("tuesday"),
            lambda: volume.rollback(snapshot),
            lambda: snapshot.clone("copy"),
            lambda: volume.tenant.create_volume("other", 512),
            snapshot.delete,
            volume.delete,
        ):
            with pytest.raises(MediumError, match="open it again"):
                change()
            assert volume.read(0, 20 * BLOCK_SIZE) == newest
        assert [s.name for s in volume.snapshots] == ["monday"]
        assert snapshot.read(0, 20 * BLOCK_SIZE) == kept
        store.check()
        with pytest.raises(MediumError, match="open it again"):
            store.close()
        assert store.closed
        again = reopen(drive).store
        (volume,) = again.tenants[0].volumes
        assert volume.read(0, 20 * BLOCK_SIZE) == newest
        volume.write(0, b"again")
        again.close()

    def test_a_block_that_failed_can_be_written_again(self) -> None:
        """The record that could not be written stays open, and the block was not part of it yet."""
        drive, store, volume = self.make()
        drive.fail("append", 0, 2)
        failures = [failure_of(partial(write_tagged, volume, [lba], 2)) for lba in [*range(20)] * 10]
        assert sum(failure is not None for failure in failures) == 2
        rows = write_tagged(volume, range(8), 99)
        store.flush()
        durable.crash(store)
        again = reopen(drive).store
        (volume,) = again.tenants[0].volumes
        assert volume.read(0, 8 * BLOCK_SIZE) == rows.tobytes()
        durable.crash(again)

    @pytest.mark.parametrize("close", [True, False], ids=["closed", "left"])
    def test_a_write_that_failed_in_its_middle(self, close: bool) -> None:
        """Half of it is in the record that is still open: no later flush may make it last."""
        drive, store, volume = self.make()
        store.flush()
        before = volume.read(0, volume.size)
        write_tagged(volume, [0])  # a record is open, with room for a part of what comes
        drive.fail("append", 0)
        assert failure_of(partial(write_tagged, volume, range(1, 15), 2)) is not None
        half = volume.read(0, volume.size)
        assert half != before
        for change in (store.flush, volume.flush, store.checkpoint, lambda: volume.write(0, b"x")):
            with pytest.raises(MediumError, match="open it again"):
                change()
        assert volume.read(0, volume.size) == half
        if close:
            with pytest.raises(MediumError, match="open it again"):
                store.close()
        else:
            durable.crash(store)
        again = reopen(drive).store
        again.check()
        (volume,) = again.tenants[0].volumes
        assert volume.read(0, volume.size) == before
        write_tagged(volume, range(1, 15), 3)
        again.close()

    def test_a_block_that_cannot_be_read(self) -> None:
        drive, store, volume = self.make()
        store.flush()
        good = volume.read(0, 20 * BLOCK_SIZE)
        mba = mba_of(volume, 7)
        drive.bad_on_read(mba)
        for read in (
            lambda: volume.read(7 * BLOCK_SIZE, 1),
            lambda: volume.read(0, volume.size),
            lambda: volume.read_blocks(5, 5),
            lambda: volume.find_snapshot("monday").read(7 * BLOCK_SIZE, 1),
            lambda: volume.write(7 * BLOCK_SIZE, b"x"),  # the rest of the block is needed
        ):
            with pytest.raises(BadBlockError, match=rf"media block {mba}:") as caught:
                read()
            assert (caught.value.errno, caught.value.mba) == (errno.EIO, mba)
            assert "cannot be read" in str(caught.value.__cause__)
        assert volume.read(0, 7 * BLOCK_SIZE) + volume.read(8 * BLOCK_SIZE, 12 * BLOCK_SIZE) == (
            good[: 7 * BLOCK_SIZE] + good[8 * BLOCK_SIZE :]
        )
        (damage,) = store.scrub().damaged
        assert (damage.mba, damage.lba, damage.volume) == (mba, 7, volume.number)
        volume.find_snapshot("monday").delete()
        rows = write_tagged(volume, [7], version=2)
        assert volume.read(7 * BLOCK_SIZE, BLOCK_SIZE) == rows.tobytes()
        assert store.scrub().damaged == ()
        store.close()

    def test_a_block_that_cannot_be_read_is_in_the_way_of_the_head(self) -> None:
        """The cleaner meets it. The block is lost and stays an error; nothing else is."""
        drive, store, volume = self.make()
        good = volume.read(0, 20 * BLOCK_SIZE)
        store.flush()
        drive.bad_on_read(mba_of(volume, 7))
        scratch = store.tenants[0].create_volume("scratch", 30 * BLOCK_SIZE)
        for version in range(1, 60):
            failure_of(partial(write_tagged, scratch, range(30), version))
        assert store.stats().laps > 2
        store.check()
        for lba in range(20):
            if lba != 7:
                expected = good[lba * BLOCK_SIZE : (lba + 1) * BLOCK_SIZE]
                assert volume.read(lba * BLOCK_SIZE, BLOCK_SIZE) == expected
        with pytest.raises(CorruptionError, match="lba 7 "):
            volume.read(7 * BLOCK_SIZE, BLOCK_SIZE)
        store.close()
        again = reopen(drive).store
        with pytest.raises(CorruptionError, match="lba 7 "):
            again.tenants[0].volumes[0].read(7 * BLOCK_SIZE, BLOCK_SIZE)
        durable.crash(again)

    def test_a_drive_that_dies(self) -> None:
        drive, store, volume = self.make()
        rows = write_tagged(volume, range(20), version=2)
        store.flush()
        image = drive.image()
        drive.die()
        for call in (
            lambda: volume.read(0, 1),
            lambda: volume.read(0, volume.size),
            store.flush,
            lambda: [write_tagged(volume, range(20), version) for version in range(3, 9)],
            store.checkpoint,
            store.close,
        ):
            assert call == store.flush or failure_of(call) is not None
        assert store.closed
        assert failure_of(lambda: Store.open_on(FaultMedium(drive))) is not None
        (volume,) = reopen(FailingDrive(image)).store.tenants[0].volumes
        assert volume.read(0, 20 * BLOCK_SIZE) == rows.tobytes()

    @pytest.mark.parametrize("call", ["append", "sync"])
    def test_a_tenant_whose_deletion_fails(self, tmp_path: Path, call: Call) -> None:
        """It is gone after the next opening; those of others stay."""
        for first in range(20):
            drive = FailingDrive()
            store = Store.create_on(FaultMedium(drive), catalog=tmp_path / f"{first}.db")
            for name in TENANTS:
                volume = store.create_tenant(name).create_volume("disk", 5000)
                write_tagged(volume, [1, 2])
            store.flush()
            write_tagged(volume, [1], version=2)
            seen = volume.read(0, 5000)
            drive.fail(call, first)
            failure = failure_of(store.tenant("contoso").delete)
            drive.mend()
            durable.crash(store)
            with Store.open_on(FaultMedium(drive), catalog=tmp_path / f"{first}.db") as again:
                again.check()
                names = [tenant.name for tenant in again.tenants]
                assert names in (["fabrikam"], [*TENANTS]) if failure else names == ["fabrikam"]
                if "contoso" not in names:
                    assert again.tenant("fabrikam").volume("disk").read(0, 5000) == seen
            if failure is None:
                break
        assert first > 0


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse to write beyond a size, as it does where a file system is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_and_close(path: Path) -> None:
    with Store.open(path) as store:
        store.tenant("contoso").volume("disk").write(0, b"x")


class TestFiles:
    """A sparse file for which there is no room any more."""

    LIMIT = 128 * 1024

    def test_at_work(self, tmp_path: Path) -> None:
        path = tmp_path / "lab.store"
        store = durable.create(path, preallocate=False)
        volume = store.create_tenant("contoso").create_volume("disk", 20 * BLOCK_SIZE)
        written = [bytes(volume.size)]
        with largest_file(self.LIMIT):
            failure = None
            while failure is None and len(written) < 100:
                written.append(write_tagged(volume, range(20), len(written)).tobytes())
                failure = failure_of(store.flush, errno.EFBIG)
            assert isinstance(failure, MediumError)
            assert volume.read(0, volume.size) == written[-1]
            store.check()
            durable.crash(store)
        with Store.open(path) as again:
            again.check()
            assert again.tenant("contoso").volume("disk").read(0, 20 * BLOCK_SIZE) in written[-2:]
        assert len(written) > 3

    def test_making(self, tmp_path: Path) -> None:
        with largest_file(1000):
            failure = failure_of(lambda: durable.create(tmp_path / "lab.store"), errno.EFBIG)
        assert isinstance(failure, MediumError)
        assert [*tmp_path.iterdir()] == []

    def test_opening(self, tmp_path: Path) -> None:
        path = tmp_path / "lab.store"
        with durable.create(path, preallocate=False) as store:
            volume = store.create_tenant("contoso").create_volume("disk", 20 * BLOCK_SIZE)
            while store.stats().position * BLOCK_SIZE < 2 * self.LIMIT:
                rows = write_tagged(volume, range(20), store.stats().position)
        with largest_file(self.LIMIT):
            assert isinstance(failure_of(partial(write_and_close, path), errno.EFBIG), MediumError)
            with Store.open(path, read_only=True) as again:
                assert again.tenant("contoso").volume("disk").read(0, 20 * BLOCK_SIZE) == rows.tobytes()
        with Store.open(path) as again:
            assert again.tenant("contoso").volume("disk").read(0, 20 * BLOCK_SIZE) == rows.tobytes()
