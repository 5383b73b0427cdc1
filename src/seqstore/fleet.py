"""The drives that a store has in use, with their logs; what is asked of all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqstore.engine_deletion import DriveDeletion
from seqstore.errors import MediumError, NotFoundError
from seqstore.stats import add_counters

if TYPE_CHECKING:
    from seqstore.engine import Engine
    from seqstore.evidence import Evidence
    from seqstore.media.native import NativeMedium
    from seqstore.placements import Placements

_MOST_BLOCKS = 1 << 38  # of a volume


@dataclass(slots=True, eq=False)
class Member:
    """A drive in use.

    Attributes
    ----------
    number : int
    medium : NativeMedium
    engine : Engine
        Its log.
    is_own_medium : bool
        Whether the store closes the medium.
    placements : Placements
    recovery : dict of str to int, or None
        What opening the log found; None for a new one.
    evidence : Evidence or None
        Follows the copies of what is deleted.
    """

    number: int
    medium: NativeMedium
    engine: Engine
    is_own_medium: bool
    placements: Placements
    recovery: dict[str, int] | None = None
    evidence: Evidence | None = None

    def deletion(self) -> DriveDeletion:
        """Return what its log does about deleted data, by the numbers of volumes."""
        return DriveDeletion(
            self.engine,
            lambda volume: self.placements.numbers_on(self.number, volume),
            self.placements.volume_of,
        )

    def reach(self, volume: int, lba: int = 0, count: int = _MOST_BLOCKS) -> dict[int, int]:
        """Say who else shows blocks that were written through a volume, and how many, by their numbers."""
        blocks: dict[int, int] = {}
        for number in self.placements.numbers_on(self.number, volume):
            for row in self.engine.reach(number, lba, count):
                holder = self.placements.volume_of(int(row["number"]))
                if holder != volume:
                    blocks[holder] = blocks.get(holder, 0) + int(row["blocks"])
        return blocks

    def close_medium(self) -> None:
        """Close the medium, if that is the store's to do."""
        if self.is_own_medium:
            self.medium.close()


class Fleet:
    """The drives in use. Any number of threads may ask; what changes holds the lock of the registry.

    Parameters
    ----------
    members : list of Member
        At least one.
    """

    def __init__(self, members: list[Member]) -> None:
        self._members = {member.number: member for member in members}

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self._members.values()))

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, drive: int) -> bool:
        return drive in self._members

    @property
    def first(self) -> Member:
        """The drive of the smallest number."""
        return next(iter(self._members.values()))

    def member(self, drive: int) -> Member:
        """Return a drive in use.

        Raises
        ------
        NotFoundError
            If it is not in use.
        """
        try:
            return self._members[drive]
        except KeyError:
            raise NotFoundError(
                f"drive {drive} is not in use: it is missing, failed or out of service; look at Store.drives"
            ) from None

    def add(self, member: Member) -> None:
        """Take a drive into use."""
        self._members = dict(sorted([*self._members.items(), (member.number, member)]))

    def remove(self, drive: int) -> Member:
        """Take a drive out of use; the last one stays."""
        if len(self._members) == 1:
            raise MediumError(f"drive {drive} is the only one in use; add another one first")
        member = self.member(drive)
        self._members = {number: other for number, other in self._members.items() if number != drive}
        return member

    # ---- all of them --------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the store was closed."""
        return self.first.engine.closed

    @property
    def disowned(self) -> bool:
        """Whether this process was forked from the one that opened the store."""
        return self.first.engine.disowned

    def require_open(self) -> None:
        """Raise `ClosedError` if the store was closed."""
        self.first.engine.require_open()

    def flush(self) -> dict[int, MediumError]:
        """Return when everything acknowledged is safe on all drives, and say which of them failed."""
        return self.each(lambda member: member.engine.flush())

    def each(
        self, work: Callable[[Member], None], drives: Iterable[int] | None = None
    ) -> dict[int, MediumError]:
        """Do something with each drive, or some, and say which of them failed."""
        failed: dict[int, MediumError] = {}
        for member in self if drives is None else map(self.member, drives):
            try:
                work(member)
            except MediumError as error:  # noqa: PERF203 (a few drives)
                failed[member.number] = error
        return failed

    def counters(self) -> dict[str, int]:
        """Add up the counters of the logs."""
        return add_counters([member.engine.counters() for member in self])

    def check(self) -> None:
        """Walk every structure of the logs and compare them."""
        for member in self:
            member.engine.check()

    def reach(self, volume: int, lba: int = 0, count: int = _MOST_BLOCKS) -> dict[int, int]:
        """Say who else shows blocks of a volume; what lies on several drives is counted once."""
        blocks: dict[int, int] = {}
        for member in self:
            for holder, number in member.reach(volume, lba, count).items():
                blocks[holder] = max(blocks.get(holder, 0), number)
        return blocks

    def volumes(self) -> set[int]:
        """Return the numbers of all volumes and snapshots that some log knows, as they are in the store."""
        return {
            member.placements.volume_of(int(entry["number"]))
            for member in self
            for entry in member.engine.volumes()
        }
