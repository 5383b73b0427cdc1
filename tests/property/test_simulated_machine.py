"""The same log over a medium that keeps tags: they must say what the ledger and the oracle say."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seqstore import NO_ADDRESS, BlockState, OutOfSpaceError, Store, TagsMedium, Volume
from tests.raw_scan import LOG

SEGMENT_BLOCKS = 16
BLOCK_COUNT = 16 * SEGMENT_BLOCKS
BLOCK_SIZE = 512
PICK = st.integers(0, 2**16 - 1)


class SimulatedMachine(RuleBasedStateMachine):
    """Volumes of a simulated store; the oracle is a set of lbas for each."""

    oldest = BLOCK_COUNT  # residue, in device writes: a lap

    def __init__(self) -> None:
        super().__init__()
        self.mapped: dict[Volume, set[int]] = {}
        # Every (volume, lba) that was ever written, so that residue can be traced.
        self.past: set[tuple[int, int]] = set()

    @initialize()
    def open_store(self) -> None:
        self.make()

    def make(self, **options: Any) -> None:
        """Make a store with a volume."""
        self.store = Store.simulated(
            BLOCK_COUNT * BLOCK_SIZE,
            block_size=BLOCK_SIZE,
            segment_size=SEGMENT_BLOCKS * BLOCK_SIZE,
            **options,
        )
        self.drive = self.store.drives[0]
        self.tenant = self.store.create_tenant("contoso")
        self.create_volume()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()

    @rule()
    def create_volume(self) -> None:
        name = f"volume-{len(self.mapped)}-{len(self.past)}"
        if all(volume.name != name for volume in self.mapped):
            self.mapped[self.tenant.create_volume(name, BLOCK_COUNT * BLOCK_SIZE)] = set()

    @precondition(lambda self: len(self.mapped) > 1)
    @rule(pick=PICK)
    def delete_volume(self, pick: int) -> None:
        volume = self.chosen(pick)
        volume.delete()
        del self.mapped[volume]

    def chosen(self, pick: int) -> Volume:
        """Map any number to a living volume."""
        return list(self.mapped)[pick % len(self.mapped)]

    @rule(pick=PICK, seed=PICK, count=st.integers(1, 200), width=st.integers(1, BLOCK_COUNT))
    def write_scattered(self, pick: int, seed: int, count: int, width: int) -> None:
        volume = self.chosen(pick)
        rng = random.Random(seed)
        lbas = [rng.randrange(width) for _ in range(count)]
        self.write(volume, lbas, np.array(lbas, dtype=np.uint64))

    @rule(pick=PICK, lba=st.integers(0, BLOCK_COUNT - 1), count=st.integers(1, 64))
    def write_run(self, pick: int, lba: int, count: int) -> None:
        lbas = range(lba, min(lba + count, BLOCK_COUNT))
        self.write(self.chosen(pick), lbas, lba)

    def write(self, volume: Volume, lbas: list[int] | range, where: object) -> None:
        """Write in the store and in the oracle, or see it refused for space."""
        count = None if isinstance(where, np.ndarray) else len(lbas)
        live = sum(len(mapped) for mapped in self.mapped.values())
        if live + len(set(lbas) - self.mapped[volume]) > self.drive.usable_blocks:
            ledger = self.drive.ledger()
            with pytest.raises(OutOfSpaceError):
                volume.write_blocks(where, None, count=count)  # type: ignore[arg-type]
            assert (self.drive.ledger() == ledger).all()
            return
        volume.write_blocks(where, None, count=count)  # type: ignore[arg-type]
        self.mapped[volume].update(lbas)
        self.past.update((volume.number, lba) for lba in lbas)

    @rule(pick=PICK, lba=st.integers(0, BLOCK_COUNT - 1), count=st.integers(0, 100))
    def trim(self, pick: int, lba: int, count: int) -> None:
        volume = self.chosen(pick)
        count = min(count, BLOCK_COUNT - lba)
        volume.trim(lba * BLOCK_SIZE, count * BLOCK_SIZE)
        self.mapped[volume].difference_update(range(lba, lba + count))

    @rule(pick=PICK, blocks=st.integers(1, BLOCK_COUNT))
    def shrink_and_grow(self, pick: int, blocks: int) -> None:
        volume = self.chosen(pick)
        volume.resize(blocks * BLOCK_SIZE)
        volume.resize(BLOCK_COUNT * BLOCK_SIZE)
        self.mapped[volume].difference_update(range(blocks, BLOCK_COUNT))

    @invariant()
    def tags_ledger_and_oracle_agree(self) -> None:
        if not hasattr(self, "store"):
            return
        self.store.check()
        assert isinstance(self.drive.medium, TagsMedium)
        tags = self.drive.medium.read_tags(0, BLOCK_COUNT)[["volume", "lba"]].tolist()
        ledger = self.drive.ledger().tolist()
        live = [tag for tag, entry in zip(tags, ledger, strict=True) if entry[0] == BlockState.LIVE]
        assert sorted(live) == sorted(
            (volume.number, lba) for volume in self.mapped for lba in self.mapped[volume]
        )
        position = self.store.stats().position
        for mba, (tag, entry) in enumerate(zip(tags, ledger, strict=True)):
            self.check_block(mba, tag, entry, position)

    def check_block(self, mba: int, tag: tuple[int, int], entry: tuple[int, ...], position: int) -> None:
        """The tag of one media block and its entry in the ledger agree."""
        state, _, volume, lba, died = entry
        if volume == LOG:
            assert tag == (LOG, NO_ADDRESS), f"mba {mba}: the log's own, but tagged {tag}"
            return
        assert tag[0] == volume, f"mba {mba}: tagged {tag}, the ledger says volume {volume}"
        assert tag in self.past, f"mba {mba}: tagged {tag}, which nobody wrote"
        if state == BlockState.LIVE:
            assert tag[1] == lba, f"mba {mba}: tagged {tag}, the ledger says lba {lba}"
        else:
            assert 0 <= position - died <= self.oldest, f"mba {mba}: died {position - died} device writes ago"


TestSimulated = SimulatedMachine.TestCase
