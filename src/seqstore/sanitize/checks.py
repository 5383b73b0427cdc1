"""What is looked at when all steps are over: the drive by one or two verifiers, and its hidden areas."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from seqstore.arguments import check_fields
from seqstore.errors import ConfigError
from seqstore.format.wiped import read_wiped
from seqstore.media.places import HiddenPlace
from seqstore.sanitize.overwrite import Effort, fill_of
from seqstore.sanitize.result import Fault, Range, Verification
from seqstore.sanitize.sampling import SUBSECTIONS
from seqstore.sanitize.spots import choose_spots, find_strange
from seqstore.sanitize.technique import Method, Step, Technique
from seqstore.sanitize.verify import PLACES, read_back, read_place

if TYPE_CHECKING:
    from seqstore.clock import Clock
    from seqstore.sanitize.facts import Facts
    from seqstore.sanitize.pace import Report
    from seqstore.sanitize.target import Target

_METHODS = ("full", "sampling", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a sanitization is done.

    Attributes
    ----------
    effort : Effort
        How hard it tries, and how fast it may be.
    verification : {"full", "sampling", "none"}
        With ``"none"`` it cannot succeed, unless there is nothing to read.
    stop_at_first : bool
        Whether the first mismatch ends a verification; else all are counted.
    second_verifier : bool
        Whether the independent verifier in Python reads the drive, too.
    subsections : int
        Of a sampling, at least 1,000.

    Raises
    ------
    ConfigError
        If there is no such verification, or something else is not what it has to be.
    """

    effort: Effort = field(default_factory=Effort)
    verification: str = "full"
    stop_at_first: bool = True
    second_verifier: bool = False
    subsections: int = SUBSECTIONS

    def __post_init__(self) -> None:
        check_fields(self)
        if self.subsections < SUBSECTIONS:
            raise ConfigError(f"subsections is {self.subsections}; at least {SUBSECTIONS} are expected")
        if self.verification not in _METHODS:
            raise ConfigError(
                f"verification is {self.verification!r}; one of {', '.join(map(repr, _METHODS))} is expected"
            )


class Checks:
    """Everything that is looked at afterwards.

    Parameters
    ----------
    target : Target
    technique : Technique
    clock : Clock
    seed : bytes
    options : Options
    """

    def __init__(
        self, target: Target, technique: Technique, clock: Clock, seed: bytes, options: Options
    ) -> None:
        self._target, self._technique, self._clock = target, technique, clock
        self._seed, self._options = seed, options

    def run(
        self,
        facts: Facts,
        *,
        used_seeds: Collection[bytes],
        report: Report,
        is_cancelled: Callable[[], bool],
    ) -> None:
        """Look, and say what was found."""
        expected = self._technique.expected
        if expected is not None:
            self._look_at_drive(facts, expected, used_seeds, report, is_cancelled)
        try:
            self._look_at_places(facts)
        except OSError as error:
            facts.blame(Fault.HIDDEN, f"the hidden areas could not be looked at: {error}")

    # ---- the drive -------------------------------------------------------------------------------

    def _look_at_drive(
        self,
        facts: Facts,
        expected: Step,
        used_seeds: Collection[bytes],
        report: Report,
        is_cancelled: Callable[[], bool],
    ) -> None:
        options, medium = self._options, self._target.medium
        if options.verification == "none":
            facts.blame(Fault.NOT_VERIFIED, "verification was left out")
            return
        unreachable = tuple(part for result in facts.passes for part in result.unreachable)
        try:
            spots = choose_spots(medium.blocks, self._seed, "caches", unreachable)
            strange = find_strange(medium, spots, expected) if self._target.has_cache else set()
            past_caches = self._target.settle()
            if not past_caches:
                facts.blame(Fault.CACHE, "whether reads come from the medium or from a cache is not known")
            seen = read_back(
                medium,
                expected,
                method=options.verification,
                clock=self._clock,
                past_caches=past_caches,
                seed=self._seed,
                subsections=options.subsections,
                # Where a mismatch is known beforehand, the first one would hide the others.
                stop_at_first=options.stop_at_first and not unreachable,
                effort=options.effort,
                report=report,
                is_cancelled=is_cancelled,
            )
        except OSError as error:
            facts.blame(Fault.NOT_VERIFIED, f"the drive could not be read: {error}")
            return
        facts.verifications.append(seen)
        self._judge(facts, seen)
        if self._target.has_cache and seen.mismatches and find_strange(medium, spots, expected) - strange:
            text = (
                "blocks that held what was written while the drive's cache could answer hold something else"
                " without it: syncs were reported as done that were not"
            )
            facts.caught(text)
            facts.blame(Fault.CACHE, text)
        if seen.method == "sampling" and self._is_fixed(used_seeds):
            facts.blame(
                Fault.FIXED_SEED, "the places of the samples could be known before: the seed is no new one"
            )
        if options.second_verifier and not is_cancelled():
            second = self._second_opinion(expected, past_caches)
            facts.verifications.append(second)
            self._judge(facts, second)

    def _judge(self, facts: Facts, seen: Verification) -> None:
        if seen.mismatches or seen.first_mismatches:
            first = seen.first_mismatches[0].first
            so_far = " at least" if seen.stopped_early else ""
            text = (
                f"{so_far} {seen.mismatches} blocks hold something else than '{seen.expected.method.value}'"
                f" left, the first is block {first} ({seen.verifier})"
            ).strip()
            facts.blame(Fault.MISMATCH, text)
            if all(not step.method.overwrites for step in self._technique.steps):
                facts.caught(f"the drive reported that its sanitize command was done: {text}")
        elif seen.stopped_early and not seen.read_errors:
            facts.blame(Fault.CANCELLED, "the verification was cancelled")
        if seen.read_errors:
            count = sum(part.count for part in seen.read_errors)
            facts.blame(Fault.UNREADABLE, f"{count} blocks could not be read ({seen.verifier})")

    def _is_fixed(self, used_seeds: Collection[bytes]) -> bool:
        seeds = {step.seed for step in self._technique.steps if step.seed}
        return self._seed in used_seeds or self._seed in seeds or len(set(self._seed)) == 1

    def _second_opinion(self, expected: Step, past_caches: str) -> Verification:
        medium, started_ns = self._target.medium, self._clock.now_ns()
        pattern = (
            b"" if expected.method is Method.RANDOM else fill_of(expected).bytes_at(0, medium.block_size)
        )
        if expected.method is Method.PATTERN:
            pattern = expected.pattern
        reading = read_wiped(
            self._target.source(),
            medium.blocks,
            medium.block_size,
            pattern=pattern,
            seed=expected.seed,
            stop_at_first=self._options.stop_at_first,
        )
        return Verification(
            method="full",
            verifier="python",
            expected=expected,
            blocks=reading.blocks,
            block_size=medium.block_size,
            read=reading.read,
            mismatches=reading.mismatches,
            first_mismatches=_ranges(reading.first_mismatches, "holds something else"),
            read_errors=_ranges(reading.unreadable, "cannot be read"),
            stopped_early=reading.read < reading.blocks,
            past_caches=past_caches,
            started_ns=started_ns,
            ended_ns=max(self._clock.now_ns(), started_ns),
        )

    # ---- hidden areas ----------------------------------------------------------------------------

    def _look_at_places(self, facts: Facts) -> None:
        size = self._target.medium.block_size
        failed = [part for result in facts.passes for part in result.unreachable]
        for place in self._target.places():
            reached_by = self._reached_by(place)
            found = facts.commanded.get(place.area)
            # What came there since may be blocks of a random stream, which only their place would tell.
            if found is None or reached_by != "command" or not self._is_random_behind_command():
                found = read_place(place, PLACES.index(place.area), self._technique, size, reached_by)
            left = tuple(part for part in failed if part.area is place.area)
            facts.areas.append(replace(found, unreachable=left))
            name = place.area.value
            if reached_by == "nothing":
                facts.blame(
                    Fault.HIDDEN,
                    f"{place.blocks} {name} blocks were not reached; the drive's own command might: combine"
                    " the technique with 'command'",
                )
            elif found.mismatches:
                count = sum(part.count for part in found.mismatches)
                facts.blame(Fault.HIDDEN, f"{count} of {found.blocks} {name} blocks hold something else")

    def _is_random_behind_command(self) -> bool:
        methods = [step.method for step in self._technique.steps]
        return Method.COMMAND in methods and Method.RANDOM in methods[methods.index(Method.COMMAND) :]

    def _reached_by(self, place: HiddenPlace) -> str:
        steps = self._technique.steps
        if place.can_write and any(step.method.overwrites for step in steps):
            return "overwrite"
        methods = {step.method for step in steps}
        if Method.COMMAND in methods:
            return "command"
        return "keys" if Method.CRYPTOGRAPHIC in methods else "nothing"


def _ranges(runs: tuple[tuple[int, int], ...], reason: str) -> tuple[Range, ...]:
    return tuple(Range(first=first, count=count, reason=reason) for first, count in runs)
