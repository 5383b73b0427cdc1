"""What went with drives that are lost: volumes and snapshots of which no copy is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seqstore.audit_records import SubjectKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A volume or snapshot that cannot be read any more.

    Attributes
    ----------
    kind : {"volume", "snapshot"}
    number : int
    name, tenant : str
        Its name, and its owner's.
    drives : tuple of int
        Where it lay.
    why : str
        What happened to these drives.
    runs : tuple of (int, int), or None
        First lba and number of the blocks that were written: what was lost. None where that is not known,
        since the drive was not there any more when the store was opened: then it is all that was written.
    """

    kind: SubjectKind
    number: int
    name: str
    tenant: str
    drives: tuple[int, ...]
    why: str
    runs: tuple[tuple[int, int], ...] | None

    @property
    def blocks(self) -> int | None:
        """How many blocks; None where that is not known."""
        return None if self.runs is None else sum(count for _, count in self.runs)
