"""What people say of a drive: that it is bad, is good again, has failed, or that its result is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from seqstore.drive_life import DriveAct

if TYPE_CHECKING:
    from seqstore.drive import Drive
    from seqstore.open_store import OpenStore


class DriveActs:
    """The part of a `Drive` that moves its story by a word alone."""

    _store: OpenStore

    @property
    def _drive(self) -> Drive:
        return cast("Drive", self)

    def degrade(self, reason: str) -> None:
        """Say that it is not as good as it was: volumes are placed elsewhere where there is room.

        Raises
        ------
        ConfigError
            If the reason is empty, or cannot be written down.
        DriveStateError
            If it is not online.
        AccessError, ClosedError
            If the store was opened for reading alone, or closed.
        """
        self._store._drive_keeper.say(self._drive, DriveAct.DEGRADE, reason)

    def recover(self, reason: str) -> None:
        """Say that a degraded drive is good again; errors are counted from 0 on.

        One whose own table crosses a threshold is degraded again at the next look at it: raise
        `Store.thresholds`, if that is meant.

        Raises
        ------
        ConfigError
            If the reason is empty, or cannot be written down.
        DriveStateError
            If it is not degraded.
        AccessError, ClosedError
            If the store was opened for reading alone, or closed.
        """
        self._store._drive_keeper.say(self._drive, DriveAct.RECOVER, reason)

    def fail(self, reason: str) -> None:
        """Say that it has failed: it goes out of service, at once and without another look at it.

        What has a copy elsewhere goes on there; `Store.losses` says what does not, and `Store.rebuild` makes
        new copies. What was deleted and still lies on the drive can only be sanitized.

        Parameters
        ----------
        reason : str

        Raises
        ------
        ConfigError
            If the reason is empty, or cannot be written down. Nothing was done.
        DriveStateError
            If its state does not allow it.
        MediumError
            If it is the only drive in use.
        AccessError, ClosedError
            If the store was opened for reading alone, or closed.
        """
        self._store._drive_keeper.fail(self._drive, reason)

    def call_off(self, reason: str | None = None) -> None:
        """Take a decommissioning back: the drive takes volumes again. What has moved stays where it is.

        Raises
        ------
        DriveStateError
            If it is not being decommissioned.
        """
        self._store._drive_keeper.call_off(self._drive, reason)

    def refuse(self, reason: str) -> None:
        """Say that the result of its sanitization is not good enough; then it cannot be released.

        It can be sanitized again, or destroyed. What statements of erasures rested on that is taken back.

        Raises
        ------
        ConfigError
            If the reason is empty, or cannot be written down.
        DriveStateError
            If it is not sanitized.
        AccessError, ClosedError
            If the store was opened for reading alone, or closed.
        """
        self._store._drive_keeper.say(self._drive, DriveAct.REFUSE, reason)
