"""What does it cost that the ledger keeps what is no longer live: whose it was, and since when it is dead?

The same writes by two builds of the core. One is as it is; in the other an entry is cleared when its block
dies, so that nothing is counted, and nothing has to be taken back when the block is written over. That the
ledger knows what is live is part of both: the cleaner could not do without.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.side_by_side import Result, Session

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "ledger"
ROUNDS = 9
MEDIA = {"in memory, 4 KiB": 1 << 30, "tags alone": 1 << 32}

# Writes a round whenever it is told to, and says how many blocks a second were put.
WRITER = """
import sys, time
import seqstore
from benchmarks.workloads import filled_volume, make_blocks, random_lbas, settle
capacity, keeps_bytes, batches = int(sys.argv[1]), sys.argv[2] == "in memory, 4 KiB", int(sys.argv[3])
store = (seqstore.Store.memory if keeps_bytes else seqstore.Store.simulated)(capacity)
volume = filled_volume(store, 0.8)
settle(volume, store, 1.5, batch=256)
data = make_blocks(256) if keeps_bytes else None
lbas = random_lbas(2, volume.blocks, (batches, 256))
for _ in sys.stdin:
    before, start = store.stats(), time.perf_counter()
    for batch in lbas:
        volume.write_blocks(batch, data)
    seconds = time.perf_counter() - start
    print((store.stats() - before).device_blocks / seconds, flush=True)
"""


def build(plant: str | None) -> Path:
    """Build the package with a planted bug, or none; return the folder to import it from."""
    folder = BUILD / (plant or "as it is")
    environment = {**os.environ, **({"SEQSTORE_PLANT": plant} if plant else {})}
    command = [str(ROOT / "scripts" / "build_variant.sh"), sys.executable, str(folder)]
    subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    return folder / "lib"


class Writer:
    """A process that writes with one of the builds."""

    def __init__(self, library: Path, *arguments: str) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(library), str(ROOT)])}
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=environment, cwd=library, text=True,
        )  # fmt: skip

    def write(self) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="module")
def libraries() -> dict[str, Path]:
    return {"seqstore": build(None), "no residue kept": build("ledger_keeps_no_residue")}


@pytest.mark.parametrize("medium", MEDIA)
def test_residue(side_by_side: Session, small: bool, libraries: dict[str, Path], medium: str) -> None:
    bytes_kept = medium == "in memory, 4 KiB"
    result = Result(
        question=f"random overwrites, 80 % full, {medium}", unit="M blocks/s", ours="seqstore",
        against="no residue kept", to_reach=0.97 if bytes_kept else 0,
        note="the ledger and remanence cost less than 3 %" if bytes_kept else "",
    )  # fmt: skip
    with ExitStack() as stack:
        writers = {}
        for name, library in libraries.items():
            capacity = MEDIA[medium] >> (4 if small else 0)
            arguments = (str(capacity), medium, str(16 if small else 512 if bytes_kept else 4096))
            writers[name] = Writer(library, *arguments)
            stack.callback(writers[name].close)
        for _ in range(2 if small else ROUNDS):
            for name, writer in writers.items():
                result.rates.setdefault(name, []).append(writer.write() / 1e6)
    side_by_side.results.append(result)
    assert result.ratio > 0
