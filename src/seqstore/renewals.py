"""Which blocks were written anew for a volume that did not write them, as the audit log tells it.

A record says whose the blocks were, and is there before they are written. What is deleted later is looked for
by it; where a block was not written after all, nobody shows it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seqstore._native.records import SHOWN_DTYPE
from seqstore.audit_records import Act, Subject
from seqstore.errors import AuditError
from seqstore.following import Brought, at_addresses, by_volume
from seqstore.shared import MOST_BLOCKS, blocks_of, common, find_holders, unite
from seqstore.units import MAX_UNSIGNED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from seqstore.audit import AuditLog
    from seqstore.audit_records import AuditRecord
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
