"""What comes back from C: statuses, and what the exceptions for them say."""

from __future__ import annotations

import errno
import os
from typing import Any

from seqstore._native._core import ffi, lib
from seqstore.errors import (
    AccessError,
    BadBlockError,
    ClosedError,
    ConfigError,
    CorruptionError,
    FormatError,
    InvariantError,
    LostWritesError,
    MediumError,
    NotFoundError,
    OutOfSpaceError,
    SeqstoreError,
    UnwrittenError,
    VersionError,
)

FORMAT_VERSION = 1
"""The format of a drive whose blocks lie there as they were written."""

SEALED_VERSION = 2
"""The format of a drive whose blocks are encrypted; the newest that the core knows."""

# What a medium says of blocks, and not of itself.
_OF_BLOCKS = {errno.EIO, errno.ENODATA, errno.EREMOTEIO, errno.EILSEQ, errno.EBADMSG}

_REASONS: dict[int, tuple[type[SeqstoreError | MemoryError], str]] = {
    lib.SQ_E_INVALID: (ConfigError, "an argument is outside its range"),
    lib.SQ_E_NO_MEMORY: (MemoryError, "the process is out of memory"),
    lib.SQ_E_CLOSED: (ClosedError, "the store was closed; open it again, or make another"),
    lib.SQ_E_NOT_FOUND: (NotFoundError, "the volume was deleted"),
    lib.SQ_E_BOUNDS: (ConfigError, "the range reaches beyond the end"),
    lib.SQ_E_NO_PAYLOAD: (MediumError, "a simulated store keeps no bytes; a memory store does"),
    lib.SQ_E_OWNED: (MediumError, "the medium belongs to a store, which alone appends and resets"),
    lib.SQ_E_POLICY: (ConfigError, "the cleaning policy failed"),
    lib.SQ_E_REENTERED: (
        ConfigError,
        "a policy or a medium that the store calls may not call the store; it gets what it may know",
    ),
    lib.SQ_E_IO: (MediumError, "the medium failed"),
    lib.SQ_E_READ_ONLY: (AccessError, "it is open for reading alone"),
    lib.SQ_E_FAILED: (
        MediumError,
        "the medium failed before, in a flush or in a change; close the store and open it again",
    ),
    lib.SQ_E_STALE: (
        FormatError,
        "the drive is of another moment than the catalog, or of another copy of the store; put those that"
        " belong together in their places, or open the store with rebuild_catalog=True",
    ),
    lib.SQ_E_NO_KEY: (NotFoundError, "the volume has no key to encrypt with, or it is dead"),
    lib.SQ_E_NO_CRYPTO: (MediumError, "libcrypto failed to encrypt or decrypt; open the store again"),
    lib.SQ_E_DISOWNED: (
        ClosedError,
        "this process was forked from the one that opened the store, which alone may change it; open it anew"
        " after that one has closed it",
    ),
}


_NO_ROOM = {
    lib.SQ_E_LIMIT: "the drive's tables have no room, or there is no number left, for one more volume,"
    " snapshot or layer; delete some, or use a larger drive",
    lib.SQ_E_OUT_OF_SPACE: "the drive has no segment left to write to; trim or delete something, or use a"
    " larger drive",
}


def status_error(status: int, doing: str) -> SeqstoreError | MemoryError:
    """Make the exception for a status that comes without details.

    Parameters
    ----------
    status : int
        A negative ``SQ_E_*``.
    doing : str
        What was tried, for the message.
    """
    if status in _NO_ROOM:
        return OutOfSpaceError(f"{doing}: {_NO_ROOM[status]}", needed=1, available=0)
    kind, reason = _REASONS.get(status, (MediumError, f"unknown status {status} of the core"))
    return kind(f"{doing}: {reason}")


def fault_error(status: int, fault: Any, doing: str, *, volume: int, block_size: int) -> SeqstoreError | None:
    """Make the exception for a status that comes with a ``struct sq_fault``; None for the others.

    Parameters
    ----------
    status : int
        A negative ``SQ_E_*``.
    fault : cdata
        ``struct sq_fault *``, filled.
    doing : str
        What was tried, for the message.
    volume : int
        Number of the volume that was asked.
    block_size : int
        Bytes of a block.
    """
    if status == lib.SQ_E_OUT_OF_SPACE:
        needed, available = fault.needed_blocks, fault.available_blocks
        if not needed:
            return OutOfSpaceError(
                f"{doing}: the drive has no room left in its tables of volumes, snapshots and trimmed ranges;"
                " delete some, or use a larger drive",
                needed=1,
                available=0,
            )
        return OutOfSpaceError(
            f"{doing}: {needed} blocks more are needed and {available} available; trim or delete something,"
            " or use a larger drive",
            needed=needed,
            available=available,
        )
    if status == lib.SQ_E_UNWRITTEN:
        offset, length = fault.lba * block_size, fault.count * block_size
        return UnwrittenError(
            f"{doing}: {length} bytes from offset {offset} are unwritten; write them first, or make the"
            " volume with unwritten='zero'",
            volume=volume,
            offset=offset,
            length=length,
        )
    if status == lib.SQ_E_CORRUPT:
        owner, lba, mba = fault.volume, fault.lba, fault.mba
        return CorruptionError(
            f"{doing}: media block {mba} does not hold lba {lba} of volume number {owner} as it was written;"
            " write the whole block anew, or trim it",
            volume=owner,
            lba=lba,
            mba=mba,
        )
    return _no_key_error(status, fault, doing) or _medium_error(status, fault, doing)


def _no_key_error(status: int, fault: Any, doing: str) -> SeqstoreError | None:
    if status == lib.SQ_E_NO_KEY:
        return NotFoundError(
            f"{doing}: the key of lba {fault.lba} of volume number {fault.volume} is dead, or not in the key"
            " area; what was encrypted under it cannot be read any more"
        )
    return None


def _medium_error(status: int, fault: Any, doing: str) -> SeqstoreError | None:
    """Make the exception for what lies on the medium, or for what it said."""
    if status == lib.SQ_E_IO:
        code, mba = int(fault.os_error), int(fault.mba)
        place = "" if mba == lib.SQ_NO_ADDRESS else f" at media block {mba}"
        message = f"{doing}: the medium failed{place}: {os.strerror(code)}"
        if code in _OF_BLOCKS and place:
            return BadBlockError(message, mba=mba, errno=code)
        return MediumError(message, errno=code)
    if status == lib.SQ_E_FORMAT:
        return FormatError(
            f"{doing}: media block {fault.mba} does not hold what belongs there: this is not the drive of"
            " this store, or it is damaged; put the right one in its place, or restore it from a copy"
        )
    if status == lib.SQ_E_VERSION:
        return _version_error(fault.count, doing)
    if status == lib.SQ_E_LOST:
        return LostWritesError(
            f"{doing}: the drive holds records up to {fault.lba}, and had reported those up to {fault.count}"
            " as flushed: it lied, is damaged there, or is an old copy; copy the drive before anything else,"
            " see what is left with read_only=True and accept_loss=True, and give up the rest with"
            " accept_loss=True alone",
            last_sequence=fault.lba,
            flushed_sequence=fault.count,
        )
    return None


def _version_error(found: int, doing: str) -> FormatError:
    """Make the exception for a drive of a version that was not asked for."""
    if found == SEALED_VERSION:
        return FormatError(
            f"{doing}: the drive is encrypted, and its key area is not there; put the file back in its place"
        )
    if found < SEALED_VERSION:
        return FormatError(
            f"{doing}: the drive is not encrypted, and there is a key area; put the drive in its place that"
            " belongs to it"
        )
    return VersionError(
        f"{doing}: the drive is of format {found}; this version of seqstore knows up to {SEALED_VERSION};"
        " use a newer one",
        found=found,
        expected=SEALED_VERSION,
    )


def invariant_error(broken: Any, doing: str) -> InvariantError:
    """Make the exception for the check that a log failed, from its ``struct sq_invariant *``."""
    file, condition = (ffi.string(text).decode() for text in (broken.file, broken.condition))
    return InvariantError(
        f"{doing}: a bug in seqstore, found at {file}:{broken.line}: {condition}; the store takes no further"
        " calls; please report it",
        file=file,
        line=broken.line,
        condition=condition,
    )
