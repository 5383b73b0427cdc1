"""Erasures: which physical copies a deletion left behind, and when each of them was gone.

An erasure begins with a record in the audit log that says what was asked for. When the deletion is done, the
copies that the ledger knows are listed; each is struck off when its block was written over or its key was
destroyed. Each list stands in the audit log by its digest, so that a copy cannot be dropped from it later.

Times and positions of a copy's end are the latest possible ones: it may have been gone a little sooner.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seqstore._native.records import RESIDUE_DTYPE
from seqstore.audit_records import Act, Subject
from seqstore.copies import How, as_copies, digest_copies, digest_fates
from seqstore.copy_table import CopyTable
from seqstore.errors import ConfigError, NotFoundError
from seqstore.kept import KeptTable, describe
from seqstore.matching import as_found, compare, hit_by, in_turns, unlisted
from seqstore.promise import Erasure, Promise, State
from seqstore.runs import Pieces, among, distinct

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.catalog import Catalog


class Erasures:
    """The erasures of a store. Any number of threads may use them, outside of the catalog's transactions.

    Parameters
    ----------
    catalog : Catalog
        Where they stand.
    audit : AuditLog
        Gets a record of each step.
    now_ns : callable
        Tells the time.
    drive : int
        The one whose copies are followed: positions are those of its log, so each drive has erasures of its
        own.

    Attributes
    ----------
    kept : KeptTable
        Blocks of what was deleted that others showed then.
    """

    def __init__(self, catalog: Catalog, audit: AuditLog, now_ns: Callable[[], int], drive: int = 0) -> None:
        self._database = catalog.database
        self._audit = audit
        self._drive = drive
        self._table = CopyTable(self._database, now_ns, drive)
        self.kept = KeptTable(self._database, audit, drive)
        self._lock = threading.RLock()
        self._looked: dict[int, int] = {}  # positions at which the ledger was asked for the copies
        self._followed: dict[int, list[Erasure]] | None = None  # erasures of whole volumes, by volume

    # ---- looking ------------------------------------------------------------------------------

    def __len__(self) -> int:
        return int(self._database.run("SELECT COUNT(*) FROM erasures")[0][0])

    def all(self) -> list[Erasure]:
        """Return the erasures in the order in which they were asked for."""
        return self._erasures("TRUE")

    def get(self, number: int) -> Erasure:
        """Return the erasure of an id.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        found = self._erasures("id = ?", number)
        if not found:
            raise NotFoundError(f"there is no erasure {number}; {len(self)} are known")
        return found[0]

    def copies(self, erasure: int) -> NDArray[np.void]:
        """Return all copies of an erasure, in the order of lists and addresses.

        Returns
        -------
        COPY_DTYPE[n]
        """
        with self._lock:
            return self._table.of(erasure)

    def pending(self, erasure: int | None = None) -> NDArray[np.void]:
        """Return the copies that are still there, of one erasure or of all, by address.

        Returns
        -------
        COPY_DTYPE[n]
        """
        with self._lock:
            pending = self._table.pending
            return pending.copy() if erasure is None else pending[pending["erasure"] == erasure]

    # ---- from the request to the list -----------------------------------------------------------

    def request(
        self,
        subject: Subject,
        promise: Promise,
        position: int,
        details: Mapping[str, Any] | None = None,
        kept: NDArray[np.void] | None = None,
    ) -> Erasure:
        """Note that a deletion was asked for, before any of it is done.

        Parameters
        ----------
        subject : Subject
        promise : Promise
        position : int
            The log's time.
        details : mapping, optional
            What else the record is to say.
        kept : SHOWN_DTYPE[n], optional
            Blocks of it that others show, and which live on with them.
        """
        is_kept = kept is not None and len(kept) > 0
        content = {
            **(details or {}),
            "kept": describe(kept) if kept is not None and is_kept else None,
            "strategy": promise.strategy,
            "bound_writes": promise.bound_writes,
            "bound_ns": promise.bound_ns,
            "position": position,
        }
        with self._changing():
            record = self._audit.append(Act.DELETION_REQUESTED, subject, content)
            number = self._database.insert(
                "INSERT INTO erasures VALUES (NULL, ?, ?, ?, NULL, 'requested')",
                record.number,
                record.time_ns,
                position,
            )
            if kept is not None and is_kept:
                self.kept.enter(number, kept)
            if self._drive:
                self._database.run("INSERT INTO erasure_drives VALUES (?, ?)", number, self._drive)
        return self.get(number)

    def abandon(self, erasure: int) -> None:
        """Note that a deletion that was asked for did not happen.

        Raises
        ------
        ConfigError
            If it did.
        """
        known = self.require(erasure, "requested")
        with self._changing():
            self._audit.append(Act.DELETION_ABANDONED, known.subject, {"erasure": erasure})
            self._database.run("UPDATE erasures SET state = 'abandoned' WHERE id = ?", erasure)
            self.kept.end(erasure, None)

    def list_copies(
        self,
        erasure: int,
        residue: NDArray[np.void],
        *,
        before: int,
        after: int,
        interrupted: bool = False,
    ) -> None:
        """Note which copies there are, when the deletion is done.

        Parameters
        ----------
        erasure : int
        residue : RESIDUE_DTYPE[n]
            Runs of DEAD and MOVED blocks of what was deleted: ``mba``, ``count``, ``died``, ``state``.
        before, after : int
            The log's time just before and just after the residue was asked for.
        interrupted : bool
            Whether a crash came between the deletion and this.

        Raises
        ------
        ConfigError
            If they were listed before, or the runs overlap.
        """
        known = self.require(erasure, "requested")
        with self._changing():
            self._database.run(
                "UPDATE erasures SET state = 'listed', listed_position = ? WHERE id = ?", after, erasure
            )
            copies = as_copies(residue)
            self._enter(known, Act.COPIES_LISTED, copies, before, interrupted=interrupted)
            self._looked[erasure] = after
            self._followed = None
            if not len(copies):
                self._finish_unless_kept(known, after)

    # ---- how copies end ---------------------------------------------------------------------------

    def mark(self, overwritten: NDArray[np.void], how: How = "overwritten") -> int:
        """Strike off what was written over.

        Parameters
        ----------
        overwritten : OVERWRITTEN_DTYPE[n]
            Runs of dead blocks, and the position at which each was written over: ``volume``, ``mba``,
            ``count``, ``position``. Those that were overwritten before a copy was there do no harm. Those of
            a deleted volume that are not listed lived on with others, and died after the last look; they are
            added to what was gone.
        how : {"overwritten", "zeroed"}
            By other data, or on purpose.

        Returns
        -------
        int
            Blocks that were struck off.
        """
        with self._changing():
            struck = 0
            for events in in_turns(overwritten):
                struck += self._strike_unlisted(events)
                if len(self._table.pending):
                    struck += self._split(hit_by(self._table.pending, events), how=how)
            return struck

    def reconcile(
        self,
        erasure: int,
        residue: NDArray[np.void],
        *,
        before: int,
        after: int,
        kept_ended: bool = False,
    ) -> int:
        """Bring an erasure to what the ledger says now, where events were lost or blocks died since.

        A copy that the ledger does not know any more is gone, since now at the latest. One that it knows and
        the erasure does not is added, unless the key is gone that all of them are encrypted under.

        Parameters
        ----------
        erasure : int
        residue : RESIDUE_DTYPE[n]
        before, after : int
            The log's time just before and just after the residue was asked for.
        kept_ended : bool
            Whether nobody shows any of it any more, who did until now: what died with that is in the residue.

        Returns
        -------
        int
            Blocks that were struck off.
        """
        known, there = self.require(erasure, "listed"), as_copies(residue)
        with self._changing():
            fates, added = compare(self.pending(erasure), there, after)
            if self.has_lost_key(erasure):
                added = added[:0]
            if len(added) or kept_ended:
                position = self._enter(known, Act.COPIES_FOUND, added, before, kept_ended=kept_ended)
                if kept_ended:
                    self.kept.end(erasure, position)
            is_through = kept_ended and not len(self.pending(erasure))
            struck = self._split(fates, how="overwritten", observed=True)
            if is_through:
                self._finish(known, after)
            self._looked[erasure] = after
            return struck

    def destroy_key(self, erasure: int, key: Subject, position: int, *, only_dead: bool = False) -> int:
        """Note that the key was destroyed that all copies of an erasure are encrypted under.

        Parameters
        ----------
        erasure : int
        key : Subject
        position : int
            The log's time.
        only_dead : bool
            Whether those stay that the cleaner left behind: each block had a key of its own, and what they
            are copies of may live.

        Returns
        -------
        int
            Blocks that are unreadable since.
        """
        self.require(erasure, "listed")
        with self._changing():
            self._audit.append(Act.KEY_DESTROYED, key, {"erasure": erasure, "position": position})
            mine = self.pending(erasure)
            if only_dead:
                mine = mine[~mine["moved"]]
            fates = np.full(len(mine), position, np.int64)
            return self._split(Pieces(mine["id"], mine["mba"], mine["count"], fates), how="key")

    # ---- what the steps share ---------------------------------------------------------------------

    def end_drive(self) -> int:
        """Note that all of the drive was overwritten and read back; return how many blocks that ends.

        Its log is no more, so that it was at the last position that anybody knows of.
        """
        with self._changing():
            known = self.all()
            position = max((each.listed_position or each.requested_position for each in known), default=0)
            for erasure in known:
                if erasure.state == "requested":
                    self.list_copies(erasure.id, np.empty(0, RESIDUE_DTYPE), before=position, after=position)
            mine = self.pending()
            fates = np.maximum(mine["seen"].astype(np.int64), position)
            return self._split(Pieces(mine["id"], mine["mba"], mine["count"], fates), how="zeroed")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Make what is done in a block one change, of the tables and of what is kept in memory."""
        with self._lock:
            try:
                with self._database.atomic():
                    yield
            except BaseException:
                self._table.forget()
                self.kept.forget()
                raise

    def require(self, erasure: int, state: State) -> Erasure:
        """Return the erasure of an id, or raise `ConfigError` if it is in another state."""
        known = self.get(erasure)
        if known.state != state:
            raise ConfigError(f"erasure {erasure} is {known.state}; it has to be {state} for that")
        return known

    def _erasures(self, condition: str, *values: object) -> list[Erasure]:
        rows = self._database.run(
            "SELECT id, state, record, requested_position, listed_position FROM erasures"
            " LEFT JOIN erasure_drives ON erasure = id"
            f" WHERE COALESCE(drive, 0) = {self._drive} AND {condition} ORDER BY id",
            *values,
        )
        return [
            Erasure(
                id=number,
                state=state,
                request=self._audit[record],
                requested_position=requested,
                listed_position=listed,
            )
            for number, state, record, requested, listed in rows
        ]

    def _enter(
        self,
        erasure: Erasure,
        act: Act,
        copies: NDArray[np.void],
        position: int,
        *,
        interrupted: bool = False,
        kept_ended: bool = False,
    ) -> int:
        """Add copies to an erasure, with a record that holds their digest; return its position."""
        copies["drive"] = self._drive
        # Blocks may have died since the position was asked for, and been in the residue all the same.
        position = max(position, int(copies["died"].max(initial=0)))
        content: dict[str, Any] = {
            "erasure": erasure.id,
            "position": position,
            "blocks": int(copies["count"].sum()),
            "runs": len(copies),
            "digest": digest_copies(copies),
            "interrupted": interrupted,
        }
        if kept_ended:
            content["kept_ended"] = True
        record = self._audit.append(act, erasure.subject, content)
        copies["erasure"], copies["record"], copies["seen"] = erasure.id, record.number, position
        self._table.enter(copies)
        return position

    def _strike_unlisted(self, events: NDArray[np.void]) -> int:
        """Enter what was written over of deleted volumes and is not listed, and strike it off at once."""
        followed = self._follow()
        erasures = {
            erasure.id: erasure
            for volume in distinct(events["volume"]).tolist()
            for erasure in followed.get(volume, ())
        }
        struck = 0
        for erasure in erasures.values():
            looked = self._looked.get(erasure.id, erasure.listed_position or 0)
            is_own = among(events["volume"], np.array(erasure.request.details["volumes"], np.uint64))
            is_late = events["position"].astype(np.int64) > looked
            found = unlisted(self.pending(erasure.id), events[is_own & is_late])
            if len(found.run) and not self.has_lost_key(erasure.id):
                copies = as_found(found, looked)
                self._enter(erasure, Act.COPIES_FOUND, copies, looked)
                gone = Pieces(copies["id"], copies["mba"], copies["count"], found.position)
                struck += self._split(gone, how="overwritten", observed=True)
        return struck

    def has_lost_key(self, erasure: int) -> bool:
        """Tell whether the key is gone that the copies of an erasure are encrypted under."""
        return self._table.has_lost_key(erasure)

    def _follow(self) -> dict[int, list[Erasure]]:
        """Return the erasures of whole volumes and tenants whose copies are listed, by volume."""
        if self._followed is None:
            self._followed = {}
            for erasure in self._erasures("state = 'listed'"):
                if erasure.subject.kind in {"tenant", "volume"}:
                    for volume in erasure.request.details["volumes"]:
                        self._followed.setdefault(volume, []).append(erasure)
        return self._followed

    def _split(self, pieces: Pieces, *, how: How, observed: bool = False) -> int:
        """Strike off pieces of the pending copies, and note which erasures are through with that."""
        blocks, ended = self._table.split(pieces, how=how, observed=observed)
        for number, position in ended.items():
            self._finish_unless_kept(self.get(number), position)
        return blocks

    def _finish_unless_kept(self, erasure: Erasure, position: int) -> None:
        if erasure.id not in self.kept.open["erasure"]:
            self._finish(erasure, position)

    def _finish(self, erasure: Erasure, position: int) -> None:
        """Note that no copy that is known is left."""
        copies = self._table.of(erasure.id)
        details = {
            "erasure": erasure.id,
            "position": position,
            "blocks": int(copies["count"].sum()),
            "fates": digest_fates(copies),
        }
        self._audit.append(Act.ERASURE_FINISHED, erasure.subject, details)
