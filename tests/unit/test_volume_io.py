"""A volume as a file: the raw interface itself, and the standard library on top of it."""

from __future__ import annotations

import errno
import io
import os
import random
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from seqstore import ClosedError, ConfigError, NotFoundError, Tenant, UnwrittenError, Volume, VolumeIO


class TestRaw:
    def test_is_a_raw_file(self, volume: Volume) -> None:
        with volume.open("r+b") as file:
            assert isinstance(file, VolumeIO)
            assert isinstance(file, io.RawIOBase)
            assert file.readable()
            assert file.writable()
            assert file.seekable()
            assert not file.isatty()

    def test_reads_and_writes_at_its_position(self, volume: Volume) -> None:
        with volume.open() as file:
            assert file.write(b"0123456789") == 10
            assert file.tell() == 10
            assert file.seek(4) == 4
            assert file.read(3) == b"456"
            assert file.seek(-3, os.SEEK_CUR) == 4
            target = bytearray(2)
            assert file.readinto(target) == 2
            assert target == b"45"
            assert file.seek(-1, os.SEEK_END) == volume.size - 1
            assert file.read(10) == b"\0"

    def test_ends_at_the_volumes_size(self, volume: Volume) -> None:
        with volume.open() as file:
            file.seek(volume.size - 3)
            assert file.write(b"abcdef") == 3
            assert file.read(1) == b""
            assert file.readinto(bytearray(4)) == 0
            with pytest.raises(OSError, match=r"resize") as caught:
                file.write(b"g")
            assert caught.value.errno == errno.ENOSPC
            assert file.write(b"") == 0
            assert file.seek(volume.size + 100) == volume.size + 100
            assert file.read() == b""
        assert volume.read(volume.size - 3, 3) == b"abc"

    def test_readall(self, volume: Volume) -> None:
        volume.write(5, b"abc")
        with volume.open("rb") as file:
            assert file.readall() == volume.read(0, volume.size)

    def test_truncate_resizes_the_volume(self, volume: Volume) -> None:
        volume.write(0, b"a" * 2000)
        with volume.open() as file:
            file.seek(700)
            assert file.truncate() == 700
            assert volume.size == 700
            assert file.truncate(1000) == 1000
            assert file.tell() == 700
            assert file.read() == bytes(300)

    def test_read_only(self, volume: Volume) -> None:
        with volume.open("rb") as file:
            assert file.readable()
            assert not file.writable()
            with pytest.raises(io.UnsupportedOperation):
                file.write(b"x")
            with pytest.raises(io.UnsupportedOperation):
                file.truncate(0)
        assert volume.mapped_blocks == 0
        assert volume.size == 65536

    @pytest.mark.parametrize("mode", ["r", "w", "wb", "ab", "x", "", "rb+b", None, 3])
    def test_other_modes_are_refused(self, volume: Volume, mode: object) -> None:
        with pytest.raises(ConfigError):
            volume.open(mode)  # type: ignore[arg-type]

    def test_bad_positions_are_refused(self, volume: Volume) -> None:
        with volume.open() as file:
            file.seek(7)
            for offset, whence in [(-1, os.SEEK_SET), (-8, os.SEEK_CUR), (-65537, os.SEEK_END), (0, 9)]:
                with pytest.raises((ValueError, OSError)):
                    file.seek(offset, whence)
            assert file.tell() == 7

    def test_use_after_close(self, volume: Volume) -> None:
        file = volume.open()
        file.close()
        file.close()
        assert file.closed
        for use in (
            lambda: file.read(1),
            lambda: file.write(b"x"),
            lambda: file.seek(0),
            file.tell,
            file.flush,
        ):
            with pytest.raises(ValueError, match="closed"):
                use()
        assert volume.read(0, 1) == b"\0"

    def test_the_volume_and_the_store_may_end_first(self, tenant: Tenant, volume: Volume) -> None:
        file = volume.open()
        volume.delete()
        with pytest.raises(NotFoundError):
            file.read(1)
        file.close()
        other = tenant.create_volume("other", 512).open()
        tenant.store.close()
        with pytest.raises(ClosedError):
            other.read(1)
        other.close()

    def test_unwritten_bytes_raise_where_the_volume_says_so(self, strict_volume: Volume) -> None:
        with strict_volume.open() as file:
            file.write(b"a" * 512)
            file.seek(0)
            assert file.read(512) == b"a" * 512
            with pytest.raises(UnwrittenError):
                file.read(1)


class TestStandardLibrary:
    def test_buffered_random_against_bytesio(self, volume: Volume) -> None:
        rng = random.Random(1)
        model = io.BytesIO(bytes(volume.size))
        with volume.open() as raw, io.BufferedRandom(raw, buffer_size=700) as file:
            for step in range(400):
                position = rng.randrange(volume.size)
                length = min(rng.randrange(1500), volume.size - position)
                file.seek(position)
                model.seek(position)
                if rng.random() < 0.5:
                    data = bytes([step % 251]) * length
                    assert file.write(data) == model.write(data)
                else:
                    assert file.read(length) == model.read(length)
            file.seek(0)
            assert file.read() == model.getvalue()

    def test_buffered_reader_and_writer(self, volume: Volume) -> None:
        with io.BufferedWriter(volume.open()) as writer:
            for number in range(1000):
                writer.write(b"%06d\n" % number)
        with io.BufferedReader(volume.open("rb")) as reader:
            assert [int(reader.readline()) for _ in range(1000)] == list(range(1000))

    def test_text(self, volume: Volume) -> None:
        with io.TextIOWrapper(io.BufferedWriter(volume.open()), encoding="utf-8") as file:
            file.write("Käse\n")
        with io.TextIOWrapper(io.BufferedReader(volume.open("rb")), encoding="utf-8") as file:
            assert file.readline() == "Käse\n"

    def test_copyfileobj(self, tenant: Tenant, volume: Volume) -> None:
        volume.resize("32KiB")  # two of them fit the drive
        content = random.Random(2).randbytes(volume.size)
        with volume.open() as target:
            shutil.copyfileobj(io.BytesIO(content), target, 1000)
        copy = tenant.create_volume("copy", volume.size)
        with volume.open("rb") as source, copy.open() as target:
            shutil.copyfileobj(source, target)
        assert copy.read(0, copy.size) == content

    def test_tarfile(self, volume: Volume, tmp_path: Path) -> None:
        files = {f"folder/file-{index}": random.Random(index).randbytes(700 * index) for index in range(8)}
        with io.BufferedRandom(volume.open()) as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                for name, content in files.items():
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r") as archive:
                archive.extractall(tmp_path)
        assert {name: (tmp_path / name).read_bytes() for name in files} == files

    def test_tarfile_on_the_raw_file(self, volume: Volume) -> None:
        with volume.open() as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                member = tarfile.TarInfo("a")
                member.size = 3000
                archive.addfile(member, io.BytesIO(b"a" * 3000))
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r") as archive:
                extracted = archive.extractfile("a")
                assert extracted is not None
                assert extracted.read() == b"a" * 3000

    def test_zipfile(self, volume: Volume) -> None:
        files = {f"file-{index}": random.Random(index).randbytes(900 * index) for index in range(8)}
        with io.BufferedRandom(volume.open()) as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, content in files.items():
                    archive.writestr(name, content)
            file.truncate()  # a zip file ends where its directory ends
            with zipfile.ZipFile(file) as archive:
                assert archive.testzip() is None
                assert {name: archive.read(name) for name in archive.namelist()} == files
