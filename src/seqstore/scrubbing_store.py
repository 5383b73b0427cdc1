"""Scrubs of a store, for its callers. `seqstore.scrub` does them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, SupportsIndex, overload

from seqstore.errors import MediumError
from seqstore.scrub import Scrub, ScrubReport, ScrubTotals

if TYPE_CHECKING:
    from seqstore.clock import Clock
    from seqstore.drive import Drive
    from seqstore.drive_keeper import DriveKeeper
    from seqstore.evidence_book import EvidenceBook
    from seqstore.fleet import Fleet


class ScrubbingStore:
    """Scrubs of an `OpenStore`, which end with what they make of the drives' health."""

    _fleet: Fleet
    _clock: Clock
    _book: EvidenceBook
    _totals: ScrubTotals
    _scrubs: set[Scrub]
    _drive_keeper: DriveKeeper

    @property
    def _drive(self) -> Drive:
        raise NotImplementedError

    def _note_findings(self, drive: int, found: int) -> None:
        raise NotImplementedError

    @overload
    def scrub(
        self, *, rate: SupportsIndex | str | None = None, background: Literal[False] = False
    ) -> ScrubReport: ...

    @overload
    def scrub(self, *, rate: SupportsIndex | str | None = None, background: Literal[True]) -> Scrub: ...

    def scrub(
        self, *, rate: SupportsIndex | str | None = None, background: bool = False
    ) -> ScrubReport | Scrub:
        """Read everything live and verify it. What is damaged is reported and counted, and stays as it is.

        So are the summaries and the checkpoint that the next opening depends on. Several scrubs may run.

        Parameters
        ----------
        rate : int or str, optional
            Bytes in a second at most, by the store's clock; by default as fast as it goes.
        background : bool
            Whether to return at once, and scrub in a thread. Closing the store ends it.

        Returns
        -------
        ScrubReport or Scrub
            The report, or the running scrub that will have one.

        Raises
        ------
        ConfigError
            If the rate is no size above 0.
        MediumError
            If the store is simulated.
        ClosedError
            If the store was closed.
        """
        scrub = Scrub(self._fleet, self._clock, self._totals, rate, self._note_findings)
        self._fleet.require_open()
        if not self._drive.medium.keeps_bytes:
            raise MediumError("scrub: a simulated store keeps no bytes; a memory store does")
        if not background:
            try:
                return scrub.run()
            finally:
                self._look_after()
        self._scrubs.add(scrub)
        scrub.start(self._end_scrub)
        return scrub

    def _end_scrub(self, scrub: Scrub) -> None:
        self._scrubs.discard(scrub)
        self._look_after()

    def _look_after(self) -> None:
        """See to what waits for a drive that can be read: its health, and copies that it could not list."""
        self._drive_keeper.look()
        if not self._fleet.closed and not self._fleet.disowned:
            self._book.list_late()
