"""Traces of many volumes, split into one source for each, and replayed apart."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from seqstore.errors import ConfigError
from seqstore.sim import OPERATION_DTYPE, Kind, replay
from seqstore.sim import volumes as module
from seqstore.sim.sweep import sweep_volumes
from seqstore.sim.traces import write_alibaba
from seqstore.sim.volumes import split_volumes

Row = tuple[int, Kind, int, int, int, int]


@dataclass(frozen=True)
class Listed:
    """Operations written out in a test: time, kind, tenant, volume, lba, count."""

    rows: tuple[Row, ...]
    at_once: int = 3
    name = "listed"
    blocks = 1 << 20
    volumes = None

    @property
    def parameters(self) -> dict[str, Any]:
        return {"rows": len(self.rows)}

    def batches(self) -> Iterator[NDArray[np.void]]:
        for first in range(0, len(self.rows), self.at_once):
            yield np.array([*self.rows[first : first + self.at_once]], OPERATION_DTYPE)


def content(source: Any) -> list[tuple[int, ...]]:
    return [row for batch in source.batches() for row in batch.tolist()]


MIXED = Listed(
    (
        (0, Kind.WRITE, 1, 2, 10, 4),
        (1, Kind.WRITE, 2, 1, 0, 1),
        (2, Kind.READ, 1, 2, 100, 1),
        (3, Kind.WRITE, 1, 2, 12, 4),
        (4, Kind.READ, 1, 3, 5, 5),
        (5, Kind.CREATE, 2, 9, 64, 0),
        (6, Kind.WRITE, 2, 9, 63, 1),
        (7, Kind.TRIM, 1, 2, 10, 1),
        (8, Kind.LEAVE, 2, 0, 0, 0),
        (9, Kind.WRITE, 1, 2, 30, 1),
    )
)


class TestSplitting:
    def test_each_volume_gets_its_own_operations(self, tmp_path: Path) -> None:
        sources = split_volumes(MIXED, tmp_path / "split")
        parts = {(s.parameters["tenant"], s.parameters["volume"]): s for s in sources}
        assert [*parts] == [(1, 2), (2, 1), (2, 9)]  # 3 of tenant 1 is never written
        assert [row[0] for row in content(parts[1, 2])] == [0, 2, 3, 7, 9]
        assert [row[0] for row in content(parts[2, 1])] == [1, 8]
        assert [row[0] for row in content(parts[2, 9])] == [5, 6, 8]

    def test_what_is_known_of_each(self, tmp_path: Path) -> None:
        first, second, third = split_volumes(MIXED, tmp_path)
        assert (first.blocks, second.blocks, third.blocks) == (7, 1, 1)
        assert first.volumes == {(1, 2): 101}
        assert third.volumes is None  # it is created by an operation
        assert first.name == "listed"
        assert first.parameters == {"rows": 10, "tenant": 1, "volume": 2, "written_blocks": 7}

    def test_some_of_them(self, tmp_path: Path) -> None:
        (source,) = split_volumes(MIXED, tmp_path, volumes=[(2, 9)])
        assert source.parameters["volume"] == 9
        assert len([*tmp_path.iterdir()]) == 1
        with pytest.raises(ConfigError, match="listed never writes to volume 3 of tenant 1"):
            split_volumes(MIXED, tmp_path, volumes=[(2, 9), (1, 3)])

    def test_a_file_that_is_there_is_written_anew(self, tmp_path: Path) -> None:
        before = [content(source) for source in split_volumes(MIXED, tmp_path)]
        assert [content(source) for source in split_volumes(MIXED, tmp_path)] == before

    @given(
        runs=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 30)), min_size=1, max_size=60),
        merge=st.integers(0, 20),
    )
    def test_blocks_are_counted_once(self, runs: list[tuple[int, int]], merge: int) -> None:
        extents = module._Extents()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_AT_ONCE", merge)
            for lba, count in runs:
                extents.add(np.array([lba], np.uint64), np.array([count], np.uint32))
        assert extents.blocks == len({lba + at for lba, count in runs for at in range(count)})


class TestSweeping:
    def trace(self) -> Listed:
        draws = np.random.default_rng(8)
        return Listed(
            tuple(
                (time, Kind.WRITE, 1, int(volume), int(lba), 2)
                for time, (volume, lba) in enumerate(
                    zip(draws.integers(1, 4, 9000), draws.integers(0, 400, 9000), strict=True)
                )
            ),
            at_once=1000,
        )

    def test_each_volume_has_a_drive_of_its_own(self, tmp_path: Path) -> None:
        trace = self.trace()
        grid = {"selection": ["greedy", "fifo"], "segment_blocks": 16}
        with ThreadPoolExecutor(2) as executor:
            table = sweep_volumes(trace, grid, executor=executor)
        expected = [
            replay(source, selection=selection, segment_blocks=16)
            for source in split_volumes(trace, tmp_path)
            for selection in ("greedy", "fifo")
        ]
        assert list(table) == expected
        assert [row["source.volume"] for row in table.rows] == [1, 1, 2, 2, 3, 3]
        assert sum(result.user_blocks for result in table) == 2 * 18_000
        assert min(result.relocated_blocks for result in table) > 0

    def test_a_trace_by_its_path(self, tmp_path: Path) -> None:
        file = tmp_path / "trace.csv.gz"
        write_alibaba(file, self.trace())
        grid = {"segment_blocks": 16}
        with ThreadPoolExecutor(2) as executor:
            table = sweep_volumes(file, grid, executor=executor, format="alibaba")
            expected = sweep_volumes(self.trace(), grid, executor=executor)
        # The trace numbers its volumes in the order in which they appear.
        assert sorted(r.relocated_blocks for r in table) == sorted(r.relocated_blocks for r in expected)
        assert table.rows[0]["source.format"] == "alibaba"

    def test_in_processes_and_resumed(self, tmp_path: Path) -> None:
        trace = self.trace()
        first = sweep_volumes(trace, path=tmp_path / "kept", volumes=[(1, 2)])
        ended: list[tuple[int, int]] = []
        table = sweep_volumes(
            trace, path=tmp_path / "kept", progress=lambda done, of: ended.append((done, of))
        )
        assert ended == [(1, 3), (2, 3), (3, 3)]
        assert table[1] == first[0]

    def test_files_stay_in_a_folder_of_the_callers(self, tmp_path: Path) -> None:
        with ThreadPoolExecutor(2) as executor:
            sweep_volumes(self.trace(), executor=executor, folder=tmp_path)
        assert sorted(file.name for file in tmp_path.iterdir()) == [
            "1-1.operations", "1-2.operations", "1-3.operations",
        ]  # fmt: skip

    def test_what_is_an_argument_stands_in_no_grid(self) -> None:
        with pytest.raises(ConfigError, match="source stands in the grid"):
            sweep_volumes(self.trace(), {"source": [1]})
