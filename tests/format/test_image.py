"""Whole drives: what recovery comes to, and what it says of damage."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from seqstore.errors import CorruptionError, FormatError, MediumError, NotFoundError, VersionError
from seqstore.format import BlockState, DriveImage, Extent, read_image
from tests.format.comparing import contents, expect_all, expect_contents, try_read
from tests.format.packing import DATA, LIVE, MOVED, TRIM, Entry, Head, put_summary, tagged
from tests.format.writer import Writer


def block(text: str) -> bytes:
    return text.encode().ljust(512, b"\0")


@pytest.fixture
def small() -> Writer:
    """A drive with a checkpoint, and records behind it."""
    writer = Writer()
    writer.checkpoint()
    disk = writer.create(1, 5000)
    writer.write(disk, 0, *(block(f"one {lba}") for lba in range(6)))
    writer.flush()
    writer.checkpoint()
    writer.trim(disk, 1, 2)
    writer.write(disk, 5, block("two 5"))
    writer.flush()
    writer.write(disk, 0, block("three 0"))
    writer.close()
    return writer


def read(writer: Writer, **changes: int) -> DriveImage:
    return read_image(bytes(writer.image), **changes)


def statuses(image: DriveImage) -> dict[int, str]:
    return {record.summary.sequence: record.status for record in image.records()}


class TestSound:
    def test_shows_what_was_written(self, small: Writer) -> None:
        image = read(small)
        expect_all(image, small)
        assert (image.drive, image.geometry.block_count) == (0xD81E, 128)
        assert image.recovered.checkpoint is not None
        assert image.recovered.checkpoint.sequence == small.checkpoint_sequence
        assert image.recovered.clean is False
        assert set(statuses(image).values()) == {"valid"}
        assert [*statuses(image)] == [*range(1, small.sequence + 1)]

    def test_extents_and_addresses(self, small: Writer) -> None:
        volume = read(small).volume(1)
        assert (volume.lookup(1), volume.lookup(99), volume.lookup(-1)) == (None, None, None)
        assert volume.read(1) == volume.read(10**12) == bytes(512)
        assert volume.extents()[1] == Extent(3, 2, volume.mapped()[3])
        assert [(extent.lba, extent.count) for extent in volume.extents()] == [(0, 1), (3, 2), (5, 1)]
        with pytest.raises(NotFoundError, match="no volume or snapshot 2"):
            read(small).volume(2)

    def test_a_closed_store(self, small: Writer) -> None:
        small.checkpoint(clean=True)
        image = read(small)
        expect_all(image, small)
        assert image.recovered.clean

    def test_without_any_checkpoint_from_the_first_record(self) -> None:
        writer = Writer(drive=0)
        disk = writer.create(1, 5000)
        writer.write(disk, 0, block("a"), block("b"))
        writer.flush()
        expect_all(read(writer), writer)

    @pytest.mark.parametrize("shift", [9, 12, 16])
    def test_of_any_block_size(self, shift: int) -> None:
        writer = Writer(block_shift=shift, segments=6)
        writer.checkpoint()
        writer.write(writer.create(7, 3 << shift), 1, b"text")
        writer.flush()
        expect_all(read(writer), writer)

    def test_from_a_file_and_from_an_object(self, small: Writer, tmp_path: Path) -> None:
        class Slow:
            def read(self, offset: int, length: int) -> bytes:
                return bytes(small.image[offset : offset + length])

        path = tmp_path / "a drive\n\udcff.img"
        path.write_bytes(small.image)
        with read_image(path) as image:
            expect_all(image, small)
        expect_all(read_image(Slow()), small)

    def test_layers_of_deleted_volumes(self, small: Writer) -> None:
        snapshot = small.snapshot(1)
        clone = small.clone(snapshot, 2)
        small.write(clone, 3, block("clone 3"))
        small.delete(1)
        small.delete(snapshot)
        small.flush()
        small.checkpoint()
        small.delete(clone)
        small.flush()
        image = read(small)
        expect_all(image, small)
        assert image.volumes == ()
        assert all(info.state is not BlockState.LIVE for info in image.blocks())


class TestRequests:
    def test_without_a_usable_one_the_whole_log_is_read_if_it_is_there(self, small: Writer) -> None:
        for mba in (1, small.checkpoint_mba + 1):
            small.image[mba * 512 + 80] ^= 1
        image = read(small)
        expect_contents(image, small.disks)
        assert image.recovered.checkpoint is None
        assert "the log is read from its beginning" in image.damage[-1].what

    def test_one_that_was_not_finished_is_void(self, small: Writer) -> None:
        before = {number: dict(disk.content) for number, disk in small.disks.items()}
        small.write(1, 0, *(block(f"long {lba}") for lba in range(9)))
        small._entries, small._blocks = [], []  # the end of it never reached the drive
        image = read(small)
        assert image.damage == ()
        assert image.recovered.void_entries > 0
        assert contents(image) == before

    @pytest.mark.parametrize("count", range(10, 26))
    def test_one_over_many_records_is_void_as_a_whole(self, small: Writer, count: int) -> None:
        """Some of these lengths pass a record that has no room for an entry."""
        before = {number: dict(disk.content) for number, disk in small.disks.items()}
        small.resize(1, 30 * 512)
        small.write(1, 0, *(block(f"long {lba}") for lba in range(count)))
        small._entries, small._blocks = [], []
        assert contents(read(small)) == before
        small.open_again()
        image = read(small)
        assert image.damage == ()
        assert contents(image) == before

    @pytest.mark.parametrize("count", range(10, 26))
    def test_one_over_many_records_is_whole(self, small: Writer, count: int) -> None:
        small.resize(1, 30 * 512)
        small.write(1, 0, *(block(f"long {lba}") for lba in range(count)))
        small.close()
        expect_all(read(small), small)

    def test_one_over_records_is_whole(self, small: Writer) -> None:
        small.write(1, 0, *(block(f"long {lba}") for lba in range(9)))
        small.close()
        assert any(head.open for head, _ in small.heads)
        expect_all(read(small), small)

    def test_an_opening_makes_it_void_for_good(self, small: Writer) -> None:
        before = {number: dict(disk.content) for number, disk in small.disks.items()}
        records = len(small.heads)
        small.write(1, 0, *(block(f"long {lba}") for lba in range(9)))
        small._entries, small._blocks = [], []
        void = sum(head.open for head, _ in small.heads[records:])
        small.open_again()
        small.create(2, 512)
        small.flush()
        image = read(small)
        assert image.damage == ()
        assert image.recovered.void_entries == void > 0
        assert contents(image) == before | {2: {}}


class TestEndOfTheLog:
    def test_a_torn_record_ends_it(self, small: Writer) -> None:
        head, _ = small.heads[-1]
        small.image[(head.mba + 1) * 512 + 100] ^= 1
        image = read(small)
        assert image.damage == ()
        assert statuses(image)[head.sequence] == "torn"
        assert image.recovered.last is not None
        assert image.recovered.last.sequence == head.sequence - 1
        assert image.volume(1).read(0) == block("one 0")

    def test_what_lies_behind_the_end_is_discarded(self, small: Writer) -> None:
        torn, _ = small.heads[-1]
        small.write(1, 3, block("four 3"))
        small.close()
        small.image[(torn.mba + 1) * 512] ^= 1
        image = read(small)
        assert statuses(image)[torn.sequence] == "torn"
        assert statuses(image)[torn.sequence + 1] == "discarded"
        assert image.volume(1).read(3) == block("one 3")

    def test_a_flushed_record_is_taken_by_its_summary(self, small: Writer) -> None:
        assert small.flushed < small.sequence
        data = next(mba for mba, (s, _, lba, _) in small.ledger.items() if s == 1 and lba == 5)
        small.image[data * 512] ^= 1
        image = read(small)
        assert image.recovered.last is not None
        assert image.recovered.last.sequence == small.sequence
        with pytest.raises(CorruptionError, match=f"block {data} is not the one") as caught:
            image.volume(1).read(5)
        assert (caught.value.volume, caught.value.lba, caught.value.mba) == (1, 5, data)
        image.verify()
        assert [damage.mba for damage in image.damage] == [data]

    def test_a_lost_flushed_record_is_said(self, small: Writer) -> None:
        lost, _ = small.heads[small.flushed - 1]
        small.image[lost.mba * 512 : lost.mba * 512 + 512] = bytes(512)
        small.write(1, 4, *[block("many")] * 9)  # reaches the next segment, whose first record says so
        small.close()
        image = read(small)
        assert image.recovered.lost_records == 1
        assert any("1 records are lost" in damage.what for damage in image.damage)

    def test_records_of_earlier_laps_are_stale(self) -> None:
        writer = Writer(segments=4)
        writer.checkpoint()
        disk = writer.create(1, 512 * 3)
        for turn in range(20):
            writer.write(disk, turn % 3, block(f"turn {turn}"))
            writer.flush()
            if len(writer.free) < 2:
                writer.clean()
                writer.checkpoint()
        image = read(writer)
        expect_all(image, writer)
        assert "stale" in statuses(image).values()
        assert image.position > writer.block_count


class TestCheckpoints:
    def test_the_one_before_is_taken_where_the_newest_is_damaged(self, small: Writer) -> None:
        newest = small.checkpoint_mba
        small.image[(newest + 1) * 512 + 80] ^= 1
        image = read(small)
        assert image.recovered.checkpoint is not None
        assert image.recovered.checkpoint.sequence == 1
        expect_contents(image, small.disks)
        assert [damage.mba for damage in image.damage] == [newest]
        assert "page 0 is not what was written" in image.damage[0].what

    def test_without_a_usable_one_single_summaries_speak(self, small: Writer) -> None:
        for mba in (1, small.checkpoint_mba + 1):
            small.image[mba * 512 + 80] ^= 1
        small.image[0] ^= 1
        image = read(small, block_size=512, segment_blocks=8)
        assert image.recovered.state is None
        assert set(statuses(image).values()) == {"unknown"}
        with pytest.raises(FormatError, match="no checkpoint that can be read"):
            _ = image.volumes
        assert any("no checkpoint" in damage.what for damage in image.damage)

    def test_one_that_was_not_finished_is_passed_over(self, small: Writer) -> None:
        good = small.checkpoint_sequence
        small.checkpoint()
        end, _ = small.heads[-1]
        small.image[end.mba * 512 : end.mba * 512 + 512] = bytes(512)
        image = read(small)
        assert image.recovered.checkpoint is not None
        assert image.recovered.checkpoint.sequence == good
        expect_contents(image, small.disks)

    def test_an_end_is_not_believed_before_what_came_before_is_safe(self, small: Writer) -> None:
        good = small.checkpoint_sequence
        small.flush = small.close  # type: ignore[method-assign]  # the checkpoint does not wait
        small.checkpoint()
        image = read(small)
        assert image.recovered.checkpoint is not None
        assert image.recovered.checkpoint.sequence == good
        expect_all(image, small)


class TestMoved:
    def test_blocks_are_where_the_cleaner_put_them(self, small: Writer) -> None:
        small.clean()
        small.flush()
        image = read(small)
        expect_all(image, small)
        assert BlockState.MOVED in {info.state for info in image.blocks()}

    @pytest.mark.parametrize("with_checkpoint", [False, True])
    def test_a_block_that_was_damaged_stays_so(self, small: Writer, with_checkpoint: bool) -> None:
        lba, sheet = 3, small.sheets[1]
        wrong = block("not what was written")
        checksum = tagged(1, lba, wrong)
        old = sheet.blocks[lba]
        at, position = small.put(Entry(DATA, lba, 1, checksum, 3), wrong)
        small.ledger[old] = (MOVED, 1, position, 0)
        small.ledger[at] = (LIVE, 1, lba, checksum ^ 0xFFFFFFFF)
        sheet.blocks[lba] = at
        small.close()
        if with_checkpoint:
            small.checkpoint()
        image = read(small)
        assert image.damage == ()
        with pytest.raises(CorruptionError) as caught:
            image.volume(1).read(lba)
        assert caught.value.mba == at
        assert image.volume(1).read(4) == block("one 4")


class TestSizes:
    def test_come_from_any_summary(self, small: Writer) -> None:
        small.image[3] ^= 1
        image = read(small)
        assert image.geometry.block_count == 128
        expect_contents(image, small.disks)
        assert [damage.mba for damage in image.damage] == [0]

    def test_can_be_given(self, small: Writer) -> None:
        expect_all(read(small, block_size=512, segment_blocks=8), small)

    def test_given_wrong_find_nothing(self, small: Writer) -> None:
        image = read(small, block_size=1024, segment_blocks=8)
        assert image.recovered.state is None
        assert image.damage != ()

    @pytest.mark.parametrize("sizes", [(500, 8), (512, 3), (512, 10**9), (0, 0), (-512, 8), (2**17, 8)])
    def test_given_impossible_are_refused(self, small: Writer, sizes: tuple[int, int]) -> None:
        with pytest.raises(FormatError):
            read(small, block_size=sizes[0], segment_blocks=sizes[1])

    @pytest.mark.parametrize("content", [b"", b"x", bytes(5000), b"SEQSREC1" * 1000])
    def test_are_missing_where_there_is_no_drive(self, content: bytes) -> None:
        with pytest.raises(FormatError, match="no valid summary was found"):
            read_image(content)

    def test_a_truncated_drive(self, small: Writer) -> None:
        """Whatever is read is right, or of an earlier flush, or an error that names the place."""
        for length in range(512, len(small.image), 512):
            image = read_image(bytes(small.image[:length]))
            assert any("not all there" in damage.what for damage in image.damage)
            missing = 0
            for volume in image.volumes:
                for lba in range(volume.blocks):
                    read_back = try_read(volume, lba)
                    assert read_back in {
                        small.disks[1].content.get(lba),
                        block(f"one {lba}"),
                        bytes(512),
                        None,
                    }
                    missing += read_back is None
            assert image.verify() >= missing


class TestStrangers:
    def test_a_newer_version_is_refused(self, small: Writer) -> None:
        head = Head(drive=small.drive, sequence=99, mba=64, segment_blocks=8, block_count=128, version=3)
        small.image[64 * 512 : 65 * 512] = put_summary(head, [])
        with pytest.raises(VersionError, match="version 3"):
            read(small)

    def test_two_versions_on_one_drive_are_refused(self, small: Writer) -> None:
        head = Head(drive=small.drive, sequence=99, mba=64, segment_blocks=8, block_count=128, version=2)
        small.image[64 * 512 : 65 * 512] = put_summary(head, [])
        with pytest.raises(VersionError, match="a drive has one version"):
            read(small)

    def test_a_newer_version_of_another_drive_is_not_ours_to_read(self, small: Writer) -> None:
        head = Head(drive=1, sequence=99, mba=64, segment_blocks=8, block_count=128, version=3)
        small.image[64 * 512 : 65 * 512] = put_summary(head, [])
        image = read(small)
        expect_all(image, small)
        assert image.survey.foreign == 1

    def test_records_of_another_drive_are_left_alone(self, small: Writer) -> None:
        other = Writer(drive=0xBAD)
        other.checkpoint()
        other.write(other.create(9, 40 * 512), 0, *(block("other") for _ in range(40)))
        other.flush()
        at = 4 * 8 * 512
        small.image[at:] = other.image[at:]
        image = read(small)
        expect_all(image, small)
        assert image.survey.foreign > 0
        assert read(small, drive=0xBAD).drive == 0xBAD

    def test_files_that_cannot_be_opened(self, tmp_path: Path) -> None:
        with pytest.raises(MediumError, match="is a directory"):
            read_image(tmp_path)
        with pytest.raises(MediumError, match="cannot be read"):
            read_image(tmp_path / "missing")
        with pytest.raises(MediumError, match="cannot be read"):
            read_image("a\0b")

    def test_blocks_that_cannot_be_read(self, small: Writer) -> None:
        bad = next(mba for mba, (s, _, lba, _) in small.ledger.items() if s == 1 and lba == 4)

        class Worn:
            def read(self, offset: int, length: int) -> bytes:
                if offset <= bad * 512 < offset + length:
                    raise OSError(errno.EIO, "Input/output error")
                return bytes(small.image[offset : offset + length])

        image = read_image(Worn())
        with pytest.raises(CorruptionError, match="Input/output error") as caught:
            image.volume(1).read(4)
        assert caught.value.mba == bad
        assert image.volume(1).read(3) == block("one 3")

    def test_an_entry_that_cannot_be(self, small: Writer) -> None:
        small.put(Entry(TRIM, 0, 77, 1))
        small.close()
        image = read(small)
        assert [damage.what for damage in image.damage] == ["TRIM: layer 77 is no volume's head"]
        expect_contents(image, small.disks)
