"""What a store does about deleted data, for its callers. `seqstore.erasing` does it."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import TYPE_CHECKING, SupportsIndex

from seqstore._native.records import Scope
from seqstore.deletion import Bounds, CryptographicErase, Lap, Plan, Purge, Strategy
from seqstore.errors import ConfigError, SeqstoreError
from seqstore.find import find
from seqstore.promise import Erasure, Promise
from seqstore.snapshot import Snapshot
from seqstore.tenants import Tenant
from seqstore.units import unsigned
from seqstore.volume import Volume

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from seqstore.audit_records import Subject
    from seqstore.drive import Drive
    from seqstore.erasing import Eraser
    from seqstore.evidence_book import EvidenceBook
    from seqstore.fleet import Fleet
    from seqstore.parts import Parts
    from seqstore.registry import Registry
    from seqstore.signing import SigningKey
    from seqstore.statement import Statement
    from seqstore.stats import Remanence
    from seqstore.unseen import Unseen


class DeletingStore:
    """Strategies, purges and remanence of an `OpenStore`."""

    _parts: Parts
    _drives: dict[int, Drive]
    _fleet: Fleet
    _registry: Registry
    _eraser: Eraser
    _book: EvidenceBook
    _unseen: Unseen

    def tenant(self, name: str) -> Tenant:
        """Return the tenant of a name."""
        raise NotImplementedError

    def remanence(self, owner: Tenant | Volume | Snapshot | str | SupportsIndex | None = None) -> Remanence:
        """Say how much residue there is, of everybody or of one owner.

        Parameters
        ----------
        owner : Tenant, Volume, Snapshot, str or int, optional
            By default everybody; a deleted one leaves residue too. A string is the name of a tenant, an int
            the number of one (`Tenant.number`), which outlives name and handle.

        Raises
        ------
        ConfigError
            If it is of another store, or of the wrong kind.
        NotFoundError
            If there is no tenant of that name.
        ClosedError
            If the store was closed.
        """
        scope, number = self._scope(owner)
        found = self._eraser.report(scope, number)
        if len(self._fleet) == len(self._drives):
            return found
        blocks = sum(self._unseen.counted(scope, number).values())
        return replace(
            found,
            blocks=found.blocks + blocks,
            bytes=found.bytes + blocks * self._fleet.first.medium.block_size,
            out_of_use_blocks=blocks,
            uncounted=self._unseen.uncounted(scope, number),
        )

    def find(self, owner: Tenant | Volume | Snapshot | str | SupportsIndex | None = None) -> NDArray[np.void]:
        """List every media block that holds bytes of an owner, live or dead.

        Parameters
        ----------
        owner : optional
            As in `remanence`.

        Returns
        -------
        FIND_DTYPE[n]
            Runs in order of address: drive, first block, blocks, volume, `BlockState`, position of death. A
            drive that nobody can look at, and that may hold some, is one run of all of it, of the state
            `seqstore.find.UNSEEN`.
        """
        drives, asked = [self._drives[member.number] for member in self._fleet], self._scope(owner)
        unseen = [] if len(drives) == len(self._drives) else self._unseen.holders(*asked)
        return find(drives, *asked, placements=self._parts.catalog.placements, unseen=unseen)

    # ---- deletion -----------------------------------------------------------------------------

    @property
    def deletion(self) -> Strategy:
        """What happens to deleted bytes, unless a tenant or volume has a stricter strategy."""
        return self._eraser.strategy(Scope.ALL, 0) or Lap()

    def set_deletion(
        self, strategy: Strategy, owner: Tenant | Volume | str | SupportsIndex | None = None
    ) -> None:
        """Choose what happens to deleted bytes, of the store, a tenant or a volume. The strictest counts.

        What was promised for a deletion before is kept; what lies there without a promise gets the time of
        the smallest bound at least.

        Parameters
        ----------
        strategy : Lap, Deadline, Now or CryptographicErase
        owner : Tenant, Volume, str or int, optional
            By default the store; as in `remanence`.

        Raises
        ------
        BoundError
            If the bound cannot be kept; it names the smallest one that can.
        ConfigError
            If it is no strategy.
        """
        self._registry.require_writable()
        self._require_possible(strategy)
        self._eraser.set(*self._scope(owner), strategy)

    def plan_deletion(
        self,
        strategy: Strategy,
        owner: Tenant | Volume | Snapshot | str | SupportsIndex | None = None,
    ) -> Plan:
        """Say what a strategy will do about the residue that there is: what it touches, costs, and by when.

        Parameters
        ----------
        strategy : Lap, Deadline, Now or CryptographicErase
        owner : optional
            As in `remanence`.
        """
        return self._eraser.plan(*self._scope(owner), strategy)

    def purge(self, owner: Tenant | Volume | Snapshot | str | SupportsIndex | None = None) -> Purge:
        """Write over everything deleted, of everybody or of one owner, now; read back what lies there then.

        Live neighbours move. Everything else waits meanwhile.

        Parameters
        ----------
        owner : optional
            As in `remanence`: a number reaches a deleted tenant, a deleted volume's object the volume.

        Raises
        ------
        CorruptionError
            If the medium does not hold what was written.
        MediumError
            If the medium fails, or has no room left for what has to move.
        AccessError, ClosedError
            If the store was opened for reading alone, or closed.
        """
        self._registry.require_writable()
        scope, number = self._scope(owner)
        self._drop_stale(scope, number)
        done = self._eraser.purge(scope, number)
        out_of_reach = [row.number for row in self._unseen.holders(scope, number)]
        return replace(done, out_of_reach=tuple(out_of_reach))

    def _drop_stale(self, scope: Scope, number: int) -> None:
        """Give up copies that missed a change: what was deleted since lives on in them, read by nobody."""
        with self._registry.lock:
            for row in self._parts.catalog.volumes() if len(self._parts.catalog.placements) else ():
                mine = {
                    Scope.ALL: True,
                    Scope.TENANT: row.tenant == number,
                    Scope.VOLUME: row.number == number,
                }
                if mine[scope]:
                    self._registry.placer.drop_stale(row.number)

    @property
    def deletion_failure(self) -> SeqstoreError | None:
        """What went wrong with erasing that nobody waited for, or None.

        That is the last look of the thread which keeps deadlines in seconds, or a purge that a crash had cut
        off and for which the opening found no room: give up data, and call `purge` or open the store again.
        Or a drive did not tell which copies a deletion has left there: that is asked again by the next
        deletion, purge, scrub, statement or `idle`, and until then nothing is stated of them.
        """
        return self._eraser.failure or self._book.failure

    def idle(self, seconds: float) -> None:
        """Let time pass on the store's clock, and keep deadlines in seconds meanwhile.

        Parameters
        ----------
        seconds : float
            At least 0.
        """
        self._registry.require_writable()
        if not 0 <= seconds < float("inf"):
            raise ConfigError(f"seconds is {seconds!r}; a number from 0 is expected")
        self._eraser.idle(round(seconds * 1e9))
        self._book.list_late()

    # ---- evidence -----------------------------------------------------------------------------

    @property
    def erasures(self) -> list[Erasure]:
        """What was deleted and is followed until no copy is left, in the order in which it was asked for."""
        return self._book.all()

    def statement(self, erasure: Erasure | SupportsIndex, *, key: SigningKey | None = None) -> Statement:
        """Say what became of every copy of something deleted, by what the ledger says now.

        Of a drive that is not in use it says what is written down, and is not complete before the drive was
        sanitized, or is no more, with a record of that.

        Parameters
        ----------
        erasure : Erasure or int
            One of `erasures`, or its id.
        key : SigningKey, optional
            Signs the statement. One that is not signed convinces nobody.

        Raises
        ------
        NotFoundError
            If there is no such erasure.
        ConfigError
            If it did not happen.
        EvidenceError
            If what is known of it does not hold, since somebody changed the catalog.
        AccessError, ClosedError
            If the store was opened for reading alone, or closed.
        """
        self._registry.require_writable()
        if self._registry.evidence is None:
            raise ConfigError("the store was made without evidence; make it with evidence=True")
        number = erasure.id if isinstance(erasure, Erasure) else unsigned(erasure, "erasure")
        with self._registry.lock:  # nobody may come or go while it is looked who shows what
            return self._book.statement(number, key)

    def _promise(self, subject: Subject, drive: int) -> Promise:
        """Say how something is deleted from a drive that is to be deleted now."""
        is_tenant = subject.kind == "tenant"
        scope = Scope.TENANT if is_tenant else Scope.VOLUME
        bounds = self._eraser.bounds(scope, subject.number, drive=drive)
        strategies = ["Now()"] if bounds.now else []
        if self._erases_by_key(subject):
            epoch = "" if bounds.epoch is None else f"epoch={bounds.epoch / 1e9:g}"
            strategies.append(f"CryptographicErase({epoch})")
        if bounds.blocks is not None and not bounds.now:
            strategies.append(f"Deadline(writes={bounds.blocks})")
        if bounds.nanoseconds is not None:
            strategies.append(f"Deadline(seconds={bounds.nanoseconds / 1e9:g})")
        blocks = self._lap_of_fifo(drive) if bounds == Bounds() and not strategies else bounds.blocks
        return Promise(
            strategy=" and ".join(strategies) or "Lap()",
            bound_writes=blocks,
            bound_ns=bounds.nanoseconds if bounds.epoch is None else self._bound_by_key(subject, bounds),
        )

    @staticmethod
    def _bound_by_key(subject: Subject, bounds: Bounds) -> int | None:
        """Say within which time copies are gone: at the end of the epoch, or of the call with a whole key."""
        is_whole = subject.kind in {"tenant", "volume"}
        return min(
            (ns for ns in (bounds.nanoseconds, None if is_whole else bounds.epoch) if ns), default=None
        )

    def _lap_of_fifo(self, drive: int) -> int | None:
        """Return the blocks of a drive, where its head comes round in one lap: `Lap()` promises that.

        On media that outlive the process blocks wait for their record, while the log's time goes on: there
        the head is some blocks later than a lap, and nothing is promised in numbers.
        """
        settings = self._parts.catalog.settings
        # A bound of somebody else's, or a second head, changes the order in which segments are taken.
        is_round = (settings.selection, settings.placement) == (
            "fifo",
            "single",
        ) and self._eraser.is_bound_by_lap
        is_exact = drive in self._fleet and not self._fleet.member(drive).engine.durable
        return self._drives[drive].blocks if is_round and is_exact else None

    def _erases_by_key(self, subject: Subject) -> bool:
        """Tell whether a strategy that applies promises that keys die with what they are for."""
        tenant = subject.number if subject.kind == "tenant" else subject.tenant
        scopes = [(Scope.ALL, 0), (Scope.TENANT, tenant or 0)]
        if subject.kind == "volume":
            scopes.append((Scope.VOLUME, subject.number))
        chosen = [self._eraser.strategy(scope, number) for scope, number in scopes]
        return any(isinstance(strategy, CryptographicErase) for strategy in chosen)

    def _require_possible(self, strategy: object) -> None:
        if isinstance(strategy, CryptographicErase) and self._parts.encryption is None:
            raise ConfigError("CryptographicErase needs an encrypted store; make one with encryption=")

    def _owner_of(self, number: int) -> int | None:
        view = self._registry.find(number)
        return None if view is None else view.tenant.number

    def _name_of(self, scope: Scope, number: int) -> str:
        if scope is Scope.VOLUME:
            view = self._registry.find(number)
            return "" if view is None else view.name
        return next((tenant.name for tenant in self._registry.tenants.items() if tenant.number == number), "")

    def _begin_with(self, deletion: Strategy) -> None:
        """Set the strategy that the store was made with; one that cannot be kept makes no store."""
        try:
            self._require_possible(deletion)
            self._eraser.set(Scope.ALL, 0, deletion)
        except BaseException:
            self._parts.close(finish=False)
            raise

    def _scope(self, owner: Tenant | Volume | Snapshot | str | SupportsIndex | None) -> tuple[Scope, int]:
        if owner is None:
            return Scope.ALL, 0
        if isinstance(owner, str):
            owner = self.tenant(owner)
        if isinstance(owner, Tenant):
            scope, store = Scope.TENANT, owner.store
        elif isinstance(owner, (Volume, Snapshot)):
            scope, store = Scope.VOLUME, owner.tenant.store
        elif hasattr(owner, "__index__") and not isinstance(owner, bool) and operator.index(owner) > 0:
            return Scope.TENANT, unsigned(owner, "owner")
        else:
            raise ConfigError(
                f"owner is {owner!r}; a tenant, its name or its number, or a volume or snapshot is expected"
            )
        if store is not self:
            raise ConfigError(f"{owner!r} is of another store; ask that one")
        return scope, owner.number
