"""A log on a file that can be left as a crash leaves it, without a store around it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workloads import BLOCK, MIB, make_blocks
from seqstore.engine import Engine
from seqstore.engine_volume import EngineVolume
from seqstore.media import FileMedium

_TENANT = 1
_RESERVE_PPM = 70_000


class CrashingLog:
    """A log with one volume, half as large as the drive, in a file.

    Closing it without an end is what a crash of the process leaves: the file system keeps what was appended,
    and recovery cannot know that it does.

    Parameters
    ----------
    file : Path
    capacity : int
        Bytes.
    fill : float
        How much is written at first, as a share of the capacity. From 1 on the head goes round the drive, and
        the log syncs now and then by itself, before it writes over what it has freed.
    checkpoint_bytes, window_bytes : int
        What is written between two checkpoints, and without a sync; 0 leaves it to the log.
    """

    def __init__(
        self,
        file: Path,
        capacity: int,
        *,
        fill: float = 1,
        checkpoint_bytes: int = 0,
        window_bytes: int = 0,
    ) -> None:
        self.file, self.capacity = file, capacity
        self.options: dict[str, Any] = {
            "drive": 1,
            "reserve_ppm": _RESERVE_PPM,
            "verify": 1,
            "checkpoint_blocks": checkpoint_bytes // BLOCK,
            "window_blocks": window_bytes // BLOCK,
        }
        self.blocks = capacity // BLOCK // 2
        self.rng = np.random.default_rng(7)
        self.data = make_blocks(256).tobytes()
        self.medium = FileMedium(file, capacity, create=True)
        self.engine = Engine(self.medium, **self.options)
        handle = self.engine.create_volume(1, _TENANT, self.blocks * BLOCK, unwritten_error=False)
        self.volume = EngineVolume(self.engine, handle, "volume")
        self.head = 0
        self.write(int(fill * capacity))

    @property
    def position(self) -> int:
        """Blocks that the log has put on the medium."""
        return self.engine.counters()["position"]

    def write(self, amount: int, *, random: bool = False, flush_every: int = 0) -> None:
        """Write so many bytes: 1 MiB after 1 MiB round the volume, or blocks to random addresses."""
        step, places = (BLOCK, self.blocks) if random else (MIB, self.blocks * BLOCK // MIB)
        count = amount // step
        if random:
            order = self.rng.integers(0, places, count)
        else:
            order = np.arange(self.head, self.head + count)
            self.head += count
        piece, unflushed = self.data[:step], 0
        for place in (order % places).tolist():
            self.volume.write(place * step, piece)
            unflushed += step
            if flush_every and unflushed >= flush_every:
                self.engine.flush()
                unflushed = 0

    def crash(self) -> None:
        """Stop in the middle of things."""
        self.engine.close()
        self.medium.close()

    def look(self) -> tuple[float, dict[str, int]]:
        """Open the log for reading and close it; return the seconds of the opening and its report."""
        with FileMedium(self.file, self.capacity, read_only=True) as medium:
            start = time.perf_counter()
            engine = Engine(medium, recover=True, **self.options, read_only=1)
            seconds = time.perf_counter() - start
            assert engine.recovery is not None
            engine.close()
        return seconds, engine.recovery

    def reopen(self) -> tuple[float, dict[str, int]]:
        """Recover for writing, after `crash`, and go on; returns what `look` does."""
        self.medium = FileMedium(self.file, self.capacity)
        start = time.perf_counter()
        self.engine = Engine(self.medium, recover=True, **self.options)
        seconds = time.perf_counter() - start
        assert self.engine.recovery is not None
        entry = self.engine.volumes()[0]
        self.volume = EngineVolume(self.engine, int(entry["handle"]), "volume")
        return seconds, self.engine.recovery

    def remove(self) -> None:
        self.crash()
        self.file.unlink()
