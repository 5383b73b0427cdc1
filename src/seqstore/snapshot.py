"""Snapshots: what a volume showed at one moment, for reading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from seqstore.errors import ConfigError
from seqstore.view import View
from seqstore.volume_io import VolumeIO

if TYPE_CHECKING:
    from seqstore.tenants import Tenant
    from seqstore.volume import Volume


class Snapshot(View):
    """A frozen view of a volume, of the volume's tenant. It outlives the volume.

    Made by `Volume.snapshot`, found by `Volume.find_snapshot` and in `Tenant.snapshots`. It is read as a
    volume is, and never changes.

    Attributes
    ----------
    tenant : Tenant
        The owner.
    unwritten : {"zero", "error"}
        What a read of an unwritten address does: give zeros, or raise `UnwrittenError`.
    deleted : bool
        Whether the snapshot was deleted; it is then of no further use.
    """

    def delete(self) -> None:
        """Delete the snapshot. Bytes that nobody else shows stay on the medium until they are written over.

        A deleted snapshot does not come back after a crash.

        Raises
        ------
        NotFoundError
            If the snapshot was deleted before.
        AccessError
            If the store was opened for reading alone.
        MediumError
            If the medium fails.
        ClosedError
            If the store was closed.
        """
        self._registry.delete(self)

    @property
    def volume_number(self) -> int:
        """Number of the volume that it was taken of, which may have been deleted."""
        return self._origin

    @property
    def origin(self) -> Volume | None:
        """The volume that it was taken of; None if that was deleted."""
        volume = self._registry.find(self._origin)
        return None if volume is None or isinstance(volume, Snapshot) else volume

    def clone(self, name: str, *, tenant: Tenant | None = None) -> Volume:
        """Make a volume that begins as the snapshot is. Nothing is copied; it takes room for what it changes.

        Parameters
        ----------
        name : str
            Not yet taken among the tenant's volumes: 1 to 255 bytes of UTF-8 without control characters
            and ``/``.
        tenant : Tenant, optional
            Who gets it, and with it the right to read everything in the snapshot; by default its owner.

        Raises
        ------
        ConfigError
            If the name is taken, or is none, or the tenant is of another store.
        OutOfSpaceError, MediumError
            If the drive has no room for the entry, or fails.
        AccessError
            If the store was opened for reading alone.
        NotFoundError
            If the snapshot or the tenant was deleted.
        ClosedError
            If the store was closed.
        """
        self._require()
        return self._registry.create_clone(self, name, self.tenant if tenant is None else tenant)

    def open(self, mode: Literal["rb"] = "rb") -> VolumeIO:
        """Open the snapshot as an unbuffered file for reading; see `VolumeIO`.

        Raises
        ------
        ConfigError
            If the mode is another one.
        NotFoundError
            If the snapshot was deleted.
        ClosedError
            If the store was closed.
        """
        self._require()
        if mode != "rb":
            raise ConfigError(f"mode is {mode!r}; a snapshot is for reading, 'rb'")
        return VolumeIO(self, mode)
