"""What a sanitization did, reached, and found when it looked: facts alone, from which certificates are made.

Nothing here decides what a standard calls it. `SanitizationOutcome.succeeded` is computed from the facts and
cannot be set.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from seqstore.media.places import Area, DriveIdentity
from seqstore.sanitize.technique import Method, Step, Technique

NS = 1_000_000_000


class Fault(str, Enum):
    """Kinds of things that make a sanitization a failed one."""

    NOT_STARTED = "not-started"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    BAD_BLOCKS = "bad-blocks"
    LYING_DRIVE = "lying-drive"
    SWAPPED_DRIVE = "swapped-drive"
    WRONG_SIZE = "wrong-size"
    CACHE = "cache-hides-the-medium"
    FIXED_SEED = "fixed-seed"
    CLOCK = "clock-set-back"
    DRIVE_DIED = "drive-died"
    SYNC = "sync-failed"
    HIDDEN = "hidden-places-not-reached"
    MISMATCH = "verification-mismatch"
    UNREADABLE = "verification-unreadable"
    NOT_VERIFIED = "not-verified"
    KEYS = "keys-not-destroyed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One reason why a sanitization failed.

    Attributes
    ----------
    fault : Fault
    text : str
        What was found and what was expected.
    """

    fault: Fault
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Blocks of an area that something is said of.

    Attributes
    ----------
    first, count : int
        Blocks; addresses of the drive in `Area.USER`, counted from 0 in the others.
    area : Area
    reason : str
        Why they are listed, such as ``"Input/output error"``.
    """

    first: int
    count: int
    area: Area = Area.USER
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassResult:
    """One step of a technique, as far as it came.

    Attributes
    ----------
    number : int
        Which step of the technique, from 1.
    step : Step
    started_ns, ended_ns : int
        In nanoseconds since 1970-01-01 UTC, interruptions included.
    active_ns : int
        Of these, time in which the pass ran.
    blocks, block_size : int
        Blocks to be overwritten (0: the step writes none), and bytes of a block.
    overwritten : int
        Blocks that were, and that a completed sync of the drive covers.
    retries : int
        Further attempts at blocks that failed.
    unreachable : tuple of Range
        Blocks that could not be written, whatever was tried: exact.
    complete : bool
        Whether the step came to its end. It may have, with blocks unreachable.
    resumptions : int
        How often it was taken up again after an interruption.
    detail : str
        What a step says that writes nothing, such as how many keys died.
    """

    number: int
    step: Step
    started_ns: int
    ended_ns: int
    active_ns: int
    blocks: int
    block_size: int
    overwritten: int
    retries: int = 0
    unreachable: tuple[Range, ...] = ()
    complete: bool
    resumptions: int = 0
    detail: str = ""

    @property
    def rate(self) -> float:
        """Bytes a second that came to the drive while the pass ran."""
        return self.overwritten * self.block_size * NS / self.active_ns if self.active_ns > 0 else 0.0

    @property
    def unreachable_blocks(self) -> int:
        """Blocks that could not be written."""
        return sum(part.count for part in self.unreachable)


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaResult:
    """What became of a hidden place that the drive admits to.

    Attributes
    ----------
    area : Area
    blocks : int
        Its size.
    reached_by : str
        ``"overwrite"``, ``"command"`` (the drive says that its own command reached it), ``"keys"`` (its
        contents were encrypted under keys that were destroyed), ``"nothing"``.
    read_back : int
        Blocks of it that could be read afterwards, and were.
    mismatches : tuple of Range
        Of these, the ones that held something else than they should.
    unreachable : tuple of Range
        Blocks that could not be written.
    """

    area: Area
    blocks: int
    reached_by: str
    read_back: int = 0
    mismatches: tuple[Range, ...] = ()
    unreachable: tuple[Range, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether it was reached, nothing of it was left out, and nothing else was found in it."""
        return self.reached_by != "nothing" and not self.mismatches and not self.unreachable

    @property
    def proven(self) -> bool:
        """Whether all of it was read back too, so that the drive's word is not all there is."""
        return self.clean and self.read_back == self.blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """A reading of the drive after the last pass.

    Attributes
    ----------
    method : {"full", "sampling"}
    verifier : {"core", "python"}
        Which of two independent codes read and compared.
    expected : Step
        What should lie there.
    blocks, block_size : int
        Of the drive.
    read : int
        Different blocks that were to be read, and were or could not be.
    subsections : int
        Equal parts in each of which two samples were taken; 0 for a full reading.
    sample_blocks : int
        Blocks of each sample, at least; 0 for a full reading.
    seed : bytes
        That determines the places of the samples; empty for a full reading.
    mismatches : int
        Blocks that held something else; with `stopped_early` those found until then.
    first_mismatches : tuple of Range
        The first of them, 64 ranges at most.
    read_errors : tuple of Range
        Blocks that could not be read.
    stopped_early : bool
        Whether it ended before its end: at the first mismatch, or because it was interrupted.
    past_caches : str
        How it is known that the medium was read and no cache: ``"direct"`` (O_DIRECT), ``"dropped"`` (the
        system's cache was emptied and seen to be), ``"memory"`` (it is the medium), ``"power-cycle"`` (the
        drive had none to answer from); ``""``: it is not known.
    started_ns, ended_ns : int
        In nanoseconds since 1970-01-01 UTC.
    """

    method: str
    verifier: str
    expected: Step
    blocks: int
    block_size: int
    read: int
    subsections: int = 0
    sample_blocks: int = 0
    seed: bytes = b""
    mismatches: int = 0
    first_mismatches: tuple[Range, ...] = ()
    read_errors: tuple[Range, ...] = ()
    stopped_early: bool = False
    past_caches: str
    started_ns: int
    ended_ns: int

    @property
    def coverage(self) -> float:
        """Share of the drive that was read."""
        return self.read / self.blocks

    @property
    def clean(self) -> bool:
        """Whether it came to its end, read everything that it should, and found nothing else."""
        return not (self.mismatches or self.first_mismatches or self.read_errors or self.stopped_early)

    @property
    def rate(self) -> float:
        """Bytes a second."""
        duration_ns = self.ended_ns - self.started_ns
        return self.read * self.block_size * NS / duration_ns if duration_ns > 0 else 0.0

    def detection_probability(self, stray: int) -> float:
        """Probability that blocks which escaped would have been found, so many at places left to chance.

        Of N blocks n were read: 1 - C(N - k, n) / C(N, n), the hypergeometric distribution. It is exact
        whatever the shape of the samples, since the places of the stray blocks are what is random. For blocks
        at places that somebody chose, but who did not know the seed, it is at least `coverage` for any k.

        Parameters
        ----------
        stray : int
            k, blocks that hold something else.
        """
        if stray < 1:
            return 0.0
        if stray > self.blocks - self.read:
            return 1.0
        left = self.blocks - self.read
        # The smaller of two equal products: C(N-k, n) / C(N, n) = C(N-n, k) / C(N, k).
        if stray <= self.read:
            missed = math.fsum(math.log1p(-self.read / (self.blocks - i)) for i in range(stray))
        else:
            missed = math.fsum(math.log1p(-stray / (self.blocks - i)) for i in range(self.read))
        return -math.expm1(missed) if left else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SanitizationOutcome:
    """Everything that is known of one sanitization.

    Attributes
    ----------
    technique : Technique
        What was asked for.
    before, after : DriveIdentity or None
        What the drive said of itself before the first pass and after the last reading; None if it could not.
    passes : tuple of PassResult
        One for each step that was begun.
    areas : tuple of AreaResult
        Hidden places that the drive admits to.
    verifications : tuple of Verification
        Readings after the last pass.
    problems : tuple of Problem
        Why it failed; empty if nothing went wrong.
    lies : tuple of str
        What the drive said and did not do, as far as that was noticed.
    has_cache : bool
        Whether the drive has, or the system keeps, a cache between us and the medium.
    resumptions : int
        How often the sanitization was taken up again after an interruption.
    started_ns, ended_ns : int
        In nanoseconds since 1970-01-01 UTC.
    tool, version : str
        What did it.
    """

    technique: Technique
    before: DriveIdentity | None
    after: DriveIdentity | None
    passes: tuple[PassResult, ...]
    areas: tuple[AreaResult, ...] = ()
    verifications: tuple[Verification, ...] = ()
    problems: tuple[Problem, ...] = ()
    lies: tuple[str, ...] = ()
    has_cache: bool = False
    resumptions: int = 0
    started_ns: int
    ended_ns: int
    tool: str = "seqstore"
    version: str

    @property
    def succeeded(self) -> bool:
        """Whether every fact says so: nothing went wrong, nothing was left out, and it was looked at."""
        return (
            not self.problems
            and not self.lies
            and self.before is not None
            and self.before == self.after
            and tuple(part.step for part in self.passes) == self.technique.steps
            and all(part.complete and not part.unreachable for part in self.passes)
            and all(part.overwritten == part.blocks for part in self.passes)
            and all(area.clean for area in self.areas)
            and all(verification.clean and verification.past_caches for verification in self.verifications)
            and (bool(self.verifications) or self.technique.expected is None)
        )

    @property
    def state(self) -> str:
        """``"sanitized"`` or ``"sanitize-failed"``."""
        return "sanitized" if self.succeeded else "sanitize-failed"

    @property
    def unreachable(self) -> tuple[Range, ...]:
        """Every block that some pass could not write."""
        of_passes = [part for each in self.passes for part in each.unreachable]
        of_areas = [part for each in self.areas for part in each.unreachable]
        return tuple(dict.fromkeys((*of_passes, *of_areas)))

    @property
    def unreachable_bytes(self) -> int:
        """Bytes of the blocks that some pass could not write, each counted once."""
        size = self.before.block_size if self.before is not None else 0
        blocks, end, area = 0, 0, None
        for part in sorted(self.unreachable, key=lambda part: (part.area.value, part.first)):
            if part.area is not area:
                end, area = 0, part.area
            blocks += max(part.first + part.count - max(part.first, end), 0)
            end = max(end, part.first + part.count)
        return blocks * size

    def found(self, fault: Fault) -> bool:
        """Whether something of this kind is among the problems."""
        return any(problem.fault is fault for problem in self.problems)


__all__ = [
    "NS",
    "Area",
    "AreaResult",
    "DriveIdentity",
    "Fault",
    "Method",
    "PassResult",
    "Problem",
    "Range",
    "SanitizationOutcome",
    "Step",
    "Technique",
    "Verification",
]
