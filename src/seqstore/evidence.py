"""Evidence of deletions: follows them from the request to the last copy, and makes statements of them.

This joins what knows about copies, the engine's ledger, and what remembers them, audit log and erasures. The
order of things is that of a crash that may come anywhere: what is asked for is written down before it is
done, and what is done is found again by looking at the ledger.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from seqstore._native.records import Scope
from seqstore.account import Account, DriveLog, find_keepers, is_part
from seqstore.audit_records import Act, Subject
from seqstore.erasures import Erasures
from seqstore.errors import AuditError, ConfigError
from seqstore.promise import Erasure, Promise
from seqstore.statement import Statement

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.catalog import Catalog
    from seqstore.copies import How
    from seqstore.signing import SigningKey

# Categories of media sanitization, which a statement about a part of a medium must not claim.
CATEGORIES = re.compile(r"\b(clear|purg|destr[ou])\w*", re.IGNORECASE)


class Deletion(Protocol):
    """What is asked of the engine about what was deleted."""

    def residue(self, scope: Scope, number: int) -> NDArray[np.void]:
        """List runs of DEAD and MOVED blocks of a tenant or a volume."""

    def watch(self, scope: Scope, number: int, *, watched: bool = True) -> None:
        """Let it be noted when such blocks are written over."""

    def overwritten(self) -> tuple[NDArray[np.void], bool]:
        """List runs of them that were written over since the last call, and say if these are all."""


class Evidence:
    """What a store can show of its deletions.

    Parameters
    ----------
    log : DriveLog
        The drive whose copies are followed.
    deletion : Deletion
        Knows what is left of what was deleted: an `EngineDeletion`.
    catalog : Catalog
    audit : AuditLog
    now_ns : callable
        Tells the time.
    promise : callable
        Says how something is deleted that is to be deleted now.

    Attributes
    ----------
    erasures : Erasures
    """

    def __init__(
        self,
        log: DriveLog,
        deletion: Deletion,
        catalog: Catalog,
        audit: AuditLog,
        *,
        now_ns: Callable[[], int],
        promise: Callable[[Subject], Promise],
    ) -> None:
        self._log = log
        self._deletion = deletion
        self._catalog = catalog
        self._audit = audit
        self._now_ns = now_ns
        self._promise = promise
        self.erasures = Erasures(catalog, audit, now_ns, log.number)
        self._kept: set[int] = set()  # erasures of which others show blocks

    @property
    def _position(self) -> int:
        return self._log.engine.counters()["position"]

    # ---- following a deletion -------------------------------------------------------------------

    def request(self, subject: Subject, promise: Promise | None = None) -> Erasure:
        """Note that something is to be deleted, durably, before any of it is done."""
        self._deletion.watch(*_scope_of(subject))
        details = {"volumes": sorted(self.volumes_of(subject))}
        return self.erasures.request(subject, promise or self._promise(subject), self._position, details)

    def deleted(self, erasure: Erasure, *, interrupted: bool = False) -> None:
        """List the copies, when the deletion has been done durably."""
        before = self._position
        residue = self._residue_of(erasure)
        self.erasures.list_copies(
            erasure.id, residue, before=before, after=self._position, interrupted=interrupted
        )
        self._look_at_kept()
        if self._is_kept(erasure):
            self._kept.add(erasure.id)

    def update(self, how: How = "overwritten") -> int:
        """Strike off what was written over since the last call; return how many blocks of copies."""
        runs, is_all = self._deletion.overwritten()
        struck = self.erasures.mark(runs, how)
        return struck if is_all else struck + self._look_at_all()

    def look(self, erasure: Erasure) -> int:
        """Compare the copies of an erasure with the ledger; return how many blocks turned out to be gone."""
        return self.update() + self._compare(erasure)

    def _compare(self, erasure: Erasure) -> int:
        before = self._position
        residue = self._residue_of(erasure)
        return self.erasures.reconcile(erasure.id, residue, before=before, after=self._position)

    def resume(self, is_living: Callable[[Subject], bool]) -> None:
        """Go on with all erasures after an opening of the store, when catalog and log say the same.

        Where the audit log does not hold nothing is followed, and asking for a statement says why.

        Parameters
        ----------
        is_living : callable
            Tells whether something that was to be deleted is still there, and in no deletion.
        """
        try:
            known = self.erasures.all()
        except AuditError:
            return
        for erasure in known:
            if erasure.state != "requested":
                continue
            # Nobody knows whether a range was given up before the crash, so nothing is claimed of it.
            if erasure.subject.kind == "range" or is_living(erasure.subject):
                self.erasures.abandon(erasure.id)
            else:
                self.deleted(erasure, interrupted=True)
        listed = (erasure for erasure in self.erasures.all() if erasure.state == "listed")
        self._kept = {erasure.id for erasure in listed if self._is_kept(erasure)}
        self._look_at_all(watch=True)

    def _look_at_all(self, *, watch: bool = False) -> int:
        """Compare all copies with the ledger that are pending or may turn up."""
        struck = 0
        for number in sorted({*self.erasures.pending()["erasure"].tolist(), *self._kept}):
            erasure = self.erasures.get(number)
            if watch:
                self._deletion.watch(*_scope_of(erasure.subject))
            struck += self._compare(erasure)
        return struck

    def _look_at_kept(self) -> None:
        """Look for copies of deleted things that others had kept alive, and which may have died just now."""
        for number in sorted(self._kept):
            erasure = self.erasures.get(number)
            self._compare(erasure)
            if not self._is_kept(erasure):
                self._kept.discard(number)

    def _is_kept(self, erasure: Erasure) -> bool:
        return any(entry["blocks"] for entry in find_keepers(self._log, self._catalog, erasure))

    def note_verified(
        self, erasure: Erasure, what: str, *, passed: bool, blocks: int, details: str = ""
    ) -> None:
        """Note that somebody looked whether the copies are gone; see `Erasures.note_verified`.

        Raises
        ------
        ConfigError
            If the words claim a category of media sanitization.
        """
        for text in (what, details):
            found = CATEGORIES.search(text)
            if found:
                raise ConfigError(
                    f"{text!r} says {found[0]!r}, which is a category of the sanitization of media; say what"
                    " was done in other words"
                )
        position = self._position
        self.erasures.note_verified(
            erasure.id, what, passed=passed, blocks=blocks, position=position, details=details
        )

    # ---- statements -----------------------------------------------------------------------------

    def statement(self, erasure: Erasure, key: SigningKey | None = None) -> Statement:
        """Say what became of a deletion, by what the ledger says now, and note that it was said.

        Parameters
        ----------
        erasure : Erasure
            One that is not abandoned.
        key : SigningKey, optional
            Without one the statement is not signed, and convinces nobody.

        Raises
        ------
        ConfigError
            If the deletion did not happen.
        StatementError
            If what is known of it contradicts itself, since the catalog was changed; nothing is issued.
        """
        erasure = self.erasures.get(erasure.id)
        if erasure.state != "listed":
            raise ConfigError(
                f"erasure {erasure.id} is {erasure.state}; a statement is made of one that was done"
            )
        self.look(erasure)
        account = Account(self._log, self._catalog, self._audit, erasure, self.erasures.copies(erasure.id))
        statement = Statement.make(account.document(self._now_ns()), key)
        details = {
            "erasure": erasure.id,
            "digest": statement.digest,
            "complete": statement.complete,
            "pending": statement.document["totals"]["pending"],
            "key": None if key is None else key.public.fingerprint,
        }
        self._audit.append(Act.STATEMENT_ISSUED, erasure.subject, details)
        return statement

    # ---- whose blocks -----------------------------------------------------------------------------

    def _residue_of(self, erasure: Erasure) -> NDArray[np.void]:
        residue = self._deletion.residue(*_scope_of(erasure.subject))
        if not is_part(erasure.subject) or erasure.listed_position is None:
            return residue
        # The volume lives on, and goes on to leave residue that is none of this deletion's.
        return residue[residue["died"] <= erasure.listed_position]

    def volumes_of(self, subject: Subject) -> set[int]:
        """List the volumes that blocks of something were written through, those of earlier times included."""
        if subject.kind != "tenant":
            return {subject.number} if subject.kind in {"volume", "range"} else set()
        made = {Act.VOLUME_CREATED.value, Act.CLONE_CREATED.value}
        volumes = {row.number for row in self._catalog.volumes() if row.tenant == subject.number}
        # A log that was broken keeps nobody from deleting; statements are made of one that holds.
        with suppress(AuditError):
            for record in self._audit.records():
                if record.act in made and record.subject.get("tenant") == subject.number:
                    volumes.add(record.subject["number"])
        return volumes


def _scope_of(subject: Subject) -> tuple[Scope, int]:
    """Say whose residue holds that of something."""
    if subject.kind == "tenant":
        return Scope.TENANT, subject.number
    if subject.kind == "snapshot" and subject.origin is not None:
        return Scope.VOLUME, subject.origin
    if subject.kind in {"volume", "range"}:
        return Scope.VOLUME, subject.number
    raise ConfigError(f"a {subject.kind} is not followed; a tenant, volume, snapshot or range is expected")
