"""What flash drives have in common: channels, dies, a write buffer."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqstore.errors import ConfigError
from seqstore.sim.timing.drive import Action, TimedDrive, Times
from seqstore.sim.timing.queues import each_in_order
from seqstore.units import unsigned


@dataclass(frozen=True, slots=True, kw_only=True)
class Nand:
    """The times of a NAND flash die.

    Attributes
    ----------
    name : str
        What it is.
    page_bytes : int
        Bytes that a die programs or reads at once, over all its planes.
    block_pages : int
        Such pages of an erase block.
    read_ns, program_ns, erase_ns : int
        Times of the array, the transfer left out.
    channel_rate : float
        Bytes a second that a channel moves.
    """

    name: str
    page_bytes: int
    block_pages: int
    read_ns: int
    program_ns: int
    erase_ns: int
    channel_rate: float

    def __post_init__(self) -> None:
        if min(self.page_bytes, self.block_pages, self.read_ns, self.program_ns, self.erase_ns) < 1:
            raise ConfigError(f"{self.name} has a size or time below 1")
        if self.channel_rate <= 0:
            raise ConfigError(f"{self.name} moves {self.channel_rate} B/s; more than 0 is expected")


MLC_NAND = Nand(
    name="MLC NAND, two planes of 8 KiB pages",
    page_bytes=16384,
    block_pages=256,
    read_ns=75_000,
    program_ns=750_000,
    erase_ns=3_800_000,
    channel_rate=333e6,
)
"""The NAND of the drive that MQSim simulates unless told otherwise.

References: A. Tavakkol et al., MQSim: a framework for enabling realistic studies of modern multi-queue SSD
devices, FAST 2018, and the configuration published with it: 8 KiB pages, 256 a block, 2 planes, read 75 us,
program 750 us, erase 3.8 ms, 8-bit NV-DDR2 bus of 333 MT/s.
"""


@dataclass(frozen=True, slots=True)
class _Jobs:
    """The work of dies and channels for an array of operations, in its order: arrays of shape (jobs,).

    `ends[i]` is the number of jobs up to operation i, it included, and `programs[i]` of those that program.
    """

    owners: Times
    dies: Times
    kinds: NDArray[np.uint8]
    moves: Times  # ns that the channel is taken
    works: Times  # ns that the die is taken
    ends: Times
    programs: Times


class FlashDrive(TimedDrive):
    """A drive of NAND flash; `SSD` and `ZNS` say how addresses lie on its dies.

    Pages are striped over dies, one to each in turn. A page is moved over the die's channel and programmed,
    or read and moved. Each die and each channel serves first come first served; a page that is read waits
    for its die and for its channel at the same time, not for one after the other, which is exact in
    throughput and leaves out some waiting where channels are short.

    Appends gather in a buffer that survives a power cut. A page is programmed when its last block has come;
    an append is acknowledged when the buffer has room for it, that is when the `buffer_pages`-th page
    before it has been programmed. Reading looks at the dies, never at the buffer. Erasing takes its time in
    proportion to the pages erased. Overwriting reads, erases and programs the whole erase block of each
    page that it touches: what flash without a log inside has to do.

    Parameters
    ----------
    blocks, block_size, queue_depth
        As for every `TimedDrive`; `blocks` are whole pages.
    zone_blocks : int
        Blocks that are striped over the same dies; whole pages.
    zone_dies : int or None
        Dies that a zone lies on; None stands for all.
    nand : Nand
        Times of a die.
    channels, channel_dies : int
        Channels, and dies on each.
    buffer_pages : int or None
        Size of the buffer; 0 acknowledges when the page is programmed. None stands for two a die: one that
        is programmed, one that comes in.
    interface_ns : int
        Between host and drive, for each operation.

    Raises
    ------
    ConfigError
        If they do not fit each other.
    """

    def __init__(
        self,
        blocks: int,
        *,
        block_size: int | str,
        queue_depth: int | None,
        zone_blocks: int,
        zone_dies: int | None,
        nand: Nand,
        channels: int,
        channel_dies: int,
        buffer_pages: int | None,
        interface_ns: int,
    ) -> None:
        super().__init__(blocks, block_size=block_size, queue_depth=queue_depth)
        self.nand = nand
        self.channels = unsigned(channels, "channels")
        self.channel_dies = unsigned(channel_dies, "channel_dies")
        self.dies = self.channels * self.channel_dies
        self.zone_blocks = unsigned(zone_blocks, "zone_blocks")
        self.zone_dies = self.dies if zone_dies is None else unsigned(zone_dies, "zone_dies")
        self.buffer_pages = 2 * self.dies if buffer_pages is None else unsigned(buffer_pages, "buffer_pages")
        self.interface_ns = unsigned(interface_ns, "interface_ns")
        if not 1 <= self.zone_dies <= self.dies:
            raise ConfigError(f"a zone lies on {self.zone_dies} dies; 1 to {self.dies} are expected")
        self.page_blocks, rest = divmod(nand.page_bytes, self.block_size)
        if rest or not self.zone_blocks or self.zone_blocks % self.page_blocks or blocks % self.page_blocks:
            raise ConfigError(
                f"blocks of {self.block_size} B, zones of {self.zone_blocks} and a drive of {blocks} of them;"
                f" whole pages of {nand.page_bytes} B are expected"
            )
        self._channel_free = np.zeros(self.channels, np.int64)
        self._die_free = np.zeros(self.dies, np.int64)
        # When the last pages left the buffer, the oldest first: one more than the buffer holds.
        self._left = np.zeros(self.buffer_pages + 1, np.int64)
        self._under_way = [0] * (self.queue_depth or 0)

    def dies_of(self, pages: Times) -> Times:
        """On which die each page lies.

        Parameters
        ----------
        pages : int64 array, shape (n,)
            Addresses in pages.

        Returns
        -------
        int64 array, shape (n,)
            Die d hangs on channel d modulo the number of channels.
        """
        zones, pages_in_zone = np.divmod(pages, self.zone_blocks // self.page_blocks)
        dies: Times = (zones * self.zone_dies + pages_in_zone % self.zone_dies) % self.dies
        return dies

    def _jobs(self, operations: NDArray[np.void]) -> _Jobs:
        kinds = operations["kind"]
        mba, end = operations["mba"].astype(np.int64), operations["count"].astype(np.int64)
        end += mba
        first = mba // self.page_blocks
        touched = -(-end // self.page_blocks) - first
        filled = end // self.page_blocks - first
        numbers = np.where(kinds == Action.READ, touched, np.minimum(touched, self.zone_dies))
        numbers = np.where(kinds == Action.APPEND, filled, numbers)
        ends = np.cumsum(numbers)
        owners = np.repeat(np.arange(len(operations)), numbers)
        pages = np.arange(len(owners)) + (first - ends + numbers)[owners]

        nand, job_kinds = self.nand, kinds[owners]
        block_ns = 1e9 * self.block_size / nand.channel_rate
        page_ns = round(block_ns * self.page_blocks)
        moves = np.full(len(owners), page_ns, np.int64)
        works = np.full(len(owners), nand.program_ns, np.int64)
        reads = np.flatnonzero(job_kinds == Action.READ)
        works[reads] = nand.read_ns
        begins = pages[reads] * self.page_blocks
        wanted = np.minimum(begins + self.page_blocks, end[owners[reads]])
        wanted -= np.maximum(begins, mba[owners[reads]])
        moves[reads] = np.rint(wanted * block_ns)
        resets = np.flatnonzero(job_kinds == Action.RESET)
        moves[resets] = 0
        of_reset = owners[resets]
        works[resets] = nand.erase_ns * touched[of_reset] // (numbers[of_reset] * nand.block_pages)
        over = np.flatnonzero(job_kinds == Action.OVERWRITE)
        erase_blocks = -(-touched[owners[over]] // (numbers[owners[over]] * nand.block_pages))
        moves[over] = erase_blocks * ((2 * nand.block_pages - 1) * page_ns)
        whole_block = (nand.block_pages - 1) * nand.read_ns + nand.erase_ns
        works[over] = erase_blocks * (whole_block + nand.block_pages * nand.program_ns)
        programs = np.cumsum(np.where(kinds == Action.APPEND, numbers, 0))
        return _Jobs(owners, self.dies_of(pages), job_kinds, moves, works, ends, programs)

    def _serve_open(self, operations: NDArray[np.void], arrivals: Times) -> Times:
        jobs = self._jobs(operations)
        appends = jobs.kinds == Action.APPEND
        ready = arrivals[jobs.owners]
        moved = each_in_order(jobs.dies % self.channels, ready, jobs.moves, self._channel_free)
        done = each_in_order(jobs.dies, np.where(appends, moved, ready), jobs.works, self._die_free)
        left = np.maximum.accumulate(np.concatenate((self._left, done[appends])))
        self._left = left[len(left) - len(self._left) :]

        completions = np.where(operations["kind"] == Action.APPEND, left[jobs.programs], 0)
        done += np.where(jobs.kinds == Action.READ, jobs.moves, 0)
        np.maximum(done, moved, out=done)
        others = np.flatnonzero(operations["kind"] != Action.APPEND)
        if len(others):
            not_appended = ~appends
            numbers = np.diff(jobs.ends, prepend=0)[others]
            begins = np.cumsum(numbers) - numbers
            completions[others] = np.maximum.reduceat(done[not_appended], begins)
        return np.maximum(completions, arrivals) + self.interface_ns

    def _serve_closed(self, operations: NDArray[np.void]) -> tuple[Times, Times]:
        # When an operation is issued depends on when others are done: the one loop over operations. It says
        # what `_serve_open` says, with comparisons where `max` would take most of the time.
        jobs = self._jobs(operations)
        channels, dies = self._channel_free.tolist(), self._die_free.tolist()
        left = self._left.tolist()
        under_way, interface, number = self._under_way, self.interface_ns, self.channels
        append, read, last_left = int(Action.APPEND), int(Action.READ), left[-1]
        columns = zip(jobs.dies.tolist(), jobs.moves.tolist(), jobs.works.tolist(), strict=True)
        arrivals, completions = [], []
        begin = 0
        rows = zip(operations["kind"].tolist(), jobs.ends.tolist(), jobs.programs.tolist(), strict=True)
        for kind, end, programmed in rows:
            arrival = completion = under_way[0]
            for _ in range(end - begin):
                die, move, work = next(columns)
                channel = die % number
                idle = channels[channel]
                moved = channels[channel] = (idle if idle > arrival else arrival) + move
                idle, ready = dies[die], moved if kind == append else arrival
                done = dies[die] = (idle if idle > ready else ready) + work
                if kind == append:
                    last_left = done if done > last_left else last_left
                    left.append(last_left)
                else:
                    done += move if kind == read else 0
                    completion = max(completion, moved, done)
            begin = end
            if kind == append and left[programmed] > completion:
                completion = left[programmed]
            completion += interface
            heapq.heapreplace(under_way, completion)
            arrivals.append(arrival)
            completions.append(completion)
        self._channel_free, self._die_free = np.array(channels, np.int64), np.array(dies, np.int64)
        self._left = np.array(left[len(left) - len(self._left) :], np.int64)
        return np.array(arrivals, np.int64), np.array(completions, np.int64)
