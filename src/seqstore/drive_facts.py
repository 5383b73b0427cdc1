"""What a store knows of its drives beside their logs: who made them, where they stand, and their story."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from seqstore.drive_life import DriveAct, DriveState, DriveStory, move
from seqstore.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from seqstore.database import Database

_MOST_TEXT = 255
_NOBODY = "the store"

# Drives in these states hold what the store shows.
IN_USE = (DriveState.NEW, DriveState.ONLINE, DriveState.DEGRADED, DriveState.DECOMMISSIONING)

# And in these nothing of anybody.
HOLDS_NOTHING = (DriveState.SANITIZED, DriveState.RELEASED, DriveState.DESTROYED)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveFacts:
    """What is written down of a drive.

    Attributes
    ----------
    story : DriveStory
        What happened to it.
    region : str
        Where it stands: copies of a volume go to different regions where that is possible.
    vendor, model, serial, media_type : str
        As its label says; empty where nobody said.
    read_errors, write_errors, scrub_findings : int
        How often it failed to read, to write or to sync, and damaged blocks that scrubs have found.
    """

    story: DriveStory
    region: str = ""
    vendor: str = ""
    model: str = ""
    serial: str = ""
    media_type: str = ""
    read_errors: int = 0
    write_errors: int = 0
    scrub_findings: int = 0

    def __post_init__(self) -> None:
        for name in ("region", "vendor", "model", "serial", "media_type"):
            text = getattr(self, name)
            if not isinstance(text, str) or len(text) > _MOST_TEXT or not text.isprintable():
                raise ConfigError(
                    f"{name} of a drive is {text!r}; printable text of up to {_MOST_TEXT} characters is"
                    " expected"
                )

    @property
    def state(self) -> DriveState:
        """What the drive is now."""
        return self.story.state

    @property
    def is_in_use(self) -> bool:
        """Whether the store reads and writes it."""
        return self.state in IN_USE


def serial_of(facts: DriveFacts, drive: int, identity: int) -> str:
    """Return the serial number on a drive's label, or else what tells it from others."""
    return facts.serial or (f"{identity:016x}" if identity else f"memory-{drive}")


def first_story(time_ns: int, actor: str = _NOBODY, reason: str = "") -> DriveStory:
    """Return the story of a drive that was added and put online in one go."""
    story = DriveStory.begin(time_ns=time_ns, actor=actor, reason=reason)
    return move(story, DriveAct.PUT_ONLINE, time_ns=time_ns, actor=actor)


class FactTable:
    """The table ``drive_facts`` of a catalog.

    Parameters
    ----------
    database : Database
    created_ns : int
        When the store was made, which its first drive was, too.
    """

    def __init__(self, database: Database, created_ns: int) -> None:
        self._database = database
        self._created_ns = created_ns

    def get(self, drive: int) -> DriveFacts:
        """Return what is known of a drive.

        Raises
        ------
        FormatError
            If the row holds what it cannot hold.
        """
        rows = self._database.run(
            "SELECT region, vendor, model, serial, media_type, story, read_errors, write_errors,"
            " scrub_findings FROM drive_facts WHERE drive = ?",
            drive,
        )
        if not rows:  # a store with one drive, to which nothing has happened yet
            return DriveFacts(story=first_story(max(self._created_ns, 0)))
        region, vendor, model, serial, media_type, story, *counts = rows[0]
        try:
            return DriveFacts(
                story=DriveStory.from_list(json.loads(story)),
                region=region,
                vendor=vendor,
                model=model,
                serial=serial,
                media_type=media_type,
                read_errors=int(counts[0]),
                write_errors=int(counts[1]),
                scrub_findings=int(counts[2]),
            )
        except (ConfigError, TypeError, ValueError) as error:
            raise FormatError(
                f"{self._database.name} is damaged: what it says of drive {drive} cannot be read: {error};"
                " put an older catalog in its place, or open the store with rebuild_catalog=True"
            ) from error

    def put(self, drive: int, facts: DriveFacts) -> None:
        """Write down what is known of a drive."""
        self._database.run(
            "INSERT OR REPLACE INTO drive_facts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            drive,
            facts.region,
            facts.vendor,
            facts.model,
            facts.serial,
            facts.media_type,
            json.dumps(facts.story.to_list()),
            facts.read_errors,
            facts.write_errors,
            facts.scrub_findings,
        )

    def count(self, drive: int, *, reads: int = 0, writes: int = 0, findings: int = 0) -> DriveFacts:
        """Add to the counters of a drive, and return what is known then."""
        facts = self.get(drive)
        facts = replace(
            facts,
            read_errors=facts.read_errors + reads,
            write_errors=facts.write_errors + writes,
            scrub_findings=facts.scrub_findings + findings,
        )
        self.put(drive, facts)
        return facts

    # ---- what lies on drives that are out of use ------------------------------------------------

    def keep_residue(self, drive: int, blocks: dict[tuple[int, int], int]) -> None:
        """Write down how many blocks of whom a drive holds that goes out of use, by tenant and volume."""
        # A row of nobody's says that it was counted, also where nothing was found.
        rows = [(drive, tenant, volume, count) for (tenant, volume), count in {(0, 0): 0, **blocks}.items()]
        with self._database.atomic():
            self._database.run("DELETE FROM left_residue WHERE drive = ?", drive)
            self._database.run_many("INSERT INTO left_residue VALUES (?, ?, ?, ?)", rows)

    def was_counted(self, drive: int) -> bool:
        """Tell whether the blocks of a drive were counted when it went out of use."""
        return bool(self._database.run("SELECT 1 FROM left_residue WHERE drive = ? LIMIT 1", drive))

    def residue(self, *, tenant: int | None = None, volume: int | None = None) -> dict[int, int]:
        """Return how many blocks of somebody lie on drives out of use that are not sanitized, by drive."""
        rows = self._database.run(
            "SELECT drive, SUM(blocks) FROM left_residue"
            " WHERE tenant = COALESCE(?, tenant) AND volume = COALESCE(?, volume) GROUP BY drive",
            tenant,
            volume,
        )
        return {drive: blocks for drive, blocks in rows if self.get(drive).state not in HOLDS_NOTHING}
