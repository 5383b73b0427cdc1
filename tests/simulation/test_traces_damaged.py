"""Traces that end too soon, hold too much or something else: file and line are named, nothing is left out."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import tracemalloc
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from seqstore.errors import TraceError
from seqstore.sim import traces
from seqstore.sim.traces import touched
from tests.simulation.test_traces import COMPRESS, DATA, EXPECTED, FORMAT, read

LINE = b"7,W,8192,4096,1577808000000626\n"
RECORD = struct.pack("<IQIq", 1, 2, 4096, -1)
TEXTS = [name for name in EXPECTED if not name.endswith(".bin")]


def refused(path: Path, content: bytes, name: str) -> TraceError:
    path.write_bytes(content)
    with pytest.raises(TraceError) as caught:
        read(traces.open_trace(path, name))
    assert caught.value.file == str(path)
    assert str(caught.value).startswith(f"{path}, line {caught.value.line}: found ")
    return caught.value


@pytest.mark.parametrize("name", TEXTS)
def test_ends_of_lines_and_of_the_file_do_not_matter(name: str, tmp_path: Path) -> None:
    content, form = (DATA / name).read_bytes(), FORMAT.get(name, Path(name).stem)
    path = tmp_path / "trace"
    for changed in (
        content.replace(b"\n", b"\r\n"),
        content.rstrip(b"\n"),
        content.replace(b"\n", b"\n\n"),
        content + b"\n\n",
    ):
        path.write_bytes(changed)
        assert read(traces.open_trace(path, form)) == EXPECTED[name]


@pytest.mark.parametrize("name", [name for name in TEXTS if name.endswith(".csv")])
def test_a_byte_order_mark_is_no_text(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    for content in ((DATA / name).read_bytes(), (DATA / name).read_bytes().split(b"\n", 1)[1]):
        path.write_bytes(b"\xef\xbb\xbf" + content)
        assert len(read(traces.open_trace(path))) >= len(EXPECTED[name]) - 1


@pytest.mark.parametrize("form", traces.FORMATS)
def test_a_trace_of_nothing_has_no_requests(form: str, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    for content in (b"", gzip.compress(b""), bz2.compress(b""), lzma.compress(b"")):
        path.write_bytes(content)
        assert read(traces.open_trace(path, form)) == []


@pytest.mark.parametrize(
    ("suffix", "spoil"),
    [
        (suffix, spoil)
        for suffix in COMPRESS
        for spoil in ("cut", "damaged", "followed", "second damaged", "begun")
        if (suffix, spoil) != (".zst", "damaged")  # which keeps no checksum by default
    ],
)
def test_compressed_traces_are_read_as_a_whole_or_refused(suffix: str, spoil: str, tmp_path: Path) -> None:
    member = COMPRESS[suffix](LINE * 1000)
    middle = len(member) // 2
    content = {
        "cut": member[:-5],
        "damaged": member[:middle] + bytes([member[middle] ^ 0xFF]) + member[middle + 1 :],
        "followed": member + b"something else",
        "second damaged": member + b"X" + member[1:],
        "begun": member[:5],
    }[spoil]
    refused(tmp_path / f"trace.csv{suffix}", content, "alibaba")


@pytest.mark.parametrize("padding", [4, 1 << 18, (1 << 18) + 400])
def test_members_of_xz_may_be_padded(padding: int, tmp_path: Path) -> None:
    path = tmp_path / "trace.csv.xz"
    path.write_bytes(lzma.compress(LINE * 3) + bytes(padding) + lzma.compress(LINE) + bytes(8))
    assert len(read(traces.open_trace(path, "alibaba"))) == 4


@pytest.mark.parametrize("bytes_missing", range(1, 24))
def test_a_record_that_is_cut_short(bytes_missing: int, tmp_path: Path) -> None:
    assert refused(tmp_path / "t", (RECORD * 3)[:-bytes_missing], "oracle_general").line == 3


@pytest.mark.parametrize(
    "end", ["WS", "WS 16", "WS 16 ", "WS 16 +", "WS 16 + ", "WS 16 + x [w]", "WS -16 + 8 [w]"]
)
def test_a_line_of_blkparse_that_is_cut_short(end: str, tmp_path: Path) -> None:
    start = "  8,0    0        2     0.000001250   697  Q  "
    content = f"{start}WS 16 + 8 [w]\n{start}{end}"
    assert refused(tmp_path / "t", content.encode(), "blkparse").line == 2
    (tmp_path / "t").write_text(f"{start}FN [w]\n{start}R 36 (12 01 00 00) [udev]\n{start}WS 16 + 8 [w]\n")
    assert len(read(traces.open_trace(tmp_path / "t", "blkparse"))) == 1


class TestMemory:
    def peak(self, call: Callable[[], object]) -> int:
        tracemalloc.start()
        try:
            call()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def test_does_not_grow_with_the_trace(self, tmp_path: Path) -> None:
        peaks, path = [], tmp_path / "trace.csv"
        lines = b"".join(b"3,W,%d,4096,%d\n" % (n % 999 * 4096, n) for n in range(400_000))
        for times in (1, 5):
            path.write_bytes(lines * times)
            batches = traces.open_trace(path, "alibaba").batches()
            peaks.append(self.peak(partial(deque, batches, maxlen=0)))
        assert peaks[1] < 1.2 * peaks[0] < 200 << 20

    def test_is_bounded_whatever_is_compressed(self, tmp_path: Path) -> None:
        """64 MiB without the end of a line, in a few kilobytes."""
        for suffix, compress in COMPRESS.items():
            path = tmp_path / f"trace.csv{suffix}"
            path.write_bytes(compress(b"1" * (1 << 26)))
            trace = traces.open_trace(path, "alibaba")

            def attempt(trace: traces.Trace = trace) -> None:
                with pytest.raises(TraceError, match="a line of at most"):
                    read(trace)

            assert self.peak(attempt) < 45 << 20, suffix

    def test_of_the_survey_does_not_grow_with_the_length_of_requests(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        at_once: list[int] = []
        mark_pages = touched.Touched._mark_pages

        def spy(
            self: touched.Touched,
            space: NDArray[np.int64],
            lba: NDArray[np.int64],
            count: NDArray[np.int64],
            pages: NDArray[np.int64],
            flag: int,
        ) -> None:
            at_once.append(int(pages.sum()))
            mark_pages(self, space, lba, count, pages, flag)

        monkeypatch.setattr(touched, "_AT_ONCE", 1 << 10)
        monkeypatch.setattr(touched.Touched, "_mark_pages", spy)
        blocks = touched.Touched()
        lba = np.arange(100, dtype=np.int64) * 1000
        blocks.mark(np.zeros(100, np.int64), lba, np.full(100, 100_000), touched.WRITTEN)
        assert blocks.count(touched.WRITTEN) == 199_000
        assert max(at_once) <= (1 << 10) + 100_000 // 512 + 2
        assert len(at_once) > 15
