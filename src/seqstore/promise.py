"""What was asked for: a deletion, how it is to be carried out, and by when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from seqstore.audit_records import AuditRecord, Subject

State = Literal["requested", "listed", "abandoned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """How a deletion is carried out, and by when.

    Attributes
    ----------
    strategy : str
        As a program writes it, such as ``"Deadline(laps=2)"``.
    bound_writes : int or None
        Blocks put on the medium until the last copy is gone; None promises nothing.
    bound_ns : int or None
        The same in time.
    """

    strategy: str
    bound_writes: int | None = None
    bound_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """A deletion that is followed until no copy is left.

    Attributes
    ----------
    id : int
        Names it; from 1.
    state : {"requested", "listed", "abandoned"}
        Asked for; the copies are known; it did not happen, since a crash came before it.
    request : AuditRecord
        What was asked for, by whom and when.
    requested_position, listed_position : int, int or None
        The log's time then, and when the copies were listed.
    """

    id: int
    state: State
    request: AuditRecord
    requested_position: int
    listed_position: int | None

    @property
    def subject(self) -> Subject:
        """What is to be deleted."""
        return Subject(**self.request.subject)

    @property
    def promise(self) -> Promise:
        """The strategy and its bound, as they were when it was asked for."""
        details = self.request.details
        return Promise(
            strategy=details["strategy"], bound_writes=details["bound_writes"], bound_ns=details["bound_ns"]
        )


def volumes_of(erasure: Erasure) -> set[int]:
    """List the volumes that the copies of an erasure were written through, or will have been."""
    subject, details = erasure.subject, erasure.request.details
    volumes = {*details["volumes"], *details.get("others", ()), *left_through(erasure)}
    if details.get("kept"):
        volumes |= set(details["kept"]["volumes"])
    if subject.kind == "snapshot" and subject.origin is not None:
        volumes.add(subject.origin)
    return volumes


def left_through(erasure: Erasure) -> set[int]:
    """List the volumes of which all that is dead on the drive may be of an erasure, whenever it died.

    It left them there when it moved, or the drive missed the deletion and what it showed.
    """
    details = erasure.request.details
    return {*details.get("left", ()), *details.get("through", ())}


def weakest(promises: Iterable[Promise]) -> Promise:
    """Return what holds at least of blocks that were written through any of several volumes."""
    found = list(promises)
    writes, times = [each.bound_writes for each in found], [each.bound_ns for each in found]
    return Promise(
        strategy=" or ".join(sorted({each.strategy for each in found})),
        bound_writes=None if None in writes else max(filter(None, writes), default=None),
        bound_ns=None if None in times else max(filter(None, times), default=None),
    )
