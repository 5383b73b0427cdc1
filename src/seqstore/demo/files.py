"""Which real files the demonstration stores: a directory tree for one tenant, other files for the other."""

from __future__ import annotations

import os
import stat
import sys
import sysconfig
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqstore import ConfigError

_GIVE_OTHER = "give the path of a directory with files in it"
_CACHES = frozenset({"__pycache__"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A regular file, and what it is called in the archive.

    Attributes
    ----------
    name : str
        Relative to the parent of the tree that was asked for, with ``/`` between the parts.
    path : Path
        Where the file is.
    size : int
        Bytes when the tree was read.
    mtime : int
        Time of the last change, in seconds.
    """

    name: str
    path: Path
    size: int
    mtime: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSet:
    """The files of one tenant.

    Attributes
    ----------
    description : str
        Where they come from, for people.
    files : tuple of SourceFile
        In the order in which they are stored.
    skipped : int
        Entries left out: unreadable ones, and what is neither a file nor a directory.
    """

    description: str
    files: tuple[SourceFile, ...]
    skipped: int

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


NEEDED = (
    "nothing of these files could be told from other bytes on the drive; give the path of a directory with at"
    " least one file of 32 bytes or more, not all of them equal, that is not a copy of one of this Python's"
)


def read_tree(path: Path | None, limit: int) -> FileSet:
    """List the regular files below a directory, in order of their names.

    Parameters
    ----------
    path : Path or None
        The directory; None takes the standard library of the running Python, without the packages
        installed beside it. Directories named ``__pycache__`` are left out, links are not followed.
    limit : int
        Bytes that all files may have together.

    Raises
    ------
    ConfigError
        There is no such directory, it holds no bytes that can be read, or more than `limit`.
    """
    root = Path(sysconfig.get_path("stdlib") if path is None else path).resolve()
    if not root.is_dir():
        found = "is not a directory" if root.exists() else "does not exist"
        raise ConfigError(f"{path} {found}; {_GIVE_OTHER}")
    files: list[SourceFile] = []
    size = skipped = 0
    for file in _walk(root, _CACHES if path else _CACHES | _INSTALLED):
        if file is None:
            skipped += 1
            continue
        files.append(file)
        size += file.size
        if size > limit:
            raise ConfigError(
                f"{root} holds more than {limit:,} bytes, and a drive for that would not fit into this"
                " machine's memory; give a smaller directory"
            )
    if size == 0:
        raise ConfigError(
            f"{root} holds nothing to store ({len(files)} empty files, {skipped} entries that cannot be"
            f" read); {_GIVE_OTHER}"
        )
    what = str(root) if path else f"{root} (the standard library of this Python)"
    return FileSet(description=what, files=tuple(files), skipped=skipped)


def pick_neighbours(taken: FileSet, budget: int) -> FileSet:
    """Pick other real files, which every machine that runs this has: Python, and the packages beside it.

    Parameters
    ----------
    taken : FileSet
        Files that belong to somebody else already.
    budget : int
        Bytes that the archive of the picked files may take at most.

    Raises
    ------
    ConfigError
        All of those files are taken, or none fits into the budget.
    """
    theirs = {file.path for file in taken.files}
    enough_left = budget // 100
    picked: list[SourceFile] = []
    origins: list[str] = []
    skipped = 0
    for root in _neighbour_roots():
        before = len(picked)
        for file in _walk(root, _CACHES | _INSTALLED):
            if file is None:
                skipped += 1
            elif file.path not in theirs and _room_in_archive(file) <= budget:
                picked.append(file)
                budget -= _room_in_archive(file)
            if budget < enough_left:
                break
        if len(picked) > before:
            origins.append(root.name)
    if not picked:
        raise ConfigError(
            "nothing is left for the second tenant, which gets files of this Python and its packages: the"
            " first has all of them, or they do not fit; give a directory without them, or a larger capacity"
        )
    description = f"other files of this Python: {', '.join(origins)}"
    return FileSet(description=description, files=tuple(picked), skipped=skipped)


def _neighbour_roots() -> Iterator[Path]:
    if sys.executable:  # unknown where Python is embedded in another program
        yield Path(sys.executable).resolve()
    yield Path(np.__file__).resolve().parents[1]  # the packages installed beside numpy, and numpy itself
    yield Path(sysconfig.get_path("stdlib")).resolve()


def _room_in_archive(file: SourceFile) -> int:
    """Bound the bytes that a file takes in a tar: header, a long name's two records, content, padding."""
    return 4 * 512 + len(os.fsencode(file.name)) + file.size


def _walk(root: Path, without: Container[str]) -> Iterator[SourceFile | None]:
    """Yield the regular files below a root (or the root, if it is one), and None for what is left out."""
    if root.is_file():
        yield _look_at(root, root.parent)
        return
    unreadable: list[OSError] = []
    for folder, folders, names in os.walk(root, onerror=unreadable.append):
        folders[:] = sorted(name for name in folders if name not in without)
        for name in sorted(names):
            yield _look_at(Path(folder, name), root.parent)
    for _ in unreadable:
        yield None


def _look_at(path: Path, base: Path) -> SourceFile | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode) or not os.access(path, os.R_OK):
        return None
    name = path.relative_to(base).as_posix()
    return SourceFile(name=name, path=path, size=status.st_size, mtime=int(status.st_mtime))
