"""Erasure statements for people: as text, and as an HTML page that needs no other file.

Both say the same: one paper is made of a statement, and `seqstore.paper` puts it into either form. Nothing
that a tenant or an operator wrote is taken for more than text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from seqstore.paper import Paper, Section, plain, tell_caution, tell_time, to_html, to_text
from seqstore.statement import Statement

_MOST_ROWS = 400  # of copies on a page; all of them stand in the JSON text
_HOW = {
    "overwritten": "written over",
    "zeroed": "written over with zeros",
    "key": "unreadable, its key is gone",
    "drive": "gone with all of the drive",
}
_SCOPE = (
    "This is a statement about a {claim}: about the copies of one subject on drives that hold other data as"
    " well. It says nothing about a drive as a whole, and none of the categories of NIST SP 800-88 Rev. 2 or"
    " IEEE 2883 is claimed."
)
_COLUMNS = ("drive", "first block", "blocks", "state", "died at", "gone at", "noted", "how")


def render_text(statement: Statement, *, verified: str | None = None, width: int | None = None) -> str:
    """Return a statement as text.

    Parameters
    ----------
    statement : Statement
        A sound one: `Statement.check` returns.
    verified : str, optional
        Fingerprint of the key that it was verified with.
    width : int, optional
        Characters of a line; by default lines are as long as they are.
    """
    return to_text(_paper(statement, verified), width=width)


def render_html(statement: Statement, *, verified: str | None = None) -> str:
    """Return a statement as an HTML page; parameters as in `render_text`."""
    return to_html(_paper(statement, verified))


def _paper(statement: Statement, verified: str | None) -> Paper:
    verdict, explanation = _verdict(statement)
    totals = statement.document["totals"]
    return Paper(
        title=_title(statement),
        caution=tell_caution(
            "statement", is_signed=statement.sealed.signature is not None, verified=verified
        ),
        standing="complete" if statement.complete and not totals["late"] else "open",
        verdict=verdict,
        explanation=explanation,
        sections=tuple(_sections(statement, verified)),
        footer=(
            f"SHA-256 of the statement: {statement.digest}.\n"
            "What counts is the signed JSON text, not this page."
        ),
    )


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
        return _finished(totals)
    if document["pending"] and not is_in_use(document):
        return "Not finished", _out_of_reach(document["drive"], totals)
    if totals["pending"]:
        blocks = f"{totals['pending']} of {totals['blocks']} blocks still hold data"
        return "Not finished", f"{blocks}; {_until(document['pending'])}."
    if kept or not all(entry["finished"] for entry in document.get("elsewhere", ())):
        kept += sum(each["blocks"] for entry in document.get("elsewhere", ()) for each in entry["kept"])
        if not kept:
            return "Not finished", "Copies of it on another drive are pending."
        return "Not finished", f"{kept} blocks live on: others show them too."
    return "Not finished", "A verification failed, and was not repeated with success."


def _finished(totals: dict[str, int]) -> tuple[str, str]:
    """Say whether all was gone in time."""
    done = "None of the copies that are known can be read any more."
    late, unsure = _blocks(totals["late"]), _blocks(totals["unsure"])
    if totals["unsure"]:
        done += f" Of {unsure} it is not known whether that was in time."
    if totals["late"]:
        return f"Finished, {late} too late", f"{done} {late} outlived the bound that was promised."
    return "Finished", done


def _blocks(count: int) -> str:
    return f"{count:,} block{'' if count == 1 else 's'}"


def is_in_use(document: dict[str, Any]) -> bool:
    """Tell whether the drive could be looked at that a statement speaks of; in version 1 it always could."""
    return "drive" not in document or bool(document["drive"]["in_use"])


def _out_of_reach(drive: dict[str, Any], totals: dict[str, int]) -> str:
    """Say what is pending on a drive that nobody can look at."""
    text = f"drive {drive['number']} is not in use: {drive['why']}"
    if drive["most_blocks"] is not None:
        return f"{text}; up to {drive['most_blocks']} blocks may lie there, and nobody has counted them."
    return f"{text}; {totals['pending']} of {totals['blocks']} blocks that are known still lie there."


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
        columns=_COLUMNS,
        rows=rows,
        marked=frozenset(number for number, row in enumerate(rows) if not row[-1]),
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
        if totals.get(how):
            yield words.capitalize(), f"{totals[how]} blocks"
    yield "Still there", f"{totals['pending']} blocks"
    if document["pending"]:
        yield "Until", _until(document["pending"])
    if not is_in_use(document):
        yield "Drive", f"number {document['drive']['number']}: {document['drive']['why']}"
    for entry in document["kept"]:
        yield "Lives on", f"{entry['blocks']} blocks, shown by {_name(entry)} of tenant {entry['tenant']}"
    for entry in document.get("elsewhere", ()):
        yield f"On drive {entry['drive']}", _other(entry)
    if document["promise"]["bound_writes"] is not None or document["promise"]["bound_ns"] is not None:
        late, unsure = totals["late"], totals["unsure"]
        words = "kept so far" if totals["pending"] else "kept"
        if not is_in_use(document):
            words = "none on a drive that is not in use"
        if late or unsure:
            words = "; ".join(
                text
                for count, text in (
                    (late, f"{_blocks(late)} late"),
                    (unsure, f"of {_blocks(unsure)} it is not known whether in time"),
                )
                if count
            )
        yield "Bound", words


def _other(entry: dict[str, Any]) -> str:
    """Say how far the erasure of what moved to another drive is."""
    if entry["finished"]:
        return f"erasure {entry['erasure']}, through"
    shown = (f"{each['blocks']} blocks shown by {_name(each)}" for each in entry["kept"])
    return ", ".join([f"erasure {entry['erasure']}, {entry['pending']} blocks still there", *shown])


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
    if not is_in_use(document) and document["drive"]["end"] is not None:
        end = document["drive"]["end"]
        paper = "none" if end["certificate"] is None else plain(end["certificate"]["digest"])
        yield "End of the drive", f"record {end['record']}, {plain(end['hash'])}, certificate {paper}"
    for drive in document["store"]["drives"]:
        size = f"{drive['blocks']} blocks of {drive['block_size']} bytes"
        identity = f"identity {plain(drive['identity'])}"
        if "drive" in document:
            identity += f", serial number {plain(document['drive']['serial'])}"
        yield f"Drive {drive['number']}", f"{size}, {identity}"
    yield "Audit log", f"{plain(document['store']['chain'])}, up to record {document['audit']['number']}"
    yield "Request", f"record {request['record']}, {plain(request['hash'])}"
    yield "Signed by", "nobody" if sealed.fingerprint is None else f"key {plain(sealed.fingerprint)}"
    yield "Signature", "not verified here" if verified is None else f"verified with key {verified}"
