"""Makes a story that ends badly as short and as simple as it can be, in bounded time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

from seqstore.testing.steps import ALL, SIMPLER, Step

Story = list[Step]
Fails = Callable[[Sequence[Step]], int | None]
_PAIRS_UP_TO = 14
# Longer stories are tried with larger writes, and with volumes of these sizes.
_SHORT = 6
_LARGE_BLOCKS = (8, 16, 32, 48)


class Shrinker:
    """Takes steps out, then makes the rest simpler, as long as the story still ends badly.

    Parameters
    ----------
    fails : callable
        Runs a story on a fresh store; returns the number of steps up to the one that failed, or None if all
        went well.
    seconds : float
        How long it may take, about.
    """

    def __init__(self, fails: Fails, *, seconds: float) -> None:
        self._fails = fails
        self._end = monotonic() + seconds
        self._tried: set[tuple[Step, ...]] = set()

    def shrink(self, story: Sequence[Step]) -> Story:
        """Return the shortest story found; the given one if it does not fail again."""
        best = self._try(list(story))
        if best is None:
            return list(story)
        before: Story = []
        while before != best and not self._late():
            before = best
            best = self._drop_runs(best)
            best = self._drop_pairs(best)
            best = self._enlarge(best)
            best = self._simplify(best)
        return best

    def _late(self) -> bool:
        return monotonic() > self._end

    def _try(self, story: Story) -> Story | None:
        """Return what is left of a story that fails: the steps up to the failing one."""
        key = tuple(story)
        if key in self._tried or self._late():
            return None
        self._tried.add(key)
        used = self._fails(story)
        return None if used is None else story[:used]

    def _drop_runs(self, story: Story) -> Story:
        length = len(story)
        while length:
            at = len(story) - length
            while at > -length:
                start = max(at, 0)
                shorter = self._try(story[:start] + story[start + length :])
                if shorter is not None:
                    story = shorter
                    at = min(at, len(story))
                at -= length
            length //= 2
        return story

    def _drop_pairs(self, story: Story) -> Story:
        if len(story) > _PAIRS_UP_TO:
            return story
        found = True
        while found:
            found = False
            for i in range(len(story)):
                for j in range(i + 1, len(story)):
                    shorter = self._try(story[:i] + story[i + 1 : j] + story[j + 1 :])
                    if shorter is not None:
                        story, found = shorter, True
                        break
                if found:
                    break
        return story

    def _enlarge(self, story: Story) -> Story:
        """Try to do with few large writes what took many: to fill a store, or to go round its log."""
        if len(story) <= _SHORT:
            return story
        for blocks in (None, *_LARGE_BLOCKS):
            larger = [
                replace(step, start=0, count=ALL)
                if step.command == "write"
                else replace(step, count=blocks)
                if step.command == "create" and blocks
                else step
                for step in story
            ]
            tried = self._try(larger)
            if tried is not None:
                shorter = self._drop_pairs(self._drop_runs(tried))
                if len(shorter) < len(story):
                    story = shorter
        return story

    def _simplify(self, story: Story) -> Story:
        at = 0
        while at < len(story):
            for simpler in simpler_steps(story[at]):
                shorter = self._try([*story[:at], simpler, *story[at + 1 :]])
                if shorter is not None:
                    story = shorter
                    at -= 1
                    break
            at += 1
        return story


def simpler_steps(step: Step) -> Iterator[Step]:
    """Yield steps that are simpler than one, the simplest first."""
    for command in SIMPLER.get(step.command, ()):
        yield Step(command, step.which)
    for field, least in (("which", 0), ("start", 0), ("count", 1)):
        value: int = getattr(step, field)
        for smaller in (least, least + 1, least + (value - least) // 2, value - 1):
            if least <= smaller < value or (value < least and smaller in (least, least + 1)):
                changed: dict[str, Any] = {field: smaller}
                yield replace(step, **changed)
