"""Shows the demonstration in a terminal, act by act."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from seqstore.demo.archive import Advance
from seqstore.demo.claims import Claim
from seqstore.demo.files import FileSet
from seqstore.demo.plan import LEAVER, STAYER
from seqstore.demo.story import Story
from seqstore.report import format_bytes, render_terminal

_MAP_ROWS = 6
_WIDEST_MAP = 110
_NARROWEST_MAP = 20
# Where the width is nobody's choice, a file or a pipe, the tables get room for a sentence in a line.
_WIDTH_WITHOUT_TERMINAL = 110


class Screen:
    """Writes to standard output; without colour and bars where that is no terminal.

    Parameters
    ----------
    quiet : bool
        Leaves out everything but the claims and the figures.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False)
        if not self._console.is_terminal:
            self._console = Console(highlight=False, markup=False, emoji=False, width=_WIDTH_WITHOUT_TERMINAL)
        self._quiet = quiet

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Advance]:
        """Show a bar for work on `total` bytes, and hand out what moves it."""
        bar = Progress(
            TextColumn(f"  {what:<44}"),
            BarColumn(bar_width=24),
            DownloadColumn(binary_units=True),
            console=self._console,
            disable=self._quiet or not self._console.is_terminal,
        )
        with bar:
            task = bar.add_task(what, total=total)
            yield lambda count: bar.update(task, advance=count)
            bar.update(task, completed=total)

    def introduce(self, story: Story) -> None:
        """Say what will be stored, and where."""
        drive = story.drive
        table = _plain_table("", "")
        table.add_row(
            "drive",
            f"{format_bytes(drive.capacity)} of memory: {drive.blocks:,} blocks of {drive.block_size} bytes"
            f" in {drive.blocks // drive.segment_blocks} segments",
        )
        table.add_row(LEAVER, _describe(story.plan.leaver))
        table.add_row(STAYER, _describe(story.plan.stayer))
        self._say("Two tenants share a drive, one of them is deleted", table)

    def open_act(self, headline: str) -> None:
        """Say what happens next."""
        self._say(headline)

    def stored(self, story: Story) -> None:
        """Show the drive after the first act."""
        self._map(story, 0)

    def deleted(self, story: Story) -> None:
        """Show what lies on the medium after the deletion."""
        self._map(story, 1)
        table = _plain_table(f"file of {LEAVER}", "its mba", "found at mba", "what lies there")
        for column in table.columns[1:3]:
            column.justify, column.min_width = "right", 12
        found_at = story.steps[0].scan.found_at
        for canary, mba, places in zip(story.wanted.canaries, story.canary_mbas, found_at, strict=True):
            table.add_row(
                _shortened(canary.name),
                f"{mba:,}",
                _places(places, mba),
                _printable(canary.excerpt) or "(no text)",
            )
        self._say("   A raw search of the medium, which knows nothing of ledger or maps, finds them:", table)

    def lapped(self, story: Story) -> None:
        """Show how the residue went, and the drive half-way and at the end."""
        self._map(story, 2)
        self._map(story, 3)
        table = _plain_table(
            "laps", "head at mba", "ledger", "raw search", "named files", "readable", "agree"
        )
        for column in table.columns:
            column.justify = "right"
        size = story.drive.block_size
        for step in story.steps:
            table.add_row(
                f"{step.laps:.3f}",
                f"{step.head:,}",
                f"{step.ledger_blocks * size:,}",
                f"{step.raw_blocks * size:,}",
                f"{step.scan.canaries_found} of {len(step.scan.found_at)}",
                f"{step.probe.leaked * size:,}",
                "yes" if step.agrees else Text("NO", "bold red"),
            )
        self._say(f"   {LEAVER}'s bytes on the medium, and how many of them any tenant can read", table)
        if story.wanted.ambiguous_blocks:
            self._say(
                f"   The raw search leaves out {story.wanted.ambiguous_blocks:,} of {LEAVER}'s blocks: zeros,"
                f" and what {STAYER} stored as well."
            )

    def conclude(self, story: Story, claims: Sequence[Claim]) -> None:
        """Show figures and claims."""
        self._console.print()
        self._console.print(_figures(story))
        self._console.print()
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
        for claim in claims:
            mark = Text("holds", "bold green") if claim.holds else Text("FAILS", "bold red")
            table.add_row(
                mark, Text.assemble((claim.text, "bold"), "\n", (_printable(claim.evidence), "dim"))
            )
        self._console.print(table)
        failed = sum(not claim.holds for claim in claims)
        verdict = (
            f"{failed} of {len(claims)} claims do not hold" if failed else f"All {len(claims)} claims hold"
        )
        self._console.print(Text(f"\n{verdict}.", "bold red" if failed else "bold green"))

    def pictured(self, path: Path) -> None:
        """Say where the picture is."""
        self._console.print(Text(f"Picture of the drive: {_printable(str(path))}"), soft_wrap=True)

    def not_pictured(self, reason: str) -> None:
        """Say why there is no picture."""
        self._console.print(Text(f"No picture: {reason}"), soft_wrap=True)

    def _say(self, line: str, table: Table | None = None) -> None:
        if self._quiet:
            return
        self._console.print(Text(f"\n{line}", "" if line.startswith(" ") else "bold"))
        if table is not None:
            self._console.print(table)

    def _map(self, story: Story, number: int) -> None:
        if self._quiet:
            return
        title, drive_map = story.maps[number]
        width = max(min(self._console.width - 2, _WIDEST_MAP), _NARROWEST_MAP)
        self._console.print(Text(f"\n{title}", "italic"))
        self._console.print(render_terminal(drive_map, width, _MAP_ROWS, residue_of=story.leaver.number))


def _figures(story: Story) -> Table:
    """Make the table of sizes, speeds and the log's own counters."""
    drive, seconds = story.drive, story.seconds
    archives = (story.leaver_archive, story.stayer_archive)
    content = sum(archive.size for archive in archives)
    lap = story.after - story.before
    table = _plain_table("", "")
    table.add_row("files", f"{sum(len(archive.digests) for archive in archives):,}, {format_bytes(content)}")
    skipped = story.plan.leaver.skipped + sum(archive.vanished for archive in archives)
    if skipped:
        table.add_row("left out", f"{skipped:,} links, special files, and files that could not be read")
    speeds = {
        "stored": (content, seconds["store"], "reading, checksumming and tar included"),
        "read back": (content, seconds["verify"], "checksumming and tar included"),
        "overwritten": (lap.user_blocks * drive.block_size, seconds["overwrite"], "at random, 1 MiB a call"),
    }
    for name, (size, duration, how) in speeds.items():
        table.add_row(name, f"{format_bytes(size)} at {format_bytes(int(size / duration))}/s ({how})")
    table.add_row("deleted", f"in {seconds['delete'] * 1000:.2f} ms, by changing the map alone")
    table.add_row(
        "device blocks",
        f"{story.after.device_blocks:,}: {story.after.user_blocks:,} of tenants,"
        f" {story.after.relocated_blocks:,} moved by the cleaner, {story.after.summary_blocks:,} summaries",
    )
    table.add_row("laps", f"{story.after.laps:.3f} in all, {lap.laps:.3f} since the deletion")
    table.add_row("write amplification", f"{lap.write_amplification:.4f} since the deletion")
    return table


def _plain_table(*headers: str) -> Table:
    table = Table(
        box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim", show_header=any(headers)
    )
    for header in headers:
        table.add_column(header, no_wrap=any(headers), overflow="ellipsis")
    return table


def _describe(files: FileSet) -> str:
    return f"{len(files.files):,} files, {format_bytes(files.size)}: {_printable(files.description)}"


def _printable(text: str) -> str:
    """Replace what a terminal would obey or refuse: control characters and lone surrogates."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _places(found: Sequence[int], expected: int) -> str:
    """Name the place that was expected, if it was found, and count the others."""
    if not found:
        return "nowhere"
    named = expected if expected in found else found[0]
    return f"{named:,}" + (f" and {len(found) - 1} more" if len(found) > 1 else "")


def _shortened(name: str, limit: int = 40) -> str:
    """Keep the end of a long path, which says most."""
    return _printable(name if len(name) <= limit else "..." + name[3 - limit :])
