"""From a volume's address to bytes."""

from __future__ import annotations

from seqstore.testing.bugs.plain.geometry import BLOCK_BYTES
from seqstore.testing.bugs.plain.record import Part


class Reader(Part):
    """Reads through the write buffer, the leases, the maps and the cache, in this order."""

    def read(self, layer: int, lba: int, count: int) -> bytes:
        """Return blocks as seen from a layer, zeros where nothing was written."""
        memory = self.store.pool.take(count * BLOCK_BYTES)
        self.fill(memory, layer, lba, count)
        return memory.tobytes()

    def fill(self, memory: memoryview, layer: int, lba: int, count: int) -> None:
        """Copy the blocks that are written to where they belong."""
        for place in range(count):
            block = self.block(layer, lba + place)
            if block is not None:
                memory[place * BLOCK_BYTES : (place + 1) * BLOCK_BYTES] = block

    def block(self, layer: int, lba: int) -> bytes | None:
        """Return one block, or None if it is unwritten."""
        waiting = self.store.buffer.find(layer, lba)
        if waiting is not None:
            return waiting
        slot = self.translate(layer, lba)
        return None if slot is None else self.store.cache.read(slot)

    def translate(self, layer: int, lba: int) -> int | None:
        """Return the slot of a block."""
        slot = self.store.leases.find(layer, lba)
        if slot is None:
            slot = self.store.state.slot_of(layer, lba)
            if slot is not None:
                self.store.leases.grant(layer, lba, slot)
        return slot

    def cut(self, layer: int, offset: int, length: int) -> bytes:
        """Return bytes from anywhere to anywhere."""
        first, start = divmod(offset, BLOCK_BYTES)
        count = -(-(start + length) // BLOCK_BYTES)
        return self.read(layer, first, count)[start : start + length]

    def patch(self, layer: int, offset: int, data: bytes) -> tuple[int, bytes]:
        """Put bytes into the blocks around them.

        Returns
        -------
        tuple of int and bytes
            The lba of the first block and the whole blocks, to be written.
        """
        first, start = divmod(offset, BLOCK_BYTES)
        count = -(-(start + len(data)) // BLOCK_BYTES)
        memory = self.staging(count * BLOCK_BYTES)
        self.surround(memory, layer, first, count)
        memory[start : start + len(data)] = data
        return first, memory.tobytes()

    def staging(self, length: int) -> memoryview:
        """Return memory to put blocks together in: zeros, which is what unwritten blocks hold."""
        return self.store.pool.take(length)

    def surround(self, memory: memoryview, layer: int, lba: int, count: int) -> None:
        """Fill in what the blocks hold before bytes are put into them."""
        self.fill(memory, layer, lba, count)
