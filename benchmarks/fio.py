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


def direct(file: Path, *, rw: str, size: int, step: int, depth: int) -> Timed:
    """Write zeros to a file that is there, or read it, past the cache, with so many requests under way.

    `rw` is ``"write"`` or ``"read"``. A sync at the end is in the time.
    """
    assert PROGRAM is not None
    command = [
        PROGRAM, "--name=peer", f"--filename={file}", f"--rw={rw}", f"--bs={step}", f"--size={size}",
        "--direct=1", "--ioengine=libaio", f"--iodepth={depth}", "--zero_buffers=1", "--fallocate=none",
        "--invalidate=0", "--output-format=json", *(["--end_fsync=1"] if rw == "write" else []),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    job = json.loads(done.stdout)["jobs"][0]
    assert job[rw]["io_bytes"] == size
    return Timed(amount=size, seconds=max(job[rw]["runtime"], 1) / 1e3)
