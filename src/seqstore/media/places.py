"""Where bytes lie on a drive, and what a drive says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Area(str, Enum):
    """Where on a drive a block lies; all but the first are hidden from ordinary addresses.

    Attributes
    ----------
    USER
        What has an address.
    SPARE
        Blocks kept to stand for those that go bad, and not yet in use.
    REPLACED
        Bad blocks that a spare one stands for; what was in them still is.
    OVER_PROVISIONED
        What a drive keeps back to work with; old copies of blocks lie there.
    HOST_PROTECTED
        What the drive was told not to show.
    CACHE
        What a drive keeps of the last writes besides, also without power.
    """

    USER = "user"
    SPARE = "spare"
    REPLACED = "replaced"
    OVER_PROVISIONED = "over-provisioned"
    HOST_PROTECTED = "host-protected"
    CACHE = "cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveIdentity:
    """What a drive says of itself.

    Attributes
    ----------
    serial : str
    vendor, model : str
        Empty if unknown.
    media_type : str
        ``"hdd"``, ``"ssd"``, ``"file"``, ``"memory"``, ``"simulated"`` or what it says.
    blocks, block_size : int
        What has an address, in blocks, and bytes of a block.
    """

    serial: str
    vendor: str = ""
    model: str = ""
    media_type: str = ""
    blocks: int
    block_size: int

    @property
    def capacity(self) -> int:
        """Bytes that have an address."""
        return self.blocks * self.block_size


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRow:
    """A line of the table in which a drive says how it is.

    Attributes
    ----------
    number : int
        Of the attribute, as drives with an ATA interface commonly count them.
    name : str
    raw : int
        The count.
    """

    number: int
    name: str
    raw: int


class HiddenPlace(Protocol):
    """A hidden area that a drive admits to. Methods raise `OSError`.

    Attributes
    ----------
    area : Area
    blocks : int
    can_write, can_read : bool
        Whether its blocks can be reached one by one, by whatever way that takes. What cannot be written is
        reached by the drive's own sanitize command, if at all.
    """

    @property
    def area(self) -> Area:
        """Which one."""
        ...

    @property
    def blocks(self) -> int:
        """Its size."""
        ...

    @property
    def can_write(self) -> bool:
        """Whether blocks of it can be written."""
        ...

    @property
    def can_read(self) -> bool:
        """Whether blocks of it can be read."""
        ...

    def read(self, first: int, count: int) -> bytes:
        """Return blocks."""
        ...

    def write(self, first: int, data: bytes) -> None:
        """Write blocks, and make them safe from power cuts."""
        ...
