"""A drive as its own bytes tell it: the second opinion on everything that the engine says.

>>> from seqstore.format import read_image                          # doctest: +SKIP
>>> with read_image("lab.store/drives/0.img") as image:             # doctest: +SKIP
...     image.volume(1).read(0)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType

from seqstore.errors import CorruptionError, FormatError, NotFoundError, VersionError
from seqstore.format.layout import FORMAT_VERSION, Geometry
from seqstore.format.ledger import BlockState
from seqstore.format.medium import BlockReader, BytesSource, FileSource, Source, find_geometry, find_size
from seqstore.format.recovery import (
    Recovered,
    Survey,
    chain,
    places_of,
    recover,
    survey_segments,
    walk_segment,
)
from seqstore.format.seals import Seal, nonces_used_twice
from seqstore.format.state import Layer, State
from seqstore.format.summary import Summary, tagged_checksum
from seqstore.format.views import BlockInfo, Damage, RecordInfo, VolumeImage


class DriveImage:
    """All that can be learnt from the bytes of a drive. Made by `read_image`; reads only.

    Attributes
    ----------
    drive : int
        Identity of the drive.
    geometry : Geometry
        Its sizes.
    survey : Survey
        What the first blocks of its segments say.
    recovered : Recovered
        What recovery came to.
    damage : tuple of Damage
        What was found damaged so far; `verify` finds more.
    """

    def __init__(self, source: Source, geometry: Geometry, drive: int) -> None:
        self._source = source
        self._reader = BlockReader(source, geometry)
        self._damage: list[Damage] = []
        self.drive = drive
        self.geometry = geometry
        self.survey: Survey = survey_segments(self._reader, drive)
        self.recovered: Recovered = recover(self._reader, self.survey, self._report)
        self._check_end()
        self._check_firsts()

    def __repr__(self) -> str:
        return f"<DriveImage {self.drive:016x}, {self.geometry.block_count} blocks>"

    def __enter__(self) -> DriveImage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, if `read_image` opened one."""
        if isinstance(self._source, FileSource):
            self._source.close()

    @property
    def damage(self) -> tuple[Damage, ...]:
        """What was found damaged so far."""
        return tuple(self._damage)

    @property
    def state(self) -> State:
        """The state that recovery came to.

        Raises
        ------
        FormatError
            If there is none.
        """
        if self.recovered.state is None:
            raise FormatError(
                f"drive {self.drive:016x} has no checkpoint that can be read, and its first record is gone: "
                "what its volumes are is not known"
            )
        return self.recovered.state

    @property
    def volumes(self) -> tuple[VolumeImage, ...]:
        """Volumes and snapshots, by their numbers."""
        volumes = self.state.volumes
        return tuple(VolumeImage(self, volumes[number]) for number in sorted(volumes))

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Layers, the log itself first; dropped ones included as far as the log tells."""
        return tuple(self.state.layers)

    def volume(self, number: int) -> VolumeImage:
        """Return one volume or snapshot.

        Raises
        ------
        NotFoundError
            If there is none of that number.
        """
        if number not in self.state.volumes:
            raise NotFoundError(f"there is no volume or snapshot {number} on drive {self.drive:016x}")
        return VolumeImage(self, self.state.volumes[number])

    def block(self, mba: int) -> BlockInfo:
        """Say what one block is."""
        state, index, value = self.state.ledger.get(mba)
        layer = self.state.layers[index]
        dead = state in {BlockState.DEAD, BlockState.MOVED}
        return BlockInfo(
            mba=mba,
            state=state,
            layer=layer.number,
            volume=layer.volume,
            tenant=layer.tenant,
            lba=value if state is BlockState.LIVE else None,
            died=self.position - ((self.position - value) % 2**38) if dead else None,
        )

    @property
    def version(self) -> int:
        """Version of the format: 2 where blocks are encrypted, else 1."""
        return max((first.version for first in self.survey.firsts.values()), default=FORMAT_VERSION)

    @property
    def position(self) -> int:
        """The log's time behind its last record."""
        return self.recovered.last.end_position if self.recovered.last else 0

    def blocks(self) -> Iterator[BlockInfo]:
        """Yield what each block of the segments is that hold anything."""
        size = self.geometry.segment_blocks
        for segment in self.state.ledger.segments():
            yield from (self.block(mba) for mba in range(segment * size, (segment + 1) * size))

    def records(self) -> Iterator[RecordInfo]:
        """Yield every record that can be found on the drive, in the order of its place.

        A summary inside a segment that is damaged hides those behind it, unless the log leads to them.
        """
        found = self.recovered
        current = {}
        if found.first is not None and found.last is not None:
            places = places_of(found.checkpoint, self.geometry)
            for summary in chain(self._reader, self.survey, found.first, places):
                current[summary.mba] = summary
        for segment in range(self.geometry.segment_count):
            first = self.survey.firsts.get(segment)
            walked = {s.mba: s for s in walk_segment(self._reader, first)} if first is not None else {}
            start = segment * self.geometry.segment_blocks
            inside = range(start, start + self.geometry.segment_blocks)
            walked.update({mba: summary for mba, summary in current.items() if mba in inside})
            for mba in sorted(walked):
                yield self._describe(walked[mba], rolled=mba in current)

    def _describe(self, summary: Summary, *, rolled: bool) -> RecordInfo:
        found = self.recovered
        last = found.last.sequence if found.last is not None else 0
        if found.state is None:
            status = "unknown"
        elif found.torn is not None and summary.sequence == found.torn.sequence and rolled:
            status = "torn"
        elif summary.sequence > last:
            status = "discarded"
        else:
            in_use = found.state.ledger.state(summary.mba) is BlockState.SUMMARY
            status = "valid" if in_use else "stale"
        return RecordInfo(summary=summary, status=status, rolled_forward=rolled and status == "valid")

    def read_live(self, layer: Layer, lba: int, mba: int, *, volume: int) -> bytes:
        """Return a live block after checking it.

        Raises
        ------
        CorruptionError
            If it is not the one that was written, or cannot be read.
        """
        try:
            block = self._reader.read(mba)
        except FormatError as error:
            raise CorruptionError(
                f"volume {volume}, lba {lba}: {error}", volume=volume, lba=lba, mba=mba
            ) from error
        if tagged_checksum(layer.number, lba, block) != self.state.ledger.checksum(mba):
            raise CorruptionError(
                f"volume {volume}, lba {lba}: block {mba} is not the one that was written (layer "
                f"{layer.number}); restore it from a copy",
                volume=volume,
                lba=lba,
                mba=mba,
            )
        return block

    def verify(self) -> int:
        """Read every live block and every record's summary, and note those that are damaged.

        Returns
        -------
        int
            Live blocks that were read.
        """
        self._check_summaries()
        count = 0
        for block in self.blocks():
            if block.state is BlockState.LIVE and block.lba is not None:
                count += 1
                layer = self.state.by_number[block.layer]
                try:
                    self.read_live(layer, block.lba, block.mba, volume=block.volume)
                except CorruptionError as error:
                    self._report(block.mba, str(error))
        for mba, seal in nonces_used_twice(record.summary for record in self.records()):
            self._report(
                mba, f"block {mba} was encrypted with a nonce of key {seal.key} that another one has"
            )
        return count

    def seals(self) -> dict[int, Seal]:
        """Return the seals of live blocks, by their addresses.

        A seal counts where its entry has the checksum that the log expects there. Behind a summary that is
        damaged the next block that is one counts.
        """
        ledger, found = self.state.ledger, dict[int, Seal]()
        for summary in self._summaries_with_blocks():
            for (entry, mba), seal in zip(summary.placed(), summary.seals, strict=True):
                is_live = seal is not None and ledger.state(mba) is BlockState.LIVE
                if seal is not None and is_live and ledger.checksum(mba) == entry.value:
                    found[mba] = seal
        return found

    def _summaries_with_blocks(self) -> Iterator[Summary]:
        size = self.geometry.segment_blocks
        for segment in self.state.ledger.segments():
            mba = segment * size
            while mba < (segment + 1) * size:
                try:
                    summary = self._reader.summary(mba)
                except FormatError:
                    mba += 1
                    continue
                if (summary.drive, summary.version) == (self.drive, self.version):
                    yield summary
                mba = summary.end

    def _report(self, mba: int | None, what: str) -> None:
        self._damage.append(Damage(mba=mba, what=what))

    def _check_end(self) -> None:
        found, survey = self.recovered, self.survey
        if not survey.firsts:
            self._report(None, f"no segment begins with a valid summary of drive {self.drive:016x}")
        elif found.state is None:
            self._report(None, "no checkpoint can be read; only what single summaries say is known")
        elif found.lost_records:
            last = found.last.sequence if found.last is not None else 0
            self._report(
                found.torn.mba if found.torn is not None else None,
                f"the log ends with record {last}, but record {found.flushed} had been flushed: "
                f"{found.lost_records} records are lost",
            )
        elif not self.drive and found.last is not None:
            newest = max(first.sequence for first in survey.firsts.values())
            if newest > found.last.sequence:
                self._report(
                    None,
                    f"the log can be followed up to record {found.last.sequence} alone, though record "
                    f"{newest} is there; a drive in memory has no checkpoint to begin with",
                )

    def _check_summaries(self) -> None:
        """Look for records that have to go on where the summary of one cannot be read."""
        for first in self.survey.firsts.values():
            *_, last = walk_segment(self._reader, first)
            inside = last.end % self.geometry.segment_blocks
            if inside and self.state.ledger.state(last.end) is BlockState.SUMMARY:
                self._report(
                    last.end, f"block {last.end}: no valid summary, though a record of the log begins there"
                )

    def _check_firsts(self) -> None:
        """Look at what begins segments in use; in free ones a lost write may have left anything."""
        found = self.recovered
        for segment, what in self.survey.unreadable.items():
            mba = segment * self.geometry.segment_blocks
            if found.state is None or found.state.ledger.state(mba) is BlockState.SUMMARY:
                self._report(mba, what)
        last = self.geometry.block_count - 1
        try:
            self._reader.read(last)
        except FormatError as error:
            self._report(last, f"the drive of {self.geometry.block_count} blocks is not all there: {error}")


def read_image(
    source: str | bytes | bytearray | memoryview | os.PathLike[str] | Source,
    *,
    block_size: int | None = None,
    segment_blocks: int | None = None,
    drive: int | None = None,
) -> DriveImage:
    """Read what a drive says of itself.

    Parameters
    ----------
    source : path, bytes-like, or object with ``read(offset, length)``
        The drive. A ``str`` or path names a file or block device; ``bytes`` are an image.
    block_size, segment_blocks : int, optional
        Bytes of a block and blocks of a segment, both or neither; None takes them from the first
        valid summary.
    drive : int, optional
        Identity of the drive; None takes that of the first valid summary.

    Returns
    -------
    DriveImage

    Raises
    ------
    FormatError
        If nothing of a drive is there.
    VersionError
        If it is of another version of the format.
    MediumError
        If the file cannot be opened.
    """
    opened: Source
    if isinstance(source, bytes | bytearray | memoryview):
        opened = BytesSource(source)
    elif isinstance(source, str | os.PathLike):
        opened = FileSource(source)
    else:
        opened = source
    try:
        return _read_opened(opened, block_size, segment_blocks, drive)
    except BaseException:
        if isinstance(opened, FileSource):
            opened.close()
        raise


def _read_opened(
    source: Source, block_size: int | None, segment_blocks: int | None, drive: int | None
) -> DriveImage:
    if block_size is None or segment_blocks is None:
        geometry, found = find_geometry(source)
        return DriveImage(source, geometry, found if drive is None else drive)
    segment = block_size * segment_blocks
    blocks = find_size(source) // segment * segment_blocks if segment > 0 else 0
    geometry = Geometry(block_size=block_size, segment_blocks=segment_blocks, block_count=blocks)
    if drive is None:
        drive = _first_drive(BlockReader(source, geometry))
    return DriveImage(source, geometry, drive)


def _first_drive(reader: BlockReader) -> int:
    """Return the identity in the first valid summary of a segment; 0 if there is none."""
    geometry = reader.geometry
    identities = (_drive_at(reader, n * geometry.segment_blocks) for n in range(geometry.segment_count))
    return next((identity for identity in identities if identity is not None), 0)


def _drive_at(reader: BlockReader, mba: int) -> int | None:
    try:
        return reader.summary(mba).drive
    except VersionError:
        raise
    except FormatError:
        return None
