"""Erasure statements for people: as text, and as an HTML page that needs no other file.

Both say the same: one list of sections, of lines and tables, is made of a statement and put into either form.
Nothing that a tenant or an operator wrote is taken for more than text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from html import escape
from typing import Any, Final

from seqstore.statement import Statement

_MOST_ROWS = 400  # of copies on a page; all of them stand in the JSON text
_HOW = {
    "overwritten": "written over",
    "zeroed": "written over with zeros",
    "key": "unreadable, its key is gone",
}
_SCOPE = (
    "This is a statement about a {claim}: about the copies of one subject on drives that hold other data as"
    " well. It says nothing about a drive as a whole, and none of the categories of NIST SP 800-88 Rev. 2 or"
    " IEEE 2883 is claimed."
)
_COLUMNS = ("drive", "first block", "blocks", "state", "died at", "gone at", "noted", "how")

CSS: Final = """\
:root { color-scheme: light; --ink: #1d1d1b; --soft: #63635e; --line: #e2e2dc; --back: #f6f5f1; }
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", sans-serif;
}
main { max-width: 940px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 27px; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 0 0 6px; }
p { margin: 0 0 10px; max-width: 85ch; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.state { border-radius: 8px; padding: 14px 18px; margin: 18px 0; border: 1px solid; font-size: 16px; }
.state b { display: block; font-size: 20px; }
.complete { background: #e9f5ef; border-color: #9fcdb8; }
.open { background: #fdf1e3; border-color: #e3b57a; }
section {
  background: #fff; border: 1px solid var(--line); border-radius: 8px;
  padding: 16px 20px; margin: 0 0 14px;
}
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 18px; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
ul { margin: 0; padding-left: 20px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th, td {
  padding: 4px 10px 4px 0; text-align: left; border-bottom: 1px solid var(--line);
  white-space: nowrap;
}
th { font-weight: 600; }
.there td { background: #fdf1e3; }
footer { color: var(--soft); font-size: 13px; margin-top: 20px; overflow-wrap: anywhere; }
@media (max-width: 560px) { dl { grid-template-columns: 1fr; } dd { margin-bottom: 6px; } }
@media print { body { background: none; } section { break-inside: avoid; } }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a statement: facts by name, sentences, or the rows of the table of copies."""

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    sentences: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def render_text(statement: Statement, *, verified: str | None = None) -> str:
    """Return a statement as text.

    Parameters
    ----------
    statement : Statement
        A sound one: `Statement.check` returns.
    verified : str, optional
        Fingerprint of the key that it was verified with.
    """
    lines = [_title(statement), "=" * len(_title(statement)), "", *_verdict(statement)]
    for section in _sections(statement, verified):
        lines += ["", section.title, "-" * len(section.title)]
        width = max((len(name) for name, _ in section.facts), default=0)
        lines += [f"{name:<{width}}  {value}" for name, value in section.facts]
        lines += [f"* {sentence}" for sentence in section.sentences]
        lines += _text_table(section.rows)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def render_html(statement: Statement, *, verified: str | None = None) -> str:
    """Return a statement as an HTML page; parameters as in `render_text`."""
    verdict, explanation = _verdict(statement)
    title, state = escape(_title(statement)), "complete" if statement.complete else "open"
    sections = "\n".join(map(_html_section, _sections(statement, verified)))
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{CSS}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<div class="state {state}"><b>{escape(verdict)}</b>{escape(explanation)}</div>
{sections}
<footer>SHA-256 of the statement: {statement.digest}.
What counts is the signed JSON text, not this page.</footer>
</main>
</body>
</html>
"""


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


def _title(statement: Statement) -> str:
    return f"Erasure statement: {_name(statement.document['subject'])}"


def _name(subject: dict[str, Any]) -> str:
    name = plain(str(subject.get("name", "")))
    text = f"{plain(str(subject.get('kind')))} \u201c{name}\u201d (number {subject.get('number')})"
    if "offset" in subject:
        text += f", {subject.get('length')} bytes at offset {subject['offset']}"
    return text


def _verdict(statement: Statement) -> tuple[str, str]:
    """Say in a line how it stands, and in another one what that means."""
    document = statement.document
    totals, kept = document["totals"], sum(entry["blocks"] for entry in document["kept"])
    if statement.complete:
        return "Finished", "None of the copies that are known can be read any more."
    if totals["pending"]:
        blocks = f"{totals['pending']} of {totals['blocks']} blocks still hold data"
        return "Not finished", f"{blocks}; {_until(document['pending'])}."
    if kept:
        return "Not finished", f"{kept} blocks live on: others show them too."
    return "Not finished", "A verification failed, and was not repeated with success."


def _until(pending: dict[str, Any]) -> str:
    parts = []
    if pending["until_position"] is not None:
        parts.append(f"position {pending['until_position']}")
    if pending["until_ns"] is not None:
        parts.append(tell_time(pending["until_ns"]))
    return f"they are to be gone by {' and '.join(parts)}" if parts else "no time was promised for them"


def _sections(statement: Statement, verified: str | None) -> Iterator[Section]:
    document = statement.document
    request, promise, totals = document["request"], document["promise"], document["totals"]
    yield Section(
        title="What was asked for",
        facts=(
            ("Subject", _name(document["subject"])),
            ("Asked for", f"{tell_time(request['time_ns'])}, at position {request['position']}"),
            ("By", plain(request["actor"])),
            ("Reason", plain(request["reason"]) or "none given"),
            ("Strategy", plain(promise["strategy"])),
            ("Bound", _bound(promise)),
        ),
    )
    yield Section(title="What became of it", facts=tuple(_outcome(document, totals)))
    if document["verifications"]:
        sentences = tuple(map(_verification, document["verifications"]))
        yield Section(title="How it was verified", sentences=sentences)
    limits = tuple(plain(sentence) for sentence in document["limits"])
    yield Section(title="What it does not say", sentences=(_SCOPE.format(claim=document["claim"]), *limits))
    rows = tuple(_row(copy) for copy in document["copies"][:_MOST_ROWS])
    left_out = len(document["copies"]) - len(rows)
    note = (f"{left_out} further runs stand in the JSON text.",) if left_out else ()
    yield Section(
        title=f"Copies: {totals['blocks']} blocks in {len(document['copies'])} runs",
        rows=rows,
        sentences=note,
    )
    yield Section(title="Where this comes from", facts=tuple(_origin(statement, verified)))


def _bound(promise: dict[str, Any]) -> str:
    parts = []
    if promise["bound_writes"] is not None:
        parts.append(f"{promise['bound_writes']} blocks put on the medium")
    if promise["bound_ns"] is not None:
        parts.append(f"{promise['bound_ns'] / 1e9:g} s")
    return " and ".join(parts) or "none"


def _outcome(document: dict[str, Any], totals: dict[str, int]) -> Iterator[tuple[str, str]]:
    yield "Copies", f"{totals['blocks']} blocks, {totals['moved']} of them left behind when data moved"
    for how, words in _HOW.items():
        if totals[how]:
            yield words.capitalize(), f"{totals[how]} blocks"
    yield "Still there", f"{totals['pending']} blocks"
    if document["pending"]:
        yield "Until", _until(document["pending"])
    for entry in document["kept"]:
        yield "Lives on", f"{entry['blocks']} blocks, shown by {_name(entry)} of tenant {entry['tenant']}"
    if document["promise"]["bound_writes"] is not None or document["promise"]["bound_ns"] is not None:
        late, unsure = totals["late"], totals["unsure"]
        words = "kept so far" if totals["pending"] else "kept"
        if late or unsure:
            words = f"{late} blocks were late; of {unsure} it is not known"
        yield "Bound", words


def _verification(entry: dict[str, Any]) -> str:
    result = "passed" if entry["passed"] else "FAILED"
    details = f": {plain(entry['details'])}" if entry["details"] else ""
    when = f"{tell_time(entry['time_ns'])}, position {entry['position']}"
    return f"{plain(entry['what'])}, {entry['blocks']} blocks, {when}: {result}{details}"


def _row(copy: dict[str, Any]) -> tuple[str, ...]:
    place = (str(copy["drive"]), str(copy["mba"]), str(copy["blocks"]), copy["state"], str(copy["died"]))
    gone = copy["gone"]
    if gone is None:
        return (*place, "still there", "", "")
    at_latest = "\u2264 " if gone["observed"] else ""
    return (*place, f"{at_latest}{gone['position']}", tell_time(gone["time_ns"]), _HOW[gone["how"]])


def _origin(statement: Statement, verified: str | None) -> Iterator[tuple[str, str]]:
    document, sealed = statement.document, statement.sealed
    issued, request = document["issued"], document["request"]
    yield (
        "Issued",
        f"{tell_time(issued['time_ns'])}, at position {issued['position']}, by {plain(issued['actor'])}",
    )
    for drive in document["store"]["drives"]:
        size = f"{drive['blocks']} blocks of {drive['block_size']} bytes"
        yield f"Drive {drive['number']}", f"{size}, identity {plain(drive['identity'])}"
    yield "Audit log", f"{plain(document['store']['chain'])}, up to record {document['audit']['number']}"
    yield "Request", f"record {request['record']}, {plain(request['hash'])}"
    yield "Signed by", "nobody" if sealed.fingerprint is None else f"key {plain(sealed.fingerprint)}"
    yield "Signature", "not verified here" if verified is None else f"verified with key {verified}"


def _text_table(rows: tuple[tuple[str, ...], ...]) -> Iterable[str]:
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    for row in (_COLUMNS, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))


def _html_section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    if section.facts:
        facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in section.facts)
        parts.append(f"<dl>{facts}</dl>")
    if section.rows:
        head = "".join(f"<th>{escape(name)}</th>" for name in _COLUMNS)
        body = "".join(map(_html_row, section.rows))
        parts.append(
            f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        )
    if section.sentences:
        parts.append(f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in section.sentences)}</ul>")
    return f"<section>\n{''.join(parts)}\n</section>"


def _html_row(row: tuple[str, ...]) -> str:
    is_there = not row[-1]
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in row)
    return f'<tr class="there">{cells}</tr>' if is_there else f"<tr>{cells}</tr>"
