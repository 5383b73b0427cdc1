"""Draws the states of a drive and the moves between them, from the table, as a picture for the documents.

    python scripts/draw_drive_life.py docs/images/drive-life.svg

Where the boxes and the words stand is chosen here; which there are, and which arrows, the table says. An act
that many states share has a colour and stands in the legend; the others are written beside their arrows,
where no other arrow runs.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

from seqstore.drive_life import MOVES, DriveAct, DriveState

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom

WIDTH, HEIGHT = 1030, 700
_HEIGHT = 34
# Middle of each box, and how wide it is: one bar below all that can be destroyed.
PLACES: dict[DriveState, tuple[float, float, float]] = {
    DriveState.NEW: (80, 90, 110),
    DriveState.ONLINE: (330, 90, 110),
    DriveState.DEGRADED: (600, 90, 110),
    DriveState.DECOMMISSIONING: (600, 250, 150),
    DriveState.EVACUATED: (880, 250, 110),
    DriveState.FAILED: (170, 380, 110),
    DriveState.SANITIZING: (440, 470, 120),
    DriveState.SANITIZED: (720, 470, 110),
    DriveState.SANITIZE_FAILED: (440, 590, 140),
    DriveState.RELEASED: (960, 470, 110),
    DriveState.DESTROYED: (480, 665, 900),
}
# Middle of the words of each arrow that has some.
WORDS: dict[tuple[DriveState, DriveAct], Point] = {
    (DriveState.NEW, DriveAct.PUT_ONLINE): (205, 79),
    (DriveState.ONLINE, DriveAct.DEGRADE): (465, 108),
    (DriveState.DEGRADED, DriveAct.RECOVER): (465, 72),
    (DriveState.ONLINE, DriveAct.DECOMMISSION): (360, 151),
    (DriveState.DEGRADED, DriveAct.DECOMMISSION): (655, 165),
    (DriveState.DECOMMISSIONING, DriveAct.CALL_OFF): (463, 134),
    (DriveState.DECOMMISSIONING, DriveAct.FINISH_EVACUATION): (750, 239),
    (DriveState.SANITIZING, DriveAct.RESUME_SANITIZATION): (270, 487),
    (DriveState.SANITIZING, DriveAct.FINISH_SANITIZATION): (580, 489),
    (DriveState.SANITIZING, DriveAct.FAIL_SANITIZATION): (366, 540),
    (DriveState.SANITIZED, DriveAct.REFUSE): (620, 540),
    (DriveState.SANITIZED, DriveAct.RELEASE): (825, 459),
}
_SHARED = {
    DriveAct.FAIL: "#c8402e",
    DriveAct.BEGIN_SANITIZATION: "#0060a0",
    DriveAct.DESTROY: "#63635e",
}
_INK = "#1d1d1b"
_OVER = {DriveState.RELEASED, DriveState.DESTROYED}


def box_of(state: DriveState) -> Box:
    """Return the box of a state."""
    x, y, width = PLACES[state]
    return x - width / 2, y - _HEIGHT / 2, x + width / 2, y + _HEIGHT / 2


def line_of(state: DriveState, to: DriveState) -> tuple[Point, Point]:
    """Return where the arrow between two states begins and ends; there and back are beside each other."""
    start, end = PLACES[state][:2], PLACES[to][:2]
    if to is DriveState.DESTROYED:
        end = (start[0], end[1])
    if _is_pair(state, to):
        length = math.dist(start, end)
        aside = (7 * (end[1] - start[1]) / length, -7 * (end[0] - start[0]) / length)
        start, end = (start[0] - aside[0], start[1] - aside[1]), (end[0] - aside[0], end[1] - aside[1])
    return _leave(start, end, box_of(state)), _leave(end, start, box_of(to))


def _leave(inside: Point, outside: Point, box: Box) -> Point:
    """Return where a line from a point in a box leaves it."""
    dx, dy = outside[0] - inside[0], outside[1] - inside[1]
    steps = [
        (edge - at) / step
        for edge, at, step in (
            (box[0], inside[0], dx),
            (box[2], inside[0], dx),
            (box[1], inside[1], dy),
            (box[3], inside[1], dy),
        )
        if step and (edge - at) / step > 0
    ]
    share = min(steps)
    return inside[0] + share * dx, inside[1] + share * dy


def draw() -> str:
    """Return the picture as SVG; the same for the same table."""
    return "\n".join(_parts()) + "\n"


def _parts() -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        ' aria-label="The states of a drive and the moves between them"'
        ' font-family="system-ui, sans-serif" font-size="14">'
    )
    yield "<defs>"
    for name, colour in (("ink", _INK), *((act.name, colour) for act, colour in _SHARED.items())):
        yield (
            f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7"'
            f' orient="auto"><path d="M0 0 10 5 0 10z" fill="{colour}"/></marker>'
        )
    yield "</defs>"
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
    yield from _legend()
    for move in MOVES:
        yield from _arrow(move.state, move.act, move.to)
    yield '<circle cx="80" cy="45" r="6"/>'
    yield from _line((80, 51), (80, 73), None)
    yield _label(110, 62, DriveAct.ADD.value)
    for state in DriveState:
        yield from _state(state)
    yield "</svg>"


def _legend() -> Iterator[str]:
    for number, (act, colour) in enumerate(_SHARED.items()):
        y = 40 + 22 * number
        yield f'<path d="M720 {y}h40" stroke="{colour}" stroke-width="1.6" marker-end="url(#{act.name})"/>'
        yield f'<text x="770" y="{y + 5}" fill="{colour}">{escape(act.value)}</text>'


def loop_of(state: DriveState) -> tuple[Point, Point, Point, Point]:
    """Return the curve of an arrow that ends where it begins: points on the box, and what it bends to."""
    left, _, _, bottom = box_of(state)
    x = left + 24
    return (left, bottom - 22), (x - 90, bottom - 22), (x - 60, bottom + 40), (x, bottom)


def words_of(state: DriveState, act: DriveAct) -> Box:
    """Return the room that the words of an arrow take."""
    x, y = WORDS[state, act]
    half = 3.6 * len(act.value)
    return x - half, y - 7, x + half, y + 7


def _arrow(state: DriveState, act: DriveAct, to: DriveState) -> Iterator[str]:
    if state is to:
        (x, y), *bends = loop_of(state)
        curve = " ".join(f"{at:g} {down:g}" for at, down in bends)
        yield (
            f'<path d="M{x:g} {y:g}C{curve}"'
            f' fill="none" stroke="{_INK}" stroke-width="1.4" marker-end="url(#ink)"/>'
        )
    else:
        yield from _line(*line_of(state, to), act if act in _SHARED else None)
    if act not in _SHARED:
        yield _label(*WORDS[state, act], act.value)


def _is_pair(state: DriveState, to: DriveState) -> bool:
    return any((move.state, move.to) == (to, state) for move in MOVES)


def _line(start: Point, end: Point, act: DriveAct | None) -> Iterator[str]:
    colour, name = (_INK, "ink") if act is None else (_SHARED[act], act.name)
    yield (
        f'<path d="M{start[0]:.1f} {start[1]:.1f}L{end[0]:.1f} {end[1]:.1f}" stroke="{colour}"'
        f' stroke-width="1.4" marker-end="url(#{name})"/>'
    )


def _label(x: float, y: float, text: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" dominant-baseline="middle" font-size="12.5"'
        f' fill="{_INK}" stroke="#fff" stroke-width="4" paint-order="stroke">{escape(text)}</text>'
    )


def _state(state: DriveState) -> Iterator[str]:
    left, top, right, bottom = box_of(state)
    fill = "#eceae4" if state in _OVER else "#f3f8fc"
    yield (
        f'<rect x="{left:g}" y="{top:g}" width="{right - left:g}" height="{bottom - top:g}" rx="7"'
        f' fill="{fill}" stroke="{_INK}" stroke-width="{2 if state in _OVER else 1}"/>'
    )
    yield (
        f'<text x="{(left + right) / 2:g}" y="{(top + bottom) / 2 + 1:g}" text-anchor="middle"'
        f' dominant-baseline="middle" font-weight="600">{escape(state.value)}</text>'
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FILE")
    Path(sys.argv[1]).write_text(draw(), "utf-8")
