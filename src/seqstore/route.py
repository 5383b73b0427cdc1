"""The way from a volume or snapshot to where it lies: one drive, or several that hold the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seqstore.engine import Engine
    from seqstore.engine_mirror import Leg, Mirror

_NOWHERE = 0  # a handle that no log gives away


class Route:
    """Where a volume or snapshot lies.

    Parameters
    ----------
    legs : list of Leg
        One, or those of the mirror.
    mirror : Mirror, optional
        Where there are to be several copies.
    fallback : Engine
        For questions that any log answers, where no copy is left.
    """

    def __init__(self, legs: list[Leg], mirror: Mirror | None, fallback: Engine) -> None:
        self._legs = legs
        self.mirror = mirror
        self._fallback = fallback

    @property
    def legs(self) -> list[Leg]:
        """The copies that are up to date."""
        return self._legs if self.mirror is None else self.mirror.legs

    @property
    def usual(self) -> tuple[Engine, int]:
        """What the shortest way through the code needs: log and handle, of the only copy.

        Where there is a mirror, no log knows the handle, so that every call takes the way through it.
        """
        if self.mirror is None:
            return self._legs[0].engine, self._legs[0].view._handle
        return (self._legs[0].engine if self._legs else self._fallback), _NOWHERE

    def leg_on(self, drive: int) -> Leg | None:
        """Return the copy on a drive."""
        return next((leg for leg in self.legs if leg.drive == drive), None)
