"""The catalog: names, owners and drives of a store, in an SQLite file or in memory; never in the data path.

The log knows volumes and snapshots by numbers, the catalog by names. So that a crash between the two never
leaves anything half made, a row is written before the log is told of a new number, and removed after the log
has forgotten one durably: a row whose number the log does not know stands for nothing.

Numbers are given here, to volumes and snapshots from one sequence, and none is given twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from seqstore import schema
from seqstore.database import Database
from seqstore.errors import FormatError
from seqstore.placements import Placements

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["volume", "snapshot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a store was made with, and keeps.

    Attributes
    ----------
    created_ns : int
        When, in nanoseconds since 1970-01-01 UTC.
    reserve_ppm : int
        Share of the data capacity that is kept back for cleaning, in millionths.
    selection, placement, classes, seed
        The cleaning policy; see `seqstore.cleaning.Policy`.
    access : {"cached", "direct", "mapped"}
        How the bytes of the drive's file are reached.
    """

    created_ns: int
    reserve_ppm: int
    selection: str
    placement: str
    classes: int = 6
    seed: int = 0
    access: Literal["cached", "direct", "mapped"] = "cached"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveRow:
    """A drive as the catalog knows it.

    Attributes
    ----------
    number : int
        From 0.
    identity : int
        Random number of 64 bits that stands in every record of the drive.
    block_size, zone_blocks, blocks : int
        Bytes of a block, blocks of a zone, blocks of the drive.
    flushed_sequence : int
        A record up to which everything is known to be on the drive.
    openings : tuple of int
        What the last opening can have been, as the drive knows it; empty: anything.
    """

    number: int
    identity: int
    block_size: int
    zone_blocks: int
    blocks: int
    flushed_sequence: int
    openings: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRow:
    """A tenant as the catalog knows it; one that is `deleting` is to go with all that it owns."""

    number: int
    name: str
    deleting: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRow:
    """A volume or snapshot as the catalog knows it.

    Attributes
    ----------
    number, tenant : int
        Its own number, 0 for one that has none yet, and its owner's.
    kind : {"volume", "snapshot"}
    name : str
    unwritten : {"zero", "error"}
        What a read of an unwritten address does.
    origin : int
        For a snapshot the volume that it shows, for a clone the snapshot that it began as, else 0.
    """

    number: int
    tenant: int
    kind: Kind
    name: str
    unwritten: Literal["zero", "error"]
    origin: int


class Catalog:
    """The tables. Made by `create` or `open`; any number of threads may use one.

    Each change is durable when the call returns. All calls raise `MediumError` or `AccessError` where the
    file system does not let them, and `FormatError` where the file is damaged.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.placements = Placements(database)

    @classmethod
    def create(cls, path: Path | None, settings: Settings, drive: DriveRow) -> Catalog:
        """Make a catalog for a new store.

        Parameters
        ----------
        path : Path or None
            Absolute, of a file that is not there yet; None keeps the catalog in memory.
        settings : Settings
        drive : DriveRow
        """
        database = Database(path, "rwc")
        try:
            with database.atomic():
                schema.create(database)
                database.run(
                    "INSERT INTO store VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
                    settings.created_ns,
                    settings.reserve_ppm,
                    settings.selection,
                    settings.placement,
                    settings.classes,
                    settings.seed,
                    settings.access,
                )
                _insert_drive(database, drive)
            return cls(database)
        except BaseException:
            database.close()
            raise

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> Catalog:
        """Open the catalog of a store; one of an older format gets the newest, unless for reading alone.

        Raises
        ------
        FormatError
            If the file is no catalog, or damaged.
        VersionError
            If it is of a newer format.
        MediumError, AccessError
            If it cannot be opened.
        """
        database = Database(path, "ro" if read_only else "rw")
        try:
            schema.check_and_upgrade(database, read_only=read_only)
            return cls(database)
        except BaseException:
            database.close()
            raise

    @property
    def database(self) -> Database:
        """Where the tables stand that other modules keep: the audit log, and erasures."""
        return self._database

    def close(self) -> None:
        """Close the file; what was in memory is gone. Closing again does nothing."""
        self._database.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """Make the changes of a block one: all of them are done, or none."""
        try:
            with self._database.atomic():
                yield
        except BaseException:
            if len(self.placements):
                self.placements.reload()
            raise

    # ---- store and drive ----------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """What the store was made with."""
        names = ("created_ns", "reserve_ppm", "selection", "placement", "classes", "seed", "access")
        return Settings(**next(self._rows("store", names, (int, int, str, str, int, int, str))))

    @property
    def drive(self) -> DriveRow:
        """The first drive."""
        return self.drives[0]

    @property
    def drives(self) -> list[DriveRow]:
        """All drives that the store has or had, by number."""
        names = ("number", "identity", "block_size", "zone_blocks", "blocks", "flushed_sequence", "openings")
        drives = []
        for row in self._rows("drives", names, (int, str, int, int, int, int, str)):
            try:
                row["identity"] = int(row["identity"], 16)
                row["openings"] = tuple(int(number, 16) for number in row["openings"].split())
            except ValueError:
                raise self._damage("drives") from None
            drives.append(DriveRow(**row))
        return drives

    def add_drive(self, drive: DriveRow) -> None:
        """Add a drive; from now on it is written down where each volume lies."""
        with self.atomic():
            self.placements.spell_out(row.number for row in self.volumes())
            _insert_drive(self._database, drive)

    def remove_drive(self, number: int) -> None:
        """Take a drive out again that could not be added."""
        with self.atomic():
            self._database.run("DELETE FROM drives WHERE number = ?", number)
            self._database.run("DELETE FROM drive_facts WHERE drive = ?", number)

    def note_flushed(self, drive: int, sequence: int) -> None:
        """Remember that everything up to a record is on the drive."""
        self._database.run("UPDATE drives SET flushed_sequence = ? WHERE number = ?", sequence, drive)

    def note_openings(self, drive: int, openings: tuple[int, ...]) -> None:
        """Remember what the drive's last opening can have been, before the drive learns of a new one."""
        self._database.run("UPDATE drives SET openings = ? WHERE number = ?", _join(openings), drive)

    # ---- tenants ------------------------------------------------------------------------------

    def tenants(self) -> list[TenantRow]:
        """List the tenants in order of creation, those that are being deleted included."""
        rows = self._rows("tenants", ("number", "name", "state"), (int, str, str))
        return [TenantRow(deleting=row.pop("state") == "deleting", **row) for row in rows]

    def add_tenant(self, name: str, number: int | None = None) -> int:
        """Add a tenant, under the next number if none is given, and return its number."""
        return self._database.insert("INSERT INTO tenants VALUES (?, ?, 'live')", number, name)

    def mark_deleting(self, tenant: int) -> None:
        """Say that a tenant is to go with all that it owns."""
        self._database.run("UPDATE tenants SET state = 'deleting' WHERE number = ?", tenant)

    def remove_tenant(self, tenant: int) -> None:
        """Remove a tenant, and the rows of what it owned."""
        for row in self.volumes() if len(self.placements) else ():
            if row.tenant == tenant:
                self._leave(row.number)
        self._database.run("DELETE FROM tenants WHERE number = ?", tenant)

    # ---- volumes and snapshots ------------------------------------------------------------------

    def volumes(self) -> list[VolumeRow]:
        """List volumes and snapshots in order of creation."""
        names = ("number", "tenant", "kind", "name", "unwritten", "origin")
        return [VolumeRow(**row) for row in self._rows("volumes", names, (int, int, str, str, str, int))]

    def add_volume(self, row: VolumeRow) -> VolumeRow:
        """Add a volume or snapshot, under the next number if it has none, and return it with its own."""
        values = (row.number or None, row.tenant, row.kind, row.name, row.unwritten, row.origin)
        number = self._database.insert("INSERT INTO volumes VALUES (?, ?, ?, ?, ?, ?)", *values)
        return replace(row, number=number)

    def has_name_of(self, row: VolumeRow) -> bool:
        """Tell whether the name of a volume or snapshot is taken, also by one that was lost."""
        found = self._database.run(
            "SELECT 1 FROM volumes WHERE kind = ? AND name = ?"
            " AND CASE kind WHEN 'snapshot' THEN origin = ? ELSE tenant = ? END",
            row.kind,
            row.name,
            row.origin,
            row.tenant,
        )
        return bool(found)

    def remove_volume(self, number: int) -> None:
        """Remove a volume or snapshot."""
        self._leave(number)
        self._database.run("DELETE FROM volumes WHERE number = ?", number)

    def _leave(self, number: int) -> None:
        if len(self.placements):
            self.placements.leave(number)
            self.placements.forget_wish(number)

    def draw_number(self) -> int:
        """Take the next number of volumes and snapshots for something that needs no row."""
        with self.atomic():
            number = self._last("volumes") + 1
            self._raise("volumes", number)
        return number

    def skip_numbers(self, *, tenants: int, volumes: int) -> None:
        """See to it that no number up to these is ever given again."""
        with self.atomic():
            self._raise("tenants", max(tenants, self._last("tenants")))
            self._raise("volumes", max(volumes, self._last("volumes")))

    # ---- rows ---------------------------------------------------------------------------------

    def _last(self, table: str) -> int:
        rows = self._database.run("SELECT seq FROM sqlite_sequence WHERE name = ?", table)
        if len(rows) != 1 or type(rows[0][0]) is not int:
            raise self._damage("sqlite_sequence")
        return int(rows[0][0])

    def _raise(self, table: str, number: int) -> None:
        self._database.run("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", number, table)

    def _rows(self, table: str, names: tuple[str, ...], types: tuple[type, ...]) -> Iterator[dict[str, Any]]:
        """Read a table. SQLite lets any column hold any type, and a damaged file does."""
        rows = self._database.run(f"SELECT {', '.join(names)} FROM {table} ORDER BY rowid")
        if (table == "store" and len(rows) != 1) or (table == "drives" and not rows):
            raise self._damage(table)
        for row in rows:
            if any(type(value) is not kind for value, kind in zip(row, types, strict=True)):
                raise self._damage(table)
            yield dict(zip(names, row, strict=True))

    def _damage(self, table: str) -> FormatError:
        return FormatError(
            f"{self._database.name} is damaged: table {table} holds what it cannot hold; open the store with"
            " rebuild_catalog=True to make the catalog anew from the drive"
        )


def _insert_drive(database: Database, drive: DriveRow) -> None:
    database.run(
        "INSERT INTO drives VALUES (?, ?, ?, ?, ?, ?, ?)",
        drive.number,
        f"{drive.identity:016x}",
        drive.block_size,
        drive.zone_blocks,
        drive.blocks,
        drive.flushed_sequence,
        _join(drive.openings),
    )


def _join(numbers: tuple[int, ...]) -> str:
    return " ".join(f"{number:016x}" for number in numbers)
