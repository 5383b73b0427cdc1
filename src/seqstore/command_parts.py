"""What the commands share: how they are described, files and stores that are named on the command line."""

from __future__ import annotations

import argparse
import getpass
import os
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from seqstore import canonical
from seqstore.audit import AuditLog
from seqstore.catalog import Catalog
from seqstore.errors import AccessError, ConfigError, FormatError, MediumError, NotFoundError
from seqstore.folder import Folder, os_errors
from seqstore.keys import FileKey
from seqstore.sanitize.result import SanitizationOutcome
from seqstore.signing import PublicKey, SigningKey
from seqstore.store import Store
from seqstore.values import from_values

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

OK, FAILED, USAGE = 0, 1, 2

_OR = " | "
_TAKEN = "there is a file {!r} already; give another name"
_UNUSABLE = (NotFoundError, AccessError, FormatError, MediumError)


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Sets paragraphs in the width that there is; indented lines, which are examples, stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        paragraph: list[str] = []
        for line in [*text.splitlines(), ""]:
            is_running = bool(line) and not line[0].isspace() and not line.endswith(":")
            if is_running:
                paragraph.append(line)
                continue
            lines += textwrap.wrap(
                " ".join(paragraph), width, initial_indent=indent, subsequent_indent=indent
            )
            paragraph = []
            lines.append(indent + line)
        return "\n".join(lines).rstrip("\n")

    def _format_usage(self, *arguments: Any) -> str:
        """Break what argparse keeps on one line whatever its length: options that exclude each other."""
        lines = super()._format_usage(*arguments).splitlines()
        return "".join(f"{part}\n" for line in lines for part in self._break_choice(line))

    def _break_choice(self, line: str) -> list[str]:
        room = self._width - self._current_indent
        indent = " " * (len(line) - len(line.lstrip()) + 1)
        parts: list[str] = []
        while len(line) > room and (end := line.rfind(_OR, len(indent) + 1, room)) > 0:
            parts.append(line[: end + 2])
            line = indent + line[end + len(_OR) :]
        return [*parts, line]


class Parser(argparse.ArgumentParser):
    """Parses a command or a verb of it, and says in one line what is wrong with the words it was given.

    Verbs that are added to one are such parsers too.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options.setdefault("formatter_class", HelpFormatter)
        super().__init__(*arguments, **options)

    def parse_known_args(self, *arguments: Any, **options: Any) -> Any:
        """Parse what there is. Words that are left over are told by the verb that got them."""
        known, left = super().parse_known_args(*arguments, **options)
        if left:
            self.error(f"unknown arguments: {' '.join(left)}")
        return known, left

    def error(self, message: str) -> NoReturn:
        """End the process with status 2."""
        self.exit(USAGE, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def count(text: str) -> int:
    """Read a number from 0 on, for the parser."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is given; a whole number is expected") from None
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is given; 0 or more is expected")
    return number


def hexadecimal(text: str) -> int:
    """Read hexadecimal digits, for the parser."""
    try:
        return int(text, 16)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is given; hexadecimal digits are expected") from None


def terminal_width() -> int | None:
    """Return how many characters a line of the terminal has; None where the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def add_group(verbs: Verbs, name: str, words: str, description: str, epilog: str) -> Verbs:
    """Add a verb that has verbs of its own."""
    group = verbs.add_parser(
        name,
        help=words,
        description=description,
        epilog=epilog,
    )
    return group.add_subparsers(title="verbs", dest=f"{name}_verb", metavar="VERB", required=True)


def open_catalog(store: str) -> Catalog:
    """Open the catalog of a store for reading, also while the store is open elsewhere."""
    path = _find_store(store).catalog
    return Catalog.open(path, read_only=True)


def add_root_key(verb: argparse.ArgumentParser) -> None:
    """Describe the option for stores that are encrypted."""
    verb.add_argument(
        "--root-key", metavar="FILE", help="the file of the root key, if the store is encrypted"
    )


def open_store(
    store: str, root_key: str | None, *, actor: str | None = None, read_only: bool = False
) -> Store:
    """Open a store that was named on the command line.

    Raises
    ------
    ConfigError
        If it is none, is in use, or another root key is needed than the one that is given.
    """
    is_encrypted = _find_store(store).keys.exists()
    if is_encrypted and root_key is None:
        raise ConfigError(f"the store {store!r} is encrypted; give the file of its root key as --root-key")
    if root_key is not None and not is_encrypted:
        raise ConfigError(
            f"--root-key is given, and the store {store!r} is not encrypted: it has no file 'keys'"
        )
    try:
        key = None if root_key is None else FileKey(root_key)
        return Store.open(store, key=key, actor=actor, read_only=read_only)
    except (NotFoundError, AccessError) as error:
        raise ConfigError(str(error)) from error


def _find_store(store: str) -> Folder:
    folder = Folder(store)
    with os_errors(f"looking for the store {store!r}"):
        if not folder.path.exists():
            raise ConfigError(f"there is no {store!r}; give the directory of a store")
        if not folder.catalog.exists():
            raise ConfigError(f"{store!r} is no store: it has no catalog.db; give the directory of a store")
    return folder


def add_signing_key(verb: argparse.ArgumentParser) -> None:
    """Describe the options for the key to sign with."""
    verb.add_argument("--key", metavar="PRIVATE", required=True, help="key to sign with, a PEM file")
    verb.add_argument(
        "--passphrase-file",
        metavar="FILE",
        help="its first line is that of the key, if it is encrypted (default: it is asked for)",
    )


def load_signing_key(arguments: argparse.Namespace) -> SigningKey:
    """Read the key to sign with that was named on the command line.

    Raises
    ------
    ConfigError
        If it is none, or is encrypted and nobody says its passphrase.
    """

    def ask() -> bytes:
        if arguments.passphrase_file is not None:
            first, _, _ = read_file(arguments.passphrase_file).partition(b"\n")
            return first.removesuffix(b"\r")
        if not sys.stdin.isatty():
            raise ConfigError(
                f"{arguments.key!r} holds an encrypted key, and nobody can be asked for its passphrase; give"
                " a file whose first line it is as --passphrase-file"
            )
        try:
            return os.fsencode(getpass.getpass(f"Passphrase of {arguments.key}: "))
        except EOFError:
            raise ConfigError(f"no passphrase was typed for {arguments.key!r}") from None

    try:
        return SigningKey.load(arguments.key, ask)
    except _UNUSABLE as error:
        raise ConfigError(str(error)) from error


def load_public_key(path: str) -> PublicKey:
    """Read the key to verify with that was named on the command line."""
    try:
        return PublicKey.load(path)
    except _UNUSABLE as error:
        raise ConfigError(str(error)) from error


def open_audit(catalog: Catalog) -> AuditLog:
    """Return the audit log of a catalog, to be read."""
    return AuditLog(catalog, lambda: 0, "reader")


def read_file(path: str) -> bytes:
    """Return the content of a file that was named on the command line."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {path!r}") from error
    except (OSError, ValueError) as error:  # a null character in it
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path!r} cannot be read: {why}") from error


def read_outcomes(path: str) -> tuple[SanitizationOutcome, ...]:
    """Read what ``seqstore sanitize --outcome`` wrote to a file that was named on the command line."""
    try:
        values = canonical.decode(read_file(path))
        if not isinstance(values, list) or not values:
            raise FormatError("a list of outcomes is expected")
        return tuple(from_values(SanitizationOutcome, value, "the outcome") for value in values)
    except FormatError as error:
        raise ConfigError(
            f"{path!r} holds no outcome of a sanitization: {error}; `seqstore sanitize --outcome` writes one"
        ) from error


def require_new(*paths: str | None) -> None:
    """Refuse output that cannot become a new file, before anything is done for it.

    Raises
    ------
    ConfigError
        If one of them is there already, or two are the same.
    """
    given = [path for path in paths if path is not None]
    for number, path in enumerate(given):
        if path in given[:number]:
            raise ConfigError(f"{path!r} is given for two files; give another name")
        if os.path.lexists(path):
            raise ConfigError(_TAKEN.format(path))


def write_file(path: str | None, content: str | bytes) -> None:
    """Write a new file, or to the standard output."""
    data = content.encode() if isinstance(content, str) else content
    if path is None:
        sys.stdout.buffer.write(data)
        return
    try:
        with Path(path).open("xb") as file:
            file.write(data)
    except FileExistsError as error:
        raise ConfigError(_TAKEN.format(path)) from error
    except OSError as error:
        raise ConfigError(f"{path!r} cannot be written: {error.strerror}") from error


def complain(what: object, where: str = "") -> int:
    """Say what does not hold, of which file, and return the exit status for it."""
    sys.stderr.write(f"seqstore: {where}: {what}\n" if where else f"seqstore: {what}\n")
    return FAILED
