"""The machine of snapshots and clones over encrypted stores, across closing and opening."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings

from seqstore import Store
from seqstore._native.records import VOLUME_IS_SNAPSHOT
from seqstore.format import read_image
from seqstore.keys import FileKey
from tests.property.test_layers_machine import BLOCK_SIZE, CAPACITY, SEGMENT_BLOCKS, DurableLayersMachine
from tests.property.test_policies_machine import LayersPoliciesMachine


class SealedLayersMachine(DurableLayersMachine):
    """Keys live as long as somebody reads what they sealed, and no nonce comes twice."""

    def make_store(self, reserve: float) -> Store:
        self.folder = Path(tempfile.mkdtemp())
        file = self.folder / "root.key"
        file.touch(0o600)
        file.write_bytes(bytes(range(32)))
        self.key = FileKey(file)
        sizes: dict[str, Any] = {
            "block_size": BLOCK_SIZE,
            "segment_size": self.segment_blocks * BLOCK_SIZE,
            "reserve": reserve,
            "preallocate": False,
        }
        return Store.create(
            self.folder / "store", self.capacity, encryption=self.key, **sizes, **self.options
        )

    def open_store(self, *, read_only: bool) -> None:
        self.functions = {**self.functions, "key": self.key}
        super().open_store(read_only=read_only)

    def teardown(self) -> None:
        if hasattr(self, "store") and not self.store.closed:
            self.look_at_keys()
            self.store.close()
            image = read_image(self.folder / "store/drives/0.img")
            image.verify()
            assert image.damage == ()
        super().teardown()
        shutil.rmtree(self.folder, ignore_errors=True)

    def look_at_keys(self) -> None:
        """A volume that is there has a key; one that is not has none unless somebody reads its blocks."""
        encryption, engine = self.store._parts.encryption, self.store._engine
        assert encryption is not None
        # A clone that has overwritten all of it reads it no more; that is noticed with the next deletion.
        assert self.store._registry.keeper is not None
        self.store._registry.keeper.bury()
        there = {int(row["number"]) for row in engine.volumes() if not row["flags"] & VOLUME_IS_SNAPSHOT}
        assert all(encryption.has(number) for number in there)
        for number in set(encryption._volumes) - there:
            assert engine.reach(number, 0, 1 << 38)["blocks"].any()


class SealedPoliciesMachine(LayersPoliciesMachine, SealedLayersMachine):
    """The same under every cleaning policy."""

    capacity, segment_blocks = 3 * CAPACITY, 2 * SEGMENT_BLOCKS


_EXAMPLES = settings().max_examples
TestSealedLayers = SealedLayersMachine.TestCase
TestSealedLayers.settings = settings(
    max_examples=max(8, _EXAMPLES // 10), stateful_step_count=40, deadline=None
)
TestSealedPolicies = SealedPoliciesMachine.TestCase
TestSealedPolicies.settings = settings(
    max_examples=max(5, _EXAMPLES // 15), stateful_step_count=40, deadline=None
)
