"""The power of all that an encrypted store writes to: drives, key area, file of nodes and catalog.

Each write, sync, renaming and transaction is a step, and the power may go in any of them. What no completed
sync covers is then kept, lost or torn: blocks of the drives as `FaultyDrive` does it, the key area sector by
sector, the file of nodes as a whole or at any byte. SQLite is believed: what it committed is there, and
nothing else is. What the process does to its files after that is undone before they are opened again.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from seqstore import MediumError
from seqstore.database import Database
from seqstore.keys import area, keychain, nodes
from seqstore.keys.area import FileStorage
from seqstore.keys.nodes import NodesFile
from seqstore.keys.root import new_table
from seqstore.media.faults import FaultyDrive
from seqstore.media.faults.plan import SECTOR_BYTES
from seqstore.sanitize import key_file

if TYPE_CHECKING:
    from seqstore.keys.nodes import Section

NEVER = 1 << 62
SLOTS = 48  # of key areas: reading one takes as long as it has slots
_CHANGES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "DROP", "WITH")


class Power:
    """Counts the steps of a store, and goes in the one that it is told to go in.

    Parameters
    ----------
    folder : Path
        Where the files lie: key area, nodes and catalog.
    seed : int or str
        For what becomes of what is not safe.
    """

    def __init__(self, folder: Path, seed: int | str) -> None:
        self.folder = folder
        self.random = Random(seed)
        self.off = False
        self.steps: list[str] = []
        self.drives: dict[int, PoweredDrive] = {}
        self.storages: list[PoweredStorage] = []
        self.left: dict[str, bytes] = {}  # of the files, by a cut
        self._goes_at = NEVER

    def cut_in(self, step: int) -> None:
        """Let the power go in a step to come, counted from 1."""
        self.steps, self._goes_at = [], step

    def goes(self, what: str) -> bool:
        """Take note of a step; tell whether the power goes in it. Without power nothing is done."""
        if self.off:
            raise OSError(errno.EIO, "the power is cut")
        self.steps.append(what)
        return len(self.steps) == self._goes_at

    def cut(self, files: dict[str, bytes | None] | None = None) -> OSError:
        """Decide what is left of everything, and return what the step raises.

        Parameters
        ----------
        files : dict, optional
            What is left of files, by name, where it is decided already. None: nothing.
        """
        self.off, self._goes_at = True, NEVER
        for drive in self.drives.values():
            if not drive.off:
                drive.power_cut()
        found: dict[str, bytes | None] = {
            path.name: path.read_bytes() for path in self.folder.iterdir() if path.is_file()
        }
        found.update({storage.name: storage.torn(self.random) for storage in self.storages})
        found.update(files or {})
        self.left = {name: data for name, data in found.items() if data is not None and "-shm" not in name}
        return OSError(errno.EIO, "the power was cut")

    def come_back(self) -> None:
        """Let the files be what the cut left of them, and give the drives power."""
        for path in [path for path in self.folder.iterdir() if path.is_file()]:
            path.unlink()
        for name, data in self.left.items():
            (self.folder / name).write_bytes(data)
            (self.folder / name).chmod(0o600)
        for drive in self.drives.values():
            drive.reboot()
        self.storages, self.off, self._goes_at = [], False, NEVER


class PoweredDrive(FaultyDrive):
    """A drive whose writes and syncs are steps."""

    power: Power

    def append(self, mba: int, data: bytes | memoryview) -> None:
        """Write blocks; the last ones, if the power goes now."""
        if not self.power.goes("append"):
            super().append(mba, data)
            return
        self.cut_after(self.writes + 1)
        try:
            super().append(mba, data)
        finally:
            self.power.cut()

    def sync(self) -> None:
        """Make everything safe, unless the power goes now."""
        if self.power.goes("sync"):
            raise self.power.cut()
        super().sync()


class PoweredStorage(FileStorage):
    """A key area whose writes and syncs are steps."""

    power: Power

    def __init__(self, path: Any, **options: Any) -> None:
        super().__init__(path, **options)
        self.name = Path(path).name
        self._safe = bytes(super().read(0, self.size))
        self.power.storages.append(self)

    def write(self, offset: int, data: bytes | bytearray) -> None:
        """Write bytes; some of them, if the power goes now."""
        goes = self.power.goes("write of keys")
        super().write(offset, data)
        if goes:
            raise self.power.cut()

    def sync(self) -> None:
        """Make everything safe, unless the power goes now."""
        if self.power.goes("sync of keys"):
            raise self.power.cut()
        self._safe = bytes(super().read(0, self.size))

    def close(self) -> None:
        """Close it; what was written and not synced is as good as lost."""
        if self in self.power.storages:
            self.power.storages.remove(self)
        super().close()

    def torn(self, random: Random) -> bytes:
        """Return what a cut leaves: of each sector what is safe, or what was written."""
        now, image = bytes(super().read(0, self.size)), bytearray(self._safe)
        for at in range(0, len(now), SECTOR_BYTES):
            if random.randrange(2):
                image[at : at + SECTOR_BYTES] = now[at : at + SECTOR_BYTES]
        return bytes(image)


@contextmanager
def powered(power: Power) -> Iterator[None]:
    """Let all files of stores that are made or opened in a block hang on a power."""
    with pytest.MonkeyPatch.context() as patch:
        storage = type("Storage", (PoweredStorage,), {"power": power})
        patch.setattr(area, "FileStorage", storage)
        patch.setattr(key_file, "FileStorage", storage)
        patch.setattr(keychain, "new_table", lambda provider, entropy, _: new_table(provider, entropy, SLOTS))
        _patch_nodes(patch, power)
        _patch_catalog(patch, power)
        yield


def _patch_nodes(patch: pytest.MonkeyPatch, power: Power) -> None:
    fill, replace = NodesFile._fill, Path.replace
    before: dict[str, bytes | None] = {}

    def fill_it(self: NodesFile, part: Path, *rest: Any) -> list[Section]:
        goes = power.goes("nodes, filled")
        placed = fill(self, part, *rest)
        if goes:
            data = part.read_bytes()
            raise power.cut(
                {part.name: power.random.choice([None, data[: power.random.randrange(len(data))]])}
            )
        return placed

    def replace_it(self: Path, target: Path) -> Path:
        if self.suffixes[-2:] != [".nodes", ".new"]:
            return replace(self, target)
        if power.goes("nodes, renamed"):
            raise power.cut({self.name: power.random.choice([None, self.read_bytes()])})
        old = target.read_bytes() if target.exists() else None
        before.update({target.name: old, self.name: self.read_bytes()})
        return replace(self, target)

    def sync_it(_: Path) -> None:
        if power.goes("nodes, made safe"):
            raise power.cut(power.random.choice([{}, before]))

    patch.setattr(NodesFile, "_fill", fill_it)
    patch.setattr(Path, "replace", replace_it)
    patch.setattr(nodes, "_sync_folder", sync_it)


def _patch_catalog(patch: pytest.MonkeyPatch, power: Power) -> None:
    run, insert = Database.run, Database.insert

    def step(database: Database, statement: str) -> None:
        ends = statement.startswith("RELEASE")
        if ends or (statement.startswith(_CHANGES) and not database._connection.in_transaction):
            try:
                if power.goes("transaction"):
                    raise power.cut()
            except OSError as error:
                raise MediumError("the power was cut", errno=errno.EIO) from error

    def run_it(self: Database, statement: str, *values: object) -> list[Any]:
        step(self, statement)
        # What it would wait for is simulated.
        return run(self, statement.replace("synchronous = FULL", "synchronous = OFF"), *values)

    def insert_it(self: Database, statement: str, *values: object) -> int:
        step(self, statement)
        return insert(self, statement, *values)

    patch.setattr(Database, "run", run_it)
    patch.setattr(Database, "insert", insert_it)
