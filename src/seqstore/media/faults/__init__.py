"""The fault medium: a drive that does what drives may do, and what they should not.

What it may do to writes that no completed sync covers, at a power cut:

- Each sector (512 bytes) of each block of such a write is kept or lost, by itself: in any combination, also
  within one call, whatever the order of the calls. A write of which some sectors are kept is torn.
- A sector never holds a mixture. Where several unsynced writes met in one sector, it holds what one of them
  wrote, or what lay there when the last sync completed.
- Everything that a completed sync covers stays as it is.

What it does when told to, or by chance under a `FaultPlan`: bits rot, writes land elsewhere or nowhere, a
sync lies, blocks cannot be read or written, now or from some time on, the room ends, operations take their
time, the drive dies. `docs/explanation/fault-model.md` argues for this model and says what it leaves out.

====================  ======================================================================================
`FaultyDrive`         the drive: bytes, unsynced writes, faults; no C in it
`FaultMedium`         the medium that a store is put on, with such a drive behind it
`FaultPlan`           what goes wrong by chance
`FaultCounts`         what was asked for and what went wrong
`UnsyncedWrite`       a write whose fate a power cut decides
====================  ======================================================================================
"""

from seqstore.media.faults.drive import FaultyDrive
from seqstore.media.faults.medium import FaultMedium
from seqstore.media.faults.plan import (
    KEPT,
    LOST,
    SECTOR_BYTES,
    FaultCounts,
    FaultPlan,
    UnsyncedWrite,
    first_sectors,
)

__all__ = [
    "KEPT",
    "LOST",
    "SECTOR_BYTES",
    "FaultCounts",
    "FaultMedium",
    "FaultPlan",
    "FaultyDrive",
    "UnsyncedWrite",
    "first_sectors",
]
