"""The command ``seqstore forensics``."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from seqstore import ConfigError
from seqstore.command_parts import add_root_key, open_store
from seqstore.forensics.located import locate
from seqstore.forensics.report import Report
from seqstore.forensics.search import search
from seqstore.forensics.text import render
from seqstore.units import parse_size

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_OK, _FOUND, _INCOMPLETE = 0, 1, 2

_DESCRIPTION = """\
Reads a drive, a disk or any other file from its first byte to its last, and looks for fragments of the given
files: at any alignment, without their header, in what is live and in what was deleted. Neither store nor
catalog is needed, and nothing is written.

With --store the ledger of that store says whose block each fragment lies in, and whether it is live, dead or
moved. The store must not be open elsewhere for writing.
"""

_EPILOG = """\
examples:
  seqstore forensics lab.store/drives/0.img --pattern report.pdf photo.jpg
  seqstore forensics --store lab.store --pattern report.pdf
                                             whose blocks they are in
  seqstore forensics /dev/sdx --pattern report.pdf --json --minimum 512
  seqstore forensics 0.img --expect-none --pattern report.pdf
                                             for scripts

exit status: 0 if everything was searched, 1 if anything was found with --expect-none, 2 if something could
not be read or looked for.
"""


def add_command(verbs: Verbs) -> None:
    """Describe the command to the parser; it sets ``run``, which takes the arguments."""
    parser = verbs.add_parser(
        "forensics",
        help="look for fragments of files on a raw drive, whatever its ledger says",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument(
        "drive", metavar="DRIVE", nargs="?", help="file or block device (default: that of the store)"
    )
    parser.add_argument("--pattern", metavar="FILE", nargs="+", required=True, help="what is looked for")
    parser.add_argument("--store", metavar="PATH", help="say by its ledger whose the blocks are")
    add_root_key(parser)
    parser.add_argument(
        "--minimum",
        metavar="BYTES",
        default="96",
        help="of a fragment (default: 96); more leaves out what different files have in common",
    )
    parser.add_argument("--expect-none", action="store_true", help="end with status 1 if anything is found")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=_forensics)


def _forensics(arguments: argparse.Namespace) -> int:
    if arguments.drive is None and arguments.store is None:
        raise ConfigError("name the drive that is to be searched, before --pattern, or a store")
    # A device or another copy of the drive may be what is searched, so the path is not taken from the store.
    drive = arguments.drive or Path(arguments.store) / "drives" / "0.img"
    minimum = parse_size(arguments.minimum, "--minimum")
    if arguments.root_key is not None and arguments.store is None:
        raise ConfigError("--root-key is for the store that its ledger is taken from; give it as --store")
    is_shown = not arguments.quiet and not arguments.json
    if arguments.store is None:
        with _bar(is_shown) as progress:
            report = search(drive, arguments.pattern, minimum=minimum, progress=progress)
        located = None
    else:
        with open_store(arguments.store, arguments.root_key, read_only=True) as store:
            with _bar(is_shown) as progress:
                report = search(drive, arguments.pattern, minimum=minimum, progress=progress)
            located = locate(report, store)
    if arguments.json:
        values = report.values()
        for file, more in zip(values["files"], located or (), strict=False):
            file.update(more.values())
        sys.stdout.write(json.dumps(values, indent=2) + "\n")
    else:
        sys.stdout.writelines(line + "\n" for line in render(report, located))
    return _status(report, expect_none=arguments.expect_none)


def _status(report: Report, *, expect_none: bool) -> int:
    if report.found and expect_none:
        return _FOUND
    return _OK if report.complete else _INCOMPLETE


@contextmanager
def _bar(is_shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show how far the search has come, how fast it is and what is left, on a terminal that can show it."""
    if not is_shown or not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        yield None
        return
    from rich.console import Console  # noqa: PLC0415  of the extra cli
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        BarColumn(bar_width=24),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")
        yield lambda done, total: bar.update(task, completed=done, total=total)
