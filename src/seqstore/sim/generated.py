"""What workloads have in common: their parameters, and operations made of arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from seqstore.errors import ConfigError
from seqstore.sim.operations import OPERATION_DTYPE, Kind
from seqstore.units import unsigned

BATCH: Final = 1 << 16
"""Operations that are made at a time: so few that the arrays of one batch stay in a core's cache."""
INTERVAL_NS: Final = 10_000
MAX_BLOCKS: Final = 1 << 30
# Above that, the weight of all ranks but the first would be lost in the arithmetic.
MAX_ALPHA: Final = 20.0

Numbers: TypeAlias = "int | NDArray[Any]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """A workload: operations made from parameters, in one volume unless it says otherwise.

    Attributes
    ----------
    blocks : int
        Size of the volume.
    operations : int
        How many there are, whatever comes before them not counted.
    interval_ns : int
        Time from one operation to the next.
    """

    _name: ClassVar[str]
    # What the function that makes the workload calls `operations`.
    _counted: ClassVar[str] = "operations"

    blocks: int
    operations: int
    interval_ns: int

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int":
                what = self._counted if field.name == "operations" else field.name
                object.__setattr__(self, field.name, unsigned(value, what))
            elif field.type == "float":
                object.__setattr__(self, field.name, float(value))
        if not 1 <= self.blocks <= MAX_BLOCKS:
            raise ConfigError(f"blocks is {self.blocks}; it must lie between 1 and {MAX_BLOCKS}")
        self._check()

    def _check(self) -> None:
        """Check what the parameters of one kind of workload have to be beside that."""

    @property
    def name(self) -> str:
        """The function of `seqstore.sim.workloads` that makes it."""
        return self._name

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments of that function."""
        names = {"operations": self._counted}
        return {names.get(field.name, field.name): getattr(self, field.name) for field in fields(self)}

    @property
    def volumes(self) -> dict[tuple[int, int], int] | None:
        """Size in blocks of each volume, by tenant and number."""
        return {(1, 1): self.blocks}


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleWrites(Generated):
    """A workload that writes single blocks of one volume.

    Attributes
    ----------
    fill : bool
        Whether all blocks are written once, in their order, before.
    """

    _counted: ClassVar[str] = "writes"

    fill: bool

    def _addresses(self) -> Iterator[NDArray[np.uint64]]:
        """Give the lbas that follow the fill, `BATCH` at a time, without end."""
        raise NotImplementedError

    def writes(self) -> Iterator[NDArray[np.uint64]]:
        """Give the addresses in their order: arrays of lbas, one block each.

        More writes of the same seed begin with the same writes.
        """
        if self.fill:
            for first in range(0, self.blocks, BATCH):
                yield np.arange(first, min(first + BATCH, self.blocks), dtype=np.uint64)
        addresses = self._addresses()
        for first in range(0, self.operations, BATCH):
            yield next(addresses)[: self.operations - first]

    def batches(self) -> Iterator[NDArray[np.void]]:
        """Give the same as operations of `OPERATION_DTYPE`."""
        return paced((make_operations(len(lbas), lba=lbas) for lbas in self.writes()), self.interval_ns)


def make_operations(
    count: int,
    *,
    kind: Numbers = Kind.WRITE,
    tenant: Numbers = 1,
    volume: Numbers = 1,
    lba: Numbers,
    blocks: Numbers = 1,
) -> NDArray[np.void]:
    """Make operations at time 0, of `OPERATION_DTYPE`: shape (count,), as are the arguments or single."""
    made: NDArray[np.void] = np.zeros(count, OPERATION_DTYPE)
    made["kind"], made["tenant"], made["volume"] = kind, tenant, volume
    made["lba"], made["count"] = lba, blocks
    return made


def paced(pieces: Iterator[NDArray[np.void]], interval_ns: int) -> Iterator[NDArray[np.void]]:
    """Give operations their times, one interval apart, and gather pieces until they are a batch.

    Parameters
    ----------
    pieces : iterator of arrays of OPERATION_DTYPE
        In their order.
    interval_ns : int
        Nanoseconds.
    """
    gathered: list[NDArray[np.void]] = []
    count = position = 0
    for piece in pieces:
        gathered.append(piece)
        count += len(piece)
        if count >= BATCH:
            yield _at_intervals(gathered, position, interval_ns)
            gathered, position, count = [], position + count, 0
    if count:
        yield _at_intervals(gathered, position, interval_ns)


def _at_intervals(pieces: list[NDArray[np.void]], first: int, interval_ns: int) -> NDArray[np.void]:
    batch = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    batch["time_ns"] = np.arange(first, first + len(batch), dtype=np.uint64) * interval_ns
    return batch


def check_share(value: float, what: str) -> None:
    """Check a share of a whole.

    Raises
    ------
    ConfigError
        If it does not lie between 0 and 1, both included.
    """
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"{what} is {value}; it must lie between 0 and 1")


def check_at_least(value: float, least: float, what: str) -> None:
    """Check that a number is large enough, and finite.

    Raises
    ------
    ConfigError
        If it is not.
    """
    if not least <= value < float("inf"):
        raise ConfigError(f"{what} is {value}; it must be {least:g} at least")


def check_alpha(alpha: float) -> None:
    """Check the exponent of Zipf's law.

    Raises
    ------
    ConfigError
        If it is negative or above 20.
    """
    if not 0.0 <= alpha <= MAX_ALPHA:
        raise ConfigError(f"alpha is {alpha}; it must lie between 0, which is uniform, and {MAX_ALPHA:g}")
