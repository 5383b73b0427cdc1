"""The checks: plain functions that take a factory of stores, and raise, or report what they did."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from random import Random
from time import perf_counter
from types import MappingProxyType
from typing import Any

from seqstore.testing.generate import Generator
from seqstore.testing.interpret import Run
from seqstore.testing.judge import Finding
from seqstore.testing.narrate import Narrator
from seqstore.testing.protocol import AdapterError, BlockStore, Capabilities, boundaries_of
from seqstore.testing.report import IsolationViolation, Report, coverage
from seqstore.testing.shrink import Shrinker
from seqstore.testing.steps import Step

Factory = Callable[[], BlockStore]

_DURABILITY: Mapping[str, float] = MappingProxyType({"crash": 4.0, "flush": 3.0, "clean": 2.0, "check": 0.5})
_DELETION: Mapping[str, float] = MappingProxyType(
    {"purge": 6.0, "trim": 2.0, "delete": 3.0, "delete_snapshot": 3.0, "delete_tenant": 4.0, "clean": 2.0}
)
_SHRINK_SECONDS = 4.0


def check_isolation(
    factory: Factory, *, max_examples: int = 200, steps: int = 50, seed: int | None = None, threads: int = 0
) -> Report:
    """Look for bytes that a store shows and must not, by random stories, with all that the adapter offers.

    Parameters
    ----------
    factory : callable
        Returns a fresh, empty store each time; see `BlockStore`.
    max_examples, steps : int
        How many stories, and how long they are.
    seed : int, optional
        Of the stories; drawn, and printed with what was found, if None.
    threads : int
        If not 0, readers and writers besides, that many, on one store at once.

    Returns
    -------
    Report
        What was done, if nothing was found.

    Raises
    ------
    IsolationViolation
        With the shortest story found.
    AdapterError
        If the adapter does not keep to the protocol.
    """
    seed = _drawn(seed)
    report = _Check("check_isolation", factory, {}).run(max_examples, steps, seed)
    if threads:
        from seqstore.testing.races import run_races  # noqa: PLC0415  needed here alone

        run_races(factory, threads=threads, examples=max_examples, steps=steps, seed=seed)
    return report


def check_durability(
    factory: Factory, *, max_examples: int = 200, steps: int = 50, seed: int | None = None
) -> Report:
    """Look for what a crash loses or brings back: `check_isolation` with many crashes and flushes.

    Parameters, results and errors are those of `check_isolation`; the adapter must have ``crash()``.
    """
    return _Check("check_durability", factory, _DURABILITY, needs=("crash",)).run(
        max_examples, steps, _drawn(seed)
    )


def check_deletion(
    factory: Factory, *, max_examples: int = 200, steps: int = 50, seed: int | None = None
) -> Report:
    """Look for deleted bytes on the raw media: `check_isolation` with many deletions and purges.

    Parameters, results and errors are those of `check_isolation`; the adapter must have ``purge()`` and
    ``media()``.
    """
    return _Check("check_deletion", factory, _DELETION, needs=("purge", "media")).run(
        max_examples, steps, _drawn(seed)
    )


def run_story(
    factory: Factory,
    story: Sequence[Step],
    *,
    nonce: int,
    narrator: Narrator | None = None,
    capabilities: Capabilities | None = None,
) -> Run:
    """Run one story on a fresh store.

    Parameters
    ----------
    factory : callable
        Returns the store.
    story : sequence of Step
        What is done.
    nonce : int
        Of the canaries.
    narrator : Narrator, optional
        Told each step.
    capabilities : Capabilities, optional
        What the store can do, where that is known.

    Returns
    -------
    Run
        How it went.

    Raises
    ------
    StoryFailed
        If the store did not show what it must.
    """
    store: Any = factory()
    run = Run(store, nonce=nonce, narrator=narrator, capabilities=capabilities)
    done = 0
    try:
        for step in story:
            done += 1
            run.do(step)
        run.finish()
        run.close()
    except Finding as finding:
        with suppress(Finding):
            run.close()
        raise StoryFailed(finding, done) from finding
    return run


class StoryFailed(Exception):  # noqa: N818  it is how a story ends, and no error of the kit
    """A story ended badly.

    Attributes
    ----------
    finding : Finding
        What was found.
    done : int
        How many steps it took.
    """

    def __init__(self, finding: Finding, done: int) -> None:
        super().__init__(finding.text)
        self.finding = finding
        self.done = done


class _Check:
    """One check of one factory."""

    def __init__(
        self, name: str, factory: Factory, emphasis: Mapping[str, float], *, needs: Sequence[str] = ()
    ) -> None:
        self._name = name
        self._factory = factory
        self._emphasis = emphasis
        self._needs = needs
        self._block_size = 0
        self._last: BlockStore | None = None

    def run(self, max_examples: int, steps: int, seed: int) -> Report:
        start = perf_counter()
        generator, capabilities = self._generator()
        rng = Random(seed)
        commands: Counter[str] = Counter()
        refused: Counter[str] = Counter()
        scans, recognised = 0, False
        for _ in range(max_examples):
            story = generator.example(rng, steps)
            nonce = rng.getrandbits(64)
            try:
                run = run_story(self._fresh, story, nonce=nonce, capabilities=capabilities)
            except StoryFailed as failed:
                seconds = perf_counter() - start
                violation = self._violation(story, failed, nonce=nonce, seed=seed)
                violation.steps, violation.seconds = commands.total() + failed.done, seconds
                raise violation from failed.finding.__cause__
            commands.update(run.commands)
            refused.update(run.refused)
            scans += run.scans
            recognised |= run.recognised
        checked, unchecked = coverage(capabilities, commands, scans=scans, recognised=recognised)
        return Report(
            examples=max_examples,
            steps=commands.total(),
            seconds=perf_counter() - start,
            seed=seed,
            checked=checked,
            unchecked=unchecked,
            commands=commands,
            refused=refused,
        )

    def _fresh(self) -> BlockStore:
        store = self._factory()
        if store is self._last and store is not None:
            raise AdapterError("the factory returned the same store twice; each call must return a fresh one")
        self._last = store
        return store

    def _generator(self) -> tuple[Generator, Capabilities]:
        store: Any = self._fresh()
        capabilities = Capabilities.of(store)
        for name in self._needs:
            if not getattr(capabilities, name):
                raise AdapterError(f"{self._name}() needs an adapter with {' and '.join(self._needs)}")
        self._block_size = store.block_size
        generator = Generator(
            capabilities,
            block_size=store.block_size,
            boundaries=boundaries_of(store),
            emphasis=self._emphasis,
        )
        if capabilities.close:
            with suppress(Exception):  # a store that cannot be closed is found by the first story
                store.close()
        return generator, capabilities

    def _violation(
        self, story: Sequence[Step], failed: StoryFailed, *, nonce: int, seed: int
    ) -> IsolationViolation:
        """Shrink a story, and tell it."""

        def fails(shorter: Sequence[Step]) -> int | None:
            try:
                run_story(self._fresh, shorter, nonce=nonce)
            except StoryFailed as again:
                if _is_as_telling(again.finding.kind, failed.finding.kind):
                    return again.done
            return None

        shortest = Shrinker(fails, seconds=_SHRINK_SECONDS).shrink(story[: failed.done])
        narrator = Narrator()
        try:
            run_story(self._fresh, shortest, nonce=nonce, narrator=narrator)
        except StoryFailed as again:
            finding = again.finding
            told = (*narrator.sentences, finding.text)
        else:
            finding = failed.finding
            told = (*narrator.sentences, f"{finding.text} (the first time: it did not happen again)")
        return IsolationViolation(
            finding,
            story=told,
            seed=seed,
            code=narrator.code(finding, self._block_size),
            repeat=f"{self._name}(factory, seed={seed})",
        )


def _is_as_telling(kind: str, first: str) -> bool:
    """Say whether a shorter story may stand for one that ended with the kind `first`."""
    if first in {"foreign", "error"}:
        return kind == first
    return kind != "error"


def _drawn(seed: int | None) -> int:
    return secrets.randbits(32) if seed is None else seed
