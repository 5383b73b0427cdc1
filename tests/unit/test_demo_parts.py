"""What the demonstration is made of: its choice of files and drive, its archives, its searches."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from seqstore import ConfigError, Store
from seqstore.demo import files, search
from seqstore.demo.archive import (
    Archive,
    ArchiveWriter,
    archive_size,
    choose_canary_files,
    store_side_by_side,
    verify,
)
from seqstore.demo.files import FileSet, SourceFile, pick_neighbours, read_tree
from seqstore.demo.plan import Plan
from seqstore.demo.search import Canary, Fingerprinter, Probe, Wanted, probe_volume, scan_medium
from tests.small import BLOCK_SIZE, mba_of, write_tagged

NO_LIMIT = 1 << 40
NO_PRINTS = np.empty(0, dtype=np.uint64)


def ignore(_: int) -> None:
    """Take the place of a progress bar."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of many sizes, in two levels; one is empty, and one has a name too long for a tar header."""
    root = tmp_path_factory.mktemp("input") / "tree"
    rng = np.random.default_rng(5)
    names = ["a.txt", "b/c.bin", "b/d.txt", "e.py", "f", "b/" + "long" * 30 + ".txt", "b/small", "g"]
    for name, size in zip(names, (100, 70_000, 9_000, 8_192, 4_095, 20_000, 1, 30_000), strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(rng.bytes(size))
    (root / "empty").touch()
    return root


class TestFiles:
    def test_lists_a_tree_by_name(self, tree: Path) -> None:
        found = read_tree(tree, NO_LIMIT)
        names = [file.name for file in found.files]
        assert names[:3] == ["tree/a.txt", "tree/e.py", "tree/empty"]
        assert "tree/b/c.bin" in names
        assert len(names) == 9
        assert found.size == sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())
        assert found.skipped == 0

    def test_leaves_out_caches_and_counts_what_is_no_file(self, tmp_path: Path) -> None:
        (tmp_path / "__pycache__").mkdir()
        (tmp_path / "__pycache__" / "x.pyc").write_bytes(b"x")
        (tmp_path / "file").write_bytes(b"content")
        (tmp_path / "link").symlink_to("file")
        os.mkfifo(tmp_path / "pipe")
        found = read_tree(tmp_path, NO_LIMIT)
        assert [file.path.name for file in found.files] == ["file"]
        assert found.skipped == 2

    def test_counts_what_cannot_be_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("open", "secret"):
            (tmp_path / name).write_bytes(b"content")
        monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "secret")
        found = read_tree(tmp_path, NO_LIMIT)
        assert [file.path.name for file in found.files] == ["open"]
        assert found.skipped == 1

    def test_takes_the_standard_library_by_default(self) -> None:
        found = read_tree(None, NO_LIMIT)
        names = {Path(file.name).name for file in found.files}
        assert {"argparse.py", "tarfile.py"} <= names
        assert not any("site-packages" in file.path.parts for file in found.files)
        assert "standard library" in found.description

    def test_refuses_what_is_no_directory(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"content")
        with pytest.raises(ConfigError, match="not a directory"):
            read_tree(tmp_path / "file", NO_LIMIT)
        with pytest.raises(ConfigError, match="does not exist"):
            read_tree(tmp_path / "missing", NO_LIMIT)

    def test_refuses_a_tree_without_bytes(self, tmp_path: Path) -> None:
        (tmp_path / "empty").touch()
        with pytest.raises(ConfigError, match="nothing to store"):
            read_tree(tmp_path, NO_LIMIT)

    def test_stops_at_the_limit(self, tree: Path) -> None:
        with pytest.raises(ConfigError, match=r"more than 1,000 bytes"):
            read_tree(tree, 1000)

    def test_neighbours_are_other_files_and_fit(self) -> None:
        taken = read_tree(None, NO_LIMIT)
        budget = 3 << 20
        others = pick_neighbours(taken, budget)
        assert not {file.path for file in others.files} & {file.path for file in taken.files}
        assert budget // 2 < archive_size(others) <= budget + tarfile.RECORDSIZE

    def test_refuses_when_no_neighbours_are_left(self, monkeypatch: pytest.MonkeyPatch, tree: Path) -> None:
        monkeypatch.setattr(files, "_neighbour_roots", lambda: iter([tree]))
        with pytest.raises(ConfigError, match="nothing is left for the second tenant"):
            pick_neighbours(read_tree(tree, NO_LIMIT), NO_LIMIT)


class TestPlan:
    def test_drive_is_about_three_times_the_archive(self) -> None:
        plan = Plan.make(None)
        assert archive_size(plan.leaver) / plan.capacity == pytest.approx(0.35, abs=0.01)
        assert archive_size(plan.stayer) / plan.capacity <= 0.31
        assert plan.capacity % plan.segment_size == 0

    def test_a_small_drive_has_many_segments_all_the_same(self, tree: Path) -> None:
        plan = Plan.make(tree)
        assert (plan.capacity, plan.capacity // plan.segment_size) == (4 << 20, 64)

    def test_takes_a_capacity(self, tree: Path) -> None:
        assert Plan.make(tree, "8MiB").capacity == 8 << 20

    @pytest.mark.parametrize(
        ("capacity", "message"),
        [
            ("12XB", "unit"),
            ("64KiB", "too small .* at least 1024KiB"),
            ("1000TiB", "of this machine's memory"),
        ],
    )
    def test_refuses_a_capacity_that_does_not_suit(self, tree: Path, capacity: str, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            Plan.make(tree, capacity)

    def test_refuses_a_negative_seed(self, tree: Path) -> None:
        with pytest.raises(ConfigError, match="seed is -1"):
            Plan.make(tree, seed=-1)

    def test_refuses_files_that_memory_has_no_room_for(
        self, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("seqstore.demo.plan._memory_for_drive", lambda: 100_000)
        with pytest.raises(ConfigError, match="smaller directory"):
            Plan.make(tree)


class TestArchive:
    @pytest.fixture
    def big(self) -> Iterator[Store]:
        with Store.memory("4MiB") as store:
            yield store

    @pytest.fixture
    def stored(self, big: Store, tree: Path) -> Archive:
        return self.put(big, read_tree(tree, NO_LIMIT), ("tree/b/d.txt", "tree/a.txt"))

    def put(self, store: Store, files: FileSet, canaries: tuple[str, ...] = ()) -> Archive:
        volume = store.create_tenant("contoso").create_volume("files", archive_size(files))
        fingerprinter = Fingerprinter(store.block_size, np.random.default_rng(1))
        (archive,) = store_side_by_side([(ArchiveWriter(volume, fingerprinter, canaries), files)], ignore)
        return archive

    def test_is_a_tar_that_others_can_read(self, stored: Archive, tree: Path) -> None:
        content = stored.volume.read(0, stored.volume.size)
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            for member in tar.getmembers():
                extracted = tar.extractfile(member)
                assert extracted is not None
                assert extracted.read() == (tree.parent / member.name).read_bytes()
        assert len(stored.digests) == 9

    def test_size_is_known_before(self, stored: Archive, tree: Path) -> None:
        expected = io.BytesIO()
        with tarfile.open(fileobj=expected, mode="w", format=tarfile.GNU_FORMAT) as tar:
            tar.add(tree, "tree", recursive=False, filter=lambda _: None)
            for path in sorted(tree.rglob("*")):
                if path.is_file():
                    tar.add(path, path.relative_to(tree.parent).as_posix())
        assert stored.volume.size == len(expected.getvalue())

    def test_writes_every_block_once(self, stored: Archive, big: Store) -> None:
        assert big.stats().user_blocks == stored.volume.mapped_blocks == len(stored.prints)

    def test_verifies(self, stored: Archive) -> None:
        read: list[int] = []
        assert verify(stored, read.append) == []
        assert sum(read) == stored.size

    def test_finds_a_changed_byte(self, stored: Archive) -> None:
        canary = stored.canaries[1]
        offset = canary.lba * stored.volume.block_size
        stored.volume.write(offset + 10, bytes([canary.content[10] ^ 1]))
        assert verify(stored, ignore) == [canary.name]

    def test_names_every_file_behind_a_broken_header(self, stored: Archive) -> None:
        names = list(stored.digests)
        stored.volume.write(0, b"?")
        assert verify(stored, ignore) == names

    def test_finds_a_missing_file(self, stored: Archive) -> None:
        stored.digests["tree/never"] = b""
        assert verify(stored, ignore) == ["tree/never"]

    def test_counts_files_that_went_or_grew(self, big: Store, tmp_path: Path) -> None:
        for name in ("gone", "grown", "same"):
            (tmp_path / name).write_bytes(b"content")
        found = read_tree(tmp_path, NO_LIMIT)
        (tmp_path / "gone").unlink()
        (tmp_path / "grown").write_bytes(b"more content")
        archive = self.put(big, found)
        assert archive.vanished == 2
        assert [Path(name).name for name in archive.digests] == ["same"]
        assert verify(archive, ignore) == []

    def test_canaries_lie_where_they_say(self, stored: Archive) -> None:
        assert [canary.name for canary in stored.canaries] == ["tree/a.txt", "tree/b/d.txt"]
        small, large = stored.canaries
        assert len(small.content) == 100
        assert small.content in stored.volume.read_blocks(small.lba, 1).tobytes()
        assert large.content == stored.volume.read_blocks(large.lba, 1).tobytes()

    def test_archives_interleave(self, big: Store, tree: Path) -> None:
        found = read_tree(tree, NO_LIMIT)
        fingerprinter = Fingerprinter(big.block_size, np.random.default_rng(1))
        volumes = [
            big.create_tenant(name).create_volume("files", archive_size(found)) for name in ("one", "two")
        ]
        store_side_by_side([(ArchiveWriter(v, fingerprinter, ()), found) for v in volumes], ignore)
        one, two = (volume.extents()["mba"] for volume in volumes)
        assert one.min() < two.max()
        assert two.min() < one.max()

    def test_chooses_named_files_all_over_the_archive(self) -> None:
        every = tuple(
            SourceFile(name=f"{n:02}", path=Path(f"{n:02}"), size=10_000 * (n % 2), mtime=0)
            for n in range(40)
        )
        chosen = choose_canary_files(FileSet(description="", files=every, skipped=0), 4, 4096)
        assert [int(name) // 10 for name in chosen] == [0, 1, 2, 3]
        assert all(int(name) % 2 for name in chosen)

    def test_makes_do_with_small_files(self) -> None:
        sizes = (5, 40, 3000, 31)
        every = tuple(SourceFile(name=str(s), path=Path(str(s)), size=s, mtime=0) for s in sizes)
        chosen = choose_canary_files(FileSet(description="", files=every, skipped=0), 6, 4096)
        assert set(chosen) == {"40", "3000"}


class TestFingerprints:
    @pytest.fixture
    def fingerprinter(self) -> Fingerprinter:
        return Fingerprinter(BLOCK_SIZE, np.random.default_rng(1))

    def test_each_bit_counts(self, fingerprinter: Fingerprinter) -> None:
        blocks = np.tile(np.random.default_rng(2).integers(0, 256, BLOCK_SIZE, dtype=np.uint8), (4097, 1))
        for bit in range(8 * BLOCK_SIZE):
            blocks[bit, bit // 8] ^= 1 << (bit % 8)
        assert len(np.unique(fingerprinter.of(blocks))) == 8 * BLOCK_SIZE + 1

    def test_order_counts(self, fingerprinter: Fingerprinter) -> None:
        block = np.random.default_rng(2).integers(0, 256, (1, BLOCK_SIZE), dtype=np.uint8)
        halves_swapped = np.roll(block, 4)
        words_swapped = np.roll(block, 8)
        prints = fingerprinter.of(np.concatenate([block, halves_swapped, words_swapped]))
        assert len(set(prints.tolist())) == 3

    def test_zeros_are_known(self, fingerprinter: Fingerprinter) -> None:
        prints = fingerprinter.of(np.zeros((300, BLOCK_SIZE), dtype=np.uint8))
        assert (prints == search.ZEROS_PRINT).all()

    def test_do_not_depend_on_how_many_are_taken_at_once(self, fingerprinter: Fingerprinter) -> None:
        blocks = np.random.default_rng(2).integers(0, 256, (1000, BLOCK_SIZE), dtype=np.uint8)
        assert fingerprinter.of(blocks).tolist() == [
            int(fingerprinter.of(blocks[n : n + 1])[0]) for n in range(1000)
        ]


class TestSearch:
    @pytest.fixture
    def fingerprinter(self) -> Fingerprinter:
        return Fingerprinter(BLOCK_SIZE, np.random.default_rng(1))

    def test_finds_blocks_and_pieces(self, store: Store, fingerprinter: Fingerprinter) -> None:
        volume = store.create_tenant("contoso").create_volume("disk", "64KiB")
        rows = write_tagged(volume, range(40))
        other = store.create_tenant("fabrikam").create_volume("disk", "64KiB")
        write_tagged(other, range(40))
        expected = [mba_of(volume, lba) for lba in range(40)]
        canary = Canary(name="file", lba=7, content=rows[7].tobytes()[3:200])
        volume.delete()
        wanted = Wanted(fingerprinter.of(rows), NO_PRINTS, [canary], fingerprinter)
        scan = scan_medium(store.drives[0], wanted)
        assert np.flatnonzero(scan.distinctive).tolist() == expected
        assert np.array_equal(scan.own, scan.distinctive)
        assert scan.found_at == ((expected[7],),)
        assert scan.canaries_found == 1

    @pytest.mark.parametrize("chunk_blocks", [1, 3, 256])
    def test_finds_across_the_border_of_two_pieces(
        self, store: Store, fingerprinter: Fingerprinter, monkeypatch: pytest.MonkeyPatch, chunk_blocks: int
    ) -> None:
        monkeypatch.setattr(search, "_CHUNK_BYTES", chunk_blocks * BLOCK_SIZE)
        volume = store.create_tenant("contoso").create_volume("disk", "64KiB")
        write_tagged(volume, range(6))
        mba = mba_of(volume, 2)
        content = store.drives[0].raw(mba, 2)[BLOCK_SIZE - 20 : BLOCK_SIZE + 20]
        canary = Canary(name="file", lba=2, content=content)
        scan = scan_medium(store.drives[0], Wanted(NO_PRINTS, NO_PRINTS, [canary], fingerprinter))
        assert scan.found_at == ((mba,),)
        assert not scan.distinctive.any()

    def test_what_others_stored_too_proves_nothing(self, fingerprinter: Fingerprinter) -> None:
        own = np.array([5, 7, 9, 7, search.ZEROS_PRINT], dtype=np.uint64)
        wanted = Wanted(own, np.array([7, 8], dtype=np.uint64), [], fingerprinter)
        assert wanted.distinctive.tolist() == [5, 9]
        assert wanted.ambiguous_blocks == 3

    def test_probe_counts_leaks_and_other_wrong_blocks(
        self, store: Store, fingerprinter: Fingerprinter
    ) -> None:
        volume = store.create_tenant("fabrikam").create_volume("disk", "64KiB")
        rows = write_tagged(volume, range(4))
        prints = fingerprinter.of(rows)
        wanted = Wanted(prints[:1], NO_PRINTS, [], fingerprinter)
        assert probe_volume(volume, wanted, prints) == Probe(blocks=128, leaked=1, wrong=0)
        assert probe_volume(volume, wanted, prints[:3]) == Probe(blocks=128, leaked=1, wrong=1)
        volume.write(100 * BLOCK_SIZE + 9, b"\x01")
        assert probe_volume(volume, wanted, prints).wrong == 1

    def test_canaries_that_others_stored_are_dropped(self, store: Store) -> None:
        volume = store.create_tenant("fabrikam").create_volume("disk", "64KiB")
        rows = write_tagged(volume, range(4))
        theirs = Canary(name="theirs", lba=0, content=rows[3].tobytes()[5:50])
        mine = Canary(name="mine", lba=0, content=b"nobody else has this")
        assert search.keep_distinctive([theirs, mine], [volume]) == (mine,)

    @pytest.mark.parametrize(
        ("content", "excerpt"),
        [
            (b"\x00\x01def  main():\n    return\xff", "def main(): return"),
            (b"x" * 100, "x" * 40),
            (bytes(range(128, 256)), ""),
        ],
    )
    def test_excerpts_are_printable(self, content: bytes, excerpt: str) -> None:
        assert Canary(name="file", lba=0, content=content).excerpt == excerpt
