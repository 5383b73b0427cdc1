"""An encrypted store on faulty drives, what it may show after a cut, and who tries to read what is dead.

A `Base` is a store that was made, filled and closed; a `SealedRack` is a copy of it that goes its own way.
Each block that is ever written is another one, so that whatever somebody opens says whose it was.

Worlds are what all volumes and snapshots show, by name. After a cut each of them shows what it showed in some
world since the last flush; those on one drive alone do so together. What was made or deleted when a call
returned is there, or gone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal

from seqstore import CryptographicErase, FormatError, SeqstoreError, Snapshot, Store, Tenant, Volume
from seqstore.clock import ManualClock
from seqstore.format import Seal
from seqstore.keys import FileKey
from seqstore.keys.nodes import NodesFile
from seqstore.media.faults import FaultMedium
from seqstore.media.faults.plate import MemoryPlate
from tests.attacker import Keys, opened, sealed_blocks
from tests.crash.power import Power, PoweredDrive, powered
from tests.several import BLOCK, SEGMENT, SEGMENTS, legs

BLOCKS = 8  # of a volume
EPOCH = 60.0
MARK = b"a tenant's block "
World = dict[str, bytes]
Sealed = tuple[Seal, int, int, bytes]  # seal, layer, lba, cipher


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A store that was closed, and what is known of it."""

    roots: tuple[FileKey, FileKey]
    images: dict[int, bytes]
    files: dict[str, bytes]
    now_ns: int
    world: World
    written: dict[str, set[bytes]]
    tenants: set[int]
    serial: int
    blocks: frozenset[Sealed]
    nodes: list[bytes]


@dataclass(slots=True)
class Kept:
    """What somebody keeps who sees all drives and files, but for the key area, whenever they look."""

    blocks: set[Sealed] = field(default_factory=set)
    nodes: list[bytes] = field(default_factory=list)

    def expect_no_nonce_twice(self) -> None:
        """See that no two blocks were sealed under one key with one nonce."""
        met: dict[tuple[int, int, int], tuple[bytes, int, int]] = {}
        for seal, layer, lba, _ in self.blocks:
            block = (seal.tag, layer, lba)
            assert met.setdefault(seal.identity, block) == block, f"the nonce of {seal} came twice"


class SealedRack:
    """A store whose power may go.

    Parameters
    ----------
    folder : Path
        For its files; made.
    seed : int or str
    base : Base, optional
        What it is a copy of. None makes an empty store.
    drives : int
        How many an empty one has.
    """

    def __init__(
        self,
        folder: Path,
        seed: int | str,
        base: Base | None = None,
        *,
        roots: tuple[FileKey, FileKey],
        drives: int = 0,
    ) -> None:
        self.folder, self.roots, self.random = folder, roots, Random(seed)
        self.root = roots[0]
        (folder / "store").mkdir(parents=True)
        self.power = Power(folder / "store", f"{seed} fates")
        self.media: dict[int, FaultMedium] = {}
        self.kept, self._seen = Kept(), dict[int, int]()
        self.worlds: list[World] = [{} if base is None else dict(base.world)]
        self.floors: dict[str, int] = {}
        self.coming: list[World] = []
        self.written = {} if base is None else {name: set(blocks) for name, blocks in base.written.items()}
        self.doomed: set[bytes] = set()
        self.tenants = set() if base is None else set(base.tenants)
        self.serial = 0 if base is None else base.serial
        self.clock = ManualClock(10**18 if base is None else base.now_ns)
        if base is None:
            with powered(self.power):
                self._make(drives)
            return
        for number, image in base.images.items():
            self.plug(number, image)
        for name, data in base.files.items():
            (self.power.folder / name).write_bytes(data)
            (self.power.folder / name).chmod(0o600)
        self.kept = Kept(set(base.blocks), list(base.nodes))

    # ---- making, opening, ending --------------------------------------------------------------------

    @property
    def catalog(self) -> Path:
        return self.power.folder / "names.db"

    @property
    def keys(self) -> Path:
        return self.power.folder / "keys"

    def plug(self, number: int, image: bytes | None = None) -> FaultMedium:
        """Put a drive into the rack."""
        size = SEGMENTS * SEGMENT
        drive = self.power.drives[number] = PoweredDrive(
            size,
            block_size=BLOCK,
            zone_size=SEGMENT,
            plate=MemoryPlate(bytes(size) if image is None else image, BLOCK),
            generator=Random(self.random.random()),
        )
        drive.power = self.power
        self.media[number] = FaultMedium(drive)
        return self.media[number]

    def _make(self, drives: int) -> None:
        self.store = Store.create_on(
            self.plug(0),
            catalog=self.catalog,
            keys=self.keys,
            encryption=self.root,
            clock=self.clock,
            deletion=CryptographicErase(epoch=EPOCH),
        )
        for number in range(1, drives):
            self.add(number)

    def add(self, number: int) -> None:
        """Let the store use a new drive."""
        self.store.add_drive(medium=self.plug(number), region=f"region {number}")

    def open(self, without: Iterable[int] = ()) -> None:
        """Open the store."""
        away = set(without)
        self.media = {n: FaultMedium(drive) for n, drive in self.power.drives.items() if n not in away}
        self.store = Store.open_on(
            self.media,
            catalog=self.catalog,
            keys=self.keys,
            key=self.root,
            clock=self.clock,
            missing="go on" if away else "refuse",
        )

    def end(self) -> None:
        """End the store as the end of its process would."""
        store = self.__dict__.pop("store", None)
        if store is not None:
            with suppress(SeqstoreError, OSError):
                store._parts.close(finish=False)
        for medium in self.media.values():
            medium.close()

    def close(self) -> None:
        self.store.close()
        self.end()

    def snap(self) -> Base:
        """Return what a closed store is."""
        self.look()
        return Base(
            roots=self.roots,
            images={number: drive.image() for number, drive in self.power.drives.items()},
            files={path.name: path.read_bytes() for path in self.power.folder.iterdir()},
            now_ns=self.clock.now_ns(),
            world=self.worlds[-1],
            written=self.written,
            tenants=self.tenants,
            serial=self.serial,
            blocks=frozenset(self.kept.blocks),
            nodes=self.kept.nodes,
        )

    # ---- the model ------------------------------------------------------------------------------------

    def tenant(self, name: str) -> Tenant:
        return self.store.tenant(name)

    def volume(self, name: str) -> Volume:
        return next(
            volume for tenant in self.store.tenants for volume in tenant.volumes if volume.name == name
        )

    def views(self) -> dict[str, Volume | Snapshot]:
        found: dict[str, Volume | Snapshot] = {}
        for tenant in self.store.tenants:
            found.update({volume.name: volume for volume in tenant.volumes})
            found.update({f"@{snapshot.name}": snapshot for snapshot in tenant.snapshots})
        return found

    def shown(self) -> World:
        """Return what everybody can read."""
        return {name: view.read(0, view.size) for name, view in self.views().items()}

    def do(self, work: Callable[[], object], *coming: World) -> None:
        """Do something that leads over some worlds to the last of them."""
        self.coming = list(coming)
        work()
        if self.power.off:  # of which nobody was told: that is the same as none who could tell
            raise OSError("the power is cut")
        self.worlds += coming
        self.coming = []

    def block(self) -> bytes:
        self.serial += 1
        return (MARK + b"%08d " % self.serial).ljust(BLOCK, b"%c" % (65 + self.serial % 26))

    def write(self, name: str, lba: int, count: int = 1) -> None:
        now, coming, rows = self.worlds[-1], list[World](), list[bytes]()
        for step in range(count):
            rows.append(self.block())
            content = bytearray(now[name])
            content[(lba + step) * BLOCK : (lba + step + 1) * BLOCK] = rows[-1]
            now = {**now, name: bytes(content)}
            coming.append(now)
        self.written.setdefault(name, set()).update(rows)
        self.do(lambda: self.volume(name).write(lba * BLOCK, b"".join(rows)), *coming)

    def trim(self, name: str, lba: int) -> None:
        content = bytearray(self.worlds[-1][name])
        content[lba * BLOCK : (lba + 1) * BLOCK] = bytes(BLOCK)
        after = {**self.worlds[-1], name: bytes(content)}
        self.do(lambda: self.volume(name).trim(lba * BLOCK, BLOCK), after)

    def flush(self) -> None:
        self.do(self.store.flush)
        self.settle(self.worlds[-1])

    def settle(self, world: World) -> None:
        """Nothing before this comes back."""
        self.worlds, self.floors, self.coming = [world], {}, []

    def create(self, tenant: str, name: str, *, copies: Literal[1, 2], drive: int | None = None) -> None:
        def make() -> None:
            self.tenants.add(self.tenant(tenant).number)
            self.tenant(tenant).create_volume(name, BLOCKS * BLOCK, copies=copies, drive=drive)

        self.do(make, {**self.worlds[-1], name: bytes(BLOCKS * BLOCK)})

    def snapshot(self, name: str, snapshot: str) -> None:
        now = self.worlds[-1]
        self.do(lambda: self.volume(name).snapshot(snapshot), {**now, f"@{snapshot}": now[name]})
        self.floors[name] = len(self.worlds) - 1

    def clone(self, snapshot: str, name: str) -> None:
        now, view = self.worlds[-1], self.views()[f"@{snapshot}"]
        assert isinstance(view, Snapshot)
        self.do(lambda: view.clone(name), {**now, name: now[f"@{snapshot}"]})

    def delete(self, *names: str, work: Callable[[], object] | None = None) -> None:
        """Delete something, or what a call deletes; nobody else shows any of it."""
        after = {name: data for name, data in self.worlds[-1].items() if name not in names}
        self.do(work or self.views()[names[0]].delete, after)
        self.doom(names)

    def doom(self, names: Iterable[str]) -> None:
        for name in names:
            self.doomed |= self.written.pop(name, set())

    # ---- after a cut ------------------------------------------------------------------------------------

    def expect_a_world(self) -> World:
        """See that what is shown is what may be; what came of a deletion that was cut off is doomed, too."""
        shown, last = self.shown(), self.worlds[-1]
        possible = [*self.worlds, *self.coming]
        assert shown.keys() in [world.keys() for world in (last, *self.coming)], (shown.keys(), last.keys())
        for name, data in shown.items():
            floor = self.floors.get(name, 0)
            assert data in [world[name] for world in possible[floor:] if name in world], f"{name} is another"
        by_drive: dict[int, list[str]] = {}
        for name, view in self.views().items():
            if len(legs(view)) == 1:
                by_drive.setdefault(legs(view)[0], []).append(name)
        for drive, names in by_drive.items():
            assert any(
                all(world.get(name) == shown[name] for name in names if name in world) for world in possible
            ), f"{names} of drive {drive} are of different moments"
        self.doom(last.keys() - shown.keys())
        self.settle(shown)
        return shown

    # ---- who tries to read it ----------------------------------------------------------------------------

    def look(self) -> None:
        """Keep what lies there."""
        for number, drive in self.power.drives.items():
            if self._seen.get(number) != drive.counts.written_blocks:
                self._seen[number] = drive.counts.written_blocks
                self.kept.blocks |= set(sealed_blocks(drive.image(), BLOCK))
        for name in ("keys.nodes", "keys.nodes.new"):
            path = self.power.folder / name
            data = path.read_bytes() if path.exists() else b""
            with suppress(FormatError):  # of what a cut left torn nothing opens
                if data and data not in self.kept.nodes:
                    NodesFile(path, data[16:32])
                    self.kept.nodes.append(data)

    def opened(self, half: int | None = None) -> set[bytes]:
        """Return what opens with the key area as it is, or with one of its copies, and all that was kept."""
        place = self.folder / "attack"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        area, old = self.keys.read_bytes(), list[Path]()
        halves = area[: len(area) // 2], area[len(area) // 2 :]
        (place / "keys").write_bytes(area if half is None else halves[half] * 2)
        for number, data in enumerate(self.kept.nodes):
            old.append(place / f"{number}.nodes")
            old[-1].write_bytes(data)
        keys = all_keys(place, self.roots, old)
        found: set[bytes] = set()
        if keys is None:
            return found
        for seal, layer, lba, block in self.kept.blocks:
            found |= set(opened(seal, keys, block, self.tenants, layer, lba))
        return found

    def expect_dead(self) -> None:
        """See that nobody opens what was deleted when a call returned, with whichever copy of the area."""
        self.look()
        area = self.keys.read_bytes()
        for half in range(1 if area[: len(area) // 2] == area[len(area) // 2 :] else 2):
            assert not self.doomed & self.opened(half), f"copy {half} of the key area opens what is dead"

    def expect_shown_alone(self) -> None:
        """See that when an epoch has ended nothing opens but what somebody is shown."""
        self.flush()
        self.store.idle(2 * EPOCH)
        self.look()
        blocks = {
            data[at : at + BLOCK] for data in self.shown().values() for at in range(0, len(data), BLOCK)
        }
        area = self.keys.read_bytes()
        assert area[: len(area) // 2] == area[len(area) // 2 :]
        found = self.opened()
        assert found == {block for block in blocks if any(block)}, (
            f"{len(found - blocks)} dead blocks open, {len(blocks - found)} shown ones do not"
        )
        self.kept.expect_no_nonce_twice()


def all_keys(place: Path, roots: Iterable[FileKey], nodes: list[Path]) -> Keys | None:
    """Open a copy of a key area with any root key; None if it is torn."""
    for root in roots:
        with suppress(SeqstoreError):
            return Keys(place, root, nodes)
    return None
