"""Draws stories.

Each example has a character of its own (swarm testing): how often each command comes, how large its volumes
are, whether its requests fall on few blocks or on all, how long they are. Many bugs need two or three
commands in a row on the same few blocks; others a store that is full. No single distribution finds both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from types import MappingProxyType
from typing import TypeVar

from seqstore.testing.protocol import Capabilities
from seqstore.testing.steps import ALL, COMMANDS, Step

# How often each command comes, before an example changes it.
WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "create": 1.2,
        "write": 10.0,
        "read": 4.0,
        "trim": 3.0,
        "delete": 0.7,
        "check": 2.0,
        "read_beyond": 0.3,
        "write_beyond": 0.2,
        "trim_beyond": 0.2,
        "read_deleted": 0.3,
        "write_deleted": 0.1,
        "write_bytes": 3.0,
        "read_bytes": 2.0,
        "resize": 2.5,
        "snapshot": 2.0,
        "clone": 1.2,
        "delete_snapshot": 0.8,
        "delete_tenant": 0.3,
        "flush": 1.5,
        "clean": 2.0,
        "crash": 2.0,
        "purge": 1.0,
    }
)
# What part of the commands an example has, and how much more or less often.
_KEPT = (0.25, 0.5, 0.75, 1.0)
_FACTORS = (0.3, 1.0, 1.0, 3.0)


# What tends to go wrong behind what: these come next more often, and on the same volume.
_FOLLOWERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "create": ("write", "read"),
        "write": ("write", "trim", "snapshot", "flush", "crash", "clean", "delete_tenant", "write_bytes"),
        "write_bytes": ("read_bytes", "crash", "snapshot"),
        "trim": ("check", "flush", "crash", "snapshot", "clone", "purge", "write"),
        "resize": ("resize", "resize", "resize", "check", "crash", "clone", "write"),
        "snapshot": (
            "write",
            "trim",
            "resize",
            "resize",
            "delete",
            "clone",
            "delete_snapshot",
            "delete_tenant",
        ),
        "clone": ("write", "trim", "resize", "delete", "check", "purge"),
        "delete": ("create", "clone", "purge", "crash", "clean", "write"),
        "delete_snapshot": ("purge", "purge", "clean", "crash", "write"),
        "delete_tenant": ("create", "purge", "crash", "clone"),
        "flush": ("crash", "write", "trim", "delete"),
        "clean": ("write", "write", "crash", "check"),
        "crash": ("write", "crash", "create", "purge", "read"),
        "purge": ("crash", "check"),
    }
)


@dataclass(frozen=True, slots=True)
class _Character:
    """What the steps of one example have in common."""

    tenants: int
    volume_blocks: tuple[int, ...]
    positions: tuple[int, ...]
    lengths: tuple[int, ...]
    volumes: int
    chained: float


class Generator:
    """Draws the stories of one check.

    Parameters
    ----------
    capabilities : Capabilities
        What the store can do.
    block_size : int
        Bytes of its blocks.
    boundaries : sequence of int
        Distances in blocks at which the store changes its behaviour.
    emphasis : mapping of str to float
        Factors of the weights.
    """

    def __init__(
        self,
        capabilities: Capabilities,
        *,
        block_size: int,
        boundaries: Sequence[int] = (),
        emphasis: Mapping[str, float] | None = None,
    ) -> None:
        self._block_size = block_size
        self._boundaries = tuple(boundaries)
        factors = emphasis or {}
        self._weights = {
            name: WEIGHTS[name] * factors.get(name, 1.0)
            for name, needs in COMMANDS.items()
            if all(getattr(capabilities, need) for need in needs)
        }

    def example(self, rng: Random, steps: int) -> list[Step]:
        """Draw a story.

        Parameters
        ----------
        rng : Random
            Where chance comes from.
        steps : int
            How long it is.
        """
        character = self._character(rng)
        kept = rng.choice(_KEPT)
        weights = {
            name: weight * rng.choice(_FACTORS) if rng.random() < kept else 0.0
            for name, weight in self._weights.items()
        }
        weights["write"] = self._weights["write"] * rng.choice(_FACTORS)
        story = [self._step("create", rng, character) for _ in range(character.volumes)]
        names = list(weights)
        followers = {
            name: [after for after in _FOLLOWERS.get(name, ()) if weights.get(after)] for name in names
        }
        drawn = rng.choices(names, cum_weights=list(accumulate(weights.values())), k=steps)
        random = rng.random
        for name in drawn[len(story) :]:
            last = story[-1]
            likely = followers[last.command]
            if likely and random() < character.chained:
                story.append(self._step(_one_of(likely, random()), rng, character, which=last.which))
            else:
                story.append(self._step(name, rng, character))
        return story[:steps]

    def _character(self, rng: Random) -> _Character:
        near = tuple(at + by for at in self._boundaries for by in (-1, 0, 1) if at + by > 0)
        sizes = rng.choice(((1, 2, 3), (2, 4, 8), (4, 7, 16), (8, 16, 33), (16, 33, 64), near or (5, 9, 24)))
        few = rng.random() < 0.5
        return _Character(
            tenants=rng.choice((1, 2, 2, 3)),
            volume_blocks=sizes,
            positions=(0, 1, 2, -1) if few else (0, 1, -1, -2, *near, *range(max(sizes))),
            lengths=rng.choice(((1,), (1, 2), (1, 2, 3, ALL), (1, 2, 4, 8), (ALL,), (1, *near))),
            volumes=rng.choice((1, 2, 2, 3)),
            chained=rng.choice((0.0, 0.4, 0.8)),
        )

    def _step(self, name: str, rng: Random, character: _Character, *, which: int | None = None) -> Step:
        random = rng.random
        which = int(random() * 4) if which is None else which
        if name in _ON_BYTES:
            return self._on_bytes(name, which, rng, character)
        start, count = 0, 1
        if name in _ON_BLOCKS:
            start, count = _one_of(character.positions, random()), _one_of(character.lengths, random())
        elif name == "create":
            which, count = int(random() * character.tenants), _one_of(character.volume_blocks, random())
        elif name == "resize":
            count = _one_of((1, 2, 3, *character.volume_blocks * 2), random())
        elif name == "clone":
            start = int(random() * (character.tenants + 1)) - 1
        elif name in _BEYOND:
            start, count = int(random() * 9) - 5, int(random() * 8)
        elif name in _ON_DELETED:
            start = int(random() * 4)
        return Step(name, which, start, count)

    def _on_bytes(self, name: str, which: int, rng: Random, character: _Character) -> Step:
        size = self._block_size
        random = rng.random
        within = (0, 1, size // 2, size - 1, int(random() * size))
        start = _one_of(character.positions, random()) * size + _one_of(within, random())
        lengths = (
            1,
            7,
            size // 2,
            size - 1,
            size,
            size + 1,
            2 * size,
            3 * size - 2,
            1 + int(random() * 2 * size),
        )
        return Step(name, which, start, _one_of(lengths, random()))


Value = TypeVar("Value")

_ON_BLOCKS = frozenset({"write", "read", "trim"})
_ON_BYTES = frozenset({"write_bytes", "read_bytes"})
_BEYOND = frozenset({"read_beyond", "write_beyond", "trim_beyond"})
_ON_DELETED = frozenset({"read_deleted", "write_deleted"})


def _one_of(values: Sequence[Value], at: float) -> Value:
    return values[int(at * len(values))]
