"""Runs photorec, of the distribution's package testdisk, over an image of a drive."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.forensics.planted import MAKERS, Planted

PHOTOREC = shutil.which("photorec")
SECONDS = 120

needs_photorec = pytest.mark.skipif(
    PHOTOREC is None, reason="photorec is not installed; `apt-get install testdisk` brings it"
)

_KINDS = ",".join(f"{kind},enable" for kind in MAKERS)
_OPTIONS = f"partition_none,options,paranoid_no,fileopt,everything,disable,{_KINDS},search"


def carve(image: Path) -> list[bytes]:
    """Return the files that photorec makes out in an image."""
    assert PHOTOREC is not None
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [PHOTOREC, "/d", f"{folder}/found", "/cmd", str(image), _OPTIONS],
            cwd=folder,  # where it leaves its session
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout.decode(errors="replace")
        reports = sorted(Path(folder).glob("found.*/report.xml"))
        assert reports, "photorec has not searched anything"
        return [path.read_bytes() for path in sorted(Path(folder).glob("found.*/f*"))]


def recognize(carved: Iterable[bytes], planted: Iterable[Planted]) -> set[str]:
    """Return the names of the planted files that are among the carved ones, whole or in part."""
    everything = b"\n".join(carved)
    return {file.name for file in planted if file.mark in everything}
