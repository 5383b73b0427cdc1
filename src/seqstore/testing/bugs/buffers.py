"""Bugs in reads and buffers."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from seqstore.testing.bugs.plain.buffers import Cache, Pool, WriteBuffer
from seqstore.testing.bugs.plain.geometry import BLOCK_BYTES
from seqstore.testing.bugs.plain.reading import Reader
from seqstore.testing.bugs.plain.record import HEADER_BYTES


class UninitialisedReadBuffer(Pool):
    """Memory is handed out as it was left, by a read or by a write of somebody else."""

    def take(self, length: int) -> memoryview:
        return self.uncleared(length)


class ReusedReadBuffer(Reader):
    """All reads share one piece of memory, and what is unwritten shows the read before."""

    memory = b""

    def read(self, layer: int, lba: int, count: int) -> bytes:
        length = count * BLOCK_BYTES
        memory = bytearray(self.memory.ljust(length, b"\0"))
        self.fill(memoryview(memory), layer, lba, count)
        self.memory = bytes(memory)
        return self.memory[:length]


class TailOfAShortRead(Reader):
    """A read whose last blocks are unwritten comes back short, and its tail is what the memory held."""

    def read(self, layer: int, lba: int, count: int) -> bytes:
        written = [place for place in range(count) if self.block(layer, lba + place) is not None]
        length = (written[-1] + 1 if written else count) * BLOCK_BYTES
        memory = self.store.pool.uncleared(count * BLOCK_BYTES)
        memory[:length] = bytes(length)
        self.fill(memory, layer, lba, count)
        return memory.tobytes()


class PaddingFromAnotherTenant(Reader):
    """A block that is written for the first time, and in part, is padded with what the memory held."""

    def staging(self, length: int) -> memoryview:
        return self.store.pool.uncleared(length)


class PartialWriteOverABlockOfAnother(Reader):
    """A partial write takes the rest of the block from the medium, with the lba as the address there."""

    def surround(self, memory: memoryview, layer: int, lba: int, count: int) -> None:  # noqa: ARG002
        for place in range(count):
            block = self.store.medium.get(lba + place)[HEADER_BYTES:]
            memory[place * BLOCK_BYTES : place * BLOCK_BYTES + len(block)] = block


class PartialWriteClearsTheRest(Reader):
    """A partial write does not read what the rest of the block holds."""

    def surround(self, memory: memoryview, layer: int, lba: int, count: int) -> None:
        pass


class PartialWriteReadsTheFirstBlockAlone(Reader):
    """An unaligned write keeps the rest of the first block that it touches, and not that of the last."""

    def surround(self, memory: memoryview, layer: int, lba: int, count: int) -> None:
        super().surround(memory, layer, lba, min(count, 1))


class UnalignedReadFromTheBlocksStart(Reader):
    """A read within one block begins at the start of the block."""

    def cut(self, layer: int, offset: int, length: int) -> bytes:
        start = offset % BLOCK_BYTES
        within = start + length <= BLOCK_BYTES
        return super().cut(layer, offset - start if within else offset, length)


class UnwrittenRepeatsTheNeighbour(Reader):
    """An unwritten block shows the one that was copied before it in the same read."""

    def fill(self, memory: memoryview, layer: int, lba: int, count: int) -> None:
        copied = None
        for place in range(count):
            copied = self.block(layer, lba + place) or copied
            if copied is not None:
                memory[place * BLOCK_BYTES : (place + 1) * BLOCK_BYTES] = copied


class CacheNotInvalidated(Cache):
    """A cached block outlives the freeing of its slot."""

    def forget(self, slots: Iterable[int]) -> None:
        pass


class LongReadSkipsTheWriteBuffer(Reader):
    """A read of more than four blocks does not look at the writes that wait."""

    def fill(self, memory: memoryview, layer: int, lba: int, count: int) -> None:
        waiting = self.store.buffer.blocks
        if count > 4:
            self.store.buffer.blocks = {}
        super().fill(memory, layer, lba, count)
        self.store.buffer.blocks = waiting


class WriteBufferKeyedByLba(WriteBuffer):
    """The writes that wait are kept by lba alone, for all volumes together."""

    def key(self, layer: int, lba: int) -> Hashable:  # noqa: ARG002
        return lba


class OverwriteLostInTheBuffer(WriteBuffer):
    """A block that already waits is not replaced by a newer one."""

    def put(self, layer: int, lba: int, blocks: Sequence[bytes]) -> None:
        newest = [self.find(layer, place) or block for place, block in enumerate(blocks, lba)]
        super().put(layer, lba, newest)


class OldPlaceAfterOverwrite(WriteBuffer):
    """A reader keeps its translation when the block is overwritten, and reads the old one."""

    def settle(self, layer: int, lba: int, slot: int) -> None:
        self.store.state.place(layer, lba, slot)


BUGS = (
    UninitialisedReadBuffer,
    ReusedReadBuffer,
    TailOfAShortRead,
    PaddingFromAnotherTenant,
    PartialWriteOverABlockOfAnother,
    PartialWriteClearsTheRest,
    PartialWriteReadsTheFirstBlockAlone,
    UnalignedReadFromTheBlocksStart,
    UnwrittenRepeatsTheNeighbour,
    CacheNotInvalidated,
    LongReadSkipsTheWriteBuffer,
    WriteBufferKeyedByLba,
    OverwriteLostInTheBuffer,
    OldPlaceAfterOverwrite,
)
