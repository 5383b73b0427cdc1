"""What goes wrong by chance, and what has been counted: the values of the fault medium."""

from __future__ import annotations

from dataclasses import dataclass, fields

from seqstore.errors import ConfigError

SECTOR_BYTES = 512
KEPT = -1
"""Fate of a write that a power cut leaves alone: all sectors, however many there are."""
LOST = 0
"""Fate of a write of which a power cut leaves nothing."""


def first_sectors(count: int) -> int:
    """Return the fate of a write of which the first `count` sectors came to the medium."""
    return (1 << count) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """Chances of faults, each between 0 and 1, and the time that operations take.

    Attributes
    ----------
    in_order : float
        Of a power cut: that it keeps the unsynced writes up to one of them, part of that one, and none after.
    keep, lose : float
        Of an unsynced write at any other power cut: that it is kept, or lost, as a whole. Else each of its
        blocks is kept or lost with the same chances, and else each of the block's sectors by the toss of a
        coin.
    rot : float
        Of a block that is written: that bits of it flip on the medium, 1 to `rot_bits` of them.
    rot_bits : int
        The most bits of a block that flip at once.
    misdirect : float
        Of a write: that it lands elsewhere.
    lose_write : float
        Of a write: that it is acknowledged and never done.
    bad_on_read, bad_on_write : float
        Of a block that is read or written: that it turns out to be bad.
    lie : float
        Of a sync: that it returns and has done nothing.
    latency_ns : int
        Time that each operation takes by the clock.
    stall, stall_ns : float, int
        Chance that an operation takes longer, and by how much.
    """

    in_order: float = 0.25
    keep: float = 0.35
    lose: float = 0.35
    rot: float = 0.0
    rot_bits: int = 1
    misdirect: float = 0.0
    lose_write: float = 0.0
    bad_on_read: float = 0.0
    bad_on_write: float = 0.0
    lie: float = 0.0
    latency_ns: int = 0
    stall: float = 0.0
    stall_ns: int = 0

    def __post_init__(self) -> None:
        chances = {f.name: getattr(self, f.name) for f in fields(self) if f.type == "float"}
        for name, chance in chances.items():
            if not 0.0 <= chance <= 1.0:
                raise ConfigError(f"{name} is {chance}; a chance between 0 and 1 is expected")
        if self.keep + self.lose > 1.0:
            raise ConfigError(
                f"keep and lose are {self.keep} and {self.lose}; together at most 1 is expected"
            )
        if self.rot_bits < 1:
            raise ConfigError(f"rot_bits is {self.rot_bits}; at least 1 is expected")
        for name in ("latency_ns", "stall_ns"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; a time is not negative")


@dataclass(slots=True, kw_only=True)
class FaultCounts:
    """What a drive was asked for, and what went wrong.

    Attributes
    ----------
    appends, overwrites, reads, syncs, resets : int
        Calls that were taken on, those included that then failed.
    written_blocks, read_blocks : int
        Blocks that came to the medium, and blocks that were handed out.
    power_cuts : int
        And what they decided: `kept_sectors` and `lost_sectors` of unsynced writes, `torn_writes` of which
        some sectors were kept and some lost.
    rotted_bits, misdirected_writes, lost_writes, lying_syncs : int
        Faults that the host was not told of.
    read_errors, write_errors, out_of_space : int
        Faults that it was told of: bad blocks met, and writes that found no room.
    refused : int
        Calls to a drive that is without power or dead.
    stalls, busy_ns : int
        Operations that took longer, and the time that all of them took.
    """

    appends: int = 0
    overwrites: int = 0
    reads: int = 0
    syncs: int = 0
    resets: int = 0
    written_blocks: int = 0
    read_blocks: int = 0
    power_cuts: int = 0
    kept_sectors: int = 0
    lost_sectors: int = 0
    torn_writes: int = 0
    rotted_bits: int = 0
    misdirected_writes: int = 0
    lost_writes: int = 0
    lying_syncs: int = 0
    read_errors: int = 0
    write_errors: int = 0
    out_of_space: int = 0
    refused: int = 0
    stalls: int = 0
    busy_ns: int = 0

    @property
    def operations(self) -> int:
        """All calls that were taken on."""
        return self.appends + self.overwrites + self.reads + self.syncs + self.resets


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsyncedWrite:
    """A write that no completed sync covers: what a power cut decides about.

    Attributes
    ----------
    number : int
        Which write it was: appends and overwrites are counted together, from 1.
    mba : int
        Where it landed.
    data : bytes
        What was written.
    old : bytes
        What lay there before.
    """

    number: int
    mba: int
    data: bytes
    old: bytes

    @property
    def sectors(self) -> int:
        """Sectors that were written."""
        return len(self.data) // SECTOR_BYTES

    def mix(self, below: bytes, fate: int) -> bytes:
        """Lay the sectors that the fate keeps over what lies below.

        Parameters
        ----------
        below : bytes
            As many as `data`.
        fate : int
            Bit i: sector i of the write came to the medium.
        """
        mixed = bytearray(below)
        for sector in range(self.sectors):
            if fate >> sector & 1:
                place = slice(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES)
                mixed[place] = self.data[place]
        return bytes(mixed)
