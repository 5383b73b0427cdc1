"""The store: what a program makes first, and what puts the parts together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import FunctionType
from typing import TYPE_CHECKING, SupportsIndex

from seqstore.arguments import methods
from seqstore.cleaning import CLASSES, Placement, PlacementFunction, Selection, SelectionFunction
from seqstore.clock import Clock, SystemClock
from seqstore.deletion import Strategy
from seqstore.errors import ConfigError
from seqstore.folder import Folder, StrPath, parse_path
from seqstore.key_source import KeySource
from seqstore.making import make_folder
from seqstore.media import MemoryMedium, TagsMedium
from seqstore.open_store import OpenStore
from seqstore.opening import make_on, make_parts, open_medium
from seqstore.opening_folder import open_folder
from seqstore.options import (
    check_flag,
    check_medium,
    draw_identity,
    make_options,
    make_policy,
    make_settings,
    parse_missing,
)

if TYPE_CHECKING:
    from seqstore.keys import KeyProvider
    from seqstore.media.file import Access
    from seqstore.media.native import NativeMedium
    from seqstore.options import Missing


class Store(OpenStore):
    """Drives, and the tenants whose volumes lie on them.

    Made by `create` and found again by `open`, in a directory; or made by `memory` or `simulated`. A store is
    a context manager that closes it. Any number of threads may use one store, and one process at a time.
    """

    @classmethod
    def memory(
        cls,
        capacity: SupportsIndex | str,
        *,
        block_size: SupportsIndex | str = 4096,
        segment_size: SupportsIndex | str | None = None,
        reserve: float = 0.07,
        selection: Selection = "fifo",
        placement: Placement = "single",
        classes: int = CLASSES,
        seed: int = 0,
        verify: bool = True,
        deletion: Strategy | None = None,
        evidence: bool = False,
        clock: Clock | None = None,
        actor: str | None = None,
    ) -> Store:
        """Make a store with one drive in memory.

        Parameters
        ----------
        capacity : int or str
            Size of the drive, in bytes or as ``"64MiB"``: a multiple of the segment size, at least 4 of
            them.
        block_size : int or str
            A power of two between 512 B and 64 KiB.
        segment_size : int or str, optional
            A multiple of the block size, at least 4 blocks. By default 1 MiB or, on drives below 16 MiB, the
            largest power of two that gives 16 segments.
        reserve : float
            Share of the data capacity that is kept back for cleaning, from 0 to below 1.
        selection, placement : str or callable
            Which segment is cleaned next, and where blocks go: the names, and what functions get, are those
            of `seqstore.cleaning.Policy`.
        classes : int
            Segments that are open at once, for placements that leave it open.
        seed : int
            For selections that draw.
        verify : bool
            Whether reads check the block's checksum. They check its owner in any case.
        deletion : Lap, Deadline or Now, optional
            What happens to deleted bytes; see `seqstore.deletion`. By default they stay until the head comes
            round.
        clock : Clock, optional
            Where the store's time comes from; by default the system's clock.
        evidence : bool
            Whether there is an audit log, and whether the copies of what is deleted are followed, for
            `statement`. It costs a few hundred microseconds a deletion. Stores whose catalog is a file always
            do.
        actor : str, optional
            Who acts, for the audit log; by default the user of the operating system.

        Raises
        ------
        ConfigError
            If an option cannot be used; the message names what can.
        MemoryError
            If there is not enough memory.
        """
        clock, policy = _choose_clock(clock), make_policy(selection, placement, classes, seed)
        settings, options = make_settings(clock, reserve, policy), make_options(verify, policy=policy)
        medium = MemoryMedium(capacity, block_size=block_size, zone_size=segment_size)
        parts = make_parts(medium, None, identity=0, settings=settings, options=options)
        return cls(parts, clock, place="memory", deletion=deletion, actor=actor, evidence=evidence)

    @classmethod
    def simulated(
        cls,
        capacity: SupportsIndex | str,
        *,
        block_size: SupportsIndex | str = 4096,
        segment_size: SupportsIndex | str | None = None,
        reserve: float = 0.07,
        selection: Selection = "fifo",
        placement: Placement = "single",
        classes: int = CLASSES,
        seed: int = 0,
        verify: bool = True,
        deletion: Strategy | None = None,
        evidence: bool = False,
        clock: Clock | None = None,
        actor: str | None = None,
    ) -> Store:
        """Make a store that keeps who wrote what where, and no bytes, so that terabytes fit into memory.

        It is written with ``volume.write_blocks(lba, None)``. Options and errors are those of `memory`; there
        are no checksums to verify.
        """
        clock, policy = _choose_clock(clock), make_policy(selection, placement, classes, seed)
        settings, options = make_settings(clock, reserve, policy), make_options(verify, policy=policy)
        medium = TagsMedium(capacity, block_size=block_size, zone_size=segment_size)
        parts = make_parts(medium, None, identity=0, settings=settings, options=options)
        return cls(parts, clock, place="simulated", deletion=deletion, actor=actor, evidence=evidence)

    @classmethod
    def create(
        cls,
        path: StrPath,
        capacity: SupportsIndex | str,
        *,
        device: StrPath | None = None,
        overwrite_device: bool = False,
        block_size: SupportsIndex | str = 4096,
        segment_size: SupportsIndex | str | None = None,
        reserve: float = 0.07,
        selection: Selection = "fifo",
        placement: Placement = "single",
        classes: int = CLASSES,
        seed: int = 0,
        verify: bool = True,
        deletion: Strategy | None = None,
        checkpoint_interval: SupportsIndex | str | None = None,
        access: Access = "cached",
        preallocate: bool = True,
        encryption: KeyProvider | None = None,
        clock: Clock | None = None,
        actor: str | None = None,
    ) -> Store:
        """Make a store in a directory. It is there when the call returns; a failure leaves nothing behind.

        Parameters
        ----------
        path : path-like
            The directory: an empty one, or one that is made.
        capacity : int or str
            Size of the drive; see `memory`, also for the options that do not stand here.
        device : path-like, optional
            A block device or an existing file to use for the drive. By default a file is made in the
            directory.
        overwrite_device : bool
            Whether the device may hold something, which is lost then. Otherwise one with anything but zeros
            in its first or last MiB is refused; one that holds a drive of seqstore is in any case.
        checkpoint_interval : int or str, optional
            A checkpoint each time that so much was written: after a crash at most that much of the log is
            read. By default it depends on the drive.
        access : {"cached", "direct", "mapped"}
            How the drive's file is used: through the system's cache, past it, or read as mapped memory,
            which halves the time of a small read, and lets the system end the process with ``SIGBUS`` where
            the drive cannot be read; see `FileMedium`.
        preallocate : bool
            Whether the file system sets aside all of the drive at once, so that it cannot run out of room.
        encryption : KeyProvider, optional
            Encrypts all blocks: gives the root key that the store's keys are wrapped with, which lie in the
            file ``keys`` of the directory. See `seqstore.keys`.

        Raises
        ------
        ConfigError
            If an option cannot be used, something is in the way, or the device is too small or not empty.
        MediumError
            If the file system or device fails, or is full.
        AccessError
            If the file system does not let it.
        MemoryError
            If there is not enough memory.
        """
        clock, policy = _choose_clock(clock), make_policy(selection, placement, classes, seed)
        settings = make_settings(clock, reserve, policy, access=access)
        options = make_options(verify, checkpoint_interval, policy=policy)
        parts = make_folder(
            Folder(path),
            capacity,
            None if device is None else parse_path(device, "device"),
            overwrite_device=check_flag(overwrite_device, "overwrite_device"),
            identity=draw_identity(),
            settings=settings,
            options=options,
            geometry={"block_size": block_size, "zone_size": segment_size},
            preallocate=preallocate,
            keys=None if encryption is None else KeySource(encryption, clock.now_ns),
        )
        place = repr(os.fsdecode(path))
        return cls(parts, clock, place=place, deletion=deletion, actor=actor, folder=Folder(path))

    @classmethod
    def open(
        cls,
        path: StrPath,
        *,
        read_only: bool = False,
        missing: Missing = "refuse",
        verify: bool = True,
        access: Access | None = None,
        accept_loss: bool = False,
        check_flushed: bool = False,
        rebuild_catalog: bool = False,
        selection: SelectionFunction | None = None,
        placement: PlacementFunction | None = None,
        checkpoint_interval: SupportsIndex | str | None = None,
        key: KeyProvider | None = None,
        clock: Clock | None = None,
        actor: str | None = None,
    ) -> Store:
        """Open the store in a directory, after `close` or after a crash; `recovery` says what was found.

        Parameters
        ----------
        path : path-like
            The directory.
        read_only : bool
            Whether nothing is changed, on the medium either; changes raise `AccessError`.
        missing : {"refuse", "go on"}
            What to do where drives of several are missing or cannot be opened: raise `MediumError`, or go on
            with what lies on the others; `losses` says what is not there. Copies on drives that were missing
            are not believed when they are back: `rebuild` makes new ones.
        verify, checkpoint_interval, clock, actor
            As in `create`.
        access : {"cached", "direct", "mapped"}, optional
            As in `create`; by default what was chosen there.
        accept_loss : bool
            Whether to go on where records are missing that the drive had reported as flushed, or are damaged.
            The newest state that is whole stays; all that came after it is given up for good, unless the
            store is opened with `read_only`.
        check_flushed : bool
            Whether to read also what was flushed since the last checkpoint, for drives whose sync may lie.
        rebuild_catalog : bool
            Whether to make the catalog anew from the log, where it is gone, damaged or too old. Names that
            the old one does not hold become ``tenant-1``, ``volume-2``, ``snapshot-3`` by the numbers; it is
            kept as ``catalog.db.old-1``. Tenants without volumes are not in the log.
        selection, placement : callable, optional
            The functions, if the store was made with any; others are known.
        key : KeyProvider, optional
            Where the root key of an encrypted store comes from.

        Raises
        ------
        NotFoundError
            If nothing is there.
        FormatError, CorruptionError
            If it is no store, the drive is another store's, or something is damaged.
        VersionError
            If it is of a newer format.
        LostWritesError
            If records are missing that the drive had reported as flushed.
        MediumError
            If the drive is missing, in use by somebody else, or fails.
        AccessError
            If the file system does not let it, or the root key is another one.
        ConfigError
            If the store is encrypted and no key is given, or the other way round.
        """
        if read_only and rebuild_catalog:
            raise ConfigError("read_only and rebuild_catalog exclude each other; make the catalog anew first")
        clock = _choose_clock(clock)
        options = make_options(
            verify,
            checkpoint_interval,
            read_only=read_only,
            accept_loss=accept_loss,
            check_flushed=check_flushed,
            selection=selection,
            placement=placement,
        )
        parts = open_folder(
            Folder(path),
            options=options,
            access=access,
            rebuild_catalog=rebuild_catalog,
            settings=make_settings(clock),
            keys=KeySource(key, clock.now_ns),
            go_on=parse_missing(missing),
        )
        place = repr(os.fsdecode(path))
        return cls(parts, clock, place=place, read_only=read_only, actor=actor, folder=Folder(path))

    @classmethod
    def create_on(
        cls,
        medium: NativeMedium,
        *,
        catalog: StrPath | None = None,
        reserve: float = 0.07,
        selection: Selection = "fifo",
        placement: Placement = "single",
        classes: int = CLASSES,
        seed: int = 0,
        verify: bool = True,
        deletion: Strategy | None = None,
        checkpoint_interval: SupportsIndex | str | None = None,
        keys: StrPath | None = None,
        encryption: KeyProvider | None = None,
        clock: Clock | None = None,
        actor: str | None = None,
    ) -> Store:
        """Make a store on a medium of the caller's, who also closes it.

        Parameters
        ----------
        medium : NativeMedium
            A new one; what is in it is lost.
        catalog : path-like, optional
            File for the names, not there yet. None keeps them in memory, and `open_on` makes up new ones.
        keys : path-like, optional
            File for the key area of an encrypted store, not there yet; goes with `encryption`.
        encryption : KeyProvider, optional
            As in `create`; not for media in memory.
        reserve, selection, placement, classes, seed, verify, deletion, checkpoint_interval, clock, actor
            As in `create`.

        Raises
        ------
        ConfigError
            If it is no medium.
        ConfigError, MediumError, AccessError, MemoryError
            As `create`.
        """
        clock, policy = _choose_clock(clock), make_policy(selection, placement, classes, seed)
        settings = make_settings(clock, reserve, policy)
        options = make_options(verify, checkpoint_interval, policy=policy)
        key_path = None if keys is None else parse_path(keys, "keys")
        parts = make_on(
            check_medium(medium),
            None if catalog is None else parse_path(catalog, "catalog"),
            identity=draw_identity(),
            settings=settings,
            options=options,
            keys=(KeySource(encryption, clock.now_ns), key_path),
        )
        evidence = catalog is not None
        return cls(parts, clock, place=repr(medium), deletion=deletion, actor=actor, evidence=evidence)

    @classmethod
    def open_on(
        cls,
        medium: NativeMedium | Mapping[int, NativeMedium],
        *,
        catalog: StrPath | None = None,
        read_only: bool = False,
        missing: Missing = "refuse",
        verify: bool = True,
        accept_loss: bool = False,
        check_flushed: bool = False,
        selection: SelectionFunction | None = None,
        placement: PlacementFunction | None = None,
        checkpoint_interval: SupportsIndex | str | None = None,
        keys: StrPath | None = None,
        key: KeyProvider | None = None,
        clock: Clock | None = None,
        actor: str | None = None,
    ) -> Store:
        """Open the store on media of the caller's; parameters and errors as in `open` and `create_on`.

        Where there are several drives, `medium` maps their numbers to media.
        """
        clock = _choose_clock(clock)
        options = make_options(
            verify,
            checkpoint_interval,
            read_only=read_only,
            accept_loss=accept_loss,
            check_flushed=check_flushed,
            selection=selection,
            placement=placement,
        )
        path = None if catalog is None else parse_path(catalog, "catalog")
        key_path = None if keys is None else parse_path(keys, "keys")
        media = dict(medium) if isinstance(medium, Mapping) else {0: medium}
        for each in media.values():
            check_medium(each)
        parts = open_medium(
            media,
            path,
            options=options,
            settings=make_settings(clock),
            keys=(KeySource(key, clock.now_ns), key_path),
            go_on=parse_missing(missing),
        )
        return cls(
            parts, clock, place=repr(medium), read_only=read_only, actor=actor, evidence=path is not None
        )


# What a caller did wrong is said in words that the caller knows: a TypeError names functions by these.
for _base in Store.__mro__[1:-1]:
    for _name, _function in vars(_base).items():
        if isinstance(_function, FunctionType) and not _name.startswith("_"):
            _function.__qualname__ = f"Store.{_name}"


def _choose_clock(clock: Clock | None) -> Clock:
    """Return the clock that was given, or the machine's."""
    if clock is None:
        return SystemClock()
    return methods(clock, ("now_ns", "sleep_ns"), "Clock", "clock", "SystemClock() or ManualClock()")
