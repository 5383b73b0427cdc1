"""A file system on a volume: files of lognormal sizes that are made, appended to, overwritten and deleted.

The volume begins with the metadata: bitmaps of the blocks in use, one block for each 32768 blocks, and a
table of inodes, sixteen to a block and one for each four blocks of the volume. The data follow. Space is
given out from where the last allocation ended, around the volume, whatever is free there: files come in
pieces where the volume is old and full. A piece is a *run* here; a file's runs are a list linked in arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from seqstore.errors import ConfigError
from seqstore.sim.alias import AliasTable, zipf_weights
from seqstore.sim.draws import Draws
from seqstore.sim.generated import (
    Generated,
    check_alpha,
    check_at_least,
    check_share,
    make_operations,
    paced,
)
from seqstore.sim.operations import Kind

_BLOCK_BYTES: Final = 4096
_BITMAP_BLOCKS: Final = 8 * _BLOCK_BYTES
_INODES_PER_BLOCK: Final = 16
_BLOCKS_PER_INODE: Final = 4
_LEAST_BLOCKS: Final = 1024
_LEAST_UTILIZATION, _MOST_UTILIZATION = 0.1, 0.95
# No file takes more than a sixteenth of the room that files take.
_LARGEST_SHARE: Final = 16
# File operations that are made at a time: their deletions come first, and make the room for the others.
_ROUND: Final = 1024
_CREATE, _APPEND, _OVERWRITE = 0, 1, 2
_END: Final = 0xFFFFFFFF

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystem(Generated):
    """A file system on a volume."""

    _name: ClassVar[str] = "file_system"

    utilization: float
    mu: float
    sigma: float
    append_share: float
    overwrite_share: float
    append_blocks: int
    alpha: float
    seed: int

    def _check(self) -> None:
        if self.blocks < _LEAST_BLOCKS:
            raise ConfigError(f"blocks is {self.blocks}; a file system takes {_LEAST_BLOCKS} at least")
        if not _LEAST_UTILIZATION <= self.utilization <= _MOST_UTILIZATION:
            raise ConfigError(
                f"utilization is {self.utilization}; it must lie between {_LEAST_UTILIZATION} and"
                f" {_MOST_UTILIZATION}"
            )
        check_share(self.append_share, "append_share")
        check_share(self.overwrite_share, "overwrite_share")
        check_share(self.append_share + self.overwrite_share, "append_share + overwrite_share")
        check_at_least(self.append_blocks, 1, "append_blocks")
        check_alpha(self.alpha)
        check_at_least(self.sigma, 0.0, "sigma")
        if not 0.0 <= self.mu <= 40.0 or self.sigma > 10.0:
            raise ConfigError(f"mu is {self.mu} and sigma {self.sigma}; at most 40 and 10 are possible")

    def batches(self) -> Iterator[NDArray[np.void]]:
        """Give the operations in their order, in arrays of `OPERATION_DTYPE`."""
        return paced(_Rounds(self).pieces(), self.interval_ns)


@dataclass(slots=True)
class _Space:
    """Which blocks are in use, and what runs they form.

    Attributes
    ----------
    first : int
        Where the data begin.
    used : bool array of shape (blocks,)
    lengths, following : uint32 arrays of shape (blocks,)
        At the first block of each run: its blocks, and where the file goes on.
    """

    first: int
    used: NDArray[np.bool_]
    lengths: NDArray[np.uint32]
    following: NDArray[np.uint32]
    head: int

    @classmethod
    def make(cls, first: int, blocks: int) -> _Space:
        """Return a space in which all blocks from `first` on are free."""
        used = np.zeros(blocks, np.bool_)
        used[:first] = True
        return cls(first, used, np.zeros(blocks, np.uint32), np.zeros(blocks, np.uint32), first)

    def take(self, needs: Indices) -> tuple[Indices, Indices]:
        """Give room to each of some requests, in their order.

        Parameters
        ----------
        needs : int64 array of shape (n,)
            Blocks that each needs; there are as many free ones.

        Returns
        -------
        requests, starts : int64 arrays
            For each run that was given: whose it is, and its first block.
        """
        total = int(needs.sum())
        blocks = self._find(total)
        self.used[blocks] = True
        ends = np.cumsum(needs)
        is_first = np.ones(total, np.bool_)
        is_first[1:] = np.diff(blocks) != 1
        is_first[(ends - needs)[needs > 0]] = True
        places = np.flatnonzero(is_first)
        starts = blocks[places]
        self.lengths[starts] = np.diff(np.append(places, total))
        return np.searchsorted(ends, places, side="right"), starts

    def _find(self, count: int) -> Indices:
        """Return free blocks, from the head on."""
        found: list[Indices] = []
        missing = count
        while missing > 0:
            window = self.used[self.head : self.head + 2 * missing + 4096]
            free = np.flatnonzero(~window)[:missing]
            missing -= len(free)
            found.append(free + self.head)
            self.head += int(free[-1]) + 1 if not missing else len(window)
            if self.head == len(self.used):
                self.head = self.first
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def walk(self, heads: Indices) -> tuple[Indices, Indices]:
        """Follow files from run to run.

        Returns
        -------
        files, starts : int64 arrays
            For each run: which file it is of, and its first block; by files, in the order of each.
        """
        files, owner, front = [], np.arange(len(heads)), heads
        starts = []
        while len(front):
            files.append(owner)
            starts.append(front)
            front = self.following[front].astype(np.int64)
            goes_on = front != _END
            owner, front = owner[goes_on], front[goes_on]
        if not files:
            return owner, front
        order = np.argsort(np.concatenate(files), kind="stable")
        return np.concatenate(files)[order], np.concatenate(starts)[order]

    def give_back(self, starts: Indices) -> None:
        """Free runs."""
        lengths = self.lengths[starts].astype(np.int64)
        ends = np.cumsum(lengths)
        inside = np.arange(int(lengths.sum())) - np.repeat(ends - lengths, lengths)
        self.used[np.repeat(starts, lengths) + inside] = False


@dataclass(slots=True)
class _Script:
    """Operations of one round, put together out of their order."""

    keys: list[Indices] = field(default_factory=list)
    operations: list[NDArray[np.void]] = field(default_factory=list)

    def add(
        self, keys: Indices, lba: Indices, kind: Kind = Kind.WRITE, blocks: NDArray[np.uint32] | int = 1
    ) -> None:
        """Add operations; those of equal keys stay in the order in which they were added."""
        self.keys.append(keys)
        self.operations.append(make_operations(len(keys), kind=kind, lba=lba, blocks=blocks))

    def ordered(self) -> NDArray[np.void]:
        """Return all, by their keys."""
        return np.concatenate(self.operations)[np.argsort(np.concatenate(self.keys), kind="stable")]


class _Rounds:
    """Makes the operations, a round of file operations at a time."""

    def __init__(self, workload: FileSystem) -> None:
        blocks = workload.blocks
        self._workload = workload
        self._draws = Draws(workload.seed)
        self._inodes = -(-blocks // _BITMAP_BLOCKS)
        slots = blocks // _BLOCKS_PER_INODE
        first = self._inodes + -(-slots // _INODES_PER_BLOCK)
        self._space = _Space.make(first, blocks)
        self._used, self._target = 0, int((blocks - first) * workload.utilization)
        # A round asks for a quarter of the room at most, so that enough files can go and some are left.
        self._most, self._largest = self._target // 4, self._target // _LARGEST_SHARE
        self._size = min(_ROUND, slots // 8)
        # By inode: the file's first and last run, and its blocks.
        self._heads, self._tails = np.full(slots, _END, np.int64), np.zeros(slots, np.int64)
        self._blocks = np.zeros(slots, np.int64)
        # Inodes of the files there are, the oldest first, and those that are free, the next last.
        self._files, self._free = np.zeros(0, np.int64), np.arange(slots)[::-1]

    def pieces(self) -> Iterator[NDArray[np.void]]:
        """Give the operations: of the files there are at first, then of the file operations."""
        kinds = np.full(self._size, _CREATE)
        fitting = self._size
        while fitting:
            needs = self._needs(kinds)
            room = min(self._most, self._target - self._used)
            fitting = min(int(np.searchsorted(np.cumsum(needs), room, "right")), len(self._free))
            if fitting:
                yield self._round(kinds[:fitting], needs[:fitting], None)
        ages = AliasTable(zipf_weights(len(self._files), self._workload.alpha))
        overwrite = self._workload.overwrite_share
        append = overwrite + self._workload.append_share
        for first in range(0, self._workload.operations, self._size):
            chance = self._draws.floats(min(self._size, self._workload.operations - first))
            kinds = np.where(chance < overwrite, _OVERWRITE, np.where(chance < append, _APPEND, _CREATE))
            needs = self._needs(kinds)
            while len(kinds):
                fitting = int(np.searchsorted(np.cumsum(needs), self._most, "right"))
                yield self._round(kinds[:fitting], needs[:fitting], ages)
                kinds, needs = kinds[fitting:], needs[fitting:]

    def _needs(self, kinds: Indices) -> Indices:
        """Draw how many blocks each file operation writes."""
        sizes = self._draws.lognormals(self._workload.mu, self._workload.sigma, len(kinds))
        blocks = np.clip(np.ceil(sizes / _BLOCK_BYTES), 1, self._largest).astype(np.int64)
        changed = 1 + self._draws.below(2 * self._workload.append_blocks - 1, len(kinds)).astype(np.int64)
        return np.where(kinds == _CREATE, blocks, np.minimum(changed, self._largest))

    def _round(self, kinds: Indices, needs: Indices, ages: AliasTable | None) -> NDArray[np.void]:
        script = _Script()
        creations = np.flatnonzero(kinds == _CREATE)
        self._delete(int(needs[kinds != _OVERWRITE].sum()), len(creations), script)
        files = np.zeros(len(kinds), np.int64)
        if ages is not None:
            # Ranks count from the youngest file.
            ranks = ages.draw(self._draws, len(kinds)).astype(np.int64) % len(self._files)
            files = self._files[len(self._files) - 1 - ranks]
        made = self._free[len(self._free) - len(creations) :][::-1]
        self._free = self._free[: len(self._free) - len(creations)]
        self._files = np.concatenate((self._files, made))
        files[creations] = made
        # A file that is as large as files become is overwritten instead.
        changes = (kinds == _OVERWRITE) | ((kinds == _APPEND) & (self._blocks[files] >= self._largest))
        self._overwrite(np.flatnonzero(changes), files[changes], needs[changes], script)
        self._write(np.where(changes, 0, needs), files, script)
        return script.ordered()

    def _delete(self, needed: int, creations: int, script: _Script) -> None:
        """Delete files, of which none is likelier than another, until blocks and inodes suffice."""
        excess, inodes = self._used + needed - self._target, creations - len(self._free)
        chosen: Indices = np.zeros(0, np.int64)
        count = 0
        while excess > 0 or inodes > 0:
            drawn = self._draws.below(len(self._files), self._size).astype(np.int64)
            candidates, places = np.unique(np.append(chosen, drawn), return_index=True)
            chosen = candidates[np.argsort(places)]
            freed = np.cumsum(self._blocks[self._files[chosen]])
            count = max(int(np.searchsorted(freed, excess)) + 1, inodes)
            if count <= len(chosen):
                break
        if not count:
            return
        chosen = chosen[:count]
        files = self._files[chosen]
        owners, starts = self._space.walk(self._heads[files])
        script.add(owners - count, starts, Kind.TRIM, self._space.lengths[starts])
        self._change_metadata(np.arange(-count, 0), files, self._heads[files], script)
        self._space.give_back(starts)
        self._used -= int(self._blocks[files].sum())
        self._heads[files], self._blocks[files] = _END, 0
        self._files = np.delete(self._files, chosen)
        self._free = np.concatenate((self._free, files))

    def _overwrite(self, keys: Indices, files: Indices, needs: Indices, script: _Script) -> None:
        """Write blocks in the middle of files: of their first runs, from a random block on."""
        heads = self._heads[files]
        lengths = self._space.lengths[heads].astype(np.uint64)
        offsets = self._draws.below(lengths, len(keys)).astype(np.int64)
        blocks = np.minimum(needs, lengths.astype(np.int64) - offsets)
        script.add(keys, heads + offsets, Kind.WRITE, blocks.astype(np.uint32))
        script.add(keys, self._inodes + files // _INODES_PER_BLOCK)

    def _write(self, needs: Indices, files: Indices, script: _Script) -> None:
        """Write new blocks at the ends of files."""
        requests, starts = self._space.take(needs)
        if not len(starts):
            return
        script.add(requests, starts, Kind.WRITE, self._space.lengths[starts])
        keys, firsts = np.unique(requests, return_index=True)
        self._change_metadata(keys, files[keys], starts[firsts], script)
        self._used += int(needs.sum())
        np.add.at(self._blocks, files, needs)
        # A file's runs side by side, in their order: each follows the one before, the first what was there.
        owners = files[requests]
        order = np.argsort(owners, kind="stable")
        owners, starts = owners[order], starts[order]
        is_first = np.append(True, owners[1:] != owners[:-1])
        is_last = np.append(is_first[1:], True)
        space = self._space
        space.following[starts[~is_last]] = starts[~is_first]
        space.following[starts[is_last]] = _END
        grown = is_first & (self._heads[owners] != _END)
        space.following[self._tails[owners[grown]]] = starts[grown]
        new = is_first & (self._heads[owners] == _END)
        self._heads[owners[new]] = starts[new]
        self._tails[owners[is_last]] = starts[is_last]

    def _change_metadata(self, keys: Indices, files: Indices, starts: Indices, script: _Script) -> None:
        """Write the inodes of files, and the bitmaps of the first runs concerned."""
        script.add(keys, self._inodes + files // _INODES_PER_BLOCK)
        script.add(keys, starts // _BITMAP_BLOCKS)
