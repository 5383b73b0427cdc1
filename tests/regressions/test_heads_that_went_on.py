"""A purge ends heads; which segments they took, and that the old ones are free, is known after a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqstore import Store
from tests.durable import create, reopen
from tests.small import BLOCK_SIZE, write_tagged


@pytest.mark.parametrize("purges", [1, 3])
def test_after_a_purge_and_a_crash(tmp_path: Path, purges: int) -> None:
    path = tmp_path / "lab.store"
    store: Store = create(
        path, segment_size=32 * BLOCK_SIZE, selection="cost_benefit", placement="sepbit", classes=4
    )
    gone = store.create_tenant("contoso").create_volume("disk", 300 * BLOCK_SIZE)
    kept = store.create_tenant("fabrikam").create_volume("disk", 10 * BLOCK_SIZE)
    write_tagged(gone, range(200))
    rows = write_tagged(kept, range(10))
    gone.delete()
    for _ in range(purges):
        store.purge()
    store.flush()
    with reopen(store, path) as again:
        assert again.tenant("fabrikam").volume("disk").read(0, 10 * BLOCK_SIZE) == rows.tobytes()
        assert again.remanence().blocks == 0
        again.check()
