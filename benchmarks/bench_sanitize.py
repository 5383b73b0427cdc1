"""How fast is a drive overwritten and read back, beside memset, a sum in numpy, fio, dd, shred and nwipe?

To reach: for a drive in memory 1.5 times memset and 0.8 of a sum over the same bytes; for a drive file of
4 GiB past the system's cache 0.95 of fio with the same block size and depth, and more than shred and nwipe.
Ours is a whole sanitization, with its journal and its syncs: the time that it states of its pass.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fio
from benchmarks.ceiling import stream
from benchmarks.side_by_side import Result, Session, Table, Timed
from benchmarks.workloads import MIB
from seqstore._native.sweep import Fill, Sweep
from seqstore.clock import SystemClock
from seqstore.media import MemoryMedium
from seqstore.sanitize import (
    FileTarget,
    Journal,
    MemoryTarget,
    Options,
    Sanitization,
    SanitizationOutcome,
    Technique,
)
from seqstore.sanitize.batch import sanitize_many
from seqstore.sanitize.target import size_of

GB = 1e9
STEP, DEPTH = 1 << 20, 4  # what a pass moves at once
NWIPE = shutil.which("nwipe")
SEED = bytes(range(32))

Round = Callable[[], "float | Timed"]


def sanitization(target: MemoryTarget | FileTarget, journal: Path, verification: str) -> Sanitization:
    return Sanitization(
        target, Technique.zero(), clock=SystemClock(), seed=os.urandom(32), version="benchmark",
        journal=Journal(journal), options=Options(verification=verification),
    )  # fmt: skip


def pass_of(outcome: SanitizationOutcome) -> Timed:
    done = outcome.passes[0]
    return Timed(amount=done.overwritten * done.block_size, seconds=done.active_ns / 1e9)


def reading_of(outcome: SanitizationOutcome) -> Timed:
    seen = outcome.verifications[0]
    assert seen.clean
    return Timed(amount=seen.read * seen.block_size, seconds=(seen.ended_ns - seen.started_ns) / 1e9)


# ---- memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 255])
def test_overwriting_memory(side_by_side: Session, small: bool, value: int) -> None:
    size = (32 if small else 1024) * MIB
    medium, array = MemoryMedium(size), np.ones(size, np.uint8)
    memset, address = ctypes.CDLL(None).memset, ctypes.c_void_p(array.ctypes.data)

    def peer() -> float:
        memset(address, value, ctypes.c_size_t(size))
        return size

    def limit() -> float:
        stream(array, value)
        return size

    works: dict[str, Round] = {}
    with Sweep(medium.handle, Fill(pattern=bytes([value]))) as sweep:
        works["seqstore"] = lambda: sweep.write([(0, medium.blocks)]).done * medium.block_size
        works["C: stores past the cache, two threads"] = limit
        works["memset"] = peer
        result = side_by_side.compare(
            Result(
                question=f"a drive of {size // MIB} MiB in memory, bytes {value:#04x}", unit="GB/s",
                ours="seqstore", against="memset", to_reach=1.5,
            ),
            works, rounds=3 if small else 9,
        )  # fmt: skip
    side_by_side.scaled(result, GB)
    assert result.ratio > 0


def test_verifying_memory(side_by_side: Session, small: bool) -> None:
    size = (32 if small else 1024) * MIB
    medium, words = MemoryMedium(size), np.zeros(size // 8, np.uint64)
    words[:] = 1  # pages of its own
    with Sweep(medium.handle, Fill(pattern=b"\0")) as sweep:
        sweep.write([(0, medium.blocks)])
        result = side_by_side.compare(
            Result(
                question=f"reading {size // MIB} MiB in memory back", unit="GB/s", ours="seqstore",
                against="numpy sum", to_reach=0.8,
            ),
            {
                "seqstore": lambda: (
                    sweep.read([(0, medium.blocks)], stop_at_first=True).done * medium.block_size
                ),
                "numpy sum": lambda: size if words.sum() else 0,
            },
            rounds=3 if small else 9,
        )  # fmt: skip
    side_by_side.scaled(result, GB)
    assert result.ratio > 0


# ---- files -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(scratch: Path, small: bool) -> Path:
    """A file with all of its space, written once."""
    path = scratch / "drive"
    size = (64 if small else 4096) * MIB
    with path.open("wb") as opened:
        for _ in range(size // (16 * MIB)):
            opened.write(b"x" * (16 * MIB))
        os.fsync(opened.fileno())
    return path


def timed(size: int, *command: str) -> Timed:
    """A command and, in its time, a sync of the file that it wrote."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return Timed(amount=size, seconds=time.perf_counter() - start)


def test_overwriting_a_file(side_by_side: Session, small: bool, scratch: Path, file: Path) -> None:
    size = file.stat().st_size
    name = str(file)

    def ours() -> Timed:
        target = FileTarget(file)
        with target.medium:
            assert target.medium.access == "direct"
            return pass_of(sanitization(target, scratch / "journal", "none").run())

    works: dict[str, Round] = {"seqstore": ours}
    if fio.PROGRAM is not None:
        works["fio"] = lambda: fio.direct(file, rw="write", size=size, step=STEP, depth=DEPTH)
    works["dd oflag=direct"] = lambda: timed(
        size, "dd", "if=/dev/zero", f"of={name}", f"bs={STEP}", f"count={size // STEP}", "oflag=direct",
        "conv=notrunc,fdatasync",
    )  # fmt: skip
    works["shred -n0 -z"] = lambda: timed(size, "shred", "-n0", "-z", name)
    against = "fio" if "fio" in works else "dd oflag=direct"
    side_by_side.remark(f"{fio.version()}.")
    result = side_by_side.compare(
        Result(
            question=f"a drive file of {size // MIB} MiB, zeros", unit="GB/s", ours="seqstore",
            against=against, to_reach=0.95, note="past the system's cache, with the sync",
        ),
        works, rounds=1 if small else 3,
    )  # fmt: skip
    side_by_side.scaled(result, GB)
    assert result.ratio > 0


@pytest.fixture
def device(file: Path) -> Iterator[Path]:
    """A block device whose sectors are the file's, past the system's cache."""
    program = shutil.which("losetup")
    if program is None or os.geteuid() != 0:
        pytest.skip("block devices are made of files by root, with losetup")
    command = [program, "--find", "--show", "--direct-io=on", str(file)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"there are no loop devices here: {made.stderr.strip()}")
    yield Path(made.stdout.strip())
    subprocess.run([program, "--detach", made.stdout.strip()], check=True)


def test_overwriting_a_block_device(side_by_side: Session, small: bool, scratch: Path, device: Path) -> None:
    """The one peer that takes block devices alone is a whole command, which waits a second at its ends."""
    if NWIPE is None:
        pytest.skip("nwipe is not installed")
    size = size_of(str(device))

    def ours() -> Timed:
        target = FileTarget(device)
        with target.medium:
            assert target.medium.access == "direct"
            return pass_of(sanitization(target, scratch / "journal", "none").run())

    works: dict[str, Round] = {"seqstore": ours}
    if fio.PROGRAM is not None:
        works["fio"] = lambda: fio.direct(device, rw="write", size=size, step=STEP, depth=DEPTH)
    works["shred -n0 -z"] = lambda: timed(size, "shred", "-n0", "-z", str(device))
    works["nwipe --method=zero"] = lambda: timed(
        size, str(NWIPE), "--method=zero", "--verify=off", "--rounds=1", "--noblank", "--autonuke", "--nogui",
        "--nowait", str(device),
    )  # fmt: skip
    version = subprocess.run([str(NWIPE), "--version"], capture_output=True, text=True, check=True).stdout
    side_by_side.remark(f"{version.strip()}.")
    result = side_by_side.compare(
        Result(
            question=f"a loop device of {size // MIB} MiB, zeros", unit="GB/s", ours="seqstore",
            against="nwipe --method=zero", to_reach=1.0, note="past the system's cache, with the sync",
        ),
        works, rounds=1 if small else 3,
    )  # fmt: skip
    side_by_side.scaled(result, GB)
    assert result.ratio > 0


def test_verifying_a_file(side_by_side: Session, small: bool, scratch: Path, file: Path) -> None:
    size = file.stat().st_size

    def ours() -> Timed:
        target = FileTarget(file)
        with target.medium:
            return reading_of(sanitization(target, scratch / "journal", "full").run())

    works: dict[str, Round] = {"seqstore": ours}
    if fio.PROGRAM is not None:
        works["fio"] = lambda: fio.direct(file, rw="read", size=size, step=STEP, depth=DEPTH)
    works["dd iflag=direct"] = lambda: timed(
        size, "dd", f"if={file}", "of=/dev/null", f"bs={STEP}", "iflag=direct"
    )
    result = side_by_side.compare(
        Result(
            question=f"reading a drive file of {size // MIB} MiB back", unit="GB/s", ours="seqstore",
            against="fio" if "fio" in works else "dd iflag=direct", to_reach=0.95,
        ),
        works, rounds=1 if small else 3,
    )  # fmt: skip
    side_by_side.scaled(result, GB)
    assert result.ratio > 0


def test_several_drives(side_by_side: Session, small: bool, scratch: Path) -> None:
    """As many at once as the media take: the sum of their rates, zeros and full verification together."""
    size, rows = (8 if small else 512) * MIB, []
    for count in (1, 2, 4):
        targets = []
        for number in range(count):
            path = scratch / f"one-of-{number}"
            path.write_bytes(b"x" * size)
            targets.append(FileTarget(path))
        start = time.perf_counter()
        batch = sanitize_many(
            [
                sanitization(target, scratch / f"journal-{number}", "full")
                for number, target in enumerate(targets)
            ]
        )
        seconds = time.perf_counter() - start
        assert batch.sanitized == count
        for target in targets:
            target.medium.close()
        rows.append([str(count), f"{count * size / seconds / GB:.3g} GB/s"])
    header = ("drive files at once", "sanitized and verified")
    side_by_side.tables.append(Table(title=f"Drive files of {size // MIB} MiB", header=header, rows=rows))
    assert len(rows) == 3
