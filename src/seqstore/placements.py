"""Where volumes and snapshots lie: which drive, under which number there, and whether that copy is believed.

A copy that missed a change is stale before the change is acknowledged, so that a drive which comes back from
wherever it was is not believed. Numbers on drives are drawn from the sequence of volumes and snapshots, so
that a number says which copy on which drive is meant, and no log meets one twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

from seqstore.errors import FormatError

if TYPE_CHECKING:
    from seqstore.database import Database

PlaceState = Literal["in_sync", "stale", "building", "left"]

_STATES = ("in_sync", "stale", "building", "left")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A volume or snapshot on a drive.

    Attributes
    ----------
    number : int
        Its number in the drive's log.
    volume : int
        Its own number.
    drive : int
    state : {"in_sync", "stale", "building", "left"}
        Up to date; it missed a change; it is being made; it is not there any more, or is to go.
    generation : int
        Counts the times that a copy of the volume became stale; a stale one has an older one than the others.
    changed : bool
        Whether something was written since the copies were last known to be the same.
    """

    number: int
    volume: int
    drive: int
    state: PlaceState
    generation: int = 0
    changed: bool = False

    @property
    def is_there(self) -> bool:
        """Whether the log of the drive is to know it."""
        return self.state in ("in_sync", "stale")


class Placements:
    """The table ``placements`` of a catalog, kept in memory. Any number of threads may use it.

    Each change is durable when the call returns. One that has no row lies on drive 0, under its own number.

    Parameters
    ----------
    database : Database

    Raises
    ------
    FormatError
        If the table holds what it cannot hold.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = database.lock
        self._by_number: dict[int, Placement] = {}
        self._by_volume: dict[int, list[int]] = {}
        self.reload()

    def reload(self) -> None:
        """Read the table anew, after a change of it was taken back."""
        with self._lock:
            self._by_number, self._by_volume = {}, {}
            for row in self._database.run(
                "SELECT number, volume, drive, state, generation, changed FROM placements ORDER BY number"
            ):
                numbers = [value for index, value in enumerate(row) if index != 3]
                if any(type(value) is not int for value in numbers) or row[3] not in _STATES:
                    raise FormatError(
                        f"{self._database.name} is damaged: table placements holds what it cannot hold; open"
                        " the store with rebuild_catalog=True to make the catalog anew from the drives"
                    )
                number, volume, drive, state, generation, changed = row
                self._keep(
                    Placement(
                        number=number,
                        volume=volume,
                        drive=drive,
                        state=cast(PlaceState, state),
                        generation=generation,
                        changed=bool(changed),
                    )
                )

    def _keep(self, placement: Placement) -> None:
        if placement.number not in self._by_number:
            self._by_volume.setdefault(placement.volume, []).append(placement.number)
        self._by_number[placement.number] = placement

    def __len__(self) -> int:
        return len(self._by_number)

    # ---- looking ------------------------------------------------------------------------------

    def of(self, volume: int) -> list[Placement]:
        """Return where a volume or snapshot lies or lay, in the order in which its copies were made."""
        with self._lock:
            numbers = self._by_volume.get(volume)
            if numbers is None:
                return [Placement(number=volume, volume=volume, drive=0, state="in_sync")]
            return [self._by_number[number] for number in numbers]

    def legs(self, volume: int) -> list[Placement]:
        """Return the copies that are up to date."""
        return [place for place in self.of(volume) if place.state == "in_sync"]

    def numbers_on(self, drive: int, volume: int) -> list[int]:
        """Return the numbers that a volume has or had on a drive."""
        return [place.number for place in self.of(volume) if place.drive == drive]

    def find(self, number: int) -> Placement | None:
        """Return what a number on a drive stands for, or None where that is not written down."""
        with self._lock:
            return self._by_number.get(number)

    def volume_of(self, number: int) -> int:
        """Return the volume or snapshot that a number on a drive stands for."""
        with self._lock:
            place = self._by_number.get(number)
            return number if place is None else place.volume

    def on(self, drive: int) -> list[Placement]:
        """Return what is written down of a drive."""
        with self._lock:
            return [place for place in self._by_number.values() if place.drive == drive]

    # ---- changing -----------------------------------------------------------------------------

    def spell_out(self, volumes: Iterable[int]) -> None:
        """Write down what lies on drive 0 and had no row, when there is to be a second drive."""
        with self._lock, self._database.atomic():
            for volume in volumes:
                if volume not in self._by_volume:
                    self.add(Placement(number=volume, volume=volume, drive=0, state="in_sync"))

    def add(self, placement: Placement) -> None:
        """Write down a copy."""
        with self._lock:
            self._database.run(
                "INSERT INTO placements VALUES (?, ?, ?, ?, ?, ?)",
                placement.number,
                placement.volume,
                placement.drive,
                placement.state,
                placement.generation,
                int(placement.changed),
            )
            self._keep(placement)

    def put(self, number: int, state: PlaceState) -> None:
        """Say what a copy is from now on."""
        with self._lock:
            self._write(replace(self._by_number[number], state=state))

    def forget(self, number: int) -> None:
        """Take a copy out that the drive never knew."""
        with self._lock:
            self._database.run("DELETE FROM placements WHERE number = ?", number)
            place = self._by_number.pop(number, None)
            if place is not None:
                self._by_volume[place.volume].remove(number)
                if not self._by_volume[place.volume]:
                    del self._by_volume[place.volume]

    def leave(self, volume: int) -> None:
        """Say that a volume is to be nowhere any more."""
        with self._lock, self._database.atomic():
            for number in self._by_volume.get(volume, ()):
                if self._by_number[number].state != "left":
                    self.put(number, "left")

    def mark_stale(self, number: int) -> None:
        """Do not believe a copy any more; the others of its volume are a generation ahead from then on."""
        with self._lock, self._database.atomic():
            place = self._by_number[number]
            if place.state != "in_sync":
                return
            self.put(number, "stale")
            for other in self.legs(place.volume):
                self._write(replace(other, generation=other.generation + 1))

    def set_generation(self, number: int, generation: int) -> None:
        """Say that a new copy is of the generation of the others."""
        with self._lock:
            self._write(replace(self._by_number[number], generation=generation))

    def mark_changed(self, volume: int, *, changed: bool) -> None:
        """Note whether copies of a volume may differ after a crash."""
        with self._lock, self._database.atomic():
            for place in self.legs(volume):
                if place.number in self._by_number and place.changed != changed:
                    self._write(replace(place, changed=changed))

    def _write(self, placement: Placement) -> None:
        self._database.run(
            "UPDATE placements SET state = ?, generation = ?, changed = ? WHERE number = ?",
            placement.state,
            placement.generation,
            int(placement.changed),
            placement.number,
        )
        self._by_number[placement.number] = placement

    # ---- wishes -------------------------------------------------------------------------------

    def wish(self, volume: int, copies: int, region: str) -> None:
        """Keep how many copies of a volume there are to be, and in which region the first one."""
        if copies != 1 or region:
            self._database.run("INSERT OR REPLACE INTO wishes VALUES (?, ?, ?)", volume, copies, region)

    def wishes(self) -> dict[int, tuple[int, str]]:
        """Return what was asked for: copies and region, by volume; others have one copy, anywhere."""
        rows = self._database.run("SELECT volume, copies, region FROM wishes")
        return {volume: (copies, region) for volume, copies, region in rows}

    def forget_wish(self, volume: int) -> None:
        """Forget it, with the volume."""
        self._database.run("DELETE FROM wishes WHERE volume = ?", volume)
