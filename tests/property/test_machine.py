"""A store of a few segments, driven at random against the oracle, and looked at as a whole after each step.

A failing run prints the steps that led to it; tests/README.md says how to repeat it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from io import BufferedReader
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import seqstore
from seqstore import (
    ConfigError,
    CorruptionError,
    NotFoundError,
    OutOfSpaceError,
    Store,
    Tenant,
    UnwrittenError,
    Volume,
)
from tests.blocks import make_blocks, make_bytes
from tests.oracle import Oracle, OracleVolume
from tests.raw_scan import LOG, RESIDUE_STATES, Scan, check_all
from tests.small import overwrite

NAMES = st.sampled_from(["a", "b", "c"])
UNWRITTEN = st.sampled_from(["zero", "error"])
EXTRA_BYTES = st.sampled_from([0, 0, 1, 100, 511])
PICK = st.integers(0, 2**16 - 1)
SMALL = st.integers(0, 5)

Pair = tuple[Volume, OracleVolume]


class StoreMachine(RuleBasedStateMachine):
    """Tenants and volumes of a memory store, in step with an oracle."""

    def __init__(self) -> None:
        super().__init__()
        self.version = 0
        self.volumes: list[Pair] = []
        self.deleted: list[Volume] = []
        self.user_blocks = 0
        self.changed = True
        self.before: Scan | None = None

    @initialize(
        block_size=st.sampled_from([512, 4096]),
        segments=st.sampled_from([16, 4]),
        segment_blocks=st.sampled_from([16, 32, 4]),
        reserve=st.sampled_from([0.07, 0.3, 0.0]),
        laps=st.sampled_from([0, 2, 1]),
    )
    def open_store(
        self, block_size: int, segments: int, segment_blocks: int, reserve: float, laps: int
    ) -> None:
        self.make(block_size, segments, segment_blocks, laps, reserve=reserve)

    def make(self, block_size: int, segments: int, segment_blocks: int, laps: int, **options: Any) -> None:
        """Make a store with two volumes, and let its head go round."""
        self.block_size = block_size
        segment_size = block_size * segment_blocks
        self.store = Store.memory(
            segments * segment_size, block_size=block_size, segment_size=segment_size, **options
        )
        self.drive = self.store.drives[0]
        self.oracle = Oracle(block_size, self.drive.usable_blocks)
        for name, unwritten in (("contoso", "zero"), ("fabrikam", "error")):
            self.create_volume(self.store.create_tenant(name), "a", self.drive.capacity, unwritten)
        for lap in range(laps):
            self.overwrite_at_random(self.volumes[lap], lap, self.drive.blocks)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()

    # ---- helpers ----------------------------------------------------------------------------

    def chosen(self, pick: int) -> Pair:
        """Map any number to a living volume."""
        return self.volumes[pick % len(self.volumes)]

    def room(self) -> int:
        """How many further blocks the drive accepts."""
        return self.oracle.usable_blocks - self.oracle.live_blocks

    def tagged(self, twin: OracleVolume, lbas: list[int]) -> npt.NDArray[np.uint8]:
        """New contents for these lbas, each with a version of its own."""
        versions = range(self.version + 1, self.version + 1 + len(lbas))
        self.version += len(lbas)
        return make_blocks(twin.tenant, twin.number, lbas, versions, self.block_size)

    def refused(self, error: type[seqstore.SeqstoreError], call: Callable[[], object]) -> None:
        """Expect the error, and that nothing on the drive or in the figures has changed."""
        scan, stats = Scan.take(self.store), self.store.stats()
        with pytest.raises(error):
            call()
        after = Scan.take(self.store)
        assert (scan.raw == after.raw).all()
        assert (scan.ledger == after.ledger).all()
        assert self.store.stats() == stats

    def write_rows(
        self, twin: OracleVolume, lbas: list[int], call: Callable[[npt.NDArray[np.uint8]], object]
    ) -> None:
        """Do a block write by ``call`` in the store and in the oracle, or see it refused for space."""
        if not lbas:
            return
        rows = self.tagged(twin, lbas)
        if not self.oracle.fits(twin, lbas):
            self.refused(OutOfSpaceError, lambda: call(rows))
            return
        call(rows)
        twin.write_blocks(lbas, [row.tobytes() for row in rows])
        self.user_blocks += len(lbas)
        self.changed = True

    # ---- tenants and volumes ------------------------------------------------------------------

    def create_volume(self, tenant: Tenant, name: str, size: int, unwritten: str) -> None:
        """Make a volume, or see it refused because its name is taken."""
        if any(volume.name == name for volume in tenant.volumes):
            self.refused(ConfigError, lambda: tenant.create_volume(name, size))
            return
        volume = tenant.create_volume(name, size, unwritten=unwritten)  # type: ignore[arg-type]
        twin = OracleVolume(name, volume.number, tenant.number, size, unwritten, self.block_size)
        self.oracle.create(twin)
        self.volumes.append((volume, twin))

    def forget(self, volume: Volume, twin: OracleVolume) -> None:
        """Let the oracle delete a volume too."""
        self.volumes.remove((volume, twin))
        self.oracle.delete(twin.number)
        self.deleted.append(volume)
        self.changed = True

    @rule(pick=PICK, name=NAMES, quarters=st.integers(1, 5), extra=EXTRA_BYTES, unwritten=UNWRITTEN)
    def add_volume(self, pick: int, name: str, quarters: int, extra: int, unwritten: str) -> None:
        tenants = self.store.tenants
        size = self.drive.capacity * quarters // 4 + extra
        self.create_volume(tenants[pick % len(tenants)], name, size, unwritten)

    @precondition(lambda self: len(self.volumes) > 1)
    @rule(pick=PICK, again=st.booleans())
    def delete_volume(self, pick: int, again: bool) -> None:
        """Delete a volume, and perhaps make another of the same name."""
        volume, twin = self.chosen(pick)
        volume.delete()
        self.forget(volume, twin)
        if again:
            self.create_volume(volume.tenant, twin.name, twin.size, twin.unwritten)
        self.refused(NotFoundError, lambda: volume.read(0, 1))
        self.refused(NotFoundError, lambda: volume.write(0, b"x"))

    @precondition(lambda self: len(self.volumes) > 1)
    @rule(pick=PICK)
    def replace_tenant(self, pick: int) -> None:
        """Delete a tenant with all its volumes, and make another of the same name."""
        tenant = self.store.tenants[pick % len(self.store.tenants)]
        tenant.delete()
        for volume, twin in [pair for pair in self.volumes if pair[1].tenant == tenant.number]:
            self.forget(volume, twin)
        again = self.store.create_tenant(tenant.name)
        assert again.number != tenant.number
        self.create_volume(again, "a", self.drive.capacity, "zero")

    # ---- writing --------------------------------------------------------------------------------

    @rule(pick=PICK, place=PICK, blocks=SMALL, extra_bytes=st.integers(0, 511))
    def write_bytes(self, pick: int, place: int, blocks: int, extra_bytes: int) -> None:
        volume, twin = self.chosen(pick)
        offset = place * 257 % twin.size
        length = min(blocks * self.block_size + extra_bytes, twin.size - offset)
        self.version += 1
        data = make_bytes(twin.tenant, twin.number, offset, length, self.version, self.block_size)
        touched = twin.touched(offset, length)
        if not self.oracle.fits(twin, touched):
            self.refused(OutOfSpaceError, lambda: volume.write(offset, data))
            return
        assert volume.write(offset, bytearray(data) if place % 2 else data) == length
        twin.write(offset, data)
        self.user_blocks += len(touched)
        self.changed = True

    @rule(pick=PICK, place=PICK, count=st.integers(1, 48))
    def write_run(self, pick: int, place: int, count: int) -> None:
        volume, twin = self.chosen(pick)
        whole = twin.size // self.block_size
        lba = place % whole
        lbas = list(range(lba, min(lba + count, whole)))
        self.write_rows(twin, lbas, lambda rows: volume.write_blocks(lba, rows))

    @rule(pick=PICK, places=st.lists(PICK, max_size=24))
    def write_scattered(self, pick: int, places: list[int]) -> None:
        volume, twin = self.chosen(pick)
        lbas = [place % (twin.size // self.block_size) for place in places]
        lbas += lbas[: len(lbas) // 3]  # duplicates: the later one wins
        array = np.array(lbas, dtype=np.uint64)
        self.write_rows(twin, lbas, lambda rows: volume.write_blocks(array, rows))

    @rule(pick=PICK, seed=PICK, count=st.sampled_from([300, 100, 20, 600]))
    def churn(self, pick: int, seed: int, count: int) -> None:
        self.overwrite_at_random(self.chosen(pick), seed, count)

    def overwrite_at_random(self, pair: Pair, seed: int, count: int) -> None:
        """Write that many blocks, much of a lap; to new addresses only while there is room."""
        volume, twin = pair
        rng = random.Random(seed)
        whole = twin.size // self.block_size
        known = sorted(lba for lba in twin.blocks if lba < whole)
        new = rng.sample(range(whole), min(self.room() // 2, whole, 40))
        lbas = [rng.choice(known + new) for _ in range(count if known or new else 0)]
        array = np.array(lbas, dtype=np.uint64)
        self.write_rows(twin, lbas, lambda rows: volume.write_blocks(array, rows))

    @rule(pick=PICK, beyond=st.booleans())
    def fill(self, pick: int, beyond: bool) -> None:
        """Fill the drive to the last block, or try one more than that."""
        volume, twin = self.chosen(pick)
        unwritten = [lba for lba in range(twin.size // self.block_size) if lba not in twin.blocks]
        lbas = unwritten[: self.room() + beyond]
        array = np.array(lbas, dtype=np.uint64)
        self.write_rows(twin, lbas, lambda rows: volume.write_blocks(array, rows))

    @rule(pick=PICK, place=PICK, blocks=st.integers(0, 80), extra_bytes=st.sampled_from([0, 0, 1, 300]))
    def trim(self, pick: int, place: int, blocks: int, extra_bytes: int) -> None:
        volume, twin = self.chosen(pick)
        step = self.block_size if extra_bytes == 0 else 257
        offset = place * step % twin.size
        length = min(blocks * self.block_size + extra_bytes, twin.size - offset)
        self.shrinking(twin, offset, length, lambda: volume.trim(offset, length))

    @rule(pick=PICK, sixteenths=st.integers(1, 20), extra_bytes=st.sampled_from([0, 0, 1, 77, 513]))
    def resize(self, pick: int, sixteenths: int, extra_bytes: int) -> None:
        volume, twin = self.chosen(pick)
        size = self.drive.capacity * sixteenths // 16 + extra_bytes
        self.shrinking(twin, size, max(0, twin.size - size), lambda: volume.resize(size))
        twin.resize(size)
        assert volume.size == size

    def shrinking(self, twin: OracleVolume, offset: int, length: int, call: Callable[[], object]) -> None:
        """Do a trim; it writes the blocks that are cut, and those alone."""
        call()
        before = dict(twin.blocks)
        twin.trim(offset, length)
        touched = [lba for lba in twin.touched(offset, length) if lba in twin.blocks and lba in before]
        self.user_blocks += len(touched)
        self.changed = True

    # ---- reading --------------------------------------------------------------------------------

    @rule(pick=PICK, place=PICK, blocks=SMALL, extra_bytes=st.integers(0, 511), way=st.integers(0, 2))
    def read_bytes(self, pick: int, place: int, blocks: int, extra_bytes: int, way: int) -> None:
        volume, twin = self.chosen(pick)
        offset = place * 257 % twin.size
        length = min(blocks * self.block_size + extra_bytes, twin.size - offset)
        buffer = bytearray(b"\xee" * length)
        calls: list[Callable[[], object]] = [
            lambda: buffer.__setitem__(slice(None), volume.read(offset, length)),
            lambda: volume.readinto(offset, buffer),
            lambda: read_through_file(volume, offset, buffer),
        ]
        hole = twin.first_unwritten(twin.touched(offset, length))
        if hole is None:
            calls[way]()
            assert buffer == twin.read(offset, length)
            return
        with pytest.raises(UnwrittenError) as caught:
            calls[way % 2]()
        lba, count = hole
        assert (caught.value.offset, caught.value.length) == (lba * self.block_size, count * self.block_size)
        assert buffer == b"\xee" * length

    @rule(pick=PICK, places=st.lists(PICK, min_size=1, max_size=12), run=st.booleans())
    def read_blocks(self, pick: int, places: list[int], run: bool) -> None:
        volume, twin = self.chosen(pick)
        whole = twin.size // self.block_size
        lbas = [place % whole for place in places]
        if run:
            lbas = list(range(lbas[0], min(whole, lbas[0] + len(lbas))))
        out = np.full((len(lbas), self.block_size), 0xEE, dtype=np.uint8)
        where = lbas[0] if run else np.array(lbas, dtype=np.uint64)
        if twin.first_unwritten(lbas) is None:
            volume.read_blocks(where, out)
            assert [row.tobytes() for row in out] == [twin.content(lba) for lba in lbas]
            return
        with pytest.raises(UnwrittenError):
            volume.read_blocks(where, out)
        assert (out == 0xEE).all()

    # ---- damage ---------------------------------------------------------------------------------

    @precondition(lambda self: self.oracle.live_blocks > 0)
    @rule(pick=PICK, byte=PICK, bit=st.integers(0, 7))
    def rot(self, pick: int, byte: int, bit: int) -> None:
        """Flip a bit of a live block: reads and partial writes of it fail; then put it right again."""
        live = [(pair, lba) for pair in self.volumes for lba in sorted(pair[1].blocks)]
        (volume, twin), lba = live[pick % len(live)]
        mba = Scan.take(self.store).place(volume.number, lba)
        good = self.drive.raw(mba, 1)
        bad = bytearray(good)
        bad[byte % self.block_size] ^= 1 << bit
        overwrite(self.store, mba, bytes(bad))
        offset = lba * self.block_size
        self.refused(CorruptionError, lambda: volume.read(offset, 1))
        self.refused(CorruptionError, lambda: volume.write(offset, b"x"))
        overwrite(self.store, mba, good)
        assert volume.read(offset, 1) == twin.read(offset, 1)

    # ---- after each step ------------------------------------------------------------------------

    @invariant()
    def everything_agrees(self) -> None:
        if not hasattr(self, "store") or not self.changed:
            return
        self.changed = False
        self.store.check()
        scan = Scan.take(self.store)
        self.check_medium(scan)
        self.oracle.looked()
        self.before = scan
        self.figures_agree(scan)
        for volume, twin in self.volumes:
            extents_agree(volume, twin, scan)
            read_back(volume, twin)

    def check_medium(self, scan: Scan) -> None:
        """Medium, ledger, records and oracle agree."""
        check_all(scan, self.oracle, self.before)

    def figures_agree(self, scan: Scan) -> None:
        """Counters and remanence are what the oracle and the ledger come to."""
        stats = self.store.stats()
        assert stats.live_blocks == self.oracle.live_blocks
        assert stats.user_blocks == self.user_blocks
        residue_agrees(self.store, scan, self.oracle)


def read_through_file(volume: Volume, offset: int, buffer: bytearray) -> None:
    """Read by way of the file object, buffered only where reading ahead meets no hole."""
    with volume.open("rb") as raw:
        raw.seek(offset)
        if volume.unwritten == "zero":
            with BufferedReader(raw, 1000) as file:
                buffer[:] = file.read(len(buffer))
        else:
            buffer[:] = raw.read(len(buffer))


def residue_agrees(store: Store, scan: Scan, oracle: Oracle) -> None:
    """``remanence`` of everything and of each volume is what one counts in the ledger."""
    residue = np.isin(scan.ledger["state"], RESIDUE_STATES) & (scan.ledger["volume"] != LOG)
    report = store.remanence()
    assert report.blocks == residue.sum()
    assert report.bytes == report.blocks * scan.block_size
    assert report.moved_blocks == (scan.ledger["state"] == seqstore.BlockState.MOVED).sum()
    if report.blocks:
        assert report.oldest_writes == scan.position - int(scan.ledger["died"][residue].min())
    for tenant in store.tenants:
        of_tenant = residue & (scan.ledger["tenant"] == tenant.number)
        assert store.remanence(tenant).blocks == of_tenant.sum()


def extents_agree(volume: Volume, twin: OracleVolume, scan: Scan) -> None:
    """The extents are the oracle's lbas, ascending, and lead to the ledger's entries."""
    mapped: list[int] = []
    for extent in volume.extents():
        for step in range(int(extent["count"])):
            lba, mba = int(extent["lba"]) + step, int(extent["mba"]) + step
            assert scan.entry(mba)[:3] == (twin.tenant, twin.number, lba)
            mapped.append(lba)
    assert mapped == sorted(twin.blocks)
    assert volume.mapped_blocks == len(mapped)


def read_back(volume: Volume, twin: OracleVolume) -> None:
    """All that is written reads as the oracle has it, and around it is nothing."""
    lbas = sorted(twin.blocks)
    whole = [lba for lba in lbas if (lba + 1) * twin.block_size <= twin.size]
    rows = volume.read_blocks(np.array(whole, dtype=np.uint64))
    assert [row.tobytes() for row in rows] == [twin.blocks[lba] for lba in whole]
    if twin.unwritten == "zero":
        assert volume.read(0, twin.size) == twin.read(0, twin.size)


TestStore = StoreMachine.TestCase
