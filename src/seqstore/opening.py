"""The parts of a store, log and catalog, made or opened on a medium, and given back if one of them fails."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from seqstore import probe
from seqstore._native.status import SEALED_VERSION
from seqstore.catalog import Catalog, DriveRow, Settings
from seqstore.drive_facts import FactTable
from seqstore.engine import Engine
from seqstore.errors import ConfigError, FormatError, LostWritesError, MediumError, VersionError
from seqstore.fleet import Fleet, Member
from seqstore.media import MemoryMedium, TagsMedium
from seqstore.parts import Options, Parts
from seqstore.recovery import rebuild

if TYPE_CHECKING:
    from pathlib import Path

    from seqstore.encryption import KeySource
    from seqstore.media.native import NativeMedium

_DRIVE = 0


def describe(medium: NativeMedium, identity: int, opening: int, number: int = _DRIVE) -> DriveRow:
    """Describe a new drive to the catalog."""
    return DriveRow(
        number=number,
        identity=identity,
        block_size=medium.block_size,
        zone_blocks=medium.zone_blocks,
        blocks=medium.blocks,
        flushed_sequence=0,
        openings=(opening,),
    )


def make_parts(
    medium: NativeMedium,
    catalog: Path | None,
    *,
    identity: int,
    settings: Settings,
    options: Options,
    is_own_medium: bool = True,
) -> Parts:
    """Make a log on a new medium, and a catalog beside it."""
    drive = describe(medium, identity, options.opening)
    engine = options.open_engine(medium, drive, settings, recover=False)
    try:
        tables = Catalog.create(catalog, settings, drive)
    except BaseException:
        engine.close()
        raise
    member = Member(_DRIVE, medium, engine, is_own_medium, tables.placements)
    return Parts(
        fleet=Fleet([member]),
        catalog=tables,
        options=options,
        encryption=options.encryption,
        is_new=True,
    )


def make_on(
    medium: NativeMedium,
    catalog: Path | None,
    *,
    identity: int,
    settings: Settings,
    options: Options,
    keys: tuple[KeySource, Path | None],
) -> Parts:
    """Make the parts of a store on a medium of the caller's; keys: the source, and the file of the area."""
    source, path = keys
    if path is not None and isinstance(medium, (MemoryMedium, TagsMedium)):
        raise ConfigError(f"{medium!r} is gone with the process; encryption is for media that outlive it")
    encryption = source.create(path)
    try:
        options = replace(options, encryption=encryption)
        return make_parts(
            medium, catalog, identity=identity, settings=settings, options=options, is_own_medium=False
        )
    except BaseException:
        if encryption is not None:
            encryption.discard()
        raise


def open_parts(
    media: Mapping[int, NativeMedium],
    catalog: Catalog,
    *,
    options: Options,
    is_own_medium: bool,
    rebuilt: bool,
    missing: dict[int, str] | None = None,
    go_on: bool = False,
) -> Parts:
    """Open the logs on the media of the drives that the catalog knows.

    Parameters
    ----------
    media : mapping of int to NativeMedium
        By number of the drive.
    catalog : Catalog
    options : Options
    is_own_medium : bool
        Whether the store closes the media.
    rebuilt : bool
        Whether the catalog was made anew.
    missing : dict of int to str, optional
        Drives that are not there, and why; it is kept.
    go_on : bool
        Whether to go on without drives that cannot be opened, as long as there is one.
    """
    missing = {} if missing is None else missing
    members: list[Member] = []
    settings = catalog.settings
    with ExitStack() as undo:
        for drive in catalog.drives:
            medium = media.get(drive.number)
            if medium is None:
                continue
            try:
                own = options if not members else options.for_another()
                member = _open_member(medium, drive, catalog, settings, own, is_own_medium=is_own_medium)
            except (FormatError, MediumError) as error:
                if not go_on or isinstance(error, VersionError):
                    raise
                missing[drive.number] = str(error)
                if is_own_medium:
                    medium.close()
                continue
            undo.callback(member.engine.close)
            members.append(member)
        if not members:
            reasons = "; ".join(f"drive {number}: {reason}" for number, reason in missing.items())
            raise MediumError(f"no drive of the store can be used: {reasons}")
        undo.pop_all()
    return Parts(
        fleet=Fleet(members),
        catalog=catalog,
        options=options,
        encryption=options.encryption,
        rebuilt=rebuilt,
        missing=missing,
    )


def _open_member(
    medium: NativeMedium,
    drive: DriveRow,
    catalog: Catalog,
    settings: Settings,
    options: Options,
    *,
    is_own_medium: bool,
) -> Member:
    if not options.read_only:
        options = _note_attempt(catalog, drive, options)
    engine = open_log(medium, drive, settings, options)
    try:
        recovery = engine.recovery or {}
        if not options.read_only:
            catalog.note_openings(drive.number, (recovery["opening"], options.opening))
        flushed = engine.counters()["flushed_sequence"]
        if flushed != drive.flushed_sequence and not options.read_only:
            # After a crash the log knows more than the catalog. Noted, so that a later opening misses it.
            catalog.note_flushed(drive.number, flushed)
    except BaseException:
        engine.close()
        raise
    return Member(drive.number, medium, engine, is_own_medium, catalog.placements, recovery)


def _note_attempt(catalog: Catalog, drive: DriveRow, options: Options) -> Options:
    """Let the catalog know what the drive may learn of this opening.

    The drive knows the opening before the last one or, if that one wrote, the last one. Of attempts that
    failed there may have been any number; they all use one name.
    """
    known, attempts = drive.openings[:2], drive.openings[2:]
    opening = attempts[0] if attempts else options.opening
    catalog.note_openings(drive.number, (*known, opening))
    return replace(options, opening=opening)


def open_log(medium: NativeMedium, drive: DriveRow, settings: Settings, options: Options) -> Engine:
    """Open the log on a medium, which must be divided as the catalog says."""
    found = (medium.blocks, medium.block_size, medium.zone_blocks)
    expected = (drive.blocks, drive.block_size, drive.zone_blocks)
    if found != expected:
        raise FormatError(
            f"the drive is divided otherwise than the catalog says: {found} blocks, bytes of a block and"
            f" blocks of a segment, {expected} are expected; use the medium that the store was made on"
        )
    try:
        return options.open_engine(medium, drive, settings, recover=True)
    except LostWritesError as error:
        if options.check_flushed:
            error.args = (f"{error}; where opening without check_flushed=True succeeds, less is lost",)
        raise


def label_of(medium: NativeMedium) -> probe.Label | None:
    """Read the label of a medium that is divided already."""
    for zone in range(medium.zones):
        mba = zone * medium.zone_blocks
        label = probe.parse_label(medium.read(mba, 1), mba * medium.block_size)
        if label is not None:
            return label
    return None


def row_of_label(label: probe.Label | None, where: str, number: int = _DRIVE) -> DriveRow:
    """Describe a drive of which the catalog says nothing.

    Raises
    ------
    FormatError, VersionError
        If there is no drive of a known format.
    """
    if label is None:
        raise FormatError(f"{where} holds no record of seqstore; the catalog cannot be made from it")
    if label.version > SEALED_VERSION:
        raise VersionError(
            f"{where} is of format {label.version}; this version of seqstore knows up to {SEALED_VERSION};"
            " use a newer one",
            found=label.version,
            expected=SEALED_VERSION,
        )
    return DriveRow(
        number=number,
        identity=label.identity,
        block_size=label.block_size,
        zone_blocks=label.zone_blocks,
        blocks=label.blocks,
        flushed_sequence=0,
    )


def open_medium(
    media: Mapping[int, NativeMedium],
    path: Path | None,
    *,
    options: Options,
    settings: Settings,
    keys: tuple[KeySource, Path | None],
    go_on: bool = False,
) -> Parts:
    """Open the store on media of the caller's.

    Parameters
    ----------
    media : mapping of int to NativeMedium
        By number of the drive.
    path : Path or None
        The catalog's file; None makes one in memory from the logs.
    options : Options
    settings : Settings
        Stand in where there is no catalog to say it.
    keys : tuple
        Where the root key comes from, and the file of the key area.
    go_on : bool
        Whether to go on without drives that are missing.
    """
    encryption = keys[0].open(keys[1], read_only=options.read_only)
    options = replace(options, encryption=encryption)
    try:
        return _open_medium(media, path, options, settings, go_on=go_on)
    except BaseException:
        if encryption is not None:
            encryption.close()
        raise


def _open_medium(
    media: Mapping[int, NativeMedium],
    path: Path | None,
    options: Options,
    settings: Settings,
    *,
    go_on: bool,
) -> Parts:
    if path is not None:
        catalog = Catalog.open(path, read_only=options.read_only)
    else:
        rows = {
            number: row_of_label(label_of(medium), repr(medium), number) for number, medium in media.items()
        }
        catalog = rebuild_from(
            None, None, media, list(rows.values()), settings, options=replace(options, read_only=True)
        )
    try:
        missing = missing_drives(catalog, media, go_on=go_on)
        return open_parts(
            {number: media[number] for number in media if number not in out_of_use(catalog)},
            catalog,
            options=options,
            is_own_medium=False,
            rebuilt=path is None,
            missing=missing,
            go_on=go_on,
        )
    except BaseException:
        catalog.close()
        raise


def rebuild_from(
    path: Path | None,
    old: Catalog | None,
    media: Mapping[int, NativeMedium],
    drives: list[DriveRow],
    settings: Settings,
    *,
    options: Options,
) -> Catalog:
    """Make a catalog anew from the logs on media; see `seqstore.recovery.rebuild`."""
    with ExitStack() as ending:
        logs: list[tuple[DriveRow, Engine | None]] = []
        for drive in drives:
            engine = None
            if drive.number in media:
                own = options if not logs else options.for_another()
                engine = open_log(media[drive.number], drive, settings, own)
                ending.callback(engine.close)
            logs.append((drive, engine))
        return rebuild(path, old, logs, settings)


def out_of_use(catalog: Catalog) -> set[int]:
    """Return the drives that the store has put out of service."""
    facts = FactTable(catalog.database, catalog.settings.created_ns)
    return {drive.number for drive in catalog.drives if not facts.get(drive.number).is_in_use}


def missing_drives(catalog: Catalog, media: Mapping[int, object], *, go_on: bool) -> dict[int, str]:
    """Return the drives that are to be in use and are not there.

    Raises
    ------
    MediumError
        If there are any, unless `go_on`.
    """
    retired = out_of_use(catalog)
    missing = {
        drive.number: "it is not there"
        for drive in catalog.drives
        if drive.number not in media and drive.number not in retired
    }
    if missing and not go_on:
        raise MediumError(
            f"drives {sorted(missing)} of the store are missing; bring them back, or open the store with"
            " missing='go on': what has a copy elsewhere is there then, and Store.losses() lists the rest"
        )
    return missing
