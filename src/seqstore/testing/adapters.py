"""Our own stores as the kit sees them: in memory, in a directory, and on a drive whose power is cut.

Each function returns a factory, which is what the checks take::

    check_isolation(memory())
    check_isolation(durable(tmp_path))
    check_durability(faulty(seed=7))

The stores are small: a drive of some hundred blocks, so that the head comes round and the cleaner works
within a story of fifty steps.
"""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from seqstore.errors import MediumError
from seqstore.media.faults import FaultMedium, FaultPlan, FaultyDrive
from seqstore.store import Store

if TYPE_CHECKING:
    from seqstore.snapshot import Snapshot
    from seqstore.tenants import Tenant
    from seqstore.view import Unwritten
    from seqstore.volume import Volume

BLOCK_SIZE = 512
SEGMENT_BLOCKS = 16
SEGMENTS = 16
DURABLE_SEGMENTS = 32  # half of them hold the log's own blocks, or are kept free for opening and cleaning
_CHECKPOINT_INTERVAL = "32KiB"
_WRITES_BETWEEN_LOOKS = 4  # at the head, which take longer than the writes
_CUT_IN_WRITE = (1, 2, 3, 4, 8, 16, 32)  # a checkpoint takes two or three, a lap of the cleaner some forty
_ADAPTER = "the adapter"  # as a tenant, of data that only move the head on
_USED = b"\xa5"  # what a buffer is full of before it is read into


# Where the engine does something else: a line leaf's extents, the data of a segment and the whole of it, a
# word of a sparse leaf, what is mapped in one go, a leaf of the extent map.
BOUNDARIES = (8, SEGMENT_BLOCKS - 1, SEGMENT_BLOCKS, 64, 128, 512)


class SeqstoreAdapter:
    """A store of ours behind the kit's protocol. Handles are the numbers of volumes and snapshots.

    Parameters
    ----------
    store : Store
        Closed with the adapter.
    unwritten : {"zero", "error"}
        How its volumes answer where nothing was written.

    Attributes
    ----------
    block_size : int
    boundaries : tuple of int
        Distances in blocks at which the store changes its behaviour.
    atomic_blocks : int or None
        The largest request that a crash does not cut in two; None where nothing outlives a crash.
    store : Store
        The open one: another one after each crash.
    """

    boundaries = BOUNDARIES

    def __init__(self, store: Store, *, unwritten: Unwritten = "zero") -> None:
        self.store = store
        self.block_size = store.block_size
        self.atomic_blocks = store.stats().atomic_blocks or None
        self._unwritten: Unwritten = unwritten
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()  # of the names
        self._tenants: dict[str, Tenant] = {}
        self._volumes: dict[Hashable, Volume] = {}
        self._snapshots: dict[Hashable, Snapshot] = {}

    # ---- volumes ------------------------------------------------------------------------------

    def create_volume(self, tenant: str, blocks: int) -> int:
        """Make a volume, and its tenant if need be."""
        return self._add(
            self._tenant(tenant).create_volume(
                self._name(), blocks * self.block_size, unwritten=self._unwritten
            )
        )

    def delete_volume(self, volume: Hashable) -> None:
        """Delete a volume."""
        self._volumes[volume].delete()  # it stays in the table: what is called later has to be refused below

    def write(self, volume: Hashable, lba: int, data: bytes) -> None:
        """Write blocks."""
        self._volumes[volume].write(lba * self.block_size, data)

    def read(self, volume: Hashable, lba: int, count: int) -> bytes:
        """Read blocks."""
        return self._volumes[volume].read(lba * self.block_size, count * self.block_size)

    def trim(self, volume: Hashable, lba: int, count: int) -> None:
        """Give blocks up."""
        self._volumes[volume].trim(lba * self.block_size, count * self.block_size)

    def write_bytes(self, volume: Hashable, offset: int, data: bytes) -> None:
        """Write bytes."""
        self._volumes[volume].write(offset, data)

    def read_bytes(self, volume: Hashable, offset: int, length: int) -> bytes:
        """Read bytes, into a buffer that was used before."""
        buffer = bytearray(_USED * length)
        self._volumes[volume].readinto(offset, buffer)
        return bytes(buffer)

    def resize(self, volume: Hashable, blocks: int) -> None:
        """Change a volume's size."""
        self._volumes[volume].resize(blocks * self.block_size)

    # ---- snapshots, tenants -------------------------------------------------------------------

    def snapshot(self, volume: Hashable) -> int:
        """Freeze a volume."""
        snapshot = self._volumes[volume].snapshot(self._name())
        self._snapshots[snapshot.number] = snapshot
        return snapshot.number

    def clone(self, snapshot: Hashable, tenant: str) -> int:
        """Make a volume that begins as a snapshot."""
        return self._add(self._snapshots[snapshot].clone(self._name(), tenant=self._tenant(tenant)))

    def delete_snapshot(self, snapshot: Hashable) -> None:
        """Delete a snapshot."""
        self._snapshots[snapshot].delete()

    def delete_tenant(self, tenant: str) -> None:
        """Delete a tenant with all volumes and snapshots. One that nothing is known of is deleted already."""
        if tenant in self._tenants:
            self._tenants.pop(tenant).delete()

    # ---- the store as a whole -----------------------------------------------------------------

    def flush(self) -> None:
        """Make everything safe."""
        self.store.flush()

    def clean(self) -> None:
        """Let the head go round once."""
        end = self.store.stats().position + self.store.drives[0].blocks
        with suppress(MediumError):  # of a drive that is full: cleaning has nothing to win then
            self._write_until(lambda: self.store.stats().position >= end)

    def purge(self) -> None:
        """Let everything be written over that was deleted so far."""
        self.store.purge()

    def media(self) -> Iterator[bytes]:
        """Yield the drive's bytes as they lie."""
        drive = self.store.drives[0]
        yield drive.raw(0, drive.blocks)

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def _write_until(self, is_done: Callable[[], bool]) -> None:
        """Move the head on, with data of a volume that is gone afterwards."""
        data = bytes(self.store.drives[0].segment_size // 2)
        scratch = self._tenant(_ADAPTER).create_volume(self._name(), len(data))
        try:
            while not is_done():
                for _ in range(_WRITES_BETWEEN_LOOKS):
                    scratch.write(0, data)
        finally:
            scratch.delete()

    def _tenant(self, name: str) -> Tenant:
        with self._lock:
            tenant = self._tenants.get(name)
            if tenant is None:
                # A store that has lost its names calls tenants "tenant-1"; no name of the kit's may be that.
                tenant = self._tenants[name] = self.store.create_tenant(f"{name} of the kit")
            return tenant

    def _name(self) -> str:
        return f"name {next(self._numbers)}"

    def _add(self, volume: Volume) -> int:
        self._volumes[volume.number] = volume
        return volume.number


class DurableAdapter(SeqstoreAdapter):
    """A store that can be opened again. A crash is the end of its process: nothing is closed properly.

    Parameters
    ----------
    make, reopen : callable
        Make the store, and open it again.
    end : callable
        What comes after the adapter is closed.
    unwritten : {"zero", "error"}
    """

    def __init__(
        self,
        make: Callable[[], Store],
        reopen: Callable[[], Store],
        end: Callable[[], object] = lambda: None,
        *,
        unwritten: Unwritten = "zero",
    ) -> None:
        super().__init__(make(), unwritten=unwritten)
        self._reopen = reopen
        self._end = end

    def crash(self) -> None:
        """End the store as the end of its process would, and open it again."""
        self.store._parts.close(finish=False)
        self.store = self._reopen()
        living = {tenant.number: tenant for tenant in self.store.tenants}
        # By their numbers, since a store without its catalog makes up new names.
        self._tenants = {
            name: living[tenant.number] for name, tenant in self._tenants.items() if tenant.number in living
        }
        self._volumes = {volume.number: volume for tenant in living.values() for volume in tenant.volumes}
        self._snapshots = {s.number: s for tenant in living.values() for s in tenant.snapshots}

    def close(self) -> None:
        """Close the store, and give back what it lay on."""
        super().close()
        self._end()


class FaultyAdapter(DurableAdapter):
    """A store on a drive that loses power at each crash, and keeps of what was not synced any sectors.

    Parameters
    ----------
    seed : int
        With the number of writes before a crash it decides what is kept, so that a story ends the same way
        each time it is told.
    segments : int
        Size of the drive.
    plan : FaultPlan, optional
        What else goes wrong by chance.
    unwritten : {"zero", "error"}
    **options
        Of `Store.create_on`; those that `Store.open_on` takes too are given to it.

    Attributes
    ----------
    drive : FaultyDrive
        Faults are ordered from it.
    """

    def __init__(
        self,
        *,
        seed: int,
        segments: int = DURABLE_SEGMENTS,
        plan: FaultPlan | None = None,
        unwritten: Unwritten = "zero",
        **options: Any,
    ) -> None:
        self._seed = seed
        self._generator = Random(seed)
        self.drive = FaultyDrive(**_geometry(segments, "zone_size"), plan=plan, generator=self._generator)
        self._medium = FaultMedium(self.drive)
        super().__init__(
            lambda: Store.create_on(self._medium, **options),
            lambda: Store.open_on(self._plug_in(), **_for_opening(options)),
            self._unplug,
            unwritten=unwritten,
        )

    def crash(self) -> None:
        """Cut the power, at rest or in the middle of work that nobody asked for, and open the store again."""
        self._generator.seed(f"{self._seed} {self.drive.writes}")
        work = self._generator.choice((None, None, self.store.checkpoint, self.store.purge, self.clean))
        if work is not None:
            self.drive.cut_after(self.drive.writes + self._generator.choice(_CUT_IN_WRITE))
            with suppress(MediumError):
                work()
        if not self.drive.off:
            self.drive.power_cut()
        super().crash()
        if _ADAPTER in self._tenants:
            for scratch in self._tenants[_ADAPTER].volumes:
                scratch.delete()

    def _unplug(self) -> None:
        self._medium.close()

    def _plug_in(self) -> FaultMedium:
        self._unplug()
        self.drive.reboot()
        self._medium = FaultMedium(self.drive)
        return self._medium


def memory(
    *, segments: int = SEGMENTS, unwritten: Unwritten = "zero", **options: Any
) -> Callable[[], SeqstoreAdapter]:
    """Return a factory of stores in memory, which have nothing that a crash could leave.

    Parameters
    ----------
    segments : int
        Size of the drive, in segments of 16 blocks of 512 bytes.
    unwritten : {"zero", "error"}
        How volumes answer where nothing was written.
    **options
        Of `Store.memory`.
    """
    sizes = _geometry(segments, "segment_size")
    return lambda: SeqstoreAdapter(Store.memory(**sizes, **options), unwritten=unwritten)


def durable(
    path: Path, *, segments: int = DURABLE_SEGMENTS, unwritten: Unwritten = "zero", **options: Any
) -> Callable[[], DurableAdapter]:
    """Return a factory of stores in directories below a path; a crash is the end of the process.

    Each directory is removed when its store is closed.

    Parameters
    ----------
    path : Path
    segments, unwritten
        As of `memory`.
    **options
        Of `Store.create`.
    """
    sizes = {**_geometry(segments, "segment_size"), "checkpoint_interval": _CHECKPOINT_INTERVAL, **options}
    numbers = itertools.count(1)

    def make() -> DurableAdapter:
        place = path / f"store-{next(numbers)}"
        return DurableAdapter(
            lambda: Store.create(place, preallocate=False, **sizes),
            lambda: Store.open(place, **_for_opening(sizes)),
            lambda: shutil.rmtree(place),
            unwritten=unwritten,
        )

    return make


def faulty(
    seed: int = 0, *, segments: int = DURABLE_SEGMENTS, unwritten: Unwritten = "zero", **options: Any
) -> Callable[[], FaultyAdapter]:
    """Return a factory of stores on drives that lose power, what was not synced being kept or lost by chance.

    Parameters
    ----------
    seed : int
        Of chance.
    segments, unwritten
        As of `memory`.
    **options
        Of `Store.create_on`; those that `Store.open_on` takes too are given to it.
    """
    options = {"checkpoint_interval": _CHECKPOINT_INTERVAL, **options}
    return lambda: FaultyAdapter(seed=seed, segments=segments, unwritten=unwritten, **options)


def _for_opening(options: dict[str, Any]) -> dict[str, Any]:
    """Return those options of a new store that count for each opening."""
    names = {name: name for name in ("checkpoint_interval", "verify", "keys")} | {"encryption": "key"}
    return {names[name]: value for name, value in options.items() if name in names}


def _geometry(segments: int, segment_size: str) -> dict[str, Any]:
    """Return capacity, block size and segment size, the last under the name that it is asked for by."""
    size = SEGMENT_BLOCKS * BLOCK_SIZE
    return {"capacity": segments * size, "block_size": BLOCK_SIZE, segment_size: size}
