"""Traces of anything: the ways of reading agree, sums are those of sets, and what is no trace is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqstore.errors import TraceError
from seqstore.sim import traces
from seqstore.sim.operations import Kind
from seqstore.sim.traces import columns, streams
from tests.simulation.test_traces import DATA, EXPECTED, FORMAT, R, T, W, read, without_arrow

Runs = list[tuple[int, int, int, int]]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([W, R, T]), st.integers(0, 2), st.integers(0, 1 << 21), st.integers(1, 1 << 20)
        )
    ),
)
def test_info_counts_blocks_as_sets_do(tmp_path_factory: pytest.TempPathFactory, rows: Runs) -> None:
    path = tmp_path_factory.mktemp("info") / "log"
    words = {W: "write", R: "read", T: "trim"}
    lines = [f"0 /f{volume} {words[Kind(kind)]} {offset} {length}" for kind, volume, offset, length in rows]
    path.write_text("\n".join(["fio version 3 iolog", *lines]))
    info = traces.info(traces.open_trace(path, block_size=512))
    blocks: dict[int, set[tuple[int, int]]] = {W: set(), R: set(), T: set()}
    for kind, volume, offset, length in rows:
        blocks[kind] |= {(volume, at) for at in range(offset // 512, -(-(offset + length) // 512))}
    assert info.written_set_blocks == len(blocks[W])
    assert info.working_set_blocks == len(blocks[W] | blocks[R])
    assert info.misaligned == sum((offset | length) % 512 > 0 for _, _, offset, length in rows)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20_000)), max_size=60), st.integers(1, 9))
def test_objects_keep_their_runs(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int]], at_once: int
) -> None:
    path = tmp_path_factory.mktemp("objects") / "small.oracleGeneral"
    path.write_bytes(b"".join(struct.pack("<IQIq", 7, 2**64 - 1 - thing, size, -1) for thing, size in rows))
    runs: dict[int, tuple[int, int]] = {}
    end, expected = 0, []
    for thing, size in rows:
        blocks = -(-size // 4096)
        if blocks == 0:
            continue
        start, room = runs.get(thing, (0, 0))
        if blocks > room:
            expected += [(0, T, 1, 1, start, room)] if room else []
            runs[thing] = start, room = end, blocks
            end += blocks
        expected.append((0, W, 1, 1, start, blocks))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "CHUNK_BYTES", 24 * at_once)
        assert read(traces.open_trace(path)) == expected


FIELD = st.one_of(
    st.integers(-2, 2**64).map(str),
    st.integers(0, 99).map(str),
    st.text("0123456789abcdefxXRWread_-+., \t\"'#\r\n\x00é", max_size=12),
    st.sampled_from(
        ["2a", "28", "R", "W", "Read", "write", "0x10", "1e3", "NULL", "", "inf", "9" * 70, "web"]
    ),
)
LINES = st.lists(st.lists(FIELD, min_size=5, max_size=7).map(",".join), max_size=6).map("\n".join)
ROW = st.tuples(st.integers(0, 2**62), st.sampled_from("RWrw"), *[st.integers(0, 2**33)] * 3)
NEARLY = st.lists(st.one_of(ROW.map(lambda row: ",".join(map(str, row))), LINES), max_size=8).map("\n".join)


def outcome(path: Path, name: str | None) -> TraceError | list[tuple[int, ...]]:
    try:
        return read(traces.open_trace(path, name))
    except TraceError as error:
        return error


@given(st.sampled_from(["msr", "alibaba", "tencent", "cloudphysics"]), st.one_of(LINES, NEARLY))
def test_all_ways_of_reading_agree(tmp_path_factory: pytest.TempPathFactory, name: str, text: str) -> None:
    path = tmp_path_factory.mktemp("csv") / "trace"
    path.write_bytes(text.encode())
    quick = outcome(path, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "optional_module", without_arrow)
        by_numpy = outcome(path, name)
        patch.setattr("seqstore.sim.traces.reader.read_plain", lambda data, columns: None)
        by_lines = outcome(path, name)
    if isinstance(quick, TraceError):
        assert str(quick) == str(by_numpy) == str(by_lines)
    else:
        assert quick == by_numpy == by_lines


@given(st.sampled_from([None, *traces.FORMATS]), st.one_of(st.binary(max_size=200), NEARLY.map(str.encode)))
def test_anything_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str | None, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(data)
    refused = outcome(path, name)
    if isinstance(refused, TraceError):
        assert refused.line <= data.count(b"\n") + 1 + len(data) // 24
    else:
        assert traces.info(traces.open_trace(path, name, block_size="1MiB")).requests <= len(data)


@given(st.sampled_from(sorted(EXPECTED)), st.data())
def test_a_damaged_trace_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    content = bytearray((DATA / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(bytes(content))
    refused = outcome(path, FORMAT.get(name, Path(name).stem))
    assert not isinstance(refused, TraceError) or refused.file == str(path)
