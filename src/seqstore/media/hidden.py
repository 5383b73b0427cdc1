"""A simulated drive with places that no address leads to, and which may lie about them.

Behind the addresses of a `HiddenDrive` lie more blocks than it shows: spare ones and the bad ones that they
replaced, those that it works with (with `translates`, every write goes to one of them, as on flash, and the
block that had the address before keeps what it held), those that it was told not to show, and copies of the
last writes in a cache that needs no power. It has a sanitize command for all of them. It can be made to
report that the command was done and do nothing, or only part of it, as drives have been found to.

References
----------
Wei, Grupp, Spada and Swanson, "Reliably Erasing Data From Flash-Based Solid State Drives", FAST 2011.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, SupportsIndex

from seqstore.errors import ConfigError
from seqstore.media.faults.drive import FaultyDrive
from seqstore.media.faults.plan import LOST
from seqstore.media.faults.plate import MemoryPlate
from seqstore.media.geometry import Geometry
from seqstore.media.places import Area, DriveIdentity, HealthRow


class HiddenPlate:
    """Blocks of which some have addresses: where the bytes of a `HiddenDrive` lie.

    Parameters
    ----------
    geometry : Geometry
        Of what has addresses.
    spare, working, protected, cached : int
        Blocks of each kind besides.
    translates : bool
        Whether each write goes to one of the working blocks, which takes the address over.
    """

    def __init__(
        self,
        geometry: Geometry,
        *,
        spare: int,
        working: int,
        protected: int,
        cached: int,
        translates: bool,
    ) -> None:
        size, first = geometry.block_size, geometry.blocks
        total = first + spare + working + protected + cached
        self.blocks = MemoryPlate(bytes(total * size), size)
        self.block_size = size
        self._where = list(range(first))
        self._is_plain = True  # every block lies at its address
        self._translates = translates
        self._ring = deque(range(first + spare, first + spare + working))
        self._cache = deque(range(total - cached, total))
        self.areas: dict[Area, list[int]] = {
            Area.SPARE: list(range(first, first + spare)),
            Area.REPLACED: [],
            Area.HOST_PROTECTED: list(range(first + spare + working, total - cached)),
        }
        self._total = total

    def members(self, area: Area) -> Sequence[int]:
        """Return the physical blocks of an area, in the order of its own addresses."""
        if area is Area.USER:
            return self._where
        if area is Area.OVER_PROVISIONED:
            return sorted(self._ring)
        return sorted(self._cache) if area is Area.CACHE else self.areas[area]

    def read(self, mba: int, count: int, /) -> bytes:
        """Return blocks by their addresses."""
        if self._is_plain:
            return self.blocks.read(mba, count)
        return b"".join(self.blocks.read(self._where[block], 1) for block in range(mba, mba + count))

    def overwrite(self, mba: int, data: bytes, /) -> None:
        """Write blocks at their addresses."""
        self._is_plain = self._is_plain and not self._translates
        if self._is_plain and not self._cache:
            self.blocks.overwrite(mba, data)
            return
        for index in range(len(data) // self.block_size):
            block = data[index * self.block_size : (index + 1) * self.block_size]
            if self._translates and self._ring:
                self._ring.append(self._where[mba + index])
                self._where[mba + index] = self._ring.popleft()
            self.blocks.overwrite(self._where[mba + index], block)
            if self._cache:
                self.blocks.overwrite(self._cache[0], block)
                self._cache.rotate(-1)

    def replace(self, mba: int) -> bool:
        """Let a spare block take over an address, and what the block held; whether there was one left."""
        if not self.areas[Area.SPARE]:
            return False
        spare = self.areas[Area.SPARE].pop(0)
        bad = self._where[mba]
        self.blocks.overwrite(spare, self.blocks.read(bad, 1))
        self._where[mba] = spare
        self._is_plain = False
        self.areas[Area.REPLACED].append(bad)
        return True

    def clear(self, areas: Iterable[Area]) -> None:
        """Write zeros over all blocks of some areas."""
        for area in areas:
            for block in self.members(area):
                self.blocks.overwrite(block, bytes(self.block_size))

    def image(self) -> bytes:
        """Return all blocks there are, by their physical addresses."""
        return self.blocks.read(0, self._total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A hidden area of a `HiddenDrive`, as the drive lets it be reached; see `HiddenPlace`."""

    drive: HiddenDrive
    area: Area
    can_write: bool
    can_read: bool

    @property
    def blocks(self) -> int:
        """Its size."""
        return len(self.drive.physical.members(self.area))

    def read(self, first: int, count: int) -> bytes:
        """Return blocks."""
        self._require(self.can_read)
        plate = self.drive.physical
        return b"".join(plate.blocks.read(b, 1) for b in plate.members(self.area)[first : first + count])

    def write(self, first: int, data: bytes) -> None:
        """Write blocks."""
        self._require(self.can_write)
        plate, size = self.drive.physical, self.drive.geometry.block_size
        for index, block in enumerate(plate.members(self.area)[first : first + len(data) // size]):
            plate.blocks.overwrite(block, data[index * size : (index + 1) * size])

    def _require(self, can: bool) -> None:
        if not can:
            raise OSError(errno.EOPNOTSUPP, f"the drive gives no access to its {self.area.value} blocks")


class HiddenDrive(FaultyDrive):
    """A faulty drive with hidden places; see `FaultyDrive` for its faults and for what a host may ask for.

    A `FaultMedium` makes a medium of it. `clone` copies what has addresses, and nothing else.

    Parameters
    ----------
    capacity, block_size, zone_size : int or str
        Of what has addresses, as of other media.
    spare, working, protected, cached : int
        Blocks of each hidden kind, see `HiddenPlate`.
    translates : bool
        Whether writes go to other blocks than those that they write over.
    serial, vendor, model, media_type : str
        What the drive says of itself.
    vendor_reads : bool
        Whether there is a way to read every block, such as a vendor's commands or the bare chips.
    **options
        Of `FaultyDrive`; not `plate`.

    Attributes
    ----------
    identity : DriveIdentity
        May be replaced.
    admits : frozenset of Area
        Areas that the drive tells of; all that have blocks by default.
    lies_on_sanitize : bool
        The sanitize command reports success and does nothing.
    leaves_out : frozenset of Area
        Areas that the sanitize command leaves as they are, and reports success.
    fails_on_sanitize : bool
        The sanitize command reports an error.
    cannot_power_cycle : bool
        Whether nobody can take the power away.
    """

    def __init__(
        self,
        capacity: SupportsIndex | str,
        *,
        block_size: SupportsIndex | str = 4096,
        zone_size: SupportsIndex | str | None = None,
        spare: int = 0,
        working: int = 0,
        protected: int = 0,
        cached: int = 0,
        translates: bool = False,
        serial: str = "SIM-0001",
        vendor: str = "seqstore",
        model: str = "hidden places",
        media_type: str = "simulated",
        vendor_reads: bool = True,
        **options: Any,
    ) -> None:
        geometry = Geometry.divide(capacity, block_size=block_size, zone_size=zone_size)
        if translates and not working:
            raise ConfigError("translates=True needs working blocks; give working=")
        self.physical = HiddenPlate(
            geometry,
            spare=spare,
            working=working,
            protected=protected,
            cached=cached,
            translates=translates,
        )
        super().__init__(capacity, block_size=block_size, zone_size=zone_size, plate=self.physical, **options)
        self.identity = DriveIdentity(
            serial=serial,
            vendor=vendor,
            model=model,
            media_type=media_type,
            blocks=geometry.blocks,
            block_size=geometry.block_size,
        )
        self.admits = frozenset(Area) - {Area.USER}
        self.lies_on_sanitize = self.fails_on_sanitize = self.cannot_power_cycle = False
        self.leaves_out: frozenset[Area] = frozenset()
        self._vendor_reads = vendor_reads
        self._power_cycles = 0

    # ---- what a host may ask for, besides ------------------------------------------------------

    def identify(self) -> DriveIdentity:
        """Say who it is, if it has power and is not dead.

        Raises
        ------
        OSError
            If it cannot.
        """
        with self._lock:
            self._begin()
            return replace(self.identity)

    def places(self) -> tuple[Place, ...]:
        """List the hidden areas that the drive admits to and that have blocks."""
        areas = [area for area in Area if area in self.admits and self.physical.members(area)]
        return tuple(
            Place(
                drive=self,
                area=area,
                can_write=area is Area.HOST_PROTECTED,
                can_read=self._vendor_reads or area is Area.HOST_PROTECTED,
            )
            for area in areas
            if area is not Area.USER
        )

    def sanitize(self) -> None:
        """Write zeros over every block there is, hidden or not: the drive's own command.

        Raises
        ------
        OSError
            If it fails, or the drive has no power or is dead.
        """
        with self._lock:
            self._begin()
            if self.fails_on_sanitize:
                raise OSError(errno.EIO, "the sanitize command failed")
            if not self.lies_on_sanitize:
                self._unsynced.clear()
                self.physical.clear(area for area in Area if area not in self.leaves_out)

    def power_cycle(self) -> bool:
        """Take the power and give it back: what only a volatile cache held is lost. False: nobody can."""
        if self.cannot_power_cycle:
            return False
        self.power_cut(lambda _: LOST)
        self.reboot()
        self._power_cycles += 1
        return True

    def reports_health(self) -> tuple[HealthRow, ...]:
        """Return the table in which the drive says how it is."""
        counts = self.counts
        replaced = len(self.physical.members(Area.REPLACED))
        raws = {
            (5, "reallocated sectors"): replaced,
            (12, "power cycles"): self._power_cycles,
            (170, "spare blocks left"): len(self.physical.members(Area.SPARE)),
            (181, "write errors"): counts.write_errors,
            (187, "uncorrectable read errors"): counts.read_errors,
            (192, "power cuts"): counts.power_cuts,
            (197, "pending sectors"): len(self._bad.on_read),
            (241, "blocks written"): counts.written_blocks,
            (242, "blocks read"): counts.read_blocks,
        }
        return tuple(HealthRow(number=n, name=name, raw=raw) for (n, name), raw in raws.items())

    # ---- for tests -------------------------------------------------------------------------------

    def wear_out(self, mba: int) -> bool:
        """Let a block go bad and be replaced by a spare one, if one is left: whether it was.

        Without a spare block it cannot be written from then on.
        """
        with self._lock:
            replaced = self.physical.replace(mba)
            if not replaced:
                self.bad_on_write(mba)
            return replaced

    def plant(self, area: Area, first: int, data: bytes) -> None:
        """Put blocks into an area, whatever the drive lets a host do."""
        size = self.geometry.block_size
        for index, block in enumerate(self.physical.members(area)[first : first + len(data) // size]):
            self.physical.blocks.overwrite(block, data[index * size : (index + 1) * size])

    def everything(self) -> bytes:
        """Return every block there is, admitted or not, as somebody sees who takes the drive apart."""
        with self._lock:
            return self.physical.image()
