"""What volumes and snapshots have in common: everything that reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, TypeVar

import numpy as np

from seqstore._native.convert import plain, wipe
from seqstore.engine_volume import EngineView
from seqstore.errors import AccessError, ConfigError, CorruptionError, NotFoundError
from seqstore.units import unsigned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from seqstore.catalog import VolumeRow
    from seqstore.registry import Registry
    from seqstore.route import Route
    from seqstore.tenants import Tenant

T = TypeVar("T")

_UINT8 = np.dtype(np.uint8)

Unwritten = Literal["zero", "error"]


class View(EngineView):
    """What a tenant reads.

    Attributes
    ----------
    tenant : Tenant
        The owner.
    unwritten : {"zero", "error"}
        What a read of an unwritten address does: give zeros, or raise `UnwrittenError`.
    deleted : bool
        Whether it was deleted; it is then of no further use.
    """

    def __init__(self, registry: Registry, row: VolumeRow, route: Route, tenant: Tenant) -> None:
        super().__init__(*route.usual, row.name)
        self._route = route
        self._number = row.number
        self._moves = 0
        self.tenant = tenant
        self.unwritten: Unwritten = row.unwritten
        self.deleted = False
        self._registry = registry
        self._origin = row.origin

    def __repr__(self) -> str:
        state = ", deleted" if self.deleted else ", closed" if self._engine.closed else ""
        kind = type(self).__name__
        return f"<{kind} {self.name!r}, number {self.number}, of tenant {self.tenant.name!r}{state}>"

    @property
    def number(self) -> int:
        """What names it in the store and on its first drive; never used again."""
        return self._number

    @property
    def copies(self) -> int:
        """On how many drives it lies that are there and up to date."""
        return len(self._route.legs)

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self._info()[0]

    @property
    def blocks(self) -> int:
        """Size in blocks, the last one counted whole."""
        return -(-self.size // self.block_size)

    @property
    def mapped_blocks(self) -> int:
        """Blocks that were written and not trimmed since."""
        return self._info()[1]

    # ---- where it lies ------------------------------------------------------------------------

    def _move(self, route: Route) -> None:
        """Lie somewhere else from now on. Calls on their way to the old place find nothing there."""
        self._route = route
        self._engine, self._handle = route.usual
        self._log = self._engine.log
        self._moves += 1

    def _try(self, function: Any, first_fault: Any, *arguments: Any, doing: str) -> None:
        """Call a function of the core where the volume lies, or on all its copies; wait while it moves."""
        while True:
            moves, mirror = self._moves, self._route.mirror
            try:
                if mirror is None:
                    super()._try(function, first_fault, *arguments, doing=doing)
                elif self._changes(first_fault):
                    mirror.change(function, *arguments, doing=doing)
                else:
                    mirror.read(function, *arguments, doing=doing)
                return
            except (NotFoundError, AccessError):
                # The volume was held, or was gone from where the call looked for it.
                if not self._registry.has_moved(self, moves):
                    raise
            except CorruptionError as error:
                error.volume = self._registry.volume_of(error.volume)
                raise
            finally:
                if self._registry.alarms:
                    self._registry.look_at_health()

    def _at_home(self, ask: Callable[[EngineView], T]) -> T:
        """Ask where the volume lies, or its first copy."""
        while True:
            moves, mirror = self._moves, self._route.mirror
            try:
                return ask(self if mirror is None else mirror.first.view)
            except NotFoundError:
                if not self._registry.has_moved(self, moves):
                    raise

    def _info(self) -> tuple[int, int]:
        return self._at_home(EngineView._info)

    def _extents(self, lba: int) -> NDArray[np.void]:
        return self._at_home(lambda view: EngineView._extents(view, lba))

    def _require(self) -> None:
        """Raise `NotFoundError` or `ClosedError` if it is of no use any more."""
        self._info()

    def read_blocks(
        self,
        lba: SupportsIndex | NDArray[np.integer[Any]],
        count_or_out: SupportsIndex | NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """Read whole blocks: a run, or blocks at any addresses.

        Parameters
        ----------
        lba : int or integer[n]
            First block of a run, or the address of each block.
        count_or_out : int or uint8[n, block_size], optional
            Length of a run, 1 by default, or the array to fill. One that is not C-contiguous is filled
            through a copy.

        Returns
        -------
        uint8[n, block_size]
            `count_or_out` if that is an array.

        Raises
        ------
        ConfigError
            If a block lies beyond the volume, or an argument is of the wrong kind or shape.
        UnwrittenError
            If a block is unwritten and the volume was made with ``unwritten="error"``. The array to fill is
            untouched.
        CorruptionError
            If a block is not the one that was written.
        MediumError
            If the store is simulated.
        NotFoundError
            If it was deleted.
        ClosedError
            If the store was closed.
        """
        place, places = as_place(lba)
        if isinstance(count_or_out, np.ndarray):
            out = plain(count_or_out)
            self._check_target(out, places)
        else:
            out = self._make_target(place, places, count_or_out)
        if out.flags.c_contiguous:
            self._read_blocks(place, out.size // self.block_size, out)
        else:
            copy = np.empty(out.shape, np.uint8)
            try:
                self._read_blocks(place, copy.size // self.block_size, copy)
                out[...] = copy
            finally:
                wipe(copy)
        return count_or_out if isinstance(count_or_out, np.ndarray) else out

    def extents(self) -> NDArray[np.void]:
        """List where the written blocks lie.

        Returns
        -------
        EXTENT_DTYPE[n]
            Runs of blocks, ascending by lba: ``lba``, ``count``, ``drive``, ``mba``. They are those of one
            moment unless somebody writes to the volume meanwhile.

        Raises
        ------
        NotFoundError
            If it was deleted.
        ClosedError
            If the store was closed.
        """
        parts = [self._extents(0)]
        while len(parts[-1]):
            last = parts[-1][-1]
            parts.append(self._extents(int(last["lba"]) + int(last["count"])))
        extents = np.concatenate(parts)
        extents["drive"] = next((leg.drive for leg in self._route.legs), 0)
        return extents

    # ---- checks of arguments ------------------------------------------------------------------

    def _check_blocks(self, array: NDArray[Any], what: str) -> None:
        is_rows = array.ndim == 2 and array.shape[1] == self.block_size
        is_flat = array.ndim == 1 and array.size % self.block_size == 0
        if array.dtype != _UINT8 or not (is_rows or is_flat):
            raise ConfigError(
                f"{what} is an array of {array.dtype} and shape {array.shape};"
                f" uint8 and (n, {self.block_size}) are expected"
            )

    def _check_target(self, out: NDArray[np.uint8], places: int | None) -> None:
        self._check_blocks(out, "the array to fill")
        blocks = out.size // self.block_size
        if places is not None and places != blocks:
            raise ConfigError(f"the array to fill has room for {blocks} blocks; {places} are asked for")
        if not out.flags.writeable:
            raise ConfigError("the array to fill is read-only")

    def _make_target(
        self, place: int | NDArray[np.uint64], places: int | None, count: SupportsIndex | None
    ) -> NDArray[np.uint8]:
        number = 1 if count is None else unsigned(count, "count")
        if places is not None:
            if count is not None and number != places:
                raise ConfigError(f"count is {number}; {places} addresses are given")
            number = places
        elif place + number > self.blocks:
            # Before memory is asked for that no volume could fill.
            raise ConfigError(
                f"read of {number} blocks from lba {place} of {self.name!r}: reaches beyond its end,"
                f" at {self.blocks} blocks"
            )
        return np.empty((number, self.block_size), np.uint8)


def as_place(lba: SupportsIndex | NDArray[np.integer[Any]]) -> tuple[int | NDArray[np.uint64], int | None]:
    """Check addresses. The second value is how many there are, None for the start of a run."""
    if isinstance(lba, (list, tuple)):
        raise ConfigError(f"lba is of type {type(lba).__name__}; an int or a numpy array is expected")
    if not isinstance(lba, np.ndarray) or lba.ndim == 0:
        return unsigned(lba, "lba"), None
    lba = plain(lba)
    if lba.ndim != 1 or lba.dtype.kind not in "iu":
        raise ConfigError(
            f"lba is an array of {lba.dtype} and shape {lba.shape}; integers and one dimension are expected"
        )
    if lba.dtype.kind == "i" and lba.size and lba.min() < 0:
        raise ConfigError(f"lba {lba.min()} is negative; block addresses start at 0")
    return np.ascontiguousarray(lba, np.uint64), len(lba)
