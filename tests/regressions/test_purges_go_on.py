"""What a crash cut off of a purge is done when the store is opened, without anybody's asking again."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from seqstore import MediumError, Now, Store
from seqstore.media.faults import FaultMedium, FaultyDrive

BLOCK, SEGMENT = 512, 8192
SECRET = b"what fabrikam wrote".ljust(BLOCK, b".")


def reopen(drive: FaultyDrive, catalog: Path) -> tuple[Store, FaultMedium]:
    if not drive.off:
        drive.power_cut()
    drive.reboot()
    medium = FaultMedium(drive)
    return Store.open_on(medium, catalog=catalog), medium


@pytest.mark.parametrize("strategy", ["now", "purge"])
@pytest.mark.parametrize("writes", [1, 2, 3, 5, 8, 13, 21, 34])
def test_after_a_power_cut(tmp_path: Path, writes: int, strategy: str) -> None:
    drive = FaultyDrive(
        64 * SEGMENT, block_size=BLOCK, zone_size=SEGMENT, generator=Random(f"{strategy} {writes}")
    )
    medium, catalog = FaultMedium(drive), tmp_path / "names.db"
    store = Store.create_on(medium, catalog=catalog, selection="greedy")
    kept = store.create_tenant("contoso").create_volume("disk", 300 * BLOCK)
    gone = store.create_tenant("fabrikam").create_volume("disk", 200 * BLOCK)
    for lba in range(200):
        kept.write(lba * BLOCK, b"k" * BLOCK)
        gone.write(lba * BLOCK, SECRET)
    store.flush()
    if strategy == "now":
        store.set_deletion(Now(), gone.tenant)
    else:
        gone.tenant.delete()
    drive.cut_after(drive.writes + writes)
    with suppress(MediumError):
        if strategy == "now":
            gone.tenant.delete()
        else:
            store.purge()
    store._parts.close(finish=False)
    medium.close()
    store, medium = reopen(drive, catalog)
    # A deletion that was cut off before it began has not happened, nor was it acknowledged.
    if strategy == "purge" or len(store.tenants) == 1:
        raw = store.drives[0].raw(0, store.drives[0].blocks)
        assert store.remanence(2).blocks == 0
        assert SECRET not in bytes(raw)
    assert store.tenant("contoso").volume("disk").read(0, 200 * BLOCK) == b"k" * 200 * BLOCK
    store.check()
    store.close()
    medium.close()
