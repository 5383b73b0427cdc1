"""Encrypted logs whose drives somebody has changed, and what needs no key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest

from seqstore._native._core import ffi, lib
from seqstore.format import Kind, read_image
from seqstore.format.layout import ENTRY, HEAD, SEALED_ENTRY_BYTES
from seqstore.format.summary import parse_summary, tagged_checksum
from seqstore.media.faults import FaultyDrive
from tests.crash.core_store import Core, CoreError, CoreStore, DamageError
from tests.crash.ops import BLOCK, Create, Flush, Write
from tests.crash.script import Shape
from tests.crash.workloads import SEALED, workload
from tests.crash.world import difference
from tests.format.packing import with_checksum

SHAPE = Shape(32, 16)
FIRST, SECOND = bytes([1]) * BLOCK, bytes([2]) * BLOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedCore(Core):
    """Opened without any key."""

    def options(self) -> object:
        options = super(LockedCore, self).options()
        options.ring = ffi.NULL
        return options


def make_drive(shape: Shape = SHAPE) -> FaultyDrive:
    size = shape.segment_blocks * BLOCK
    return FaultyDrive(shape.segments * size, block_size=BLOCK, zone_size=size, generator=Random(0))


class Forger:
    """A drive that ends with a record of lba 0 of two tenants; changes of it get the right checksums."""

    def __init__(self) -> None:
        self.drive = make_drive()
        store = SEALED.create(self.drive)
        for number in (1, 2):
            handle = store._handle_out
            assert lib.sq_volume_create(store._log, number, number, 4 * BLOCK, 0, handle) == 0
            store._handles[number] = handle[0]
            store._seal(number)
        store.apply(Flush())
        store.apply(Write(1, 0, FIRST))
        store.apply(Write(2, 0, SECOND))
        store.apply(Flush())
        store.abandon()
        image = read_image(self.drive.image())
        assert image.recovered.last is not None
        self.mba = image.recovered.last.mba
        self.summary = bytearray(self.drive.peek(self.mba, 1))
        self.blocks = [bytearray(self.drive.peek(self.mba + i, 1)) for i in (1, 2)]
        kinds = [entry.kind for entry in parse_summary(bytes(self.summary), self.mba).entries]
        assert kinds == [Kind.DATA, Kind.DATA]

    def seal(self, index: int) -> slice:
        start = HEAD.size + index * SEALED_ENTRY_BYTES
        return slice(start + ENTRY.size, start + SEALED_ENTRY_BYTES)

    def open(self, core: Core = SEALED) -> CoreStore:
        """Put the record on the drive, with checksums that fit, and open what is there."""
        for index, block in enumerate(self.blocks):
            at = HEAD.size + index * SEALED_ENTRY_BYTES
            lba, volume = (int.from_bytes(self.summary[at + n : at + n + 8], "little") for n in (0, 8))
            checksum = tagged_checksum(volume, lba, bytes(block))
            self.summary[at + 16 : at + 20] = checksum.to_bytes(4, "little")
        self.drive.overwrite(self.mba, with_checksum(bytes(self.summary)) + b"".join(self.blocks))
        return core.open(self.drive)


def read(store: CoreStore, number: int) -> bytes:
    """Read the only block of a volume; what is handed out with an error is zeros."""
    data = bytearray(b"?" * BLOCK)
    with ffi.from_buffer("char[]", data, require_writable=True) as target:
        status = lib.sq_volume_read(store._log, store._handles[number], 0, target, BLOCK, store._fault)
    assert status == 0 or not any(data)
    store._require(status, "read")
    return bytes(data)


def flip_cipher(forger: Forger) -> None:
    forger.blocks[0][100] ^= 1


def flip_tag(forger: Forger) -> None:
    forger.summary[forger.seal(0).start + 3] ^= 1


def flip_opening(forger: Forger) -> None:
    forger.summary[forger.seal(0).start + 16] ^= 1


def flip_number(forger: Forger) -> None:
    forger.summary[forger.seal(0).start + 24] ^= 2


def change_key(forger: Forger) -> None:
    forger.summary[forger.seal(0).start + 32] = 2


def move_to_another_lba(forger: Forger) -> None:
    forger.summary[HEAD.size] = 3


@pytest.mark.invariant("I8")
class TestForgeries:
    def test_nothing_is_forged(self) -> None:
        store = Forger().open()
        assert [read(store, number) for number in (1, 2)] == [FIRST, SECOND]
        store.check()

    @pytest.mark.parametrize("forge", [flip_cipher, flip_tag, flip_opening, flip_number, change_key])
    def test_a_changed_block_or_seal(self, forge: Callable[[Forger], None]) -> None:
        forger = Forger()
        forge(forger)
        store = forger.open()
        with pytest.raises(DamageError) as caught:
            read(store, 1)
        assert (caught.value.fault["volume"], caught.value.fault["lba"]) == (1, 0)
        assert read(store, 2) == SECOND

    def test_a_block_at_another_address(self) -> None:
        forger = Forger()
        move_to_another_lba(forger)
        store = forger.open()
        with pytest.raises(DamageError):
            store.show()

    @pytest.mark.invariant("I1")
    def test_blocks_of_two_tenants_that_were_swapped_with_their_seals(self) -> None:
        forger = Forger()
        forger.blocks.reverse()
        first, second = forger.summary[forger.seal(0)], forger.summary[forger.seal(1)]
        forger.summary[forger.seal(0)], forger.summary[forger.seal(1)] = second, first
        store = forger.open()
        for number in (1, 2):
            with pytest.raises(DamageError):
                read(store, number)

    def test_a_key_that_there_is_not(self) -> None:
        forger = Forger()
        forger.summary[forger.seal(0).start + 32 : forger.seal(0).start + 36] = b"\xff\xff\xff\x7f"
        store = forger.open()
        with pytest.raises(CoreError, match="SQ_E_NO_KEY"):
            read(store, 1)

    def test_a_nonce_that_comes_twice(self) -> None:
        """Both blocks are sealed as the first is: whoever knew one would know much of the other."""
        forger = Forger()
        forger.summary[forger.seal(1)] = forger.summary[forger.seal(0)]
        store = forger.open()
        with pytest.raises(AssertionError, match=r"sealed\.c"):
            store.check()
        image = read_image(forger.drive.image())
        image.verify()
        assert any("nonce" in damage.what for damage in image.damage)


class TestWithoutKeys:
    def test_nothing_is_read_or_written(self) -> None:
        options = {name: getattr(SEALED, name) for name in SEALED.__dataclass_fields__}
        store = Forger().open(LockedCore(**options))
        with pytest.raises(CoreError, match="SQ_E_NO_KEY"):
            read(store, 1)
        with pytest.raises(CoreError, match="SQ_E_NO_KEY"):
            store.apply(Write(1, 0, FIRST))
        with pytest.raises(CoreError, match="SQ_E_NO_KEY"):
            store.apply(Write(1, 10, b"in a block"))
        store.check()

    @pytest.mark.parametrize("name", ["laps-sealed", "laps-layers-sealed"])
    def test_the_cleaner_moves_what_it_cannot_read(self, name: str) -> None:
        of = workload(name)
        drive = make_drive(of.shape)
        store = of.core.create(drive)
        for op in of.script.ops:
            store.apply(op)
        store.apply(Flush())
        shown = store.show()
        store.abandon()
        options = {name: getattr(of.core, name) for name in of.core.__dataclass_fields__}
        locked = LockedCore(**options).open(drive)
        done = ffi.new("struct sq_purge *")
        assert lib.sq_log_purge(locked._log, lib.SQ_SCOPE_ALL, 0, lib.SQ_NO_ADDRESS, done, locked._fault) == 0
        assert done.relocated_blocks > 0
        locked.check()
        locked.finish()
        locked.abandon()
        assert difference(of.core.open(drive).show(), shown) == ""


def test_the_drive_is_of_another_version_than_asked_for() -> None:
    for made, asked in ((SEALED, Core()), (Core(), SEALED)):
        drive = make_drive()
        made.create(drive).abandon()
        with pytest.raises(DamageError, match="SQ_E_VERSION"):
            asked.open(drive)


def test_every_use_has_a_number_of_its_own() -> None:
    """Records that a crash lost give their numbers to others, which are sealed under other keys."""
    drive = make_drive()
    for _ in range(2):
        store = SEALED.create(drive) if not any(drive.peek(0, 1)) else SEALED.open(drive)
        if not store.entries():
            assert lib.sq_volume_create(store._log, 1, 1, 4 * BLOCK, 0, store._handle_out) == 0
            store._handles[1] = store._handle_out[0]
            store._seal(1)
            store.apply(Flush())
        store.apply(Write(1, 0, FIRST))
        store.apply(Flush())
        store.abandon()
    image = read_image(drive.image())
    seals = [seal for record in image.records() for seal in record.summary.seals if seal is not None]
    assert len({seal.opening for seal in seals}) == 2
    assert len({seal.identity for seal in seals}) == len(seals) == 2


def address_of(store: CoreStore) -> int:
    extents, count_out = ffi.new("struct sq_extent[]", 4), ffi.new("uint64_t *")
    assert lib.sq_volume_extents(store._log, store._handles[1], 0, 4, extents, count_out) == 0
    return int(extents[0].mba)


@pytest.mark.invariant("I8")
def test_a_record_that_the_drive_kept_from_a_lap_ago() -> None:
    """It is right in itself, and of the same address of the same volume; only not the newest."""
    drive, kept, laps = make_drive(), dict[int, bytes](), 0
    store = SEALED.create(drive)
    store.apply(Create(1, 1, 4 * BLOCK, False))
    while not laps:
        store.apply(Write(1, 0, len(kept).to_bytes(4, "little") * (BLOCK // 4)))
        store.apply(Flush())
        mba = address_of(store)
        laps += mba in kept
        old = kept.setdefault(mba, drive.peek(mba - 1, 2))
    newest = read(store, 1)
    store.finish()
    store.abandon()
    assert read(SEALED.open(drive.clone()), 1) == newest
    drive.overwrite(mba - 1, old)
    with pytest.raises(DamageError):
        read(SEALED.open(drive), 1)
