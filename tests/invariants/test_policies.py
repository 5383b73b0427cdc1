"""I1, I4 and I7 under every cleaning policy: isolation, the ledger and the medium do not depend on it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqstore import CallsMedium, NotFoundError, Store, TagsMedium, Volume
from seqstore.cleaning import PLACEMENTS, SELECTIONS
from tests.faulty import Shelf
from tests.oracle import Oracle, OracleVolume
from tests.property.test_policies_machine import fullest, scatter
from tests.raw_scan import RESIDUE_STATES, Scan, check_any
from tests.small import BLOCK_SIZE, write_tagged

SEGMENT_BLOCKS = 32
SEGMENT_SIZE = SEGMENT_BLOCKS * BLOCK_SIZE
SEGMENTS = 48
CAPACITY = SEGMENTS * SEGMENT_SIZE
VOLUME_BLOCKS = 100
SELECTIONS_TRIED: list[Any] = [*SELECTIONS, fullest]
PLACEMENTS_TRIED: list[Any] = [*(name for name in PLACEMENTS if name != "oracle"), scatter]


def pairs() -> list[Any]:
    """Every selection with every placement: two of each placement every time, the others in soaks."""
    found = []
    for row, selection in enumerate(SELECTIONS_TRIED):
        for column, placement in enumerate(PLACEMENTS_TRIED):
            marks = () if (row - column) % len(SELECTIONS_TRIED) in {0, 3} else pytest.mark.soak
            found.append(pytest.param(selection, placement, marks=marks))
    return found


every_policy = pytest.mark.parametrize(("selection", "placement"), pairs())


def options_of(selection: Any, placement: Any) -> dict[str, Any]:
    return {"selection": selection, "placement": placement, "classes": 4, "seed": 1}


class Life:
    """Three tenants who write, trim, and now and then delete a volume and make another."""

    def __init__(self, store: Store, block_size: int = BLOCK_SIZE) -> None:
        self.store, self.rng = store, random.Random(4)
        self.oracle = Oracle(block_size, store.drives[0].usable_blocks)
        self.twins: dict[Volume, OracleVolume] = {}
        self.ended: list[Volume] = []
        for name in ("contoso", "fabrikam", "northwind"):
            store.create_tenant(name)
            self.make(name)

    def make(self, tenant: str) -> None:
        volume = self.store.tenant(tenant).create_volume("disk", VOLUME_BLOCKS * BLOCK_SIZE)
        twin = OracleVolume(
            "disk", volume.number, volume.tenant.number, volume.size, "zero", volume.block_size
        )
        self.oracle.create(twin)
        self.twins[volume] = twin

    def step(self, version: int) -> None:
        """One of each kind of change; hot blocks more often than others."""
        volume, twin = self.rng.choice(list(self.twins.items()))
        if version % 25 == 0:
            volume.delete()
            self.oracle.delete(volume.number)
            self.ended.append(volume)
            del self.twins[volume]
            self.make(volume.tenant.name)
            return
        width = self.rng.choice([10, VOLUME_BLOCKS])
        lbas = [self.rng.randrange(width) for _ in range(self.rng.randrange(1, 60))]
        rows = write_tagged(volume, lbas, version)
        twin.write_blocks(lbas, [row.tobytes() for row in rows])
        if version % 7 == 0:
            start, length = self.rng.randrange(80) * BLOCK_SIZE, 10 * BLOCK_SIZE + version
            volume.trim(start, length)
            twin.trim(start, length)

    def is_isolated(self) -> None:
        """Everybody reads what they wrote, or zeros."""
        for volume, twin in self.twins.items():
            out = np.full((VOLUME_BLOCKS, BLOCK_SIZE), 0xEE, np.uint8)
            volume.read_blocks(0, out)
            assert out.tobytes() == twin.read(0, twin.size)
        for volume in self.ended:
            with pytest.raises(NotFoundError):
                volume.read(0, 1)


@pytest.mark.invariant("I1")
@pytest.mark.invariant("I4")
class TestInMemory:
    """The medium is scanned as a whole, and enforces write pointers itself."""

    @every_policy
    def test_tenants_are_isolated_and_the_ledger_is_right(self, selection: Any, placement: Any) -> None:
        with Store.memory(
            CAPACITY, block_size=BLOCK_SIZE, segment_size=SEGMENT_SIZE, **options_of(selection, placement)
        ) as store:
            life = Life(store)
            before = None
            for version in range(1, 150):
                life.step(version)
                if version % 30 == 0:
                    after = Scan.take(store)
                    check_any(after, life.oracle, before)
                    life.oracle.looked()
                    before = after
                    life.is_isolated()
                    store.check()
            assert store.stats().cleaned_segments > 20
            residue = np.isin(store.drives[0].ledger()["state"], RESIDUE_STATES)
            assert store.remanence().blocks <= residue.sum()


@pytest.mark.invariant("I4")
@every_policy
def test_tags_are_those_of_the_ledger(selection: Any, placement: Any) -> None:
    with Store.simulated(
        CAPACITY, block_size=BLOCK_SIZE, segment_size=SEGMENT_SIZE, **options_of(selection, placement)
    ) as store:
        volumes = [
            store.create_tenant(name).create_volume("disk", VOLUME_BLOCKS * BLOCK_SIZE) for name in "abc"
        ]
        rng = np.random.default_rng(1)
        for step in range(200):
            volume = volumes[step % 3]
            volume.write_blocks(rng.integers(0, VOLUME_BLOCKS, 40).astype(np.uint64), None)
            volume.trim(int(rng.integers(0, 90)) * BLOCK_SIZE, 3 * BLOCK_SIZE)
        store.check()
        assert store.stats().cleaned_segments > 50
        medium = store.drives[0].medium
        assert isinstance(medium, TagsMedium)
        ledger, tags = store.drives[0].ledger(), medium.read_tags(0, medium.blocks)
        written = ledger["volume"] != 0
        assert (tags["volume"][written] == ledger["volume"][written]).all()
        live = written & ~np.isin(ledger["state"], RESIDUE_STATES)
        assert (tags["lba"][live] == ledger["lba"][live]).all()
        assert live.sum() == sum(volume.mapped_blocks for volume in volumes)


class SequentialShelf(Shelf):
    """Keeps write pointers of its own, and trusts nobody."""

    def __init__(self) -> None:
        super().__init__(CAPACITY)
        self.pointers = [zone * SEGMENT_BLOCKS for zone in range(SEGMENTS)]
        self.appends = 0

    def append(self, mba: int, data: memoryview) -> None:
        zone, count = mba // SEGMENT_BLOCKS, len(data) // BLOCK_SIZE
        assert mba == self.pointers[zone], f"append at {mba}, write pointer {self.pointers[zone]}"
        assert mba + count <= (zone + 1) * SEGMENT_BLOCKS, f"{count} blocks at {mba} leave the zone"
        self.pointers[zone] += count
        self.appends += 1
        super().append(mba, data)

    def reset(self, zone: int) -> None:
        self.pointers[zone] = zone * SEGMENT_BLOCKS
        super().reset(zone)


@pytest.mark.invariant("I7")
@pytest.mark.invariant("I1")
@every_policy
def test_a_drive_sees_appends_at_write_pointers_alone(selection: Any, placement: Any, tmp_path: Path) -> None:
    """And what it holds is all there at the next opening."""
    shelf, options = SequentialShelf(), options_of(selection, placement)
    functions = {name: options[name] for name in ("selection", "placement") if callable(options[name])}
    catalog = tmp_path / "catalog.db"
    with (
        CallsMedium(shelf, CAPACITY, block_size=BLOCK_SIZE, zone_size=SEGMENT_SIZE) as medium,
        Store.create_on(medium, catalog=catalog, **options) as store,
    ):
        volume = store.create_tenant("contoso").create_volume("disk", VOLUME_BLOCKS * BLOCK_SIZE)
        rng = np.random.default_rng(1)
        for version in range(1, 60):
            write_tagged(volume, rng.integers(0, VOLUME_BLOCKS, 60).tolist(), version)
            volume.trim(int(rng.integers(0, 90)) * BLOCK_SIZE, 700)
        store.check()
        assert store.stats().cleaned_segments > 20
        assert shelf.appends > 50
        expected = volume.read(0, volume.size)
    with (
        CallsMedium(shelf, CAPACITY, block_size=BLOCK_SIZE, zone_size=SEGMENT_SIZE) as medium,
        Store.open_on(medium, catalog=catalog, **functions) as store,
    ):
        assert store.tenants[0].volumes[0].read(0, len(expected)) == expected
        store.check()
