"""Stores in a directory: made as a whole or not at all, and what is refused to be made of."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, SupportsIndex

from seqstore import probe
from seqstore.engine import Engine
from seqstore.errors import ConfigError
from seqstore.folder import os_errors
from seqstore.media import CallsMedium, FileMedium
from seqstore.media.geometry import Geometry
from seqstore.opening import make_parts
from seqstore.units import format_size, parse_size

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

    from seqstore.catalog import Settings
    from seqstore.encryption import KeySource
    from seqstore.folder import Folder
    from seqstore.parts import Options, Parts

_ROOMY_SEGMENTS = 64  # more than the smallest drive has, whatever its segments are
_MOST_TRIED_BLOCKS = 1 << 22  # tables of larger drives take time and memory
_LOOKED_AT_BYTES = 1 << 20  # at both ends of a device, where file systems and partitions leave their marks


def make_folder(
    folder: Folder,
    capacity: SupportsIndex | str,
    device: Path | None,
    *,
    overwrite_device: bool,
    identity: int,
    settings: Settings,
    options: Options,
    geometry: dict[str, Any],
    preallocate: bool,
    keys: KeySource | None,
) -> Parts:
    """Make a store in a directory, or nothing. keys: where the root key comes from; None: not encrypted.

    The catalog comes last: a directory without one is no store, so a crash on the way leaves none.
    """
    _require_room(capacity, geometry, settings)
    if device is not None:
        _look_at_device(device, parse_size(capacity, "capacity"), overwrite=overwrite_device)
    elif overwrite_device:
        raise ConfigError("overwrite_device=True is for a store on a device; say which with device=")
    with ExitStack() as undo:
        undo.callback(folder.remove)
        folder.make(device)
        medium = FileMedium(
            folder.drive if device is None else device,
            capacity,
            create=device is None,
            access=settings.access,
            preallocate=preallocate,
            **geometry,
        )
        undo.callback(medium.close)
        if keys is not None:
            encryption = keys.create(folder.keys)
            assert encryption is not None
            undo.callback(encryption.close)
            options = replace(options, encryption=encryption)
        parts = make_parts(medium, folder.catalog, identity=identity, settings=settings, options=options)
        undo.callback(parts.close, finish=False)
        folder.sync()
        undo.pop_all()
    return parts


@dataclass(frozen=True, slots=True)
class DriveFile:
    """A further drive's medium, and how what was made for it is removed again."""

    medium: FileMedium
    made: tuple[Path, ...]

    def remove(self) -> None:
        """Remove what was made; what a link points at stays."""
        _remove(self.made)


def _remove(paths: tuple[Path, ...]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def make_drive_file(
    folder: Folder,
    number: int,
    capacity: SupportsIndex | str,
    *,
    path: Path | None,
    device: Path | None,
    overwrite_device: bool,
    settings: Settings,
    geometry: dict[str, Any],
) -> DriveFile:
    """Make the medium of a further drive of a store in a directory.

    The catalog learns of it later: what a crash leaves before that is in the way of the next attempt no more.
    """
    _require_room(capacity, geometry, settings)
    place, target = folder.drive_path(number), device or path
    if device is not None:
        _look_at_device(device, parse_size(capacity, "capacity"), overwrite=overwrite_device)
    elif overwrite_device:
        raise ConfigError("overwrite_device=True is for a drive on a device; say which with device=")
    elif path is not None and path.exists():
        raise ConfigError(f"{str(path)!r} is there already; device= uses it, or choose another path")
    made = (place,) if device is not None or path is None else (place, path)
    with ExitStack() as undo, os_errors(f"making drive {number} of the store {str(folder.path)!r}"):
        place.unlink(missing_ok=True)  # of an attempt that a crash cut off
        undo.callback(_remove, made)
        medium = FileMedium(
            place if target is None else target,
            capacity,
            create=device is None,
            access=settings.access,
            **geometry,
        )
        undo.callback(medium.close)
        if target is not None:
            place.symlink_to(target)
        folder.sync()
        undo.pop_all()
    return DriveFile(medium, made)


class _Nowhere:
    """Calls of a medium that keeps nothing, to see whether a log would find room on it."""

    def append(self, mba: int, data: memoryview) -> None:
        """Take blocks."""

    def read(self, mba: int, count: int, out: memoryview) -> None:
        """Leave zeros."""

    def sync(self) -> None:
        """Be done."""

    def reset(self, zone: int) -> None:
        """Take note."""


def _has_room(geometry: Geometry, settings: Settings) -> bool:
    sizes = {"block_size": geometry.block_size, "zone_size": geometry.zone_blocks * geometry.block_size}
    with CallsMedium(_Nowhere(), geometry.blocks * geometry.block_size, **sizes) as medium:
        try:
            Engine(medium, reserve_ppm=settings.reserve_ppm).close()
        except ConfigError:
            return False
    return True


def _require_room(capacity: SupportsIndex | str, division: dict[str, Any], settings: Settings) -> None:
    """Refuse a capacity that is too small for a drive in a file, and name the next one that is not.

    How much room such a drive needs, only the core knows, so it is asked.

    Raises
    ------
    ConfigError
        If it is too small, or cannot be divided as it is to be.
    """
    wanted = parse_size(capacity, "capacity")
    geometry = Geometry.at_least(wanted, **division)
    if geometry.blocks >= min(_ROOMY_SEGMENTS * geometry.zone_blocks, _MOST_TRIED_BLOCKS):
        return  # if something is wrong with it, then not that, or what comes later says so
    for _ in range(_ROOMY_SEGMENTS):
        if _has_room(geometry, settings):
            break
        geometry = Geometry.at_least(geometry.blocks * geometry.block_size + 1, **division)
    size, segment_size = (n * geometry.block_size for n in (geometry.blocks, geometry.zone_blocks))
    if size != wanted:
        raise ConfigError(
            f"capacity is {format_size(wanted)}; the next size that works is {format_size(size)}, of"
            f" {size // segment_size} segments of {format_size(segment_size)}: a drive in a file or on a"
            " device has whole segments, and keeps room for two checkpoints beside the data"
        )


def _look_at_device(device: Path, wanted: int, *, overwrite: bool) -> None:
    """Refuse a device or file that is too small, or holds something.

    A drive of seqstore is refused in any case: its records would be met among those of the new one.
    """
    with os_errors(f"looking at {str(device)!r}"):
        mode = device.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            return  # what it is is said when it is opened
        with device.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            ends = {start: _read_at(file, start) for start in (0, max(size - _LOOKED_AT_BYTES, 0))}
    if size < wanted:
        raise ConfigError(
            f"{str(device)!r} has {format_size(size)}, and {format_size(wanted)} are asked for; choose a"
            " smaller capacity, or a larger device"
        )
    label = probe.find_label(device)
    if label is not None:
        raise ConfigError(
            f"{str(device)!r} holds a drive of seqstore already, of identity {label.identity:016x}; overwrite"
            " its beginning to give it up, or choose another"
        )
    for start, data in ends.items():
        if not overwrite and any(data):
            at = start + len(data) - len(data.lstrip(b"\0"))
            raise ConfigError(
                f"{str(device)!r} is not empty: something lies at byte {at}, a file system or a table of"
                " partitions perhaps; overwrite_device=True gives up all that is there"
            )


def _read_at(file: BufferedReader, start: int) -> bytes:
    file.seek(start)
    return file.read(_LOOKED_AT_BYTES)
