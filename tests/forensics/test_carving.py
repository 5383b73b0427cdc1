"""A tenant leaves, and neither a carving tool nor a search for its bytes finds anything of its files.

Before the deletion the tool finds each of them, as it is: live, written over, trimmed, moved by the cleaner,
in a snapshot.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from seqstore import BlockState, ManualClock, MediumError, Store, Volume
from seqstore.deletion import CryptographicErase, Deadline, Now
from seqstore.forensics import locate, search
from seqstore.keys import FileKey
from seqstore.media import FileMedium
from seqstore.media.faults import FaultMedium, FaultyDrive
from tests.durable import crash
from tests.forensics.carving import carve, needs_photorec, recognize
from tests.forensics.planted import Planted, make_files

CAPACITY = "24MiB"
BLOCK = 4096
STATES = ("moved", "live", "overwritten", "trimmed", "frozen", "dropped")


class Scene:
    """A durable store in which one tenant's files lie in every state amid the data of others.

    Attributes
    ----------
    number : int
        Of the tenant that leaves.
    files : list of Planted
    """

    def __init__(self, store: Store, image: Path) -> None:
        self.store = store
        self.image = image
        self.files: list[Planted] = []
        self._rng = np.random.default_rng(6)
        self._at = 0
        self._shown: dict[int, bytes] = {}
        leaver = store.create_tenant("leaver")
        self.number = leaver.number
        self._disk = leaver.create_volume("disk", "16MiB")
        self._stays = [store.create_tenant(name).create_volume("disk", "6MiB") for name in ("one", "two")]

    def plant_all(self) -> None:
        """Write the files, so that each group ends in its state."""
        self._plant("moved", (5000, 30_000))
        self.churn(until=lambda: self._residue(BlockState.MOVED) > 0)
        places = {state: self._plant(state, (5000, 30_000)) for state in STATES[1:]}
        self._plant("large", (150_000,))
        for at, size in places["overwritten"]:
            self._disk.write(at, self._rng.bytes(size))
        for at, size in places["trimmed"]:
            self._disk.trim(at, -(-size // BLOCK) * BLOCK)
        dropped = self._disk.snapshot("dropped")
        for at, size in places["dropped"]:
            self._disk.trim(at, -(-size // BLOCK) * BLOCK)
        dropped.delete()
        self._disk.snapshot("frozen")
        for at, size in places["frozen"]:
            self._disk.write(at, self._rng.bytes(size))
        self.store.flush()

    def churn(self, until: Callable[[], bool]) -> None:
        """Let the others write until something is so."""
        for _ in range(4000):
            self._write(self._stays[int(self._rng.integers(2))])
            if until():
                return
        raise AssertionError("nothing has come of all that writing")

    def fill_laps(self, laps: float) -> None:
        end = self.store.stats().position + laps * self.store.drives[0].blocks
        self.churn(until=lambda: self.store.stats().position >= end)

    def check_neighbours(self) -> None:
        """What the others wrote is all there."""
        for volume in self._stays:
            tenant = self.store.tenant(volume.tenant.name)
            for at, data in self._shown.items():
                if at % 2 == volume.tenant.number % 2:
                    assert tenant.volume("disk").read(at // 2 * BLOCK, len(data)) == data

    def carved(self) -> set[str]:
        """Names of the files that photorec finds on the drive."""
        return recognize(carve(self.image), self.files)

    def fragments(self) -> dict[str, float]:
        """Return the share of each file of which a search for its bytes finds anything."""
        report = search(self.image, {file.name: file.content for file in self.files})
        assert report.complete
        assert all(place.unowned_bytes == 0 for place in locate(report, self.store))
        return {file.name: file.share for file in report.files if len(file.fragments)}

    def expect_all(self) -> None:
        self.store.flush()
        names = {file.name for file in self.files}
        assert self.carved() == names
        assert self.fragments() == dict.fromkeys(names, 1.0)

    def expect_none(self) -> None:
        assert self.store.remanence(self.number).blocks == 0
        assert self.carved() == set()
        assert self.fragments() == {}
        self.check_neighbours()

    def _plant(self, group: str, sizes: tuple[int, ...]) -> list[tuple[int, int]]:
        """Write a file of each kind and size, and something of somebody else's behind each."""
        places = []
        for file in make_files(group, sizes):
            self.files.append(file)
            self._disk.write(self._at, file.content)
            places.append((self._at, len(file.content)))
            self._at += -(-len(file.content) // BLOCK) * BLOCK
            self._write(self._stays[len(self.files) % 2])
        return places

    def _write(self, volume: Volume) -> None:
        data = self._rng.bytes(int(self._rng.integers(1, 8)) * BLOCK)
        at = int(self._rng.integers(volume.size // BLOCK - 8))
        volume.write(at * BLOCK, data)
        for number, first in enumerate(range(0, len(data), BLOCK)):
            self._shown[(at + number) * 2 + volume.tenant.number % 2] = data[first : first + BLOCK]

    def _residue(self, state: BlockState) -> int:
        ledger = self.store.drives[0].ledger()
        return int(((ledger["tenant"] == self.number) & (ledger["state"] == state)).sum())


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    clock = ManualClock()
    with Store.create(tmp_path / "lab.store", CAPACITY, clock=clock, selection="greedy") as store:
        made = Scene(store, tmp_path / "lab.store" / "drives" / "0.img")
        made.plant_all()
        yield made


@needs_photorec
def test_everything_is_found_until_a_purge_and_nothing_after_it(scene: Scene) -> None:
    scene.expect_all()
    scene.store.tenant("leaver").delete()
    scene.expect_all()  # a deletion alone removes no byte
    purge = scene.store.purge(scene.number)
    assert purge.residue_blocks > 0
    scene.expect_none()


@needs_photorec
def test_an_encrypted_drive_shows_nothing_even_while_the_files_live(tmp_path: Path) -> None:
    """And the deletion by key takes from its owner what nobody else could read before."""
    path, root = tmp_path / "lab.store", tmp_path / "root.key"
    root.write_bytes(bytes(range(32)))
    root.chmod(0o600)
    with Store.create(path, CAPACITY, clock=ManualClock(), encryption=FileKey(root)) as store:
        scene = Scene(store, path / "drives" / "0.img")
        scene.plant_all()
        store.flush()
        assert scene.carved() == set()
        assert scene.fragments() == {}
        image = scene.image.read_bytes()
        assert not any(file.mark in image for file in scene.files)
        leaver = store.tenant("leaver")
        store.set_deletion(CryptographicErase(), leaver)
        leaver.delete()
        scene.check_neighbours()


@needs_photorec
def test_a_deletion_now_returns_when_nothing_is_found(scene: Scene) -> None:
    scene.store.set_deletion(Now(), scene.store.tenant("leaver"))
    scene.store.tenant("leaver").delete()
    scene.expect_none()


@needs_photorec
def test_nothing_is_found_when_a_deadline_in_time_has_passed(scene: Scene) -> None:
    scene.store.set_deletion(Deadline(seconds=3600))
    scene.store.tenant("leaver").delete()
    assert scene.carved()
    scene.store.idle(3600)
    scene.expect_none()


@needs_photorec
def test_nothing_is_found_when_a_deadline_in_laps_has_passed(scene: Scene) -> None:
    scene.store.set_deletion(Deadline(laps=2))
    scene.store.tenant("leaver").delete()
    assert scene.carved()
    scene.fill_laps(2)
    scene.expect_none()


@needs_photorec
def test_trimmed_and_overwritten_files_go_and_the_living_stay(scene: Scene) -> None:
    """A purge of residue touches nothing that can still be read."""
    scene.store.purge(scene.number)
    living = {
        file.name for file in scene.files if file.name.split("-")[0] in {"moved", "live", "frozen", "large"}
    }
    assert scene.carved() == living
    shares = scene.fragments()
    assert {name for name, share in shares.items() if share == 1.0} == living
    # Files of a kind have their tables in common, which are found as long as there is one of them.
    assert all(share < 0.5 for name, share in shares.items() if name not in living)
    image = scene.image.read_bytes()
    assert {file.name for file in scene.files if file.mark in image} == living
    scene.check_neighbours()


@needs_photorec
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_purge_that_a_power_cut_ends_is_made_good_after_recovery(tmp_path: Path, share: float) -> None:
    writes = _writes_of_a_purge(tmp_path / "whole")
    image, catalog = tmp_path / "0.img", tmp_path / "catalog.db"
    with FileMedium(image, CAPACITY, create=True) as file:
        drive = FaultyDrive.around(file, generator=random.Random(round(share * 10)))
        scene = Scene(Store.create_on(FaultMedium(drive), catalog=catalog, selection="greedy"), image)
        scene.plant_all()
        scene.expect_all()
        scene.store.tenant("leaver").delete()
        drive.cut_after(drive.writes + int(writes * share) + 1)
        with pytest.raises(MediumError):
            scene.store.purge(scene.number)
        crash(scene.store)
        drive.reboot()
        with Store.open_on(FaultMedium(drive), catalog=catalog) as store:
            scene.store = store
            store.check()
            store.purge(scene.number)
            scene.expect_none()


def _writes_of_a_purge(folder: Path) -> int:
    """Count the writes that the same purge makes where nothing cuts it short."""
    folder.mkdir()
    with FileMedium(folder / "0.img", CAPACITY, create=True) as file:
        drive = FaultyDrive.around(file)
        with Store.create_on(FaultMedium(drive), selection="greedy") as store:
            scene = Scene(store, folder / "0.img")
            scene.plant_all()
            store.tenant("leaver").delete()
            before = drive.writes
            store.purge(scene.number)
            return drive.writes - before
