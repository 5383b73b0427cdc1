"""The kinds of block that a map tells apart, with a colour and a letter for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["dead", "live", "summary", "free"]

# Hues that people with the common colour blindnesses can tell apart (after Okabe and Ito). A tenant's
# live blocks take the full hue and its dead blocks a light tint of it.
HUES = ("#d55e00", "#0072b2", "#009e73", "#7b4fa3", "#8a6d00", "#c2417c")
"""Colours of tenants, and of runs that are compared."""
_OTHER_HUE = "#6b6b6b"
_SUMMARY_COLOUR = "#2b2b2b"
FREE_COLOUR = "#efefec"
_TINT = 0.62  # how far a dead block's colour lies towards white

MOST_TENANTS = len(HUES)
"""Tenants with a colour of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of block, as a map shows it.

    Attributes
    ----------
    state : {"dead", "live", "summary", "free"}
        What the ledger says. A dead copy that the cleaner left behind counts as dead, a summary that is no
        longer in use as a summary.
    tenant : int or None
        Number of the owner; None for summaries, free blocks and ``other tenants``.
    label : str
        Words for the legend.
    symbol : str
        One letter that tells the kinds apart without colour.
    colour : str
        ``#rrggbb``.
    """

    state: State
    tenant: int | None
    label: str
    symbol: str
    colour: str

    @property
    def letter_style(self) -> str:
        """Style for rich: the symbol in a colour that can be read on the kind's own."""
        red, green, blue = channels(self.colour)
        luma = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601
        return f"{'#000000' if luma > 140 else '#ffffff'} on {self.colour}"


def make_kinds(tenants: Mapping[int, str], *, others: bool) -> tuple[Kind, ...]:
    """List the kinds of a map: dead before live, so that residue wins ties, then summaries and free blocks.

    Parameters
    ----------
    tenants : mapping of int to str
        Names by number, at most `MOST_TENANTS` of them.
    others : bool
        Whether there are tenants besides these.
    """
    owners: list[tuple[int | None, str, str, str]] = []
    letters = _letters(list(tenants.values()))
    for hue, letter, (number, name) in zip(HUES, letters, tenants.items(), strict=False):
        owners.append((number, name, letter, hue))
    if others:
        owners.append((None, "other tenants", "O", _OTHER_HUE))

    dead = [
        Kind(state="dead", tenant=n, label=f"{name}, dead", symbol=s.lower(), colour=tint(hue))
        for n, name, s, hue in owners
    ]
    live = [
        Kind(state="live", tenant=n, label=f"{name}, live", symbol=s, colour=hue)
        for n, name, s, hue in owners
    ]
    summary = Kind(state="summary", tenant=None, label="log's summaries", symbol="+", colour=_SUMMARY_COLOUR)
    free = Kind(state="free", tenant=None, label="free", symbol=".", colour=FREE_COLOUR)
    return (*dead, *live, summary, free)


def _letters(names: list[str]) -> list[str]:
    """Give each tenant a letter of its own: its initial where that is a free letter, else the next free."""
    spare = iter("ABCDEFGHIJKLMN")
    letters: list[str] = []
    for name in names:
        letter = name[:1].upper()
        # "O" stands for the other tenants.
        while not (letter.isascii() and letter.isalpha()) or letter == "O" or letter in letters:
            letter = next(spare)
        letters.append(letter)
    return letters


def channels(colour: str) -> tuple[int, int, int]:
    """Split ``#rrggbb`` into red, green and blue."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def tint(colour: str) -> str:
    """Mix a colour with white, as those of dead blocks are."""
    mixed = (round(part + (255 - part) * _TINT) for part in channels(colour))
    return "#" + "".join(f"{part:02x}" for part in mixed)
