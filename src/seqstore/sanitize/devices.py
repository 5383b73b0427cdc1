"""What Linux knows of a file or block device that is to be sanitized: who it is, and who uses it.

References
----------
The Linux kernel's documentation: Documentation/ABI/stable/sysfs-block; proc(5), ``/proc/swaps``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from seqstore.errors import FormatError, MediumError, VersionError
from seqstore.format.medium import FileSource, find_geometry
from seqstore.media.places import DriveIdentity
from seqstore.sanitize.target import FileTarget, KeysOfDrive, size_of, whole

_SYSTEM = Path("/sys/class/block")
_SWAPS = Path("/proc/swaps")
_PLACES = 64  # of a file at which the summary of a drive is looked for
_PLACE_BYTES = 1 << 20  # that are read at each
_VIRTUAL = ("loop", "ram", "zram", "md", "dm-")


class DeviceTarget(FileTarget):
    """A file or block device, with what the system knows of it.

    The serial of a block device is the one that the system gives. That of a drive file is the identity of the
    drive that is in it, 16 hexadecimal digits, and of any other file its name.

    Parameters
    ----------
    path : str or path-like
    known : DriveIdentity, optional
        Of a file whose drive was begun to be overwritten, and does not say any more who it was.
    keys : KeysOfDrive, optional

    Raises
    ------
    ConfigError
        If its size is no multiple of 512 bytes, or 0.
    MediumError
        If it cannot be opened, or is in use: mounted, attached, or online in a store.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        known: DriveIdentity | None = None,
        keys: KeysOfDrive | None = None,
    ) -> None:
        name = os.fspath(path)
        refuse_in_use(name)
        self._is_device = stat.S_ISBLK(Path(name).stat().st_mode)
        super().__init__(name, identity=known or identify(name), keys=keys)

    def identify(self) -> DriveIdentity:
        """Ask the system again, where it is a device."""
        return identify(self.path) if self._is_device else super().identify()


def identify(path: str) -> DriveIdentity:
    """Say who a file or block device is.

    Raises
    ------
    MediumError
        If it cannot be read.
    ConfigError
        If its size is none that a drive has.
    """
    geometry = whole(size_of(path), path)
    blocks, block_size = geometry.blocks, geometry.block_size
    if not stat.S_ISBLK(Path(path).stat().st_mode):
        return DriveIdentity(
            serial=_drive_in(path, blocks * block_size) or Path(path).name,
            media_type="file",
            blocks=blocks,
            block_size=block_size,
        )
    device = _SYSTEM / Path(path).resolve().name
    name = device.name
    is_disk = _text(device / "queue" / "rotational") == "1"
    return DriveIdentity(
        serial=_text(device / "device" / "serial") or _text(device / "serial") or _page(device) or name,
        vendor=_text(device / "device" / "vendor"),
        model=_text(device / "device" / "model"),
        media_type="virtual" if name.startswith(_VIRTUAL) else "hdd" if is_disk else "ssd",
        blocks=blocks,
        block_size=block_size,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _page(device: Path) -> str:
    """Return the serial number that a SCSI disk gives in page 0x80 of its vital product data."""
    try:
        return (device / "device" / "vpd_pg80").read_bytes()[4:].decode("ascii", "replace").strip("\0 ")
    except OSError:
        return ""


def _drive_in(path: str, size_bytes: int) -> str:
    """Return the identity of the drive in a file, or nothing.

    The first summary lies at the start. Where that was written over on purpose others are left: records are
    at most half a MiB apart, and places all over the file are looked at, but not all of a large one.
    """
    step = max(size_bytes // _PLACES, _PLACE_BYTES) // _PLACE_BYTES * _PLACE_BYTES
    source = FileSource(path)
    try:
        return f"{find_geometry(source, range(0, size_bytes, step))[1]:016x}"
    except (FormatError, VersionError, OSError):
        return ""
    finally:
        source.close()


# ---- who uses it -----------------------------------------------------------------------------------


def refuse_in_use(path: str) -> None:
    """Raise if something else uses a drive.

    A block device that is mounted, or whose partition is, the kernel refuses besides when it is opened, and
    a drive that a store has open is locked.

    Raises
    ------
    MediumError
        If a store has it in its directory, a loop device is attached to it, the system swaps to it, or there
        is nothing.
    """
    try:
        real = Path(path).resolve(strict=True)
    except OSError as error:
        raise MediumError(f"{path!r} cannot be found: {error.strerror}", errno=error.errno) from error
    if not (real.is_file() or real.is_block_device()):
        raise MediumError(f"{path!r} is neither a regular file nor a block device")
    store = real.parent.parent
    if real.parent.name == "drives" and (store / "catalog.db").exists():
        raise MediumError(
            f"{path!r} is a drive of the store {str(store)!r}; take it out of service there, and move it away"
        )
    for loop, behind in _loops():
        if behind == real:
            raise MediumError(f"{path!r} is attached to {loop}; detach it: losetup -d {loop}")
    if str(real) in _swaps():
        raise MediumError(f"the system swaps to {path!r}; switch that off: swapoff {path}")


def _loops() -> Iterator[tuple[str, Path]]:
    for file in _SYSTEM.glob("loop*/loop/backing_file"):
        with suppress(OSError):
            yield f"/dev/{file.parent.parent.name}", Path(file.read_text().strip())


def _swaps() -> set[str]:
    return {line.split(" ")[0] for line in _text(_SWAPS).splitlines()[1:]}
