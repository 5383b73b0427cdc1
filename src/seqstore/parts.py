"""What a store is put together from, and what is asked of its logs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from seqstore.catalog import Catalog, DriveRow, Settings
from seqstore.cleaning import CUSTOM, PlacementFunction, Policy, SelectionFunction
from seqstore.engine import Engine
from seqstore.errors import ConfigError
from seqstore.fleet import Fleet, Member
from seqstore.recovery import Recovery, make_recovery

if TYPE_CHECKING:
    from seqstore.encryption import Encryption
    from seqstore.media.native import NativeMedium

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
    draw : callable, optional
        Draws such numbers for further drives.
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
    draw: Callable[[], int] | None = None
    encryption: Encryption | None = None
    policy: Policy | None = None
    selection: SelectionFunction | None = None
    placement: PlacementFunction | None = None

    def for_another(self) -> Options:
        """Return the same for another drive, with numbers of its own: none is ever used for two logs."""
        assert self.draw is not None
        return replace(self, opening=self.draw(), sealing=self.draw())

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
    fleet : Fleet
        The drives in use.
    catalog : Catalog
    options : Options
        Of this opening, for drives that come later.
    encryption : Encryption or None
        The keys, where blocks are encrypted.
    is_new : bool
        Whether the store was made just now.
    rebuilt : bool
        Whether the catalog was made anew from the log.
    missing : dict of int to str
        Drives that were to be in use and are not there, and why.
    spare : list of Member
        Drives that went out of use since, and whose media the store still holds.
    """

    fleet: Fleet
    catalog: Catalog
    options: Options
    encryption: Encryption | None = None
    is_new: bool = False
    rebuilt: bool = False
    missing: dict[int, str] = field(default_factory=dict)
    spare: list[Member] = field(default_factory=list)

    @property
    def engine(self) -> Engine:
        """The log of the first drive."""
        return self.fleet.first.engine

    @property
    def medium(self) -> NativeMedium:
        """The medium of the first drive."""
        return self.fleet.first.medium

    @property
    def is_own_medium(self) -> bool:
        """Whether the store closes that."""
        return self.fleet.first.is_own_medium

    @property
    def recovery(self) -> Recovery | None:
        """What opening the first drive found; None for a new store."""
        found = self.fleet.first.recovery
        return None if found is None else make_recovery(found)

    def note_flushed(self) -> None:
        """Let the catalog remember how much is known to be on the media."""
        for member in self.fleet:
            self.catalog.note_flushed(member.number, member.engine.counters()["flushed_sequence"])

    def close(self, *, finish: bool) -> None:
        """Give everything back, whatever fails; with `finish` as a clean end.

        In a process that was forked from the one that opened the store nothing is given back: all is its
        parent's.
        """
        if self.fleet.disowned:
            _left_by_forks.append(self)
            for member in self.fleet:
                member.engine.close()
            return
        with ExitStack() as ending:
            for member in [*self.fleet, *self.spare]:
                ending.callback(member.close_medium)
            ending.callback(self.catalog.close)
            if self.encryption is not None:
                ending.callback(self.encryption.close)
            for member in self.fleet:
                ending.callback(member.engine.close)
            for member in self.fleet if finish else ():
                ending.callback(self._finish, member)

    def _finish(self, member: Member) -> None:
        if member.engine.durable:
            member.engine.finish()
            self.catalog.note_flushed(member.number, member.engine.counters()["flushed_sequence"])
