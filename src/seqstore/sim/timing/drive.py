"""What every timed drive takes and gives: operations on a medium, and when each was done.

Time is simulated: integer nanoseconds since the drive was made. Nothing here reads a clock.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, is_dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seqstore.errors import ConfigError
from seqstore.units import parse_size, unsigned

if TYPE_CHECKING:
    from typing_extensions import Self

Times = NDArray[np.int64]
"""Nanoseconds. Signed inside the models, where differences are taken."""


class Action(IntEnum):
    """What an operation does to a medium."""

    APPEND = 0
    READ = 1
    RESET = 2
    """Move the write pointer of a zone to its start: what lies there may be overwritten."""
    OVERWRITE = 3
    """Write blocks where they lie, which a log never asks for. What it costs depends on the drive."""


MEDIUM_OPERATION_DTYPE = np.dtype(
    [("time_ns", "<u8"), ("kind", "u1"), ("mba", "<u8"), ("count", "<u4"), ("request", "<u8")]
)
"""One operation: when it is issued, an `Action`, first block, blocks, and whose it is.

`request` numbers the user's requests from 1; 0 is the cleaner's work, which nobody waits for. The operations
of one request stand next to one another, work of the cleaner left out, and in one array.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """When a drive did what it was asked.

    Attributes
    ----------
    operations : structured array, shape (n,), of MEDIUM_OPERATION_DTYPE
        What was asked.
    arrivals_ns, completions_ns : uint64 array, shape (n,)
        When each operation reached the drive, and when it was done.
    """

    operations: NDArray[np.void]
    arrivals_ns: NDArray[np.uint64]
    completions_ns: NDArray[np.uint64]


class TimedDrive(ABC):
    """A drive as its times: it holds no data, and believes that what it is asked is allowed.

    Operations are served first come first served, in the order of the array; parts of the drive that can work
    at the same time do. Arrays follow one another: how a run is cut into arrays changes nothing.

    Parameters
    ----------
    blocks : int
        Size of the drive.
    block_size : int or str
        Bytes of a block.
    queue_depth : int or None
        None serves operations when their `time_ns` says (open loop). A number has that many operations
        under way at all times and takes no notice of `time_ns` (closed loop): the next one is issued when
        one is done.

    Raises
    ------
    ConfigError
        If one of them is 0 or no number.
    """

    def __init__(self, blocks: int, *, block_size: int | str, queue_depth: int | None) -> None:
        self.blocks = unsigned(blocks, "blocks")
        self.block_size = parse_size(block_size, "block_size")
        self.queue_depth = None if queue_depth is None else unsigned(queue_depth, "queue_depth")
        for name, value in (("blocks", self.blocks), ("block_size", self.block_size)):
            if value == 0:
                raise ConfigError(f"{name} is 0; at least 1 is expected")
        if self.queue_depth == 0:
            raise ConfigError("queue_depth is 0; at least 1 is expected, or None for an open loop")

    @property
    def parameters(self) -> dict[str, Any]:
        """Its model, and the arguments that make another one like it; can be written as JSON."""
        plain = {name: _plain(value) for name, value in self._arguments.items()}
        return {"model": type(self).__name__, **plain}

    def renewed(self) -> Self:
        """Make another one like it that has not served anything yet."""
        return type(self)(**self._arguments)

    @property
    def _arguments(self) -> dict[str, Any]:
        """What its constructor takes: every model keeps each argument in an attribute of that name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def serve(self, operations: NDArray[np.void]) -> Service:
        """Serve the next operations.

        Parameters
        ----------
        operations : structured array, shape (n,), of MEDIUM_OPERATION_DTYPE
            In an open loop in the order of their times.

        Returns
        -------
        Service

        Raises
        ------
        ConfigError
            If the array is of another type, or an operation is of no known kind, has no blocks or reaches
            beyond the drive. Nothing is served then.
        """
        self._check(operations)
        if self.queue_depth is None:
            arrivals = operations["time_ns"].astype(np.int64)
            completions = self._serve_open(operations, arrivals)
        else:
            arrivals, completions = self._serve_closed(operations)
        return Service(
            operations=operations,
            arrivals_ns=arrivals.astype(np.uint64),
            completions_ns=completions.astype(np.uint64),
        )

    @abstractmethod
    def _serve_open(self, operations: NDArray[np.void], arrivals: Times) -> Times:
        """Completions of operations that arrive at given times."""

    @abstractmethod
    def _serve_closed(self, operations: NDArray[np.void]) -> tuple[Times, Times]:
        """Arrivals and completions of operations of which `queue_depth` are always under way."""

    def _check(self, operations: NDArray[np.void]) -> None:
        if operations.dtype != MEDIUM_OPERATION_DTYPE:
            raise ConfigError(
                f"operations are of type {operations.dtype}; MEDIUM_OPERATION_DTYPE is expected"
            )
        ends = operations["mba"] + operations["count"]
        wrong = (operations["kind"] > max(Action)) | (operations["count"] == 0) | (ends > self.blocks)
        if wrong.any():
            place = int(np.argmax(wrong))
            kind, mba, count = (int(operations[name][place]) for name in ("kind", "mba", "count"))
            raise ConfigError(
                f"operation {place} is of kind {kind}, mba {mba}, count {count}; a kind of Action and"
                f" 1 or more of {self.blocks} blocks are expected"
            )


def _plain(value: Any) -> Any:
    """Turn the parts of a drive, which are dataclasses, into dicts of what makes them."""
    if not is_dataclass(value):
        return value
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value) if field.init}
