"""The command ``seqstore sanitize``: overwrites whole drives and says what became of them."""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import stat
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import seqstore
from seqstore import canonical
from seqstore.clock import SystemClock
from seqstore.command_parts import Verbs, count, read_outcomes
from seqstore.errors import ConfigError, MediumError, SeqstoreError
from seqstore.sanitize import (
    Effort,
    Fault,
    Journal,
    Method,
    Options,
    Sanitization,
    SanitizationOutcome,
    Technique,
)
from seqstore.sanitize.batch import draw_lots, sanitize_many
from seqstore.sanitize.devices import DeviceTarget
from seqstore.sanitize.key_file import KeyFile
from seqstore.sanitize.technique import SEED_BYTES
from seqstore.units import format_size, parse_size
from seqstore.values import to_values

if TYPE_CHECKING:
    from seqstore.sanitize_screen import Screen

_OK, _FAILED, _CANCELLED = 0, 1, 130

_DESCRIPTION = """\
Overwrites every block of drives, files or block devices, from the first to the last, and reads them back past
the system's cache. What lay there is gone for good. Asks for the serial number first.

The serial number of a block device is the one that the system knows; of the file of a seqstore drive the
identity of the drive, 16 hexadecimal digits; of any other file its name. Drives that are mounted, attached to
a loop device, or in the directory of a store are refused.

A journal beside the drive says how far it has come: the same command after a crash or a power cut goes on
where it was. It is removed in the end.
"""

_EPILOG = """\
techniques, which are combined with '+':
  zero, ones, pattern:HEX  one pass
  random                   one pass of a stream whose seed the outcome names
  three_pass               zeros, ones, random
  cryptographic            destroys the keys of a drive that was encrypted;
                           needs --keys

examples:
  seqstore sanitize old-drive.img
  seqstore sanitize /dev/sdx --rate 100MiB --verification sampling
  seqstore sanitize /dev/sdx /dev/sdy --yes-destroy-all-data ZA1234 \\
      --yes-destroy-all-data ZA1235
  seqstore sanitize old-drive.img --technique pattern:AA55+zero \\
      --outcome outcome.json

exit status: 0 if all drives are sanitized, 1 if one is not, 2 if the command cannot be used as it was given,
130 if it was interrupted; it can then be taken up again.
"""


def add_commands(verbs: Verbs) -> None:
    """Describe the command to the parser."""
    command = verbs.add_parser(
        "sanitize",
        help="overwrite whole drives, and look whether that was done",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    command.add_argument("paths", metavar="PATH", nargs="+", help="file or block device")
    command.add_argument(
        "--yes-destroy-all-data",
        metavar="SERIAL",
        action="append",
        default=[],
        dest="serials",
        help="of a drive, instead of being asked for it",
    )
    command.add_argument("--technique", default="zero", help="what is written (default: zero)")
    command.add_argument(
        "--verification",
        choices=("full", "sampling", "none"),
        default="full",
        help="what is read back (default: full)",
    )
    command.add_argument("--count-all", action="store_true", help="do not stop at the first mismatch")
    command.add_argument(
        "--second-verifier",
        action="append_const",
        const=1.0,
        dest="shares",
        help="read all of it a second time, by other code",
    )
    command.add_argument(
        "--second-verifier-share",
        metavar="SHARE",
        action="append",
        type=_share,
        dest="shares",
        help="the same for some of the drives, such as 20%%, at least one; lots are drawn",
    )
    command.add_argument(
        "--keys", metavar="FILE", help="the file 'keys' of the store whose drive it was: for 'cryptographic'"
    )
    command.add_argument("--rate", metavar="SIZE", help="bytes a second at most, of each drive")
    command.add_argument(
        "--retries", type=count, default=2, metavar="N", help="further attempts at bad blocks (default: 2)"
    )
    command.add_argument(
        "--journals",
        metavar="DIR",
        type=Path,
        help="where the journals are kept (default: beside a file; for a device the current directory)",
    )
    command.add_argument(
        "--checkpoint",
        metavar="SIZE",
        help="sync, and tell the journal, after so much (default: 1GiB, or 10 s): what a crash costs",
    )
    command.add_argument(
        "--at-once", type=count, default=0, metavar="N", help="drives at a time (default: all)"
    )
    command.add_argument(
        "--outcome", metavar="FILE", type=Path, help="write what was found, as JSON, to a new file"
    )
    command.add_argument("--quiet", action="store_true", help="no progress")
    command.set_defaults(run=_run)


# ---- arguments -------------------------------------------------------------------------------------


def _share(text: str) -> float:
    """Read a share such as ``20%`` or ``0.2``."""
    number = text.removesuffix("%")
    try:
        share = float(number) / (1 if number == text else 100)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share: 20% or 0.2, for instance, is expected")
    return share


def parse_technique(text: str) -> Technique:
    """Read a technique such as ``"pattern:AA55+zero"``; random steps get fresh seeds.

    Raises
    ------
    ConfigError
        If it is none.
    """
    parts = [_parse_one(part.strip()) for part in text.split("+")]
    whole = parts[0]
    for part in parts[1:]:
        whole += part
    return whole


def _parse_one(text: str) -> Technique:
    name, _, detail = text.partition(":")
    if name == "pattern":
        try:
            return Technique.pattern(bytes.fromhex(detail))
        except ValueError:
            raise ConfigError(f"the pattern is {detail!r}; hexadecimal digits are expected") from None
    simple = {
        "zero": Technique.zero,
        "ones": Technique.ones,
        "cryptographic": Technique.cryptographic,
    }
    seeded = {"random": Technique.random, "three_pass": Technique.three_pass}
    if detail or name not in simple | seeded:
        raise ConfigError(
            f"the technique is {text!r}; one of zero, ones, pattern:HEX, random, three_pass, cryptographic is"
            " expected, or several with '+' between them"
        )
    return simple[name]() if name in simple else seeded[name](os.urandom(SEED_BYTES))


def _journal(path: str, folder: Path | None) -> Journal:
    is_device = stat.S_ISBLK(Path(path).stat().st_mode)
    beside = Path() if is_device else Path(path).resolve().parent
    return Journal((folder or beside) / f"{Path(path).name}.sanitize")


class _Drive:
    """A drive that was named on the command line."""

    def __init__(self, path: str, arguments: argparse.Namespace) -> None:
        self.path = path
        if not Path(path).exists():
            raise ConfigError(f"{path!r} is not there; a file or block device is expected")
        self.journal = _journal(path, arguments.journals)
        self.position = self.journal.read()
        known = self.position.identity if self.position else None
        try:
            keys = KeyFile(arguments.keys) if arguments.keys else None
            self.target = DeviceTarget(path, known=known, keys=keys)
        except MediumError as error:  # in use, or nothing that can be written to
            raise ConfigError(str(error)) from error
        self.identity = self.target.identify()

    def is_confirmed(self, serials: Sequence[str]) -> bool:
        """Whether the person at the other end means this drive."""
        serial = self.identity.serial
        if serials:
            return serial in serials
        if not sys.stdin.isatty():
            raise ConfigError(f"nobody can be asked; give --yes-destroy-all-data {serial}")
        name = " ".join(filter(None, [self.identity.vendor, self.identity.model, self.identity.media_type]))
        sys.stdout.write(
            f"{self.path}: {name}, {format_size(self.identity.capacity)}, serial number {serial}\n"
            "ALL DATA ON IT WILL BE DESTROYED. Type the serial number to go on: "
        )
        sys.stdout.flush()
        return sys.stdin.readline().strip() == serial


class _OutcomeFile:
    """Where what was found is written to.

    A file that is there already is kept, unless a pass that was interrupted goes on: what it told of that is
    replaced, and what it tells of other drives, which may be the only account of them, stays in it.
    """

    def __init__(self, path: Path, drives: Sequence[_Drive]) -> None:
        self._is_replaced = path.is_file() or not path.exists()  # a pipe is only written to
        self._path = path.resolve() if self._is_replaced else path
        self._kept: list[SanitizationOutcome] = []
        if self._path in {drive.journal.path.resolve() for drive in drives}:
            raise ConfigError(f"--outcome is {str(path)!r}, where the journal is kept; give another name")
        if path.is_file():
            if all(drive.position is None for drive in drives):
                raise ConfigError(
                    f"there is a file {str(path)!r} already, and no pass that was interrupted goes on; give"
                    " another name as --outcome, or move that file away"
                )
            again = {drive.identity.serial for drive in drives}
            self._kept = [
                outcome
                for outcome in read_outcomes(str(path))
                if outcome.before is None or outcome.before.serial not in again
            ]
        try:  # not when everything is overwritten
            self._beside.open("ab").close()
            if self._is_replaced:  # what is refused leaves none behind
                self._beside.unlink()
        except OSError as error:
            raise ConfigError(f"{str(path)!r} cannot be written: {error.strerror}") from error

    @property
    def _beside(self) -> Path:
        return self._path.with_name(self._path.name + ".new") if self._is_replaced else self._path

    def write(self, outcomes: Sequence[SanitizationOutcome]) -> None:
        values = [to_values(outcome) for outcome in (*self._kept, *outcomes)]
        if not values:
            return
        self._beside.write_bytes(canonical.encode(values) + b"\n")
        if self._is_replaced:
            self._beside.replace(self._path)


# ---- the command -----------------------------------------------------------------------------------


def _run(arguments: argparse.Namespace) -> int:
    if importlib.util.find_spec("rich") is None:
        raise ConfigError("the command needs the package rich; pip install seqstore[cli]")
    from seqstore.sanitize_screen import Screen  # noqa: PLC0415  needs rich

    technique = parse_technique(arguments.technique)
    options = Options(
        effort=_effort(arguments),
        verification=arguments.verification,
        stop_at_first=not arguments.count_all,
    )
    _require_sense(arguments, technique)
    drives = [_Drive(path, arguments) for path in arguments.paths]
    file = None if arguments.outcome is None else _OutcomeFile(arguments.outcome, drives)
    for drive in drives:
        if not drive.is_confirmed(arguments.serials):
            raise ConfigError(
                f"{drive.path!r} has the serial number {drive.identity.serial!r}, which was not given;"
                " nothing was written to any drive"
            )
    stop = threading.Event()
    share = max(arguments.shares or [0])
    twice = draw_lots(len(drives), share, os.urandom(SEED_BYTES)) if share else frozenset()
    with _interrupts(stop), Screen(quiet=arguments.quiet) as screen:
        batch = sanitize_many(
            [
                _sanitization(drive, technique, replace(options, second_verifier=n in twice), screen, stop)
                for n, drive in enumerate(drives)
            ],
            at_once=arguments.at_once,
        )
    return _tell(drives, batch.outcomes, file, screen)


def _effort(arguments: argparse.Namespace) -> Effort:
    given: dict[str, int] = {"retries": arguments.retries}
    if arguments.rate:
        given["rate"] = parse_size(arguments.rate, "--rate")
    if arguments.checkpoint:
        given["checkpoint_bytes"] = parse_size(arguments.checkpoint, "--checkpoint")
    return Effort(**given)


def _require_sense(arguments: argparse.Namespace, technique: Technique) -> None:
    """Refuse what cannot be meant, before anything is looked at."""
    if arguments.keys and len(arguments.paths) > 1:
        raise ConfigError("--keys are those of one drive; give one path")
    uses_keys = any(step.method is Method.CRYPTOGRAPHIC for step in technique.steps)
    if bool(arguments.keys) != uses_keys:
        raise ConfigError(
            "--keys is given, and the technique destroys none; add 'cryptographic' to --technique"
            if arguments.keys
            else "the technique 'cryptographic' destroys the keys of a drive; give their file as --keys"
        )
    if arguments.keys and not Path(arguments.keys).is_file():
        raise ConfigError(f"--keys is {arguments.keys!r}; the file 'keys' of the store is expected")
    if arguments.journals is not None and not arguments.journals.is_dir():
        raise ConfigError(f"--journals is {str(arguments.journals)!r}; a directory that is there is expected")
    twice = [path for path in arguments.paths if arguments.paths.count(path) > 1]
    if twice:
        raise ConfigError(f"{twice[0]!r} is named twice; name each drive once")


def _sanitization(
    drive: _Drive, technique: Technique, options: Options, screen: Screen, stop: threading.Event
) -> Sanitization:
    if drive.position is not None:
        if _names(drive.position.technique) != _names(technique):
            raise ConfigError(
                f"{drive.path!r} was begun with {drive.position.technique.name!r}; go on with that, or remove"
                f" {str(drive.journal.path)!r} and begin anew"
            )
        technique = drive.position.technique  # with its seeds
    return Sanitization(
        drive.target,
        technique,
        clock=SystemClock(),
        seed=os.urandom(SEED_BYTES),
        version=seqstore.__version__,
        journal=drive.journal,
        expect=drive.identity,
        options=options,
        report=screen.drive(drive.path),
        is_cancelled=stop.is_set,
    )


def _names(technique: Technique) -> list[tuple[str, bytes]]:
    return [(step.method.value, step.pattern) for step in technique.steps]


@contextmanager
def _interrupts(stop: threading.Event) -> Iterator[None]:
    """Let an interrupt end the passes where they can be taken up again."""

    def cancel(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _tell(
    drives: Sequence[_Drive],
    outcomes: Sequence[SanitizationOutcome | Exception],
    file: _OutcomeFile | None,
    screen: Screen,
) -> int:
    pairs = list(zip(drives, outcomes, strict=True))
    for drive, outcome in pairs:
        if isinstance(outcome, Exception) and not isinstance(outcome, SeqstoreError | OSError):
            raise outcome
        screen.tell(drive.path, drive.identity.serial, outcome)
    if len(pairs) > 1:
        screen.summary([(drive.path, outcome) for drive, outcome in pairs])
    if file is not None:
        file.write([outcome for outcome in outcomes if not isinstance(outcome, Exception)])
    if all(not isinstance(outcome, Exception) and outcome.succeeded for outcome in outcomes):
        return _OK
    left = [
        drive.path
        for drive, outcome in pairs
        if not isinstance(outcome, Exception) and outcome.found(Fault.CANCELLED)
    ]
    if not left:
        return _FAILED
    named = "" if len(left) == len(pairs) else f", with {' '.join(left)} alone,"
    sys.stderr.write(f"seqstore: interrupted; the same command{named} goes on where it was\n")
    return _CANCELLED
