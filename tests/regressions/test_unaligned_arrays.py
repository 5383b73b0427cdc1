"""A field of one packed record is contiguous, and need not lie where a number of its type has to."""

from __future__ import annotations

import numpy as np

from seqstore._native._core import ffi
from seqstore._native.convert import lend_array
from seqstore.sim.operations import OPERATION_DTYPE


def address_of(lent: object) -> int:
    return int(ffi.cast("uintptr_t", lent))


def test_what_is_lent_to_c_is_aligned() -> None:
    operations = np.zeros(2, OPERATION_DTYPE)
    for place in range(2):
        operations["lba"][place] = 41 + place
        lbas = np.ascontiguousarray(operations[place : place + 1]["lba"], np.uint64)
        lent = lend_array("uint64_t[]", lbas)
        assert address_of(lent) % 8 == 0
        assert lent[0] == 41 + place


def test_where_c_writes_nothing_is_copied() -> None:
    rows = np.zeros(4, np.uint64)
    lent = lend_array("uint64_t[]", rows)
    lent[2] = 7
    assert rows.tolist() == [0, 0, 7, 0]
