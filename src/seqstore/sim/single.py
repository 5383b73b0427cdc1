"""Workloads of one volume whose addresses follow a law; `seqstore.sim.workloads` makes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from seqstore.errors import ConfigError
from seqstore.sim.alias import AliasTable, zipf_weights
from seqstore.sim.draws import Draws
from seqstore.sim.generated import (
    BATCH,
    Generated,
    SingleWrites,
    check_alpha,
    check_at_least,
    check_share,
    make_operations,
    paced,
)
from seqstore.sim.operations import Kind

# Streams of draws of one seed: what is drawn at the start or now and then, and what for each operation.
_ORDER, _EACH = 1, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequential(SingleWrites):
    """Writes from the first block to the last, and again."""

    _name: ClassVar[str] = "sequential"

    def _addresses(self) -> Iterator[NDArray[np.uint64]]:
        first = 0
        while True:
            yield np.arange(first, first + BATCH, dtype=np.uint64) % self.blocks
            first = (first + BATCH) % self.blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform(SingleWrites):
    """Writes to blocks of which none is likelier than another."""

    _name: ClassVar[str] = "uniform"

    seed: int

    def _addresses(self) -> Iterator[NDArray[np.uint64]]:
        draws = Draws(self.seed, _EACH)
        while True:
            yield draws.below(self.blocks, BATCH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Zipf(SingleWrites):
    """Writes that fall on the block of rank r in proportion to r**-alpha."""

    _name: ClassVar[str] = "zipf"

    alpha: float
    seed: int
    shuffle: bool

    def _check(self) -> None:
        check_alpha(self.alpha)

    def _addresses(self) -> Iterator[NDArray[np.uint64]]:
        weights = zipf_weights(self.blocks, self.alpha)
        if self.shuffle:
            # A table of lbas instead of ranks: a draw needs no second look-up.
            weights = weights[Draws(self.seed, _ORDER).permutation(self.blocks)]
        table, draws = AliasTable(weights), Draws(self.seed, _EACH)
        del weights
        while True:
            yield table.draw(draws, BATCH)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZipfDrift(SingleWrites):
    """Writes by Zipf's law of which some blocks exchange their ranks now and then."""

    _name: ClassVar[str] = "zipf_drift"

    alpha: float
    seed: int
    period: int
    share: float

    def _check(self) -> None:
        check_alpha(self.alpha)
        check_at_least(self.period, 1, "period")
        check_share(self.share, "share")

    def _addresses(self) -> Iterator[NDArray[np.uint64]]:
        changes, draws = Draws(self.seed, _ORDER), Draws(self.seed, _EACH)
        table, order = AliasTable(zipf_weights(self.blocks, self.alpha)), changes.permutation(self.blocks)
        exchanges = self._exchange(order, changes)
        until_change = self.period
        while True:
            ranks = table.draw(draws, BATCH).view(np.int64)
            lbas = np.empty(BATCH, np.uint64)
            start = 0
            while start < BATCH:
                end = min(BATCH, start + until_change)
                lbas[start:end] = order.take(ranks[start:end])
                until_change -= end - start
                if not until_change:
                    next(exchanges)
                    until_change = self.period
                start = end
            yield lbas

    def _exchange(self, order: NDArray[np.uint32], changes: Draws) -> Iterator[None]:
        """Let the blocks of some ranks change places, each time it is asked for the next."""
        count = min(max(2, round(self.share * self.blocks)), self.blocks) if self.share else 0
        while not count:
            yield
        while True:
            ranks = changes.permutation(self.blocks)
            for first in range(0, self.blocks - count + 1, count):
                ring = ranks[first : first + count]
                order[ring] = order[np.roll(ring, 1)]
                yield


@dataclass(frozen=True, slots=True, kw_only=True)
class HotCold(SingleWrites):
    """Writes of which a share falls on the hot blocks and the rest on the others, uniformly in each."""

    _name: ClassVar[str] = "hot_cold"

    hot: float
    rate: float
    seed: int
    shuffle: bool

    def _check(self) -> None:
        check_share(self.hot, "hot")
        check_share(self.rate, "rate")
        if not 0 < self.hot_blocks < self.blocks:
            raise ConfigError(
                f"{self.hot_blocks} of {self.blocks} blocks are hot; at least one must be, and one must not"
            )

    @property
    def hot_blocks(self) -> int:
        """How many blocks are hot."""
        return round(self.hot * self.blocks)

    def _addresses(self) -> Iterator[NDArray[np.uint64]]:
        draws, hot = Draws(self.seed, _EACH), self.hot_blocks
        order = Draws(self.seed, _ORDER).permutation(self.blocks) if self.shuffle else None
        # The first row is of the cold blocks, the second of the hot ones.
        ends = np.array([self.blocks - hot, hot], np.uint64)
        starts = np.array([hot, 0], np.uint64)
        while True:
            row = (draws.floats(BATCH) < self.rate).view(np.int8)
            lbas = draws.below(ends.take(row), BATCH)
            lbas += starts.take(row)
            yield lbas if order is None else order.take(lbas.view(np.int64)).astype(np.uint64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed(Generated):
    """Reads and writes of equal size, by Zipf's law over requests."""

    _name: ClassVar[str] = "mixed"

    read_share: float
    alpha: float
    request_blocks: int
    seed: int
    fill: bool

    def _check(self) -> None:
        check_share(self.read_share, "read_share")
        check_alpha(self.alpha)
        if not self.request_blocks or self.blocks % self.request_blocks:
            raise ConfigError(
                f"request_blocks is {self.request_blocks}; it must divide the volume's {self.blocks} blocks"
            )

    def batches(self) -> Iterator[NDArray[np.void]]:
        """Give the operations in their order, in arrays of `OPERATION_DTYPE`."""
        return paced(self._pieces(), self.interval_ns)

    def _pieces(self) -> Iterator[NDArray[np.void]]:
        requests, size = self.blocks // self.request_blocks, self.request_blocks
        if self.fill:
            for first in range(0, requests, BATCH):
                lbas = np.arange(first, min(first + BATCH, requests), dtype=np.uint64) * size
                yield make_operations(len(lbas), lba=lbas, blocks=size)
        order = Draws(self.seed, _ORDER).permutation(requests)
        table = AliasTable(zipf_weights(requests, self.alpha)[order])
        draws = Draws(self.seed, _EACH)
        for first in range(0, self.operations, BATCH):
            kinds = np.where(draws.floats(BATCH) < self.read_share, Kind.READ, Kind.WRITE)
            lbas = table.draw(draws, BATCH) * size
            yield make_operations(BATCH, kind=kinds, lba=lbas, blocks=size)[: self.operations - first]
