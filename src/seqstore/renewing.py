"""Blocks that are written anew for a volume that did not write them are followed where they lie then.

A block that one copy of a volume cannot read, or that a crash left different there, is written anew as the
volume's own, whoever wrote it. Before that it is written down whose it was: erasures of what was deleted by
then get one more, which follows them, and those of what is deleted later know of the block from the audit
log. Nothing of that is taken back when the block is not written after all: then nobody shows it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seqstore._native.records import SHOWN_DTYPE
from seqstore.audit_records import Act, Subject
from seqstore.engine_volume import EngineVolume
from seqstore.errors import AuditError, SeqstoreError
from seqstore.following import Brought, at_addresses, by_volume
from seqstore.placements import Placement
from seqstore.shared import MOST_BLOCKS, blocks_of, common, find_holders, unite
from seqstore.units import MAX_UNSIGNED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from seqstore.audit import AuditLog
    from seqstore.audit_records import AuditRecord
    from seqstore.catalog import Catalog
    from seqstore.engine_mirror import Leg
    from seqstore.evidence import Evidence
    from seqstore.fleet import Fleet, Member
    from seqstore.promise import Erasure
    from seqstore.shared import DriveLayers, Shared


@dataclass(frozen=True, slots=True)
class Renewal:
    """Blocks that were written anew for a volume on a drive.

    Attributes
    ----------
    drive : int
    names : SHOWN_DTYPE[n]
        What they are called there, as blocks of the volume.
    owners : SHOWN_DTYPE[n]
        Through which volume each had been written, of which tenant's; the layer is the volume's number.
    """

    drive: int
    names: NDArray[np.void]
    owners: NDArray[np.void]


class Renewals:
    """All that was ever written anew, as the audit log tells it.

    Any number of threads may ask.

    Parameters
    ----------
    audit : AuditLog
    lock : RLock
        The catalog's. It is held from the look at who shows what to the record that tells it, by deletions
        and by what is written anew.
    """

    def __init__(self, audit: AuditLog, lock: threading.RLock) -> None:
        self._audit = audit
        self._lock = lock
        self._read: AuditRecord | None = None  # the last record of the audit log that was looked at
        self._known: list[Renewal] = []

    def on(self, drive: int) -> list[Renewal]:
        """Return what was written anew on a drive; of an audit log that does not hold, as far as it does."""
        with self._lock:
            with suppress(AuditError):
                self.read()
            return [renewal for renewal in self._known if renewal.drive == drive]

    def note(self, drive: int, names: NDArray[np.void], owners: NDArray[np.void], name: str) -> None:
        """Write down that blocks of a layer of a volume's will be what others wrote.

        Parameters
        ----------
        drive : int
        names : SHOWN_DTYPE[n]
            Of one layer.
        owners : SHOWN_DTYPE[m]
            Whose they were, at the same addresses.
        name : str
            The volume's.
        """
        first = names[0]
        about = Subject(kind="volume", number=int(first["volume"]), name=name, tenant=int(first["tenant"]))
        runs = unite([by_volume(owners)])[["tenant", "volume", "lba", "count"]].tolist()
        details = {"drive": drive, "layer": int(first["layer"]), "runs": [list(run) for run in runs]}
        self._audit.append(Act.BLOCKS_RENEWED, about, details)

    def read(self) -> None:
        """Read each record once; a record that was taken back was not the last one for long.

        Raises
        ------
        AuditError
            If the log does not hold.
        """
        with self._lock:
            self._read_on()

    def _read_on(self) -> None:
        if self._read is not None and (
            self._read.number > len(self._audit) or self._audit[self._read.number] != self._read
        ):
            self._read, self._known = None, []
        for record in self._audit.records(1 if self._read is None else self._read.number + 1):
            if record.act == Act.BLOCKS_RENEWED.value:
                self._known.append(_read_renewal(record))
            self._read = record


def _read_renewal(record: AuditRecord) -> Renewal:
    """Return what a record tells of.

    Raises
    ------
    AuditError
        If it is none that a store writes.
    """
    subject, details = record.subject, record.details
    drive, layer, rows = details.get("drive"), details.get("layer"), details.get("runs")
    named = [drive, layer, subject.get("tenant"), subject.get("number")]
    is_list = isinstance(rows, list) and all(isinstance(row, list) and len(row) == 4 for row in rows)
    runs = rows if is_list and rows is not None else []
    numbers = [*named, *(value for row in runs for value in row)]
    if (
        not runs
        or any(type(value) is not int or not 0 <= value <= MAX_UNSIGNED for value in numbers)
        or any(not (tenant and volume) or lba + count > MOST_BLOCKS for tenant, volume, lba, count in runs)
    ):
        raise AuditError(
            f"record {record.number} does not say which blocks were written anew: the audit log was changed;"
            " look for a copy of the catalog that has it as it was",
            number=record.number,
        )
    owners = np.zeros(len(runs), SHOWN_DTYPE)
    for row, (tenant, volume, lba, count) in zip(owners, runs, strict=True):
        row["tenant"], row["volume"], row["lba"], row["count"] = tenant, volume, lba, count
    names = owners.copy()
    names["tenant"], names["volume"], names["layer"] = subject["tenant"], subject["number"], layer
    return Renewal(details["drive"], unite([names]), by_volume(owners))


def find_renewed(
    renewals: Sequence[Renewal], layers: DriveLayers, subject: Subject, shared: Shared
) -> Brought:
    """Return what was written anew on a drive and is of something to be deleted, or the other way round.

    Others may show what was written anew for them of its blocks; and where that was done for it, others may
    show the blocks that these were before.

    Parameters
    ----------
    renewals : sequence of Renewal
        On the drive.
    layers : DriveLayers
        Of the drive.
    subject : Subject
    shared : Shared
        What of it others show or would die with it, as far as the layers tell.
    """
    if not renewals:
        return Brought(np.empty(0, SHOWN_DTYPE), set())
    first, count = blocks_of(layers.block_size, subject)
    entries = layers.volumes()
    own = {subject.number} & entries.keys()
    if subject.kind == "tenant":
        own = {number for number, tenant in entries.items() if tenant == subject.number}
    shown = _show(layers, own, first, count)
    origins = unite(
        at_addresses(each.owners, hit) for each in renewals if len(hit := common(shown, each.names))
    )
    mine = unite([by_volume(shared.kept), by_volume(shared.dying), origins])
    names = unite(
        at_addresses(each.names, _find_own(each.owners, subject, mine, first, count)) for each in renewals
    )
    written = set(names["volume"].tolist())
    others = find_holders(layers, written | set(origins["volume"].tolist()), first, count) & entries.keys()
    theirs = _show(layers, others - own, first, count)
    before = [
        at_addresses(theirs[theirs["volume"] == volume], origins[origins["volume"] == volume])
        for volume in np.unique(origins["volume"])
    ]
    return Brought(unite([common(names, theirs), *before]), written)


def _show(layers: DriveLayers, numbers: Iterable[int], first: int, count: int) -> NDArray[np.void]:
    return unite(layers.shown(number, first, count, with_own=True) for number in sorted(numbers))


def _find_own(
    owners: NDArray[np.void], subject: Subject, mine: NDArray[np.void], first: int, count: int
) -> NDArray[np.void]:
    """Return which blocks were of a subject before, by their owners."""
    is_own = np.zeros(len(owners), bool)
    if subject.kind != "snapshot":
        is_own = owners["tenant" if subject.kind == "tenant" else "volume"] == subject.number
    inside = owners[is_own].copy()
    inside["lba"], inside["count"] = first, count
    return unite([common(owners[is_own], unite([inside])), common(owners, mine)])


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
