"""Processes that are killed while they write: all that they had flushed is there, and no half of anything."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from seqstore import FormatError, SeqstoreError, Store
from tests.crash.file_store import FileStore, StoreOp, next_world
from tests.crash.ops import Write, WriteBlocks
from tests.crash.victim import Opened, Order, Victims, author_of
from tests.crash.world import World, difference

Row = tuple[StoreOp | None, World]  # an operation and the world after it; none: the one before the first

MOST_OPERATIONS = 400
KILLS = 40  # of a chain, in the quick suite

POLICIES: dict[str, dict[str, Any]] = {
    "greedy, separate": {"selection": "greedy", "placement": "separate", "segments": 32},
    "cost_benefit, sepbit": {
        "selection": "cost_benefit",
        "placement": "sepbit",
        "classes": 4,
        "segments": 40,
    },
    "greedy, by_tenant": {"selection": "greedy", "placement": "by_tenant", "classes": 3, "segments": 40},
}


@pytest.fixture(scope="module")
def victims() -> Iterator[Victims]:
    victims = Victims()
    yield victims
    victims.close()


@dataclass(slots=True)
class Life:
    """What is known of a child that was killed."""

    order: Order
    lines: list[str]
    opened: Opened | None = None
    returned: int = 0
    flushed: int = 0
    closed: bool = False
    refused: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        for line in self.lines:
            word, _, rest = line.partition(" ")
            if word == "opened":
                self.opened = Opened(**json.loads(rest))
            else:
                self.returned = int(rest)
            if word in {"flushed", "closed"}:
                self.flushed = int(rest)
            if word == "refused":
                self.refused.add(int(rest))
            self.closed |= word == "closed"

    @property
    def most(self) -> int:
        """How many operations may be there: the one under way included."""
        return self.returned if self.closed or self.opened is None else self.returned + 1

    def worlds(self, world: World) -> list[Row]:
        """Return the operations that may be the last ones there, and the worlds after them."""
        if self.opened is None:
            return [(None, world)]
        author = author_of(self.order, self.opened, world)
        rows: list[Row] = [(None, world)]
        for number in range(1, min(self.most, self.order.operations) + 1):
            op = author.choose(world)
            if number not in self.refused:
                world = next_world(world, op, self.opened.atomic_blocks)
            rows.append((op, world))
        return rows[self.flushed :]


@dataclass(slots=True)
class Chain:
    """Children that are killed one after the other, all on one store."""

    victims: Victims
    path: Path
    seed: str
    options: Mapping[str, Any] = field(default_factory=dict)  # of the store, as in `Order`
    world: World = field(default_factory=dict)
    operations: int = 0
    unfinished: int = 0

    def run(self, kills: int) -> None:
        generator = Random(self.seed)
        for child in range(kills):
            order = Order(
                path=str(self.path),
                seed=self.seed,
                child=child,
                operations=generator.choice([30, MOST_OPERATIONS, MOST_OPERATIONS]),
                make=child == 0,
                **self.options,
            )
            self._expect(self._live(order, generator), generator)

    def _live(self, order: Order, generator: Random) -> Life:
        """Let a child live for a while: of its work, or from its first moment."""
        lines: list[str] = []
        self.victims.start(order)
        if order.make or generator.random() < 0.8:
            lines += self.victims.read_until("opened")
        time.sleep(generator.uniform(0, 0.08))
        return Life(order, lines + self.victims.kill())

    def _expect(self, life: Life, generator: Random) -> None:
        """Open the store here, and find a world that may be there."""
        rows = life.worlds(self.world)
        worlds = [world for _, world in rows]
        self._keep()
        try:
            store = Store.open(self.path)
            subject = FileStore(store)
            subject.check()
            shown = subject.show()
        except SeqstoreError as error:
            raise AssertionError(self._story(life, rows, None)) from error
        assert shown in worlds, self._story(life, rows, shown)
        if generator.random() < 0.2:
            assert not store.scrub().damaged
        if generator.random() < 0.5:
            store.close()
        else:
            subject.abandon()
        self.world = shown
        self.operations += life.returned
        self.unfinished += worlds.index(shown) < len(worlds) - 1

    @property
    def _kept(self) -> Path:
        return self.path.with_name("as-the-kill-left-it")

    def _keep(self) -> None:
        """Copy the store, for whoever has to find out what went wrong."""
        shutil.rmtree(self._kept, ignore_errors=True)
        shutil.copytree(self.path, self._kept)

    def _story(self, life: Life, rows: list[Row], shown: World | None) -> str:
        lines = [
            f"seed {self.seed!r}, child {life.order.child}: {life.flushed} operations were flushed and"
            f" {life.returned} had returned; the store is {self._kept}. Where it differs from each world:"
        ]
        for number, (op, world) in enumerate(rows, life.flushed):
            found = "it cannot be read" if shown is None else difference(shown, world)
            lines.append(f"{number} {_brief(op)}: {found}")
        return "\n".join(lines)


def _brief(op: StoreOp | None) -> str:
    """Describe an operation without its data."""
    if op is None:
        return "opening"
    return repr(replace(op, data=op.data[:0]) if isinstance(op, Write | WriteBlocks) else op)


@pytest.mark.invariant("I2")
@pytest.mark.invariant("I3")
@pytest.mark.parametrize("options", [{}, {"access": "mapped"}, {"preallocate": False}], ids=str)
def test_everything_flushed_is_there(victims: Victims, tmp_path: Path, options: dict[str, Any]) -> None:
    chain = Chain(victims, tmp_path / "lab.store", f"quick {options}", options)
    chain.run(KILLS)
    assert chain.operations > KILLS


@pytest.mark.invariant("I2")
@pytest.mark.invariant("I3")
@pytest.mark.parametrize("policy", POLICIES)
def test_everything_flushed_is_there_under_any_policy(victims: Victims, tmp_path: Path, policy: str) -> None:
    chain = Chain(victims, tmp_path / "lab.store", f"quick {policy}", POLICIES[policy])
    chain.run(KILLS // 2)
    assert chain.operations > KILLS


@pytest.mark.soak
@pytest.mark.parametrize("number", range(40))
def test_hundreds_of_kills(
    victims: Victims, tmp_path: Path, request: pytest.FixtureRequest, number: int
) -> None:
    seed = f"{request.config.getoption('--hypothesis-seed')}/{number}"
    options = {"access": ("cached", "mapped")[number % 2], "preallocate": number % 4 > 1}
    policy = [{}, *POLICIES.values()][number // 4 % (1 + len(POLICIES))]
    chain = Chain(victims, tmp_path / "lab.store", seed, {**options, **policy})
    chain.run(400)
    assert chain.operations > 400
    assert chain.unfinished > 0  # some children had something to lose


@pytest.mark.invariant("I2")
def test_killed_while_the_store_is_made(victims: Victims, tmp_path: Path) -> None:
    """A store is there as a whole, or the directory is none of a store and says so."""
    generator, made, unmade = Random(1), 0, 0
    for child in range(40):
        path = tmp_path / str(child)
        victims.start(Order(path=str(path), seed="made", child=child, operations=0, make=True))
        lines = [*victims.read_until("opened")] if child % 8 == 7 else []
        time.sleep(generator.uniform(0, 0.03))
        lines += victims.kill()
        try:
            store = Store.open(path)
        except (FormatError, LookupError):
            assert not lines
            unmade += 1
            continue
        made += 1
        assert FileStore(store).show() == {}
        store.check()
        store.close()
    assert made >= 5
    assert unmade > 0
