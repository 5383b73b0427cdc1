"""What others keep of something deleted is followed to the drives to which they are copied.

Whoever keeps blocks of what was deleted takes them along when it moves, or is copied to one more drive.
There they get an erasure that follows the first one. It is asked for before anything is copied, so that a
crash leaves one that lists what was copied by then; when the copies are believed, in the same transaction,
one takes its place that knows what lives on there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seqstore._native.records import SHOWN_DTYPE
from seqstore.errors import AuditError
from seqstore.runs import among
from seqstore.shared import MOST_BLOCKS, DriveLayers, blocks_of, common, find_holders, unite, without

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from seqstore.audit_records import AuditRecord, Subject
    from seqstore.erasures import Erasures
    from seqstore.evidence import Evidence
    from seqstore.fleet import Member
    from seqstore.promise import Erasure

_MOST_RUNS = 64  # in an audit record


class Following:
    """Follows what a family keeps of things deleted while it is copied from one drive to another.

    Parameters
    ----------
    source, target : Member
    numbers : mapping of int to int
        The members of the family, all of them frozen on the source, and their numbers there.
    written : set of int
        Volumes, living or deleted, that copies on the target are written through.
    """

    def __init__(self, source: Member, target: Member, numbers: Mapping[int, int], written: set[int]) -> None:
        self._source, self._target = _evidence(source), _evidence(target)
        self._engine = source.engine
        self._layers = target.layers()
        self._numbers = numbers
        self._written = written
        self._sources = source.layers()
        self._kept = find_taken(self._source, self._sources, numbers)
        self._position = self._target.settle()
        self._asked: dict[int, Erasure] = {}

    def __bool__(self) -> bool:
        return bool(self._kept)

    @property
    def erasures(self) -> list[int]:
        """The ids of those on the target."""
        return sorted(erasure.id for erasure in self._asked.values())

    def begin(self) -> None:
        """Ask for the erasures, before anything is copied."""
        for number in sorted(self._kept):
            self._asked[number] = self._request(number, np.empty(0, SHOWN_DTYPE))

    def settle(self) -> None:
        """Note what lives on there, where all of the family is frozen, in the caller's transaction."""
        # What was written anew meanwhile, since a read met damage, has another name on the source by now.
        for number, by_view in find_taken(self._source, self._sources, self._numbers).items():
            known = self._kept.setdefault(number, {})
            for view, runs in by_view.items():
                known[view] = unite([known.get(view, runs), runs])
        for number, by_view in self._kept.items():
            kept = unite(self._find_kept(view, runs) for view, runs in by_view.items())
            if len(kept):
                if number in self._asked:
                    self._target.erasures.abandon(self._asked[number].id)
                self._asked[number] = self._request(number, kept)

    def _find_kept(self, view: int, runs: NDArray[np.void]) -> NDArray[np.void]:
        """Return what somebody shows on the target of blocks that it showed on the source, and does still."""
        living = common(runs, self._engine.shown(self._numbers[view], 0, MOST_BLOCKS))
        return at_addresses(self._layers.shown(view, 0, MOST_BLOCKS), living)

    def end(self) -> None:
        """List the copies that are dead already: what was overwritten while it was copied, or is given up."""
        for erasure in self._asked.values():
            self._target.deleted(self._target.erasures.get(erasure.id))

    def forget(self) -> None:
        """Take back what `settle` did, when the transaction was taken back."""
        self._target.erasures.forget()
        for number, erasure in list(self._asked.items()):
            if not self._target.erasures.has(erasure.id):
                del self._asked[number]
        for erasure in self._target.erasures.all():
            follows = erasure.request.details.get("follows")
            if erasure.state == "requested" and follows in self._kept:
                self._asked[follows] = erasure

    def _request(self, number: int, kept: NDArray[np.void]) -> Erasure:
        return self._target.follow(self._source.erasures.get(number), kept, self._written, self._position)


def find_taken(
    evidence: Evidence, layers: DriveLayers, numbers: Iterable[int]
) -> dict[int, dict[int, NDArray[np.void]]]:
    """Return which blocks of things deleted a family shows, by erasure and by who shows them."""
    followed = evidence.erasures.kept.open
    if not len(followed):
        return {}
    taken: dict[int, dict[int, NDArray[np.void]]] = {}
    for view in numbers:
        shown = layers.shown(view, 0, MOST_BLOCKS)
        for number in np.unique(followed["erasure"]).tolist():
            runs = common(followed[followed["erasure"] == number], shown)
            if len(runs):
                taken.setdefault(number, {})[view] = runs[list(SHOWN_DTYPE.names or ())]
    return taken


@dataclass(frozen=True, slots=True)
class Brought:
    """What others brought to a drive of something that is to be deleted, or of a part of it that is already.

    There it is written through them, so that its log knows no more whose it was.

    Attributes
    ----------
    kept : SHOWN_DTYPE[n]
        Blocks that they may show still.
    written : set of int
        Volumes, living or deleted, that copies there are written through.
    """

    kept: NDArray[np.void]
    written: set[int]

    def __bool__(self) -> bool:
        return len(self.kept) > 0 or bool(self.written)


def find_brought(
    erasures: Erasures,
    subject: Subject,
    volumes: AbstractSet[int],
    block_size: int,
    shown: NDArray[np.void],
) -> Brought:
    """Return what others brought to the drive of erasures of a tenant, volume, snapshot or range.

    Parameters
    ----------
    erasures : Erasures
    subject : Subject
    volumes : set of int
        Those that all is a part of it that was ever written through them.
    block_size : int
    shown : SHOWN_DTYPE[n]
        What it shows, on any drive, that was written through others: those may have taken it along, too.
    """
    parts, written = [np.empty(0, SHOWN_DTYPE)], set[int]()
    # A log that was broken keeps nobody from deleting.
    with suppress(AuditError):
        for erasure in erasures.following():
            trace, kept = erasures.trace(erasure), erasures.kept.open
            kept = kept[kept["erasure"] == erasure.id][list(SHOWN_DTYPE.names or ())]
            if not any(_concerns(record, subject, volumes) for record in trace):
                through = sorted(set[int]().union(*map(_through, trace)))
                mine = shown[among(shown["volume"], np.array(through, np.uint64))]
                common_kept = at_addresses(kept, mine)
                # Of what is dead there already nobody knows the addresses.
                is_known = len(kept) > 0 and not len(erasures.pending(erasure.id))
                if not len(mine) or (is_known and not len(common_kept)):
                    continue
                kept = common_kept
            parts.append(kept)
            written |= set(erasure.request.details.get("others", ()))
    first, count = blocks_of(block_size, subject)
    own = np.array([(0, 0, 0, first, count)], SHOWN_DTYPE)
    return Brought(at_addresses(unite(parts), own), written)


def _concerns(record: AuditRecord, subject: Subject, volumes: AbstractSet[int]) -> bool:
    """Tell whether what a request was about is, or may be, a part of something."""
    about = record.subject
    if subject.kind == "tenant" and subject.number in (
        about["number"] if about["kind"] == "tenant" else about.get("tenant"),
    ):
        return True
    return not volumes.isdisjoint(_through(record))


def _through(record: AuditRecord) -> set[int]:
    """Return the volumes that blocks which a request was about were written through, as far as it says so."""
    about, kept = record.subject, record.details.get("kept")
    volumes = {about["number"]} if about["kind"] in {"volume", "range"} else {about.get("origin") or 0}
    return volumes | set(kept["volumes"] if kept else ()) | set(record.details.get("volumes", ()))


def find_missed(
    layers: DriveLayers, subject: Subject, shown: NDArray[np.void], mine: NDArray[np.void]
) -> Brought:
    """Return what others show on a drive of something, or of a part of it, that never came there.

    It was made while the drive was away, of blocks that are on the drive as well: whatever was written
    through the same volume, at the same address.

    Parameters
    ----------
    layers : DriveLayers
    subject : Subject
    shown, mine : SHOWN_DTYPE[n]
        What it shows on all drives that others may show, too, and what it does on this one.

    Returns
    -------
    Brought
        Also the volumes of which anything that is dead on the drive may be a part of it.
    """
    missed = without(unite([by_volume(shown)]), unite([by_volume(mine)]))
    if not len(missed):
        return Brought(missed, set())
    volumes = set(missed["volume"].tolist())
    entries = layers.volumes()
    own = {
        n for n, tenant in entries.items() if subject.number == (tenant if subject.kind == "tenant" else n)
    }
    others = find_holders(layers, volumes, 0, MOST_BLOCKS) & entries.keys() - own
    found = unite(layers.shown(number, 0, MOST_BLOCKS, with_own=True) for number in sorted(others))
    parts = [at_addresses(found[found["volume"] == v], missed[missed["volume"] == v]) for v in volumes]
    return Brought(unite(parts), volumes)


def to_details(shown: NDArray[np.void]) -> list[list[int]]:
    """Make of what something shows what an audit record can hold: volume, first lba and count of runs.

    Where there are many they become one for each volume, which covers them all.
    """
    runs = unite([by_volume(shown)])
    if len(runs) > _MOST_RUNS:
        parts = [runs[runs["volume"] == volume] for volume in np.unique(runs["volume"])]
        runs = np.concatenate([part[:1] for part in parts])
        runs["count"] = [part["lba"][-1] + part["count"][-1] - part["lba"][0] for part in parts]
    return [[int(run["volume"]), int(run["lba"]), int(run["count"])] for run in runs]


def from_details(details: Iterable[Iterable[int]]) -> NDArray[np.void]:
    """Return what `to_details` was given, or a little more, with volumes for layers."""
    rows = [tuple(run) for run in details]
    runs = np.zeros(len(rows), SHOWN_DTYPE)
    for name, column in zip(("volume", "lba", "count"), zip(*rows, strict=True), strict=False):
        runs[name] = column
    return by_volume(runs)


def by_volume(runs: NDArray[np.void]) -> NDArray[np.void]:
    """Let blocks be told apart by the volume that they were written through, whatever the layer."""
    found = runs.copy()
    found["layer"] = found["volume"]
    return found


def at_addresses(runs: NDArray[np.void], others: NDArray[np.void]) -> NDArray[np.void]:
    """Return the pieces of runs at whose addresses others lie, in whatever layer: copies keep addresses."""
    parts = [runs[:0]]
    for layer in np.unique(runs["layer"]):
        wanted = np.empty(len(others), SHOWN_DTYPE)
        wanted["lba"], wanted["count"], wanted["layer"] = others["lba"], others["count"], layer
        wanted["tenant"] = wanted["volume"] = 0
        parts.append(common(runs[runs["layer"] == layer], unite([wanted])))
    return np.concatenate(parts)


def _evidence(member: Member) -> Evidence:
    assert member.evidence is not None
    return member.evidence
