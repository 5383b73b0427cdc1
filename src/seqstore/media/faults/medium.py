"""The medium that a store is put on, with a faulty drive behind it."""

from __future__ import annotations

from seqstore.media.calls import CallsMedium
from seqstore.media.faults.drive import FaultyDrive
from seqstore.media.faults.plate import sizes


class FaultMedium(CallsMedium):
    """A row of zones on a faulty drive; see `NativeMedium` for what all media have.

    Faults are ordered from the drive. It outlives the medium: after a power cut, `FaultyDrive.reboot` it and
    open a store on it again.

    Parameters
    ----------
    drive : FaultyDrive
    """

    def __init__(self, drive: FaultyDrive) -> None:
        super().__init__(drive, **sizes(drive.geometry))
        self._drive = drive

    @property
    def drive(self) -> FaultyDrive:
        """The drive behind it."""
        return self._drive
