"""Papers for people: as text, and as an HTML page that needs no other file.

A paper is a title, a verdict and sections of facts, tables and sentences, made of a signed document. It is
put into either form here, and into PDF in `seqstore.certificate_pdf`, so that all say the same. Nothing that
somebody wrote is taken for more than text.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from html import escape
from typing import Final, Literal

from seqstore.html_page import make_page

Standing = Literal["complete", "open", "failed"]
Fact = tuple[str, str]

_SHORT_NAME, _SHORT_VALUE = 24, 32  # characters

_CSS: Final = """\
main { max-width: 940px; }
h1 { font-size: 27px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 0 0 6px; }
p { margin: 0 0 10px; max-width: 85ch; overflow-wrap: anywhere; }
.state { border-radius: 8px; padding: 14px 18px; margin: 18px 0; border: 1px solid; font-size: 16px; }
.caution { font-weight: 600; color: #a3402b; margin: 8px 0 0; }
.state b { display: block; font-size: 20px; }
.complete { background: #e9f5ef; border-color: #9fcdb8; }
.open { background: #fdf1e3; border-color: #e3b57a; }
.failed { background: #fbe9e7; border-color: #d9968c; }
section { padding: 16px 20px; margin: 0 0 14px; }
dl { display: grid; grid-template-columns: max-content 1fr max-content 1fr; gap: 3px 18px; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
dt.long { grid-column: 1; }
dd.long { grid-column: 2 / -1; }
ul { margin: 0; padding-left: 20px; }
* + ul, dl + .wide { margin-top: 8px; }
th, td {
  padding: 4px 10px 4px 0; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: top;
}
th { font-weight: 600; }
.there td { background: #fdf1e3; }
footer { margin-top: 20px; overflow-wrap: anywhere; }
@media (max-width: 700px) {
  dl { grid-template-columns: 1fr; }
  dt.long, dd.long { grid-column: auto; }
  dd { margin-bottom: 6px; }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a paper: facts by name, rows of a table, sentences.

    Attributes
    ----------
    title : str
    facts : tuple of (str, str)
        Names and values.
    columns : tuple of str
        Heads of the table.
    rows : tuple of tuple of str
    marked : frozenset of int
        Rows that stand out.
    sentences : tuple of str
    begins_second_half : bool
        Whether a new page may begin here, where one is not enough.
    """

    title: str
    facts: tuple[Fact, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    marked: frozenset[int] = frozenset()
    sentences: tuple[str, ...] = ()
    begins_second_half: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """What is shown of a document.

    Attributes
    ----------
    title : str
    standing : {"complete", "open", "failed"}
        Whether all is well, as the colour of the verdict shows.
    verdict, explanation : str
        How it stands, in a line, and what that means.
    sections : tuple of Section
    footer : str
        Below a page; not in the text.
    subtitle : str
        Below the title; may be empty.
    caution : str
        What a reader has to know before anything else; may be empty.
    """

    title: str
    standing: Standing
    verdict: str
    explanation: str
    sections: tuple[Section, ...]
    footer: str
    subtitle: str = ""
    caution: str = ""


def is_short(fact: Fact) -> bool:
    """Whether a fact has room beside another one."""
    name, value = fact
    return len(name) <= _SHORT_NAME and len(value) <= _SHORT_VALUE


def to_text(paper: Paper, *, width: int | None = None) -> str:
    """Return a paper as text.

    Parameters
    ----------
    paper : Paper
    width : int, optional
        Characters of a line, but for tables; by default lines are as long as they are.
    """
    lines = [paper.title, "=" * len(paper.title)]
    if paper.caution:
        lines += [*_wrap(paper.caution, width), ""]
    if paper.subtitle:
        lines += _wrap(paper.subtitle, width)
    lines += ["", paper.verdict, *_wrap(paper.explanation, width)]
    for section in paper.sections:
        lines += ["", section.title, "-" * len(section.title)]
        names = max((len(name) for name, _ in section.facts), default=0)
        for name, value in section.facts:
            lines += _wrap(value, width, first=f"{name:<{names}}  ", rest=" " * (names + 2))
        for sentence in section.sentences:
            lines += _wrap(sentence, width, first="* ", rest="  ")
        lines += _text_table(section)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def to_html(paper: Paper) -> str:
    """Return a paper as an HTML page."""
    sections = "\n".join(map(_html_section, paper.sections))
    subtitle = f'<p class="soft">{escape(paper.subtitle)}</p>\n' if paper.subtitle else ""
    caution = f'<p class="caution">{escape(paper.caution)}</p>\n' if paper.caution else ""
    verdict = f"<b>{escape(paper.verdict)}</b>{escape(paper.explanation)}"
    content = (
        f"<h1>{escape(paper.title)}</h1>\n"
        f'{caution}{subtitle}<div class="state {paper.standing}">{verdict}</div>\n'
        f"{sections}\n<footer>{escape(paper.footer)}</footer>"
    )
    return make_page(paper.title, content, css=_CSS)


def tell_caution(name: str, *, is_signed: bool, verified: str | None) -> str:
    """Say that nobody has looked who made a document; nothing where it was verified.

    Parameters
    ----------
    name : str
        What the document is called.
    is_signed : bool
    verified : str or None
        Fingerprint of the key that it was verified with.
    """
    if verified is not None:
        return ""
    if not is_signed:
        return f"NOT SIGNED: anybody can have made this {name}."
    return (
        f"NOT VERIFIED: anybody can have made this {name}. With the public key of whoever is said to have"
        " signed it the signature can be checked."
    )


def tell_time(time_ns: int) -> str:
    """Write a time as people do, in UTC, to the second."""
    try:
        moment = datetime.fromtimestamp(time_ns // 10**9, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return f"{time_ns} ns"
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def plain(text: str) -> str:
    """Make what somebody wrote harmless in a line of text: no control or formatting characters."""
    return "".join("\ufffd" if unicodedata.category(c)[0] == "C" else c for c in text)


def _wrap(text: str, width: int | None, *, first: str = "", rest: str = "") -> list[str]:
    if width is None:
        return [first + text]
    least = max(width, len(rest) + 20)
    return textwrap.wrap(
        text,
        least,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,
    ) or [first]


def _text_table(section: Section) -> Iterator[str]:
    if not section.rows:
        return
    widths = [max(map(len, column)) for column in zip(section.columns, *section.rows, strict=True)]
    for row in (section.columns, *section.rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))


def _html_section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    if section.facts:
        parts.append(f"<dl>{''.join(map(_html_fact, section.facts))}</dl>")
    if section.rows:
        head = "".join(f"<th>{escape(name)}</th>" for name in section.columns)
        body = "".join(_html_row(row, number in section.marked) for number, row in enumerate(section.rows))
        parts.append(
            f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        )
    if section.sentences:
        parts.append(f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in section.sentences)}</ul>")
    return f"<section>\n{''.join(parts)}\n</section>"


def _html_fact(fact: Fact) -> str:
    kind = "" if is_short(fact) else ' class="long"'
    name, value = map(escape, fact)
    return f"<dt{kind}>{name}</dt><dd{kind}>{value}</dd>"


def _html_row(row: tuple[str, ...], is_marked: bool) -> str:
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in row)
    return f'<tr class="there">{cells}</tr>' if is_marked else f"<tr>{cells}</tr>"
