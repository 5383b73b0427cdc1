"""Strategies of deletion: what happens to the bytes that are deleted, and by when they are gone.

A strategy is set for a store, a tenant or a volume; the strictest of those that apply counts. Deleted are
overwritten versions, trimmed ranges, deleted volumes, snapshots that nobody reads any more, and deleted
tenants, each with every physical copy. The age of a copy runs from the logical deletion; of one that the
cleaner left behind while its data lived on, from the move.

====================  ======================================================  ============================
strategy              what happens                                            bound
====================  ======================================================  ============================
`Lap`                 bytes stay until the head comes round                   a lap under ``fifo``, else none
`Deadline`            segments that are due soon are cleaned first            the deadline
`Now`                 trim, delete and purge write over what they deleted     the call
`CryptographicErase`  the keys of whole volumes and tenants die with them     the call
... with an epoch     and those of single blocks at the end of the epoch      the epoch
====================  ======================================================  ============================
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from seqstore.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Lap:
    """Deleted bytes stay until the head writes over them.

    That is a lap of writing under ``fifo``, and may be never under other selections or when nothing is
    written.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """Deleted bytes are written over before the deadline. Exactly one of the parameters is given.

    Parameters
    ----------
    laps : float, optional
        Laps of the drive, in blocks that the log puts on it. Not below what the drive can keep, a little
        over one: where everything is overwritten all the time each block must be written again within the
        bound.
    writes : int, optional
        The same in blocks.
    seconds : float, optional
        Of the store's clock. Kept while the store is open: by a thread on the system's clock, by
        `Store.idle` on others.

    Raises
    ------
    ConfigError
        If not exactly one is given, or it is not above 0.
    """

    laps: float | None = None
    seconds: float | None = None
    writes: int | None = None

    def __repr__(self) -> str:
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return f"Deadline({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def __post_init__(self) -> None:
        given = {name: value for name, value in asdict(self).items() if value is not None}
        if len(given) != 1:
            raise ConfigError(
                f"Deadline got {', '.join(given) or 'nothing'}; exactly one of laps, seconds and writes is"
                " expected"
            )
        ((name, value),) = given.items()
        kinds = (int,) if name == "writes" else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < float("inf"):
            raise ConfigError(f"Deadline: {name} is {value!r}; a number above 0 is expected")


@dataclass(frozen=True, slots=True)
class Now:
    """`trim`, `delete` and `Store.purge` return when what they deleted is written over, and read back.

    Live neighbours move, every affected segment is written over from its first block to its last, the medium
    is synced, and the overwriting is read back. Versions that writes replace are bound by the smallest
    deadline that the drive can keep, and go with the next of those calls.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class CryptographicErase:
    """Deleted volumes and tenants lose their keys in the call, whatever their size; bytes stay, encrypted.

    Only where the store is encrypted. Without an epoch, blocks that are overwritten or trimmed stay readable,
    to who has the key of the volume and the medium, until the head writes over them; and so do those of a
    deleted volume that a snapshot or clone still shows, until that is deleted.

    Parameters
    ----------
    epoch : float or timedelta, optional
        Seconds of the store's clock, above 0. At the end of the epoch the keys of all single blocks die that
        nobody can read any more: overwritten and trimmed ones, those of deleted snapshots, and the copies of
        them that the cleaner left behind. Kept while the store is open: by a thread on the system's clock, by
        `Store.idle` on others; and at the next opening.

    Raises
    ------
    ConfigError
        If the epoch is no time above 0.
    """

    epoch: float | timedelta | None = None

    def __post_init__(self) -> None:
        total = getattr(self.epoch, "total_seconds", None)
        value: Any = self.epoch if total is None else total()
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not (is_number and 0 < value < float("inf")):
            raise ConfigError(
                f"CryptographicErase: epoch is {self.epoch!r}; seconds above 0 or a timedelta are expected"
            )
        object.__setattr__(self, "epoch", value)


Strategy = Lap | Deadline | Now | CryptographicErase


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What strategies that apply together ask for.

    Attributes
    ----------
    now : bool
        Whether deletions write over at once.
    blocks : int or None
        Bound in blocks that the log writes.
    nanoseconds : int or None
        Bound on the store's clock.
    epoch : int or None
        Nanoseconds after which keys die at the latest.
    """

    now: bool = False
    blocks: int | None = None
    nanoseconds: int | None = None
    epoch: int | None = None

    def __or__(self, other: Bounds) -> Bounds:
        """Return the strictest of both."""
        return Bounds(
            now=self.now or other.now,
            blocks=_least(self.blocks, other.blocks),
            nanoseconds=_least(self.nanoseconds, other.nanoseconds),
            epoch=_least(self.epoch, other.epoch),
        )


def _least(left: int | None, right: int | None) -> int | None:
    return min((value for value in (left, right) if value is not None), default=None)


def bounds_of(strategy: Strategy, *, drive_blocks: int, smallest: int) -> Bounds:
    """Say what a strategy asks of a drive.

    Parameters
    ----------
    strategy : Strategy
    drive_blocks : int
        A lap.
    smallest : int
        The smallest bound that the drive can keep, in blocks.
    """
    if isinstance(strategy, Now):
        return Bounds(now=True, blocks=smallest)
    if isinstance(strategy, CryptographicErase):
        return Bounds(epoch=epoch_ns(strategy))
    if isinstance(strategy, Lap):
        return Bounds()
    if strategy.seconds is not None:
        return Bounds(nanoseconds=round(strategy.seconds * 1e9))
    if strategy.laps is not None:
        return Bounds(blocks=round(strategy.laps * drive_blocks))
    return Bounds(blocks=strategy.writes)


def epoch_ns(strategy: CryptographicErase) -> int | None:
    """Return the length of its epochs, in nanoseconds; None: it has none."""
    # A timedelta was made a number when the strategy was made.
    return None if strategy.epoch is None else round(cast(float, strategy.epoch) * 1e9)


def check_strategy(strategy: object) -> Strategy:
    """Refuse what is no strategy."""
    if not isinstance(strategy, Strategy):
        raise ConfigError(
            f"deletion is {strategy!r}; Lap(), Deadline(...), Now() or CryptographicErase(...) is expected"
        )
    return strategy


# ---- in the catalog -------------------------------------------------------------------------------------


def to_text(strategy: Strategy) -> str:
    """Write a strategy as JSON."""
    values = {name: value for name, value in asdict(strategy).items() if value is not None}
    return json.dumps({"strategy": type(strategy).__name__.lower(), **values}, sort_keys=True)


def to_words(strategy: Strategy) -> str:
    """Say a strategy in words, such as ``laps=2``, as the command line takes it."""
    values = {name: value for name, value in asdict(strategy).items() if value is not None}
    return ",".join(f"{name}={value}" for name, value in values.items()) or type(strategy).__name__.lower()


def from_text(text: str) -> Strategy:
    """Read what `to_text` wrote.

    Raises
    ------
    FormatError
        If it is something else.
    """
    try:
        values: dict[str, Any] = json.loads(text)
        known = (Lap, Deadline, Now, CryptographicErase)
        kinds: dict[str, Callable[..., Strategy]] = {kind.__name__.lower(): kind for kind in known}
        return kinds[values.pop("strategy")](**values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FormatError(f"the catalog has a strategy of deletion {text!r}, which is none") from error


# ---- plans ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a strategy will do about the residue that there is, before it does it.

    Attributes
    ----------
    strategy : Strategy
    residue_blocks : int
        Media blocks that hold deleted bytes.
    segments : int
        Segments that they lie in, all of whose blocks are written over.
    relocated_blocks : int
        Live blocks that have to move for that.
    device_blocks : int
        Blocks written for the purpose alone: live ones that move, and zeros. Under a deadline that writing
        meets by itself it is an upper limit.
    within_blocks : int or None
        Blocks that the log writes until all of it is gone; None: no bound in writes.
    within_seconds : float or None
        The same in time; by keys, until none of it can be read.
    key_bytes : int
        Bytes of keys that are written for it.
    """

    strategy: Strategy
    residue_blocks: int
    segments: int
    relocated_blocks: int
    device_blocks: int
    within_blocks: int | None
    within_seconds: float | None
    key_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    """What a purge did.

    Attributes
    ----------
    residue_blocks : int
        Media blocks that held deleted bytes before.
    segments : int
        Segments that they lay in, all of whose blocks were written over.
    relocated_blocks : int
        Live blocks that moved.
    overwritten_blocks : int
        Blocks written over with zeros; the others with data.
    verified_blocks : int
        Blocks of these segments that were read back, and were what had been written.
    position : int
        Of the log, at the end.
    started_ns, finished_ns : int
        By the store's clock.
    out_of_reach : tuple of int
        Drives that are missing, or out of service and not sanitized, on which deleted bytes may lie still.
    """

    residue_blocks: int
    segments: int
    relocated_blocks: int
    overwritten_blocks: int
    verified_blocks: int
    position: int
    started_ns: int
    finished_ns: int
    out_of_reach: tuple[int, ...] = ()
