"""What was deleted while a drive was away lives on in the copy there until somebody gives it up."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqstore import Store
from seqstore.deletion import Lap, Now, Strategy

CANARY = b"CANARY##"


def count(path: Path, number: int) -> int:
    return (path / "drives" / f"{number}.img").read_bytes().count(CANARY)


@pytest.mark.parametrize("strategy", [Now(), Lap()], ids=["now", "lap"])
def test_a_purge_gives_up_a_copy_that_missed_a_change(tmp_path: Path, strategy: Strategy) -> None:
    path = tmp_path / "lab.store"
    with Store.create(path, "2MiB", deletion=strategy) as store:
        store.add_drive("2MiB")
        volume = store.create_tenant("contoso").create_volume("disk", "64KiB", copies=2)
        volume.write(0, CANARY * 8192)
    (path / "drives" / "1.img").rename(tmp_path / "away.img")
    with Store.open(path, missing="go on") as store:
        store.tenant("contoso").volume("disk").write(0, b"anything" * 8192)
    (tmp_path / "away.img").rename(path / "drives" / "1.img")
    with Store.open(path) as store:
        assert count(path, 1) >= 8192
        assert not store.purge(store.tenant("contoso")).out_of_reach
        assert (count(path, 0), count(path, 1)) == (0, 0)
        assert store.tenant("contoso").volume("disk").read(0, 8) == b"anything"


def test_what_a_moved_clone_leaves_behind_is_written_over_at_once(tmp_path: Path) -> None:
    """Its blocks were written through a volume that is gone."""
    path = tmp_path / "lab.store"
    with Store.create(path, "2MiB", deletion=Now()) as store:
        origin = store.create_tenant("contoso").create_volume("disk", "64KiB")
        origin.write(0, CANARY * 8192)
        snapshot = origin.snapshot("monday")
        clone = snapshot.clone("copy", tenant=store.create_tenant("fabrikam"))
        snapshot.delete()
        origin.delete()
        store.add_drive("2MiB")
        store.drives[0].decommission()
        assert clone.read(0, 8) == CANARY
        assert count(path, 1) >= 8192
        assert count(path, 0) == 0
