"""Policies that are Python functions, as the core calls them.

What a function raises is kept, the core told that the policy failed, and the exception raised again by the
call into the core that needed the policy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from seqstore._native._core import ffi, lib
from seqstore._native.records import PLACING_DTYPE, SEGMENT_TABLE_DTYPE
from seqstore.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from seqstore.cleaning import PlacementFunction, SelectionFunction

_FAILED = 1


class PolicyCalls:
    """The functions of one log's policy.

    Parameters
    ----------
    select : callable, optional
    place : callable, optional
    classes : int
        Classes that `place` may choose from.
    """

    def __init__(
        self, select: SelectionFunction | None, place: PlacementFunction | None, classes: int
    ) -> None:
        self._select, self._place, self._classes = select, place, classes
        self._error: BaseException | None = None
        self.context = ffi.new_handle(self)
        self.calls = ffi.new(
            "struct sq_policy_calls *",
            {
                "select": lib.seqstore_select if select else ffi.NULL,
                "place": lib.seqstore_place if place else ffi.NULL,
            },
        )

    def take_error(self) -> BaseException | None:
        """Return what a function raised since the last time, once."""
        error, self._error = self._error, None
        return error

    def keep(self, error: BaseException) -> int:
        """Keep an exception for the call that needed the policy."""
        self._error = self._error or error
        return _FAILED

    def select(self, table: NDArray[np.void]) -> int:
        """Let the function choose one of the segments."""
        assert self._select is not None
        chosen = self._select(table)
        index = int(chosen) if hasattr(chosen, "__index__") else -1
        if not 0 <= index < len(table):
            raise ConfigError(f"the selection returned {chosen!r}; it must be an index below {len(table)}")
        return index

    def place(self, blocks: NDArray[np.void]) -> NDArray[np.uint8]:
        """Let the function choose a class for each block."""
        assert self._place is not None
        classes = np.asarray(self._place(blocks))
        if classes.shape != blocks.shape or classes.dtype.kind not in "iub":
            raise ConfigError(
                f"the placement returned {classes.dtype} of shape {classes.shape}; {len(blocks)} integers are"
                " expected"
            )
        if len(classes) and not 0 <= classes.min() <= classes.max() < self._classes:
            raise ConfigError(
                f"the placement returned classes from {classes.min()} to {classes.max()}; there are 0 to"
                f" {self._classes - 1}"
            )
        return classes.astype(np.uint8, copy=False)


def _rows(pointer: Any, count: int, dtype: np.dtype[np.void]) -> NDArray[np.void]:
    """Copy what the core has for the length of the call: the function may keep it."""
    return np.frombuffer(ffi.buffer(pointer, count * dtype.itemsize), dtype).copy()


@ffi.def_extern(error=_FAILED)  # type: ignore[untyped-decorator]
def seqstore_select(context: Any, segments: Any, count: int, index_out: Any) -> int:
    """Answer the core: which of the segments is cleaned."""
    calls: PolicyCalls = ffi.from_handle(context)
    try:
        index_out[0] = calls.select(_rows(segments, count, SEGMENT_TABLE_DTYPE))
    except BaseException as error:
        return calls.keep(error)
    return 0


@ffi.def_extern(error=_FAILED)  # type: ignore[untyped-decorator]
def seqstore_place(context: Any, blocks: Any, count: int, classes_out: Any) -> int:
    """Answer the core: which class each of the blocks belongs to."""
    calls: PolicyCalls = ffi.from_handle(context)
    try:
        ffi.memmove(classes_out, calls.place(_rows(blocks, count, PLACING_DTYPE)), count)
    except BaseException as error:
        return calls.keep(error)
    return 0
