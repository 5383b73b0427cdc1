"""What a check says at its end: that nothing was found, or what."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from seqstore.testing.judge import KINDS, Finding
from seqstore.testing.protocol import Capabilities
from seqstore.testing.steps import number


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was checked; nothing was found.

    Attributes
    ----------
    examples, steps : int
        Stories, and steps in them that did something.
    seconds, steps_per_second : float
        Time, that of the store included.
    seed : int
        Draws the same stories again.
    checked, unchecked : dict of str to str
        Invariants of the design, and how each was checked, or what would have to be there.
    commands, refused : Counter
        How often each command was done, and how often the store refused a call.
    """

    examples: int
    steps: int
    seconds: float
    seed: int
    checked: dict[str, str] = field(default_factory=dict)
    unchecked: dict[str, str] = field(default_factory=dict)
    commands: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def steps_per_second(self) -> float:
        """Steps by time."""
        return self.steps / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        lines = [
            f"{self.examples} examples, {self.steps} steps in {self.seconds:.1f} s "
            f"({self.steps_per_second:,.0f} a second), seed={self.seed}: nothing found",
            *(f"  checked   {name}: {how}" for name, how in self.checked.items()),
            *(f"  unchecked {name}: {why}" for name, why in self.unchecked.items()),
            "  commands  " + ", ".join(f"{name} {count}" for name, count in self.commands.most_common()),
        ]
        if self.refused:
            lines.append("  refused   " + ", ".join(f"{name} {n}" for name, n in self.refused.most_common()))
        return "\n".join(lines)


class IsolationViolation(AssertionError):  # noqa: N818  the name says more than Error would
    """A store showed what it must not, or lost what it must hold.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    story : tuple of str
        The shortest story found, a sentence a step.
    owner, reader : str or None
        The tenant whose bytes they are, and the one who got them.
    volume, lba : int or None
        Where they were read, by the numbers of the story; with remanence, where they were written.
    media_offset : int or None
        Where they lie on the media.
    seed : int or None
        Finds it again; Hypothesis has its own way.
    code : str
        The story as Python.
    steps, seconds : int, float, or None
        How much it took to find it, before it was shrunk; None where nobody counted.
    """

    steps: int | None = None
    seconds: float | None = None

    def __init__(
        self, finding: Finding, *, story: tuple[str, ...], seed: int | None, code: str, repeat: str
    ) -> None:
        self.kind = finding.kind
        self.story = story
        self.owner = finding.owner
        self.reader = finding.reader
        self.volume = finding.volume
        self.lba = finding.lba
        self.media_offset = finding.media_offset
        self.seed = seed
        self.code = code
        super().__init__(
            f"{finding.kind} ({KINDS[finding.kind]}): {finding.text}\n"
            f"The shortest story found:\n{number(story)}\n"
            f"To repeat: {repeat}, or\n\n{code}\n"
        )


def coverage(
    capabilities: Capabilities, commands: Counter[str], *, scans: int, recognised: bool
) -> tuple[dict[str, str], dict[str, str]]:
    """Say which invariants of the design were checked and how, and which not and why.

    Parameters
    ----------
    capabilities : Capabilities
        What the store can do.
    commands : Counter
        What was done.
    scans : int
        How often raw media were looked at.
    recognised : bool
        Whether they ever showed a living block.
    """
    checked = {
        "I1 isolation": f"{commands['read'] + commands['read_bytes'] + commands['check']} reads and sweeps"
    }
    unchecked = {}
    ways = [
        f"{commands[name]} of {name}"
        for name in ("trim", "delete", "delete_tenant", "resize", "clone", "crash")
        if commands[name]
    ]
    if ways:
        checked["I3 no resurrection"] = "everything read behind " + ", ".join(ways)
    if commands["crash"]:
        checked["I2 durability"] = f"{commands['crash']} crashes, {commands['flush']} flushes"
    else:
        unchecked["I2 durability"] = _why("crash", capabilities.crash)
    if scans and recognised:
        checked["I5 deletion"] = f"raw media searched behind {scans} purges"
    elif scans:
        unchecked["I5 deletion"] = (
            f"media() showed no canary behind {scans} purges: nothing was written, "
            "or it is stored compressed or encrypted"
        )
    else:
        missing = "purge" if not capabilities.purge else "media"
        unchecked["I5 deletion"] = _why(missing, capabilities.purge and capabilities.media)
    checked["I8 nothing lost quietly"] = "each read compared byte by byte; damage of the media is not made"
    return checked, unchecked


def _why(name: str, there: bool) -> str:
    return f"the stories had no {name}" if there else f"the adapter has no {name}()"
