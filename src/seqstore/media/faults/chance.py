"""What falls to chance: the fates of unsynced writes, and the faults of a plan."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from seqstore.errors import ConfigError
from seqstore.media.faults.plan import KEPT, LOST, FaultPlan, UnsyncedWrite, first_sectors

if TYPE_CHECKING:
    from random import Random


class Chance:
    """Draws from a generator what a plan gives the chances of.

    Parameters
    ----------
    plan : FaultPlan
    generator : random.Random or None
        None will do where nothing is left to chance.
    """

    def __init__(self, plan: FaultPlan, generator: Random | None) -> None:
        self.plan = plan
        self._generator = generator

    @property
    def generator(self) -> Random:
        """The generator.

        Raises
        ------
        ConfigError
            If none was given.
        """
        if self._generator is None:
            raise ConfigError("this is left to chance: give the drive a generator, random.Random(seed)")
        return self._generator

    def copy(self) -> Chance:
        """Return one that draws the same from here on, independently."""
        return Chance(self.plan, copy.copy(self._generator))

    def happens(self, chance: float) -> bool:
        """Whether something of this chance happens now."""
        return chance > 0.0 and self.generator.random() < chance

    def pick(self, chance: float, first: int, count: int) -> Iterable[int]:
        """Return those of some blocks to which something of this chance happens now."""
        return () if chance == 0.0 else [b for b in range(first, first + count) if self.happens(chance)]

    def below(self, end: int) -> int:
        """Return a number from 0 to `end` - 1."""
        return self.generator.randrange(end)

    def fates(self, writes: Sequence[UnsyncedWrite], block_sectors: int) -> Callable[[UnsyncedWrite], int]:
        """Decide what a power cut leaves of unsynced writes.

        Returns
        -------
        callable
            From a write to its fate.
        """
        if not self.happens(self.plan.in_order):
            return lambda write: self._fate(write.sectors, block_sectors)
        torn = self.below(len(writes)) if writes else 0
        last = writes[torn].number if writes else 0
        part = first_sectors(self.below(writes[torn].sectors + 1)) if writes else LOST
        return lambda write: KEPT if write.number < last else part if write.number == last else LOST

    def _fate(self, sectors: int, block_sectors: int) -> int:
        whole = self._whole()
        if whole is not None:
            return whole
        fate = 0
        for first in range(0, sectors, block_sectors):
            block = self._whole()
            if block is None:
                block = self.generator.getrandbits(block_sectors)
            fate |= (block & first_sectors(block_sectors)) << first
        return fate

    def _whole(self) -> int | None:
        draw = self.generator.random()
        return KEPT if draw < self.plan.keep else LOST if draw < self.plan.keep + self.plan.lose else None
