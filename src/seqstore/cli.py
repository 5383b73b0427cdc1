"""The command ``seqstore``.

Exit status: 0 if all went well, 1 if a claim does not hold or the store failed, 2 if the command cannot be
used as it was given, or a file that it names, 130 after an interrupt, 141 if nobody reads on. ``inspect``
ends with 1 if the drive is damaged, with 2 if it cannot be read as one.
"""

from __future__ import annotations

import argparse
import errno
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import seqstore
from seqstore import (
    AccessError,
    ConfigError,
    InvariantError,
    MediumError,
    NotFoundError,
    SeqstoreError,
    certificate_commands,
    evidence_commands,
    sanitize_commands,
)
from seqstore.command_parts import Parser, hexadecimal
from seqstore.forensics.commands import add_command as add_forensics
from seqstore.report.commands import add_commands

_OK, _FAILED, _UNUSABLE, _INTERRUPTED, _NO_READER = 0, 1, 2, 130, 141
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}

_EPILOG = """\
examples:
  seqstore demo              the story on this Python's standard library
  seqstore demo ~/Documents  the same on your own files, which are only read
  seqstore inspect lab.store/drives/0.img
                             what lies on a drive, and whether it is sound
  seqstore replay zipf:blocks=2^18,writes=2^21,seed=1 \\
      --selection fifo,greedy --html page.html
                             cleaning policies compared, with figures

`seqstore VERB --help` says more.
"""

_DEMO_DESCRIPTION = """\
Stores a directory tree of real files for one tenant and other files for a second one, on one drive in memory.
Deletes the first tenant; shows that its bytes are still on the medium, that nobody can read them by any
address, and that they are gone when the write head has come round once. Ends with a list of claims, each
with its evidence, and a picture of the drive. Files are only read. Nothing is written but the picture.
"""

_DEMO_EPILOG = """\
examples:
  seqstore demo                             this Python's standard library
  seqstore demo ~/Documents --output /tmp   files of your own; the picture is
                                            /tmp/seqstore-demo.png
  seqstore demo --capacity 512MiB --seed 7  a larger drive, other choices
  seqstore demo --quiet --no-picture        figures and claims only

exit status: 0 if every claim holds, 1 if one does not, 2 if the input cannot be used.
"""

_INSPECT_DESCRIPTION = """\
Reads a drive block by block, without the engine and without writing anything: its identity and sizes, the
log and its newest checkpoint, volumes and snapshots, who owns which blocks, what is dead and lies there
still, and what is damaged. Works on drives that were not closed, and as far as possible on broken ones.

The catalog beside the drive is not read. It may know of more than the drive holds, of a later record or of
the end of the store: only opening the store notices what has gone without a trace. Beside a store that is
open and written to, what is read may be of different moments, and look damaged.
"""

_INSPECT_EPILOG = """\
examples:
  seqstore inspect lab.store/drives/0.img
  seqstore inspect /dev/sdx --quick           without reading the data
  seqstore inspect 0.img --json --blocks      everything, for programs

exit status: 0 if the drive is sound, 1 if damage was found, 2 if it cannot be read as a drive.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; None takes those of the process.

    Returns
    -------
    int
        Exit status of the process.
    """
    try:
        return _write_out(_run(argv))
    except SystemExit as end:  # of the parser: help, a version, or words that it does not know
        raise SystemExit(_write_out(int(end.code or 0))) from None


def _run(argv: Sequence[str] | None) -> int:
    parser = _make_parser()
    arguments = parser.parse_args(argv)
    if arguments.verb is None:
        parser.print_help(sys.stderr)
        return _UNUSABLE
    try:
        run: Callable[[argparse.Namespace], int] = arguments.run
        return run(arguments)
    except SeqstoreError as error:
        # What is not there or may not be read was named wrongly, and is no failure of a store.
        failed = "the store failed: " if isinstance(error, InvariantError) else ""
        return _complain(f"{failed}{error}", _UNUSABLE if _is_unusable(error) else _FAILED)
    except MemoryError:
        return _complain(
            "the drive does not fit into memory; give a smaller directory or capacity", _UNUSABLE
        )
    except KeyboardInterrupt:
        return _complain("interrupted", _INTERRUPTED)
    except OSError as error:
        return _explain(error)


def _is_unusable(error: SeqstoreError) -> bool:
    if isinstance(error, MediumError):
        return error.errno in _NOT_THERE
    return isinstance(error, (ConfigError, NotFoundError, AccessError))


def _make_parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = Parser(
        prog="seqstore",
        description="A log-structured block store with isolated tenants and deletion that can be shown.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"seqstore {seqstore.__version__}")
    verbs = parser.add_subparsers(title="verbs", dest="verb", metavar="VERB")
    demo = verbs.add_parser(
        "demo",
        help="store real files for two tenants, delete one, show what is left until nothing is",
        description=_DEMO_DESCRIPTION,
        epilog=_DEMO_EPILOG,
    )
    demo.add_argument(
        "path",
        metavar="PATH",
        nargs="?",
        type=Path,
        help="directory to store (default: the standard library)",
    )
    demo.add_argument(
        "--capacity", metavar="SIZE", help="of the drive (default: about three times the files)"
    )
    demo.add_argument("--seed", type=int, default=0, help="of the random choices (default: 0)")
    demo.add_argument("--quiet", action="store_true", help="figures and claims only")
    picture = demo.add_mutually_exclusive_group()
    picture.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path(),
        help="directory for the picture, seqstore-demo.png (default: the current directory)",
    )
    picture.add_argument("--no-picture", action="store_true", help="draw none")
    demo.set_defaults(run=_demo)
    _add_inspect(verbs)
    add_forensics(verbs)
    add_commands(verbs)
    evidence_commands.add_commands(verbs)
    certificate_commands.add_commands(verbs)
    sanitize_commands.add_commands(verbs)
    return parser


def _add_inspect(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    inspect = verbs.add_parser(
        "inspect",
        help="read what lies on a drive: records, volumes, owners, residue, damage",
        description=_INSPECT_DESCRIPTION,
        epilog=_INSPECT_EPILOG,
    )
    inspect.add_argument("drive", metavar="DRIVE", help="file or block device")
    inspect.add_argument("--json", action="store_true", help="print everything as JSON")
    inspect.add_argument("--blocks", action="store_true", help="list each block that is not free")
    inspect.add_argument("--quick", action="store_true", help="do not read and check the data")
    inspect.add_argument("--block-size", metavar="BYTES", type=int, help="of a drive that does not tell")
    inspect.add_argument("--segment-blocks", metavar="COUNT", type=int, help="of a drive that does not tell")
    inspect.add_argument(
        "--identity",
        metavar="HEX",
        type=hexadecimal,
        help="of the drive, where records of another one lie on the same medium",
    )
    inspect.set_defaults(run=_inspect)


def _demo(arguments: argparse.Namespace) -> int:
    if importlib.util.find_spec("rich") is None:
        return _complain("the command needs the package rich; pip install seqstore[cli]", _UNUSABLE)
    from seqstore.demo.run import DemoOptions, run_demo  # noqa: PLC0415  needs rich

    options = DemoOptions(
        path=arguments.path,
        capacity=arguments.capacity,
        output=None if arguments.no_picture else arguments.output,
        seed=arguments.seed,
        quiet=arguments.quiet,
    )
    return _OK if run_demo(options) else _FAILED


def _inspect(arguments: argparse.Namespace) -> int:
    from seqstore.format import read_image  # noqa: PLC0415  other verbs do without
    from seqstore.inspect import collect, render  # noqa: PLC0415

    if (arguments.block_size is None) != (arguments.segment_blocks is None):
        return _complain("--block-size and --segment-blocks need each other", _UNUSABLE)
    try:
        with read_image(
            arguments.drive,
            block_size=arguments.block_size,
            segment_blocks=arguments.segment_blocks,
            drive=arguments.identity,
        ) as image:
            facts = collect(image, data=not arguments.quick, blocks=arguments.blocks)
    except SeqstoreError as error:
        inside = Path(arguments.drive) / "drives" / "0.img"
        hint = f"; give that of the store, {str(inside)!r}" if _is_there(inside) else ""
        return _complain(f"{error}{hint}", _UNUSABLE)
    if arguments.json:
        print(json.dumps(facts.values, indent=2))
    else:
        print("\n".join(render(facts, arguments.drive)))
    return _OK if facts.sound else _FAILED


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a null character in it
        return False


def _write_out(status: int) -> int:
    """Write what was printed now: the interpreter, at its end, could only complain that it cannot."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # What is still to be written goes nowhere, or the interpreter would try once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return status or _explain(error)
    return status


def _explain(error: OSError) -> int:
    """End as others do in a pipe whose reader has seen enough, such as ``head``, or say what failed."""
    if isinstance(error, BrokenPipeError):
        return _NO_READER
    file = "" if error.filename is None else f"{error.filename!r}: "
    return _complain(f"input or output failed: {file}{error.strerror or error}", _FAILED)


def _complain(what: object, status: int) -> int:
    print(f"seqstore: {what}", file=sys.stderr)
    return status
