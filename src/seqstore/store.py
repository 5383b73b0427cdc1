"""The store: what a program makes first, and what puts the parts together."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, SupportsIndex

from seqstore._native.records import NO_ADDRESS, Scope
from seqstore.cleaning import check_policy
from seqstore.drive import Drive
from seqstore.engine import Engine
from seqstore.errors import ConfigError
from seqstore.media import MemoryMedium, TagsMedium
from seqstore.stats import Remanence, Stats
from seqstore.tenants import Directory, Tenant
from seqstore.units import format_size
from seqstore.volume import Volume

if TYPE_CHECKING:
    from typing_extensions import Self

_PPM = 1_000_000


class Store:
    """Drives, and the tenants whose volumes lie on them. Made by `memory` or `simulated`.

    A store is a context manager that closes it. Any number of threads may use one store.
    """

    def __init__(self, medium: MemoryMedium | TagsMedium, *, reserve: float, verify: bool) -> None:
        if not isinstance(verify, bool):
            raise ConfigError(f"verify is {verify!r}; True or False is expected")
        self._engine = Engine(medium, drive=0, reserve_ppm=_parse_reserve(reserve), verify=verify)
        self._drive = Drive(medium, self._engine)
        self._tenants: Directory[Tenant] = Directory("tenant", threading.RLock())
        self._numbers = itertools.count(1)

    @classmethod
    def memory(
        cls,
        capacity: SupportsIndex | str,
        *,
        block_size: SupportsIndex | str = 4096,
        segment_size: SupportsIndex | str | None = None,
        reserve: float = 0.07,
        selection: str = "fifo",
        placement: str = "single",
        verify: bool = True,
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
        selection : {"fifo"}
            Which segment is cleaned next: the oldest.
        placement : {"single"}
            Where the cleaner moves live blocks: to the one open segment.
        verify : bool
            Whether reads check the block's checksum. They check its owner in any case.

        Raises
        ------
        ConfigError
            If an option cannot be used; the message names what can.
        MemoryError
            If there is not enough memory.
        """
        check_policy(selection, placement)
        medium = MemoryMedium(capacity, block_size=block_size, zone_size=segment_size)
        return cls(medium, reserve=reserve, verify=verify)

    @classmethod
    def simulated(
        cls,
        capacity: SupportsIndex | str,
        *,
        block_size: SupportsIndex | str = 4096,
        segment_size: SupportsIndex | str | None = None,
        reserve: float = 0.07,
        selection: str = "fifo",
        placement: str = "single",
        verify: bool = True,
    ) -> Store:
        """Make a store that keeps who wrote what where, and no bytes, so that terabytes fit into memory.

        It is written with ``volume.write_blocks(lba, None)``. The options are those of `memory`; there are
        no checksums to verify.

        Raises
        ------
        ConfigError
            If an option cannot be used; the message names what can.
        MemoryError
            If there is not enough memory.
        """
        check_policy(selection, placement)
        medium = TagsMedium(capacity, block_size=block_size, zone_size=segment_size)
        return cls(medium, reserve=reserve, verify=verify)

    # ---- life -------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the store was closed."""
        return self._engine.closed

    def close(self) -> None:
        """Wait for the calls under way and free the memory. Closing again does nothing."""
        self._engine.close()
        self._drive.medium.close()

    def __enter__(self) -> Self:
        self._engine.require_open()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        kind = "memory" if self._drive.medium.keeps_bytes else "simulated"
        state = ", closed" if self.closed else f", {len(self.tenants)} tenants"
        return f"<Store, {kind}, {format_size(self._drive.capacity)}{state}>"

    # ---- tenants ----------------------------------------------------------------------------

    @property
    def tenants(self) -> tuple[Tenant, ...]:
        """The tenants in order of creation.

        Raises
        ------
        ClosedError
            If the store was closed.
        """
        self._engine.require_open()
        return self._tenants.items()

    def tenant(self, name: str) -> Tenant:
        """Return the tenant of a name, the same object each time.

        Raises
        ------
        NotFoundError
            If there is none.
        ClosedError
            If the store was closed.
        """
        self._engine.require_open()
        return self._tenants.find(name)

    def create_tenant(self, name: str) -> Tenant:
        """Make a tenant.

        Parameters
        ----------
        name : str
            Not yet taken: 1 to 255 bytes of UTF-8 without control characters and ``/``.

        Raises
        ------
        ConfigError
            If the name is taken, or is none.
        ClosedError
            If the store was closed.
        """
        self._engine.require_open()

        def make() -> Tenant:
            number = next(self._numbers)
            return Tenant(self, self._engine, name=name, number=number, directory=self._tenants)

        return self._tenants.add(name, make)

    # ---- what is where, and what was done -----------------------------------------------------

    @property
    def block_size(self) -> int:
        """Bytes of a block."""
        return self._drive.block_size

    @property
    def drives(self) -> tuple[Drive, ...]:
        """The drives: one."""
        return (self._drive,)

    def stats(self) -> Stats:
        """Return the counters, which run from the store's making, and the gauges.

        Raises
        ------
        ClosedError
            If the store was closed.
        """
        counters = self._engine.counters()
        del counters["head_mba"]
        return Stats(**counters)

    def remanence(self, tenant: Tenant | Volume | str | None = None) -> Remanence:
        """Say how much residue there is, of everybody or of one owner.

        Parameters
        ----------
        tenant : Tenant, Volume or str, optional
            The owner; a deleted one leaves residue too. A string is the name of a tenant.

        Raises
        ------
        ConfigError
            If it is of another store, or of the wrong kind.
        NotFoundError
            If there is no tenant of that name.
        ClosedError
            If the store was closed.
        """
        residue, moved, oldest, position = self._engine.remanence(*self._scope(tenant))
        oldest_writes = oldest_laps = None
        if oldest != NO_ADDRESS:
            oldest_writes = position - oldest
            oldest_laps = oldest_writes / self._drive.blocks
        return Remanence(
            blocks=residue,
            bytes=residue * self.block_size,
            moved_blocks=moved,
            oldest_writes=oldest_writes,
            oldest_laps=oldest_laps,
        )

    def check(self) -> None:
        """Walk every structure of the engine and compare them: slow, for tests and after doubts.

        Raises
        ------
        InvariantError
            If the engine contradicts itself, which is a bug in seqstore.
        ClosedError
            If the store was closed.
        """
        self._engine.check()

    def _scope(self, owner: Tenant | Volume | str | None) -> tuple[Scope, int]:
        if owner is None:
            return Scope.ALL, 0
        if isinstance(owner, str):
            owner = self.tenant(owner)
        if isinstance(owner, Tenant):
            scope, store = Scope.TENANT, owner.store
        elif isinstance(owner, Volume):
            scope, store = Scope.VOLUME, owner.tenant.store
        else:
            raise ConfigError(f"tenant is {owner!r}; a tenant, a volume or the name of a tenant is expected")
        if store is not self:
            raise ConfigError(f"{owner!r} is of another store; ask that one")
        return scope, owner.number


def _parse_reserve(reserve: object) -> int:
    """Check the share that is kept back for cleaning, and return it in millionths."""
    if not isinstance(reserve, (int, float)) or not 0 <= reserve < 1:
        raise ConfigError(f"reserve is {reserve!r}; a number from 0 to below 1 is expected, such as 0.07")
    return min(round(reserve * _PPM), _PPM - 1)
