"""Operations drawn from a seed and from the world that they meet: whoever knows both draws the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tests.crash.file_store import Leave, StoreOp
from tests.crash.ops import BLOCK
from tests.crash.script import Script
from tests.crash.world import World

_VERBS = {
    "write_bytes": 30,
    "scatter": 12,
    "trim": 8,
    "resize": 4,
    "flush": 12,
    "checkpoint": 2,
    "create": 4,
    "snapshot": 4,
    "clone": 3,
    "rollback": 2,
    "delete": 4,
    "leave": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the operations keep to.

    Attributes
    ----------
    request_blocks : int
        Of one operation.
    volume_blocks : int
        Size of a volume.
    live_blocks : int
        All that volumes and snapshots show, shared blocks counted for each of them.
    """

    request_blocks: int = 20
    volume_blocks: int = 60
    live_blocks: int = 300


class Author:
    """Chooses one operation after the other.

    Parameters
    ----------
    generator : Random
    world : World
        Met by the first operation.
    last_number : int
        The highest that the store has given to volumes, snapshots and rollbacks.
    tenants : sequence of int
        The living ones.
    version : int
        Where the versions in the tagged blocks begin.
    limits : Limits
    """

    def __init__(
        self,
        generator: Random,
        world: World,
        *,
        last_number: int,
        tenants: Sequence[int],
        version: int,
        limits: Limits | None = None,
    ) -> None:
        owners = {number: shown.tenant for number, shown in world.items()}
        self._script = Script(last_number=last_number, version=version, tenants=owners)
        self._generator = generator
        self._tenants = list(tenants)
        self._limits = limits or Limits()

    def choose(self, world: World) -> StoreOp:
        """Choose what is done to a world."""
        while True:
            (verb,) = self._generator.choices([*_VERBS], [*_VERBS.values()])
            op = getattr(self, f"_{verb}")(world)
            if op is not None:
                assert isinstance(op, StoreOp)
                return op
            if self._script.ops:
                return self._script.ops.pop()

    # ---- each draws its arguments, and does nothing where it makes no sense ------------------------

    def _flush(self, _: World) -> None:
        self._script.flush()

    def _checkpoint(self, _: World) -> None:
        self._script.checkpoint()

    def _write_bytes(self, world: World) -> None:
        number, size = self._volume(world)
        if not size or not self._has_room(world, self._limits.request_blocks):
            return
        start = self._generator.randrange(size)
        if self._generator.random() < 0.5:
            start -= start % BLOCK
        longest = min(size - start, (self._limits.request_blocks - 1) * BLOCK)
        self._script.write_bytes(number, start, 1 + self._generator.randrange(longest))

    def _scatter(self, world: World) -> None:
        number, size = self._volume(world)
        if size < BLOCK or not self._has_room(world, self._limits.request_blocks):
            return
        count = 1 + self._generator.randrange(self._limits.request_blocks)
        self._script.scatter(number, [self._generator.randrange(size // BLOCK) for _ in range(count)])

    def _trim(self, world: World) -> None:
        number, size = self._volume(world)
        if size:
            start = self._generator.randrange(size)
            self._script.trim_bytes(number, start, 1 + self._generator.randrange(size - start))

    def _resize(self, world: World) -> None:
        number, size = self._volume(world)
        if size:
            self._script.resize(number, *self._size())

    def _create(self, world: World) -> None:
        if self._tenants and self._has_room(world, 0) and len(world) < 8:
            (blocks, extra), tenant = self._size(), self._generator.choice(self._tenants)
            self._script.create(blocks, extra=extra, tenant=tenant, strict=self._generator.random() < 0.3)

    def _snapshot(self, world: World) -> None:
        number, size = self._volume(world)
        if size and len(world) < 10 and self._has_room(world, len(world[number].blocks)):
            self._script.snapshot(number)

    def _clone(self, world: World) -> None:
        snapshots = [number for number, shown in world.items() if shown.is_snapshot]
        if snapshots and self._tenants and len(world) < 10:
            number, tenant = self._generator.choice(snapshots), self._generator.choice(self._tenants)
            if self._has_room(world, len(world[number].blocks)):
                self._script.clone(number, tenant=tenant, strict=world[number].strict)

    def _rollback(self, world: World) -> None:
        pairs = [
            (shown.origin, number)
            for number, shown in world.items()
            if shown.is_snapshot and shown.origin in world
        ]
        if pairs:
            volume, snapshot = self._generator.choice(pairs)
            if self._has_room(world, len(world[snapshot].blocks)):
                self._script.rollback(volume, snapshot)

    def _delete(self, world: World) -> None:
        if len(world) > 2:
            self._script.delete(self._generator.choice(sorted(world)))

    def _leave(self, world: World) -> StoreOp | None:
        if len(self._tenants) < 2 or not world:
            return None
        tenant = self._generator.choice(self._tenants)
        self._tenants.remove(tenant)
        return Leave(tenant)

    # ---- helpers ----------------------------------------------------------------------------------

    def _volume(self, world: World) -> tuple[int, int]:
        """Draw a volume; with its size, which is 0 if there is none."""
        volumes = sorted(number for number, shown in world.items() if not shown.is_snapshot)
        if not volumes:
            return 0, 0
        number = self._generator.choice(volumes)
        return number, world[number].size

    def _size(self) -> tuple[int, int]:
        """Draw a size: blocks, and bytes of the one behind them."""
        extra = self._generator.choice([0, 0, 1, 300])
        return 1 + self._generator.randrange(self._limits.volume_blocks), extra

    def _has_room(self, world: World, added: int) -> bool:
        return sum(len(shown.blocks) for shown in world.values()) + added <= self._limits.live_blocks
