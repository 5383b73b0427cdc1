"""Recovery, step by step as the specification has it, reading only.

Nothing on the drive is believed before it is checked, and every loop is bounded by the drive: a record is
taken only where the chain leads, and the chain counts up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from seqstore.errors import FormatError, VersionError
from seqstore.format.checkpoint import Checkpoint, parse_checkpoint
from seqstore.format.layout import HEAD, RECORD_MAGIC, Geometry
from seqstore.format.ledger import BlockState
from seqstore.format.medium import BlockReader
from seqstore.format.replay import Replay
from seqstore.format.state import State, state_of
from seqstore.format.summary import Kind, Summary, tagged_checksum

_DRIVE_AT = HEAD.offsets["drive"]
_SEQUENCE_AT = HEAD.offsets["sequence"]

Report = Callable[[int | None, str], None]
Places = dict[int, int]
"""Where heads are: of each class the address of the next record, while there is room in the segment."""


@dataclass(slots=True, kw_only=True)
class Survey:
    """What the first blocks of the segments say.

    Attributes
    ----------
    firsts : dict of int to Summary
        Valid first summaries of this drive, by segment.
    unreadable : dict of int to str
        Why the first block of a segment is no summary of this drive though something lies there.
    foreign : int
        Segments that begin with a summary of another drive.
    """

    drive: int
    firsts: dict[int, Summary] = field(default_factory=dict)
    unreadable: dict[int, str] = field(default_factory=dict)
    foreign: int = 0
    _by_sequence: dict[int, list[Summary]] = field(default_factory=dict)

    def starting_with(self, sequence: int) -> Iterable[Summary]:
        """Return the segments' first records of a sequence number; more than one after accidents."""
        return self._by_sequence.get(sequence, ())

    def newest(self) -> list[Summary]:
        """Return the newest first record of each class."""
        newest: dict[int, Summary] = {}
        for summary in self.firsts.values():
            known = newest.setdefault(summary.class_id, summary)
            if summary.sequence > known.sequence:
                newest[summary.class_id] = summary
        return [*newest.values()]

    def add(self, summary: Summary) -> None:
        """Take in the first summary of a segment."""
        self.firsts[summary.segment] = summary
        self._by_sequence.setdefault(summary.sequence, []).append(summary)


@dataclass(slots=True, kw_only=True)
class Recovered:
    """What recovery came to.

    Attributes
    ----------
    state : State or None
        Volumes, layers and ledger; None if there is neither a checkpoint nor the first record.
    checkpoint : Checkpoint or None
        The one that it began with; None if it began with the drive's first record.
    checkpoint_mba : int
        Where that one's first record lies.
    first, last : Summary or None
        First and last record rolled forward.
    records, verified_records : int
        Records rolled forward; those of them whose data blocks were read.
    flushed : int
        Highest sequence that some record says is flushed.
    torn : Summary or None
        The record that ended the log since its data are not what it says.
    void_entries : int
        Entries of unfinished requests, at the end or before an opening.
    clean : bool
        Whether the store was closed.
    """

    state: State | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_mba: int = 0
    first: Summary | None = None
    last: Summary | None = None
    records: int = 0
    verified_records: int = 0
    flushed: int = 0
    torn: Summary | None = None
    void_entries: int = 0
    clean: bool = False

    @property
    def lost_records(self) -> int:
        """Records that had been flushed and are not there."""
        return max(0, self.flushed - (self.last.sequence if self.last else 0))


def survey_segments(reader: BlockReader, drive: int) -> Survey:
    """Read the first block of every segment: step 1.

    Raises
    ------
    VersionError
        If one of them is of another version of the format than this reader knows, or than another one: the
        version of a drive never changes.
    """
    survey = Survey(drive=drive)
    for segment in range(reader.geometry.segment_count):
        mba = segment * reader.geometry.segment_blocks
        try:
            block = reader.read(mba)
            if not block.startswith(RECORD_MAGIC):
                if any(block):
                    survey.unreadable[segment] = f"block {mba}: no summary, though it begins a segment"
                continue
            summary = reader.summary(mba)
        except VersionError:
            # All versions have the identity of the drive in this place.
            if int.from_bytes(block[_DRIVE_AT : _DRIVE_AT + 8], "little") == drive:
                raise
            survey.foreign += 1
            continue
        except FormatError as error:
            survey.unreadable[segment] = str(error)
            continue
        if summary.drive == drive:
            _require_same_version(summary, survey)
            survey.add(summary)
        else:
            survey.foreign += 1
    return survey


def _require_same_version(summary: Summary, survey: Survey) -> None:
    for other in survey.firsts.values():
        if other.version != summary.version:
            raise VersionError(
                f"block {summary.mba}: the record is of version {summary.version}, and that of block"
                f" {other.mba} on the same drive of version {other.version}; a drive has one version:"
                " somebody put other records on it",
                found=summary.version,
                expected=other.version,
            )
        return


def walk_segment(reader: BlockReader, first: Summary) -> Iterator[Summary]:
    """Yield the records of a segment one behind the other; behind the log's end, those of earlier laps."""
    summary: Summary | None = first
    while summary is not None:
        yield summary
        summary = _behind(reader, summary)


def _behind(reader: BlockReader, summary: Summary) -> Summary | None:
    """Return the record of this drive that lies right behind one in the same segment."""
    if summary.end % reader.geometry.segment_blocks == 0:
        return None
    try:
        following = reader.summary(summary.end)
    except FormatError:
        return None
    return following if _is_of(following, summary) else None


def _is_of(following: Summary, summary: Summary) -> bool:
    return (following.drive, following.version) == (summary.drive, summary.version)


def _follows(following: Summary, summary: Summary) -> bool:
    return (
        _is_of(following, summary)
        and following.sequence == summary.sequence + 1
        and following.previous == summary.checksum
    )


def places_of(checkpoint: Checkpoint | None, geometry: Geometry) -> Places:
    """Say where the heads are when a checkpoint begins; nothing is known of them without one."""
    size = geometry.segment_blocks
    heads = () if checkpoint is None else checkpoint.heads
    return {
        head.class_id: head.segment * size + head.open_blocks for head in heads if head.open_blocks < size
    }


def chain(reader: BlockReader, survey: Survey, first: Summary, places: Places) -> Iterator[Summary]:
    """Yield the records of the log from one on, wherever they lie, and move the heads along: step 3."""
    summary: Summary | None = first
    while summary is not None:
        yield summary
        if summary.end % reader.geometry.segment_blocks:
            places[summary.class_id] = summary.end
        else:
            places.pop(summary.class_id, None)
        following = _may_follow(reader, survey, summary, places)
        summary = next((found for found in following if _follows(found, summary)), None)


def _may_follow(reader: BlockReader, survey: Survey, summary: Summary, places: Places) -> Iterator[Summary]:
    """Yield records of the next number: at the start of a segment, right behind, or where another head is."""
    sequence = summary.sequence + 1
    yield from survey.starting_with(sequence)
    for class_id in sorted(places, key=lambda class_id: class_id != summary.class_id):
        found = _at_place(reader, places[class_id], sequence)
        if found is not None:
            yield found


def _at_place(reader: BlockReader, mba: int, sequence: int) -> Summary | None:
    """Return the record of a sequence number at an address; most that is found at heads is none."""
    try:
        block = reader.read(mba)
        if not block.startswith(RECORD_MAGIC) or _sequence_in(block) != sequence:
            return None
        return reader.summary(mba)
    except FormatError:
        return None


def _sequence_in(block: bytes) -> int:
    return int.from_bytes(block[_SEQUENCE_AT : _SEQUENCE_AT + 8], "little")


def recover(reader: BlockReader, survey: Survey, report: Report) -> Recovered:
    """Find the newest checkpoint and roll forward from it: steps 2 to 6.

    Parameters
    ----------
    reader : BlockReader
        The drive.
    survey : Survey
        The first blocks of its segments.
    report : callable
        Takes address (or None) and text of what is damaged or contradicts itself.

    Returns
    -------
    Recovered
    """
    found = Recovered()
    if not survey.firsts:
        return found
    seen = [*survey.firsts.values()]
    for newest in survey.newest():
        seen += walk_segment(reader, newest)
    found.flushed = max(summary.flushed for summary in seen)
    _begin_with_checkpoint(reader, survey, seen, found, report)
    if found.state is None:
        found.first = next(iter(survey.starting_with(1)), None)
        # In memory the records of several heads are no sequence in which things happened.
        if found.first is None or (not survey.drive and len(survey.newest()) > 1):
            return found
        if survey.drive:
            report(None, "no checkpoint can be read; the log is read from its beginning, record 1")
        found.state = State(reader.geometry, report)
        found.state.position = found.first.position
    _roll_forward(reader, survey, found)
    return found


def _begin_with_checkpoint(
    reader: BlockReader, survey: Survey, seen: Iterable[Summary], found: Recovered, report: Report
) -> None:
    """Load the newest checkpoint that can be used, if there is one."""
    unsafe = []
    for sequence, mba, end in _candidates(seen):
        try:
            first = _first_record(reader, survey.drive, sequence, mba)
            checkpoint = load_checkpoint(reader, survey, first)
            found.state = state_of(checkpoint, reader.geometry, report)
        except VersionError:
            raise
        except FormatError as error:
            fault = (mba, f"the checkpoint at record {sequence} cannot be used: {error}")
            # One that a crash has torn was never safe, and is no loss as long as there is one before it.
            if end > found.flushed:
                unsafe.append(fault)
            else:
                report(*fault)
            continue
        found.checkpoint, found.checkpoint_mba, found.first = checkpoint, mba, first
        return
    for fault in unsafe:
        report(*fault)


def _candidates(seen: Iterable[Summary]) -> list[tuple[int, int, int]]:
    """List the checkpoints that any record names, the newest first.

    Each as sequence and address of its first record, and a sequence that it is safe with: that of its
    last record, or 0 where a later record says that it is safe.
    """
    named: dict[tuple[int, int], int] = {}
    for summary in seen:
        for entry in summary.entries:
            # What came before a checkpoint was safe before it began.
            if entry.kind is Kind.CHECKPOINT_END and summary.flushed + 1 >= entry.lba:
                named.setdefault((entry.lba, entry.volume), summary.sequence)
    for summary in seen:
        if summary.checkpoint:
            named[summary.checkpoint, summary.checkpoint_mba] = 0
    return sorted(((sequence, mba, end) for (sequence, mba), end in named.items()), reverse=True)


def _first_record(reader: BlockReader, drive: int, sequence: int, mba: int) -> Summary:
    summary = reader.summary(mba)
    if (summary.drive, summary.sequence) != (drive, sequence):
        raise FormatError(f"block {mba}: record {summary.sequence} of drive {summary.drive:016x} lies there")
    return summary


def load_checkpoint(reader: BlockReader, survey: Survey, first: Summary) -> Checkpoint:
    """Read the checkpoint that begins with a record.

    Raises
    ------
    FormatError
        If a page is missing or damaged, or the whole breaks a rule.
    """
    pages: list[bytes] = []
    for summary in chain(reader, survey, first, {}):
        for entry, mba in summary.placed():
            if entry.kind is Kind.CHECKPOINT:
                if entry.lba != len(pages):
                    raise FormatError(f"block {mba}: page {entry.lba}; page {len(pages)} is expected")
                block = reader.read(mba)
                if tagged_checksum(0, entry.lba, block) != entry.value:
                    raise FormatError(f"block {mba}: page {entry.lba} is not what was written")
                pages.append(block)
            elif entry.kind is Kind.CHECKPOINT_END and entry.lba == first.sequence:
                return _put_together(pages, entry.value, first, reader)
            else:
                raise FormatError(f"block {summary.mba}: {entry.kind.name} stands between its pages")
    raise FormatError(f"its end is missing behind page {len(pages) - 1}")


def _put_together(pages: list[bytes], count: int, first: Summary, reader: BlockReader) -> Checkpoint:
    if len(pages) != count:
        raise FormatError(f"{len(pages)} pages were found, {count} are announced at its end")
    checkpoint = parse_checkpoint(b"".join(pages), reader.geometry)
    expected = (first.drive, first.sequence, first.position)
    if (checkpoint.drive, checkpoint.sequence, checkpoint.position) != expected:
        raise FormatError(
            f"it is of record {checkpoint.sequence} at position {checkpoint.position} of drive "
            f"{checkpoint.drive:016x} and lies in record {first.sequence} at position {first.position}"
        )
    return checkpoint


def _roll_forward(reader: BlockReader, survey: Survey, found: Recovered) -> None:
    """Apply the records from the first one on until one fails: steps 3, 4 and 6."""
    assert found.state is not None
    assert found.first is not None
    places = places_of(found.checkpoint, reader.geometry)
    records = [*chain(reader, survey, found.first, places)]
    marks = (summary.flushed for summary in [*records, *_left_behind(reader, survey.drive, places)])
    found.flushed = max(found.flushed, *marks)
    replay = Replay(found.state)
    for summary in records:
        if summary.sequence > found.flushed:
            found.verified_records += 1
            if not all(_is_whole(reader, summary)):
                found.torn = summary
                break
        replay.apply(summary)
    found.last, found.records, found.clean = replay.last, replay.records, replay.clean
    found.void_entries = replay.void_entries + replay.waiting_entries
    _forget_erased(reader, found.state)


def _forget_erased(reader: BlockReader, state: State) -> None:
    """See where zeros were written over residue, in free segments, of which no record tells.

    A head may have begun such a segment since.
    """
    size = reader.geometry.segment_blocks
    places = [(segment, 0) for segment in state.free]
    places += [(head.segment, head.blocks) for head in state.write_heads.values()]
    for segment, used in places:
        for mba in range(segment * size + used, (segment + 1) * size):
            try:
                is_zero = not any(reader.read(mba))
            except FormatError:
                break
            if is_zero and state.ledger.state(mba) in {BlockState.DEAD, BlockState.MOVED}:
                state.claim(mba, BlockState.FREE)
            elif not is_zero and mba == segment * size + used:
                break


def _left_behind(reader: BlockReader, drive: int, places: Places) -> Iterator[Summary]:
    """Yield the summaries behind the heads in their segments; they may know of more that was safe."""
    blocks = reader.geometry.segment_blocks
    for place in places.values():
        for mba in range(place, -(-place // blocks) * blocks):
            try:
                summary = reader.summary(mba)
            except FormatError:
                continue
            if summary.drive == drive:
                yield summary


def _is_whole(reader: BlockReader, summary: Summary) -> Iterator[bool]:
    """Say of each data block of a record whether it is what was written."""
    for entry, mba in summary.placed():
        if entry.has_block:
            try:
                block = reader.read(mba)
            except FormatError:
                yield False
                return
            yield tagged_checksum(entry.volume, entry.lba, block) == entry.value
