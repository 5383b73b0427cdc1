"""Writes the facts about a drive as a page of plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from seqstore.inspect.facts import Facts, Values
from seqstore.units import format_size

_WIDTH = 64  # cells in a line of the map
_MOST_CELLS = 16 * _WIDTH
_MOST_DAMAGE = 40
_LEGEND = "# live  + half live or more  - some live  x dead only  . nothing  o open  ! damaged"


def render(facts: Facts, name: str) -> Iterator[str]:
    """Yield the lines of the page.

    Parameters
    ----------
    facts : Facts
        What was found.
    name : str
        What the drive is called: its path.

    Yields
    ------
    str
        A line, without its end.
    """
    values = facts.values
    yield f"drive {values['drive']}: {printable(name)}"
    yield ""
    yield from _overview(values)
    if "volumes" in values:
        yield from _section("volumes and snapshots", _volume_rows(values))
        yield from _section("blocks by tenant", _tenant_rows(values))
        if len(values["heads"]) > 1:
            yield from _section("heads", _head_rows(values))
        yield from _map(values)
    else:
        yield from _section("blocks that single summaries name", _said_rows(values))
    if "blocks" in values:
        yield from _section("blocks", _block_rows(values))
    yield from _damage(values)


def printable(text: str) -> str:
    """Replace what a terminal would obey or refuse."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _overview(values: Values) -> Iterator[str]:
    geometry, log, checkpoint = values["geometry"], values["log"], values["checkpoint"]
    lines = {
        "format": f"version {values['format_version']}",
        "size": f"{format_size(geometry['capacity_bytes'])}: {geometry['block_count']:,} blocks of "
        f"{geometry['block_bytes']:,} bytes in {geometry['segment_count']:,} segments",
        "log": _end_of_log(log),
        "flushed": f"up to record {log['flushed_sequence']:,} at least",
        "checkpoint": "none that can be read"
        if checkpoint is None
        else f"at record {checkpoint['sequence']:,}, block {checkpoint['mba']:,}: "
        f"{checkpoint['stream_bytes']:,} bytes",
        "written": f"{log['position']:,} blocks, {log['laps']:.2f} laps",
        "records": ", ".join(f"{n:,} {status}" for status, n in values["records"].items() if n) or "none",
        "checked": f"{values['verified_blocks']:,} live blocks read",
    }
    if log["torn_mba"] is not None:
        lines["torn"] = (
            f"the record at block {log['torn_mba']:,} is not whole: a crash cut it off, or it was damaged"
        )
    if log["foreign_segments"]:
        lines["foreign"] = f"{log['foreign_segments']:,} segments begin with records of another drive"
    for label, text in lines.items():
        yield f"  {label:<12}{text}"


def _end_of_log(log: Values) -> str:
    if not log["recoverable"]:
        return "cannot be recovered: there is no place to begin"
    if log["clean"]:
        return f"ends with record {log['last_sequence']:,}; the store was closed"
    text = (
        f"ends with record {log['last_sequence']:,}; the store was not closed, "
        f"opening it rolls {log['records_rolled_forward']:,} records forward"
    )
    if log["void_entries"]:
        text += f" and gives up {log['void_entries']:,} entries of unfinished requests"
    return text


def _volume_rows(values: Values) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("number", "kind", "tenant", "size", "mapped", "layer", "from", "unwritten")
    ]
    rows += [
        (
            str(volume["number"]),
            volume["kind"],
            str(volume["tenant"]),
            format_size(volume["size_bytes"]),
            f"{volume['mapped_blocks']:,}",
            str(volume["layer"]),
            str(volume["origin"] or "-"),
            volume["unwritten"],
        )
        for volume in values["volumes"]
    ]
    return rows


def _tenant_rows(values: Values) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("tenant", "live", "dead", "moved", "oldest residue, blocks ago")]
    rows += [
        (
            str(tenant["tenant"]),
            f"{tenant['live']:,}",
            f"{tenant['dead']:,}",
            f"{tenant['moved']:,}",
            "-" if tenant["oldest_age"] is None else f"{tenant['oldest_age']:,}",
        )
        for tenant in values["tenants"]
    ]
    return rows


def _head_rows(values: Values) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("class", "segment", "blocks written")]
    rows += [
        (str(head["class"]), f"{head['segment']:,}", f"{head['open_blocks']:,}") for head in values["heads"]
    ]
    return rows


def _said_rows(values: Values) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("layer", "blocks written")]
    rows += [(str(layer["layer"]), f"{layer['blocks_written']:,}") for layer in values["layers_named"]]
    return rows


def _block_rows(values: Values) -> list[tuple[str, ...]]:
    columns = ("mba", "state", "tenant", "volume", "layer", "lba", "died")
    rows: list[tuple[str, ...]] = [columns]
    for block in values["blocks"]:
        cells = ["-" if block[column] is None else str(block[column]) for column in columns]
        rows.append(tuple(cells))
    return rows


def _section(title: str, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a table under its title; text to the left, numbers to the right."""
    yield ""
    yield title
    if len(rows) == 1:
        yield "  none"
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (
            cell.rjust(width) if _is_number(rows[1][column]) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  " + "   ".join(cells).rstrip()


def _is_number(cell: str) -> bool:
    return cell[:1].isdigit() or cell == "-"


def _map(values: Values) -> Iterator[str]:
    """Yield one character a segment, or for some segments together where there are many."""
    count = values["geometry"]["segment_count"]
    together = -(-count // _MOST_CELLS)
    by_number = {segment["segment"]: segment for segment in values["segments"]}
    cells = []
    for first in range(0, count, together):
        numbers = range(first, min(first + together, count))
        cells.append(_cell([by_number[number] for number in numbers if number in by_number]))
    yield ""
    yield f"segments, {'one' if together == 1 else f'{together:,}'} a character: {_LEGEND}"
    for at in range(0, len(cells), _WIDTH):
        yield f"  {at * together:>8,}  {''.join(cells[at : at + _WIDTH])}"


def _cell(segments: Sequence[Values]) -> str:
    if any(segment["damaged"] for segment in segments):
        return "!"
    if any(segment["open"] for segment in segments):
        return "o"
    live = sum(segment["live"] for segment in segments)
    dead = sum(segment["dead"] + segment["moved"] for segment in segments)
    if live:
        return "#" if not dead else "+" if live >= dead else "-"
    # Summaries without data are no residue of anybody.
    return "x" if dead else "."


def _damage(values: Values) -> Iterator[str]:
    damage = values["damage"]
    yield ""
    if not damage:
        yield "no damage found"
        return
    yield f"DAMAGE: {len(damage):,} {'place' if len(damage) == 1 else 'places'}"
    for item in damage[:_MOST_DAMAGE]:
        yield f"  {printable(item['what'])}"
    if len(damage) > _MOST_DAMAGE:
        yield f"  and {len(damage) - _MOST_DAMAGE:,} more; --json lists all"
