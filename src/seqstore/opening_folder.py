"""Stores in a directory: opened, and what may be wrong with one. `seqstore.making` makes them."""

from __future__ import annotations

import errno
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from seqstore import probe
from seqstore.catalog import Catalog, DriveRow, Settings
from seqstore.errors import FormatError, MediumError, NotFoundError, VersionError
from seqstore.folder import os_errors
from seqstore.media import FileMedium
from seqstore.opening import Options, Parts, open_log, open_parts, row_of_label
from seqstore.recovery import rebuild

if TYPE_CHECKING:
    from seqstore.folder import Folder
    from seqstore.key_source import KeySource
    from seqstore.media.file import Access
    from seqstore.media.native import NativeMedium


def require_store(folder: Folder, *, rebuild_catalog: bool) -> None:
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
    if not has_drive:
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


def open_folder(
    folder: Folder,
    *,
    options: Options,
    access: Access | None,
    rebuild_catalog: bool,
    settings: Settings,
    keys: KeySource,
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
    """
    require_store(folder, rebuild_catalog=rebuild_catalog)
    with ExitStack() as undo:
        encryption = keys.open(folder.keys, read_only=options.read_only)
        if encryption is not None:
            undo.callback(encryption.close)
            options = replace(options, encryption=encryption)
        catalog = _open_catalog(folder, options, lenient=rebuild_catalog)
        if catalog is not None:
            undo.callback(catalog.close)
            drive, settings = catalog.drive, catalog.settings
        else:
            drive = row_of_label(probe.find_label(folder.drive), f"the drive {str(folder.drive)!r}")
        if rebuild_catalog:
            drive = replace(drive, openings=())  # the drive is believed, whatever the catalog says
        medium = _open_medium(folder, drive, options, access or settings.access)
        undo.callback(medium.close)
        try:
            if rebuild_catalog:
                catalog = _rebuild_in_place(folder, catalog, medium, drive, settings, options=options)
                undo.callback(catalog.close)
            assert catalog is not None
            parts = open_parts(medium, catalog, options=options, is_own_medium=True, rebuilt=rebuild_catalog)
        except FormatError as error:
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
        _ = catalog.drive, catalog.settings, catalog.tenants(), catalog.volumes()
    except FormatError:
        catalog.close()
        if lenient:
            return None
        raise
    return catalog


def _open_medium(folder: Folder, drive: DriveRow, options: Options, access: Access) -> FileMedium:
    return FileMedium(
        folder.drive.resolve(),
        drive.blocks * drive.block_size,
        block_size=drive.block_size,
        zone_size=drive.zone_blocks * drive.block_size,
        create=False,
        access=access,
        read_only=options.read_only,
    )


def _rebuild_in_place(
    folder: Folder,
    old: Catalog | None,
    medium: NativeMedium,
    drive: DriveRow,
    settings: Settings,
    *,
    options: Options,
) -> Catalog:
    """Make a new catalog from the log, put it in the place of the old one, and open it."""
    fresh = folder.catalog.with_name("catalog.db.new")
    folder.discard(fresh)
    engine = open_log(medium, drive, settings, options)
    try:
        rebuild(fresh, old, engine, drive, settings).close()
    finally:
        engine.close()
        if old is not None:
            old.close()
    folder.put_catalog(fresh)
    return Catalog.open(folder.catalog)


def _explain(folder: Folder, drive: DriveRow, error: FormatError) -> None:
    """Say so if the drive is another store's."""
    label = probe.find_label(folder.drive)
    if label is not None and label.identity != drive.identity:
        raise FormatError(
            f"the drive {str(folder.drive)!r} is of another store: its identity is {label.identity:016x},"
            f" {drive.identity:016x} is expected; put the right one in its place"
        ) from error
