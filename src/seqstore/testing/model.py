"""The oracle: what each volume must show, in plain Python.

Invariants:

- A block is a bytes object; an unwritten one is the object `Model.zero`.
- `Model.log` holds, for stores that crash, how to get from the state now to each one since the last flush.
- Numbers of tenants, volumes, snapshots and versions are never used twice; handles and names may be.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Tenant:
    """A tenant; one that takes the name of a deleted one is another."""

    number: int
    name: str


@dataclass(slots=True, eq=False)
class Volume:
    """A volume and what it must show.

    Attributes
    ----------
    handle : Hashable
        The store's.
    blocks : list of bytes
        What each block must hold.
    origin : Snapshot or None
        What it is a clone of.
    doubtful : bool
        A crash left open whether it is still there.
    """

    number: int
    tenant: Tenant
    handle: Hashable
    blocks: list[bytes]
    origin: Snapshot | None = None
    doubtful: bool = False


@dataclass(slots=True, eq=False)
class Snapshot:
    """A frozen view.

    Attributes
    ----------
    version : int
        The newest write that it may show.
    """

    number: int
    volume: Volume
    handle: Hashable
    blocks: list[bytes]
    version: int
    doubtful: bool = False

    @property
    def tenant(self) -> Tenant:
        """Whose it is."""
        return self.volume.tenant


@dataclass(slots=True)
class State:
    """Everything that a store shows at one moment. Its lists are never changed in place."""

    volumes: dict[Volume, list[bytes]]
    snapshots: tuple[Snapshot, ...]


@dataclass(frozen=True, slots=True)
class Before:
    """What a call has changed: blocks of a volume from `start` on, and what it made or deleted.

    Attributes
    ----------
    blocks : list of bytes
        What stood there before.
    whole : bool
        Whether `blocks` is all that the volume held.
    born, died : sequence of Volume or Snapshot
        What the call made and deleted.
    """

    volume: Volume | None = None
    start: int = 0
    blocks: Sequence[bytes] = ()
    whole: bool = False
    born: tuple[Volume | Snapshot, ...] = ()
    died: tuple[Volume | Snapshot, ...] = ()


@dataclass(slots=True, eq=False)
class Model:
    """What a store must show.

    Parameters
    ----------
    block_size : int
        Bytes of a block.
    crashes : bool
        Whether former states are kept.
    atomic_blocks : int or None
        Blocks of a write that a crash leaves whole or not at all.
    """

    block_size: int
    crashes: bool = False
    atomic_blocks: int | None = None
    zero: bytes = b""
    tenants: dict[str, Tenant] = field(default_factory=dict)
    everybody: dict[int, Tenant] = field(default_factory=dict)
    every_volume: dict[int, Volume] = field(default_factory=dict)
    volumes: list[Volume] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    deleted: list[Volume] = field(default_factory=list)
    log: list[Before] = field(default_factory=list)
    version: int = 0
    _snapshot_number: int = 0

    def __post_init__(self) -> None:
        self.zero = bytes(self.block_size)

    @property
    def living(self) -> list[Volume | Snapshot]:
        """All volumes and snapshots."""
        return [*self.volumes, *self.snapshots]

    def tenant(self, name: str) -> Tenant:
        """Return the living tenant of a name, which comes into being with its first volume."""
        tenant = self.tenants.get(name)
        if tenant is None:
            tenant = self.tenants[name] = Tenant(len(self.everybody) + 1, name)
            self.everybody[tenant.number] = tenant
        return tenant

    def create(self, tenant: str, handle: Hashable, blocks: int) -> Volume:
        """Add a volume of unwritten blocks."""
        return self._add(Volume(0, self.tenant(tenant), handle, [self.zero] * blocks))

    def clone(self, snapshot: Snapshot, tenant: str, handle: Hashable) -> Volume:
        """Add a volume that shows what a snapshot shows."""
        return self._add(Volume(0, self.tenant(tenant), handle, list(snapshot.blocks), origin=snapshot))

    def _add(self, volume: Volume) -> Volume:
        volume.number = len(self.every_volume) + 1
        self.every_volume[volume.number] = volume
        self.volumes.append(volume)
        self._keep(Before(born=(volume,)))
        return volume

    def snapshot(self, volume: Volume, handle: Hashable) -> Snapshot:
        """Freeze what a volume shows."""
        self._snapshot_number += 1
        snapshot = Snapshot(self._snapshot_number, volume, handle, list(volume.blocks), self.version)
        self.snapshots.append(snapshot)
        self._keep(Before(born=(snapshot,)))
        return snapshot

    def put(self, volume: Volume, lba: int, blocks: Sequence[bytes]) -> None:
        """Write or, with `zero`, trim blocks."""
        end = lba + len(blocks)
        if self.crashes:
            piece = self.atomic_blocks or len(blocks)
            for start in range(lba, end, piece):
                self._keep(Before(volume, start, volume.blocks[start : min(start + piece, end)]))
        volume.blocks[lba:end] = blocks

    def trim(self, volume: Volume, lba: int, count: int) -> None:
        """Make blocks unwritten."""
        if self.crashes:
            self._keep(Before(volume, lba, volume.blocks[lba : lba + count]))
        volume.blocks[lba : lba + count] = [self.zero] * count

    def resize(self, volume: Volume, blocks: int) -> None:
        """Cut a volume, or add unwritten blocks."""
        if self.crashes:
            self._keep(Before(volume, 0, list(volume.blocks), whole=True))
        added = blocks - len(volume.blocks)
        if added < 0:
            del volume.blocks[blocks:]
        else:
            volume.blocks.extend([self.zero] * added)

    def delete(self, *gone: Volume | Snapshot) -> None:
        """Delete volumes and snapshots by one call."""
        self.forget(*gone)
        self._keep(Before(died=gone))

    def forget(self, *gone: Volume | Snapshot) -> None:
        """Take away what is not there, and has not been since the last crash."""
        for one in gone:
            if isinstance(one, Volume):
                self.volumes.remove(one)
                self.deleted.append(one)
            else:
                self.snapshots.remove(one)

    def delete_tenant(self, name: str) -> None:
        """Delete all that a tenant has."""
        tenant = self.tenants.pop(name)
        self.delete(*(one for one in self.living if one.tenant is tenant))

    def flushed(self) -> None:
        """Forget former states: no crash leads back to them."""
        self.log.clear()

    def _keep(self, before: Before) -> None:
        if self.crashes:
            self.log.append(before)

    def states(self) -> Iterable[State]:
        """Yield the state now, and each former one back to the last flush."""
        state = State({volume: list(volume.blocks) for volume in self.volumes}, tuple(self.snapshots))
        yield state
        for before in reversed(self.log):
            state = _former(state, before)
            yield state

    def install(self, state: State) -> None:
        """Go on from a state that was found behind a crash."""
        lost = [volume for volume in self.volumes if volume not in state.volumes]
        self.volumes = sorted(state.volumes, key=lambda volume: volume.number)
        for volume, blocks in state.volumes.items():
            volume.blocks = blocks
        self.snapshots = sorted(state.snapshots, key=lambda snapshot: snapshot.number)
        self.deleted = [one for one in self.deleted if one not in state.volumes] + lost
        for one in self.living:
            self.tenants[one.tenant.name] = one.tenant
        self.log.clear()

    def descends(self, volume: Volume, number: int, version: int) -> bool:
        """Say whether a write to the volume `number` was ever to be seen in `volume`."""
        while volume.number != number:
            if volume.origin is None or version > volume.origin.version:
                return False
            volume = volume.origin.volume
        return True

    def live_blocks(self) -> set[bytes]:
        """Return what may lie on the media behind a purge."""
        live = {block for one in self.living for block in one.blocks}
        live.discard(self.zero)
        return live


def _former(state: State, before: Before) -> State:
    volumes = dict(state.volumes)
    snapshots = state.snapshots
    if before.volume is not None:
        blocks = list(before.blocks)
        if not before.whole:
            now = volumes[before.volume]
            blocks = now[: before.start] + blocks + now[before.start + len(blocks) :]
        volumes[before.volume] = blocks
    for one in before.born:
        if isinstance(one, Volume):
            del volumes[one]
        else:
            snapshots = tuple(other for other in snapshots if other is not one)
    for one in before.died:
        if isinstance(one, Volume):
            volumes[one] = list(one.blocks)
        else:
            snapshots = (*snapshots, one)
    return State(volumes, snapshots)
