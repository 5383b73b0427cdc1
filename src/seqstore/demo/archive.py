"""Puts files into a volume as a tar stream, and gets them out again with a checksum for each."""

from __future__ import annotations

import contextlib
import hashlib
import io
import tarfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from seqstore import MediumError, Volume, VolumeIO
from seqstore.demo.files import FileSet, SourceFile
from seqstore.demo.search import Canary, Fingerprinter

if TYPE_CHECKING:
    from typing_extensions import Buffer

# A multiple of every block size, so that each block of the stream is written once and whole; and small, so
# that the archives of two tenants interleave on the drive.
STREAM_BYTES = 64 * 1024
_READ_BYTES = 1 << 20
# A shorter piece could turn up by chance.
_SHORTEST_CANARY = 32

Advance = Callable[[int], None]
"""Told how many bytes were done since the last call."""


def archive_size(files: FileSet) -> int:
    """Bytes that a tar of these files takes."""
    size = 2 * tarfile.BLOCKSIZE
    for file in files.files:
        header = _tar_info(file, file.size).tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        size += len(header) + _padded(file.size, tarfile.BLOCKSIZE)
    return _padded(size, tarfile.RECORDSIZE)


@dataclass(slots=True, kw_only=True)
class Archive:
    """What was stored in a volume.

    Attributes
    ----------
    volume : Volume
        Where it is.
    digests : dict of str to bytes
        SHA-256 of each file by its name, taken from the file and not from the store.
    size : int
        Bytes of the files together.
    vanished : int
        Files that could not be read when their turn came, or had changed in size.
    prints : ndarray of uint64, shape (n,)
        Fingerprints of the blocks that the stream consists of, by lba.
    canaries : list of Canary
        Pieces of the files that were asked for, in the order of their names' files.
    """

    volume: Volume
    digests: dict[str, bytes] = field(default_factory=dict)
    size: int = 0
    vanished: int = 0
    prints: NDArray[np.uint64]
    canaries: list[Canary] = field(default_factory=list)


class ArchiveWriter:
    """Writes files to a volume as a tar stream, one by one.

    Parameters
    ----------
    volume : Volume
        Filled from its start; its size is at least `archive_size` of the files.
    fingerprinter : Fingerprinter
        For the stream's blocks.
    canary_names : collection of str
        Names of the files to keep a piece of.
    """

    def __init__(self, volume: Volume, fingerprinter: Fingerprinter, canary_names: Collection[str]) -> None:
        self.archive = Archive(volume=volume, prints=np.empty(0, dtype=np.uint64))
        self._canary_names = canary_names
        self._stream = _Tee(volume, fingerprinter)
        self._tar = tarfile.open(  # noqa: SIM115  closed by finish()
            mode="w|",
            fileobj=self._stream,
            bufsize=STREAM_BYTES,
            format=tarfile.GNU_FORMAT,
            encoding="utf-8",
        )

    def add(self, file: SourceFile) -> None:
        """Append a file, or count it as vanished if it is not what it was when the tree was read."""
        try:
            content = file.path.read_bytes()
        except OSError:
            content = None
        if content is None or len(content) != file.size:
            self.archive.vanished += 1
            return
        self._tar.addfile(_tar_info(file, len(content)), io.BytesIO(content))
        self.archive.digests[file.name] = hashlib.sha256(content).digest()
        self.archive.size += len(content)
        if file.name in self._canary_names:
            start = self._tar.offset - _padded(len(content), tarfile.BLOCKSIZE)
            block_size = self.archive.volume.block_size
            self.archive.canaries.append(_cut_canary(file.name, content, start, block_size))

    def finish(self) -> Archive:
        """Write what is still buffered and the end of the archive."""
        self._tar.close()
        self._stream.close()
        self.archive.prints = np.concatenate(self._stream.prints)
        return self.archive


def store_side_by_side(writers: Sequence[tuple[ArchiveWriter, FileSet]], advance: Advance) -> list[Archive]:
    """Store several archives at once, each as fast in proportion to its size as the others."""
    queues = [list(reversed(files.files)) for _, files in writers]
    totals = [max(files.size, 1) for _, files in writers]
    done = [0] * len(writers)
    while any(queues):
        behind = min((n for n, queue in enumerate(queues) if queue), key=lambda n: done[n] / totals[n])
        file = queues[behind].pop()
        writers[behind][0].add(file)
        done[behind] += file.size
        advance(file.size)
    return [writer.finish() for writer, _ in writers]


def verify(archive: Archive, advance: Advance) -> list[str]:
    """Read an archive out of its volume and compare every file's checksum.

    Returns
    -------
    list of str
        Names of the files that are missing, different, or not known; empty if all is well.
    """
    missing = dict(archive.digests)
    wrong = []
    # Where the tar itself is damaged, the files from there on are missing.
    with archive.volume.open("rb") as stream, contextlib.suppress(tarfile.TarError):
        for name, size, digest in _digests(stream):
            if missing.pop(name, None) != digest:
                wrong.append(name)
            advance(size)
    return [*wrong, *missing]


def choose_canary_files(files: FileSet, count: int, block_size: int) -> tuple[str, ...]:
    """Choose named files, spread evenly over the archive, which are large enough to fill a block."""
    large = [file.name for file in files.files if file.size >= 2 * block_size]
    if len(large) < count:
        by_size = sorted(files.files, key=lambda file: file.size, reverse=True)
        large = [file.name for file in by_size[:count] if file.size >= _SHORTEST_CANARY]
    if not large:
        return ()
    return tuple(dict.fromkeys(large[(2 * n + 1) * len(large) // (2 * count)] for n in range(count)))


class _Tee(io.RawIOBase):
    """Passes a stream on to a volume and takes the fingerprint of each of its blocks."""

    def __init__(self, volume: Volume, fingerprinter: Fingerprinter) -> None:
        self._raw = volume.open("r+b")
        self._fingerprinter = fingerprinter
        self.prints: list[NDArray[np.uint64]] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        """Write a piece of `STREAM_BYTES`, or the last piece, whole."""
        piece = np.frombuffer(memoryview(data), dtype=np.uint8)
        written = self._raw.write(data)
        if written != len(piece):
            raise MediumError(f"the volume took {written} of {len(piece)} bytes: it is too small")
        block_size = self._fingerprinter.block_size
        padded = np.zeros(_padded(len(piece), block_size), dtype=np.uint8)
        padded[: len(piece)] = piece
        self.prints.append(self._fingerprinter.of(padded.reshape(-1, block_size)))
        return written

    def close(self) -> None:
        self._raw.close()
        super().close()


def _tar_info(file: SourceFile, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(file.name)
    info.size = size
    info.mtime = file.mtime
    return info


def _digests(stream: VolumeIO) -> Iterator[tuple[str, int, bytes]]:
    """Yield name, size and SHA-256 of each file of a tar."""
    with tarfile.open(mode="r|", fileobj=stream, bufsize=STREAM_BYTES, encoding="utf-8") as tar:
        for member in tar:
            digest = hashlib.sha256()
            content = tar.extractfile(member)
            while content is not None and (piece := content.read(_READ_BYTES)):
                digest.update(piece)
            yield member.name, member.size, digest.digest()


def _padded(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def _cut_canary(name: str, content: bytes, start: int, block_size: int) -> Canary:
    """Cut out the first piece that fills a block of the volume, or else the longest piece within one."""
    end = start + len(content)
    first = start // block_size
    borders = [max(start, first * block_size), *range((first + 1) * block_size, end, block_size), end]
    pieces = list(pairwise(borders))
    begin, stop = max(pieces[:3], key=lambda piece: piece[1] - piece[0])
    return Canary(name=name, lba=begin // block_size, content=content[begin - start : stop - start])
