"""Compares what the reader finds on a drive with what the writer says is there."""

from __future__ import annotations

from seqstore.errors import CorruptionError
from seqstore.format import BlockState, DriveImage, VolumeImage
from tests.format.disks import Disk
from tests.format.packing import FREE, LIVE
from tests.format.writer import Writer


def contents(image: DriveImage) -> dict[int, dict[int, bytes]]:
    """Return what each volume and snapshot shows, block by block."""
    return {volume.number: {lba: volume.read(lba) for lba in volume.mapped()} for volume in image.volumes}


def try_read(volume: VolumeImage, lba: int) -> bytes | None:
    """Read a block; None if it is damaged, and then the error names it."""
    try:
        return volume.read(lba)
    except CorruptionError as error:
        if (error.volume, error.lba, error.mba) != (volume.number, lba, volume.lookup(lba)):
            raise
        return None


def expect_contents(image: DriveImage, disks: dict[int, Disk]) -> None:
    """Check that volumes and snapshots are these, and show this and nothing else."""
    assert contents(image) == {number: disk.content for number, disk in disks.items()}
    for volume in image.volumes:
        disk = disks[volume.number]
        assert (volume.tenant, volume.size_bytes, volume.layer) == (disk.tenant, disk.size, disk.layer)
        assert (volume.origin, volume.snapshot) == (disk.origin, bool(disk.flags & 2))
        assert volume.unwritten_error == bool(disk.flags & 1)


def expect_ledger(image: DriveImage, writer: Writer) -> None:
    """Check every block; when the log gives up blocks of its own is no part of the format."""
    for mba in range(writer.block_count):
        block = image.block(mba)
        state, layer, value, _ = writer.ledger.get(mba, (FREE, 0, 0, 0))
        if layer == 0:
            assert block.layer == 0, block
            assert (block.state is BlockState.FREE) == (state == FREE), block
            continue
        assert (block.state, block.layer) == (state, layer), block
        assert (block.lba if state == LIVE else block.died) == value, block
        assert (block.tenant, block.volume) == (writer.sheets[layer].tenant, writer.sheets[layer].volume)


def expect_all(image: DriveImage, writer: Writer) -> None:
    """Check everything, and that nothing is damaged."""
    assert image.damage == ()
    assert image.state.opening == writer.opening
    expect_contents(image, writer.disks)
    expect_ledger(image, writer)
    live = sum(state == LIVE for state, *_ in writer.ledger.values())
    assert image.verify() == live
    assert image.damage == ()
