"""The drive: a medium with a log on it, and what lies where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, SupportsIndex

from seqstore.drive_acts import DriveActs
from seqstore.drive_facts import serial_of
from seqstore.drive_life import DriveState
from seqstore.errors import MediumError
from seqstore.units import format_size, unsigned

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from seqstore.catalog import DriveRow
    from seqstore.certificate import Certificate
    from seqstore.certificate_parts import Category, Destruction, Particulars, Person
    from seqstore.drive_facts import DriveFacts
    from seqstore.drive_health import Health, Thresholds
    from seqstore.drive_life import DriveStory
    from seqstore.engine import Engine
    from seqstore.fleet import Member
    from seqstore.folder import StrPath
    from seqstore.media.native import NativeMedium
    from seqstore.moving import Progress
    from seqstore.open_store import OpenStore
    from seqstore.recovery import Recovery
    from seqstore.sanitize import Effort, Technique
    from seqstore.sanitize import Progress as Sweep
    from seqstore.signing import SigningKey


class Drive(DriveActs):
    """A drive of a store; see `Store.drives`. One that is missing or out of service keeps its figures.

    Attributes
    ----------
    number : int
        From 0; never used again.
    blocks, block_size : int
        Size in blocks, and bytes of a block.
    segment_blocks, segment_size : int
        A segment of the log, in blocks and in bytes.
    capacity : int
        Size in bytes.
    data_capacity_blocks : int
        Blocks that can hold data, those of summaries counted out; 0 for a drive that is not in use.
    usable_blocks : int
        Live blocks that the drive takes at most; 0 likewise.
    reserved_blocks : int
        What is kept back for cleaning: data capacity less usable blocks.
    """

    def __init__(self, store: OpenStore, row: DriveRow, member: Member | None) -> None:
        self.number = row.number
        self.blocks = row.blocks
        self.block_size = row.block_size
        self.segment_blocks = row.zone_blocks
        self.segment_size = row.zone_blocks * row.block_size
        self.capacity = row.blocks * row.block_size
        counters = None if member is None else member.engine.counters()
        self.data_capacity_blocks = 0 if counters is None else counters["data_capacity_blocks"]
        self.usable_blocks = 0 if counters is None else counters["usable_blocks"]
        self.reserved_blocks = self.data_capacity_blocks - self.usable_blocks
        self._identity = row.identity
        self._store = store
        self._member = member

    def __repr__(self) -> str:
        if self._member is None:
            return f"<Drive {self.number} of {format_size(self.capacity)}, not in use>"
        return f"<Drive on {self._member.medium!r}>"

    @property
    def _engine(self) -> Engine:
        return self._used.engine

    @property
    def _used(self) -> Member:
        if self._member is None:
            self._store._fleet.require_open()
            raise MediumError(f"{self.why_not}; its bytes and its ledger cannot be looked at")
        return self._member

    @property
    def medium(self) -> NativeMedium:
        """The bytes, or their tags. The log owns the write pointers: an append from outside breaks it.

        Raises
        ------
        MediumError
            If the drive is not in use.
        """
        return self._used.medium

    # ---- who it is, and how it is doing -------------------------------------------------------

    @property
    def in_use(self) -> bool:
        """Whether the store reads and writes it."""
        return self._member is not None

    @property
    def why_not(self) -> str:
        """Why it is not in use; empty if it is."""
        return "" if self._member is not None else self._store._drive_keeper.why_not(self.number)

    @property
    def state(self) -> DriveState:
        """Where it is in its life."""
        return self.facts.state

    @property
    def story(self) -> DriveStory:
        """What happened to it, and who did it."""
        return self.facts.story

    @property
    def facts(self) -> DriveFacts:
        """What is written down of it: region, vendor, model, serial, media type, story, counts of errors."""
        facts = self._store._facts.get(self.number)
        if self._member is None:
            return facts
        engine = self._member.engine  # which has counted since that was written down
        return replace(
            facts,
            read_errors=facts.read_errors + engine.read_errors,
            write_errors=facts.write_errors + engine.write_errors,
        )

    @property
    def takes_volumes(self) -> bool:
        """Whether new volumes and copies are placed on it."""
        return self.in_use and self.state not in (DriveState.DECOMMISSIONING, DriveState.FAILED)

    @property
    def identity(self) -> int:
        """Random number of 64 bits that stands in every record of the drive; 0 for one in memory."""
        return self._identity

    @property
    def region(self) -> str:
        """Where it stands; empty where nobody said."""
        return self.facts.region

    @property
    def recovery(self) -> Recovery | None:
        """What opening it found and did; None for a new one, and for one that is not in use."""
        return None if self._member is None else self._store._recovery_of(self._member)

    @property
    def live_blocks(self) -> int:
        """Blocks that somebody shows."""
        return self._engine.counters()["live_blocks"]

    @property
    def serial(self) -> str:
        """Serial number on its label, or else what tells it from others: its identity in hexadecimal."""
        return serial_of(self.facts, self.number, self._identity)

    def health(self, thresholds: Thresholds | None = None) -> Health:
        """Look how it is, and let its state follow from that.

        A drive that has crossed a threshold is degraded, or fails. One that alone holds something, or is the
        only one in use, is never failed for its counts: it is degraded, and can be decommissioned.

        Parameters
        ----------
        thresholds : Thresholds, optional
            See `seqstore.drive_health.Thresholds`.

        Raises
        ------
        ClosedError
            If the store was closed.
        """
        return self._store._drive_keeper.watch(self, thresholds)

    def decommission(
        self, reason: str | None = None, *, progress: Callable[[Progress], None] | None = None
    ) -> None:
        """Move everything live to other drives, with its structure, and put it out of service.

        A family of volumes, snapshots and clones that share blocks moves as a whole; programs go on reading
        and writing meanwhile, and wait only for the last changes of a family to be moved. If it is cut off,
        calling it again goes on with what is left. What was deleted before, and what moving leaves behind,
        still lies on the drive until it is sanitized.

        Parameters
        ----------
        reason : str, optional
            By default that of `Store.acting`.
        progress : callable, optional
            Is told how far it is.

        Raises
        ------
        ConfigError
            If the reason is empty.
        OutOfSpaceError
            If the other drives have no room; ``needed`` and ``available`` are in blocks. Nothing has moved.
        DriveStateError
            If its state does not allow it.
        MediumError
            If a medium fails, or it is the only drive in use.
        CorruptionError
            If a block is damaged that has no copy; it stays, and the drive with it.
        AccessError, ClosedError
            If the store was opened for reading alone, or closed.
        """
        self._store._drive_keeper.decommission(self, reason, progress)

    def require_idle(self) -> NativeMedium | None:
        """Return the medium of a drive that is out of service, which may then be written over.

        None if the store does not hold it: the drive was missing, or the store was opened anew since.

        Raises
        ------
        DriveStateError
            If the drive is in use.
        """
        return self._store._drive_keeper.idle_medium(self)

    def sanitize(
        self,
        technique: Technique | str = "zero",
        *,
        operator: Person,
        verifier: Person,
        verify: str = "full",
        requested: Category | str = "clear",
        effort: Effort | None = None,
        second_verifier: bool = False,
        particulars: Callable[[Particulars], Particulars] | None = None,
        key: SigningKey | None = None,
        medium: NativeMedium | None = None,
        journal: StrPath | None = None,
        progress: Callable[[Sweep], object] | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> Certificate:
        """Overwrite all of the drive, read it back, and certify what came of it, also if that is a failure.

        The drive has failed or was decommissioned, so that the store does not use it any more. After a crash,
        or a failure, the same call goes on where the journal says that it was.

        Parameters
        ----------
        technique : str or Technique
            ``"zero"``, ``"ones"``, ``"random"``, ``"three_pass"``, ``"command"``, or any
            `seqstore.sanitize.Technique` but the cryptographic one: a drive has no keys of its own, and
            those of its volumes live on with them.
        operator, verifier : Person
            Who answers for the sanitization and for its verification: two persons. The time at which they
            did it is that of its end, whatever theirs say.
        verify : {"full", "sampling", "none"}
            What is read back; with ``"none"`` nothing can be achieved.
        requested : Category or str
            What is asked for: ``"clear"``, ``"purge"``.
        effort : Effort, optional
            Retries, rate, and how much is moved at once.
        second_verifier : bool
            Whether other code reads all of it, too.
        particulars : callable, optional
            Takes the `Particulars` that the store knows of, and returns them with what else is to be said.
        key : SigningKey, optional
            Signs the certificate.
        medium : NativeMedium, optional
            The drive, where the store does not hold it: it was opened anew since, on media of the caller's.
        journal : path-like, optional
            Where to keep how far it is; by default beside the drive's file in the store's directory. Other
            stores keep none.
        progress : callable, optional
            Takes a `seqstore.sanitize.Progress`.
        is_cancelled : callable, optional
            Whether to stop.

        Raises
        ------
        DriveStateError
            If the drive is in use, or its life is over.
        MediumError
            If the drive is not there, or another one is in its place.
        ConfigError
            If an argument cannot be used, or nothing is known of what lies below the medium.
        AccessError, ClosedError
            If the store was opened for reading alone, or closed.
        """
        return self._store._sanitizer.sanitize(
            self,
            technique,
            operator=operator,
            verifier=verifier,
            verify=verify,
            requested=requested,
            effort=effort,
            second_verifier=second_verifier,
            particulars=particulars,
            key=key,
            medium=medium,
            journal=journal,
            progress=progress,
            is_cancelled=is_cancelled,
        )

    def release(self, certificate: Certificate, reason: str = "") -> None:
        """Let it leave, on a certificate that says that what was asked for was achieved.

        Raises
        ------
        DriveStateError
            If it was not sanitized.
        CertificateError
            If the certificate is of another drive, is not in the audit log, says that less was achieved, or
            that the result was refused.
        """
        self._store._sanitizer.release(self, certificate, reason)

    def destroy(self, destruction: Destruction, *, key: SigningKey | None = None) -> Certificate:
        """Write down that it was destroyed, as the only other way out, and certify who says so.

        Raises
        ------
        DriveStateError
            If it is in use, or its life is over.
        """
        return self._store._sanitizer.destroy(self, destruction, key)

    @property
    def head(self) -> int:
        """Media block address where the next block goes.

        Raises
        ------
        ClosedError
            If the store was closed.
        """
        return self._engine.counters()["head_mba"]

    def raw(self, mba: SupportsIndex, count: SupportsIndex) -> bytes:
        """Return bytes as they lie on the medium, whoever they belong or belonged to: the forensic view.

        Parameters
        ----------
        mba : int
            First media block.
        count : int
            Number of blocks.

        Returns
        -------
        bytes
            ``count * block_size`` of them.

        Raises
        ------
        ConfigError
            If the range reaches beyond the drive.
        MediumError
            If the store is simulated.
        ClosedError
            If the store was closed.
        """
        return self._engine.raw(*self._used.medium.check_range(mba, count))

    def ledger(self, mba: SupportsIndex = 0, count: SupportsIndex | None = None) -> NDArray[np.void]:
        """Say for media blocks what they are, whose, and since when dead.

        Parameters
        ----------
        mba : int
            First media block.
        count : int, optional
            Number of blocks; by default all up to the drive's end.

        Returns
        -------
        LEDGER_DTYPE[count]
            ``state`` (`BlockState`), ``tenant``, ``volume`` (0: the log itself), ``lba`` while live, ``died``
            while dead: the `Stats.position` of the death. NO_ADDRESS stands for none.

        Raises
        ------
        ConfigError
            If the range reaches beyond the drive.
        ClosedError
            If the store was closed.
        """
        first, _ = self._used.medium.check_range(mba, 0)
        number = self.blocks - first if count is None else count
        return self._engine.ledger(*self._used.medium.check_range(first, number))

    def segments(self) -> NDArray[np.void]:
        """List the segments of the log.

        Returns
        -------
        SEGMENT_DTYPE[n]
            ``first_mba``, ``live`` (blocks), ``write_pointer`` (blocks from the segment's start), ``state``
            (`SegmentState`).

        Raises
        ------
        ClosedError
            If the store was closed.
        """
        return self._engine.segments()


def drive_number(drive: Drive | SupportsIndex) -> int:
    """Return the number of a drive, or the number."""
    return drive.number if isinstance(drive, Drive) else unsigned(drive, "drive")
