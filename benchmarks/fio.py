"""fio as a peer, where it is installed: sequential writes to a file that is there already."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from benchmarks.side_by_side import Timed

PROGRAM = shutil.which("fio")


def version() -> str:
    """Return what fio calls itself, or that it is missing."""
    if PROGRAM is None:
        return "no fio"
    return subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def sequential_writes(file: Path, *, size: int, step: int, sync_every: int) -> Timed:
    """Write `size` bytes from the start of the file, with fdatasync after so many steps and at the end.

    fio takes the time itself, so that the start of its process does not count. What the page cache holds of
    the file stays there, as it does for the others.
    """
    assert PROGRAM is not None
    command = [
        PROGRAM, "--name=peer", f"--filename={file}", "--rw=write", f"--bs={step}", f"--size={size}",
        "--ioengine=psync", f"--fdatasync={sync_every}", "--end_fsync=1", "--fallocate=none",
        "--invalidate=0", "--output-format=json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    job = json.loads(done.stdout)["jobs"][0]
    assert job["write"]["io_bytes"] == size
    return Timed(amount=size, seconds=job["write"]["runtime"] / 1e3)
