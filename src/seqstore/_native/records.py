"""The core's structs and enums as Python and numpy see them."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from seqstore._native._core import ffi, lib


def struct_dtype(struct: str, **formats: str) -> np.dtype[np.void]:
    """Describe a C struct to numpy: the named fields, at the places that the compiler gave them.

    Parameters
    ----------
    struct : str
        Name of the struct.
    **formats : str
        Field name to numpy format. A format narrower than the C field shows its low bytes.
    """
    names = list(formats)
    # The low bytes of a field come first: true of x86-64 and arm64, the machines that are tested.
    offsets = [ffi.offsetof(struct, name) for name in names]
    return np.dtype(
        {
            "names": names,
            "formats": list(formats.values()),
            "offsets": offsets,
            "itemsize": ffi.sizeof(struct),
        }
    )


def field_values(struct: str, values: Any) -> dict[str, int]:
    """Return the fields of a C struct of integers, ``struct *``, by name."""
    return {name: getattr(values, name) for name, _ in ffi.typeof(struct).fields}


NO_ADDRESS: int = lib.SQ_NO_ADDRESS
"""Stands for "none" where an lba, mba or position is expected."""

LEDGER_DTYPE = struct_dtype(
    "struct sq_ledger_entry", state="u1", tenant="u8", volume="u8", lba="u8", died="u8"
)
"""A media block: `BlockState`, owner (0: the log itself), lba while live, position of death while dead."""

SEGMENT_DTYPE = struct_dtype(
    "struct sq_segment_info", first_mba="u8", live_blocks="u8", write_pointer="u8", state="u1"
)
SEGMENT_DTYPE.names = ("first_mba", "live", "write_pointer", "state")
"""One segment: first media block, live blocks, blocks before its write pointer, `SegmentState`."""

EXTENT_DTYPE = struct_dtype("struct sq_extent", lba="u8", count="u8", drive="u8", mba="u8")
"""A run of a volume's blocks that lie one behind the other on a drive."""

VOLUME_DTYPE = struct_dtype(
    "struct sq_volume_entry", number="u8", tenant="u8", size_bytes="u8", handle="u8", origin="u8", flags="u8"
)
"""A volume or snapshot as the log knows it."""

VOLUME_UNWRITTEN_ERROR, VOLUME_IS_SNAPSHOT = 1, 2

REACH_DTYPE = struct_dtype("struct sq_reach", number="u8", blocks="u8")
"""A volume or snapshot that shows blocks of another one, and how many."""

SHOWN_DTYPE = struct_dtype("struct sq_shown", tenant="u8", volume="u8", layer="u8", lba="u8", count="u8")
"""Blocks that a volume or snapshot shows: owner and number of their layer, and where they are in it."""

DAMAGE_DTYPE = struct_dtype("struct sq_damage", volume="u8", lba="u8", mba="u8", os_error="u8")
"""A damaged block: whose, where, and what the operating system said (0: the content is wrong)."""


SEGMENT_TABLE_DTYPE = struct_dtype(
    "struct sq_policy_segment",
    segment="u8", live_blocks="u8", data_blocks="u8", age="u8", lifespan="u8", class_id="u2",
)  # fmt: skip
"""A segment that may be cleaned: its number, blocks that live and all that hold data, blocks written on
request since it was sealed and since it was opened, class."""

PLACING_DTYPE = struct_dtype(
    "struct sq_policy_block", tenant="u8", volume="u8", lba="u8", age="u8", class_id="u2", relocated="u1"
)
"""A block that is to be placed: whose, blocks written on request since it was last (`NO_ADDRESS`: never),
class where it lies now (65535: none), and whether the cleaner moves it."""

WORK_DTYPE = struct_dtype("struct sq_work_entry", tenant="u8", user_blocks="u8", relocated_blocks="u8")
"""Blocks written for a tenant (0: the log itself) on request, and by the cleaner."""

NOTED_DTYPE = struct_dtype(
    "struct sq_operation", mba="u8", request="u8", count="u4", kind="u1", by_cleaner="?"
)
"""What a log asked of its medium: where, which request of the batch caused it, blocks, what (an ``enum
sq_operation_kind``), and whether it was the cleaner's work."""

RESIDUE_DTYPE = struct_dtype(
    "struct sq_residue_run", tenant="u8", volume="u8", mba="u8", count="u8", died="u8", state="u1"
)
"""Residue that died at once, block beside block: whose, where, how much, position of its death, state."""

OVERWRITTEN_DTYPE = struct_dtype("struct sq_overwritten", volume="u8", mba="u8", count="u8", position="u8")
"""Residue of a watched volume that was written over: where, how much, position when the last of it was."""

LIVE_SEAL_DTYPE = struct_dtype("struct sq_live_seal", opening="u8", key="u4", leaf="u4")
"""What a live block is sealed with: opening of the store, number of the key, and 0 or one more than its leaf
in the tree of both."""

AGE_BINS: int = lib.SQ_AGE_BINS
AGE_BINS_A_LAP: int = lib.SQ_AGE_BINS_A_LAP

VICTIM_BINS: int = lib.SQ_VICTIM_BINS
LATENCY_BINS: int = lib.SQ_LATENCY_BINS
LATENCY_BINS_A_LAP: int = lib.SQ_LATENCY_BINS_A_LAP


class BlockState(IntEnum):
    """What a media block is to the log.

    A MOVED block is a dead copy that the cleaner left behind while its data lived on elsewhere.
    """

    FREE = lib.SQ_FREE
    LIVE = lib.SQ_LIVE
    DEAD = lib.SQ_DEAD
    MOVED = lib.SQ_MOVED
    SUMMARY = lib.SQ_SUMMARY


class SegmentState(IntEnum):
    """Where a segment is in its life: free, taking appends, or full."""

    FREE = lib.SQ_SEGMENT_FREE
    OPEN = lib.SQ_SEGMENT_OPEN
    SEALED = lib.SQ_SEGMENT_SEALED


class Scope(IntEnum):
    """Whose residue is asked for."""

    ALL = lib.SQ_SCOPE_ALL
    TENANT = lib.SQ_SCOPE_TENANT
    VOLUME = lib.SQ_SCOPE_VOLUME
