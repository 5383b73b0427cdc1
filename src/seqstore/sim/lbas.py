"""One volume's writes that the caller has in an array."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqstore.errors import ConfigError
from seqstore.sim.operations import OPERATION_DTYPE

_AT_ONCE = 1 << 20
_SPARSE = 16  # addresses for each write, from which on sorting takes less than marking them all


class Lbas:
    """Writes of a block each, in an array.

    Attributes
    ----------
    name, parameters, volumes
        See `seqstore.sim.Source`.
    blocks : int
        Different addresses.
    """

    name = "array"
    parameters: dict[str, Any]

    def __init__(self, lbas: NDArray[np.integer[Any]]) -> None:
        if lbas.ndim != 1 or lbas.dtype.kind not in "ui" or lbas.size == 0:
            raise ConfigError(
                f"an array of writes has one dimension and integers, some at least; this is {lbas.dtype} of"
                f" shape {lbas.shape}"
            )
        if lbas.min() < 0:
            raise ConfigError(f"lba {lbas.min()} is below 0")
        plain = np.ascontiguousarray(lbas)
        # None is negative, so that the commonest kind need not be copied.
        self._lbas = plain.view(np.uint64) if plain.dtype == np.int64 else plain.astype(np.uint64, copy=False)
        end = int(lbas.max()) + 1
        self.blocks = _distinct(self._lbas, end)
        self.parameters = {"writes": len(lbas), "blocks": self.blocks}
        self.volumes = {(1, 1): end}

    def writes(self) -> Iterator[NDArray[np.uint64]]:
        """Give the array."""
        yield self._lbas

    def batches(self) -> Iterator[NDArray[np.void]]:
        """Give the writes as operations."""
        for first in range(0, len(self._lbas), _AT_ONCE):
            part = self._lbas[first : first + _AT_ONCE]
            operations = np.zeros(len(part), OPERATION_DTYPE)
            operations["tenant"] = operations["volume"] = operations["count"] = 1
            operations["lba"] = part
            yield operations


def _distinct(lbas: NDArray[np.uint64], end: int) -> int:
    """Count the different ones of addresses that are all below an end."""
    if end > _SPARSE * len(lbas):
        return len(np.unique(lbas))
    written, found = np.zeros(end, np.bool_), 0
    for first in range(0, len(lbas), _AT_ONCE):
        written[lbas[first : first + _AT_ONCE]] = True
        found = int(np.count_nonzero(written))
        if found == end:  # as soon as the drive was filled once
            break
    return found
