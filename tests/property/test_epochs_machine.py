"""The machine of snapshots and clones under epochs of keys, with crashes, against somebody who has the keys.

At the end of each epoch everything is tried that can be tried: every key of the key area, every file of nodes
that there ever was, every block on the drive as it is and as it was at earlier ends. What opens is what the
volumes and snapshots show then, and nothing else.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from seqstore import CryptographicErase
from seqstore.clock import ManualClock
from tests.attacker import Keys, readable
from tests.durable import crash
from tests.property.test_layers_machine import BLOCK_SIZE
from tests.property.test_sealed_machine import SealedLayersMachine

EPOCH = 100.0
MOST_COPIES = 3


class EpochsMachine(SealedLayersMachine):
    """What was deleted before the last end of an epoch opens with no key that is left."""

    @initialize(reserve=st.sampled_from([0.07, 0.5]))
    def begin(self, reserve: float) -> None:
        self.clock = ManualClock(10**18)
        self.options = {"clock": self.clock, "deletion": CryptographicErase(epoch=EPOCH)}
        self.functions = {"clock": self.clock}
        self.old_drives: list[bytes] = []
        self.old_nodes: list[Path] = []
        self.start(reserve)

    @property
    def drive(self) -> Path:
        return self.folder / "store/drives/0.img"

    def copy(self) -> None:
        """Make a copy of what is no key area."""
        self.old_drives = [*self.old_drives[-MOST_COPIES:], self.drive.read_bytes()]
        nodes = self.folder / "store/keys.nodes"
        if nodes.exists():
            self.old_nodes.append(self.folder / f"nodes-{len(self.old_nodes)}")
            shutil.copy(nodes, self.old_nodes[-1])

    def readable(self, drives: Iterable[bytes]) -> set[bytes]:
        keys = Keys(self.folder / "store", self.key, self.old_nodes)
        return {block for drive in drives for block in readable(drive, keys, BLOCK_SIZE)}

    def shown(self) -> set[bytes]:
        return {block.content for twin in self.twins for block in twin.blocks.values()}

    def look_for_the_dead(self) -> None:
        assert self.readable([*self.old_drives, self.drive.read_bytes()]) <= self.shown()

    @rule()
    def end_an_epoch(self) -> None:
        self.store.flush()
        # Or the test would see nothing where it should.
        assert self.shown() <= self.readable([self.drive.read_bytes()])
        self.copy()
        self.store.idle(EPOCH)
        self.look_for_the_dead()

    @rule()
    def let_some_time_pass(self) -> None:
        self.store.idle(EPOCH / 3)

    @rule(is_due=st.booleans())
    def crash(self, is_due: bool) -> None:
        """And come back in the epoch, or behind it: then it ends with the opening."""
        self.store.flush()
        crash(self.store)
        self.copy()
        if is_due:
            self.clock.sleep_ns(int(EPOCH * 1e9))
        self.open_store(read_only=False)
        if is_due:
            self.look_for_the_dead()

    def open_store(self, *, read_only: bool) -> None:
        self.functions = {**self.functions, "clock": self.clock}
        super().open_store(read_only=read_only)


class LateEpochsMachine(EpochsMachine):
    """The same where epochs come later: what was written before shares a key, and is written over."""

    def start(self, reserve: float) -> None:
        self.options = {"clock": self.clock}
        super().start(reserve)

    @rule()
    def begin_epochs(self) -> None:
        self.store.set_deletion(CryptographicErase(epoch=EPOCH))

    def look_for_the_dead(self) -> None:
        """An old copy of the drive has what was written over, and a key that blocks share may live."""
        if isinstance(self.store.deletion, CryptographicErase):
            assert self.readable([self.drive.read_bytes()]) <= self.shown()


_EXAMPLES = settings().max_examples
TestEpochs = EpochsMachine.TestCase
TestEpochs.settings = settings(max_examples=max(6, _EXAMPLES // 12), stateful_step_count=30, deadline=None)
TestLateEpochs = LateEpochsMachine.TestCase
TestLateEpochs.settings = settings(
    max_examples=max(4, _EXAMPLES // 18), stateful_step_count=30, deadline=None
)
