"""The medium that keeps its bytes in a regular file or on a block device."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex

from seqstore._native._core import lib
from seqstore.errors import ConfigError, FormatError, MediumError, OutOfSpaceError
from seqstore.media.geometry import Geometry
from seqstore.media.native import OverwritableMedium, medium_error, system_error
from seqstore.units import format_size

if TYPE_CHECKING:
    from seqstore._native.convert import BytesLike

Access = Literal["cached", "direct", "mapped"]
"""How the bytes of a file are reached; see `FileMedium`."""

_ACCESSES: dict[Any, int] = {
    "cached": lib.SQ_FILE_CACHED,
    "direct": lib.SQ_FILE_DIRECT,
    "mapped": lib.SQ_FILE_MAPPED,
}

_OWNER_ALONE = 0o600  # what lies in the file is other people's data

_WHAT_TO_DO = {
    errno.EACCES: "; read_only=True needs less permission",
    errno.EBUSY: "; it is mounted or in use, unmount it first",
    errno.EEXIST: "; create=False opens what is there",
    errno.ENOENT: "; look at the path",
    errno.EROFS: "; read_only=True may open it",
}


class FileMedium(OverwritableMedium):
    """A row of zones in a file or on a block device; see `NativeMedium` for what all media have.

    While it is open nobody else can open it for writing, in this process or another (``flock``); several may
    read. A child process that was forked meanwhile shares it, and keeps it locked. Write pointers are not
    kept in the file: after opening they stand at the zones' starts.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        Of the file or device.
    capacity : int or str, optional
        Size. Without it all of an existing file or device is used, down to whole zones.
    create : bool
        Whether to make the file, which must not exist, readable for its owner alone.
    block_size, zone_size : int or str, optional
        As of other media.
    access : {"cached", "direct", "mapped"}
        ``"cached"`` goes through the system's page cache. ``"direct"`` goes past it (``O_DIRECT``), where
        the file system can. ``"mapped"`` reads the page cache as memory, and writes as ``"cached"`` does:
        a small read takes about half the time, since no call into the system is made for it. The price
        is that an error of the drive on reading, or a file that another process cuts short, is no
        `MediumError` then: the system ends the process with ``SIGBUS``.
    preallocate : bool
        Whether a new file gets all its space at once, so that the file system cannot run full later.
    read_only : bool
        Whether the medium takes no changes.
    geometry : Geometry, optional
        A division that is known, instead of `capacity`, `block_size` and `zone_size`.

    Attributes
    ----------
    path : str or bytes
        As given.
    access : {"cached", "direct", "mapped"}
        As given.
    read_only : bool
        As given.

    Raises
    ------
    ConfigError
        If the sizes do not fit each other, a new file is to be read-only or has no capacity, or `access` is
        no kind of access or not to be had: not on this file system, or not in units of `block_size`.
    FormatError
        If the file is smaller than it should be.
    OutOfSpaceError
        If the file system is too full for a new file; none is left behind.
    MediumError
        If the path leads to nothing, or to something else than a file or block device, somebody else has it
        open, or the operating system refuses; `errno` says why.
    """

    _kind = lib.SQ_MEDIUM_FILE

    def __init__(
        self,
        path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
        capacity: SupportsIndex | str | None = None,
        *,
        create: bool = False,
        block_size: SupportsIndex | str = 4096,
        zone_size: SupportsIndex | str | None = None,
        access: Access = "cached",
        preallocate: bool = True,
        read_only: bool = False,
        geometry: Geometry | None = None,
    ) -> None:
        self._handle = None
        self.path = _check_path(path)
        self.access = access
        self.read_only = bool(read_only)
        if access not in tuple(_ACCESSES):
            raise ConfigError(f"access is {access!r}; one of {', '.join(map(repr, _ACCESSES))} is expected")
        if create and read_only:
            raise ConfigError("create=True makes a file to write to; read_only=True is for one that exists")
        if geometry is None and capacity is not None:
            geometry = Geometry.divide(capacity, block_size=block_size, zone_size=zone_size)
        if create:
            if geometry is None:
                raise ConfigError("create=True needs the capacity of the new file")
            self._create(geometry, preallocate)
        else:
            self._open(geometry, block_size, zone_size)

    def _create(self, geometry: Geometry, preallocate: bool) -> None:
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OWNER_ALONE)
        except OSError as error:
            raise self._refused("making", error) from None
        try:
            self._lock(descriptor)
            self._allocate(descriptor, geometry, preallocate)
            self._hand_over(descriptor, geometry)
        except BaseException:
            os.unlink(self.path)  # noqa: PTH108 (a path may be bytes)
            self._give_up(descriptor)
            raise

    def _open(
        self,
        geometry: Geometry | None,
        block_size: SupportsIndex | str,
        zone_size: SupportsIndex | str | None,
    ) -> None:
        descriptor = self._open_descriptor()
        try:
            self._lock(descriptor)
            # Of a device stat does not tell the size.
            size = os.lseek(descriptor, 0, os.SEEK_END)
            if geometry is None:
                geometry = Geometry.fill(size, block_size=block_size, zone_size=zone_size)
            wanted = geometry.blocks * geometry.block_size
            if size < wanted:
                raise FormatError(
                    f"{self._name} has {size} bytes; {wanted} are expected: it was cut, or is another drive's"
                )
            self._hand_over(descriptor, geometry)
        except BaseException:
            self._give_up(descriptor)
            raise

    def _give_up(self, descriptor: int) -> None:
        """Close the descriptor of a medium that did not come about."""
        if self.closed:
            os.close(descriptor)
        self.close()

    def _open_descriptor(self) -> int:
        flags = os.O_CLOEXEC | (os.O_RDONLY if self.read_only else os.O_RDWR)
        try:
            # Before opening: that waits for the other end of a pipe, and rewinds a tape.
            mode = os.stat(self.path).st_mode  # noqa: PTH116 (a path may be bytes)
            if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
                raise medium_error(
                    errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL,
                    f"{self._name} is neither a regular file nor a block device",
                )
            if stat.S_ISBLK(mode) and not self.read_only:
                flags |= os.O_EXCL  # the kernel then refuses a device that is mounted
            return os.open(self.path, flags)
        except MediumError:
            raise
        except OSError as error:
            raise self._refused("opening", error) from None

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if self.read_only else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise medium_error(
                error.errno,
                f"{self._name} is in use, by another process or by another medium or store of this one; close"
                " that first",
            ) from None
        except OSError as error:
            raise self._refused("locking", error) from None

    def _allocate(self, descriptor: int, geometry: Geometry, preallocate: bool) -> None:
        size = geometry.blocks * geometry.block_size
        try:
            if not preallocate:
                os.ftruncate(descriptor, size)
            elif size > self._free_bytes(descriptor):
                # Asking first: the attempt would take all there is before it fails.
                raise self._out_of_space(descriptor, geometry)
            else:
                os.posix_fallocate(descriptor, 0, size)
            # The file, its size and its name have to be there before anybody relies on what is in it.
            os.fsync(descriptor)
            _sync_folder(self.path)
        except MediumError:
            raise
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise self._out_of_space(descriptor, geometry) from None
            raise self._refused(f"giving {format_size(size)} to", error) from None

    def _free_bytes(self, descriptor: int) -> int:
        """Count what the file system has for the file, with what it has given to it."""
        system = os.fstatvfs(descriptor)
        return system.f_bfree * system.f_frsize + os.fstat(descriptor).st_blocks * 512

    def _out_of_space(self, descriptor: int, geometry: Geometry) -> OutOfSpaceError:
        wanted = format_size(geometry.blocks * geometry.block_size)
        available = self._free_bytes(descriptor)
        return OutOfSpaceError(
            f"{self._name} is to have {wanted}, and its file system has {format_size(available)}; make room"
            " there, or choose a smaller capacity",
            needed=geometry.blocks,
            available=available // geometry.block_size,
        )

    def _hand_over(self, descriptor: int, geometry: Geometry) -> None:
        """Make the medium, which closes the descriptor from then on."""
        if self.access == "direct":
            self._make_direct(descriptor, geometry)
        elif self.access == "mapped":
            self._try_mapping(descriptor)
        access = _ACCESSES[self.access]
        self._make(geometry, lambda native, out: lib.sq_medium_create_file(native, descriptor, access, out))

    def _make_direct(self, descriptor: int, geometry: Geometry) -> None:
        """Switch to direct transfers, and try one: whether blocks are large enough only the device knows.

        Only now: allocating may have to write single bytes, which a direct file would refuse.
        """
        try:
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise self._refused("access='direct' to", error) from None
            raise ConfigError(
                f"access='direct': the file system of {self._name} has no direct transfers (O_DIRECT); use"
                " access='cached'"
            ) from None
        with mmap.mmap(-1, geometry.block_size) as page:
            try:
                os.preadv(descriptor, [page], geometry.block_size)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise self._refused("a first read of", error) from None
                raise ConfigError(
                    f"access='direct': {self._name} takes no direct transfers of {geometry.block_size} bytes;"
                    " use a larger block_size, or access='cached'"
                ) from None
            finally:
                page.write(bytes(geometry.block_size))

    def _try_mapping(self, descriptor: int) -> None:
        """See whether the file system lets its files be mapped; the core could not say why it does not."""
        try:
            mmap.mmap(descriptor, mmap.PAGESIZE, access=mmap.ACCESS_READ).close()
        except OSError as error:
            if error.errno not in {errno.ENODEV, errno.EACCES, errno.EINVAL}:
                raise self._refused("mapping", error) from None
            raise ConfigError(
                f"access='mapped': the file system of {self._name} has no mapped files; use access='cached'"
            ) from None

    def append(self, mba: SupportsIndex, data: BytesLike) -> None:  # noqa: D102 (inherited)
        self._require_writable()
        super().append(mba, data)

    def overwrite(self, mba: SupportsIndex, data: BytesLike) -> None:  # noqa: D102 (inherited)
        self._require_writable()
        super().overwrite(mba, data)

    def _require_writable(self) -> None:
        if self.read_only:
            raise medium_error(
                errno.EROFS, f"{self._name} was opened with read_only=True, and takes no changes"
            )

    @property
    def _name(self) -> str:
        return repr(os.fsdecode(self.path))

    def _refused(self, doing: str, error: OSError) -> MediumError:
        number = error.errno or errno.EIO
        return system_error(number, f"{doing} {self._name}", _WHAT_TO_DO.get(number, ""))

    def __repr__(self) -> str:
        return f"<FileMedium {self._name} {super().__repr__().partition(' ')[2]}"


def _check_path(path: Any) -> str | bytes:
    try:
        plain: str | bytes = os.fspath(path)
    except TypeError:
        raise ConfigError(
            f"path is of type {type(path).__name__}; str, bytes or PathLike are expected"
        ) from None
    if not plain:
        raise ConfigError("path is empty; the path of a file or block device is expected")
    if ("\0" if isinstance(plain, str) else b"\0") in plain:  # type: ignore[operator]
        raise ConfigError("path holds a null character, which no path can")
    try:
        os.fsencode(plain)
    except UnicodeEncodeError:
        raise ConfigError(f"path {plain!r} holds characters that no path can") from None
    return plain


def _sync_folder(path: str | bytes) -> None:
    folder = os.open(Path(os.fsdecode(path)).absolute().parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
