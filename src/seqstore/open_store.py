"""An open store: its tenants, what it counts, and how it ends. `seqstore.store` puts one together."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import TYPE_CHECKING, cast

from seqstore._native.records import Scope
from seqstore.audit import AuditLog
from seqstore.deleting_store import DeletingStore
from seqstore.deletion import Strategy
from seqstore.deletion_table import DeletionTable
from seqstore.drive import Drive
from seqstore.drive_facts import FactTable
from seqstore.drive_health import Thresholds
from seqstore.drive_keeper import DriveKeeper
from seqstore.drives_store import DrivesStore
from seqstore.epochs import Epochs
from seqstore.equalizing import make_equal
from seqstore.erasing import Eraser
from seqstore.errors import ConfigError, SeqstoreError
from seqstore.evidence_book import EvidenceBook
from seqstore.key_keeper import KeyKeeper
from seqstore.key_source import check_provider
from seqstore.losses import Loss
from seqstore.notebook import Notebook
from seqstore.options import name_user
from seqstore.recovery import Recovery, note_opening
from seqstore.registry import Registry
from seqstore.renewing import Renewer
from seqstore.scrub import Scrub, ScrubTotals
from seqstore.scrubbing_store import ScrubbingStore
from seqstore.settling import settle
from seqstore.stats import Stats, make_stats
from seqstore.tenants import Tenant
from seqstore.units import format_size
from seqstore.unseen import Unseen

if TYPE_CHECKING:
    from typing_extensions import Self

    from seqstore.clock import Clock
    from seqstore.folder import Folder
    from seqstore.keys import KeyProvider
    from seqstore.parts import Parts
    from seqstore.store import Store


class OpenStore(DeletingStore, DrivesStore, ScrubbingStore):
    """What a `Store` does, however it was made.

    Parameters
    ----------
    parts : Parts
        Given back by `close`.
    clock : Clock
    place : str
        Where the store is, for people.
    read_only : bool
        Whether nothing may change.
    actor : str, optional
        Who acts, for the audit log; by default the user of the operating system.
    evidence : bool
        Whether acts and the copies of what is deleted are written down.
    folder : Folder, optional
        The store's directory, if it has one.
    """

    def __init__(
        self,
        parts: Parts,
        clock: Clock,
        *,
        place: str,
        read_only: bool = False,
        deletion: Strategy | None = None,
        actor: str | None = None,
        evidence: bool = True,
        folder: Folder | None = None,
    ) -> None:
        self._parts = parts
        self._folder = folder
        self._fleet = parts.fleet
        self._clock = clock
        self._place = place
        self._closing = threading.RLock()
        self._totals = ScrubTotals()
        self._scrubs: set[Scrub] = set()
        self._losses: dict[int, Loss] = {}
        self._drive_keeper = DriveKeeper(self)
        self.thresholds = Thresholds()
        try:
            self._facts = FactTable(parts.catalog.database, parts.catalog.settings.created_ns)
            self._audit = AuditLog(
                parts.catalog, clock.now_ns, name_user() if actor is None else actor, is_kept=evidence
            )
            self._registry = Registry(
                parts.fleet, parts.catalog, self._audit, self._facts, read_only=read_only
            )
            self._registry.look_at_health = self._drive_keeper.look
            self._eraser = Eraser(clock, self._owner_of)
            self._book = EvidenceBook(parts.fleet, parts.catalog, self._audit, clock.now_ns, self._promise)
            self._unseen = Unseen(
                parts.fleet, parts.catalog, self._facts, self._book.owners, self._drive_keeper.why_not
            )
            self._drives: dict[int, Drive] = {}
            for member in parts.fleet:
                self._join(member)
            for row in parts.catalog.drives:
                if row.number not in self._fleet:
                    self._drives[row.number] = Drive(self, row, None)
            self._registry.evidence = self._book if evidence else None
            if evidence and not read_only:
                self._registry.placer.renewer = Renewer(
                    parts.fleet, parts.catalog, self._book.renewals, self._registry.lock
                )
            if parts.encryption is not None:
                self._registry.keeper = KeyKeeper(
                    parts.encryption, parts.fleet, parts.catalog, self._registry.evidence
                )
                self._eraser.epochs = Epochs(
                    parts.encryption,
                    self._registry,
                    clock,
                    length_of=self._eraser.epoch_of,
                    purge=partial(self._eraser.purge, Scope.VOLUME),
                )
            self._load()
        except BaseException:
            parts.close(finish=False)
            raise
        if deletion is not None:
            self._begin_with(deletion)

    # ---- life -------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the store was closed."""
        return self._fleet.closed

    @property
    def read_only(self) -> bool:
        """Whether it was opened for reading alone."""
        return self._registry.read_only

    @property
    def recovery(self) -> Recovery | None:
        """What opening the store found and did; None for a new one."""
        return self._parts.recovery

    def flush(self) -> None:
        """Return when everything acknowledged is on the medium, of all volumes. Threads share one sync.

        Raises
        ------
        MediumError
            If the medium fails. What it holds is then not known; open the store again.
        ClosedError
            If the store was closed.
        """
        try:
            self._flush()
        finally:
            self._drive_keeper.look()

    def checkpoint(self) -> None:
        """Flush, and write a checkpoint: the next opening reads the log from here on.

        Raises
        ------
        MediumError, AccessError, ClosedError
            As `flush`, and if the store was opened for reading alone.
        """
        self._registry.require_writable()
        if self._registry.placer.mirrors:
            # Nothing changes between the flush and the note that copies are the same: mirrors are held.
            self._registry.placer.settle_copies(self._flush)
        for member in self._fleet:
            member.engine.checkpoint()
        self._parts.note_flushed()
        self._note_errors()
        # Also of drives that tell of themselves what nobody has met.
        self._registry.alarms.update(member.number for member in self._fleet)
        self._drive_keeper.look()

    def close(self) -> None:
        """Wait for the calls under way, flush, and give everything back. Closing again does nothing.

        A store that was not closed is opened as after a crash: everything flushed is there.

        Raises
        ------
        MediumError, InvariantError
            If the store had failed, or fails now. It is closed all the same.
        """
        with self._closing:
            if self.closed:
                return
            for member in self._fleet:
                member.engine.require_outside()
            self._eraser.end()
            scrubs = list(self._scrubs)
            for scrub in scrubs:
                scrub.cancel()
            for scrub in scrubs:
                scrub.join()
            if not self.read_only and not self._fleet.disowned:
                with suppress(SeqstoreError):  # then the next opening compares the copies
                    self._registry.placer.settle_copies(self._flush)
                with suppress(SeqstoreError):
                    self._note_errors()
                with suppress(SeqstoreError):  # what is left of it is half made: the next opening sees to it
                    self._registry.undo_unfinished()
                with suppress(SeqstoreError):  # the next opening knows less about ages
                    self._eraser.leave()
                with suppress(SeqstoreError):  # the next opening looks where the copies are
                    if self._registry.evidence is not None:
                        self._book.update()
            self._parts.close(finish=not self.read_only)

    def __enter__(self) -> Self:
        self._fleet.require_open()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = ", closed" if self.closed else f", {len(self.tenants)} tenants"
        capacity = sum(self._drives[member.number].capacity for member in self._fleet)
        return f"<Store, {self._place}, {format_size(capacity)}{state}>"

    @property
    def encrypted(self) -> bool:
        """Whether blocks are encrypted."""
        return self._parts.encryption is not None

    def rekey(self, provider: KeyProvider) -> None:
        """Put the store under another root key. What the old one opens are old copies of the key area alone.

        Parameters
        ----------
        provider : KeyProvider
            For the next `Store.open`.

        Raises
        ------
        ConfigError
            If the store is not encrypted.
        MediumError
            If the key area fails.
        AccessError, ClosedError
            If the store was opened for reading alone, or closed.
        """
        self._registry.require_writable()
        if self._parts.encryption is None:
            raise ConfigError("the store is not encrypted; make one with encryption=")
        self._parts.encryption.rekey(check_provider(provider))

    # ---- tenants ----------------------------------------------------------------------------

    @property
    def tenants(self) -> tuple[Tenant, ...]:
        """The tenants in order of creation.

        Raises
        ------
        ClosedError
            If the store was closed.
        """
        self._fleet.require_open()
        return self._registry.tenants.items()

    def tenant(self, name: str) -> Tenant:
        """Return the tenant of a name, the same object each time.

        Raises
        ------
        NotFoundError
            If there is none.
        ClosedError
            If the store was closed.
        """
        self._fleet.require_open()
        return self._registry.tenants.find(name)

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
        AccessError
            If the store was opened for reading alone.
        ClosedError
            If the store was closed.
        """
        self._registry.require_writable()

        def make() -> Tenant:
            return self._adopt(name, self._registry.create_tenant(name))

        return self._registry.tenants.add(name, make)

    def _adopt(self, name: str, number: int) -> Tenant:
        # There are no other open stores than these.
        return Tenant(cast("Store", self), self._registry, name=name, number=number)

    # ---- who does what ------------------------------------------------------------------------

    @property
    def audit(self) -> AuditLog:
        """The audit log: every administrative act, in a chain of hashes."""
        return self._audit

    def acting(self, *, actor: str | None = None, reason: str | None = None) -> AbstractContextManager[None]:
        """Name who acts in a block, and why, in the audit log; other threads are not concerned.

        Parameters
        ----------
        actor, reason : str, optional
            Up to 1024 characters. What is None stays as it is.

        Raises
        ------
        ConfigError
            If something is no text, or too long.
        ClosedError
            If the store was closed.
        """
        self._fleet.require_open()
        return self._audit.acting(actor=actor, reason=reason)

    # ---- what is where, and what was done -----------------------------------------------------

    @property
    def block_size(self) -> int:
        """Bytes of a block."""
        return self._drive.block_size

    @property
    def drives(self) -> tuple[Drive, ...]:
        """The drives by number, also those that are missing or out of service."""
        return tuple(drive for _, drive in sorted(self._drives.items()))

    def stats(self) -> Stats:
        """Return the counters, which run from the store's making, and the gauges.

        Raises
        ------
        ClosedError
            If the store was closed.
        """
        return make_stats(
            self._fleet.counters(),
            scrubbed_blocks=self._totals.scrubbed_blocks,
            damaged_blocks=self._totals.damaged_blocks,
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
        self._fleet.check()

    def _load(self) -> None:
        """Take in the tenants, volumes and snapshots that there are."""
        catalog, is_new = self._registry.catalog, not len(self._audit)
        keeper = self._registry.keeper
        if keeper is not None:
            keeper.require_own_area(read_only=self.read_only)
        if keeper is not None and not self.read_only:
            keeper.delete_revived()
        if not self.read_only and self._registry.evidence is not None:
            self._registry.evidence.find_late()
        settled = settle(catalog, self._fleet, self._audit, read_only=self.read_only)
        living = [row for row in catalog.tenants() if not row.deleting]
        tenants = {
            row.number: self._registry.tenants.add(row.name, partial(self._adopt, row.name, row.number))
            for row in living
        }
        for row, handles in settled.views:
            self._registry.load(row, handles, tenants[row.tenant])
        for row in settled.lost:
            self._registry.load_lost(row, tenants[row.tenant])
        if not self.read_only:
            evidence = self._registry.evidence
            if evidence is not None:
                note_opening(self._audit, self._parts, is_new=is_new)
                self._registry.placer.drop_stale_of(evidence.missed_volumes())
                evidence.resume(self._registry.is_living)
            make_equal(self._registry)  # what is followed by then is followed on
            if keeper is not None:
                keeper.bury()
                keeper.note_unreadable()
            table = DeletionTable(catalog.database)
            self._eraser.load(Notebook(table, self._audit, evidence, self._name_of))
            self._registry.eraser = self._eraser
            self._eraser.resume()
