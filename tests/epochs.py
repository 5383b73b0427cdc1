"""A volume some of whose blocks die in an epoch, and what somebody with the keys can read of its drive."""

from __future__ import annotations

from pathlib import Path

from seqstore import Snapshot, Volume
from seqstore.keys import FileKey
from tests.attacker import Keys, readable
from tests.small import BLOCK_SIZE

EPOCH = 60.0
KEPT, GONE = b"kept", b"gone"


def block(word: bytes, number: int = 0) -> bytes:
    """A block that says what should become of it."""
    return (word + b"%08d" % number).ljust(BLOCK_SIZE, b".")


def fill(volume: Volume) -> None:
    for lba in range(64):
        doomed = lba % 3 == 0 or 40 <= lba < 50
        volume.write(lba * BLOCK_SIZE, block(GONE if doomed else KEPT, lba))
    delete_some(volume)


def delete_some(volume: Volume) -> None:
    for lba in range(0, 64, 3):
        volume.write(lba * BLOCK_SIZE, block(KEPT, 100 + lba))
    volume.trim(40 * BLOCK_SIZE, 10 * BLOCK_SIZE)


def words(
    path: Path, root: FileKey, drive: bytes | None = None, old_nodes: list[Path] | None = None
) -> set[bytes]:
    """What kinds of blocks somebody with the keys can read."""
    keys = Keys(path, root, old_nodes or [])
    content = (path / "drives/0.img").read_bytes() if drive is None else drive
    return {found[:4] for found in readable(content, keys, BLOCK_SIZE)}


def assert_kept(volume: Volume | Snapshot) -> None:
    shown = volume.read(0, volume.size)
    for lba in range(64):
        found = shown[lba * BLOCK_SIZE : (lba + 1) * BLOCK_SIZE]
        number = 100 + lba if lba % 3 == 0 else lba
        assert found == (bytes(BLOCK_SIZE) if 40 <= lba < 50 else block(KEPT, number))
