"""What is known of a sanitization while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from seqstore.media.places import Area, DriveIdentity
from seqstore.sanitize.result import AreaResult, Fault, PassResult, Problem, Verification


@dataclass(slots=True)
class Facts:
    """What is known so far; an outcome is made of it.

    Attributes
    ----------
    commanded : dict of Area to AreaResult
        What lay in hidden areas just after the drive's own command.
    """

    started_ns: int
    before: DriveIdentity | None = None
    after: DriveIdentity | None = None
    passes: list[PassResult] = field(default_factory=list)
    areas: list[AreaResult] = field(default_factory=list)
    verifications: list[Verification] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    lies: list[str] = field(default_factory=list)
    commanded: dict[Area, AreaResult] = field(default_factory=dict)
    resumptions: int = 0

    def blame(self, fault: Fault, text: str) -> None:
        """Add a problem, once."""
        problem = Problem(fault=fault, text=text)
        if problem not in self.problems:
            self.problems.append(problem)

    def caught(self, text: str) -> None:
        """Add a lie."""
        self.lies.append(text)
        self.blame(Fault.LYING_DRIVE, text)
