"""The life of a drive, as one table of moves, and the story of how a drive went through it.

Nothing here touches a drive. Whoever changes one moves its story first, so that what is not allowed raises
before anything is done. The diagram in the documents is made from the same table (`to_mermaid`).

Two rules are the reason for the table: a drive leaves the house by one way only, released after a
sanitization that succeeded; and one that cannot be sanitized is destroyed, and its story says who did it, who
watched, and why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple

from seqstore.arguments import instance
from seqstore.errors import ConfigError, DriveStateError, FormatError

_MOST_TEXT = 1024  # characters of a name or a reason, as in the audit log
_MOST_TIME_NS = (1 << 63) - 1


class DriveState(str, Enum):
    """Where a drive is in its life. The values stand in catalogs and certificates and do not change."""

    NEW = "new"
    ONLINE = "online"
    DEGRADED = "degraded"
    FAILED = "failed"
    DECOMMISSIONING = "decommissioning"
    EVACUATED = "evacuated"
    SANITIZING = "sanitizing"
    SANITIZED = "sanitized"
    SANITIZE_FAILED = "sanitize-failed"
    RELEASED = "released"
    DESTROYED = "destroyed"


class DriveAct(str, Enum):
    """What is done to a drive. The values stand in stories and do not change."""

    ADD = "add"  # the first entry of each story
    PUT_ONLINE = "put online"
    DEGRADE = "degrade"
    RECOVER = "recover"
    FAIL = "fail"
    DECOMMISSION = "decommission"
    CALL_OFF = "call off"
    FINISH_EVACUATION = "finish evacuation"
    BEGIN_SANITIZATION = "begin sanitization"
    RESUME_SANITIZATION = "resume sanitization"
    FINISH_SANITIZATION = "finish sanitization"
    FAIL_SANITIZATION = "fail sanitization"
    REFUSE = "refuse"
    RELEASE = "release"
    DESTROY = "destroy"


class Move(NamedTuple):
    """One line of the table: what an act makes of a state."""

    state: DriveState
    act: DriveAct
    to: DriveState


def _moves(act: DriveAct, to: DriveState, *states: DriveState) -> tuple[Move, ...]:
    return tuple(Move(state, act, to) for state in states)


_S, _A = DriveState, DriveAct

MOVES: Final[tuple[Move, ...]] = (
    *_moves(_A.PUT_ONLINE, _S.ONLINE, _S.NEW),
    *_moves(_A.DEGRADE, _S.DEGRADED, _S.ONLINE),
    *_moves(_A.RECOVER, _S.ONLINE, _S.DEGRADED),
    *_moves(_A.FAIL, _S.FAILED, _S.NEW, _S.ONLINE, _S.DEGRADED, _S.DECOMMISSIONING, _S.EVACUATED),
    *_moves(_A.DECOMMISSION, _S.DECOMMISSIONING, _S.ONLINE, _S.DEGRADED),
    *_moves(_A.CALL_OFF, _S.ONLINE, _S.DECOMMISSIONING),
    *_moves(_A.FINISH_EVACUATION, _S.EVACUATED, _S.DECOMMISSIONING),
    *_moves(
        _A.BEGIN_SANITIZATION,
        _S.SANITIZING,
        _S.NEW,
        _S.FAILED,
        _S.EVACUATED,
        _S.SANITIZED,
        _S.SANITIZE_FAILED,
    ),
    *_moves(_A.RESUME_SANITIZATION, _S.SANITIZING, _S.SANITIZING),
    *_moves(_A.FINISH_SANITIZATION, _S.SANITIZED, _S.SANITIZING),
    *_moves(_A.FAIL_SANITIZATION, _S.SANITIZE_FAILED, _S.SANITIZING),
    # The pass is complete and the organisation does not accept it: validation is not verification.
    *_moves(_A.REFUSE, _S.SANITIZE_FAILED, _S.SANITIZED),
    *_moves(_A.RELEASE, _S.RELEASED, _S.SANITIZED),
    *_moves(_A.DESTROY, _S.DESTROYED, _S.NEW, _S.FAILED, _S.EVACUATED, _S.SANITIZED, _S.SANITIZE_FAILED),
)
"""Every move that there is; any other raises `DriveStateError`."""

_TO: Final = {(move.state, move.act): move.to for move in MOVES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """One entry of the story of a drive.

    Attributes
    ----------
    time_ns : int
        When, in nanoseconds since 1970-01-01 UTC by the store's clock; a clock that was set back shows.
    state : DriveState
        What the drive is from then on.
    act : DriveAct
        What was done.
    actor, reason : str
        Who did it, or said so, and why.
    witness : str
        Who watched; empty where that is not asked for.
    """

    time_ns: int
    state: DriveState
    act: DriveAct
    actor: str
    reason: str = ""
    witness: str = ""

    def __post_init__(self) -> None:
        if type(self.time_ns) is not int or not 0 <= self.time_ns <= _MOST_TIME_NS:
            raise ConfigError(f"time_ns is {self.time_ns!r}; nanoseconds since 1970 are expected")
        for name in ("actor", "reason", "witness"):
            _check_text(getattr(self, name), name)
        if not self.actor:
            raise ConfigError("actor is empty; the story of a drive says who did what")
        object.__setattr__(self, "state", _read(DriveState, self.state, "state"))
        object.__setattr__(self, "act", _read(DriveAct, self.act, "act"))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return {
            "time_ns": self.time_ns,
            "state": self.state.value,
            "act": self.act.value,
            "actor": self.actor,
            "reason": self.reason,
            "witness": self.witness,
        }


@dataclass(frozen=True, slots=True)
class DriveStory:
    """What happened to a drive, in order. Made by `begin`; `move` adds to it.

    Attributes
    ----------
    chapters : tuple of Chapter
        At least one; the first one is `DriveAct.ADD`.
    """

    chapters: tuple[Chapter, ...]

    def __post_init__(self) -> None:
        first = self.chapters[0] if self.chapters else None
        if first is None or (first.state, first.act) != (DriveState.NEW, DriveAct.ADD):
            raise FormatError("the story of a drive begins when it is added, as a new one; this one does not")
        state = first.state
        for chapter in self.chapters[1:]:
            if _TO.get((state, chapter.act)) is not chapter.state:
                raise FormatError(
                    f"the story of the drive goes from {state.value} to {chapter.state.value} by"
                    f" {chapter.act.value!r}, which is no move of a drive; it was changed"
                )
            if chapter.act is DriveAct.DESTROY:
                _check_destruction(chapter)
            state = chapter.state

    @classmethod
    def begin(cls, *, time_ns: int, actor: str, reason: str = "") -> DriveStory:
        """Return the story of a drive that was added just now.

        Raises
        ------
        ConfigError
            If the time is none, the actor is missing, or a text is too long.
        """
        return cls(
            (Chapter(time_ns=time_ns, state=DriveState.NEW, act=DriveAct.ADD, actor=actor, reason=reason),)
        )

    @classmethod
    def from_list(cls, rows: Iterable[Mapping[str, Any]]) -> DriveStory:
        """Read what `to_list` wrote.

        Raises
        ------
        FormatError
            If it is no story, or one that cannot have happened.
        """
        try:
            return cls(tuple(Chapter(**row) for row in rows))
        except (ConfigError, TypeError) as error:
            raise FormatError(f"the story of a drive cannot be read: {error}") from error

    def to_list(self) -> list[dict[str, Any]]:
        """Return it as JSON takes it."""
        return [chapter.to_dict() for chapter in self.chapters]

    @property
    def state(self) -> DriveState:
        """What the drive is now."""
        return self.chapters[-1].state

    @property
    def acts(self) -> tuple[DriveAct, ...]:
        """What can be done to it now; nothing where its life is over."""
        return legal_acts(self.state)

    def tell(self) -> str:
        """Return the story in a line: ``new (add by alice), online (put online by alice)``."""
        return ", ".join(
            f"{chapter.state.value} ({chapter.act.value} by {chapter.actor}"
            + (f": {chapter.reason})" if chapter.reason else ")")
            for chapter in self.chapters
        )


def move(
    story: DriveStory, act: DriveAct, *, time_ns: int, actor: str, reason: str = "", witness: str = ""
) -> DriveStory:
    """Return the story with one more act.

    Parameters
    ----------
    story : DriveStory
        As it is up to now.
    act : DriveAct
    time_ns : int
        When, in nanoseconds since 1970-01-01 UTC.
    actor, reason : str
        Who does it, and why; destroying a drive needs both.
    witness : str
        Who watches; destroying a drive needs one, and another person than the actor.

    Returns
    -------
    DriveStory

    Raises
    ------
    DriveStateError
        If a drive in this state cannot be treated so; it tells the story and what can be done.
    ConfigError
        If something is missing that the record of this act needs, or a text is too long.
    """
    instance(story, DriveStory, "story")
    act = _read(DriveAct, act, "act")
    to = _TO.get((story.state, act))
    if to is None:
        acts = legal_acts(story.state)
        legal = f"what can be done now: {', '.join(a.value for a in acts)}" if acts else "its life is over"
        rule = (
            "; only a sanitized drive can be released, any other can only be destroyed"
            if act is DriveAct.RELEASE
            else ""
        )
        raise DriveStateError(
            f"the drive is {story.state.value}, and {act.value!r} is no move from there{rule}; {legal};"
            f" its story: {story.tell()}",
            state=story.state.value,
            act=act.value,
            story=story,
        )
    chapter = Chapter(time_ns=time_ns, state=to, act=act, actor=actor, reason=reason, witness=witness)
    if act is DriveAct.DESTROY:
        _check_destruction(chapter)
    return DriveStory((*story.chapters, chapter))


def legal_acts(state: DriveState) -> tuple[DriveAct, ...]:
    """List what can be done to a drive in a state, in the order of the table."""
    return tuple(move.act for move in MOVES if move.state is state)


def to_mermaid() -> str:
    """Return the table as the text of a Mermaid state diagram, for the documents.

    References
    ----------
    Mermaid, "State diagrams", for the notation.
    """
    names = {state: state.value.replace("-", "_") for state in DriveState}
    over = [state for state in DriveState if not legal_acts(state)]
    lines = ["stateDiagram-v2", "    direction TB"]
    lines += [f'    state "{state.value}" as {names[state]}' for state in DriveState if "-" in state.value]
    lines += [f"    [*] --> {names[DriveState.NEW]}: {DriveAct.ADD.value}"]
    lines += [f"    {names[state]} --> {names[to]}: {act.value}" for state, act, to in MOVES]
    lines += [f"    {names[state]} --> [*]" for state in over]
    return "\n".join(lines) + "\n"


def _check_destruction(chapter: Chapter) -> None:
    if not chapter.reason or not chapter.witness:
        raise ConfigError(
            "a drive is destroyed by somebody, before a witness and for a reason, and the record says all"
            f" three; reason is {chapter.reason!r}, witness {chapter.witness!r}"
        )
    if chapter.witness.strip().casefold() == chapter.actor.strip().casefold():
        raise ConfigError(f"{chapter.actor!r} destroys the drive and is the witness; name another person")


def _check_text(text: object, what: str) -> None:
    if not isinstance(text, str):
        raise ConfigError(f"{what} is of type {type(text).__name__}; a string is expected")
    if len(text) > _MOST_TEXT:
        raise ConfigError(f"{what} has {len(text)} characters; {_MOST_TEXT} at most are possible")
    if any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in text):
        raise ConfigError(f"{what} is {text!r}; control characters and surrogates cannot be part of it")


def _read(kind: Any, value: object, what: str) -> Any:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(member.value for member in kind)
        raise ConfigError(f"{what} is {value!r}; one of {known} is expected") from None
