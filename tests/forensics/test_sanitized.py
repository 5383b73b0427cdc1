"""A drive is sanitized, and other programs than ours find nothing on it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from seqstore.cli import main
from tests.forensics.carving import carve, needs_photorec, recognize
from tests.forensics.planted import Planted, make_files

pytest.importorskip("rich")

SIZE = 8 << 20


def plant(image: Path) -> tuple[Planted, ...]:
    """Lay files at the starts of sectors all over an image, as a file system might."""
    files = make_files("retired", (5000, 30_000))
    image.write_bytes(bytes(SIZE))
    step = SIZE // (len(files) + 1) // 4096 * 4096
    with image.open("r+b") as opened:
        for number, file in enumerate(files):
            opened.seek(number * step)
            opened.write(file.content)
    return files


def sanitize(image: Path, *options: str) -> None:
    assert main(["sanitize", str(image), "--yes-destroy-all-data", image.name, *options]) == 0


def test_cmp_finds_zeros_alone(tmp_path: Path) -> None:
    program = shutil.which("cmp")
    if program is None:
        pytest.skip("there is no cmp command")
    image = tmp_path / "old.img"
    plant(image)
    compare = [program, "-s", "-n", str(SIZE), str(image), "/dev/zero"]
    assert subprocess.run(compare, check=False).returncode == 1
    sanitize(image)
    assert subprocess.run(compare, check=False).returncode == 0
    assert image.stat().st_size == SIZE


@needs_photorec
@pytest.mark.parametrize("technique", ["zero", "random"])
def test_a_carving_tool_finds_no_file(tmp_path: Path, technique: str) -> None:
    image = tmp_path / "old.img"
    files = plant(image)
    assert recognize(carve(image), files) == {file.name for file in files}
    sanitize(image, "--technique", technique)
    assert recognize(carve(image), files) == set()
    assert not any(file.mark in image.read_bytes() for file in files)
