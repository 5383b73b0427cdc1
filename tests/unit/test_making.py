"""Making stores in a directory: on what, how large, and what is left of one that was refused."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqstore import ConfigError, FileMedium, FormatError, MediumError, OutOfSpaceError, Store
from seqstore.units import parse_size
from tests.durable import CAPACITY, create


class TestMaking:
    def test_in_an_empty_directory(self, tmp_path: Path) -> None:
        create(tmp_path).close()
        Store.open(tmp_path).close()

    @pytest.mark.parametrize("make", [lambda p: p.write_bytes(b"x"), lambda p: (p / "x").mkdir(parents=True)])
    def test_something_in_the_way_stays(self, tmp_path: Path, make: Callable[[Path], object]) -> None:
        path = tmp_path / "lab.store"
        make(path)
        with pytest.raises(ConfigError, match=r"lab\.store"):
            create(path)
        assert len([*tmp_path.rglob("*")]) in (1, 2)

    def test_a_parent_that_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(MediumError) as caught:
            create(tmp_path / "no" / "store")
        assert caught.value.errno == errno.ENOENT

    @pytest.mark.parametrize(
        "options",
        [
            {"block_size": 1000},
            {"segment_size": 1},
            {"reserve": 1},
            {"verify": 1},
            {"checkpoint_interval": 0},
        ],
    )
    def test_bad_options_leave_nothing(self, tmp_path: Path, options: dict[str, int]) -> None:
        with pytest.raises(ConfigError):
            create(tmp_path / "lab.store", **options)
        assert [*tmp_path.iterdir()] == []

    def test_a_full_file_system_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*arguments: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "posix_fallocate", refuse)
        with pytest.raises(OutOfSpaceError, match="smaller capacity"):
            create(tmp_path / "lab.store")
        assert [*tmp_path.iterdir()] == []

    def test_a_capacity_beyond_the_file_system(self, tmp_path: Path) -> None:
        with pytest.raises(OutOfSpaceError):
            Store.create(tmp_path / "lab.store", "200TiB", block_size=65536, segment_size="1GiB")
        assert [*tmp_path.iterdir()] == []

    def test_a_failure_of_the_log_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("seqstore.parts.Engine", lambda *a, **o: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            create(tmp_path / "lab.store")
        assert [*tmp_path.iterdir()] == []

    def test_a_failure_of_the_catalog_leaves_nothing_but_what_was_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("seqstore.schema._NAMES_AND_DRIVES", "CREATE TABLE store (id)")
        with pytest.raises(FormatError):
            create(tmp_path)
        assert [*tmp_path.iterdir()] == []


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    def modes() -> dict[str, int]:
        files = [entry for entry in (tmp_path / "lab.store").rglob("*") if entry.is_file()]
        return {file.name: stat.S_IMODE(file.stat().st_mode) for file in files}

    before = os.umask(0)
    try:
        with create(tmp_path / "lab.store") as store:
            store.create_tenant("contoso")
            assert modes() == dict.fromkeys(
                ("catalog.db", "catalog.db-wal", "catalog.db-shm", "0.img"), 0o600
            )
        Store.open(tmp_path / "lab.store", rebuild_catalog=True).close()
        assert modes() == dict.fromkeys(("catalog.db", "catalog.db.old-1", "0.img"), 0o600)
    finally:
        os.umask(before)


class TestDevices:
    def test_an_existing_file(self, tmp_path: Path) -> None:
        device = tmp_path / "device"
        device.write_bytes(b"\xee" * CAPACITY)
        path = tmp_path / "lab.store"
        with create(path, device=device, overwrite_device=True) as store:
            volume = store.create_tenant("contoso").create_volume("disk", 2000)
            volume.write(0, b"kept")
            assert volume.read(500, 10) == bytes(10)
        assert (path / "drives/0.img").resolve() == device
        path.rename(tmp_path / "moved")
        with Store.open(tmp_path / "moved") as again:
            assert again.tenant("contoso").volume("disk").read(0, 4) == b"kept"

    def test_one_that_holds_a_drive_is_refused(self, tmp_path: Path) -> None:
        create(tmp_path / "lab.store").close()
        device = tmp_path / "lab.store/drives/0.img"
        before = device.read_bytes()
        with pytest.raises(ConfigError, match="already"):
            create(tmp_path / "other", device=device)
        assert device.read_bytes() == before
        assert not (tmp_path / "other").exists()

    def test_one_that_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(MediumError) as caught:
            create(tmp_path / "lab.store", device=tmp_path / "no")
        assert caught.value.errno == errno.ENOENT
        assert [*tmp_path.iterdir()] == []

    def test_one_that_is_too_small_stays(self, tmp_path: Path) -> None:
        device = tmp_path / "device"
        device.write_bytes(bytes(CAPACITY - 1))
        with pytest.raises(ConfigError, match=f"{CAPACITY - 1} B, and 512 KiB are asked for"):
            create(tmp_path / "lab.store", device=device)
        assert [*tmp_path.iterdir()] == [device]

    @pytest.mark.parametrize("at", [0, 1080, 2**20 - 1, 3 * 2**20 - 1, 2 * 2**20])
    def test_one_that_holds_something_is_refused(self, tmp_path: Path, at: int) -> None:
        """Whatever it is: ext4 has its mark at byte 1080, others theirs up to 64 KiB, or at the end."""
        device = tmp_path / "device"
        device.write_bytes(bytes(3 * 2**20))
        with device.open("r+b") as file:
            file.seek(at)
            file.write(b"\x53")
        before = device.read_bytes()
        with pytest.raises(ConfigError, match=rf"byte {at}, .*overwrite_device=True"):
            create(tmp_path / "lab.store", device=device)
        assert device.read_bytes() == before
        assert [*tmp_path.iterdir()] == [device]
        create(tmp_path / "lab.store", device=device, overwrite_device=True).close()
        Store.open(tmp_path / "lab.store").close()

    def test_what_lies_in_the_middle_is_not_looked_at(self, tmp_path: Path) -> None:
        device = tmp_path / "device"
        device.write_bytes(bytes(2**20) + b"x" + bytes(2**20))
        create(tmp_path / "lab.store", device=device).close()

    def test_a_drive_is_not_given_up_so_easily(self, tmp_path: Path) -> None:
        create(tmp_path / "lab.store").close()
        with pytest.raises(ConfigError, match="already"):
            create(tmp_path / "other", device=tmp_path / "lab.store/drives/0.img", overwrite_device=True)

    @pytest.mark.parametrize("options", [{"overwrite_device": True}, {"overwrite_device": 1, "device": "x"}])
    def test_what_is_no_permission(self, tmp_path: Path, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="overwrite_device"):
            create(tmp_path / "lab.store", **options)
        assert [*tmp_path.iterdir()] == []

    @pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
    def test_something_else(self, tmp_path: Path, make: Callable[[Path], object]) -> None:
        make(tmp_path / "device")
        with pytest.raises(MediumError, match="neither a regular file nor a block device"):
            create(tmp_path / "lab.store", device=tmp_path / "device")


class TestSmallest:
    """A drive in a file needs more room than one in memory; the message names a size that works."""

    @pytest.mark.parametrize("wanted", [0, 12345, "64KiB", "100KiB", "304KiB", "330KiB", "513KiB", "900KiB"])
    @pytest.mark.parametrize(
        "options", [{}, {"block_size": "8KiB"}, {"segment_size": "64KiB"}, {"reserve": 0.9}], ids=str
    )
    def test_the_next_size_works(self, tmp_path: Path, wanted: int | str, options: dict[str, Any]) -> None:
        path = tmp_path / "lab.store"
        with pytest.raises(ConfigError, match="the next size that works is") as caught:
            Store.create(path, wanted, **options)
        assert not path.exists()
        match = re.search(r"works is (\S+ \S+), of (\d+) segments of (\S+ \S+):", str(caught.value))
        assert match is not None
        size, segments, segment = parse_size(match[1]), int(match[2]), parse_size(match[3])
        assert size == segments * segment > parse_size(wanted)
        with Store.create(path, size, **options) as store:
            assert store.drives[0].segment_size == segment
            assert store.drives[0].usable_blocks > 0

    def test_it_is_the_smallest(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="works is 320 KiB, of 20 segments of 16 KiB"):
            Store.create(tmp_path / "lab.store", "304KiB")
        with pytest.raises(ConfigError, match="works is 336 KiB, of 21 segments of 16 KiB"):
            Store.create(tmp_path / "lab.store", 320 * 1024 + 1)
        Store.create(tmp_path / "lab.store", "320KiB").close()

    def test_large_ones_are_told_about_whole_segments_alone(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="953 MiB or 954 MiB would do"):
            Store.create(tmp_path / "lab.store", "1GB")

    def test_media_of_the_callers(self, tmp_path: Path) -> None:
        path = tmp_path / "drive"
        with (
            FileMedium(path, "64KiB", create=True) as medium,
            pytest.raises(ConfigError, match="11 segments at least"),
        ):
            Store.create_on(medium)
