"""The life of a drive: every move that there is, and none besides."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from scripts.draw_drive_life import PLACES, WORDS, Box, Point, box_of, draw, line_of, loop_of, words_of
from seqstore import ConfigError, DriveAct, DriveState, DriveStateError, DriveStory, FormatError
from seqstore.drive_life import MOVES, Move, legal_acts, move, to_mermaid

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "images" / "drive-life.svg"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "drive-life.md"
LEGAL = {(entry.state, entry.act): entry.to for entry in MOVES}


def reach(state: DriveState) -> DriveStory:
    """Return the shortest story that ends in a state."""
    stories = [DriveStory.begin(time_ns=1, actor="alice")]
    for story in stories:
        if story.state is state:
            return story
        stories += [do(story, act) for act in story.acts]
    raise AssertionError(f"{state} is never reached")


def do(story: DriveStory, act: DriveAct) -> DriveStory:
    return move(story, act, time_ns=len(story.chapters) + 1, actor="bob", reason="ticket 7", witness="eve")


@pytest.mark.parametrize(("state", "act"), [*itertools.product(DriveState, DriveAct)])
def test_every_move_and_no_other(state: DriveState, act: DriveAct) -> None:
    story = reach(state)
    if (state, act) in LEGAL:
        after = do(story, act)
        assert after.state is LEGAL[state, act]
        assert after.chapters[:-1] == story.chapters
        return
    with pytest.raises(DriveStateError, match=re.escape(f"the drive is {state.value}")) as caught:
        do(story, act)
    assert (caught.value.state, caught.value.act, caught.value.story) == (state.value, act.value, story)
    assert story.tell() in str(caught.value)
    assert all(legal.value in str(caught.value) for legal in legal_acts(state))


def test_a_drive_leaves_by_one_way_only() -> None:
    assert {entry.state for entry in MOVES if entry.to is DriveState.RELEASED} == {DriveState.SANITIZED}
    assert {entry.state for entry in MOVES if entry.to is DriveState.SANITIZED} == {DriveState.SANITIZING}
    assert not legal_acts(DriveState.RELEASED)
    assert not legal_acts(DriveState.DESTROYED)


def test_nothing_with_live_blocks_is_overwritten_or_destroyed() -> None:
    live = {DriveState.ONLINE, DriveState.DEGRADED, DriveState.DECOMMISSIONING}
    ends = {DriveAct.BEGIN_SANITIZATION, DriveAct.DESTROY, DriveAct.RELEASE}
    assert not [entry for entry in MOVES if entry.state in live and entry.act in ends]


def test_the_table_has_no_line_twice() -> None:
    assert len(LEGAL) == len(MOVES)


def test_destruction_says_who_before_whom_and_why() -> None:
    story = reach(DriveState.SANITIZE_FAILED)

    def destroy(**changes: str) -> DriveStory:
        said = {"actor": "bob", "reason": "bad blocks", "witness": "eve", **changes}
        return move(story, DriveAct.DESTROY, time_ns=9, **said)

    assert destroy().chapters[-1].witness == "eve"
    for changes in ({"reason": ""}, {"witness": ""}, {"witness": "BOB "}, {"actor": ""}):
        with pytest.raises(ConfigError):
            destroy(**changes)


def test_only_a_sanitized_drive_is_released_and_the_message_says_so() -> None:
    with pytest.raises(DriveStateError, match="only a sanitized drive can be released"):
        do(reach(DriveState.FAILED), DriveAct.RELEASE)


def test_stories_are_kept() -> None:
    story = do(reach(DriveState.SANITIZE_FAILED), DriveAct.DESTROY)
    assert DriveStory.from_list(story.to_list()) == story
    assert "destroyed (destroy by bob: ticket 7)" in story.tell()


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.pop(0),
        lambda rows: rows.pop(1),
        lambda rows: rows.clear(),
        lambda rows: rows[-1].update(state="sanitized"),
        lambda rows: rows[-1].update(state="lost"),
        lambda rows: rows[-1].update(act="lose"),
        lambda rows: rows[-1].update(witness=""),
        lambda rows: rows[-1].update(time_ns=-1),
        lambda rows: rows[-1].update(actor="a\nb"),
        lambda rows: rows[-1].update(mood="sad"),
        lambda rows: rows[-1].update(reason=7),
    ],
)
def test_stories_that_were_changed_are_refused(change: object) -> None:
    rows = do(reach(DriveState.SANITIZE_FAILED), DriveAct.DESTROY).to_list()
    change(rows)  # type: ignore[operator]
    with pytest.raises(FormatError):
        DriveStory.from_list(rows)


def test_the_diagram_of_the_documents_is_that_of_the_table() -> None:
    drawn = re.findall(r"```mermaid\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert drawn == [to_mermaid()]


def test_the_diagram_has_every_move() -> None:
    arrows = re.findall(r"^    (\w+) --> (\w+): (.*)$", to_mermaid(), re.MULTILINE)
    known = {(one.replace("_", "-"), act, other.replace("_", "-")) for one, other, act in arrows}
    assert known == {(entry.state.value, entry.act.value, entry.to.value) for entry in MOVES}


def test_the_picture_is_made_from_the_table() -> None:
    assert PICTURE.read_text("utf-8") == draw(), (
        "run python scripts/draw_drive_life.py docs/images/drive-life.svg"
    )
    words = {text.strip() for text in ET.fromstring(draw()).itertext()} - {""}
    assert words == {state.value for state in DriveState} | {act.value for act in DriveAct}


def arrow(entry: Move) -> list[Point]:
    """Return points all along an arrow of the picture."""
    shares = [number / 200 for number in range(201)]
    if entry.state is not entry.to:
        (x, y), (to_x, to_y) = line_of(entry.state, entry.to)
        return [(x + share * (to_x - x), y + share * (to_y - y)) for share in shares]
    points: list[Point] = []
    for share in shares:  # a cubic curve by its four points
        left = 1 - share
        weights = (left**3, 3 * left**2 * share, 3 * left * share**2, share**3)
        pairs = [*zip(weights, loop_of(entry.state), strict=True)]
        points.append((sum(w * at[0] for w, at in pairs), sum(w * at[1] for w, at in pairs)))
    return points


def runs_through(points: list[Point], box: Box) -> bool:
    left, top, right, bottom = box
    return any(left < x < right and top < y < bottom for x, y in points)


def test_no_arrow_of_the_picture_runs_through_a_box() -> None:
    assert PLACES.keys() == set(DriveState)
    for entry in MOVES:
        for other in set(DriveState) - {entry.state, entry.to}:
            assert not runs_through(arrow(entry), box_of(other)), (entry, other)


@pytest.mark.parametrize("words", WORDS)
def test_words_of_the_picture_stand_on_nothing_else(words: tuple[DriveState, DriveAct]) -> None:
    room = words_of(*words)
    assert [entry for entry in MOVES if runs_through(arrow(entry), room)] == []
    others = [words_of(*other) for other in WORDS if other != words]
    left, top, right, bottom = room
    for box in (*others, *map(box_of, DriveState)):
        assert right <= box[0] or box[2] <= left or bottom <= box[1] or box[3] <= top
