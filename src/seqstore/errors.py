"""Everything that seqstore raises.

::

    SeqstoreError
      ConfigError(ValueError)        an argument or option that cannot be used
        BoundError                     a bound on deletion latency that cannot be kept
      ClosedError(ValueError)        the store, medium or file was closed
      NotFoundError(LookupError)     no such tenant or volume (any more)
      UnwrittenError(LookupError)    a read of what was never written, or was trimmed
      AccessError(PermissionError)   the store was opened for reading alone, or may not be opened
      MediumError(OSError)           the medium cannot do what was asked of it
        OutOfSpaceError                the drive is full
        SequentialWriteError           an append beside the write pointer
        BadBlockError                  a block that the medium cannot read or write
      FormatError                    what lies on the medium is not what should lie there
        CorruptionError                a block that is not the one that was written
        VersionError                   a format that this version of the library does not know
        LostWritesError                flushed writes that the drive does not hold any more
        TraceError                     a line of a trace that is not of its format
      EvidenceError                  evidence that does not hold
        AuditError                     an audit log that was changed or cut off
        SignatureError                 a signature that is none, or of another key
        ContradictionError             a document that contradicts itself
          StatementError                 an erasure statement
          CertificateError               a certificate of sanitization
      DriveStateError                what a drive in this state of its life cannot be made to do
      SweepError                     some runs of a sweep failed
      InvariantError                 a bug in seqstore

A message says what was found, what was expected and what to do; the numbers in it are attributes too.
Every error survives ``pickle`` and ``copy``. A process out of memory gets Python's own `MemoryError`.
"""

from __future__ import annotations

from errno import EACCES, EIO, ENOSPC
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from seqstore.drive_life import DriveStory
    from seqstore.sim.table import Table


class SeqstoreError(Exception):
    """Base of all errors of this library."""

    # The keyword arguments of the constructor, which are attributes of the same names.
    _details: ClassVar[tuple[str, ...]] = ()

    def __init__(self, message: str) -> None:
        super().__init__(message)

    def __reduce__(self) -> tuple[Any, ...]:
        details = {name: getattr(self, name) for name in self._details}
        return _rebuild, (type(self), self.args, details), self.__dict__.copy()


def _rebuild(kind: type[SeqstoreError], args: tuple[str], details: dict[str, Any]) -> SeqstoreError:
    return kind(*args, **details)


class ConfigError(SeqstoreError, ValueError):
    """An argument or option that cannot be used; nothing was done."""


class ClosedError(SeqstoreError, ValueError):
    """The store, medium or file was closed before the call."""


class NotFoundError(SeqstoreError, LookupError):
    """There is no such tenant or volume, or there is none any more."""


class UnwrittenError(SeqstoreError, LookupError):
    """A read reached addresses that hold nothing; the caller's buffer is untouched.

    Attributes
    ----------
    volume : int
        Number of the volume.
    offset, length : int
        The first unwritten range of the request, in bytes of the volume.
    """

    _details = ("volume", "offset", "length")

    def __init__(self, message: str, *, volume: int, offset: int, length: int) -> None:
        super().__init__(message)
        self.volume = volume
        self.offset = offset
        self.length = length


class AccessError(SeqstoreError, PermissionError):
    """A change of what was opened for reading alone, or an opening that the file system forbids."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.errno = EACCES


class MediumError(SeqstoreError, OSError):
    """The medium cannot do what was asked of it.

    Attributes
    ----------
    errno : int or None
        What the operating system said, if it was asked.
    """

    _details: ClassVar[tuple[str, ...]] = ("errno",)

    def __init__(self, message: str, *, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno


class OutOfSpaceError(MediumError):
    """A change found no room on the drive, or in its tables of volumes and snapshots; nothing of it was done.

    Attributes
    ----------
    needed, available : int
        Blocks that the change adds to the live ones, and blocks that could be added; 1 and 0 for an entry in
        the tables.
    """

    _details = ("needed", "available")

    def __init__(self, message: str, *, needed: int, available: int) -> None:
        super().__init__(message, errno=ENOSPC)
        self.needed = needed
        self.available = available


class BoundError(ConfigError):
    """A bound on deletion latency that the store cannot keep.

    Attributes
    ----------
    smallest : int
        The smallest bound that it can keep, in blocks put on the medium.
    """

    _details = ("smallest",)

    def __init__(self, message: str, *, smallest: int) -> None:
        super().__init__(message)
        self.smallest = smallest


class SequentialWriteError(MediumError):
    """An append that does not start at its zone's write pointer or leaves the zone; nothing was written.

    Attributes
    ----------
    mba : int
        Media block address of the append.
    write_pointer : int
        Where the zone's next append has to start, a media block address.
    """

    _details = ("mba", "write_pointer")

    def __init__(self, message: str, *, mba: int, write_pointer: int) -> None:
        super().__init__(message)
        self.mba = mba
        self.write_pointer = write_pointer


class BadBlockError(MediumError):
    """Blocks that the medium could not read or write.

    Attributes
    ----------
    mba : int
        Address of the first of them on the medium.
    errno : int
        What the operating system said.
    """

    _details = ("mba", "errno")

    def __init__(self, message: str, *, mba: int, errno: int = EIO) -> None:
        super().__init__(message, errno=errno)
        self.mba = mba


class FormatError(SeqstoreError):
    """What lies on the medium is not what should lie there."""


class CorruptionError(FormatError):
    """A media block is not the one that was written there; its content is not handed out.

    Attributes
    ----------
    volume : int
        Number of the volume that owns the block.
    lba : int
        Address of the block in the volume.
    mba : int
        Address of the block on the medium.
    """

    _details = ("volume", "lba", "mba")

    def __init__(self, message: str, *, volume: int, lba: int, mba: int) -> None:
        super().__init__(message)
        self.volume = volume
        self.lba = lba
        self.mba = mba


class VersionError(FormatError):
    """A store, catalog or drive of a format that this version of the library does not know.

    Attributes
    ----------
    found, expected : int
        Version of the format that was found, and the newest that is known.
    """

    _details = ("found", "expected")

    def __init__(self, message: str, *, found: int, expected: int) -> None:
        super().__init__(message)
        self.found = found
        self.expected = expected


class LostWritesError(FormatError):
    """The drive does not hold all that it had reported as flushed.

    Attributes
    ----------
    last_sequence : int
        Last record that is there.
    flushed_sequence : int
        Record up to which the drive had reported everything as flushed.
    """

    _details = ("last_sequence", "flushed_sequence")

    def __init__(self, message: str, *, last_sequence: int, flushed_sequence: int) -> None:
        super().__init__(message)
        self.last_sequence = last_sequence
        self.flushed_sequence = flushed_sequence


class TraceError(FormatError):
    """A trace holds something that its format does not know.

    Attributes
    ----------
    file : str
        The trace.
    line : int
        Number of the line from 1, or of the record where the format is binary.
    """

    _details = ("file", "line")

    def __init__(self, message: str, *, file: str, line: int) -> None:
        super().__init__(message)
        self.file = file
        self.line = line


class EvidenceError(SeqstoreError):
    """Evidence that does not hold: it was changed, is of something else, or contradicts itself."""


class AuditError(EvidenceError):
    """An audit log that is not what was written, or not all of it.

    Attributes
    ----------
    number : int
        First record that does not hold, or is missing.
    """

    _details = ("number",)

    def __init__(self, message: str, *, number: int) -> None:
        super().__init__(message)
        self.number = number


class SignatureError(EvidenceError):
    """A document is not signed, or not as it is, or not by the key that is asked for."""


class ContradictionError(EvidenceError):
    """A signed document contradicts itself, or the records that it refers to.

    Attributes
    ----------
    problems : tuple of str
        Everything that was found.
    """

    _details = ("problems",)

    def __init__(self, message: str, *, problems: tuple[str, ...]) -> None:
        super().__init__(message)
        self.problems = problems


class StatementError(ContradictionError):
    """An erasure statement contradicts itself or the records that it refers to."""


class CertificateError(ContradictionError):
    """A certificate of sanitization contradicts itself, or claims more than what was done bears out."""


class DriveStateError(SeqstoreError):
    """A drive in this state of its life cannot be treated so; nothing was done.

    Attributes
    ----------
    state, act : str
        What the drive is, and what was to be done to it.
    story : DriveStory
        How it came to be what it is.
    """

    _details = ("state", "act", "story")

    def __init__(self, message: str, *, state: str, act: str, story: DriveStory) -> None:
        super().__init__(message)
        self.state = state
        self.act = act
        self.story = story


class SweepError(SeqstoreError):
    """Some runs of a sweep failed; all others were run to their end.

    Attributes
    ----------
    failures : mapping of int to Exception
        What each failed run raised, or the reason that it has no result, by its number in the grid.
    table : Table
        Results of the other runs.
    """

    _details = ("failures", "table")

    def __init__(self, message: str, *, failures: Mapping[int, Exception], table: Table) -> None:
        super().__init__(message)
        self.failures = failures
        self.table = table


class InvariantError(SeqstoreError):
    """A bug in seqstore: the engine found itself in a state that cannot be, and takes no further calls.

    Attributes
    ----------
    file, condition : str
        Source file of the check that failed, and what it demanded.
    line : int
        Line of the check.
    """

    _details = ("file", "line", "condition")

    def __init__(self, message: str, *, file: str, line: int, condition: str) -> None:
        super().__init__(message)
        self.file = file
        self.line = line
        self.condition = condition
