"""What the commands share that read and write signed documents: groups of verbs, files, the audit log."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TypeAlias

from seqstore.audit import AuditLog
from seqstore.catalog import Catalog
from seqstore.errors import ConfigError
from seqstore.folder import Folder, os_errors

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

OK, FAILED = 0, 1


def add_group(verbs: Verbs, name: str, words: str, description: str, epilog: str) -> Verbs:
    """Add a verb that has verbs of its own."""
    group = verbs.add_parser(
        name,
        help=words,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return group.add_subparsers(title="verbs", dest=f"{name}_verb", metavar="VERB", required=True)


def open_catalog(store: str) -> Catalog:
    """Open the catalog of a store for reading, also while the store is open elsewhere."""
    path = Folder(store).catalog
    if not path.exists():
        raise ConfigError(f"{store!r} is no store: it has no catalog.db")
    return Catalog.open(path, read_only=True)


def open_audit(catalog: Catalog) -> AuditLog:
    """Return the audit log of a catalog, to be read."""
    return AuditLog(catalog, lambda: 0, "reader")


def read_file(path: str) -> bytes:
    """Return the content of a file that was named on the command line."""
    try:
        with os_errors(f"reading {path!r}"):
            return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(str(error)) from error


def write_file(path: str | None, content: str | bytes) -> None:
    """Write a new file, or to the standard output."""
    data = content.encode() if isinstance(content, str) else content
    if path is None:
        sys.stdout.buffer.write(data)
        return
    try:
        with Path(path).open("xb") as file:
            file.write(data)
    except OSError as error:
        raise ConfigError(f"{path!r} cannot be written: {error.strerror}") from error


def complain(what: object, where: str = "") -> int:
    """Say what does not hold, of which file, and return the exit status for it."""
    sys.stderr.write(f"seqstore: {where}: {what}\n" if where else f"seqstore: {what}\n")
    return FAILED
