"""Physical copies of what was deleted: where they lie, and how and when each was gone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqstore import canonical
from seqstore._native.records import BlockState
from seqstore.errors import ConfigError
from seqstore.runs import NEVER, merge

How = Literal["overwritten", "zeroed", "key", "drive"]

COPY_DTYPE = np.dtype(
    [
        ("id", "i8"), ("erasure", "i8"), ("record", "i8"), ("drive", "i8"), ("mba", "u8"), ("count", "u8"),
        ("died", "i8"), ("moved", "?"), ("seen", "i8"), ("gone_position", "i8"), ("gone_ns", "i8"),
        ("how", "U11"), ("observed", "?"),
    ]
)  # fmt: skip
"""Copies of an erasure: the record that lists them, where they lie, position of death, whether the cleaner
left them behind, position at which they were there, position and time at which they were gone (-1: they are
not), how, and whether that was only observed afterwards. How ``"drive"`` is: with all that was on it."""

HOWS: tuple[How, ...] = ("overwritten", "zeroed", "key", "drive")

_AS_LISTED = ("drive", "mba", "count", "died", "moved")
_BINARY = "runs:"  # digests of numbers as they lie in memory; those without it are of JSON


def as_copies(residue: NDArray[np.void]) -> NDArray[np.void]:
    """Bring runs of residue into the form of copies: by address, neighbours of one fate together.

    Parameters
    ----------
    residue : RESIDUE_DTYPE[n]
        ``mba``, ``count``, ``died``, ``state``, in any order.

    Returns
    -------
    COPY_DTYPE[m]

    Raises
    ------
    ConfigError
        If runs overlap, which no two copies can.
    """
    runs = residue[residue["count"] > 0]
    runs = runs[np.argsort(runs["mba"], kind="stable")]
    if np.any(runs["mba"][1:] < runs["mba"][:-1] + runs["count"][:-1]):
        raise ConfigError("runs of residue overlap; a media block holds one copy at a time")
    starts = merge(runs["died"], runs["state"], mba=runs["mba"], count=runs["count"])
    copies = np.zeros(len(starts), COPY_DTYPE)
    for name in ("mba", "died"):
        copies[name] = runs[name][starts]
    copies["moved"] = runs["state"][starts] == BlockState.MOVED
    if len(starts):
        copies["count"] = np.add.reduceat(runs["count"], starts)
    copies["gone_position"] = copies["gone_ns"] = NEVER
    return copies


def digest_copies(copies: NDArray[np.void], like: str = _BINARY) -> str:
    """Return the SHA-256 of a list of copies, the same however they were cut into pieces since.

    Parameters
    ----------
    copies : COPY_DTYPE[n]
    like : str
        A digest that it is to be compared with: stores that were made earlier have digests of JSON.

    Returns
    -------
    str
        ``"runs:"`` and 64 hexadecimal digits. docs/reference/evidence.md.
    """
    ordered = copies[np.lexsort((copies["mba"], copies["drive"]))]
    keys = [ordered[name] for name in ("drive", "died", "moved")]
    starts = merge(*keys, mba=ordered["mba"], count=ordered["count"])
    counts = np.add.reduceat(ordered["count"], starts) if len(starts) else ordered["count"]
    listed = {**{name: ordered[name][starts] for name in _AS_LISTED}, "count": counts}
    if not like.startswith(_BINARY):
        return canonical.digest(canonical.encode([list(row) for row in zip(*_as_lists(listed), strict=True)]))
    return _digest_columns(*listed.values())


def digest_fates(copies: NDArray[np.void]) -> str:
    """Return the digest of copies with how and when each was gone."""
    ordered = copies[np.lexsort((copies["mba"], copies["drive"], copies["record"]))]
    how = np.zeros(len(ordered), np.int64)
    for number, name in enumerate(HOWS, 1):
        how[ordered["how"] == name] = number
    columns = [ordered[name] for name in ("record", *_AS_LISTED, "gone_position", "gone_ns", "observed")]
    return _digest_columns(*columns, how)


def _as_lists(listed: Mapping[str, NDArray[Any]]) -> list[list[Any]]:
    return [listed[name].tolist() for name in _AS_LISTED]


def _digest_columns(*columns: NDArray[Any]) -> str:
    """Return the digest of a table of whole numbers, row by row, 8 bytes each."""
    table = np.empty((len(columns[0]), len(columns)), "<i8")
    for number, column in enumerate(columns):
        table[:, number] = column
    return _BINARY + hashlib.sha256(table.tobytes()).hexdigest()
