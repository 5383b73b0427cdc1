"""Sanitization of drives: passes over all that a drive holds, and the reading that checks them.

==========================  ==================================================================================
`Sanitization`              one sanitization of one drive
`Technique`, `Step`         what is written over it, or done to it
`Options`, `Effort`         how it is checked, and how hard it tries
`FileTarget`, ...           what can be sanitized
`Journal`                   how far it has come, beside the drive
`SanitizationOutcome`, ...  what it did, reached and found
`sanitize_many`             many drives at once
==========================  ==================================================================================

`docs/explanation/sanitization.md` argues for what is done and says what it leaves out.
"""

from seqstore.sanitize.checks import Options
from seqstore.sanitize.journal import Journal, Position
from seqstore.sanitize.overwrite import Effort
from seqstore.sanitize.pace import Progress
from seqstore.sanitize.result import (
    Area,
    AreaResult,
    DriveIdentity,
    Fault,
    PassResult,
    Problem,
    Range,
    SanitizationOutcome,
    Verification,
)
from seqstore.sanitize.run import Sanitization, outcome_of_journal
from seqstore.sanitize.sampling import Samples, draw_samples
from seqstore.sanitize.target import FileTarget, KeysOfDrive, MemoryTarget, SimulatedTarget, Target
from seqstore.sanitize.technique import Method, Step, Technique

__all__ = [
    "Area",
    "AreaResult",
    "DriveIdentity",
    "Effort",
    "Fault",
    "FileTarget",
    "Journal",
    "KeysOfDrive",
    "MemoryTarget",
    "Method",
    "Options",
    "PassResult",
    "Position",
    "Problem",
    "Progress",
    "Range",
    "Samples",
    "Sanitization",
    "SanitizationOutcome",
    "SimulatedTarget",
    "Step",
    "Target",
    "Technique",
    "Verification",
    "draw_samples",
    "outcome_of_journal",
]
