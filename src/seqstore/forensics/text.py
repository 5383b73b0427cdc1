"""Writes the report of a search as a page of plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from seqstore.forensics.located import Located
from seqstore.forensics.report import FileReport, Report
from seqstore.inspect.text import printable
from seqstore.units import format_size

_MOST_RUNS = 16


def render(report: Report, located: Sequence[Located] | None = None) -> Iterator[str]:
    """Yield the lines of the page.

    Parameters
    ----------
    report : Report
        What was found.
    located : sequence of Located, optional
        Whose blocks it is in.

    Yields
    ------
    str
        A line, without its end.
    """
    yield f"searched {printable(report.medium)}: {format_size(report.medium_bytes)}"
    yield f"  for fragments of {report.minimum_bytes:,} bytes and more{_exception(report)}"
    for offset, length in report.unreadable:
        yield f"  could not be read: {length:,} bytes at {offset:,}"
    for number, file in enumerate(report.files):
        yield ""
        yield from _file(file)
        if located is not None:
            yield from _places(located[number])
    yield ""
    yield _verdict(report)


def _file(file: FileReport) -> Iterator[str]:
    yield f"{printable(file.name)}: {file.size_bytes:,} bytes"
    if file.reason is not None:
        yield f"  was not looked for: {file.reason}"
        return
    if not len(file.fragments):
        yield "  nothing found"
        return
    yield f"  {_share(file)} found, in {_many(len(file.fragments), 'fragment')}"
    runs = file.runs
    for offset, length in islice(runs, _MOST_RUNS):
        yield f"  {length:>14,} bytes at {offset:,}"
    if len(runs) > _MOST_RUNS:
        yield f"  and {len(runs) - _MOST_RUNS:,} more; --json lists all"


def _places(located: Located) -> Iterator[str]:
    for place in located.places:
        blocks = _many(place.blocks, "block")
        if place.tenant:
            tenant = _name("tenant", place.tenant_name, place.tenant)
            volume = _name("volume", place.volume_name, place.volume)
            yield f"  by the ledger: {place.bytes:,} bytes in {blocks}, {place.state}, of {tenant}, {volume}"
        else:
            yield f"  by the ledger: {place.bytes:,} bytes in {blocks}, {place.state}: of nobody"


def _exception(report: Report) -> str:
    if report.certain_bytes <= report.minimum_bytes:
        return ", at any alignment"
    return f"; below {report.certain_bytes:,} only at a multiple of 64 from where they stand in the file"


def _verdict(report: Report) -> str:
    found = sum(1 for file in report.files if len(file.fragments))
    text = f"found fragments of {found} of {_many(len(report.files), 'file')}"
    if report.complete:
        return text
    return f"{text}; not everything could be searched"


def _share(file: FileReport) -> str:
    if file.found_bytes == file.searched_bytes:
        return "all of it"
    # Neither all nor nothing is what a rounded figure may say.
    return f"{min(max(100 * file.share, 0.1), 99.9):.1f} % of it"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _name(what: str, name: str | None, number: int) -> str:
    return f"{what} {number} (deleted)" if name is None else f"{what} {printable(name)!r}"
