"""What the catalog keeps of deletion: strategies, purges under way, and what the log's time was when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seqstore._native.records import Scope
from seqstore.deletion import Strategy, from_text, to_text

if TYPE_CHECKING:
    from seqstore.database import Database

Key = tuple[Scope, int]


class DeletionTable:
    """The tables ``strategies``, ``loosened``, ``purges`` and ``moments`` of a catalog.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def strategies(self) -> dict[Key, Strategy]:
        """Return what is set, by scope and number.

        Raises
        ------
        FormatError
            If a row holds something else.
        """
        rows = self._database.run("SELECT scope, number, strategy FROM strategies")
        return {(Scope(scope), number): from_text(text) for scope, number, text in rows}

    def set_strategy(self, key: Key, strategy: Strategy) -> None:
        """Keep a strategy, in place of the one before."""
        self._database.run(
            "INSERT INTO strategies (scope, number, strategy) VALUES (?, ?, ?)"
            " ON CONFLICT (scope, number) DO UPDATE SET strategy = excluded.strategy",
            int(key[0]),
            key[1],
            to_text(strategy),
        )

    def forget_strategy(self, key: Key) -> None:
        """Forget the strategy of what is gone."""
        self._database.run("DELETE FROM strategies WHERE scope = ? AND number = ?", int(key[0]), key[1])

    def note_loosened(self, key: Key, drive: int, blocks: int, position: int) -> None:
        """Keep a bound that held until a position of a drive's log, for what was dead by then."""
        self._database.run(
            "INSERT INTO loosened VALUES (NULL, ?, ?, ?, ?, ?)", int(key[0]), key[1], drive, blocks, position
        )

    def loosened(self, drive: int, position: int) -> list[tuple[Key, int]]:
        """Return the bounds that held once and still matter, and forget those that do not any more."""
        self._database.run("DELETE FROM loosened WHERE drive = ? AND position + blocks < ?", drive, position)
        rows = self._database.run(
            "SELECT scope, number, blocks FROM loosened WHERE drive = ? ORDER BY id", drive
        )
        return [((Scope(scope), number), blocks) for scope, number, blocks in rows]

    def begin_purge(self, key: Key, time_ns: int) -> None:
        """Note that a purge is under way: it is done again if nobody says that it ended."""
        self._database.run(
            "INSERT OR IGNORE INTO purges (scope, number, started_ns) VALUES (?, ?, ?)",
            int(key[0]),
            key[1],
            time_ns,
        )

    def end_purge(self, key: Key) -> None:
        """Note that a purge is done."""
        self._database.run("DELETE FROM purges WHERE scope = ? AND number = ?", int(key[0]), key[1])

    def unfinished_purges(self) -> list[Key]:
        """Return the purges that were begun and did not end."""
        rows = self._database.run("SELECT scope, number FROM purges ORDER BY started_ns")
        return [(Scope(scope), number) for scope, number in rows]

    def moments(self, drive: int = 0) -> list[tuple[int, int]]:
        """Return times by the clock and the positions of a drive's log then, in order."""
        if drive:
            return [
                (row[0], row[1])
                for row in self._database.run(
                    "SELECT time_ns, position FROM drive_moments WHERE drive = ? ORDER BY time_ns", drive
                )
            ]
        return [
            (row[0], row[1])
            for row in self._database.run("SELECT time_ns, position FROM moments ORDER BY time_ns")
        ]

    def note_moment(self, time_ns: int, position: int, forget_before_ns: int, drive: int = 0) -> None:
        """Keep a moment, and drop those from before a time, but for the last of them."""
        with self._database.atomic():
            if drive:
                self._database.run(
                    "INSERT OR REPLACE INTO drive_moments (drive, time_ns, position) VALUES (?, ?, ?)",
                    drive,
                    time_ns,
                    position,
                )
                self._database.run(
                    "DELETE FROM drive_moments WHERE drive = ? AND time_ns <"
                    " (SELECT COALESCE(MAX(time_ns), 0) FROM drive_moments WHERE drive = ? AND time_ns < ?)",
                    drive,
                    drive,
                    forget_before_ns,
                )
                return
            self._database.run(
                "INSERT OR REPLACE INTO moments (time_ns, position) VALUES (?, ?)", time_ns, position
            )
            self._database.run(
                "DELETE FROM moments WHERE time_ns <"
                " (SELECT COALESCE(MAX(time_ns), 0) FROM moments WHERE time_ns < ?)",
                forget_before_ns,
            )
