"""Blocks that are written anew for a volume that did not write them are followed where they lie then.

A block that one copy of a volume cannot read, or that a crash left different there, is written anew as the
volume's own, whoever wrote it. Before that it is written down whose it was: erasures of what was deleted by
then get one more, which follows them, and those of what is deleted later know of the block from the record.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import numpy as np

from seqstore._native.records import SHOWN_DTYPE
from seqstore.engine_volume import EngineVolume
from seqstore.errors import SeqstoreError
from seqstore.following import at_addresses, by_volume
from seqstore.placements import Placement
from seqstore.renewals import Renewal, Renewals
from seqstore.shared import MOST_BLOCKS, common, unite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from seqstore.catalog import Catalog
    from seqstore.engine_mirror import Leg
    from seqstore.evidence import Evidence
    from seqstore.fleet import Fleet, Member
    from seqstore.promise import Erasure


class Renewer:
    """Sees to it that blocks which are written anew are followed.

    Parameters
    ----------
    fleet : Fleet
    catalog : Catalog
    renewals : Renewals
    lock : RLock
        The registry's: it is held where numbers are drawn.
    """

    def __init__(self, fleet: Fleet, catalog: Catalog, renewals: Renewals, lock: threading.RLock) -> None:
        self._fleet = fleet
        self._catalog = catalog
        self._renewals = renewals
        self._lock = lock

    @contextmanager
    def writing(self, volume: int, leg: Leg, others: Sequence[Leg], lbas: Sequence[int]) -> Iterator[None]:
        """Follow what is written in a block: what other copies of a volume show is written to one of them.

        Parameters
        ----------
        volume : int
        leg : Leg
            The copy that is written to. Nobody else changes the volume meanwhile.
        others : sequence of Leg
            Those that are read.
        lbas : sequence of int
            The blocks that may be written, ascending.
        """
        asked = self._ask(volume, leg, others, _as_runs(lbas)) if len(lbas) else None
        if asked is None:
            yield
            return
        evidence = self._fleet.member(leg.drive).evidence
        assert evidence is not None
        try:
            yield
            self._freeze(volume, leg)
        finally:
            with suppress(SeqstoreError):  # else the next opening lists what is dead by then
                for erasure in asked:
                    evidence.deleted(erasure)

    def _ask(
        self, volume: int, leg: Leg, others: Sequence[Leg], wanted: NDArray[np.void]
    ) -> list[Erasure] | None:
        """Write down what will be written anew, and return the erasures; None if nobody else wrote any of it.

        A deletion either has asked what others show, and is followed, or finds this in the audit log.
        """
        member = self._fleet.member(leg.drive)
        assert isinstance(leg.view, EngineVolume)
        tenants = {int(entry["number"]): int(entry["tenant"]) for entry in member.engine.volumes()}
        if leg.number not in tenants:
            return None  # it was deleted meanwhile
        evidence = member.evidence
        assert evidence is not None
        first = int(wanted["lba"].min())
        count = int((wanted["lba"] + wanted["count"]).max()) - first
        position = evidence.settle()
        with self._catalog.database.lock:
            owners = [np.empty(0, SHOWN_DTYPE)]
            taken: dict[int, tuple[Evidence, NDArray[np.void]]] = {}
            for source in (self._fleet.member(each.drive) for each in others):
                assert source.evidence is not None
                inherited = at_addresses(_shown(source, volume, first, count), wanted)
                shown = at_addresses(_shown(source, volume, first, count, with_own=True), wanted)
                owners += [inherited, *self._owners_of(source.number, shown)]
                for number, runs in _find_followed(source.evidence, shown).items():
                    taken[number] = (source.evidence, runs)
            whose = unite([by_volume(part) for part in owners])
            if not len(whose) and not taken:
                return None
            names = np.empty(1, SHOWN_DTYPE)
            names["tenant"], names["volume"], names["layer"] = tenants[leg.number], volume, leg.view._layer()
            names["lba"], names["count"] = first, count
            if len(whose):
                self._renewals.note(leg.drive, names, whose, leg.view.name)
            return [
                evidence.follow(origin.erasures.get(number), at_addresses(names, runs), {volume}, position)
                for number, (origin, runs) in sorted(taken.items())
            ]

    def _owners_of(self, drive: int, shown: NDArray[np.void]) -> list[NDArray[np.void]]:
        """Return whose blocks were before that were written anew once already."""
        return [
            at_addresses(renewal.owners, hit)
            for renewal in self._renewals.on(drive)
            if len(hit := common(shown, renewal.names))
        ]

    def _freeze(self, volume: int, leg: Leg) -> None:
        """Take a snapshot for a moment, so that no write of the volume's gets the names of what was written.

        Where somebody else has the lock that is left out, since they may be waiting for this volume: then its
        own writes to these blocks count as what they replace, for as long as they live.
        """
        if not self._lock.acquire(blocking=False):
            return
        try:
            assert isinstance(leg.view, EngineVolume)
            with self._catalog.atomic():
                number = self._catalog.draw_number()
                self._catalog.placements.add(
                    Placement(number=number, volume=volume, drive=leg.drive, state="building")
                )
            with suppress(SeqstoreError):  # a log without room for it
                leg.engine.delete(leg.view._snapshot(number), "deleting a snapshot of a moment")
            self._catalog.placements.put(number, "left")
        finally:
            self._lock.release()


def carry(
    renewals: Renewals,
    known: Sequence[Renewal],
    members: tuple[Member, Member],
    numbers: Mapping[int, int],
    names: Mapping[int, str],
) -> None:
    """Write down what of a family was written anew and is copied to another drive, in a transaction.

    Parameters
    ----------
    renewals : Renewals
    known : sequence of Renewal
        Those on the source, asked for before the transaction.
    members : (Member, Member)
        Source and target.
    numbers : mapping of int to int
        The members of the family, and their numbers on the source.
    names : mapping of int to str
        What they are called.
    """
    source, target = members
    for view, number in numbers.items() if known else ():
        living = source.engine.shown(number, 0, MOST_BLOCKS, with_own=True)
        copied = _shown(target, view, 0, MOST_BLOCKS, with_own=True)
        for renewal in known:
            hit = common(renewal.names, living)
            if not len(hit):
                continue
            there = at_addresses(copied, hit)
            for layer in np.unique(there["layer"]):
                part = there[there["layer"] == layer]
                renewals.note(target.number, part, at_addresses(renewal.owners, part), names[view])


def _shown(
    member: Member, volume: int, first: int, count: int, *, with_own: bool = False
) -> NDArray[np.void]:
    return member.layers().shown(volume, first, count, with_own=with_own)


def _find_followed(evidence: Evidence, shown: NDArray[np.void]) -> dict[int, NDArray[np.void]]:
    """Return what is followed of what is shown, by erasure."""
    kept = evidence.erasures.kept.open
    found = {}
    for number in np.unique(kept["erasure"]).tolist():
        runs = common(kept[kept["erasure"] == number], shown)
        if len(runs):
            found[number] = runs[list(SHOWN_DTYPE.names or ())]
    return found


def _as_runs(lbas: Sequence[int]) -> NDArray[np.void]:
    """Return blocks of no layer, given by ascending addresses."""
    runs = np.zeros(len(lbas), SHOWN_DTYPE)
    runs["lba"], runs["count"] = lbas, 1
    return unite([runs])
