"""Bounds that are loosened: what died before has to be gone in the time that held then.

A log knows by when its segments are due as long as it is open. The catalog remembers the stricter bound for
whoever opens it next, until the last of what died under it is due.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from seqstore.errors import BoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from seqstore.deletion import Strategy
    from seqstore.deletion_table import DeletionTable, Key
    from seqstore.erasing_log import ErasingLog


def note_loosened(
    table: DeletionTable,
    logs: Mapping[int, ErasingLog],
    key: Key,
    before: Strategy | None,
    strategy: Strategy,
) -> None:
    """Before a strategy is set: write down on which drives the one before it was stricter."""
    if before is None:
        return
    for drive, log in logs.items():
        held, holds = log.asked(before).blocks, log.asked(strategy).blocks
        if held is not None and (holds is None or holds > held):
            table.note_loosened(key, drive, held, log.position)


def promise_again(table: DeletionTable, drive: int, log: ErasingLog, now_ns: int) -> None:
    """After an opening, and before the strategies are set: let what is dead be due as it was."""
    for key, blocks in table.loosened(drive, log.position):
        with suppress(BoundError):
            log.core.bind(*key, blocks, kept=True)
            continue
        # The log is not what it was: other intervals, other policies.
        table.begin_purge(key, now_ns)
