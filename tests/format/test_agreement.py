"""The engine writes, the reader reads, and they agree: on every volume, every block, and what a crash left.

The engine opens what a crash left for reading only, which rolls forward and changes nothing, so that both
have the same bytes before them. Then they agree to the last block. While the engine works it knows more: when
it gave up its own summaries, and that a request died at one moment. Scripts, drives and oracle are those
of the crash tests.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random

import pytest

from seqstore import OutOfSpaceError, Store
from seqstore._native._core import ffi, lib
from seqstore.errors import FormatError
from seqstore.format import BlockState, DriveImage, Kind, read_image
from seqstore.media.faults import FaultyDrive
from tests.crash.core_store import Core, CoreStore, DamageError
from tests.crash.ops import BLOCK, Flush
from tests.crash.script import Script, Shape
from tests.crash.workloads import NAMES, Workload, workload
from tests.crash.world import Shown, World, difference
from tests.format.unsealing import blocks_of

NONE = lib.SQ_NO_ADDRESS
SEVERAL_HEADS = ["laps-separate", "laps-sepbit", "laps-tenants", "layers-tenants"]
# In one request all that dies may die at its end, or block by block.
_LONGEST_REQUEST = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOnlyCore(Core):
    read_only: int = 1


def make_drive(shape: Shape, seed: int = 0) -> FaultyDrive:
    size = shape.segment_blocks * BLOCK
    return FaultyDrive(shape.segments * size, block_size=BLOCK, zone_size=size, generator=Random(seed))


def drive_of(image: bytes, shape: Shape) -> FaultyDrive:
    drive = make_drive(shape)
    for mba in range(shape.blocks):
        drive.overwrite(mba, image[mba * BLOCK : (mba + 1) * BLOCK])
    return drive


def open_to_read(image: bytes, of: Workload) -> CoreStore:
    options = {name: getattr(of.core, name) for name in of.core.__dataclass_fields__}
    return ReadOnlyCore(**options).open(drive_of(image, of.shape))


def shown_by(image: DriveImage) -> World:
    seals = image.seals()
    return {
        volume.number: Shown(
            volume.tenant,
            volume.size_bytes,
            volume.unwritten_error,
            volume.origin,
            volume.snapshot,
            blocks_of(image, volume, seals),
        )
        for volume in image.volumes
    }


Row = tuple[int, int, int, int | None, int | None]


def ledger_of(store: CoreStore, blocks: int) -> list[Row]:
    rows = ffi.new("struct sq_ledger_entry[]", blocks)
    assert lib.sq_log_ledger(store._log, 0, blocks, rows) == 0
    found = ((row.state, row.tenant, row.volume, row.lba, row.died) for row in rows)
    return [
        (state, tenant, volume, None if lba == NONE else lba, None if died == NONE else died)
        for state, tenant, volume, lba, died in found
    ]


def ledger_in(image: DriveImage) -> list[Row]:
    blocks = (image.block(mba) for mba in range(image.geometry.block_count))
    return [(int(b.state), b.tenant, b.volume, b.lba, b.died) for b in blocks]


def is_same(here: Row, there: Row, *, exact: bool) -> bool:
    """Compare what the reader says of a block with what the engine says."""
    if exact or here == there:
        return here == there
    if here[1] == there[1] == 0:
        return {here[0], there[0]} <= {BlockState.SUMMARY, BlockState.DEAD}
    if here[:4] != there[:4] or here[4] is None or there[4] is None:
        return False
    return here[4] <= there[4] <= here[4] + _LONGEST_REQUEST


def expect_same_ledger(image: DriveImage, store: CoreStore, *, exact: bool) -> None:
    pairs = zip(ledger_in(image), ledger_of(store, image.geometry.block_count), strict=True)
    differing = {mba: pair for mba, pair in enumerate(pairs) if not is_same(*pair, exact=exact)}
    assert differing == {}


def expect_agreement(image: DriveImage, store: CoreStore, *, exact: bool) -> None:
    assert image.damage == ()
    assert difference(shown_by(image), store.show()) == ""
    expect_same_ledger(image, store, exact=exact)
    assert image.position == store.stats()["position"]


@pytest.mark.parametrize("name", NAMES)
def test_while_the_engine_works(name: str) -> None:
    of = workload(name)
    drive = make_drive(of.shape)
    store = of.core.create(drive)
    for number, op in enumerate(of.script.ops):
        try:
            store.apply(op)
        except OutOfSpaceError:
            continue
        if number % (1 + len(of.script.ops) // 60):
            continue
        store.apply(Flush())
        image = read_image(drive.image())
        expect_agreement(image, store, exact=False)
        assert not image.recovered.clean
    store.apply(Flush())
    live = sum(row[0] == BlockState.LIVE for row in ledger_of(store, of.shape.blocks))
    store.finish()
    image = read_image(drive.image())
    assert image.recovered.clean
    assert image.verify() == live
    assert image.damage == ()


def crashed(of: Workload, seed: int) -> bytes:
    """Run a workload up to somewhere, and cut the power: unsynced sectors are kept or lost by chance."""
    choose = Random(seed)
    drive = make_drive(of.shape, seed)
    store = of.core.create(drive)
    for op in of.script.ops[: choose.randrange(1, len(of.script.ops) + 1)]:
        with suppress(OutOfSpaceError):
            store.apply(op)
    store.abandon()
    drive.power_cut()
    drive.reboot()
    return drive.image()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", NAMES)
def test_on_what_a_crash_left(name: str, seed: int) -> None:
    of = workload(name)
    content = crashed(of, seed)
    store, image = open_to_read(content, of), read_image(content)
    expect_agreement(image, store, exact=True)
    found, said = image.recovered, store.recovery
    assert found.last is not None
    assert found.checkpoint is not None
    assert {
        "clean": found.clean,
        "checkpoint_sequence": found.checkpoint.sequence,
        "last_sequence": found.last.sequence,
        "records": found.records,
        "void_entries": found.void_entries,
        "lost_records": found.lost_records,
        "position": image.position,
        "opening": image.state.opening,
    } == {name: said[name] for name in said if not name.endswith("_blocks") and name != "cut_records"}
    assert found.torn is None or said["cut_records"] > 0


@pytest.mark.parametrize("name", ["writes", "layers", "laps", "large", *SEVERAL_HEADS])
def test_on_what_recovery_made_of_it(name: str) -> None:
    of = workload(name)
    for seed in range(4):
        drive = drive_of(crashed(of, seed), of.shape)
        store = of.core.open(drive)
        store.apply(Flush())
        image = read_image(drive.image())
        assert image.damage == ()
        assert difference(shown_by(image), store.show()) == ""
        # Padding is the engine's until it opens the drive again. Blocks that recovery has filled with zeros
        # are dead by the log until the next checkpoint.
        pairs = zip(ledger_in(image), ledger_of(store, of.shape.blocks), strict=True)
        differing = {mba: pair for mba, pair in enumerate(pairs) if not is_same(*pair, exact=False)}
        assert [mba for mba in differing if any(drive.peek(mba, 1))] == []
        assert all(BlockState.FREE in {here[0], there[0]} for here, there in differing.values())


@pytest.mark.parametrize("name", ["layers", "laps", "laps-layers-sealed", *SEVERAL_HEADS])
def test_on_damage(name: str) -> None:
    """Where the engine finds a way, the reader finds the same; where it refuses, the reader sees damage."""
    of, choose = workload(name), Random(3)
    content = crashed(of, 3)
    refused = 0
    for _ in range(120):
        mutated = bytearray(content)
        used = [at for at in range(0, len(content), BLOCK) if any(content[at : at + BLOCK])]
        mutated[choose.choice(used) + choose.randrange(BLOCK)] ^= 1 << choose.randrange(8)
        try:
            store = open_to_read(bytes(mutated), of)
        except DamageError:
            refused += 1
            with suppress(FormatError):
                assert read_image(bytes(mutated)).damage != ()
            continue
        image = read_image(bytes(mutated))
        expect_same_ledger(image, store, exact=True)
        assert sorted(volume.number for volume in image.volumes) == [e.number for e in store.entries()]
        store.abandon()
    assert refused < 120


@pytest.mark.parametrize("seed", range(12))
def test_residue_is_known_over_a_clean_end(seed: int) -> None:
    """A checkpoint also tells what lies where its own pages have not come yet."""
    choose, shape = Random(seed), Shape(24, 16)
    script = Script()
    volume = script.create(60)
    for _ in range(choose.randrange(100, 220)):
        script.write(volume, choose.randrange(56), choose.randrange(1, 5))
    drive = make_drive(shape)
    store = Core().create(drive)
    for op in (*script.ops, Flush()):
        store.apply(op)
    before, content = ledger_of(store, shape.blocks), drive.image()
    store.finish()
    store.abandon()
    after = ledger_in(read_image(drive.image()))
    for mba, (then, now) in enumerate(zip(before, after, strict=True)):
        at = mba * BLOCK
        if content[at : at + BLOCK] == drive.image()[at : at + BLOCK] and then[1]:
            assert now[:4] == then[:4], mba


@pytest.mark.parametrize("name", SEVERAL_HEADS)
def test_what_is_rolled_forward_lies_at_several_heads(name: str) -> None:
    """The other tests here would be worth little if it did not."""
    classes, freed = set(), 0
    for seed in range(8):
        for record in read_image(crashed(workload(name), seed)).records():
            if record.rolled_forward:
                classes.add(record.summary.class_id)
                freed += sum(entry.kind is Kind.FREED for entry in record.summary.entries)
    assert len(classes) > 1
    assert freed > 5


@pytest.mark.parametrize("placement", ["single", "separate"])
def test_the_log_of_a_drive_in_memory_that_is_not_circular(placement: str) -> None:
    """It has no checkpoint, and does not say what it frees: the reader says that it misses something."""
    with Store.memory(
        256 * BLOCK, block_size=BLOCK, segment_size=16 * BLOCK, selection="greedy", placement=placement
    ) as store:
        volume = store.create_tenant("contoso").create_volume("disk", 100 * BLOCK)
        volume.write(0, bytes(100 * BLOCK))
        for step in range(400):
            volume.write(step * 7 % 60 * BLOCK, step.to_bytes(8, "little") * (BLOCK // 8))
        store.flush()
        image = read_image(store.drives[0].raw(0, 256))
        assert image.damage != ()


def test_the_options_reach_the_engine() -> None:
    of = workload("writes")
    store = open_to_read(crashed(of, 0), replace(of, core=Core()))
    assert store.recovery["zeroed_blocks"] == 0
