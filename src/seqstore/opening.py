"""The parts of a store, log and catalog, made or opened on a medium, and given back if one of them fails."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from seqstore import probe
from seqstore._native.status import SEALED_VERSION
from seqstore.catalog import Catalog, DriveRow, Settings
from seqstore.cleaning import CUSTOM, PlacementFunction, Policy, SelectionFunction
from seqstore.engine import Engine
from seqstore.errors import ConfigError, FormatError, LostWritesError, VersionError
from seqstore.media import MemoryMedium, TagsMedium
from seqstore.recovery import Recovery, make_recovery, rebuild

if TYPE_CHECKING:
    from pathlib import Path

    from seqstore.encryption import Encryption
    from seqstore.key_source import KeySource
    from seqstore.media.native import NativeMedium

_DRIVE = 0
_left_by_forks: list[Parts] = []  # kept, so that their ends are not called in the wrong process


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked of a log, new or old.

    Attributes
    ----------
    verify : bool
        Whether reads check the checksum.
    checkpoint_bytes : int
        A checkpoint after so much of the log; 0 leaves it to the core.
    read_only, accept_loss, check_flushed : bool
        For a log that is there already.
    opening : int
        Random number that names this opening on the drive.
    sealing : int
        Another one, never used again: blocks are encrypted under keys that are derived with it.
    encryption : Encryption, optional
        The keys of a store whose blocks are encrypted.
    policy : Policy, optional
        Of a new log.
    selection, placement : callable, optional
        Those of an old log, if it was made with functions.
    """

    verify: bool
    checkpoint_bytes: int = 0
    read_only: bool = False
    accept_loss: bool = False
    check_flushed: bool = False
    opening: int = 0
    sealing: int = 0
    encryption: Encryption | None = None
    policy: Policy | None = None
    selection: SelectionFunction | None = None
    placement: PlacementFunction | None = None

    def choose_policy(self, settings: Settings) -> Policy:
        """Return the cleaning policy of this opening.

        Raises
        ------
        ConfigError
            If the store was made with a function and none is given now, or the other way round, or the
            catalog names a policy that does not exist.
        """
        if self.policy is not None:
            return self.policy
        given = {"selection": self.selection, "placement": self.placement}
        kept = {"selection": settings.selection, "placement": settings.placement}
        for name, value in given.items():
            if (value is None) != (kept[name] != CUSTOM):
                # Recovery relies on the order in which a named policy frees segments.
                wanted = f"open it with {name}=..." if value is None else "it keeps that"
                raise ConfigError(f"the store was made with {name}={kept[name]!r}; {wanted}")
        return Policy(
            selection=self.selection or settings.selection,
            placement=self.placement or settings.placement,
            classes=settings.classes,
            seed=settings.seed,
        )

    def for_log(self, drive: DriveRow, settings: Settings) -> dict[str, Any]:
        """Return the fields of ``struct sq_log_options``."""
        return {
            "drive": drive.identity,
            "reserve_ppm": settings.reserve_ppm,
            "verify": self.verify,
            "read_only": self.read_only,
            "accept_loss": self.accept_loss,
            "check_flushed": self.check_flushed,
            "checkpoint_blocks": -(-self.checkpoint_bytes // drive.block_size),
            "expect_sequence": drive.flushed_sequence,
            "opening": self.opening,
            "expect_openings": list(drive.openings),
            "sealed": self.encryption is not None,
            "sealing": self.sealing,
        }

    def open_engine(
        self, medium: NativeMedium, drive: DriveRow, settings: Settings, *, recover: bool
    ) -> Engine:
        """Make a log on a medium, or open the one that is there."""
        policy = self.choose_policy(settings)
        ring = None if self.encryption is None else self.encryption.ring
        numbers = {**self.for_log(drive, settings), **policy.for_log()}
        return Engine(medium, recover=recover, policy=policy.calls(), ring=ring, **numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a store is put together from.

    Attributes
    ----------
    medium : NativeMedium
    is_own_medium : bool
        Whether the store closes it.
    engine : Engine
    catalog : Catalog
    encryption : Encryption or None
        The keys, where blocks are encrypted.
    recovery : Recovery or None
        None for a new store.
    rebuilt : bool
        Whether the catalog was made anew from the log.
    """

    medium: NativeMedium
    is_own_medium: bool
    engine: Engine
    catalog: Catalog
    encryption: Encryption | None = None
    recovery: Recovery | None = None
    rebuilt: bool = False

    def note_flushed(self) -> None:
        """Let the catalog remember how much is known to be on the medium."""
        self.catalog.note_flushed(_DRIVE, self.engine.counters()["flushed_sequence"])

    def close(self, *, finish: bool) -> None:
        """Give everything back, whatever fails; with `finish` as a clean end.

        In a process that was forked from the one that opened the store nothing is given back: all is its
        parent's.
        """
        if self.engine.disowned:
            _left_by_forks.append(self)
            self.engine.close()
            return
        with ExitStack() as ending:
            if self.is_own_medium:
                ending.callback(self.medium.close)
            ending.callback(self.catalog.close)
            if self.encryption is not None:
                ending.callback(self.encryption.close)
            ending.callback(self.engine.close)
            if finish and self.engine.durable:
                self.engine.finish()
                self.note_flushed()


def describe(medium: NativeMedium, identity: int, opening: int) -> DriveRow:
    """Describe a drive to the catalog of a new store."""
    return DriveRow(
        number=_DRIVE,
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
    return Parts(
        medium=medium,
        is_own_medium=is_own_medium,
        engine=engine,
        catalog=tables,
        encryption=options.encryption,
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
    medium: NativeMedium, catalog: Catalog, *, options: Options, is_own_medium: bool, rebuilt: bool
) -> Parts:
    """Open the log on a medium that the catalog knows."""
    drive = catalog.drive
    if not options.read_only:
        options = _note_attempt(catalog, drive, options)
    engine = open_log(medium, drive, catalog.settings, options)
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
    return Parts(
        medium=medium,
        is_own_medium=is_own_medium,
        engine=engine,
        catalog=catalog,
        encryption=options.encryption,
        recovery=make_recovery(recovery),
        rebuilt=rebuilt,
    )


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


def row_of_label(label: probe.Label | None, where: str) -> DriveRow:
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
        number=_DRIVE,
        identity=label.identity,
        block_size=label.block_size,
        zone_blocks=label.zone_blocks,
        blocks=label.blocks,
        flushed_sequence=0,
    )


def open_medium(
    medium: NativeMedium,
    path: Path | None,
    *,
    options: Options,
    settings: Settings,
    keys: tuple[KeySource, Path | None],
) -> Parts:
    """Open the store on a medium of the caller's.

    Parameters
    ----------
    medium : NativeMedium
    path : Path or None
        The catalog's file; None makes one in memory from the log.
    options : Options
    settings : Settings
        Stand in where there is no catalog to say it.
    keys : tuple
        Where the root key comes from, and the file of the key area.
    """
    encryption = keys[0].open(keys[1], read_only=options.read_only)
    options = replace(options, encryption=encryption)
    try:
        return _open_medium(medium, path, options, settings)
    except BaseException:
        if encryption is not None:
            encryption.close()
        raise


def _open_medium(medium: NativeMedium, path: Path | None, options: Options, settings: Settings) -> Parts:
    if path is not None:
        catalog = Catalog.open(path, read_only=options.read_only)
    else:
        drive = row_of_label(label_of(medium), repr(medium))
        engine = open_log(medium, drive, settings, replace(options, read_only=True))
        try:
            catalog = rebuild(None, None, engine, drive, settings)
        finally:
            engine.close()
    try:
        return open_parts(medium, catalog, options=options, is_own_medium=False, rebuilt=path is None)
    except BaseException:
        catalog.close()
        raise
