"""The kit on our own stores: every medium and policy, both answers for what was never written, and threads.

The soak goes on for an hour, or for so many seconds as SOAK_SECONDS says, and prints each seed that it takes.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from seqstore.keys import FileKey
from seqstore.testing import Report, check_durability, check_isolation
from seqstore.testing.adapters import SeqstoreAdapter, durable, faulty, memory

EXAMPLES = {"memory": 60, "durable": 6, "faulty": 24, "encrypted": 4}
_HOUR = 3600.0

# Each selection and each placement once, beside the circular log.
POLICIES: list[tuple[str, str]] = [
    ("fifo", "single"),
    ("greedy", "separate"),
    ("cost_benefit", "dac"),
    ("cost_benefit_sqrt", "sepbit"),
    ("d_choices", "multilog"),
    ("windowed_greedy", "by_tenant"),
    ("random_greedy", "by_volume"),
    ("greedy", "single"),
]
# Four heads are open at once, and a volume of the kit's has to fit beside what is kept free for them.
CLASSES, SEGMENTS = 4, 64

Unwritten = Literal["zero", "error"]
Make = Callable[..., Callable[[], SeqstoreAdapter]]


@pytest.fixture
def media(tmp_path: Path) -> dict[str, Make]:
    """Return what makes factories of stores, by the medium: of a seed and the options of an adapter."""
    return {
        "memory": lambda _, **options: memory(**options),
        "durable": lambda _, **options: durable(tmp_path, **options),
        "faulty": faulty,
        "encrypted": lambda _, **options: durable(tmp_path, encryption=root_key(tmp_path), **options),
    }


def root_key(folder: Path) -> FileKey:
    """Return a root key in a file, the same each time."""
    file = folder / "root.key"
    if not file.exists():
        file.touch(0o600)
        file.write_bytes(secrets.token_bytes(32))
    return FileKey(file)


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 (shown when a test fails, and during a soak)


def draw_seed() -> int:
    seed = secrets.randbits(32)
    say(f"seed={seed}")
    return seed


def require_all(report: Report, medium: str, examples: int) -> None:
    """See that everything was checked: a few examples of a drawn seed may hold no crash, or no clean-up."""
    found = {name.split()[0] for name in report.checked}
    assert found >= {"I1", "I3", "I8"}
    if examples >= 20:
        assert report.commands["clean"] > 0
        assert medium == "memory" or "I2" in found


@pytest.mark.parametrize("unwritten", ["zero", "error"])
@pytest.mark.parametrize("medium", EXAMPLES)
def test_our_stores_pass(media: dict[str, Make], medium: str, unwritten: Unwritten) -> None:
    seed = draw_seed()
    report = check_isolation(
        media[medium](seed, unwritten=unwritten), max_examples=EXAMPLES[medium], seed=seed
    )
    require_all(report, medium, EXAMPLES[medium])


@pytest.mark.parametrize("policy", POLICIES[1:], ids="+".join)
@pytest.mark.parametrize("medium", ["memory", "faulty"])
def test_our_stores_pass_under_every_policy(
    media: dict[str, Make], medium: str, policy: tuple[str, str]
) -> None:
    seed = draw_seed()
    selection, placement = policy
    factory = media[medium](
        seed, segments=SEGMENTS, selection=selection, placement=placement, classes=CLASSES
    )
    report = check_isolation(factory, max_examples=EXAMPLES[medium] // 4, seed=seed)
    require_all(report, medium, EXAMPLES[medium] // 4)


@pytest.mark.parametrize("medium", ["durable", "faulty", "encrypted"])
def test_our_stores_are_durable(media: dict[str, Make], medium: str) -> None:
    seed = draw_seed()
    report = check_durability(media[medium](seed), max_examples=EXAMPLES[medium], seed=seed)
    assert report.commands["crash"] > EXAMPLES[medium]


@pytest.mark.parametrize("medium", EXAMPLES)
def test_our_stores_pass_with_threads(media: dict[str, Make], medium: str) -> None:
    seed = draw_seed()
    check_isolation(media[medium](seed), max_examples=5, seed=seed, threads=4)


@pytest.mark.soak
def test_soak(
    media: dict[str, Make], capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    """Whatever the medium, the length of the stories and the number of threads, for an hour."""
    given = request.config.getoption("--hypothesis-seed")
    first = secrets.randbits(32) if given is None else int(given)
    end = time.monotonic() + float(os.environ.get("SOAK_SECONDS", _HOUR))
    round_number = steps = 0
    while time.monotonic() < end:
        seed, medium = first + round_number // len(EXAMPLES), list(EXAMPLES)[round_number % len(EXAMPLES)]
        unwritten: Unwritten = "error" if seed % 2 else "zero"
        policy = POLICIES[seed // 2 % len(POLICIES)]
        with capsys.disabled():
            say(f"round {round_number}: {medium}, {'+'.join(policy)}, unwritten={unwritten}, seed={seed}")
        check = check_durability if seed % 3 == 1 and medium != "memory" else check_isolation
        options = {"threads": 4} if check is check_isolation and seed % 4 == 0 else {}
        # Tables of volumes take room on a durable drive, and long stories make more of them.
        length, segments = ((50, SEGMENTS), (150, 2 * SEGMENTS), (500, 4 * SEGMENTS))[seed % 3]
        if policy == POLICIES[0]:
            segments //= 2
        examples = 5 * EXAMPLES[medium]
        selection, placement = policy
        factory = media[medium](
            seed,
            unwritten=unwritten,
            segments=segments,
            selection=selection,
            placement=placement,
            classes=CLASSES,
        )
        steps += check(factory, max_examples=examples, steps=length, seed=seed, **options).steps
        round_number += 1
    assert steps > 0
