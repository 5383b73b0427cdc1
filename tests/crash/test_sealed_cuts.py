"""Encrypted stores on two and three drives whose power goes at any step of anything that they do.

The steps are those of the drives, of the key area, of the file of nodes and of the catalog. A few of them, by
a seed, are tried each time; in a soak each one is, with several fates of what was not safe.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

import pytest

from seqstore import (
    AccessError,
    DriveState,
    FormatError,
    MediumError,
    NotFoundError,
    OutOfSpaceError,
    SeqstoreError,
)
from seqstore.moving import Mover
from seqstore.sanitize.key_file import KeyFile
from tests.crash.power import powered
from tests.crash.sealed_rack import BLOCKS, EPOCH, Base, SealedRack
from tests.durable import root_key
from tests.several import legs

CUTS = 3
Work = Callable[[SealedRack], object]


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a store."""

    drives: int
    copies: Literal[1, 2]

    def __str__(self) -> str:
        return f"{self.drives}-drives-{self.copies}-copies"


def furnish(rack: SealedRack, shape: Shape) -> None:
    """Make families, and volumes alone; of what they held, some is dead by keys, and some is not yet."""
    for tenant in ("contoso", "tailspin"):
        rack.store.create_tenant(tenant)
    rack.create("contoso", "one", copies=shape.copies, drive=0)
    rack.create("contoso", "two", copies=shape.copies)
    rack.create("contoso", "gone", copies=shape.copies, drive=0)
    rack.create("tailspin", "tail", copies=shape.copies)
    for name in ("one", "two", "gone", "tail"):
        rack.write(name, 0, BLOCKS)
    rack.flush()
    rack.store.idle(EPOCH)
    rack.snapshot("one", "before")
    rack.clone("before", "clone")
    for name in ("one", "two", "gone", "tail", "clone"):
        rack.write(name, 2, 2)
        rack.trim(name, 5)
    rack.flush()
    rack.store.checkpoint()


# ---- what they do, again where it was cut off ------------------------------------------------------------


def write(rack: SealedRack) -> None:
    for turn in range(8):
        name = rack.random.choice(["one", "two", "gone", "clone"])
        rack.write(name, rack.random.randrange(BLOCKS - 2), rack.random.randint(1, 3))
        if turn % 3 == 2:
            rack.trim(name, rack.random.randrange(BLOCKS))
            rack.flush()
    rack.store.checkpoint()


def snapshot(rack: SealedRack) -> None:
    rack.serial += 1
    name = f"s{rack.serial}"
    rack.snapshot("two", name)
    rack.write("two", 1)
    rack.clone(name, f"of {name}")
    rack.write(f"of {name}", 0, 2)
    rack.flush()
    rack.delete(f"@{name}")


def delete_volume(rack: SealedRack) -> None:
    if "gone" in rack.views():
        rack.delete("gone")


def delete_tenant(rack: SealedRack) -> None:
    with suppress(NotFoundError):
        tenant = rack.tenant("tailspin")
        rack.delete(*[volume.name for volume in tenant.volumes], work=tenant.delete)


def end_epoch(rack: SealedRack) -> None:
    """End one of which the last deletions are not safe yet: a cut that takes them back finds their keys."""
    for name in ("one", "two", "clone"):
        rack.write(name, 6, 2)
        rack.trim(name, 1)
    rack.do(lambda: rack.store.idle(EPOCH))


def evacuate(rack: SealedRack) -> None:
    drive = rack.store.drives[0]
    if drive.state is not DriveState.EVACUATED:
        rack.do(drive.decommission)
    assert drive.state is DriveState.EVACUATED
    assert not any(0 in legs(view) for view in rack.views().values())


def rebuild(rack: SealedRack) -> None:
    drive = rack.store.drives[1]
    if drive.in_use:
        rack.do(lambda: drive.fail("it is dead"))
    rack.do(rack.store.rebuild)
    assert all(len(legs(view)) == 2 for view in rack.views().values())


def move(rack: SealedRack) -> None:
    """Move families to an empty drive."""
    rack.do(lambda: rack.add(len(rack.store.drives)))
    rack.do(rack.store.rebalance)


def repair(rack: SealedRack) -> None:
    """Let a block of one copy rot, and read it."""
    volume = rack.volume("two")
    rack.store.checkpoint()
    extent = rack.random.choice(volume.extents())
    rack.power.drives[legs(volume)[0]].rot(int(extent["mba"]), rack.random.randrange(512 * 8))
    rack.do(rack.shown)
    rack.flush()


def rekey(rack: SealedRack) -> None:
    new = rack.roots[1 - rack.roots.index(rack.root)]
    rack.do(lambda: rack.store.rekey(new))
    rack.root = new


SHAPES = [Shape(2, 1), Shape(2, 2), Shape(3, 1), Shape(3, 2)]
WORKS: dict[Work, list[Shape]] = {
    write: SHAPES,
    snapshot: SHAPES,
    delete_volume: SHAPES,
    delete_tenant: SHAPES,
    end_epoch: SHAPES,
    evacuate: [Shape(3, 2), Shape(3, 1), Shape(2, 1)],
    rebuild: [Shape(3, 2)],
    move: SHAPES,
    repair: [Shape(3, 2), Shape(2, 2)],
    rekey: SHAPES,
}
PAIRS = [(work, shape) for work, shapes in WORKS.items() for shape in shapes]
SOME = [(work, shapes[(number + 3) % len(shapes)]) for number, (work, shapes) in enumerate(WORKS.items())]


def name_of(value: object) -> str:
    return getattr(value, "__name__", str(value))


# ---- trying it ---------------------------------------------------------------------------------------------


class Bases:
    """Stores that were made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.roots = root_key(folder / "one.key"), root_key(folder / "two.key")
        self._made: dict[Shape, Base] = {}

    def of(self, shape: Shape) -> Base:
        if shape not in self._made:
            rack = SealedRack(self.folder / str(shape), str(shape), roots=self.roots, drives=shape.drives)
            with powered(rack.power):
                furnish(rack, shape)
                rack.close()
            self._made[shape] = rack.snap()
        return self._made[shape]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    return Bases(tmp_path_factory.mktemp("bases"))


def count_steps(bases: Bases, shape: Shape, work: Work, folder: Path) -> int:
    """Let something be done without a cut, and return of how many steps it is."""
    rack = SealedRack(folder, "whole", bases.of(shape), roots=bases.roots)
    with powered(rack.power):
        rack.open()
        rack.power.cut_in(0)
        work(rack)
        steps = len(rack.power.steps)
        rack.close()
    return steps


def try_it(bases: Bases, shape: Shape, work: Work, cuts: tuple[int, int], folder: Path, fate: int) -> None:
    """Cut the power in a step of something, and in one of the opening after that, if that has so many."""
    rack = SealedRack(folder, f"{fate} {cuts}", bases.of(shape), roots=bases.roots)
    with powered(rack.power), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Mover, "_undo", lambda _: None)  # the process ends with the power
        rack.open()
        rack.power.cut_in(cuts[0])
        try:
            work(rack)
        except (SeqstoreError, OSError):
            assert rack.power.off
        reopen(rack, cuts[1])
        rack.expect_a_world()
        rack.expect_dead()
        encryption = rack.store._parts.encryption
        assert encryption is not None
        assert not any(encryption.is_cut_off(volume) for _, volume in encryption.volumes)
        rack.store.check()
        expect_all(rack, work)
        rack.end()


def reopen(rack: SealedRack, cut: int) -> None:
    """Open a store after a cut; what is dead is dead before that, and after it."""
    if not rack.power.off:
        rack.power.cut()
    rack.end()
    rack.power.come_back()
    rack.expect_dead()
    rack.power.cut_in(cut)
    try:
        open_it(rack)
    except (SeqstoreError, OSError):
        if not rack.power.off:
            raise
        rack.end()
        rack.power.come_back()
        rack.expect_dead()
        open_it(rack)
    rack.power.cut_in(0)
    rack.expect_dead()


def open_it(rack: SealedRack) -> None:
    """Open a store with the root key that it is under: the old one, or the one that it was to get."""
    try:
        rack.open()
    except AccessError:
        rack.end()
        rack.root = rack.roots[1 - rack.roots.index(rack.root)]
        rack.open()


def expect_all(rack: SealedRack, work: Work) -> None:
    """Go on with what was cut off, and with the store's life."""
    with suppress(OutOfSpaceError):
        work(rack)
    rack.flush()
    delete_volume(rack)
    rack.expect_dead()
    for name, view in rack.views().items():
        if not name.startswith("@"):
            rack.write(name, 3, 2)
            assert len({leg.view.read(0, view.size) for leg in view._route.legs}) == 1
    rack.expect_shown_alone()
    rack.store.check()
    assert rack.store.deletion_failure is None
    assert rack.store.losses() == ()
    expect_ended(rack, "gone")
    shown = rack.worlds[-1]
    assert rack.shown() == shown
    rack.close()
    rack.open()
    assert rack.shown() == shown
    rack.store.check()


def expect_ended(rack: SealedRack, name: str) -> None:
    """See that nothing is left of an erasure but on drives out of use, where nobody can look."""
    of_it = [each for each in rack.store.erasures if each.subject.name == name and each.state != "abandoned"]
    said = [rack.store.statement(erasure) for erasure in of_it]
    assert said
    assert [each.complete for each in said] == [each.document["drive"]["in_use"] for each in said]


@pytest.mark.invariant("I2", "I3")
@pytest.mark.parametrize(("work", "shape"), SOME, ids=name_of)
def test_the_power_goes(bases: Bases, work: Work, shape: Shape, tmp_path: Path) -> None:
    steps = count_steps(bases, shape, work, tmp_path / "whole")
    random = Random(f"3 {name_of(work)} {shape}")  # a seed that finds what was planted
    for part in range(CUTS):
        step = 1 + random.randrange(steps * part // CUTS, steps * (part + 1) // CUTS)
        again = random.choice([0, random.randrange(1, 30)])
        try_it(bases, shape, work, (step, again), tmp_path / str(step), 0)


@pytest.mark.invariant("I3")
def test_the_key_area_of_another_store_is_not_believed(bases: Bases, tmp_path: Path) -> None:
    """Neither with its own file of nodes nor with the right one, when the power has gone in a deletion."""
    shape, other = SHAPES[0], SHAPES[1]
    files, strange = bases.of(shape).files, bases.of(other).files
    assert files["keys"][16:64] != strange["keys"][16:64]
    for step in (3, 8, 14):
        rack = SealedRack(tmp_path / str(step), step, bases.of(shape), roots=bases.roots)
        with powered(rack.power):
            rack.open()
            rack.power.cut_in(step)
            with pytest.raises((SeqstoreError, OSError)):
                delete_volume(rack)
            rack.end()
            rack.power.come_back()
            right = {name: (rack.power.folder / name).read_bytes() for name in ("keys", "keys.nodes")}
            for names in (("keys",), ("keys", "keys.nodes")):
                for name in names:
                    (rack.power.folder / name).write_bytes(strange[name])
                with pytest.raises(FormatError):
                    rack.open()
                rack.end()
                assert (rack.power.folder / "keys").read_bytes() == strange["keys"]
            for name, data in right.items():
                (rack.power.folder / name).write_bytes(data)
            rack.open()
            rack.expect_a_world()
            expect_all(rack, delete_volume)
            rack.end()


@pytest.mark.invariant("I3", "I6")
def test_keys_that_are_destroyed(bases: Bases, tmp_path: Path) -> None:
    """The power goes in a cryptographic sanitization: the store opens or not, and in the end it does not."""
    base, step, opens = bases.of(SHAPES[1]), 0, set[bool]()
    while True:
        step += 1
        rack = SealedRack(tmp_path / str(step), step, base, roots=bases.roots)
        with powered(rack.power):
            rack.power.cut_in(step)
            keys = KeyFile(rack.keys)
            try:
                assert keys.destroy() > 0
            except MediumError:
                rack.power.come_back()
            else:
                break
            with suppress(FormatError):
                rack.open()
                rack.expect_a_world()
                rack.close()
            opens.add(bool(rack.opened()))
            keys.destroy()
            assert keys.are_gone()
            assert not rack.opened()
            with pytest.raises(FormatError):
                rack.open()
            rack.end()
    assert keys.are_gone()
    assert not rack.opened()
    assert (step, opens) == (5, {False, True})


@pytest.mark.soak
@pytest.mark.invariant("I2", "I3")
@pytest.mark.parametrize("fate", range(3))
@pytest.mark.parametrize(("work", "shape"), PAIRS, ids=name_of)
def test_the_power_goes_anywhere(bases: Bases, work: Work, shape: Shape, fate: int, tmp_path: Path) -> None:
    steps = count_steps(bases, shape, work, tmp_path / "whole")
    for step in range(1, steps + 1):
        again = Random(f"{step} {fate}").choice([0, 0, 1, 2, 3, 5, 8, 13, 21, 34])
        try_it(bases, shape, work, (step, again), tmp_path / f"{step} {fate}", fate)
