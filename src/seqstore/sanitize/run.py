"""A sanitization from its first look at the drive to its last.

Whatever happens on the way comes out as a `SanitizationOutcome` that says so; exceptions are for what the
caller did wrong. Nothing is written before the drive was seen to be the one that is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from seqstore.arguments import buffer, function, instance, items, methods, optional
from seqstore.errors import ConfigError, SeqstoreError
from seqstore.media.places import DriveIdentity
from seqstore.sanitize.beside import destroy_keys, give_command, overwrite_places
from seqstore.sanitize.checks import Checks, Options
from seqstore.sanitize.facts import Facts
from seqstore.sanitize.journal import DONE, Journal, Position
from seqstore.sanitize.overwrite import DriveDiedError, Pass, Stopped
from seqstore.sanitize.result import Fault, PassResult, Problem, SanitizationOutcome
from seqstore.sanitize.sampling import LEAST_SEED_BYTES
from seqstore.sanitize.spots import choose_spots, find_strange
from seqstore.sanitize.technique import Method, Technique

if TYPE_CHECKING:
    from seqstore.clock import Clock
    from seqstore.sanitize.pace import Report
    from seqstore.sanitize.target import Target

# It may go on, on the same drive or on the one that is meant.
_KEEP_JOURNAL = {
    Fault.CANCELLED, Fault.DRIVE_DIED, Fault.SYNC, Fault.NOT_STARTED, Fault.SWAPPED_DRIVE, Fault.WRONG_SIZE,
}  # fmt: skip


class Sanitization:
    """One sanitization of one drive.

    Parameters
    ----------
    target : Target
    technique : Technique
    clock : Clock
    seed : bytes
        At least 16 fresh bytes that nobody could know: places of samples and marks follow from it.
    version : str
        Of this library, for the outcome.
    journal : Journal, optional
        Beside the drive. Without it an interruption means to begin anew.
    expect : DriveIdentity, optional
        The drive that is meant: another serial or size and nothing is written.
    options : Options, optional
    used_seeds : collection of bytes
        Seeds of earlier verifications, none of which may come again.
    report : callable, optional
        Takes a `Progress`.
    is_cancelled : callable, optional
        Whether to stop; asked several times a second.

    Raises
    ------
    ConfigError
        If the drive cannot do what the technique asks for, or the seed is too short.
    """

    def __init__(
        self,
        target: Target,
        technique: Technique,
        *,
        clock: Clock,
        seed: bytes,
        version: str,
        journal: Journal | None = None,
        expect: DriveIdentity | None = None,
        options: Options | None = None,
        used_seeds: Collection[bytes] = (),
        report: Report = lambda _: None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        methods(target, ("identify", "places", "keys", "settle", "source"), "Target", "target")
        instance(technique, Technique, "technique", "Technique.zero()")
        methods(clock, ("now_ns", "sleep_ns"), "Clock", "clock")
        optional(journal, Journal, "journal", "Journal(path)")
        optional(expect, DriveIdentity, "expect")
        optional(options, Options, "options")
        kinds = {step.method for step in technique.steps}
        if Method.COMMAND in kinds and not target.has_command:
            raise ConfigError("the drive has no sanitize command that can be given; leave 'command' out")
        if Method.CRYPTOGRAPHIC in kinds and target.keys() is None:
            raise ConfigError(
                "no keys are known under which the drive was encrypted; leave 'cryptographic' out"
            )
        seed = buffer(seed, "the seed")
        if len(seed) < LEAST_SEED_BYTES:
            raise ConfigError(f"the seed has {len(seed)} bytes; at least {LEAST_SEED_BYTES} are expected")
        self._target, self._technique, self._clock, self._seed = target, technique, clock, seed
        self._version, self._journal, self._expect = instance(version, str, "version"), journal, expect
        self._options = options or Options()
        self._used_seeds = frozenset(
            buffer(used, "each of used_seeds") for used in items(used_seeds, "used_seeds")
        )
        self._report = function(report, "report", "a Progress")
        self._is_cancelled = function(is_cancelled, "is_cancelled", "nothing")
        self._facts = Facts(started_ns=clock.now_ns())
        self._pass: Pass | None = None
        self._has_run = False

    def run(self) -> SanitizationOutcome:
        """Do it.

        Raises
        ------
        ConfigError
            If the journal is of another technique, or it has run already.
        FormatError
            If the journal is damaged.
        """
        if self._has_run:
            raise ConfigError("this sanitization has run; make another")
        self._has_run = True
        facts = self._facts
        before = self._identify()
        facts.before = before
        if before is None:
            facts.blame(Fault.NOT_STARTED, "the drive did not say who it is; nothing was written")
            return self._outcome()
        try:
            position = self._begin(before)
        except OSError as error:
            facts.blame(Fault.NOT_STARTED, f"it could not begin: {error}")
            return self._outcome()
        if position is None:
            return self._outcome()
        if self._steps(position):
            Checks(self._target, self._technique, self._clock, self._seed, self._options).run(
                facts, used_seeds=self._used_seeds, report=self._report, is_cancelled=self._is_cancelled
            )
        self._look_again(before)
        return self._outcome()

    # ---- before ----------------------------------------------------------------------------------

    def _identify(self) -> DriveIdentity | None:
        try:
            return self._target.identify()
        except OSError:
            return None

    def _begin(self, before: DriveIdentity) -> Position | None:
        """Return where to begin or go on; None: not at all, on this drive."""
        medium, expect = self._target.medium, self._expect
        if before.capacity != medium.capacity or before.block_size != medium.block_size:
            self._wrong_size(before, medium.blocks * medium.block_size)
            return None
        if expect is not None and not self._is_meant(before, expect):
            return None
        kept = self._journal.read() if self._journal is not None else None
        now = self._facts.started_ns
        if kept is None:
            return Position(identity=before, technique=self._technique, started_ns=now, last_ns=now)
        if kept.technique != self._technique:
            raise ConfigError(
                f"the journal is of a sanitization by {kept.technique.name!r} with its own seeds; this one is"
                f" by {self._technique.name!r}: take the journal's technique, or remove it and begin anew"
            )
        if not self._is_meant(before, kept.identity):
            return None
        return self._go_on(kept)

    def _wrong_size(self, found: DriveIdentity, expected: int) -> None:
        self._facts.blame(
            Fault.WRONG_SIZE,
            f"the drive has {found.blocks} blocks of {found.block_size} bytes; {expected} bytes are expected",
        )

    def _is_meant(self, found: DriveIdentity, expected: DriveIdentity) -> bool:
        if (found.serial, found.vendor, found.model) != (expected.serial, expected.vendor, expected.model):
            self._facts.blame(
                Fault.SWAPPED_DRIVE,
                f"the drive is {found.vendor} {found.model} {found.serial!r}; {expected.vendor}"
                f" {expected.model} {expected.serial!r} is expected",
            )
            return False
        if found.capacity != expected.capacity:
            self._wrong_size(found, expected.capacity)
            return False
        return True

    def _go_on(self, kept: Position) -> Position:
        """Take an interrupted sanitization up again, as far as the drive still holds what was written."""
        facts = self._facts
        now, facts.started_ns = facts.started_ns, kept.started_ns
        facts.resumptions = kept.resumptions + 1
        facts.problems += kept.problems
        facts.lies += kept.lies
        if now < kept.last_ns:
            facts.blame(
                Fault.CLOCK,
                f"the clock says {now} ns, and said {kept.last_ns} before the interruption; times and rates"
                " cannot be believed",
            )
        kept = replace(kept, resumptions=facts.resumptions, step_resumptions=kept.step_resumptions + 1)
        if self._still_holds(kept):
            return kept
        facts.caught(
            "after the interruption the drive does not hold what it had reported as safe: it is another one,"
            " or it lied about a sync; everything was begun anew"
        )
        return Position(
            identity=kept.identity,
            technique=kept.technique,
            started_ns=kept.started_ns,
            last_ns=now,
            resumptions=kept.resumptions,
            step_resumptions=1,
        )

    def _still_holds(self, kept: Position) -> bool:
        """Look at a few blocks of which it is known what they hold, or which of two things."""
        medium, step = self._target.medium, None if kept.stage == DONE else kept.step
        if step is not None and not step.method.overwrites:
            return True  # what a command or the end of a key may have done by now is not known
        out = (
            *kept.left_out,
            *kept.unreachable,
            *(part for done in kept.passes for part in done.unreachable),
        )
        may_hold = [step] if step is not None else []
        if step is None or not kept.covered:
            # Some of what lies there may be of this step already: written, and not yet in the journal.
            done = Technique(name="", steps=tuple(part.step for part in kept.passes)) if kept.passes else None
            before = done.expected if done is not None else None
            if before is None:
                return True
            may_hold.append(before)
        end = kept.covered or medium.blocks
        spots = choose_spots(end, self._seed, "resumption", out)
        return not set.intersection(*(find_strange(medium, spots, step) for step in may_hold))

    # ---- the steps -------------------------------------------------------------------------------

    def _steps(self, position: Position) -> bool:
        """Do what is left of the technique; return whether all of it came to its end."""
        facts = self._facts
        facts.passes = list(position.passes)
        try:
            while position.stage != DONE:
                if not position.step_started_ns:
                    position = replace(position, step_started_ns=self._clock.now_ns())
                result = self._step(position)
                facts.passes.append(result)
                position = self._keep(position.step_over(result))
        except Stopped:
            facts.blame(Fault.CANCELLED, "it was cancelled; it can be taken up again")
        except (OSError, SeqstoreError) as error:
            if isinstance(error, ConfigError):
                raise
            self._blame_drive(error)
        else:
            return True
        if self._pass is not None:
            facts.passes.append(self._pass.result(complete=False))
        return False

    def _keep(self, position: Position) -> Position:
        """Write the journal, with what was noticed by then."""
        facts = self._facts
        known = replace(
            position,
            last_ns=max(self._clock.now_ns(), position.last_ns),
            lies=tuple(facts.lies),
            problems=tuple(facts.problems),
        )
        if self._journal is not None:
            self._journal.write(known)
        return known

    def _blame_drive(self, error: Exception) -> None:
        begun = self._facts.passes or (self._pass is not None and self._pass.position.covered)
        if isinstance(error, DriveDiedError) or (begun and self._identify() is None):
            self._facts.blame(Fault.DRIVE_DIED, str(error))
        elif not begun:
            self._facts.blame(Fault.NOT_STARTED, f"the pass could not begin: {error}")
        else:
            self._facts.blame(Fault.SYNC, f"the drive failed: {error}")

    def _step(self, position: Position) -> PassResult:
        step, number = position.step, len(position.passes) + 1
        name = f"pass {number} of {len(self._technique.steps)}: {step.method.value}"
        if step.method is Method.COMMAND:
            return self._done(position, give_command(self._target, self._facts, self._seed))
        if step.method is Method.CRYPTOGRAPHIC:
            return self._done(position, destroy_keys(self._target, self._facts))
        self._pass = Pass(
            self._target.medium,
            position,
            clock=self._clock,
            effort=self._options.effort,
            doing=name,
            report=self._report,
            keep=self._keep,
            is_cancelled=self._is_cancelled,
        )
        result = self._pass.run()
        if self._pass.ran_back:
            self._facts.blame(Fault.CLOCK, "the clock was set back during a pass; its times are not true")
        self._pass = None
        hidden = overwrite_places(self._target, self._facts, step)
        if result.unreachable:
            size = self._target.medium.block_size
            self._facts.blame(
                Fault.BAD_BLOCKS,
                f"{name}: {result.unreachable_blocks} blocks, {result.unreachable_blocks * size} bytes, in"
                f" {len(result.unreachable)} ranges could not be overwritten",
            )
        return replace(result, unreachable=(*result.unreachable, *hidden))

    def _done(self, position: Position, detail: str) -> PassResult:
        now = max(self._clock.now_ns(), position.step_started_ns)
        return PassResult(
            number=len(position.passes) + 1,
            step=position.step,
            started_ns=position.step_started_ns,
            ended_ns=now,
            active_ns=now - position.step_started_ns,
            blocks=0,
            block_size=self._target.medium.block_size,
            overwritten=0,
            complete=True,
            resumptions=position.step_resumptions,
            detail=detail,
        )

    # ---- after -----------------------------------------------------------------------------------

    def _look_again(self, before: DriveIdentity) -> None:
        facts = self._facts
        facts.after = self._identify()
        if facts.after is None:
            facts.blame(Fault.DRIVE_DIED, "the drive does not say any more who it is")
        elif facts.after != before and self._is_meant(facts.after, before):
            facts.blame(Fault.SWAPPED_DRIVE, f"the drive was {before} and is {facts.after}")
        if self._clock.now_ns() < facts.started_ns:
            facts.blame(Fault.CLOCK, "the clock was set back between the beginning and the end")

    def _outcome(self) -> SanitizationOutcome:
        facts, now = self._facts, self._clock.now_ns()
        if self._journal is not None and not _KEEP_JOURNAL & {problem.fault for problem in facts.problems}:
            self._journal.remove()
        return SanitizationOutcome(
            technique=self._technique,
            before=facts.before,
            after=facts.after,
            passes=tuple(facts.passes),
            areas=tuple(facts.areas),
            verifications=tuple(facts.verifications),
            problems=tuple(facts.problems),
            lies=tuple(facts.lies),
            has_cache=self._target.has_cache,
            resumptions=facts.resumptions,
            started_ns=facts.started_ns,
            ended_ns=max(now, facts.started_ns),
            version=self._version,
        )


def outcome_of_journal(position: Position, *, now_ns: int, version: str) -> SanitizationOutcome:
    """Say what is known of a sanitization that was interrupted and that nobody took up again.

    Parameters
    ----------
    position : Position
        From its journal.
    now_ns : int
    version : str
        Of this library.
    """
    text = "it was interrupted, and not taken up again"
    return SanitizationOutcome(
        technique=position.technique,
        before=position.identity,
        after=None,
        passes=position.passes,
        problems=(*position.problems, Problem(fault=Fault.INTERRUPTED, text=text)),
        lies=position.lies,
        resumptions=position.resumptions,
        started_ns=position.started_ns,
        ended_ns=max(now_ns, position.started_ns),
        version=version,
    )
