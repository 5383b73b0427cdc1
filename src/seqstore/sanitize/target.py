"""What can be sanitized: media in memory, files and block devices, simulated drives."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from seqstore._native.sweep import cached_bytes
from seqstore.arguments import file_name, instance, optional
from seqstore.errors import ConfigError, MediumError
from seqstore.format.medium import FileSource, Source
from seqstore.media.faults import FaultMedium
from seqstore.media.file import FileMedium
from seqstore.media.geometry import MAX_BLOCK_SIZE, MAX_BLOCKS, MIN_BLOCK_SIZE, MIN_ZONE_BLOCKS, Geometry
from seqstore.media.hidden import HiddenDrive
from seqstore.media.memory import MemoryMedium
from seqstore.media.places import DriveIdentity, HiddenPlace

if TYPE_CHECKING:
    from seqstore.media.native import NativeMedium

_USUAL_BLOCK = 4096


class KeysOfDrive(Protocol):
    """The keys under which all that lies on a drive was encrypted."""

    def destroy(self) -> int:
        """Destroy them, durably, and return how many there were."""
        ...

    def are_gone(self) -> bool:
        """Look, where they were kept, whether they are."""
        ...


class Target(Protocol):
    """A drive that can be sanitized. Methods raise `OSError` where the drive fails."""

    @property
    def medium(self) -> NativeMedium:
        """All blocks that have an address."""
        ...

    @property
    def has_cache(self) -> bool:
        """Whether something may answer a read that is not the medium."""
        ...

    def identify(self) -> DriveIdentity:
        """Ask the drive who it is."""
        ...

    def places(self) -> Sequence[HiddenPlace]:
        """List the hidden areas that it admits to."""
        ...

    @property
    def has_command(self) -> bool:
        """Whether it has a sanitize command of its own that can be given."""
        ...

    def command(self) -> None:
        """Run the drive's own sanitize command; `ConfigError` if it has none."""
        ...

    def source(self) -> Source:
        """Return what reads its bytes without the core."""
        ...

    def keys(self) -> KeysOfDrive | None:
        """Return the keys of all that lies on it; None if it is not encrypted."""
        ...

    def settle(self) -> str:
        """See to it that from now on the medium is read and no cache; see `Verification.past_caches`."""
        ...


class MediumSource:
    """The bytes of a medium; see `Source`.

    Parameters
    ----------
    medium : NativeMedium
    """

    def __init__(self, medium: NativeMedium) -> None:
        self._medium = medium

    def read(self, offset: int, length: int, /) -> bytes:
        """Return bytes of whole blocks."""
        size = self._medium.block_size
        return self._medium.read(offset // size, length // size)


class _Plain:
    """What the targets have in common that are no more than their bytes."""

    medium: NativeMedium
    keys_of_drive: KeysOfDrive | None = None
    has_command = False

    def source(self) -> Source:
        """Read through the medium."""
        return MediumSource(self.medium)

    def places(self) -> Sequence[HiddenPlace]:
        """Admit to nothing."""
        return ()

    def command(self) -> None:
        """Refuse.

        Raises
        ------
        ConfigError
            Always.
        """
        raise ConfigError(
            "this drive has no sanitize command that seqstore can give; use a technique that overwrites"
        )

    def keys(self) -> KeysOfDrive | None:
        """Return the keys that were given with the drive."""
        return self.keys_of_drive


class MemoryTarget(_Plain):
    """A medium in memory.

    Parameters
    ----------
    medium : MemoryMedium
        That no store lies on.
    serial : str
    """

    has_cache = False

    def __init__(self, medium: MemoryMedium, serial: str) -> None:
        self.medium = instance(medium, MemoryMedium, "medium")
        self._serial = instance(serial, str, "serial")

    def identify(self) -> DriveIdentity:
        """Return the serial that was given, and the sizes."""
        medium = self.medium
        return DriveIdentity(
            serial=self._serial, media_type="memory", blocks=medium.blocks, block_size=medium.block_size
        )

    def settle(self) -> str:
        """Do nothing: the memory is the medium."""
        return "memory"


class SimulatedTarget(_Plain):
    """A simulated drive with hidden places; see `HiddenDrive`.

    Parameters
    ----------
    drive : HiddenDrive
    """

    has_cache = True
    has_command = True

    def __init__(self, drive: HiddenDrive) -> None:
        self.drive = instance(drive, HiddenDrive, "drive")
        self.medium = FaultMedium(drive)

    def identify(self) -> DriveIdentity:
        """Ask the drive."""
        return self.drive.identify()

    def places(self) -> Sequence[HiddenPlace]:
        """Ask the drive."""
        return self.drive.places()

    def command(self) -> None:
        """Give the drive its sanitize command."""
        self.drive.sanitize()

    def settle(self) -> str:
        """Take the drive's power away and give it back."""
        return "power-cycle" if self.drive.power_cycle() else ""


class FileTarget(_Plain):
    """A regular file or a block device, all of it.

    Direct transfers are used where they can be had. Else the system's cache is dropped before reading, and
    looked at: a file system that keeps its files in memory alone cannot be verified past its cache.

    Parameters
    ----------
    path : str or path-like
    identity : DriveIdentity, optional
        What is known of it. By default the serial is the file's name and the media type ``"file"``.
    keys : KeysOfDrive, optional

    Raises
    ------
    ConfigError
        If its size is no multiple of 512 bytes, or 0.
    MediumError
        If it cannot be opened, or is in use: mounted, or online in a store.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        identity: DriveIdentity | None = None,
        keys: KeysOfDrive | None = None,
    ) -> None:
        self.path = file_name(path, "path")
        self._identity = optional(identity, DriveIdentity, "identity")
        self.keys_of_drive = keys
        geometry = whole(size_of(self.path), self.path)
        try:
            medium = FileMedium(self.path, geometry=geometry, access="direct")
        except ConfigError:
            medium = FileMedium(self.path, geometry=geometry, access="cached")
        self.medium: FileMedium = medium

    @property
    def has_cache(self) -> bool:
        """Whether the system's cache lies between."""
        return self.medium.access != "direct"

    def identify(self) -> DriveIdentity:
        """Return what is known, with the size as it is now."""
        size, block_size = size_of(self.path), self.medium.block_size
        known = self._identity
        return DriveIdentity(
            serial=known.serial if known else os.path.basename(self.path),  # noqa: PTH119 (a str is wanted)
            vendor=known.vendor if known else "",
            model=known.model if known else "",
            media_type=known.media_type if known else "file",
            blocks=size // block_size,
            block_size=block_size,
        )

    def source(self) -> Source:
        """Open the file anew, for reading."""
        return FileSource(self.path)

    def settle(self) -> str:
        """Drop what the system's cache holds of it, and look whether that worked."""
        if not self.has_cache:
            return "direct"
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            return "dropped" if cached_bytes(descriptor, self.medium.capacity) == 0 else ""
        finally:
            os.close(descriptor)


def size_of(path: str) -> int:
    """Return the bytes of a file or device.

    Raises
    ------
    MediumError
        If it cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return os.lseek(descriptor, 0, os.SEEK_END)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise MediumError(f"the size of {path!r}: {error}", errno=error.errno) from error


def whole(size: int, name: str) -> Geometry:
    """Divide all of a drive into blocks, in a single zone, so that nothing is left at its end.

    Raises
    ------
    ConfigError
        If its size is no multiple of 512 bytes, or too small.
    """
    block_size = _USUAL_BLOCK
    while block_size > MIN_BLOCK_SIZE and (size % block_size or size // block_size < MIN_ZONE_BLOCKS):
        block_size //= 2
    while size // block_size > MAX_BLOCKS and block_size < MAX_BLOCK_SIZE and size % (2 * block_size) == 0:
        block_size *= 2
    blocks = size // block_size
    if not size:
        raise ConfigError(f"{name!r} is empty: it has no bytes that could be overwritten")
    if size % MIN_BLOCK_SIZE:
        raise ConfigError(
            f"{name!r} has {size:,} bytes, which is no whole number of sectors of {MIN_BLOCK_SIZE}: is it a"
            " drive?"
        )
    if size % block_size or not MIN_ZONE_BLOCKS <= blocks <= MAX_BLOCKS:
        raise ConfigError(
            f"{name!r} has {size:,} bytes; at least {MIN_ZONE_BLOCKS * MIN_BLOCK_SIZE:,}, and {MAX_BLOCKS}"
            " blocks of at most 64 KiB, are expected: is it a drive?"
        )
    return Geometry(blocks=blocks, block_size=block_size, zone_blocks=blocks)
