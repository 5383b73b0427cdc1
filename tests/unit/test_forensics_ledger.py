"""Whose blocks fragments lie in, by the ledger; and the command that says it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from seqstore import BlockState, ConfigError, Store
from seqstore.cli import main
from seqstore.forensics import Scope, find, locate, search
from tests.unit.test_forensics import FILE, NOISE, medium_with


def make_store(path: Path) -> tuple[int, int]:
    """Make a store with two tenants, live, overwritten and deleted data; return the tenants' numbers."""
    with Store.create(path, "4MiB", block_size=512) as store:
        first, second = store.create_tenant("first"), store.create_tenant("second")
        volume, other = first.create_volume("disk", "1MiB"), second.create_volume("disk", "1MiB")
        for at in range(0, 200 * 512, 20 * 512):
            volume.write(at, NOISE[at : at + 20 * 512])
            other.write(at, NOISE[1_000_000 + at : 1_000_000 + at + 7 * 512])
        volume.write(0, FILE)
        volume.write(0, NOISE[500_000:520_000])
        gone = second.create_volume("gone", "64KiB")
        gone.write(0, FILE[::-1])
        gone.delete()
        numbers = first.number, second.number
        store.flush()
    return numbers


class TestLedger:
    def test_each_fragment_has_an_owner(self, tmp_path: Path) -> None:
        make_store(tmp_path / "s")
        drive = tmp_path / "s" / "drives" / "0.img"
        report = search(drive, {"file": FILE, "reversed": FILE[::-1]})
        with Store.open(tmp_path / "s", read_only=True) as store:
            located, other = locate(report, store)
        states = {place.state: place for place in located.places}
        assert set(states) == {"live", "dead"}
        assert all(place.tenant_name == "first" for place in located.places)
        assert all(place.volume_name == "disk" for place in located.places)
        assert states["dead"].bytes >= 20_000 - 512
        assert states["live"].bytes + states["dead"].bytes == located.parts["length"].sum() >= len(FILE)
        assert states["dead"].blocks in {40, 41}
        assert located.unowned_bytes == 0
        assert {(place.state, place.tenant_name, place.volume_name) for place in other.places} == {
            ("dead", "second", None)
        }

    def test_it_agrees_with_what_is_found_by_the_ledger(self, tmp_path: Path) -> None:
        """Two ways to the same blocks: by their bytes, and by what the store says of them."""
        first, second = make_store(tmp_path / "s")
        drive = tmp_path / "s" / "drives" / "0.img"
        everything = {"first": NOISE[: 200 * 512] + NOISE[500_000:520_000] + FILE, "second": FILE[::-1]}
        report = search(drive, everything)
        with Store.open(tmp_path / "s", read_only=True) as store:
            by_ledger = find(store.drives, Scope.TENANT, first)
            both = {
                block
                for run in find(store.drives, Scope.TENANT, second).tolist()
                for block in range(run[1], run[1] + run[2])
            }
            ledger = store.drives[0].ledger()
        blocks = {block for run in by_ledger.tolist() for block in range(run[1], run[1] + run[2])}
        hit = {
            block
            for offset, length in report.file("first").runs
            for block in range(offset // 512, (offset + length - 1) // 512 + 1)
        }
        assert hit == blocks
        assert blocks.isdisjoint(both)
        assert blocks == set(np.flatnonzero(ledger["tenant"] == first).tolist())
        for _, mba, count, volume, state, died in by_ledger.tolist():
            rows = ledger[mba : mba + count]
            assert (rows["volume"] == volume).all()
            assert (rows["state"] == state).all()
            assert (rows["died"] == died).all()
        assert {int(state) for state in by_ledger["state"]} == {BlockState.LIVE, BlockState.DEAD}

    def test_find_by_volume_and_of_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("seqstore.find._BLOCKS_AT_ONCE", 7)
        with Store.memory("1MiB", block_size=512) as store:
            tenant = store.create_tenant("a")
            one, two = tenant.create_volume("1", "64KiB"), tenant.create_volume("2", "64KiB")
            one.write(0, NOISE[:10_240])
            two.write(0, NOISE[:512])
            store.flush()
            by_volume = find(store.drives, Scope.VOLUME, one.number)
            assert by_volume["count"].sum() == 20
            assert len(by_volume) == 2  # a summary lies between them; how the ledger is read is all the same
            assert find(store.drives, Scope.TENANT, tenant.number)["count"].sum() == 21
            assert find(store.drives, Scope.ALL)["count"].sum() == 21
            assert len(find(store.drives, Scope.TENANT, 77)) == 0
            assert len(find(store.drives, Scope.TENANT, 0)) == 0  # the log's own blocks, and free ones

    def test_fragments_where_nobody_should_have_any_are_said(self, tmp_path: Path) -> None:
        make_store(tmp_path / "s")
        drive = tmp_path / "s" / "drives" / "0.img"
        with drive.open("r+b") as file:
            file.seek(-512 * 100, 2)
            file.write(FILE)
        copy = tmp_path / "larger"
        copy.write_bytes(drive.read_bytes()[:-1024] + FILE[:1624])
        with Store.open(tmp_path / "s", read_only=True) as store:
            (located,) = locate(search(copy, {"file": FILE}), store)
            assert located.unowned_bytes == len(FILE) + 1624
            assert {"free", "outside"} <= {place.state for place in located.places}
            with pytest.raises(ConfigError, match="give the drive that belongs"):
                locate(search(medium_with(tmp_path / "m", size=4096), {"file": FILE}), store)
            with pytest.raises(ConfigError, match="drive is 1"):
                locate(search(copy, {"file": FILE}), store, drive=1)


class TestCommand:
    def run(self, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
        status = main(["forensics", *map(str, arguments)])
        done = capsys.readouterr()
        return status, done.out + done.err

    def test_text(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "file").write_bytes(FILE)
        (tmp_path / "none").write_bytes(FILE[::-1])
        medium = medium_with(tmp_path / "m", (8192, FILE[:20_480]))
        status, text = self.run(capsys, medium, "--pattern", tmp_path / "file", tmp_path / "none")
        assert status == 0
        assert "51.2 % of it found, in 1 fragment" in text
        assert "20,480 bytes at 8,192" in text
        assert "nothing found" in text
        assert text.endswith("found fragments of 1 of 2 files\n")

    def test_the_status_of_scripts(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for name, content in (("file", FILE), ("none", FILE[::-1]), ("empty", b"")):
            (tmp_path / name).write_bytes(content)
        medium = medium_with(tmp_path / "m", (8192, FILE))

        def status(*names: str) -> int:
            patterns = [tmp_path / name for name in names]
            return self.run(capsys, medium, "--expect-none", "--pattern", *patterns)[0]

        assert status("none") == 0
        assert status("none", "file") == 1
        assert status("none", "empty") == 2
        assert self.run(capsys, "--pattern", "x")[0] == 2
        assert "no such file" in self.run(capsys, tmp_path / "no", "--pattern", medium)[1].lower()

    def test_json_with_the_store(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        make_store(tmp_path / "s")
        (tmp_path / "file").write_bytes(FILE)
        arguments = ("--store", tmp_path / "s", "--json", "--pattern", tmp_path / "file")
        status, text = self.run(capsys, *arguments)
        assert status == 0
        values = json.loads(text)
        (file,) = values["files"]
        assert file["share"] == 1.0
        assert {place["state"] for place in file["places"]} == {"live", "dead"}
        assert sum(part["length"] for part in file["parts"]) == sum(
            fragment["length"] for fragment in file["fragments"]
        )
        _, text = self.run(capsys, "--store", tmp_path / "s", "--pattern", tmp_path / "file")
        assert "dead, of tenant 'first', volume 'disk'" in text
