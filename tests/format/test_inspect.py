"""``seqstore inspect``: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seqstore.cli import main
from seqstore.format import read_image
from tests.format.packing import Head, put_summary
from tests.format.writer import Writer

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def written() -> Writer:
    writer = Writer()
    writer.checkpoint()
    disk = writer.create(1, 20 * 512)
    writer.write(disk, 0, *(f"block {lba}".encode() for lba in range(9)))
    snapshot = writer.snapshot(disk)
    writer.trim(disk, 2, 3)
    clone = writer.clone(snapshot, 2)
    writer.write(clone, 1, b"of the clone")
    writer.write(disk, 8, b"again")
    writer.delete(clone)
    writer.flush()
    writer.resize(disk, 20 * 512)  # this record says that the others are safe
    writer.close()
    return writer


@pytest.fixture
def path(written: Writer, tmp_path: Path) -> Path:
    path = tmp_path / "drive.img"
    path.write_bytes(written.image)
    return path


def facts(path: Path, capsys: Capture, *options: str, status: int = 0) -> Any:
    assert main(["inspect", str(path), "--json", *options]) == status
    return json.loads(capsys.readouterr().out)


class TestJson:
    def test_says_what_is_there(self, path: Path, written: Writer, capsys: Capture) -> None:
        values = facts(path, capsys)
        assert values["drive"] == "000000000000d81e"
        assert values["geometry"]["capacity_bytes"] == len(written.image)
        assert values["sound"] is True
        assert values["damage"] == []
        assert values["log"]["last_sequence"] == written.sequence
        assert values["log"]["clean"] is False
        assert values["checkpoint"]["sequence"] == 1
        assert values["records"]["valid"] == written.sequence
        assert [(v["number"], v["kind"], v["mapped_blocks"]) for v in values["volumes"]] == [
            (1, "volume", 6),
            (2, "snapshot", 9),
        ]

    def test_counts_what_each_tenant_has(self, path: Path, written: Writer, capsys: Capture) -> None:
        live = sum(entry[0] == 1 for entry in written.ledger.values())
        first, second = facts(path, capsys)["tenants"]
        assert (first["tenant"], first["live"], first["dead"], first["oldest_age"]) == (1, live, 0, None)
        assert (second["tenant"], second["live"], second["dead"]) == (2, 0, 1)
        assert second["oldest_age"] >= 0

    def test_lists_blocks_on_request(self, path: Path, written: Writer, capsys: Capture) -> None:
        assert "blocks" not in facts(path, capsys)
        blocks = facts(path, capsys, "--blocks")["blocks"]
        assert {block["mba"]: block["state"] for block in blocks} == {
            mba: ("free", "live", "dead", "moved", "summary")[entry[0]]
            for mba, entry in written.ledger.items()
        }

    def test_says_where_heads_are(self, path: Path, written: Writer, tmp_path: Path, capsys: Capture) -> None:
        assert facts(path, capsys)["heads"] == [
            {"class": 0, "segment": written.segment, "open_blocks": written.used}
        ]
        writer = Writer(classes=3)
        writer.checkpoint()
        disk = writer.create(1, 20 * 512)
        writer.write(disk, 0, *(f"block {lba}".encode() for lba in range(9)))
        writer.close()
        other = tmp_path / "heads.img"
        other.write_bytes(writer.image)
        values = facts(other, capsys)
        assert values["sound"]
        assert {head["class"]: [head["segment"], head["open_blocks"]] for head in values["heads"]} == (
            writer.places
        )
        open_segments = {segment["segment"] for segment in values["segments"] if segment["open"]}
        assert open_segments == {segment for segment, _ in writer.places.values()}
        assert main(["inspect", str(other)]) == 0
        out = capsys.readouterr().out
        assert f"\nheads\n  class   segment   blocks written\n      0   {writer.places[0][0]:>7}" in out

    def test_quick_leaves_the_data_alone(self, path: Path, written: Writer, capsys: Capture) -> None:
        live = next(mba for mba, entry in written.ledger.items() if entry[0] == 1)
        image = bytearray(written.image)
        image[live * 512] ^= 1
        path.write_bytes(image)
        assert facts(path, capsys, "--quick")["verified_blocks"] == 0
        (damage,) = facts(path, capsys, status=1)["damage"]
        assert damage["mba"] == live
        assert f"block {live} is not the one that was written" in damage["what"]

    def test_takes_sizes_and_identity(self, path: Path, capsys: Capture) -> None:
        sizes = ("--block-size", "512", "--segment-blocks", "8")
        assert facts(path, capsys, *sizes) == facts(path, capsys)
        assert facts(path, capsys, "--identity", "d81e") == facts(path, capsys)
        assert facts(path, capsys, "--identity", "bad", status=1)["log"]["recoverable"] is False


class TestText:
    def test_is_a_page(self, path: Path, written: Writer, capsys: Capture) -> None:
        assert main(["inspect", str(path)]) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"drive 000000000000d81e: {path}\n")
        assert "64 KiB: 128 blocks of 512 bytes in 16 segments" in out
        assert f"ends with record {written.sequence}; the store was not closed" in out
        assert "\n       1   volume" in out
        assert "\n       2   snapshot" in out
        assert out.endswith("\nno damage found\n")
        assert max(map(len, out.splitlines())) <= 120
        (cells,) = [line.split()[-1] for line in out.splitlines() if line.startswith("         0  ")]
        used = [segment in {mba // 8 for mba in written.ledger} for segment in range(16)]
        assert [cell != "." for cell in cells] == used
        assert cells[written.segment] == "o"

    def test_of_a_closed_store(self, path: Path, written: Writer, capsys: Capture) -> None:
        written.checkpoint(clean=True)
        path.write_bytes(written.image)
        assert main(["inspect", str(path)]) == 0
        assert "the store was closed" in capsys.readouterr().out

    def test_of_blocks(self, path: Path, capsys: Capture) -> None:
        assert main(["inspect", str(path), "--blocks"]) == 0
        assert "\n    0   summary" in capsys.readouterr().out

    def test_of_damage(self, path: Path, written: Writer, capsys: Capture) -> None:
        path.write_bytes(written.image[:-512])
        assert main(["inspect", str(path)]) == 1
        out = capsys.readouterr().out
        assert "\nDAMAGE: 1 place\n" in out
        assert "the file ends at byte 65024" in out

    def test_of_a_summary_that_nothing_depends_on(self, path: Path, written: Writer, capsys: Capture) -> None:
        """Damage is damage, at the start of a segment as in its middle."""
        written.checkpoint(clean=True)
        with read_image(bytes(written.image)) as image:
            newest = image.recovered.checkpoint
            assert newest is not None
            stale = [r.summary.mba for r in image.records() if r.summary.sequence < newest.sequence]
        assert {mba % 8 == 0 for mba in stale} == {True, False}
        for mba in stale:
            damaged = bytearray(written.image)
            damaged[mba * 512 + 100] ^= 1
            path.write_bytes(damaged)
            assert main(["inspect", str(path)]) == 1, mba
            assert f"block {mba}:" in capsys.readouterr().out.partition("DAMAGE: 1 place\n")[2]

    def test_of_a_record_that_is_torn(self, path: Path, written: Writer, capsys: Capture) -> None:
        """It may be a crash, and it may not: the page says where."""
        written.checkpoint(clean=True)
        with read_image(bytes(written.image)) as image:
            mba = image.recovered.checkpoint_mba
        damaged = bytearray(written.image)
        damaged[(mba + 1) * 512 + 17] ^= 1
        path.write_bytes(damaged)
        assert main(["inspect", str(path)]) == 0
        assert f"torn        the record at block {mba} is not whole" in capsys.readouterr().out

    def test_of_a_drive_without_a_checkpoint(self, path: Path, written: Writer, capsys: Capture) -> None:
        # Only the second segment is left.
        path.write_bytes(bytes(8 * 512) + written.image[8 * 512 : 16 * 512] + bytes(14 * 8 * 512))
        assert main(["inspect", str(path)]) == 1
        out = capsys.readouterr().out
        assert "cannot be recovered" in out
        assert "blocks that single summaries name" in out

    def test_of_many_segments_is_short(self, tmp_path: Path, capsys: Capture) -> None:
        path = tmp_path / "large.img"
        writer = Writer(segments=4096, segment_blocks=4)
        writer.checkpoint()
        path.write_bytes(writer.image)
        assert main(["inspect", str(path)]) == 0
        out = capsys.readouterr().out
        assert "segments, 4 a character" in out
        assert len(out.splitlines()) < 45

    def test_names_cannot_reach_the_terminal(self, written: Writer, tmp_path: Path, capsys: Capture) -> None:
        path = tmp_path / "a\x1b[31m\udcffb"
        path.write_bytes(written.image)
        assert main(["inspect", str(path)]) == 0
        assert "a?[31m?b" in capsys.readouterr().out


class TestUnusable:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["missing"], "cannot be read"),
            (["."], "is a directory"),
            (["empty"], "no valid summary was found"),
            (["zeros"], "no valid summary was found"),
            (["newer"], "version 3"),
            (["zeros", "--block-size", "512"], "need each other"),
            (["zeros", "--block-size", "500", "--segment-blocks", "8"], "a power of two"),
        ],
    )
    def test_is_told_with_status_2(
        self,
        tmp_path: Path,
        capsys: Capture,
        monkeypatch: pytest.MonkeyPatch,
        arguments: list[str],
        message: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("empty").write_bytes(b"")
        Path("zeros").write_bytes(bytes(65536))
        newer = Head(drive=1, sequence=1, mba=0, segment_blocks=8, block_count=16, version=3)
        Path("newer").write_bytes(put_summary(newer, []).ljust(16 * 512, b"\0"))
        assert main(["inspect", *arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("seqstore: ")
        assert message in captured.err

    def test_the_directory_of_a_store(self, path: Path, tmp_path: Path, capsys: Capture) -> None:
        drive = tmp_path / "lab.store" / "drives" / "0.img"
        drive.parent.mkdir(parents=True)
        path.rename(drive)
        assert main(["inspect", str(drive.parents[1])]) == 2
        assert f"give that of the store, {str(drive)!r}" in capsys.readouterr().err

    def test_an_identity_is_hexadecimal(self, capsys: Capture) -> None:
        with pytest.raises(SystemExit) as caught:
            main(["inspect", "drive", "--identity", "xyz"])
        assert caught.value.code == 2


def test_reading_changes_nothing(path: Path, written: Writer) -> None:
    path.chmod(0o444)
    before = path.stat()
    with read_image(path) as image:
        image.verify()
    assert path.read_bytes() == bytes(written.image)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
