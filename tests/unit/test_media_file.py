"""Media in files: what they keep, whom they let in, and what they say when the file system says no."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import random
import resource
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from seqstore import (
    ConfigError,
    FormatError,
    MediumError,
    MemoryMedium,
    OutOfSpaceError,
    SequentialWriteError,
)
from seqstore.media import FileMedium
from seqstore.media.geometry import Geometry
from tests.canaries import Search, fill, wipe

BLOCK_SIZE = 4096
ZONE_SIZE = 128 * 1024
CAPACITY = 8 * ZONE_SIZE
ZONE_BLOCKS = ZONE_SIZE // BLOCK_SIZE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "drive.img"


@pytest.fixture(params=["cached", "direct", "mapped"])
def medium(request: pytest.FixtureRequest, path: Path) -> Iterator[FileMedium]:
    try:
        medium = make(path, access=request.param)
    except ConfigError as error:
        pytest.skip(str(error))
    with medium:
        yield medium


def make(path: Path, **options: Any) -> FileMedium:
    return FileMedium(path, CAPACITY, create=True, zone_size=ZONE_SIZE, **options)


def blocks(mark: int, count: int) -> bytes:
    return bytes([mark]) * (count * BLOCK_SIZE)


def descriptors() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


@contextlib.contextmanager
def leaves_no_descriptor() -> Iterator[None]:
    before = descriptors()
    yield
    assert descriptors() == before


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let writes beyond a size fail with EFBIG, and those across it write less than they were given."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def failing(number: int) -> Callable[..., NoReturn]:
    def fail(*arguments: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


class TestBytes:
    """A file keeps bytes and rules as memory does."""

    def test_it_does_as_memory_does(self, medium: FileMedium) -> None:
        """Buffers at any alignment, of up to several times what an aligned buffer of the core holds."""
        chance = random.Random(5)
        noise = np.random.default_rng(5).integers(0, 256, 3 * ZONE_SIZE, dtype=np.uint8)
        with MemoryMedium(CAPACITY, block_size=BLOCK_SIZE, zone_size=ZONE_SIZE) as memory:
            for _ in range(300):
                first, count = chance.randrange(medium.blocks), chance.randrange(1, 12)
                zone = first // ZONE_BLOCKS
                start = chance.randrange(ZONE_SIZE)
                if memory.write_pointer(zone) == (zone + 1) * ZONE_BLOCKS or chance.random() < 0.05:
                    memory.reset(zone)
                    medium.reset(zone)
                if chance.random() < 0.2:
                    count = min(ZONE_SIZE // BLOCK_SIZE * 2, medium.blocks - first)
                    data = noise[start : start + count * BLOCK_SIZE]
                    memory.overwrite(first, data)
                    medium.overwrite(first, data)
                else:
                    first = memory.write_pointer(zone)
                    count = min(count, (zone + 1) * ZONE_BLOCKS - first)
                    data = noise[start : start + count * BLOCK_SIZE]
                    memory.append(first, data)
                    medium.append(first, data)
                assert medium.write_pointer(zone) == memory.write_pointer(zone)
            medium.sync()
            assert medium.read(0, medium.blocks) == memory.read(0, memory.blocks)
            assert medium.read(7, 3) == memory.read(7, 3)

    def test_an_aligned_buffer_goes_straight_through(self, medium: FileMedium) -> None:
        room = np.zeros(ZONE_SIZE + 4096, dtype=np.uint8)
        start = -room.ctypes.data % 4096
        aligned = room[start : start + ZONE_SIZE]
        aligned[:] = 7
        medium.append(0, aligned)
        assert medium.read(0, ZONE_BLOCKS) == blocks(7, ZONE_BLOCKS)

    def test_appends_go_to_write_pointers(self, medium: FileMedium) -> None:
        medium.append(0, blocks(1, 3))
        for mba, count in [(0, 1), (4, 1), (ZONE_BLOCKS + 1, 1), (3, ZONE_BLOCKS)]:
            with pytest.raises(SequentialWriteError):
                medium.append(mba, blocks(2, count))
        with pytest.raises(ConfigError):
            medium.append(medium.blocks, blocks(2, 1))
        assert medium.read(0, ZONE_BLOCKS + 2) == blocks(1, 3) + bytes((ZONE_BLOCKS - 1) * BLOCK_SIZE)

    def test_bytes_outlive_the_medium(self, path: Path, medium: FileMedium) -> None:
        medium.append(0, blocks(5, 2))
        medium.close()
        with FileMedium(path, CAPACITY, zone_size=ZONE_SIZE) as again:
            assert again.read(0, 3) == blocks(5, 2) + bytes(BLOCK_SIZE)
            assert again.write_pointer(0) == 0
        assert path.read_bytes() == blocks(5, 2) + bytes(CAPACITY - 2 * BLOCK_SIZE)

    def test_threads(self, medium: FileMedium) -> None:
        """More of them than the core has aligned buffers, on zones of their own."""
        failures: list[BaseException] = []

        def work(zone: int) -> None:
            try:
                for step in range(ZONE_BLOCKS):
                    mba = zone * ZONE_BLOCKS + step
                    medium.append(mba, memoryview(b"x" + blocks(mba % 251 + 1, 1))[1:])
                    assert medium.read(mba, 1) == blocks(mba % 251 + 1, 1)
                    if step % 8 == 0:
                        medium.sync()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(zone,)) for zone in range(medium.zones)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert medium.read(0, medium.blocks) == b"".join(blocks(m % 251 + 1, 1) for m in range(medium.blocks))

    @pytest.mark.invariant("I9")
    def test_no_copy_stays_in_memory(self, medium: FileMedium) -> None:
        payload = np.zeros(2 * ZONE_SIZE // 8 + 1, dtype=np.uint64)
        search = Search()
        room = payload[:-1].view(np.uint8)
        fill(payload)
        medium.append(0, payload.view(np.uint8)[8 : ZONE_SIZE + 8])
        medium.overwrite(0, payload.view(np.uint8)[8 : 2 * ZONE_SIZE + 8])
        payload[:] = 0
        returned = medium.read(0, 2 * ZONE_BLOCKS)
        assert any(returned)
        wipe(returned)
        assert not room.any()
        assert search.in_process() == {}


class TestFailures:
    """What the file system refuses later comes out as an error, and moves nothing."""

    @pytest.mark.parametrize("medium", ["cached", "direct"], indirect=True)
    def test_a_file_that_somebody_cut(self, path: Path, medium: FileMedium) -> None:
        os.truncate(path, 10 * BLOCK_SIZE + 100)
        assert medium.read(9, 1) == bytes(BLOCK_SIZE)
        for mba, count in [(10, 1), (8, 8), (100, 1)]:
            with pytest.raises(MediumError, match=f"read of {count} blocks from mba {mba}") as caught:
                medium.read(mba, count)
            assert caught.value.errno == errno.EIO

    def test_a_write_that_fails(self, path: Path, medium: FileMedium) -> None:
        medium.append(0, blocks(1, 1))
        with largest_file(4 * BLOCK_SIZE):
            with pytest.raises(MediumError, match="append of 8 blocks at mba 1") as caught:
                medium.append(1, blocks(2, 8))
            assert caught.value.errno == errno.EFBIG
            with pytest.raises(MediumError, match="overwrite of 2 blocks from mba 9"):
                medium.overwrite(9, blocks(2, 2))
        assert medium.write_pointer(0) == 1
        assert path.read_bytes()[: 5 * BLOCK_SIZE] == blocks(1, 1) + blocks(2, 3) + bytes(BLOCK_SIZE)
        medium.append(1, blocks(3, 8))
        assert medium.read(0, 9) == blocks(1, 1) + blocks(3, 8)


class TestCreating:
    """A new file is whole or not there."""

    @pytest.mark.parametrize("preallocate", [True, False])
    def test_space(self, path: Path, preallocate: bool) -> None:
        with make(path, preallocate=preallocate):
            found = path.stat()
        assert (found.st_size, stat.S_IMODE(found.st_mode)) == (CAPACITY, 0o600)
        assert (found.st_blocks * 512 >= CAPACITY) == preallocate

    def test_a_file_that_is_there_stays_as_it_is(self, path: Path) -> None:
        path.write_bytes(b"mine")
        with leaves_no_descriptor(), pytest.raises(MediumError, match="create=False") as caught:
            make(path)
        assert caught.value.errno == errno.EEXIST
        assert path.read_bytes() == b"mine"

    def test_more_than_the_file_system_has(self, path: Path) -> None:
        with leaves_no_descriptor(), pytest.raises(OutOfSpaceError, match=r"64 TiB.*smaller") as caught:
            FileMedium(path, "64TiB", block_size="64KiB", create=True)
        assert not path.exists()
        assert caught.value.needed == 2**30 > caught.value.available > 0

    @pytest.mark.parametrize(
        ("function", "number", "expected"),
        [
            ("posix_fallocate", errno.ENOSPC, OutOfSpaceError),
            ("posix_fallocate", errno.EFBIG, MediumError),
            ("fsync", errno.EIO, MediumError),
        ],
    )
    def test_what_fails_half_way_leaves_nothing(
        self, path: Path, monkeypatch: Any, function: str, number: int, expected: type[MediumError]
    ) -> None:
        monkeypatch.setattr(os, function, failing(number))
        with leaves_no_descriptor(), pytest.raises(expected) as caught:
            make(path)
        assert caught.value.errno == number
        assert not path.exists()

    def test_interrupted(self, path: Path, monkeypatch: Any) -> None:
        def interrupt(*arguments: object) -> NoReturn:
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "posix_fallocate", interrupt)
        with leaves_no_descriptor(), pytest.raises(KeyboardInterrupt):
            make(path)
        assert not path.exists()

    @pytest.mark.parametrize("options", [{"read_only": True}, {"capacity": None}, {"capacity": 100}])
    def test_options_that_do_not_fit(self, path: Path, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigError):
            FileMedium(path, options.pop("capacity", CAPACITY), create=True, **options)
        assert not path.exists()


class TestOpening:
    """What is opened is a file or device, large enough, and nobody else's."""

    def test_all_of_it(self, path: Path) -> None:
        path.write_bytes(bytes(5 * ZONE_SIZE + 777))
        with FileMedium(path, zone_size=ZONE_SIZE) as medium:
            assert (medium.zones, medium.capacity) == (5, 5 * ZONE_SIZE)
        with FileMedium(path) as medium:
            assert medium.capacity == 20 * medium.zone_blocks * BLOCK_SIZE

    def test_a_known_division(self, path: Path) -> None:
        make(path).close()
        geometry = Geometry(blocks=4 * ZONE_BLOCKS, block_size=BLOCK_SIZE, zone_blocks=ZONE_BLOCKS)
        with FileMedium(path, geometry=geometry) as medium:
            assert (medium.zones, medium.zone_blocks) == (4, ZONE_BLOCKS)

    @pytest.mark.parametrize("size", [0, CAPACITY - 1])
    def test_too_short(self, path: Path, size: int) -> None:
        path.write_bytes(bytes(size))
        with leaves_no_descriptor(), pytest.raises(FormatError, match=f"{size} bytes; {CAPACITY} are"):
            FileMedium(path, CAPACITY, zone_size=ZONE_SIZE)

    def test_too_short_for_any_division(self, path: Path) -> None:
        path.write_bytes(b"x")
        with leaves_no_descriptor(), pytest.raises(ConfigError, match="capacity"):
            FileMedium(path)

    @pytest.mark.parametrize(
        ("kind", "number"),
        [
            ("nothing", errno.ENOENT),
            ("folder", errno.EISDIR),
            ("pipe", errno.EINVAL),
            ("device", errno.EINVAL),
            ("loop", errno.ELOOP),
            ("below", errno.ENOTDIR),
        ],
    )
    def test_what_is_no_drive(self, tmp_path: Path, kind: str, number: int) -> None:
        path = tmp_path / kind
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            path = Path("/dev/null")
        elif kind == "loop":
            path.symlink_to(path)
        elif kind == "below":
            path.touch()
            path /= "drive.img"
        for read_only in (False, True):
            with leaves_no_descriptor(), pytest.raises(MediumError, match=repr(str(path))) as caught:
                FileMedium(path, read_only=read_only)
            assert caught.value.errno == number

    @pytest.mark.parametrize("path", [None, 5, "", b"", "a\0b", b"a\0b", "\ud800", Path])
    def test_paths_that_are_none(self, path: Any) -> None:
        for create in (False, True):
            with pytest.raises(ConfigError, match="path"):
                FileMedium(path, CAPACITY, create=create)

    @pytest.mark.parametrize(
        "name",
        ["with space", "line\nfeed", "größe", "~", "-rf", "%s", b"\xff\xfe bytes", os.fsdecode(b"\xff\xfe")],
    )
    def test_odd_names(self, tmp_path: Path, monkeypatch: Any, name: str | bytes) -> None:
        monkeypatch.chdir(tmp_path)
        with FileMedium(name, CAPACITY, create=True, zone_size=ZONE_SIZE) as medium:
            assert [os.fsencode(found.name) for found in tmp_path.iterdir()] == [os.fsencode(name)]
            assert repr(os.fsdecode(name)) in repr(medium)
            assert medium.path == name
            repr(medium).encode()
        FileMedium(name, CAPACITY, zone_size=ZONE_SIZE).close()

    def test_reading_only(self, path: Path) -> None:
        with make(path) as medium:
            medium.append(0, blocks(1, 1))
        with FileMedium(path, zone_size=ZONE_SIZE, read_only=True) as medium:
            assert medium.read(0, 1) == blocks(1, 1)
            medium.sync()
            for change in (medium.append, medium.overwrite):
                with pytest.raises(MediumError, match="read_only") as caught:
                    change(0, blocks(2, 1))
                assert caught.value.errno == errno.EROFS
        assert path.read_bytes()[:BLOCK_SIZE] == blocks(1, 1)


class TestAlone:
    """One opens it for writing, or several for reading."""

    @pytest.mark.parametrize("first", [False, True])
    @pytest.mark.parametrize("second", [False, True])
    def test_in_one_process(self, path: Path, first: bool, second: bool) -> None:
        make(path).close()
        with leaves_no_descriptor(), FileMedium(path, read_only=first):
            if first and second:
                FileMedium(path, read_only=True).close()
            else:
                with pytest.raises(MediumError, match="in use") as caught:
                    FileMedium(path, read_only=second)
                assert caught.value.errno == errno.EAGAIN
        FileMedium(path, read_only=second).close()

    def test_in_another_process(self, path: Path) -> None:
        program = "import sys, seqstore.media; seqstore.media.FileMedium(sys.argv[1])"
        command = [sys.executable, "-c", program, str(path)]
        with make(path):
            run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 1
        assert "in use" in run.stderr.splitlines()[-1]
        subprocess.run(command, check=True)

    def test_while_it_is_made(self, path: Path) -> None:
        with make(path), pytest.raises(MediumError, match="in use"):
            FileMedium(path)

    def test_garbage_keeps_nobody_out(self, path: Path) -> None:
        make(path)
        gc.collect()
        FileMedium(path).close()


class TestDirect:
    """Direct transfers are had, or refused by name."""

    def test_a_file_system_that_has_none(self, path: Path, monkeypatch: Any) -> None:
        monkeypatch.setattr("seqstore.media.file.fcntl.fcntl", failing(errno.EINVAL))
        with leaves_no_descriptor(), pytest.raises(ConfigError, match="O_DIRECT"):
            make(path, access="direct")
        assert not path.exists()

    def test_blocks_that_are_too_small_for_the_device(self, path: Path, monkeypatch: Any) -> None:
        make(path).close()
        monkeypatch.setattr(os, "preadv", failing(errno.EINVAL))
        with leaves_no_descriptor(), pytest.raises(ConfigError, match="4096 bytes"):
            FileMedium(path, access="direct")


@pytest.mark.parametrize("access", ["", "mmap", True, None, ["cached"]])
def test_an_access_that_there_is_not(path: Path, access: Any) -> None:
    with pytest.raises(ConfigError, match="'cached', 'direct', 'mapped'"):
        make(path, access=access)
    assert not path.exists()


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    """A block device, where this user may make one."""
    file = tmp_path / "device.img"
    file.write_bytes(bytes(CAPACITY + 5 * 512))
    if shutil.which("losetup") is None:
        pytest.skip("needs losetup")
    run = subprocess.run(
        ["losetup", "--find", "--show", str(file)], capture_output=True, text=True, check=False
    )
    if run.returncode:
        pytest.skip(f"no block device can be made: {run.stderr.strip()}")
    yield run.stdout.strip()
    subprocess.run(["losetup", "--detach", run.stdout.strip()], check=True)


def test_block_devices(device: str) -> None:
    with FileMedium(device, zone_size=ZONE_SIZE) as medium:
        assert medium.capacity == CAPACITY
        medium.append(0, blocks(9, 2))
        medium.sync()
        with pytest.raises(MediumError) as caught:
            FileMedium(device)
        assert caught.value.errno == errno.EBUSY
    with FileMedium(device, CAPACITY, zone_size=ZONE_SIZE, access="direct", read_only=True) as medium:
        assert medium.read(0, 3) == blocks(9, 2) + bytes(BLOCK_SIZE)
    with FileMedium(device, CAPACITY, zone_size=ZONE_SIZE, access="mapped", read_only=True) as medium:
        assert medium.read(0, 3) == blocks(9, 2) + bytes(BLOCK_SIZE)
    with pytest.raises(MediumError) as caught:
        FileMedium(device, CAPACITY, create=True)
    assert caught.value.errno == errno.EEXIST
    with pytest.raises(FormatError):
        FileMedium(device, 2 * CAPACITY)
