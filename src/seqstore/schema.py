"""The tables of the catalog, of each version of its format, and how an older one becomes the newest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seqstore.copy_rows import convert
from seqstore.errors import FormatError, VersionError

if TYPE_CHECKING:
    from seqstore.database import Database

APPLICATION_ID = 0x53455153  # "SEQS"
VERSION = 6
_EVIDENCE_SINCE = 2
_KEPT_SINCE = 3
_COPIES_SINCE = 5

_NAMES_AND_DRIVES = """
CREATE TABLE store (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    created_ns INTEGER NOT NULL,
    reserve_ppm INTEGER NOT NULL,
    selection TEXT NOT NULL,
    placement TEXT NOT NULL,
    classes INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    access TEXT NOT NULL CHECK (access IN ('cached', 'direct', 'mapped'))
);
CREATE TABLE drives (
    number INTEGER PRIMARY KEY,
    identity TEXT NOT NULL,
    block_size INTEGER NOT NULL,
    zone_blocks INTEGER NOT NULL,
    blocks INTEGER NOT NULL,
    flushed_sequence INTEGER NOT NULL,
    openings TEXT NOT NULL
);
CREATE TABLE tenants (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('live', 'deleting'))
);
CREATE TABLE volumes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant INTEGER NOT NULL REFERENCES tenants (number) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('volume', 'snapshot')),
    name TEXT NOT NULL,
    unwritten TEXT NOT NULL CHECK (unwritten IN ('zero', 'error')),
    origin INTEGER NOT NULL
);
CREATE UNIQUE INDEX volume_names ON volumes (tenant, name) WHERE kind = 'volume';
CREATE UNIQUE INDEX snapshot_names ON volumes (origin, name) WHERE kind = 'snapshot';
INSERT INTO sqlite_sequence (name, seq) VALUES ('tenants', 0), ('volumes', 0);
"""

# Rows of evidence are added and never changed or removed; only an erasure whose copies are not listed yet
# gets them, and a list is through once. Whoever can write to the file can get round triggers: they keep
# mistakes out, and the chain of hashes shows what somebody did on purpose.
_EVIDENCE = """
CREATE TABLE audit (
    number INTEGER PRIMARY KEY,
    content TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE TRIGGER audit_in_order BEFORE INSERT ON audit
WHEN NEW.number <> (SELECT COALESCE(MAX(number), 0) + 1 FROM audit)
BEGIN SELECT RAISE(ABORT, 'the numbers of the audit log go up by one'); END;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is not changed'); END;
CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'nothing is removed from the audit log'); END;
CREATE TABLE erasures (
    id INTEGER PRIMARY KEY,
    record INTEGER NOT NULL UNIQUE,
    requested_ns INTEGER NOT NULL,
    requested_position INTEGER NOT NULL,
    listed_position INTEGER,
    state TEXT NOT NULL CHECK (state IN ('requested', 'listed', 'abandoned'))
);
CREATE TRIGGER erasures_are_not_changed BEFORE UPDATE ON erasures
WHEN OLD.state <> 'requested' OR NEW.id <> OLD.id OR NEW.record <> OLD.record
    OR NEW.requested_ns <> OLD.requested_ns OR NEW.requested_position <> OLD.requested_position
BEGIN SELECT RAISE(ABORT, 'an erasure is not changed'); END;
CREATE TRIGGER erasures_are_not_removed BEFORE DELETE ON erasures
BEGIN SELECT RAISE(ABORT, 'no erasure is removed'); END;
"""

_DELETION = """
CREATE TABLE strategies (
    scope INTEGER NOT NULL,
    number INTEGER NOT NULL,
    strategy TEXT NOT NULL,
    PRIMARY KEY (scope, number)
);
CREATE TABLE purges (
    scope INTEGER NOT NULL,
    number INTEGER NOT NULL,
    started_ns INTEGER NOT NULL,
    PRIMARY KEY (scope, number)
);
CREATE TABLE moments (
    time_ns INTEGER PRIMARY KEY,
    position INTEGER NOT NULL
);
"""

# Blocks of what was deleted that others showed then: rows are added with the request, whose record holds
# their digest. The end of the audit log stands a second time, so that it is not cut off unnoticed.
_KEPT = """
CREATE TABLE kept (
    id INTEGER PRIMARY KEY,
    erasure INTEGER NOT NULL REFERENCES erasures (id),
    tenant INTEGER NOT NULL,
    volume INTEGER NOT NULL,
    layer INTEGER NOT NULL,
    lba INTEGER NOT NULL,
    count INTEGER NOT NULL
);
CREATE INDEX kept_of_erasures ON kept (erasure);
CREATE TRIGGER kept_is_not_changed BEFORE UPDATE ON kept
BEGIN SELECT RAISE(ABORT, 'what others kept does not change'); END;
CREATE TRIGGER kept_is_not_removed BEFORE DELETE ON kept
BEGIN SELECT RAISE(ABORT, 'nothing is removed from what others kept'); END;
CREATE TABLE audit_end (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL,
    hash TEXT NOT NULL
);
CREATE TRIGGER audit_end_goes_on BEFORE UPDATE ON audit_end WHEN NEW.number <> OLD.number + 1
BEGIN SELECT RAISE(ABORT, 'the audit log goes on record by record'); END;
CREATE TRIGGER audit_end_is_not_removed BEFORE DELETE ON audit_end
BEGIN SELECT RAISE(ABORT, 'the end of the audit log is not removed'); END;
"""

# Of drives, where there are several: a volume or snapshot without a placement lies on drive 0, under its own
# number. On other drives it has numbers of their own, from the same sequence, so that no log meets one twice.
# What was there once stays as 'left': its residue may.
_DRIVES = """
CREATE TABLE drive_facts (
    drive INTEGER PRIMARY KEY,
    region TEXT NOT NULL,
    vendor TEXT NOT NULL,
    model TEXT NOT NULL,
    serial TEXT NOT NULL,
    media_type TEXT NOT NULL,
    story TEXT NOT NULL,
    read_errors INTEGER NOT NULL,
    write_errors INTEGER NOT NULL,
    scrub_findings INTEGER NOT NULL
);
CREATE TABLE placements (
    number INTEGER PRIMARY KEY,
    volume INTEGER NOT NULL,
    drive INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('in_sync', 'stale', 'building', 'left')),
    generation INTEGER NOT NULL,
    changed INTEGER NOT NULL
);
CREATE INDEX placements_of_volumes ON placements (volume);
CREATE TABLE wishes (
    volume INTEGER PRIMARY KEY,
    copies INTEGER NOT NULL,
    region TEXT NOT NULL
);
CREATE TABLE left_residue (
    drive INTEGER NOT NULL,
    tenant INTEGER NOT NULL,
    volume INTEGER NOT NULL,
    blocks INTEGER NOT NULL,
    PRIMARY KEY (drive, tenant, volume)
);
CREATE TABLE erasure_drives (
    erasure INTEGER PRIMARY KEY,
    drive INTEGER NOT NULL
);
CREATE TABLE drive_moments (
    drive INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (drive, time_ns)
);
"""

# A row for each list of copies, and one for each time that some of a list were gone; copy_table.py.
_COPIES = """
CREATE TABLE copy_lists (
    record INTEGER PRIMARY KEY,
    erasure INTEGER NOT NULL REFERENCES erasures (id),
    drive INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    is_through INTEGER NOT NULL,
    runs BLOB NOT NULL
);
CREATE INDEX lists_of_erasures ON copy_lists (erasure);
CREATE INDEX pending_lists ON copy_lists (drive) WHERE NOT is_through;
CREATE TABLE copy_ends (
    id INTEGER PRIMARY KEY,
    record INTEGER NOT NULL REFERENCES copy_lists (record),
    position INTEGER NOT NULL,
    gone_ns INTEGER NOT NULL,
    how TEXT NOT NULL CHECK (how IN ('overwritten', 'zeroed', 'key', 'drive')),
    observed INTEGER NOT NULL,
    runs BLOB
);
CREATE INDEX ends_of_lists ON copy_ends (record);
CREATE INDEX latest_ends ON copy_ends (gone_ns);
CREATE TRIGGER copy_lists_are_not_changed BEFORE UPDATE ON copy_lists
WHEN OLD.is_through OR NOT NEW.is_through OR NEW.record <> OLD.record OR NEW.erasure <> OLD.erasure
    OR NEW.drive <> OLD.drive OR NEW.seen <> OLD.seen OR NEW.runs <> OLD.runs
BEGIN SELECT RAISE(ABORT, 'a list of copies does not change'); END;
CREATE TRIGGER copy_lists_are_not_removed BEFORE DELETE ON copy_lists
BEGIN SELECT RAISE(ABORT, 'no copy is removed from an erasure'); END;
CREATE TRIGGER copy_ends_are_not_changed BEFORE UPDATE ON copy_ends
BEGIN SELECT RAISE(ABORT, 'what is gone does not change'); END;
CREATE TRIGGER copy_ends_are_not_removed BEFORE DELETE ON copy_ends
BEGIN SELECT RAISE(ABORT, 'what is gone does not come back'); END;
"""

# Bounds that were loosened: what died until then has to be gone in the time that held before.
_LOOSENED = """
CREATE TABLE loosened (
    id INTEGER PRIMARY KEY,
    scope INTEGER NOT NULL,
    number INTEGER NOT NULL,
    drive INTEGER NOT NULL,
    blocks INTEGER NOT NULL,
    position INTEGER NOT NULL
);
"""

# Of an encrypted store: which key area is its own.
_KEY_AREA = """
CREATE TABLE key_area (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    identity TEXT NOT NULL
);
"""

# Which blocks went with a drive, of volumes and snapshots of which there was no other copy.
_LOSSES = """
CREATE TABLE lost_runs (
    volume INTEGER PRIMARY KEY REFERENCES volumes (number) ON DELETE CASCADE,
    runs TEXT NOT NULL
);
"""


def create(database: Database) -> None:
    """Make the tables in an empty database; to be called in a transaction."""
    _run(database, _NAMES_AND_DRIVES)
    _run(database, _EVIDENCE)
    _run(database, _DELETION)
    _run(database, _KEPT)
    _run(database, _DRIVES)
    _run(database, _COPIES)
    _run(database, _LOOSENED)
    _run(database, _KEY_AREA)
    _run(database, _LOSSES)
    database.run(f"PRAGMA application_id = {APPLICATION_ID}")
    database.run(f"PRAGMA user_version = {VERSION}")


def check_and_upgrade(database: Database, *, read_only: bool) -> None:
    """See that a database is a catalog, and bring an older one to the newest version.

    One that is open for reading alone stays as it is; the tables that it lacks are there as long as it is
    open.

    Raises
    ------
    FormatError
        If it is something else.
    VersionError
        If it is of a newer format.
    """
    identity = database.run("PRAGMA application_id")[0][0]
    if identity != APPLICATION_ID:
        raise FormatError(
            f"{database.name} is a database of something else: its application_id is {identity:#x},"
            f" {APPLICATION_ID:#x} is expected; open the store with rebuild_catalog=True to make it anew"
        )
    version = database.run("PRAGMA user_version")[0][0]
    if version > VERSION:
        raise VersionError(
            f"{database.name} is of format {version}; this version of seqstore knows up to {VERSION};"
            " use a newer one",
            found=version,
            expected=VERSION,
        )
    if version < 1:
        raise FormatError(f"{database.name} is of format {version}, which there never was")
    if version < VERSION and read_only:
        _lend(database, version)
    elif version < VERSION:
        with database.atomic():
            _upgrade(database, version)


def _upgrade(database: Database, version: int) -> None:
    """Bring a catalog of an older version to the newest."""
    for tables in _missing(version):
        _run(database, tables)
    if _EVIDENCE_SINCE <= version < _COPIES_SINCE:
        convert(database)
        database.run("DROP TABLE copies")
    if version < _KEPT_SINCE:
        database.run("INSERT INTO audit_end SELECT 1, number, hash FROM audit ORDER BY number DESC LIMIT 1")
    database.run(f"PRAGMA user_version = {VERSION}")


def _lend(database: Database, version: int) -> None:
    """Let an older catalog that is open for reading have what it lacks, as long as it is open."""
    database.run("PRAGMA temp_store = MEMORY")
    database.run("PRAGMA foreign_keys = OFF")  # such tables cannot refer to those of the file
    for tables in _missing(version):
        for_now = tables.replace("CREATE TABLE ", "CREATE TEMP TABLE ")
        _run(database, for_now.replace("INDEX ", "INDEX temp."))
    if _EVIDENCE_SINCE <= version < _COPIES_SINCE:
        convert(database)


def _missing(version: int) -> tuple[str, ...]:
    """Return the tables that a catalog of an older version lacks."""
    parts = (
        (_EVIDENCE_SINCE, (_EVIDENCE, _DELETION)),
        (_KEPT_SINCE, (_KEPT,)),
        (4, (_DRIVES,)),
        (_COPIES_SINCE, (_COPIES, _LOOSENED, _KEY_AREA)),
        (6, (_LOSSES,)),
    )
    return tuple(table for since, tables in parts if version < since for table in tables)


def _run(database: Database, script: str) -> None:
    """Run the statements of a script, each of which begins in the first column of a line."""
    for statement in script.replace(";\nCREATE ", "\0CREATE ").replace(";\nINSERT ", "\0INSERT ").split("\0"):
        database.run(statement.strip().removesuffix(";"))
