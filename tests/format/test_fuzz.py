"""Anything at all as a drive: an answer, or an error that says so; never another one, and always an end.

What failed once is kept under ``corpus/``: an image a file, named for what was wrong. Mutations put the
checksums right again about half of the time, so that they reach what lies behind them.
"""

from __future__ import annotations

import random
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqstore.errors import FormatError
from seqstore.format import DriveImage, Geometry, parse_checkpoint, parse_summary, read_image
from seqstore.inspect import collect, render
from tests.format import packing
from tests.format.comparing import try_read
from tests.format.test_histories import History

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.img"))
BLOCK = 512


def read_all(image: bytes, **sizes: int) -> DriveImage | None:
    """Read everything that can be read; None if it is no drive."""
    try:
        drive = read_image(image, **sizes)
    except FormatError:
        return None
    facts = collect(drive, blocks=True)
    assert facts.sound == (drive.damage == ())
    assert all(line.isprintable() for line in render(facts, "name"))
    if drive.recovered.state is not None:
        for volume in drive.volumes:
            for lba in range(min(volume.blocks, 64)):
                block = try_read(volume, lba)
                assert block is None or len(block) == drive.geometry.block_size
    return drive


@lru_cache
def a_drive(seed: int) -> tuple[bytes, tuple[int, ...], dict[int, set[bytes]]]:
    """Return the image of a random history, where its summaries lie, and all that was ever at each lba."""
    choose, history = random.Random(seed), History(1 + seed % 3)
    for _ in range(60):
        history.step(choose.randrange(40), choose.randrange(5), choose.randrange(12), choose.randrange(1, 5))
    history.writer.close()
    drive = history.writer
    summaries = tuple(mba for mba, entry in drive.ledger.items() if entry[0] == packing.SUMMARY)
    written: dict[int, set[bytes]] = {}
    for head, entries in drive.heads:
        at = head.mba
        for entry in entries:
            at += entry.kind in packing.WITH_BLOCK
            if entry.kind == packing.DATA:
                block = bytes(drive.image[at * BLOCK : (at + 1) * BLOCK])
                written.setdefault(entry.lba, {bytes(BLOCK)}).add(block)
    return bytes(drive.image), summaries, written


@given(st.binary(max_size=4096), st.booleans())
def test_random_bytes(content: bytes, given_sizes: bool) -> None:
    sizes = {"block_size": 512, "segment_blocks": 4} if given_sizes else {}
    read_all(content, **sizes)


@given(st.binary(min_size=512, max_size=512))
def test_random_bytes_as_structures(content: bytes) -> None:
    geometry = Geometry(block_size=512, segment_blocks=8, block_count=64)
    for magic in (b"SEQSREC1\1\0\x09\0", b"SEQSCKP1\1\0\0\0"):
        block = magic + content[len(magic) :]
        with pytest.raises(FormatError):
            parse_checkpoint(block, geometry)
        try:
            parse_summary(packing.with_checksum(block), 0)
        except FormatError:
            continue


@given(st.integers(0, 5), st.data())
def test_mutated_drives(seed: int, data: st.DataObject) -> None:
    whole, summaries, _ = a_drive(seed)
    image = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        block = data.draw(st.sampled_from([*summaries, *range(len(image) // BLOCK)]))
        at = block * BLOCK + data.draw(st.one_of(st.integers(0, 143), st.integers(0, BLOCK - 1)))
        width = data.draw(st.sampled_from([1, 2, 4, 8]))
        value = data.draw(st.one_of(st.integers(0, 20), st.integers(0, 2**64 - 1), st.just(2**64 - 1)))
        image[at : at + width] = (value % 2 ** (8 * width)).to_bytes(width, "little")
        if block in summaries and data.draw(st.booleans()):
            start = block * BLOCK
            image[start : start + BLOCK] = packing.with_checksum(bytes(image[start : start + BLOCK]))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(image))))
    read_all(bytes(image[:cut]))


@given(st.integers(0, 3), st.data())
def test_mutated_checkpoints(seed: int, data: st.DataObject) -> None:
    """Change the stream, with the checksums of its pages right: what it says is checked by itself."""
    history = History(1 + seed % 3)
    choose = random.Random(seed)
    for _ in range(40):
        history.step(choose.randrange(40), choose.randrange(5), choose.randrange(12), choose.randrange(1, 5))
    history.writer.close()
    stream = bytearray(packing.put_stream(history.writer.describe()))
    geometry = Geometry(block_size=512, segment_blocks=8, block_count=history.writer.block_count)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.one_of(st.integers(48, 95), st.integers(0, len(stream) - 1)))
        stream[at] = data.draw(st.integers(0, 255))
    try:
        checkpoint = parse_checkpoint(bytes(stream).ljust(-(-len(stream) // 512) * 512, b"\0"), geometry)
        tables = sum(1 for _ in checkpoint.tables())
    except FormatError:
        return
    assert tables <= geometry.segment_count


@pytest.mark.parametrize("seed", [1, 2])
def test_no_flipped_byte_shows_wrong_data(seed: int) -> None:
    """Whatever is damaged: what is read was written to that address once, or is zeros, or is an error."""
    whole, _, written = a_drive(seed)
    choose = random.Random(seed)
    for _ in range(150):
        image = bytearray(whole)
        at = choose.randrange(len(image))
        image[at] ^= 1 << choose.randrange(8)
        drive = read_all(bytes(image))
        assert drive is not None
        if drive.recovered.state is None:
            continue
        for volume in drive.volumes:
            for lba in volume.mapped():
                block = try_read(volume, lba)
                assert block in written[lba] if block is not None else volume.lookup(lba) == at // BLOCK


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_failed_once(path: Path) -> None:
    assert read_all(path.read_bytes()) is not None


def test_a_torn_checkpoint_is_no_damage() -> None:
    """It was never safe; the one before it is taken, and the volume is as it was."""
    drive = read_all((Path(__file__).parent / "corpus" / "torn-checkpoint.img").read_bytes())
    assert drive is not None
    assert drive.damage == ()
    assert drive.volume(1).read(0) == b"text".ljust(512, b"\0")
