"""Stories become short and simple, in bounded time."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from time import monotonic, sleep

from seqstore.testing.generate import Generator
from seqstore.testing.protocol import Capabilities
from seqstore.testing.shrink import Shrinker, simpler_steps
from seqstore.testing.steps import Step

EVERYTHING = Capabilities(**dict.fromkeys(Capabilities.__dataclass_fields__, True))


def story(seed: int, steps: int = 50) -> list[Step]:
    return Generator(EVERYTHING, block_size=512, boundaries=(8, 16)).example(Random(seed), steps)


def fails_on(*commands: str) -> list[Step]:
    """Shrink a story that fails once these commands have come in this order."""

    def fails(steps: Sequence[Step]) -> int | None:
        wanted = list(commands)
        for done, step in enumerate(steps, 1):
            if step.command == wanted[0]:
                wanted.pop(0)
            if not wanted:
                return done
        return None

    seed = next(seed for seed in range(1000) if fails(story(seed)))
    return Shrinker(fails, seconds=5).shrink(story(seed))


def test_only_what_matters_is_left() -> None:
    shortest = fails_on("snapshot", "trim", "crash")
    assert [step.command for step in shortest] == ["snapshot", "trim", "crash"]
    assert shortest[1] == Step("trim", 0, 0, 1)


def test_pairs_go_together() -> None:
    def fails(steps: Sequence[Step]) -> int | None:
        commands = [step.command for step in steps]
        return len(steps) if commands.count("trim") % 2 == 0 and "crash" in commands else None

    start = [Step("trim"), Step("crash"), Step("write"), Step("trim")]
    assert Shrinker(fails, seconds=5).shrink(start) == [Step("crash")]


def test_a_story_that_does_not_fail_again_stays() -> None:
    start = story(1)
    assert Shrinker(lambda steps: None, seconds=5).shrink(start) == start


def test_time_is_bounded() -> None:
    def fails(steps: Sequence[Step]) -> int | None:
        sleep(0.01)
        return len(steps)

    start = monotonic()
    Shrinker(fails, seconds=0.1).shrink([Step("write", i, i, i) for i in range(200)])
    assert monotonic() - start < 1


def test_simpler_steps_come_to_an_end() -> None:
    for step in story(3):
        seen = {step}
        new = [step]
        while new:
            new = [simpler for one in new for simpler in simpler_steps(one) if simpler not in seen][:5]
            seen.update(new)
        assert len(seen) < 200


def test_the_same_seed_draws_the_same_story() -> None:
    assert story(7) == story(7) != story(8)


def test_every_command_is_drawn() -> None:
    drawn = {step.command for seed in range(100) for step in story(seed)}
    assert {"write_bytes", "clone", "purge", "crash", "write_deleted", "delete_tenant"} <= drawn
    bare = Generator(Capabilities(), block_size=512)
    assert "crash" not in {step.command for seed in range(50) for step in bare.example(Random(seed), 50)}
