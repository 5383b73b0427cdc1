"""Somebody who keeps all that an encrypted store on several drives ever wrote, but for its key area.

They have the root key and the key area as it is now, every state in which each drive, the file of nodes and
the catalog ever were, and read all they can. Nothing opens but what some volume or snapshot shows; no nonce
has come twice under one key, on whichever drive; no file ever had a plain byte of a tenant's in it, or of a
key.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Literal

import pytest

from seqstore import (
    CorruptionError,
    CryptographicErase,
    DriveState,
    FormatError,
    LostWritesError,
    NotFoundError,
    OutOfSpaceError,
    Snapshot,
    Store,
    Volume,
)
from seqstore.clock import ManualClock
from tests.attacker import Keeper, sealed_blocks
from tests.durable import crash, create, root_key
from tests.epochs import EPOCH
from tests.small import BLOCK_SIZE

BLOCKS = 20
TENANTS = ("contoso", "fabrikam")
MARK = b"a tenant's block "


class Session:
    """A store on three drives, and somebody who keeps everything."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.path, self.random, self.serial = folder / "lab.store", Random(seed), 0
        self.roots = [root_key(folder / f"root-{number}.key") for number in range(2)]
        self.clock = ManualClock(10**18)
        deletion = CryptographicErase(epoch=EPOCH)
        self.store = create(self.path, encryption=self.roots[0], clock=self.clock, deletion=deletion)
        for _ in range(2):
            self.store.add_drive(64 * 16 * BLOCK_SIZE)
        for name in TENANTS:
            self.store.create_tenant(name)
        self.keeper = Keeper(self.path, BLOCK_SIZE, marks=[MARK])

    def volumes(self) -> list[Volume]:
        return [volume for tenant in self.store.tenants for volume in tenant.volumes]

    def snapshots(self) -> list[Snapshot]:
        return [snapshot for tenant in self.store.tenants for snapshot in tenant.snapshots]

    def block(self) -> bytes:
        self.serial += 1
        return (MARK + b"%08d " % self.serial).ljust(BLOCK_SIZE, b"%c" % (65 + self.serial % 26))

    def step(self) -> None:
        """Do something, and let everything be kept."""
        choices = [self.write] * 6 + [
            self.trim,
            self.create,
            self.delete,
            self.snapshot,
            self.clone,
            self.purge,
        ]
        choices += [self.age, self.age, self.reopen, self.reopen, self.rekey, self.move]
        with suppress(OutOfSpaceError):
            self.random.choice(choices)()
        self.look()

    def look(self) -> None:
        self.store.flush()
        self.keeper.keep(self.roots[0])

    def write(self) -> None:
        for volume in self.volumes():
            first = self.random.randrange(BLOCKS)
            count = self.random.randint(1, min(6, BLOCKS - first))
            volume.write(first * BLOCK_SIZE, b"".join(self.block() for _ in range(count)))

    def trim(self) -> None:
        for volume in self.volumes():
            volume.trim(self.random.randrange(BLOCKS - 1) * BLOCK_SIZE, 2 * BLOCK_SIZE)

    def create(self) -> None:
        if len(self.volumes()) < 5:
            copies: tuple[Literal[1], Literal[2]] = (1, 2)
            tenant = self.store.tenant(self.random.choice(TENANTS))
            tenant.create_volume(f"v{self.serial}", BLOCKS * BLOCK_SIZE, copies=self.random.choice(copies))
            self.serial += 1

    def delete(self) -> None:
        views: list[Volume | Snapshot] = [*self.volumes(), *self.snapshots()]
        if views:
            self.random.choice(views).delete()

    def snapshot(self) -> None:
        if self.volumes() and len(self.snapshots()) < 3:
            self.random.choice(self.volumes()).snapshot(f"s{self.serial}")
            self.serial += 1

    def clone(self) -> None:
        if self.snapshots() and len(self.volumes()) < 5:
            tenant = self.store.tenant(self.random.choice(TENANTS))
            self.random.choice(self.snapshots()).clone(f"c{self.serial}", tenant=tenant)
            self.serial += 1

    def purge(self) -> None:
        self.store.purge()

    def age(self) -> None:
        self.store.idle(EPOCH)

    def rekey(self) -> None:
        self.roots.reverse()
        self.store.rekey(self.roots[0])

    def move(self) -> None:
        online = [drive for drive in self.store.drives if drive.state is DriveState.ONLINE]
        if len(online) > 2:
            self.random.choice(online).decommission()
        else:
            self.store.rebalance()

    def reopen(self) -> None:
        if self.random.randrange(2):
            self.store.close()
        else:
            crash(self.store)
        self.store = Store.open(self.path, key=self.roots[0], clock=self.clock)

    def shown(self) -> set[bytes]:
        """All blocks that anybody can be shown."""
        found = set()
        for view in (*self.volumes(), *self.snapshots()):
            data = view.read(0, view.size)
            found |= {data[at : at + BLOCK_SIZE] for at in range(0, len(data), BLOCK_SIZE)}
        return {block for block in found if any(block)}


@pytest.mark.invariant("I3")
@pytest.mark.parametrize("seed", range(4))
def test_who_keeps_everything_but_the_key_area(tmp_path: Path, seed: int) -> None:
    session = Session(tmp_path, seed)
    session.create()
    session.create()
    for _ in range(30):
        session.step()
    session.write()
    session.store.idle(2 * EPOCH)
    session.look()
    session.store.check()
    shown = session.shown()
    session.store.close()
    session.keeper.keep(session.roots[0])
    opened = session.keeper.opened(session.roots[0])
    assert opened == shown
    assert len({cipher for *_, cipher in session.keeper.blocks}) > len(shown)
    session.keeper.expect_no_nonce_twice()


PARTS = ("catalog", "keys", "keys.nodes", "drive 0", "drive 1")
RESTORED = [some for count in range(1, 6) for some in combinations(PARTS, count)]


class Restored:
    """A store on two drives with a copy of all its files, made before a volume and a block were deleted."""

    def __init__(self, folder: Path) -> None:
        self.root, self.clock = root_key(folder / "root.key"), ManualClock(10**18)
        self.path, self.copy = folder / "lab.store", folder / "copy"
        store = create(
            self.path, encryption=self.root, clock=self.clock, deletion=CryptographicErase(epoch=EPOCH)
        )
        store.add_drive(64 * 16 * BLOCK_SIZE)
        tenant = store.create_tenant("contoso")
        for volume in (
            tenant.create_volume("both", 16 * BLOCK_SIZE, copies=2),
            tenant.create_volume("gone", 16 * BLOCK_SIZE),
        ):
            for lba in range(16):
                volume.write(lba * BLOCK_SIZE, self.block(volume.name, lba))
        store.idle(2 * EPOCH)
        store.close()
        shutil.copytree(self.path, self.copy)
        store = self.open()
        store.tenant("contoso").volume("gone").delete()
        store.tenant("contoso").volume("both").write(0, self.block("anew", 0))
        store.idle(2 * EPOCH)
        store.close()

    def open(self) -> Store:
        return Store.open(self.path, key=self.root, clock=self.clock)

    @staticmethod
    def block(word: str, lba: int) -> bytes:
        return f"{word} {lba:04d} ".encode().ljust(BLOCK_SIZE, b".")

    def put_back(self, parts: tuple[str, ...]) -> None:
        """Put files of the copy in the place of those that are there."""
        for part in parts:
            wanted = f"drives/{part[-1]}.img" if part.startswith("drive") else f"{part}*"
            for file in self.path.glob("catalog*" if part == "catalog" else "nothing"):
                file.unlink()
            for file in self.copy.glob(wanted if part.startswith(("drive", "catalog")) else part):
                shutil.copy(file, self.path / file.relative_to(self.copy))


@pytest.mark.parametrize("parts", RESTORED, ids=" and ".join)
def test_parts_of_a_copy_that_are_put_back(tmp_path: Path, parts: tuple[str, ...]) -> None:
    """It is refused; or what is shown was once there, is right, and is not what keys have died for."""
    here = Restored(tmp_path)
    here.put_back(parts)
    try:
        store = here.open()
    except (FormatError, LostWritesError):
        assert not {"catalog", "drive 0", "drive 1"}.issubset(parts) or ("keys" in parts) != (
            "keys.nodes" in parts
        )
        return
    found = {}
    for volume in store.tenant("contoso").volumes:
        for lba in range(16):
            with suppress(CorruptionError, NotFoundError):
                found[volume.name, lba] = volume.read(lba * BLOCK_SIZE, BLOCK_SIZE)
    for (name, lba), block in found.items():
        assert block in {here.block(name, lba), here.block("anew", lba)}
    if "keys" not in parts:
        assert {("both", lba) for lba in range(1, 16)} == found.keys()
    store.tenant("contoso").volume("both").write(0, here.block("more", 0))
    store.idle(2 * EPOCH)
    store.check()
    assert store.deletion_failure is None
    store.close()
    keeper = Keeper(here.path, BLOCK_SIZE, marks=[])
    for folder in (here.path, here.copy):
        for drive in (folder / "drives").glob("*.img"):
            keeper.blocks |= set(sealed_blocks(drive.read_bytes(), BLOCK_SIZE))
    keeper.expect_no_nonce_twice()
