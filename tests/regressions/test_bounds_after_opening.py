"""After an opening nothing is due sooner than was promised, or the cleaner would do nothing but hurry."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqstore import Store
from seqstore.deletion import Deadline
from tests.durable import create, reopen
from tests.small import BLOCK_SIZE, write_tagged


def overwrite(store: Store) -> tuple[int, int]:
    """Overwrite a few blocks; return when the first of them is due, and how many segments that cleaned."""
    before = store.stats().cleaned_segments
    write_tagged(store.tenant("contoso").volume("disk"), range(20))
    due = store.remanence().due_writes
    assert due is not None
    return due, store.stats().cleaned_segments - before


@pytest.mark.parametrize("polite", [True, False])
def test_what_is_overwritten_then(tmp_path: Path, polite: bool) -> None:
    path = tmp_path / "lab.store"
    store: Store = create(path, segment_size=32 * BLOCK_SIZE, selection="greedy")
    volume = store.create_tenant("contoso").create_volume("disk", 300 * BLOCK_SIZE)
    write_tagged(volume, range(200))
    lap = store.drives[0].blocks
    store.set_deletion(Deadline(laps=2))
    store.checkpoint()
    if polite:
        store.close()
        store = Store.open(path)
    else:
        store.flush()
        store = reopen(store, path)
    with store:
        due, cleaned = overwrite(store)
        assert due > 1.9 * lap
        assert cleaned == 0
        store.check()
