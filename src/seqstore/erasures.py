"""Erasures: which physical copies a deletion left behind, and when each of them was gone.

An erasure begins with a record in the audit log that says what was asked for. When the deletion is done, the
copies that the ledger knows are listed; each is struck off when its block was written over or its key was
destroyed. Each list stands in the audit log by its digest, so that a copy cannot be dropped from it later.

Times and positions of a copy's end are the latest possible ones: it may have been gone a little sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seqstore._native.records import RESIDUE_DTYPE
from seqstore.audit_records import Act, Subject
from seqstore.copies import How, as_copies, digest_copies, digest_fates
from seqstore.erasure_table import ErasureTable
from seqstore.kept import describe
from seqstore.matching import as_found, compare, hit_by, in_turns, unlisted
from seqstore.promise import Erasure, Promise
from seqstore.runs import Pieces, among, distinct

if TYPE_CHECKING:
    from seqstore.audit import AuditLog
    from seqstore.catalog import Catalog

# What requests say of a drive that was not there then; and of a range, that it was given up on others.
AWAY, GIVEN_UP = "unreachable_drive", "given_up"


class Erasures(ErasureTable):
    """The erasures of a store. Any number of threads may use them, outside of the catalog's transactions.

    Parameters and attributes are those of `ErasureTable`; the audit log gets a record of each step.
    """

    def __init__(self, catalog: Catalog, audit: AuditLog, now_ns: Callable[[], int], drive: int = 0) -> None:
        super().__init__(catalog, audit, now_ns, drive)
        self._looked: dict[int, int] = {}  # positions at which the ledger was asked for the copies
        self._followed: dict[int, list[Erasure]] | None = None  # erasures of whole volumes, by volume

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
        with self.changing():
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
        with self.changing():
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
        known, copies = self.require(erasure, "requested"), as_copies(residue)
        with self.changing():
            self._list(known, copies, before=before, after=after, interrupted=interrupted)

    def _list(
        self, erasure: Erasure, copies: NDArray[np.void], *, before: int, after: int, **details: bool
    ) -> None:
        self._database.run(
            "UPDATE erasures SET state = 'listed', listed_position = ? WHERE id = ?", after, erasure.id
        )
        self._enter(erasure, Act.COPIES_LISTED, copies, before, **details)
        self._looked[erasure.id] = after
        self._followed = None
        if not len(copies):
            self._finish_unless_kept(erasure, after)

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
        with self.changing():
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
        with self.changing():
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
        with self.changing():
            self._audit.append(Act.KEY_DESTROYED, key, {"erasure": erasure, "position": position})
            mine = self.pending(erasure)
            if only_dead:
                mine = mine[~mine["moved"]]
            fates = np.full(len(mine), position, np.int64)
            return self._split(Pieces(mine["id"], mine["mba"], mine["count"], fates), how="key")

    # ---- what the steps share ---------------------------------------------------------------------

    def end_drive(self, happened: Callable[[Erasure], bool]) -> int:
        """Note that the drive holds nothing of anybody any more; return how many blocks that ends.

        It was overwritten as a whole and read back, or is no more. Copies that nobody could list went with
        it, and so did what others had shown there.

        Parameters
        ----------
        happened : callable
            Tells whether a deletion that was asked for, and whose copies were never listed, was carried out.
        """
        with self.changing():
            known = self.all()
            position = self.last_position()  # of the log, which is no more
            nothing = as_copies(np.empty(0, RESIDUE_DTYPE))
            for erasure in known:
                if erasure.state == "requested" and not happened(erasure):
                    self.abandon(erasure.id)
                elif erasure.state == "requested":
                    self._list(erasure, nothing, before=position, after=position, uncounted=True)
            mine = self.pending()
            fates = np.maximum(mine["seen"].astype(np.int64), position)
            ended = self._split(Pieces(mine["id"], mine["mba"], mine["count"], fates), how="drive")
            for number in np.unique(self.kept.open["erasure"]).tolist():
                erasure = self.get(number)
                last = self._enter(erasure, Act.COPIES_FOUND, nothing, position, kept_ended=True)
                self.kept.end(number, last)
                self._finish(erasure, last)
            return ended

    def has_open(self) -> bool:
        """Tell whether anything is followed here: not listed yet, not gone yet, or kept by others."""
        is_waiting = any(erasure.state == "requested" for erasure in self.all())
        return is_waiting or bool(len(self.pending())) or bool(len(self.kept.open))

    def forget(self) -> None:
        """Read anew what is in memory, when a transaction around a change was taken back."""
        with self._lock:
            self._table.forget()
            self.kept.forget()
            self._followed = None

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Make what is done in a block one change, of the tables and of what is kept in memory."""
        with self._lock:
            try:
                with self._database.atomic():
                    yield
            except BaseException:
                self.forget()
                raise

    def _enter(
        self,
        erasure: Erasure,
        act: Act,
        copies: NDArray[np.void],
        position: int,
        *,
        interrupted: bool = False,
        **details: bool,
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
            **{name: True for name, value in details.items() if value},
        }
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
