"""Keys of what lies on drives that are not there: they live on as long as anybody may read with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seqstore import CryptographicErase, Lap, Store, Tenant
from seqstore.clock import ManualClock
from seqstore.deletion import Strategy
from seqstore.keys import FileKey
from tests.durable import create
from tests.small import BLOCK_SIZE, CAPACITY

EPOCH = 60
BLOCKS = 8


def content(mark: bytes) -> bytes:
    return mark * (BLOCKS * BLOCK_SIZE)


class Drawer:
    """A store of two encrypted drives whose second one is taken out, and put back."""

    def __init__(self, folder: Path, root: FileKey, strategy: Strategy) -> None:
        self.path, self.aside = folder / "lab.store", folder / "aside.img"
        self.options: dict[str, Any] = {"clock": ManualClock(10**18), "key": root}
        self.store = create(self.path, encryption=root, clock=self.options["clock"], deletion=strategy)
        self.store.add_drive(4 * CAPACITY)
        self.tenant.create_volume("here", BLOCKS * BLOCK_SIZE, drive=0)

    @property
    def tenant(self) -> Tenant:
        found = [tenant for tenant in self.store.tenants if tenant.name == "contoso"]
        return found[0] if found else self.store.create_tenant("contoso")

    def take_out(self) -> None:
        self.store.close()
        (self.path / "drives" / "1.img").rename(self.aside)
        self.store = Store.open(self.path, missing="go on", **self.options)

    def put_back(self) -> None:
        self.store.close()
        self.aside.rename(self.path / "drives" / "1.img")
        self.store = Store.open(self.path, **self.options)


@pytest.fixture
def root(tmp_path: Path) -> FileKey:
    path = tmp_path / "root.key"
    path.write_bytes(os.urandom(32))
    path.chmod(0o600)
    return FileKey(path)


@pytest.fixture(params=[Lap(), CryptographicErase(), CryptographicErase(epoch=EPOCH)], ids=str)
def drawer(tmp_path: Path, root: FileKey, request: pytest.FixtureRequest) -> Iterator[Drawer]:
    drawer = Drawer(tmp_path, root, request.param)
    yield drawer
    drawer.store.close()


def only_wait(drawer: Drawer) -> None:
    drawer.store.idle(3 * EPOCH)


def delete_another(drawer: Drawer) -> None:
    drawer.tenant.volume("here").delete()


@pytest.mark.parametrize("keeper", ["snapshot", "clone", "clone of a clone"])
@pytest.mark.parametrize("act", [only_wait, delete_another])
def test_of_what_was_deleted_and_is_shown_there(
    drawer: Drawer, keeper: str, act: Callable[[Drawer], None]
) -> None:
    volume = drawer.tenant.create_volume("volume", BLOCKS * BLOCK_SIZE, drive=1)
    volume.write(0, content(b"V"))
    snapshot = volume.snapshot("monday")
    if keeper != "snapshot":
        clone = snapshot.clone("heir")
        snapshot.delete()
        if keeper == "clone of a clone":
            second = clone.snapshot("tuesday")
            second.clone("second heir")
            clone.delete()
            second.delete()
    volume.delete()
    drawer.take_out()
    act(drawer)
    drawer.put_back()
    (view,) = drawer.tenant.snapshots or [each for each in drawer.tenant.volumes if each.name != "here"]
    assert view.read(0, BLOCKS * BLOCK_SIZE) == content(b"V")


def test_of_what_nobody_shows_they_die(drawer: Drawer) -> None:
    """Something else that lies on the drive that is away, and nowhere else, is no reason to keep a key."""
    drawer.tenant.create_volume("away", BLOCKS * BLOCK_SIZE, drive=1).write(0, content(b"A"))
    both = drawer.tenant.create_volume("both", BLOCKS * BLOCK_SIZE, copies=2)
    both.write(0, content(b"B"))
    drawer.take_out()
    keeper = drawer.store._registry.keeper
    assert keeper is not None
    both = drawer.tenant.volume("both")
    both.delete()
    assert keeper._encryption.has_died(both.number)
    drawer.put_back()
    assert drawer.tenant.volume("away").read(0, BLOCKS * BLOCK_SIZE) == content(b"A")
