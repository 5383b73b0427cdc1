"""A store on several faulty drives: small, with a catalog in a file, opened again after whatever happened."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from seqstore import SeqstoreError, Snapshot, Store, Volume
from seqstore.media.faults import FaultMedium, FaultyDrive

BLOCK, SEGMENT = 512, 8192
SIZES: dict[str, Any] = {"block_size": BLOCK, "segment_size": SEGMENT}
SEGMENTS = 40
CANARY = b"CANARY##" * 512  # a block of a store in a directory


class Rack:
    """Faulty drives by number, and the store on them.

    Parameters
    ----------
    catalog : Path
    drives : int
        How many the store begins with.
    seed : int or str
        For what becomes of writes at power cuts.
    make : callable
        Makes drives, as `FaultyDrive` does.
    **options
        Of `Store.create_on`.
    """

    def __init__(
        self,
        catalog: Path,
        drives: int = 2,
        seed: int | str = 0,
        *,
        make: Callable[..., FaultyDrive] = FaultyDrive,
        **options: Any,
    ) -> None:
        self.catalog = catalog
        self._make = make
        self.random = Random(seed)
        self.drives: dict[int, FaultyDrive] = {}
        self.media: dict[int, FaultMedium] = {}
        self.store = Store.create_on(self.plug(0), catalog=catalog, **options)
        for number in range(1, drives):
            self.add(region=f"region {number}")

    def plug(self, number: int) -> FaultMedium:
        """Put a new drive into the rack."""
        size = SEGMENTS * SEGMENT
        generator = Random(self.random.random())
        self.drives[number] = self._make(size, block_size=BLOCK, zone_size=SEGMENT, generator=generator)
        self.media[number] = FaultMedium(self.drives[number])
        return self.media[number]

    def add(self, **options: Any) -> int:
        """Let the store use a new drive, and return its number."""
        number = len(self.store.drives)
        assert self.store.add_drive(medium=self.plug(number), **options).number == number
        return number

    def crash(self) -> None:
        """Cut the power of all drives, and end the process."""
        for drive in self.drives.values():
            if not drive.off:
                drive.power_cut()
        self.abandon()

    def abandon(self) -> None:
        """End the store as the end of its process would."""
        with suppress(SeqstoreError):
            self.store._parts.close(finish=False)
        for medium in self.media.values():
            medium.close()
        gc.collect()

    def open(self, *, without: Iterable[int] = (), **options: Any) -> Store:
        """Open the store on the drives of the rack, some of which may be left out."""
        for drive in self.drives.values():
            if drive.off:
                drive.reboot()
        away = set(without)
        self.media = {
            number: FaultMedium(drive) for number, drive in self.drives.items() if number not in away
        }
        if away:
            options.setdefault("missing", "go on")
        self.store = Store.open_on(self.media, catalog=self.catalog, **options)
        return self.store

    def close(self) -> None:
        """Close the store, and take the drives out."""
        with suppress(SeqstoreError):
            self.store.close()
        for medium in self.media.values():
            medium.close()

    def volume(self, name: str) -> Volume:
        """Return a volume of the only tenant."""
        return self.store.tenants[0].volume(name)


class Lost:
    """A store of two drives whose second one is away, with all that its tenant has deleted meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.path, self.away = folder / "lab.store", folder / "away.img"
        with Store.create(self.path, "2MiB") as store:
            store.add_drive("2MiB", serial="ZA1")
            tenant = store.create_tenant("contoso")
            self.number = tenant.number
            tenant.create_volume("disk", 20 * len(CANARY), copies=2).write(0, CANARY * 20)
            tailspin = store.create_tenant("tailspin")
            tailspin.create_volume("living", len(CANARY), copies=2).write(0, CANARY)
            store.create_tenant("fabrikam").create_volume("other", len(CANARY), drive=0).write(0, CANARY)
        self.image.rename(self.away)
        self.store = Store.open(self.path, missing="go on")
        self.store.tenant("contoso").delete()
        self.store.purge()

    @property
    def image(self) -> Path:
        """Where the second drive's file is to be."""
        return self.path / "drives" / "1.img"

    def plug(self) -> None:
        """Put the drive back, and open the store again."""
        self.store.close()
        if self.away.exists():
            self.away.rename(self.image)
        self.store = Store.open(self.path)


def fill(volume: Volume, mark: int, blocks: int | None = None) -> bytes:
    """Write blocks that bear a mark and their address, and return them."""
    count = volume.blocks if blocks is None else blocks
    rows = [f"{mark:08d} {lba:08d} ".encode().ljust(BLOCK, b"%c" % (mark % 251)) for lba in range(count)]
    data = b"".join(rows)[: volume.size]
    volume.write(0, data)
    return data


def content(store: Store) -> dict[str, bytes]:
    """Return all that the tenants of a store can read, by names."""
    shown = {}
    for tenant in store.tenants:
        for volume in tenant.volumes:
            shown[volume.name] = volume.read(0, volume.size)
        for snapshot in tenant.snapshots:
            shown[f"{snapshot.volume_number}@{snapshot.name}"] = snapshot.read(0, snapshot.size)
    return shown


def legs(volume: Volume | Snapshot) -> list[int]:
    """Return the drives on which a volume lies, up to date."""
    return [leg.drive for leg in volume._route.legs]
