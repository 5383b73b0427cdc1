"""Reading recorded traces: each format against what its lines say, and against lines that say nothing."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqstore.errors import ConfigError, NotFoundError, TraceError
from seqstore.sim import traces
from seqstore.sim.operations import OPERATION_DTYPE, Kind, Source
from seqstore.sim.traces import columns, streams

DATA = Path(__file__).parent / "data"
W, R, T = Kind.WRITE, Kind.READ, Kind.TRIM

# Time in ns, kind, tenant, volume, lba, count: the same requests in every format that can say them.
EXPECTED: dict[str, list[tuple[int, ...]]] = {
    "msr.csv": [
        (0, W, 1, 1, 2, 1),
        (1000, R, 1, 2, 0, 2),
        (1000, W, 2, 1, 256, 3),
        (10**9, W, 1, 1, 2, 2),
    ],
    "alibaba.csv": [
        (0, W, 1, 8, 2, 1),
        (1000, R, 1, 8, 0, 2),
        (1000, W, 1, 1, 256, 3),
        (10**9, W, 1, 8, 2, 2),
    ],
    "tencent.csv": [
        (0, W, 1, 1059, 2, 1),
        (0, R, 1, 1059, 0, 2),
        (0, W, 1, 1064, 256, 3),
        (10**9, W, 1, 1059, 2, 2),
    ],
    "cloudphysics.csv": [
        (0, W, 1, 1, 2, 1),
        (0, R, 1, 1, 0, 2),
        (0, W, 1, 1, 256, 3),
        (10**9, W, 1, 1, 2, 2),
    ],
    "fio2.log": [(0, W, 1, 1, 2, 1), (250_000, R, 1, 2, 0, 2), (10**6, T, 1, 1, 1, 3)],
    "fio3.log": [(0, W, 1, 1, 2, 1), (250_000, R, 1, 2, 0, 2), (10**6, T, 1, 1, 1, 3)],
    "blkparse.txt": [
        (0, W, 1, 1, 2, 1),
        (250_000, R, 1, 1, 0, 2),
        (498_750, W, 1, 2, 256, 3),
        (10**9, T, 1, 2, 2, 2),
    ],
    # The first object outgrows its block at its second request, and is smaller at its third.
    "small.oracleGeneral.bin": [
        (0, W, 1, 1, 0, 1),
        (0, W, 1, 1, 1, 3),
        (10**9, T, 1, 1, 0, 1),
        (10**9, W, 1, 1, 4, 2),
        (10**9, W, 1, 1, 4, 1),
        (2 * 10**9, W, 1, 1, 6, 1),
    ],
}
FORMAT = {"fio2.log": "fio", "fio3.log": "fio", "small.oracleGeneral.bin": "oracle_general"}
CSV = [name for name in EXPECTED if name.endswith(".csv")]


def read(trace: traces.Trace) -> list[tuple[int, ...]]:
    batches = [*trace.batches()]
    assert all(batch.dtype == OPERATION_DTYPE for batch in batches)
    return [tuple(row) for batch in batches for row in batch.tolist()]


def without_arrow(name: str) -> Any:
    return None if name.startswith("pyarrow") else streams.optional_module(name)


@pytest.fixture(params=["pyarrow", "numpy", "lines"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way of reading comma-separated values in turn."""
    way: str = request.param
    if way == "pyarrow":
        pytest.importorskip("pyarrow")
    elif way == "numpy":
        monkeypatch.setattr(columns, "optional_module", without_arrow)
    else:
        monkeypatch.setattr("seqstore.sim.traces.reader.read_plain", lambda data, columns: None)
    return way


@pytest.mark.parametrize("name", EXPECTED)
def test_each_format_says_what_its_lines_say(name: str, way: str) -> None:
    trace = traces.open_trace(DATA / name)
    assert trace.format == FORMAT.get(name, Path(name).stem)
    assert read(trace) == EXPECTED[name]
    assert read(trace) == EXPECTED[name], "a second reading"


def test_what_is_no_request_is_counted() -> None:
    trace = traces.open_trace(DATA / "cloudphysics.csv")
    read(trace)
    assert (trace.skipped, trace.misaligned, trace.disordered) == (1, 1, 1)
    trace = traces.open_trace(DATA / "fio2.log")
    assert len(read(trace)) == 3
    assert trace.misaligned == 3, "the trim that is smaller than a block, too"


def test_a_trace_is_a_source() -> None:
    trace = traces.open_trace(DATA / "alibaba.csv", block_size="8KiB", shift=512)
    assert isinstance(trace, Source)
    assert (trace.name, trace.blocks, trace.volumes) == ("alibaba", 4, {(1, 1): 130, (1, 8): 3})
    json.dumps(trace.parameters)
    again = traces.open_trace(**trace.parameters)
    assert read(again) == read(trace) != EXPECTED["alibaba.csv"]


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pytest.importorskip("zstandard").compress(data),
}


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("name", ["tencent.csv", "small.oracleGeneral.bin"])
def test_compressed_traces_are_read_alike(name: str, suffix: str, tmp_path: Path) -> None:
    data = (DATA / name).read_bytes()
    # Two members one behind the other, which all four can hold, and no name that says so.
    half = len(data) // 48 * 24
    path = tmp_path / Path(name).stem
    path.write_bytes(COMPRESS[suffix](data[:half]) + COMPRESS[suffix](data[half:]))
    assert read(traces.open_trace(path)) == EXPECTED[name]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(TraceError, match="decompressed") as caught:
        read(traces.open_trace(path, FORMAT.get(name, "tencent")))
    assert caught.value.file == str(path)


def test_without_zstandard_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "optional_module", lambda name: None)
    path = tmp_path / "a.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(9))
    with pytest.raises(ConfigError, match="install the package zstandard"):
        traces.open_trace(path)


MALFORMED = {
    "msr.csv": [
        ("128166372000000000,web,0,Wrote,8192,4096,2833", "Read or Write"),
        ("128166372000000000,,0,Write,8192,4096,2833", "Hostname"),
        ("128166372000000000,web,0,Write,-8192,4096,2833", "Offset"),
        ("128166372000000000,web,0,Write,8192,4096,soon", "ResponseTime"),
        ("128166372000000000,web,0,Write,8192,4096", "7 fields"),
        ("228166372000000000,web,0,Write,8192,4096,2833", "filetime"),
    ],
    "alibaba.csv": [
        ("7,X,8192,4096,1577808000000626", "R or W"),
        ("7,W,8192,4096,", "timestamp"),
        ("7,W,8192,1099511627776,1577808000000626", "length"),
        ('7,W,"8192",4096,1577808000000626', "offset"),
        ("4294967295,W,8192,4096,1577808000000626", "device_id"),
        ("7,W,8192,4096,1577808000000626,1", "5 fields"),
        ("NaN,W,8192,4096,1577808000000626", "device_id"),
        ("\x00\xff", "5 fields"),
    ],
    "tencent.csv": [
        ("1538323200,16,8,2,1058", "IOType from 0 to 1"),
        ("1538323200,99999999999999999999,8,1,1058", "whole number"),
        ("15383232000,16,8,1,1058", "seconds"),
        ("1538323200,2251799813685248,8,1,1058", "sectors"),
    ],
    "cloudphysics.csv": [
        ("1,5633898,2g,4096,16", "SCSI operation code"),
        ("1,5633898,,4096,16", "SCSI operation code"),
        ("1,5633898,2a,4096.0,16", "size"),
        ("version,time,op,size,lbn", "version"),
    ],
    "fio2.log": [
        ("/tmp/a.bin write 8192", "filename action"),
        ("/tmp/a.bin write 8192 -1", "a length"),
        ("/tmp/a.bin burn 0 4096", "an action"),
        ("/tmp/a.bin wait 9007199254740992 0", "microseconds"),
    ],
    "fio3.log": [
        ("/tmp/a.bin write 0 4096", "a timestamp"),
        ("5", "timestamp filename action"),
        ("5 /tmp/a.bin wait 0 0", "an action"),
    ],
    "blkparse.txt": [
        ("  8,0    0        2     0.00000125   697  Q  WS 16 + 8 [writer/0]", "device, CPU"),
        ("  8,0    0        2     0.000001250   697  Q  WS 99999999999999999 + 8 [w]", "a sector"),
        ("what is this", "device, CPU"),
    ],
}


@pytest.mark.parametrize(
    ("name", "bad", "match"), [(n, *bad) for n, all_ in MALFORMED.items() for bad in all_]
)
def test_a_malformed_line_is_named(name: str, bad: str, match: str, way: str, tmp_path: Path) -> None:
    lines = (DATA / name).read_text().split("\n")
    lines.insert(3, bad)
    path = tmp_path / name
    path.write_text("\r\n".join(lines))
    trace = traces.open_trace(path, FORMAT.get(name, Path(name).stem))
    with pytest.raises(TraceError, match=match) as caught:
        read(trace)
    assert (caught.value.file, caught.value.line) == (str(path), 4)
    assert str(caught.value).startswith(f"{path}, line 4: found ")


def test_lines_are_counted_over_chunks(tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams.read_blocks, "__defaults__", (100,))
    path = tmp_path / "trace.csv"
    lines = ["0,W,4096,4096,5", "", "1,R,0,512,6"] * 50
    path.write_text("\n".join(lines))
    trace = traces.open_trace(path)
    assert len(read(trace)) == 100
    assert len([*trace.batches()]) > 10
    path.write_text("\n".join([*lines[:90], "1,R,0,512,x", *lines[90:]]))
    with pytest.raises(TraceError, match="timestamp") as caught:
        read(trace)
    assert caught.value.line == 91


def test_an_endless_line_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(b"0,W,0,512,6\n" + b"9" * (9 << 20))
    with pytest.raises(TraceError, match="a line of at most 1048576 bytes") as caught:
        read(traces.open_trace(path))
    assert caught.value.line == 2


@pytest.mark.parametrize("content", [b"", b"\n\n", b"hello\n", b"1,2,3\n", b"\x00" * 5, b"0,0,0,0,0,0,0\n"])
def test_what_is_no_trace_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(TraceError, match="say which: format=") as caught:
        traces.open_trace(path)
    assert caught.value.line == 1


def test_what_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        traces.open_trace(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="cannot be opened"):
        traces.open_trace(tmp_path)
    for wrong in (
        {"format": "csv"},
        {"block_size": 1000},
        {"block_size": 256},
        {"shift": -1},
        {"shift": 2**60},
    ):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            traces.open_trace(DATA / "msr.csv", **wrong)


def test_a_record_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.oracleGeneral"
    path.write_bytes((DATA / "small.oracleGeneral.bin").read_bytes()[:-1])
    with pytest.raises(TraceError, match=r"23 bytes.*a record of 24") as caught:
        read(traces.open_trace(path))
    assert caught.value.line == 6


def test_blkparse_takes_each_request_once(tmp_path: Path) -> None:
    path = tmp_path / "issued.txt"
    lines = (DATA / "blkparse.txt").read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "  Q  " not in line and " Q " not in line))
    assert read(traces.open_trace(path)) == [(0, W, 1, 1, 2, 1)]


def test_info_of_a_trace() -> None:
    info = traces.info(traces.open_trace(DATA / "msr.csv"))
    assert (info.requests, info.reads, info.writes, info.trims) == (4, 1, 3, 0)
    assert (info.read_blocks, info.written_blocks, info.working_set_blocks) == (2, 6, 7)
    assert info.written_set_blocks == 5
    assert info.overwrite_ratio == pytest.approx(1 / 6)
    assert info.volumes == {(1, 1): 4, (1, 2): 2, (2, 1): 259}
    assert info.names == {(1, 1): "web 0", (1, 2): "web 1", (2, 1): "sql 0"}
    assert (info.alignment, info.misaligned_share, info.duration_ns) == (512, 0.25, 10**9)
    assert "25.0% of the requests are not aligned" in info.advice
    assert json.loads(json.dumps(info.to_dict()))["volumes"] == {"1/1": 4, "1/2": 2, "2/1": 259}


def test_advice_on_a_partition_that_begins_amid_a_block(tmp_path: Path) -> None:
    path = tmp_path / "partition.csv"
    path.write_text("".join(f"0,W,{63 * 512 + 4096 * at},4096,{at}\n" for at in range(100)))
    info = traces.info(traces.open_trace(path))
    assert (info.alignment, info.misaligned_4k, info.advised_shift) == (512, 100, 512)
    assert "begin 3584 bytes behind" in info.advice
    shifted = traces.info(traces.open_trace(path, shift=info.advised_shift))
    assert (shifted.alignment, shifted.misaligned, shifted.written_blocks) == (4096, 0, 100)
    assert "aligned to 4096 bytes" in shifted.advice


def test_an_empty_trace_has_an_info(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("version,time,op,size,lbn\n")
    info = traces.info(traces.open_trace(path))
    assert (info.requests, info.alignment, info.overwrite_ratio, info.volumes) == (0, 0, 0.0, {})
    assert info.advice == "The trace holds no requests."


class Operations:
    """A source of given operations."""

    name = "given"
    blocks = 100
    volumes = None

    def __init__(self, rows: Sequence[tuple[int, ...]]) -> None:
        self.parameters: dict[str, Any] = {}
        self.rows = np.array(rows, OPERATION_DTYPE)

    def batches(self) -> Iterator[np.ndarray[Any, np.dtype[np.void]]]:
        yield self.rows


@pytest.mark.parametrize("suffix", ["", *COMPRESS])
def test_what_is_written_is_read_again(suffix: str, tmp_path: Path) -> None:
    if suffix == ".zst":
        pytest.importorskip("zstandard")
    rows = [(0, Kind.CREATE, 3, 9, 50, 0), (0, W, 3, 9, 4, 2), (2500, R, 1, 9, 0, 1), (9000, T, 3, 9, 4, 1)]
    path = tmp_path / f"out.csv{suffix}"
    written = traces.write_alibaba(path, Operations(rows))
    assert (written.requests, written.left_out, written.devices) == (2, 2, {(3, 9): 0, (1, 9): 1})
    trace = traces.open_trace(path)
    assert (trace.format, trace.name) == ("alibaba", "out")
    assert read(trace) == [(0, W, 1, 1, 4, 2), (2000, R, 1, 2, 0, 1)]
    first = path.read_bytes()
    traces.write_alibaba(path, trace)
    assert path.read_bytes() == first
    with pytest.raises(ConfigError, match="cannot be written"):
        traces.write_alibaba(tmp_path, trace)
    assert [*tmp_path.iterdir()] == [path]


def test_a_trace_that_cannot_be_read_leaves_no_file(tmp_path: Path) -> None:
    source, path = tmp_path / "bad.csv", tmp_path / "out.csv"
    source.write_text("0,W,0,512,6\n0,W,0,512\n")
    with pytest.raises(TraceError):
        traces.write_alibaba(path, traces.open_trace(source))
    assert not path.exists()
    assert [*tmp_path.iterdir()] == [source]
