"""Tenants: who owns volumes and snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, SupportsIndex

from seqstore.directory import Directory
from seqstore.drive import Drive, drive_number
from seqstore.errors import ConfigError, NotFoundError
from seqstore.units import parse_size

if TYPE_CHECKING:
    from seqstore.registry import Registry
    from seqstore.snapshot import Snapshot
    from seqstore.store import Store
    from seqstore.view import Unwritten
    from seqstore.volume import Volume


class Tenant:
    """Somebody whose data nobody else can read. Made by `Store.create_tenant`, found by `Store.tenant`.

    Attributes
    ----------
    number : int
        Names the tenant in the ledger; from 1, never used again.
    store : Store
        Where the tenant is.
    deleted : bool
        Whether the tenant was deleted; it is then of no further use.
    """

    def __init__(self, store: Store, registry: Registry, *, name: str, number: int) -> None:
        self._name = name
        self.number = number
        self.store = store
        self.deleted = False
        self._deleting = False
        self._registry = registry
        self._directory: Directory[Volume] = Directory("volume", registry.lock)

    @property
    def name(self) -> str:
        """The name, unique among the living tenants of the store."""
        return self._name

    def __repr__(self) -> str:
        state = ", deleted" if self.deleted else ", closed" if self._registry.fleet.closed else ""
        return f"<Tenant {self.name!r}, number {self.number}{state}>"

    @property
    def volumes(self) -> tuple[Volume, ...]:
        """The tenant's volumes in order of creation.

        Raises
        ------
        NotFoundError
            If the tenant was deleted.
        ClosedError
            If the store was closed.
        """
        self._require_usable()
        return self._directory.items()

    def volume(self, name: str) -> Volume:
        """Return the volume of a name, the same object each time.

        Raises
        ------
        NotFoundError
            If there is none, or the tenant was deleted.
        ClosedError
            If the store was closed.
        """
        self._require_usable()
        return self._directory.find(name)

    def create_volume(
        self,
        name: str,
        size: SupportsIndex | str,
        *,
        unwritten: Unwritten = "zero",
        copies: Literal[1, 2] = 1,
        region: str | None = None,
        drive: Drive | SupportsIndex | None = None,
    ) -> Volume:
        """Make a volume, durably. It takes room on the drive for what is written to it, not for its size.

        Parameters
        ----------
        name : str
            Not yet taken among the tenant's volumes: 1 to 255 bytes of UTF-8 without control characters
            and ``/``.
        size : int or str
            Bytes, or a string such as ``"64MiB"``; need not be a multiple of the block size.
        unwritten : {"zero", "error"}
            What a read of an unwritten address does: give zeros, or raise `UnwrittenError`.
        copies : {1, 2}
            On how many drives it lies, with its snapshots and clones; in different regions if there are such.
        region : str, optional
            Of the drive with the first copy; by default any.
        drive : Drive or int, optional
            That drive itself, or its number; by default the one with the most room.

        Raises
        ------
        ConfigError
            If the name is taken, an argument cannot be used, or there are no such drives.
        OutOfSpaceError, MediumError
            If the drive has no room for the entry, or fails.
        AccessError
            If the store was opened for reading alone.
        NotFoundError
            If the tenant was deleted.
        ClosedError
            If the store was closed.
        """
        size_bytes = parse_size(size)
        if not size_bytes:
            raise ConfigError("size is 0; a volume has at least 1 byte")
        if unwritten not in ("zero", "error"):
            raise ConfigError(f"unwritten is {unwritten!r}; 'zero' or 'error' is expected")
        if copies not in (1, 2) or isinstance(copies, bool):
            raise ConfigError(f"copies is {copies!r}; 1 or 2 is expected")
        number = None if drive is None else drive_number(drive)
        with self._registry.lock:
            self._require_usable()
            return self._registry.create_volume(
                self, name, size_bytes, unwritten, copies=copies, region=region, drive=number
            )

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """The snapshots of the tenant's volumes in order of creation, those of deleted volumes included.

        Raises
        ------
        NotFoundError
            If the tenant was deleted.
        ClosedError
            If the store was closed.
        """
        self._require_usable()
        return tuple(snapshot for snapshot in self._registry.snapshots() if snapshot.tenant is self)

    def delete(self) -> None:
        """Delete the tenant with its volumes and snapshots; their bytes stay until the head writes over them.

        Deleted tenants do not come back: where the deletion is cut short by a crash, the next opening of the
        store completes it. Clones that were given to other tenants stay.

        Raises
        ------
        NotFoundError
            If the tenant was deleted before.
        AccessError
            If the store was opened for reading alone.
        MediumError
            If the medium fails.
        ClosedError
            If the store was closed.
        """
        with self._registry.lock:
            self._require_usable()
            self._registry.delete_tenant(self)

    def _require_living(self) -> None:
        """Raise `NotFoundError` if the tenant was deleted, or its deletion was begun."""
        if self.deleted or self._deleting:
            raise NotFoundError(f"tenant {self.name!r} was deleted")

    def _require_usable(self) -> None:
        self._registry.fleet.require_open()
        if self.deleted:
            raise NotFoundError(f"tenant {self.name!r} was deleted")
