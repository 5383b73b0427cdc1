"""How far a sanitization has come, kept beside the drive so that a crash costs little and hides nothing.

The journal is one file that is replaced as a whole: written beside its place, synced, and moved into it. It
is advanced only after a sync of the drive that covers what it says. What it does not say was not done.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from seqstore import canonical
from seqstore.arguments import file_name, instance
from seqstore.errors import FormatError, MediumError, VersionError
from seqstore.media.places import DriveIdentity
from seqstore.sanitize.result import PassResult, Problem, Range
from seqstore.sanitize.technique import Step, Technique
from seqstore.values import from_values, to_values

VERSION = 1

FORWARD, FAR_END, DONE = "forward", "far-end", "done"
"""Stages of a step: all of it in order, what was left out from the far end, over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a sanitization stands.

    Attributes
    ----------
    identity : DriveIdentity
        Of the drive that it was begun on.
    technique : Technique
    started_ns, last_ns : int
        When it was begun, and when this was written.
    resumptions : int
        How often it was taken up again.
    passes : tuple of PassResult
        Steps that are over.
    stage : {"forward", "far-end", "done"}
        Of the step that is not; ``"done"``: all are over.
    step_started_ns, active_ns, retries, step_resumptions : int
        Of that step.
    covered : int
        Blocks from the first on that were written, or left out as the ranges below say, and synced.
    left_out : tuple of Range
        Blocks behind bad ones, still to be tried from the far end.
    unreachable : tuple of Range
        Blocks that were tried in every way.
    lies : tuple of str
    problems : tuple of Problem
        What was noticed so far, which no later success mends.
    """

    identity: DriveIdentity
    technique: Technique
    started_ns: int
    last_ns: int
    resumptions: int = 0
    passes: tuple[PassResult, ...] = ()
    stage: str = FORWARD
    step_started_ns: int = 0
    active_ns: int = 0
    retries: int = 0
    step_resumptions: int = 0
    covered: int = 0
    left_out: tuple[Range, ...] = ()
    unreachable: tuple[Range, ...] = ()
    lies: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def step(self) -> Step:
        """The step that is not over."""
        return self.technique.steps[len(self.passes)]

    @property
    def overwritten(self) -> int:
        """Blocks of the step that were written and synced."""
        return self.covered - sum(part.count for part in (*self.left_out, *self.unreachable))

    def step_over(self, result: PassResult) -> Position:
        """Return the position behind the step."""
        passes = (*self.passes, result)
        is_last = len(passes) == len(self.technique.steps)
        return replace(
            self,
            passes=passes,
            stage=DONE if is_last else FORWARD,
            step_started_ns=0,
            active_ns=0,
            retries=0,
            step_resumptions=0,
            covered=0,
            left_out=(),
            unreachable=(),
        )


class Journal:
    """The file.

    Parameters
    ----------
    path : path-like
        In a folder that is not on the drive.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(file_name(path, "the journal"))

    def read(self) -> Position | None:
        """Return where a sanitization stands that was interrupted. None: there is no journal.

        Raises
        ------
        FormatError
            If the file is damaged, or no journal.
        VersionError
            If a newer version of this library wrote it.
        MediumError
            If it cannot be read.
        """
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise MediumError(f"the journal {str(self.path)!r}: {error}", errno=error.errno) from error
        if len(lines) != 3 or hashlib.sha256(lines[0]).hexdigest().encode() != lines[1]:
            raise FormatError(
                f"{str(self.path)!r} is no journal of a sanitization, or damaged; remove it and begin anew"
            )
        content = canonical.decode(lines[0])
        if content["version"] != VERSION:
            raise VersionError(
                f"{str(self.path)!r} is of version {content['version']}; up to {VERSION} is known; use a"
                " newer version of seqstore, or remove it and begin anew",
                found=content["version"],
                expected=VERSION,
            )
        return from_values(Position, content["position"], "the journal")

    def write(self, position: Position) -> None:
        """Replace what the journal says, durably.

        Raises
        ------
        MediumError
            If it cannot be written; the old content stays.
        """
        instance(position, Position, "the position")
        text = canonical.encode({"version": VERSION, "position": to_values(position)})
        content = text + b"\n" + hashlib.sha256(text).hexdigest().encode() + b"\n"
        beside = self.path.with_name(self.path.name + ".new")
        try:
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
            self._sync_folder()
        except OSError as error:
            raise MediumError(f"the journal {str(self.path)!r}: {error}", errno=error.errno) from error

    def remove(self) -> None:
        """Remove the file, if it is there, durably: a later pass must not go by what it says."""
        self.path.unlink(missing_ok=True)
        self._sync_folder()

    def _sync_folder(self) -> None:
        folder = os.open(self.path.absolute().parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
