"""Media in files that are read as mapped memory: what is in the file is what a read finds.

What all media in files do is tested in ``test_media_file.py``, for these too.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

from seqstore import ConfigError, FormatError, MediumError
from seqstore.media import FileMedium

BLOCK_SIZE = 4096
ZONE_SIZE = 128 * 1024
CAPACITY = 8 * ZONE_SIZE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "drive.img"


def make(path: Path, **options: Any) -> FileMedium:
    return FileMedium(path, CAPACITY, create=True, zone_size=ZONE_SIZE, **options)


def blocks(mark: int, count: int) -> bytes:
    return bytes([mark]) * (count * BLOCK_SIZE)


def refuse_mapping(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(*arguments: object, **options: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("seqstore.media.file.mmap.mmap", fail)


def test_reads_find_what_was_written_since(path: Path) -> None:
    with make(path, access="mapped") as medium:
        for mark in range(1, 5):
            medium.append(mark - 1, blocks(mark, 1))
            assert medium.read(0, 5) == b"".join(blocks(n if n <= mark else 0, 1) for n in range(1, 6))
        medium.overwrite(1, blocks(9, 1))
        assert medium.read(1, 1) == blocks(9, 1)
        medium.sync()
        with path.open("r+b") as file:
            file.seek((medium.blocks - 1) * BLOCK_SIZE)
            file.write(blocks(7, 1))
        assert medium.read(medium.blocks - 1, 1) == blocks(7, 1)


def test_the_mapping_lasts_as_long_as_the_medium(path: Path) -> None:
    with make(path, access="mapped") as medium:
        medium.append(0, blocks(3, 1))
        mapped = Path("/proc/self/maps").read_text("utf-8")
        assert str(path) in mapped
        assert medium.read(0, 1) == blocks(3, 1)
    assert str(path) not in Path("/proc/self/maps").read_text("utf-8")


def test_another_opening_finds_it(path: Path) -> None:
    with make(path, access="mapped") as medium:
        medium.append(0, blocks(5, 2))
    with FileMedium(path, zone_size=ZONE_SIZE, access="mapped", read_only=True) as medium:
        assert medium.read(0, 3) == blocks(5, 2) + bytes(BLOCK_SIZE)
        with pytest.raises(MediumError):
            medium.append(0, blocks(1, 1))


def test_a_file_that_is_too_short_is_refused(path: Path) -> None:
    make(path).close()
    os.truncate(path, CAPACITY - 1)
    with pytest.raises(FormatError, match=str(CAPACITY - 1)):
        FileMedium(path, CAPACITY, zone_size=ZONE_SIZE, access="mapped")


def test_a_file_that_is_cut_meanwhile_ends_the_process(path: Path) -> None:
    """That is the price, and documented."""
    program = (
        "import os, sys; from seqstore.media import FileMedium;"
        f"medium = FileMedium(sys.argv[1], {CAPACITY}, zone_size={ZONE_SIZE}, access='mapped');"
        "os.truncate(sys.argv[1], 0); medium.read(0, 1)"
    )
    make(path).close()
    run = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, check=False)
    # AddressSanitizer reports the signal, and aborts.
    assert run.returncode in {-signal.SIGBUS, -signal.SIGABRT}


def test_a_file_system_that_has_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_mapping(monkeypatch, errno.ENODEV)
    with pytest.raises(ConfigError, match="no mapped files"):
        make(path, access="mapped")
    assert not path.exists()


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EAGAIN])
def test_a_mapping_that_fails_otherwise(path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    refuse_mapping(monkeypatch, number)
    with pytest.raises(MediumError) as caught:
        make(path, access="mapped")
    assert caught.value.errno == number
