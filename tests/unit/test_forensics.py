"""The forensic search: what it finds on a raw medium, and what it says of it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqstore import AccessError, ConfigError, MediumError, NotFoundError, Store
from seqstore.forensics import index as index_module
from seqstore.forensics import search
from seqstore.forensics.source import CHUNK_BYTES, Source
from seqstore.media import MemoryMedium

KIB = 1024
rng = np.random.default_rng(20)
NOISE = rng.bytes(2 * CHUNK_BYTES + 64 * KIB)
FILE = rng.bytes(40_000)


def medium_with(path: Path, *parts: tuple[int, bytes], size: int = len(NOISE)) -> Path:
    """Make a medium of noise with parts put into it."""
    content = bytearray(NOISE[:size])
    for offset, part in parts:
        content[offset : offset + len(part)] = part
    path.write_bytes(content)
    return path


def found(report: Any, name: str = "file") -> list[tuple[int, ...]]:
    return [tuple(row) for row in report.file(name).fragments.tolist()]


class TestSearch:
    def test_a_whole_file(self, tmp_path: Path) -> None:
        report = search(medium_with(tmp_path / "m", (8192, FILE)), {"file": FILE, "other": FILE[::-1]})
        assert found(report) == [(8192, len(FILE), 0)]
        assert report.file("file").share == 1.0
        assert found(report, "other") == []
        assert report.file("other").share == 0.0
        assert report.found
        assert report.complete

    def test_nothing(self, tmp_path: Path) -> None:
        report = search(medium_with(tmp_path / "m"), {"file": FILE})
        assert not report.found
        assert report.file("file").runs == []

    @pytest.mark.parametrize("offset", [0, 1, 63, 64, 511, 512, 4096, 70_001])
    @pytest.mark.parametrize("start", [0, 1, 65, 512, 4100])
    def test_a_fragment_of_the_least_size_at_any_alignment(
        self, tmp_path: Path, offset: int, start: int
    ) -> None:
        part = FILE[start : start + 96]
        report = search(medium_with(tmp_path / "m", (offset, part), size=256 * KIB), {"file": FILE})
        ((place, length, begin),) = found(report)
        # By chance the noise beside it may be the same for a byte or two.
        assert offset - 3 <= place <= offset
        assert place + length >= offset + 96
        assert begin - place == start - offset

    def test_scattered_fragments_without_the_head(self, tmp_path: Path) -> None:
        order = [5, 2, 8, 1]
        parts = [
            ((3 * at + 1) * 4096, FILE[number * 4096 : (number + 1) * 4096])
            for at, number in enumerate(order)
        ]
        report = search(medium_with(tmp_path / "m", *parts), {"file": FILE})
        assert [row[0] for row in found(report)] == [offset for offset, _ in parts]
        assert [row[2] for row in found(report)] == [number * 4096 for number in order]
        assert report.file("file").found_bytes == pytest.approx(4 * 4096, abs=4)
        assert report.file("file").runs[0][0] == 4096

    @pytest.mark.parametrize("before", [*range(0, 200, 7), 96, 20_000])
    def test_a_fragment_across_two_chunks_is_one(self, tmp_path: Path, before: int) -> None:
        offset = CHUNK_BYTES - before
        report = search(medium_with(tmp_path / "m", (offset, FILE)), {"file": FILE})
        assert found(report) == [(offset, len(FILE), 0)]

    def test_a_fragment_near_the_end_of_a_chunk_is_found_once(self, tmp_path: Path) -> None:
        report = search(medium_with(tmp_path / "m", (CHUNK_BYTES - 4096, FILE[4096:6144])), {"file": FILE})
        ((offset, length, start),) = found(report)
        assert (offset, start) == (CHUNK_BYTES - 4096, 4096)
        assert length == pytest.approx(2048, abs=3)

    def test_a_file_larger_than_chunks(self, tmp_path: Path) -> None:
        content = NOISE[: CHUNK_BYTES + 12_345]
        path = tmp_path / "m"
        path.write_bytes(FILE + content)
        report = search(path, {"file": content})
        assert found(report) == [(len(FILE), len(content), 0)]
        assert report.certain_bytes > 96

    @pytest.mark.parametrize("shift", [0, 1, 31, 33, 500])
    def test_large_patterns_are_found_by_whole_blocks(self, tmp_path: Path, shift: int) -> None:
        """Their index is thinner, and a block that stands anywhere in the file is still found."""
        pattern = bytes(1 << 20) + NOISE + bytes(index_module._ENTRIES * 64 - len(NOISE))
        part = NOISE[70_000 + shift : 70_000 + shift + 4096]
        path = tmp_path / "m"
        path.write_bytes(bytes(CHUNK_BYTES - 2048) + part + bytes(4096))
        report = search(path, {"file": pattern})
        assert report.certain_bytes == 64 * 63 + 31
        ((offset, length, start),) = found(report)
        assert (offset, length, start) == (CHUNK_BYTES - 2048, 4096, (1 << 20) + 70_000 + shift)

    def test_the_last_piece_counts_although_it_is_short(self, tmp_path: Path) -> None:
        content = FILE[: 4096 + 40]
        medium = medium_with(tmp_path / "m", (12_288, content[4096:] + bytes(4056)))
        assert found(search(medium, {"file": content})) == [(12_288, 40, 4096)]
        assert not search(medium, {"file": content}, minimum=513).found

    def test_a_larger_minimum_leaves_short_fragments_out(self, tmp_path: Path) -> None:
        medium = medium_with(tmp_path / "m", (0, FILE[:300]), (8192, FILE[8192:9000]))
        assert len(found(search(medium, {"file": FILE}))) == 2
        assert [row[0] for row in found(search(medium, {"file": FILE}, minimum=512))] == [8192]

    def test_short_patterns_are_found_whole(self, tmp_path: Path) -> None:
        needle = b"a short secret"
        places = [1, 777, CHUNK_BYTES - 99, CHUNK_BYTES - 5, CHUNK_BYTES + 100, len(NOISE) - len(needle)]
        medium = medium_with(tmp_path / "m", *((place, needle) for place in places))
        assert [row[0] for row in found(search(medium, {"file": needle}))] == places

    def test_zeros_prove_nothing(self, tmp_path: Path) -> None:
        content = bytes(64 * KIB) + FILE + b"\xff" * 8192
        path = tmp_path / "m"
        path.write_bytes(bytes(1 << 20) + b"\xff" * (1 << 20))
        report = search(path, {"file": content})
        assert not report.found
        assert report.file("file").searched_bytes < len(FILE) + 1024

    @pytest.mark.parametrize(
        ("line", "share"), [(b"the same line, again and again.\n", 1.0), (b"11 letters\n", 0)]
    )
    def test_content_that_repeats_itself_is_found_all(
        self, tmp_path: Path, line: bytes, share: float
    ) -> None:
        content = (line * 9000)[:98_304]
        blocks = [content[at : at + 4096] for at in range(0, len(content), 4096)]
        path = tmp_path / "m"
        path.write_bytes(NOISE[:4096].join(reversed(blocks)))
        report = search(path, {"file": content})
        assert report.file("file").share >= share
        assert sum(length for _, length in report.file("file").runs) == pytest.approx(len(content), abs=200)

    def test_two_files_that_share_content_are_both_found(self, tmp_path: Path) -> None:
        one, two = FILE[:8192] + NOISE[-999:], NOISE[:512] + FILE[:8192]
        report = search(medium_with(tmp_path / "m", (CHUNK_BYTES, FILE[:8192])), {"file": one, "two": two})
        assert report.file("file").found_bytes >= 8192
        assert report.file("two").found_bytes >= 8192

    def test_equal_places_are_counted_once(self, tmp_path: Path) -> None:
        medium = medium_with(tmp_path / "m", (0, FILE[:4096]), (8192, FILE[2048:6144]))
        report = search(medium, {"file": FILE})
        assert len(found(report)) == 2
        assert report.file("file").found_bytes == pytest.approx(6144, abs=4)

    def test_progress_ends_with_everything(self, tmp_path: Path) -> None:
        seen: list[tuple[int, int]] = []
        search(medium_with(tmp_path / "m"), {"file": FILE}, progress=lambda *told: seen.append(told))
        assert len(seen) == 3
        assert seen[-1] == (len(NOISE), len(NOISE))

    def test_a_medium_of_odd_size(self, tmp_path: Path) -> None:
        path = tmp_path / "m"
        path.write_bytes(NOISE[:1000] + FILE[:4001])
        report = search(path, {"file": FILE})
        assert found(report) == [(1000, 4001, 0)]
        assert search(path, {"file": NOISE[:1000] + FILE[:4001] + bytes(50)}).file("file").found_bytes == 5001

    def test_a_medium_in_memory(self) -> None:
        with Store.memory("1MiB", block_size=512) as store:
            store.create_tenant("a").create_volume("v", "256KiB").write(1024, FILE)
            store.flush()
            drive = store.drives[0]
            assert search(drive, {"file": FILE}).file("file").share == 1.0
            assert search(drive.medium, {"file": FILE}).file("file").share == 1.0

    def test_random_fragments(self, tmp_path: Path) -> None:
        draw = np.random.default_rng(3)
        for _ in range(20):
            start, length = int(draw.integers(0, 30_000)), int(draw.integers(96, 9000))
            offset = int(draw.integers(0, len(NOISE) - length))
            part = FILE[start : start + length]
            report = search(medium_with(tmp_path / "m", (offset, part)), {"file": FILE})
            assert sum(row[1] for row in found(report)) >= len(part), (start, length, offset)


class TestFailures:
    def test_arguments_that_cannot_be_used(self, tmp_path: Path) -> None:
        medium = medium_with(tmp_path / "m", size=4096)
        with pytest.raises(ConfigError, match="at least one file"):
            search(medium, [])
        with pytest.raises(ConfigError, match=r"give a list of them, \[path\]"):
            search(medium, str(medium))
        with pytest.raises(ConfigError, match="no pattern can be looked for: 'e': it is empty"):
            search(medium, {"e": b""})
        with pytest.raises(ConfigError, match="bytes are expected"):
            search(medium, {"e": "text"})
        with pytest.raises(ConfigError, match="minimum is 95"):
            search(medium, {"file": FILE}, minimum=95)
        with pytest.raises(NotFoundError, match="there is no file"):
            search(medium, [tmp_path / "missing"])
        with pytest.raises(ConfigError, match="no regular file"):
            search(medium, [tmp_path])
        with pytest.raises(MediumError, match="opening"):
            search(tmp_path / "missing", {"file": FILE})
        with pytest.raises(MediumError, match="directory"):
            search(tmp_path, {"file": FILE})
        (tmp_path / "empty").touch()
        with pytest.raises(ConfigError, match="is empty"):
            search(tmp_path / "empty", {"file": FILE})

    def test_a_medium_that_keeps_no_bytes(self) -> None:
        with (
            Store.simulated("1MiB", block_size=512) as store,
            pytest.raises(MediumError, match="keeps no bytes"),
        ):
            search(store.drives[0], {"file": FILE})

    def test_files_that_tell_nothing_are_named(self, tmp_path: Path) -> None:
        medium = medium_with(tmp_path / "m", (0, FILE))
        report = search(medium, {"file": FILE, "zeros": bytes(9000), "empty": b"", "short": b"abc"})
        assert report.file("file").share == 1.0
        assert not report.complete
        reasons = [report.file(name).reason for name in ("zeros", "empty", "short")]
        assert reasons == [
            "each piece of it is one byte over and over",
            "it is empty",
            "it has 3 bytes; 8 are the least that tell anything",
        ]

    def test_what_cannot_be_read_is_said_and_the_rest_searched(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        medium = medium_with(tmp_path / "m", (16_384, FILE))
        bad = range(20_480, 28_672)

        def failing(read: Callable[[int, Any], None]) -> Callable[[int, Any], None]:
            def read_into(offset: int, target: Any) -> None:
                if offset < bad.stop and bad.start < offset + len(target):
                    target[:1] = 77
                    raise OSError(errno.EIO, "a bad sector")
                read(offset, target)

            return read_into

        make = Source.__init__

        def made(self: Source, name: str, size: int, read_into: Any, unit: int) -> None:
            make(self, name, size, failing(read_into), unit)

        monkeypatch.setattr(Source, "__init__", made)
        report = search(medium, {"file": FILE})
        assert report.unreadable == ((bad.start, len(bad)),)
        assert not report.complete
        assert found(report) == [(16_384, 4096, 0), (28_672, len(FILE) - 12_288, 12_288)]

    def test_a_medium_that_may_not_be_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*arguments: object) -> int:
            raise PermissionError(errno.EACCES, "Permission denied")

        medium = medium_with(tmp_path / "m", size=4096)
        monkeypatch.setattr("os.open", refuse)
        with pytest.raises(AccessError, match="look at the permissions"):
            search(medium, {"file": FILE})


class TestNothingIsWritten:
    def test_the_medium_is_opened_for_reading(self, tmp_path: Path) -> None:
        medium = medium_with(tmp_path / "m", (0, FILE))
        medium.chmod(0o400)
        before = medium.stat()
        assert search(medium, {"file": FILE}).found
        assert medium.stat().st_mtime_ns == before.st_mtime_ns


def test_a_medium_of_blocks_is_read_by_blocks() -> None:
    medium = MemoryMedium("64KiB", block_size=4096)
    assert not search(medium, {"file": FILE}).found
