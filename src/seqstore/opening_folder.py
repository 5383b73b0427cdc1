"""Stores in a directory: opened, and what may be wrong with one. `seqstore.making` makes them."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from seqstore import probe
from seqstore.catalog import Catalog, DriveRow, Settings
from seqstore.errors import FormatError, MediumError, NotFoundError, VersionError
from seqstore.folder import os_errors
from seqstore.media import FileMedium
from seqstore.opening import missing_drives, open_parts, out_of_use, rebuild_from, row_of_label
from seqstore.parts import Options, Parts

if TYPE_CHECKING:
    from seqstore.encryption import KeySource
    from seqstore.folder import Folder
    from seqstore.media.file import Access
    from seqstore.media.native import NativeMedium


def require_store(folder: Folder, *, rebuild_catalog: bool, go_on: bool = False) -> None:
    """Check that a directory is one of a store, and has its drive.

    Raises
    ------
    NotFoundError
        If nothing is there.
    FormatError
        If it is no store, or its catalog is gone.
    MediumError
        If the drive is missing.
    """
    name = repr(str(folder.path))
    with os_errors(f"opening the store {name}"):
        if not folder.path.exists():
            raise NotFoundError(f"there is no {name}; Store.create makes a store")
        has_catalog, has_drive = folder.catalog.exists(), folder.drive.exists()
        is_linked = folder.drive.is_symlink()
    if not has_catalog and not has_drive and not is_linked:
        raise FormatError(f"{name} is no store: it has no catalog.db; Store.create makes a store")
    if not has_drive and not (has_catalog and _has_others(folder, go_on=go_on)):
        fate = "a link to nothing" if is_linked else "gone"
        raise MediumError(
            f"the drive of the store {name} is missing: {str(folder.drive)!r} is {fate}; put it back, or link"
            " it there",
            errno=errno.ENOENT,
        )
    if not has_catalog and not rebuild_catalog:
        raise FormatError(
            f"the catalog of the store {name} is gone; put catalog.db back, or open the store with"
            " rebuild_catalog=True to make it anew from the drive"
        )


def _has_others(folder: Folder, *, go_on: bool) -> bool:
    """Tell whether the store can do without its first drive: it is out of service, or others are there."""
    with Catalog.open(folder.catalog, read_only=True) as catalog:
        return len(catalog.drives) > 1 and (go_on or 0 in out_of_use(catalog))


def open_folder(
    folder: Folder,
    *,
    options: Options,
    access: Access | None,
    rebuild_catalog: bool,
    settings: Settings,
    keys: KeySource,
    go_on: bool = False,
) -> Parts:
    """Open the store in a directory.

    Parameters
    ----------
    folder : Folder
    options : Options
    access : {"cached", "direct", "mapped"} or None
        None stands for what the store was made with.
    rebuild_catalog : bool
        Whether the catalog is made anew.
    settings : Settings
        Stand in for those of a catalog that is gone.
    keys : KeySource
        Where the root key comes from.
    go_on : bool
        Whether to go on without drives that are missing.
    """
    require_store(folder, rebuild_catalog=rebuild_catalog, go_on=go_on)
    with ExitStack() as undo:
        encryption = keys.open(folder.keys, read_only=options.read_only)
        if encryption is not None:
            undo.callback(encryption.close)
            options = replace(options, encryption=encryption)
        catalog = _open_catalog(folder, options, lenient=rebuild_catalog)
        if catalog is not None:
            undo.callback(catalog.close)
            drives, settings, retired = catalog.drives, catalog.settings, out_of_use(catalog)
        else:
            drives, retired = [_row_of_file(folder, number) for number in folder.drive_numbers()], set[int]()
        if rebuild_catalog:  # the drives are believed, whatever the catalog says
            drives = [replace(drive, openings=()) for drive in drives]
        wanted = [drive for drive in drives if drive.number not in retired]
        there = [drive for drive in wanted if folder.drive_path(drive.number).exists()]
        if catalog is not None:
            missing_drives(catalog, {drive.number: drive for drive in there}, go_on=go_on)
        media, missing = _open_media(folder, wanted, options, access or settings.access, go_on=go_on)
        for medium in media.values():
            undo.callback(medium.close)
        try:
            if rebuild_catalog:
                catalog = _rebuild_in_place(folder, catalog, media, drives, settings, options=options)
                undo.callback(catalog.close)
            assert catalog is not None
            parts = open_parts(
                media,
                catalog,
                options=options,
                is_own_medium=True,
                rebuilt=rebuild_catalog,
                missing=missing,
                go_on=go_on,
            )
        except FormatError as error:
            for drive in there:
                _explain(folder, drive, error)
            raise
        undo.pop_all()
    return parts


def _open_catalog(folder: Folder, options: Options, *, lenient: bool) -> Catalog | None:
    """Open the catalog; None for one that is gone or damaged and is to be made anew."""
    if lenient and not folder.catalog.exists():
        return None
    try:
        catalog = Catalog.open(folder.catalog, read_only=options.read_only)
    except VersionError:
        raise
    except FormatError:
        if lenient:
            return None
        raise
    try:
        # All of it is read once, so that damage shows here.
        _ = catalog.drives, catalog.settings, catalog.tenants(), catalog.volumes()
    except FormatError:
        catalog.close()
        if lenient:
            return None
        raise
    return catalog


def _open_media(
    folder: Folder, drives: list[DriveRow], options: Options, access: Access, *, go_on: bool
) -> tuple[dict[int, NativeMedium], dict[int, str]]:
    """Open the media of drives; return them, and why others cannot be opened where the store does without."""
    media: dict[int, NativeMedium] = {}
    missing: dict[int, str] = {}
    with ExitStack() as undo:
        for drive in drives:
            try:
                medium = media[drive.number] = _open_medium(folder, drive, options, access)
            except MediumError as error:  # noqa: PERF203 (a few drives)
                if not go_on:
                    raise
                missing[drive.number] = str(error)
            else:
                undo.callback(medium.close)
        undo.pop_all()
    return media, missing


def _open_medium(folder: Folder, drive: DriveRow, options: Options, access: Access) -> FileMedium:
    return FileMedium(
        folder.drive_path(drive.number).resolve(),
        drive.blocks * drive.block_size,
        block_size=drive.block_size,
        zone_size=drive.zone_blocks * drive.block_size,
        create=False,
        access=access,
        read_only=options.read_only,
    )


def _row_of_file(folder: Folder, number: int) -> DriveRow:
    path = folder.drive_path(number)
    return row_of_label(probe.find_label(path), f"the drive {str(path)!r}", number)


def _rebuild_in_place(
    folder: Folder,
    old: Catalog | None,
    media: Mapping[int, NativeMedium],
    drives: list[DriveRow],
    settings: Settings,
    *,
    options: Options,
) -> Catalog:
    """Make a new catalog from the log, put it in the place of the old one, and open it."""
    fresh = folder.catalog.with_name("catalog.db.new")
    folder.discard(fresh)
    try:
        rebuild_from(fresh, old, media, drives, settings, options=options).close()
    finally:
        if old is not None:
            old.close()
    folder.put_catalog(fresh)
    return Catalog.open(folder.catalog)


def _explain(folder: Folder, drive: DriveRow, error: FormatError) -> None:
    """Say so if the drive is another store's."""
    path = folder.drive_path(drive.number)
    label = probe.find_label(path)
    if label is not None and label.identity != drive.identity:
        raise FormatError(
            f"the drive {str(path)!r} is of another store: its identity is {label.identity:016x},"
            f" {drive.identity:016x} is expected; put the right one in its place"
        ) from error
